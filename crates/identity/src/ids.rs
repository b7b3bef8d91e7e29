//! Names that are drawn once: of a login's family of tokens, unless an ID token names it, and of each token in it.
//!
//! They come back to us inside tokens and become names of objects in a bucket, so they are parsed and not trusted: an
//! id is 22 characters of base64url, in which no path can be spelled, whoever signed it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opentaco_domain::Sha256;
use serde::{Deserialize, Serialize};

/// The text is not the id of a token or of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 22 letters, digits, `-` and `_` are expected")]
pub struct NotAnId;

fn parse(text: &str) -> Result<String, NotAnId> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.len() == 22 && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(NotAnId)
    }
}

macro_rules! drawn_id {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Draws one that nobody can guess.
            ///
            /// # Panics
            /// If the operating system has no randomness to give.
            #[must_use]
            pub fn draw() -> Self {
                Self(crate::random::name())
            }

            /// The id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

drawn_id!(
    FamilyId,
    "The tokens of one login, which are revoked together. It names their record."
);
drawn_id!(
    TokenId,
    "One token. That of a refresh token is kept by its hash only."
);

impl FamilyId {
    /// The family of the login that an ID token begins: the same for the same token, so that it begins one. What of a token
    /// is signed decides, since some signatures can be spelled in two ways.
    #[must_use]
    pub fn of_id_token(token: &str) -> Self {
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        let digest = Sha256::of(format!("opentaco login\n{signed}").as_bytes());
        Self(URL_SAFE_NO_PAD.encode(&digest.bytes()[..16]))
    }
}

impl fmt::Display for FamilyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for FamilyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_drawn_is_an_id_and_another_one_each_time() {
        let id = FamilyId::draw();
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_ne!(id, FamilyId::draw());
    }

    #[test]
    fn no_path_can_be_spelled_as_an_id() {
        for wrong in [
            "",
            "..",
            "../../../__opentaco_acc",
            "../../__opentaco_acces",
            "aaaaaaaaaa/aaaaaaaaaaa",
            "aaaaaaaaaa%2Faaaaaaaaa",
            "aaaaaaaaaa.aaaaaaaaaaa",
            "aaaaaaaaaa\0aaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(wrong.parse::<FamilyId>(), Err(NotAnId), "{wrong}");
            let json = serde_json::to_string(wrong).unwrap();
            assert!(serde_json::from_str::<TokenId>(&json).is_err(), "{wrong}");
        }
    }
}
