//! `taco audit`: who did what.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use opentaco_domain::audit::verify::Flaw;
use opentaco_domain::audit::{Filter, Keys, Outcome};
use opentaco_domain::{Clock as _, SystemClock};
use opentaco_sdk::api::audit::AuditEvent;

use crate::args::{AuditFilters, AuditSearch, AuditTail, AuditVerb, AuditVerify};
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::output::{BAD, Cell, DIM, PLAIN, Table, WARN};

/// How often somebody who follows asks.
const EVERY: Duration = Duration::from_secs(2);
/// How far back is asked for again: other replicas write what they decide up to a second later, and their clocks differ.
const OVERLAP: SignedDuration = SignedDuration::from_secs(15);

pub(super) async fn run(context: &Context, verb: AuditVerb) -> Result<(), Failure> {
    match verb {
        AuditVerb::Tail(args) => tail(context, args).await,
        AuditVerb::Search(args) => search(context, args).await,
        AuditVerb::Verify(args) => verify(context, args).await,
    }
}

fn filter(filters: AuditFilters) -> Filter {
    Filter {
        unit: filters.unit,
        prefix: filters.prefix,
        principal: filters.principal,
        action: filters.action,
        decision: filters.decision,
        ..Filter::default()
    }
}

async fn tail(context: &Context, args: AuditTail) -> Result<(), Failure> {
    let client = context.client()?;
    let mut filter = filter(args.filters);
    let mut seen: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut limit = args.lines;
    loop {
        let asked = SystemClock.now();
        let page = client.audit(&filter, limit).await.map_err(Failure::from)?;
        let mut fresh: Vec<AuditEvent> = page.events;
        fresh.retain(|event| !seen.contains_key(&event.id));
        fresh.sort_by_key(|event| event.at);
        show_lines(context, &fresh)?;
        if !args.follow {
            return Ok(());
        }
        let from = asked.saturating_sub(OVERLAP).unwrap_or(asked);
        seen.retain(|_, at| *at >= from);
        seen.extend(fresh.into_iter().map(|event| (event.id, event.at)));
        filter.since = Some(from);
        limit = usize::MAX;
        wait().await;
    }
}

async fn wait() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a person watches, and nothing here is simulated"
    )]
    tokio::time::sleep(EVERY).await;
}

/// One line for each event: for people in columns that are not too narrow for what comes later.
fn show_lines(context: &Context, events: &[AuditEvent]) -> Result<(), Failure> {
    if context.output.is_json() {
        let lines = events
            .iter()
            .map(|event| serde_json::to_string(event).expect("an event is JSON") + "\n");
        return context.output.data(&lines.collect::<String>());
    }
    if events.is_empty() {
        return Ok(());
    }
    context.output.table(&table(context, events))
}

async fn search(context: &Context, args: AuditSearch) -> Result<(), Failure> {
    let filter = Filter {
        since: args.since.map(|moment| moment.0),
        until: args.until.map(|moment| moment.0),
        ..filter(args.filters)
    };
    let found = context
        .client()?
        .audit(&filter, args.limit)
        .await
        .map_err(Failure::from)?;
    for id in &found.damaged {
        context.output.warn(&format!(
            "segment {id} cannot be read: somebody has changed it; `taco audit verify` tells what is wrong"
        ));
    }
    if context.output.is_json() {
        return context.output.json(&found);
    }
    if found.events.is_empty() {
        context.output.note("no events");
    }
    context.output.table(&table(context, &found.events))?;
    if found.next_page_token.is_some() {
        context
            .output
            .hint("there are more; --limit shows them, or name a time with --until");
    }
    Ok(())
}

fn table(context: &Context, events: &[AuditEvent]) -> Table {
    let mut table = Table::new(&["TIME", "WHO", "ACTION", "DECISION", "UNIT", "WHAT", "VIA", "FROM"]);
    for event in events {
        let style = match event.decision {
            Outcome::Done => PLAIN,
            Outcome::Denied => BAD,
            Outcome::Refused => WARN,
        };
        let what = match &event.about {
            Some(about) => format!("{}: {about}", event.what),
            None => event.what.clone(),
        };
        table.row(vec![
            context.output.time(Some(event.at)),
            Cell::text(event.principal.as_str()),
            Cell::text(event.action.as_str()),
            Cell::text(event.decision.as_str()).style(style),
            Cell::maybe(event.unit.as_ref()),
            Cell::text(what),
            Cell::maybe(event.via.as_ref()).style(DIM),
            Cell::maybe(event.address.as_ref()).style(DIM),
        ]);
    }
    table
}

async fn verify(context: &Context, args: AuditVerify) -> Result<(), Failure> {
    let client = context.client()?;
    let mut keys = match args.keys.is_empty() {
        true => client.signing_keys().await.map_err(Failure::from)?,
        false => Keys::default(),
    };
    for file in &args.keys {
        let document = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
        let read = Keys::from_jwks(&document).map_err(|error| {
            Failure::new(Kind::Usage, format!("{} holds no keys", file.display())).because(&error)
        })?;
        keys = keys.and(read);
    }
    let is_signed = !keys.is_empty();
    let since = args.since.map(|moment| moment.0);
    let report = client.verify_audit(keys, since).await.map_err(Failure::from)?;
    if context.output.is_json() {
        context.output.json(&report)?;
    } else {
        for finding in &report.findings {
            context.output.data(&format!("{finding}\n"))?;
        }
        let summary = format!(
            "{} in {}: {}",
            counted(report.segments, "segment"),
            counted(report.chains, "chain"),
            counted(report.events, "event")
        );
        context.output.note(&summary);
        if report.unsealed > 0 && !is_signed {
            context.output.warn(&format!(
                "{} not signed, and there is no key to ask for: whoever can write to the bucket could have made the chain anew. Give the service a key for tokens (`opentacosvc keys new`), and it signs",
                counted(report.unsealed, "segment")
            ));
        }
        if !report.open.is_empty() {
            let open = counted(report.open.len() as u64, "chain");
            context.output.note(&format!(
                "{open} without an end: a replica is running, or was killed"
            ));
        }
    }
    let findings = report.findings.len();
    if findings == 0 {
        context.output.said(match is_signed || report.segments == 0 {
            true => "nothing was changed and nothing is missing",
            false => "no chain is broken; without signatures that is all that can be told",
        });
        return Ok(());
    }
    let unsigned = report
        .findings
        .iter()
        .all(|finding| finding.flaw == Flaw::Unsealed);
    let failure = Failure::new(
        Kind::Conflict,
        format!(
            "the audit is not as it was written: {}",
            counted(findings as u64, "finding")
        ),
    );
    Err(failure.hint(match unsigned {
        true => "if they are from before the service had a key, --since leaves them out",
        false => "compare with a copy of the bucket, and find out who could write to it",
    }))
}

/// So many of something, in words.
fn counted(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
