//! The description of this API, made from the handlers and from the words they use.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use super::{info, locks, outputs, rejected, state, units, versions};
use crate::operator;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "OpenTaco",
        description = "State control for Terraform and OpenTofu: units, their states, locks, versions and refused writes. Terraform itself talks to /v1/backend, which is described in its own terms and not here.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        operator::alive, operator::ready, document, info::info,
        units::create, units::list, units::describe, units::change, units::delete, units::undelete,
        state::download, state::head, state::upload,
        locks::take, locks::release,
        versions::list, versions::download, versions::restore,
        rejected::list, rejected::download, rejected::promote,
        outputs::list, outputs::one,
    ),
    components(schemas(opentaco_api::ErrorBody)),
    security(("token" = []), ("password" = [])),
    tags(
        (name = "units", description = "Units by their names."),
        (name = "state", description = "The current state of a unit."),
        (name = "locks", description = "Who holds a unit."),
        (name = "versions", description = "What a unit's state was."),
        (name = "rejected", description = "Writes that were refused, and kept."),
        (name = "outputs", description = "What a state hands out."),
        (name = "service", description = "The service itself."),
    ),
)]
struct Description;

/// The description of the management API.
#[utoipa::path(
    get, path = opentaco_api::paths::OPENAPI, operation_id = "openapi", tag = "service", security(()),
    responses((status = 200, description = "This document.", body = serde_json::Map<String, Value>)),
)]
pub async fn document() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| text().into());
    let mut response = TEXT.clone().into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The document, as it is served and kept in the tree.
#[must_use]
pub fn text() -> String {
    let mut document = Description::openapi();
    let components = document.components.get_or_insert_default();
    for (name, scheme) in [
        ("token", HttpAuthScheme::Bearer),
        ("password", HttpAuthScheme::Basic),
    ] {
        components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
    }
    let mut document = serde_json::to_value(&document).expect("a description is JSON");
    close(&mut document["components"]["schemas"]);
    let operations = document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(|paths| paths.values_mut())
        .filter_map(Value::as_object_mut)
        .flat_map(|methods| methods.values_mut());
    operations.for_each(|operation| {
        plain(operation);
        refusals_of(operation);
    });
    serde_json::to_string_pretty(&document).expect("JSON is text") + "\n"
}

/// What is described has the members that are described and no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A handler's own section on errors is told by its responses, and what may be left out is never `null`.
fn plain(operation: &mut Value) {
    if let Some(Value::String(text)) = operation.get_mut("description") {
        if let Some(errors) = text.find("# Errors") {
            text.truncate(errors);
        }
        *text = text.trim().replace('\n', " ");
    }
    if let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema")
        && let Some(optional) = schema.pointer("/oneOf/0").cloned()
    {
        *schema = optional;
        operation["requestBody"]["required"] = Value::Bool(false);
    }
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let kind = &mut parameter["schema"]["type"];
        if let Some(first) = kind.get(0).cloned() {
            *kind = first;
        }
    }
}

/// What any request may be refused with, wherever a handler does not say it better itself.
fn refusals_of(operation: &mut Value) {
    let is_open = operation["security"] == json!([{}]);
    let has_body = operation.get("requestBody").is_some();
    let common = [
        (
            true,
            "400",
            "The request cannot mean anything: the address, the query, a header or the body.",
        ),
        (
            !is_open,
            "401",
            "`unauthenticated`: no token came with it, or another one.",
        ),
        (
            !is_open,
            "403",
            "`forbidden`: the caller may not, whether there is such a unit or not.",
        ),
        (has_body, "408", "`body_stalled`: the body stood still."),
        (has_body, "413", "`body_too_large`."),
        (true, "500", "`panicked`: a mistake of the service."),
        (
            !is_open,
            "503",
            "`unavailable`: the bucket or the policy cannot be read; `saved`: it is committed and safe, repeat the request; `crowded`.",
        ),
    ];
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (applies, status, description) in common {
        if applies && !responses.contains_key(status) {
            responses.insert(status.to_owned(), refusal(description));
        }
    }
}

fn refusal(description: &str) -> Value {
    let mut content = Map::new();
    content.insert(
        "application/json".to_owned(),
        json!({"schema": {"$ref": "#/components/schemas/ErrorBody"}}),
    );
    json!({"description": description, "content": content})
}
