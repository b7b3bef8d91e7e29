//! Bodies as S3 clients send them: whole or in pieces, signed or not, with checksums before or behind them. What comes out
//! is what was meant, and nothing does if any part of it is wrong.
//!
//! ```text
//! <size in hex>[;chunk-signature=<hex>]\r\n<bytes>\r\n      … again and again, the last of them of size 0, without bytes
//! <name>:<value>\r\n                                       … the trailer
//! [x-amz-trailer-signature:<hex>\r\n]\r\n
//! ```

use std::mem;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use opentaco_domain::digest::md5_base64;
use opentaco_domain::{Sha256, Sha256Hasher};
use opentaco_identity::sigv4::{Chunks, NotSigned, Payload};

use crate::app::App;
use crate::bodies::{Arrived, Bodies, BodyError, Wrapping};
use crate::s3::checksum::Checksum;
use crate::s3::error::{Code, Refused};

/// The longest line between pieces, and all lines of a trailer together.
const LINES_BYTES_MAX: usize = 8 * 1024;

/// A body that has arrived, checked against all that was said of it.
#[derive(Debug)]
pub struct Received {
    /// The body, with its memory.
    pub arrived: Arrived,
    /// Its MD5 in base64.
    pub md5: String,
    /// The checksums that were sent with it.
    pub checksums: Vec<Checksum>,
}

/// What was said of a body before it comes.
#[derive(Debug)]
pub struct Announced {
    payload: Payload,
    chunks: Option<Chunks>,
    checksums: Vec<Checksum>,
    trailers: Vec<String>,
    length: Option<u64>,
}

impl Announced {
    /// By the headers of a request; `chunks` judges the signatures of pieces, where anybody signs.
    ///
    /// # Errors
    /// If something is said that cannot be checked.
    pub fn read(headers: &HeaderMap, payload: Payload, chunks: Option<Chunks>) -> Result<Self, Refused> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let checksums = Checksum::in_headers(headers)?;
        let trailers: Vec<String> = headers
            .get_all("x-amz-trailer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        if text("x-amz-sdk-checksum-algorithm").is_some() && checksums.is_empty() && trailers.is_empty() {
            let message = "x-amz-sdk-checksum-algorithm is there, but no checksum, neither as a header nor as a trailer";
            return Err(Refused::new(Code::InvalidRequest, message));
        }
        let is_wrapped = matches!(payload, Payload::Chunks { .. } | Payload::UnsignedChunks);
        let length = match (is_wrapped, text("x-amz-decoded-content-length")) {
            (false, _) => None,
            (true, Some(length)) => Some(length.parse().map_err(|_| {
                Refused::new(
                    Code::InvalidArgument,
                    "x-amz-decoded-content-length is not a number of bytes",
                )
            })?),
            (true, None) => {
                let message = "a body in pieces needs x-amz-decoded-content-length";
                return Err(Refused::new(Code::InvalidRequest, message));
            }
        };
        Ok(Self {
            payload,
            chunks,
            checksums,
            trailers,
            length,
        })
    }

    /// Reads a state.
    ///
    /// # Errors
    /// If it does not arrive, or not as it was sent.
    pub async fn receive(self, app: &App, headers: &HeaderMap, body: Body) -> Result<Received, Refused> {
        let mut pieces = self.pieces();
        let arrived = match self.length {
            Some(length) => {
                app.bodies
                    .read_wrapped(headers, body, length, &mut pieces)
                    .await?
            }
            None => app.bodies.read_state(headers, body).await?,
        };
        let checksums = self.verify(&arrived.bytes, &pieces)?;
        Ok(Received {
            md5: arrived.md5.clone().unwrap_or_else(|| md5_base64(&arrived.bytes)),
            arrived,
            checksums,
        })
    }

    /// Reads a small body: a lock, or a document.
    ///
    /// # Errors
    /// As [`Announced::receive`].
    pub async fn receive_small(
        self,
        bodies: &Bodies,
        headers: &HeaderMap,
        body: Body,
        limit: u64,
    ) -> Result<(Bytes, Vec<Checksum>), Refused> {
        let mut pieces = self.pieces();
        let bytes = match self.length {
            Some(length) => {
                bodies
                    .read_small_wrapped(headers, body, length, limit, &mut pieces)
                    .await?
            }
            None => bodies.read_small(headers, body, limit).await?,
        };
        let checksums = self.verify(&bytes, &pieces)?;
        Ok((bytes, checksums))
    }

    fn pieces(&self) -> Pieces {
        Pieces {
            signatures: self
                .chunks
                .clone()
                .filter(|_| matches!(self.payload, Payload::Chunks { .. })),
            has_trailer: matches!(
                self.payload,
                Payload::Chunks { trailer: true } | Payload::UnsignedChunks
            ),
            ..Pieces::default()
        }
    }

    fn verify(self, bytes: &[u8], pieces: &Pieces) -> Result<Vec<Checksum>, Refused> {
        if self.length.is_some_and(|length| length != bytes.len() as u64) {
            let message = "the body has not as many bytes as x-amz-decoded-content-length says";
            return Err(Refused::new(Code::IncompleteBody, message));
        }
        if let Payload::Whole(digest) = &self.payload
            && Sha256::of(bytes) != *digest
        {
            let message =
                "the body does not have the x-amz-content-sha256 that was signed; nothing was changed";
            return Err(Refused::new(Code::XAmzContentSHA256Mismatch, message));
        }
        let mut checksums = self.checksums;
        for announced in &self.trailers {
            let found = pieces.trailers.iter().find(|(name, _)| name == announced);
            let (name, value) = found.ok_or_else(|| {
                let message = format!("the trailer {announced} was announced and did not come");
                Refused::new(Code::MalformedTrailerError, message)
            })?;
            checksums.push(Checksum::named(name, value)?);
        }
        if pieces.trailers.len() > self.trailers.len() {
            let message = "there is more in the trailer than x-amz-trailer announced";
            return Err(Refused::new(Code::MalformedTrailerError, message));
        }
        for checksum in &checksums {
            checksum.verify(bytes)?;
        }
        Ok(checksums)
    }
}

/// Takes the pieces of a body out of their frames.
#[derive(Debug, Default)]
struct Pieces {
    signatures: Option<Chunks>,
    has_trailer: bool,
    at: At,
    line: Vec<u8>,
    lines_bytes: usize,
    hasher: Sha256Hasher,
    signature: String,
    trailers: Vec<(String, String)>,
}

/// Where in the frames.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the line before a piece.
    #[default]
    Size,
    /// In a piece, with so many bytes to come.
    Piece(u64),
    /// In the line break behind a piece.
    Break,
    /// In the trailer.
    Trailer,
    /// Behind everything.
    End,
}

impl Wrapping for Pieces {
    fn unwrap_into(&mut self, piece: &[u8], whole: &mut BytesMut) -> Result<(), BodyError> {
        let mut rest = piece;
        while !rest.is_empty() {
            if let At::Piece(left) = self.at {
                let here = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                let (bytes, more) = rest.split_at(here);
                whole.extend_from_slice(bytes);
                if self.signatures.is_some() {
                    self.hasher.update(bytes);
                }
                rest = more;
                self.at = match left - here as u64 {
                    0 => At::Break,
                    left => At::Piece(left),
                };
                continue;
            }
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (bytes, more) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            rest = more;
            self.lines_bytes += bytes.len();
            self.line.extend_from_slice(bytes);
            if self.lines_bytes > LINES_BYTES_MAX {
                return Err(broken("a line between its pieces is too long"));
            }
            if end.is_some() {
                let line = mem::take(&mut self.line);
                let line = line
                    .strip_suffix(b"\r\n")
                    .ok_or_else(|| broken("a line between its pieces does not end in CR LF"))?;
                self.take_line(line)?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        match self.at {
            At::End if self.line.is_empty() => Ok(()),
            _ => Err(broken("it ends before its last piece, or before its trailer")),
        }
    }

    fn least(&self, _: &[u8]) -> usize {
        0
    }
}

impl Pieces {
    fn take_line(&mut self, line: &[u8]) -> Result<(), BodyError> {
        let text = std::str::from_utf8(line).map_err(|_| broken("a line between its pieces is not text"))?;
        match self.at {
            At::Size => self.begin(text),
            At::Break if text.is_empty() => {
                self.judge_piece()?;
                self.lines_bytes = 0;
                self.at = At::Size;
                Ok(())
            }
            At::Trailer if text.is_empty() => self.end_of_trailer(),
            At::Trailer => {
                let (name, value) = text
                    .split_once(':')
                    .ok_or_else(|| trailer("a line of the trailer is no `name:value`"))?;
                self.trailers
                    .push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                Ok(())
            }
            At::Break | At::Piece(_) | At::End => Err(broken("there is more than its pieces announced")),
        }
    }

    fn begin(&mut self, line: &str) -> Result<(), BodyError> {
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let plain = (1..=16).contains(&size.len()) && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16)
            .ok()
            .filter(|_| plain)
            .ok_or_else(|| broken("the size of a piece is not a hexadecimal number"))?;
        if self.signatures.is_some() {
            let signature = extension
                .strip_prefix("chunk-signature=")
                .ok_or_else(|| broken("a piece has no signature"))?;
            signature.clone_into(&mut self.signature);
        }
        self.at = match size {
            0 => {
                self.judge_piece()?;
                At::Trailer
            }
            size => At::Piece(size),
        };
        Ok(())
    }

    /// A piece has come to its end: is it the one that was signed, and in its place?
    fn judge_piece(&mut self) -> Result<(), BodyError> {
        let digest = mem::take(&mut self.hasher).finish();
        match &mut self.signatures {
            Some(signatures) => signatures
                .chunk(&digest, &self.signature)
                .map_err(|why| unsigned(&why)),
            None => Ok(()),
        }
    }

    fn end_of_trailer(&mut self) -> Result<(), BodyError> {
        self.at = At::End;
        if !self.has_trailer && !self.trailers.is_empty() {
            return Err(trailer("there is a trailer where none was announced"));
        }
        let at = self
            .trailers
            .iter()
            .position(|(name, _)| name == "x-amz-trailer-signature");
        let signature = at.map(|at| self.trailers.remove(at).1);
        let Some(signatures) = self.signatures.as_mut().filter(|_| self.has_trailer) else {
            return Ok(());
        };
        let signature = signature.ok_or_else(|| trailer("the trailer is not signed"))?;
        let lines: String = self
            .trailers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        signatures
            .trailer(&lines, &signature)
            .map_err(|why| unsigned(&why))
    }
}

fn broken(reason: &str) -> BodyError {
    wrapped(Code::IncompleteBody, reason)
}

fn trailer(reason: &str) -> BodyError {
    wrapped(Code::MalformedTrailerError, reason)
}

fn unsigned(why: &NotSigned) -> BodyError {
    wrapped(Code::SignatureDoesNotMatch, &why.to_string())
}

fn wrapped(code: Code, reason: &str) -> BodyError {
    BodyError::Wrapped {
        code,
        reason: reason.to_owned(),
    }
}

/// MD5 in base64 as the hex that S3 makes ETags of; what is none stays as it is.
#[must_use]
pub fn hex_of(md5: &str) -> String {
    match STANDARD.decode(md5) {
        Ok(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => md5.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unwrap(wrapped: &[u8], split: usize, has_trailer: bool) -> Result<(Vec<u8>, Pieces), BodyError> {
        let mut pieces = Pieces {
            has_trailer,
            ..Pieces::default()
        };
        let mut whole = BytesMut::new();
        for piece in wrapped.chunks(split.max(1)) {
            pieces.unwrap_into(piece, &mut whole)?;
        }
        pieces.end()?;
        Ok((whole.to_vec(), pieces))
    }

    const TERRAFORMS: &[u8] =
        b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-sha256:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=\r\n\r\n";

    #[test]
    fn pieces_come_out_of_their_frames_however_they_arrive() {
        for split in 1..TERRAFORMS.len() {
            let (whole, pieces) = unwrap(TERRAFORMS, split, true).unwrap();
            assert_eq!(whole, b"hello world", "split at {split}");
            assert_eq!(pieces.trailers[0].0, "x-amz-checksum-sha256");
        }
    }

    #[test]
    fn a_body_that_is_cut_off_anywhere_is_refused() {
        for end in 0..TERRAFORMS.len() {
            assert!(unwrap(&TERRAFORMS[..end], 7, true).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn frames_that_are_none_are_refused() {
        for wrong in [
            b"5\nhello\r\n0\r\n\r\n".as_slice(),
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b"zz\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\r\nmore\r\n",
            b"11111111111111111\r\n",
            b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        ] {
            let refused = unwrap(wrong, 3, true);
            assert!(refused.is_err(), "{}", String::from_utf8_lossy(wrong));
        }
        let endless = vec![b'1'; LINES_BYTES_MAX + 1];
        assert!(unwrap(&endless, 100, true).is_err());
        assert!(
            unwrap(TERRAFORMS, 100, false).is_err(),
            "a trailer that was not announced"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_wrapped_comes_out_again(
            bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1usize..50, split in 1usize..70,
        ) {
            let mut wrapped = Vec::new();
            for piece in bytes.chunks(size) {
                wrapped.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                wrapped.extend_from_slice(piece);
                wrapped.extend_from_slice(b"\r\n");
            }
            wrapped.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(unwrap(&wrapped, split, false).unwrap().0, bytes);
        }

        #[test]
        fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), split in 1usize..40) {
            let _refused_or_not = unwrap(&bytes, split, true);
        }
    }
}
