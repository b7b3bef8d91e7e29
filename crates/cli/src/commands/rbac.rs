//! `taco rbac`: who may do what.

use std::io::Read as _;
use std::path::Path;

use opentaco_domain::access::Name;
use opentaco_domain::access::rule::{Actions, Effect};
use opentaco_sdk::SdkError;
use opentaco_sdk::api::ErrorCode;
use opentaco_sdk::api::rbac::{
    AccessRule, AccessTest, Holder, NamedPermission, NamedRole, SetPermission, SetRole,
};
use serde::Deserialize;

use crate::args::{
    NameAndYes, PermissionSet, Rbac, RbacPermissions, RbacRevoke, RbacRoles, RbacRoot, RbacUsers, RoleSet,
    Switch, Who,
};
use crate::confirm::{Unasked, confirm};
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::output::{Cell, Table};

pub(super) async fn run(context: &Context, verb: Rbac) -> Result<(), Failure> {
    match verb {
        Rbac::Init(args) => {
            let client = context.client()?;
            let named = client.init_access(args.administrators).await;
            let holders = named.map_err(|error| {
                let is_nobody = is(&error, ErrorCode::LastAdministrator);
                let failure = explain(error);
                match is_nobody {
                    true => failure.hint("name at least one person, as in `user:ada@example.com`"),
                    false => failure,
                }
            })?;
            if context.output.is_json() {
                return context.output.json(&holders);
            }
            context.output.said("these are administrators now:");
            show_holders(context, &holders.users)?;
            context
                .output
                .hint("give roles with `taco rbac users assign`; `taco rbac roles ls` shows which there are");
            Ok(())
        }
        Rbac::Me => me(context).await,
        Rbac::Users(RbacUsers::Ls) => {
            let holders = context.client()?.role_holders().await.map_err(explain)?;
            if context.output.is_json() {
                return context.output.json(&holders);
            }
            if holders.users.is_empty() {
                context.output.note("nobody holds a role");
            }
            show_holders(context, &holders.users)
        }
        Rbac::Users(RbacUsers::Assign(args)) => {
            let given = context.client()?.assign_role(&args.member, &args.role).await;
            let holder = given.map_err(|error| no_such_role(error, &args.role))?;
            held(
                context,
                &holder,
                &format!("`{}` holds `{}` now", args.member, args.role),
            )
        }
        Rbac::Users(RbacUsers::Revoke(args)) => revoke(context, args).await,
        Rbac::Roles(RbacRoles::Ls) => roles(context).await,
        Rbac::Roles(RbacRoles::Show(args)) => {
            let role = context.client()?.role(&args.name).await;
            show_role(context, &role.map_err(|error| no_such_role(error, &args.name))?)
        }
        Rbac::Roles(RbacRoles::Set(args)) => set_role(context, args).await,
        Rbac::Roles(RbacRoles::Rm(args)) => remove_role(context, args).await,
        Rbac::Permissions(RbacPermissions::Ls) => permissions(context).await,
        Rbac::Permissions(RbacPermissions::Show(args)) => {
            let permission = context.client()?.permission(&args.name).await;
            show_permission(context, &permission.map_err(no_such_permission)?)
        }
        Rbac::Permissions(RbacPermissions::Set(args)) => set_permission(context, args).await,
        Rbac::Permissions(RbacPermissions::Rm(args)) => remove_permission(context, args).await,
        Rbac::Test(args) => {
            let test = AccessTest {
                who: match args.who {
                    Who::Me => None,
                    Who::Member(member) => Some(member),
                },
                groups: args.groups,
                action: args.action,
                unit: args.unit,
            };
            let told = context.client()?.test_access(&test).await.map_err(explain)?;
            if context.output.is_json() {
                return context.output.json(&told);
            }
            let verdict = if told.allowed { "allowed" } else { "denied" };
            context.output.data(&format!("{verdict}: {}\n", told.why))
        }
        Rbac::Root(args) => root(context, args).await,
    }
}

async fn me(context: &Context) -> Result<(), Failure> {
    let me = context.client()?.my_access().await.map_err(explain)?;
    if context.output.is_json() {
        return context.output.json(&me);
    }
    let held = |held: &opentaco_sdk::api::rbac::HeldRole| match &held.by {
        Some(member) if member.to_string() != format!("user:{}", me.principal) => {
            format!("{} (as {member})", held.role)
        }
        _ => held.role.to_string(),
    };
    let roles: Vec<String> = me.roles.iter().map(held).collect();
    let roles = match (me.everything, roles.is_empty()) {
        (true, _) => "everything, without a role".to_owned(),
        (false, true) => "none".to_owned(),
        (false, false) => roles.join(", "),
    };
    context.output.fields(vec![
        ("principal", Cell::text(me.principal.as_str())),
        ("roles", Cell::text(roles)),
    ])?;
    if !me.initialised && me.everything {
        context
            .output
            .hint("nobody was given a role yet; `taco rbac init user:NAME` makes the first administrators");
    }
    Ok(())
}

async fn revoke(context: &Context, args: RbacRevoke) -> Result<(), Failure> {
    let (member, role) = (args.held.member, args.held.role);
    let question = format!("take `{role}` from `{member}`?");
    confirm(&question, args.yes.yes, Unasked::Proceed).await?;
    let taken = context.client()?.revoke_role(&member, &role).await;
    let holder = taken.map_err(|error| {
        let is_missing = matches!(error, SdkError::NotFound { .. });
        let failure = explain(error);
        match is_missing {
            true => failure.hint("`taco rbac users ls` shows who holds what"),
            false => failure,
        }
    })?;
    held(context, &holder, &format!("`{member}` holds `{role}` no more"))
}

fn held(context: &Context, holder: &Holder, said: &str) -> Result<(), Failure> {
    if context.output.is_json() {
        return context.output.json(holder);
    }
    context.output.said(said);
    Ok(())
}

fn show_holders(context: &Context, holders: &[Holder]) -> Result<(), Failure> {
    let mut table = Table::new(&["MEMBER", "ROLES"]);
    for holder in holders {
        table.row(vec![
            Cell::text(holder.member.to_string()),
            Cell::text(listed(&holder.roles)),
        ]);
    }
    context.output.table(&table)
}

async fn roles(context: &Context) -> Result<(), Failure> {
    let roles = context.client()?.roles().await.map_err(explain)?;
    if context.output.is_json() {
        return context.output.json(&roles);
    }
    let mut table = Table::new(&["ROLE", "PERMISSIONS", "DESCRIPTION"]);
    for role in &roles.roles {
        table.row(vec![
            Cell::text(role.name.as_str()),
            Cell::text(listed(&role.permissions)),
            Cell::text(role.description.as_str()),
        ]);
    }
    context.output.table(&table)
}

fn show_role(context: &Context, role: &NamedRole) -> Result<(), Failure> {
    if context.output.is_json() {
        return context.output.json(role);
    }
    context.output.fields(vec![
        ("role", Cell::text(role.name.as_str())),
        ("description", Cell::text(role.description.as_str())),
        ("permissions", Cell::text(listed(&role.permissions))),
    ])
}

async fn set_role(context: &Context, args: RoleSet) -> Result<(), Failure> {
    let role = SetRole {
        description: args.description,
        permissions: args.permissions.into_iter().collect(),
    };
    let set = context.client()?.set_role(&args.name, &role).await;
    let role = set.map_err(|error| {
        explain(error).or_hint(|| Some("`taco rbac permissions ls` shows which there are".to_owned()))
    })?;
    if context.output.is_json() {
        return context.output.json(&role);
    }
    context.output.said(&format!(
        "role `{}` holds {}",
        role.name,
        listed(&role.permissions)
    ));
    Ok(())
}

async fn remove_role(context: &Context, args: NameAndYes) -> Result<(), Failure> {
    let question = format!("remove role `{}`, from everybody who holds it?", args.name);
    confirm(&question, args.yes.yes, Unasked::Refuse).await?;
    let removed = context.client()?.remove_role(&args.name).await;
    removed.map_err(|error| no_such_role(error, &args.name))?;
    gone(context, &format!("role `{}`", args.name))
}

async fn permissions(context: &Context) -> Result<(), Failure> {
    let permissions = context.client()?.permissions().await.map_err(explain)?;
    if context.output.is_json() {
        return context.output.json(&permissions);
    }
    let mut table = Table::new(&["PERMISSION", "RULE", "DESCRIPTION"]);
    for permission in &permissions.permissions {
        for rule in &permission.rules {
            table.row(vec![
                Cell::text(permission.name.as_str()),
                Cell::text(spoken(rule)),
                Cell::text(permission.description.as_str()),
            ]);
        }
    }
    context.output.table(&table)
}

fn show_permission(context: &Context, permission: &NamedPermission) -> Result<(), Failure> {
    if context.output.is_json() {
        return context.output.json(permission);
    }
    let mut fields = vec![
        ("permission", Cell::text(permission.name.as_str())),
        ("description", Cell::text(permission.description.as_str())),
    ];
    fields.extend(
        permission
            .rules
            .iter()
            .map(|rule| ("rule", Cell::text(spoken(rule)))),
    );
    context.output.fields(fields)
}

async fn set_permission(context: &Context, args: PermissionSet) -> Result<(), Failure> {
    let name = args.name.clone();
    let permission = match &args.file {
        Some(file) => read_permission(&name, file, args.description.clone())?,
        None => permission_of(&args),
    };
    let set = context.client()?.set_permission(&name, &permission).await;
    let permission = set.map_err(explain)?;
    if context.output.is_json() {
        return context.output.json(&permission);
    }
    context.output.said(&format!("permission `{name}` says:"));
    for rule in &permission.rules {
        context.output.said(&format!("  {}", spoken(rule)));
    }
    Ok(())
}

fn permission_of(args: &PermissionSet) -> SetPermission {
    let rule = |effect: Effect, actions: Vec<Actions>| AccessRule {
        effect,
        actions,
        units: args.on.clone(),
        outputs: args.outputs.clone(),
        sensitive: args.sensitive,
    };
    let rules = [
        (Effect::Allow, args.allow.clone()),
        (Effect::Deny, args.deny.clone()),
    ];
    SetPermission {
        description: args.description.clone().unwrap_or_default(),
        rules: rules
            .into_iter()
            .filter(|(_, actions)| !actions.is_empty())
            .map(|(effect, actions)| rule(effect, actions))
            .collect(),
    }
}

/// A permission as it is written by hand, or as `show --json` prints it: with its name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<Name>,
    #[serde(default)]
    description: String,
    rules: Vec<AccessRule>,
}

fn read_permission(name: &Name, file: &Path, description: Option<String>) -> Result<SetPermission, Failure> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|error| Failure::file("read", file, &error))?;
    let written: Written = serde_json::from_str(&text).map_err(|error| {
        Failure::new(Kind::Usage, format!("`{}` is no permission", file.display()))
            .because(&error)
            .hint("write it in JSON, as `taco rbac permissions show NAME --json` prints it")
    })?;
    if let Some(other) = written.name.filter(|written| written != name) {
        let what = format!(
            "`{}` is the permission `{other}`, and not `{name}`",
            file.display()
        );
        return Err(Failure::new(Kind::Usage, what)
            .hint("name the one that is meant, or leave the name out of the file"));
    }
    Ok(SetPermission {
        description: description.unwrap_or(written.description),
        rules: written.rules,
    })
}

async fn remove_permission(context: &Context, args: NameAndYes) -> Result<(), Failure> {
    let question = format!("remove permission `{}`?", args.name);
    confirm(&question, args.yes.yes, Unasked::Refuse).await?;
    let removed = context.client()?.remove_permission(&args.name).await;
    removed.map_err(no_such_permission)?;
    gone(context, &format!("permission `{}`", args.name))
}

fn gone(context: &Context, what: &str) -> Result<(), Failure> {
    if context.output.is_json() {
        return context.output.json(&serde_json::json!({"removed": true}));
    }
    context.output.said(&format!("removed {what}"));
    Ok(())
}

async fn root(context: &Context, args: RbacRoot) -> Result<(), Failure> {
    let client = context.client()?;
    let token = match args.switch {
        None => client.root_token().await,
        Some(Switch::On) => client.switch_root_token(true).await,
        Some(Switch::Off) => {
            let question = "switch the root token off? Administrators are the only way in then";
            confirm(question, args.yes.yes, Unasked::Refuse).await?;
            client.switch_root_token(false).await
        }
    };
    let token = token.map_err(explain)?;
    if context.output.is_json() {
        return context.output.json(&token);
    }
    let says = match token.enabled {
        true => "the root token opens everything",
        false => "the root token is switched off",
    };
    match args.switch {
        None => context.output.data(&format!("{says}\n")),
        Some(_) => {
            context.output.said(says);
            Ok(())
        }
    }
}

/// A rule as a sentence.
fn spoken(rule: &AccessRule) -> String {
    let effect = match rule.effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    let mut text = format!("{effect} {}", listed(&rule.actions));
    if !rule.units.is_empty() {
        text += &format!(" on {}", listed(&rule.units));
    }
    if !rule.outputs.is_empty() {
        text += &format!(", outputs {}", listed(&rule.outputs));
    }
    if rule.sensitive {
        text += ", sensitive too";
    }
    text
}

fn listed<T: ToString>(things: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = things.into_iter().map(|thing| thing.to_string()).collect();
    words.join(", ")
}

fn no_such_role(error: SdkError, role: &Name) -> Failure {
    let is_missing = matches!(error, SdkError::NotFound { .. });
    let failure = explain(error);
    match is_missing {
        true => failure.hint(format!(
            "`taco rbac roles ls` shows which there are, and `taco rbac roles set {role} --permission PERMISSION` makes it"
        )),
        false => failure,
    }
}

fn no_such_permission(error: SdkError) -> Failure {
    let is_missing = matches!(error, SdkError::NotFound { .. });
    let failure = explain(error);
    match is_missing {
        true => failure.hint("`taco rbac permissions ls` shows which there are"),
        false => failure,
    }
}

fn is(error: &SdkError, code: ErrorCode) -> bool {
    matches!(error, SdkError::Conflict { refusal } if refusal.code == Some(code))
}

/// A refusal, with what to try.
fn explain(error: SdkError) -> Failure {
    let hint = match &error {
        SdkError::Conflict { refusal } => match refusal.code {
            Some(ErrorCode::Initialised) => {
                Some("an administrator gives roles with `taco rbac users assign`")
            }
            Some(ErrorCode::LastAdministrator) => {
                Some("give `admin` to another person first: `taco rbac users assign user:NAME admin`")
            }
            Some(ErrorCode::InUse) => Some("`taco rbac roles set` has the role hold something else"),
            _ => None,
        },
        _ => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
