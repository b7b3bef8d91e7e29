//! A state is read exactly if it is one JSON object, and another serial changes nothing else that is read from it.

use opentaco_domain::StateSummary;
use opentaco_domain::state::{StateError, with_serial};
use serde::de::IgnoredAny;

pub(crate) fn check(bytes: &[u8]) {
    let read = StateSummary::read(bytes);
    assert_eq!(read.is_ok(), is_one_object(bytes));
    let changed = with_serial(bytes, 7);
    let summary = match read {
        Ok(summary) if summary.encrypted => return assert_eq!(changed, Err(StateError::Encrypted)),
        Ok(summary) => summary,
        Err(error) => return assert_eq!(changed, Err(error)),
    };
    let changed = changed.expect("what can be read can be changed");
    let expected = StateSummary {
        serial: Some(7),
        ..summary
    };
    assert_eq!(StateSummary::read(&changed), Ok(expected));
    assert_eq!(with_serial(&changed, 7).as_ref(), Ok(&changed));
    let detour = with_serial(&changed, u64::MAX).expect("it is still a state");
    assert_eq!(with_serial(&detour, 7), Ok(changed));
}

/// What a JSON reader that knows nothing of states says.
fn is_one_object(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}
