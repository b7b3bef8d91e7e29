//! A segment: some events of one replica in a file of JSON lines, chained to the one before and signed.
//!
//! ```text
//! 2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007.jsonl      the moment of the first event, the replica, the place
//!
//! {"audit":1,"replica":"9f86d081884c7d65","sequence":7,"at":"2026-11-23T14:15:30.123Z","previous":"<SHA-256 of the file before>"}
//! {"at":"2026-11-23T14:15:30.123Z","principal":"alice@example.com","action":"unit.lock",…}
//! {"at":"2026-11-23T14:15:31.007Z","principal":"alice@example.com","action":"unit.write",…}
//! {"seal":{"kid":"kPrK…","signature":"<Ed25519 over all lines above>"}}
//! ```
//!
//! Names sort by time over all replicas. A segment reaches over less than [`SPAN`], so whoever looks for a time knows
//! from names alone which files to read.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Event;
use crate::Sha256;
use crate::text::spelled_as_text;

/// Between the first and the last event of a segment lies less than this.
pub const SPAN: SignedDuration = SignedDuration::from_secs(5);

/// What is signed begins with this, so that no signature of ours over anything else can stand here.
const SIGNED: &[u8] = b"opentaco audit segment 1\n";

const FORMAT: u32 = 1;

/// How a name spells a moment: to the millisecond, in UTC, without what a file name cannot have everywhere.
const MOMENT: &str = "%Y-%m-%dT%H.%M.%S.%3f";

/// What signs segments.
pub trait Seal: Send + Sync + fmt::Debug {
    /// The signature over `bytes`; none if there is no key to be had.
    fn seal(&self, bytes: &[u8]) -> Option<Signature>;
}

/// The chain of one replica from its start to its end: 64 random bits, as hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replica(u64);

impl Replica {
    /// The chain of that number.
    #[must_use]
    pub fn new(drawn: u64) -> Self {
        Self(drawn)
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for Replica {
    type Err = NotASegment;

    fn from_str(text: &str) -> Result<Self, NotASegment> {
        let plain = text.len() == 16 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        let number = u64::from_str_radix(text, 16).ok().filter(|_| plain);
        number.map(Self).ok_or(NotASegment)
    }
}

spelled_as_text!(Replica, "16 hex digits");

/// The name of a segment. In byte order names are in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// When its first event was, to the millisecond below.
    pub at: Timestamp,
    /// Whose it is.
    pub replica: Replica,
    /// Its place in the chain, from 0.
    pub sequence: u64,
}

/// The text is not the name of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is not the name of a segment, as `2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007` is one")]
pub struct NotASegment;

impl SegmentId {
    /// How a moment is spelled where names begin: before every segment that begins then or later.
    #[must_use]
    pub fn moment(at: Timestamp) -> String {
        at.strftime(MOMENT).to_string()
    }

    /// The day of a moment, in UTC, as folders are called.
    #[must_use]
    pub fn day(at: Timestamp) -> String {
        at.strftime("%Y-%m-%d").to_string()
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            replica,
            sequence,
        } = self;
        write!(formatter, "{}-{replica}-{sequence:010}", Self::moment(*at))
    }
}

impl FromStr for SegmentId {
    type Err = NotASegment;

    fn from_str(text: &str) -> Result<Self, NotASegment> {
        let mut parts = text.rsplitn(3, '-');
        let mut part = || parts.next().ok_or(NotASegment);
        let (sequence, replica, moment) = (part()?, part()?, part()?);
        let at = DateTime::strptime(MOMENT, moment).map_err(|_| NotASegment)?;
        let at = at.to_zoned(TimeZone::UTC).map_err(|_| NotASegment)?.timestamp();
        let id = Self {
            at,
            replica: replica.parse()?,
            sequence: sequence.parse().map_err(|_| NotASegment)?,
        };
        // One spelling each: `+7` and `7` are numbers, too.
        match id.to_string() == text {
            true => Ok(id),
            false => Err(NotASegment),
        }
    }
}

spelled_as_text!(SegmentId, "the name of a segment");

/// The last segment of another chain that a replica saw when its own began. Should the end of that chain be removed
/// later, it is missed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// Whose chain.
    pub replica: Replica,
    /// The place of the last segment that was there.
    pub sequence: u64,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format.
    audit: u32,
    /// Whose chain it is.
    pub replica: Replica,
    /// Its place in it, from 0.
    pub sequence: u64,
    /// When it begins, to the millisecond below.
    pub at: Timestamp,
    /// The SHA-256 of the segment before it.
    pub previous: Option<Sha256>,
    /// How many events could not be kept before these, for want of a bucket.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// What was seen of other chains; only in the first segment of a chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
    /// That the replica has stopped, and no segment follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct Footer {
    seal: Option<Signature>,
}

/// Who vouches for a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The name of the key.
    pub kid: String,
    /// The Ed25519 signature (RFC 8032), in unpadded base64 of the URL alphabet.
    pub signature: String,
}

/// A segment that is to be written.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Whose chain it is.
    pub replica: Replica,
    /// Its place in it.
    pub sequence: u64,
    /// The digest of the one before.
    pub previous: Option<Sha256>,
    /// How many events were lost before these.
    pub lost: u64,
    /// What was seen of other chains.
    pub beside: Vec<Beside>,
    /// That none follows.
    pub last: bool,
    /// When it begins.
    pub at: Timestamp,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

impl Draft {
    /// Its name and its bytes.
    #[must_use]
    pub fn sealed(&self, seal: Option<&dyn Seal>) -> (SegmentId, Vec<u8>) {
        let id = SegmentId {
            at: to_the_millisecond(self.at),
            replica: self.replica,
            sequence: self.sequence,
        };
        let header = Header {
            audit: FORMAT,
            replica: self.replica,
            sequence: self.sequence,
            at: id.at,
            previous: self.previous,
            lost: self.lost,
            beside: self.beside.clone(),
            last: self.last,
        };
        let mut bytes = Vec::new();
        line(&mut bytes, &header);
        for event in &self.events {
            line(&mut bytes, event);
        }
        let seal = seal.and_then(|seal| seal.seal(&signed(&bytes)));
        line(&mut bytes, &Footer { seal });
        (id, bytes)
    }
}

/// A moment without what is finer than a name tells.
#[must_use]
pub fn to_the_millisecond(at: Timestamp) -> Timestamp {
    let millisecond = at.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(millisecond)
        .ok()
        .and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok())
        .unwrap_or(at)
}

fn line(bytes: &mut Vec<u8>, what: &impl Serialize) {
    serde_json::to_writer(&mut *bytes, what).expect("what is told here is JSON, and memory takes it");
    bytes.push(b'\n');
}

/// What a signature is over, for the lines before it.
fn signed(lines: &[u8]) -> Vec<u8> {
    [SIGNED, lines].concat()
}

/// A segment as it was read. Nothing in it is believed yet.
#[derive(Debug, Clone)]
pub struct Read {
    /// What it says of itself.
    pub header: Header,
    /// What happened, oldest first.
    pub events: Vec<Event>,
    /// Who vouches for it.
    pub seal: Option<Signature>,
    /// What the signature has to be over.
    pub(super) signed: Vec<u8>,
}

/// Why some bytes are no segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A line is not what has to stand there.
    #[error("line {line} is none of a segment")]
    Line {
        /// Which, from 1.
        line: usize,
    },
    /// It ends before it should.
    #[error("it breaks off")]
    Short,
    /// Something newer wrote it.
    #[error("it has format {0}, which a newer version wrote")]
    Newer(u32),
    /// What it says of itself is not what it is called.
    #[error("it is called like another segment than it says it is")]
    Misnamed,
}

impl Read {
    /// Reads the segment of that name.
    ///
    /// # Errors
    /// If the bytes are none, or of another segment.
    pub fn parse(id: &SegmentId, bytes: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Format {
            audit: u32,
        }
        let whole = bytes.strip_suffix(b"\n").ok_or(Unreadable::Short)?;
        let mut lines: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
        if lines.len() < 2 {
            return Err(Unreadable::Short);
        }
        let footer = lines.pop().unwrap_or_default();
        let bad = |line| move |_| Unreadable::Line { line };
        let format: Format = serde_json::from_slice(lines[0]).map_err(bad(1))?;
        if format.audit > FORMAT {
            return Err(Unreadable::Newer(format.audit));
        }
        let header: Header = serde_json::from_slice(lines[0]).map_err(bad(1))?;
        let events = lines.iter().enumerate().skip(1);
        let events = events.map(|(at, line)| serde_json::from_slice(line).map_err(bad(at + 1)));
        let events: Vec<Event> = events.collect::<Result<_, _>>()?;
        let last = lines.len() + 1;
        let seal: Footer = serde_json::from_slice(footer).map_err(bad(last))?;
        let says = SegmentId {
            at: header.at,
            replica: header.replica,
            sequence: header.sequence,
        };
        if says != *id {
            return Err(Unreadable::Misnamed);
        }
        Ok(Self {
            header,
            events,
            seal: seal.seal,
            signed: signed(&bytes[..whole.len() - footer.len()]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Caller};

    fn id() -> SegmentId {
        "2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007"
            .parse()
            .unwrap()
    }

    fn draft() -> Draft {
        let at: Timestamp = "2026-11-23T14:15:30.1239Z".parse().unwrap();
        let mut event = Event::done(&Caller::root(), Action::ReadAudit, "read");
        event.at = at;
        Draft {
            replica: id().replica,
            sequence: 7,
            previous: Some(Sha256::of(b"before")),
            lost: 0,
            beside: Vec::new(),
            last: false,
            at,
            events: vec![event],
        }
    }

    #[test]
    fn a_segment_is_read_as_it_was_written() {
        let draft = draft();
        let (name, bytes) = draft.sealed(None);
        assert_eq!(name, id());
        let read = Read::parse(&name, &bytes).unwrap();
        assert_eq!(read.events, draft.events);
        assert_eq!(read.header.previous, draft.previous);
        assert_eq!(read.seal, None);
        assert!(read.signed.starts_with(SIGNED));
    }

    #[test]
    fn names_sort_by_time_then_by_place_in_the_chain() {
        let earlier: SegmentId = "2026-11-23T14.15.30.122-ffffffffffffffff-0000000009"
            .parse()
            .unwrap();
        let next: SegmentId = "2026-11-23T14.15.30.123-9f86d081884c7d65-0000000010"
            .parse()
            .unwrap();
        assert!(earlier < id() && id() < next);
        assert!(earlier.to_string() < id().to_string() && id().to_string() < next.to_string());
        assert!(SegmentId::moment(id().at) < id().to_string());
        assert!(earlier.to_string() < SegmentId::moment(id().at));
    }

    #[test]
    fn a_name_has_one_spelling() {
        for wrong in [
            "",
            "x",
            "2026-11-23T14.15.30.123-9f86d081884c7d65-7",
            "2026-11-23T14.15.30.123-9F86D081884C7D65-0000000007",
            "2026-11-23T14.15.30.123-9f86d081884c7d65-+000000007",
            "2026-11-23T14.15.30-9f86d081884c7d65-0000000007",
            "2026-13-23T14.15.30.123-9f86d081884c7d65-0000000007",
            "../2026-11-23T14.15.30.123-9f86d081884c7d65-0000000007",
        ] {
            assert_eq!(wrong.parse::<SegmentId>(), Err(NotASegment), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_segment_is_told_by_its_line() {
        let (name, bytes) = draft().sealed(None);
        let text = String::from_utf8(bytes).unwrap();
        let parse = |text: &str| Read::parse(&name, text.as_bytes()).unwrap_err();
        assert_eq!(parse(""), Unreadable::Short);
        assert_eq!(parse("{}\n"), Unreadable::Short);
        assert_eq!(parse(&text[..text.len() - 1]), Unreadable::Short);
        assert_eq!(
            parse(&text.replacen("\"principal\"", "\"principle\"", 1)),
            Unreadable::Line { line: 2 }
        );
        assert_eq!(
            parse(&text.replacen("\"seal\"", "seal", 1)),
            Unreadable::Line { line: 3 }
        );
        assert_eq!(
            parse(&text.replacen("\"audit\":1", "\"audit\":2", 1)),
            Unreadable::Newer(2)
        );
        let other: SegmentId = "2026-11-23T14.15.30.123-9f86d081884c7d65-0000000008"
            .parse()
            .unwrap();
        assert_eq!(
            Read::parse(&other, text.as_bytes()).unwrap_err(),
            Unreadable::Misnamed
        );
        let later: SegmentId = "2026-11-23T14.15.31.123-9f86d081884c7d65-0000000007"
            .parse()
            .unwrap();
        assert_eq!(
            Read::parse(&later, text.as_bytes()).unwrap_err(),
            Unreadable::Misnamed
        );
    }
}
