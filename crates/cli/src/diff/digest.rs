//! The first reading: 16 bytes for each resource instance, and the outputs, which are few.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use opentaco_domain::Sha256Hasher;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reader::{Instance, ResourceName, See};

/// Enough of a SHA-256 that no two texts share it.
pub(super) type Digest = [u8; 16];

/// Some digests.
pub(super) type Digests = BTreeSet<Digest>;

/// What is kept of a state.
#[derive(Default)]
pub(super) struct Sketch {
    pub(super) format: Option<u64>,
    pub(super) encrypted: bool,
    pub(super) fields: BTreeMap<String, Box<RawValue>>,
    pub(super) outputs: BTreeMap<String, Box<RawValue>>,
    instances: HashMap<String, Digest>,
}

/// What has to be looked at again.
pub(super) struct Differing {
    /// The addresses of the instances, in order.
    pub(super) addresses: Vec<String>,
    /// The digests that they have in the one state.
    pub(super) before: Digests,
    /// And in the other.
    pub(super) after: Digests,
}

impl See for Sketch {
    fn field(&mut self, name: &str, value: &RawValue) {
        match name {
            "version" => self.format = value.get().parse().ok(),
            "encrypted_data" => self.encrypted = true,
            _ => drop(self.fields.insert(name.to_owned(), value.to_owned())),
        }
    }

    fn output(&mut self, name: String, value: Box<RawValue>) {
        self.outputs.insert(name, value);
    }

    fn instance(&mut self, text: Box<RawValue>) -> Instance {
        Instance {
            digest: digest(&text),
            key: key(&text),
            text: None,
        }
    }

    fn resource(&mut self, resource: &ResourceName, instances: Vec<Instance>) {
        for instance in instances {
            self.instances
                .insert(resource.address(&instance.key), instance.digest);
        }
    }
}

/// Which instances are not the same in both.
pub(super) fn differing(before: &Sketch, after: &Sketch) -> Differing {
    let mut differing = Differing {
        addresses: Vec::new(),
        before: Digests::new(),
        after: Digests::new(),
    };
    for (address, digest) in &before.instances {
        if after.instances.get(address) != Some(digest) {
            differing.addresses.push(address.clone());
            differing.before.insert(*digest);
        }
    }
    for (address, digest) in &after.instances {
        let known = before.instances.get(address);
        if known != Some(digest) {
            differing.after.insert(*digest);
        }
        if known.is_none() {
            differing.addresses.push(address.clone());
        }
    }
    differing.addresses.sort();
    differing
}

/// The digest of a text, without the white space between its tokens: one client indents, another does not.
pub(super) fn digest(text: &RawValue) -> Digest {
    let mut hasher = Sha256Hasher::new();
    let bytes = text.get().as_bytes();
    let (mut from, mut in_string, mut escaped) = (0, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b' ' | b'\t' | b'\r' | b'\n' if !in_string => {
                hasher.update(&bytes[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    hasher.update(&bytes[from..]);
    let mut digest = Digest::default();
    digest.copy_from_slice(&hasher.finish().bytes()[..16]);
    digest
}

/// What follows the name of the resource in the address of one of its instances.
pub(super) fn key(text: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow, default)]
        index_key: Option<&'a RawValue>,
        #[serde(default)]
        deposed: Option<String>,
    }
    let Ok(keys) = serde_json::from_str::<Keys<'_>>(text.get()) else {
        return String::new();
    };
    let index = keys
        .index_key
        .map(|key| format!("[{}]", key.get()))
        .unwrap_or_default();
    match keys.deposed {
        Some(deposed) => format!("{index} (deposed {deposed})"),
        None => index,
    }
}
