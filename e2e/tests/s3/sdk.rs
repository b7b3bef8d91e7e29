//! The AWS SDK for Rust: it sends what its sister in OpenTofu sends, which no client at hand may know (one put of any size,
//! conditions, checksums), and it can be told which replica to ask.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier,
};
use serde_json::Value;

use super::{Door, Wire, large};
use crate::http::uuid;

fn client(endpoint: &str, credentials: &Value) -> Client {
    let of = |name: &str| credentials[name].as_str().unwrap().to_owned();
    let credentials = Credentials::new(
        of("AccessKeyId"),
        of("SecretAccessKey"),
        Some(of("SessionToken")),
        None,
        "e2e",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        // Without the slash at its end this SDK asks for `/s3opentaco`.
        .endpoint_url(format!("{endpoint}/"))
        .credentials_provider(credentials)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// The code of a refusal.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E>>) -> String {
    let error = answer.unwrap_err();
    error.code().unwrap_or("none").to_owned()
}

/// Uploads a state in parts of 5 MiB, the last part first and each at the next of these replicas; every replica has it then.
pub(super) fn uploaded_by_turns(endpoints: &[&str], credentials: &Value, key: &str, state: &[u8]) {
    runtime().block_on(async {
        let replicas: Vec<Client> = endpoints
            .iter()
            .map(|endpoint| client(endpoint, credentials))
            .collect();
        let begun = replicas[0]
            .create_multipart_upload()
            .bucket("opentaco")
            .key(key)
            .send()
            .await
            .unwrap();
        let upload = begun.upload_id().unwrap();
        let mut parts = Vec::new();
        for (at, part) in state
            .chunks(5 << 20)
            .enumerate()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let number = i32::try_from(at + 1).unwrap();
            let taken = replicas[at % replicas.len()]
                .upload_part()
                .bucket("opentaco")
                .key(key)
                .upload_id(upload)
                .part_number(number)
                .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
                .body(ByteStream::from(part.to_vec()))
                .send()
                .await
                .unwrap();
            let part = CompletedPart::builder()
                .part_number(number)
                .e_tag(taken.e_tag().unwrap())
                .checksum_crc64_nvme(taken.checksum_crc64_nvme().unwrap())
                .build();
            parts.insert(0, part);
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let last = replicas.last().unwrap();
        last.complete_multipart_upload()
            .bucket("opentaco")
            .key(key)
            .upload_id(upload)
            .multipart_upload(parts)
            .send()
            .await
            .unwrap();
        for replica in &replicas {
            let got = replica
                .get_object()
                .bucket("opentaco")
                .key(key)
                .send()
                .await
                .unwrap();
            let bytes = got.body.collect().await.unwrap().into_bytes();
            assert!(bytes == state, "what was uploaded is not what is read");
            let rest = replica
                .list_multipart_uploads()
                .bucket("opentaco")
                .send()
                .await
                .unwrap();
            assert!(rest.uploads().is_empty());
        }
    });
}

#[test]
fn the_sdk_for_rust_does_all_operations_and_is_told_what_it_branches_on() {
    let door = Door::open(Wire::Plain);
    let admin = client(&door.endpoint(), &door.credentials("admin", "one"));
    let other = client(&door.endpoint(), &door.credentials("admin", "two"));
    let (key, lock) = ("sdk/app.tfstate", "sdk/app.tfstate.tflock");
    let state = |serial: u32| {
        format!(r#"{{"version":4,"serial":{serial},"lineage":"l","outputs":{{}},"resources":[]}}"#)
    };
    let bucket = "opentaco";
    runtime().block_on(async {
        admin.head_bucket().bucket(bucket).send().await.unwrap();
        admin.create_bucket().bucket(bucket).send().await.unwrap();
        admin.get_bucket_location().bucket(bucket).send().await.unwrap();
        assert_eq!(code(admin.head_bucket().bucket("another").send().await), "NotFound");
        assert_eq!(code(admin.get_object().bucket(bucket).key(key).send().await), "NoSuchKey");
        let missing = admin.head_object().bucket(bucket).key(key).send().await.unwrap_err();
        assert!(missing.into_service_error().is_not_found());

        // As `tofu` does it: one put of any size, with its checksum; and a lock file.
        let body = format!(r#"{{"ID":"{}","Operation":"OperationTypeApply","Who":"tofu@ci","Version":"1.10.0","Created":"2026-11-22T07:12:53Z","Path":"{bucket}/{key}"}}"#, uuid(1));
        let locking = |client: &Client| {
            client
                .put_object()
                .bucket(bucket)
                .key(lock)
                .if_none_match("*")
                .content_type("application/json")
                .checksum_algorithm(ChecksumAlgorithm::Sha256)
                .body(ByteStream::from(body.clone().into_bytes()))
        };
        locking(&admin).send().await.unwrap();
        assert_eq!(code(locking(&other).send().await), "PreconditionFailed");
        let held = other.get_object().bucket(bucket).key(lock).send().await.unwrap();
        assert_eq!(held.body.collect().await.unwrap().into_bytes(), body.as_bytes());
        let putting = |client: &Client, state: String| {
            client
                .put_object()
                .bucket(bucket)
                .key(key)
                .checksum_algorithm(ChecksumAlgorithm::Sha256)
                .body(ByteStream::from(state.into_bytes()))
        };
        let stored = putting(&admin, large(12, 1)).send().await.unwrap();
        assert!(stored.request_id().is_some());
        let refused = putting(&other, state(2)).send().await;
        assert_eq!(code(refused), "PreconditionFailed");
        admin.delete_object().bucket(bucket).key(lock).send().await.unwrap();
        assert_eq!(code(admin.get_object().bucket(bucket).key(lock).send().await), "NoSuchKey");

        let etag = stored.e_tag().unwrap();
        let current = putting(&other, state(2)).if_match(etag).send().await.unwrap();
        assert_eq!(code(putting(&admin, state(3)).if_match(etag).send().await), "PreconditionFailed");
        assert_eq!(code(putting(&admin, state(3)).if_none_match("*").send().await), "PreconditionFailed");
        let got = admin.get_object().bucket(bucket).key(key).send().await.unwrap();
        assert_eq!(got.e_tag(), current.e_tag());
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), state(2).as_bytes());
        let part = admin.get_object().bucket(bucket).key(key).range("bytes=0-9").send().await.unwrap();
        assert_eq!(part.content_length(), Some(10));
        let past = admin.get_object().bucket(bucket).key(key).range("bytes=100000-").send().await;
        assert_eq!(code(past), "InvalidRange");

        let listed = admin.list_objects_v2().bucket(bucket).prefix("sdk/").send().await.unwrap();
        assert_eq!(listed.contents()[0].key(), Some(key));
        let listed = admin.list_objects().bucket(bucket).delimiter("/").send().await.unwrap();
        assert_eq!(listed.common_prefixes()[0].prefix(), Some("sdk/"));

        let begun = admin.create_multipart_upload().bucket(bucket).key(key).send().await.unwrap();
        let upload = begun.upload_id().unwrap();
        admin.upload_part().bucket(bucket).key(key).upload_id(upload).part_number(1).body(ByteStream::from_static(b"{}")).send().await.unwrap();
        let parts = admin.list_parts().bucket(bucket).key(key).upload_id(upload).send().await.unwrap();
        assert_eq!(parts.parts().len(), 1);
        admin.abort_multipart_upload().bucket(bucket).key(key).upload_id(upload).send().await.unwrap();
        assert_eq!(code(admin.list_parts().bucket(bucket).key(key).upload_id(upload).send().await), "NoSuchUpload");

        let doomed = ObjectIdentifier::builder().key(key).build().unwrap();
        let delete = Delete::builder().objects(doomed).build().unwrap();
        let deleted = admin.delete_objects().bucket(bucket).delete(delete).send().await.unwrap();
        assert_eq!((deleted.deleted().len(), deleted.errors().len()), (1, 0));
        assert_eq!(code(admin.get_object().bucket(bucket).key(key).send().await), "NoSuchKey");
        assert_eq!(code(admin.list_buckets().send().await), "NotImplemented");
    });
}
