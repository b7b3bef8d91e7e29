//! The one spelling of a JSON value, so that equal values have equal digests: RFC 8785, with exact numbers.
//!
//! RFC 8785 reads every number as a double. Terraform's numbers are exact decimals, and two ids beyond 2^53 may differ
//! in their last digit alone. So a number that a double holds is spelled as RFC 8785 spells it (`1e21` is `1e+21`,
//! `1.0` is `1`), and one that a double would round keeps all its digits, laid out by the same rule. But for fractions of
//! 17 digits and less: those are how programs write a double, `0.10000000000000001` being 0.1, and are read as one.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::Sha256;
use crate::text::spelled_as_text;

/// How deep a value may be nested. Terraform's own types end long before.
const DEPTH_MAX: usize = 64;
/// So many digits tell every double from its neighbours, and programs that want to be sure write no more.
const DOUBLE_DIGITS: usize = 17;

/// The digest of a value: base58 of the SHA-256 of its canonical spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Box<str>);

/// Why a value has no digest. It never quotes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value has no canonical spelling")]
pub struct NoDigest;

impl Digest {
    /// The digest of a JSON value as it is written.
    ///
    /// # Errors
    /// If it is no JSON value, has a string that is no text, or is nested beyond reason.
    pub fn of(value: &str) -> Result<Self, NoDigest> {
        let spelled = canonical(value)?;
        let digest = Sha256::of(spelled.as_bytes());
        Ok(Self(bs58::encode(digest.bytes()).into_string().into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::str::FromStr for Digest {
    type Err = std::convert::Infallible;

    /// Any text: digests that others wrote are compared, never believed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

spelled_as_text!(Digest, "a digest");

/// The canonical spelling of a JSON value.
///
/// # Errors
/// As [`Digest::of`].
pub fn canonical(value: &str) -> Result<String, NoDigest> {
    let value: &RawValue = serde_json::from_str(value).map_err(|_| NoDigest)?;
    let mut spelled = String::with_capacity(value.get().len());
    spell(value.get(), 0, &mut spelled)?;
    Ok(spelled)
}

/// Spells a value that is known to be JSON.
fn spell(value: &str, depth: usize, into: &mut String) -> Result<(), NoDigest> {
    if depth > DEPTH_MAX {
        return Err(NoDigest);
    }
    match value.as_bytes().first() {
        Some(b'{') => {
            let Members(mut members) = serde_json::from_str(value).map_err(|_| NoDigest)?;
            // Among equal keys the last one counts, as it does for Go. The sort is stable.
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            into.push('{');
            let mut first = true;
            for (at, (key, member)) in members.iter().enumerate() {
                if members.get(at + 1).is_some_and(|(next, _)| next == key) {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    into.push(',');
                }
                spell_string(key, into);
                into.push(':');
                spell(member.get(), depth + 1, into)?;
            }
            into.push('}');
        }
        Some(b'[') => {
            let Elements(elements) = serde_json::from_str(value).map_err(|_| NoDigest)?;
            into.push('[');
            for (at, element) in elements.into_iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                spell(element.get(), depth + 1, into)?;
            }
            into.push(']');
        }
        Some(b'"') => spell_string(&text(value)?, into),
        Some(b't' | b'f' | b'n') => into.push_str(value),
        Some(_) => spell_number(value, into),
        None => return Err(NoDigest),
    }
    Ok(())
}

fn text(value: &str) -> Result<Cow<'_, str>, NoDigest> {
    let Text(text) = serde_json::from_str(value).map_err(|_| NoDigest)?;
    Ok(text)
}

/// As ECMAScript's `JSON.stringify` does: what must be escaped is, in its shortest form, and nothing else.
fn spell_string(text: &str, into: &mut String) {
    into.push('"');
    for letter in text.chars() {
        match letter {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\u{8}' => into.push_str("\\b"),
            '\t' => into.push_str("\\t"),
            '\n' => into.push_str("\\n"),
            '\u{c}' => into.push_str("\\f"),
            '\r' => into.push_str("\\r"),
            control if control < ' ' => into.push_str(&format!("\\u{:04x}", u32::from(control))),
            letter => into.push(letter),
        }
    }
    into.push('"');
}

/// A number as sign, significant digits and the place of the point: 0.`digits` × 10^`point`.
#[derive(Debug, PartialEq, Eq)]
struct Decimal<'a> {
    negative: bool,
    digits: Cow<'a, str>,
    point: i128,
}

impl<'a> Decimal<'a> {
    /// Reads a number of JSON. None if its exponent is beyond all counting.
    fn read(number: &'a str) -> Option<Self> {
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (number, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = match (whole, fraction) {
            (whole, "") => Cow::Borrowed(whole),
            (whole, fraction) => Cow::Owned(format!("{whole}{fraction}")),
        };
        let significant = digits.trim_start_matches('0');
        if significant.is_empty() {
            // There is one zero.
            return Some(Self {
                negative: false,
                digits: Cow::Borrowed("0"),
                point: 1,
            });
        }
        let leading = digits.len() - significant.len();
        let length = i128::try_from(whole.len()).ok()? - i128::try_from(leading).ok()?;
        let significant = significant.trim_end_matches('0');
        Some(Self {
            negative,
            point: length + i128::from(exponent),
            digits: Cow::Owned(significant.to_owned()),
        })
    }

    /// Whether it is a fraction as short as programs write doubles.
    fn is_a_double(&self) -> bool {
        let count = self.digits.len();
        i128::try_from(count).is_ok_and(|count| count > self.point) && count <= DOUBLE_DIGITS
    }
}

/// By the rules of ECMAScript's `Number::toString`, which RFC 8785 takes over, for any number of digits.
fn spell_number(number: &str, into: &mut String) {
    let Some(exact) = Decimal::read(number) else {
        // No reader could make a value of this; its own text tells it from others.
        into.push_str(number);
        return;
    };
    if exact.is_a_double()
        && let Ok(double) = number.parse::<f64>()
        // What is too small for a double stays as it is.
        && double != 0.0
    {
        into.push_str(ryu_js::Buffer::new().format(double));
        return;
    }
    let Decimal {
        negative,
        digits,
        point,
    } = exact;
    if negative {
        into.push('-');
    }
    let count = digits.len() as i128;
    let zeros = |many: i128| "0".repeat(usize::try_from(many).unwrap_or_default());
    if count <= point && point <= 21 {
        into.push_str(&digits);
        into.push_str(&zeros(point - count));
    } else if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
        into.push_str(whole);
        into.push('.');
        into.push_str(fraction);
    } else if -6 < point && point <= 0 {
        into.push_str("0.");
        into.push_str(&zeros(-point));
        into.push_str(&digits);
    } else {
        let (first, rest) = digits.split_at(1);
        into.push_str(first);
        if !rest.is_empty() {
            into.push('.');
            into.push_str(rest);
        }
        let exponent = point - 1;
        into.push_str(&format!(
            "e{}{}",
            if exponent < 0 { '-' } else { '+' },
            exponent.abs()
        ));
    }
}

/// The members of an object, as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Text(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(All).map(Members)
    }
}

/// The elements of an array, as they are written.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(All).map(Elements)
    }
}

/// A string, borrowed where it can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> String {
        canonical(value).unwrap()
    }

    #[test]
    fn values_are_spelled_as_in_the_examples_of_rfc_8785() {
        // Section 3.2.2 and 3.2.3 of the RFC.
        let written = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        assert_eq!(
            of(written),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
        let keys = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        assert_eq!(
            of(keys),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn doubles_are_spelled_as_in_appendix_b_of_rfc_8785() {
        for (bits, spelled) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let double = f64::from_bits(bits);
            // As JSON writers write it: in the fewest digits that read back.
            assert_eq!(of(&format!("{double:e}")), spelled, "{bits:x}");
        }
    }

    #[test]
    fn numbers_that_a_double_would_round_keep_their_digits() {
        for (written, spelled) in [
            ("9007199254740993", "9007199254740993"),
            ("9007199254740992", "9007199254740992"),
            ("9007199254740993.0", "9007199254740993"),
            ("900719925474099300e-2", "9007199254740993"),
            ("1e21", "1e+21"),
            ("1000000000000000000000", "1e+21"),
            ("100000000000000000000", "100000000000000000000"),
            (
                "123456789012345678901234567890",
                "1.2345678901234567890123456789e+29",
            ),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("0e99999999999999999999", "0e99999999999999999999"),
            ("1.0", "1"),
            ("10E-1", "1"),
            ("0.10000000000000001", "0.1"),
            (
                "0.1000000000000000055511151231257827",
                "0.1000000000000000055511151231257827",
            ),
            ("1e400", "1e+400"),
            ("1e-400", "1e-400"),
            ("1e-7", "1e-7"),
            ("0.0000012", "0.0000012"),
            ("-12.50", "-12.5"),
        ] {
            assert_eq!(of(written), spelled, "{written}");
        }
        assert_ne!(Digest::of("9007199254740993"), Digest::of("9007199254740992"));
        assert_eq!(Digest::of("1e21"), Digest::of("1000000000000000000000.0"));
    }

    #[test]
    fn strings_are_escaped_where_they_must_be_and_nowhere_else() {
        assert_eq!(
            of(r#""<a href='x'>&amp;</a>\u2028\u2029\u007f""#),
            "\"<a href='x'>&amp;</a>\u{2028}\u{2029}\u{7f}\""
        );
        assert_eq!(of(r#""\u003c\u003e\u0026""#), r#""<>&""#);
        assert_eq!(
            of(r#""\u0000\b\t\n\u000b\f\r\u001f\/""#),
            r#""\u0000\b\t\n\u000b\f\r\u001f/""#
        );
        // What a Go program escapes is the same value.
        assert_eq!(
            Digest::of(r#"{"a":"\u003cb\u003e"}"#),
            Digest::of(r#"{ "a" : "<b>" }"#)
        );
    }

    #[test]
    fn the_last_of_a_repeated_key_counts_and_order_does_not() {
        assert_eq!(
            of(r#"{"b":1,"a":2,"b":{"d":[ ],"c":{ }}}"#),
            r#"{"a":2,"b":{"c":{},"d":[]}}"#
        );
        assert_eq!(of(r#"{"a":1,"\u0061":2}"#), r#"{"a":2}"#);
    }

    #[test]
    fn what_is_no_value_has_no_digest_and_nothing_overflows() {
        for none in ["", "{", "[1,]", "nul", "1 2", r#""\ud800""#, r#"{"\ud800":1}"#] {
            assert_eq!(Digest::of(none), Err(NoDigest), "{none}");
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Digest::of(&deep(60)).is_ok());
        assert_eq!(Digest::of(&deep(100_000)), Err(NoDigest));
    }

    proptest::proptest! {
        #[test]
        fn the_canonical_spelling_is_its_own(text in "\\PC{0,20}", number in proptest::num::f64::NORMAL, whole: i64) {
            let value = serde_json::json!({ "text": text, "number": number, "whole": whole, text.clone(): [text] });
            let spelled = of(&value.to_string());
            proptest::prop_assert_eq!(&of(&spelled), &spelled);
            let read: serde_json::Value = serde_json::from_str(&spelled).unwrap();
            proptest::prop_assert_eq!(&read["whole"], &value["whole"]);
            proptest::prop_assert_eq!(&read["text"], &value["text"]);
            let at = spelled.find("\"number\":").unwrap() + "\"number\":".len();
            let number_alone: String = spelled[at..].chars().take_while(|c| !",}".contains(*c)).collect();
            proptest::prop_assert_eq!(number_alone.parse(), Ok(number));
        }
    }
}
