//! Texts that must not be shown.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// A text that must not be shown: its `Debug` says nothing, and it has no `Display`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes care of `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Takes as long for a near miss as for a far one, so that a secret cannot be found a character at a time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_equal_to_the_same_text_and_to_no_other() {
        let secret = Secret::new("hush");
        assert_eq!(secret, Secret::new("hush"));
        for other in ["", "hus", "hushh", "Hush"] {
            assert_ne!(secret, Secret::new(other));
        }
    }

    #[test]
    fn a_secret_is_not_shown_for_debugging() {
        assert_eq!(format!("{:?}", Some(Secret::new("hush"))), "Some(Secret(…))");
    }
}
