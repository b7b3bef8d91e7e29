//! Parse, run, report.

use std::process::ExitCode;

use clap::Parser as _;
use opentaco_cli::args::{self, Taco};
use opentaco_cli::context::Context;
use opentaco_cli::{commands, complete};

fn main() -> ExitCode {
    // Asked by a shell what may follow, it answers and ends here.
    complete::answer_the_shell(args::command);
    let taco = Taco::parse();
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
