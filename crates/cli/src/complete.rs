//! Completion of unit ids, from the service: within a second or not at all, and never with a message.

use std::ffi::{OsStr, OsString};
use std::io;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use opentaco_sdk::units::ListUnits;
use opentaco_sdk::{Client, RetryPolicy, Server, StaticToken, Token};

use crate::context::{SERVER, setting};

/// How long a person waits for a completion.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many candidates a person looks at.
const CANDIDATES_MAX: usize = 500;

/// The variable by which a shell says that it asks.
const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks what may follow, and ends the process; returns at once if none asks.
pub fn answer_the_shell(command: fn() -> clap::Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// Prints the script by which a shell learns to ask.
///
/// # Errors
/// If it cannot be written.
pub fn registration(shell: &str, into: &mut dyn io::Write) -> io::Result<()> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(shell)
        .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    completer.write_registration(VARIABLE, "taco", "taco", "taco", into)
}

/// The units that begin as what was typed.
#[must_use]
pub fn units(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(prefix) = typed.to_str() else {
        return Vec::new();
    };
    let found = ask(prefix, &std::env::args_os().collect::<Vec<_>>());
    found
        .unwrap_or_default()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

fn ask(prefix: &str, words: &[OsString]) -> Option<Vec<String>> {
    let setting = |flag, variable| setting(given(words, flag).as_deref(), variable);
    let server = setting("--server", "OPENTACO_SERVER");
    let server = Server::parse(server.as_deref().unwrap_or(SERVER)).ok()?;
    let mut client = Client::builder(server.clone()).retries(RetryPolicy::never());
    if let Some(token) = setting("--token", "OPENTACO_TOKEN") {
        client = client.tokens(StaticToken::new(&server, Token::parse(&token).ok()?));
    }
    if let Some(file) = setting("--ca-file", "OPENTACO_CA_FILE") {
        client = client.trust(std::fs::read(file).ok()?);
    }
    let client = client.build().ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let wanted = ListUnits {
        prefix: prefix.to_owned(),
        limit: Some(CANDIDATES_MAX),
        ..ListUnits::default()
    };
    let listed = runtime.block_on(async { tokio::time::timeout(PATIENCE, client.list_units(&wanted)).await });
    // A name may still be looked up on a thread of its own; nobody waits for it.
    runtime.shutdown_background();
    let page = listed.ok()?.ok()?;
    Some(page.units.into_iter().map(|unit| unit.id.to_string()).collect())
}

/// What stands behind a flag on the line that is being completed.
fn given(words: &[OsString], flag: &str) -> Option<String> {
    let mut words = words.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        if word == flag {
            return words.next().map(str::to_owned);
        }
        if let Some(value) = word.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_line_are_found_in_both_spellings() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in [
            "taco -- taco --server http://a unit",
            "taco -- taco unit --server=http://a x",
        ] {
            assert_eq!(given(&words(line), "--server").as_deref(), Some("http://a"));
        }
        assert_eq!(given(&words("taco --servers x"), "--server"), None);
        assert_eq!(given(&words("taco --server"), "--server"), None);
    }
}
