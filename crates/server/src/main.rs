//! `opentacosvc`: read the flags, open the bucket, serve, stop cleanly.

use std::io::Write as _;
use std::process::ExitCode;

use opentaco_server::config::{self, Asked, exit};
use opentaco_server::problem::chain;
use opentaco_server::{keys, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    #[cfg(feature = "planted")]
    if let Err(error) = plant() {
        return ExitCode::from(complain(&error, exit::USAGE));
    }
    let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let code = match config::understand(&arguments, &environment) {
        Ok(Asked::Print(text)) => print(&text, exit::DONE),
        Ok(Asked::NewKey(out)) => match keys::make(out.as_deref()) {
            Ok(text) => print(&text, exit::DONE),
            Err(error) => complain(&chain(&error), exit::FAILED),
        },
        Ok(Asked::Doctor(store)) => match runtime() {
            Ok(runtime) => {
                let (text, code) = runtime.block_on(run::doctor(&store));
                print(&text, code)
            }
            Err(error) => complain(&chain(&error), exit::FAILED),
        },
        Ok(Asked::Serve(config)) => {
            let served = config.logging.start().and_then(|()| runtime());
            match served.map(|runtime| runtime.block_on(run::run(*config))) {
                Ok(Ok(())) => exit::DONE,
                Ok(Err(error)) => complain(&chain(&error), exit::FAILED),
                Err(error) => complain(&chain(&error), exit::FAILED),
            }
        }
        Err(error) => complain(
            &format!("{error}\n\n`opentacosvc help` explains every flag"),
            exit::USAGE,
        ),
    };
    ExitCode::from(code)
}

/// Takes the rule of the protocol away that the environment names: for torture, which has to notice.
#[cfg(feature = "planted")]
fn plant() -> Result<(), String> {
    use opentaco_control::planted::{BUGS, plant};
    let Ok(name) = std::env::var("OPENTACO_PLANTED") else {
        return Ok(());
    };
    let bug = BUGS.iter().find(|planted| planted.name == name);
    let bug = bug.ok_or_else(|| format!("OPENTACO_PLANTED: there is no bug called `{name}`"))?;
    plant(bug.bug);
    Ok(())
}

/// A few workers do for a service that waits for its bucket; each costs memory while it waits.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
}

/// Nobody may be reading any more, and that is no failure of ours.
fn print(text: &str, code: u8) -> u8 {
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

fn complain(text: &str, code: u8) -> u8 {
    let _ = std::io::stderr().write_all(format!("opentacosvc: {text}\n").as_bytes());
    code
}
