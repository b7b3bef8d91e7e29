//! `taco token`, `taco service-account`, `taco creds`, `taco exec`: what programs ask with.

use std::process::ExitCode;

use opentaco_sdk::SdkError;
use opentaco_sdk::api::auth::{CreateServiceAccount, CreateToken, S3CredentialsRequest};
use serde_json::json;
use uuid::Uuid;

use super::asking::asking_process;
use super::login;
use crate::args::{Creds, Exec, ServiceAccount, TokenCreate, TokenVerb};
use crate::confirm::{Unasked, confirm};
use crate::context::{Context, variable};
use crate::error::{Failure, Kind};
use crate::output::{Cell, Table};

/// Names the job that S3 credentials are for, so that a refresh in the middle goes on as the same holder of a lock.
const SESSION: &str = "OPENTACO_SESSION";

pub(super) async fn token(context: &Context, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create(args) => create(context, args).await,
        TokenVerb::Ls => list(context).await,
        TokenVerb::Revoke(args) => {
            let question = format!("end the token `{}`? Whatever asks with it stops working", args.id);
            confirm(&question, args.yes.yes, Unasked::Proceed).await?;
            let ended = context.client()?.revoke_token(&args.id).await;
            ended.map_err(|error| missing(error, "`taco token ls` shows the tokens that you may see"))?;
            if context.output.is_json() {
                return context.output.json(&json!({"revoked": args.id}));
            }
            context.output.said(&format!("the token `{}` is over", args.id));
            Ok(())
        }
    }
}

async fn create(context: &Context, args: TokenCreate) -> Result<(), Failure> {
    let wanted = CreateToken {
        name: args.name,
        service_account: args.service_account,
        roles: args.roles.iter().map(ToString::to_string).collect(),
        days: args.days,
    };
    let made = context.client()?.create_token(&wanted).await;
    let made = made.map_err(|error| missing(error, "`taco service-account create NAME` makes one"))?;
    if context.output.is_json() {
        return context.output.json(&made);
    }
    context.output.note(&format!(
        "the token `{}` of {}, until {}; it is shown this once:",
        made.about.id, made.about.principal, made.about.expires
    ));
    context.output.data(&format!("{}\n", made.token.expose()))
}

async fn list(context: &Context) -> Result<(), Failure> {
    let tokens = context.client()?.tokens().await.map_err(Failure::from)?;
    if context.output.is_json() {
        return context.output.json(&tokens);
    }
    if tokens.tokens.is_empty() {
        context.output.note("no tokens");
    }
    let mut table = Table::new(&["ID", "NAME", "OF", "ROLES", "EXPIRES", "LAST USED"]);
    for token in &tokens.tokens {
        let roles = match token.roles.is_empty() {
            true => Cell::none(),
            false => Cell::text(token.roles.join(", ")),
        };
        table.row(vec![
            Cell::text(token.id.as_str()),
            Cell::text(token.name.as_str()),
            Cell::text(token.principal.as_str()),
            roles,
            context.output.time(Some(token.expires)),
            context.output.time(token.last_used),
        ]);
    }
    context.output.table(&table)
}

pub(super) async fn service_account(context: &Context, verb: ServiceAccount) -> Result<(), Failure> {
    match verb {
        ServiceAccount::Create(args) => {
            let wanted = CreateServiceAccount {
                name: args.name,
                description: args.description,
            };
            let made = context.client()?.create_service_account(&wanted).await;
            let made = made.map_err(Failure::from)?;
            if context.output.is_json() {
                return context.output.json(&made);
            }
            context
                .output
                .said(&format!("created service account `{}`", made.name));
            context.output.hint(&format!(
                "give it a role with `taco rbac users assign service:{0} ROLE`, and a token with `taco token create NAME --service-account {0}`",
                made.name
            ));
            Ok(())
        }
        ServiceAccount::Ls => {
            let accounts = context
                .client()?
                .service_accounts()
                .await
                .map_err(Failure::from)?;
            if context.output.is_json() {
                return context.output.json(&accounts);
            }
            if accounts.service_accounts.is_empty() {
                context.output.note("no service accounts");
            }
            let mut table = Table::new(&["NAME", "CREATED", "DESCRIPTION"]);
            for account in &accounts.service_accounts {
                table.row(vec![
                    Cell::text(account.name.as_str()),
                    context.output.time(Some(account.created)),
                    Cell::text(account.description.as_str()),
                ]);
            }
            context.output.table(&table)
        }
        ServiceAccount::Rm(args) => {
            let question = format!(
                "remove service account `{}`, and end every token of it?",
                args.name
            );
            confirm(&question, args.yes.yes, Unasked::Refuse).await?;
            let removed = context.client()?.remove_service_account(&args.name).await;
            removed.map_err(|error| missing(error, "`taco service-account ls` shows which there are"))?;
            if context.output.is_json() {
                return context.output.json(&json!({"removed": true}));
            }
            context
                .output
                .said(&format!("removed service account `{}`", args.name));
            Ok(())
        }
    }
}

pub(super) async fn creds(context: &Context, args: Creds) -> Result<(), Failure> {
    let session = args
        .session
        .or_else(|| variable(SESSION).map(|session| session.to_string_lossy().into_owned()))
        .or_else(asking_process);
    let request = S3CredentialsRequest { session };
    let made = context
        .client()?
        .s3_credentials(&request)
        .await
        .map_err(Failure::from)?;
    // There is one way to write it, which the AWS tools read.
    context.output.json(&made)
}

/// Becomes another program, which asks as whoever is logged in: signals and the exit code are its own.
pub(super) async fn exec(context: &Context, args: Exec) -> Result<ExitCode, Failure> {
    use std::os::unix::process::CommandExt as _;
    let token = login::token(context).await?;
    let (program, words) = args.command.split_first().expect("a command has a word at least");
    let mut command = std::process::Command::new(program);
    command
        .args(words)
        .env("TF_HTTP_USERNAME", "taco")
        .env("TF_HTTP_PASSWORD", token.expose())
        .env("OPENTACO_SERVER", context.server.as_str());
    if variable(SESSION).is_none() {
        command.env(SESSION, Uuid::new_v4().simple().to_string());
    }
    // It returns only if it fails.
    let error = command.exec();
    let what = format!("cannot run `{}`", program.to_string_lossy());
    Err(Failure::new(Kind::Usage, what).because(&error))
}

fn missing(error: SdkError, hint: &str) -> Failure {
    let is_missing = matches!(error, SdkError::NotFound { .. });
    let failure = Failure::from(error);
    match is_missing {
        true => failure.hint(hint),
        false => failure,
    }
}
