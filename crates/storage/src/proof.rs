//! The proof, made at start and by `opentacosvc doctor`, that a store keeps its word.
//!
//! All safety rests on one thing: of several writers that change one object under a condition, one wins, and the others
//! are told. A store that only pretends would let two people hold one lock and lose a state without a word. So it is
//! asked, with writers that race, on objects of its own that are removed afterwards.
//!
//! A proof by trying can show that a store lies, and not that it never will; stores that lose races have been found by
//! a handful of writers at once.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, join_all, select};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{Attribute, Error, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};

use crate::store::Store;
use crate::surroundings::Surroundings;

mod single_replica;

pub use single_replica::SingleReplica;

/// How many writers race for one object.
const RACERS: usize = 8;
/// How many objects they race for.
const RACES: usize = 2;
/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of a store, in the order in which it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Property {
    /// Something can be written.
    Writable,
    /// What was written is read byte for byte.
    ReadsBack,
    /// A put and a get name the same ETag.
    EtagsAgree,
    /// Other bytes have another ETag.
    EtagsChange,
    /// A create of what exists is refused.
    RefusesExisting,
    /// Of racing creates, one wins.
    OneCreateWins,
    /// An update of what is there succeeds.
    AcceptsCurrent,
    /// An update of what was there before is refused.
    RefusesStale,
    /// Of racing updates, one wins.
    OneUpdateWins,
    /// A listing shows what was just written.
    ListsAtOnce,
    /// Metadata comes back.
    KeepsMetadata,
    /// What is deleted is gone.
    Deletes,
}

/// How much hangs on a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Nothing works without it.
    Foundation,
    /// Compare-and-swap. A process that writes alone can do without ([`SingleReplica`]).
    Swap,
    /// Something is missing without it, but no state is in danger.
    Comfort,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Writable,
        Self::ReadsBack,
        Self::EtagsAgree,
        Self::EtagsChange,
        Self::RefusesExisting,
        Self::OneCreateWins,
        Self::AcceptsCurrent,
        Self::RefusesStale,
        Self::OneUpdateWins,
        Self::ListsAtOnce,
        Self::KeepsMetadata,
        Self::Deletes,
    ];

    /// What is promised, in a few words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Writable => "can be reached and written to",
            Self::ReadsBack => "reads back what was written, byte for byte",
            Self::EtagsAgree => "names the same ETag in a put and in a get",
            Self::EtagsChange => "gives other bytes another ETag",
            Self::RefusesExisting => "refuses to create what exists (If-None-Match: *)",
            Self::OneCreateWins => "lets one of several racing creates win",
            Self::AcceptsCurrent => "accepts an update of what is there (If-Match)",
            Self::RefusesStale => "refuses an update of what was there before (If-Match)",
            Self::OneUpdateWins => "lets one of several racing updates win",
            Self::ListsAtOnce => "lists what was just written",
            Self::KeepsMetadata => "keeps the metadata of an object",
            Self::Deletes => "deletes",
        }
    }

    /// What goes wrong without it, in one sentence.
    #[must_use]
    pub fn matters(self) -> &'static str {
        match self {
            Self::Writable => "Without it no state can be kept.",
            Self::ReadsBack => "A state that comes back changed makes Terraform plan what nobody asked for.",
            Self::EtagsAgree => "What was read could not be compared with what is there when it is changed.",
            Self::EtagsChange => "A change by somebody else would go unnoticed and be overwritten.",
            Self::RefusesExisting => "Two first writes of a unit would both succeed, and one would be lost.",
            Self::OneCreateWins => {
                "Two clients that touch a new unit at once would both believe they hold its lock."
            }
            Self::AcceptsCurrent => "No lock could be taken and no state committed.",
            Self::RefusesStale => "Somebody who lost the lock could still overwrite the state.",
            Self::OneUpdateWins => "Two clients that lock a unit at once would both believe they hold it.",
            Self::ListsAtOnce => "New units would be missing from listings for a while.",
            Self::KeepsMetadata => "Who wrote a version, and why a write was refused, would be forgotten.",
            Self::Deletes => {
                "Released locks would still be shown in the bucket, and old versions would pile up."
            }
        }
    }

    /// How much hangs on it.
    #[must_use]
    pub fn weight(self) -> Weight {
        match self {
            Self::Writable | Self::ReadsBack | Self::EtagsAgree | Self::EtagsChange => Weight::Foundation,
            Self::RefusesExisting
            | Self::OneCreateWins
            | Self::AcceptsCurrent
            | Self::RefusesStale
            | Self::OneUpdateWins => Weight::Swap,
            Self::ListsAtOnce | Self::KeepsMetadata | Self::Deletes => Weight::Comfort,
        }
    }
}

/// What was found out about one property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It held when it was tried.
    Honoured,
    /// It did not.
    Broken {
        /// What was seen instead.
        seen: String,
    },
    /// It could not be tried.
    Unknown {
        /// Why not.
        error: String,
    },
}

/// What was found out about a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which store it is.
    pub store: String,
    /// One for each of [`Property::ALL`], in that order.
    pub outcomes: Vec<(Property, Outcome)>,
}

impl Verdict {
    /// Whether any number of replicas may serve from this store: everything that safety hangs on was honoured.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.all(&[Weight::Foundation, Weight::Swap], |outcome| {
            *outcome == Outcome::Honoured
        })
    }

    /// Whether one process that writes alone may serve from it, through [`SingleReplica`]: it is sound but for a
    /// condition that was seen to be broken.
    #[must_use]
    pub fn sole_replica_only(&self) -> bool {
        let sound = self.all(&[Weight::Foundation], |outcome| *outcome == Outcome::Honoured);
        sound
            && !self.all(&[Weight::Swap], |outcome| {
                !matches!(outcome, Outcome::Broken { .. })
            })
    }

    /// Whether nothing speaks against the store but that something could not be tried: its address, its rights or the
    /// network are at fault.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let vital = [Weight::Foundation, Weight::Swap];
        !self.is_safe() && self.all(&vital, |outcome| !matches!(outcome, Outcome::Broken { .. }))
    }

    /// What was found out about one property.
    #[must_use]
    pub fn outcome(&self, property: Property) -> &Outcome {
        let found = self.outcomes.iter().find(|(known, _)| *known == property);
        &found.expect("a verdict has an outcome for every property").1
    }

    fn all(&self, weights: &[Weight], holds: impl Fn(&Outcome) -> bool) -> bool {
        self.outcomes
            .iter()
            .filter(|(property, _)| weights.contains(&property.weight()))
            .all(|(_, o)| holds(o))
    }
}

/// A line for each property; below what is not honoured, why it matters.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.store)?;
        for (property, outcome) in &self.outcomes {
            let (word, reason) = match outcome {
                Outcome::Honoured => ("yes", None),
                Outcome::Broken { seen } => ("NO", Some(seen)),
                Outcome::Unknown { error } => ("?", Some(error)),
            };
            write!(f, "\n  {word:<3} {}", property.name())?;
            if let Some(reason) = reason {
                write!(f, ": {reason}\n      {}", property.matters())?;
            }
        }
        Ok(())
    }
}

/// Tries every property on a few objects below `<prefix>/__opentaco_probe/`, and removes them again.
///
/// Some forty requests, eight in a row; each is waited for ten seconds at most. What cannot be tried is in the verdict.
pub async fn prove(store: &Arc<dyn Store>, prefix: Option<&str>, surroundings: &Surroundings) -> Verdict {
    let prefix = prefix.unwrap_or_default().trim_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    let place = format!(
        "{prefix}{slash}__opentaco_probe/{:016x}/",
        surroundings.entropy.draw()
    );
    let probe = Probe {
        store: store.as_ref(),
        surroundings,
        place,
    };
    let mut findings = Findings::default();
    match probe.all_keys() {
        Ok(keys) => {
            if let Some(written) = probe.foundation(&keys.main, &mut findings).await {
                let races = async { futures::join!(probe.race(&keys.races[0]), probe.race(&keys.races[1])) };
                let ((), (one, two)) =
                    futures::join!(probe.conditions(&keys.main, written, &mut findings), races);
                findings.note(Property::OneCreateWins, worse(one.0, two.0));
                findings.note(Property::OneUpdateWins, worse(one.1, two.1));
            }
            probe.clean_up(&keys, &mut findings).await;
        }
        Err(error) => findings.note(Property::Writable, unknown(&error.into())),
    }
    findings.verdict(store.to_string())
}

/// The place where a store is tried.
struct Probe<'s> {
    store: &'s dyn Store,
    surroundings: &'s Surroundings,
    place: String,
}

struct Keys {
    main: Path,
    races: [Path; RACES],
}

#[derive(Default)]
struct Findings(Vec<(Property, Outcome)>);

impl Findings {
    fn note(&mut self, property: Property, outcome: Outcome) {
        self.0.push((property, outcome));
    }

    /// Every property in its order; what was not come to is unknown.
    fn verdict(self, store: String) -> Verdict {
        let outcome = |property| {
            let found = self
                .0
                .iter()
                .find(|(known, _)| *known == property)
                .map(|(_, outcome)| outcome.clone());
            found.unwrap_or_else(|| Outcome::Unknown {
                error: "not tried, for what was found above".to_owned(),
            })
        };
        Verdict {
            store,
            outcomes: Property::ALL.into_iter().map(|p| (p, outcome(p))).collect(),
        }
    }
}

impl Probe<'_> {
    fn all_keys(&self) -> Result<Keys, object_store::path::Error> {
        let key = |name: &str| Path::parse(format!("{}{name}", self.place));
        Ok(Keys {
            main: key("object")?,
            races: [key("race-1")?, key("race-2")?],
        })
    }

    /// Writes an object and reads it; answers with it if it can be gone on with.
    async fn foundation(&self, key: &Path, findings: &mut Findings) -> Option<PutResult> {
        let body = Bytes::from((0..=u8::MAX).collect::<Vec<_>>());
        let who = Attribute::Metadata("who".into());
        let attributes = [(who.clone(), "opentaco%20probe")].into_iter().collect();
        let options = PutOptions {
            attributes,
            ..PutOptions::default()
        };
        let written = match self
            .ask(self.store.put_opts(key, body.clone().into(), options))
            .await
        {
            Ok(written) => written,
            Err(error) => {
                findings.note(Property::Writable, unknown(&error));
                return None;
            }
        };
        findings.note(Property::Writable, Outcome::Honoured);

        let read = self.ask(async {
            let got = self.store.get(key).await?;
            let (etag, kept) = (
                got.meta.e_tag.clone(),
                got.attributes.get(&who).map(|v| v.as_ref().to_owned()),
            );
            Ok((etag, kept, got.bytes().await?))
        });
        let (etag, kept, bytes) = match read.await {
            Ok(read) => read,
            Err(error @ Error::NotFound { .. }) => {
                findings.note(
                    Property::ReadsBack,
                    broken(format!("what was just written is not there: {error}")),
                );
                return None;
            }
            Err(error) => {
                findings.note(Property::ReadsBack, unknown(&error));
                return None;
            }
        };
        let whole = honoured_if(bytes == body, || {
            format!("{} other bytes came back for 256", bytes.len())
        });
        findings.note(Property::ReadsBack, whole);
        let agree = written.e_tag.is_some() && etag == written.e_tag;
        let etags = || {
            format!(
                "the put answered {}, the get {}",
                shown(&written.e_tag),
                shown(&etag)
            )
        };
        findings.note(Property::EtagsAgree, honoured_if(agree, etags));
        let metadata = || format!("`who` came back as {}", shown(&kept));
        findings.note(
            Property::KeepsMetadata,
            honoured_if(kept.as_deref() == Some("opentaco%20probe"), metadata),
        );
        written.e_tag.is_some().then_some(written)
    }

    /// Tries each condition by itself, where nobody races.
    async fn conditions(&self, key: &Path, written: PutResult, findings: &mut Findings) {
        let (create, listing) = futures::join!(self.create(key, numbered(1)), self.is_listed(key));
        findings.note(Property::ListsAtOnce, listing);
        let first = match &create {
            Ok(created) => created.clone(),
            Err(_) => written,
        };
        findings.note(Property::RefusesExisting, refusal("a second create", &create));

        let second = match self.update(key, numbered(2), &first).await {
            Ok(second) => {
                findings.note(Property::AcceptsCurrent, Outcome::Honoured);
                second
            }
            Err(error) => {
                let speaks_against_it = is_refusal(&error) || is_unsupported(&error);
                let refused = || broken(format!("the update was refused: {error}"));
                let outcome = if speaks_against_it {
                    refused()
                } else {
                    unknown(&error)
                };
                findings.note(Property::AcceptsCurrent, outcome);
                let Ok(second) = self.ask(self.store.put(key, numbered(2).into())).await else {
                    return;
                };
                second
            }
        };
        let same = || format!("both times {}", shown(&second.e_tag));
        findings.note(
            Property::EtagsChange,
            honoured_if(second.e_tag != first.e_tag, same),
        );
        let stale = self.update(key, numbered(3), &first).await;
        findings.note(
            Property::RefusesStale,
            refusal("an update of the ETag before", &stale),
        );
    }

    /// Races for an object that is not there, and then for the one that is.
    async fn race(&self, key: &Path) -> (Outcome, Outcome) {
        let creates = join_all((0..RACERS).map(|n| self.create(key, numbered(n)))).await;
        let (created, present) = self.decided(key, &creates).await;
        let Some(present) = present else {
            return (
                created,
                Outcome::Unknown {
                    error: "there was nothing to update".to_owned(),
                },
            );
        };
        let updates = join_all((0..RACERS).map(|n| self.update(key, numbered(RACERS + n), &present))).await;
        // The bodies are numbered on, so that the bytes that are there afterwards tell which race they come from.
        let answers: Vec<_> = creates.into_iter().map(|_| Err(lost())).chain(updates).collect();
        (created, self.decided(key, &answers).await.0)
    }

    /// Whether one of the racers won and what is there afterwards is theirs; and what is there. Racer `n` wrote
    /// `numbered(n)`.
    async fn decided(&self, key: &Path, answers: &[Answer]) -> (Outcome, Option<PutResult>) {
        let winners: Vec<_> = (0..answers.len()).filter(|n| answers[*n].is_ok()).collect();
        let trouble = answers
            .iter()
            .filter_map(|answer| answer.as_ref().err())
            .find(|error| !is_refusal(error));
        let read = self.ask(async {
            let got = self.store.get(key).await?;
            let seen = PutResult {
                e_tag: got.meta.e_tag.clone(),
                version: got.meta.version.clone(),
                extensions: http::Extensions::default(),
            };
            Ok((seen, got.bytes().await?))
        });
        let (seen, bytes) = match read.await {
            Ok((seen, bytes)) => (Some(seen), Some(bytes)),
            Err(Error::NotFound { .. }) => (None, None),
            Err(error) if winners.len() < 2 => return (unknown(&error), None),
            Err(_) => (None, None),
        };
        let outcome = match (winners.as_slice(), trouble) {
            ([winner], _) if bytes.as_ref() == Some(&numbered(*winner)) => Outcome::Honoured,
            ([_], _) => broken("one writer won, but what is there afterwards is not its bytes".to_owned()),
            ([], Some(error)) if is_unsupported(error) => {
                broken(format!("the store has no such condition: {error}"))
            }
            ([], Some(error)) => unknown(error),
            ([], None) => broken(format!("all {RACERS} writers were refused")),
            (several, _) => broken(format!(
                "{} of {RACERS} writers at once were told that they had won",
                several.len()
            )),
        };
        (outcome, seen)
    }

    async fn is_listed(&self, key: &Path) -> Outcome {
        let listing = self
            .ask(
                self.store
                    .list_paginated(Some(&self.place), PaginatedListOptions::default()),
            )
            .await;
        match listing {
            Ok(page) => honoured_if(
                page.result.objects.iter().any(|meta| meta.location == *key),
                || format!("`{key}` is not in the listing of `{}`", self.place),
            ),
            Err(error) => unknown(&error),
        }
    }

    /// Removes what was written here, as far as it can be. Whatever was found before stands.
    async fn clean_up(&self, keys: &Keys, findings: &mut Findings) {
        let all = [&keys.main, &keys.races[0], &keys.races[1]];
        let deleted = join_all(all.map(|key| self.ask(self.store.delete(key)))).await;
        let failed = deleted
            .into_iter()
            .filter_map(Result::err)
            .find(|e| !matches!(e, Error::NotFound { .. }));
        let outcome = match failed {
            Some(error) => unknown(&error),
            None => match self.ask(self.store.head(&keys.main)).await {
                Err(Error::NotFound { .. }) => Outcome::Honoured,
                Err(error) => unknown(&error),
                Ok(_) => broken("what was deleted is still there".to_owned()),
            },
        };
        findings.note(Property::Deletes, outcome);
    }

    async fn create(&self, key: &Path, body: Bytes) -> Answer {
        self.ask(self.store.put_opts(key, body.into(), PutMode::Create.into()))
            .await
    }

    async fn update(&self, key: &Path, body: Bytes, seen: &PutResult) -> Answer {
        let mode = PutMode::Update(UpdateVersion::from(seen.clone()));
        self.ask(self.store.put_opts(key, body.into(), mode.into())).await
    }

    /// Waits for an answer, but not for ever.
    async fn ask<T>(
        &self,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let late = self.surroundings.tasks.sleep(PATIENCE);
        match select(std::pin::pin!(request), late).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(Error::Generic {
                store: "probe",
                source: format!("no answer in {} seconds", PATIENCE.as_secs()).into(),
            }),
        }
    }
}

type Answer = object_store::Result<PutResult>;

/// The bytes of one writer; all of one size, so that no store can tell them apart by that.
fn numbered(writer: usize) -> Bytes {
    format!("writer {writer:04}").into()
}

fn refusal(what: &str, answer: &Answer) -> Outcome {
    match answer {
        Err(error) if is_refusal(error) => Outcome::Honoured,
        Err(error) if is_unsupported(error) => broken(format!("the store has no such condition: {error}")),
        Err(error) => unknown(error),
        Ok(_) => broken(format!("{what} succeeded")),
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. }
    )
}

/// Whether a store says that it does not know the condition: ours by type, S3's by the code in the answer.
fn is_unsupported(error: &Error) -> bool {
    matches!(error, Error::NotImplemented { .. } | Error::NotSupported { .. })
        || causes(error).contains("NotImplemented")
}

/// How a racer answers that took no part.
fn lost() -> Error {
    Error::Precondition {
        path: String::new(),
        source: "it took no part".into(),
    }
}

fn honoured_if(holds: bool, seen: impl FnOnce() -> String) -> Outcome {
    if holds { Outcome::Honoured } else { broken(seen()) }
}

fn broken(seen: String) -> Outcome {
    Outcome::Broken { seen }
}

fn unknown(error: &Error) -> Outcome {
    Outcome::Unknown { error: causes(error) }
}

/// An error with those of its causes that its own text does not repeat.
fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn shown(text: &Option<String>) -> String {
    text.as_ref()
        .map_or_else(|| "nothing".to_owned(), |text| format!("`{text}`"))
}

/// The worse of two outcomes: what was seen to be broken, before what is not known.
fn worse(one: Outcome, two: Outcome) -> Outcome {
    match (&one, &two) {
        (Outcome::Broken { .. }, _) => one,
        (_, Outcome::Broken { .. }) => two,
        (Outcome::Unknown { .. }, _) => one,
        _ => two,
    }
}
