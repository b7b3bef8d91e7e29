//! The checker, checked without the core: a history that keeps every promise is falsified in one place, and the promise
//! that it breaks now has to be noticed.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use opentaco_domain::{CredentialSession, Signed};
use opentaco_storage::Retention;
use serde_json::{Value, json};

use super::*;
use crate::executor::{Executor, Group};
use crate::gate::{Asked, Fate, Gatekeeper};
use crate::stage::{Replica, Stage, lock_id, state};
use crate::world::s3;

const POLLS_MAX: u64 = 100_000;
const HEAD: &str = "__opentaco_units/app/@head.json";
const COPY: &str = "app/terraform.tfstate";

/// Lets everything pass.
struct Open;

impl Gatekeeper for Open {
    fn arrives(&self, _: &Asked) -> BoxFuture<'static, Fate> {
        futures::future::ready(Fate::Passes).boxed()
    }

    fn passed(&self, _: &Asked) {}
}

/// A history, and the means to falsify it.
struct Forge {
    stage: Stage,
    replica: Replica,
    records: Vec<Record>,
    by_hand: Vec<Bytes>,
    ended: bool,
    retention: Retention,
}

impl Forge {
    /// Nothing has happened yet.
    fn new() -> Self {
        let stage = Stage::new(Executor::new(1));
        let surroundings = stage.executor().surroundings(Group::Replica(0, 0));
        let replica = stage.replica(0, 0, Arc::new(Open), surroundings);
        Self {
            stage,
            replica,
            records: Vec::new(),
            by_hand: Vec::new(),
            ended: true,
            retention: Retention::default(),
        }
    }

    /// Alice locks, writes twice, and unlocks; then all is quiet.
    fn written() -> Self {
        let mut forge = Self::locked();
        forge.ask("alice", Ask::Unlock(lock_id(1)));
        forge.ask(END, Ask::Read);
        forge
    }

    /// Alice has locked, and has written twice.
    fn locked() -> Self {
        let mut forge = Self::new();
        forge.ask("alice", Ask::Lock(lock_id(1)));
        for serial in [1, 2] {
            forge.ask("alice", under_lock(serial));
        }
        forge
    }

    /// A real request, answered by the real code.
    fn ask(&mut self, client: &'static str, ask: Ask) -> Told {
        let before = self.stage.history().records.len();
        let (stage, replica) = (self.stage.clone(), self.replica.clone());
        self.stage.executor().spawn(Group::Outside, async move {
            stage.ask(client, &replica, ask).await;
        });
        self.run();
        let asked = self.stage.history().records.split_off(before);
        let told = asked.last().unwrap().told.clone();
        self.records.extend(asked);
        told
    }

    fn run(&self) {
        assert!(self.stage.executor().run(POLLS_MAX), "it goes on and on");
        self.stage.executor().pass(Duration::from_secs(1));
    }

    /// An answer that nobody gave.
    fn claim(&mut self, ask: Ask, told: Told) {
        let now = self.stage.executor().now();
        self.records.push(Record {
            client: "mallory".to_owned(),
            replica: 0,
            unit: self.stage.unit().clone(),
            ask,
            told,
            from: now,
            until: now,
        });
        self.stage.executor().pass(Duration::from_secs(1));
    }

    /// That somebody has asked for this all the time, and is told now that it is done.
    fn claims_since_the_beginning(&mut self, client: &str, ask: Ask) {
        self.claim(ask, Told::Done);
        let record = self.records.last_mut().unwrap();
        record.client = client.to_owned();
        record.from = 0;
    }

    /// Another answer than the one that was given.
    fn retell(&mut self, ask: &Ask, told: Told) {
        let record = self.records.iter_mut().find(|record| record.ask == *ask);
        record.unwrap().told = told;
    }

    fn service_puts(&self, key: &str, bytes: Bytes) {
        let door = self.stage.bucket().door(Group::Replica(0, 0));
        let key = Path::parse(key).unwrap();
        self.stage.executor().spawn(Group::Outside, async move {
            door.put(&key, bytes.into()).await.unwrap();
        });
        self.run();
    }

    fn service_deletes(&self, key: &str) {
        let door = self.stage.bucket().door(Group::Replica(0, 0));
        let key = Path::parse(key).unwrap();
        self.stage.executor().spawn(Group::Outside, async move {
            door.delete(&key).await.unwrap();
        });
        self.run();
    }

    fn person_puts(&mut self, bytes: Bytes) {
        self.by_hand.push(bytes.clone());
        self.stage.bucket().person_puts(COPY, bytes);
        self.stage.executor().pass(Duration::from_secs(1));
    }

    fn head(&self) -> Value {
        serde_json::from_slice(&self.stage.bucket().person_gets(HEAD).unwrap()).unwrap()
    }

    /// The next head, with something changed.
    fn next_head(&self, change: impl FnOnce(&mut Value)) {
        let mut head = self.head();
        head["epoch"] = (head["epoch"].as_u64().unwrap() + 1).into();
        change(&mut head);
        self.service_puts(HEAD, Bytes::from(head.to_string()));
    }

    /// The next head, with a version that is like the current one but for its bytes and what is changed. Its object is
    /// there.
    fn commits(&self, bytes: &Bytes, change: impl FnOnce(&mut Value)) {
        self.commits_beside(bytes, change, |_| {});
    }

    /// The same, with something else of the head changed.
    fn commits_beside(
        &self,
        bytes: &Bytes,
        change: impl FnOnce(&mut Value),
        beside: impl FnOnce(&mut Value),
    ) {
        let before = self.head();
        let epoch = before["epoch"].as_u64().unwrap() + 1;
        let mut current = before["current"].clone();
        let sha256 = Sha256::of(bytes).to_string();
        let version = current["version"].as_str().unwrap().to_owned();
        let parts: Vec<&str> = version.split('-').collect();
        let version = format!("{epoch:016x}-{}-{}-{sha256}-{}", parts[1], parts[2], parts[4]);
        current["version"] = version.clone().into();
        current["sha256"] = sha256.clone().into();
        current["sent_sha256"] = sha256.into();
        current["size"] = bytes.len().into();
        change(&mut current);
        self.service_puts(&format!("__opentaco_versions/app/@/{version}"), bytes.clone());
        self.next_head(|head| {
            let old = std::mem::replace(&mut head["current"], current);
            head["recent"].as_array_mut().unwrap().insert(0, old);
            beside(head);
        });
    }

    /// The first version of a unit, written without a lock; its copy is still on its way.
    fn first_commits(&self, bytes: &Bytes) {
        let mut writer = Self::new();
        writer.ask("bob", without_lock(bytes));
        let current = writer.head()["current"].clone();
        let key = writer.key_of("/current/version");
        self.service_puts(&key, bytes.clone());
        self.next_head(|head| {
            head["current"] = current;
            head["created"] = "2026-01-01T00:00:00Z".into();
        });
    }

    /// A version that is said to have been put by a person.
    fn adopts(&self, bytes: &Bytes) {
        self.commits(bytes, |current| {
            current["how"] = "external".into();
            current["lock_id"] = Value::Null;
        });
    }

    /// The lock as it once was held.
    fn old_lock(&self) -> Value {
        let events = self.stage.bucket().events();
        let heads = events.iter().filter(|event| event.key == HEAD);
        let heads = heads.filter_map(|event| event.now.clone().flatten());
        let mut locks = heads.map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap()["lock"].clone());
        locks.find(|lock| !lock.is_null()).unwrap()
    }

    fn key_of(&self, version: &str) -> String {
        let version = self.head().pointer(version).unwrap().as_str().unwrap().to_owned();
        format!("__opentaco_versions/app/@/{version}")
    }

    fn history(&self) -> History {
        let unit = self.stage.unit();
        History {
            records: self.records.clone(),
            by_hand: self
                .by_hand
                .iter()
                .map(|bytes| (unit.clone(), bytes.clone(), true))
                .collect(),
            ended: self.ended,
            retention: self.retention,
            ..self.stage.history()
        }
    }

    fn broken(&self) -> BTreeSet<&'static str> {
        let violations = check(&self.history());
        violations
            .into_iter()
            .map(|violation| violation.invariant)
            .collect()
    }
}

/// Makes a tombstone of a head.
fn delete(head: &mut Value) {
    let old = head["current"].take();
    head["recent"].as_array_mut().unwrap().insert(0, old);
    head["deleted"] = json!({"at": "2026-01-01T00:00:00Z", "by": "alice", "version": null});
}

fn under_lock(serial: u64) -> Ask {
    Ask::Write {
        bytes: state(serial, "alice"),
        lock: Some(lock_id(1)),
    }
}

fn without_lock(bytes: &Bytes) -> Ask {
    Ask::Write {
        bytes: bytes.clone(),
        lock: None,
    }
}

/// A request of a session in its `second`.
fn signed(second: i64) -> Signed {
    Signed {
        session: CredentialSession::new("one"),
        at: Timestamp::from_second(1_790_000_000 + second).ok(),
        invocation: Some(format!("call in second {second}")),
    }
}

fn s3_put(serial: u64, second: i64) -> Ask {
    Ask::S3(s3::Ask::Put {
        bytes: state(serial, "alice"),
        by: signed(second),
    })
}

/// Alice, an S3 client, has locked and written.
fn locked_by_file() -> Forge {
    let mut forge = Forge::new();
    let lock = s3::Ask::Lock {
        id: lock_id(1),
        by: signed(1),
    };
    assert_eq!(forge.ask("alice", Ask::S3(lock)), Told::Done);
    assert_eq!(forge.ask("alice", s3_put(1, 2)), Told::Done);
    forge
}

/// A history that is falsified: the invariant that notices it, what is wrong with it, and how it is made.
type Forgery = (&'static str, &'static str, fn() -> Forge);

const FORGERIES: &[Forgery] = &[
    ("one-chain", "a head has the epoch of the one before it", || {
        let forge = Forge::written();
        forge.next_head(|head| head["epoch"] = (head["epoch"].as_u64().unwrap() - 1).into());
        forge
    }),
    ("one-chain", "the head is deleted", || {
        let forge = Forge::written();
        forge.service_deletes(HEAD);
        forge
    }),
    (
        "no-stale-commit",
        "a write is committed under a lock that was released",
        || {
            let forge = Forge::written();
            forge.commits(&state(3, "alice"), |_| {});
            forge
        },
    ),
    ("no-stale-commit", "a commit releases the lock", || {
        let forge = Forge::locked();
        forge.commits_beside(
            &state(3, "alice"),
            |_| {},
            |head| {
                let id = head["lock"]["id"].clone();
                head["released"].as_array_mut().unwrap().insert(0, id);
                head["lock"] = Value::Null;
            },
        );
        forge
    }),
    ("one-lock", "a lock is taken again after it was released", || {
        let forge = Forge::written();
        let lock = forge.old_lock();
        forge.next_head(|head| head["lock"] = lock);
        forge
    }),
    ("one-lock", "a lock ends and may be taken again", || {
        let forge = Forge::locked();
        forge.next_head(|head| head["lock"] = Value::Null);
        forge
    }),
    ("one-lock", "a lock becomes somebody else's", || {
        let forge = Forge::locked();
        forge.next_head(|head| head["lock"]["principal"] = "mallory".into());
        forge
    }),
    ("nothing-unasked", "a lock is taken that nobody asked for", || {
        let forge = Forge::written();
        let mut lock = forge.old_lock();
        lock["id"] = lock_id(7).as_str().into();
        forge.next_head(|head| head["lock"] = lock);
        forge
    }),
    ("nothing-unasked", "a lock ends by itself", || {
        let forge = Forge::locked();
        forge.next_head(|head| {
            let id = head["lock"]["id"].clone();
            head["released"].as_array_mut().unwrap().insert(0, id);
            head["lock"] = Value::Null;
        });
        forge
    }),
    ("nothing-unasked", "a write is committed that nobody sent", || {
        let forge = Forge::locked();
        forge.commits(&state(3, "alice"), |_| {});
        forge
    }),
    (
        "nothing-unasked",
        "a unit is deleted that nobody asked to delete",
        || {
            let forge = Forge::written();
            forge.next_head(delete);
            forge
        },
    ),
    (
        "answers-fit",
        "a lock is refused for a holder who never was",
        || {
            let mut forge = Forge::written();
            forge.claim(Ask::Lock(lock_id(8)), Told::Locked(lock_id(9)));
            forge
        },
    ),
    (
        "answers-fit",
        "an unlock succeeds while somebody else holds the unit",
        || {
            let mut forge = Forge::locked();
            forge.claim(Ask::Unlock(lock_id(9)), Told::Done);
            forge
        },
    ),
    (
        "answers-fit",
        "a read is answered with what was current before it",
        || {
            let mut forge = Forge::written();
            forge.claim(Ask::Read, Told::State(state(1, "alice")));
            forge
        },
    ),
    (
        "answers-fit",
        "a restore is acknowledged, and did nothing",
        || {
            let mut forge = Forge::written();
            let version = forge.head()["recent"][0]["version"].as_str().unwrap().parse();
            forge.claim(Ask::Restore(version.unwrap()), Told::Done);
            forge
        },
    ),
    (
        "answers-fit",
        "a deletion is refused for a holder who never was",
        || {
            let mut forge = Forge::written();
            forge.claim(Ask::Delete, Told::Locked(lock_id(1)));
            forge
        },
    ),
    (
        "answers-fit",
        "a unit that is there is not there to be deleted",
        || {
            let mut forge = Forge::written();
            forge.claim(Ask::Delete, Told::NoSuchThing);
            forge
        },
    ),
    ("answers-fit", "a read is refused", || {
        let mut forge = Forge::written();
        forge.claim(Ask::Read, Told::Refused(None));
        forge
    }),
    ("never-empty", "an older unit reads as empty", || {
        let mut forge = Forge::new();
        forge.person_puts(state(7, "old"));
        forge.claim(Ask::Read, Told::NoState);
        forge
    }),
    (
        "never-empty",
        "what was refused once is put again beside a deletion, and is not seen",
        || {
            let mut forge = thrown_out_and_deleted();
            forge.person_puts(state(9, "hand"));
            forge.claim(Ask::Read, Told::NoState);
            forge
        },
    ),
    ("durable", "the bytes of a version are deleted", || {
        let forge = Forge::written();
        forge.service_deletes(&forge.key_of("/recent/0/version"));
        forge
    }),
    (
        "durable",
        "the bytes of a version are deleted, and put back",
        || {
            let forge = Forge::written();
            let key = forge.key_of("/recent/0/version");
            forge.service_deletes(&key);
            forge.service_puts(&key, state(1, "alice"));
            forge
        },
    ),
    (
        "durable",
        "a version leaves the history though there are few",
        || {
            let forge = Forge::written();
            forge.next_head(|head| head["recent"] = json!([]));
            forge
        },
    ),
    (
        "durable",
        "a version leaves the history that the copy may hold",
        || {
            let mut forge = Forge::written();
            forge.retention = Retention {
                versions_max: 1,
                versions_min_age: Duration::ZERO,
                collect_every: 1,
            };
            forge.next_head(|head| head["copy"] = Value::Null);
            forge.next_head(|head| head["recent"] = json!([]));
            forge
        },
    ),
    (
        "durable",
        "a version is committed before its bytes are there",
        || {
            let forge = Forge::locked();
            let bytes = state(3, "alice");
            forge.commits(&bytes, |current| {
                let version = current["version"].as_str().unwrap().to_owned();
                let (name, _) = version.rsplit_once('-').unwrap();
                current["version"] = format!("{name}-00000000").into();
            });
            forge.service_puts(&forge.key_of("/current/version"), bytes);
            forge
        },
    ),
    (
        "durable",
        "a write is acknowledged that was never committed",
        || {
            let mut forge = Forge::written();
            forge.claim(without_lock(&state(3, "bob")), Told::Done);
            forge
        },
    ),
    (
        "durable",
        "what is current cannot be read in fair weather",
        || {
            let mut forge = Forge::written();
            forge.retell(&Ask::Read, Told::Unavailable);
            forge
        },
    ),
    ("refused-is-kept", "a write is refused, and kept nowhere", || {
        let mut forge = Forge::locked();
        forge.claim(
            without_lock(&state(3, "bob")),
            Told::Refused(Some("nowhere".to_owned())),
        );
        forge
    }),
    ("refused-is-kept", "what was kept is deleted", || {
        let mut forge = Forge::locked();
        let told = forge.ask("bob", without_lock(&state(3, "bob")));
        let Told::Refused(Some(id)) = told else {
            panic!("{told:?}")
        };
        forge.service_deletes(&format!("__opentaco_rejected/app/@/{id}"));
        forge
    }),
    (
        "refused-has-no-effect",
        "a write under a lock is refused, and current",
        || {
            let mut forge = Forge::written();
            forge.retell(&under_lock(2), Told::Refused(None));
            forge
        },
    ),
    (
        "refused-has-no-effect",
        "a write without a lock is refused, and current",
        || {
            let mut forge = Forge::new();
            let write = without_lock(&state(1, "bob"));
            forge.ask("bob", write.clone());
            forge.retell(&write, Told::Refused(None));
            forge
        },
    ),
    ("refused-has-no-effect", "a lock is refused, and taken", || {
        let mut forge = Forge::locked();
        forge.retell(&Ask::Lock(lock_id(1)), Told::Locked(lock_id(2)));
        forge
    }),
    ("refused-has-no-effect", "one request is committed twice", || {
        let mut forge = Forge::new();
        let bytes = state(1, "bob");
        forge.ask("bob", without_lock(&bytes));
        forge.commits(&bytes, |_| {});
        forge
    }),
    (
        "copy-is-current",
        "a write is acknowledged before its copy is there",
        || {
            let mut forge = Forge::locked();
            forge.commits(&state(3, "alice"), |_| {});
            forge.claim(under_lock(3), Told::Done);
            forge
        },
    ),
    (
        "copy-is-current",
        "a person's copy is in the way of an acknowledged write",
        || {
            let mut forge = Forge::locked();
            forge.person_puts(state(9, "hand"));
            forge.commits(&state(3, "alice"), |_| {});
            forge.claim(under_lock(3), Told::Done);
            forge
        },
    ),
    (
        "copy-is-current",
        "a deletion is acknowledged before its copy is empty",
        || {
            let mut forge = Forge::written();
            forge.next_head(delete);
            forge.claim(Ask::Delete, Told::Done);
            forge
        },
    ),
    (
        "copy-never-goes-back",
        "an older version is put over a newer one",
        || {
            let forge = Forge::written();
            forge.service_puts(COPY, state(1, "alice"));
            forge
        },
    ),
    (
        "copy-never-goes-back",
        "a deleted state lands where there was no copy when its deletion was answered",
        || {
            let mut forge = Forge::new();
            forge.ask("alice", Ask::Lock(lock_id(1)));
            forge.ask("alice", Ask::Unlock(lock_id(1)));
            let bytes = state(1, "bob");
            forge.first_commits(&bytes);
            forge.next_head(delete);
            forge.claim(Ask::Delete, Told::Done);
            forge.service_puts(COPY, bytes);
            forge
        },
    ),
    ("copy-never-goes-back", "the copy is deleted", || {
        let forge = Forge::written();
        forge.service_deletes(COPY);
        forge
    }),
    (
        "copy-holds-versions",
        "the service puts what no head has named",
        || {
            let forge = Forge::written();
            forge.service_puts(COPY, state(3, "nobody"));
            forge
        },
    ),
    (
        "copies-converge",
        "the copy holds an older version when all is over",
        || {
            let forge = Forge::written();
            forge.service_puts(COPY, state(1, "alice"));
            forge
        },
    ),
    ("no-strangers", "what nobody put by hand is adopted", || {
        let forge = Forge::written();
        forge.adopts(&state(3, "nobody"));
        forge
    }),
    (
        "no-strangers",
        "what the service has put is adopted, though a person had put the same before",
        || {
            let mut forge = Forge::written();
            forge.person_puts(state(2, "alice"));
            forge.service_puts(COPY, state(2, "alice"));
            forge.adopts(&state(2, "alice"));
            forge
        },
    ),
    (
        "adopted-as-it-stands",
        "what a person put is adopted after it was overwritten",
        || {
            let mut forge = Forge::written();
            let bytes = state(9, "hand");
            forge.person_puts(bytes.clone());
            forge.service_puts(COPY, state(2, "alice"));
            forge.adopts(&bytes);
            forge
        },
    ),
    (
        "adopted-in-place",
        "the first head does not name the state of an older unit",
        || {
            let forge = Forge::new();
            forge.stage.bucket().person_puts(COPY, state(7, "old"));
            let head = json!({"format": 1, "epoch": 1, "nonce": "", "lock": null, "current": null, "copy": null,
            "created": null, "deleted": null});
            forge.service_puts(HEAD, Bytes::from(head.to_string()));
            forge
        },
    ),
    (
        "adopted-in-place",
        "the first head does not name the lock of an older unit",
        || {
            let forge = Forge::new();
            let file = format!(r#"{{"ID":"{}"}}"#, lock_id(3));
            forge
                .stage
                .bucket()
                .person_puts(&format!("{COPY}.lock"), Bytes::from(file));
            let head = json!({"format": 1, "epoch": 1, "nonce": "", "lock": null, "current": null, "copy": null,
            "created": null, "deleted": null});
            forge.service_puts(HEAD, Bytes::from(head.to_string()));
            forge
        },
    ),
    ("judged-once", "what was judged to be refused is adopted", || {
        let mut forge = Forge::written();
        let bytes = state(9, "hand");
        forge.person_puts(bytes.clone());
        forge.next_head(|head| head["copy"] = json!({"version": null, "etag": "\"77\""}));
        forge.adopts(&bytes);
        forge
    }),
    (
        "hand-written-is-not-lost",
        "what a person put is overwritten, and nowhere",
        || {
            let mut forge = Forge::written();
            forge.person_puts(state(9, "hand"));
            forge.service_puts(COPY, state(2, "alice"));
            forge
        },
    ),
    (
        "hand-written-is-not-lost",
        "what a person put is overwritten before it is kept",
        || {
            let mut forge = Forge::written();
            let bytes = state(9, "hand");
            forge.person_puts(bytes.clone());
            forge.service_puts(COPY, state(2, "alice"));
            forge.service_puts("__opentaco_rejected/app/@/late", bytes);
            forge
        },
    ),
    (
        "hands-are-honoured",
        "what a person put is refused for a holder who never wrote",
        || {
            let forge = Forge::written();
            forge.next_head(|head| head["copy"] = json!({"version": null, "etag": "\"77\""}));
            forge
        },
    ),
    (
        "hands-are-honoured",
        "an old version is taken for a lagging copy, and was put back by hand",
        || {
            let mut forge = Forge::written();
            forge.person_puts(state(1, "alice"));
            forge.next_head(|head| {
                let old = head["recent"][0]["version"].clone();
                head["copy"] = json!({"version": old, "etag": "\"77\""});
            });
            forge
        },
    ),
    (
        "hands-are-honoured",
        "what a person put when all was quiet is not read",
        || {
            let mut forge = Forge::written();
            forge.person_puts(state(9, "hand"));
            forge.claim(Ask::Read, Told::State(state(2, "alice")));
            forge.records.last_mut().unwrap().client = EPILOGUE.to_owned();
            forge
        },
    ),
    (
        "late-stays-late",
        "an older write of a lock follows a newer one",
        || {
            let forge = Forge::locked();
            forge.commits(&state(1, "late"), |current| current["sent_serial"] = 1.into());
            forge
        },
    ),
    (
        "no-stale-session",
        "a session writes after its lock was broken",
        || {
            let mut forge = locked_by_file();
            assert_eq!(forge.ask("bob", Ask::ForceUnlock), Told::Done);
            forge.commits(&state(2, "alice"), |current| current["lock_id"] = Value::Null);
            forge.claims_since_the_beginning("alice", s3_put(2, 9));
            forge
        },
    ),
    (
        "no-stale-session",
        "what was signed before a lock was given back is written after it",
        || {
            let mut forge = locked_by_file();
            assert_eq!(
                forge.ask("alice", Ask::S3(s3::Ask::Unlock(signed(5)))),
                Told::Done
            );
            forge.commits(&state(2, "alice"), |current| current["lock_id"] = Value::Null);
            forge.claims_since_the_beginning("alice", s3_put(2, 4));
            forge
        },
    ),
    (
        "retry-breaks-nothing",
        "the retry of a removal breaks another lock",
        || {
            let mut forge = locked_by_file();
            let removal = Ask::S3(s3::Ask::Unlock(signed(5)));
            assert_eq!(forge.ask("alice", removal.clone()), Told::Done);
            assert_eq!(forge.ask("bob", Ask::Lock(lock_id(2))), Told::Done);
            forge.next_head(|head| {
                let id = head["lock"]["id"].clone();
                head["released"].as_array_mut().unwrap().insert(0, id);
                head["lock"] = Value::Null;
            });
            forge.claims_since_the_beginning("alice", removal);
            forge
        },
    ),
    (
        "upload-is-its-parts",
        "an upload is said to be complete, and is not what is written",
        || {
            let mut forge = locked_by_file();
            let complete = s3::Ask::Complete {
                upload: "0123456789abcdef0123456789abcdef".parse().unwrap(),
                parts: vec![(1, state(2, "al")), (2, state(2, "ice"))],
                by: signed(3),
            };
            forge.claim(Ask::S3(complete), Told::Done);
            forge
        },
    ),
    ("it-ends", "a history does not end", || {
        let mut forge = Forge::written();
        forge.ended = false;
        forge
    }),
];

/// What a person put beside a holder's work was refused; then the unit was deleted.
fn thrown_out_and_deleted() -> Forge {
    let mut forge = Forge::locked();
    forge.person_puts(state(9, "hand"));
    assert_eq!(forge.ask("bob", Ask::Read), Told::State(state(2, "alice")));
    forge.ask("alice", Ask::Unlock(lock_id(1)));
    assert_eq!(forge.ask("alice", Ask::Delete), Told::Done);
    forge
}

#[test]
fn what_is_not_falsified_breaks_nothing() {
    for (what, forge) in [
        ("written", Forge::written()),
        ("locked", Forge::locked()),
        ("locked by file", locked_by_file()),
        ("refused by hand, and deleted", thrown_out_and_deleted()),
    ] {
        assert_eq!(check(&forge.history()), [], "{what}");
    }
}

#[test]
fn each_falsified_history_breaks_the_promise_that_it_is_about() {
    let mut unnoticed = Vec::new();
    for (invariant, what, forge) in FORGERIES {
        let broken = forge().broken();
        if !broken.contains(invariant) {
            unnoticed.push(format!("{invariant}: {what}: only {broken:?}"));
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

#[test]
fn every_promise_can_be_broken() {
    let falsified: BTreeSet<&str> = FORGERIES.iter().map(|(invariant, ..)| *invariant).collect();
    let checked: BTreeSet<&str> = INVARIANTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(falsified, checked);
}
