//! A graph that is read, changed, and taken from Terraform keeps every byte that is not the service's.

use std::collections::BTreeMap;

use bytes::Bytes;
use opentaco_domain::StateSummary;
use opentaco_domain::graph::document::{Document, EdgeState, OWNED};
use serde_json::Value;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(document) = Document::read(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    assert!(StateSummary::read(bytes).is_ok(), "a graph is a state");
    // Nothing changed: the serial, and nothing else.
    let serial = StateSummary::read(bytes).ok().and_then(|summary| summary.serial);
    let Ok(untouched) = document.changed(&BTreeMap::new()) else {
        return;
    };
    let counted = opentaco_domain::state::with_serial(bytes, serial.unwrap_or_default().saturating_add(1));
    assert_eq!(counted.as_deref(), Ok(untouched.as_ref()));

    // Every edge forgotten: the next reading says so, finds the same edges, and whatever is not ours is still there.
    let forgotten: BTreeMap<_, _> = (0..document.edges().len())
        .map(|at| (at, EdgeState::default()))
        .collect();
    let changed = document.changed(&forgotten).expect("it could be changed before");
    let again = Document::read(changed.clone()).expect("it was a graph");
    assert_eq!(again.edges().len(), document.edges().len());
    for (at, (before, after)) in document.edges().iter().zip(again.edges()).enumerate() {
        assert_eq!((&before.id, &before.ends), (&after.id, &after.ends));
        assert_eq!(after.state.in_digest, None);
        assert_eq!(after.state.out_digest, None);
        assert!(
            again.is_well_spelled(at),
            "what we write is spelled as we read it"
        );
    }
    let once_more = again.changed(&forgotten).expect("it could be changed before");
    let expected = again
        .changed(&BTreeMap::new())
        .expect("it could be changed before");
    assert_eq!(once_more, expected, "the same change twice is one change");
    assert_eq!(without_ours(bytes), without_ours(&changed));

    // Terraform sends what it was given: what is known of the edges is as it is stored.
    let stored = Some(&again);
    let merged = Document::merged(stored, None, &document).expect("it could be changed before");
    let merged = Document::read(merged).expect("it was a graph");
    assert_eq!(merged.edges().len(), document.edges().len());
    for edge in merged.edges() {
        let known = again.edge(&edge.id).expect("the same edges");
        assert_eq!(edge.state, known.state);
    }
    assert!(Document::merged(None, None, &document).is_ok());
}

/// The document as a reader sees it who overlooks the serial and the attributes of the service. Nothing where a name
/// stands twice, of which such a reader sees only one.
fn without_ours(bytes: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    // Go, and so Terraform, finds it in any case, and we do as they do.
    value
        .as_object_mut()?
        .retain(|name, _| name.to_lowercase().replace('\u{17f}', "s") != "serial");
    for resource in value
        .get_mut("resources")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let instances = resource.get_mut("instances").and_then(Value::as_array_mut);
        for instance in instances.into_iter().flatten() {
            if let Some(attributes) = instance.get_mut("attributes").and_then(Value::as_object_mut) {
                attributes.retain(|name, _| !OWNED.contains(&name.as_str()));
            }
        }
    }
    Some(value)
}
