#![expect(
    clippy::needless_pass_by_value,
    reason = "a state is written down here where it is used"
)]

use std::io::Write as _;

use serde_json::{Value, json};

use super::*;

fn side(name: &str, text: &str) -> Side {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Side {
        name: name.to_owned(),
        file: Some(file),
    }
}

fn differ(before: &Value, after: &Value) -> StateDiff {
    diff(
        side("before", &before.to_string()),
        side("after", &serde_json::to_string_pretty(after).unwrap()),
    )
    .unwrap()
}

fn state(resources: Value, outputs: Value) -> Value {
    json!({"version": 4, "serial": 1, "lineage": "l", "resources": resources, "outputs": outputs})
}

fn instance(attributes: Value) -> Value {
    json!({"schema_version": 0, "attributes": attributes, "sensitive_attributes": []})
}

fn resource(name: &str, instances: Value) -> Value {
    json!({"mode": "managed", "type": "t", "name": name, "provider": "p", "instances": instances})
}

#[test]
fn the_same_state_in_another_spelling_is_the_same() {
    let one = r#"{"version": 4, "serial": 1, "resources": [
        {"mode": "managed", "type": "t", "name": "a", "instances": [{"attributes": {"x": "\u003c", "y": [1, 2]}}]}
    ], "outputs": {"o": {"value": {"a": 1, "b": 2}, "type": "string"}}}"#;
    let other = r#"{"outputs":{"o":{"type":"string","value":{"b":2,"a":1}}},"resources":[{"instances":[{"attributes":{"y":[1,2],"x":"<"}}],"name":"a","type":"t","mode":"managed"}],"serial":1,"version":4}"#;
    let diff = diff(side("one", one), side("other", other)).unwrap();
    assert!(diff.same, "{diff:?}");
}

#[test]
fn resources_are_found_added_changed_and_removed_under_the_addresses_terraform_gives_them() {
    let mut data = resource("d", json!([instance(json!({"x": 1}))]));
    data["mode"] = json!("data");
    data["module"] = json!("module.m[\"k\"]");
    let before = state(
        json!([
            data,
            resource(
                "each",
                json!([
                    {"index_key": "a", "attributes": {"x": 1}},
                    {"index_key": 0, "attributes": {"x": 1}},
                    {"index_key": 0, "deposed": "abcd", "attributes": {"x": 1}},
                ])
            ),
            resource("gone", json!([instance(json!({}))])),
        ]),
        json!({}),
    );
    let mut data = data.clone();
    data["instances"][0]["attributes"]["x"] = json!(2);
    let after = state(
        json!([
            data,
            resource(
                "each",
                json!([
                    {"index_key": "a", "attributes": {"x": 1, "y": true}},
                    {"index_key": 0, "attributes": {"x": 1}, "status": "tainted"},
                ])
            ),
            resource("new", json!([instance(json!({}))])),
        ]),
        json!({}),
    );
    let found: Vec<_> = differ(&before, &after)
        .resources
        .into_iter()
        .map(|resource| {
            let attributes: Vec<_> = resource.attributes.into_iter().map(|field| field.name).collect();
            (resource.address, resource.change, attributes.join(","))
        })
        .collect();
    let found: Vec<_> = found
        .iter()
        .map(|(address, change, attributes)| (address.as_str(), *change, attributes.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("module.m[\"k\"].data.t.d", Change::Changed, "x"),
            ("t.each[\"a\"]", Change::Changed, "y"),
            ("t.each[0]", Change::Changed, "(status)"),
            ("t.each[0] (deposed abcd)", Change::Removed, ""),
            ("t.gone", Change::Removed, ""),
            ("t.new", Change::Added, ""),
        ]
    );
}

#[test]
fn no_sensitive_value_is_told_from_either_side() {
    let sensitive = |attributes: Value, paths: Value| {
        let mut instance = instance(attributes);
        instance["sensitive_attributes"] = paths;
        instance["private"] = attributes_of(&instance);
        state(json!([resource("a", json!([instance]))]), json!({}))
    };
    let path = |name: &str| json!([[{"type": "get_attr", "value": name}, {"type": "index", "value": 0}]]);
    let (one, other) = (
        json!({"x": ["CANARY-1"], "y": 1}),
        json!({"x": ["CANARY-2"], "y": 2}),
    );
    for (before, after, told) in [
        (path("x"), json!([]), "y"),
        (json!([]), path("x"), "y"),
        (json!([[]]), json!([]), ""),
        (json!("odd"), json!([]), ""),
    ] {
        let diff = differ(&sensitive(one.clone(), before), &sensitive(other.clone(), after));
        let text = serde_json::to_string(&diff).unwrap();
        assert!(!text.contains("CANARY"), "{text}");
        let open: Vec<_> = diff.resources[0]
            .attributes
            .iter()
            .filter(|field| !field.sensitive && !field.name.starts_with('('))
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(open.join(","), told);
        assert!(diff.resources[0].attributes.iter().any(|field| field.name == "x"));
    }
    let named = |value: &str| {
        state(
            json!([resource("a", json!([instance(json!({"admin_Password": value}))]))]),
            json!({"o": {"value": value, "sensitive": true}, "db_password": {"value": value}}),
        )
    };
    let diff = differ(&named("CANARY-1"), &named("CANARY-2"));
    assert!(!serde_json::to_string(&diff).unwrap().contains("CANARY"));
    assert_eq!((diff.resources.len(), diff.outputs.len()), (1, 2));
}

#[test]
fn a_secret_within_an_attribute_is_masked_and_what_stands_beside_it_is_told() {
    let with = |secret: &str, port: u16| {
        let attributes = json!({
            "settings": [{"port": port, "admin": {"password": secret, "has_token": true}}],
            "environment": [{"name": "DB_PASSWORD", "value": secret}, {"name": "PORT", "value": port.to_string()}],
        });
        state(
            json!([resource("a", json!([instance(attributes)]))]),
            json!({"db": {"value": {"client_secret": secret, "port": port}}}),
        )
    };
    let diff = differ(&with("CANARY-1", 1), &with("CANARY-2", 2));
    assert!(!serde_json::to_string(&diff).unwrap().contains("CANARY"));
    let fields = &diff.resources[0].attributes;
    assert_eq!(
        fields
            .iter()
            .map(|field| field.after.clone().unwrap())
            .collect::<Vec<_>>(),
        [
            json!([{"name": "DB_PASSWORD", "value": "(sensitive)"}, {"name": "PORT", "value": "2"}]),
            json!([{"port": 2, "admin": {"password": "(sensitive)", "has_token": true}}]),
        ]
    );
    assert_eq!(
        diff.outputs[0].before,
        Some(json!({"client_secret": "(sensitive)", "port": 1}))
    );
    let only = differ(&with("CANARY-1", 1), &with("CANARY-2", 1));
    assert!(!only.same, "that a secret changed is told");
}

fn attributes_of(instance: &Value) -> Value {
    json!(instance["attributes"].to_string())
}

#[test]
fn numbers_that_a_double_would_round_are_told_apart_with_all_their_digits() {
    let with = |number: &str| {
        format!(
            r#"{{"version":4,"resources":[{{"mode":"managed","type":"t","name":"a","instances":[{{"attributes":{{"n":{number}}}}}]}}]}}"#
        )
    };
    let (one, other) = ("12345678901234567890123", "12345678901234567890124");
    let diff = diff(side("a", &with(one)), side("b", &with(other))).unwrap();
    let field = &diff.resources[0].attributes[0];
    assert_eq!(
        (&field.before, &field.after),
        (&Some(json!(one)), &Some(json!(other)))
    );
}

#[test]
fn outputs_are_compared_by_value_and_a_change_of_their_secrecy_is_told() {
    let outputs = |value: Value| state(json!([]), value);
    let before = outputs(json!({"a": {"value": 1}, "b": {"value": [1]}, "c": {"value": 1}}));
    let after =
        outputs(json!({"a": {"value": 2}, "b": {"value": [1]}, "d": {"value": 1, "sensitive": true}}));
    let found: Vec<_> = differ(&before, &after)
        .outputs
        .into_iter()
        .map(|field| (field.name, field.change, field.sensitive))
        .collect();
    assert_eq!(
        found,
        [
            ("a".to_owned(), Change::Changed, false),
            ("c".to_owned(), Change::Removed, false),
            ("d".to_owned(), Change::Added, true),
        ]
    );
    let open = outputs(json!({"a": {"value": 1}}));
    let closed = outputs(json!({"a": {"value": 1, "sensitive": true}}));
    assert_eq!(differ(&open, &closed).outputs[0].name, "a (sensitive)");
}

#[test]
fn no_state_is_as_good_as_an_empty_one() {
    let nothing = Side {
        name: "nothing".to_owned(),
        file: None,
    };
    let some = state(json!([resource("a", json!([instance(json!({}))]))]), json!({}));
    let found = diff(nothing, side("some", &some.to_string())).unwrap();
    assert_eq!(found.resources[0].change, Change::Added);
    assert!(diff(side("a", ""), side("b", "")).unwrap().same);
}

#[test]
fn what_cannot_be_compared_is_refused_and_never_quoted() {
    for (text, why) in [
        (r#"{"version":4,"encrypted_data":"CANARY"}"#, "is encrypted"),
        (r#"{"version":3,"modules":["CANARY"]}"#, "format 3"),
        (r#"{"version":4,"resources":[{"CANARY":"#, "reads oddly at line 1"),
        (r#"["CANARY"]"#, "reads oddly"),
        (r#"{"version":4,"resources":["CANARY"]}"#, "reads oddly"),
        (r#"{"version":4,"resources":[{"mode":"CANARY"}]}"#, "reads oddly"),
    ] {
        let failure = diff(side("a", text), side("b", "{\"version\":4}")).unwrap_err();
        assert!(failure.text().contains(why), "{text}: {}", failure.text());
        assert!(!failure.text().contains("CANARY"), "{}", failure.text());
    }
}
