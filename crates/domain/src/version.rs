//! Names of versions: a listing of them alone tells the history.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::text::{as_hex, spelled_as_text};
use crate::{LockId, Sha256};

/// One holding of a lock: everything written under it shares this. Spelled as 8 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u32);

impl Session {
    /// The session of a write without a lock.
    pub const NONE: Self = Self(0);

    /// The session of a lock that was just taken; never [`Session::NONE`].
    ///
    /// An id chosen by hand may lock again, so the id alone would not tell two holdings apart: hence the nonce.
    #[must_use]
    pub fn of(lock_id: &LockId, nonce: u64) -> Self {
        let digest = Sha256::of(&[&nonce.to_be_bytes(), lock_id.as_str().as_bytes()].concat());
        let [a, b, c, d, ..] = *digest.bytes();
        Self(u32::from_be_bytes([a, b, c, d]).max(1))
    }
}

impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(as_hex(&self.0.to_be_bytes(), &mut [0; 8]))
    }
}

/// The text is not 8 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a lock session: 8 lower-case hex digits are expected")]
pub struct NotASession;

impl FromStr for Session {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        hex_u32(text).map(Self).ok_or(NotASession)
    }
}

spelled_as_text!(Session, "a lock session in hex");

/// The name of one version of one unit, spelled `<epoch, 16 hex>-<serial>-<session, 8 hex>-<sha256>-<nonce, 8 hex>`.
///
/// Names sort as the history does, as values and as text: a head's epoch only grows, and it comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionId {
    /// The epoch of the head that this version was to be committed to.
    pub epoch: u64,
    /// The serial of the state; 0 where it has none.
    pub serial: u64,
    /// The holding of the lock that it was written under.
    pub session: Session,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// What makes the name unique to one attempt.
    pub nonce: u32,
}

impl Ord for VersionId {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = |version: &Self| {
            (
                version.epoch,
                version.nonce,
                version.serial,
                version.session,
                version.sha256,
            )
        };
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for VersionId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = NameBuffer::new();
        name.push_hex(&self.epoch.to_be_bytes());
        name.push(b"-");
        name.push_decimal(self.serial);
        name.push(b"-");
        name.push_hex(&self.session.0.to_be_bytes());
        name.push(b"-");
        name.push_hex(self.sha256.bytes());
        name.push(b"-");
        name.push_hex(&self.nonce.to_be_bytes());
        formatter.write_str(name.as_str())
    }
}

/// The text is not the name of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a version: `<epoch, 16 hex>-<serial>-<session, 8 hex>-<sha256>-<nonce, 8 hex>` is expected")]
pub struct NotAVersion;

impl FromStr for VersionId {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        Self::read(text).ok_or(NotAVersion)
    }
}

impl VersionId {
    /// Strict, so that no two spellings name the same version.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = Self {
            epoch: hex_u64(parts.next()?)?,
            serial: decimal(parts.next()?)?,
            session: parts.next()?.parse().ok()?,
            sha256: parts.next()?.parse().ok()?,
            nonce: hex_u32(parts.next()?)?,
        };
        parts.next().is_none().then_some(version)
    }
}

spelled_as_text!(VersionId, "the name of a version");

/// The longest name: the digits of all five parts, and what stands between them.
const NAME_BYTES_MAX: usize = 16 + 20 + 8 + 64 + 8 + 4;

/// A name of a version while it is spelled: a head holds some thirty, and each write spells most of them.
struct NameBuffer {
    bytes: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl NameBuffer {
    fn new() -> Self {
        Self {
            bytes: [0; NAME_BYTES_MAX],
            length: 0,
        }
    }

    fn push(&mut self, text: &[u8]) {
        self.room(text.len()).copy_from_slice(text);
    }

    fn push_hex(&mut self, bytes: &[u8]) {
        as_hex(bytes, self.room(bytes.len() * 2));
    }

    fn push_decimal(&mut self, mut number: u64) {
        let length = number.checked_ilog10().unwrap_or(0) as usize + 1;
        for digit in self.room(length).iter_mut().rev() {
            *digit = b"0123456789"[(number % 10) as usize];
            number /= 10;
        }
    }

    fn room(&mut self, length: usize) -> &mut [u8] {
        let start = self.length;
        self.length += length;
        &mut self.bytes[start..self.length]
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).expect("digits and hyphens are ASCII")
    }
}

fn hex_u32(text: &str) -> Option<u32> {
    (text.len() == 8)
        .then(|| hex_u64_of(text))?
        .and_then(|number| number.try_into().ok())
}

fn hex_u64(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| hex_u64_of(text))?
}

/// `from_str_radix` alone would take capitals and a sign.
fn hex_u64_of(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digits.then(|| u64::from_str_radix(text, 16).ok())?
}

fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_version() -> impl Strategy<Value = VersionId> {
        (
            any::<u64>(),
            any::<u64>(),
            any::<u32>(),
            any::<[u8; 8]>(),
            any::<u32>(),
        )
            .prop_map(|(epoch, serial, session, content, nonce)| VersionId {
                epoch,
                serial,
                session: Session(session),
                sha256: Sha256::of(&content),
                nonce,
            })
    }

    fn example() -> VersionId {
        VersionId {
            epoch: 41,
            serial: 7,
            session: Session(0xab),
            sha256: Sha256::of(b"{}"),
            nonce: 1,
        }
    }

    #[test]
    fn a_version_is_spelled_as_the_design_says() {
        let sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(
            example().to_string(),
            format!("0000000000000029-7-000000ab-{sha256}-00000001")
        );
        assert_eq!(
            serde_json::to_value(example()).unwrap(),
            serde_json::json!(example().to_string())
        );
    }

    #[test]
    fn the_longest_and_the_shortest_serial_are_spelled_whole() {
        for serial in [0, 9, 10, 99, 100, u64::MAX - 1, u64::MAX] {
            let version = VersionId {
                epoch: u64::MAX,
                serial,
                nonce: u32::MAX,
                ..example()
            };
            let sha256 = version.sha256;
            assert_eq!(
                version.to_string(),
                format!("ffffffffffffffff-{serial}-000000ab-{sha256}-ffffffff")
            );
        }
    }

    #[test]
    fn every_other_spelling_of_a_version_is_refused() {
        let text = example().to_string();
        let others = [
            String::new(),
            text.to_uppercase(),
            text.replacen("-7-", "-07-", 1),
            text.replacen("-7-", "-+7-", 1),
            text.replacen("-7-", "--7-", 1),
            text.replacen("-7-", "--", 1),
            text.replacen("-7-", "-18446744073709551616-", 1),
            text.replacen("000000ab", "0000ab", 1),
            text.replacen("000000ab", "+00000ab", 1),
            text.replacen("0000000000000029", "000000000000029", 1),
            text.replacen("0000000000000029", "00000000000000029", 1),
            format!("{text}-"),
            format!("{text}-0"),
            format!("{text} "),
            format!(" {text}"),
            text.rsplit_once('-').unwrap().0.to_owned(),
            "é".repeat(8),
        ];
        for other in others {
            assert_eq!(other.parse::<VersionId>(), Err(NotAVersion), "{other}");
        }
        assert_eq!(
            text.replacen("-7-", "-0-", 1)
                .parse::<VersionId>()
                .unwrap()
                .serial,
            0
        );
    }

    #[test]
    fn a_session_tells_two_holdings_of_one_id_apart_and_is_never_none() {
        let id = LockId::parse("by-hand").unwrap();
        assert_ne!(Session::of(&id, 1), Session::of(&id, 2));
        assert_eq!(Session::of(&id, 1), Session::of(&id, 1));
        assert!((0..10_000).all(|nonce| Session::of(&id, nonce) != Session::NONE));
        assert_eq!("000000ab".parse(), Ok(Session(0xab)));
        for other in ["", "ab", "000000AB", "+00000ab", "0000000ab", "0000 0ab"] {
            assert_eq!(other.parse::<Session>(), Err(NotASession), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_version_comes_back_from_its_name(version in any_version()) {
            prop_assert_eq!(version.to_string().parse(), Ok(version));
            let json = serde_json::to_string(&version).unwrap();
            prop_assert_eq!(serde_json::from_str::<VersionId>(&json).unwrap(), version);
        }

        #[test]
        fn versions_sort_by_epoch_as_values_and_as_text(one in any_version(), other in any_version()) {
            prop_assume!(one.epoch != other.epoch);
            prop_assert_eq!(one.cmp(&other), one.epoch.cmp(&other.epoch));
            prop_assert_eq!(one.to_string().cmp(&other.to_string()), one.epoch.cmp(&other.epoch));
        }

        #[test]
        fn versions_of_one_epoch_are_equal_only_if_they_are_the_same(one in any_version(), other in any_version()) {
            let other = VersionId { epoch: one.epoch, ..other };
            prop_assert_eq!(one.cmp(&other) == Ordering::Equal, one == other);
            prop_assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
        }
    }
}
