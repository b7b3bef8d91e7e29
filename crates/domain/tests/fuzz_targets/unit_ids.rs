//! Whatever is read as a unit id, in any of its spellings, comes back from each of them.

use opentaco_domain::limits::{UNIT_ID_BYTES_MAX, UNIT_SEGMENT_BYTES_MAX};
use opentaco_domain::{UnitId, UnitPrefix};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(unit) = UnitId::parse(text) {
        check_id(&unit);
    }
    if let Ok(unit) = UnitId::from_segment(text) {
        check_id(&unit);
    }
    if let Some(unit) = UnitId::from_state_key(text) {
        assert_eq!(unit.state_key(), text);
        check_id(&unit);
    }
    if let Ok(prefix) = UnitPrefix::parse(text) {
        assert!(text.ends_with(prefix.as_str()));
    }
}

fn check_id(unit: &UnitId) {
    let id = unit.as_str();
    assert!(!id.is_empty() && id.len() <= UNIT_ID_BYTES_MAX);
    assert!(!id.contains(char::is_control));
    let forbidden = ["", ".", "..", "@", "@head.json"];
    assert!(
        id.split('/')
            .all(|segment| { !forbidden.contains(&segment) && segment.len() <= UNIT_SEGMENT_BYTES_MAX })
    );
    assert!(!id.starts_with("__opentaco_") || id == "__opentaco_system");

    assert_eq!(UnitId::parse(id).as_ref(), Ok(unit));
    assert_eq!(UnitId::parse(&unit.state_key()).as_ref(), Ok(unit));
    assert_eq!(UnitId::from_state_key(&unit.state_key()).as_ref(), Some(unit));
    assert!(unit.state_key().ends_with(".tfstate"));

    let segment = unit.to_segment();
    assert!(
        segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
    );
    assert_eq!(UnitId::from_segment(&segment).as_ref(), Ok(unit));

    let json = serde_json::to_string(unit).expect("an id is a string");
    assert_eq!(serde_json::from_str::<UnitId>(&json).expect("it was one"), *unit);
}
