//! The reference of all commands, made from the command tree as a page of the documentation.

use std::fmt::Write as _;

use crate::args;
use crate::error;

/// The page.
#[must_use]
pub fn page() -> String {
    let mut command = args::command().term_width(100);
    command.build();
    let mut page = String::from(
        "---\ntitle: \"CLI reference\"\ndescription: \"Every command of taco, as its help tells it\"\n---\n\n\
         {/* generated from the command tree: do not edit; run the tests of crates/cli with OPENTACO_UPDATE_DOCS=1 */}\n\n\
         [The CLI](/cli) shows how to work with it.\n\n## Exit codes\n\n| Code | In JSON | Meaning |\n|---|---|---|\n",
    );
    for (code, word, meaning) in error::exit_codes() {
        let word = word.map(|word| format!("`{word}` ")).unwrap_or_default();
        let _ = writeln!(page, "| {code} | {word}| {meaning} |");
    }
    describe(&mut page, &command, "taco", 2);
    page
}

fn describe(page: &mut String, command: &clap::Command, path: &str, depth: usize) {
    // What holds for every command is told once, at the top.
    let global_too = depth == 2;
    let shown = command.clone().mut_args(|arg| {
        let hide = arg.is_global_set() && !global_too;
        arg.hide(hide)
    });
    let help = shown.clone().render_help().to_string();
    let marks = "#".repeat(depth.min(4));
    let _ = write!(page, "\n{marks} {path}\n\n```text\n{}\n```\n", help.trim_end());
    for below in command.get_subcommands() {
        describe(page, below, &format!("{path} {}", below.get_name()), depth + 1);
    }
}
