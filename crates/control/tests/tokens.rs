//! Which tokens are over is read from the bucket, believed for a moment, and known everywhere within five seconds.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use opentaco_control::{KeptToken, Ledger, Owner, StateControl, TokenError};
use opentaco_domain::access::Member;
use opentaco_domain::{Caller, Clock as _, Principal, Sha256};
use opentaco_storage::Vault;
use opentaco_storage::records::Records;
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Gate, On};

const LEDGER: &str = "__opentaco_tokens/ledger.json";

/// A replica that decides by roles, and goes on reading.
async fn replica(world: &World) -> StateControl {
    over(world.replica()).await
}

async fn over(vault: Vault) -> StateControl {
    let bucket = vault.bucket().clone();
    let surroundings = bucket.surroundings().clone();
    let access = opentaco_control::Access::open(Records::new(bucket), surroundings).await;
    access.keep_fresh();
    let control = StateControl::by_roles(vault, access, "memory");
    control.ledger().keep_fresh().await;
    control
}

async fn with_ada(world: &World) -> StateControl {
    let control = replica(world).await;
    administered(&control).await;
    control
}

async fn administered(control: &StateControl) {
    let ada: Member = "user:ada".parse().unwrap();
    let access = control.access().unwrap();
    access.initialise(&Caller::root(), &[ada]).await.unwrap();
}

/// So many seconds pass, for clocks and for sleepers.
async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds {
        world.clock.advance(Duration::from_secs(1));
        let tasks = world.surroundings().tasks;
        tasks.sleep(Duration::from_secs(1)).await;
    }
}

fn family(name: &str) -> Sha256 {
    Sha256::of(name.as_bytes())
}

fn token(owner: Owner, now: Timestamp) -> KeptToken {
    KeptToken {
        id: "0001".to_owned(),
        name: "a test's".to_owned(),
        owner,
        roles: Vec::new(),
        created: now,
        created_by: Principal::new("ada"),
        expires: now + SignedDuration::from_hours(24),
    }
}

fn of_bob(groups: &[&str]) -> Owner {
    Owner::User {
        name: "bob".to_owned(),
        groups: groups.iter().map(ToString::to_string).collect(),
    }
}

async fn revoke(ledger: &Ledger, name: &str) {
    let memory = SignedDuration::from_hours(26);
    ledger.revoke_logins(&[family(name)], memory).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_one_replica_ends_every_other_refuses_within_five_seconds() {
    let world = World::new();
    let (one, other) = (replica(&world).await, replica(&world).await);
    revoke(one.ledger(), "stolen").await;
    assert!(
        one.ledger().is_revoked(&family("stolen")).unwrap(),
        "at once where it was said"
    );
    pass(&world, 5).await;
    assert!(other.ledger().is_revoked(&family("stolen")).unwrap());
    assert!(!other.ledger().is_revoked(&family("mine")).unwrap());
    let late = replica(&world).await;
    assert!(late.ledger().is_revoked(&family("stolen")).unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_was_read_while_a_change_was_on_its_way_does_not_replace_the_change() {
    let world = World::new();
    let (vault, faults) = world.failing_replica();
    let control = over(vault).await;
    administered(&control).await;
    revoke(control.ledger(), "first").await;
    let gate = Gate::new();
    faults.say(On::next(Does::Put, LEDGER), Fate::HeldBefore(gate.clone()));
    let ledger = control.ledger().clone();
    let tasks = world.surroundings().tasks;
    let (done, ended) = futures::channel::oneshot::channel();
    tasks.spawn(Box::pin(async move {
        revoke(&ledger, "stolen").await;
        let _ = done.send(());
    }));
    gate.reached().await;
    // The ledger is read every two seconds, and is still the old one.
    pass(&world, 3).await;
    gate.open();
    ended.await.unwrap();
    assert!(control.ledger().is_revoked(&family("stolen")).unwrap());
    assert!(control.ledger().is_revoked(&family("first")).unwrap());
}

#[tokio::test(start_paused = true)]
async fn checking_a_token_costs_no_request() {
    let world = World::new();
    let (vault, faults) = world.failing_replica();
    let control = over(vault).await;
    administered(&control).await;
    let (hash, now) = (family("secret"), world.clock.now());
    let bob = Caller::user("bob");
    let access = control.access().unwrap();
    let kept = token(of_bob(&[]), now);
    control
        .ledger()
        .keep_token(access, &bob, hash, &kept)
        .await
        .unwrap();
    let asked = faults.seen().len();
    for _ in 0..1000 {
        assert_eq!(control.ledger().token(&hash).unwrap().as_ref(), Some(&kept));
        assert!(!control.ledger().is_revoked(&hash).unwrap());
    }
    assert_eq!(faults.seen().len(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_cannot_be_read_lets_nobody_in_and_one_that_can_again_does() {
    let world = World::new();
    let control = replica(&world).await;
    revoke(control.ledger(), "stolen").await;
    let whole = world.person_gets(LEDGER).await.unwrap();
    world.person_puts(LEDGER, whole.slice(..whole.len() / 2)).await;
    pass(&world, 8).await;
    assert!(control.ledger().is_revoked(&family("mine")).is_err());
    assert!(control.ledger().token(&family("secret")).is_err());
    let refused = control
        .ledger()
        .revoke_logins(&[family("other")], SignedDuration::from_hours(1))
        .await;
    assert!(matches!(refused, Err(TokenError::Unavailable(_))), "{refused:?}");
    world.person_puts(LEDGER, whole).await;
    pass(&world, 3).await;
    assert!(control.ledger().is_revoked(&family("stolen")).unwrap());
}

#[tokio::test(start_paused = true)]
async fn that_a_login_was_ended_is_forgotten_when_nothing_of_it_is_good_any_more() {
    let world = World::new();
    let control = replica(&world).await;
    revoke(control.ledger(), "old").await;
    pass(&world, 3).await;
    world.clock.advance(Duration::from_secs(27 * 3600));
    pass(&world, 3).await;
    revoke(control.ledger(), "new").await;
    assert!(!control.ledger().is_revoked(&family("old")).unwrap());
    assert!(control.ledger().is_revoked(&family("new")).unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_api_token_is_in_the_groups_of_its_owners_last_login() {
    let world = World::new();
    let control = with_ada(&world).await;
    let (hash, now) = (family("secret"), world.clock.now());
    let access = control.access().unwrap();
    let kept = token(of_bob(&["platform", "prod"]), now);
    let bob = Caller::user("bob");
    control
        .ledger()
        .keep_token(access, &bob, hash, &kept)
        .await
        .unwrap();
    control
        .ledger()
        .regroup("bob", &["platform".to_owned()])
        .await
        .unwrap();
    let caller = control.ledger().token(&hash).unwrap().unwrap().caller();
    assert_eq!(
        caller
            .groups()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["platform"]
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_or_ends_somebody_elses_token_but_whoever_manages_access() {
    let world = World::new();
    let control = with_ada(&world).await;
    let (ledger, access) = (control.ledger(), control.access().unwrap());
    let (bob, eve, ada) = (Caller::user("bob"), Caller::user("eve"), Caller::user("ada"));
    let kept = token(of_bob(&[]), world.clock.now());
    ledger
        .keep_token(access, &bob, family("secret"), &kept)
        .await
        .unwrap();
    let seen = |caller: &Caller| {
        let caller = caller.clone();
        async move { ledger.tokens(access, &caller).await.unwrap().len() }
    };
    assert_eq!((seen(&bob).await, seen(&eve).await, seen(&ada).await), (1, 0, 1));
    let refused = ledger.revoke_token(access, &eve, "0001").await;
    assert!(matches!(refused, Err(TokenError::NotFound { .. })), "{refused:?}");
    ledger.revoke_token(access, &ada, "0001").await.unwrap();
    assert_eq!(ledger.token(&family("secret")).unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_uses_are_written_down_once_and_are_seen_by_others() {
    let world = World::new();
    let (vault, faults) = world.failing_replica();
    let control = over(vault).await;
    administered(&control).await;
    let (hash, access) = (family("secret"), control.access().unwrap());
    let bob = Caller::user("bob");
    let kept = token(of_bob(&[]), world.clock.now());
    control
        .ledger()
        .keep_token(access, &bob, hash, &kept)
        .await
        .unwrap();
    for _ in 0..100 {
        control.ledger().token(&hash).unwrap();
        pass(&world, 1).await;
    }
    let writes = faults.seen().into_iter();
    let writes = writes.filter(|(does, key)| *does == Does::Put && key.ends_with("used.json"));
    assert_eq!(writes.count(), 1);
    let other = replica(&world).await;
    let listed = other
        .ledger()
        .tokens(other.access().unwrap(), &bob)
        .await
        .unwrap();
    assert!(listed[0].1.is_some());
}
