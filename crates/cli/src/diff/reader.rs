//! Reading a state of format 4 as a stream: each resource instance and each output is shown once, as text, and dropped.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Somebody who looks at a state as it passes.
pub(super) trait See {
    /// One of the fields that tell of the state as a whole.
    fn field(&mut self, name: &str, value: &RawValue);
    /// An output.
    fn output(&mut self, name: String, value: Box<RawValue>);
    /// A resource instance; what it returns comes back with its address.
    fn instance(&mut self, text: Box<RawValue>) -> Instance;
    /// The instances of one resource, whose name is known only once all of it was read.
    fn resource(&mut self, resource: &ResourceName, instances: Vec<Instance>);
}

/// What was kept of an instance while the name of its resource was not known yet.
pub(super) struct Instance {
    pub(super) digest: super::digest::Digest,
    pub(super) key: String,
    pub(super) text: Option<Box<RawValue>>,
}

/// What makes the address of a resource.
#[derive(Default)]
pub(super) struct ResourceName {
    module: String,
    mode: String,
    kind: String,
    name: String,
}

impl ResourceName {
    /// As `terraform state list` writes it.
    pub(super) fn address(&self, key: &str) -> String {
        let mut address = String::new();
        if !self.module.is_empty() {
            address = format!("{}.", self.module);
        }
        if self.mode == "data" {
            address.push_str("data.");
        }
        format!("{address}{}.{}{key}", self.kind, self.name)
    }
}

/// Reads a state.
pub(super) fn read(from: impl Read, see: &mut impl See) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_reader(from);
    reader.deserialize_map(State(see))?;
    reader.end()
}

struct State<'a, S>(&'a mut S);

impl<'de, S: See> Visitor<'de> for State<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a state")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "resources" => map.next_value_seed(Each(Resources(self.0)))?,
                "outputs" => map.next_value_seed(Each(Outputs(self.0)))?,
                "version" | "serial" | "lineage" | "terraform_version" | "encrypted_data" => {
                    self.0.field(&name, &map.next_value::<Box<RawValue>>()?);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A visitor that may also meet `null`, which is as good as nothing.
struct Each<V>(V);

impl<'de, V: Visitor<'de, Value = ()>> DeserializeSeed<'de> for Each<V> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, V: Visitor<'de, Value = ()>> Visitor<'de> for Each<V> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        self.0.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.visit_map(map)
    }
}

struct Outputs<'a, S>(&'a mut S);

impl<'de, S: See> Visitor<'de> for Outputs<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("outputs by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry()? {
            self.0.output(name, value);
        }
        Ok(())
    }
}

struct Resources<'a, S>(&'a mut S);

impl<'de, S: See> Visitor<'de> for Resources<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of resources")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Each(OneResource(self.0)))?.is_some() {}
        Ok(())
    }
}

struct OneResource<'a, S>(&'a mut S);

impl<'de, S: See> Visitor<'de> for OneResource<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a resource")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut name = ResourceName::default();
        let mut instances = Vec::new();
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "module" => name.module = map.next_value::<Option<String>>()?.unwrap_or_default(),
                "mode" => name.mode = map.next_value()?,
                "type" => name.kind = map.next_value()?,
                "name" => name.name = map.next_value()?,
                "instances" => map.next_value_seed(Each(Instances(self.0, &mut instances)))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if name.kind.is_empty() || name.name.is_empty() {
            return Err(A::Error::custom("a resource without type or name"));
        }
        self.0.resource(&name, instances);
        Ok(())
    }
}

struct Instances<'a, S>(&'a mut S, &'a mut Vec<Instance>);

impl<'de, S: See> Visitor<'de> for Instances<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of instances")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(text) = seq.next_element()? {
            self.1.push(self.0.instance(text));
        }
        Ok(())
    }
}
