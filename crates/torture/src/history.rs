//! A run on disk: what was asked and told, what took effect in the bucket, and every body once. It can be judged again.
//!
//! ```text
//! records.jsonl   {"client":"worker-1","replica":0,"unit":"app-3","ask":"write","bytes":17,"lock":"…","told":"done",…}
//! events.jsonl    {"at":123,"by":[0,4],"key":"…","now":17}
//! bodies.jsonl    {"body":"…base64…"}; its line is its number
//! run.json        retention, people, the time at the end
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use opentaco_domain::{CredentialSession, LockId, Sha256, Signed, UnitId};
use opentaco_sim::bucket::{Event, Ledger};
use opentaco_sim::executor::{Group, Instant};
use opentaco_sim::world::{Ask, History, Record, Told, s3};
use opentaco_storage::Retention;
use serde::{Deserialize, Serialize};

/// Everything that a run left behind.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What the bucket saw; empty where nobody stood before it.
    pub ledger: Ledger,
    /// What was asked and told, in the order of the answers.
    pub records: Vec<Record>,
    /// What people put into the bucket by hand.
    pub by_hand: Vec<(UnitId, Bytes)>,
    /// How long versions were kept.
    pub retention: Retention,
    /// The time at the end.
    pub now: Instant,
}

#[derive(Serialize, Deserialize)]
struct Run {
    versions_max: usize,
    versions_min_age_seconds: u64,
    collect_every: usize,
    now: Instant,
    by_hand: Vec<(UnitId, usize)>,
    objects: Vec<(String, usize)>,
}

#[derive(Serialize, Deserialize)]
struct EventLine {
    at: Instant,
    by: Option<(usize, u32)>,
    what: String,
    key: String,
    /// The body that lies there now; none if it was not changed, or is gone.
    now: Option<usize>,
    gone: bool,
}

#[derive(Serialize, Deserialize)]
struct RecordLine {
    client: String,
    replica: usize,
    unit: UnitId,
    ask: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<SignedLine>,
    told: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told_bytes: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told_what: Option<String>,
    from: Instant,
    until: Instant,
}

/// Who signed a request to the S3 door, and when.
#[derive(Serialize, Deserialize)]
struct SignedLine {
    session: String,
    at: Option<Timestamp>,
    invocation: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct BodyLine {
    body: String,
}

#[derive(Default)]
struct Bodies {
    numbers: BTreeMap<Sha256, usize>,
    all: Vec<Bytes>,
}

impl Bodies {
    fn number(&mut self, bytes: &Bytes) -> usize {
        let all = &mut self.all;
        *self.numbers.entry(Sha256::of(bytes)).or_insert_with(|| {
            all.push(bytes.clone());
            all.len() - 1
        })
    }
}

impl Kept {
    /// As the checker takes it, with the objects of this unit alone: it looks at nothing else.
    #[must_use]
    pub fn history_of(&self, unit: &UnitId) -> History {
        let below = |area: &str| format!("{area}/{unit}/@");
        let areas = ["__opentaco_units", "__opentaco_versions", "__opentaco_rejected"].map(below);
        let copy = unit.state_key();
        let is_ours =
            |key: &str| key.starts_with(&copy) || areas.iter().any(|area| key.starts_with(area.as_str()));
        let events = self.ledger.events.iter().filter(|event| is_ours(&event.key));
        let objects = self.ledger.objects.iter().filter(|(key, _)| is_ours(key));
        let by_hand = self.by_hand.iter().filter(|(of, _)| of == unit);
        History {
            seed: 0,
            bucket: Ledger {
                events: events.cloned().collect(),
                objects: objects.map(|(key, bytes)| (key.clone(), bytes.clone())).collect(),
                digests: self.ledger.digests,
            },
            records: self
                .records
                .iter()
                .filter(|record| record.unit == *unit)
                .cloned()
                .collect(),
            units: vec![unit.clone()],
            by_hand: by_hand
                .map(|(of, bytes)| (of.clone(), bytes.clone(), true))
                .collect(),
            retention: self.retention,
            ended: true,
            now: self.now,
        }
    }

    /// Every unit that somebody asked for.
    #[must_use]
    pub fn units(&self) -> Vec<UnitId> {
        let mut units: Vec<UnitId> = self.records.iter().map(|record| record.unit.clone()).collect();
        units.sort();
        units.dedup();
        units
    }

    /// Writes it into a directory.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let file = |name: &str| File::create(directory.join(name)).map(BufWriter::new);
        let mut bodies = Bodies::default();
        let mut events = file("events.jsonl")?;
        for event in &self.ledger.events {
            let Event {
                at,
                by,
                what,
                key,
                now,
            } = event;
            let by = match by {
                Some(Group::Replica(index, life)) => Some((*index, *life)),
                _ => None,
            };
            let line = EventLine {
                at: *at,
                by,
                what: what.clone(),
                key: key.clone(),
                now: now
                    .as_ref()
                    .and_then(Option::as_ref)
                    .map(|bytes| bodies.number(bytes)),
                gone: *now == Some(None),
            };
            write_line(&mut events, &line)?;
        }
        let mut records = file("records.jsonl")?;
        for record in &self.records {
            write_line(&mut records, &line_of(record, &mut bodies))?;
        }
        let by_hand = self.by_hand.iter();
        let by_hand = by_hand
            .map(|(unit, bytes)| (unit.clone(), bodies.number(bytes)))
            .collect();
        let objects = self.ledger.objects.iter();
        let objects = objects
            .map(|(key, bytes)| (key.clone(), bodies.number(bytes)))
            .collect();
        let run = Run {
            versions_max: self.retention.versions_max,
            versions_min_age_seconds: self.retention.versions_min_age.as_secs(),
            collect_every: self.retention.collect_every,
            now: self.now,
            by_hand,
            objects,
        };
        write_line(&mut file("run.json")?, &run)?;
        let mut out = file("bodies.jsonl")?;
        for body in &bodies.all {
            let body = STANDARD.encode(body);
            write_line(&mut out, &BodyLine { body })?;
        }
        events.flush()?;
        records.flush()?;
        out.flush()
    }

    /// Reads what [`Kept::write`] wrote.
    ///
    /// # Errors
    /// If a file is not there, or is not what stands there.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let bodies: Vec<BodyLine> = read_lines(&directory.join("bodies.jsonl"))?;
        let bodies: Vec<Bytes> = bodies
            .iter()
            .map(|line| {
                STANDARD
                    .decode(&line.body)
                    .map(Bytes::from)
                    .map_err(io::Error::other)
            })
            .collect::<Result<_, _>>()?;
        let body = |number: usize| {
            let found = bodies.get(number).cloned();
            found.ok_or_else(|| io::Error::other(format!("body {number} is not there")))
        };
        let run: Run = read_lines(&directory.join("run.json"))?
            .pop()
            .ok_or_else(|| io::Error::other("run.json is empty"))?;
        let mut ledger = Ledger {
            digests: true,
            ..Ledger::default()
        };
        for line in read_lines::<EventLine>(&directory.join("events.jsonl"))? {
            let now = match (line.now, line.gone) {
                (Some(number), _) => Some(Some(body(number)?)),
                (None, true) => Some(None),
                (None, false) => None,
            };
            ledger.events.push(Event {
                at: line.at,
                by: line.by.map(|(index, life)| Group::Replica(index, life)),
                what: line.what,
                key: line.key,
                now,
            });
        }
        for (key, number) in run.objects {
            ledger.objects.insert(key, body(number)?);
        }
        let records = read_lines::<RecordLine>(&directory.join("records.jsonl"))?;
        let records = records.into_iter().map(|line| record_of(line, &body));
        let by_hand = run.by_hand.into_iter();
        Ok(Self {
            ledger,
            records: records.collect::<io::Result<_>>()?,
            by_hand: by_hand
                .map(|(unit, number)| Ok((unit, body(number)?)))
                .collect::<io::Result<_>>()?,
            retention: Retention {
                versions_max: run.versions_max,
                versions_min_age: Duration::from_secs(run.versions_min_age_seconds),
                collect_every: run.collect_every,
            },
            now: run.now,
        })
    }
}

fn write_line(to: &mut impl io::Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

fn read_lines<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<Vec<T>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = BufReader::new(File::open(path).map_err(named)?);
    file.lines()
        .map(|line| Ok(serde_json::from_str(&line.map_err(named)?)?))
        .collect()
}

fn line_of(record: &Record, bodies: &mut Bodies) -> RecordLine {
    let (mut bytes, mut what, mut by) = (None, None, None);
    let ask = match &record.ask {
        Ask::S3(ask) => match ask {
            s3::Ask::Lock { id, by: who } => {
                (what, by) = (Some(id.as_str().to_owned()), Some(who));
                "s3-lock"
            }
            s3::Ask::ShowLock(who) => {
                by = Some(who);
                "s3-show-lock"
            }
            s3::Ask::Unlock(who) => {
                by = Some(who);
                "s3-unlock"
            }
            s3::Ask::Get(who) => {
                by = Some(who);
                "s3-read"
            }
            s3::Ask::Put { bytes: sent, by: who } => {
                (bytes, by) = (Some(bodies.number(sent)), Some(who));
                "s3-write"
            }
            // Nobody here sends parts: `told.rs` makes none of these.
            s3::Ask::Begin | s3::Ask::Part { .. } | s3::Ask::Complete { .. } | s3::Ask::Abort(_) => {
                "s3-upload"
            }
        },
        Ask::Lock(id) => {
            what = Some(id.as_str().to_owned());
            "lock"
        }
        Ask::Unlock(id) => {
            what = Some(id.as_str().to_owned());
            "unlock"
        }
        Ask::ForceUnlock => "force-unlock",
        Ask::Read => "read",
        Ask::Write { bytes: sent, lock } => {
            bytes = Some(bodies.number(sent));
            what = lock.as_ref().map(|id| id.as_str().to_owned());
            "write"
        }
        Ask::Create => "create",
        Ask::Delete => "delete",
        Ask::Undelete => "undelete",
        Ask::Restore(version) => {
            what = Some(version.to_string());
            "restore"
        }
        Ask::Promote(id) => {
            what = Some(id.clone());
            "promote"
        }
    };
    let (mut told_bytes, mut told_what) = (None, None);
    let told = match &record.told {
        Told::Done => "done",
        Told::State(state) => {
            told_bytes = Some(bodies.number(state));
            "state"
        }
        Told::NoState => "no-state",
        Told::Locked(id) => {
            told_what = Some(id.as_str().to_owned());
            "locked"
        }
        Told::LockOver => "lock-over",
        Told::Refused(kept) => {
            told_what.clone_from(kept);
            "refused"
        }
        Told::Saved => "saved",
        Told::NoSuchThing => "no-such-thing",
        Told::Unavailable => "unavailable",
        Told::Nothing => "nothing",
        Told::Begun(_) => "begun",
    };
    RecordLine {
        client: record.client.clone(),
        replica: record.replica,
        unit: record.unit.clone(),
        ask: ask.to_owned(),
        bytes,
        what,
        by: by.map(|by| SignedLine {
            session: by.session.as_str().to_owned(),
            at: by.at,
            invocation: by.invocation.clone(),
        }),
        told: told.to_owned(),
        told_bytes,
        told_what,
        from: record.from,
        until: record.until,
    }
}

fn record_of(line: RecordLine, body: &impl Fn(usize) -> io::Result<Bytes>) -> io::Result<Record> {
    let odd = |what: &str| io::Error::other(format!("records.jsonl: `{what}` says nothing"));
    let id = |text: &Option<String>| {
        let id = text.as_deref().and_then(|text| LockId::parse(text).ok());
        id.ok_or_else(|| odd("a lock without an id"))
    };
    let text = |text: &Option<String>| text.clone().ok_or_else(|| odd("a request without its object"));
    let bytes = |number: Option<usize>| body(number.ok_or_else(|| odd("a body without a number"))?);
    let by = || {
        let by = line
            .by
            .as_ref()
            .ok_or_else(|| odd("a request that nobody signed"))?;
        Ok::<_, io::Error>(Signed {
            session: CredentialSession::new(&by.session),
            at: by.at,
            invocation: by.invocation.clone(),
        })
    };
    let ask = match line.ask.as_str() {
        "s3-lock" => Ask::S3(s3::Ask::Lock {
            id: id(&line.what)?,
            by: by()?,
        }),
        "s3-show-lock" => Ask::S3(s3::Ask::ShowLock(by()?)),
        "s3-unlock" => Ask::S3(s3::Ask::Unlock(by()?)),
        "s3-read" => Ask::S3(s3::Ask::Get(by()?)),
        "s3-write" => Ask::S3(s3::Ask::Put {
            bytes: bytes(line.bytes)?,
            by: by()?,
        }),
        "lock" => Ask::Lock(id(&line.what)?),
        "unlock" => Ask::Unlock(id(&line.what)?),
        "force-unlock" => Ask::ForceUnlock,
        "read" => Ask::Read,
        "write" => Ask::Write {
            bytes: bytes(line.bytes)?,
            lock: line.what.is_some().then(|| id(&line.what)).transpose()?,
        },
        "create" => Ask::Create,
        "delete" => Ask::Delete,
        "undelete" => Ask::Undelete,
        "restore" => Ask::Restore(text(&line.what)?.parse().map_err(|_| odd("a version"))?),
        "promote" => Ask::Promote(text(&line.what)?),
        other => return Err(odd(other)),
    };
    let told = match line.told.as_str() {
        "done" => Told::Done,
        "state" => Told::State(bytes(line.told_bytes)?),
        "no-state" => Told::NoState,
        "locked" => Told::Locked(id(&line.told_what)?),
        "lock-over" => Told::LockOver,
        "refused" => Told::Refused(line.told_what),
        "saved" => Told::Saved,
        "no-such-thing" => Told::NoSuchThing,
        "unavailable" => Told::Unavailable,
        "nothing" => Told::Nothing,
        other => return Err(odd(other)),
    };
    Ok(Record {
        client: line.client,
        replica: line.replica,
        unit: line.unit,
        ask,
        told,
        from: line.from,
        until: line.until,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let unit = UnitId::parse("app").unwrap();
        let id = opentaco_sim::stage::lock_id(1);
        let by = Signed {
            session: CredentialSession::new("alice"),
            at: Timestamp::from_second(1_790_000_000).ok(),
            invocation: Some("call-1".to_owned()),
        };
        let bytes = Bytes::from_static(b"{}");
        let version = "0000000000000003-1-33bfc239-f5cbbcbe0ddb3258f1787009fd507f12d1a8dfaca6a3eb8ec9c557fa6ec6a3e6-2314c2d8";
        let asks = [
            Ask::Lock(id.clone()),
            Ask::Unlock(id.clone()),
            Ask::ForceUnlock,
            Ask::Read,
            Ask::Write {
                bytes: bytes.clone(),
                lock: Some(id.clone()),
            },
            Ask::Write {
                bytes: bytes.clone(),
                lock: None,
            },
            Ask::Create,
            Ask::Delete,
            Ask::Undelete,
            Ask::Restore(version.parse().unwrap()),
            Ask::Promote("kept".to_owned()),
            Ask::S3(s3::Ask::Lock {
                id: id.clone(),
                by: by.clone(),
            }),
            Ask::S3(s3::Ask::ShowLock(by.clone())),
            Ask::S3(s3::Ask::Unlock(by.clone())),
            Ask::S3(s3::Ask::Get(by.clone())),
            Ask::S3(s3::Ask::Put {
                bytes: bytes.clone(),
                by,
            }),
        ];
        let tolds = [
            Told::Done,
            Told::State(bytes.clone()),
            Told::NoState,
            Told::Locked(id),
            Told::LockOver,
            Told::Refused(Some("kept".to_owned())),
            Told::Refused(None),
            Told::Saved,
            Told::NoSuchThing,
            Told::Unavailable,
            Told::Nothing,
        ];
        let records = asks.into_iter().zip(tolds.into_iter().cycle());
        let records: Vec<Record> = records
            .map(|(ask, told)| Record {
                client: "alice".to_owned(),
                replica: 1,
                unit: unit.clone(),
                ask,
                told,
                from: 1,
                until: 2,
            })
            .collect();
        let event = |now| Event {
            at: 1,
            by: Some(Group::Replica(1, 2)),
            what: "PUT".to_owned(),
            key: unit.state_key(),
            now,
        };
        let kept = Kept {
            ledger: Ledger {
                events: vec![event(Some(Some(bytes.clone()))), event(Some(None)), event(None)],
                objects: [(unit.state_key(), bytes.clone())].into(),
                digests: true,
            },
            records,
            by_hand: vec![(unit.clone(), bytes)],
            retention: Retention::default(),
            now: 3,
        };
        let directory = tempfile::tempdir().unwrap();
        kept.write(directory.path()).unwrap();
        let read = Kept::read(directory.path()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{kept:?}"));
    }
}
