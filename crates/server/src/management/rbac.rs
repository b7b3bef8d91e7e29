//! Who may do what: shown to administrators, changed by them, and explained.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use opentaco_api::rbac::{
    AccessDecision, AccessTest, DecidingRule, HeldRole, Holder, Holders, Initialise, MyRoles,
    NamedPermission, NamedRole, Permissions, Roles, RootToken, SetPermission, SetRole,
};
use opentaco_api::{ErrorBody, ErrorCode, paths};
use opentaco_control::access::{Change, Read};
use opentaco_control::{AccessError, StateControl};
use opentaco_domain::access::book::{Explained, Holding, Reason};
use opentaco_domain::access::document::{Permission, Role};
use opentaco_domain::access::rule::Effect;
use opentaco_domain::access::{Kind, Member, Name};
use opentaco_domain::{Caller, Decision};

use crate::app::App;
use crate::extract::Asking;
use crate::management::Refused;
use crate::management::request::{NamedMember, NamedPermissionPath, NamedRolePath, document};
use crate::problem::Problem;

impl From<AccessError> for Refused {
    fn from(error: AccessError) -> Self {
        let (status, code) = match &error {
            AccessError::Forbidden { .. } => (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
            AccessError::NoRoles => (StatusCode::CONFLICT, ErrorCode::NoRoles),
            AccessError::RootByItself => (StatusCode::CONFLICT, ErrorCode::RootByItself),
            AccessError::Initialised => (StatusCode::CONFLICT, ErrorCode::Initialised),
            AccessError::NotInitialised => (StatusCode::CONFLICT, ErrorCode::NotInitialised),
            AccessError::LastAdministrator | AccessError::UncertainAdministrator => {
                (StatusCode::CONFLICT, ErrorCode::LastAdministrator)
            }
            AccessError::InUse { .. } => (StatusCode::CONFLICT, ErrorCode::InUse),
            AccessError::NotFound { .. } => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
            AccessError::Invalid(_) => (StatusCode::BAD_REQUEST, ErrorCode::Invalid),
            AccessError::Unreadable(_) | AccessError::Unavailable(_) | AccessError::Unwritten(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable)
            }
        };
        let message = match &error {
            // What is wrong with the document is for whoever sent it.
            AccessError::Invalid(why) => format!("{error}: {why}"),
            _ => error.to_string(),
        };
        let problem = Problem::new(status, code, message);
        match std::error::Error::source(&error) {
            Some(cause) => problem.caused_by(cause).into(),
            None => problem.into(),
        }
    }
}

/// Names the first administrators. Only the root token can, and only once.
///
/// # Errors
/// 409 if roles were given before, or nobody would be an administrator.
#[utoipa::path(
    post, path = paths::RBAC_INIT, operation_id = "init_access", tag = "access",
    request_body = Initialise,
    responses(
        (status = 201, description = "They are administrators.", body = Holders),
        (status = 409, description = "`initialised`: roles were given before; `last_administrator`: there is no person among them; `no_roles`: nobody is asked who they are here.", body = ErrorBody),
    ),
)]
pub async fn init(
    State(app): State<App>,
    Asking(caller): Asking,
    request: Request,
) -> Result<(StatusCode, Json<Holders>), Refused> {
    let asked: Initialise = document(&app, request).await?;
    let read = app
        .carry_through(
            |control| async move { control.access()?.initialise(&caller, &asked.administrators).await },
        )
        .await?;
    Ok((StatusCode::CREATED, Json(holders_in(&read))))
}

/// What the caller holds.
///
/// # Errors
/// 503 if the policy cannot be read.
#[utoipa::path(
    get, path = paths::RBAC_ME, operation_id = "my_access", tag = "access",
    responses((status = 200, description = "Who is asking, and their roles.", body = MyRoles)),
)]
pub async fn me(State(app): State<App>, Asking(caller): Asking) -> Result<Json<MyRoles>, Refused> {
    let (initialised, everything, roles) = match app.control.access() {
        Err(_) => (false, true, Vec::new()),
        Ok(access) => {
            let read = access.current().map_err(AccessError::Unreadable)?;
            let is_root = caller.kind() == Kind::Root && !read.book().document().root_disabled;
            let held = read.book().roles_of(&caller).into_iter();
            let roles = held.map(|(role, by)| HeldRole {
                role: role.clone(),
                by: member_of(by),
            });
            (read.is_initialised(), is_root, roles.collect())
        }
    };
    Ok(Json(MyRoles {
        principal: caller.principal().clone(),
        initialised,
        everything,
        roles,
    }))
}

/// Everybody who was given a role.
///
/// # Errors
/// 403 without `access.manage`.
#[utoipa::path(
    get, path = paths::RBAC_USERS, operation_id = "list_users", tag = "access",
    responses(
        (status = 200, description = "Everybody, by name.", body = Holders),
        (status = 409, description = "`no_roles`: nobody is asked who they are here.", body = ErrorBody),
    ),
)]
pub async fn users(State(app): State<App>, Asking(caller): Asking) -> Result<Json<Holders>, Refused> {
    Ok(Json(holders_in(&*shown(&app.control, &caller)?)))
}

/// Gives somebody a role.
///
/// # Errors
/// 404 if there is no such role.
#[utoipa::path(
    put, path = paths::RBAC_USER_ROLE, operation_id = "assign_role", tag = "access",
    params(NamedMember, NamedRolePath),
    responses(
        (status = 200, description = "What they hold now.", body = Holder),
        (status = 404, description = "`not_found`: there is no such role.", body = ErrorBody),
        (status = 409, description = "`not_initialised`: nobody was given a role yet; `no_roles`.", body = ErrorBody),
    ),
)]
pub async fn assign(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedMember(member): NamedMember,
    NamedRolePath(role): NamedRolePath,
) -> Result<Json<Holder>, Refused> {
    let change = Change::Assign {
        member: member.clone(),
        role,
    };
    Ok(Json(holder(&*changed(&app, caller, change).await?, member)))
}

/// Takes a role from somebody.
///
/// # Errors
/// 404 if they do not hold it; 409 if nobody would be left who may say who may do what.
#[utoipa::path(
    delete, path = paths::RBAC_USER_ROLE, operation_id = "revoke_role", tag = "access",
    params(NamedMember, NamedRolePath),
    responses(
        (status = 200, description = "What they hold now.", body = Holder),
        (status = 404, description = "`not_found`: they do not hold it.", body = ErrorBody),
        (status = 409, description = "`last_administrator`: nobody would be left who may say who may do what; `not_initialised`; `no_roles`.", body = ErrorBody),
    ),
)]
pub async fn revoke(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedMember(member): NamedMember,
    NamedRolePath(role): NamedRolePath,
) -> Result<Json<Holder>, Refused> {
    let change = Change::Revoke {
        member: member.clone(),
        role,
    };
    Ok(Json(holder(&*changed(&app, caller, change).await?, member)))
}

/// Every role.
///
/// # Errors
/// 403 without `access.manage`.
#[utoipa::path(
    get, path = paths::RBAC_ROLES, operation_id = "list_roles", tag = "access",
    responses(
        (status = 200, description = "By name.", body = Roles),
        (status = 409, description = "`no_roles`: nobody is asked who they are here.", body = ErrorBody),
    ),
)]
pub async fn roles(State(app): State<App>, Asking(caller): Asking) -> Result<Json<Roles>, Refused> {
    let read = shown(&app.control, &caller)?;
    let named = |(name, role): (&Name, &Role)| NamedRole::new(name.clone(), role.clone());
    let roles: Vec<NamedRole> = read.book().document().roles.iter().map(named).collect();
    Ok(Json(Roles {
        count: roles.len(),
        roles,
    }))
}

/// A role.
///
/// # Errors
/// 404 if there is none of that name.
#[utoipa::path(
    get, path = paths::RBAC_ROLE, operation_id = "show_role", tag = "access",
    params(NamedRolePath),
    responses(
        (status = 200, description = "The role.", body = NamedRole),
        (status = 404, description = "`not_found`: there is no such role.", body = ErrorBody),
        (status = 409, description = "`no_roles`: nobody is asked who they are here.", body = ErrorBody),
    ),
)]
pub async fn show_role(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedRolePath(name): NamedRolePath,
) -> Result<Json<NamedRole>, Refused> {
    Ok(Json(role_in(&*shown(&app.control, &caller)?, name)?))
}

/// Makes a role, or has it hold something else from now on.
///
/// # Errors
/// 400 if it would hold a permission that does not exist; 409 if nobody would be left who may say who may do what.
#[utoipa::path(
    put, path = paths::RBAC_ROLE, operation_id = "set_role", tag = "access",
    params(NamedRolePath), request_body = SetRole,
    responses(
        (status = 200, description = "The role, as it is now.", body = NamedRole),
        (status = 409, description = "`last_administrator`; `not_initialised`; `no_roles`.", body = ErrorBody),
    ),
)]
pub async fn set_role(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedRolePath(name): NamedRolePath,
    request: Request,
) -> Result<Json<NamedRole>, Refused> {
    let role: Role = document::<SetRole>(&app, request).await?.into();
    let change = Change::SetRole {
        name: name.clone(),
        role,
    };
    Ok(Json(role_in(&*changed(&app, caller, change).await?, name)?))
}

/// Removes a role, from everybody who holds it.
///
/// # Errors
/// 404 if there is none of that name; 409 if nobody would be left who may say who may do what.
#[utoipa::path(
    delete, path = paths::RBAC_ROLE, operation_id = "remove_role", tag = "access",
    params(NamedRolePath),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "`not_found`: there is no such role.", body = ErrorBody),
        (status = 409, description = "`last_administrator`; `not_initialised`; `no_roles`.", body = ErrorBody),
    ),
)]
pub async fn remove_role(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedRolePath(name): NamedRolePath,
) -> Result<StatusCode, Refused> {
    changed(&app, caller, Change::RemoveRole { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every permission.
///
/// # Errors
/// 403 without `access.manage`.
#[utoipa::path(
    get, path = paths::RBAC_PERMISSIONS, operation_id = "list_permissions", tag = "access",
    responses(
        (status = 200, description = "By name.", body = Permissions),
        (status = 409, description = "`no_roles`: nobody is asked who they are here.", body = ErrorBody),
    ),
)]
pub async fn permissions(
    State(app): State<App>,
    Asking(caller): Asking,
) -> Result<Json<Permissions>, Refused> {
    let read = shown(&app.control, &caller)?;
    let named = |(name, it): (&Name, &Permission)| NamedPermission::new(name.clone(), it.clone());
    let permissions: Vec<NamedPermission> = read.book().document().permissions.iter().map(named).collect();
    Ok(Json(Permissions {
        count: permissions.len(),
        permissions,
    }))
}

/// A permission.
///
/// # Errors
/// 404 if there is none of that name.
#[utoipa::path(
    get, path = paths::RBAC_PERMISSION, operation_id = "show_permission", tag = "access",
    params(NamedPermissionPath),
    responses(
        (status = 200, description = "The permission.", body = NamedPermission),
        (status = 404, description = "`not_found`: there is no such permission.", body = ErrorBody),
        (status = 409, description = "`no_roles`: nobody is asked who they are here.", body = ErrorBody),
    ),
)]
pub async fn show_permission(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedPermissionPath(name): NamedPermissionPath,
) -> Result<Json<NamedPermission>, Refused> {
    Ok(Json(permission_in(&*shown(&app.control, &caller)?, name)?))
}

/// Makes a permission, or has it say something else from now on.
///
/// # Errors
/// 400 if a rule does not hold together; 409 if nobody would be left who may say who may do what.
#[utoipa::path(
    put, path = paths::RBAC_PERMISSION, operation_id = "set_permission", tag = "access",
    params(NamedPermissionPath), request_body = SetPermission,
    responses(
        (status = 200, description = "The permission, as it is now.", body = NamedPermission),
        (status = 409, description = "`last_administrator`; `not_initialised`; `no_roles`.", body = ErrorBody),
    ),
)]
pub async fn set_permission(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedPermissionPath(name): NamedPermissionPath,
    request: Request,
) -> Result<Json<NamedPermission>, Refused> {
    let permission: Permission = document::<SetPermission>(&app, request).await?.into();
    let change = Change::SetPermission {
        name: name.clone(),
        permission,
    };
    Ok(Json(permission_in(&*changed(&app, caller, change).await?, name)?))
}

/// Removes a permission that no role holds.
///
/// # Errors
/// 404 if there is none of that name; 409 while a role holds it.
#[utoipa::path(
    delete, path = paths::RBAC_PERMISSION, operation_id = "remove_permission", tag = "access",
    params(NamedPermissionPath),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "`not_found`: there is no such permission.", body = ErrorBody),
        (status = 409, description = "`in_use`: a role holds it; `not_initialised`; `no_roles`.", body = ErrorBody),
    ),
)]
pub async fn remove_permission(
    State(app): State<App>,
    Asking(caller): Asking,
    NamedPermissionPath(name): NamedPermissionPath,
) -> Result<StatusCode, Refused> {
    changed(&app, caller, Change::RemovePermission { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says what somebody would be allowed, and why. Anybody may ask that of themselves; of others, administrators may.
///
/// # Errors
/// 400 if an action is on units and none is named.
#[utoipa::path(
    post, path = paths::RBAC_TEST, operation_id = "test_access", tag = "access",
    request_body = AccessTest,
    responses(
        (status = 200, description = "What would be decided, and why.", body = AccessDecision),
        (status = 409, description = "`no_roles`: nobody is asked who they are here.", body = ErrorBody),
    ),
)]
pub async fn test(
    State(app): State<App>,
    Asking(caller): Asking,
    request: Request,
) -> Result<Response, Refused> {
    let asked: AccessTest = document(&app, request).await?;
    if asked.action.is_on_a_unit() && asked.unit.is_none() {
        let message = format!("`{}` is done to a unit: say to which, as `unit`", asked.action);
        return Err(Problem::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid, message).into());
    }
    let about = match &asked.who {
        None => caller.clone(),
        Some(member) => standing_for(member),
    };
    let about = match asked.groups.is_empty() {
        true => about,
        false => {
            let groups = about.groups().to_vec().into_iter();
            let asked = asked.groups.into_iter().map(std::sync::Arc::from);
            about.clone().in_groups(groups.chain(asked))
        }
    };
    let unit = asked.unit.filter(|_| asked.action.is_on_a_unit());
    let access = app.control.access()?;
    let explained = access.explain(&caller, &about, asked.action, unit.as_ref())?;
    Ok(Json(decision_of(explained)).into_response())
}

/// Whether the root token opens anything.
///
/// # Errors
/// 403 without `access.manage`.
#[utoipa::path(
    get, path = paths::RBAC_ROOT, operation_id = "show_root", tag = "access",
    responses(
        (status = 200, description = "Whether it does.", body = RootToken),
        (status = 409, description = "`no_roles`: nobody is asked who they are here.", body = ErrorBody),
    ),
)]
pub async fn root(State(app): State<App>, Asking(caller): Asking) -> Result<Json<RootToken>, Refused> {
    Ok(Json(root_in(&*shown(&app.control, &caller)?)))
}

/// Switches the root token on or off.
///
/// # Errors
/// 409 if the root token would switch itself off, or nobody was given a role yet.
#[utoipa::path(
    put, path = paths::RBAC_ROOT, operation_id = "switch_root", tag = "access",
    request_body = RootToken,
    responses(
        (status = 200, description = "Whether it opens anything now.", body = RootToken),
        (status = 409, description = "`root_by_itself`: an administrator who came in another way does it; `not_initialised`; `no_roles`.", body = ErrorBody),
    ),
)]
pub async fn switch_root(
    State(app): State<App>,
    Asking(caller): Asking,
    request: Request,
) -> Result<Json<RootToken>, Refused> {
    let RootToken { enabled } = document(&app, request).await?;
    let change = Change::SetRoot { disabled: !enabled };
    Ok(Json(root_in(&*changed(&app, caller, change).await?)))
}

/// Who may do what, for somebody who may see it.
fn shown(control: &StateControl, caller: &Caller) -> Result<std::sync::Arc<Read>, AccessError> {
    control.access()?.look(caller, "looked at who may do what", None)
}

async fn changed(app: &App, caller: Caller, change: Change) -> Result<std::sync::Arc<Read>, AccessError> {
    app.carry_through(|control| async move { control.access()?.change(&caller, &change).await })
        .await
}

fn holders_in(read: &Read) -> Holders {
    let members = read.book().document().members.iter();
    let users: Vec<Holder> = members
        .map(|(member, roles)| Holder {
            member: member.clone(),
            roles: roles.clone(),
        })
        .collect();
    Holders {
        count: users.len(),
        users,
    }
}

fn holder(read: &Read, member: Member) -> Holder {
    let roles = read.book().document().members.get(&member).cloned();
    Holder {
        member,
        roles: roles.unwrap_or_default(),
    }
}

fn role_in(read: &Read, name: Name) -> Result<NamedRole, AccessError> {
    match read.book().document().roles.get(&name) {
        Some(role) => Ok(NamedRole::new(name, role.clone())),
        None => Err(AccessError::NotFound {
            what: format!("role `{name}`"),
        }),
    }
}

fn permission_in(read: &Read, name: Name) -> Result<NamedPermission, AccessError> {
    match read.book().document().permissions.get(&name) {
        Some(permission) => Ok(NamedPermission::new(name, permission.clone())),
        None => Err(AccessError::NotFound {
            what: format!("permission `{name}`"),
        }),
    }
}

fn root_in(read: &Read) -> RootToken {
    RootToken {
        enabled: !read.book().document().root_disabled,
    }
}

/// Whoever a member stands for: for a group, somebody who is in it and nothing else.
fn standing_for(member: &Member) -> Caller {
    match member {
        Member::User(name) => Caller::user(name),
        Member::Service(name) => Caller::service(name),
        Member::Group(name) => Caller::user(&format!("anybody in {name}")).in_groups([name.clone()]),
    }
}

fn member_of(by: Holding) -> Option<Member> {
    match by {
        Holding::Member(member) => Some(member),
        Holding::Token => None,
    }
}

fn decision_of(explained: Explained) -> AccessDecision {
    let Explained { decision, reason } = explained;
    let (why, rule) = match reason {
        Reason::Root => ("the root token may do everything".to_owned(), None),
        Reason::RootDisabled => ("the root token was switched off".to_owned(), None),
        Reason::AuthDisabled => ("nobody is asked who they are here".to_owned(), None),
        Reason::NoRole => ("they hold no role".to_owned(), None),
        Reason::NoRule { roles } => {
            let roles: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
            let why = format!("no rule of their roles grants it: {}", roles.join(", "));
            (why, None)
        }
        Reason::Rule {
            effect,
            role,
            by,
            permission,
            number,
        } => {
            let does = match effect {
                Effect::Allow => "grants it",
                Effect::Deny => "takes it away, whatever others grant",
            };
            let held = match &by {
                Holding::Member(member) => format!("which `{member}` holds"),
                Holding::Token => "which the token gives".to_owned(),
            };
            let why =
                format!("rule {number} of permission `{permission}` {does}; it is in role `{role}`, {held}");
            let rule = DecidingRule {
                role,
                by: member_of(by),
                permission,
                number,
            };
            (why, Some(rule))
        }
    };
    AccessDecision {
        allowed: decision == Decision::Allow,
        why,
        rule,
    }
}
