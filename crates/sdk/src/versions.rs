//! The history of a unit, and making a part of it current again.

use http::{HeaderName, Method};
use opentaco_api::{Receipt, Restore, Version, Versions, header, paths};
use opentaco_domain::{LockId, UnitId, VersionId};

use crate::client::{Call, Client};
use crate::error::SdkError;
use crate::retry::Repeatable;
use crate::units::PAGE_MAX;

/// How to make something current again.
#[derive(Debug, Clone, Default)]
pub struct Reinstate {
    /// The lock to write under, if the unit is locked.
    pub holding: Option<LockId>,
    /// Also if it is of another lineage.
    pub force: bool,
}

impl Reinstate {
    /// A call that asks for it, with a key of its own: asked again, it is answered like the first time.
    pub(crate) fn call(&self, unit: &UnitId, path: String) -> Call<'static> {
        let key = uuid::Uuid::new_v4().to_string();
        let call = Call::new(Method::POST, path, Repeatable::Freely)
            .about(unit)
            .header(HeaderName::from_static(header::IDEMPOTENCY_KEY), &key)
            .maybe("if_locked_by", self.holding.as_ref());
        match self.force {
            true => call.query("force", true),
            false => call,
        }
    }
}

impl Client {
    /// The history, newest first: at most `limit` versions, or all.
    ///
    /// # Errors
    /// [`SdkError::NotFound`].
    pub async fn versions(&self, unit: &UnitId, limit: Option<usize>) -> Result<Vec<Version>, SdkError> {
        let mut all = Vec::new();
        let mut page_token: Option<String> = None;
        if limit == Some(0) {
            return Ok(all);
        }
        loop {
            let missing = limit.map(|limit| limit - all.len());
            let call = Call::get(paths::versions(unit))
                .about(unit)
                .maybe("limit", missing.map(|missing| missing.clamp(1, PAGE_MAX)))
                .maybe("page_token", page_token.as_ref());
            let page: Versions = self.ask_json(call).await?;
            all.extend(page.versions);
            page_token = page.next_page_token;
            if page_token.is_none() || limit.is_some_and(|limit| all.len() >= limit) {
                return Ok(all);
            }
        }
    }

    /// Makes an old version current again, as a new one.
    ///
    /// # Errors
    /// [`SdkError::NotFound`]; [`SdkError::Locked`] while somebody else holds the unit; [`SdkError::Conflict`] if it is
    /// of another lineage and not forced.
    pub async fn restore(
        &self,
        unit: &UnitId,
        version: VersionId,
        how: &Reinstate,
    ) -> Result<Receipt, SdkError> {
        let call = how.call(unit, paths::restore(unit));
        self.ask_json(call.json(&Restore { version })).await
    }
}
