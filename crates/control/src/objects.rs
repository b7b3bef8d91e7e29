//! States and locks as objects, for doors whose clients know nothing else: a part of a state, what is said of one without
//! its bytes, the lock as a file, and names page by page.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use opentaco_domain::audit::Event;
use opentaco_domain::{Action, Caller, LockInfo, ObjectName, Signed, UnitId, UnitPrefix};
use opentaco_storage::Head;
use opentaco_storage::lifecycle::Described;
use opentaco_storage::listing;

use crate::error::Holder;
use crate::state::Content;
use crate::{ControlError, StateControl, StateRead};

pub use opentaco_storage::GetRange as Wanted;

/// What is said of a state without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateLook {
    /// In bytes.
    pub size: u64,
    /// What tells its bytes from others.
    pub content: Content,
    /// When it became current.
    pub modified: Option<Timestamp>,
}

impl StateLook {
    fn of(read: &StateRead) -> Self {
        Self {
            size: read.size,
            content: read.content.clone(),
            modified: read.modified,
        }
    }
}

/// Some bytes of a state.
pub struct StatePart {
    /// The whole.
    pub look: StateLook,
    /// Which bytes of it.
    pub range: Range<u64>,
    /// Those bytes.
    pub body: BoxStream<'static, Result<Bytes, ControlError>>,
}

impl std::fmt::Debug for StatePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatePart")
            .field("look", &self.look)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// A lock, as the file that it is to S3 clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// The bytes that were put; of a lock that was taken through another door, what Terraform would have put.
    pub bytes: Bytes,
    /// When it was taken, by our clock.
    pub since: Timestamp,
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// MD5 of its bytes in base64, where it is known without asking.
    pub md5: Option<String>,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListObjects {
    /// What the bucket is called.
    pub bucket: String,
    /// Only keys that start so.
    pub prefix: String,
    /// Only keys strictly after this one.
    pub after: String,
    /// Keys that have this behind the prefix are told as one.
    pub delimiter: Option<String>,
    /// At most so many, with what several were folded into.
    pub limit: usize,
}

/// One page of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectsPage {
    /// In byte order.
    pub objects: Vec<ListedObject>,
    /// What several keys were folded into, in byte order.
    pub folded: Vec<String>,
    /// What to go on after, if there is more.
    pub next: Option<String>,
}

impl StateControl {
    /// What is current, without its bytes; to the session that holds the unit, as this replica remembers it. Nothing is told
    /// to the audit: nobody has seen anything of it.
    ///
    /// # Errors
    /// As [`StateControl::read_state`].
    pub async fn look_at_state(
        &self,
        caller: &Caller,
        unit: &UnitId,
        by: Option<&Signed>,
    ) -> Result<StateLook, ControlError> {
        if !self.may(caller, Action::Read, unit)? {
            let view = self.read_view(caller, unit).await;
            return view.map(|read| StateLook::of(&read));
        }
        let remembered = self.remembered_under(caller, unit, by);
        let remembered = remembered.and_then(|head| head.current.clone());
        let glance = match remembered {
            Some(committed) => Ok(Some(committed)),
            None => self.vault().glance(unit).await,
        };
        if let Some(committed) = glance.map_err(ControlError::from_storage)? {
            return Ok(StateLook {
                size: committed.size,
                content: Content::of(&committed),
                modified: Some(committed.committed_at),
            });
        }
        let reading = self
            .vault()
            .read(unit)
            .await
            .map_err(ControlError::from_storage)?;
        let read = reading.map(StateRead::from);
        read.map(|read| StateLook::of(&read))
            .ok_or_else(|| ControlError::NoState { unit: unit.clone() })
    }

    /// Some bytes of the current state. Where the state is shorter than the part begins, the part is empty.
    ///
    /// # Errors
    /// As [`StateControl::read_state`].
    pub async fn read_part(
        &self,
        caller: &Caller,
        unit: &UnitId,
        wanted: &Wanted,
    ) -> Result<StatePart, ControlError> {
        let may = self.may(caller, Action::Read, unit)?;
        if may {
            let portion = self.vault().read_part(unit, wanted.clone()).await;
            if let Some(portion) = portion.map_err(ControlError::from_storage)? {
                let committed = portion.committed;
                let event = Event::done(caller, Action::Read, "read").on(unit);
                self.audit().tell(event.version(committed.version));
                return Ok(StatePart {
                    look: StateLook {
                        size: committed.size,
                        content: Content::of(&committed),
                        modified: Some(committed.committed_at),
                    },
                    range: portion.range,
                    body: portion.body.map_err(ControlError::from_storage).boxed(),
                });
            }
        }
        let read = match may {
            true => self.open_state(caller, Action::Read, unit).await?,
            false => self.read_view(caller, unit).await?,
        };
        let look = StateLook::of(&read);
        let range = part_of(wanted, read.size);
        let body = cut(read.body, range.clone());
        Ok(StatePart { look, range, body })
    }

    fn remembered_under(&self, caller: &Caller, unit: &UnitId, by: Option<&Signed>) -> Option<Arc<Head>> {
        let session = &by?.session;
        self.vault().remembered_under(unit, caller.principal(), session)
    }

    /// The lock of a unit as a file of a bucket of this name; `None` if nobody holds it. To the session that holds it, as
    /// this replica remembers it.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] for whoever may neither read nor lock the unit.
    pub async fn lock_file(
        &self,
        caller: &Caller,
        unit: &UnitId,
        bucket: &str,
        by: Option<&Signed>,
    ) -> Result<Option<LockFile>, ControlError> {
        if !self.may(caller, Action::Lock, unit)? {
            self.permit(caller, Action::Read, unit)?;
        }
        let known = match self.remembered_under(caller, unit, by) {
            Some(head) => Some(head),
            None => {
                let known = self.vault().load(unit).await;
                known.map_err(ControlError::from_storage)?.map(|known| known.head)
            }
        };
        let lock = match known {
            Some(head) => head.lock.clone(),
            None => match self.vault().describe(unit).await {
                Ok(Described::Known(known)) => known.head.lock.clone(),
                Ok(Described::Untouched(_, lock)) => lock,
                Ok(Described::NoUnit) => None,
                Err(error) => return Err(ControlError::from_storage(error)),
            },
        };
        Ok(lock.map(|lock| LockFile {
            since: lock.since,
            bytes: file_of(lock, &format!("{bucket}/{}", unit.state_key())),
        }))
    }

    /// The objects that the caller may see: states, and lock files of those that are locked. A unit without a state is no
    /// object.
    ///
    /// # Errors
    /// As [`StateControl::list_units`].
    pub async fn list_objects(
        &self,
        caller: &Caller,
        wanted: &ListObjects,
    ) -> Result<ObjectsPage, ControlError> {
        // An empty list must not be the answer of a service that does not know who may see what.
        self.may(caller, Action::Read, &UnitId::graph())?;
        let mut page = ObjectsPage::default();
        if wanted.limit == 0 || wanted.prefix.contains(char::is_control) {
            return Ok(page);
        }
        let mut fold = Fold::default();
        let mut after = wanted.after.clone();
        // A page that begins after what keys were folded into does not tell them again.
        if after.starts_with(&wanted.prefix) && fold.next(&after, wanted).as_ref() == Some(&wanted.after) {
            after = fold.beyond(after);
        } else {
            fold = Fold::default();
        }
        loop {
            let (objects, next) = self.some_objects(caller, wanted, &after).await?;
            for object in objects {
                if fold.holds(&object.key) {
                    continue;
                }
                if page.objects.len() + page.folded.len() == wanted.limit {
                    page.next = Some(fold.last);
                    return Ok(page);
                }
                match fold.next(&object.key, wanted) {
                    Some(folded) => page.folded.push(folded),
                    None => page.objects.push(object),
                }
            }
            match next {
                Some(next) => after = fold.beyond(next),
                None => return Ok(page),
            }
        }
    }

    /// The objects of the next units, and where to go on. Whatever is after `after` and not after the latter is told.
    async fn some_objects(
        &self,
        caller: &Caller,
        wanted: &ListObjects,
        after: &str,
    ) -> Result<(Vec<ListedObject>, Option<String>), ControlError> {
        let unreadable = OnceLock::new();
        let shown = |unit: &UnitId| {
            let key = ObjectName::Lock(unit.clone()).key();
            let named = key.starts_with(&wanted.prefix);
            named
                && self.may(caller, Action::Read, unit).unwrap_or_else(|error| {
                    unreadable.get_or_init(|| error);
                    false
                })
        };
        let prefix = self.vault().bucket().layout().prefix().to_owned();
        let asked = listing::ListUnits {
            prefix: UnitPrefix::parse(units_below(&wanted.prefix)).unwrap_or_default(),
            after: (!after.is_empty()).then(|| format!("{prefix}{}", before_locks(after))),
            limit: Some(wanted.limit.clamp(100, 1000)),
            ..listing::ListUnits::default()
        };
        let units = self.vault().list_shown(&asked, &shown).await;
        if let Some(error) = unreadable.into_inner() {
            return Err(error);
        }
        let units = units.map_err(ControlError::from_storage)?;
        let next = units
            .next
            .and_then(|next| next.strip_prefix(&prefix).map(str::to_owned));
        let mut objects = Vec::new();
        for listed in units.units {
            if listed.locked {
                let name = ObjectName::Lock(listed.unit.clone());
                let key = name.key();
                // Its holder is in the head, and few units are locked at a time.
                if let Some(file) = self.lock_file(caller, &listed.unit, &wanted.bucket, None).await? {
                    objects.push(ListedObject {
                        key,
                        size: file.bytes.len() as u64,
                        modified: file.since,
                        md5: Some(opentaco_domain::digest::md5_base64(&file.bytes)),
                    });
                }
            }
            if listed.size > 0 {
                objects.push(ListedObject {
                    key: listed.unit.state_key(),
                    size: listed.size,
                    modified: listed.updated,
                    md5: listed.md5,
                });
            }
        }
        objects.retain(|object| {
            let is_next = next.as_ref().is_none_or(|next| object.key <= *next);
            object.key.as_str() > after && object.key.starts_with(&wanted.prefix) && is_next
        });
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok((objects, next))
    }
}

/// What was told last, and what it stands for.
#[derive(Default)]
struct Fold {
    last: String,
    is_folded: bool,
}

impl Fold {
    /// Whether a key is part of what was told last.
    fn holds(&self, key: &str) -> bool {
        self.is_folded && key.starts_with(&self.last)
    }

    /// What the next key is folded into, if it is.
    fn next(&mut self, key: &str, wanted: &ListObjects) -> Option<String> {
        let rest = key.strip_prefix(&wanted.prefix).unwrap_or_default();
        let delimiter = wanted.delimiter.as_deref().filter(|text| !text.is_empty());
        let end = delimiter.and_then(|text| rest.find(text).map(|at| at + text.len()));
        let folded = end.map(|end| format!("{}{}", wanted.prefix, &rest[..end]));
        self.is_folded = folded.is_some();
        self.last = folded.clone().unwrap_or_else(|| key.to_owned());
        folded
    }

    /// Where to go on: behind everything that was told with the last.
    fn beyond(&self, next: String) -> String {
        match self.is_folded {
            true => next.max(format!("{}{}", self.last, char::MAX)),
            false => next,
        }
    }
}

/// A prefix of ids below which all keys with this prefix are: what stands before the name of a state is the id.
fn units_below(prefix: &str) -> &str {
    match prefix.rsplit_once('/') {
        Some((unit, rest)) if "terraform.tfstate.tflock".starts_with(rest) => unit,
        _ => prefix,
    }
}

/// Before the first state whose lock file may come after `after`: its key is the beginning of it.
fn before_locks(after: &str) -> &str {
    match after.find(".tfstate") {
        Some(at) => &after[..at + ".tfstat".len()],
        None => after,
    }
}

/// A lock as a file: the bytes that were put, or for a lock from elsewhere what Terraform would have put there.
fn file_of(lock: opentaco_storage::Lock, path: &str) -> Bytes {
    let sent = lock.sent.as_ref().filter(|_| lock.credential.is_some());
    if let Some(sent) = sent.and_then(|sent| STANDARD.decode(sent).ok()) {
        return sent.into();
    }
    let door = lock.door.clone();
    let Holder {
        info,
        principal,
        since,
    } = Holder::from(lock);
    let info = LockInfo {
        who: match info.who.is_empty() {
            true => principal.to_string(),
            false => info.who,
        },
        info: match info.info.is_empty() {
            true => format!("taken through the {door} door by {principal}"),
            false => info.info,
        },
        created: match info.created.is_empty() {
            true => since.to_string(),
            false => info.created,
        },
        path: path.to_owned(),
        ..info
    };
    info.to_terraform_json().into()
}

/// The bytes that are asked for, of so many.
fn part_of(wanted: &Wanted, size: u64) -> Range<u64> {
    let (start, end) = match wanted {
        Wanted::Bounded(range) => (range.start, range.end),
        Wanted::Offset(start) => (*start, size),
        Wanted::Suffix(last) => (size.saturating_sub(*last), size),
    };
    start.min(size)..end.clamp(start.min(size), size)
}

/// Those bytes of a body.
fn cut(
    body: BoxStream<'static, Result<Bytes, ControlError>>,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, ControlError>> {
    let mut at = 0u64;
    body.map_ok(move |mut piece| {
        let (start, end) = (at, at + piece.len() as u64);
        at = end;
        let from = range.start.clamp(start, end) - start;
        let to = range.end.clamp(start, end) - start;
        let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        piece.truncate(index(to));
        piece.slice(index(from.min(to))..)
    })
    .try_filter(|piece| std::future::ready(!piece.is_empty()))
    .boxed()
}
