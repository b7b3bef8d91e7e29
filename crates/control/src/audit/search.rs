//! Finding events again, newest first, without an index: the names of segments tell when they begin.
//!
//! A page reads so many segments at most, and says how to go on; a search that finds nothing ends all the same.

use bytes::Bytes;
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::audit::segment::SPAN;
use opentaco_domain::audit::{Event, Filter, Read, SegmentId};
use opentaco_domain::{Action, Caller};
use opentaco_storage::StorageError;
use opentaco_storage::segments::{DAY, Segments};

use super::AuditError;
use crate::StateControl;

/// How many segments one page reads at most.
const SEGMENTS_MAX: usize = 256;
/// How many of them at once.
const AT_ONCE: usize = 8;
/// How many events a page has if nobody says.
const LIMIT: usize = 100;
/// All events of a segment, as a page token spells it.
const ALL: usize = 999_999_999;
/// How far back is looked at first.
const RECENT: SignedDuration = SignedDuration::from_mins(10);
/// How far ahead the clocks of other replicas may be.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which events.
    pub filter: Filter,
    /// At most so many.
    pub limit: Option<usize>,
    /// The token of the page before.
    pub page_token: Option<String>,
}

impl From<Filter> for Wanted {
    fn from(filter: Filter) -> Self {
        Self {
            filter,
            ..Self::default()
        }
    }
}

/// An event, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In which segment.
    pub segment: SegmentId,
    /// As which event of it, from 0.
    pub index: usize,
    /// What happened.
    pub event: Event,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Newest first; of different replicas within seconds, by segment.
    pub events: Vec<Found>,
    /// How to go on, if there may be more.
    pub next_page_token: Option<String>,
    /// Segments that are there and cannot be read.
    pub damaged: Vec<SegmentId>,
}

/// A place in the audit: everything before it comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: SegmentId,
    /// Events of that segment that are still to come.
    events: usize,
}

impl Place {
    fn token(self) -> String {
        format!("{}.{}", self.segment, self.events)
    }

    fn parse(token: &str) -> Option<Self> {
        let (segment, events) = token.rsplit_once('.')?;
        Some(Self {
            segment: segment.parse().ok()?,
            events: events.parse().ok()?,
        })
    }
}

impl StateControl {
    /// What happened, newest first.
    ///
    /// # Errors
    /// [`AuditError::Access`] without the right `audit.read`.
    pub async fn search_audit(&self, caller: &Caller, wanted: &Wanted) -> Result<Page, AuditError> {
        self.permit_on_service(caller, Action::ReadAudit)?;
        let page = match wanted.page_token.as_deref() {
            None => None,
            Some(token) => Some(Place::parse(token).ok_or(AuditError::PageToken)?),
        };
        self.audit().tell_that_it_was_read(caller);
        let now = self.vault().bucket().surroundings().clock.now();
        let until = wanted.filter.until.unwrap_or_else(|| later(now, AHEAD));
        // A name tells its millisecond, and there may be events before that moment in it.
        let end = later(until, SignedDuration::from_millis(1)).max(Timestamp::UNIX_EPOCH);
        let reach = Reach {
            // A segment may begin a span before the events that are asked for.
            from: wanted
                .filter
                .since
                .map_or(Timestamp::UNIX_EPOCH, |since| earlier(since, SPAN)),
            to: page.map_or(end, |place| {
                end.min(later(place.segment.at, SignedDuration::from_millis(1)))
            }),
            first: match (page, wanted.filter.until) {
                (None, None) => AHEAD + RECENT,
                _ => RECENT,
            },
        };
        let segments = &self.segments();
        let limit = wanted.limit.unwrap_or(LIMIT);
        let mut found = Page::default();
        let mut read = 0;
        for window in reach.windows(segments).await.map_err(AuditError::Unavailable)? {
            let listed = segments.between(window.0, window.1).await;
            let mut ids = listed.map_err(AuditError::Unavailable)?;
            ids.retain(|id| page.is_none_or(|place| *id <= place.segment));
            ids.reverse();
            for some in ids.chunks(AT_ONCE) {
                if read >= SEGMENTS_MAX {
                    // All of the first one that was not read is still to come.
                    let place = Place {
                        segment: some[0],
                        events: ALL,
                    };
                    found.next_page_token = Some(place.token());
                    return Ok(found);
                }
                read += some.len();
                let fetched: Vec<_> = some.iter().map(|id| fetch(segments, *id)).collect();
                let fetched = try_join_all(fetched).await.map_err(AuditError::Unavailable)?;
                for (id, bytes) in fetched {
                    let parsed = bytes.as_deref().map(|bytes| Read::parse(&id, bytes));
                    let Some(Ok(segment)) = parsed else {
                        found.damaged.push(id);
                        continue;
                    };
                    let left = match page {
                        Some(place) if place.segment == id => place.events,
                        _ => usize::MAX,
                    };
                    let events = segment.events.into_iter().enumerate().take(left);
                    let events: Vec<_> = events.filter(|(_, event)| wanted.filter.matches(event)).collect();
                    for (index, event) in events.into_iter().rev() {
                        if found.events.len() == limit {
                            let place = Place {
                                segment: id,
                                events: index + 1,
                            };
                            found.next_page_token = Some(place.token());
                            return Ok(found);
                        }
                        found.events.push(Found {
                            segment: id,
                            index,
                            event,
                        });
                    }
                }
            }
        }
        Ok(found)
    }

    /// Up to a thousand names of segments, oldest first, from a moment on or behind a page; and how to go on.
    ///
    /// # Errors
    /// [`AuditError::Access`] without the right `audit.read`.
    pub async fn audit_segments(
        &self,
        caller: &Caller,
        since: Option<Timestamp>,
        after: Option<SegmentId>,
    ) -> Result<(Vec<SegmentId>, Option<SegmentId>), AuditError> {
        self.permit_on_service(caller, Action::ReadAudit)?;
        self.audit().tell_that_it_was_read(caller);
        let from = match (after, since) {
            (Some(after), _) => after.at,
            (None, Some(since)) => earlier(since, SPAN),
            (None, None) => Timestamp::UNIX_EPOCH,
        };
        let (mut ids, mut page) = (Vec::new(), None);
        loop {
            let listed = self.segments().page(from, Timestamp::MAX, page).await;
            let (some, next) = listed.map_err(AuditError::Unavailable)?;
            ids.extend(
                some.into_iter()
                    .filter(|id| after.is_none_or(|after| *id > after)),
            );
            page = next;
            // Names of one millisecond can fill a page that was told before.
            if page.is_none() || !ids.is_empty() {
                let next = page.and_then(|_| ids.last().copied());
                return Ok((ids, next));
            }
        }
    }

    /// The bytes of a segment, as they lie in the bucket.
    ///
    /// # Errors
    /// [`AuditError::Access`] without the right `audit.read`; [`AuditError::NoSegment`].
    pub async fn audit_segment(&self, caller: &Caller, id: &SegmentId) -> Result<Bytes, AuditError> {
        self.permit_on_service(caller, Action::ReadAudit)?;
        self.audit().tell_that_it_was_read(caller);
        let bytes = self.segments().get(id).await;
        bytes
            .map_err(AuditError::Unavailable)?
            .ok_or(AuditError::NoSegment(*id))
    }
}

impl StateControl {
    fn segments(&self) -> Segments {
        Segments::new(self.vault().bucket().clone())
    }
}

async fn fetch(segments: &Segments, id: SegmentId) -> Result<(SegmentId, Option<Bytes>), StorageError> {
    Ok((id, segments.get(&id).await?))
}

/// From when to when segments are looked at.
#[derive(Debug, Clone, Copy)]
struct Reach {
    from: Timestamp,
    to: Timestamp,
    /// How far back is looked at first: most who look, look for what was just now.
    first: SignedDuration,
}

impl Reach {
    /// The same in parts, newest first: what is recent, and then each day on which there is something.
    async fn windows(self, segments: &Segments) -> Result<Vec<(Timestamp, Timestamp)>, StorageError> {
        let Self { from, to, first } = self;
        // Up to a segment a second: the names of an hour are many pages, and those of a few minutes one.
        let recent = from.max(earlier(to, first));
        let mut windows = vec![(recent, to)];
        if recent > from {
            for day in segments.days().await?.into_iter().rev() {
                let window = (day.max(from), later(day, DAY).min(recent));
                if window.0 < window.1 {
                    windows.push(window);
                }
            }
        }
        Ok(windows)
    }
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by)
        .unwrap_or(Timestamp::MIN)
        .max(Timestamp::UNIX_EPOCH)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}
