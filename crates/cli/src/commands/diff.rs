//! `taco unit diff`

use std::process::ExitCode;

use opentaco_domain::{UnitId, VersionId};
use opentaco_sdk::SdkError;
use opentaco_sdk::state::Source;

use super::support::{self, explain, short};
use crate::args;
use crate::context::Context;
use crate::diff::{self, Change, Field, Side, StateDiff};
use crate::error::{DIFFERENT, Failure};
use crate::output::{BAD, DIM, GOOD, HEAD, WARN, one_line};

/// The longest value that is shown to people in full.
const SHOWN_MAX: usize = 100;

pub(super) async fn run(context: &Context, args: args::Diff) -> Result<ExitCode, Failure> {
    let unit = &args.one.unit;
    let default = if args.file.is_some() {
        "current"
    } else {
        "previous"
    };
    let from = args.from.as_deref().unwrap_or(default);
    let (from, to) = match &args.file {
        Some(path) => {
            let file = support::readable(path).await?;
            let to = Side {
                name: path.display().to_string(),
                file: Some(file),
            };
            (fetch(context, unit, from).await?, to)
        }
        None => {
            let to = args.to.as_deref().unwrap_or("current");
            // Both are named before either is fetched: "previous" and "current" are then of one history.
            let names = (
                support::version(context, unit, from).await?,
                support::version(context, unit, to).await?,
            );
            (
                fetch_version(context, unit, names.0).await?,
                fetch_version(context, unit, names.1).await?,
            )
        }
    };
    let found = diff::diff(from, to)?;
    report(context, &found)?;
    Ok(match args.exit_code && !found.same {
        true => ExitCode::from(DIFFERENT),
        false => ExitCode::SUCCESS,
    })
}

/// A version by the name that people use; the current state also where it is none of ours, or there is none.
async fn fetch(context: &Context, unit: &UnitId, called: &str) -> Result<Side, Failure> {
    if called != "current" {
        let version = support::version(context, unit, called).await?;
        return fetch_version(context, unit, version).await;
    }
    let mut file = temporary()?;
    let client = context.client()?;
    let (moved, total) = Default::default();
    let transfer = client.download(unit, &Source::Current, &mut file, &moved, &total);
    let fetched = crate::progress::watched(&format!("pulling {unit}"), &moved, &total, transfer).await;
    match fetched {
        Ok(_) => Ok(Side {
            name: "the current state".to_owned(),
            file: Some(file),
        }),
        Err(SdkError::NoState { .. }) => Ok(Side {
            name: "no state".to_owned(),
            file: None,
        }),
        Err(error) => Err(explain(context, unit, error).await),
    }
}

async fn fetch_version(context: &Context, unit: &UnitId, version: VersionId) -> Result<Side, Failure> {
    let mut file = temporary()?;
    support::download_to(context, unit, &Source::Version(version), &mut file).await?;
    Ok(Side {
        name: format!("version {}", short(&version)),
        file: Some(file),
    })
}

/// A file without a name, which nobody else can open and which goes away with this process.
fn temporary() -> Result<std::fs::File, Failure> {
    tempfile::tempfile()
        .map_err(|error| Failure::file("keep what is downloaded in", &std::env::temp_dir(), &error))
}

fn report(context: &Context, found: &StateDiff) -> Result<(), Failure> {
    if context.output.is_json() {
        return context.output.json(found);
    }
    if found.same {
        let (from, to) = (one_line(&found.from), one_line(&found.to));
        context
            .output
            .note(&format!("no difference between {from} and {to}"));
        return Ok(());
    }
    let (from, to) = (one_line(&found.from), one_line(&found.to));
    context.output.note(&format!("{HEAD}from {from} to {to}{HEAD:#}"));
    let mut lines = Vec::new();
    for field in &found.state {
        lines.push(line(field, &format!("({})", field.name)));
    }
    for resource in &found.resources {
        lines.push(marked(resource.change, &resource.address));
        for field in &resource.attributes {
            lines.push(format!("    {}", line(field, &field.name)));
        }
    }
    for field in &found.outputs {
        lines.push(line(field, &format!("output.{}", field.name)));
    }
    lines.push(String::new());
    context.output.data(&lines.join("\n"))
}

fn marked(change: Change, text: &str) -> String {
    let (mark, style) = match change {
        Change::Added => ('+', GOOD),
        Change::Changed => ('~', WARN),
        Change::Removed => ('-', BAD),
    };
    format!("{style}{mark}{style:#} {}", one_line(text))
}

fn line(field: &Field, name: &str) -> String {
    let name = marked(field.change, name);
    if field.sensitive {
        return format!("{name}: {DIM}(sensitive){DIM:#}");
    }
    match (field.before.as_ref().map(shown), field.after.as_ref().map(shown)) {
        (Some(before), Some(after)) => format!("{name}: {before} -> {after}"),
        (Some(value), None) | (None, Some(value)) => format!("{name}: {value}"),
        (None, None) => name,
    }
}

fn shown(value: &serde_json::Value) -> String {
    // JSON escapes most of what a terminal would obey, and not all.
    let text = one_line(&value.to_string());
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}… ({} characters)", &text[..at], text.chars().count()),
        None => text,
    }
}
