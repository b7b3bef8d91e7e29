//! The description of this API, made from the handlers and from the words they use.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use opentaco_domain::Action;
use opentaco_domain::limits::{
    DESCRIPTION_BYTES_MAX, LABEL_BYTES_MAX, LABELS_MAX, LOCK_ID_BYTES_MAX, UNIT_ID_BYTES_MAX,
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use super::{audit, auth, graph, info, locks, outputs, rbac, rejected, state, tokens, units, versions};
use crate::operator;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "OpenTaco",
        description = "State control for Terraform and OpenTofu: units, their states, locks, versions and refused writes. Terraform itself talks to /v1/backend, and clients of S3 to /s3; these are described in their own terms and not here.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        operator::alive, operator::ready, operator::numbers, document, info::info,
        units::create, units::list, units::describe, units::change, units::delete, units::undelete,
        state::download, state::head, state::upload,
        locks::take, locks::release,
        versions::list, versions::download, versions::restore,
        rejected::list, rejected::download, rejected::promote,
        outputs::list, outputs::one,
        graph::status, graph::statuses, graph::graph, graph::edge, graph::edge_by_id, graph::reconcile,
        rbac::init, rbac::me, rbac::users, rbac::assign, rbac::revoke, rbac::roles, rbac::show_role, rbac::set_role,
        rbac::remove_role, rbac::permissions, rbac::show_permission, rbac::set_permission, rbac::remove_permission,
        rbac::test, rbac::root, rbac::switch_root,
        auth::jwks, auth::config, auth::exchange, auth::refresh, auth::me, auth::revoke, auth::s3_credentials,
        tokens::create, tokens::list, tokens::revoke,
        tokens::create_account, tokens::accounts, tokens::remove_account,
        audit::search, audit::segments, audit::download,
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
        (name = "graph", description = "Dependencies between units, and what they say of them."),
        (name = "access", description = "Who may do what."),
        (name = "audit", description = "Who did what."),
        (name = "auth", description = "Logging in, tokens, and who one is."),
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
    for (place, rules) in rules_of_members() {
        let schema = document["components"]["schemas"].pointer_mut(place);
        rule(schema.expect("a test reads every member that has rules"), rules);
    }
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
    let page_token = match operation["operationId"].as_str() {
        Some("list_versions") => version(),
        Some("search_audit") => json!({"pattern": format!("^{SEGMENT}\\.[0-9]{{1,9}}$")}),
        Some("list_audit_segments") => segment(),
        _ => rules_of_parameter("page_token"),
    };
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let schema = &mut parameter["schema"];
        let kind = &mut schema["type"];
        if let Some(first) = kind.get(0).cloned() {
            *kind = first;
        }
        match name.as_str() {
            "label" => rule(&mut schema["items"], json!({"pattern": "="})),
            "page_token" => rule(schema, page_token.clone()),
            name => rule(schema, rules_of_parameter(name)),
        }
    }
}

/// What a type cannot say of a parameter.
fn rules_of_parameter(name: &str) -> Value {
    match name {
        "unit" => visible(1, UNIT_ID_BYTES_MAX * 3),
        "version" => version(),
        "segment" => segment(),
        "edge" => json!({"minLength": 32, "maxLength": 44, "pattern": "^[1-9A-HJ-NP-Za-km-z]+$"}),
        "format" => json!({"enum": ["json", "dot", "mermaid"]}),
        "from_unit_id" | "to_unit_id" | "taken_by" => visible(1, UNIT_ID_BYTES_MAX),
        "from_output" => json!({"minLength": 1}),
        "decision" => json!({"enum": ["done", "denied", "refused"]}),
        "role" | "permission" | "account" => plain_name(),
        "member" => member(),
        "if_locked_by" => visible(1, LOCK_ID_BYTES_MAX),
        "prefix" => visible(0, UNIT_ID_BYTES_MAX),
        "page_token" => json!({"pattern": "^([0-9a-f]{2})*$"}),
        "If-Match" => json!({"minLength": 1, "pattern": format!("^\"{VERSION}\"$")}),
        "Content-MD5" => json!({"minLength": 24, "maxLength": 24, "pattern": "^[A-Za-z0-9+/]{21}[AQgw]==$"}),
        "Idempotency-Key" => json!({"pattern": "^[!-~]+$"}),
        _ => json!({}),
    }
}

/// What a type cannot say of a member, by its place among the schemas.
fn rules_of_members() -> Vec<(&'static str, Value)> {
    let labels = |values: Value, most: Option<usize>| {
        let mut rules = json!({"propertyNames": visible(1, LABEL_BYTES_MAX), "additionalProperties": values});
        if let Some(most) = most {
            rules["maxProperties"] = most.into();
        }
        rules
    };
    let mut value = visible(0, LABEL_BYTES_MAX);
    value["type"] = "string".into();
    let mut value_or_null = visible(0, LABEL_BYTES_MAX);
    value_or_null["type"] = json!(["string", "null"]);
    vec![
        ("/CreateUnit/properties/id", visible(1, UNIT_ID_BYTES_MAX)),
        ("/CreateUnit/properties/labels", labels(value, Some(LABELS_MAX))),
        (
            "/CreateUnit/properties/description",
            json!({"maxLength": DESCRIPTION_BYTES_MAX}),
        ),
        ("/ChangeUnit/properties/labels", labels(value_or_null, None)),
        (
            "/ChangeUnit/properties/description",
            json!({"maxLength": DESCRIPTION_BYTES_MAX}),
        ),
        ("/LockRequest/properties/id", visible(1, LOCK_ID_BYTES_MAX)),
        ("/UnlockRequest/properties/id", visible(1, LOCK_ID_BYTES_MAX)),
        ("/CreateServiceAccount/properties/description", visible(0, 255)),
        ("/CreateToken/properties/name", visible(1, 255)),
        ("/Initialise/properties/administrators/items", member()),
        ("/SetRole/properties/permissions/items", plain_name()),
        ("/CreateServiceAccount/properties/name", plain_name()),
        ("/CreateToken/properties/service_account", plain_name()),
        ("/CreateToken/properties/roles/items", plain_name()),
        ("/AccessRule/properties/actions/items", json!({"enum": actions()})),
        ("/AccessRule/properties/units/items", json!({"minLength": 1})),
        ("/AccessRule/properties/outputs/items", json!({"minLength": 1})),
        ("/AccessTest/properties/who", member()),
        (
            "/AccessTest/properties/action",
            json!({"enum": Action::ALL.map(Action::as_str)}),
        ),
        ("/AccessTest/properties/unit", visible(1, UNIT_ID_BYTES_MAX)),
        ("/Restore/properties/version", version()),
        ("/Receipt/properties/version", version()),
        ("/Version/properties/version", version()),
        ("/Unit/properties/version", version()),
    ]
}

/// The name of a role, of a permission or of a service account.
fn plain_name() -> Value {
    json!({"minLength": 1, "maxLength": 64, "pattern": "^[a-z0-9][a-z0-9._-]*$"})
}

/// Whom a role can be given to. The limit is in bytes, and characters are counted here.
fn member() -> Value {
    json!({"minLength": 6, "maxLength": 328, "pattern": "^(user|group|service):[^\\u0000-\\u001f\\u007f-\\u009f]+$"})
}

/// Every action, and the words for several.
fn actions() -> Vec<&'static str> {
    Action::ALL
        .map(Action::as_str)
        .into_iter()
        .chain(["unit.*", "*"])
        .collect()
}

/// How a version is spelled; a serial has at most 19 digits here, and one more in a state that nobody wrote.
const VERSION: &str = "[0-9a-f]{16}-(0|[1-9][0-9]{0,18})-[0-9a-f]{8}-[0-9a-f]{64}-[0-9a-f]{8}";

/// How a segment of the audit is called. Days that every year has: a 29th of February is left out.
const SEGMENT: &str = "2[0-9]{3}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)T([01][0-9]|2[0-3])\\.[0-5][0-9]\\.[0-5][0-9]\\.[0-9]{3}-[0-9a-f]{16}-[0-9]{10}";

fn segment() -> Value {
    json!({"minLength": 1, "pattern": format!("^{SEGMENT}$")})
}

fn version() -> Value {
    json!({"minLength": 1, "pattern": format!("^{VERSION}$")})
}

/// Text without control characters. Limits are in bytes, and a description counts characters: the last of them may be too
/// many where they are not ASCII.
fn visible(least: usize, most: usize) -> Value {
    json!({"minLength": least, "maxLength": most, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"})
}

fn rule(schema: &mut Value, rules: Value) {
    if let (Value::Object(schema), Value::Object(rules)) = (schema, rules) {
        schema.extend(rules);
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
