//! Bodies that are sent: held in memory, or read from a file as they go.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use opentaco_domain::{Md5Hasher, Sha256, Sha256Hasher};

/// How much of a file is held at a time.
const PIECE: usize = 256 * 1024;

/// Bytes that can be sent, more than once if need be, with what is known of them.
#[derive(Debug, Clone)]
pub struct Outgoing {
    source: Source,
    length: u64,
    sha256: Sha256,
    md5: String,
}

#[derive(Debug, Clone)]
enum Source {
    Held(Bytes),
    File(Arc<File>),
}

impl Outgoing {
    /// Bytes in memory.
    #[must_use]
    pub fn held(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut digests = Digests::default();
        digests.update(&bytes);
        Self {
            length: bytes.len() as u64,
            sha256: digests.sha256.finish(),
            md5: digests.md5.finish(),
            source: Source::Held(bytes),
        }
    }

    /// A file, which is read here once for its digests and again each time it is sent, a piece at a time.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn file(file: File) -> io::Result<Self> {
        let mut digests = Digests::default();
        let mut length = 0;
        let mut piece = vec![0; PIECE];
        loop {
            match read_at(&file, &mut piece, length) {
                Ok(0) => break,
                Ok(read) => {
                    digests.update(&piece[..read]);
                    length += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            length,
            sha256: digests.sha256.finish(),
            md5: digests.md5.finish(),
            source: Source::File(Arc::new(file)),
        })
    }

    /// In bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What the bytes hash to.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// As `Content-MD5` has it.
    pub(crate) fn md5(&self) -> &str {
        &self.md5
    }

    /// One sending of it, which counts into `sent` what it has handed over.
    pub(crate) fn sending(&self, sent: Arc<AtomicU64>) -> Sending {
        Sending {
            source: self.source.clone(),
            at: 0,
            length: self.length,
            sent,
        }
    }
}

#[derive(Default)]
struct Digests {
    sha256: Sha256Hasher,
    md5: Md5Hasher,
}

impl Digests {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.md5.update(bytes);
    }
}

/// One sending of an [`Outgoing`]. Its length is known from the start, so it is sent as `Content-Length`.
#[derive(Debug)]
pub(crate) struct Sending {
    source: Source,
    at: u64,
    length: u64,
    sent: Arc<AtomicU64>,
}

impl Sending {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let left = self.length - self.at;
        if left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let piece = match &self.source {
            Source::Held(bytes) => {
                let at = usize::try_from(self.at).expect("what is held fits in memory");
                bytes.slice(at..at + wanted)
            }
            Source::File(file) => {
                let mut piece = vec![0; wanted];
                let read = read_at(file, &mut piece, self.at)?;
                if read == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the file became shorter while it was sent",
                    ));
                }
                piece.truncate(read);
                piece.into()
            }
        };
        self.at += piece.len() as u64;
        self.sent.store(self.at, Ordering::Relaxed);
        Ok(Some(piece))
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        // A regular file answers at once, mostly from memory; a thread for each piece would cost more than it saves.
        Poll::Ready(self.next().map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.at)
    }
}

/// Reads at a place without moving a cursor: an attempt that was given up may still be reading elsewhere.
#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, at)
}

/// Reads at a place; Windows moves the cursor with it, which nobody else looks at.
#[cfg(windows)]
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, at)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn whole(mut sending: Sending) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = sending.next().unwrap() {
            all.extend_from_slice(&piece);
        }
        all
    }

    #[test]
    fn a_file_and_its_bytes_are_sent_alike_and_more_than_once() {
        let bytes: Vec<u8> = (0..PIECE * 2 + 17).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let held = Outgoing::held(bytes.clone());
        let file = Outgoing::file(file).unwrap();
        assert_eq!(file.sha256(), held.sha256());
        assert_eq!(file.sha256(), Sha256::of(&bytes));
        assert_eq!(file.md5(), held.md5());
        for outgoing in [&held, &file, &file] {
            let sent = Arc::new(AtomicU64::new(0));
            assert_eq!(outgoing.length(), bytes.len() as u64);
            assert!(whole(outgoing.sending(Arc::clone(&sent))) == bytes);
            assert_eq!(sent.load(Ordering::Relaxed), outgoing.length());
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_sent_is_an_error_and_never_a_shorter_state() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let outgoing = Outgoing::file(file.try_clone().unwrap()).unwrap();
        file.set_len(4).unwrap();
        let mut sending = outgoing.sending(Arc::default());
        assert_eq!(sending.next().unwrap().unwrap(), "0123");
        assert_eq!(sending.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
