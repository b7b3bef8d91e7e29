//! The examples that AWS publishes for S3, and each of them wrong in every way.

use http::{HeaderName, HeaderValue};

use super::*;

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const RANGED: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
const PRESIGNED: &str = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const PIECES: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];

fn secret() -> Secret {
    Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
}

fn then() -> Timestamp {
    "2013-05-24T00:00:00Z".parse().unwrap()
}

/// A request that a test can change before it is sent.
#[derive(Clone)]
struct Request {
    method: &'static str,
    path: String,
    query: String,
    headers: HeaderMap,
}

impl Request {
    fn new(method: &'static str, path: &str, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
        };
        for (name, value) in headers {
            request.set(name, value);
        }
        request
    }

    fn set(&mut self, name: &str, value: &str) {
        let name: HeaderName = name.parse().unwrap();
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
        }
    }

    fn verify_at(&self, now: Timestamp) -> Result<Chunks, NotSigned> {
        let asked = self.asked();
        let presented = Presented::read(&asked)?.expect("it claims something");
        presented.verify(&asked, &secret(), now)
    }

    fn verify(&self) -> Result<Chunks, NotSigned> {
        self.verify_at(then())
    }
}

fn authorization(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed},Signature={signature}"
    )
}

/// A part of an object, signed by header.
fn ranged() -> Request {
    let nothing = Sha256::of(b"").to_string();
    Request::new(
        "GET",
        "/test.txt",
        "",
        &[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", &nothing),
            ("x-amz-date", "20130524T000000Z"),
            (
                "authorization",
                &authorization("host;range;x-amz-content-sha256;x-amz-date", RANGED),
            ),
        ],
    )
}

fn presigned() -> Request {
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature={PRESIGNED}"
    );
    Request::new(
        "GET",
        "/test.txt",
        &query,
        &[("host", "examplebucket.s3.amazonaws.com")],
    )
}

/// An object in two pieces, each signed.
fn in_pieces() -> Request {
    let signed = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class";
    Request::new(
        "PUT",
        "/examplebucket/chunkObject.txt",
        "",
        &[
            ("host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("content-length", "66824"),
            ("authorization", &authorization(signed, SEED)),
        ],
    )
}

#[track_caller]
fn refused(request: &Request) -> NotSigned {
    request.verify().map(drop).expect_err("it is to be refused")
}

#[test]
fn the_published_examples_are_signed() {
    for request in [ranged(), presigned(), in_pieces()] {
        request.verify().unwrap();
        let asked = request.asked();
        let presented = Presented::read(&asked).unwrap().unwrap();
        assert_eq!(
            (presented.access_key.as_str(), presented.session_token),
            (KEY, None)
        );
    }
    let mut nobody = ranged();
    nobody.headers.remove("authorization");
    assert!(Presented::read(&nobody.asked()).unwrap().is_none());
}

#[test]
fn pieces_are_signed_one_after_another_and_in_no_other_order() {
    let bytes = [vec![b'a'; 65536], vec![b'a'; 1024], Vec::new()];
    let digests = bytes.map(|bytes| Sha256::of(&bytes));
    let mut chunks = in_pieces().verify().unwrap();
    for (digest, signature) in digests.iter().zip(PIECES) {
        chunks.chunk(digest, signature).unwrap();
    }
    let mut chunks = in_pieces().verify().unwrap();
    assert_eq!(
        chunks.chunk(&digests[1], PIECES[1]),
        Err(NotSigned::Mismatch),
        "the second one first"
    );
    assert_eq!(
        chunks.chunk(&digests[1], PIECES[0]),
        Err(NotSigned::Mismatch),
        "other bytes"
    );
    chunks.chunk(&digests[0], PIECES[0]).unwrap();
    assert_eq!(
        chunks.chunk(&digests[0], PIECES[0]),
        Err(NotSigned::Mismatch),
        "the same again"
    );
}

#[test]
fn a_trailer_is_signed_over_the_last_piece() {
    let sign = |chunks: &Chunks, kind: &str, digests: &str| {
        let text = format!("{kind}\n{}\n{}\n{digests}", chunks.scope, chunks.previous);
        let tag = hmac::sign(&chunks.key, text.as_bytes());
        tag.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let lines = "x-amz-checksum-crc32c:sOO8/Q==\n";
    let mut chunks = in_pieces().verify().unwrap();
    let before = sign(&chunks, TRAILER, &Sha256::of(lines.as_bytes()).to_string());
    let nothing = Sha256::of(b"");
    let last = sign(&chunks, CHUNK, &format!("{nothing}\n{nothing}"));
    chunks.chunk(&nothing, &last).unwrap();
    assert_eq!(
        chunks.trailer(lines, &before),
        Err(NotSigned::Mismatch),
        "not over the last piece"
    );
    let signature = sign(&chunks, TRAILER, &Sha256::of(lines.as_bytes()).to_string());
    assert_eq!(
        chunks.trailer("x-amz-checksum-crc32c:AAAAAA==\n", &signature),
        Err(NotSigned::Mismatch)
    );
    chunks.trailer(lines, &signature).unwrap();
}

#[test]
fn whatever_is_changed_after_signing_is_noticed() {
    for request in [ranged(), presigned(), in_pieces()] {
        type Change = (&'static str, fn(&mut Request));
        let changes: [Change; 5] = [
            ("the method", |request| request.method = "DELETE"),
            ("the path", |request| request.path.push('x')),
            ("the path's encoding", |request| {
                request.path = request.path.replace('.', "%2E");
            }),
            ("the query", |request| request.query.push_str("&uploads=")),
            ("the host", |request| request.set("host", "evil.example.com")),
        ];
        for (what, change) in changes {
            let mut changed = request.clone();
            change(&mut changed);
            assert_eq!(refused(&changed), NotSigned::Mismatch, "{what}");
        }
    }
    let mut changed = ranged();
    changed.set("range", "bytes=0-99");
    assert_eq!(refused(&changed), NotSigned::Mismatch);
    changed.headers.remove("range");
    assert_eq!(refused(&changed), NotSigned::Missing("range".to_owned()));
    let mut changed = ranged();
    changed.set("x-amz-content-sha256", &Sha256::of(b"another body").to_string());
    assert_eq!(refused(&changed), NotSigned::Mismatch);
    let mut changed = ranged();
    changed.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(
        refused(&changed),
        NotSigned::Mismatch,
        "a body that was signed cannot become one that was not"
    );
}

#[test]
fn a_header_that_says_something_and_was_added_after_signing_is_refused() {
    for (name, value) in [
        ("x-amz-security-token", "token-of-somebody-else"),
        ("x-amz-copy-source", "/other/key"),
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
    ] {
        for request in [ranged(), presigned()] {
            let mut changed = request.clone();
            changed.set(name, value);
            assert_eq!(refused(&changed), NotSigned::Unsigned(name.to_owned()));
        }
    }
    let mut chatty = ranged();
    chatty.set("user-agent", "aws-cli/2");
    chatty.verify().unwrap();
}

#[test]
fn the_order_of_a_query_and_its_spelling_do_not_matter_and_its_values_do() {
    let canonical = "list-type=2&max-keys=1000&prefix=env%3A%2F";
    for query in [
        "prefix=env%3A%2F&list-type=2&max-keys=1000",
        "max-keys=1000&prefix=env:/&list-type=2",
        "list-type=2&&max-keys=1000&prefix=env%3a%2f",
    ] {
        assert_eq!(canonical_query(query), canonical);
    }
    assert_eq!(canonical_query("uploads"), "uploads=");
    assert_eq!(canonical_query("b=2&a=%C3%BC+1&a=~"), "a=%C3%BC%201&a=~&b=2");
    assert_eq!(canonical_query(""), "");
    assert_ne!(canonical_query("prefix=a%2Fb"), canonical_query("prefix=a%252Fb"));
}

#[test]
fn a_request_is_good_for_a_quarter_of_an_hour_and_a_presigned_one_until_it_expires() {
    let minutes = SignedDuration::from_mins;
    for request in [ranged(), in_pieces()] {
        for (offset, expected) in [
            (minutes(-15), true),
            (minutes(-16), false),
            (minutes(15), true),
            (minutes(16), false),
        ] {
            let verified = request.verify_at(then() + offset);
            assert_eq!(verified.is_ok(), expected, "{offset}");
            assert!(expected || verified.is_err_and(|error| error == NotSigned::Skewed));
        }
    }
    let day = SignedDuration::from_hours(24);
    presigned().verify_at(then() + day - minutes(1)).unwrap();
    assert_eq!(
        presigned().verify_at(then() + day).err(),
        Some(NotSigned::Expired)
    );
    assert_eq!(
        presigned().verify_at(then() - minutes(16)).err(),
        Some(NotSigned::Skewed)
    );
    let mut longer = presigned();
    longer.query = longer.query.replace("86400", "86401");
    assert_eq!(refused(&longer), NotSigned::Mismatch);
    for wrong in ["0", "604801", "-1", "x", ""] {
        let mut odd = presigned();
        odd.query = odd.query.replace("Expires=86400", &format!("Expires={wrong}"));
        assert!(matches!(refused(&odd), NotSigned::MalformedQuery(_)), "{wrong}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_panics_nowhere() {
    let whole = authorization("host;range;x-amz-content-sha256;x-amz-date", RANGED);
    for wrong in [
        "",
        "Bearer x",
        "AWS AKIA:sig",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ,,,=",
        &whole.replace("aws4_request", "aws4"),
        &whole.replace("/s3/", "/ec2/"),
        &whole.replace("20130524", "20130525"),
        &whole.replace("20130524", "2013"),
        &whole.replace("host;", ""),
        &whole.replace(RANGED, &RANGED.to_uppercase()),
        &whole.replace(RANGED, &RANGED[1..]),
        &whole.replace("SignedHeaders", "Headers"),
    ] {
        let mut request = ranged();
        request.set("authorization", wrong);
        assert!(matches!(refused(&request), NotSigned::Malformed(_)), "{wrong}");
    }
    for (name, wrong) in [
        ("x-amz-date", "yesterday"),
        ("x-amz-date", "20130524T000000"),
        ("x-amz-date", "20130524T250000Z"),
        ("x-amz-content-sha256", "E3B0"),
    ] {
        let mut request = ranged();
        request.set(name, wrong);
        assert!(
            matches!(refused(&request), NotSigned::Malformed(_)),
            "{name}: {wrong}"
        );
    }
    let mut twice = presigned();
    twice.query.push_str("&X-Amz-Expires=1");
    assert!(matches!(refused(&twice), NotSigned::MalformedQuery(_)));
    let mut both = presigned();
    both.set("authorization", &whole);
    assert!(matches!(refused(&both), NotSigned::Malformed(_)));
    let mut other = ranged();
    other.set(
        "authorization",
        &whole.replace(
            &RANGED[..8],
            if RANGED.starts_with("f0e8bdb8") {
                "00000000"
            } else {
                "f"
            },
        ),
    );
    assert_eq!(refused(&other), NotSigned::Mismatch);
}

#[test]
fn a_workspace_is_signed_with_its_colon_as_it_stands_on_the_wire() {
    // The same request, signed over the path as it is and over the path encoded once more.
    let sign = |path: &str| {
        let mut request = ranged();
        request.path = path.to_owned();
        let asked = request.asked();
        let presented = Presented::read(&asked).unwrap().unwrap();
        let digest = Sha256::of(presented.canonical(&asked).unwrap().as_bytes());
        let text = format!("{ALGORITHM}\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{digest}");
        let tag = hmac::sign(&signing_key(&secret(), "20130524", "us-east-1"), text.as_bytes());
        tag.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let raw = "/s3/opentaco/env:/dev/terraform.tfstate";
    let mut request = ranged();
    request.path = raw.to_owned();
    let signed = "host;range;x-amz-content-sha256;x-amz-date";
    request.set("authorization", &authorization(signed, &sign(raw)));
    request.verify().unwrap();
    request.set(
        "authorization",
        &authorization(signed, &sign(&raw.replace(':', "%3A"))),
    );
    assert_eq!(refused(&request), NotSigned::Mismatch);
}
