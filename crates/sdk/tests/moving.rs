//! States on their way: whole and checked, or an error.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentaco_domain::{LockId, Sha256, UnitId};
use opentaco_sdk::state::{Source, Upload};
use opentaco_sdk::{Outgoing, SdkError};

use crate::scripted::{Scripted, Turn, answer, header};

fn prod() -> UnitId {
    UnitId::parse("myapp/prod").unwrap()
}

const STATE: &str = r#"{"version":4,"serial":7}"#;

fn version_of(bytes: &str) -> String {
    format!("{:016x}-7-00000000-{}-00000001", 41, Sha256::of(bytes.as_bytes()))
}

fn state(body: &str, of: &str) -> Turn {
    answer(200, &[("ETag", &format!("\"{}\"", version_of(of)))], body)
}

fn content(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_download_that_breaks_off_is_made_again_from_its_beginning() {
    let torn = Turn::Answer(format!("HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{STATE}"));
    let scripted = Scripted::new(vec![torn, state(STATE, STATE)]);
    let mut file = tempfile::tempfile().unwrap();
    let (moved, total) = (AtomicU64::new(0), AtomicU64::new(0));
    let downloaded = scripted
        .client()
        .download(&prod(), &Source::Current, &mut file, &moved, &total)
        .await
        .unwrap();
    assert_eq!(content(&mut file), STATE);
    assert_eq!(downloaded.size, STATE.len() as u64);
    assert_eq!(downloaded.version.unwrap().serial, 7);
    assert_eq!(moved.into_inner(), STATE.len() as u64);
    assert_eq!(total.into_inner(), STATE.len() as u64);
    assert_eq!(scripted.asked().len(), 2);
}

#[tokio::test]
async fn bytes_that_do_not_hash_to_their_version_are_an_error() {
    let scripted = Scripted::new(vec![state("{}", STATE); 5]);
    let mut file = tempfile::tempfile().unwrap();
    let client = scripted.client();
    let (moved, total) = Default::default();
    let error = client
        .download(&prod(), &Source::Current, &mut file, &moved, &total)
        .await
        .unwrap_err();
    assert!(matches!(error, SdkError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn an_upload_is_announced_with_length_digest_and_key_and_sent_alike_each_time() {
    let version = version_of(STATE);
    let receipt = format!(r#"{{"id":"myapp/prod","version":"{version}","serial":7,"size":24}}"#);
    let scripted = Scripted::new(vec![Turn::Cut, answer(200, &[], &receipt)]);
    let sent = Arc::new(AtomicU64::new(0));
    let how = Upload {
        holding: Some(LockId::parse("my lock").unwrap()),
        if_match: Some(version.parse().unwrap()),
        force: true,
        idempotency_key: None,
    };
    let receipt = scripted
        .client()
        .upload(&prod(), &Outgoing::held(STATE), &how, &sent)
        .await
        .unwrap();
    assert_eq!(receipt.serial, Some(7));
    assert_eq!(sent.load(Ordering::Relaxed), STATE.len() as u64);
    let asked = scripted.asked();
    assert_eq!(asked.len(), 2);
    for request in &asked {
        let (line, _) = request.split_once("\r\n").unwrap();
        assert_eq!(
            line,
            "POST /v1/units/myapp__prod/upload?if_locked_by=my+lock&force=true HTTP/1.1"
        );
        assert_eq!(header(request, "content-length"), Some("24"));
        assert_eq!(header(request, "transfer-encoding"), None);
        assert_eq!(
            header(request, "if-match"),
            Some(format!("\"{version}\"").as_str())
        );
        assert_eq!(header(request, "content-md5").unwrap().len(), 24);
        assert_eq!(
            header(request, "idempotency-key"),
            header(&asked[0], "idempotency-key")
        );
        assert!(request.ends_with(STATE));
    }
    assert!(header(&asked[0], "idempotency-key").is_some());
}

#[tokio::test]
async fn a_receipt_for_other_bytes_than_were_sent_is_an_error_but_for_the_graph() {
    let version = version_of("{}");
    let upload = async |id: &str| {
        let receipt = format!(r#"{{"id":"{id}","version":"{version}","size":2}}"#);
        let scripted = Scripted::new(vec![answer(200, &[], &receipt)]);
        scripted
            .client()
            .upload(
                &UnitId::parse(id).unwrap(),
                &Outgoing::held(STATE),
                &Upload::default(),
                &Arc::default(),
            )
            .await
    };
    assert!(matches!(
        upload("myapp/prod").await,
        Err(SdkError::Corrupt { .. })
    ));
    assert!(
        upload("__opentaco_system").await.is_ok(),
        "its writes are merged on the way in"
    );
}
