//! Buckets that are older than us, and people who go on using theirs: every state in it is a unit where it lies, a lock
//! file beside it holds, and what a person puts is honoured or kept.

use bytes::Bytes;
use opentaco_control::{ControlError, Origin};
use opentaco_domain::{Holding, LockId, UnitId};
use opentaco_testkit::buckets::World;
use opentaco_testkit::faults::{Does, Fate, On};

use crate::common::{
    alice, control, described, history, listed, lock, prod, read, rejected, replica, state, under, unit,
    unlock, uuid, versions, write, written,
};

const COPY: &str = "myapp/prod/terraform.tfstate";

/// Keys of states as other tools have put them, and what the units are called.
const LAYOUTS: [(&str, &str); 16] = [
    (
        "terragrunt/live/prod/eu-west-1/vpc/terraform.tfstate",
        "terragrunt/live/prod/eu-west-1/vpc",
    ),
    ("env:/staging/network.tfstate", "env:/staging/network.tfstate"),
    ("env:/staging/terraform.tfstate", "env:/staging"),
    ("env:/dev/team/app/terraform.tfstate", "env:/dev/team/app"),
    ("network/prod.tfstate", "network/prod.tfstate"),
    ("top.tfstate", "top.tfstate"),
    ("with space/a b/terraform.tfstate", "with space/a b"),
    ("a+b/terraform.tfstate", "a+b"),
    ("a=b/c=d.tfstate", "a=b/c=d.tfstate"),
    ("~home/x~/terraform.tfstate", "~home/x~"),
    ("50%/%2F/terraform.tfstate", "50%/%2F"),
    ("ünï/状態/terraform.tfstate", "ünï/状態"),
    ("q?a=1&b#c/terraform.tfstate", "q?a=1&b#c"),
    ("under__score/_/terraform.tfstate", "under__score/_"),
    ("x__opentaco_y/terraform.tfstate", "x__opentaco_y"),
    ("__opentaco_system/terraform.tfstate", "__opentaco_system"),
];

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_older_than_us_is_adopted_where_it_lies() {
    for world in World::of_each_kind() {
        for (key, name) in LAYOUTS {
            world.person_puts(key, state(7, name)).await;
        }
        world.person_puts("readme.md", "not a state").await;
        let before = world.keys().await;

        let control = replica(&world);
        let mut units = listed(&control).await;
        units.sort_unstable();
        let mut names = LAYOUTS.map(|(_, name)| name);
        names.sort_unstable();
        assert_eq!(units, names);
        for (key, name) in LAYOUTS {
            let unit = unit(name);
            assert_eq!(unit.state_key(), key);
            assert_eq!(
                read(&control, &unit).await.unwrap(),
                Some(state(7, name)),
                "{name}"
            );
            let view = described(&control, &unit).await;
            assert_eq!(
                (view.size, view.locked),
                (state(7, name).len() as u64, false),
                "{name}"
            );
        }
        assert_eq!(world.keys().await, before, "looking changes nothing");

        for (key, name) in LAYOUTS {
            let unit = unit(name);
            lock(&control, &unit, 1).await.unwrap();
            assert_eq!(
                read(&replica(&world), &unit).await.unwrap(),
                Some(state(7, name)),
                "{name} once locked"
            );
            write(&control, &unit, under(1), &state(8, name)).await.unwrap();
            unlock(&control, &unit, 1).await.unwrap();
            control.settle_down().await;
            // The serial of the graph exceeds both what is sent and what is there.
            let serial = if unit == UnitId::graph() { 9 } else { 8 };
            assert_eq!(world.person_gets(key).await, Some(state(serial, name)), "{name}");
            assert_eq!(
                history(&replica(&world), &unit).await,
                [state(serial, name), state(7, name)]
            );
            let origins: Vec<Origin> = versions(&control, &unit)
                .await
                .into_iter()
                .map(|committed| committed.origin)
                .collect();
            assert_eq!(origins, [Origin::Write, Origin::Adopted]);
        }
        let mut units = listed(&replica(&world)).await;
        units.sort_unstable();
        assert_eq!(units, names);
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_called_by_its_key_is_the_unit() {
    let world = World::new();
    world.person_puts(COPY, state(1, "a")).await;
    let control = replica(&world);
    let by_key = unit("/myapp/prod/terraform.tfstate/");
    assert_eq!(by_key, prod());
    lock(&control, &by_key, 1).await.unwrap();
    let other = lock(&replica(&world), &prod(), 2).await;
    assert!(matches!(other, Err(ControlError::Locked { .. })), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn locking_an_old_unit_leaves_its_state_readable_to_its_holder_and_to_everybody() {
    for world in World::of_each_kind() {
        world.person_puts(COPY, state(5, "old")).await;
        let control = replica(&world);
        lock(&control, &prod(), 1).await.unwrap();
        for reader in [&control, &replica(&world)] {
            assert_eq!(read(reader, &prod()).await.unwrap(), Some(state(5, "old")));
        }
        unlock(&control, &prod(), 1).await.unwrap();
        control.settle_down().await;
        assert_eq!(world.copy(&prod()).await, Some(state(5, "old")));
        assert_eq!(history(&control, &prod()).await, [state(5, "old")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_file_beside_a_state_holds_until_it_is_given_back_or_broken() {
    let seeds = r#"{"id":"11111111-1111-4111-8111-111111111111","who":"bob@ci","version":"1.5.7","created":"2026-11-01T00:00:00Z","operation":"OperationTypeApply"}"#;
    let terraforms = r#"{"ID":"11111111-1111-4111-8111-111111111111","Operation":"OperationTypeApply","Info":"","Who":"bob@ci","Version":"1.11.4","Created":"2026-11-01T00:00:00Z","Path":"bucket/myapp/prod/terraform.tfstate"}"#;
    for (file, content) in [
        (".lock", seeds),
        (".lock", terraforms),
        (".tflock", terraforms),
        (".tflock", seeds),
    ] {
        for by_force in [true, false] {
            for with_state in [true, false] {
                let world = World::new();
                let lock_file = format!("{COPY}{file}");
                if with_state {
                    world.person_puts(COPY, state(5, "old")).await;
                    world.person_puts(&lock_file, content).await;
                    let view = described(&replica(&world), &prod()).await;
                    assert!(view.locked);
                    assert_eq!(view.holder.unwrap().info.who, "bob@ci");
                } else {
                    world.person_puts(&lock_file, content).await;
                }
                let control = replica(&world);
                let id = LockId::parse("11111111-1111-4111-8111-111111111111").unwrap();
                match lock(&control, &prod(), 1).await {
                    Err(ControlError::Locked { holder, .. }) => {
                        assert_eq!((&holder.info.id, holder.info.who.as_str()), (&id, "bob@ci"));
                        assert_eq!(holder.info.operation, "OperationTypeApply");
                    }
                    other => panic!("{file}: {other:?}"),
                }
                for holding in [Holding::Nothing, under(1)] {
                    match write(&replica(&world), &prod(), holding, &state(6, "not mine")).await {
                        Err(ControlError::NotHolder { holder, kept, .. }) => {
                            assert_eq!(holder.unwrap().info.id, id);
                            assert!(kept.is_some());
                        }
                        other => panic!("{file}: {other:?}"),
                    }
                }
                assert_eq!(
                    read(&control, &prod()).await.unwrap(),
                    with_state.then(|| state(5, "old"))
                );

                if by_force {
                    assert_eq!(
                        control.force_unlock(&alice(), &prod()).await.unwrap().unwrap().id,
                        id
                    );
                } else {
                    control.unlock(&alice(), &prod(), &id).await.unwrap();
                }
                control.settle_down().await;
                assert_eq!(world.person_gets(&lock_file).await, None, "{file} is gone");
                lock(&replica(&world), &prod(), 1).await.unwrap();
                write(&replica(&world), &prod(), under(1), &state(6, "mine"))
                    .await
                    .unwrap();
                assert_eq!(world.copy(&prod()).await, Some(state(6, "mine")));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_file_that_cannot_be_read_holds_all_the_same_until_it_is_broken() {
    for file in [".lock", ".tflock"] {
        for junk in [
            "",
            "{",
            "[]",
            "null",
            r#"{"Who":"bob"}"#,
            r#"{"ID":7}"#,
            "\u{0}\u{1}",
        ] {
            let world = World::new();
            world.person_puts(COPY, state(5, "old")).await;
            world.person_puts(&format!("{COPY}{file}"), junk).await;
            let control = replica(&world);
            assert!(described(&control, &prod()).await.locked, "{file}: {junk}");
            let answer = lock(&control, &prod(), 1).await;
            assert!(
                matches!(answer, Err(ControlError::Locked { .. })),
                "{file}: {junk}: {answer:?}"
            );
            let answer = write(&control, &prod(), Holding::Nothing, &state(6, "b")).await;
            assert!(
                matches!(answer, Err(ControlError::NotHolder { .. })),
                "{file}: {junk}: {answer:?}"
            );
            let answer = control.delete_unit(&alice(), &prod()).await;
            assert!(
                matches!(answer, Err(ControlError::Locked { .. })),
                "{file}: {junk}: {answer:?}"
            );

            assert!(control.force_unlock(&alice(), &prod()).await.unwrap().is_some());
            lock(&control, &prod(), 1).await.unwrap();
            assert_eq!(read(&control, &prod()).await.unwrap(), Some(state(5, "old")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_file_that_the_bucket_does_not_show_is_never_taken_for_none() {
    for file in [".lock", ".tflock"] {
        let world = World::new();
        world.person_puts(COPY, state(5, "old")).await;
        world
            .person_puts(&format!("{COPY}{file}"), r#"{"ID":"x","Who":"bob"}"#)
            .await;
        let (vault, faults) = world.failing_replica();
        let control = control(vault);
        faults.say(On::next(Does::Get, file).ending().always(), Fate::Denied);
        for answer in [
            lock(&control, &prod(), 1).await.map(drop),
            write(&control, &prod(), Holding::Nothing, &state(6, "b"))
                .await
                .map(drop),
            control.delete_unit(&alice(), &prod()).await,
            control.describe_unit(&alice(), &prod()).await.map(drop),
            control.force_unlock(&alice(), &prod()).await.map(drop),
        ] {
            assert!(
                matches!(answer, Err(ControlError::Unavailable { .. })),
                "{answer:?}"
            );
        }
        assert_eq!(world.head(&prod()).await, None, "nothing was decided");
        faults.heal();
        let answer = lock(&control, &prod(), 1).await;
        assert!(matches!(answer, Err(ControlError::Locked { .. })), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_puts_over_a_unit_that_nobody_holds_becomes_its_next_version() {
    for world in World::of_each_kind() {
        let control = replica(&world);
        written(&control, &prod(), &state(1, "a")).await;
        world.person_puts(COPY, state(2, "by hand")).await;

        assert_eq!(
            read(&replica(&world), &prod()).await.unwrap(),
            Some(state(2, "by hand"))
        );
        assert_eq!(
            history(&control, &prod()).await,
            [state(2, "by hand"), state(1, "a")]
        );
        let newest = versions(&control, &prod()).await.remove(0);
        assert_eq!(newest.origin, Origin::External);
        assert_ne!(newest.by, *alice().principal(), "nobody is blamed for it");

        // Nor does a write that comes before anybody has looked bury it.
        world.person_puts(COPY, state(3, "by hand again")).await;
        write(&control, &prod(), Holding::Nothing, &state(4, "b"))
            .await
            .unwrap();
        control.settle_down().await;
        let all = [
            history(&control, &prod()).await,
            rejected(&control, &prod()).await,
        ]
        .concat();
        assert!(
            all.contains(&state(3, "by hand again")),
            "it is in the history or kept"
        );
        assert_eq!(world.copy(&prod()).await, read(&control, &prod()).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_puts_while_the_holder_has_not_written_is_adopted_under_its_lock() {
    for world in World::of_each_kind() {
        let control = replica(&world);
        written(&control, &prod(), &state(1, "a")).await;
        lock(&control, &prod(), 1).await.unwrap();
        world.person_puts(COPY, state(2, "by hand")).await;
        assert_eq!(
            read(&replica(&world), &prod()).await.unwrap(),
            Some(state(2, "by hand"))
        );
        assert_eq!(
            described(&control, &prod()).await.holder.unwrap().info.id,
            uuid(1)
        );
        write(&control, &prod(), under(1), &state(3, "b")).await.unwrap();
        unlock(&control, &prod(), 1).await.unwrap();
        control.settle_down().await;
        assert_eq!(
            history(&control, &prod()).await,
            [state(3, "b"), state(2, "by hand"), state(1, "a")]
        );
        assert_eq!(world.copy(&prod()).await, Some(state(3, "b")));
        assert!(rejected(&control, &prod()).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_puts_after_the_holder_has_written_is_kept_aside_and_can_be_promoted() {
    for world in World::of_each_kind() {
        let control = replica(&world);
        written(&control, &prod(), &state(1, "a")).await;
        lock(&control, &prod(), 1).await.unwrap();
        write(&control, &prod(), under(1), &state(2, "b")).await.unwrap();
        world.person_puts(COPY, state(2, "by hand")).await;
        assert_eq!(
            read(&replica(&world), &prod()).await.unwrap(),
            Some(state(2, "b"))
        );
        assert_eq!(
            world.copy(&prod()).await,
            Some(state(2, "b")),
            "the copy is mended"
        );
        write(&control, &prod(), under(1), &state(3, "c")).await.unwrap();
        unlock(&control, &prod(), 1).await.unwrap();
        control.settle_down().await;
        assert_eq!(
            history(&control, &prod()).await,
            [state(3, "c"), state(2, "b"), state(1, "a")]
        );
        let kept = control.rejected(&alice(), &prod()).await.unwrap();
        assert_eq!((kept.len(), kept[0].why.as_str()), (1, "external"));
        assert_eq!(rejected(&control, &prod()).await, [state(2, "by hand")]);

        let how = opentaco_control::versions::Reinstate::plainly(opentaco_control::Door::Management);
        control
            .promote(&alice(), &prod(), &kept[0].id, how)
            .await
            .unwrap();
        assert_eq!(read(&control, &prod()).await.unwrap(), Some(state(4, "by hand")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_a_person_removed_or_emptied_comes_back() {
    for world in World::of_each_kind() {
        for locked in [false, true] {
            let control = replica(&world);
            let name = unit(if locked { "myapp/locked" } else { "myapp/free" });
            written(&control, &name, &state(1, "a")).await;
            if locked {
                lock(&control, &name, 1).await.unwrap();
            }
            for emptied in [false, true] {
                if emptied {
                    world.person_puts(&name.state_key(), Bytes::new()).await;
                } else {
                    world.person_removes(&name.state_key()).await;
                }
                let reader = replica(&world);
                assert_eq!(read(&reader, &name).await.unwrap(), Some(state(1, "a")));
                reader.settle_down().await;
                assert_eq!(world.copy(&name).await, Some(state(1, "a")));
            }
            // A write mends it as well, though nobody has read.
            world.person_removes(&name.state_key()).await;
            let holding = if locked { under(1) } else { Holding::Nothing };
            write(&control, &name, holding, &state(2, "b")).await.unwrap();
            assert_eq!(world.copy(&name).await, Some(state(2, "b")));
            assert_eq!(history(&control, &name).await, [state(2, "b"), state(1, "a")]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_copy_that_a_person_removed_changes_nothing() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &state(1, "a")).await;
    lock(&control, &prod(), 1).await.unwrap();
    control.settle_down().await;
    world.person_removes(&format!("{COPY}.lock")).await;
    let answer = lock(&replica(&world), &prod(), 2).await;
    assert!(matches!(answer, Err(ControlError::Locked { .. })), "{answer:?}");
    write(&control, &prod(), under(1), &state(2, "b")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_state_that_a_person_puts_beside_a_deleted_unit_lives_again() {
    for world in World::of_each_kind() {
        let control = replica(&world);
        written(&control, &prod(), &state(1, "a")).await;
        control.delete_unit(&alice(), &prod()).await.unwrap();
        control.settle_down().await;
        world.person_puts(COPY, state(9, "by hand")).await;
        let reader = replica(&world);
        assert_eq!(read(&reader, &prod()).await.unwrap(), Some(state(9, "by hand")));
        assert_eq!(listed(&reader).await, ["myapp/prod"]);
        assert_eq!(
            history(&reader, &prod()).await,
            [state(9, "by hand"), state(1, "a")]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_graph_unit_is_a_unit_like_others_whose_serial_exceeds_what_is_sent() {
    let world = World::new();
    let control = replica(&world);
    let graph = unit("__opentaco_system");
    assert!(listed(&control).await.is_empty());
    lock(&control, &graph, 1).await.unwrap();
    write(&control, &graph, under(1), &state(1, "edges"))
        .await
        .unwrap();
    unlock(&control, &graph, 1).await.unwrap();
    written(&control, &graph, &state(2, "more edges")).await;
    assert_eq!(
        world.person_gets("__opentaco_system/terraform.tfstate").await,
        Some(state(3, "more edges"))
    );
    assert_eq!(
        read(&replica(&world), &graph).await.unwrap(),
        Some(state(3, "more edges"))
    );
    assert_eq!(
        history(&control, &graph).await,
        [state(3, "more edges"), state(1, "edges")]
    );
    written(&control, &prod(), &state(1, "a")).await;
    let mut units = listed(&replica(&world)).await;
    units.sort_unstable();
    assert_eq!(units, ["__opentaco_system", "myapp/prod"]);
    control.delete_unit(&alice(), &graph).await.unwrap();
    control
        .undelete_unit(&alice(), &graph, opentaco_control::Door::Management)
        .await
        .unwrap();
    assert_eq!(described(&control, &graph).await.current.unwrap().serial, Some(3));
}
