//! Patterns for claims: text, `*` for anything but a slash, `**` for anything at all.
//!
//! Nothing else is special: what people write for a branch (`[`, `{`, `?`) means itself.

/// A text, or a pattern of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Exactly(char),
    WithinASegment,
    Anything,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for character in text.chars() {
            match (character, pieces.last_mut()) {
                ('*', Some(last @ Piece::WithinASegment)) => *last = Piece::Anything,
                ('*', Some(Piece::Anything)) => {}
                ('*', _) => pieces.push(Piece::WithinASegment),
                (other, _) => pieces.push(Piece::Exactly(other)),
            }
        }
        Self(pieces)
    }

    /// Whether all of `text` fits. Takes time with the product of both lengths at worst, whatever the text.
    pub(super) fn fits(&self, text: &str) -> bool {
        // `open[i]`: the characters so far fit the first `i` pieces.
        let mut open = vec![false; self.0.len() + 1];
        open[0] = true;
        self.pass_over_stars(&mut open);
        for character in text.chars() {
            let mut next = vec![false; open.len()];
            for (at, piece) in self.0.iter().enumerate().filter(|(at, _)| open[*at]) {
                match piece {
                    Piece::Exactly(expected) => next[at + 1] |= *expected == character,
                    Piece::WithinASegment => next[at] |= character != '/',
                    Piece::Anything => next[at] = true,
                }
            }
            self.pass_over_stars(&mut next);
            open = next;
        }
        open[self.0.len()]
    }

    /// A star may stand for nothing.
    fn pass_over_stars(&self, open: &mut [bool]) {
        for (at, piece) in self.0.iter().enumerate() {
            open[at + 1] |= open[at] && !matches!(piece, Piece::Exactly(_));
        }
    }

    /// What every text that fits begins with.
    pub(super) fn beginning(&self) -> String {
        let exact = self.0.iter().map_while(|piece| match piece {
            Piece::Exactly(character) => Some(*character),
            Piece::WithinASegment | Piece::Anything => None,
        });
        exact.collect()
    }

    /// Whether only one text fits.
    pub(super) fn is_exact(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Exactly(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).fits(text)
    }

    #[test]
    fn a_text_without_stars_fits_itself_and_nothing_else() {
        assert!(fits("refs/heads/main", "refs/heads/main"));
        for other in [
            "refs/heads/mai",
            "refs/heads/main2",
            "Refs/heads/main",
            "",
            "xrefs/heads/main",
        ] {
            assert!(!fits("refs/heads/main", other), "{other}");
        }
        assert!(fits("", "") && !fits("", "a"));
    }

    #[test]
    fn one_star_stays_within_a_segment() {
        for text in ["acme/", "acme/infra", "acme/infra-2"] {
            assert!(fits("acme/*", text), "{text}");
        }
        for text in ["acme", "acme/team/infra", "evil/acme/infra", "acme/infra/"] {
            assert!(!fits("acme/*", text), "{text}");
        }
        assert!(fits("refs/*/release-*", "refs/heads/release-1"));
        assert!(!fits("refs/*/release-*", "refs/heads/x/release-1"));
    }

    #[test]
    fn two_stars_cross_slashes() {
        assert!(fits("acme/**", "acme/team/infra"));
        assert!(fits("acme/**/infra", "acme/a/b/infra"));
        assert!(fits("**", "") && fits("**", "a/b"));
        assert!(fits("acme/***", "acme/a/b"));
        assert!(!fits("acme/**", "evil/acme/infra"));
    }

    #[test]
    fn what_is_special_elsewhere_means_itself() {
        for pattern in ["a?c", "[ab]c", "{a,b}", r"a\*", "a.c", "^a$"] {
            let itself = pattern.replace('*', "");
            assert!(fits(pattern, &itself), "{pattern}");
            assert!(!fits(pattern, "abc") && !fits(pattern, "a"), "{pattern}");
        }
    }

    #[test]
    fn every_short_pattern_agrees_with_the_definition() {
        /// The definition, which takes exponential time.
        fn defined(pattern: &str, text: &str) -> bool {
            if let Some(rest) = pattern.strip_prefix("**") {
                let rest = rest.trim_start_matches('*');
                return (0..=text.len()).any(|at| defined(rest, &text[at..]));
            }
            if let Some(rest) = pattern.strip_prefix('*') {
                let segment = text.find('/').unwrap_or(text.len());
                return (0..=segment).any(|at| defined(rest, &text[at..]));
            }
            match (pattern.chars().next(), text.chars().next()) {
                (None, None) => true,
                (Some(expected), Some(found)) => expected == found && defined(&pattern[1..], &text[1..]),
                _ => false,
            }
        }
        fn all(alphabet: &str, length: usize) -> Vec<String> {
            let mut words = vec![String::new()];
            let mut last = words.clone();
            for _ in 0..length {
                last = last
                    .iter()
                    .flat_map(|word| alphabet.chars().map(move |letter| format!("{word}{letter}")))
                    .collect();
                words.extend(last.iter().cloned());
            }
            words
        }
        let texts = all("ab/", 4);
        for pattern in all("a/*", 5) {
            for text in &texts {
                assert_eq!(fits(&pattern, text), defined(&pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn a_pattern_that_was_made_to_take_long_does_not() {
        assert!(!fits(&"a*".repeat(200), &format!("{}b/", "a".repeat(5000))));
    }
}
