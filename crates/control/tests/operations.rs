//! The operations one by one, as their callers see them.

#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use opentaco_control::versions::Reinstate;
use opentaco_control::{
    Annotation, ControlError, CreateUnit, Door, ListUnits, Origin, StateControl, StateWrite,
};
use opentaco_domain::{Caller, Holding, LockId, Principal, UnitId, UnitPrefix, VersionId};
use opentaco_storage::bucket::{Kind, Verb};
use opentaco_storage::is_vacant;
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, On};

use crate::common::{
    alice, body, control, create, described, history, listed, lock, lock_request, prod, read, rejected,
    replica, said, state, under, unit, unlock, uuid, versions, write, written,
};

const COPY: &str = "myapp/prod/terraform.tfstate";

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn prefix(text: &str) -> ListUnits {
    ListUnits {
        prefix: UnitPrefix::parse(text).unwrap(),
        ..ListUnits::default()
    }
}

async fn names(control: &StateControl, wanted: ListUnits) -> Vec<String> {
    let page = control.list_units(&alice(), wanted).await.unwrap();
    page.units.iter().map(|view| view.unit.to_string()).collect()
}

async fn serials(control: &StateControl, unit: &UnitId) -> Vec<u64> {
    versions(control, unit)
        .await
        .iter()
        .map(|committed| committed.serial.unwrap())
        .collect()
}

async fn version_objects(world: &World) -> usize {
    world
        .keys()
        .await
        .iter()
        .filter(|key| key.starts_with("__opentaco_versions/"))
        .count()
}

fn plainly() -> Reinstate {
    Reinstate::plainly(Door::Management)
}

#[tokio::test(start_paused = true)]
async fn a_created_unit_is_described_and_listed_and_has_no_state() {
    for world in World::of_each_kind() {
        let control = replica(&world);
        let asked = CreateUnit {
            labels: labels(&[("team", "red")]),
            description: "the shop".to_owned(),
        };
        let view = control.create_unit(&alice(), &prod(), asked).await.unwrap();
        for view in [view, described(&replica(&world), &prod()).await] {
            assert_eq!((view.size, view.locked, view.current), (0, false, None));
            assert_eq!(
                (view.labels, view.description.as_str()),
                (labels(&[("team", "red")]), "the shop")
            );
            assert!(view.created.is_some());
        }
        assert_eq!(listed(&replica(&world)).await, ["myapp/prod"]);
        assert_eq!(read(&replica(&world), &prod()).await.unwrap(), None);
        assert_eq!(versions(&replica(&world), &prod()).await, []);

        let again = create(&replica(&world), &prod()).await;
        assert!(
            matches!(again, Err(ControlError::AlreadyExists { .. })),
            "{again:?}"
        );
        assert_eq!(described(&replica(&world), &prod()).await.description, "the shop");
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_was_only_locked_is_no_unit() {
    let world = World::new();
    let control = replica(&world);
    lock(&control, &prod(), 1).await.unwrap();
    control.settle_down().await;
    assert!(listed(&replica(&world)).await.is_empty());
    let view = control.describe_unit(&alice(), &prod()).await;
    assert!(matches!(view, Err(ControlError::NotFound { .. })), "{view:?}");
    assert_eq!(read(&control, &prod()).await.unwrap(), None);
    create(&control, &prod()).await.unwrap();
    assert_eq!(
        described(&replica(&world), &prod()).await.holder.unwrap().info.id,
        uuid(1)
    );
}

fn relabelled(labels: &[(&str, Option<&str>)]) -> Annotation {
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    Annotation {
        labels: labels.collect(),
        ..Annotation::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_unit_changes_only_where_something_is_given_and_outlives_writes_and_deletion() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &state(1, "a")).await;
    let red = labels(&[("team", "red"), ("tier", "gold")]);
    control
        .annotate_unit(
            &alice(),
            &prod(),
            &relabelled(&[("team", Some("red")), ("tier", Some("gold"))]),
        )
        .await
        .unwrap();
    let view = control
        .annotate_unit(&alice(), &prod(), &said("the shop"))
        .await
        .unwrap();
    assert_eq!((&view.labels, view.description.as_str()), (&red, "the shop"));
    written(&replica(&world), &prod(), &state(2, "b")).await;
    control.delete_unit(&alice(), &prod()).await.unwrap();
    control
        .undelete_unit(&alice(), &prod(), Door::Management)
        .await
        .unwrap();
    let view = described(&replica(&world), &prod()).await;
    assert_eq!((&view.labels, view.description.as_str()), (&red, "the shop"));

    let blue = labels(&[("team", "blue")]);
    let view = control
        .annotate_unit(
            &alice(),
            &prod(),
            &relabelled(&[("tier", None), ("team", Some("blue"))]),
        )
        .await
        .unwrap();
    assert_eq!(view.labels, blue, "one was set and one taken off");
    let nowhere = control
        .annotate_unit(&alice(), &unit("nowhere"), &relabelled(&[("team", Some("blue"))]))
        .await;
    assert!(
        matches!(nowhere, Err(ControlError::NotFound { .. })),
        "{nowhere:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn labels_and_descriptions_over_their_limits_are_refused_and_nothing_is_made() {
    let control = replica(&World::new());
    let many: BTreeMap<String, String> = (0..65).map(|n| (format!("l{n}"), String::new())).collect();
    let long = "x".repeat(256);
    let wrong = [
        many,
        labels(&[("", "x")]),
        labels(&[(&long, "x")]),
        labels(&[("x", &long)]),
        labels(&[("x", "a\nb")]),
    ];
    for labels in wrong {
        let asked = CreateUnit {
            labels,
            ..CreateUnit::default()
        };
        let answer = control.create_unit(&alice(), &prod(), asked).await;
        assert!(matches!(answer, Err(ControlError::Invalid { .. })), "{answer:?}");
    }
    let asked = CreateUnit {
        description: "x".repeat(4097),
        ..CreateUnit::default()
    };
    let answer = control.create_unit(&alice(), &prod(), asked).await;
    assert!(matches!(answer, Err(ControlError::Invalid { .. })), "{answer:?}");
    assert_eq!(control.counts().total(), 0);

    let most = (0..64).map(|n| (format!("l{n}"), "x".repeat(255))).collect();
    let asked = CreateUnit {
        labels: most,
        description: "x".repeat(4096),
    };
    control.create_unit(&alice(), &prod(), asked).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_prefix_is_one_of_the_string_and_pages_of_any_size_make_the_whole_list() {
    let world = World::new();
    let control = replica(&world);
    for name in [
        "app",
        "app/a",
        "app/b",
        "apple/x",
        "net/prod.tfstate",
        "net/prod2",
        "z",
    ] {
        written(&control, &unit(name), &state(1, name)).await;
    }
    create(&control, &unit("app/empty")).await.unwrap();
    written(&control, &unit("app/gone"), &state(1, "gone")).await;
    control.delete_unit(&alice(), &unit("app/gone")).await.unwrap();
    let mut all = listed(&replica(&world)).await;
    all.sort();
    assert_eq!(
        all,
        [
            "app",
            "app/a",
            "app/b",
            "app/empty",
            "apple/x",
            "net/prod.tfstate",
            "net/prod2",
            "z"
        ]
    );

    for (text, expected) in [
        ("app", &["app", "app/a", "app/b", "app/empty", "apple/x"][..]),
        ("app/", &["app/a", "app/b", "app/empty"]),
        ("appl", &["apple/x"]),
        ("net/prod", &["net/prod.tfstate", "net/prod2"]),
        ("net/prod.tfstate", &["net/prod.tfstate"]),
        ("nothing", &[]),
    ] {
        let mut found = names(&replica(&world), prefix(text)).await;
        found.sort();
        assert_eq!(found, expected, "{text}");
    }

    for text in ["", "app", "app/", "net"] {
        let whole = names(&replica(&world), prefix(text)).await;
        for limit in 1..=whole.len() + 1 {
            let (mut seen, mut token, mut pages) = (Vec::new(), None, 0);
            loop {
                // Each page from another replica: the token is all there is between them.
                let wanted = ListUnits {
                    limit: Some(limit),
                    page_token: token,
                    ..prefix(text)
                };
                let page = replica(&world).list_units(&alice(), wanted).await.unwrap();
                assert!(page.units.len() <= limit);
                seen.extend(page.units.iter().map(|view| view.unit.to_string()));
                pages += 1;
                token = page.next_page_token;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(seen, whole, "`{text}` in pages of {limit}");
            assert!(
                pages <= whole.len() / limit + 1,
                "`{text}`: {pages} pages of {limit}"
            );
        }
    }

    let wanted = ListUnits {
        page_token: Some("junk".to_owned()),
        ..ListUnits::default()
    };
    let answer = control.list_units(&alice(), wanted).await;
    assert!(matches!(answer, Err(ControlError::Invalid { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_can_be_narrowed_by_labels_on_full_pages() {
    let world = World::new();
    let control = replica(&world);
    for n in 0..9 {
        let team = if n % 3 == 0 { "red" } else { "blue" };
        let asked = CreateUnit {
            labels: labels(&[("team", team), ("n", "x")]),
            ..CreateUnit::default()
        };
        control
            .create_unit(&alice(), &unit(&format!("u{n}")), asked)
            .await
            .unwrap();
        written(&control, &unit(&format!("u{n}")), &state(1, "s")).await;
    }
    written(&control, &unit("u-without"), &state(1, "s")).await;
    for pairs in [&[("team", "red")][..], &[("team", "red"), ("n", "x")]] {
        let wanted = ListUnits {
            labels: labels(pairs),
            ..ListUnits::default()
        };
        assert_eq!(names(&replica(&world), wanted).await, ["u0", "u3", "u6"]);
    }
    let wanted = ListUnits {
        labels: labels(&[("team", "red")]),
        limit: Some(2),
        ..ListUnits::default()
    };
    assert_eq!(names(&replica(&world), wanted).await, ["u0", "u3"]);
    let wanted = ListUnits {
        labels: labels(&[("team", "red"), ("n", "y")]),
        ..ListUnits::default()
    };
    assert!(names(&replica(&world), wanted).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn listing_costs_one_request_per_thousand_names_whatever_the_history_and_reads_heads_of_empty_copies_only()
 {
    let world = World::new();
    let writer = replica(&world);
    let units: Vec<UnitId> = (0..2_500)
        .map(|n| unit(&format!("team{:02}/unit{n:04}", n % 20)))
        .collect();
    for serial in 1..=2 {
        for unit in &units {
            write(&writer, unit, Holding::Nothing, &state(serial, "s"))
                .await
                .unwrap();
        }
        writer.settle_down().await;
        let lister = replica(&world);
        assert_eq!(listed(&lister).await.len(), 2_500);
        // 2,500 copies and one word for all names of ours are three pages; the graph unit is looked for by itself.
        let requests: Vec<_> = lister.counts().snapshot().into_iter().collect();
        assert_eq!(
            requests,
            [((Verb::List, Kind::Units), 4)],
            "after {serial} writes to each"
        );
    }
    assert_eq!(version_objects(&world).await, 5_000, "there is a history");

    for n in 0..3 {
        create(&writer, &unit(&format!("team00/empty{n}"))).await.unwrap();
    }
    writer.settle_down().await;
    let lister = replica(&world);
    assert_eq!(listed(&lister).await.len(), 2_503);
    let requests: Vec<_> = lister.counts().snapshot().into_iter().collect();
    assert_eq!(
        requests,
        [((Verb::Get, Kind::Head), 3), ((Verb::List, Kind::Units), 4)]
    );

    let lister = replica(&world);
    assert_eq!(names(&lister, prefix("team07/")).await.len(), 125);
    let requests: Vec<_> = lister.counts().snapshot().into_iter().collect();
    assert_eq!(
        requests,
        [((Verb::List, Kind::Units), 1)],
        "no graph unit starts so"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_unit_is_gone_for_readers_and_lists_and_comes_back_as_a_new_version_with_its_history() {
    for world in World::of_each_kind() {
        let control = replica(&world);
        let (a, b) = (state(1, "a"), state(2, "b"));
        written(&control, &prod(), &a).await;
        written(&control, &prod(), &b).await;
        let before = versions(&control, &prod()).await;

        lock(&control, &prod(), 1).await.unwrap();
        match control.delete_unit(&alice(), &prod()).await {
            Err(ControlError::Locked { holder, .. }) => assert_eq!(holder.info.id, uuid(1)),
            other => panic!("{other:?}"),
        }
        assert_eq!(read(&control, &prod()).await.unwrap(), Some(b.clone()));
        unlock(&control, &prod(), 1).await.unwrap();

        control.delete_unit(&alice(), &prod()).await.unwrap();
        control.settle_down().await;
        let copy = world.copy(&prod()).await;
        assert!(copy.as_deref().is_some_and(is_vacant), "emptied, not removed");
        let other = replica(&world);
        assert_eq!(read(&other, &prod()).await.unwrap(), None);
        assert!(listed(&other).await.is_empty());
        for answer in [
            other.describe_unit(&alice(), &prod()).await.map(drop),
            other.delete_unit(&alice(), &prod()).await,
            other.annotate_unit(&alice(), &prod(), &said("x")).await.map(drop),
        ] {
            assert!(matches!(answer, Err(ControlError::NotFound { .. })), "{answer:?}");
        }
        assert_eq!(
            history(&other, &prod()).await,
            [b.clone(), a.clone()],
            "the history stays"
        );

        other
            .undelete_unit(&alice(), &prod(), Door::Management)
            .await
            .unwrap();
        other.settle_down().await;
        assert_eq!(read(&replica(&world), &prod()).await.unwrap(), Some(b.clone()));
        assert_eq!(world.copy(&prod()).await, Some(b.clone()));
        assert_eq!(
            history(&replica(&world), &prod()).await,
            [b.clone(), b.clone(), a.clone()]
        );
        let after = versions(&replica(&world), &prod()).await;
        assert_eq!(after[0].origin, Origin::Undelete);
        assert_eq!(
            after[1].version, before[0].version,
            "names of versions do not change"
        );
        assert_eq!(listed(&replica(&world)).await, ["myapp/prod"]);

        let again = control.undelete_unit(&alice(), &prod(), Door::Management).await;
        assert!(
            matches!(again, Err(ControlError::AlreadyExists { .. })),
            "{again:?}"
        );
        let never = control
            .undelete_unit(&alice(), &unit("never"), Door::Management)
            .await;
        assert!(matches!(never, Err(ControlError::NotFound { .. })), "{never:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_unit_without_a_state_comes_back_without_one_however_late() {
    let world = World::new();
    world.clock.set("2100-01-01T12:00:00Z".parse().unwrap());
    let control = replica(&world);
    create(&control, &prod()).await.unwrap();
    control.delete_unit(&alice(), &prod()).await.unwrap();
    control.settle_down().await;
    // Nothing of it can expire.
    world.clock.advance(SignedDuration::from_hours(24 * 31));
    let lister = replica(&world);
    assert!(listed(&lister).await.is_empty());
    lister.settle_down().await;
    control
        .undelete_unit(&alice(), &prod(), Door::Management)
        .await
        .unwrap();
    control.settle_down().await;
    assert_eq!(listed(&replica(&world)).await, ["myapp/prod"]);
    assert_eq!(read(&replica(&world), &prod()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn thirty_days_after_its_deletion_a_unit_cannot_be_brought_back_and_its_versions_are_gone() {
    let world = World::new();
    // The store has a clock of its own, the machine's: what counts is the later of both.
    world.clock.set("2100-01-01T12:00:00Z".parse().unwrap());
    let control = replica(&world);
    written(&control, &prod(), &state(1, "a")).await;
    control.delete_unit(&alice(), &prod()).await.unwrap();
    control.settle_down().await;
    let days = |days: i64| SignedDuration::from_hours(24 * days);

    world.clock.advance(days(30) - SignedDuration::from_secs(1));
    assert!(listed(&replica(&world)).await.is_empty());
    assert_eq!(version_objects(&world).await, 1, "not yet");

    world.clock.advance(SignedDuration::from_secs(2));
    let lister = replica(&world);
    assert!(listed(&lister).await.is_empty());
    lister.settle_down().await;
    assert_eq!(version_objects(&world).await, 0);
    let late = replica(&world)
        .undelete_unit(&alice(), &prod(), Door::Management)
        .await;
    assert!(matches!(late, Err(ControlError::NotFound { .. })), "{late:?}");

    written(&replica(&world), &prod(), &state(1, "new")).await;
    assert_eq!(history(&replica(&world), &prod()).await, [state(1, "new")]);
}

#[tokio::test(start_paused = true)]
async fn the_history_is_told_newest_first_in_pages_with_who_wrote_what_under_which_lock() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &state(1, "a")).await;
    lock(&control, &prod(), 1).await.unwrap();
    for serial in 2..=60 {
        write(&control, &prod(), under(1), &state(serial, "s"))
            .await
            .unwrap();
    }
    unlock(&control, &prod(), 1).await.unwrap();
    control.settle_down().await;

    let reader = replica(&world);
    let all = versions(&reader, &prod()).await;
    assert_eq!(
        serials(&reader, &prod()).await,
        (1..=60).rev().collect::<Vec<_>>()
    );
    for committed in &all {
        let serial = committed.serial.unwrap();
        assert_eq!(committed.by, *alice().principal());
        assert_eq!(committed.lock_id, (serial > 1).then(|| uuid(1)), "{serial}");
        assert_eq!(committed.lineage.as_deref(), Some("one"));
        let bytes = body(
            reader
                .read_version(&alice(), &prod(), &committed.version)
                .await
                .unwrap(),
        )
        .await
        .unwrap();
        assert_eq!(bytes, state(serial, if serial == 1 { "a" } else { "s" }));
    }
    for limit in [1, 7, 59, 60, 61] {
        let (mut seen, mut after): (Vec<VersionId>, Option<VersionId>) = (Vec::new(), None);
        loop {
            let page = reader
                .versions(&alice(), &prod(), after.as_ref(), Some(limit))
                .await
                .unwrap();
            assert!(page.len() <= limit);
            seen.extend(page.iter().map(|committed| committed.version));
            after = page.last().map(|committed| committed.version);
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(
            seen,
            all.iter().map(|committed| committed.version).collect::<Vec<_>>(),
            "pages of {limit}"
        );
    }
    let unknown = VersionId {
        nonce: all[0].version.nonce ^ 1,
        ..all[0].version
    };
    let answer = reader.read_version(&alice(), &prod(), &unknown).await;
    assert!(matches!(answer, Err(ControlError::NotFound { .. })), "{answer:?}");
    let answer = reader.versions(&alice(), &unit("never"), None, None).await;
    assert!(matches!(answer, Err(ControlError::NotFound { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restored_version_is_the_old_one_byte_for_byte_but_for_a_serial_one_higher_than_the_current() {
    for world in World::of_each_kind() {
        let control = replica(&world);
        let odd = |serial: &str| {
            Bytes::from(format!(
                "\t{{ \"lineage\" : \"one\",\r\n \"big\": 12345678901234567890123.10, \"serial\" :{serial} ,\"ü\": [\"\\u00fc\"] }} \n"
            ))
        };
        let first = written(&control, &prod(), &odd("7")).await;
        written(&control, &prod(), &state(41, "b")).await;

        let receipt = control
            .restore(&alice(), &prod(), &first, plainly())
            .await
            .unwrap();
        control.settle_down().await;
        assert_eq!(receipt.serial, Some(42));
        let reader = replica(&world);
        assert_eq!(read(&reader, &prod()).await.unwrap(), Some(odd("42")));
        assert_eq!(
            history(&reader, &prod()).await,
            [odd("42"), state(41, "b"), odd("7")]
        );
        let now = versions(&reader, &prod()).await;
        assert_eq!(
            (now[0].version, &now[0].origin),
            (receipt.version, &Origin::Restore(first))
        );
        assert_eq!(now[2].version, first, "names of versions do not change");

        // One whose serial is higher already keeps it.
        let second = now[1].version;
        written(&control, &prod(), &state(5, "forced back")).await;
        let receipt = control
            .restore(&alice(), &prod(), &second, plainly())
            .await
            .unwrap();
        assert_eq!(receipt.serial, Some(41));
        assert_eq!(read(&reader, &prod()).await.unwrap(), Some(state(41, "b")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_state_is_restored_as_it_is() {
    let control = replica(&World::new());
    let sealed = Bytes::from(
        r#"{"serial":1,"lineage":"one","meta":{},"encrypted_data":"c2VhbGVk","encryption_version":"v0"}"#,
    );
    let version = written(&control, &prod(), &sealed).await;
    written(&control, &prod(), &state(9, "b")).await;
    control
        .restore(&alice(), &prod(), &version, plainly())
        .await
        .unwrap();
    assert_eq!(read(&control, &prod()).await.unwrap(), Some(sealed));
}

#[tokio::test(start_paused = true)]
async fn a_version_of_another_lineage_is_restored_only_by_force() {
    let control = replica(&World::new());
    let other = Bytes::from(r#"{"version":4,"serial":1,"lineage":"two"}"#);
    let version = written(&control, &prod(), &other).await;
    written(&control, &prod(), &state(3, "b")).await;
    match control.restore(&alice(), &prod(), &version, plainly()).await {
        Err(ControlError::OtherLineage { current, .. }) => assert_eq!(current.as_deref(), Some("one")),
        answer => panic!("{answer:?}"),
    }
    assert_eq!(read(&control, &prod()).await.unwrap(), Some(state(3, "b")));
    control
        .restore(
            &alice(),
            &prod(),
            &version,
            Reinstate {
                force: true,
                ..plainly()
            },
        )
        .await
        .unwrap();
    let forced = Bytes::from(r#"{"version":4,"serial":4,"lineage":"two"}"#);
    assert_eq!(read(&control, &prod()).await.unwrap(), Some(forced));
}

#[tokio::test(start_paused = true)]
async fn while_somebody_else_holds_the_unit_nothing_is_restored_or_promoted_and_the_holder_may() {
    let world = World::new();
    let control = replica(&world);
    let first = written(&control, &prod(), &state(1, "a")).await;
    written(&control, &prod(), &state(2, "b")).await;
    write(&control, &prod(), under(9), &state(3, "refused"))
        .await
        .unwrap_err();
    let kept = control.rejected(&alice(), &prod()).await.unwrap()[0].id.clone();
    lock(&control, &prod(), 1).await.unwrap();

    let other = replica(&world);
    for holding in [Holding::Nothing, under(2)] {
        let how = || Reinstate {
            holding: holding.clone(),
            ..plainly()
        };
        for answer in [
            other.restore(&alice(), &prod(), &first, how()).await,
            other.promote(&alice(), &prod(), &kept, how()).await,
        ] {
            match answer {
                Err(ControlError::Locked { holder, .. }) => assert_eq!(holder.info.id, uuid(1)),
                answer => panic!("{answer:?}"),
            }
        }
    }
    assert_eq!(serials(&other, &prod()).await, [2, 1]);
    assert_eq!(
        rejected(&other, &prod()).await,
        [state(3, "refused")],
        "what is kept already is not kept twice"
    );

    let how = || Reinstate {
        holding: under(1),
        ..plainly()
    };
    other.restore(&alice(), &prod(), &first, how()).await.unwrap();
    other.promote(&alice(), &prod(), &kept, how()).await.unwrap();
    let expected = [state(4, "refused"), state(3, "a"), state(2, "b"), state(1, "a")];
    assert_eq!(history(&other, &prod()).await, expected);
    assert_eq!(
        described(&other, &prod()).await.holder.unwrap().info.id,
        uuid(1),
        "the lock stays"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_key_of_its_own_is_done_once_however_often_it_is_sent() {
    let world = World::new();
    let control = replica(&world);
    let first = written(&control, &prod(), &state(1, "a")).await;
    written(&control, &prod(), &state(2, "b")).await;
    let keyed = |key: &str| Reinstate {
        idempotency_key: Some(key.to_owned()),
        ..plainly()
    };
    let receipt = control
        .restore(&alice(), &prod(), &first, keyed("k1"))
        .await
        .unwrap();
    written(&control, &prod(), &state(4, "c")).await;
    for replica in [&control, &replica(&world)] {
        let again = replica
            .restore(&alice(), &prod(), &first, keyed("k1"))
            .await
            .unwrap();
        assert_eq!(again.version, receipt.version);
    }
    assert_eq!(serials(&control, &prod()).await, [4, 3, 2, 1]);
    control
        .restore(&alice(), &prod(), &first, keyed("k2"))
        .await
        .unwrap();
    assert_eq!(serials(&control, &prod()).await, [5, 4, 3, 2, 1]);

    let mut write = StateWrite::new(state(6, "d"), Holding::Nothing, Door::Management);
    write.idempotency_key = Some("k3".to_owned());
    let receipt = control
        .write_state(&alice(), &prod(), write.clone())
        .await
        .unwrap();
    written(&control, &prod(), &state(7, "e")).await;
    let again = replica(&world)
        .write_state(&alice(), &prod(), write)
        .await
        .unwrap();
    assert_eq!(again.version, receipt.version);
    assert_eq!(read(&control, &prod()).await.unwrap(), Some(state(7, "e")));
}

fn keeping(versions_max: usize, versions_min_age: Duration) -> World {
    let mut world = World::new();
    world.retention.versions_max = versions_max;
    world.retention.versions_min_age = versions_min_age;
    // The memory store tells by the real clock when an object was put, and the replicas' clock is never behind it.
    world.clock.set("2100-01-01T00:00:00Z".parse().unwrap());
    world
}

#[tokio::test(start_paused = true)]
async fn the_first_and_the_last_write_of_a_lock_session_outlive_those_in_between() {
    let world = keeping(10, Duration::ZERO);
    let control = replica(&world);
    let mut serial = 0;
    for session in 1..=4 {
        lock(&control, &prod(), session).await.unwrap();
        while serial < u64::from(session) * 8 && serial < 26 {
            serial += 1;
            write(&control, &prod(), under(session), &state(serial, "s"))
                .await
                .unwrap();
            control.settle_down().await;
            if serial < 26 {
                assert_eq!(
                    serials(&control, &prod()).await.len() as u64,
                    serial,
                    "not before it is time"
                );
            }
        }
        unlock(&control, &prod(), session).await.unwrap();
        control.settle_down().await;
    }
    // Sessions wrote 1-8, 9-16, 17-24, 25-26. Of those in between, the newest two were spared by the number.
    assert_eq!(
        serials(&replica(&world), &prod()).await,
        [26, 25, 24, 23, 22, 17, 16, 9, 8, 1]
    );
    assert_eq!(version_objects(&world).await, 10);
    let kept = history(&replica(&world), &prod()).await;
    assert_eq!(kept[9], state(1, "s"));
    assert_eq!(kept.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn no_version_is_pruned_before_its_age_however_many_there_are() {
    let world = keeping(10, Duration::from_secs(3600));
    let control = replica(&world);
    for serial in 1..=30 {
        written(&control, &prod(), &state(serial, "s")).await;
    }
    assert_eq!(serials(&replica(&world), &prod()).await.len(), 30);
    world.clock.advance(SignedDuration::from_secs(3599));
    written(&control, &prod(), &state(31, "s")).await;
    assert_eq!(serials(&replica(&world), &prod()).await.len(), 31);
    world.clock.advance(SignedDuration::from_secs(1));
    written(&control, &prod(), &state(32, "s")).await;
    assert_eq!(
        serials(&replica(&world), &prod()).await,
        (23..=32).rev().collect::<Vec<_>>()
    );
    assert_eq!(version_objects(&world).await, 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pruned_from_the_version_on_that_the_copy_was_last_seen_holding() {
    let world = keeping(5, Duration::ZERO);
    let (vault, faults) = world.failing_replica();
    let control = control(vault);
    for serial in 1..=3 {
        written(&control, &prod(), &state(serial, "s")).await;
    }
    faults.say(On::next(Does::Put, COPY).ending().always(), Fate::Denied);
    for serial in 4..=40 {
        let saved = write(&control, &prod(), Holding::Nothing, &state(serial, "s")).await;
        assert!(matches!(saved, Err(ControlError::Saved { .. })), "{saved:?}");
        control.settle_down().await;
    }
    assert_eq!(world.copy(&prod()).await, Some(state(3, "s")));
    let kept = serials(&replica(&world), &prod()).await;
    assert_eq!(
        kept,
        (3..=40).rev().collect::<Vec<_>>(),
        "1 and 2 went, 3 is what the copy holds"
    );
    faults.heal();
    for serial in 41..=80 {
        written(&control, &prod(), &state(serial, "s")).await;
    }
    let kept = serials(&replica(&world), &prod()).await;
    assert!(kept.len() < 5 + 16, "pruning goes on: {kept:?}");
    assert_eq!(
        kept,
        (81 - kept.len() as u64..=80).rev().collect::<Vec<_>>(),
        "the oldest went"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_listed_with_who_and_why_and_comes_back_byte_for_byte() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &state(1, "a")).await;
    lock(&control, &prod(), 1).await.unwrap();
    let bob = Caller::new(Principal::new("bob"));
    let write = StateWrite::new(state(2, "by bob"), under(2), Door::Terraform);
    let kept = match control.write_state(&bob, &prod(), write).await {
        Err(ControlError::NotHolder { holder, kept, .. }) => {
            assert_eq!(holder.unwrap().info.id, uuid(1));
            kept.unwrap()
        }
        other => panic!("{other:?}"),
    };

    let reader = replica(&world);
    let all = reader.rejected(&alice(), &prod()).await.unwrap();
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(
        (&one.id, one.by.as_str(), one.why.as_str()),
        (&kept, "bob", "held-by-another")
    );
    assert_eq!(
        (one.lock.as_deref(), one.door.as_str()),
        (Some(uuid(2).as_str()), "terraform")
    );
    assert!(
        one.holder.as_ref().unwrap().contains("alice@laptop"),
        "{:?}",
        one.holder
    );
    assert_eq!(
        (one.at, one.size),
        (
            opentaco_domain::Clock::now(&*world.clock),
            state(2, "by bob").len() as u64
        )
    );
    let (told, read_back) = reader.read_rejected(&alice(), &prod(), &kept).await.unwrap();
    assert_eq!((&told, body(read_back).await.unwrap()), (one, state(2, "by bob")));
    for wrong in ["", "nothing", "../../x", kept.to_uppercase().as_str()] {
        let answer = reader.read_rejected(&alice(), &prod(), wrong).await;
        assert!(
            matches!(answer, Err(ControlError::NotFound { .. })),
            "{wrong}: {answer:?}"
        );
        let answer = reader.promote(&alice(), &prod(), wrong, plainly()).await;
        assert!(
            matches!(answer, Err(ControlError::NotFound { .. })),
            "{wrong}: {answer:?}"
        );
    }
    assert!(
        reader
            .rejected(&alice(), &unit("other"))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_after_the_lock_was_broken_or_taken_over_is_refused_by_every_replica_and_can_be_promoted() {
    for taken_over in [false, true] {
        for world in World::of_each_kind() {
            let holder = replica(&world);
            written(&holder, &prod(), &state(1, "a")).await;
            lock(&holder, &prod(), 1).await.unwrap();
            write(&holder, &prod(), under(1), &state(2, "b")).await.unwrap();
            let other = replica(&world);
            assert_eq!(
                other.force_unlock(&alice(), &prod()).await.unwrap().unwrap().id,
                uuid(1)
            );
            if taken_over {
                lock(&other, &prod(), 2).await.unwrap();
            }
            for (control, marker) in [
                (&holder, "from the old"),
                (&other, "other"),
                (&replica(&world), "new"),
            ] {
                match write(control, &prod(), under(1), &state(3, marker)).await {
                    Err(ControlError::NotHolder { holder, kept, .. }) => {
                        assert_eq!(holder.map(|holder| holder.info.id), taken_over.then(|| uuid(2)));
                        assert!(kept.is_some());
                    }
                    answer => panic!("{answer:?}"),
                }
                world.clock.advance(SignedDuration::from_secs(1));
            }
            let expected = [state(3, "new"), state(3, "other"), state(3, "from the old")];
            assert_eq!(rejected(&replica(&world), &prod()).await, expected);
            assert_eq!(
                history(&replica(&world), &prod()).await,
                [state(2, "b"), state(1, "a")]
            );

            if taken_over {
                unlock(&other, &prod(), 2).await.unwrap();
            }
            let id = other.rejected(&alice(), &prod()).await.unwrap()[0].id.clone();
            other.promote(&alice(), &prod(), &id, plainly()).await.unwrap();
            assert_eq!(
                read(&replica(&world), &prod()).await.unwrap(),
                Some(state(3, "new"))
            );
            assert_eq!(
                versions(&replica(&world), &prod()).await[0].origin,
                Origin::Promote(id)
            );
            other.settle_down().await;
            assert_eq!(world.copy(&prod()).await, Some(state(3, "new")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_hundred_refused_writes_of_a_unit_are_kept_for_thirty_days() {
    let world = World::new();
    // The store has a clock of its own, the machine's: what counts is the later of both.
    world.clock.set("2100-01-01T12:00:00Z".parse().unwrap());
    let control = replica(&world);
    for n in 1..=105 {
        write(&control, &prod(), under(9), &state(n, "refused"))
            .await
            .unwrap_err();
        control.settle_down().await;
        world.clock.advance(SignedDuration::from_secs(1));
    }
    let expected: Vec<Bytes> = (6..=105).rev().map(|n| state(n, "refused")).collect();
    assert_eq!(rejected(&replica(&world), &prod()).await, expected);

    world
        .clock
        .advance(SignedDuration::from_hours(24 * 30) - SignedDuration::from_secs(50));
    write(&control, &prod(), under(9), &state(200, "refused"))
        .await
        .unwrap_err();
    control.settle_down().await;
    let left = rejected(&replica(&world), &prod()).await;
    assert_eq!(left[0], state(200, "refused"));
    assert_eq!(
        left.last(),
        Some(&state(56, "refused")),
        "those of thirty days ago are gone"
    );
    assert_eq!(left.len(), 51);
}

#[tokio::test(start_paused = true)]
async fn taking_and_giving_back_a_lock_can_be_repeated_and_a_uuid_locks_once() {
    for world in World::of_each_kind() {
        let (first, second) = (replica(&world), replica(&world));
        unlock(&first, &prod(), 7).await.unwrap();
        assert_eq!(first.force_unlock(&alice(), &prod()).await.unwrap(), None);
        for control in [&first, &second, &replica(&world)] {
            lock(control, &prod(), 1).await.unwrap();
        }
        let bob = Caller::new(Principal::new("bob"));
        let stolen = second.lock(&bob, &prod(), lock_request(&uuid(1))).await;
        assert!(
            matches!(stolen, Err(ControlError::Locked { .. })),
            "the same id of somebody else: {stolen:?}"
        );
        match lock(&second, &prod(), 2).await {
            Err(ControlError::Locked { holder, .. }) => assert_eq!(holder.info.id, uuid(1)),
            other => panic!("{other:?}"),
        }
        match unlock(&second, &prod(), 2).await {
            Err(ControlError::NotHolder { holder, .. }) => assert_eq!(holder.unwrap().info.id, uuid(1)),
            other => panic!("{other:?}"),
        }
        for control in [&second, &first, &replica(&world)] {
            unlock(control, &prod(), 1).await.unwrap();
        }
        for control in [&first, &second] {
            let again = lock(control, &prod(), 1).await;
            assert!(matches!(again, Err(ControlError::LockOver { .. })), "{again:?}");
        }
        lock(&first, &prod(), 3).await.unwrap();
        unlock(&second, &prod(), 1).await.unwrap();
        assert_eq!(
            second.force_unlock(&alice(), &prod()).await.unwrap().unwrap().id,
            uuid(3)
        );
        assert_eq!(first.force_unlock(&alice(), &prod()).await.unwrap(), None);
        let over = lock(&first, &prod(), 3).await;
        assert!(
            matches!(over, Err(ControlError::LockOver { .. })),
            "a broken lock is over: {over:?}"
        );

        let by_hand = LockId::parse("by-hand").unwrap();
        for control in [&first, &second] {
            control
                .lock(&alice(), &prod(), lock_request(&by_hand))
                .await
                .unwrap();
            control.unlock(&alice(), &prod(), &by_hand).await.unwrap();
        }
        first.settle_down().await;
        second.settle_down().await;
        assert_eq!(world.person_gets(&format!("{COPY}.lock")).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_write_is_committed_once_and_an_older_one_of_the_same_lock_comes_too_late() {
    let world = World::new();
    let control = replica(&world);
    lock(&control, &prod(), 1).await.unwrap();
    let first = write(&control, &prod(), under(1), &state(1, "a")).await.unwrap();
    let second = write(&control, &prod(), under(1), &state(2, "b")).await.unwrap();
    for replica in [&control, &replica(&world)] {
        assert_eq!(
            write(replica, &prod(), under(1), &state(2, "b"))
                .await
                .unwrap()
                .version,
            second.version
        );
        assert_eq!(
            write(replica, &prod(), under(1), &state(1, "a"))
                .await
                .unwrap()
                .version,
            first.version
        );
    }
    match write(&control, &prod(), under(1), &state(1, "late")).await {
        Err(ControlError::Late { kept, .. }) => assert!(kept.is_some()),
        other => panic!("{other:?}"),
    }
    assert_eq!(rejected(&control, &prod()).await, [state(1, "late")]);
    assert_eq!(history(&control, &prod()).await, [state(2, "b"), state(1, "a")]);
    let mut forced = StateWrite::new(state(1, "late"), under(1), Door::Management);
    forced.force = true;
    control.write_state(&alice(), &prod(), forced).await.unwrap();
    assert_eq!(read(&control, &prod()).await.unwrap(), Some(state(1, "late")));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_json_object_is_not_written() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &state(1, "a")).await;
    for junk in ["", " ", "[]", "null", "{", "{} x", "\u{feff}{}"] {
        let answer = write(&control, &prod(), Holding::Nothing, &Bytes::from(junk)).await;
        assert!(
            matches!(answer, Err(ControlError::Invalid { .. })),
            "{junk}: {answer:?}"
        );
    }
    assert_eq!(history(&control, &prod()).await, [state(1, "a")]);
    assert!(rejected(&control, &prod()).await.is_empty());
}
