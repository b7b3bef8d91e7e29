//! Headers of ours.

use opentaco_domain::UnitId;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Names the unit beside the address. A proxy that decodes paths turns one unit's address into another's: then the two
/// differ, and the request is refused instead of meeting the wrong unit.
pub const UNIT: &str = "opentaco-unit";

/// The request's own key: repeated with the same one, a write is answered like the first time.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The longest idempotency key; it is kept in the unit's head with each version.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// A unit as [`UNIT`] spells it: its id, with everything escaped that a header cannot carry.
#[must_use]
pub fn of_unit(unit: &UnitId) -> String {
    utf8_percent_encode(unit.as_str(), ESCAPED).to_string()
}

/// The unit that a value of [`UNIT`] names; `None` if it names none.
#[must_use]
pub fn to_unit(value: &str) -> Option<UnitId> {
    let id = percent_decode_str(value).decode_utf8().ok()?;
    UnitId::parse(&id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_comes_back_from_its_header_which_is_visible_ascii() {
        for id in [
            "myapp/prod",
            "a b/100%",
            "grün/weiß",
            "env:/ws/key",
            "__opentaco_system",
            "a__b",
        ] {
            let unit = UnitId::parse(id).unwrap();
            let value = of_unit(&unit);
            assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{value}");
            assert_eq!(to_unit(&value), Some(unit), "{id}");
        }
        assert_eq!(to_unit(""), None);
        assert_eq!(to_unit("%FF"), None);
    }
}
