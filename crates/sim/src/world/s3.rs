//! S3 clients in a world: `terraform` with `use_lockfile`, and whoever uploads a state in parts.
//!
//! They name no lock when they write: the session of their credentials holds it. Each attempt of a request is signed anew,
//! and called what the request is called.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use jiff::Timestamp;
use opentaco_control::objects::Wanted;
use opentaco_control::uploads::{Completed, Standing, UploadId};
use opentaco_control::{ControlError, Door, LockRequest, StateControl, StateWrite};
use opentaco_domain::access::PolicyUnreadable;
use opentaco_domain::digest::md5_base64;
use opentaco_domain::{
    Action, Caller, CredentialSession, Decision, Holding, LockId, LockInfo, Policy, Sha256, Signed, UnitId,
};

use super::{ATTEMPTS, Duration, Group, Replica, Told, World, refused, serial_of};
use crate::replicas::group;

/// Whose names begin so may not break locks.
const JOB: &str = "job";

/// What an S3 client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// PUT of the lock file, if there is none.
    Lock {
        /// What stands in it.
        id: LockId,
        /// By whom.
        by: Signed,
    },
    /// GET of the lock file.
    ShowLock(Signed),
    /// DELETE of the lock file.
    Unlock(Signed),
    /// GET of the state.
    Get(Signed),
    /// PUT of the state.
    Put {
        /// What is sent: unique.
        bytes: Bytes,
        /// By whom.
        by: Signed,
    },
    /// The beginning of an upload.
    Begin,
    /// A part of it.
    Part {
        /// Of which.
        upload: UploadId,
        /// Which place it has.
        number: u16,
        /// What is sent.
        bytes: Bytes,
    },
    /// The end of it: these parts are the state.
    Complete {
        /// Of which.
        upload: UploadId,
        /// The parts that are meant, in their order.
        parts: Vec<(u16, Bytes)>,
        /// By whom.
        by: Signed,
    },
    /// The other end of it.
    Abort(UploadId),
}

impl Ask {
    /// What is to become the state, and by whom.
    #[must_use]
    pub fn sent(&self) -> Option<(Bytes, &Signed)> {
        match self {
            Self::Put { bytes, by } => Some((bytes.clone(), by)),
            Self::Complete { parts, by, .. } => {
                let parts: Vec<Bytes> = parts.iter().map(|(_, bytes)| bytes.clone()).collect();
                Some((parts.concat().into(), by))
            }
            _ => None,
        }
    }

    /// In a few words.
    #[must_use]
    pub fn spelled(&self) -> String {
        let by = |by: &Signed| {
            let at = by.at.map_or(0, Timestamp::as_second) - FIRST_SECOND;
            format!("by {} as of {at}", by.session)
        };
        match self {
            Self::Lock { id, by: who } => format!("PUT lock file {} {}", crate::checker::tail(id), by(who)),
            Self::ShowLock(who) => format!("GET lock file {}", by(who)),
            Self::Unlock(who) => format!("DELETE lock file {}", by(who)),
            Self::Get(who) => format!("GET object {}", by(who)),
            Self::Put { bytes, by: who } => format!("PUT {} {}", Sha256::of(bytes).short(), by(who)),
            Self::Begin => "begin an upload".to_owned(),
            Self::Part {
                upload,
                number,
                bytes,
            } => {
                format!("part {number} of {upload}: {}", Sha256::of(bytes).short())
            }
            Self::Complete { upload, by: who, .. } => {
                let whole = self
                    .sent()
                    .map(|(bytes, _)| Sha256::of(&bytes).short().to_string());
                format!("complete {upload} as {} {}", whole.unwrap_or_default(), by(who))
            }
            Self::Abort(upload) => format!("abort {upload}"),
        }
    }
}

/// The world begins in this second, by its clocks.
const FIRST_SECOND: i64 = 1_790_000_000;

/// Whether this client may break locks.
#[must_use]
pub(crate) fn may_break(client: &str) -> bool {
    !client.starts_with(JOB)
}

/// Everybody may do everything, but for jobs, which may not break locks.
#[derive(Debug)]
pub(super) struct Rights;

impl Policy for Rights {
    fn decide(&self, caller: &Caller, action: Action, _: &UnitId) -> Result<Decision, PolicyUnreadable> {
        let breaks = action == Action::ForceUnlock;
        Ok(match breaks && !may_break(caller.principal().as_str()) {
            true => Decision::Deny,
            false => Decision::Allow,
        })
    }
}

/// Who a client is, and what it calls its requests.
#[derive(Clone)]
struct Client {
    name: String,
    session: CredentialSession,
}

impl World {
    /// S3 clients: jobs of one person in sessions of their own, somebody who may break locks, and whoever uploads.
    pub(super) fn s3_clients(&self) -> Vec<BoxFuture<'static, ()>> {
        let mut actors = Vec::new();
        for number in 0..1 + self.executor.below(2) {
            // Two jobs of one person are two holders; two persons may call their sessions alike.
            let name = [JOB, "job of another"][usize::from(self.executor.chance(300))];
            let session = format!("s{}", if self.executor.chance(300) { 0 } else { number });
            actors.push(self.clone().s3_terraform(name.to_owned(), session).boxed());
        }
        if self.executor.chance(500) {
            let (name, session) = ("chief".to_owned(), "s0".to_owned());
            actors.push(self.clone().s3_terraform(name, session).boxed());
        }
        if self.executor.chance(500) {
            actors.push(self.clone().uploader().boxed());
        }
        actors
    }

    /// As of now, to the second, as S3 clients sign.
    fn signed(&self, client: &Client, invocation: u64) -> Signed {
        let now = self.executor.surroundings(Group::Outside).clock.now();
        Signed {
            session: client.session.clone(),
            at: Timestamp::from_second(now.as_second()).ok(),
            invocation: Some(format!("call-{invocation}")),
        }
    }

    /// A request as an SDK sends it: up to three attempts, each signed anew, all called the same.
    async fn s3_insist(&self, client: &Client, unit: &UnitId, ask: impl Fn(Signed) -> Ask) -> Told {
        let invocation = self.number();
        if self.executor.chance(80) {
            // The first attempt is given up, and arrives some time.
            self.s3_hangs(client, unit, invocation, &ask);
            self.pause(Duration::from_secs(1)).await;
        }
        for attempt in 1.. {
            let request = super::Ask::S3(ask(self.signed(client, invocation)));
            let told = self.ask(&client.name, unit, request).await;
            let again = matches!(told, Told::Nothing | Told::Unavailable | Told::Saved);
            if !again || attempt == ATTEMPTS {
                return told;
            }
            self.pause(Duration::from_secs(attempt as u64)).await;
        }
        Told::Nothing
    }

    /// A request that is signed now and hangs on its way.
    fn s3_hangs(&self, client: &Client, unit: &UnitId, invocation: u64, ask: impl Fn(Signed) -> Ask) {
        let request = super::Ask::S3(ask(self.signed(client, invocation)));
        let (world, name, unit) = (self.clone(), client.name.clone(), unit.clone());
        self.executor.spawn(Group::Outside, async move {
            world.dawdle().await;
            world.ask(&name, &unit, request).await;
        });
    }

    /// `terraform apply` with `use_lockfile`, again and again, in one session as often as not.
    async fn s3_terraform(self, name: String, session: String) {
        let mut client = Client {
            name,
            session: CredentialSession::new(&session),
        };
        for _ in 0..1 + self.executor.below(4) {
            self.dawdle().await;
            let unit = self.any_unit();
            if self.executor.chance(300) {
                client.session = CredentialSession::new(&format!("{session}-{}", self.number()));
            }
            // `-lock=false`, at times.
            if !self.executor.chance(100) && !self.s3_lock(&client, &unit).await {
                continue;
            }
            self.s3_apply(&client, &unit).await;
            if self.executor.chance(100) {
                // It dies without removing its lock file, and at times another command of its session comes.
                continue;
            }
            self.dawdle().await;
            self.s3_insist(&client, &unit, Ask::ShowLock).await;
            self.s3_insist(&client, &unit, Ask::Unlock).await;
        }
    }

    async fn s3_lock(&self, client: &Client, unit: &UnitId) -> bool {
        let id = self.lock_id();
        for _ in 0..1 + self.executor.below(4) {
            let lock = |by| Ask::Lock { id: id.clone(), by };
            match self.s3_insist(client, unit, lock).await {
                Told::Done => return true,
                Told::Locked(_) => {
                    self.s3_insist(client, unit, Ask::ShowLock).await;
                    self.pause(Duration::from_secs(1)).await;
                }
                _ => return false,
            }
        }
        false
    }

    async fn s3_apply(&self, client: &Client, unit: &UnitId) {
        let read = self.s3_insist(client, unit, Ask::Get).await;
        let mut serial = match &read {
            Told::State(bytes) => serial_of(bytes),
            Told::NoState => 0,
            _ => return,
        };
        for _ in 0..self.executor.below(4) {
            self.dawdle().await;
            serial += 1;
            let bytes = self.state(serial, "s3");
            if self.executor.chance(150) {
                self.s3_upload(client, unit, &bytes).await;
                continue;
            }
            let put = move |by| Ask::Put {
                bytes: bytes.clone(),
                by,
            };
            if self.executor.chance(150) {
                // Its client does not wait for it, and goes on.
                self.s3_hangs(client, unit, self.number(), put);
            } else {
                self.s3_insist(client, unit, put).await;
            }
        }
    }

    /// Whoever puts states with a program that uploads in parts, without a lock.
    async fn uploader(self) {
        for _ in 0..1 + self.executor.below(3) {
            self.moment().await;
            let unit = self.any_unit();
            let client = Client {
                name: "uploader".to_owned(),
                session: CredentialSession::new(&format!("up{}", self.number())),
            };
            let bytes = self.state(self.executor.below(9), "upload");
            self.s3_upload(&client, &unit, &bytes).await;
        }
    }

    /// A state in two or three parts, each to whichever replica, in any order and at times twice.
    async fn s3_upload(&self, client: &Client, unit: &UnitId, bytes: &Bytes) {
        let Told::Begun(upload) = self.s3_insist(client, unit, |_| Ask::Begin).await else {
            return;
        };
        let pieces = 2 + usize::from(self.executor.chance(300));
        let length = bytes.len() / pieces;
        let parts: Vec<(u16, Bytes)> = (0..pieces)
            .map(|piece| {
                let end = if piece + 1 == pieces {
                    bytes.len()
                } else {
                    (piece + 1) * length
                };
                let number = u16::try_from(piece + 1).unwrap_or(1);
                (number, bytes.slice(piece * length..end))
            })
            .collect();
        let mut sent = parts.clone();
        if self.executor.chance(500) {
            sent.reverse();
        }
        for (number, bytes) in sent {
            if self.executor.chance(150) {
                // What was meant at first is not what is meant by now.
                let other = Bytes::from(format!("other than {number}"));
                self.s3_part(client, unit, &upload, number, other).await;
            }
            self.s3_part(client, unit, &upload, number, bytes).await;
        }
        self.dawdle().await;
        match self.executor.below(12) {
            0 => {
                self.s3_insist(client, unit, |_| Ask::Abort(upload.clone())).await;
                return;
            }
            // It is left alone, and at times completed when it has been collected.
            1 => {
                self.pause(Duration::from_secs(90_000)).await;
                self.collect().await;
            }
            _ => {}
        }
        let complete = |by| Ask::Complete {
            upload: upload.clone(),
            parts: parts.clone(),
            by,
        };
        self.s3_insist(client, unit, complete).await;
        if self.executor.chance(300) {
            self.dawdle().await;
            self.s3_insist(client, unit, complete).await;
        }
        if self.executor.chance(200) {
            self.s3_insist(client, unit, |_| Ask::Abort(upload.clone())).await;
        }
    }

    async fn s3_part(&self, client: &Client, unit: &UnitId, upload: &UploadId, number: u16, bytes: Bytes) {
        let part = |_| Ask::Part {
            upload: upload.clone(),
            number,
            bytes: bytes.clone(),
        };
        self.s3_insist(client, unit, part).await;
    }

    /// Some replica looks for uploads that nobody will complete.
    async fn collect(&self) {
        let (life, Replica { vault, .. }) = self.replicas.any();
        self.executor.spawn(group(life), async move {
            let _tried_again_in_an_hour = vault.collect_uploads().await;
        });
        self.pause(Duration::from_secs(10)).await;
    }
}

/// What the S3 door does with a request.
pub(super) async fn perform(control: &StateControl, caller: &Caller, unit: &UnitId, ask: Ask) -> Told {
    let done = |result: Result<(), ControlError>| match result {
        Ok(()) => Told::Done,
        Err(error) => refused(error),
    };
    match ask {
        Ask::Lock { id, by } => {
            let info = LockInfo {
                who: caller.principal().to_string(),
                ..LockInfo::of(id)
            };
            let request = LockRequest {
                sent: info.to_terraform_json().into(),
                info,
                door: Door::S3,
                credential: Some(by),
            };
            done(control.lock(caller, unit, request).await.map(drop))
        }
        Ask::ShowLock(by) => match control.lock_file(caller, unit, "opentaco", Some(&by)).await {
            Ok(Some(file)) => match LockInfo::from_json(&file.bytes) {
                Ok(info) => Told::Locked(info.id),
                Err(_) => Told::Unavailable,
            },
            Ok(None) => Told::NoSuchThing,
            Err(error) => refused(error),
        },
        Ask::Unlock(by) => done(control.remove_lock_file(caller, unit, &by).await),
        Ask::Get(_) => match control.read_part(caller, unit, &Wanted::Offset(0)).await {
            Ok(part) => match part.body.try_collect::<Vec<Bytes>>().await {
                Ok(pieces) => Told::State(pieces.concat().into()),
                Err(error) => refused(error),
            },
            Err(error) => refused(error),
        },
        Ask::Put { bytes, by } => {
            let write = StateWrite {
                md5: Some(md5_base64(&bytes)),
                ..StateWrite::new(bytes, Holding::Session(by), Door::S3)
            };
            done(control.write_state(caller, unit, write).await.map(drop))
        }
        Ask::Begin => match control.begin_upload(caller, unit).await {
            Ok(upload) => Told::Begun(upload),
            Err(error) => refused(error),
        },
        Ask::Part {
            upload,
            number,
            bytes,
        } => {
            let md5 = named(&bytes);
            match control.upload(caller, unit, &upload).await {
                Ok(Standing::UnderWay) => {}
                Ok(_) => return Told::NoSuchThing,
                Err(error) => return refused(error),
            }
            done(
                control
                    .put_part(caller, unit, &upload, (number, &md5), bytes)
                    .await,
            )
        }
        Ask::Complete { upload, parts, by } => {
            let wanted: Vec<(u16, String)> = parts
                .iter()
                .map(|(number, bytes)| (*number, named(bytes)))
                .collect();
            match complete(control, caller, unit, &upload, &wanted, by).await {
                Ok(told) => told,
                Err(error) => refused(error),
            }
        }
        Ask::Abort(upload) => match control.upload(caller, unit, &upload).await {
            Ok(Standing::UnderWay) => done(control.abort_upload(caller, unit, &upload).await),
            Ok(_) => Told::NoSuchThing,
            Err(error) => refused(error),
        },
    }
}

/// How the door names a part: by its number and this. It says MD5 there, which is as unique here.
fn named(bytes: &Bytes) -> String {
    Sha256::of(bytes).to_string()[..32].to_owned()
}

/// Makes the parts the current state, as the door does: what was completed by an earlier attempt is told again.
async fn complete(
    control: &StateControl,
    caller: &Caller,
    unit: &UnitId,
    upload: &UploadId,
    wanted: &[(u16, String)],
    by: Signed,
) -> Result<Told, ControlError> {
    let words: Vec<String> = wanted
        .iter()
        .map(|(number, md5)| format!("{number}-{md5}"))
        .collect();
    let asked = Sha256::of(words.join(" ").as_bytes()).to_string();
    match control.upload(caller, unit, upload).await? {
        Standing::UnderWay => {}
        Standing::Completed(completed) if completed.parts == asked => return Ok(Told::Done),
        Standing::Completed(_) | Standing::Unknown => return Ok(Told::NoSuchThing),
    }
    match assembled(control, caller, unit, upload, wanted, (by, asked.clone())).await {
        Ok(Some(())) => Ok(Told::Done),
        // An earlier attempt of this request may have come to its end meanwhile, and its parts are gone.
        other => match control.upload(caller, unit, upload).await {
            Ok(Standing::Completed(completed)) if completed.parts == asked => Ok(Told::Done),
            _ => other.map(|_| Told::NoSuchThing),
        },
    }
}

/// Makes a write of the parts that are meant; none if one of them has not arrived.
async fn assembled(
    control: &StateControl,
    caller: &Caller,
    unit: &UnitId,
    upload: &UploadId,
    wanted: &[(u16, String)],
    (by, asked): (Signed, String),
) -> Result<Option<()>, ControlError> {
    let arrived = control.parts(caller, unit, upload).await?;
    let mut chosen = Vec::new();
    for (number, md5) in wanted {
        let found = arrived
            .iter()
            .find(|part| part.number == *number && part.md5 == *md5);
        let Some(found) = found else { return Ok(None) };
        chosen.push(found.clone());
    }
    let bytes = control.assemble(caller, unit, upload, &chosen).await?;
    let md5 = md5_base64(&bytes);
    let write = StateWrite {
        md5: Some(md5.clone()),
        ..StateWrite::new(bytes, Holding::Session(by), Door::S3)
    };
    let receipt = control.write_state(caller, unit, write).await?;
    let completed = Completed {
        version: receipt.version,
        md5,
        parts: asked,
    };
    // The state is safe; that nobody can be told of the upload again is no reason to take that back.
    let _noted = control.complete_upload(caller, unit, upload, &completed).await;
    Ok(Some(()))
}
