//! A history as a table of who did what when.

use std::fmt::Write as _;

use crate::checker::{seconds, short, spell};
use crate::executor::Group;
use crate::world::History;

/// Everything that happened, a line each: requests of clients, and what the bucket saw.
#[must_use]
pub fn tell(history: &History) -> String {
    let mut lines: Vec<(u64, u8, String)> = Vec::new();
    for record in &history.records {
        let (unit, ask) = (&record.unit, spell(&record.ask));
        lines.push((record.from, 0, format!("{:<10} R{} {unit}: {ask}", record.client, record.replica)));
        if record.until < u64::MAX {
            lines.push((record.until, 2, format!("{:<10} R{} {unit}: {ask} => {}", record.client, record.replica, short(&record.told))));
        }
    }
    for event in history.bucket.events() {
        let by = match event.by {
            Some(Group::Replica(index, life)) => format!("R{index}.{life}"),
            Some(Group::Network | Group::Outside) => "network".to_owned(),
            None => "a person".to_owned(),
        };
        let key = if event.key.len() > 70 { format!("{}…", &event.key[..70]) } else { event.key.clone() };
        let mut line = format!("  bucket   {by:<8} {} {key}", event.what);
        if event.key.ends_with("@head.json")
            && let Some(Some(bytes)) = &event.now
            && let Ok(head) = serde_json::from_slice::<opentaco_storage::Head>(bytes)
        {
            let _ = write!(
                line,
                " [epoch {} lock {} current {} copy {}]",
                head.epoch,
                head.lock.as_ref().map_or("-".to_owned(), |lock| lock.info.id.as_str().trim_start_matches(['0', '-', '4', '8']).to_owned()),
                head.current.as_ref().map_or("-".to_owned(), |c| format!("{}:{}", c.version.epoch, c.sha256.short())),
                head.copy.as_ref().map_or("-".to_owned(), |c| format!("{:?}@{}", c.version.map(|v| v.epoch), c.tag.etag.as_deref().unwrap_or("?"))),
            );
        }
        lines.push((event.at, 1, line));
    }
    lines.sort_by_key(|(at, order, _)| (*at, *order));
    let mut table = String::new();
    for (at, _, line) in lines {
        let _ = writeln!(table, "{:>12.4}  {line}", seconds(at));
    }
    table
}
