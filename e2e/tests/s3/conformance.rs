//! boto3 and the AWS CLI at the door and at a real S3 server, with one script (`e2e/s3/conformance.py`): what they are told
//! differs only in the lines that are listed here, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use opentaco_testkit::s3_server::{ACCESS, S3Server, SECRET};
use opentaco_testkit::tools;

use super::{Door, Wire};

/// Steps in which we differ from versitygw, by the beginning of their names, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "bucket create existing",
        "it is ours already, which is success; versitygw fails with a 500",
    ),
    (
        "bucket list",
        "there is one bucket, and listing buckets is not done here",
    ),
    ("cli mb existing", "as `bucket create existing`"),
    (
        "put no content-type",
        "what is kept is a state, and is sent as JSON whatever it was called",
    ),
    ("put without checksum", "no checksum that was not sent is told"),
    ("content-md5 put right", "as `put without checksum`"),
    ("cond get if-modified-since", "versitygw overlooks the condition"),
    ("cond head if-modified-since", "versitygw overlooks the condition"),
    (
        "delete_objects 1001 missing",
        "S3 takes a thousand keys; versitygw takes more",
    ),
    (
        "delete_objects none",
        "S3 wants one key at least; versitygw takes none",
    ),
    (
        "delete_objects quiet",
        "S3 tells only errors then; versitygw tells all",
    ),
    (
        "keys list_objects encoding-type url",
        "versitygw overlooks encoding-type",
    ),
    (
        "keys list_objects_v2 encoding-type url",
        "versitygw overlooks encoding-type",
    ),
    (
        "keys list_objects_v2 delimiter encoding-type url",
        "versitygw overlooks encoding-type",
    ),
    ("list v1 encoding-type url", "versitygw overlooks encoding-type"),
    ("list v2 encoding-type url", "versitygw overlooks encoding-type"),
    (
        "list v2 unknown encoding-type",
        "versitygw overlooks encoding-type",
    ),
    (
        "keys paged v1",
        "S3 tells NextMarker only with a delimiter; versitygw always",
    ),
    (
        "list v1 pages of 2",
        "S3 tells NextMarker only with a delimiter; versitygw always",
    ),
    (
        "list v2 start-after inside a folder, delimiter",
        "what comes after the key is told, folded; versitygw skips the folder",
    ),
    (
        "list v2 unknown continuation-token",
        "a token of somebody else is refused; versitygw begins anew",
    ),
    (
        "lock put same bytes again",
        "the same lock of the same session is a retry, and granted (client-protocol.md 2.6)",
    ),
    (
        "lock put without checksum",
        "its lock id was given back before, and a UUID locks once",
    ),
    (
        "multi ",
        "the ETag of a state is the MD5 of its bytes, however they came, and no checksum of the whole is kept",
    ),
    ("single ", "as `multi`"),
    ("transfer ", "as `multi`"),
    ("s3api complete-multipart-upload", "as `multi`"),
    (
        "open list_multipart_uploads pages of 1",
        "versitygw refuses its own marker",
    ),
    (
        "stream content-encoding after trailer",
        "aws-chunked is how a body travels, and no encoding of the object",
    ),
    (
        "auth another region get",
        "every region is right in a signature: the bucket has none",
    ),
    (
        "auth unknown access key",
        "S3's code is InvalidAccessKeyId; versitygw has one of its own",
    ),
    ("presign unknown access key", "as `auth unknown access key`"),
    (
        "presign without signature",
        "without a signature it is no presigned address, and nobody has signed it",
    ),
];

/// What one server keeps and the other does not: a checksum of an object, told to whoever asks.
fn without_checksums(outcome: &str) -> String {
    let words = outcome
        .split(' ')
        .filter(|word| !word.starts_with("checksums=") && !word.starts_with("type="));
    words.collect::<Vec<_>>().join(" ")
}

/// Steps that read an object back and show its checksum. Ours shows none: it keeps none.
fn shows_checksum(step: &str) -> bool {
    let reads = [" head", " get", "checksum-mode", "after trailer"];
    reads.iter().any(|read| step.contains(read)) || step.starts_with("get ") || step.starts_with("head ")
}

fn transcript(endpoint: &str, prefix: &str, credentials: [(&str, &str); 3]) -> BTreeMap<String, String> {
    let mut command = Command::new(tools::python());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    let output = command
        .arg(tools::repository().join("e2e/s3/conformance.py"))
        .args([
            "--endpoint",
            endpoint,
            "--bucket",
            "opentaco",
            "--prefix",
            prefix,
            "--aws",
        ])
        .arg(tools::installed("aws"))
        .envs(credentials.into_iter().filter(|(_, value)| !value.is_empty()))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<(String, String)> = text
        .lines()
        .map(|line| {
            line.split_once(": ")
                .map(|(step, outcome)| (step.to_owned(), outcome.to_owned()))
                .unwrap()
        })
        .collect();
    let count = lines.len();
    let told: BTreeMap<_, _> = lines.into_iter().collect();
    assert_eq!(told.len(), count, "each step has a name of its own");
    told
}

#[test]
fn boto3_and_the_aws_cli_are_told_what_a_real_s3_server_tells_them_but_for_what_is_listed_with_its_reason() {
    let door = Door::open(Wire::Plain);
    let server = S3Server::shared();
    server.bucket("opentaco");
    let credentials = door.credentials("admin", "conformance");
    let of = |name: &str| credentials[name].as_str().unwrap();
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| {
            let credentials = [
                ("AWS_ACCESS_KEY_ID", ACCESS),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
                ("AWS_SESSION_TOKEN", ""),
            ];
            transcript(&server.endpoint(), "team/run1/", credentials)
        });
        let ours = transcript(
            &door.endpoint(),
            "team/run1/",
            [
                ("AWS_ACCESS_KEY_ID", of("AccessKeyId")),
                ("AWS_SECRET_ACCESS_KEY", of("SecretAccessKey")),
                ("AWS_SESSION_TOKEN", of("SessionToken")),
            ],
        );
        (theirs.join().unwrap(), ours)
    });
    assert!(theirs.len() > 400, "{} steps", theirs.len());
    let reason = |step: &str| DIFFERENT.iter().find(|(start, _)| step.starts_with(start));
    let (mut unlisted, mut used) = (Vec::new(), BTreeSet::new());
    for (step, theirs) in &theirs {
        // A step that only one of the credentials can take, such as one that leaves the session token away.
        let Some(ours) = ours.get(step) else { continue };
        let same = match shows_checksum(step) {
            true => without_checksums(ours) == without_checksums(theirs),
            false => ours == theirs,
        };
        match reason(step) {
            _ if same => {}
            Some((start, _)) => drop(used.insert(*start)),
            None => unlisted.push(format!("{step}\n  versitygw: {theirs}\n  ours:      {ours}")),
        }
    }
    assert!(
        unlisted.is_empty(),
        "{} steps differ:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
    let unused: Vec<_> = DIFFERENT
        .iter()
        .filter(|(start, _)| !used.contains(start))
        .collect();
    assert!(unused.is_empty(), "these do not differ any more: {unused:?}");
}
