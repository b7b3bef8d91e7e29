//! A history as a table of who did what when.

use std::fmt::Write as _;

use opentaco_domain::UnitId;
use opentaco_storage::Head;

use crate::bucket::{Event, number_of};
use crate::checker::{Violation, seconds, short, spell};
use crate::executor::{Group, Instant};
use crate::world::History;

/// The longest key that is shown whole.
const KEY_CHARS_MAX: usize = 64;

/// Everything that happened, a line each: what clients asked and were told, and what the bucket saw.
#[must_use]
pub fn tell(history: &History) -> String {
    table(history, None, &[])
}

/// What happened to one unit, with what it breaks at its place.
#[must_use]
pub fn tell_broken(history: &History, unit: &UnitId, violations: &[Violation]) -> String {
    table(history, Some(unit), violations)
}

/// A line of the table; where two are of one moment, a question comes before what the bucket saw, and an answer after.
struct Line {
    at: Instant,
    rank: u8,
    who: String,
    text: String,
}

fn table(history: &History, unit: Option<&UnitId>, violations: &[Violation]) -> String {
    let mut lines: Vec<Line> = Vec::new();
    let is_wanted = |other: &UnitId| unit.is_none_or(|unit| unit == other);
    for record in history.records.iter().filter(|record| is_wanted(&record.unit)) {
        let (about, ask) = (&record.unit, spell(&record.ask));
        let mut line = |at, rank, text| {
            lines.push(Line {
                at,
                rank,
                who: record.client.clone(),
                text,
            });
        };
        line(
            record.from,
            0,
            format!("asks R{} about {about}: {ask}", record.replica),
        );
        if record.until < Instant::MAX {
            line(
                record.until,
                2,
                format!(
                    "  is told by R{}: {ask} => {}",
                    record.replica,
                    short(&record.told)
                ),
            );
        }
    }
    for event in history
        .bucket
        .events()
        .iter()
        .filter(|event| unit.is_none_or(|unit| concerns(event, unit)))
    {
        let who = match event.by {
            Some(Group::Replica(index, life)) => format!("R{index}.{life}"),
            Some(Group::Network | Group::Outside) => "network".to_owned(),
            None => "a person".to_owned(),
        };
        let text = format!(
            "    {} {}{}",
            event.what,
            shortened(&event.key),
            head_in(event).unwrap_or_default()
        );
        lines.push(Line {
            at: event.at,
            rank: 1,
            who,
            text,
        });
    }
    for violation in violations.iter().filter(|violation| is_wanted(&violation.unit)) {
        let at = violation.at.min(history.now);
        lines.push(Line {
            at,
            rank: 3,
            who: "BROKEN".to_owned(),
            text: format!("{}: {}", violation.invariant, violation.what),
        });
    }
    lines.sort_by_key(|line| (line.at, line.rank));
    let mut table = format!("{:>12}  {:<9} what\n", "seconds", "who");
    for Line { at, who, text, .. } in lines {
        let _ = writeln!(table, "{:>12.4}  {who:<9} {text}", seconds(at));
    }
    table
}

fn concerns(event: &Event, unit: &UnitId) -> bool {
    let state = unit.state_key();
    event.key.starts_with(&state) || event.key.contains(&format!("/{unit}/@"))
}

fn shortened(key: &str) -> String {
    if key.chars().count() <= KEY_CHARS_MAX {
        return key.to_owned();
    }
    key.chars().take(KEY_CHARS_MAX).chain(['…']).collect()
}

/// What a new head says, in a few words.
fn head_in(event: &Event) -> Option<String> {
    let bytes = event
        .now
        .as_ref()?
        .as_ref()
        .filter(|_| event.key.ends_with("@head.json"))?;
    let head: Head = serde_json::from_slice(bytes).ok()?;
    let lock = head.lock.as_ref().map_or("-".to_owned(), |lock| {
        lock.info
            .id
            .as_str()
            .rsplit('-')
            .next()
            .unwrap_or_default()
            .trim_start_matches('0')
            .to_owned()
    });
    let current = head.current.as_ref().map_or("-".to_owned(), |current| {
        format!("v{} {}", current.version.epoch, current.sha256.short())
    });
    let copy = head.copy.as_ref().map_or("-".to_owned(), |copy| {
        let version = copy
            .version
            .map_or("nothing".to_owned(), |version| format!("v{}", version.epoch));
        format!(
            "{version} as #{}",
            copy.tag.etag.as_deref().and_then(number_of).unwrap_or(0)
        )
    });
    let gone = if head.deleted.is_some() { ", deleted" } else { "" };
    Some(format!(
        " [epoch {}, lock {lock}, current {current}, copy {copy}{gone}]",
        head.epoch
    ))
}
