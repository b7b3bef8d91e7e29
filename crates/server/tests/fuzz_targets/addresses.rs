//! What stands around a body: addresses, queries, ranges and conditions of both doors. A request begins as in HTTP.

use axum::extract::FromRequestParts;
use http::Method;
use opentaco_server::extract::OnlyIf;
use opentaco_server::management::query::{Asked, HistoryQuery, ListQuery, UnlockQuery, WriteQuery};
use opentaco_server::s3::strangers::{addressed, is_conditional, range};

use super::signer::Request;

pub(crate) fn check(bytes: &[u8]) {
    let Some((request, _)) = Request::read(bytes) else {
        return;
    };
    let headers = &request.headers;
    for size in [0, 1, 10, u64::MAX] {
        if let Some(range) = range(headers, size) {
            assert!(
                range.start <= range.end && range.end <= size,
                "{range:?} of {size}"
            );
        }
    }
    // A condition is kept or refused, and never overlooked.
    let has_condition = [
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
    ]
    .iter()
    .any(|name| headers.contains_key(*name));
    match is_conditional(headers) {
        Ok(is_conditional) => assert_eq!(is_conditional, has_condition),
        Err(_) => assert!(has_condition),
    }
    if let Ok(method) = request.method.parse::<Method>()
        && let Ok(found) = addressed(&method, &request.path, &request.query, headers)
    {
        let decoded = found.bucket.len() + found.key.as_ref().map_or(0, String::len);
        assert!(decoded <= request.path.len());
        // A query that asks for more than an operation does is refused: the order of what stands in it tells nothing.
        let mut turned: Vec<&str> = request.query.split('&').collect();
        turned.reverse();
        let again = addressed(&method, &request.path, &turned.join("&"), headers);
        if !request.query.contains("list-type") {
            assert_eq!(again.ok(), Some(found));
        }
    }
    check_management(&request);
}

fn check_management(request: &Request) {
    let Ok(uri) = format!("http://localhost{}?{}", request.path, request.query).parse::<http::Uri>() else {
        return;
    };
    let mut parts = http::Request::builder()
        .uri(uri)
        .body(())
        .expect("it is a request")
        .into_parts()
        .0;
    parts.headers.clone_from(&request.headers);
    futures::executor::block_on(async {
        if let Ok(Asked(list)) = Asked::<ListQuery>::from_request_parts(&mut parts, &()).await {
            assert!(list.limit.is_none_or(|limit| (1..=10_000).contains(&limit)));
        }
        let history = Asked::<HistoryQuery>::from_request_parts(&mut parts, &()).await;
        if let Ok(Asked(HistoryQuery {
            page_token: Some(token),
            ..
        })) = history
        {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        let write = Asked::<WriteQuery>::from_request_parts(&mut parts, &()).await;
        if let Ok(Asked(write)) = write {
            assert!(!write.force || request.query.contains("true") || request.query.contains('%'));
        }
        let unlock = Asked::<UnlockQuery>::from_request_parts(&mut parts, &()).await;
        if let Ok(Asked(unlock)) = unlock {
            assert!(!unlock.force || request.query.contains("true") || request.query.contains('%'));
        }
        if let Ok(OnlyIf(only_if)) = OnlyIf::from_request_parts(&mut parts, &()).await {
            assert_eq!(only_if.is_some(), request.headers.contains_key("if-match"));
        }
    });
}
