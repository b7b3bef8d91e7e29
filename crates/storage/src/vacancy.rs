//! What a copy holds where there is no state: nothing at all, or a note that is like no other.
//!
//! Whoever empties a copy wants that no late put, conditional on what lay there before, finds its condition true again.
//! Where every put has a tag of its own, no bytes at all will do. Where the tag is a digest of the content, as in S3,
//! all empty copies have the same one, and the first copy of a unit that was deleted since would land on it (trace 43).
//! There, a short note is put instead. It says to people what they see, and ends in 128 random bits.

use bytes::Bytes;

use crate::bucket::{Meta, Tag};
use crate::planted::{Bug, planted};

/// What the note says. A change here must go on recognising the notes of before.
const WORDS: &[u8] = b"OpenTaco: no state is kept here. `taco unit undelete` brings a deleted one back. ";
/// Hexadecimal digits behind the words, and the end of the line.
const DIGITS: usize = 32;
/// The length of a note.
const NOTE_BYTES: usize = WORDS.len() + DIGITS + 1;

/// What is put into a copy where there is to be no state, and perhaps was one before. `tag` is one of the same bucket,
/// and `draw` gives random numbers.
pub(crate) fn over(tag: &Tag, mut draw: impl FnMut() -> u64) -> Bytes {
    if !tag.tells_content() || planted(Bug::EmptyCopiesAlike) {
        return Bytes::new();
    }
    let digits = format!("{:016x}{:016x}\n", draw(), draw());
    [WORDS, digits.as_bytes()].concat().into()
}

/// Whether bytes of a copy are no state: none at all, or a note.
#[must_use]
pub fn is_vacant(bytes: &[u8]) -> bool {
    bytes.is_empty() || is_note(bytes)
}

fn is_note(bytes: &[u8]) -> bool {
    let Some(digits) = bytes
        .strip_prefix(WORDS)
        .and_then(|rest| rest.strip_suffix(b"\n"))
    else {
        return false;
    };
    digits.len() == DIGITS
        && digits
            .iter()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a copy may hold no state, as far as its size tells: if it is not empty, its bytes have to be looked at.
pub(crate) fn may_be_vacant(meta: &Meta) -> bool {
    meta.size == 0 || meta.size == NOTE_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(etag: &str) -> Tag {
        Tag {
            etag: Some(etag.to_owned()),
            generation: None,
        }
    }

    #[test]
    fn a_note_is_put_where_the_tag_is_a_digest_and_nothing_elsewhere() {
        let mut next = 0;
        let mut draw = || {
            next += 1;
            next
        };
        let digest = tag("\"d41d8cd98f00b204e9800998ecf8427e\"");
        let note = over(&digest, &mut draw);
        assert_eq!(note.len(), NOTE_BYTES);
        assert!(is_vacant(&note));
        assert_ne!(over(&digest, &mut draw), note, "each is like no other");
        assert_eq!(over(&tag("\"5c1b-8-1f\""), &mut draw), Bytes::new());
    }

    #[test]
    fn what_is_almost_a_note_is_a_state() {
        let note = over(&tag("d41d8cd98f00b204e9800998ecf8427e"), || 7);
        for at in 0..note.len() {
            let mut other = note.to_vec();
            other[at] = b'X';
            assert!(!is_vacant(&other), "{}", String::from_utf8_lossy(&other));
        }
        assert!(!is_vacant(&note[..note.len() - 1]));
        assert!(!is_vacant(b" "));
        assert!(is_vacant(b""));
    }

    #[test]
    fn the_words_of_today_are_recognised_for_ever() {
        let note = "OpenTaco: no state is kept here. `taco unit undelete` brings a deleted one back. \
                    00112233445566778899aabbccddeeff\n";
        assert!(is_vacant(note.as_bytes()));
    }
}
