//! What the simulator has found, kept: the seeds as they were found, and as a table what one of them was an example of.
//!
//! A seed means another history whenever the world learns something new. So each history that broke a promise stands as
//! a directed test too, where nothing is drawn: traces 39, 40 and 42 in `crates/storage/tests/traces`, and below the bucket
//! that goes, or comes back, in the middle of a read (41). The seeds are played all the same: they cost nothing, and
//! while the world stays as it is they are the very histories that were found.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use opentaco_sim::bucket::{Outage, SimBucket};
use opentaco_sim::checker::{self, short};
use opentaco_sim::chooser::Scripted;
use opentaco_sim::executor::{Executor, Group};
use opentaco_sim::gate::{Asked, Fate, Gatekeeper};
use opentaco_sim::mask::Mask;
use opentaco_sim::stage::{Stage, lock_id, state};
use opentaco_sim::world::{Ask, Told, play_masked};
use opentaco_sim::{trace, world};

/// Seed, what was left of its history, and what it found.
const FOUND: &[(u64, &str, &str)] = &[
    (1086, "until=111", "the checker: a deleted unit may look empty"),
    (
        3515,
        "until=133",
        "trace 39: a first copy lands after a delete that found none",
    ),
    (
        54,
        "until=1,again=16",
        "trace 41: the bucket goes between two requests of a read",
    ),
    (
        79,
        "without=4,until=3,again=19",
        "trace 41: there is a head, and the copy is not found",
    ),
    (114, "until=93", "trace 41: the same"),
    (
        1268,
        "until=74",
        "trace 41: the bucket comes back, and a copy is read without its head",
    ),
    (
        1073,
        "",
        "trace 41: a first touch of an older unit adopts nothing",
    ),
    (1793, "", "trace 41: there is a copy, and the head is not found"),
    (
        1532,
        "without=1+7,units=1,until=1,again=20",
        "the checker: two tools may have left two lock files",
    ),
    (
        1987,
        "",
        "the checker: a unit that was created anew may look empty while its old copy cannot be emptied",
    ),
    (2910, "", "trace 41: there is a copy, and the head is not found"),
    (
        10_012_630,
        "until=387",
        "the checker: what was refused may lie beside a deletion that cannot be copied",
    ),
    (
        10_032_897,
        "until=393",
        "trace 42: a copy that is empty already is found by the put of a write that is deleted",
    ),
    (10_044_751, "until=251", "trace 42: the same"),
    (
        10_077_903,
        "",
        "trace 42: beside a deletion that was never answered",
    ),
    (13_514, "", "trace 42: the same"),
    (
        10_085_815,
        "",
        "the checker: bytes that somebody brings back are not the write of them",
    ),
    (
        10_143_201,
        "",
        "the checker: two requests with the same bytes are answered each for its own",
    ),
    (10_303_960, "", "the checker: the same"),
    (10_736_076, "", "the checker: the same"),
    (
        20_418_542,
        "until=193",
        "the checker: a deletion is answered while somebody brings the unit back",
    ),
    (
        20_428_524,
        "until=1",
        "the checker: bytes that were promoted are answered for when they are written",
    ),
    (
        20_527_614,
        "",
        "trace 42: the copy is empty since before a write, and another one than at first",
    ),
    (
        10_529_312,
        "",
        "the world: nobody looks at what a replica that is killed at the very end leaves behind",
    ),
    (
        10_136_029,
        "",
        "the world: a request that is sent twice upsets an epilogue",
    ),
    (
        49,
        "",
        "the checker: a removal that was signed before its session locked finds nothing to remove",
    ),
    (
        1197,
        "",
        "the checker: a lock that was given up by whoever asked for it is taken, and a write of before is under it",
    ),
    (
        1363,
        "",
        "the world: no client sends a write anew after it has given its lock back",
    ),
    (1380, "", "the world: the same"),
    (1393, "", "the world: the same"),
    (
        2451,
        "",
        "the checker: beside a unit that is older than us, the lock file that is shown is the one that lies there",
    ),
    (4519, "", "the checker: the same"),
    (
        2939,
        "",
        "the checker: an attempt arrives late and is refused, after another of the same request was answered: nobody waits for it",
    ),
    (9758, "", "the checker: the same"),
    (
        18350,
        "",
        "history 61: a removal of an earlier lock that comes late breaks somebody else's lock",
    ),
    (
        9449,
        "",
        "the checker: what a session signed before it asked for its lock is not under that lock, and refused",
    ),
    (
        1_023_530,
        "",
        "the checker: what was written by hand and then promoted is the same bytes twice",
    ),
    (1_068_989, "until=156", "the checker: the same"),
    (
        1_098_907,
        "",
        "the checker: what is put over a misplaced copy is misplaced with it",
    ),
    (3_155, "", "a create is told that the unit exists that it made"),
    (3_225, "", "a create is told that the unit exists that it made"),
    (
        40_014_934,
        "",
        "trace 42: a delete finds the unit made anew and leaves its copy",
    ),
    (
        40_174_012,
        "until=9",
        "the checker: a request that may have had two effects was taken for the one that another had",
    ),
    (
        9_196_024,
        "until=3",
        "the checker: a promotion that was pruned and made again, and another of the same write",
    ),
];

#[test]
fn the_seeds_that_found_something_break_nothing_any_more() {
    for (seed, mask, what) in FOUND {
        let mask: Mask = mask.parse().unwrap();
        for history in [play_masked(*seed, &mask), world::play(*seed)] {
            let broken = checker::check(&history);
            assert!(broken.is_empty(), "seed {seed} ({what}): {broken:?}");
        }
    }
}

/// Lets one request of a replica pass at a time, and changes the weather before one of them.
#[derive(Clone)]
struct Switch {
    executor: Executor,
    bucket: SimBucket,
    how: Outage,
    /// Whether the bucket goes; else it comes back.
    goes: bool,
    /// Before which request.
    at: usize,
    /// Of the two requests that a read begins with, the second goes first.
    swapped: bool,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Default)]
struct Counted {
    arrived: usize,
    passed: usize,
}

impl Gatekeeper for Switch {
    fn arrives(&self, _: &Asked) -> BoxFuture<'static, Fate> {
        let arrived = {
            let mut counted = self.counted.lock().unwrap();
            counted.arrived += 1;
            counted.arrived - 1
        };
        let turn = match arrived {
            0 | 1 if self.swapped => 1 - arrived,
            other => other,
        };
        let switch = self.clone();
        async move {
            while switch.counted.lock().unwrap().passed < turn {
                switch.executor.sleep(Duration::from_millis(1)).await;
            }
            match (turn == switch.at, switch.goes) {
                (true, true) => switch.bucket.lose(switch.how, Duration::from_secs(86_400)),
                (true, false) => switch.bucket.find(),
                (false, _) => {}
            }
            Fate::Passes
        }
        .boxed()
    }

    fn passed(&self, _: &Asked) {
        self.counted.lock().unwrap().passed += 1;
    }
}

/// A replica that nobody stands in the way of.
struct Open;

impl Gatekeeper for Open {
    fn arrives(&self, _: &Asked) -> BoxFuture<'static, Fate> {
        futures::future::ready(Fate::Passes).boxed()
    }

    fn passed(&self, _: &Asked) {}
}

/// What was before the read.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    OlderThanUs,
    Locked,
    LockedAndPutByHand,
    Written,
    WrittenAndPutByHand,
    Deleted,
}

impl Before {
    const ALL: [Self; 7] = [
        Self::Nothing,
        Self::OlderThanUs,
        Self::Locked,
        Self::LockedAndPutByHand,
        Self::Written,
        Self::WrittenAndPutByHand,
        Self::Deleted,
    ];

    fn asks(self) -> Vec<Ask> {
        let lock = Ask::Lock(lock_id(1));
        let write = Ask::Write {
            bytes: state(1, "alice"),
            lock: None,
        };
        match self {
            Self::Nothing | Self::OlderThanUs => vec![],
            Self::Locked | Self::LockedAndPutByHand => vec![lock],
            Self::Written | Self::WrittenAndPutByHand => vec![write],
            Self::Deleted => vec![write, Ask::Delete],
        }
    }

    fn by_hand(self) -> Option<Bytes> {
        match self {
            Self::OlderThanUs | Self::LockedAndPutByHand | Self::WrittenAndPutByHand => {
                Some(state(9, "hand"))
            }
            Self::Nothing | Self::Locked | Self::Written | Self::Deleted => None,
        }
    }

    /// What a read is told if nothing goes wrong.
    fn truth(self) -> Told {
        match self {
            Self::Nothing | Self::Locked | Self::Deleted => Told::NoState,
            Self::Written => Told::State(state(1, "alice")),
            Self::OlderThanUs | Self::LockedAndPutByHand | Self::WrittenAndPutByHand => {
                Told::State(state(9, "hand"))
            }
        }
    }
}

/// Reads while the bucket goes or comes back before this request. What the reader was told, and whether it made so many.
fn read_in_bad_weather(before: Before, how: Outage, goes: bool, at: usize, swapped: bool) -> (Told, bool) {
    let executor = Executor::with(Box::new(Scripted::default()));
    let stage = Stage::new(executor.clone());
    let switch = Switch {
        executor: executor.clone(),
        bucket: stage.bucket().clone(),
        how,
        goes,
        at,
        swapped,
        counted: Arc::default(),
    };
    let told: Arc<Mutex<Vec<Told>>> = Arc::default();
    let (scene, seen, keeper) = (stage.clone(), Arc::clone(&told), switch.clone());
    executor.spawn(Group::Outside, async move {
        let replica = |index: usize, keeper: Arc<dyn Gatekeeper>| {
            let surroundings = scene.executor().surroundings(Group::Replica(index, 0));
            scene.replica(index, 0, keeper, surroundings)
        };
        let quietly = || scene.executor().sleep(Duration::from_secs(3600));
        let first = replica(0, Arc::new(Open));
        for ask in before.asks() {
            assert_eq!(scene.ask("alice", &first, ask).await, Told::Done);
            quietly().await;
        }
        if let Some(bytes) = before.by_hand() {
            scene.person_puts(bytes);
        }
        if !keeper.goes {
            scene.bucket().lose(keeper.how, Duration::from_secs(86_400));
        }
        let reader = replica(1, Arc::new(keeper));
        let told = scene.ask("bob", &reader, Ask::Read).await;
        seen.lock().unwrap().push(told);
        quietly().await;
        scene.bucket().find();
        let told = scene.ask("carol", &replica(2, Arc::new(Open)), Ask::Read).await;
        seen.lock().unwrap().push(told);
        quietly().await;
    });
    assert!(executor.run(1_000_000), "it goes on and on");
    let case = format!("{before:?}, {how:?}, goes: {goes}, before request {at}, swapped: {swapped}");
    let history = stage.history();
    let violations = checker::check(&history);
    assert!(
        violations.is_empty(),
        "{case}: {violations:?}\n{}",
        trace::tell(&history)
    );
    let told = told.lock().unwrap().clone();
    let [by_reader, afterwards] = told.as_slice() else {
        panic!("{case}: {told:?}")
    };
    assert_eq!(*afterwards, before.truth(), "{case}: afterwards");
    assert!(
        *by_reader == before.truth() || *by_reader == Told::Unavailable,
        "{case}: the reader was told {}\n{}",
        short(by_reader),
        trace::tell(&history)
    );
    let arrived = switch.counted.lock().unwrap().arrived;
    (by_reader.clone(), arrived > at)
}

#[test]
fn trace_41_a_bucket_that_goes_or_comes_back_in_the_middle_of_a_read_is_never_taken_for_no_state() {
    let (mut cases, mut errors) = (0, 0);
    for before in Before::ALL {
        for how in [Outage::NoSuchBucket, Outage::Unsaid, Outage::Denied] {
            for (goes, swapped) in [(true, false), (true, true), (false, false), (false, true)] {
                for at in 0..100 {
                    let (told, reached) = read_in_bad_weather(before, how, goes, at, swapped);
                    if !reached {
                        break;
                    }
                    cases += 1;
                    errors += usize::from(told == Told::Unavailable);
                }
            }
        }
    }
    assert!(cases > 300, "only {cases} cases");
    assert!(
        errors > cases / 4,
        "the bucket was hardly missed: {errors} errors in {cases} cases"
    );
}
