//! Names made of claims: `ci:github:{repository}`.

use serde_json::{Map, Value};

/// What the name of every CI principal starts with.
const NAMESPACE: &str = "ci:";

/// The longest name made; claims are other people's texts.
const NAME_BYTES_MAX: usize = 255;

/// A name with claims in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Claim(String),
}

impl Template {
    /// Reads a template; the error is a sentence about it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let named = text.strip_prefix(NAMESPACE).is_some_and(|rest| !rest.is_empty());
        if !named {
            return Err("starts with `ci:` and goes on, so that no claim can spell a person's name");
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (claim, after) = after.split_once('}').ok_or("has a `{` that is not closed")?;
            if claim.is_empty() || claim.contains('{') || before.contains('}') {
                return Err("has claims in braces, such as `{repository}`, and no other braces");
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Claim(claim.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err("has claims in braces, such as `{repository}`, and no other braces");
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The name for a token with these claims; nothing if one of them is missing, or is no text that a name can hold.
    pub(super) fn name(&self, claims: &Map<String, Value>) -> Option<String> {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Claim(claim) => name.push_str(readable(claims.get(claim)?)?),
            }
        }
        (name.len() <= NAME_BYTES_MAX).then_some(name)
    }
}

/// A text that shows as what it is: in a log, in a lock, in the audit.
fn readable(claim: &Value) -> Option<&str> {
    let text = claim.as_str()?;
    let shows = |character: char| !character.is_control() && !character.is_whitespace();
    (!text.is_empty() && text.chars().all(shows)).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(template: &str, claims: &Value) -> Option<String> {
        Template::parse(template)
            .unwrap()
            .name(claims.as_object().unwrap())
    }

    #[test]
    fn a_name_is_made_of_text_and_claims() {
        let claims = json!({"repository": "acme/infra", "ref": "refs/heads/main"});
        assert_eq!(
            name("ci:github:{repository}", &claims).unwrap(),
            "ci:github:acme/infra"
        );
        assert_eq!(
            name("ci:{repository}@{ref}!", &claims).unwrap(),
            "ci:acme/infra@refs/heads/main!"
        );
        assert_eq!(name("ci:nightly", &claims).unwrap(), "ci:nightly");
    }

    #[test]
    fn a_claim_that_is_missing_or_no_readable_text_makes_no_name() {
        for wrong in [
            json!({}),
            json!({"r": ""}),
            json!({"r": 7}),
            json!({"r": null}),
            json!({"r": "a\nb"}),
            json!({"r": "a b"}),
        ] {
            assert_eq!(name("ci:{r}", &wrong), None, "{wrong}");
        }
        assert_eq!(name("ci:{r}", &json!({"r": "a".repeat(253)})), None);
        assert!(name("ci:{r}", &json!({"r": "a".repeat(252)})).is_some());
    }

    #[test]
    fn a_claim_is_not_read_as_a_template_again() {
        assert_eq!(
            name("ci:{r}", &json!({"r": "{s}", "s": "root"})).unwrap(),
            "ci:{s}"
        );
    }

    #[test]
    fn a_template_that_could_name_a_person_or_is_not_closed_is_refused() {
        for wrong in [
            "",
            "ci:",
            "root",
            "{repository}",
            "CI:x",
            " ci:x",
            "ci:{",
            "ci:{a",
            "ci:}",
            "ci:{}",
            "ci:{a{b}}",
            "ci:a}{b}",
        ] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
