//! What only the management door asks for: checked uploads, protection, locks of units that there are, outputs.
#![expect(clippy::unwrap_used, reason = "where a fixture fails, the test fails")]

use bytes::Bytes;
use opentaco_control::outputs::outputs_of;
use opentaco_control::{Annotation, ControlError, Door, StateWrite};
use opentaco_domain::{Holding, UnitId};
use opentaco_testkit::buckets::World;

use crate::common::{alice, create, lock_request, prod, read, replica, unit, uuid, written};

fn state_of(lineage: &str, serial: u64, what: &str) -> Bytes {
    format!(r#"{{"version":4,"serial":{serial},"lineage":"{lineage}","what":"{what}"}}"#).into()
}

async fn upload(world: &World, bytes: Bytes, force: bool) -> Result<u64, ControlError> {
    let mut write = StateWrite::new(bytes, Holding::Nothing, Door::Management);
    write.force = force;
    let control = replica(world);
    let receipt = control.write_state(&alice(), &prod(), write).await?;
    control.settle_down().await;
    Ok(receipt.serial.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_another_lineage_or_no_newer_serial_is_refused_unless_forced_or_the_very_same() {
    let world = World::new();
    assert_eq!(upload(&world, state_of("one", 5, "a"), false).await.unwrap(), 5);
    let older = upload(&world, state_of("one", 4, "a"), false).await;
    assert!(
        matches!(
            older,
            Err(ControlError::OlderSerial {
                current: 5,
                sent: Some(4),
                ..
            })
        ),
        "{older:?}"
    );
    let same_serial = upload(&world, state_of("one", 5, "b"), false).await;
    assert!(
        matches!(
            same_serial,
            Err(ControlError::OlderSerial {
                current: 5,
                sent: Some(5),
                ..
            })
        ),
        "{same_serial:?}"
    );
    let no_serial = upload(&world, Bytes::from_static(b"{}"), false).await;
    assert!(
        matches!(
            no_serial,
            Err(ControlError::OlderSerial {
                current: 5,
                sent: None,
                ..
            })
        ),
        "{no_serial:?}"
    );
    let other = upload(&world, state_of("two", 6, "a"), false).await;
    assert!(
        matches!(other, Err(ControlError::OtherLineage { .. })),
        "{other:?}"
    );
    assert_eq!(
        read(&replica(&world), &prod()).await.unwrap(),
        Some(state_of("one", 5, "a"))
    );

    assert_eq!(upload(&world, state_of("one", 5, "a"), false).await.unwrap(), 5);
    assert_eq!(upload(&world, state_of("one", 6, "b"), false).await.unwrap(), 6);
    assert_eq!(upload(&world, state_of("two", 1, "c"), true).await.unwrap(), 1);
    assert_eq!(
        read(&replica(&world), &prod()).await.unwrap(),
        Some(state_of("two", 1, "c"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_terraform_posts_is_not_compared_with_what_is_there() {
    let world = World::new();
    written(&replica(&world), &prod(), &state_of("one", 5, "a")).await;
    written(&replica(&world), &prod(), &state_of("two", 1, "b")).await;
    assert_eq!(
        read(&replica(&world), &prod()).await.unwrap(),
        Some(state_of("two", 1, "b"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_protected_unit_is_deleted_only_after_the_protection_is_taken_off() {
    let world = World::new();
    let control = replica(&world);
    written(&control, &prod(), &state_of("one", 1, "a")).await;
    let protection = |on| Annotation {
        deletion_protection: Some(on),
        ..Annotation::default()
    };
    let view = control
        .annotate_unit(&alice(), &prod(), &protection(true))
        .await
        .unwrap();
    assert!(view.deletion_protection);
    let refused = replica(&world).delete_unit(&alice(), &prod()).await;
    assert!(
        matches!(refused, Err(ControlError::Protected { .. })),
        "{refused:?}"
    );
    assert!(read(&control, &prod()).await.unwrap().is_some());
    control
        .annotate_unit(&alice(), &prod(), &protection(false))
        .await
        .unwrap();
    control.delete_unit(&alice(), &prod()).await.unwrap();
    assert_eq!(read(&replica(&world), &prod()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn only_a_unit_that_there_is_can_be_locked_by_its_name_and_its_holder_is_told() {
    let world = World::new();
    let control = replica(&world);
    let nowhere = control
        .lock_existing(&alice(), &unit("mistyped"), lock_request(&uuid(1)))
        .await;
    assert!(
        matches!(nowhere, Err(ControlError::NotFound { .. })),
        "{nowhere:?}"
    );
    create(&control, &prod()).await.unwrap();
    let holder = control
        .lock_existing(&alice(), &prod(), lock_request(&uuid(1)))
        .await
        .unwrap();
    assert_eq!(
        (holder.info.id, holder.principal),
        (uuid(1), alice().principal().clone())
    );
    let second = replica(&world)
        .lock_existing(&alice(), &prod(), lock_request(&uuid(2)))
        .await;
    let Err(ControlError::Locked { holder, .. }) = second else {
        panic!("{second:?}")
    };
    assert_eq!(holder.info.id, uuid(1));
}

#[tokio::test(start_paused = true)]
async fn a_unit_without_a_state_is_told_from_one_that_there_is_not() {
    let world = World::new();
    let control = replica(&world);
    create(&control, &prod()).await.unwrap();
    let empty = control.read_existing(&alice(), &prod()).await;
    assert!(matches!(empty, Err(ControlError::NoState { .. })), "{empty:?}");
    let nowhere = control.read_existing(&alice(), &unit("mistyped")).await;
    assert!(
        matches!(nowhere, Err(ControlError::NotFound { .. })),
        "{nowhere:?}"
    );
}

async fn outputs(world: &World, bytes: &[u8], only: Option<&str>) -> Result<String, ControlError> {
    let control = replica(world);
    written(&control, &prod(), &Bytes::copy_from_slice(bytes)).await;
    read_outputs(&control, &prod(), only).await
}

async fn read_outputs(
    control: &opentaco_control::StateControl,
    unit: &UnitId,
    only: Option<&str>,
) -> Result<String, ControlError> {
    let state = control.read_existing(&alice(), unit).await?;
    let outputs = outputs_of(unit, state, only.map(str::to_owned)).await?;
    Ok(serde_json::to_string(&outputs).unwrap())
}

#[tokio::test]
async fn outputs_come_out_digit_for_digit_with_their_types_and_their_secrecy() {
    let world = World::new();
    let state = br#"{"version":4,"serial":1,"resources":[{"outputs":{"no":{"value":1}}}],
        "outputs":{"id":{"value":12345678901234567890.10,"type":"number"},
                   "key":{"value":{"a":[null,"b"]},"type":["object",{}],"sensitive":true},"odd":{}}}"#;
    let id = r#""id":{"value":12345678901234567890.10,"type":"number","sensitive":false}"#;
    let key = r#""key":{"value":{"a":[null,"b"]},"type":["object",{}],"sensitive":true}"#;
    let odd = r#""odd":{"value":null,"type":null,"sensitive":false}"#;
    assert_eq!(
        outputs(&world, state, None).await.unwrap(),
        format!("{{{id},{key},{odd}}}")
    );
    assert_eq!(
        outputs(&world, state, Some("id")).await.unwrap(),
        format!("{{{id}}}")
    );
    assert_eq!(outputs(&world, state, Some("none")).await.unwrap(), "{}");
    assert_eq!(
        outputs(&world, br#"{"serial":2,"outputs":null}"#, None)
            .await
            .unwrap(),
        "{}"
    );
    assert_eq!(outputs(&world, br#"{"serial":3}"#, None).await.unwrap(), "{}");
}

#[tokio::test]
async fn outputs_behind_a_deep_and_large_state_are_found() {
    let world = World::new();
    let depth = 10_000;
    let state = format!(
        r#"{{"serial":1,"resources":[{}{},"{}"],"outputs":{{"last":{{"value":"here"}}}}}}"#,
        "[".repeat(depth),
        "]".repeat(depth),
        "x".repeat(3_000_000),
    );
    let found = outputs(&world, state.as_bytes(), None).await.unwrap();
    assert_eq!(
        found,
        r#"{"last":{"value":"here","type":null,"sensitive":false}}"#
    );
}

#[tokio::test]
async fn outputs_of_a_sealed_state_or_of_what_is_none_are_refused_and_not_empty() {
    let world = World::new();
    let sealed = outputs(
        &world,
        br#"{"serial":1,"encrypted_data":"AAAA","outputs":{}}"#,
        None,
    )
    .await;
    assert!(
        matches!(sealed, Err(ControlError::Encrypted { .. })),
        "{sealed:?}"
    );
    let odd = outputs(&world, br#"{"serial":2,"outputs":[]}"#, None).await;
    assert!(matches!(odd, Err(ControlError::Invalid { .. })), "{odd:?}");
    let inside = outputs(&world, br#"{"serial":3,"outputs":{"a":7}}"#, None).await;
    let Err(ControlError::Invalid { what }) = inside else {
        panic!("{inside:?}")
    };
    assert!(
        !what.contains('7'),
        "no value of a state stands in an error: {what}"
    );
}
