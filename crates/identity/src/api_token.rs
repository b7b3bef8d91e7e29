//! Tokens for programs: opaque, shown once, kept by their hash.
//!
//! ```text
//! taco_ 43 letters and digits: 256 random bits   6 of checksum
//! ```
//!
//! The prefix lets scanners of source code recognise one that leaked, and the checksum lets them (and us) tell a token
//! from a text that looks like it: a typo is refused with its reason before anything is looked up. The checksum proves
//! nothing; anybody can compute it. What proves is the hash, which is all that is kept: who reads the records cannot
//! use them. With 256 random bits there is nothing to guess, so one round of SHA-256 is enough, and it can be the name
//! of the record. Service accounts have the same tokens; whose one is stands in its record.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use opentaco_domain::{Secret, Sha256};
use serde::{Deserialize, Serialize};

use crate::random;

/// What every API token starts with.
pub const PREFIX: &str = "taco_";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 62 to the power of this is more than 2 to the power of 256.
const RANDOM_DIGITS: usize = 43;

/// 62 to the power of this is more than 2 to the power of 32.
const CHECKSUM_DIGITS: usize = 6;

/// An API token. Holding one proves that it is spelled right, and not that anybody was given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken(Secret);

/// Why a text is no API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnApiToken {
    /// It is some other credential.
    #[error("it does not start with `{PREFIX}`")]
    Prefix,
    /// A piece of it is missing, or something else stuck to it.
    #[error("an API token has {} characters: is a piece of it missing?", PREFIX.len() + RANDOM_DIGITS + CHECKSUM_DIGITS)]
    Length,
    /// A character that no token has.
    #[error("an API token has letters and digits only after `{PREFIX}`")]
    Character,
    /// Some character is another.
    #[error("the checksum of the API token is wrong: is there a typo in it?")]
    Checksum,
}

impl ApiToken {
    /// Draws a new one.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn draw() -> Self {
        let random = random_digits();
        Self(Secret::new(format!("{PREFIX}{random}{}", checksum(&random))))
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is not spelled like one; the error tells a person why, and shows nothing of it.
    pub fn parse(text: &str) -> Result<Self, NotAnApiToken> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAnApiToken::Prefix)?;
        if digits.len() != RANDOM_DIGITS + CHECKSUM_DIGITS {
            return Err(NotAnApiToken::Length);
        }
        if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(NotAnApiToken::Character);
        }
        let (random, sum) = digits.split_at(RANDOM_DIGITS);
        if checksum(random) != sum {
            return Err(NotAnApiToken::Checksum);
        }
        Ok(Self(Secret::new(text)))
    }

    /// The token itself: to be shown once, to whoever asked for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> ApiTokenHash {
        ApiTokenHash(Sha256::of(self.expose().as_bytes()))
    }
}

/// What is kept of an API token, in 64 hex digits: enough to recognise it, and no use to anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiTokenHash(Sha256);

impl ApiTokenHash {
    /// Whether this is the hash of `token`; takes as long for a near miss as for a far one.
    #[must_use]
    pub fn is_of(&self, token: &ApiToken) -> bool {
        verify_slices_are_equal(self.0.bytes(), token.hash().0.bytes()).is_ok()
    }

    /// Eight hex digits by which people tell tokens apart in lists.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for ApiTokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// Digits that are all equally likely: bytes from 248 on, which would favour the first ones, are drawn again.
fn random_digits() -> String {
    let mut digits = String::with_capacity(RANDOM_DIGITS);
    while digits.len() < RANDOM_DIGITS {
        let fair = random::bytes::<64>().into_iter().filter(|byte| *byte < 248);
        digits.extend(
            fair.take(RANDOM_DIGITS - digits.len())
                .map(|byte| digit(u32::from(byte))),
        );
    }
    digits
}

/// The first 32 bits of the SHA-256 of the prefix and the random digits, the lowest digit first.
fn checksum(random: &str) -> String {
    let digest = Sha256::of(format!("{PREFIX}{random}").as_bytes());
    let [a, b, c, d, ..] = *digest.bytes();
    let mut left = u32::from_be_bytes([a, b, c, d]);
    let mut digits = String::with_capacity(CHECKSUM_DIGITS);
    for _ in 0..CHECKSUM_DIGITS {
        digits.push(digit(left));
        left /= 62;
    }
    digits
}

/// The last digit of `number` in base 62.
fn digit(number: u32) -> char {
    char::from(DIGITS[(number % 62) as usize])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_token_that_was_drawn_is_read_back_and_known_by_its_hash_alone() {
        let token = ApiToken::draw();
        let presented = ApiToken::parse(token.expose()).unwrap();
        assert!(token.hash().is_of(&presented));
        assert!(!token.hash().is_of(&ApiToken::draw()));
    }

    /// Records that were kept and scanners that were taught would otherwise stop knowing the tokens that are out there.
    #[test]
    fn the_spelling_and_the_hash_of_a_token_do_not_change() {
        let token = ApiToken::parse("taco_0000000000000000000000000000000000000000000fLyPa0").unwrap();
        assert_eq!(
            token.hash().to_string(),
            "784aae352e0f076696d380362ecc016e3ac1cad76ea26f89433ce4786bf2fe6e"
        );
    }

    #[test]
    fn every_single_typo_is_told() {
        let token = ApiToken::draw().expose().to_owned();
        for at in PREFIX.len()..token.len() {
            for digit in DIGITS.iter().map(|digit| char::from(*digit)) {
                let typo = format!("{}{digit}{}", &token[..at], &token[at + 1..]);
                if typo != token {
                    assert_eq!(ApiToken::parse(&typo), Err(NotAnApiToken::Checksum), "at {at}");
                }
            }
        }
    }

    #[test]
    fn a_text_that_is_no_token_is_refused_with_the_reason() {
        let token = ApiToken::draw().expose().to_owned();
        for (wrong, reason) in [
            (token.to_uppercase(), NotAnApiToken::Prefix),
            (token.replace("taco_", "ghp_"), NotAnApiToken::Prefix),
            (String::new(), NotAnApiToken::Prefix),
            (format!(" {token}"), NotAnApiToken::Prefix),
            (format!("{token}\n"), NotAnApiToken::Length),
            (token[..token.len() - 1].to_owned(), NotAnApiToken::Length),
            ("taco_".to_owned(), NotAnApiToken::Length),
            (format!("taco_{}", "/".repeat(49)), NotAnApiToken::Character),
            (format!("taco_../{}", "a".repeat(46)), NotAnApiToken::Character),
            (format!("taco_{}a", "é".repeat(24)), NotAnApiToken::Character),
        ] {
            assert_eq!(ApiToken::parse(&wrong), Err(reason), "{wrong}");
        }
    }

    #[test]
    fn tokens_use_every_digit_and_never_come_twice() {
        let tokens: Vec<String> = (0..200).map(|_| ApiToken::draw().expose().to_owned()).collect();
        let random = |token: &String| token[PREFIX.len()..PREFIX.len() + RANDOM_DIGITS].to_owned();
        let digits: BTreeSet<char> = tokens
            .iter()
            .flat_map(|token| random(token).chars().collect::<Vec<_>>())
            .collect();
        assert_eq!(digits.len(), 62);
        assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 200);
    }

    #[test]
    fn a_token_is_not_shown_for_debugging() {
        let token = ApiToken::draw();
        assert!(!format!("{token:?}").contains(&token.expose()[5..48]));
    }
}
