//! What an apply costs in requests, and what a store asks for them.
//!
//! Counted on memory, in steady state, with everything that follows behind the answers: once without the housekeeping,
//! which comes behind every sixteenth commit of a unit, and once with its share of it. The audit and the rights are not
//! among it: they are written and read once in a while for all units together.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use opentaco_control::{ControlError, Door, LockRequest, StateWrite};
use opentaco_domain::Holding;
use opentaco_storage::Verb;

use crate::failure::Failure;
use crate::report::{Report, Table, figure};
use crate::requests::{Replica, lock_request};

/// Commits before: heads name as much as they ever do.
const APPLIES_BEFORE: u64 = 66;
/// Applies over which the housekeeping is averaged: ten times that it comes.
const APPLIES_AVERAGED: u64 = 160;

/// What S3 asks for a thousand requests that write or list, in us-east-1, storage class Standard, in dollars: the list
/// price as it was noted in November 2026.
pub const S3_WRITES: f64 = 0.005;
/// The same for a thousand that read.
pub const S3_READS: f64 = 0.0004;

/// Through which door an apply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    /// Terraform's `http` backend: lock, read, write, unlock.
    Http,
    /// Its `s3` backend with `use_lockfile`.
    S3,
    /// The management API, as `taco unit acquire` and `release` use it.
    Management,
}

impl Apply {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Http, Self::S3, Self::Management];

    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::S3 => "s3",
            Self::Management => "management",
        }
    }
}

/// Requests by what they do.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Requests {
    /// Puts.
    pub puts: f64,
    /// Pages of names.
    pub lists: f64,
    /// Gets and looks.
    pub gets: f64,
    /// Deletes, which cost nothing.
    pub deletes: f64,
}

impl Requests {
    /// All of them.
    #[must_use]
    pub fn total(self) -> f64 {
        self.puts + self.lists + self.gets + self.deletes
    }

    /// What S3 asks for them, in dollars.
    #[must_use]
    pub fn dollars(self) -> f64 {
        ((self.puts + self.lists) * S3_WRITES + self.gets * S3_READS) / 1000.0
    }

    fn of(verbs: &BTreeMap<Verb, u64>, applies: u64) -> Self {
        let each = |verb| verbs.get(&verb).copied().unwrap_or_default() as f64 / applies as f64;
        Self {
            puts: each(Verb::Put),
            lists: each(Verb::List),
            gets: each(Verb::Get) + each(Verb::Head),
            deletes: each(Verb::Delete),
        }
    }
}

/// What an apply through a door costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Which door.
    pub apply: Apply,
    /// Without the housekeeping.
    pub alone: Requests,
    /// With its share of it.
    pub with_housekeeping: Requests,
}

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If an operation fails.
pub fn report(report: &mut Report<'_>) -> Result<(), Failure> {
    report.say(format!(
        "\nAn apply in requests and in dollars, at ${S3_WRITES} for a thousand puts or lists and ${S3_READS} for a thousand gets; deletes are free\n"
    ))?;
    let mut table = Table::new(&[
        "",
        "puts",
        "lists",
        "gets",
        "deletes",
        "requests",
        "$ per 1000 applies",
    ]);
    for measured in applies()? {
        for (suffix, requests) in [
            ("", measured.alone),
            (".with_housekeeping", measured.with_housekeeping),
        ] {
            let name = format!("cost.{}{suffix}", measured.apply.name());
            report.row(format!("{name}.puts"), requests.puts, "requests");
            report.row(format!("{name}.lists"), requests.lists, "requests");
            report.row(format!("{name}.gets"), requests.gets, "requests");
            report.row(format!("{name}.deletes"), requests.deletes, "requests");
            report.row(format!("{name}.requests"), requests.total(), "requests");
            report.row(
                format!("{name}.dollars"),
                requests.dollars() * 1000.0,
                "$ per 1000 applies",
            );
            table.line([
                format!("{}{}", measured.apply.name(), suffix.replace(['.', '_'], " ")),
                figure(requests.puts),
                figure(requests.lists),
                figure(requests.gets),
                figure(requests.deletes),
                figure(requests.total()),
                format!("{:.4}", requests.dollars() * 1000.0),
            ]);
        }
    }
    report.say(&table)?;
    Ok(())
}

/// Every door.
///
/// # Errors
/// As [`report`].
pub fn applies() -> Result<Vec<Measured>, Failure> {
    let mut all = Vec::new();
    for apply in Apply::ALL {
        let mut replica = Replica::new();
        replica.commit_alone()?;
        for _ in 0..APPLIES_BEFORE {
            one(&mut replica, apply)?;
        }
        let mut alone: Option<BTreeMap<Verb, u64>> = None;
        let before = verbs(&replica);
        for _ in 0..APPLIES_AVERAGED {
            let before = verbs(&replica);
            one(&mut replica, apply)?;
            let cost = since(&replica, &before);
            let fewer = alone
                .as_ref()
                .is_none_or(|alone| cost.values().sum::<u64>() < alone.values().sum());
            if fewer {
                alone = Some(cost);
            }
        }
        all.push(Measured {
            apply,
            alone: Requests::of(&alone.unwrap_or_default(), 1),
            with_housekeeping: Requests::of(&since(&replica, &before), APPLIES_AVERAGED),
        });
    }
    Ok(all)
}

fn one(replica: &mut Replica, apply: Apply) -> Result<(), Failure> {
    match apply {
        Apply::Http => replica.cycle().map(drop),
        Apply::S3 => {
            let (id, state) = (replica.next_lock(), replica.next_state());
            replica.cost(replica.s3_apply(&id, state)).map(drop)
        }
        Apply::Management => {
            let (id, state) = (replica.next_lock(), replica.next_state());
            let managed = async {
                let (control, caller, unit) = (&replica.control, &replica.caller, &replica.unit);
                let request = LockRequest {
                    door: Door::Management,
                    ..lock_request(&id)
                };
                control.lock_existing(caller, unit, request).await?;
                let reading = control.read_state(caller, unit).await?;
                reading.body.try_for_each(async |_| Ok(())).await?;
                let write = StateWrite {
                    idempotency_key: Some(id.to_string()),
                    ..StateWrite::new(state, Holding::Lock(id.clone()), Door::Management)
                };
                control.write_state(caller, unit, write).await?;
                control.unlock(caller, unit, &id).await?;
                Ok::<(), ControlError>(())
            };
            replica.cost(managed).map(drop)
        }
    }
}

fn verbs(replica: &Replica) -> BTreeMap<Verb, u64> {
    let mut all = BTreeMap::new();
    for ((verb, _), n) in replica.control.counts().snapshot() {
        *all.entry(verb).or_default() += n;
    }
    all
}

fn since(replica: &Replica, before: &BTreeMap<Verb, u64>) -> BTreeMap<Verb, u64> {
    let mut all = verbs(replica);
    for (verb, n) in before {
        if let Some(now) = all.get_mut(verb) {
            *now -= n;
        }
    }
    all
}
