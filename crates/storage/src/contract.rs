//! What every store must do, as functions that panic where it does not. For tests (feature `contract`).
//!
//! Each function is one promise, tried by two clients on one bucket: what one writes the other must see, and where they
//! race, one wins. [`run`] tries all of them; a store that passes can carry the protocol.
//!
//! Not asked for, because nothing of ours needs it: copies, multipart uploads, ranges from the end, and delimiters other
//! than a slash.

use std::fmt::Debug;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::join_all;
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload, PutResult, Result, UpdateVersion,
};

use crate::store::Store;

/// How many writers race.
const RACERS: usize = 16;
/// How often each of two clients counts one up.
const INCREMENTS: usize = 100;
/// What a state of a large estate weighs.
const LARGE_BYTES: usize = 8 * 1024 * 1024;

/// Names that are legal and that something on the way likes to spoil. In byte order.
const ODD_NAMES: [&str; 13] = [
    " leading and trailing ",
    "%2F",
    "100%",
    "a b/terraform.tfstate",
    "a+b=c~d/terraform.tfstate",
    "a-b",
    "a/b",
    "a0b",
    "env:/staging/network/prod.tfstate",
    "quote\"and'and&<>",
    "~tilde",
    "éclair/terraform.tfstate",
    "日本語/🚀",
];

/// How long one promise may take on a server that gives no answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes down the promises once, for whoever wants all of them kept and for whoever wants to know which are.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        /// Tries every promise, below `prefix`, which nobody else may use. `a` and `b` are two clients of one bucket; where the
        /// store allows it, with connections and memory of their own.
        ///
        /// # Panics
        /// If a promise is broken; the message says which.
        pub async fn run(a: Arc<dyn Store>, b: Arc<dyn Store>, prefix: &str) {
            let world = World::new(a, b, prefix);
            $($promise(&world).await;)*
        }

        /// Tries every promise by itself, as [`run`] does, and goes on where one is broken: its name, and what was seen
        /// instead. One that takes longer than a minute is broken, too.
        pub async fn judge(a: Arc<dyn Store>, b: Arc<dyn Store>, prefix: &str) -> Vec<(&'static str, Option<String>)> {
            let world = World::new(a, b, prefix);
            vec![$((stringify!($promise), broken($promise(&world)).await),)*]
        }
    };
}

promises! {
    what_was_put_comes_back_to_the_other_client,
    a_create_succeeds_once,
    an_update_needs_the_present_etag,
    an_update_of_nothing_makes_nothing,
    an_overwrite_asks_nothing,
    a_deleted_object_is_gone_and_may_be_deleted_again,
    a_deleted_object_can_be_created_again,
    reading_what_is_not_there_says_so,
    put_get_head_and_list_agree_on_the_etag,
    attributes_come_back_and_go_with_their_object,
    a_range_is_a_part_of_the_bytes,
    a_get_can_be_conditional,
    an_empty_object_is_an_object,
    a_large_object_comes_back_whole,
    odd_names_are_names,
    a_listing_is_by_string_prefix_in_byte_order,
    pages_put_together_are_the_listing,
    an_offset_is_exclusive,
    a_delimiter_folds,
    of_racing_creates_one_wins,
    of_racing_updates_one_wins,
    no_increment_is_lost,
}

/// What a promise was broken by.
async fn broken(promise: impl Future<Output = ()>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, AssertUnwindSafe(promise).catch_unwind()).await {
        Ok(Ok(())) => None,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().cloned();
            Some(
                text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                    .unwrap_or_default(),
            )
        }
        Err(_) => Some(format!("no end of it in {} seconds", PATIENCE.as_secs())),
    }
}

/// Two clients of one bucket, and the part of it that is theirs.
struct World {
    a: Arc<dyn Store>,
    b: Arc<dyn Store>,
    prefix: String,
}

impl World {
    fn new(a: Arc<dyn Store>, b: Arc<dyn Store>, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/').to_owned();
        Self { a, b, prefix }
    }

    fn key(&self, name: &str) -> Path {
        let key = if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        };
        Path::parse(key).expect("the contract's names are legal")
    }

    /// A key without the prefix of this world.
    fn name(&self, key: &Path) -> String {
        let name = key
            .as_ref()
            .strip_prefix(&self.prefix)
            .expect("only keys of this world are looked at");
        name.trim_start_matches('/').to_owned()
    }

    /// The whole listing below a string, page by page, as one client sees it.
    async fn list(&self, start: &str, opts: PaginatedListOptions) -> Listed {
        let prefix = if self.prefix.is_empty() {
            start.to_owned()
        } else {
            format!("{}/{start}", self.prefix)
        };
        let mut opts = opts;
        let mut all = Listed::default();
        loop {
            let page = expect(
                self.b.list_paginated(Some(&prefix), opts.clone()).await,
                "a listing is answered",
            );
            all.pages
                .push(page.result.objects.len() + page.result.common_prefixes.len());
            all.names
                .extend(page.result.objects.iter().map(|meta| self.name(&meta.location)));
            all.folded
                .extend(page.result.common_prefixes.iter().map(|path| self.name(path)));
            all.objects.extend(page.result.objects);
            match page.page_token {
                Some(token) => opts.page_token = Some(token),
                None => return all,
            }
        }
    }
}

#[derive(Debug, Default)]
struct Listed {
    names: Vec<String>,
    folded: Vec<String>,
    objects: Vec<ObjectMeta>,
    pages: Vec<usize>,
}

async fn what_was_put_comes_back_to_the_other_client(world: &World) {
    let key = world.key("back/1");
    let body: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    expect(
        world.a.put(&key, body.clone().into()).await,
        "a plain put succeeds",
    );
    assert_eq!(
        bytes(&*world.b, &key).await,
        body,
        "the other client reads the very bytes that were put"
    );

    let pieces = PutPayload::from_iter([
        Bytes::from_static(b"in "),
        Bytes::from_static(b"three "),
        Bytes::from_static(b"pieces"),
    ]);
    expect(
        world.a.put(&key, pieces).await,
        "a put of several pieces succeeds",
    );
    assert_eq!(
        bytes(&*world.b, &key).await,
        "in three pieces",
        "pieces arrive in order, as one object"
    );
}

async fn a_create_succeeds_once(world: &World) {
    let key = world.key("create");
    expect(
        create(&*world.a, &key, "first").await,
        "a create where nothing is succeeds",
    );
    for client in [&world.a, &world.b] {
        let again = create(&**client, &key, "second").await;
        assert!(
            matches!(again, Err(Error::AlreadyExists { .. })),
            "a create of what exists is refused as `AlreadyExists`, told apart from every other failure: {again:?}"
        );
    }
    assert_eq!(
        bytes(&*world.b, &key).await,
        "first",
        "a refused create changes nothing"
    );
}

async fn an_update_needs_the_present_etag(world: &World) {
    let key = world.key("update");
    let first = expect(create(&*world.a, &key, "first").await, "a create succeeds");
    let second = expect(
        update(&*world.b, &key, "second", first.clone()).await,
        "an update of what is there succeeds",
    );
    assert_ne!(first.e_tag, second.e_tag, "other bytes have another ETag");
    for client in [&world.a, &world.b] {
        let stale = update(&**client, &key, "third", first.clone()).await;
        assert!(
            matches!(stale, Err(Error::Precondition { .. })),
            "an update of what was there before is refused as `Precondition`: {stale:?}"
        );
    }
    assert_eq!(
        bytes(&*world.a, &key).await,
        "second",
        "a refused update changes nothing"
    );
    expect(
        update(&*world.a, &key, "third", second).await,
        "the newest ETag goes on",
    );

    let head = expect(world.b.head(&key).await, "a head is answered");
    let seen = PutResult {
        e_tag: head.e_tag,
        version: head.version,
        extensions: http::Extensions::default(),
    };
    expect(
        update(&*world.b, &key, "fourth", seen).await,
        "an ETag that was read is as good as one that was answered",
    );
}

async fn an_update_of_nothing_makes_nothing(world: &World) {
    let key = world.key("update-of-nothing");
    let first = expect(create(&*world.a, &key, "first").await, "a create succeeds");
    expect(world.a.delete(&key).await, "a delete succeeds");
    let late = update(&*world.b, &key, "late", first).await;
    assert!(
        matches!(late, Err(Error::Precondition { .. } | Error::NotFound { .. })),
        "an update of what is gone is refused: {late:?}"
    );
    assert_absent(world, &key).await;
}

async fn an_overwrite_asks_nothing(world: &World) {
    let key = world.key("overwrite");
    for body in ["first", "second, longer", "3"] {
        expect(world.a.put(&key, body.into()).await, "an overwrite succeeds");
        assert_eq!(
            bytes(&*world.b, &key).await,
            body,
            "an overwrite replaces all bytes"
        );
    }
}

async fn a_deleted_object_is_gone_and_may_be_deleted_again(world: &World) {
    let key = world.key("deleted/1");
    expect(world.a.put(&key, "x".into()).await, "a put succeeds");
    expect(world.a.delete(&key).await, "a delete succeeds");
    assert_absent(world, &key).await;
    let listed = world.list("deleted/", PaginatedListOptions::default()).await;
    assert_eq!(
        listed.names,
        Vec::<String>::new(),
        "what is deleted is listed no more"
    );
    let again = world.b.delete(&key).await;
    assert!(
        matches!(again, Ok(()) | Err(Error::NotFound { .. })),
        "a second delete succeeds or says `NotFound`: {again:?}"
    );
}

async fn a_deleted_object_can_be_created_again(world: &World) {
    let key = world.key("again");
    let first = expect(create(&*world.a, &key, "first").await, "a create succeeds");
    expect(world.b.delete(&key).await, "a delete succeeds");
    expect(
        create(&*world.a, &key, "second").await,
        "a create after a delete succeeds",
    );
    let stale = update(&*world.b, &key, "third", first).await;
    assert!(
        matches!(stale, Err(Error::Precondition { .. })),
        "the ETag of a deleted object is none of its successor's: {stale:?}"
    );
}

async fn reading_what_is_not_there_says_so(world: &World) {
    assert_absent(world, &world.key("nothing/at/all")).await;
}

async fn put_get_head_and_list_agree_on_the_etag(world: &World) {
    let key = world.key("etag/1");
    let mut earlier = Vec::new();
    for body in ["one", "two", "six"] {
        let put = expect(world.a.put(&key, body.into()).await, "a put succeeds");
        let etag = put.e_tag.clone().expect("a put answers with an ETag");
        let got = expect(world.b.get(&key).await, "a get is answered");
        assert_eq!(
            got.meta.e_tag, put.e_tag,
            "a get shows the ETag that the put answered"
        );
        assert_eq!(got.meta.size, 3, "a get shows the size");
        let head = expect(world.b.head(&key).await, "a head is answered");
        assert_eq!(
            (head.e_tag, head.size),
            (put.e_tag.clone(), 3),
            "a head shows the ETag and size"
        );
        let listed = world.list("etag/", PaginatedListOptions::default()).await;
        assert_eq!(listed.objects.len(), 1, "one object is listed");
        assert_eq!(
            listed.objects[0].e_tag, put.e_tag,
            "a listing shows the ETag that the put answered"
        );
        assert_eq!(listed.objects[0].size, 3, "a listing shows the size");
        assert!(
            !earlier.contains(&etag),
            "other bytes of the same size have another ETag: {etag} came twice"
        );
        earlier.push(etag);
    }
}

async fn attributes_come_back_and_go_with_their_object(world: &World) {
    let key = world.key("attributes");
    let given: Attributes = [
        (Attribute::Metadata("who".into()), "alice%20%C3%A9"),
        (Attribute::Metadata("reason".into()), "lock lost"),
        (Attribute::ContentType, "application/json"),
    ]
    .into_iter()
    .collect();
    let options = PutOptions {
        attributes: given.clone(),
        ..PutOptions::default()
    };
    expect(
        world.a.put_opts(&key, "kept".into(), options).await,
        "a put with attributes succeeds",
    );
    let got = expect(world.b.get(&key).await, "a get is answered");
    for (name, value) in &given {
        assert_eq!(
            got.attributes.get(name),
            Some(value),
            "{name:?} comes back as it was put"
        );
    }

    expect(world.a.put(&key, "other".into()).await, "an overwrite succeeds");
    let got = expect(world.b.get(&key).await, "a get is answered");
    let who = Attribute::Metadata("who".into());
    assert_eq!(
        got.attributes.get(&who),
        None,
        "the metadata of an overwritten object is not its successor's"
    );
}

async fn a_range_is_a_part_of_the_bytes(world: &World) {
    let key = world.key("range");
    let body: Vec<u8> = (0..200_000u32)
        .map(|n| u8::try_from(n % 251).unwrap_or(0))
        .collect();
    expect(world.a.put(&key, body.clone().into()).await, "a put succeeds");
    for (start, end) in [
        (0, 1),
        (0, 200_000),
        (7, 19),
        (65_536, 140_000),
        (199_999, 200_000),
        (199_990, 300_000),
    ] {
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(start..end)));
        let got = expect(world.b.get_opts(&key, options).await, "a range is answered");
        let end = end.min(200_000);
        assert_eq!(got.range, start..end, "the answer says which range it is");
        assert_eq!(got.meta.size, 200_000, "the answer says how large the whole is");
        let part = expect(got.bytes().await, "a range arrives");
        let expected = &body[usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0)];
        assert!(
            part == expected,
            "the range {start}..{end} is that part of the bytes"
        );
    }
    let options = GetOptions::new().with_range(Some(GetRange::Offset(199_995)));
    let got = expect(
        world.b.get_opts(&key, options).await,
        "a range to the end is answered",
    );
    assert!(
        expect(got.bytes().await, "it arrives") == body[199_995..],
        "a range to the end is the rest"
    );
    let options = GetOptions::new().with_range(Some(GetRange::Bounded(200_000..200_001)));
    assert!(
        world.b.get_opts(&key, options).await.is_err(),
        "a range behind the end is an error and not empty"
    );
}

async fn a_get_can_be_conditional(world: &World) {
    let key = world.key("conditional-get");
    let first = expect(world.a.put(&key, "first".into()).await, "a put succeeds");
    let second = expect(world.a.put(&key, "second".into()).await, "a put succeeds");

    let options = GetOptions::new().with_if_match(second.e_tag.clone());
    let got = expect(
        world.b.get_opts(&key, options).await,
        "a get of the present ETag is answered",
    );
    assert_eq!(expect(got.bytes().await, "it arrives"), "second");
    let options = GetOptions::new().with_if_match(first.e_tag.clone());
    let stale = world.b.get_opts(&key, options).await.map(|_| ());
    assert!(
        matches!(stale, Err(Error::Precondition { .. })),
        "a get of a former ETag is refused: {stale:?}"
    );
    let options = GetOptions::new().with_if_none_match(second.e_tag);
    let same = world.b.get_opts(&key, options).await.map(|_| ());
    assert!(
        matches!(same, Err(Error::NotModified { .. })),
        "what has not changed is not sent again: {same:?}"
    );
    let options = GetOptions::new().with_if_none_match(first.e_tag);
    expect(world.b.get_opts(&key, options).await, "what has changed is sent");
}

async fn an_empty_object_is_an_object(world: &World) {
    let key = world.key("empty/1");
    let put = expect(create(&*world.a, &key, "").await, "a create of nothing succeeds");
    assert!(
        matches!(
            create(&*world.b, &key, "").await,
            Err(Error::AlreadyExists { .. })
        ),
        "an empty object is there: a create is refused"
    );
    assert_eq!(bytes(&*world.b, &key).await, "", "an empty object reads as empty");
    let listed = world.list("empty/", PaginatedListOptions::default()).await;
    assert_eq!(
        listed.objects.iter().map(|o| o.size).collect::<Vec<_>>(),
        [0],
        "it is listed, with size 0"
    );
    let full = expect(update(&*world.b, &key, "full", put).await, "it can be updated");
    expect(update(&*world.a, &key, "", full).await, "and emptied");
    assert_eq!(
        bytes(&*world.b, &key).await,
        "",
        "an emptied object reads as empty"
    );
}

async fn a_large_object_comes_back_whole(world: &World) {
    let key = world.key("large");
    let body: Bytes = (0..LARGE_BYTES)
        .map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap_or(0))
        .collect();
    let put = expect(
        world.a.put(&key, body.clone().into()).await,
        "a large put succeeds",
    );
    let got = expect(world.b.get(&key).await, "a large get is answered");
    assert_eq!(got.meta.size, body.len() as u64);
    assert!(
        expect(got.bytes().await, "it arrives") == body,
        "a large object comes back byte for byte"
    );
    expect(
        update(&*world.b, &key, body.slice(1..), put).await,
        "a large update succeeds",
    );
    assert!(
        bytes(&*world.a, &key).await == body[1..],
        "an update replaces a large object whole"
    );
}

async fn odd_names_are_names(world: &World) {
    for name in ODD_NAMES {
        let key = world.key(&format!("odd/{name}"));
        expect(world.a.put(&key, name.into()).await, name);
    }
    for name in ODD_NAMES {
        let key = world.key(&format!("odd/{name}"));
        assert_eq!(
            bytes(&*world.b, &key).await,
            name,
            "`{name}` reads as what was put there"
        );
    }
    let listed = world.list("odd/", PaginatedListOptions::default()).await;
    let expected: Vec<_> = ODD_NAMES.iter().map(|name| format!("odd/{name}")).collect();
    assert_eq!(
        listed.names, expected,
        "odd names are listed as they are, in byte order"
    );
    for name in ODD_NAMES {
        let found = world
            .list(&format!("odd/{name}"), PaginatedListOptions::default())
            .await;
        assert_eq!(
            found.names,
            [format!("odd/{name}")],
            "`{name}` is found by a prefix"
        );
        expect(world.b.delete(&world.key(&format!("odd/{name}"))).await, name);
    }
    assert_eq!(
        world.list("odd/", PaginatedListOptions::default()).await.names,
        Vec::<String>::new()
    );
}

/// Fills a place with names, among them such that sort differently by segments than by bytes.
async fn fill(world: &World, place: &str) -> Vec<String> {
    let mut names = Vec::new();
    for top in ["alpha", "alpha-2", "alpha.d", "alphabet", "beta", "beta/x"] {
        for end in ["1", "2", "deep/3"] {
            names.push(format!("{place}/{top}/{end}"));
        }
    }
    names.push(format!("{place}/z"));
    let puts = names.iter().map(|name| {
        let key = world.key(name);
        async move { expect(world.a.put(&key, name.clone().into()).await, name) }
    });
    join_all(puts).await;
    names.sort();
    names
}

fn only(names: &[String], keep: impl Fn(&str) -> bool) -> Vec<String> {
    names.iter().filter(|name| keep(name)).cloned().collect()
}

async fn a_listing_is_by_string_prefix_in_byte_order(world: &World) {
    let names = fill(world, "list").await;
    for prefix in [
        "list/",
        "list/alpha",
        "list/alpha/",
        "list/alpha-",
        "list/beta/x",
        "list/z",
        "list/none",
        "li",
    ] {
        let listed = world.list(prefix, PaginatedListOptions::default()).await;
        let expected = only(&names, |name| name.starts_with(prefix));
        assert_eq!(
            listed.names, expected,
            "below `{prefix}`: all that start so, and nothing else, in byte order"
        );
        assert_eq!(
            listed.folded,
            Vec::<String>::new(),
            "without a delimiter nothing is folded"
        );
    }
}

async fn pages_put_together_are_the_listing(world: &World) {
    let names = fill(world, "pages").await;
    for keys_max in [1, 2, 3, 7, 1000] {
        let opts = PaginatedListOptions {
            max_keys: Some(keys_max),
            ..PaginatedListOptions::default()
        };
        let listed = world.list("pages/", opts).await;
        assert_eq!(
            listed.names, names,
            "pages of {keys_max} hold every name once, in byte order across pages"
        );
        assert!(
            listed.pages.iter().all(|n| *n <= keys_max),
            "no page of {keys_max} holds more: {:?}",
            listed.pages
        );
    }
}

async fn an_offset_is_exclusive(world: &World) {
    let names = fill(world, "offset").await;
    let between = [
        "offset/alpha",
        "offset/alpha/1",
        "offset/alpha-2/deep/3",
        "offset/b",
        "offset/z",
        "offset/zz",
        "a",
    ];
    for offset in between {
        for max_keys in [None, Some(2)] {
            let opts = PaginatedListOptions {
                offset: Some(world.key(offset).to_string()),
                max_keys,
                ..PaginatedListOptions::default()
            };
            let listed = world.list("offset/", opts).await;
            let expected = only(&names, |name| name > offset);
            assert_eq!(
                listed.names, expected,
                "after `{offset}`: everything strictly behind it, on every page"
            );
        }
    }
}

async fn a_delimiter_folds(world: &World) {
    let _names = fill(world, "fold").await;
    for max_keys in [None, Some(1), Some(3)] {
        let opts = PaginatedListOptions {
            delimiter: Some("/".into()),
            max_keys,
            ..PaginatedListOptions::default()
        };
        let mut listed = world.list("fold/", opts.clone()).await;
        listed.folded.sort();
        assert_eq!(
            listed.names,
            ["fold/z"],
            "only what has no slash behind the prefix is listed"
        );
        let tops = [
            "fold/alpha",
            "fold/alpha-2",
            "fold/alpha.d",
            "fold/alphabet",
            "fold/beta",
        ];
        assert_eq!(listed.folded, tops, "the rest is folded, each once");
        let mut listed = world.list("fold/beta/", opts).await;
        listed.folded.sort();
        assert_eq!(listed.names, ["fold/beta/1", "fold/beta/2"]);
        assert_eq!(listed.folded, ["fold/beta/deep", "fold/beta/x"]);
    }
}

async fn of_racing_creates_one_wins(world: &World) {
    for round in 0..5 {
        let key = world.key(&format!("race/create-{round}"));
        let racers = (0..RACERS).map(|n| {
            let key = key.clone();
            let client = if n % 2 == 0 { &world.a } else { &world.b };
            async move { create(&**client, &key, format!("racer {n}")).await }
        });
        let winner = the_one_winner(&join_all(racers).await);
        assert_eq!(
            bytes(&*world.b, &key).await,
            format!("racer {winner}"),
            "the bytes are the winner's"
        );
    }
}

async fn of_racing_updates_one_wins(world: &World) {
    let key = world.key("race/update");
    let mut present = expect(create(&*world.a, &key, "start").await, "a create succeeds");
    for _round in 0..5 {
        let racers = (0..RACERS).map(|n| {
            let (key, present) = (key.clone(), present.clone());
            let client = if n % 2 == 0 { &world.a } else { &world.b };
            async move {
                update(
                    &**client,
                    &key,
                    format!("racer {n} after {:?}", present.e_tag),
                    present,
                )
                .await
            }
        });
        let mut outcomes = join_all(racers).await;
        let before = present;
        let winner = the_one_winner(&outcomes);
        present = expect(outcomes.swap_remove(winner), "the winner won");
        let expected = format!("racer {winner} after {:?}", before.e_tag);
        assert_eq!(
            bytes(&*world.b, &key).await,
            expected,
            "the bytes are the winner's"
        );
    }
}

/// Who won, if one did and all others were told so in the right words.
fn the_one_winner(outcomes: &[Result<PutResult>]) -> usize {
    let winners: Vec<_> = (0..outcomes.len()).filter(|n| outcomes[*n].is_ok()).collect();
    for outcome in outcomes {
        assert!(
            matches!(
                outcome,
                Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. })
            ),
            "who loses a race is told so, and not that something broke: {outcome:?}"
        );
    }
    assert_eq!(
        winners.len(),
        1,
        "of {} writers that race exactly one wins, here: {winners:?}",
        outcomes.len()
    );
    winners[0]
}

async fn no_increment_is_lost(world: &World) {
    let key = world.key("counter");
    expect(create(&*world.a, &key, "0").await, "a create succeeds");
    let count = |client: Arc<dyn Store>| {
        let key = key.clone();
        async move {
            let mut done = 0;
            while done < INCREMENTS {
                let got = expect(client.get(&key).await, "a get is answered");
                let seen = PutResult {
                    e_tag: got.meta.e_tag.clone(),
                    version: got.meta.version.clone(),
                    extensions: http::Extensions::default(),
                };
                let text = expect(got.bytes().await, "it arrives");
                let number: usize = std::str::from_utf8(&text)
                    .ok()
                    .and_then(|t| t.parse().ok())
                    .expect("a number");
                // The other client's turn: a store that answers at once would never be caught otherwise.
                tokio::task::yield_now().await;
                match update(&*client, &key, (number + 1).to_string(), seen).await {
                    Ok(_) => done += 1,
                    Err(Error::Precondition { .. }) => {}
                    Err(other) => panic!("an increment either happens or was overtaken: {other:?}"),
                }
            }
        }
    };
    futures::join!(count(Arc::clone(&world.a)), count(Arc::clone(&world.b)));
    let total = bytes(&*world.b, &key).await;
    assert_eq!(
        total,
        (2 * INCREMENTS).to_string(),
        "every acknowledged increment is in the number"
    );
}

async fn assert_absent(world: &World, key: &Path) {
    for client in [&world.a, &world.b] {
        let got = client.get(key).await.map(|_| ());
        assert!(
            matches!(got, Err(Error::NotFound { .. })),
            "a get of what is not there says `NotFound`: {got:?}"
        );
        let head = client.head(key).await;
        assert!(
            matches!(head, Err(Error::NotFound { .. })),
            "a head of what is not there says `NotFound`: {head:?}"
        );
    }
}

async fn bytes(client: &dyn Store, key: &Path) -> Bytes {
    let got = expect(client.get(key).await, "a get is answered");
    expect(got.bytes().await, "a body arrives")
}

async fn create(client: &dyn Store, key: &Path, body: impl Into<Bytes>) -> Result<PutResult> {
    client
        .put_opts(key, body.into().into(), PutMode::Create.into())
        .await
}

async fn update(
    client: &dyn Store,
    key: &Path,
    body: impl Into<Bytes>,
    seen: PutResult,
) -> Result<PutResult> {
    client
        .put_opts(
            key,
            body.into().into(),
            PutMode::Update(UpdateVersion::from(seen)).into(),
        )
        .await
}

fn expect<T, E: Debug>(result: std::result::Result<T, E>, promise: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{promise}, but: {error:?}"),
    }
}
