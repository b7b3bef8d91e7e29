//! A world in which nothing is drawn: a test says who asks what of which replica, and the checker judges it as it
//! judges every history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{Either, select};
use opentaco_control::StateControl;
use opentaco_domain::access::AllowAll;
use opentaco_domain::{LockId, UnitId};
use opentaco_storage::{Bucket, Retention, Surroundings, Vault};

use crate::bucket::{SimBucket, Weather};
use crate::executor::{Executor, Group, Instant, hold};
use crate::gate::{GatedDoor, Gatekeeper};
use crate::world::{Ask, History, Record, Told, perform};

/// One bucket, one unit, and a record of everything that was asked. Cheap to clone.
#[derive(Clone)]
pub struct Stage {
    executor: Executor,
    bucket: SimBucket,
    unit: UnitId,
    records: Arc<Mutex<Vec<Record>>>,
    by_hand: Arc<Mutex<Vec<(UnitId, Bytes, bool)>>>,
    open: Arc<Mutex<BTreeMap<String, oneshot::Sender<()>>>>,
}

/// One life of one replica.
#[derive(Clone)]
pub struct Replica {
    /// What crashes together.
    pub group: Group,
    /// What requests are asked of.
    pub control: StateControl,
    /// What lies below, for what no request asks for.
    pub vault: Vault,
}

impl Stage {
    /// An empty bucket in this world.
    #[must_use]
    pub fn new(executor: Executor) -> Self {
        Self {
            bucket: SimBucket::new(executor.clone(), Weather { faults: 0 }),
            executor,
            unit: UnitId::parse("app").expect("a plain id is an id"),
            records: Arc::default(),
            by_hand: Arc::default(),
            open: Arc::default(),
        }
    }

    /// The world's thread.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &SimBucket {
        &self.bucket
    }

    /// The one unit there is.
    #[must_use]
    pub fn unit(&self) -> &UnitId {
        &self.unit
    }

    /// Starts one life of a replica behind a gatekeeper.
    #[must_use]
    pub fn replica(
        &self,
        index: usize,
        life: u32,
        keeper: Arc<dyn Gatekeeper>,
        surroundings: Surroundings,
    ) -> Replica {
        let group = Group::Replica(index, life);
        let door = GatedDoor::new(self.bucket.door(group), group, self.executor.clone(), keeper);
        let vault = Vault::new(
            Bucket::new(Arc::new(door), "", surroundings),
            Retention::default(),
        );
        let control = StateControl::new(vault.clone(), Arc::new(AllowAll), "staged");
        Replica {
            group,
            control,
            vault,
        }
    }

    /// One request of a client to one replica. [`Told::Nothing`] if the replica dies, or [`Stage::give_up`] is said.
    pub async fn ask(&self, client: &str, replica: &Replica, ask: Ask) -> Told {
        self.ask_about(&self.unit, client, replica, ask).await
    }

    /// The same about another unit.
    pub async fn ask_about(&self, unit: &UnitId, client: &str, replica: &Replica, ask: Ask) -> Told {
        let from = self.executor.now();
        let (answer, answered) = oneshot::channel();
        let (patience, given_up) = oneshot::channel();
        hold(&self.open).insert(client.to_owned(), patience);
        let (control, who, about, what) = (
            replica.control.clone(),
            client.to_owned(),
            unit.clone(),
            ask.clone(),
        );
        self.executor.spawn(replica.group, async move {
            let told = perform(&control, &who, &about, what).await;
            let _ = answer.send(told);
        });
        let told = match select(answered, given_up).await {
            Either::Left((Ok(told), _)) => told,
            Either::Left((Err(_), _)) | Either::Right(_) => Told::Nothing,
        };
        hold(&self.open).remove(client);
        let Group::Replica(index, _) = replica.group else {
            unreachable!("replicas belong to their own groups")
        };
        let until = if told == Told::Nothing {
            Instant::MAX
        } else {
            self.executor.now()
        };
        let (client, unit) = (client.to_owned(), unit.clone());
        hold(&self.records).push(Record {
            client,
            replica: index,
            unit,
            ask,
            told: told.clone(),
            from,
            until,
        });
        told
    }

    /// Whoever waits for an answer now.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        hold(&self.open).keys().cloned().collect()
    }

    /// A client waits no longer; what it asked for goes on without it.
    pub fn give_up(&self, client: &str) {
        let patience = hold(&self.open).remove(client);
        if let Some(patience) = patience {
            let _ = patience.send(());
        }
    }

    /// How many requests were asked or answered so far.
    #[must_use]
    pub fn records(&self) -> usize {
        hold(&self.records).len()
    }

    /// Somebody puts the state copy directly.
    pub fn person_puts(&self, bytes: Bytes) {
        hold(&self.by_hand).push((self.unit.clone(), bytes.clone(), true));
        self.bucket.person_puts(&self.unit.state_key(), bytes);
    }

    /// What happened so far.
    #[must_use]
    pub fn history(&self) -> History {
        History {
            seed: 0,
            bucket: self.bucket.ledger(),
            records: hold(&self.records).clone(),
            units: vec![self.unit.clone()],
            by_hand: hold(&self.by_hand).clone(),
            retention: Retention::default(),
            ended: true,
            now: self.executor.now(),
        }
    }
}

/// A state with this serial; `by` tells contents apart.
#[must_use]
pub fn state(serial: u64, by: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"version":4,"serial":{serial},"lineage":"one","outputs":{{}},"by":"{by}"}}"#
    ))
}

/// A state with this serial and one output `x`.
#[must_use]
pub fn state_with_x(serial: u64, x: u64) -> Bytes {
    Bytes::from(format!(
        r#"{{"version":4,"serial":{serial},"lineage":"one","outputs":{{"x":{{"value":{x},"type":"number"}}}},"resources":[]}}"#
    ))
}

/// The graph as Terraform writes it, with an edge from `x` of the unit of the stage to another, or with none.
#[must_use]
pub fn graph_of(serial: u64, with_an_edge: bool) -> Bytes {
    let edge = r#"{"attributes":{"from_unit_id":"app","from_output":"x","to_unit_id":"web","to_input":"x"}}"#;
    let edge = if with_an_edge { edge } else { "" };
    Bytes::from(format!(
        r#"{{"version":4,"serial":{serial},"lineage":"graph","outputs":{{}},"resources":[{{"mode":"managed","type":"opentaco_dependency","name":"e","instances":[{edge}]}}]}}"#
    ))
}

/// A lock id as Terraform makes them; `n` tells them apart.
#[must_use]
pub fn lock_id(n: u8) -> LockId {
    LockId::parse(&format!("00000000-0000-4000-8000-{n:012}")).expect("a UUID is a lock id")
}
