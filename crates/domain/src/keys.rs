//! Keys of a JSON object as Terraform sees them: Go matches a key to a field whatever its case.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

/// Reads a key and says which of these names it is, if any.
///
/// Keys are read as bytes: an unknown key with half a surrogate pair in it is none of our business.
#[derive(Clone, Copy)]
pub(crate) struct OneOf(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for OneOf {
    type Value = Option<&'static str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(self.0.iter().copied().find(|name| is_spelling_of(key, name)))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        self.visit_bytes(key.as_bytes())
    }
}

/// Whether Go's decoder takes `key` for the field called `name` (in lower case).
///
/// Its folding is Unicode's, and outside ASCII two letters fold to an ASCII one: the long s and the Kelvin sign.
fn is_spelling_of(key: &[u8], name: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(name.as_bytes());
    }
    let Ok(key) = std::str::from_utf8(key) else {
        return false;
    };
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
            assert!(is_spelling_of(spelling.as_bytes(), "serial"), "{spelling}");
        }
        assert!(is_spelling_of("\u{212a}ey".as_bytes(), "key"));
        for other in ["", "seria", "serial ", "sérial", "serials", "serıal"] {
            assert!(!is_spelling_of(other.as_bytes(), "serial"), "{other}");
        }
        assert!(!is_spelling_of(b"seri\xed\xa0\x80al", "serial"));
    }
}
