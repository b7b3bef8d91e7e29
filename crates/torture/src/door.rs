//! Between the clients and the replicas: every request and its answer is a record, each goes to any replica, and
//! connections are cut, answers lost or slow, and requests delivered twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use opentaco_sim::executor::Instant;
use opentaco_sim::world::{Record, Told};

use crate::dice::Dice;
use crate::fate::{Fate, Fates};
use crate::hold;
use crate::http::{Answer, Body, Cut, Sender, handed_on, listen, serve};
use crate::told;

/// A header by which clients of ours say who they are, for the table of a history.
pub const CLIENT: &str = "x-torture-client";

/// The way to the replicas. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    sender: Sender,
    replicas: Vec<u16>,
    records: Mutex<Vec<Record>>,
    dice: Dice,
    fates: Fates,
    under_way: AtomicU64,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
}

/// Of a thousand requests, so many meet one of these.
const FAULTS_PER_MILLE: u64 = 20;
const FAULTS: &[Fate] = &[
    Fate::Slow,
    Fate::Lost,
    Fate::AnswerLost,
    Fate::AnswerLost,
    Fate::Twice,
];

impl Door {
    /// To replicas at these ports, in the time that `now` tells.
    #[must_use]
    pub fn new(replicas: Vec<u16>, dice: Dice, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                sender: Sender::default(),
                replicas,
                records: Mutex::default(),
                fates: Fates::new(dice.clone(), FAULTS_PER_MILLE, FAULTS),
                dice,
                under_way: AtomicU64::new(0),
                now: Box::new(now),
            }),
        }
    }

    /// Opens it, and says at which port.
    ///
    /// # Errors
    /// If loopback has no port.
    pub async fn open(&self) -> std::io::Result<u16> {
        let (listener, port) = listen().await?;
        let door = self.clone();
        serve(listener, move |request| {
            let door = door.clone();
            async move { door.handle(request).await }
        });
        Ok(port)
    }

    /// Whether things go wrong here.
    pub fn rough(&self, rough: bool) {
        self.inner.fates.rough(rough);
    }

    /// Whether nobody waits for an answer any more.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.inner.under_way.load(Ordering::SeqCst) == 0
    }

    /// How many requests went wrong here.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.inner.fates.met()
    }

    /// What was asked and answered so far, in the order of the answers.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        hold(&self.inner.records).clone()
    }

    async fn handle(&self, request: Request<Bytes>) -> Result<Response<Body>, Cut> {
        let fate = self.inner.fates.draw();
        if fate == Fate::Lost {
            return Err(Cut);
        }
        let door = self.clone();
        // What was sent is sent, and its answer is an answer, whether its client still waits or not.
        let answer = tokio::spawn(async move {
            door.inner.under_way.fetch_add(1, Ordering::SeqCst);
            if fate == Fate::Twice {
                door.pass(&request).await;
            }
            let answer = door.pass(&request).await;
            door.inner.under_way.fetch_sub(1, Ordering::SeqCst);
            answer
        });
        let answer = answer.await.ok().flatten().ok_or(Cut)?;
        match fate {
            Fate::AnswerLost => Err(Cut),
            _ => Ok(handed_on(answer, fate == Fate::Slow)),
        }
    }

    async fn pass(&self, request: &Request<Bytes>) -> Option<Answer> {
        let replica = usize::try_from(self.inner.dice.below(self.inner.replicas.len() as u64)).unwrap_or(0);
        let asked = told::asked(request);
        let from = (self.inner.now)();
        let answer = self
            .inner
            .sender
            .forward(self.inner.replicas[replica], request)
            .await;
        let Some((unit, ask)) = asked else { return answer };
        let told = answer
            .as_ref()
            .map_or(Told::Nothing, |answer| told::told(&ask, answer));
        let client = request.headers().get(CLIENT).and_then(|name| name.to_str().ok());
        let until = match told {
            Told::Nothing => Instant::MAX,
            _ => (self.inner.now)(),
        };
        hold(&self.inner.records).push(Record {
            client: client.unwrap_or("terraform").to_owned(),
            replica,
            unit,
            ask,
            told,
            from,
            until,
        });
        answer
    }
}
