//! The second reading: the instances that differ, attribute by attribute.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::value::RawValue;

use super::digest::{self, Digests, Sketch};
use super::reader::{Instance, ResourceName, See};
use super::secrets::{Secrets, speaks_of_a_secret};
use super::{Change, Field, Resource, secrets, tree};

/// The texts of the instances that are wanted, by address.
pub(super) struct Details<'a> {
    wanted: &'a Digests,
    instances: BTreeMap<String, Box<RawValue>>,
}

impl<'a> Details<'a> {
    /// Those with these digests.
    pub(super) fn of(wanted: &'a Digests) -> Self {
        Self {
            wanted,
            instances: BTreeMap::new(),
        }
    }
}

impl See for Details<'_> {
    fn field(&mut self, _: &str, _: &RawValue) {}

    fn output(&mut self, _: String, _: Box<RawValue>) {}

    fn instance(&mut self, text: Box<RawValue>) -> Instance {
        let digest = digest::digest(&text);
        let wanted = self.wanted.contains(&digest);
        Instance {
            digest,
            key: if wanted { digest::key(&text) } else { String::new() },
            text: wanted.then_some(text),
        }
    }

    fn resource(&mut self, resource: &ResourceName, instances: Vec<Instance>) {
        for instance in instances {
            if let Some(text) = instance.text {
                self.instances.insert(resource.address(&instance.key), text);
            }
        }
    }
}

/// Compares the instances at these addresses.
pub(super) fn resources(addresses: &[String], old: &Details<'_>, new: &Details<'_>) -> Vec<Resource> {
    let both = addresses.iter().filter_map(|address| {
        let (change, attributes) = match (old.instances.get(address), new.instances.get(address)) {
            (Some(before), Some(after)) => {
                let attributes = attributes(before, after);
                // Another spelling of the same is no change.
                if attributes.is_empty() {
                    return None;
                }
                (Change::Changed, attributes)
            }
            (None, Some(_)) => (Change::Added, Vec::new()),
            (Some(_), None) => (Change::Removed, Vec::new()),
            (None, None) => return None,
        };
        Some(Resource {
            address: address.clone(),
            change,
            attributes,
        })
    });
    both.collect()
}

/// Compares the outputs, by name.
pub(super) fn outputs(
    before: &BTreeMap<String, Box<RawValue>>,
    after: &BTreeMap<String, Box<RawValue>>,
) -> Vec<Field> {
    let is_sensitive = |output: Option<&Box<RawValue>>| {
        output
            .and_then(|output| fields(output).get("sensitive").map(|flag| flag.get() != "false"))
            .unwrap_or(false)
    };
    let value = |output: &RawValue| fields(output).get("value").copied().map(ToOwned::to_owned);
    let mut differing = Vec::new();
    for name in names(before, after) {
        let (old, new) = (before.get(name), after.get(name));
        let sensitive = is_sensitive(old) || is_sensitive(new) || speaks_of_a_secret(name);
        let flagged_anew = old.is_some() && new.is_some() && is_sensitive(old) != is_sensitive(new);
        let (old, new) = (old.and_then(|old| value(old)), new.and_then(|new| value(new)));
        let found = field(name, old.as_deref(), new.as_deref(), sensitive);
        differing.extend(found);
        if flagged_anew {
            let flag = |sensitive| Some(Value::Bool(sensitive));
            differing.push(Field {
                name: format!("{name} (sensitive)"),
                change: Change::Changed,
                sensitive: false,
                before: flag(is_sensitive(before.get(name))),
                after: flag(is_sensitive(after.get(name))),
            });
        }
    }
    differing
}

/// Compares what the states say of themselves.
pub(super) fn summaries(before: &Sketch, after: &Sketch) -> Vec<Field> {
    names(&before.fields, &after.fields)
        .into_iter()
        .filter_map(|name| {
            let (old, new) = (before.fields.get(name), after.fields.get(name));
            field(name, old.map(AsRef::as_ref), new.map(AsRef::as_ref), false)
        })
        .collect()
}

/// Compares two instances: their attributes by name, and in parentheses what else is said of them.
fn attributes(before: &RawValue, after: &RawValue) -> Vec<Field> {
    let (old, new) = (fields(before), fields(after));
    let secrets = [&old, &new].map(|instance| Secrets::read(instance.get("sensitive_attributes").copied()));
    let is_secret = |name: &str| secrets.iter().any(|secrets| secrets.has(name));
    let mut differing = Vec::new();
    for name in names(&old, &new) {
        let (old, new) = (old.get(name).copied(), new.get(name).copied());
        match name {
            "attributes" | "attributes_flat" => {
                let (old, new) = (
                    old.map(fields).unwrap_or_default(),
                    new.map(fields).unwrap_or_default(),
                );
                for name in names(&old, &new) {
                    let (old, new) = (old.get(name).copied(), new.get(name).copied());
                    differing.extend(field(name, old, new, is_secret(name)));
                }
            }
            // What a provider keeps for itself is nobody else's to read.
            "private" => differing.extend(field("(private)", old, new, true)),
            other => differing.extend(field(&format!("({other})"), old, new, false)),
        }
    }
    differing
}

/// One value beside another; none if they say the same. To Terraform, null is as good as nothing.
fn field(name: &str, before: Option<&RawValue>, after: Option<&RawValue>, sensitive: bool) -> Option<Field> {
    let something = |value: &&RawValue| value.get() != "null";
    let (before, after) = (before.filter(something), after.filter(something));
    let change = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(before), Some(after)) if tree::same(before, after) => return None,
        _ => Change::Changed,
    };
    let told = |value: Option<&RawValue>| {
        let value = value.filter(|_| !sensitive)?;
        Some(exact(value))
    };
    Some(Field {
        name: name.to_owned(),
        change,
        sensitive,
        before: told(before),
        after: told(after),
    })
}

/// A value as it can be printed: without the secrets in it. A number that a double would round becomes a string, with its
/// digits.
fn exact(value: &RawValue) -> Value {
    let parsed: Value = serde_json::from_str(value.get()).unwrap_or(Value::Null);
    match parsed {
        Value::Number(number) if number.to_string() != value.get() => Value::String(value.get().to_owned()),
        mut other => {
            secrets::mask(&mut other);
            other
        }
    }
}

fn fields(value: &RawValue) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(value.get()).unwrap_or_default()
}

fn names<'a, V, W>(one: &'a BTreeMap<String, V>, other: &'a BTreeMap<String, W>) -> BTreeSet<&'a str> {
    one.keys().chain(other.keys()).map(String::as_str).collect()
}
