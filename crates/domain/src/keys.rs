//! Keys of a JSON object as Terraform sees them: Go matches a key to a field whatever its case.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer};
use serde_json::value::RawValue;

/// Reads a key of [`serde_json`]'s and says which of these names it is, if any.
///
/// Keys are read raw: an unknown one with half a surrogate pair in it is valid JSON, and none of our business.
#[derive(Clone, Copy)]
pub(crate) struct OneOf(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let find = |key: &str| self.0.iter().copied().find(|name| is_spelling_of(key, name));
        let plain = raw.trim_matches('"');
        if !plain.contains('\\') {
            return Ok(find(plain));
        }
        Ok(serde_json::from_str::<String>(raw)
            .ok()
            .and_then(|key| find(&key)))
    }
}

/// Whether Go's decoder takes `key` for the field called `name` (in lower case).
///
/// Its folding is Unicode's, and outside ASCII two letters fold to an ASCII one: the long s and the Kelvin sign.
fn is_spelling_of(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|letter| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(name.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_matched_as_gos_decoder_matches_it() {
        for spelling in ["serial", "Serial", "SERIAL", "ſerial", "sERIAL"] {
            assert!(is_spelling_of(spelling, "serial"), "{spelling}");
        }
        assert!(is_spelling_of("\u{212a}ey", "key"));
        for other in ["", "seria", "serial ", "sérial", "serials", "serıal"] {
            assert!(!is_spelling_of(other, "serial"), "{other}");
        }
    }
}
