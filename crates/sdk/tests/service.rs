//! The real service, over memory, with a proxy in between that loses answers.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use opentaco_domain::{LockId, UnitId};
use opentaco_sdk::api::{ChangeUnit, CreateUnit, LockRequest, Origin};
use opentaco_sdk::state::{Source, Upload};
use opentaco_sdk::units::ListUnits;
use opentaco_sdk::versions::Reinstate;
use opentaco_sdk::{Client, Outgoing, SdkError, Server, StaticToken, Token};
use opentaco_testkit::proxy::{Fate, Proxy};
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use tempfile::TempDir;

use crate::scripted::impatient;

static SERVICE: LazyLock<(Service, TempDir)> = LazyLock::new(|| {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    (Service::start(home.path(), &["-storage", "memory"], &[]), home)
});

fn proxied() -> (Proxy, Client) {
    let proxy = Proxy::before(SERVICE.0.port());
    let server = Server::parse(&proxy.url()).unwrap();
    let token = StaticToken::new(&server, Token::parse(ROOT_TOKEN).unwrap());
    let client = Client::builder(server)
        .tokens(token)
        .retries(impatient())
        .build()
        .unwrap();
    (proxy, client)
}

fn unit(id: &str) -> UnitId {
    UnitId::parse(id).unwrap()
}

fn state(serial: u64, value: &str) -> Outgoing {
    Outgoing::held(format!(
        r#"{{"version":4,"serial":{serial},"lineage":"l","outputs":{{"o":{{"value":"{value}"}}}}}}"#
    ))
}

async fn push(client: &Client, unit: &UnitId, state: &Outgoing) {
    let sent = Arc::new(AtomicU64::new(0));
    client
        .upload(unit, state, &Upload::default(), &sent)
        .await
        .unwrap();
}

fn create(unit: &UnitId) -> CreateUnit {
    CreateUnit {
        id: unit.clone(),
        labels: [("team".to_owned(), "sdk".to_owned())].into(),
        description: "what for".to_owned(),
    }
}

#[tokio::test]
async fn every_operation_whose_answer_is_lost_is_done_once() {
    let (proxy, client) = proxied();
    let shop = unit("sdk/lost");
    let lost = |method| proxy.next(method, Fate::LoseAnswer);

    lost("POST");
    client.create_unit(&create(&shop)).await.unwrap();

    for serial in 1..=2 {
        lost("POST");
        push(&client, &shop, &state(serial, "a")).await;
    }
    assert_eq!(client.versions(&shop, None).await.unwrap().len(), 2);

    lost("PATCH");
    let change = ChangeUnit {
        labels: [
            ("team".to_owned(), None),
            ("env".to_owned(), Some("prod".to_owned())),
        ]
        .into(),
        ..ChangeUnit::default()
    };
    let changed = client.change_unit(&shop, &change).await.unwrap();
    assert_eq!(changed.labels.keys().collect::<Vec<_>>(), ["env"]);

    let id = LockId::parse("11111111-1111-4111-8111-111111111111").unwrap();
    let wanted = LockRequest {
        id: Some(id.clone()),
        ..LockRequest::default()
    };
    lost("POST");
    assert_eq!(client.lock(&shop, &wanted).await.unwrap().id, id);
    lost("DELETE");
    client.unlock(&shop, &id).await.unwrap();
    assert!(!client.unit(&shop).await.unwrap().locked);

    let first = client.versions(&shop, None).await.unwrap()[1].version;
    lost("POST");
    client.restore(&shop, first, &Reinstate::default()).await.unwrap();
    let history = client.versions(&shop, None).await.unwrap();
    assert_eq!(history.len(), 3, "restored once: {history:?}");
    assert_eq!(history[0].origin, Origin::Restore);

    lost("DELETE");
    client.delete_unit(&shop).await.unwrap();
    assert!(matches!(client.unit(&shop).await, Err(SdkError::NotFound { .. })));
    lost("POST");
    client.undelete(&shop).await.unwrap();
    assert_eq!(client.unit(&shop).await.unwrap().serial, Some(3));
    assert_eq!(proxy.met().len(), 9, "each of them was lost: {:?}", proxy.met());
}

#[tokio::test]
async fn a_refused_write_tells_the_holder_and_can_be_promoted() {
    let (proxy, client) = proxied();
    let shop = unit("sdk/refused");
    push(&client, &shop, &state(1, "a")).await;
    let id = LockId::parse("theirs").unwrap();
    let wanted = LockRequest {
        id: Some(id.clone()),
        who: "carol@desk".to_owned(),
        ..LockRequest::default()
    };
    client.lock(&shop, &wanted).await.unwrap();
    let refused = client
        .upload(&shop, &state(2, "b"), &Upload::default(), &Arc::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, SdkError::Locked { .. }), "{refused:?}");
    assert_eq!(refused.holder().unwrap().who, "carol@desk");
    let kept = refused.rejected().unwrap();
    assert_eq!(client.rejected(&shop).await.unwrap()[0].id, kept);

    let holding = Reinstate {
        holding: Some(id),
        force: false,
    };
    let none = client
        .promote(&shop, kept, &Reinstate::default())
        .await
        .unwrap_err();
    assert!(matches!(none, SdkError::Locked { .. }), "{none:?}");
    proxy.next("POST", Fate::LoseAnswer);
    client.promote(&shop, kept, &holding).await.unwrap();
    assert_eq!(client.versions(&shop, None).await.unwrap().len(), 2);
    assert_eq!(client.output(&shop, "o").await.unwrap().value.get(), "\"b\"");
    client.force_unlock(&shop).await.unwrap();
    assert!(!client.unit(&shop).await.unwrap().locked);
}

#[tokio::test]
async fn a_state_of_many_pieces_comes_back_as_it_was_sent() {
    let (proxy, client) = proxied();
    let shop = unit("sdk/large é_ __x/100%");
    let mut file = tempfile::tempfile().unwrap();
    write!(
        file,
        r#"{{"version":4,"serial":1,"text":"{}"}}"#,
        "taco ".repeat(800_000)
    )
    .unwrap();
    let outgoing = Outgoing::file(file).unwrap();
    proxy.next("POST", Fate::LoseAnswer);
    push(&client, &shop, &outgoing).await;
    let mut into = tempfile::tempfile().unwrap();
    let (moved, total) = Default::default();
    let downloaded = client
        .download(&shop, &Source::Current, &mut into, &moved, &total)
        .await
        .unwrap();
    assert_eq!(downloaded.size, outgoing.length());
    assert_eq!(Outgoing::file(into).unwrap().sha256(), outgoing.sha256());
    let version = downloaded.version.unwrap();
    let mut again = tempfile::tempfile().unwrap();
    client
        .download(&shop, &Source::Version(version), &mut again, &moved, &total)
        .await
        .unwrap();
    assert_eq!(Outgoing::file(again).unwrap().sha256(), outgoing.sha256());
}

#[tokio::test]
async fn units_and_versions_are_listed_over_pages_up_to_a_limit() {
    let (_proxy, client) = proxied();
    for at in 0..5 {
        client
            .create_unit(&create(&unit(&format!("sdk/pages/{at}"))))
            .await
            .unwrap();
    }
    let list = async |limit| {
        let wanted = ListUnits {
            prefix: "sdk/pages/".to_owned(),
            labels: [("team".to_owned(), "sdk".to_owned())].into(),
            limit,
            page_token: None,
        };
        client.list_units(&wanted).await.unwrap()
    };
    assert_eq!(list(None).await.count, 5);
    assert_eq!(list(Some(3)).await.units.len(), 3);
    assert!(list(Some(3)).await.next_page_token.is_some());
    assert_eq!(
        list(Some(100_000)).await.count,
        5,
        "more than one page may hold is asked for in pages"
    );

    let shop = unit("sdk/pages/0");
    for serial in 1..=4 {
        push(&client, &shop, &state(serial, "a")).await;
    }
    for (limit, count) in [(None, 4), (Some(2), 2), (Some(50_000), 4)] {
        let history = client.versions(&shop, limit).await.unwrap();
        assert_eq!(history.len(), count, "{limit:?}");
        assert_eq!(history[0].serial, Some(4), "newest first");
    }
}

#[tokio::test]
async fn a_write_on_the_condition_of_a_version_loses_to_one_that_came_before() {
    let (_proxy, client) = proxied();
    let shop = unit("sdk/condition");
    push(&client, &shop, &state(1, "a")).await;
    let seen = client.unit(&shop).await.unwrap().version;
    push(&client, &shop, &state(2, "b")).await;
    let how = Upload {
        if_match: seen,
        ..Upload::default()
    };
    let error = client
        .upload(&shop, &state(3, "c"), &how, &Arc::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SdkError::Conflict { .. }), "{error:?}");
    let current = client.unit(&shop).await.unwrap().version;
    assert_eq!(error.refusal().unwrap().current, current);
}

#[tokio::test]
async fn nobody_is_told_apart_from_somebody() {
    let server = Server::parse(&SERVICE.0.url()).unwrap();
    let nobody = Client::builder(server).build().unwrap();
    let error = nobody.info().await.unwrap_err();
    assert!(matches!(error, SdkError::NotAuthenticated { .. }), "{error:?}");
    let (_proxy, client) = proxied();
    assert_eq!(client.info().await.unwrap().principal.as_str(), "root");
}
