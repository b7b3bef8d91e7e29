//! Asking before what cannot simply be taken back.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::error::{Failure, Kind};

/// What to do where nobody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// Refuse: a script has to say that it means it.
    Refuse,
    /// Go on: the history keeps what was.
    Proceed,
}

/// Asks a question, unless `yes` was said already.
///
/// # Errors
/// If the answer is no, or if nobody can be asked and that is a reason to refuse.
pub async fn confirm(question: &str, yes: bool, unasked: Unasked) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return match unasked {
            Unasked::Proceed => Ok(()),
            Unasked::Refuse => Err(
                Failure::new(Kind::Usage, format!("not without being asked: {question}"))
                    .hint("pass --yes if it is meant"),
            ),
        };
    }
    let question = question.to_owned();
    // On a thread of its own, so that Ctrl-C is heard while the question stands.
    let asked = tokio::task::spawn_blocking(move || ask(&question)).await;
    let answer = asked.unwrap_or_default();
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Kind::Failure, "nothing was done")),
    }
}

fn ask(question: &str) -> String {
    say(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if matches!(read, Ok(0) | Err(_)) {
        say("\n");
    }
    answer
}

/// Standard error is not kept locked while an answer is awaited: who interrupts is told so there.
fn say(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "{text}");
    let _ = err.flush();
}
