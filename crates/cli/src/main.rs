//! Parse, run, report.

use std::process::ExitCode;

use clap::Parser as _;
use opentaco_cli::args::{self, Taco};
use opentaco_cli::context::Context;
use opentaco_cli::output::Output;
use opentaco_cli::{commands, complete};
use opentaco_domain::{Clock as _, SystemClock};

fn main() -> ExitCode {
    // Asked by a shell what may follow, it answers and ends here.
    complete::answer_the_shell(args::command);
    let taco = match Taco::try_parse() {
        Ok(taco) => taco,
        Err(error) => return refuse(&error),
    };
    let context = match Context::resolve(&taco.global) {
        Ok(context) => context,
        Err(refused) => {
            let (output, failure) = *refused;
            output.failure(&failure);
            return ExitCode::from(failure.kind.code());
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime on one thread needs nothing but memory");
    let ended = runtime.block_on(context.interrupt.guard(commands::run(&context, taco.command)));
    // A thread may still wait for an answer on a terminal; nobody waits for it.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(failure) if failure.unheard => ExitCode::SUCCESS,
        Err(failure) => {
            context.output.failure(&failure);
            ExitCode::from(failure.kind.code())
        }
    }
}

/// The command line means nothing, or it asks for help.
fn refuse(error: &clap::Error) -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    match args::refusal(error, &words) {
        Some(failure) => {
            Output::new(true, SystemClock.now()).failure(&failure);
            ExitCode::from(failure.kind.code())
        }
        None => error.exit(),
    }
}
