//! Random texts that nobody can guess.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// As many random bytes as asked for.
///
/// # Panics
/// If the operating system has no randomness to give; nothing secret can be made then.
pub(crate) fn bytes<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// 128 random bits in 22 characters of base64url: a name that is drawn once.
pub(crate) fn name() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<16>())
}
