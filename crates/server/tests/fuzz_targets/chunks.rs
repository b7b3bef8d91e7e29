//! A body in pieces comes out as what was meant or not at all, and how it is cut up on its way changes nothing.
//!
//! An input begins as a request does; its headers are those of the body. A first byte of the body says how it is cut.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use jiff::Timestamp;
use opentaco_domain::Secret;
use opentaco_identity::sigv4::{Asked, Chunks, Payload, Presented};
use opentaco_server::bodies::{Bodies, BodyLimits};
use opentaco_server::s3::payload::Announced;

use super::signer::{self, Request};

const SECRET: &str = "never seen on any wire, and in no corpus";
/// The largest body that is taken here.
const BYTES_MAX: u64 = 64 * 1024;

/// What judges pieces behind a request that was signed, and the signature of that request.
static SIGNED: LazyLock<(Chunks, String)> = LazyLock::new(signed_request);

static BODIES: LazyLock<Bodies> = LazyLock::new(|| Bodies::new(BodyLimits::default()));

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
}

pub(crate) fn check(bytes: &[u8]) {
    let Some((request, body)) = Request::read(bytes) else {
        return;
    };
    let (cut, body) = body
        .split_first()
        .map_or((1, body), |(cut, body)| (usize::from(*cut).max(1), body));
    for (payload, chunks) in [
        (Payload::UnsignedChunks, None),
        (
            Payload::Chunks {
                trailer: body.len() % 2 == 0,
            },
            Some(SIGNED.0.clone()),
        ),
    ] {
        let whole = read(&request, payload, chunks.clone(), body, body.len().max(1));
        // A byte at a time takes its time.
        for cut in [if body.len() < 64 { 1 } else { cut }, cut + 1] {
            assert_eq!(
                read(&request, payload, chunks.clone(), body, cut),
                whole,
                "in pieces of {cut}"
            );
        }
        if let Ok(whole) = &whole {
            assert!(whole.len() <= body.len());
            assert!(chunks.is_none(), "a piece was signed without the secret");
        }
    }
    check_signed(&request, body, cut);
}

/// The same bytes in pieces that are signed, by somebody else's code: they come out, and no bit of them can be changed.
fn check_signed(request: &Request, body: &[u8], cut: usize) {
    let mut request = request.clone();
    request.headers.clear();
    request
        .headers
        .insert("x-amz-decoded-content-length", body.len().into());
    request.headers.insert(
        "x-amz-trailer",
        "x-amz-checksum-crc32c".parse().expect("it is a header"),
    );
    let (chunks, seed) = SIGNED.clone();
    let mut frames = Vec::new();
    let mut previous = seed;
    for piece in body.chunks(cut).chain([b"".as_slice()]) {
        previous = piece_signature(&previous, piece);
        frames.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", piece.len()).as_bytes());
        if !piece.is_empty() {
            frames.extend_from_slice(piece);
            frames.extend_from_slice(b"\r\n");
        }
    }
    let sum = opentaco_server::s3::checksum::Algorithm::Crc32c.of(body);
    let line = format!("x-amz-checksum-crc32c:{sum}\n");
    let signature = trailer_signature(&previous, &line);
    frames.extend_from_slice(
        format!(
            "{}\r\nx-amz-trailer-signature:{signature}\r\n\r\n",
            line.trim_end()
        )
        .as_bytes(),
    );

    let payload = Payload::Chunks { trailer: true };
    let came = read(&request, payload, Some(chunks.clone()), &frames, cut);
    assert_eq!(came.as_deref(), Ok(body));
    let at = cut.wrapping_mul(body.len() + 1) % frames.len();
    frames[at] ^= 1;
    // The case of a name and of a size is nobody's concern; the bytes are.
    if let Ok(came) = read(&request, payload, Some(chunks), &frames, cut) {
        assert_eq!(came, body, "byte {at} was changed unnoticed");
    }
}

fn signed_request() -> (Chunks, String) {
    let mut request = Request {
        method: "PUT".to_owned(),
        path: "/s3/states/a.tfstate".to_owned(),
        query: String::new(),
        headers: http::HeaderMap::new(),
    };
    let payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
    let signature = request.sign("KEY", SECRET, payload).expect("it can be signed");
    let asked = Asked {
        method: &request.method,
        path: &request.path,
        query: &request.query,
        headers: &request.headers,
    };
    let now: Timestamp = "2026-12-01T12:00:00Z".parse().expect("it is a time");
    let presented = Presented::read(&asked)
        .expect("it is signed")
        .expect("it is signed");
    let chunks = presented
        .verify(&asked, &Secret::new(SECRET), now)
        .expect("it is signed");
    (chunks, signature)
}

/// The bytes, or the code of the refusal.
fn read(
    request: &Request,
    payload: Payload,
    chunks: Option<Chunks>,
    body: &[u8],
    cut: usize,
) -> Result<Vec<u8>, &'static str> {
    let pieces: Vec<Result<Bytes, std::io::Error>> = body
        .chunks(cut)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let body = Body::from_stream(futures::stream::iter(pieces));
    let announced =
        Announced::read(&request.headers, payload, chunks).map_err(|refused| refused.code().as_str())?;
    let read = announced.receive_small(&BODIES, &request.headers, body, BYTES_MAX);
    match RUNTIME.with(|runtime| runtime.block_on(read)) {
        Ok((bytes, checksums)) => {
            for checksum in checksums {
                assert_eq!(checksum.algorithm.of(&bytes), checksum.value);
            }
            Ok(bytes.to_vec())
        }
        Err(refused) => Err(refused.code().as_str()),
    }
}

/// The signature of a piece, after the one before it.
fn piece_signature(previous: &str, bytes: &[u8]) -> String {
    let (moment, scope, nothing) = (signer::MOMENT, signer::scope(), signer::sha256(b""));
    let digest = signer::sha256(bytes);
    let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{moment}\n{scope}\n{previous}\n{nothing}\n{digest}");
    signer::mac(&signer::key(SECRET), &text)
}

/// The signature of the trailer, after the one of the last piece.
fn trailer_signature(previous: &str, lines: &str) -> String {
    let (moment, scope, digest) = (signer::MOMENT, signer::scope(), signer::sha256(lines.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256-TRAILER\n{moment}\n{scope}\n{previous}\n{digest}");
    signer::mac(&signer::key(SECRET), &text)
}
