//! Queries of the management API, read strictly: a mistyped `?forse=true` is refused and not ignored.

use std::collections::BTreeMap;
use std::fmt::Display;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use opentaco_api::ErrorCode;
use opentaco_domain::{Holding, LockId, UnitPrefix, VersionId};
use percent_encoding::percent_decode_str;
use utoipa::IntoParams;

use crate::management::error::invalid;
use crate::problem::Problem;

/// The largest page.
const PAGE_MAX: u32 = 10_000;

/// A query that is understood whole.
#[derive(Debug)]
pub struct Asked<T>(pub T);

/// What a query may say.
pub trait FromQuery: Sized {
    /// Takes from `query` what is known here.
    ///
    /// # Errors
    /// 400 for what cannot be read.
    fn take(query: &mut Query) -> Result<Self, Problem>;
}

impl<S: Sync, T: FromQuery> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Query::read(parts.uri.query().unwrap_or(""))?;
        let asked = T::take(&mut query)?;
        match query.0.first() {
            None => Ok(Self(asked)),
            Some((name, _)) => Err(bad_query(format!(
                "`{name}` is not known in the query of this address"
            ))),
        }
    }
}

/// Pairs of names and values, in the order they came.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: &str) -> Result<Self, Problem> {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            match percent_decode_str(&text).decode_utf8() {
                Ok(text) => Ok(text.into_owned()),
                Err(_) => Err(bad_query("the query is not UTF-8".to_owned())),
            }
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    fn every(&mut self, name: &str) -> Vec<String> {
        self.0
            .extract_if(.., |(given, _)| given == name)
            .map(|(_, value)| value)
            .collect()
    }

    pub(crate) fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.every(name);
        let value = values.pop();
        if values.is_empty() {
            Ok(value)
        } else {
            Err(bad_query(format!("`{name}` is given more than once")))
        }
    }

    /// One value, read.
    pub(crate) fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let value = self.one(name)?.map(|value| parse(&value));
        value
            .transpose()
            .map_err(|error| bad_query(format!("`{name}` cannot be read: {error}")))
    }

    /// The beginning of unit ids.
    pub(crate) fn prefix(&mut self) -> Result<UnitPrefix, Problem> {
        let prefix = self.one("prefix")?.unwrap_or_default();
        UnitPrefix::parse(&prefix)
            .map_err(|error| bad_query(format!("`prefix` cannot be the beginning of a unit: {error}")))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.one(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(bad_query(format!("`{name}` is true or false"))),
        }
    }

    pub(crate) fn limit(&mut self) -> Result<Option<usize>, Problem> {
        let Some(limit) = self.one("limit")? else {
            return Ok(None);
        };
        match limit.parse::<u32>() {
            Ok(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(Some(limit as usize)),
            _ => Err(bad_query(format!("`limit` is a number from 1 to {PAGE_MAX}"))),
        }
    }
}

/// Which units are listed.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only units whose id starts so.
    #[param(value_type = Option<String>, example = "myapp/", required = false)]
    pub prefix: UnitPrefix,
    /// Only units that have this label, as `name=value`; may be given several times, and then all of them count.
    #[param(value_type = Option<Vec<String>>, required = false)]
    pub label: BTreeMap<String, String>,
    /// At most so many; all of them without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_000, required = false)]
    pub limit: Option<usize>,
    /// What the page before said as `next_page_token`.
    #[param(required = false)]
    pub page_token: Option<String>,
}

impl FromQuery for ListQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        let prefix = query.prefix()?;
        let mut labels = BTreeMap::new();
        for label in query.every("label") {
            let Some((name, value)) = label.split_once('=') else {
                return Err(bad_query("`label` is given as name=value".to_owned()));
            };
            let before = labels.insert(name.to_owned(), value.to_owned());
            // Each of the two can be said; that there is no such unit is beyond what a description can say of a query.
            if before.is_some_and(|before| before != value) {
                return Err(invalid(format!(
                    "no unit has two values of the label `{name}`, and two are asked for"
                )));
            }
        }
        Ok(Self {
            prefix,
            label: labels,
            limit: query.limit()?,
            page_token: query.one("page_token")?,
        })
    }
}

/// Which part of a history is listed.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// At most so many; all of them without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_000, required = false)]
    pub limit: Option<usize>,
    /// What the page before said as `next_page_token`.
    #[param(value_type = Option<String>, required = false)]
    pub page_token: Option<VersionId>,
}

impl FromQuery for HistoryQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        let page_token = query.one("page_token")?.map(|token| token.parse()).transpose();
        Ok(Self {
            limit: query.limit()?,
            page_token: page_token
                .map_err(|_| bad_query("`page_token` is none that this service gave".to_owned()))?,
        })
    }
}

/// How something becomes current.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WriteQuery {
    /// The lock under which it is done. Without it, it is done only while nobody holds the unit.
    #[param(value_type = Option<String>, required = false)]
    pub if_locked_by: Holding,
    /// Even if another lineage, an older serial, or the same serial with other content would be replaced.
    #[param(value_type = Option<bool>, required = false)]
    pub force: bool,
}

impl FromQuery for WriteQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        let lock = query
            .one("if_locked_by")?
            .map(|id| LockId::parse(&id))
            .transpose();
        let lock = lock.map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::BadLockId,
                format!("`if_locked_by` names no lock: {error}"),
            )
        })?;
        Ok(Self {
            if_locked_by: lock.map_or(Holding::Nothing, Holding::Lock),
            force: query.flag("force")?,
        })
    }
}

/// How a lock is given back.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UnlockQuery {
    /// Break the lock, whoever holds it. Needs the right to.
    #[param(value_type = Option<bool>, required = false)]
    pub force: bool,
}

impl FromQuery for UnlockQuery {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        Ok(Self {
            force: query.flag("force")?,
        })
    }
}

pub(crate) fn bad_query(message: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BadQuery, message)
}
