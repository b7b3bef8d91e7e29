//! What can be judged from outside, where nobody saw the bucket: what clients were told, beside what the service says of
//! its versions in the end. Less than the checker sees, and on local disk all there is.

use std::collections::{BTreeMap, BTreeSet};

use opentaco_domain::{LockId, Sha256, UnitId};
use opentaco_sim::executor::Instant;
use opentaco_sim::world::{Ask, Record, Told, s3};

/// A version of a unit, as the service lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its place: later ones have larger ones.
    pub epoch: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Whether somebody wrote it, and it was not made of an older one.
    pub written: bool,
}

/// What a unit's records break, given all versions that there ever were.
#[must_use]
pub fn judge(unit: &UnitId, records: &[Record], versions: &[Listed]) -> Vec<String> {
    // The same bytes may have been restored since: a write is the first of them, a reader may have seen the last.
    let mut epochs: BTreeMap<&Sha256, u64> = BTreeMap::new();
    let mut last: BTreeMap<&Sha256, u64> = BTreeMap::new();
    for listed in versions {
        let (first, newest) = (
            epochs.entry(&listed.sha256).or_insert(listed.epoch),
            last.entry(&listed.sha256).or_insert(listed.epoch),
        );
        *first = listed.epoch.min(*first);
        *newest = listed.epoch.max(*newest);
    }
    let may_be_deleted = records.iter().any(|record| record.ask == Ask::Delete);
    let mut broken = Vec::new();
    let mut asked: BTreeSet<Sha256> = BTreeSet::new();
    // Acknowledged writes: when they were answered, and which version they are.
    let mut done: Vec<(Instant, u64)> = Vec::new();
    let mut writes: Vec<(&Record, Sha256, Option<&LockId>)> = Vec::new();
    for record in records {
        let (bytes, lock) = match &record.ask {
            Ask::Write { bytes, lock } => (bytes, lock.as_ref()),
            Ask::S3(s3::Ask::Put { bytes, .. }) => (bytes, None),
            _ => continue,
        };
        let sha256 = Sha256::of(bytes);
        asked.insert(sha256);
        writes.push((record, sha256, lock));
    }
    for (record, sha256, _) in &writes {
        match (&record.told, epochs.get(sha256)) {
            (Told::Done | Told::Saved, None) => {
                broken.push(format!(
                    "{unit}: a write of {} was acknowledged and is nowhere",
                    record.client
                ));
            }
            (Told::Done | Told::Saved, Some(epoch)) => done.push((record.until, *epoch)),
            (Told::Refused(_), Some(epoch)) => {
                broken.push(format!(
                    "{unit}: a write of {} was refused and is epoch {epoch}",
                    record.client
                ));
            }
            _ => {}
        }
    }
    done.sort_unstable();
    // The newest version that was acknowledged by each moment.
    let mut newest = 0;
    let known: Vec<(Instant, u64)> = done
        .into_iter()
        .map(|(at, epoch)| {
            newest = newest.max(epoch);
            (at, newest)
        })
        .collect();
    let known_before = |at: Instant| {
        let until = known.partition_point(|(moment, _)| *moment < at);
        until.checked_sub(1).map_or(0, |last| known[last].1)
    };
    let mut first_sent: BTreeMap<&Sha256, Instant> = BTreeMap::new();
    for (record, sha256, _) in &writes {
        let first = first_sent.entry(sha256).or_insert(record.from);
        *first = record.from.min(*first);
    }
    for (sha256, from) in &first_sent {
        let epoch = epochs.get(sha256);
        if let Some(epoch) = epoch.filter(|epoch| **epoch <= known_before(*from)) {
            broken.push(format!(
                "{unit}: epoch {epoch} was sent after a later one had been acknowledged"
            ));
        }
    }
    for listed in versions.iter().filter(|listed| listed.written) {
        if !asked.contains(&listed.sha256) {
            broken.push(format!("{unit}: nobody asked for epoch {}", listed.epoch));
        }
    }
    for record in records {
        if let (Ask::Read | Ask::S3(s3::Ask::Get(_)), Told::State(bytes)) = (&record.ask, &record.told) {
            match last.get(&Sha256::of(bytes)) {
                None => broken.push(format!("{unit}: {} read what is no version", record.client)),
                Some(epoch) if *epoch < known_before(record.from) => broken.push(format!(
                    "{unit}: {} read epoch {epoch} after epoch {} had been acknowledged",
                    record.client,
                    known_before(record.from)
                )),
                Some(_) => {}
            }
        }
        if record.ask == Ask::Read
            && record.told == Told::NoState
            && known_before(record.from) > 0
            && !may_be_deleted
        {
            broken.push(format!(
                "{unit}: {} was told that there is no state",
                record.client
            ));
        }
    }
    broken.extend(stale(unit, records, &writes, &first_sent));
    broken
}

/// A write that was first sent after its lock was known to be over, and was acknowledged.
fn stale(
    unit: &UnitId,
    records: &[Record],
    writes: &[(&Record, Sha256, Option<&LockId>)],
    first_sent: &BTreeMap<&Sha256, Instant>,
) -> Vec<String> {
    // From when on it is known that a lock is over: it was given back, or another one was taken after it.
    let mut over: BTreeMap<&LockId, Instant> = BTreeMap::new();
    let mut taken: Vec<(Instant, Instant, &LockId)> = Vec::new();
    for record in records.iter().filter(|record| record.told == Told::Done) {
        match &record.ask {
            Ask::Unlock(id) => {
                let known = over.entry(id).or_insert(record.until);
                *known = record.until.min(*known);
            }
            Ask::Lock(id) => taken.push((record.from, record.until, id)),
            _ => {}
        }
    }
    taken.sort_unstable_by_key(|(from, ..)| *from);
    for (index, (_, until, id)) in taken.iter().enumerate() {
        let next = taken[index + 1..]
            .iter()
            .find(|(from, _, other)| other != id && from > until);
        if let Some((_, known, _)) = next {
            let earlier = over.entry(id).or_insert(*known);
            *earlier = (*known).min(*earlier);
        }
    }
    writes
        .iter()
        .filter(|(record, ..)| matches!(record.told, Told::Done | Told::Saved))
        .filter_map(|(record, sha256, lock)| {
            let known = over.get((*lock)?)?;
            (first_sent[sha256] > *known).then(|| {
                format!(
                    "{unit}: a write of {} was committed under a lock that was over",
                    record.client
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn unit() -> UnitId {
        UnitId::parse("app").unwrap()
    }

    fn lock(n: u8) -> LockId {
        opentaco_sim::stage::lock_id(n)
    }

    fn record(from: Instant, ask: Ask, told: Told) -> Record {
        Record {
            client: "alice".to_owned(),
            replica: 0,
            unit: unit(),
            ask,
            told,
            from,
            until: from + 5,
        }
    }

    fn write(what: &'static str, under: Option<u8>) -> Ask {
        Ask::Write {
            bytes: Bytes::from_static(what.as_bytes()),
            lock: under.map(lock),
        }
    }

    fn version(epoch: u64, what: &str) -> Listed {
        Listed {
            epoch,
            sha256: Sha256::of(what.as_bytes()),
            written: true,
        }
    }

    #[test]
    fn what_fits_breaks_nothing() {
        let records = [
            record(0, Ask::Lock(lock(1)), Told::Done),
            record(10, write("a", Some(1)), Told::Nothing),
            record(20, write("a", Some(1)), Told::Done),
            record(30, Ask::Read, Told::State(Bytes::from_static(b"a"))),
            record(40, Ask::Unlock(lock(1)), Told::Done),
            record(50, write("a", Some(1)), Told::Done),
            record(60, write("b", Some(1)), Told::Refused(None)),
        ];
        assert_eq!(judge(&unit(), &records, &[version(2, "a")]), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_seen_to_be_broken() {
        let done = |from, what| record(from, write(what, None), Told::Done);
        let cases: [(&[Record], &[Listed], &str); 8] = [
            (&[done(0, "a")], &[], "acknowledged and is nowhere"),
            (
                &[record(0, write("a", None), Told::Refused(None))],
                &[version(1, "a")],
                "was refused and is epoch 1",
            ),
            (
                &[done(0, "a"), done(10, "b")],
                &[version(2, "b"), version(3, "a")],
                "sent after a later one",
            ),
            (&[], &[version(1, "a")], "nobody asked for epoch 1"),
            (
                &[record(0, Ask::Read, Told::State(Bytes::from_static(b"x")))],
                &[],
                "read what is no version",
            ),
            (
                &[
                    done(0, "a"),
                    done(10, "b"),
                    record(20, Ask::Read, Told::State(Bytes::from_static(b"a"))),
                ],
                &[version(2, "a"), version(3, "b")],
                "read epoch 2 after epoch 3",
            ),
            (
                &[done(0, "a"), record(20, Ask::Read, Told::NoState)],
                &[version(2, "a")],
                "told that there is no state",
            ),
            (
                &[
                    record(0, Ask::Lock(lock(1)), Told::Done),
                    record(10, Ask::Lock(lock(2)), Told::Done),
                    record(20, write("a", Some(1)), Told::Done),
                ],
                &[version(4, "a")],
                "under a lock that was over",
            ),
        ];
        for (records, versions, says) in cases {
            let broken = judge(&unit(), records, versions);
            assert!(
                broken.iter().any(|what| what.contains(says)),
                "{says}: {broken:?}"
            );
        }
    }
}
