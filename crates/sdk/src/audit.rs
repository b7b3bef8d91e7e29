//! Who did what.

use futures::future::join_all;
use jiff::Timestamp;
use opentaco_api::audit::{AuditEvents, AuditSegments};
use opentaco_api::paths;
use opentaco_domain::UnitPrefix;
use opentaco_domain::audit::{Auditor, Filter, Keys, Report, SegmentId};

use crate::client::{Call, Client};
use crate::error::SdkError;

/// How many segments are fetched at once.
const AT_ONCE: usize = 8;

impl Client {
    /// One page of what happened, newest first: up to `limit` events. An empty one with a token is not the last.
    ///
    /// # Errors
    /// [`SdkError::Forbidden`] without the right `audit.read`.
    pub async fn audit_page(
        &self,
        filter: &Filter,
        limit: usize,
        page_token: Option<&str>,
    ) -> Result<AuditEvents, SdkError> {
        let call = Call::get(paths::AUDIT.to_owned())
            .maybe("unit", filter.unit.as_ref())
            .maybe("prefix", filter.prefix.as_ref().map(UnitPrefix::as_str))
            .maybe("principal", filter.principal.as_ref())
            .maybe("action", filter.action.as_ref())
            .maybe("decision", filter.decision)
            .maybe("since", filter.since)
            .maybe("until", filter.until)
            .query("limit", limit.clamp(1, LIMIT_MAX))
            .maybe("page_token", page_token);
        self.ask_json(call).await
    }

    /// What happened, newest first: up to `limit` events, over as many pages as that takes.
    ///
    /// # Errors
    /// As [`Client::audit_page`].
    pub async fn audit(&self, filter: &Filter, limit: usize) -> Result<AuditEvents, SdkError> {
        let mut all = AuditEvents::default();
        if limit == 0 {
            return Ok(all);
        }
        loop {
            let missing = limit - all.events.len();
            let token = all.next_page_token.take();
            let page = self.audit_page(filter, missing, token.as_deref()).await?;
            all.events.extend(page.events);
            all.damaged.extend(page.damaged);
            all.next_page_token = page.next_page_token;
            if all.next_page_token.is_none() || all.events.len() >= limit {
                return Ok(all);
            }
        }
    }

    /// One page of the names of segments, oldest first.
    ///
    /// # Errors
    /// [`SdkError::Forbidden`] without the right `audit.read`.
    pub async fn audit_segments(
        &self,
        since: Option<Timestamp>,
        page_token: Option<SegmentId>,
    ) -> Result<AuditSegments, SdkError> {
        let call = Call::get(paths::AUDIT_SEGMENTS.to_owned())
            .maybe("since", since)
            .maybe("page_token", page_token);
        self.ask_json(call).await
    }

    /// A segment, byte for byte; `None` if it is not there any more.
    ///
    /// # Errors
    /// [`SdkError::Forbidden`] without the right `audit.read`.
    pub async fn audit_segment(&self, id: &SegmentId) -> Result<Option<Vec<u8>>, SdkError> {
        match self.ask(Call::get(paths::audit_segment(id))).await {
            Ok(read) => Ok(Some(read.into_bytes())),
            Err(SdkError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The public keys that the service signs with, by which the audit can be verified.
    ///
    /// # Errors
    /// If the service does not answer, or with something else.
    pub async fn signing_keys(&self) -> Result<Keys, SdkError> {
        let read = self.ask(Call::get(paths::JWKS.to_owned())).await?;
        Keys::from_jwks(&read.into_bytes()).map_err(|error| SdkError::Unreadable {
            what: error.to_string(),
            source: None,
        })
    }

    /// Reads the whole audit, or what may have happened from a moment on, and tells what is wrong with it.
    ///
    /// # Errors
    /// [`SdkError::Forbidden`] without the right `audit.read`.
    pub async fn verify_audit(&self, keys: Keys, since: Option<Timestamp>) -> Result<Report, SdkError> {
        let mut auditor = Auditor::new(keys, since);
        let mut ids = self.all_audit_segments().await?;
        // By their names they are in the order of time, and a clock may have been set back in the middle of a chain.
        ids.sort_by_key(|id| (id.replica, id.sequence));
        // Of older ones the names tell that they are there.
        let is_older = |id: &SegmentId| since.is_some_and(|since| id.at < since);
        let (older, ids): (Vec<_>, Vec<_>) = ids.into_iter().partition(is_older);
        older.into_iter().for_each(|id| auditor.pass_over(id));
        for some in ids.chunks(AT_ONCE) {
            let fetched = join_all(some.iter().map(|id| self.audit_segment(id))).await;
            for (id, bytes) in some.iter().zip(fetched) {
                match bytes? {
                    Some(bytes) => auditor.read(*id, &bytes),
                    None => auditor.gone(*id),
                }
            }
        }
        Ok(auditor.finish())
    }

    async fn all_audit_segments(&self) -> Result<Vec<SegmentId>, SdkError> {
        let (mut ids, mut page_token) = (Vec::new(), None);
        loop {
            let page = self.audit_segments(None, page_token).await?;
            ids.extend(page.segments);
            page_token = page.next_page_token;
            if page_token.is_none() {
                return Ok(ids);
            }
        }
    }
}

/// The largest page of events.
const LIMIT_MAX: usize = 1_000;
