//! The S3 door as its clients see it, and as somebody who signs wrong sees it. Real clients are tried in `e2e`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use opentaco_control::OpenOptions;
use opentaco_domain::{Clock as _, Principal, SystemClock};
use opentaco_identity::FamilyId;
use opentaco_identity::sts::{Holder, Sts};
use opentaco_identity::token::Login;
use opentaco_server::s3::Code;
use opentaco_server::s3::checksum::Algorithm;
use opentaco_testkit::process::nap;
use opentaco_testkit::signer::{Sent, SignedRequest, Signer};

use crate::audit::events;
use crate::logins::World;
use crate::support::{Answer, Service, TOKEN, lock, state};

const KEY: &str = "/s3/opentaco/app/terraform.tfstate";
const LOCK: &str = "/s3/opentaco/app/terraform.tfstate.tflock";
const ONE: &str = "11111111-1111-4111-8111-111111111111";
const TWO: &str = "22222222-2222-4222-8222-222222222222";

/// A service with an administrator (ada), a writer (will), a reader (rita), somebody who sees outputs (otto), and
/// whoever else is a stranger.
pub(crate) struct Door {
    pub(crate) service: Service,
    world: World,
    sts: Arc<Sts>,
}

impl Door {
    pub(crate) fn open() -> Self {
        Self::of(World::new())
    }

    fn of(world: World) -> Self {
        let service = world.service();
        let sts = Arc::new(world.sts());
        for (who, role) in [("will", "writer"), ("rita", "reader"), ("otto", "outputs-reader")] {
            let target = format!("/v1/rbac/users/user:{who}@example.com/roles/{role}");
            assert_eq!(service.ask("PUT", &target).send().status, 200, "{role}");
        }
        Self { service, world, sts }
    }

    fn of_login(&self, who: &str, session: &str, family: &FamilyId, age: SignedDuration) -> Signer {
        let holder = Holder::Login {
            sid: family.clone(),
            login: Login {
                principal: Principal::new(format!("{who}@example.com")),
                email: None,
                name: None,
                groups: Vec::new(),
                via: "test".to_owned(),
            },
        };
        let at = SystemClock.now() - age;
        let made = self.sts.mint(holder, &session.parse().unwrap(), at);
        Signer::new(
            &made.access_key.to_string(),
            made.secret.expose(),
            Some(made.session_token.expose()),
        )
    }

    pub(crate) fn signer(&self, who: &str, session: &str) -> Signer {
        self.of_login(who, session, &FamilyId::draw(), SignedDuration::ZERO)
    }

    /// A service that knows nothing but what is in the bucket.
    fn restart(&mut self) {
        drop(std::mem::replace(&mut self.service, Service::start()));
        self.service = self.world.again(OpenOptions::default());
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.service.address)
    }

    /// Sends what was signed.
    fn send(&self, method: &str, target: &str, signed: &SignedRequest, body: &[u8]) -> Answer {
        let mut ask = self.service.ask_as(None, method, target);
        for (name, value) in &signed.headers {
            ask = ask.header(name, value);
        }
        ask.body(body).send()
    }

    pub(crate) fn ask(
        &self,
        signer: &Signer,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let signed = signer.sign(method, &self.url(target), headers, Sent::Whole(body));
        self.send(method, target, &signed, body)
    }

    fn put(&self, signer: &Signer, key: &str, body: &str) -> Answer {
        self.ask(signer, "PUT", key, &[], body.as_bytes())
    }

    fn get(&self, signer: &Signer, key: &str) -> Answer {
        self.ask(signer, "GET", key, &[], b"")
    }

    fn lock(&self, signer: &Signer, id: &str) -> Answer {
        let body = lock(id, "alice@laptop");
        self.ask(signer, "PUT", LOCK, &[("if-none-match", "*")], body.as_bytes())
    }

    fn kept(&self) -> usize {
        let listed = self.service.ask("GET", "/v1/units/app/rejected").send();
        listed.json()["rejected"].as_array().unwrap().len()
    }
}

/// What stands under a name in a document.
fn said(answer: &Answer, name: &str) -> Vec<String> {
    let text = answer.text();
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    text.split(&start)
        .skip(1)
        .map(|rest| rest.split(&end).next().unwrap().to_owned())
        .collect()
}

fn refused(answer: &Answer, code: Code) {
    assert_eq!(answer.status, code.status().as_u16(), "{code:?}: {answer:?}");
    assert_eq!(said(answer, "Code"), [code.as_str()], "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/xml");
    let id = answer.header("x-amz-request-id").to_owned();
    assert_eq!(said(answer, "RequestId"), [id.as_str()]);
}

fn md5_hex(bytes: &[u8]) -> String {
    let md5 = STANDARD
        .decode(opentaco_domain::digest::md5_base64(bytes))
        .unwrap();
    md5.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_state_that_was_put_is_looked_at_read_in_parts_listed_and_deleted() {
    let door = Door::open();
    let ada = door.signer("ada", "one");
    assert_eq!(door.ask(&ada, "HEAD", KEY, &[], b"").status, 404);
    refused(&door.get(&ada, KEY), Code::NoSuchKey);

    let body = state(1);
    let stored = door.put(&ada, KEY, &body);
    assert_eq!(stored.status, 200, "{stored:?}");
    let etag = format!("\"{}\"", md5_hex(body.as_bytes()));
    assert_eq!(stored.header("etag"), etag);

    let head = door.ask(&ada, "HEAD", KEY, &[], b"");
    assert_eq!((head.status, head.header("etag")), (200, etag.as_str()));
    assert_eq!(head.header("content-length"), body.len().to_string());
    assert_eq!(head.header("accept-ranges"), "bytes");
    assert!(head.header("last-modified").ends_with(" GMT"), "{head:?}");
    let got = door.get(&ada, KEY);
    assert_eq!((got.status, got.text()), (200, body.clone()));

    let size = body.len();
    for (range, bytes, told) in [
        ("bytes=0-9", &body[..10], format!("bytes 0-9/{size}")),
        ("bytes=10-", &body[10..], format!("bytes 10-{}/{size}", size - 1)),
        (
            "bytes=-4",
            &body[size - 4..],
            format!("bytes {}-{}/{size}", size - 4, size - 1),
        ),
        (
            "bytes=0-5242879",
            &body[..],
            format!("bytes 0-{}/{size}", size - 1),
        ),
    ] {
        let headers = [("range", range), ("x-amz-checksum-mode", "ENABLED")];
        let part = door.ask(&ada, "GET", KEY, &headers, b"");
        assert_eq!((part.status, part.text().as_str()), (206, bytes), "{range}");
        assert_eq!(part.header("content-range"), told);
        assert_eq!(part.header("content-length"), bytes.len().to_string());
        assert!(
            !part
                .headers
                .keys()
                .any(|name| name.starts_with("x-amz-checksum-")),
            "{part:?}"
        );
    }
    let past = format!("bytes={size}-");
    refused(
        &door.ask(&ada, "GET", KEY, &[("range", &past)], b""),
        Code::InvalidRange,
    );

    let listed = door.get(&ada, "/s3/opentaco?list-type=2&max-keys=1000&prefix=");
    assert_eq!(said(&listed, "Key"), ["app/terraform.tfstate"]);
    assert_eq!(said(&listed, "Size"), [size.to_string()]);
    assert_eq!(said(&listed, "KeyCount"), ["1"]);
    assert_eq!(door.ask(&ada, "DELETE", KEY, &[], b"").status, 204);
    assert_eq!(
        door.ask(&ada, "DELETE", KEY, &[], b"").status,
        204,
        "that there is none is success"
    );
    assert_eq!(door.ask(&ada, "HEAD", KEY, &[], b"").status, 404);
    assert_eq!(
        said(&door.get(&ada, "/s3/opentaco?list-type=2"), "KeyCount"),
        ["0"]
    );
}

#[test]
fn a_unit_without_a_state_is_no_object_and_a_range_of_it_is_no_endless_loop() {
    let door = Door::open();
    let ada = door.signer("ada", "one");
    let made = door
        .service
        .ask("POST", "/v1/units")
        .body(r#"{"id":"app"}"#)
        .send();
    assert_eq!(made.status, 201);
    assert_eq!(door.ask(&ada, "HEAD", KEY, &[], b"").status, 404);
    refused(
        &door.ask(&ada, "GET", KEY, &[("range", "bytes=0-5242879")], b""),
        Code::NoSuchKey,
    );
    assert_eq!(said(&door.get(&ada, "/s3/opentaco"), "Key").len(), 0);
}

#[test]
fn conditions_of_reads_and_writes_hold() {
    let door = Door::open();
    let ada = door.signer("ada", "one");
    let first = door.ask(&ada, "PUT", KEY, &[("if-none-match", "*")], state(1).as_bytes());
    assert_eq!(first.status, 200, "{first:?}");
    for body in [state(1), state(2)] {
        let again = door.ask(&ada, "PUT", KEY, &[("if-none-match", "*")], body.as_bytes());
        refused(&again, Code::PreconditionFailed);
    }
    let etag = first.header("etag").to_owned();
    let wrong = "\"00000000000000000000000000000000\"";
    for (name, value, status) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", "*", 200),
        ("if-match", wrong, 412),
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", wrong, 200),
        ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT", 304),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
        ("if-unmodified-since", "Fri, 01 Jan 2100 00:00:00 GMT", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = door.ask(&ada, method, KEY, &[(name, value)], b"");
            assert_eq!(answer.status, status, "{method} {name}: {value}");
            assert!(status != 304 || answer.header("etag") == etag);
        }
    }
    let nothing = "/s3/opentaco/other.tfstate";
    for condition in ["*", wrong] {
        let answer = door.ask(
            &ada,
            "PUT",
            nothing,
            &[("if-match", condition)],
            state(1).as_bytes(),
        );
        refused(&answer, Code::NoSuchKey);
    }
    let late = door.ask(&ada, "PUT", KEY, &[("if-match", wrong)], state(2).as_bytes());
    refused(&late, Code::PreconditionFailed);
    let next = door.ask(&ada, "PUT", KEY, &[("if-match", &etag)], state(2).as_bytes());
    assert_eq!(next.status, 200);
    refused(
        &door.ask(&ada, "PUT", KEY, &[("if-match", &etag)], state(3).as_bytes()),
        Code::PreconditionFailed,
    );
    for odd in [
        ("if-none-match", etag.as_str()),
        ("if-unmodified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ] {
        refused(
            &door.ask(&ada, "PUT", KEY, &[odd], state(9).as_bytes()),
            Code::NotImplemented,
        );
    }
    assert_eq!(door.get(&ada, KEY).text(), state(2));
}

#[test]
fn the_lock_file_is_the_lock_of_the_unit_at_every_door() {
    let door = Door::open();
    let (one, two) = (door.signer("will", "job-1"), door.signer("will", "job-2"));
    let taken = door.lock(&one, ONE);
    assert_eq!(taken.status, 200, "{taken:?}");
    let bytes = lock(ONE, "alice@laptop");
    assert_eq!(taken.header("etag"), format!("\"{}\"", md5_hex(bytes.as_bytes())));
    assert_eq!(door.get(&two, LOCK).text(), bytes, "byte for byte");
    assert_eq!(door.lock(&one, ONE).status, 200, "a retry whose answer was lost");
    let conflict = door.lock(&two, TWO);
    refused(&conflict, Code::PreconditionFailed);
    assert!(
        said(&conflict, "Message")[0].contains("alice@laptop"),
        "{conflict:?}"
    );

    // The other doors.
    let http = door
        .service
        .ask("LOCK", "/v1/backend/app")
        .body(lock(TWO, "bob"))
        .send();
    assert_eq!((http.status, http.says("ID").as_str()), (423, ONE));
    let pushed = door
        .service
        .ask("POST", "/v1/units/app/upload")
        .body(state(7))
        .send();
    assert_eq!(pushed.status, 409, "{pushed:?}");
    let posted = door
        .service
        .ask("POST", &format!("/v1/backend/app?ID={TWO}"))
        .body(state(8))
        .send();
    assert_eq!(posted.status, 409);
    refused(&door.put(&two, KEY, &state(9)), Code::PreconditionFailed);
    assert_eq!(door.kept(), 3, "nothing that was sent is lost");

    // Two jobs of one person are two holders, and a refresh in the middle stays one.
    assert_eq!(door.put(&one, KEY, &state(1)).status, 200);
    let refreshed = door.signer("will", "job-1");
    assert_ne!(refreshed.session_token, one.session_token);
    assert_eq!(door.put(&refreshed, KEY, &state(2)).status, 200);
    refused(
        &door.ask(&two, "DELETE", LOCK, &[], b""),
        Code::PreconditionFailed,
    );
    assert_eq!(door.ask(&refreshed, "DELETE", LOCK, &[], b"").status, 204);
    assert_eq!(
        door.ask(&refreshed, "DELETE", LOCK, &[], b"").status,
        204,
        "it is gone already"
    );
    refused(&door.get(&one, LOCK), Code::NoSuchKey);
    refused(&door.lock(&one, ONE), Code::PreconditionFailed);
}

#[test]
fn a_lock_of_another_door_is_a_lock_file_and_keeps_writers_out() {
    let door = Door::open();
    let will = door.signer("will", "job");
    let held = door
        .service
        .ask("LOCK", "/v1/backend/app")
        .body(lock(ONE, "bob@ci"))
        .send();
    assert_eq!(held.status, 200);
    let file = door.get(&will, LOCK);
    assert_eq!((file.status, file.says("ID").as_str()), (200, ONE));
    assert_eq!(file.says("Who"), "bob@ci");
    assert_eq!(file.says("Path"), "opentaco/app/terraform.tfstate");
    refused(&door.lock(&will, TWO), Code::PreconditionFailed);
    refused(&door.put(&will, KEY, &state(1)), Code::PreconditionFailed);
    assert_eq!(door.kept(), 1);
    refused(
        &door.ask(&will, "DELETE", LOCK, &[], b""),
        Code::PreconditionFailed,
    );

    // What `terraform force-unlock` does: look whether it is that lock, and delete it.
    let ada = door.signer("ada", "shell");
    assert_eq!(door.ask(&ada, "DELETE", LOCK, &[], b"").status, 204);
    let stale = door
        .service
        .ask("POST", &format!("/v1/backend/app?ID={ONE}"))
        .body(state(1))
        .send();
    assert_eq!(stale.status, 409, "the lock was broken");
    assert_eq!(door.put(&will, KEY, &state(2)).status, 200);
    let versions = door.service.ask("GET", "/v1/units/app/versions").send();
    assert_eq!(versions.status, 200);
}

#[test]
fn a_session_whose_lock_was_broken_is_refused_and_its_bytes_are_kept() {
    let door = Door::open();
    let (will, ada) = (door.signer("will", "job"), door.signer("ada", "shell"));
    assert_eq!(door.lock(&will, ONE).status, 200);
    assert_eq!(door.ask(&ada, "DELETE", LOCK, &[], b"").status, 204);
    let late = door.put(&will, KEY, &state(1));
    refused(&late, Code::PreconditionFailed);
    assert!(said(&late, "Message")[0].contains("is over"), "{late:?}");
    assert_eq!(door.kept(), 1);
    assert_eq!(door.ask(&ada, "HEAD", KEY, &[], b"").status, 404);
    assert_eq!(door.lock(&will, TWO).status, 200);
    assert_eq!(door.put(&will, KEY, &state(1)).status, 200);
}

#[test]
fn what_describes_no_lock_or_no_state_is_refused_and_changes_nothing() {
    let door = Door::open();
    let will = door.signer("will", "job");
    for body in ["", "lock!", "[]", "{}", r#"{"ID":""}"#] {
        refused(&door.put(&will, LOCK, body), Code::InvalidRequest);
    }
    refused(&door.put(&will, LOCK, &"x".repeat(20_000)), Code::EntityTooLarge);
    for body in ["", "no JSON", "[]"] {
        refused(&door.put(&will, KEY, body), Code::InvalidRequest);
    }
    for key in [
        "readme.md",
        "app/",
        "__opentaco_access/roles.json",
        "a//b.tfstate",
        "x.tflock",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = door.ask(&will, method, &format!("/s3/opentaco/{key}"), &[], b"");
            refused(&answer, Code::AccessDenied);
        }
    }
    refused(
        &door.get(&will, "/s3/another/app/terraform.tfstate"),
        Code::NoSuchBucket,
    );
    refused(
        &door.get(&will, "/s3/opentaco/app/terraform.tfstate?acl="),
        Code::NotImplemented,
    );
    refused(&door.get(&will, "/s3"), Code::NotImplemented);
    let copied = [("x-amz-copy-source", "/opentaco/other.tfstate")];
    refused(&door.ask(&will, "PUT", KEY, &copied, b""), Code::NotImplemented);
    let patched = door.ask(&will, "PATCH", KEY, &[], b"");
    assert_eq!(patched.status, 405, "{patched:?}");
    refused(&door.get(&will, KEY), Code::NoSuchKey);
    refused(&door.get(&will, LOCK), Code::NoSuchKey);
}

#[test]
fn the_bucket_is_there_wherever_it_is_asked_for() {
    let door = Door::open();
    let sam = door.signer("sam", "one");
    assert_eq!(door.ask(&sam, "HEAD", "/s3/opentaco", &[], b"").status, 200);
    assert_eq!(door.ask(&sam, "PUT", "/s3/opentaco/", &[], b"").status, 200);
    assert!(
        door.get(&sam, "/s3/opentaco?location")
            .text()
            .contains("<LocationConstraint")
    );
    assert_eq!(door.ask(&sam, "HEAD", "/s3/other", &[], b"").status, 404);
    refused(&door.ask(&sam, "PUT", "/s3/other", &[], b""), Code::AccessDenied);
    refused(
        &door.ask(&sam, "DELETE", "/s3/opentaco", &[], b""),
        Code::NotImplemented,
    );
    refused(&door.get(&sam, "/s3/opentaco?versions"), Code::NotImplemented);
}

#[test]
fn names_are_listed_in_order_page_by_page_folded_and_without_anything_of_ours() {
    let door = Door::open();
    let ada = door.signer("ada", "one");
    let keys = [
        "a b+c/ü.tfstate",
        "app/dev/terraform.tfstate",
        "app/prod/terraform.tfstate",
        "app/prod/terraform.tfstate-old/terraform.tfstate",
        "env:/dev/app/dev/terraform.tfstate",
        "z.tfstate",
    ];
    for key in keys {
        let target = format!("/s3/opentaco/{}", percent(key));
        assert_eq!(door.put(&ada, &target, &state(1)).status, 200, "{key}");
    }
    let locked = "/s3/opentaco/app/prod/terraform.tfstate.tflock";
    let body = lock(ONE, "ada");
    assert_eq!(
        door.ask(&ada, "PUT", locked, &[("if-none-match", "*")], body.as_bytes())
            .status,
        200
    );
    let mut all: Vec<String> = keys.map(str::to_owned).to_vec();
    all.push("app/prod/terraform.tfstate.tflock".to_owned());
    all.sort();

    let listed = |query: &str| door.get(&ada, &format!("/s3/opentaco?list-type=2{query}"));
    let whole = listed("");
    assert_eq!(said(&whole, "Key"), all);
    assert_eq!(said(&whole, "IsTruncated"), ["false"]);
    for size in 1..=all.len() {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = listed(&format!("&max-keys={size}{token}"));
            seen.extend(said(&page, "Key"));
            let Some(next) = said(&page, "NextContinuationToken").pop() else {
                assert_eq!(said(&page, "IsTruncated"), ["false"]);
                break;
            };
            assert_eq!(said(&page, "KeyCount"), [size.to_string()]);
            token = format!("&continuation-token={next}");
        }
        assert_eq!(seen, all, "in pages of {size}");
    }
    for (prefix, from, to) in [
        ("app/", 1, 5),
        ("app/prod/terraform.tfstate", 2, 5),
        ("env%3A%2F", 5, 6),
        ("app%2Fp", 2, 5),
        ("z", 6, 7),
        ("none", 0, 0),
    ] {
        assert_eq!(
            said(&listed(&format!("&prefix={prefix}")), "Key"),
            all[from..to],
            "{prefix}"
        );
    }
    for (at, key) in all.iter().enumerate() {
        let after = said(&listed(&format!("&start-after={}", percent(key))), "Key");
        assert_eq!(after, all[at + 1..], "after {key}");
    }
    let folded = listed("&delimiter=%2F");
    assert_eq!(said(&folded, "Key"), ["z.tfstate"]);
    let prefixes: Vec<String> = said(&folded, "CommonPrefixes");
    assert_eq!(
        prefixes,
        ["a b+c/", "app/", "env:/"].map(|prefix| format!("<Prefix>{prefix}</Prefix>"))
    );
    let (mut seen, mut marker) = (Vec::new(), String::new());
    for _ in 0..4 {
        let page = door.get(
            &ada,
            &format!("/s3/opentaco?delimiter=/&max-keys=1&marker={marker}"),
        );
        seen.extend(
            said(&page, "CommonPrefixes")
                .into_iter()
                .chain(said(&page, "Key")),
        );
        marker = said(&page, "NextMarker")
            .pop()
            .map(|next| percent(&next))
            .unwrap_or_default();
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert_eq!(marker, "");
    let encoded = said(&listed("&encoding-type=url"), "Key");
    assert_eq!(encoded[0], "a%20b%2Bc/%C3%BC.tfstate");
    refused(&listed("&encoding-type=rot13"), Code::InvalidArgument);
    refused(&listed("&continuation-token=zz"), Code::InvalidArgument);
    refused(&listed("&max-keys=many"), Code::InvalidArgument);
    assert_eq!(said(&listed("&max-keys=0"), "IsTruncated"), ["false"]);
    // A stranger sees no names, nor that there are any.
    assert_eq!(
        said(&door.get(&door.signer("sam", "one"), "/s3/opentaco"), "Key").len(),
        0
    );
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[test]
fn a_state_in_parts_is_taken_in_any_order_also_after_a_restart_and_completed_once() {
    let mut door = Door::open();
    let will = door.signer("will", "job");
    let begun = door.ask(&will, "POST", &format!("{KEY}?uploads="), &[], b"");
    assert_eq!(begun.status, 200, "{begun:?}");
    let upload = said(&begun, "UploadId").pop().unwrap();
    let five = 5 * 1024 * 1024;
    let text = format!(
        r#"{{"version":4,"serial":1,"lineage":"l","outputs":{{}},"pad":"{}"}}"#,
        "x".repeat(2 * five + 77)
    );
    let parts = [
        &text.as_bytes()[..five],
        &text.as_bytes()[five..2 * five],
        &text.as_bytes()[2 * five..],
    ];
    let target = |number: usize| format!("{KEY}?partNumber={number}&uploadId={upload}&x-id=UploadPart");
    let mut etags = vec![String::new(); 3];
    for at in [2, 0, 1] {
        door.restart();
        let sum = Algorithm::Sha256.of(parts[at]);
        let headers = [("x-amz-checksum-sha256", sum.as_str())];
        let taken = door.ask(&will, "PUT", &target(at + 1), &headers, parts[at]);
        assert_eq!(taken.status, 200, "{taken:?}");
        assert_eq!(taken.header("x-amz-checksum-sha256"), sum);
        etags[at] = taken.header("etag").to_owned();
    }
    assert_eq!(
        door.ask(&will, "HEAD", KEY, &[], b"").status,
        404,
        "no state before it is complete"
    );
    let listed = door.get(&will, &format!("{KEY}?uploadId={upload}&max-parts=2"));
    assert_eq!(said(&listed, "PartNumber"), ["1", "2"]);
    assert_eq!(said(&listed, "IsTruncated"), ["true"]);
    let rest = door.get(&will, &format!("{KEY}?uploadId={upload}&part-number-marker=2"));
    assert_eq!(said(&rest, "PartNumber"), ["3"]);
    let under_way = door.get(&will, "/s3/opentaco?uploads");
    assert_eq!(said(&under_way, "UploadId"), [upload.as_str()]);
    assert_eq!(said(&under_way, "Key"), ["app/terraform.tfstate"]);

    let document = |parts: &[(usize, &str)]| {
        let parts: String = parts
            .iter()
            .map(|(number, etag)| {
                let etag = etag.replace('"', "&#34;");
                format!("<Part><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>")
            })
            .collect();
        format!(
            r#"<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}</CompleteMultipartUpload>"#
        )
    };
    let completed = |door: &Door, body: &str| {
        door.ask(
            &will,
            "POST",
            &format!("{KEY}?uploadId={upload}"),
            &[],
            body.as_bytes(),
        )
    };
    let [one, two, three] = [&etags[0], &etags[1], &etags[2]];
    let wrong = "\"00000000000000000000000000000000\"";
    refused(
        &completed(&door, &document(&[(2, two), (1, one)])),
        Code::InvalidPartOrder,
    );
    refused(
        &completed(&door, &document(&[(1, one), (2, wrong)])),
        Code::InvalidPart,
    );
    refused(
        &completed(&door, &document(&[(1, one), (4, two)])),
        Code::InvalidPart,
    );
    refused(&completed(&door, &document(&[])), Code::MalformedXML);
    refused(&completed(&door, "<Complete"), Code::MalformedXML);
    let right = document(&[(1, one), (2, two), (3, three)]);
    let told = [("x-amz-mp-object-size", "7")];
    let target_of_upload = format!("{KEY}?uploadId={upload}");
    let answer = door.ask(&will, "POST", &target_of_upload, &told, right.as_bytes());
    refused(&answer, Code::InvalidRequest);
    let done = completed(&door, &right);
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(completed(&door, &right).status, 200, "an answer that was lost");
    refused(&completed(&door, &document(&[(1, one)])), Code::NoSuchUpload);
    assert_eq!(door.get(&will, KEY).body, text.as_bytes());
    refused(&door.ask(&will, "PUT", &target(1), &[], b"x"), Code::NoSuchUpload);
    let history = door.service.ask("GET", "/v1/units/app/versions").send().json();
    assert_eq!(history["versions"].as_array().unwrap().len(), 1, "{history}");

    let begun = door.ask(&will, "POST", &format!("{KEY}?uploads"), &[], b"");
    let second = said(&begun, "UploadId").pop().unwrap();
    let small = door.ask(
        &will,
        "PUT",
        &format!("{KEY}?partNumber=1&uploadId={second}"),
        &[],
        b"{}",
    );
    let (first, target) = (
        small.header("etag").to_owned(),
        format!("{KEY}?uploadId={second}"),
    );
    let small = door.ask(
        &will,
        "PUT",
        &format!("{KEY}?partNumber=2&uploadId={second}"),
        &[],
        b"{}",
    );
    let body = document(&[(1, &first), (2, small.header("etag"))]);
    refused(
        &door.ask(&will, "POST", &target, &[], body.as_bytes()),
        Code::EntityTooSmall,
    );
    assert_eq!(door.ask(&will, "DELETE", &target, &[], b"").status, 204);
    refused(&door.ask(&will, "DELETE", &target, &[], b""), Code::NoSuchUpload);
    refused(&door.get(&will, &target), Code::NoSuchUpload);
    refused(
        &door.ask(&will, "POST", &target, &[], body.as_bytes()),
        Code::NoSuchUpload,
    );
    refused(
        &door.get(&will, &format!("{KEY}?uploadId=../../x")),
        Code::NoSuchUpload,
    );
    for number in ["0", "10001", "x"] {
        let target = format!("{KEY}?partNumber={number}&uploadId={second}");
        refused(&door.ask(&will, "PUT", &target, &[], b"x"), Code::InvalidArgument);
    }
}

#[test]
fn an_upload_in_parts_is_refused_and_kept_like_any_write_while_somebody_else_holds_the_lock() {
    let door = Door::open();
    let (will, ada) = (door.signer("will", "job"), door.signer("ada", "shell"));
    let begun = door.ask(&will, "POST", &format!("{KEY}?uploads"), &[], b"");
    let upload = said(&begun, "UploadId").pop().unwrap();
    let part = door.ask(
        &will,
        "PUT",
        &format!("{KEY}?partNumber=1&uploadId={upload}"),
        &[],
        state(1).as_bytes(),
    );
    assert_eq!(door.lock(&ada, ONE).status, 200);
    let etag = part.header("etag");
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let answer = door.ask(
        &will,
        "POST",
        &format!("{KEY}?uploadId={upload}"),
        &[],
        body.as_bytes(),
    );
    refused(&answer, Code::PreconditionFailed);
    assert_eq!(door.kept(), 1);
    assert_eq!(door.ask(&ada, "DELETE", LOCK, &[], b"").status, 204);
    let again = door.ask(
        &will,
        "POST",
        &format!("{KEY}?uploadId={upload}"),
        &[],
        body.as_bytes(),
    );
    assert_eq!(again.status, 200, "the parts are still there: {again:?}");
}

#[test]
fn several_objects_are_deleted_each_for_itself() {
    let door = Door::open();
    let (ada, will) = (door.signer("ada", "one"), door.signer("will", "job"));
    for unit in ["a", "b", "c"] {
        assert_eq!(
            door.put(&ada, &format!("/s3/opentaco/{unit}.tfstate"), &state(1))
                .status,
            200
        );
    }
    let held = door
        .service
        .ask("LOCK", "/v1/backend/c.tfstate")
        .body(lock(ONE, "bob"))
        .send();
    assert_eq!(held.status, 200);
    let keys = ["a.tfstate", "c.tfstate", "none.tfstate", "readme.md"];
    let objects: String = keys
        .iter()
        .map(|key| format!("<Object><Key>{key}</Key></Object>"))
        .collect();
    let body = format!("<Delete>{objects}</Delete>");
    let answer = door.ask(&ada, "POST", "/s3/opentaco?delete", &[], body.as_bytes());
    assert_eq!(
        said(&answer, "Deleted"),
        ["<Key>a.tfstate</Key>", "<Key>none.tfstate</Key>"]
    );
    assert_eq!(said(&answer, "Code"), ["PreconditionFailed", "AccessDenied"]);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>b.tfstate</Key></Object></Delete>";
    let refused_each = door.ask(&will, "POST", "/s3/opentaco?delete", &[], quiet.as_bytes());
    assert_eq!(
        said(&refused_each, "Code"),
        ["AccessDenied"],
        "a writer deletes nothing"
    );
    let answer = door.ask(&ada, "POST", "/s3/opentaco?delete", &[], quiet.as_bytes());
    assert!(
        said(&answer, "Deleted").is_empty() && said(&answer, "Error").is_empty(),
        "{answer:?}"
    );
    assert_eq!(
        said(&door.get(&ada, "/s3/opentaco"), "Key"),
        ["c.tfstate", "c.tfstate.tflock"]
    );
    refused(
        &door.ask(&ada, "POST", "/s3/opentaco?delete", &[], b"<Delete/>"),
        Code::MalformedXML,
    );
}

#[test]
fn a_refusal_before_a_body_that_waits_ends_the_connection_so_that_nothing_else_is_taken_for_the_body() {
    let door = Door::open();
    let will = door.signer("will", "job");
    let expecting = [("expect", "100-continue")];
    let target = format!("{KEY}?partNumber=0&uploadId=x");
    let answer = door.ask(&will, "PUT", &target, &expecting, b"{}");
    refused(&answer, Code::InvalidArgument);
    assert_eq!(answer.header("connection"), "close");
    let signed = will.sign(
        "PUT",
        &door.url(KEY),
        &expecting,
        Sent::Whole(state(1).as_bytes()),
    );
    let answer = door.send("PUT", KEY, &signed, state(1).as_bytes());
    assert_eq!(answer.status, 100, "{answer:?}");
}

#[test]
fn bodies_in_pieces_are_taken_signed_or_not_and_every_checksum_is_verified() {
    let door = Door::open();
    let will = door.signer("will", "job");
    let mut serial = 0;
    let mut next = || {
        serial += 1;
        state(serial)
    };
    let names = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];
    let header = |name: &str| format!("x-amz-checksum-{name}");
    let sum = |name: &str, body: &str| Algorithm::of_header(&header(name)).unwrap().of(body.as_bytes());
    for name in names {
        let body = next();
        let right = sum(name, &body);
        let answer = door.ask(&will, "PUT", KEY, &[(&header(name), &right)], body.as_bytes());
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.header(&header(name)), right);
        let wrong = sum(name, "something else");
        let answer = door.ask(&will, "PUT", KEY, &[(&header(name), &wrong)], next().as_bytes());
        refused(&answer, Code::BadDigest);

        // Behind the body, as terraform does it over TLS.
        let body = next();
        let wrapped = |body: &str, trailer: &str| {
            format!("{:x}\r\n{body}\r\n0\r\n{trailer}\r\n", body.len()).into_bytes()
        };
        let length = body.len().to_string();
        let named = header(name);
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", length.as_str()),
            ("x-amz-trailer", named.as_str()),
        ];
        let signed = will.sign("PUT", &door.url(KEY), &headers, Sent::UnsignedPieces);
        let trailer = |value: &str| format!("{named}:{value}\r\n");
        let sent = |bytes: &[u8]| door.send("PUT", KEY, &signed, bytes);
        refused(&sent(&wrapped(&body, &trailer(&wrong))), Code::BadDigest);
        refused(&sent(&wrapped(&body, "")), Code::MalformedTrailerError);
        refused(
            &sent(&wrapped(&body[1..], &trailer(&sum(name, &body[1..])))),
            Code::IncompleteBody,
        );
        refused(
            &sent(&wrapped(&format!("{body} "), &trailer(&sum(name, &body)))),
            Code::IncompleteBody,
        );
        let cut = wrapped(&body, &trailer(&sum(name, &body)));
        refused(&sent(&cut[..cut.len() - 2]), Code::IncompleteBody);
        assert_eq!(sent(&cut).status, 200, "{name}");
        assert_eq!(door.get(&will, KEY).text(), body);
    }

    let body = next();
    let (left, right) = body.split_at(20);
    let pieces = [left.as_bytes(), right.as_bytes()];
    let length = body.len().to_string();
    let headers = [
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", length.as_str()),
    ];
    let signed = will.sign("PUT", &door.url(KEY), &headers, Sent::SignedPieces);
    let whole = will.pieces(&signed, &pieces, &[]);
    let swapped = will.pieces(&signed, &[right.as_bytes(), left.as_bytes()], &[]);
    let stolen = {
        // The signatures of one order of the pieces over the other.
        let text = String::from_utf8(whole.clone()).unwrap();
        text.replacen(left, &left.to_uppercase(), 1).into_bytes()
    };
    refused(
        &door.send("PUT", KEY, &signed, &stolen),
        Code::SignatureDoesNotMatch,
    );
    let forged =
        String::from_utf8(whole.clone())
            .unwrap()
            .replacen("chunk-signature=", "chunk-signature=0", 1);
    refused(
        &door.send("PUT", KEY, &signed, forged.as_bytes()),
        Code::SignatureDoesNotMatch,
    );
    let bare = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    refused(
        &door.send("PUT", KEY, &signed, bare.as_bytes()),
        Code::IncompleteBody,
    );
    refused(&door.send("PUT", KEY, &signed, &swapped), Code::InvalidRequest);
    assert_eq!(door.send("PUT", KEY, &signed, &whole).status, 200);
    assert_eq!(door.get(&will, KEY).text(), body);

    let body = next();
    let length = body.len().to_string();
    let headers = [
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", length.as_str()),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let signed = will.sign("PUT", &door.url(KEY), &headers, Sent::SignedPiecesAndTrailer);
    let crc = sum("crc32", &body);
    let whole = will.pieces(&signed, &[body.as_bytes()], &[("x-amz-checksum-crc32", &crc)]);
    let text = String::from_utf8(whole.clone()).unwrap();
    let another = text.replace(&crc, &sum("crc32", "x"));
    refused(
        &door.send("PUT", KEY, &signed, another.as_bytes()),
        Code::SignatureDoesNotMatch,
    );
    let at = text.find("x-amz-trailer-signature").unwrap();
    let unsigned = format!("{}\r\n", &text[..at]);
    refused(
        &door.send("PUT", KEY, &signed, unsigned.as_bytes()),
        Code::MalformedTrailerError,
    );
    assert_eq!(door.send("PUT", KEY, &signed, &whole).status, 200);
    assert_eq!(door.get(&will, KEY).text(), body);

    let body = next();
    let md5 = opentaco_domain::digest::md5_base64(body.as_bytes());
    assert_eq!(
        door.ask(&will, "PUT", KEY, &[("content-md5", &md5)], body.as_bytes())
            .status,
        200
    );
    refused(
        &door.ask(&will, "PUT", KEY, &[("content-md5", &md5)], next().as_bytes()),
        Code::BadDigest,
    );
    refused(
        &door.ask(&will, "PUT", KEY, &[("content-md5", "x")], next().as_bytes()),
        Code::InvalidDigest,
    );
    for (name, value) in [
        ("x-amz-checksum-md6", "AAAA"),
        ("x-amz-checksum-sha256", "AAAA"),
        ("x-amz-sdk-checksum-algorithm", "SHA256"),
    ] {
        refused(
            &door.ask(&will, "PUT", KEY, &[(name, value)], next().as_bytes()),
            Code::InvalidRequest,
        );
    }
    let unsigned = will.sign("PUT", &door.url(KEY), &[], Sent::Unsigned);
    assert_eq!(door.send("PUT", KEY, &unsigned, next().as_bytes()).status, 200);
}

#[test]
fn whoever_signs_wrong_is_refused_with_the_code_that_clients_know_and_changes_nothing() {
    let door = Door::open();
    let will = door.signer("will", "job");
    let body = state(1);
    let url = door.url(KEY);
    let sign = |signer: &Signer| signer.sign("PUT", &url, &[], Sent::Whole(body.as_bytes()));
    let good = sign(&will);
    let put =
        |signed: &SignedRequest, target: &str, body: &str| door.send("PUT", target, signed, body.as_bytes());
    let with = |name: &str, value: &str| {
        let mut changed = good.clone();
        changed.headers.retain(|(given, _)| given != name);
        changed.headers.push((name.to_owned(), value.to_owned()));
        changed
    };

    refused(&put(&good, KEY, &state(2)), Code::XAmzContentSHA256Mismatch);
    refused(
        &put(&with("x-amz-acl", "public-read"), KEY, &body),
        Code::AccessDenied,
    );
    // Another time of the same day: of another day it would be another credential.
    let (_, signed_at) = good
        .headers
        .iter()
        .find(|(name, _)| name == "x-amz-date")
        .unwrap();
    let (day, time) = signed_at.split_once('T').unwrap();
    let far = if time < "12" { "235959Z" } else { "000000Z" };
    refused(
        &put(&with("x-amz-date", &format!("{day}T{far}")), KEY, &body),
        Code::RequestTimeTooSkewed,
    );
    refused(
        &put(&good, "/s3/opentaco/%61pp/terraform.tfstate", &body),
        Code::SignatureDoesNotMatch,
    );
    refused(
        &put(&good, "/s3/opentaco/other/terraform.tfstate", &body),
        Code::SignatureDoesNotMatch,
    );
    refused(
        &put(&good, &format!("{KEY}?x-id=PutObject"), &body),
        Code::SignatureDoesNotMatch,
    );
    let other_method = door.send("DELETE", KEY, &good, body.as_bytes());
    refused(&other_method, Code::SignatureDoesNotMatch);
    let unsigned = Sent::Unsigned;
    let as_unsigned = with("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    refused(&put(&as_unsigned, KEY, &body), Code::SignatureDoesNotMatch);

    // The order of a query says nothing; its values do.
    let list = "/s3/opentaco?list-type=2&prefix=a";
    let signed = will.sign("GET", &door.url(list), &[], unsigned);
    assert_eq!(
        door.send("GET", "/s3/opentaco?prefix=a&list-type=2", &signed, b"")
            .status,
        200
    );
    let another = door.send("GET", "/s3/opentaco?list-type=2&prefix=b", &signed, b"");
    refused(&another, Code::SignatureDoesNotMatch);

    for (seconds, code) in [
        (-16 * 60, Code::RequestTimeTooSkewed),
        (16 * 60, Code::RequestTimeTooSkewed),
    ] {
        refused(&put(&sign(&will.clone().off_by(seconds)), KEY, &body), code);
    }
    assert_eq!(
        door.ask(&will.clone().off_by(-14 * 60), "HEAD", KEY, &[], b"")
            .status,
        404
    );

    let secret = Signer {
        secret: "another secret".to_owned(),
        ..will.clone()
    };
    refused(&put(&sign(&secret), KEY, &body), Code::SignatureDoesNotMatch);
    let foreign = Signer {
        access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        ..will.clone()
    };
    refused(&put(&sign(&foreign), KEY, &body), Code::InvalidAccessKeyId);
    let without = Signer {
        session_token: None,
        ..will.clone()
    };
    refused(&put(&sign(&without), KEY, &body), Code::InvalidAccessKeyId);
    let ada = door.signer("ada", "shell");
    let borrowed = Signer {
        session_token: ada.session_token.clone(),
        ..will.clone()
    };
    refused(&put(&sign(&borrowed), KEY, &body), Code::InvalidToken);
    let same_session = door.signer("ada", "job");
    let mixed = Signer {
        session_token: same_session.session_token.clone(),
        ..will.clone()
    };
    refused(&put(&sign(&mixed), KEY, &body), Code::SignatureDoesNotMatch);
    let mangled = Signer {
        session_token: Some("a.b.c".to_owned()),
        ..will.clone()
    };
    refused(&put(&sign(&mangled), KEY, &body), Code::InvalidAccessKeyId);
    let expired = door.of_login("will", "job", &FamilyId::draw(), SignedDuration::from_mins(16));
    refused(&put(&sign(&expired), KEY, &body), Code::ExpiredToken);

    for (name, value, code) in [
        ("authorization", "Bearer x", Code::AuthorizationHeaderMalformed),
        (
            "authorization",
            "AWS4-HMAC-SHA256 nothing",
            Code::AuthorizationHeaderMalformed,
        ),
        (
            "authorization",
            "AWS AKIA:signature",
            Code::AuthorizationHeaderMalformed,
        ),
        ("x-amz-content-sha256", "zz", Code::AuthorizationHeaderMalformed),
        ("x-amz-date", "yesterday", Code::AuthorizationHeaderMalformed),
    ] {
        refused(&put(&with(name, value), KEY, &body), code);
    }
    let root = door
        .service
        .ask_as(Some(&format!("Bearer {TOKEN}")), "PUT", KEY)
        .body(&body)
        .send();
    refused(&root, Code::AuthorizationHeaderMalformed);
    refused(
        &door.service.ask_as(None, "PUT", KEY).body(&body).send(),
        Code::AccessDenied,
    );

    refused(&door.get(&will, KEY), Code::NoSuchKey);
    assert_eq!(
        put(&good, KEY, &body).status,
        200,
        "the very request that all of them were made of"
    );
}

#[test]
fn a_presigned_address_is_good_for_its_method_its_key_and_its_time() {
    let door = Door::open();
    let will = door.signer("will", "job");
    assert_eq!(door.put(&will, KEY, &state(1)).status, 200);
    let origin = door.url("");
    let presigned = |signer: &Signer, method: &str, seconds: u64| {
        let url = signer.presign(method, &door.url(KEY), seconds);
        url.strip_prefix(&origin).unwrap().to_owned()
    };
    let ask =
        |method: &str, target: &str, body: &str| door.service.ask_as(None, method, target).body(body).send();
    assert_eq!(ask("GET", &presigned(&will, "GET", 60), "").text(), state(1));
    assert_eq!(ask("HEAD", &presigned(&will, "HEAD", 60), "").status, 200);
    assert_eq!(ask("PUT", &presigned(&will, "PUT", 60), &state(2)).status, 200);
    assert_eq!(door.get(&will, KEY).text(), state(2));

    let earlier = will.clone().off_by(-100);
    refused(
        &ask("GET", &presigned(&earlier, "GET", 99), ""),
        Code::AccessDenied,
    );
    assert_eq!(ask("GET", &presigned(&earlier, "GET", 200), "").status, 200);
    refused(
        &ask("GET", &presigned(&will.clone().off_by(1000), "GET", 60), ""),
        Code::RequestTimeTooSkewed,
    );
    let target = presigned(&will, "GET", 60);
    refused(&ask("DELETE", &target, ""), Code::SignatureDoesNotMatch);
    refused(
        &ask(
            "GET",
            &target.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
            "",
        ),
        Code::SignatureDoesNotMatch,
    );
    refused(
        &ask("GET", &target.replace("app/", "other/"), ""),
        Code::SignatureDoesNotMatch,
    );
    refused(
        &ask("GET", &presigned(&will, "GET", 604_801), ""),
        Code::AuthorizationQueryParametersError,
    );
}

#[test]
fn credentials_are_over_when_the_login_or_the_token_is_they_were_made_from() {
    let door = Door::open();
    let family = FamilyId::draw();
    let will = door.of_login("will", "job", &family, SignedDuration::ZERO);
    assert_eq!(door.get(&will, "/s3/opentaco").status, 200);

    let made = door
        .service
        .ask("POST", "/v1/auth/service-accounts")
        .body(r#"{"name":"robot"}"#)
        .send();
    assert_eq!(made.status, 201, "{made:?}");
    let given = door
        .service
        .ask("PUT", "/v1/rbac/users/service:robot/roles/writer")
        .send();
    assert_eq!(given.status, 200, "{given:?}");
    let token = door
        .service
        .ask("POST", "/v1/auth/tokens")
        .body(r#"{"name":"ci","service_account":"robot"}"#)
        .send()
        .json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let credentials = door
        .service
        .ask_as(Some(&bearer), "POST", "/v1/auth/issue-s3-creds")
        .send()
        .json();
    let of = |name: &str| credentials[name].as_str().unwrap();
    let robot = Signer::new(of("AccessKeyId"), of("SecretAccessKey"), Some(of("SessionToken")));
    assert_eq!(door.put(&robot, KEY, &state(1)).status, 200);
    let target = format!("/v1/auth/tokens/{}", token["about"]["id"].as_str().unwrap());
    assert_eq!(door.service.ask("DELETE", &target).send().status, 204);
    refused(&door.put(&robot, KEY, &state(2)), Code::AccessDenied);
    assert_eq!(door.get(&will, KEY).text(), state(1));
}

#[test]
fn who_may_see_outputs_alone_is_shown_a_state_of_them_and_may_do_nothing_else() {
    let door = Door::open();
    let (ada, otto) = (door.signer("ada", "one"), door.signer("otto", "one"));
    let body = r#"{"version":4,"terraform_version":"1.11.4","serial":3,"lineage":"l","outputs":{"shown":{"value":"v","type":"string"}},"resources":[{"secret":"s3cr3t"}]}"#;
    assert_eq!(door.put(&ada, KEY, body).status, 200);
    let view = door.get(&otto, KEY);
    assert_eq!(view.status, 200, "{view:?}");
    assert!(
        view.text().contains("shown") && !view.text().contains("s3cr3t"),
        "{view:?}"
    );
    let head = door.ask(&otto, "HEAD", KEY, &[], b"");
    assert_eq!(head.header("content-length"), view.body.len().to_string());
    assert_eq!(head.header("etag"), format!("\"{}\"", md5_hex(&view.body)));
    let part = door.ask(&otto, "GET", KEY, &[("range", "bytes=2-5")], b"");
    assert_eq!((part.status, part.body.as_slice()), (206, &view.body[2..6]));
    refused(&door.put(&otto, KEY, &state(4)), Code::AccessDenied);
    refused(&door.get(&otto, LOCK), Code::AccessDenied);
}

/// Each operation, and who gets past: a reader (`r`), a writer (`w`), a stranger who is known and holds no role (`s`);
/// an administrator always does. `l` says that anybody does, and is told nothing that is not theirs.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("HEAD", "/s3/opentaco", "rws"),
    ("PUT", "/s3/opentaco", "rws"),
    ("GET", "/s3/opentaco?location", "rws"),
    ("GET", "/s3/opentaco", "rws"),
    ("GET", "/s3/opentaco?list-type=2", "rws"),
    ("GET", "/s3/opentaco?uploads", "rws"),
    ("HEAD", KEY, "rw"),
    ("GET", KEY, "rw"),
    ("PUT", KEY, "w"),
    ("DELETE", KEY, ""),
    ("POST", "/s3/opentaco/app/terraform.tfstate?uploads", "w"),
    (
        "PUT",
        "/s3/opentaco/app/terraform.tfstate?partNumber=1&uploadId=00000000000000000000000000000000",
        "w",
    ),
    (
        "GET",
        "/s3/opentaco/app/terraform.tfstate?uploadId=00000000000000000000000000000000",
        "w",
    ),
    (
        "POST",
        "/s3/opentaco/app/terraform.tfstate?uploadId=00000000000000000000000000000000",
        "w",
    ),
    (
        "DELETE",
        "/s3/opentaco/app/terraform.tfstate?uploadId=00000000000000000000000000000000",
        "w",
    ),
    ("PUT", LOCK, "w"),
    ("HEAD", LOCK, "rw"),
    ("GET", LOCK, "rw"),
    ("DELETE", LOCK, "w"),
];

#[test]
fn every_operation_is_for_the_roles_it_is_for_whether_there_is_such_a_unit_or_not() {
    for there in [true, false] {
        for (person, letter) in [("ada", 'a'), ("will", 'w'), ("rita", 'r'), ("sam", 's')] {
            let door = Door::open();
            if there {
                let put = door.service.ask("POST", "/v1/backend/app").body(state(1)).send();
                assert_eq!(put.status, 200);
            }
            let signer = door.signer(person, "session");
            for (method, target, past) in OPERATIONS {
                let body = match (*method, target.contains("tflock"), target.contains("uploadId")) {
                    ("PUT", true, _) => lock(ONE, person),
                    ("PUT", false, _) if target.contains("tfstate") => state(2),
                    ("POST", _, true) => "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>".to_owned(),
                    _ => String::new(),
                };
                let answer = door.ask(&signer, method, target, &[], body.as_bytes());
                let may = past.contains(letter) || letter == 'a';
                assert_eq!(
                    answer.status == 403,
                    !may,
                    "{method} {target} as {person}: {answer:?}"
                );
                assert!(may || !String::from_utf8_lossy(&answer.body).contains("lineage"));
            }
            let body = "<Delete><Object><Key>app/terraform.tfstate</Key></Object></Delete>";
            let answer = door.ask(&signer, "POST", "/s3/opentaco?delete", &[], body.as_bytes());
            assert_eq!(
                said(&answer, "Code") == ["AccessDenied"],
                letter != 'a',
                "{answer:?}"
            );
        }
    }
}

#[test]
fn a_policy_that_is_truncated_or_lost_lets_nobody_do_anything_at_this_door_either() {
    for damage in [Some("{\"format\":1,\"nonce\":\"\",\"rec"), None] {
        let mut door = Door::open();
        let put = door.service.ask("POST", "/v1/backend/app").body(state(1)).send();
        assert_eq!(put.status, 200);
        drop(std::mem::replace(&mut door.service, Service::start()));
        let policy = door
            .world
            .directory
            .path()
            .join("bucket/__opentaco_access/policy.json");
        match damage {
            Some(text) => std::fs::write(&policy, text).unwrap(),
            None => std::fs::remove_file(&policy).unwrap(),
        }
        door.service = door.world.again(OpenOptions::default());
        let signers = ["ada", "will", "sam"].map(|person| door.signer(person, "session"));
        let about_a_unit = OPERATIONS
            .iter()
            .filter(|(_, target, _)| target.contains("tfstate"));
        for (method, target, _) in about_a_unit.chain([&("GET", "/s3/opentaco?list-type=2", "")]) {
            let body = match (*method, target.contains("tflock"), target.contains("uploadId")) {
                ("PUT", true, _) => lock(ONE, "ada"),
                ("PUT", false, _) => state(2),
                ("POST", _, true) => {
                    "<C><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></C>".to_owned()
                }
                _ => String::new(),
            };
            for signer in &signers {
                let answer = door.ask(signer, method, target, &[], body.as_bytes());
                assert_eq!(answer.status, 503, "{damage:?}: {method} {target}: {answer:?}");
            }
        }
    }
}

#[test]
fn the_page_tells_every_code_that_is_answered_and_no_other() {
    let page = include_str!("../../../docs/s3-compat.mdx");
    let (_, table) = page.split_once("## Troubleshooting by code").unwrap();
    let told: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |(code, meaning): &(Code, &str)| {
        format!("| `{}` | {} | {meaning} |", code.as_str(), code.status().as_u16())
    };
    let known: Vec<String> = Code::ALL.iter().map(row).collect();
    assert_eq!(told, known);
}

#[test]
fn nobody_gets_past_the_door_without_a_signature_at_any_operation() {
    let door = Door::open();
    for (method, target, _) in OPERATIONS {
        for authorization in [None, Some("Bearer wrong"), Some("Basic cm9vdDp3cm9uZw==")] {
            let answer = door
                .service
                .ask_as(authorization, method, target)
                .body("x")
                .send();
            assert!(
                [400, 403].contains(&answer.status),
                "{method} {target}: {answer:?}"
            );
        }
    }
}

#[test]
fn the_audit_and_the_log_tell_who_did_what_by_which_session_and_no_secret() {
    let door = Door::open();
    let will = door.signer("will", "job-77");
    assert_eq!(door.lock(&will, ONE).status, 200);
    assert_eq!(door.put(&will, KEY, &state(1)).status, 200);
    let got = door.get(&will, KEY);
    assert_eq!(door.ask(&will, "DELETE", LOCK, &[], b"").status, 204);
    let Door { service, world, .. } = door;
    drop(service);
    let events = events(&world.directory.path().join("bucket"));
    let found = serde_json::to_value(events).unwrap();
    let events = found.as_array().unwrap();
    for what in ["locked", "committed: write", "read", "unlocked"] {
        let event = events.iter().find(|event| event["what"] == what);
        let event = event.unwrap_or_else(|| panic!("{what} is not in {found:#}"));
        assert_eq!(event["principal"], "will@example.com", "{event}");
        assert_eq!(event["door"], "s3", "{event}");
        assert!(
            event["via"].as_str().unwrap().contains("S3 session job-77"),
            "{event}"
        );
    }
    let log = crate::support::log();
    let lines = log.of_request(got.header("x-amz-request-id"));
    assert_eq!(lines[0]["action"], "s3.GetObject");
    assert_eq!(lines[0]["unit"], "app");
    for secret in [&will.secret, will.session_token.as_ref().unwrap()] {
        assert!(!log.text().contains(secret.as_str()));
        assert!(!found.to_string().contains(secret.as_str()));
    }
}

/// How far a counter in a state has come, and the state with which this client counts on.
fn counted(state: &str, client: u32) -> (u64, String) {
    let (_, rest) = state.split_once("\"serial\": ").unwrap();
    let serial: u64 = rest.split(',').next().unwrap().parse().unwrap();
    // The very same bytes again would be taken for the same write, repeated.
    let next = crate::support::state(serial + 1);
    (
        serial,
        next.replace(
            "\"resources\": []",
            &format!("\"resources\": [], \"by\": {client}"),
        ),
    )
}

#[test]
fn a_hundred_clients_of_all_doors_count_together_and_no_count_is_lost() {
    let door = Door::open();
    assert_eq!(door.put(&door.signer("ada", "first"), KEY, &state(1)).status, 200);
    let by_s3 = |number: u32| {
        let signer = door.signer("will", &format!("job-{number}"));
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        while door.lock(&signer, &id).status != 200 {
            nap();
        }
        let (_, next) = counted(&door.get(&signer, KEY).text(), number);
        let put = door.put(&signer, KEY, &next);
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(door.ask(&signer, "DELETE", LOCK, &[], b"").status, 204);
    };
    let by_http = |number: u32| {
        let id = format!("00000000-0000-4000-9000-{number:012x}");
        let ask = |method: &str, target: &str, body: &str| door.service.ask(method, target).body(body).send();
        while ask("LOCK", "/v1/backend/app", &lock(&id, "http")).status != 200 {
            nap();
        }
        let (_, next) = counted(&ask("GET", "/v1/backend/app", "").text(), number);
        let posted = ask("POST", &format!("/v1/backend/app?ID={id}"), &next);
        assert_eq!(posted.status, 200, "{posted:?}");
        assert_eq!(ask("UNLOCK", "/v1/backend/app", &lock(&id, "http")).status, 200);
    };
    let by_management = |number: u32| {
        loop {
            let got = door.service.ask("GET", "/v1/units/app/download").send();
            let (_, next) = counted(&got.text(), number);
            let ask = door.service.ask("POST", "/v1/units/app/upload");
            let pushed = ask.header("if-match", got.header("etag")).body(next).send();
            match pushed.status {
                200 => return,
                409 | 412 => nap(),
                other => panic!("{other}: {pushed:?}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..100 {
            // Whoever pushes without a lock is refused, and what it pushed is kept, whenever somebody holds one: few do.
            match number % 20 {
                0 => drop(scope.spawn(move || by_management(number))),
                odd if odd % 2 == 1 => drop(scope.spawn(move || by_http(number))),
                _ => drop(scope.spawn(move || by_s3(number))),
            }
        }
    });
    let (serial, _) = counted(&door.get(&door.signer("ada", "last"), KEY).text(), 0);
    assert_eq!(serial, 101);
    let history = door
        .service
        .ask("GET", "/v1/units/app/versions?limit=200")
        .send()
        .json();
    let mut serials: Vec<u64> = history["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["serial"].as_u64().unwrap())
        .collect();
    serials.reverse();
    assert_eq!(
        serials,
        (1..=101).collect::<Vec<_>>(),
        "each count once, in order"
    );
}

#[test]
fn conflicts_and_refused_writes_are_counted_as_at_every_door() {
    let door = Door::open();
    let (one, two) = (door.signer("will", "job-1"), door.signer("will", "job-2"));
    assert_eq!(door.lock(&one, ONE).status, 200);
    let conflict = door.lock(&two, TWO);
    refused(&conflict, Code::PreconditionFailed);
    refused(&door.put(&two, KEY, &state(1)), Code::PreconditionFailed);
    let metrics = door.service.ask("GET", "/metrics").send().text();
    for line in [
        "opentaco_lock_conflicts_total{door=\"s3\"} 1",
        "opentaco_refused_writes_total{door=\"s3\",reason=\"not_holder\"} 1",
        "opentaco_requests_total{door=\"s3\",operation=\"s3.PutLockFile\",outcome=\"refused\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let lines = crate::support::log().of_request(conflict.header("x-amz-request-id"));
    assert_eq!(lines[0]["code"], "locked");
}

#[test]
fn where_nobody_is_asked_who_they_are_no_signature_is_and_bodies_are_checked_all_the_same() {
    let service = Service::without_auth();
    let ask = |method: &str, target: &str, headers: &[(&str, &str)], body: &str| {
        let ask = service.ask_as(None, method, target);
        let ask = headers
            .iter()
            .fold(ask, |ask, (name, value)| ask.header(name, value));
        ask.body(body).send()
    };
    assert_eq!(ask("PUT", KEY, &[], &state(1)).status, 200);
    // What a client sends that signs with whatever it has.
    let body = state(2);
    let length = body.len().to_string();
    let headers = [
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=any/20261123/auto/s3/aws4_request, SignedHeaders=host, Signature=x",
        ),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", length.as_str()),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let wrapped = |sum: &str| {
        format!(
            "{:x}\r\n{body}\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n",
            body.len()
        )
    };
    refused(&ask("PUT", KEY, &headers, &wrapped("AAAAAA==")), Code::BadDigest);
    let sum = Algorithm::Crc32.of(body.as_bytes());
    assert_eq!(ask("PUT", KEY, &headers, &wrapped(&sum)).status, 200);
    assert_eq!(ask("GET", KEY, &[], "").text(), body);

    // All clients are one holder, and Terraform's door is another.
    let only = [("if-none-match", "*")];
    assert_eq!(ask("PUT", LOCK, &only, &lock(ONE, "a")).status, 200);
    assert_eq!(ask("PUT", KEY, &[], &state(3)).status, 200);
    assert_eq!(ask("POST", "/v1/backend/app", &[], &state(4)).status, 409);
    refused(
        &ask("PUT", LOCK, &only, &lock(TWO, "b")),
        Code::PreconditionFailed,
    );
    assert_eq!(ask("DELETE", LOCK, &[], "").status, 204);
    assert_eq!(ask("PUT", KEY, &[], &state(4)).status, 200);
}
