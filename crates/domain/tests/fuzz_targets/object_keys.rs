//! A key of the S3 door names a state or a lock, leads back to itself, and never to anything of ours.

use opentaco_domain::{ObjectName, UnitId};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(key) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(name) = ObjectName::parse(key) else {
        return;
    };
    let unit = name.unit();
    assert_eq!(ObjectName::parse(&name.key()).as_ref(), Ok(&name));
    assert_eq!(UnitId::parse(unit.as_str()).as_ref(), Ok(unit));
    match &name {
        ObjectName::State(_) => assert_eq!(name.key(), key, "a state has one key"),
        ObjectName::Lock(_) => {
            let state = key.strip_suffix(".tflock").or_else(|| key.strip_suffix(".lock"));
            assert_eq!(
                state,
                Some(unit.state_key().as_str()),
                "a lock lies beside its state"
            );
        }
    }
    assert!(
        !key.starts_with("__opentaco_") || unit.is_reserved(),
        "{key} is ours"
    );
    assert!(
        !key.split('/')
            .any(|segment| matches!(segment, "" | "." | ".." | "@"))
    );
    // Nobody reaches the head or the history of a unit by a key.
    assert!(!unit.state_key().contains("/@/") && !unit.state_key().ends_with("@head.json"));
}
