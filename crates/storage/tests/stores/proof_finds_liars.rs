//! Every lie is found out by the property that is its own, and honest stores pass.

use std::sync::Arc;

use futures::future::BoxFuture;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use opentaco_storage::local::LocalStore;
use opentaco_storage::memory::MemoryStore;
use opentaco_storage::proof::{Outcome, Property, SingleReplica, Verdict, prove};
use opentaco_storage::surroundings::Tasks;
use opentaco_storage::{Store, Surroundings};

use crate::liars::{Liar, Lie};

async fn verdict_on(store: impl Store) -> Verdict {
    prove(
        &(Arc::new(store) as Arc<dyn Store>),
        Some("team"),
        &Surroundings::real(),
    )
    .await
}

fn broken(verdict: &Verdict) -> Vec<Property> {
    Property::ALL
        .into_iter()
        .filter(|p| matches!(verdict.outcome(*p), Outcome::Broken { .. }))
        .collect()
}

fn honoured(verdict: &Verdict) -> Vec<Property> {
    Property::ALL
        .into_iter()
        .filter(|p| *verdict.outcome(*p) == Outcome::Honoured)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_stores_are_safe_in_every_property() {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalStore::open(directory.path()).unwrap();
    for verdict in [verdict_on(MemoryStore::new()).await, verdict_on(local).await] {
        assert_eq!(honoured(&verdict), Property::ALL, "{verdict}");
        assert!(verdict.is_safe() && !verdict.is_unknown() && !verdict.sole_replica_only());
    }
}

#[tokio::test]
async fn nothing_is_left_behind_and_nothing_else_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalStore::open(directory.path()).unwrap();
    std::fs::write(directory.path().join("mine.tfstate"), "mine").unwrap();
    assert!(verdict_on(local.clone()).await.is_safe());
    let left = local
        .list_paginated(None, PaginatedListOptions::default())
        .await
        .unwrap()
        .result
        .objects;
    let left: Vec<_> = left.iter().map(|meta| meta.location.as_ref()).collect();
    assert_eq!(left, ["mine.tfstate"]);
    assert!(
        !directory.path().join("team").exists(),
        "not even the directories are left"
    );
}

#[tokio::test]
async fn each_lie_is_found_out_by_the_property_that_is_its_own() {
    use Property as P;
    let swap = [
        P::RefusesExisting,
        P::OneCreateWins,
        P::AcceptsCurrent,
        P::RefusesStale,
    ];
    let cases: [(Lie, &[Property], bool); 14] = [
        (
            Lie::SpoilsBytes,
            &[P::ReadsBack, P::OneCreateWins, P::OneUpdateWins],
            false,
        ),
        (Lie::RenamesEtags, &[P::EtagsAgree, P::OneUpdateWins], false),
        (
            Lie::OneEtag,
            &[P::EtagsChange, P::RefusesStale, P::OneUpdateWins],
            false,
        ),
        (
            Lie::IgnoresConditions,
            &[
                P::RefusesExisting,
                P::OneCreateWins,
                P::RefusesStale,
                P::OneUpdateWins,
            ],
            true,
        ),
        (Lie::CreatesOverAnything, &[P::RefusesExisting], true),
        (Lie::LosesCreateRaces, &[P::OneCreateWins], true),
        (Lie::LosesUpdateRaces, &[P::OneUpdateWins], true),
        (Lie::KeepsTheLosersBytes, &[P::OneCreateWins], true),
        (Lie::RefusesUpdates, &[P::AcceptsCurrent, P::OneUpdateWins], true),
        (Lie::AcceptsStaleUpdates, &[P::RefusesStale], true),
        (Lie::KnowsNoConditions, &swap, true),
        (Lie::ListsLate, &[P::ListsAtOnce], false),
        (Lie::ForgetsMetadata, &[P::KeepsMetadata], false),
        (Lie::KeepsDeleted, &[P::Deletes], false),
    ];
    for (lie, caught_by, sole_replica_only) in cases {
        let verdict = verdict_on(Liar::new(lie)).await;
        assert_eq!(broken(&verdict), caught_by, "{verdict}");
        let harmless = [Lie::ListsLate, Lie::ForgetsMetadata, Lie::KeepsDeleted].contains(&lie);
        assert_eq!(verdict.is_safe(), harmless, "{verdict}");
        assert_eq!(verdict.sole_replica_only(), sole_replica_only, "{verdict}");
        assert!(
            !verdict.is_unknown(),
            "what was seen to be broken is not unknown: {verdict}"
        );
    }
}

#[tokio::test]
async fn a_store_that_denies_is_unknown_and_not_broken() {
    let verdict = verdict_on(Liar::new(Lie::DeniesWrites)).await;
    assert!(
        verdict.is_unknown() && !verdict.is_safe() && !verdict.sole_replica_only(),
        "{verdict}"
    );
    assert_eq!(broken(&verdict), []);
    let Outcome::Unknown { error } = verdict.outcome(Property::Writable) else {
        panic!("{verdict}")
    };
    assert!(error.contains("AccessDenied"), "the reason is told: {error}");
}

/// Time that passes at once.
struct Hurried;

impl Tasks for Hurried {
    fn spawn(&self, _: BoxFuture<'static, ()>) {
        unreachable!("a proof leaves nothing behind");
    }

    fn sleep(&self, _: std::time::Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_not_waited_for_for_ever() {
    let surroundings = Surroundings {
        tasks: Arc::new(Hurried),
        ..Surroundings::real()
    };
    let store: Arc<dyn Store> = Arc::new(Liar::new(Lie::Hangs));
    let verdict = prove(&store, None, &surroundings).await;
    assert!(verdict.is_unknown(), "{verdict}");
    assert!(
        verdict.to_string().contains("no answer in 10 seconds"),
        "{verdict}"
    );
}

#[tokio::test]
async fn a_single_replica_makes_a_store_without_conditions_safe_and_cannot_mend_etags() {
    for lie in [
        Lie::IgnoresConditions,
        Lie::KnowsNoConditions,
        Lie::LosesCreateRaces,
        Lie::LosesUpdateRaces,
        Lie::RefusesUpdates,
        Lie::AcceptsStaleUpdates,
        Lie::CreatesOverAnything,
    ] {
        let verdict = verdict_on(SingleReplica::new(Arc::new(Liar::new(lie)))).await;
        assert!(verdict.is_safe(), "{verdict}");
    }
    for lie in [Lie::OneEtag, Lie::RenamesEtags, Lie::SpoilsBytes] {
        let verdict = verdict_on(SingleReplica::new(Arc::new(Liar::new(lie)))).await;
        assert!(!verdict.is_safe(), "{verdict}");
    }
}

#[tokio::test]
async fn a_verdict_reads_as_a_table_that_says_what_was_seen_and_why_it_matters() {
    let liar = Liar::new(Lie::AcceptsStaleUpdates);
    assert!(
        verdict_on(liar.bucket().clone()).await.is_safe(),
        "the bucket below is honest"
    );
    let text = verdict_on(liar).await.to_string();
    assert_eq!(
        text,
        "a store that lies: AcceptsStaleUpdates\
         \n  yes can be reached and written to\
         \n  yes reads back what was written, byte for byte\
         \n  yes names the same ETag in a put and in a get\
         \n  yes gives other bytes another ETag\
         \n  yes refuses to create what exists (If-None-Match: *)\
         \n  yes lets one of several racing creates win\
         \n  yes accepts an update of what is there (If-Match)\
         \n  NO  refuses an update of what was there before (If-Match): an update of the ETag before succeeded\
         \n      Somebody who lost the lock could still overwrite the state.\
         \n  yes lets one of several racing updates win\
         \n  yes lists what was just written\
         \n  yes keeps the metadata of an object\
         \n  yes deletes"
    );
}
