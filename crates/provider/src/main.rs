//! `terraform-provider-opentaco`: started by Terraform and OpenTofu, and by people who look for a mistake in it.

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::process::{self, ExitCode};

use opentaco_provider::plugin::handshake::{self, Invitation};
use opentaco_provider::plugin::serve::{Socket, serve};
use opentaco_provider::plugin::tls;
use opentaco_provider::provider::{ADDRESSES, OpenTaco};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

const USAGE: &str = "Usage: terraform-provider-opentaco [--debug | --version]";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let done = match arguments
        .iter()
        .map(|argument| argument.to_str())
        .collect::<Vec<_>>()[..]
    {
        [] => plugin(),
        [Some("--debug" | "-debug")] => debug(),
        [Some("--version" | "-version")] => print(&format!("{}\n", env!("CARGO_PKG_VERSION"))),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Serves whoever has started us.
fn plugin() -> Result<(), Box<dyn Error>> {
    let invitation = Invitation::read(|name| env::var_os(name))?;
    let identity = invitation.client.map(tls::identity).transpose()?;
    runtime()?.block_on(async {
        let mut end = signal(SignalKind::terminate())?;
        // Ctrl-C reaches everybody at the terminal. Terraform decides what becomes of it, and tells us.
        let _ignored = signal(SignalKind::interrupt())?;
        let socket = Socket::open()?;
        let certificate = identity.as_ref().map(|identity| &identity.certificate);
        print(&handshake::line(socket.path(), certificate))?;
        let config = identity.as_ref().map(|identity| identity.config.clone());
        serve(socket, config, OpenTaco::of_environment(), received(&mut end)).await?;
        Ok(())
    })
}

/// Serves whoever is told where, until Ctrl-C.
fn debug() -> Result<(), Box<dyn Error>> {
    runtime()?.block_on(async {
        let mut end = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let socket = Socket::open()?;
        let here = json!({
            "Protocol": "grpc",
            "ProtocolVersion": handshake::PROTOCOL,
            "Pid": process::id(),
            "Test": true,
            "Addr": {"Network": "unix", "String": socket.path()},
        });
        let reattach: serde_json::Map<_, _> = ADDRESSES
            .into_iter()
            .map(|address| (address.to_owned(), here.clone()))
            .collect();
        let reattach = serde_json::Value::from(reattach);
        print(&format!("TF_REATTACH_PROVIDERS='{reattach}'\n"))?;
        let stopped = async {
            tokio::select! {
                () = received(&mut end) => {}
                () = received(&mut interrupt) => {}
            }
        };
        serve(socket, None, OpenTaco::of_environment(), stopped).await?;
        Ok(())
    })
}

async fn received(signal: &mut Signal) {
    // None would mean that signals come no more: then Terraform's goodbye has to do.
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// One thread: a provider waits for its service, and little else.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn tell(error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr(), "{text}");
}
