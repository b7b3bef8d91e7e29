//! The local disk and the death of its process: what was acknowledged is there, whole, and nothing else is.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path as FilePath;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{Attribute, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use opentaco_storage::local::LocalStore;

const DIRECTORY: &str = "OPENTACO_TEST_KILLED_IN";
const WRITERS: usize = 4;
const KILLS: usize = 5;

/// The bytes of one write: they tell which it was and whether they are all there.
fn body(writer: usize, write: usize) -> Bytes {
    let line = format!("writer {writer} write {write}\n");
    let lines = 1 + (write * 37) % 9000;
    Bytes::from(format!("{lines} lines of\n{}", line.repeat(lines)))
}

/// Which write these bytes are, if they are a whole one.
fn write_of(writer: usize, bytes: &[u8]) -> usize {
    let text = std::str::from_utf8(bytes).expect("whole writes are text");
    let last = text.lines().next_back().expect("a write has lines");
    let write = last
        .rsplit(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a line ends with its number");
    assert!(
        bytes == body(writer, write),
        "what is there is one whole write: {last}"
    );
    write
}

/// Run by the test below, in a process of its own. Overwrites one object for ever, puts a new one beside it, and
/// deletes the one before; tells each write when it was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it runs for ever, until it is killed by the test that starts it"]
async fn a_process_that_writes_until_it_is_killed() {
    let directory = std::env::var(DIRECTORY).expect("only started by its parent");
    let store = Arc::new(LocalStore::open(FilePath::new(&directory)).unwrap());
    let first: usize = std::env::var("OPENTACO_TEST_FIRST").unwrap().parse().unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&store);
        async move {
            let state = Path::parse(format!("unit-{writer}/terraform.tfstate")).unwrap();
            let mut seen = match store.head(&state).await {
                Ok(meta) => PutMode::Update(UpdateVersion {
                    e_tag: meta.e_tag,
                    version: None,
                }),
                Err(object_store::Error::NotFound { .. }) => PutMode::Create,
                Err(error) => panic!("{error}"),
            };
            for write in first.. {
                let options = PutOptions {
                    mode: seen,
                    ..described(write)
                };
                let put = store
                    .put_opts(&state, body(writer, write).into(), options)
                    .await
                    .unwrap();
                seen = PutMode::Update(put.into());
                let version = version_of(writer, write);
                store
                    .put_opts(&version, body(writer, write).into(), described(write))
                    .await
                    .unwrap();
                acknowledge(writer, write);
                if write > first {
                    store.delete(&version_of(writer, write - 1)).await.unwrap();
                }
            }
        }
    });
    join_all(writers).await;
}

fn described(write: usize) -> PutOptions {
    let attributes = [(Attribute::Metadata("write".into()), write.to_string())]
        .into_iter()
        .collect();
    PutOptions {
        attributes,
        ..PutOptions::default()
    }
}

fn version_of(writer: usize, write: usize) -> Path {
    Path::parse(format!("versions/{writer}/{write}/@/v")).unwrap()
}

fn acknowledge(writer: usize, write: usize) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("acknowledged {writer} {write}\n").as_bytes())
        .and_then(|()| out.flush())
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_kill_is_there_and_whole_and_nothing_half_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = 0;
    for kill in 0..KILLS {
        let acknowledged = write_until_killed(directory.path(), first, 40 + 23 * kill);
        let store = LocalStore::open(directory.path()).expect("a killed process leaves no lock behind");
        first = verify(&store, directory.path(), &acknowledged).await + 1;
    }
    assert!(first > KILLS, "there were writes in every round");
}

/// Starts the writing process, kills it after some acknowledgements, and answers with the last of each writer.
fn write_until_killed(directory: &FilePath, first: usize, after: usize) -> BTreeMap<usize, usize> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "survives_a_kill::a_process_that_writes_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .env("OPENTACO_TEST_FIRST", first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut count = 0;
    while let Some(Ok(line)) = lines.next() {
        // The first line of a test is written behind the harness's own words.
        let Some((_, told)) = line.split_once("acknowledged ") else {
            continue;
        };
        let Some((writer, write)) = told.split_once(' ') else {
            continue;
        };
        let (Ok(writer), Ok(write)) = (writer.parse(), write.parse()) else {
            continue;
        };
        acknowledged.insert(writer, write);
        count += 1;
        if count == after {
            child
                .kill()
                .expect("it is still running: it never ends by itself");
        }
    }
    let status = child.wait().unwrap();
    assert!(
        !status.success() && count >= after,
        "it was killed, and did not fail: {status}, {count} writes"
    );
    assert_eq!(acknowledged.len(), WRITERS, "every writer came to write");
    acknowledged
}

/// Checks everything that is there, and answers with the highest write seen.
async fn verify(store: &LocalStore, directory: &FilePath, acknowledged: &BTreeMap<usize, usize>) -> usize {
    let mut highest = 0;
    for (&writer, &last) in acknowledged {
        let state = Path::parse(format!("unit-{writer}/terraform.tfstate")).unwrap();
        let bytes = store.get(&state).await.unwrap().bytes().await.unwrap();
        let present = write_of(writer, &bytes);
        assert!(
            present == last || present == last + 1,
            "writer {writer}: {present} is there, {last} was acknowledged"
        );
        let version = store
            .get(&version_of(writer, last))
            .await
            .expect("an acknowledged version is there");
        let write = Attribute::Metadata("write".into());
        assert_eq!(
            version.attributes.get(&write).map(AsRef::as_ref),
            Some(last.to_string().as_str())
        );
        highest = highest.max(present);
    }
    let mut described = 0;
    for meta in store.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let got = store.get(&meta.location).await.unwrap();
        described += usize::from(!got.attributes.is_empty());
        let writer = meta
            .location
            .as_ref()
            .chars()
            .find(char::is_ascii_digit)
            .unwrap()
            .to_digit(10)
            .unwrap();
        write_of(usize::try_from(writer).unwrap(), &got.bytes().await.unwrap());
    }
    let own = directory.join(".opentaco-local");
    assert_eq!(
        std::fs::read_dir(own.join("tmp")).unwrap().count(),
        0,
        "unfinished files are gone"
    );
    let sidecars = std::fs::read_dir(own.join("metadata")).unwrap().count();
    assert_eq!(
        sidecars, described,
        "metadata is kept for objects that are there and for no others"
    );
    highest
}
