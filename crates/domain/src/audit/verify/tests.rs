//! Each kind of tampering, done to a chain that is right.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jiff::Timestamp;

use super::super::Event;
use super::super::segment::{Draft, Seal};
use super::*;
use crate::{Action, Caller};

/// A real key.
struct Key(Ed25519KeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

impl Key {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    fn public(&self) -> Keys {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        let set = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"AA","kid":"k"}},{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#
        );
        Keys::from_jwks(set.as_bytes()).unwrap()
    }
}

impl Seal for Key {
    fn seal(&self, bytes: &[u8]) -> Option<Signature> {
        Some(Signature {
            kid: "k".to_owned(),
            signature: URL_SAFE_NO_PAD.encode(self.0.sign(bytes)),
        })
    }
}

type Segment = (SegmentId, Vec<u8>);

/// A chain of five segments, the last of which ends it.
fn chain(key: Option<&Key>, replica: u64, beside: &[Beside]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for sequence in 0..5 {
        let at = Timestamp::from_second(1_800_000_000 + i64::try_from(sequence).unwrap()).unwrap();
        let mut event = Event::done(&Caller::user("alice"), Action::Read, "read");
        event.at = at;
        let draft = Draft {
            replica: Replica::new(replica),
            sequence,
            previous: segments.last().map(|(_, bytes)| Sha256::of(bytes)),
            lost: 0,
            beside: if sequence == 0 {
                beside.to_vec()
            } else {
                Vec::new()
            },
            last: sequence == 4,
            at,
            events: vec![event],
        };
        segments.push(draft.sealed(key.map(|key| key as &dyn Seal)));
    }
    segments
}

fn audit(keys: Keys, segments: &[Segment]) -> Report {
    audit_since(keys, None, segments)
}

fn audit_since(keys: Keys, since: Option<Timestamp>, segments: &[Segment]) -> Report {
    let mut sorted = segments.to_vec();
    sorted.sort_by_key(|(id, _)| (id.replica, id.sequence));
    let mut auditor = Auditor::new(keys, since);
    for (id, bytes) in &sorted {
        match since.is_some_and(|since| id.at < since) {
            true => auditor.pass_over(*id),
            false => auditor.read(*id, bytes),
        }
    }
    auditor.finish()
}

fn flaws(report: &Report) -> Vec<(u64, Flaw)> {
    let place = |finding: &Finding| match finding.place {
        Place::Segment(id) => id.sequence,
        Place::Chain(_) => u64::MAX,
    };
    let findings = report.findings.iter();
    findings
        .map(|finding| (place(finding), finding.flaw.clone()))
        .collect()
}

#[test]
fn a_chain_that_nobody_touched_is_right() {
    let key = Key::new();
    let report = audit(key.public(), &chain(Some(&key), 1, &[]));
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.segments, report.events, report.chains, report.unsealed),
        (5, 5, 1, 0)
    );
    assert_eq!(report.open, []);
}

#[test]
fn a_byte_that_was_changed_anywhere_is_found() {
    let key = Key::new();
    let whole = chain(Some(&key), 1, &[]);
    for at in 0..whole[2].1.len() {
        let mut segments = whole.clone();
        segments[2].1[at] ^= 1;
        let report = audit(key.public(), &segments);
        assert!(!report.findings.is_empty(), "byte {at}");
    }
}

#[test]
fn a_name_in_an_event_that_was_changed_breaks_the_seal_and_the_chain() {
    let key = Key::new();
    let mut segments = chain(Some(&key), 1, &[]);
    let text = String::from_utf8(segments[2].1.clone()).unwrap();
    segments[2].1 = text.replace("alice", "mally").into_bytes();
    let report = audit(key.public(), &segments);
    assert_eq!(flaws(&report), [(2, Flaw::BadSeal), (3, Flaw::Broken)]);
}

#[test]
fn a_segment_that_is_missing_is_named() {
    let key = Key::new();
    for (gone, first, last) in [(1..2, 1, 1), (1..4, 1, 3), (0..1, 0, 0)] {
        let mut segments = chain(Some(&key), 1, &[]);
        segments.drain(gone);
        let report = audit(key.public(), &segments);
        assert_eq!(
            flaws(&report),
            [(
                last + 1,
                Flaw::Missing {
                    from: first,
                    to: last
                }
            )]
        );
    }
}

#[test]
fn two_segments_that_changed_places_are_found() {
    let key = Key::new();
    let mut segments = chain(Some(&key), 1, &[]);
    let (one, two) = (segments[1].1.clone(), segments[2].1.clone());
    segments[1].1 = two;
    segments[2].1 = one;
    let report = audit(key.public(), &segments);
    let misnamed = || Flaw::Unreadable(Unreadable::Misnamed);
    assert_eq!(flaws(&report), [(1, misnamed()), (2, misnamed())]);
}

#[test]
fn a_segment_of_another_replica_in_the_place_of_ones_own_is_found() {
    let key = Key::new();
    let mut segments = chain(Some(&key), 1, &[]);
    segments[2].1.clone_from(&chain(Some(&key), 2, &[])[2].1);
    let report = audit(key.public(), &segments);
    assert_eq!(flaws(&report), [(2, Flaw::Unreadable(Unreadable::Misnamed))]);
}

#[test]
fn a_chain_that_somebody_else_made_is_found_by_its_signature() {
    let (ours, theirs) = (Key::new(), Key::new());
    let report = audit(ours.public(), &chain(Some(&theirs), 1, &[]));
    assert_eq!(
        flaws(&report),
        (0..5).map(|n| (n, Flaw::BadSeal)).collect::<Vec<_>>()
    );
    let report = audit(ours.public(), &chain(None, 1, &[]));
    assert_eq!(
        flaws(&report),
        (0..5).map(|n| (n, Flaw::Unsealed)).collect::<Vec<_>>()
    );
}

#[test]
fn where_nobody_signs_the_chain_alone_is_judged_and_that_is_said() {
    let mut segments = chain(None, 1, &[]);
    let report = audit(Keys::default(), &segments);
    assert_eq!((report.findings.len(), report.unsealed), (0, 5));
    let text = String::from_utf8(segments[2].1.clone()).unwrap();
    segments[2].1 = text.replace("alice", "mally").into_bytes();
    let report = audit(Keys::default(), &segments);
    assert_eq!(flaws(&report), [(3, Flaw::Broken)]);
}

#[test]
fn a_chain_whose_end_was_removed_is_open_and_missed_by_whoever_saw_it() {
    let key = Key::new();
    let mut segments = chain(Some(&key), 1, &[]);
    segments.truncate(3);
    let report = audit(key.public(), &segments);
    assert_eq!(
        (report.findings.len(), report.open.len()),
        (0, 1),
        "nobody can tell it from one that was killed"
    );
    let beside = [Beside {
        replica: Replica::new(1),
        sequence: 4,
    }];
    segments.extend(chain(Some(&key), 2, &beside));
    let report = audit(key.public(), &segments);
    assert_eq!(flaws(&report), [(2, Flaw::Truncated { seen: 4 })]);
}

#[test]
fn a_chain_of_which_nothing_is_left_is_missed_by_whoever_saw_it() {
    let key = Key::new();
    let beside = [Beside {
        replica: Replica::new(1),
        sequence: 4,
    }];
    let segments = chain(Some(&key), 2, &beside);
    let report = audit(key.public(), &segments);
    assert_eq!(report.findings[0].place, Place::Chain(Replica::new(1)));
    assert_eq!(
        report.findings[0].to_string(),
        "chain 0000000000000001: nothing is left of it, and segment 4 was there once"
    );
}

#[test]
fn from_a_moment_in_the_middle_a_chain_goes_on_from_older_segments_and_does_not_break() {
    let key = Key::new();
    let whole = chain(Some(&key), 1, &[]);
    let since = Some(whole[2].0.at);
    let report = audit_since(key.public(), since, &whole);
    assert_eq!((report.findings.len(), report.segments), (0, 3));
    // The oldest may be gone, as their time is over.
    assert_eq!(audit_since(key.public(), since, &whole[1..]).findings, []);
    let mut segments = whole.clone();
    segments.remove(3);
    let report = audit_since(key.public(), since, &segments);
    assert_eq!(flaws(&report), [(4, Flaw::Missing { from: 3, to: 3 })]);
    // A chain that begins since then begins at its beginning.
    let report = audit_since(key.public(), Some(whole[0].0.at), &whole[2..]);
    assert_eq!(flaws(&report), [(2, Flaw::Missing { from: 0, to: 1 })]);
    let report = audit_since(key.public(), since, &whole[..2]);
    assert_eq!((report.findings.len(), report.segments), (0, 0), "nothing since");
}

#[test]
fn a_segment_put_behind_the_end_or_back_again_is_found() {
    let key = Key::new();
    let mut segments = chain(Some(&key), 1, &[]);
    let mut again = segments[4].clone();
    again.0.sequence = 5;
    segments.push(again);
    let report = audit(key.public(), &segments);
    assert_eq!(flaws(&report), [(5, Flaw::Unreadable(Unreadable::Misnamed))]);
    let at: Timestamp = "2027-06-01T00:00:00Z".parse().unwrap();
    let draft = Draft {
        replica: Replica::new(1),
        sequence: 5,
        previous: Some(Sha256::of(&segments[4].1)),
        lost: 2,
        beside: Vec::new(),
        last: false,
        at,
        events: Vec::new(),
    };
    segments[5] = draft.sealed(Some(&key));
    let report = audit(key.public(), &segments);
    assert_eq!(flaws(&report), [(5, Flaw::AfterTheEnd), (5, Flaw::Lost(2))]);
}

#[test]
fn a_segment_that_cannot_be_had_is_a_finding() {
    let mut auditor = Auditor::new(Keys::default(), None);
    auditor.gone(chain(None, 1, &[])[0].0);
    assert_eq!(
        flaws(&auditor.finish()),
        [(0, Flaw::Unreadable(Unreadable::Short))]
    );
}

/// Found by fuzzing: counting on from there made `taco audit verify` of a bucket that held such a name panic, or begin
/// anew at nought.
#[test]
fn behind_the_largest_place_there_is_none() {
    let key = Key::new();
    let mut last = chain(Some(&key), 1, &[]).remove(4);
    last.0.sequence = u64::MAX;
    let report = audit(key.public(), &[last.clone(), last]);
    let repeated = report
        .findings
        .iter()
        .filter(|finding| finding.flaw == Flaw::Unreadable(Unreadable::Misnamed));
    assert_eq!((report.segments, repeated.count()), (2, 2));
    let missing = Flaw::Missing {
        from: 0,
        to: u64::MAX - 1,
    };
    assert_eq!(flaws(&report)[0], (u64::MAX, missing));
}
