//! A value that is read from msgpack, of whatever type, is the same after it was written and read; and so is a type.
//!
//! The first line of an input is a type, the rest a value of it: in msgpack, and in JSON.

use opentaco_provider::plugin::json;
use opentaco_provider::plugin::types::Type;
use opentaco_provider::plugin::value::Value;
use serde_json::value::RawValue;

pub(crate) fn check(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (spelled, rest) = bytes.split_at(end);
    let packed = rest.strip_prefix(b"\n").unwrap_or(rest);
    let Ok(kind) = Type::parse(spelled) else {
        return;
    };
    assert_eq!(Type::parse(&kind.to_bytes()).as_ref(), Ok(&kind));
    for kind in [kind, Type::Dynamic] {
        if let Ok(value) = Value::read(packed, &kind) {
            check_value(&value, &kind);
        }
        if let Ok(text) = serde_json::from_slice::<&RawValue>(packed) {
            if let Ok(value) = json::read(text, &kind) {
                check_value(&value, &kind);
            }
            if let Ok(implied) = json::implied(text) {
                let value = json::read(text, &implied).expect("a value is of the type that it implies");
                check_value(&value, &implied);
            }
        }
    }
}

fn check_value(value: &Value, kind: &Type) {
    let written = value.write(kind);
    let back = Value::read(&written, kind).expect("what we write, we read");
    // `+5` and `5` are one number, and are written alike from then on.
    let again = back.write(kind);
    assert_eq!(again, written, "{value:?} is written in two ways");
    assert_eq!(Value::read(&again, kind).ok(), Some(back));
}
