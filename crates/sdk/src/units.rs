//! Creating, listing, describing, changing, deleting and bringing back units.

use std::collections::BTreeMap;

use http::Method;
use opentaco_api::{ChangeUnit, CreateUnit, Created, Undeleted, Unit, Units, paths};
use opentaco_domain::UnitId;

use crate::client::{Call, Client};
use crate::error::SdkError;
use crate::retry::Repeatable;

/// The largest page that the service gives.
pub(crate) const PAGE_MAX: usize = 10_000;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListUnits {
    /// How their ids begin.
    pub prefix: String,
    /// Only units that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// At most so many; everything without it.
    pub limit: Option<usize>,
    /// The token of the page before.
    pub page_token: Option<String>,
}

impl Client {
    /// Creates a unit without a state.
    ///
    /// If an answer is lost the request is made again, and finds the unit that the first one made: a unit that came to
    /// be meanwhile, is empty and is described as was asked for counts as created.
    ///
    /// # Errors
    /// [`SdkError::AlreadyExists`] if there is such a unit.
    pub async fn create_unit(&self, wanted: &CreateUnit) -> Result<Created, SdkError> {
        let call = Call::new(Method::POST, paths::UNITS.to_owned(), Repeatable::Freely).json(wanted);
        let mut doubted = false;
        let created = self.ask_noting(call, &mut doubted).await;
        match created {
            Ok(read) => read.json(),
            Err(error @ SdkError::AlreadyExists { .. }) if doubted => {
                let found = self.unit(&wanted.id).await?;
                let as_wanted = found.labels == wanted.labels && found.description == wanted.description;
                match found.created.filter(|_| as_wanted && found.size == 0) {
                    Some(created) => Ok(Created {
                        id: found.id,
                        created,
                    }),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Units, in the byte order of their names: at most as many as the limit says, or all.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn list_units(&self, wanted: &ListUnits) -> Result<Units, SdkError> {
        let mut found = Units {
            units: Vec::new(),
            count: 0,
            next_page_token: wanted.page_token.clone(),
        };
        // The smallest page of the service has one.
        if wanted.limit == Some(0) {
            return Ok(found);
        }
        loop {
            let missing = wanted.limit.map(|limit| limit - found.units.len());
            let page = self
                .page_of_units(wanted, missing, found.next_page_token.as_deref())
                .await?;
            found.units.extend(page.units);
            found.count = found.units.len();
            found.next_page_token = page.next_page_token;
            let enough = wanted.limit.is_some_and(|limit| found.count >= limit);
            if enough || found.next_page_token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn page_of_units(
        &self,
        wanted: &ListUnits,
        limit: Option<usize>,
        page_token: Option<&str>,
    ) -> Result<Units, SdkError> {
        let mut call = Call::get(paths::UNITS.to_owned())
            .maybe("prefix", Some(&wanted.prefix).filter(|prefix| !prefix.is_empty()))
            .maybe("limit", limit.map(|limit| limit.clamp(1, PAGE_MAX)))
            .maybe("page_token", page_token);
        for (name, value) in &wanted.labels {
            call = call.query("label", format!("{name}={value}"));
        }
        self.ask_json(call).await
    }

    /// What is true of a unit.
    ///
    /// # Errors
    /// [`SdkError::NotFound`].
    pub async fn unit(&self, unit: &UnitId) -> Result<Unit, SdkError> {
        self.ask_json(Call::get(paths::unit(unit)).about(unit)).await
    }

    /// Changes labels, description and protection; what is not given stays.
    ///
    /// # Errors
    /// [`SdkError::NotFound`]; [`SdkError::Invalid`] over the limits.
    pub async fn change_unit(&self, unit: &UnitId, change: &ChangeUnit) -> Result<Unit, SdkError> {
        let call = Call::new(Method::PATCH, paths::unit(unit), Repeatable::Freely);
        self.ask_json(call.about(unit).json(change)).await
    }

    /// Deletes a unit.
    ///
    /// If its answer is lost it is not asked again: the next one could meet a unit that somebody has made since. If the
    /// unit is gone then, it is deleted.
    ///
    /// # Errors
    /// [`SdkError::NotFound`]; [`SdkError::Locked`] while somebody holds it; [`SdkError::Conflict`] if it is protected.
    pub async fn delete_unit(&self, unit: &UnitId) -> Result<(), SdkError> {
        let call = Call::new(Method::DELETE, paths::unit(unit), Repeatable::Unheard).about(unit);
        match self.ask(call).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_in_doubt() => match self.unit(unit).await {
                Err(SdkError::NotFound { .. }) => Ok(()),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Brings back a deleted unit with its last state.
    ///
    /// # Errors
    /// [`SdkError::AlreadyExists`] if it is not deleted; [`SdkError::NotFound`] if it never was, or too long ago.
    pub async fn undelete(&self, unit: &UnitId) -> Result<Undeleted, SdkError> {
        let call = Call::new(Method::POST, paths::undelete(unit), Repeatable::Freely).about(unit);
        let mut doubted = false;
        match self.ask_noting(call, &mut doubted).await {
            Ok(read) => read.json(),
            // It lives since an attempt before this one.
            Err(SdkError::AlreadyExists { .. }) if doubted => {
                let found = self.unit(unit).await?;
                Ok(Undeleted {
                    id: found.id,
                    version: found.version,
                })
            }
            Err(error) => Err(error),
        }
    }
}
