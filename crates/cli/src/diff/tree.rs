//! JSON taken apart without losing a digit: serde_json's own values would round a number that a double cannot hold.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A value whose equality is that of what it says, whatever its spelling: white space, escapes and the order of keys
/// do not count, and each digit of a number does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// `null`, `true`, `false` or a number, as written.
    Word(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Tree>),
    /// An object.
    Map(BTreeMap<String, Tree>),
}

impl Tree {
    /// Takes a value apart; `None` where it is nested deeper than serde_json reads.
    pub(super) fn read(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        Some(match text.as_bytes().first()? {
            b'{' => {
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| Some((name, Self::read(value)?)));
                Self::Map(fields.collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                Self::List(items.into_iter().map(Self::read).collect::<Option<_>>()?)
            }
            b'"' => Self::Text(serde_json::from_str(text).ok()?),
            _ => Self::Word(text.to_owned()),
        })
    }
}

/// Whether two texts say the same.
pub(super) fn same(one: &RawValue, other: &RawValue) -> bool {
    if one.get() == other.get() {
        return true;
    }
    match (Tree::read(one), Tree::read(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}
