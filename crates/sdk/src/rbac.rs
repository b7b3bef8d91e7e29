//! Who may do what.

use http::Method;
use opentaco_api::paths;
use opentaco_api::rbac::{
    AccessDecision, AccessTest, Holder, Holders, Initialise, MyRoles, NamedPermission, NamedRole,
    Permissions, Roles, RootToken, SetPermission, SetRole,
};
use opentaco_domain::access::{Member, Name};

use crate::client::{Call, Client};
use crate::error::SdkError;
use crate::retry::Repeatable;

impl Client {
    /// Names the first administrators, with the root token. Everybody who holds a role then.
    ///
    /// # Errors
    /// [`SdkError::Conflict`] if that was done before.
    pub async fn init_access(&self, administrators: Vec<Member>) -> Result<Holders, SdkError> {
        let call = Call::new(Method::POST, paths::RBAC_INIT.to_owned(), Repeatable::Unheard);
        self.ask_json(call.json(&Initialise { administrators })).await
    }

    /// What the caller holds.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn my_access(&self) -> Result<MyRoles, SdkError> {
        self.ask_json(Call::get(paths::RBAC_ME.to_owned())).await
    }

    /// Everybody who was given a role, by name.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn role_holders(&self) -> Result<Holders, SdkError> {
        self.ask_json(Call::get(paths::RBAC_USERS.to_owned())).await
    }

    /// Gives somebody a role. What they hold then.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if there is no such role.
    pub async fn assign_role(&self, member: &Member, role: &Name) -> Result<Holder, SdkError> {
        let path = paths::user_role(member, role);
        self.ask_json(Call::new(Method::PUT, path, Repeatable::Freely))
            .await
    }

    /// Takes a role from somebody. What they hold then.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if they do not hold it; [`SdkError::Conflict`] for the last administrator.
    pub async fn revoke_role(&self, member: &Member, role: &Name) -> Result<Holder, SdkError> {
        let path = paths::user_role(member, role);
        self.ask_json(Call::new(Method::DELETE, path, Repeatable::Unheard))
            .await
    }

    /// Every role, by name.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn roles(&self) -> Result<Roles, SdkError> {
        self.ask_json(Call::get(paths::RBAC_ROLES.to_owned())).await
    }

    /// A role.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if there is none of that name.
    pub async fn role(&self, name: &Name) -> Result<NamedRole, SdkError> {
        self.ask_json(Call::get(paths::role(name))).await
    }

    /// Makes a role, or has it hold something else.
    ///
    /// # Errors
    /// If a permission does not exist, the service refuses or does not answer.
    pub async fn set_role(&self, name: &Name, role: &SetRole) -> Result<NamedRole, SdkError> {
        let call = Call::new(Method::PUT, paths::role(name), Repeatable::Freely);
        self.ask_json(call.json(role)).await
    }

    /// Removes a role, from everybody who holds it.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if there is none of that name; [`SdkError::Conflict`] if nobody could change roles then.
    pub async fn remove_role(&self, name: &Name) -> Result<(), SdkError> {
        let call = Call::new(Method::DELETE, paths::role(name), Repeatable::Unheard);
        self.ask(call).await.map(drop)
    }

    /// Every permission, by name.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn permissions(&self) -> Result<Permissions, SdkError> {
        self.ask_json(Call::get(paths::RBAC_PERMISSIONS.to_owned())).await
    }

    /// A permission.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if there is none of that name.
    pub async fn permission(&self, name: &Name) -> Result<NamedPermission, SdkError> {
        self.ask_json(Call::get(paths::permission(name))).await
    }

    /// Makes a permission, or has it say something else.
    ///
    /// # Errors
    /// If a rule does not hold together, the service refuses or does not answer.
    pub async fn set_permission(
        &self,
        name: &Name,
        permission: &SetPermission,
    ) -> Result<NamedPermission, SdkError> {
        let call = Call::new(Method::PUT, paths::permission(name), Repeatable::Freely);
        self.ask_json(call.json(permission)).await
    }

    /// Removes a permission that no role holds.
    ///
    /// # Errors
    /// [`SdkError::NotFound`] if there is none of that name.
    pub async fn remove_permission(&self, name: &Name) -> Result<(), SdkError> {
        let call = Call::new(Method::DELETE, paths::permission(name), Repeatable::Unheard);
        self.ask(call).await.map(drop)
    }

    /// What somebody would be allowed, and why.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn test_access(&self, test: &AccessTest) -> Result<AccessDecision, SdkError> {
        let call = Call::new(Method::POST, paths::RBAC_TEST.to_owned(), Repeatable::Freely);
        self.ask_json(call.json(test)).await
    }

    /// Whether the root token opens anything.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn root_token(&self) -> Result<RootToken, SdkError> {
        self.ask_json(Call::get(paths::RBAC_ROOT.to_owned())).await
    }

    /// Switches the root token on or off.
    ///
    /// # Errors
    /// [`SdkError::Conflict`] if the root token would switch itself off.
    pub async fn switch_root_token(&self, enabled: bool) -> Result<RootToken, SdkError> {
        let call = Call::new(Method::PUT, paths::RBAC_ROOT.to_owned(), Repeatable::Freely);
        self.ask_json(call.json(&RootToken { enabled })).await
    }
}
