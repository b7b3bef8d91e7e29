//! Who did what is told of every decision, lost to no fault of the bucket as long as there is room, and cannot be changed
//! unseen.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use opentaco_control::audit::{Audit, AuditOptions, Wanted};
use opentaco_control::{AuditError, ControlError, CreateUnit, StateControl};
use opentaco_domain::access::AllowAll;
use opentaco_domain::audit::verify::{Flaw, Place};
use opentaco_domain::audit::{Auditor, Event, Filter, Keys, Outcome, Report, SegmentId};
use opentaco_domain::{Action, Caller, Clock as _, Decision, Holding, Policy, PolicyUnreadable, UnitId};
use opentaco_storage::bucket::Bucket;
use opentaco_storage::{Kind, Vault};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, Faults, On};

use crate::common::{alice, body, lock, lock_request, prod, state, under, unit, unlock, uuid, write};

const FOLDER: &str = "__opentaco_audit/";

/// A replica that tells the audit, and a way to make its bucket fail.
fn audited(world: &World, sync: bool) -> (StateControl, Faults) {
    let faults = Faults::over(world.store());
    let bucket = Bucket::new(Arc::new(faults.clone()), "", world.surroundings());
    let audit = Audit::kept(bucket.clone(), AuditOptions { seal: None, sync });
    let vault = Vault::observed(bucket, world.retention, Arc::new(audit.clone()));
    let control = StateControl::new(vault, Arc::new(AllowAll), "memory").audited(&audit);
    (control, faults)
}

fn replica(world: &World) -> StateControl {
    audited(world, false).0
}

async fn events(control: &StateControl, filter: Filter) -> Vec<Event> {
    let wanted = Wanted::from(filter);
    control.audit().flush().await.unwrap();
    let page = control.search_audit(&Caller::root(), &wanted).await.unwrap();
    assert_eq!(page.damaged, []);
    let mut events: Vec<Event> = page.events.into_iter().map(|found| found.event).collect();
    // Looking is told, too, and is no part of what is looked for.
    events.retain(|event| event.action != "audit.read");
    events.reverse();
    events
}

async fn told(control: &StateControl) -> Vec<String> {
    let events = events(control, Filter::default()).await;
    let line = |event: Event| {
        let lock = event.lock.map(|lock| format!(" under {}", &lock.as_str()[35..]));
        format!(
            "{} {} {}: {}{}",
            event.principal,
            event.action,
            event.decision,
            event.what,
            lock.unwrap_or_default()
        )
    };
    events.into_iter().map(line).collect()
}

async fn segments(control: &StateControl) -> Vec<SegmentId> {
    let (ids, next) = control.audit_segments(&Caller::root(), None, None).await.unwrap();
    assert_eq!(next, None);
    ids
}

async fn verified(control: &StateControl) -> Report {
    let mut auditor = Auditor::new(Keys::default(), None);
    let mut ids = segments(control).await;
    ids.sort_by_key(|id| (id.replica, id.sequence));
    for id in ids {
        match control.audit_segment(&Caller::root(), &id).await {
            Ok(bytes) => auditor.read(id, &bytes),
            Err(AuditError::NoSegment(id)) => auditor.gone(id),
            Err(error) => panic!("{error}"),
        }
    }
    auditor.finish()
}

fn flaws(report: &Report) -> Vec<Flaw> {
    report
        .findings
        .iter()
        .map(|finding| finding.flaw.clone())
        .collect()
}

/// So long passes for whoever sleeps.
async fn pass(world: &World, time: Duration) {
    world.surroundings().tasks.sleep(time).await;
}

async fn apply(control: &StateControl, unit: &UnitId, n: u32) {
    lock(control, unit, n).await.unwrap();
    write(control, unit, under(n), &state(u64::from(n), "x"))
        .await
        .unwrap();
    unlock(control, unit, n).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_beat_of_an_apply_is_told_with_its_lock_and_its_version() {
    let world = World::new();
    let control = replica(&world);
    lock(&control, &prod(), 1).await.unwrap();
    let receipt = write(&control, &prod(), under(1), &state(1, "x")).await.unwrap();
    body(control.read_state(&alice(), &prod()).await.unwrap())
        .await
        .unwrap();
    lock(&control, &prod(), 2).await.unwrap_err();
    write(&control, &prod(), under(2), &state(2, "y"))
        .await
        .unwrap_err();
    unlock(&control, &prod(), 2).await.unwrap_err();
    unlock(&control, &prod(), 1).await.unwrap();
    assert_eq!(
        told(&control).await,
        [
            "alice unit.lock done: locked under 1",
            "alice unit.write done: committed: write under 1",
            "alice unit.read done: read",
            "alice unit.lock refused: held-by-another under 2",
            "alice unit.write refused: held-by-another under 2",
            "alice unit.lock refused: held-by-another under 2",
            "alice unit.lock done: unlocked under 1",
        ]
    );
    let wanted = Filter {
        action: Some("unit.write".to_owned()),
        ..Filter::default()
    };
    let writes = events(&control, wanted).await;
    assert_eq!(writes[0].version, Some(receipt.version));
    let kept = control.rejected(&alice(), &prod()).await.unwrap();
    assert_eq!(writes[1].kept.as_deref(), Some(kept[0].id.as_str()));
    assert!(writes.iter().all(|event| event.unit == Some(prod())));
}

#[tokio::test(start_paused = true)]
async fn what_is_done_to_units_is_told() {
    let world = World::new();
    let control = replica(&world);
    control
        .create_unit(&alice(), &prod(), CreateUnit::default())
        .await
        .unwrap();
    let receipt = write(&control, &prod(), Holding::Nothing, &state(1, "x"))
        .await
        .unwrap();
    control
        .annotate_unit(&alice(), &prod(), &crate::common::said("it"))
        .await
        .unwrap();
    body(
        control
            .read_version(&alice(), &prod(), &receipt.version)
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    lock(&control, &prod(), 1).await.unwrap();
    control.delete_unit(&alice(), &prod()).await.unwrap_err();
    control.force_unlock(&alice(), &prod()).await.unwrap();
    control.delete_unit(&alice(), &prod()).await.unwrap();
    let door = opentaco_control::Door::Management;
    control.undelete_unit(&alice(), &prod(), door).await.unwrap();
    assert_eq!(
        told(&control).await,
        [
            "alice unit.create done: created",
            "alice unit.write done: committed: write",
            "alice unit.write done: annotated",
            "alice unit.read done: read a version",
            "alice unit.lock done: locked under 1",
            "alice unit.delete refused: held-by-another",
            "alice unit.force-unlock done: lock broken under 1",
            "alice unit.delete done: deleted",
            "alice unit.write done: committed: undelete",
        ]
    );
}

/// Nobody may do anything.
#[derive(Debug)]
struct Nothing;

impl Policy for Nothing {
    fn decide(&self, _: &Caller, _: Action, _: &UnitId) -> Result<Decision, PolicyUnreadable> {
        Ok(Decision::Deny)
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_no_is_in_the_audit_and_may_not_read_it() {
    let world = World::new();
    let (seeing, _) = audited(&world, false);
    let audit = seeing.audit().clone();
    let control = StateControl::new(world.replica(), Arc::new(Nothing), "memory").audited(&audit);
    lock(&control, &prod(), 1).await.unwrap_err();
    control.read_state(&alice(), &prod()).await.unwrap_err();
    let denied = control.search_audit(&alice(), &Wanted::default()).await;
    assert!(matches!(denied, Err(AuditError::Access(_))), "{denied:?}");
    assert!(control.audit_segments(&alice(), None, None).await.is_err());
    audit.flush().await.unwrap();
    let id = segments(&seeing).await[0];
    assert!(control.audit_segment(&alice(), &id).await.is_err());
    let wanted = Filter {
        decision: Some(Outcome::Denied),
        ..Filter::default()
    };
    let denied = events(&seeing, wanted).await;
    let actions: Vec<_> = denied.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(
        actions,
        ["unit.lock", "unit.read"],
        "those of the audit itself are left out by the helper"
    );
    assert!(!told(&seeing).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_the_audit_and_a_second_later_it_is_written() {
    let world = World::new();
    let control = replica(&world);
    apply(&control, &prod(), 1).await;
    control.settle_down().await;
    let asked = |control: &StateControl| {
        let sent = control.counts().snapshot();
        sent.into_iter()
            .filter(|((_, kind), _)| *kind == Kind::Audit)
            .map(|(_, n)| n)
            .sum::<u64>()
    };
    assert_eq!(asked(&control), 0, "no request before the answers");
    pass(&world, Duration::from_millis(1_001)).await;
    assert_eq!(segments(&control).await.len(), 1);
    let n = asked(&control);
    assert!(
        n <= 3,
        "one look at the others, one segment, and the listing of this test: {n}"
    );
    // Nobody asks anything: nothing is written.
    pass(&world, Duration::from_secs(60)).await;
    assert_eq!(control.audit().numbers().waiting, 0);
    assert_eq!(
        segments(&control).await.len(),
        2,
        "the second one tells that this test has looked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_does_not_take_events_for_a_while_gets_them_all_in_order_and_once() {
    let fates = [
        Fate::Denied,
        Fate::InternalError,
        Fate::Unavailable,
        Fate::Conflict,
        Fate::PreconditionFailed,
        Fate::AnswerLost,
        Fate::Twice,
        Fate::Truncated,
        Fate::Silence,
        Fate::SilenceAfterEffect,
    ];
    for fate in fates {
        let world = World::new();
        let (control, faults) = audited(&world, false);
        apply(&control, &prod(), 1).await;
        control.audit().flush().await.unwrap();
        faults.say(On::next(Does::Put, FOLDER).always(), fate.clone());
        for n in 2..6 {
            apply(&control, &prod(), n).await;
            pass(&world, Duration::from_secs(7)).await;
        }
        let waits = !matches!(fate, Fate::AnswerLost | Fate::Twice);
        assert_eq!(control.audit().numbers().waiting > 0, waits, "{fate:?}");
        faults.heal();
        pass(&world, Duration::from_secs(30)).await;
        assert_eq!(control.audit().numbers().waiting, 0);
        let told = told(&control).await;
        let locks: Vec<_> = told
            .iter()
            .filter(|line| line.contains(": locked under"))
            .collect();
        assert_eq!((told.len(), locks.len()), (15, 5), "{fate:?}: {told:?}");
        let report = verified(&control).await;
        assert_eq!(report.findings, [], "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_synchronous_mode_a_change_is_answered_when_its_event_is_written_and_not_before() {
    let world = World::new();
    let (control, faults) = audited(&world, true);
    lock(&control, &prod(), 1).await.unwrap();
    assert_eq!(control.audit().numbers().waiting, 0);
    faults.say(On::next(Does::Put, FOLDER).always(), Fate::Unavailable);
    let answer = write(&control, &prod(), under(1), &state(1, "x")).await;
    assert!(matches!(answer, Err(ControlError::Unwritten(_))), "{answer:?}");
    assert_eq!(world.copy(&prod()).await.unwrap(), state(1, "x"), "it is done");
    faults.heal();
    let again = write(&control, &prod(), under(1), &state(1, "x")).await.unwrap();
    unlock(&control, &prod(), 1).await.unwrap();
    assert_eq!(control.audit().numbers().waiting, 0);
    let writes = Filter {
        action: Some("unit.write".to_owned()),
        ..Filter::default()
    };
    let writes = events(&control, writes).await;
    assert!(
        writes.iter().all(|event| event.version == Some(again.version)),
        "one version, however often it was told"
    );
}

#[tokio::test(start_paused = true)]
async fn when_there_is_no_room_left_events_are_let_go_loudly_and_the_chain_says_how_many() {
    let world = World::new();
    let (control, faults) = audited(&world, false);
    faults.say(On::next(Does::Put, FOLDER).always(), Fate::Unavailable);
    let event = || Event::done(&alice(), Action::Read, "read").on(&prod());
    // More than wait in memory, and as many as the segment under way has taken.
    control.audit().tell(event());
    pass(&world, Duration::from_secs(3)).await;
    for _ in 0..32 * 1024 + 7 {
        control.audit().tell(event());
    }
    let numbers = control.audit().numbers();
    assert_eq!((numbers.told, numbers.lost), (32 * 1024 + 8, 7));
    faults.heal();
    pass(&world, Duration::from_secs(30)).await;
    assert_eq!(control.audit().numbers().waiting, 0);
    let report = verified(&control).await;
    assert_eq!(flaws(&report), [Flaw::Lost(7)]);
    assert_eq!(report.events, 32 * 1024 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_or_forth_breaks_no_chain_and_hides_no_event() {
    let world = World::new();
    let control = replica(&world);
    let noon = world.clock.now();
    for (n, at) in [(1, noon), (2, noon + SignedDuration::from_hours(9)), (3, noon)] {
        world.clock.set(at);
        apply(&control, &prod(), n).await;
    }
    // All of them waited together.
    control.audit().flush().await.unwrap();
    assert_eq!(segments(&control).await.len(), 3);
    assert_eq!(verified(&control).await.findings, []);
    let until = Filter {
        until: Some(noon + SignedDuration::from_mins(1)),
        ..Filter::default()
    };
    assert_eq!(events(&control, until).await.len(), 6);
    let later = Filter {
        since: Some(noon + SignedDuration::from_hours(8)),
        until: Some(noon + SignedDuration::from_hours(10)),
        ..Filter::default()
    };
    assert_eq!(events(&control, later).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn two_replicas_have_two_chains_and_one_search() {
    let world = World::new();
    let (one, other) = (replica(&world), replica(&world));
    apply(&one, &prod(), 1).await;
    apply(&other, &unit("team/dev"), 2).await;
    one.audit().flush().await.unwrap();
    assert_eq!(told(&other).await.len(), 6);
    let report = verified(&one).await;
    assert_eq!(
        (report.chains, report.findings.len(), report.open.len()),
        (2, 0, 2)
    );
    let dev = Filter {
        unit: Some(unit("team/dev")),
        ..Filter::default()
    };
    assert_eq!(events(&one, dev).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_stops_ends_its_chain_and_the_next_one_begins_its_own() {
    let world = World::new();
    let before = replica(&world);
    apply(&before, &prod(), 1).await;
    before.close().await;
    let after = replica(&world);
    apply(&after, &prod(), 2).await;
    after.close().await;
    let report = verified(&after).await;
    assert_eq!(
        (report.chains, report.open.len(), report.findings.len()),
        (2, 0, 0)
    );
    // A service that was asked nothing leaves nothing behind.
    let idle = replica(&world);
    idle.close().await;
    assert_eq!(verified(&after).await.chains, 2);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_stops_while_a_segment_is_under_way_waits_for_it_and_ends_its_chain() {
    let world = World::new();
    let (control, faults) = audited(&world, false);
    faults.say(On::next(Does::Put, FOLDER), Fate::Slow(Duration::from_secs(3)));
    apply(&control, &prod(), 1).await;
    pass(&world, Duration::from_millis(1_500)).await;
    assert_eq!(faults.befallen(), 1, "it is under way");
    control.close().await;
    let report = verified(&control).await;
    assert_eq!(
        (report.events, report.open.len(), report.findings.len()),
        (3, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn what_somebody_does_to_segments_is_found_even_to_the_last_one_of_a_replica_that_was_killed() {
    let world = World::new();
    let killed = replica(&world);
    for n in 1..4 {
        apply(&killed, &prod(), n).await;
        killed.audit().flush().await.unwrap();
        world.clock.advance(Duration::from_secs(90));
    }
    let after = replica(&world);
    apply(&after, &prod(), 4).await;
    after.audit().flush().await.unwrap();
    assert_eq!(verified(&after).await.findings, []);
    let keys: Vec<String> = world
        .keys()
        .await
        .into_iter()
        .filter(|key| key.starts_with(FOLDER))
        .collect();
    let whole = world.person_gets(&keys[1]).await.unwrap();
    // One word.
    let text = String::from_utf8(whole.to_vec())
        .unwrap()
        .replace("unlocked", "un1ocked");
    world.person_puts(&keys[1], text).await;
    assert_eq!(flaws(&verified(&after).await), [Flaw::Broken]);
    // A segment in the middle.
    world.person_removes(&keys[1]).await;
    assert_eq!(flaws(&verified(&after).await), [Flaw::Missing { from: 1, to: 1 }]);
    world.person_puts(&keys[1], whole).await;
    assert_eq!(verified(&after).await.findings, []);
    // The last one: the replica that came after has seen it.
    world.person_removes(&keys[2]).await;
    let report = verified(&after).await;
    assert_eq!(flaws(&report), [Flaw::Truncated { seen: 2 }]);
    assert!(matches!(report.findings[0].place, Place::Segment(id) if id.sequence == 1));
}

#[tokio::test(start_paused = true)]
async fn something_else_in_the_place_of_a_segment_costs_no_event() {
    let world = World::new();
    let control = replica(&world);
    apply(&control, &prod(), 1).await;
    control.audit().flush().await.unwrap();
    let last = segments(&control).await[0];
    // Reading it was told, and is the next segment.
    let next = SegmentId {
        sequence: last.sequence + 1,
        ..last
    };
    let key = format!("{FOLDER}{}/{next}.jsonl", SegmentId::day(next.at));
    world.person_puts(&key, "gotcha").await;
    apply(&control, &prod(), 2).await;
    assert_eq!(told_leniently(&control).await, 6);
    let report = verified(&control).await;
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert!(matches!(report.findings[0].flaw, Flaw::Unreadable(_)));
}

async fn told_leniently(control: &StateControl) -> usize {
    control.audit().flush().await.unwrap();
    let page = control
        .search_audit(&Caller::root(), &Wanted::default())
        .await
        .unwrap();
    assert_eq!(page.damaged.len(), 1);
    page.events
        .iter()
        .filter(|found| found.event.action != "audit.read")
        .count()
}

#[tokio::test(start_paused = true)]
async fn what_a_person_writes_into_the_bucket_is_an_event_of_nobody() {
    let world = World::new();
    let control = replica(&world);
    write(&control, &prod(), Holding::Nothing, &state(1, "x"))
        .await
        .unwrap();
    control.settle_down().await;
    world.person_puts(&prod().state_key(), state(2, "by hand")).await;
    body(control.read_state(&alice(), &prod()).await.unwrap())
        .await
        .unwrap();
    control.settle_down().await;
    let wanted = Filter {
        action: Some("bucket".to_owned()),
        ..Filter::default()
    };
    let noticed = events(&control, wanted).await;
    assert_eq!(noticed.len(), 1);
    assert_eq!(
        (noticed[0].what.as_str(), noticed[0].kind.as_deref()),
        ("adopted", None)
    );
    assert!(noticed[0].version.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_search_finds_what_it_is_asked_for_page_by_page_over_days() {
    let world = World::new();
    let control = replica(&world);
    let begin = world.clock.now();
    for day in 0..3 {
        for n in 0..4 {
            apply(&control, &unit(&format!("team{n}/prod")), day * 4 + n + 1).await;
            world.clock.advance(Duration::from_secs(40));
        }
        control.audit().flush().await.unwrap();
        world.clock.advance(Duration::from_secs(24 * 60 * 60));
    }
    let all = |filter: Filter| {
        let control = control.clone();
        async move {
            let (mut found, mut token, mut pages) = (Vec::new(), None, 0);
            loop {
                let wanted = Wanted {
                    filter: filter.clone(),
                    page_token: token,
                    limit: Some(5),
                };
                let page = control.search_audit(&Caller::root(), &wanted).await.unwrap();
                pages += 1;
                found.extend(
                    page.events
                        .into_iter()
                        .filter(|found| found.event.action != "audit.read"),
                );
                token = page.next_page_token;
                if token.is_none() {
                    return (found, pages);
                }
            }
        }
    };
    let (found, pages) = all(Filter::default()).await;
    assert_eq!(found.len(), 36);
    assert!(pages >= 7, "{pages}");
    assert!(
        found.windows(2).all(|pair| pair[0].event.at >= pair[1].event.at),
        "newest first"
    );
    let places: BTreeSet<_> = found.iter().map(|found| (found.segment, found.index)).collect();
    assert_eq!(places.len(), 36, "none of them twice");
    let (found, _) = all(Filter {
        prefix: Some("team1/".parse_prefix()),
        ..Filter::default()
    })
    .await;
    assert_eq!(found.len(), 9);
    let day = SignedDuration::from_hours(24);
    let moment = |days: i32| begin + day * days;
    let since = Filter {
        since: Some(moment(1)),
        until: Some(moment(2)),
        ..Filter::default()
    };
    let (found, _) = all(since).await;
    assert_eq!(found.len(), 12);
    let exact = found.last().unwrap().event.at;
    let (from, _) = all(Filter {
        since: Some(exact),
        until: Some(moment(2)),
        ..Filter::default()
    })
    .await;
    assert_eq!(from.len(), 12, "the moment itself counts");
    let (until, _) = all(Filter {
        since: Some(moment(1)),
        until: Some(exact),
        ..Filter::default()
    })
    .await;
    assert_eq!(until.len(), 0, "and here it does not");
    for none in [
        Filter {
            principal: Some("bob".to_owned()),
            ..Filter::default()
        },
        Filter {
            since: Some(moment(9)),
            ..Filter::default()
        },
        Filter {
            until: Some(Timestamp::UNIX_EPOCH),
            ..Filter::default()
        },
        Filter {
            until: Some(Timestamp::MIN),
            ..Filter::default()
        },
        Filter {
            since: Some(Timestamp::MAX),
            ..Filter::default()
        },
    ] {
        assert_eq!(all(none.clone()).await.0.len(), 0, "{none:?}");
    }
    let wrong = Wanted {
        page_token: Some("x".to_owned()),
        ..Wanted::default()
    };
    let refused = control.search_audit(&Caller::root(), &wrong).await;
    assert!(matches!(refused, Err(AuditError::PageToken)), "{refused:?}");
}

trait ParsePrefix {
    fn parse_prefix(&self) -> opentaco_domain::UnitPrefix;
}

impl ParsePrefix for str {
    fn parse_prefix(&self) -> opentaco_domain::UnitPrefix {
        opentaco_domain::UnitPrefix::parse(self).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn neither_a_state_nor_what_a_client_says_of_itself_is_in_the_audit() {
    let world = World::new();
    let control = replica(&world);
    let mut request = lock_request(&uuid(1));
    request.info.info = "canary-of-the-lock".to_owned();
    control.lock(&alice(), &prod(), request).await.unwrap();
    write(&control, &prod(), under(1), &state(1, "canary-of-the-state"))
        .await
        .unwrap();
    write(&control, &prod(), under(2), &state(2, "canary-of-the-state"))
        .await
        .unwrap_err();
    body(control.read_state(&alice(), &prod()).await.unwrap())
        .await
        .unwrap();
    control.close().await;
    let mut read = 0;
    for key in world.keys().await.iter().filter(|key| key.starts_with(FOLDER)) {
        let text = String::from_utf8(world.person_gets(key).await.unwrap().to_vec()).unwrap();
        assert!(!text.contains("canary"), "{text}");
        read += text.lines().count();
    }
    assert_eq!(read, 4 + 2);
}
