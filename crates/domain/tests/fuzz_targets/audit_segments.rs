//! A segment of the audit that is read is the same when it is written, and of one that was signed no byte can be changed
//! without its being noticed. The first line of an input is the name under which the rest was found.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opentaco_domain::audit::segment::{Draft, Read, Seal, SegmentId, Signature};
use opentaco_domain::audit::verify::{Auditor, Keys};
use serde_json::json;

pub(crate) fn check(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at(end);
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let _keys_or_not = Keys::from_jwks(rest);
    let Some(id) = std::str::from_utf8(name)
        .ok()
        .and_then(|name| name.parse::<SegmentId>().ok())
    else {
        return;
    };
    assert_eq!(id.to_string().as_bytes(), name, "a segment has one name");
    // Whatever lies there, the auditor comes to its end, with the next segment too.
    let mut auditor = Auditor::new(Keys::default(), None);
    auditor.read(id, rest);
    auditor.read(id, rest);
    auditor.gone(id);
    assert_eq!(auditor.finish().segments, 3);

    let Ok(read) = Read::parse(&id, rest) else {
        return;
    };
    let draft = Draft {
        replica: read.header.replica,
        sequence: 0,
        previous: None,
        lost: 0,
        beside: Vec::new(),
        last: true,
        at: read.header.at,
        events: read.events.clone(),
    };
    let key = Key::fixed();
    let (name, sealed) = draft.sealed(Some(&key));
    let back = Read::parse(&name, &sealed).expect("what we write, we read");
    assert_eq!(back.events, read.events);
    assert_eq!(findings(&key, name, &sealed), 0);
    // One byte is changed, another one with every input.
    let mut forged = sealed.clone();
    let at = rest.len().wrapping_mul(31) % forged.len();
    forged[at] ^= 1;
    assert_ne!(
        findings(&key, name, &forged),
        0,
        "byte {at} was changed unnoticed"
    );
}

fn findings(key: &Key, name: SegmentId, bytes: &[u8]) -> usize {
    let mut auditor = Auditor::new(key.public(), None);
    auditor.read(name, bytes);
    auditor.finish().findings.len()
}

/// A key that is the same in every run.
#[derive(Debug)]
struct Key(Ed25519KeyPair);

impl Key {
    fn fixed() -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed"))
    }

    fn public(&self) -> Keys {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        let set = json!({"keys": [{"kid": "k", "kty": "OKP", "crv": "Ed25519", "x": x}]});
        Keys::from_jwks(set.to_string().as_bytes()).expect("it is a key set")
    }
}

impl Seal for Key {
    fn seal(&self, signed: &[u8]) -> Option<Signature> {
        Some(Signature {
            kid: "k".to_owned(),
            signature: URL_SAFE_NO_PAD.encode(self.0.sign(signed)),
        })
    }
}
