//! `taco completions` and `taco man`

use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::{complete, man};

pub(super) fn completions(context: &Context, args: &args::Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    complete::registration(&args.shell, &mut script).map_err(|error| Failure::output(&error))?;
    let script = String::from_utf8_lossy(&script);
    match context.output.is_json() {
        true => context
            .output
            .json(&json!({"shell": args.shell, "script": script})),
        false => context.output.data(&script),
    }
}

pub(super) fn man(context: &Context, args: &args::Man) -> Result<(), Failure> {
    let Some(directory) = &args.dir else {
        let mut page = Vec::new();
        man::page(&mut page).map_err(|error| Failure::output(&error))?;
        let page = String::from_utf8_lossy(&page);
        return match context.output.is_json() {
            true => context.output.json(&json!({"page": page})),
            false => context.output.data(&page),
        };
    };
    let written =
        man::pages(directory).map_err(|error| Failure::file("write the pages into", directory, &error))?;
    if context.output.is_json() {
        return context.output.json(&json!({"written": written}));
    }
    let count = written.len();
    context
        .output
        .said(&format!("wrote {count} pages into {}", directory.display()));
    Ok(())
}
