//! What a run came to: whether every promise was kept, and whether enough has happened for that to mean anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use opentaco_domain::audit::segment::{Read, SegmentId};
use opentaco_domain::audit::{Auditor, Event, Keys, Outcome};
use opentaco_domain::{Sha256, UnitId};
use opentaco_sim::checker;
use opentaco_sim::world::{Ask, Record, Told, s3};

use crate::history::Kept;
use crate::hold;

/// How much has to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aims {
    /// Acknowledged commits.
    pub commits: u64,
    /// Replicas that were killed.
    pub kills: u64,
    /// Locks that were broken, and taken by whoever broke them.
    pub takeovers: u64,
    /// Applies of the real client.
    pub applies: u64,
}

impl Aims {
    /// What ten minutes have to come to, for a run of so many seconds: 20,000 commits, 200 kills, 50 takeovers.
    #[must_use]
    pub fn of(seconds: u64) -> Self {
        Self {
            commits: 20_000 * seconds / 600,
            kills: 200 * seconds / 600,
            takeovers: 50 * seconds / 600,
            applies: 20 * seconds / 600,
        }
    }
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub struct Counts {
    pub requests: u64,
    pub commits: u64,
    pub refused: u64,
    pub unanswered: u64,
    pub kills: u64,
    pub stops: u64,
    pub starts_failed: u64,
    pub takeovers: u64,
    pub applies: u64,
    pub jobs: u64,
    pub bucket_requests: u64,
    pub bucket_faults: u64,
    pub door_faults: u64,
    pub disk_faults: u64,
    pub audit_events: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// What happened.
    pub counts: Counts,
    /// Promises that were broken.
    pub broken: Vec<String>,
    /// What there was too little of.
    pub missed: Vec<String>,
}

impl Verdict {
    /// Whether it is good.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.broken.is_empty() && self.missed.is_empty()
    }

    /// For people.
    #[must_use]
    pub fn told(&self) -> String {
        let Counts {
            requests,
            commits,
            refused,
            unanswered,
            kills,
            stops,
            starts_failed,
            takeovers,
            applies,
            jobs,
            bucket_requests,
            bucket_faults,
            door_faults,
            disk_faults,
            audit_events,
        } = self.counts;
        let mut text = format!(
            "{requests} requests of clients, of which {door_faults} met a fault and {unanswered} got no answer\n\
             {commits} acknowledged commits, {refused} refused writes, {takeovers} takeovers, {applies} applies of the real client, {jobs} writes of CI jobs\n\
             {kills} kills, {stops} stops, {starts_failed} starts that failed, {disk_faults} times a bad disk\n\
             {bucket_requests} requests to the bucket, of which {bucket_faults} met a fault; {audit_events} events in the audit\n"
        );
        for what in &self.missed {
            let _ = writeln!(text, "TOO LITTLE {what}");
        }
        const SHOWN: usize = 40;
        for what in self.broken.iter().take(SHOWN) {
            let _ = writeln!(text, "BROKEN {what}");
        }
        if self.broken.len() > SHOWN {
            let _ = writeln!(text, "and {} more", self.broken.len() - SHOWN);
        }
        let last = match self.is_green() {
            true => "every promise was kept\n",
            false => "this run is not good\n",
        };
        text.push_str(last);
        text
    }

    /// Compares what happened with what had to.
    pub fn measure(&mut self, aims: Aims) {
        let counts = self.counts;
        for (what, is, least) in [
            ("acknowledged commits", counts.commits, aims.commits),
            ("kills", counts.kills, aims.kills),
            ("takeovers", counts.takeovers, aims.takeovers),
            ("applies of the real client", counts.applies, aims.applies),
        ] {
            if is < least {
                self.missed.push(format!("{what}: {is} of {least}"));
            }
        }
    }
}

/// What the records alone count.
#[must_use]
pub fn counted(records: &[Record]) -> Counts {
    let mut counts = Counts {
        requests: records.len() as u64,
        ..Counts::default()
    };
    let mut done: BTreeMap<Sha256, ()> = BTreeMap::new();
    for record in records {
        match (&record.ask, &record.told) {
            (Ask::Write { bytes, .. } | Ask::S3(s3::Ask::Put { bytes, .. }), Told::Done) => {
                // A repeated write that is told that it is done is no second commit.
                done.insert(Sha256::of(bytes), ());
            }
            (Ask::Write { .. } | Ask::S3(_), Told::Refused(_)) => counts.refused += 1,
            (Ask::Restore(_) | Ask::Promote(_) | Ask::Undelete, Told::Done) => counts.commits += 1,
            (_, Told::Nothing) => counts.unanswered += 1,
            _ => {}
        }
    }
    counts.commits += done.len() as u64;
    counts
}

/// Lets the simulator's checker judge every unit, two at a time.
#[must_use]
pub fn checked(kept: &Kept) -> Vec<String> {
    let units = kept.units();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(unit) = units.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let history = kept.history_of(unit);
                    let broken: Vec<String> =
                        checker::check(&history).iter().map(ToString::to_string).collect();
                    hold(&found).extend(broken);
                }
            });
        }
    });
    found
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Judges the audit: nothing was changed, and each acknowledged change of a unit has its event.
#[must_use]
pub fn audited(segments: &BTreeMap<String, Bytes>, jwks: &[u8], records: &[Record]) -> (u64, Vec<String>) {
    let mut broken = Vec::new();
    let keys = match Keys::from_jwks(jwks) {
        Ok(keys) => keys,
        Err(error) => return (0, vec![format!("the keys of the audit: {error}")]),
    };
    let mut auditor = Auditor::new(keys, None);
    let mut events: Vec<Event> = Vec::new();
    let mut ids: Vec<(SegmentId, &Bytes)> = Vec::new();
    for (key, bytes) in segments {
        let name = key
            .rsplit('/')
            .next()
            .and_then(|name| name.strip_suffix(".jsonl"));
        match name.and_then(|name| name.parse::<SegmentId>().ok()) {
            Some(id) => ids.push((id, bytes)),
            None => broken.push(format!("{key} is no segment of the audit")),
        }
    }
    ids.sort_by_key(|(id, _)| (id.replica, id.sequence));
    for (id, bytes) in ids {
        auditor.read(id, bytes);
        match Read::parse(&id, bytes) {
            Ok(read) => events.extend(read.events),
            Err(error) => broken.push(format!("segment {id}: {error}")),
        }
    }
    let report = auditor.finish();
    broken.extend(
        report
            .findings
            .iter()
            .map(|finding| format!("the audit: {finding}")),
    );
    broken.extend(compared(&events, records));
    (report.events, broken)
}

/// For each unit and action: as many events as acknowledged changes, and no more than there were requests that may have
/// done something.
fn compared(events: &[Event], records: &[Record]) -> Vec<String> {
    #[derive(Default)]
    struct Seen {
        events: u64,
        done: u64,
        maybe: u64,
        others: Vec<String>,
    }
    let mut seen: BTreeMap<(UnitId, &'static str), Seen> = BTreeMap::new();
    for record in records {
        let Some(action) = action_of(&record.ask) else {
            continue;
        };
        let seen = seen.entry((record.unit.clone(), action)).or_default();
        match record.told {
            Told::Done => seen.done += 1,
            Told::Saved | Told::Unavailable | Told::Nothing => seen.maybe += 1,
            _ => seen
                .others
                .push(format!("{} {}", record.client, checker::short(&record.told))),
        }
    }
    for event in events.iter().filter(|event| event.decision == Outcome::Done) {
        let Some(unit) = &event.unit else { continue };
        let known = counts_as(event);
        if let Some(seen) = known.and_then(|action| seen.get_mut(&(unit.clone(), action))) {
            seen.events += 1;
        }
    }
    let mut broken = Vec::new();
    for (
        (unit, action),
        Seen {
            events,
            done,
            maybe,
            others,
        },
    ) in seen
    {
        if events < done || events > done + maybe {
            broken.push(format!(
                "the audit has {events} events of {action} on {unit}, of which {done} were acknowledged and {maybe} may have been done; others were told {others:?}"
            ));
        }
    }
    broken
}

/// As what an event counts: none for what no request of a client asks for.
fn counts_as(event: &Event) -> Option<&'static str> {
    // Nobody here annotates, and a reconciliation is no write of a client.
    let of_the_service = ["reconciled", "annotated"].contains(&event.what.as_str());
    match event.action.as_str() {
        "unit.lock" => Some("unit.lock"),
        "unit.force-unlock" => Some("unit.force-unlock"),
        // What is brought back with its state is told as a write, without one as a creation.
        "unit.write" | "unit.create" if !of_the_service => Some("unit.write"),
        "unit.delete" => Some("unit.delete"),
        _ => None,
    }
}

fn action_of(ask: &Ask) -> Option<&'static str> {
    Some(match ask {
        Ask::Lock(_) | Ask::Unlock(_) => "unit.lock",
        Ask::ForceUnlock => "unit.force-unlock",
        Ask::Write { .. } | Ask::Restore(_) | Ask::Promote(_) | Ask::Create | Ask::Undelete => "unit.write",
        Ask::Delete => "unit.delete",
        Ask::S3(s3::Ask::Put { .. }) => "unit.write",
        Ask::S3(_) | Ask::Read => return None,
    })
}
