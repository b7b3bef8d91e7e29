//! A token of ours opens what it was made for and nothing else, and no text does that we did not sign.
//!
//! The first line of an input is a token as it came, and what else is spelled like a credential. The second is the
//! header and the third are the claims of a token that we sign, whatever stands in them: with our key stolen, or used by
//! a newer version, what we read must still be as strict.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use opentaco_domain::audit::segment::Seal as _;
use opentaco_domain::{Principal, Secret};
use opentaco_identity::sts::{AccessKeyId, Holder, LIFETIME_DEFAULT, S3Session, Sts, StsKeys};
use opentaco_identity::{
    ApiToken, Audience, FamilyId, KeyId, KeyRing, Lifetimes, Login, Refused, SigningKey, TokenId, Tokens,
};

struct World {
    key: SigningKey,
    tokens: Arc<Tokens>,
    sts: Sts,
    now: Timestamp,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = key(7);
    let tokens = Tokens::new(
        KeyRing::new(key.clone()),
        "https://taco.example.com",
        Lifetimes::default(),
    );
    let tokens = Arc::new(tokens);
    let kid: KeyId = "k1".parse().expect("it is a name");
    let keys = StsKeys::new(kid, &Secret::new("s".repeat(32))).expect("the secret is long enough");
    World {
        sts: Sts::new(Arc::clone(&tokens), keys, LIFETIME_DEFAULT),
        tokens,
        key,
        now: "2026-12-01T12:00:00Z".parse().expect("it is a time"),
    }
});

/// A key that is the same in every run.
pub(super) fn key(seed: u8) -> SigningKey {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes are a seed");
    let private = STANDARD.encode(pair.to_pkcs8v1().expect("a key can be written").as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem(&pem).expect("it is a key")
}

/// A token with this header and these claims, signed.
pub(super) fn signed(key: &SigningKey, header: &[u8], claims: &[u8]) -> String {
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = key.seal(text.as_bytes()).expect("the key signs");
    format!("{text}.{}", signature.signature)
}

pub(crate) fn check(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let (came, header, claims) = (lines.next(), lines.next(), lines.next());
    if let Some(text) = came.and_then(|came| std::str::from_utf8(came).ok()) {
        check_spelling(text);
        check_nobody(text);
    }
    match (header, claims) {
        (Some(header), Some(claims)) => check_signed(header, claims),
        _ => check_round_trip(bytes),
    }
}

/// Where text is read as a credential it is written as it was read.
fn check_spelling(text: &str) {
    if let Ok(token) = ApiToken::parse(text) {
        assert_eq!(token.expose(), text);
        assert!(token.hash().is_of(&token));
        let other = ApiToken::draw();
        assert!(!other.hash().is_of(&token));
    }
    if let Ok(access_key) = text.parse::<AccessKeyId>() {
        assert_eq!(access_key.to_string(), text, "an access key has one spelling");
    }
    if let Ok(session) = text.parse::<S3Session>() {
        assert_eq!(session.as_str(), text);
    }
    if let Ok(kid) = text.parse::<KeyId>() {
        assert_eq!(kid.as_str(), text);
    }
}

/// No corpus holds a token that this key signed.
fn check_nobody(text: &str) {
    let World { tokens, sts, now, .. } = &*WORLD;
    for audience in [Audience::Api, Audience::S3] {
        assert!(matches!(
            tokens.verify_access(text, audience, *now),
            Err(Refused::Wrong(_) | Refused::Unavailable(_))
        ));
    }
    assert!(matches!(
        tokens.verify_refresh(text, *now),
        Err(Refused::Wrong(_) | Refused::Unavailable(_))
    ));
    let (access_key, token) = text.split_once(' ').unwrap_or((text, text));
    assert!(matches!(
        sts.recover(access_key, token, *now),
        Err(Refused::Wrong(_) | Refused::Unavailable(_))
    ));
}

/// Signed with our key, with anything in it: it opens one thing at most, and only as a token says that is ours.
fn check_signed(header: &[u8], claims: &[u8]) {
    let World {
        key,
        tokens,
        sts,
        now,
    } = &*WORLD;
    let token = signed(key, header, claims);
    let opened = |token: &str| {
        let access_key = access_key_in(claims);
        [
            tokens.verify_access(token, Audience::Api, *now).is_ok(),
            tokens.verify_access(token, Audience::S3, *now).is_ok(),
            tokens.verify_refresh(token, *now).is_ok(),
            sts.recover(&access_key, token, *now).is_ok(),
        ]
    };
    let opens = opened(&token);
    let count = opens.iter().filter(|opens| **opens).count();
    assert!(count <= 1, "{opens:?}");
    if count == 0 {
        return;
    }
    let read: serde_json::Value = serde_json::from_slice(header).expect("a header is JSON");
    assert_eq!(read["alg"], "EdDSA");
    assert_eq!(read["kid"], key.kid().as_str());
    let read: serde_json::Value = serde_json::from_slice(claims).expect("claims are JSON");
    assert_eq!(read["iss"], "https://taco.example.com");
    let expires = read["exp"].as_f64().expect("a token expires");
    assert!(expires + 60.0 >= now.as_second() as f64);
    // With another key, or one letter changed, it opens nothing.
    assert_eq!(opened(&signed(&self::key(8), header, claims)), [false; 4]);
    let at = claims.len().wrapping_mul(7) % token.len();
    let mut forged = token.clone().into_bytes();
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("a token is ASCII");
    assert_eq!(opened(&forged), [false; 4], "letter {at} was changed");
}

fn access_key_in(claims: &[u8]) -> String {
    let read: Option<serde_json::Value> = serde_json::from_slice(claims).ok();
    let access_key = read.as_ref().and_then(|claims| claims["akid"].as_str());
    access_key.unwrap_or_default().to_owned()
}

/// Whoever logs in under whatever name has it in their tokens and in nobody else's.
fn check_round_trip(bytes: &[u8]) {
    let World { tokens, sts, now, .. } = &*WORLD;
    let name = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let login = Login {
        principal: Principal::new(name.as_str()),
        email: Some(name.clone()),
        name: None,
        groups: name.split(',').map(str::to_owned).collect(),
        via: name.clone(),
    };
    let family = FamilyId::draw();
    let access = tokens.issue_access(&login, &family, Audience::Api, *now);
    let proved = tokens
        .verify_access(access.token.expose(), Audience::Api, *now)
        .map(|access| access.0.login);
    assert_eq!(proved.as_ref(), Ok(&login));
    let refresh = tokens.issue_refresh(&login, &family, TokenId::draw(), *now);
    assert!(
        tokens
            .verify_access(refresh.token.expose(), Audience::Api, *now)
            .is_err()
    );

    let session: S3Session = "fuzz-1".parse().expect("it is a session");
    let holder = Holder::Login { sid: family, login };
    let minted = sts.mint(holder.clone(), &session, *now);
    let (access_key, token) = (minted.access_key.to_string(), minted.session_token.expose());
    let found = sts.recover(&access_key, token, *now).expect("we made them");
    assert_eq!((&found.holder, &found.secret), (&holder, &minted.secret));
    let later = *now + LIFETIME_DEFAULT + SignedDuration::from_mins(2);
    assert!(sts.recover(&access_key, token, later).is_err());
}
