//! States of an exact size, made of resources as Terraform writes them, in pieces that are shared: a state of 1 GiB
//! takes 64 KiB here.
//!
//! Only the last piece tells one state from the next: the serial stands at the end. So the MD5 of the rest is computed
//! once, and a client can send a new state with every request without spending its time on hashing.

use bytes::Bytes;
use opentaco_domain::Md5Hasher;

const HEAD: &str = "{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  \"lineage\": \"8f2c3c4e-5b7a-4d1e-9f00-0123456789ab\",\n  \"outputs\": {},\n  \"resources\": [";
const RESOURCE: &str = r#"
    {
      "mode": "managed",
      "type": "terraform_data",
      "name": "example",
      "provider": "provider[\"terraform.io/builtin/terraform\"]",
      "instances": [
        {
          "schema_version": 0,
          "attributes": {
            "id": "5d6d2b0e-7a4f-4f8e-8f6a-2d0c9d6f1b3a",
            "input": { "value": { "region": "eu-central-1", "size": 3, "enabled": true }, "type": ["object", {}] },
            "output": null,
            "triggers_replace": null
          },
          "sensitive_attributes": []
        }
      ]
    },"#;
const LAST_RESOURCE: (&str, &str) = (
    "\n    { \"mode\": \"managed\", \"name\": \"",
    "\" }\n  ],\n  \"serial\": ",
);
const END: &str = "\n}\n";

/// Serials all have the same number of digits, so that all states have the same size.
const SERIAL_FIRST: u64 = 1_000_000_000;
const SERIAL_DIGITS: usize = 10;

/// Many resources are sent as one piece.
const BLOCK_BYTES: usize = 64 * 1024;

/// The smallest size that can be asked for.
pub const BYTES_MIN: usize =
    HEAD.len() + LAST_RESOURCE.0.len() + LAST_RESOURCE.1.len() + SERIAL_DIGITS + END.len() + RESOURCE.len();

/// States of one size.
#[derive(Debug, Clone)]
pub struct States {
    bytes: usize,
    shared: Vec<Bytes>,
    md5: Md5Hasher,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct State {
    /// In order.
    pub pieces: Vec<Bytes>,
    /// As `Content-MD5` spells it.
    pub md5: String,
    /// In bytes.
    pub size: usize,
}

impl States {
    /// States of exactly so many bytes.
    ///
    /// # Panics
    /// If that is fewer than [`BYTES_MIN`].
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        assert!(bytes >= BYTES_MIN, "a state of {bytes} bytes cannot be made");
        let mut left = bytes - (BYTES_MIN - RESOURCE.len());
        let mut shared = vec![Bytes::from_static(HEAD.as_bytes())];
        let block = Bytes::from(RESOURCE.repeat(BLOCK_BYTES / RESOURCE.len()));
        while left >= block.len() {
            left -= block.len();
            shared.push(block.clone());
        }
        let resources = RESOURCE.repeat(left / RESOURCE.len());
        left -= resources.len();
        shared.push(Bytes::from(
            resources + LAST_RESOURCE.0 + &"x".repeat(left) + LAST_RESOURCE.1,
        ));
        let mut md5 = Md5Hasher::new();
        for piece in &shared {
            md5.update(piece);
        }
        Self { bytes, shared, md5 }
    }

    /// The state number `n`; its serial is higher than those before.
    #[must_use]
    pub fn state(&self, n: u64) -> State {
        let last = Bytes::from(format!("{}{END}", SERIAL_FIRST + n));
        let mut md5 = self.md5.clone();
        md5.update(&last);
        let mut pieces = self.shared.clone();
        pieces.push(last);
        State {
            pieces,
            md5: md5.finish(),
            size: self.bytes,
        }
    }
}

impl State {
    /// All of it in one buffer.
    #[must_use]
    pub fn whole(&self) -> Bytes {
        self.pieces.concat().into()
    }
}

/// Compares a state with what arrives, piece by piece.
#[derive(Debug)]
pub struct Comparison<'a> {
    pieces: &'a [Bytes],
    at: usize,
}

impl<'a> Comparison<'a> {
    /// Nothing has arrived yet.
    #[must_use]
    pub fn new(state: &'a State) -> Self {
        Self {
            pieces: &state.pieces,
            at: 0,
        }
    }

    /// Takes what arrived; false if it is not what was expected.
    pub fn take(&mut self, mut arrived: &[u8]) -> bool {
        while !arrived.is_empty() {
            let Some((piece, rest)) = self.pieces.split_first() else {
                return false;
            };
            let expected = &piece[self.at..];
            let together = expected.len().min(arrived.len());
            if expected[..together] != arrived[..together] {
                return false;
            }
            arrived = &arrived[together..];
            self.at += together;
            if self.at == piece.len() {
                (self.pieces, self.at) = (rest, 0);
            }
        }
        true
    }

    /// Whether all has arrived.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use opentaco_domain::StateSummary;
    use opentaco_domain::digest::md5_base64;

    use super::*;

    #[test]
    fn a_state_has_the_size_that_was_asked_for_and_is_one() {
        for bytes in [BYTES_MIN, 10_000, 1_000_000, 1_000_001] {
            let state = States::of(bytes).state(7);
            let whole = state.whole();
            assert_eq!((whole.len(), state.size), (bytes, bytes));
            assert_eq!(state.md5, md5_base64(&whole));
            let summary = StateSummary::read(&whole).unwrap();
            assert_eq!(summary.serial, Some(SERIAL_FIRST + 7));
            assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());
        }
    }

    #[test]
    fn a_comparison_finds_what_is_missing_and_what_differs() {
        let state = States::of(100_000).state(0);
        let whole = state.whole();
        let mut comparison = Comparison::new(&state);
        assert!(comparison.take(&whole[..70_000]) && !comparison.is_complete());
        assert!(comparison.take(&whole[70_000..]) && comparison.is_complete());
        assert!(!comparison.take(b"x"));
        let other = States::of(100_000).state(1).whole();
        assert!(!Comparison::new(&state).take(&other));
    }
}
