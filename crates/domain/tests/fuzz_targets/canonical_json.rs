//! The canonical spelling of JSON is JSON, says the same, and is its own canonical spelling.

use opentaco_domain::graph::canonical::{Digest, canonical};
use serde_json::Value;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(spelled) = canonical(text) else {
        assert!(Digest::of(text).is_err());
        return;
    };
    assert_eq!(
        canonical(&spelled).as_ref(),
        Ok(&spelled),
        "it is its own spelling"
    );
    assert_eq!(Digest::of(text), Digest::of(&spelled));
    // White space means nothing.
    assert_eq!(canonical(&format!(" {text}\n")).as_ref(), Ok(&spelled));
    // What a reader that knows nothing of this makes of both is the same, where it can hold the numbers at all.
    if let Ok(before) = serde_json::from_str::<Value>(text) {
        let after = serde_json::from_str::<Value>(&spelled).expect("the canonical spelling is JSON");
        assert!(same(&before, &after), "{before} became {after}");
    }
}

/// Equal, and numbers as near as a double comes.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => one == other || (one - other).abs() <= one.abs() * 1e-15,
            _ => false,
        },
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}
