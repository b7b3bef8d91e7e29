//! `taco unit status`

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use opentaco_domain::Clock as _;
use opentaco_domain::graph::{EdgeStatus, Unknown};
use opentaco_sdk::api::{Edge, Statuses, UnitStatus};
use opentaco_sdk::graph::ListStatus;

use super::edges;
use super::support::{about, short};
use crate::args;
use crate::context::Context;
use crate::error::{Failure, Kind, STALE};
use crate::output::{Cell, DIM, HEAD, Output, Table, one_line};

pub(super) async fn run(context: &Context, args: args::Status) -> Result<ExitCode, Failure> {
    let seen = match args.watch {
        Some(seconds) => return watch(context, &args, Duration::from_secs(seconds.into())).await,
        None => ask(context, &args).await?,
    };
    seen.show(context.output)?;
    Ok(seen.code(&args))
}

/// What was asked for, as it is at one moment.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    One(Box<UnitStatus>),
    Many(Statuses),
}

async fn ask(context: &Context, args: &args::Status) -> Result<Seen, Failure> {
    let client = context.client()?;
    if let Some(unit) = &args.unit {
        let status = about(context, unit, client.unit_status(unit)).await?;
        return Ok(Seen::One(Box::new(status)));
    }
    let wanted = ListStatus {
        prefix: args.prefix.as_ref().map(ToString::to_string).unwrap_or_default(),
        dependent: args.dependent,
    };
    Ok(Seen::Many(client.statuses(&wanted).await?))
}

impl Seen {
    fn show(&self, output: Output) -> Result<(), Failure> {
        match self {
            Self::One(status) if output.is_json() => output.json(status),
            Self::Many(statuses) if output.is_json() => output.json(statuses),
            Self::One(status) => output.data(&match output.is_for_people() {
                true => told(status, output),
                false => listed(status),
            }),
            Self::Many(statuses) => show_all(statuses, output),
        }
    }

    fn code(&self, args: &args::Status) -> ExitCode {
        let is_stale = match self {
            Self::One(unit) => unit.status.is_stale(),
            Self::Many(statuses) => statuses.units.iter().any(|unit| unit.status.is_stale()),
        };
        match args.exit_code && is_stale {
            true => ExitCode::from(STALE),
            false => ExitCode::SUCCESS,
        }
    }
}

/// Looks again and again, until Ctrl-C ends it; then the last look says how it ended.
///
/// A service that does not answer for a while is told of, in the place of what is not known to be so any more. Whatever
/// else fails would fail the next time, too.
async fn watch(context: &Context, args: &args::Status, every: Duration) -> Result<ExitCode, Failure> {
    context.interrupt.hold();
    let mut last: Option<Result<Seen, Failure>> = None;
    loop {
        let seen = match context.interrupt.or(ask(context, args)).await {
            Err(failure) if failure.kind == Kind::Interrupted => break,
            Err(failure) if failure.kind != Kind::Unavailable || last.is_none() => return Err(failure),
            seen => seen,
        };
        let is_news = match (&seen, &last) {
            (Ok(now), Some(Ok(before))) => now != before,
            (Err(now), Some(Err(before))) => now.text() != before.text(),
            _ => true,
        };
        if is_news {
            let output = context.output.at(context.clock.now());
            if output.is_for_people() {
                output.bytes(CLEAR)?;
            }
            match &seen {
                Ok(seen) => seen.show(output)?,
                Err(failure) => output.failure(failure),
            }
        }
        last = Some(seen);
        if context.interrupt.or(wait(every)).await.is_err() {
            break;
        }
    }
    Ok(match last {
        Some(Ok(seen)) => seen.code(args),
        Some(Err(failure)) => ExitCode::from(failure.kind.code()),
        None => ExitCode::from(Kind::Interrupted.code()),
    })
}

/// To the upper left corner, and nothing is there.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

async fn wait(every: Duration) -> Result<(), Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a person watches, and nothing here is simulated"
    )]
    tokio::time::sleep(every).await;
    Ok(())
}

fn show_all(statuses: &Statuses, output: Output) -> Result<(), Failure> {
    let units = &statuses.units;
    if units.is_empty() {
        output.note("no units");
        return Ok(());
    }
    output.table(&table(units))?;
    let mut circular = units.iter().filter(|unit| !unit.cycle.is_empty());
    if let Some(first) = circular.next() {
        let more = match circular.count() {
            0 => String::new(),
            1 => "; so does 1 more".to_owned(),
            more => format!("; so do {more} more"),
        };
        output.warn(&one_line(&format!(
            "`{}` depends on itself: {}{more}",
            first.unit_id,
            edges::way_around(&first.cycle)
        )));
    }
    if output.is_for_people() {
        output.note(&format!(
            "{}: {}",
            edges::counted(units.len(), "unit", "units"),
            edges::tally(units.iter().map(|unit| unit.status))
        ));
        if units.iter().any(|unit| unit.status.is_stale()) {
            output.hint("`taco unit status UNIT` tells why, `taco graph order` in which order to apply");
        }
    }
    Ok(())
}

fn table(units: &[UnitStatus]) -> Table {
    let mut table = Table::new(&[
        "UNIT",
        "STATUS",
        "PENDING",
        "UNKNOWN",
        "WHY UNKNOWN",
        "BECAUSE OF",
    ]);
    for unit in units {
        let of = |status| unit.incoming.iter().filter(move |edge| edge.status == status);
        let reasons: BTreeSet<&str> = of(EdgeStatus::Unknown)
            .filter_map(|edge| edge.reason.map(Unknown::as_str))
            .collect();
        let reasons: Vec<String> = reasons.into_iter().map(str::to_owned).collect();
        let pending: Vec<String> = of(EdgeStatus::Pending).map(edges::source).collect();
        table.row(vec![
            Cell::text(unit.unit_id.as_str()),
            edges::status(unit.status),
            edges::number(unit.summary.incoming_pending),
            edges::number(unit.summary.incoming_unknown),
            edges::names(&reasons),
            edges::names(if pending.is_empty() {
                &unit.because_of
            } else {
                &pending
            }),
        ]);
    }
    table
}

/// One unit for people: a head, and a few lines for each of its dependencies.
fn told(unit: &UnitStatus, output: Output) -> String {
    let status = edges::status(unit.status);
    let mut text = format!("{HEAD}{}{HEAD:#}: {status}\n", one_line(&unit.unit_id));
    let summary = unit.summary;
    let all = summary.incoming_ok + summary.incoming_pending + summary.incoming_unknown;
    let _ = writeln!(
        text,
        "{}: {} ok, {} pending, {} unknown",
        edges::counted(all, "dependency", "dependencies"),
        summary.incoming_ok,
        summary.incoming_pending,
        summary.incoming_unknown
    );
    if !unit.because_of.is_empty() {
        let _ = writeln!(
            text,
            "before it, and to be applied first: {}",
            one_line(&unit.because_of.join(", "))
        );
    }
    if !unit.cycle.is_empty() {
        let _ = writeln!(
            text,
            "it depends on itself: {}",
            one_line(&edges::way_around(&unit.cycle))
        );
    }
    // What is to be done comes first.
    let mut incoming: Vec<&Edge> = unit.incoming.iter().collect();
    incoming.sort_by_key(|edge| match edge.status {
        EdgeStatus::Pending => 0,
        EdgeStatus::Unknown => 1,
        EdgeStatus::Ok => 2,
    });
    for edge in incoming {
        let _ = writeln!(
            text,
            "\n{}  {} -> {}",
            edges::edge_status(edge.status),
            one_line(&edges::source(edge)),
            one_line(&edge.to_input)
        );
        let _ = writeln!(text, "    {}", one_line(&why(edge)));
        if let Some(moments) = moments(edge, output) {
            let _ = writeln!(text, "    {DIM}{}{DIM:#}", one_line(&moments));
        }
    }
    text
}

/// One unit for programs: what `info` would call fields, and a line for each dependency.
fn listed(unit: &UnitStatus) -> String {
    let mut rows = Table::new(&["", ""]);
    let mut row = |words: &[&str]| rows.row(words.iter().map(|word| Cell::text(*word)).collect());
    row(&["unit", &unit.unit_id]);
    row(&["status", unit.status.label()]);
    row(&["because of", &unit.because_of.join(", ")]);
    row(&["cycle", &unit.cycle.join(" -> ")]);
    for edge in &unit.incoming {
        let version = |version: &Option<_>| version.as_ref().map(ToString::to_string).unwrap_or_default();
        let by = edge.in_by.as_ref().map(ToString::to_string).unwrap_or_default();
        let reason = edge.reason.map(Unknown::as_str).unwrap_or_default();
        row(&[
            "dependency",
            edge.status.as_str(),
            &edges::source(edge),
            &edge.to_input,
            reason,
            &version(&edge.in_version),
            &by,
            &version(&edge.out_version),
            &why(edge),
        ]);
    }
    rows.for_programs()
}

/// Why an edge is what it is: what the service says, or what can be told without it.
fn why(edge: &Edge) -> String {
    match (edge.why.is_empty(), edge.status, edge.reason) {
        (false, ..) => edge.why.clone(),
        (true, _, Some(reason)) => reason.sentence(&edge.ends()),
        (true, EdgeStatus::Pending, None) => {
            format!(
                "the value of `{}` is not the one that was taken last",
                edge.from_output
            )
        }
        (true, EdgeStatus::Ok, None) => "the value that there is was taken".to_owned(),
        (true, EdgeStatus::Unknown, None) => "it cannot be told".to_owned(),
    }
}

/// How long ago and in which version the output changed, and a value was last taken; as far as it may be seen.
fn moments(edge: &Edge, output: Output) -> Option<String> {
    let moment = |doing: &str, time: Option<_>, version: Option<_>| {
        let ago = time.map(|time| format!(" {}", output.time(Some(time))));
        let version = version.map(|version| format!(" in version {}", short(version)));
        (ago.is_some() || version.is_some()).then(|| {
            format!(
                "{doing}{}{}",
                ago.unwrap_or_default(),
                version.unwrap_or_default()
            )
        })
    };
    let moments = [
        moment("changed", edge.last_in_at, edge.in_version.as_ref()),
        moment("last taken", edge.last_out_at, edge.out_version.as_ref()),
    ];
    let told: Vec<String> = moments.into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use opentaco_domain::graph::UnitStatus as Colour;
    use opentaco_sdk::api::IncomingSummary;

    use super::super::graph::tests::edge;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn unit(id: &str, status: Colour, incoming: Vec<Edge>) -> UnitStatus {
        let count = |status| incoming.iter().filter(|edge| edge.status == status).count();
        UnitStatus {
            unit_id: id.to_owned(),
            status,
            summary: IncomingSummary {
                incoming_ok: count(EdgeStatus::Ok),
                incoming_pending: count(EdgeStatus::Pending),
                incoming_unknown: count(EdgeStatus::Unknown),
            },
            incoming,
            because_of: Vec::new(),
            cycle: Vec::new(),
        }
    }

    fn app() -> UnitStatus {
        let mut changed = edge("network/prod.vpc_id->app.vpc", EdgeStatus::Pending);
        changed.why = "`vpc_id` of `network/prod` has changed".to_owned();
        changed.in_version = Some(
            "0000000000000005-3-00000000-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08-00000000"
                .parse()
                .unwrap(),
        );
        changed.in_by = Some(opentaco_domain::Principal::new("alice@example.com"));
        changed.last_in_at = Some("1969-12-31T22:00:00Z".parse().unwrap());
        changed.last_out_at = Some("1969-12-28T00:00:00Z".parse().unwrap());
        let incoming = vec![
            edge("network/prod.zones->app.zones", EdgeStatus::Ok),
            changed,
            edge("db.url->app.url", EdgeStatus::Unknown),
        ];
        unit("app", Colour::Red, incoming)
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn units_are_told_by_their_labels_with_what_is_unknown_beside_them() {
        let mut behind = unit("dns", Colour::Yellow, Vec::new());
        behind.because_of = ["app", "x", "y", "z", "zz"].map(str::to_owned).to_vec();
        let units = [app(), behind, unit("network/prod", Colour::Green, Vec::new())];
        assert_eq!(
            plain(&table(&units).for_people()),
            "\
UNIT          STATUS               PENDING  UNKNOWN  WHY UNKNOWN  BECAUSE OF
app           needs re-apply       1        1        no-output    network/prod.vpc_id
dns           might need re-apply  -        -        -            app, x, y, +2
network/prod  up to date           -        -        -            -
"
        );
        assert_eq!(
            table(&units).for_programs(),
            "app\tneeds re-apply\t1\t1\tno-output\tnetwork/prod.vpc_id\n\
             dns\tmight need re-apply\t0\t0\t\tapp, x, y, z, zz\n\
             network/prod\tup to date\t0\t0\t\t\n"
        );
    }

    #[test]
    fn the_labels_have_their_colours() {
        let coloured = |status: Colour| edges::status(status).to_string();
        assert_eq!(coloured(Colour::Red), "\u{1b}[31mneeds re-apply\u{1b}[0m");
        assert_eq!(coloured(Colour::Yellow), "\u{1b}[33mmight need re-apply\u{1b}[0m");
        assert_eq!(coloured(Colour::Green), "\u{1b}[32mup to date\u{1b}[0m");
    }

    #[test]
    fn one_unit_is_told_with_each_dependency_and_why_what_is_to_be_done_first() {
        assert_eq!(
            plain(&told(&app(), Output::for_somebody(NOW))),
            "\
app: needs re-apply
3 dependencies: 1 ok, 1 pending, 1 unknown

pending  network/prod.vpc_id -> vpc
    `vpc_id` of `network/prod` has changed
    changed 2 hours ago in version 5-3, last taken 4 days ago

unknown  db.url -> url
    the state of `db` has no output `url`

ok  network/prod.zones -> zones
    the value that there is was taken
"
        );
    }

    #[test]
    fn a_unit_behind_red_ones_names_them_and_one_in_a_circle_the_way_around() {
        let mut status = unit("b", Colour::Yellow, vec![edge("a.x->b", EdgeStatus::Ok)]);
        status.because_of = vec!["a".to_owned(), "z".to_owned()];
        status.cycle = ["b", "a", "b"].map(str::to_owned).to_vec();
        let text = plain(&told(&status, Output::for_somebody(NOW)));
        assert!(
            text.starts_with(
                "b: might need re-apply\n1 dependency: 1 ok, 0 pending, 0 unknown\n\
                 before it, and to be applied first: a, z\nit depends on itself: b -> a -> b\n"
            ),
            "{text}"
        );
        assert_eq!(
            listed(&status),
            "unit\tb\nstatus\tmight need re-apply\nbecause of\ta, z\ncycle\tb -> a -> b\n\
             dependency\tok\ta.x\tx\t\t\t\t\tthe value that there is was taken\n"
        );
    }

    #[test]
    fn names_of_others_do_not_speak_to_the_terminal() {
        let mut status = unit(
            "a\u{1b}[2J",
            Colour::Red,
            vec![edge("a.x->b", EdgeStatus::Pending)],
        );
        status.incoming[0].why = "w\u{1b}[2J\nerror: x".to_owned();
        status.incoming[0].to_input = "i\u{9b}2J".to_owned();
        status.because_of = vec!["b\u{1b}[2J".to_owned()];
        let text = told(&status, Output::for_somebody(NOW));
        assert!(
            !text.contains("\u{1b}[2J") && !text.contains('\u{9b}'),
            "{text:?}"
        );
        assert!(!listed(&status).contains('\u{1b}'));
    }
}
