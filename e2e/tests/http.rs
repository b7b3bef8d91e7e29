//! Raw requests, as Terraform sends them: for what needs two hundred of them at once.

use opentaco_testkit::service::{ROOT_TOKEN, Service};
use reqwest::{Certificate, Client, Method, Response};

/// What Terraform sends with LOCK.
pub(crate) fn lock_body(id: &str, who: &str) -> String {
    format!(
        r#"{{"ID":"{id}","Operation":"OperationTypeApply","Info":"","Who":"{who}","Version":"1.11.4","Created":"2026-11-22T07:12:53.946393766Z","Path":""}}"#
    )
}

/// A lock id as Terraform makes them.
pub(crate) fn uuid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// A state with this serial.
pub(crate) fn state(serial: usize, marker: &str) -> String {
    format!(
        r#"{{"version":4,"terraform_version":"1.11.4","serial":{serial},"lineage":"one","outputs":{{}},"resources":[],"marker":"{marker}"}}"#
    )
}

/// A client who trusts this service.
pub(crate) fn client_of(service: &Service) -> Client {
    let mut client = Client::builder();
    if let Some(authority) = service.authority() {
        client = client.tls_certs_only([Certificate::from_pem(authority.as_bytes()).unwrap()]);
    }
    client.build().unwrap()
}

/// One request.
pub(crate) async fn send(
    http: &Client,
    method: &str,
    address: &str,
    body: impl Into<reqwest::Body>,
) -> Response {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    http.request(method, address)
        .basic_auth("root", Some(ROOT_TOKEN))
        .body(body)
        .send()
        .await
        .unwrap()
}

/// One request, and only its status.
pub(crate) async fn status(
    http: &Client,
    method: &str,
    address: &str,
    body: impl Into<reqwest::Body>,
) -> u16 {
    send(http, method, address, body).await.status().as_u16()
}
