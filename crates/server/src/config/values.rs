//! How the values of flags are written.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::SignedDuration;
use opentaco_identity::KeyId;

use crate::logging::{LogFormat, Logging};

/// Nobody wants to be let in for longer without being asked.
const LIFETIME_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "not a port: a number from 0 (any free one) to 65535".to_owned())
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("not a number of at least 1".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// A name that clients of S3 take for a bucket's.
pub(super) fn bucket_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_one = (3..=63).contains(&bytes.len())
        && bytes.iter().copied().all(fits)
        && edge(bytes.first())
        && edge(bytes.last());
    match is_one {
        true => Ok(text.to_owned()),
        false => Err("not the name of a bucket: 3 to 63 lower-case letters, digits, `-` and `.`".to_owned()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = text
        .parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "not a duration, such as 90s, 24h or 7d12h".to_owned())
}

/// How long something is good: at least a second, or it never would be.
pub(super) fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let lifetime = text.parse::<SignedDuration>().ok();
    lifetime
        .filter(|lifetime| *lifetime >= SignedDuration::from_secs(1) && *lifetime <= LIFETIME_MAX)
        .ok_or_else(|| "not a duration from 1s to a year, such as 15m, 1h or 720h".to_owned())
}

/// Words with commas or spaces between them.
pub(super) fn list(text: &str) -> Vec<String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

pub(super) fn per_minute(text: &str) -> Result<NonZeroU32, String> {
    text.parse()
        .map_err(|_| "not a number of requests a minute, at least 1".to_owned())
}

pub(super) fn key_id(text: &str) -> Result<KeyId, String> {
    text.parse()
        .map_err(|_| "not the name of a key: 1 to 64 letters, digits, `-` and `_`".to_owned())
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: Option<u64> = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        _ => None,
    };
    let size = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor));
    size.filter(|size| *size > 0)
        .ok_or_else(|| "not a size, such as 256MiB, 1GiB or 1000000".to_owned())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("not a log format: text or json".to_owned()),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    Logging::check(text)
        .map(|()| text.to_owned())
        .map_err(|error| format!("not a log level such as info or debug ({error})"))
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_with_the_units_people_use() {
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("256MiB"), Ok(256 << 20));
        assert_eq!(bytes("1 gib"), Ok(1 << 30));
        assert_eq!(bytes("2GB"), Ok(2_000_000_000));
        for wrong in ["", "0", "MiB", "1.5GiB", "-1", "1TiBs", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_written_with_units_and_never_go_backwards() {
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "24", "-1h", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_switch_is_on_or_off_and_nothing_else() {
        assert_eq!(switch("TRUE"), Ok(true));
        assert_eq!(switch("0"), Ok(false));
        assert!(switch("disabled").is_err());
    }
}
