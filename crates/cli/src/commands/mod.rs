//! The commands, one file each.

mod acquire;
mod adopt;
mod asking;
mod audit;
mod backend;
mod create;
mod diff;
mod edges;
mod graph;
mod info;
mod label;
mod list;
mod lock;
mod login;
mod outputs;
mod pages;
mod provider_init;
mod pull;
mod push;
mod rbac;
mod rejected;
mod release;
mod remove;
mod status;
mod support;
mod tokens;
mod undelete;
mod unlock;
mod version;
mod versions;

use std::process::ExitCode;

use crate::args::{Command, ProviderVerb, Rejected, Unit};
use crate::context::Context;
use crate::error::Failure;

/// Does what was asked for.
///
/// # Errors
/// With what failed, and what to try.
pub async fn run(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Unit(Unit::Create(args)) => create::run(context, args).await,
        Command::Unit(Unit::Ls(args)) => list::run(context, args).await,
        Command::Unit(Unit::Info(args)) => info::run(context, &args.unit).await,
        Command::Unit(Unit::Rm(args)) => remove::run(context, args).await,
        Command::Unit(Unit::Pull(args)) => pull::run(context, args).await,
        Command::Unit(Unit::Push(args)) => push::run(context, args).await,
        Command::Unit(Unit::Lock(args)) => lock::run(context, args).await,
        Command::Unit(Unit::Unlock(args)) => unlock::run(context, args).await,
        Command::Unit(Unit::Acquire(args)) => acquire::run(context, args).await,
        Command::Unit(Unit::Release(args)) => release::run(context, args).await,
        Command::Unit(Unit::Versions(args)) => versions::list(context, args).await,
        Command::Unit(Unit::Restore(args)) => versions::restore(context, args).await,
        Command::Unit(Unit::Undelete(args)) => undelete::run(context, &args.unit).await,
        Command::Unit(Unit::Diff(args)) => return diff::run(context, args).await,
        Command::Unit(Unit::Rejected(Rejected::Ls(args))) => rejected::list(context, &args.unit).await,
        Command::Unit(Unit::Rejected(Rejected::Pull(args))) => rejected::pull(context, args).await,
        Command::Unit(Unit::Rejected(Rejected::Promote(args))) => rejected::promote(context, args).await,
        Command::Unit(Unit::Outputs(args)) => outputs::run(context, args).await,
        Command::Unit(Unit::Label(args)) => label::run(context, args).await,
        Command::Unit(Unit::Backend(args)) => backend::run(context, &args),
        Command::Unit(Unit::Status(args)) => return status::run(context, args).await,
        Command::Login(args) => login::login(context, args).await,
        Command::Logout => login::logout(context).await,
        Command::Whoami => login::whoami(context).await,
        Command::Creds(args) => tokens::creds(context, args).await,
        Command::Exec(args) => return tokens::exec(context, args).await,
        Command::Token(verb) => tokens::token(context, verb).await,
        Command::ServiceAccount(verb) => tokens::service_account(context, verb).await,
        Command::Rbac(verb) => rbac::run(context, verb).await,
        Command::Graph(verb) => graph::run(context, verb).await,
        Command::Provider(ProviderVerb::Init(args)) => provider_init::run(context, args).await,
        Command::Audit(verb) => audit::run(context, verb).await,
        Command::Adopt(args) => adopt::run(context, args).await,
        Command::Completions(args) => pages::completions(context, &args),
        Command::Man(args) => pages::man(context, &args),
        Command::Version(args) => version::run(context, &args).await,
    }?;
    Ok(ExitCode::SUCCESS)
}
