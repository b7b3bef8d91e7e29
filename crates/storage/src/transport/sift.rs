//! Takes out of a page of a listing what `object_store` would stumble over.
//!
//! `object_store` turns every key of a page into a [`Path`], and one key that is no path (`a//b`, `./a`, a line break)
//! fails the whole page; a key with a slash at an end loses it and becomes the name of another object. Buckets hold
//! such keys: a console makes `folder/`, a careless script `a//b`. So those entries are cut out of the answer before
//! `object_store` sees it, and told of. The bytes around them stay as they came.
//!
//! Neither S3, GCS nor Azure is asked to URL-encode keys (`object_store` does not send `encoding-type`), so a key is the
//! text of its element, with XML's escapes undone.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use object_store::ObjectMeta;
use object_store::path::Path;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use serde::{Deserialize, Deserializer};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whose listing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `ListBucketResult`, of S3 and GCS.
    S3,
    /// `EnumerationResults`, of Azure.
    Azure,
}

impl Dialect {
    /// What kind of entry stands at the end of `path`, if it is one.
    fn entry(self, path: &[Vec<u8>]) -> Option<Kind> {
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        match (self, path.as_slice()) {
            (Self::S3, [b"ListBucketResult", b"Contents"]) => Some(Kind::Object),
            (Self::S3, [b"ListBucketResult", b"CommonPrefixes"]) => Some(Kind::Folded),
            (Self::Azure, [b"EnumerationResults", b"Blobs", b"Blob"]) => Some(Kind::Object),
            (Self::Azure, [b"EnumerationResults", b"Blobs", b"BlobPrefix"]) => Some(Kind::Folded),
            _ => None,
        }
    }

    /// What the name of such an entry is called.
    fn name_of(self, kind: Kind) -> &'static [u8] {
        match (self, kind) {
            (Self::Azure, _) => b"Name",
            (Self::S3, Kind::Object) => b"Key",
            (Self::S3, Kind::Folded) => b"Prefix",
        }
    }
}

/// What an entry of a listing stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Folded,
}

/// A page without the entries that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sifted {
    /// What is left of the page.
    pub(super) page: Bytes,
    /// The names that were taken out, as far as they are text.
    pub(super) skipped: Vec<String>,
}

/// The page without what cannot be named, or nothing if it may stay as it is: because all names are good, or because it
/// is not a listing that we understand to its end.
pub(super) fn sift(page: &Bytes, dialect: Dialect) -> Option<Sifted> {
    let reading = Reading::of(page, dialect)?;
    let bad: Vec<&Entry> = reading.entries.iter().filter(|entry| !entry.may_stay()).collect();
    if bad.is_empty() {
        return None;
    }
    let mut edits: Vec<(Range<usize>, String)> = bad
        .iter()
        .map(|entry| (entry.range.clone(), String::new()))
        .collect();
    if let Some((range, count)) = reading.key_count {
        edits.push((range, count.saturating_sub(bad.len()).to_string()));
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut left = BytesMut::with_capacity(page.len());
    let mut from = 0;
    for (range, instead) in edits {
        left.extend_from_slice(&page[from..range.start]);
        left.extend_from_slice(instead.as_bytes());
        from = range.end;
    }
    left.extend_from_slice(&page[from..]);
    Some(Sifted {
        page: left.freeze(),
        skipped: bad.iter().map(|entry| entry.shown()).collect(),
    })
}

/// The object on a page of Azure's whose name is the prefix that was asked for.
///
/// `object_store` takes a blob that is called exactly like the prefix for a directory marker and drops it, which is
/// right for its own prefixes, which end in `/`. Ours are prefixes of the string.
pub(super) fn named_like_the_prefix(page: &Bytes, prefix: &str) -> Option<ObjectMeta> {
    if prefix.is_empty() || prefix.ends_with('/') {
        return None;
    }
    let reading = Reading::of(page, Dialect::Azure)?;
    let entry = reading.entries.iter().find(|entry| {
        entry.kind == Kind::Object && entry.may_stay() && entry.name.as_deref() == Some(prefix)
    })?;
    let blob: Blob = quick_xml::de::from_reader(&page[entry.range.clone()]).ok()?;
    if blob.properties.resource_type.as_deref() == Some("directory") {
        return None;
    }
    Some(ObjectMeta {
        location: Path::parse(prefix).ok()?,
        last_modified: blob.properties.last_modified,
        size: blob.properties.content_length,
        e_tag: blob.properties.etag,
        version: None,
    })
}

#[derive(Deserialize)]
struct Blob {
    #[serde(rename = "Properties")]
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Last-Modified", deserialize_with = "rfc2822")]
    last_modified: DateTime<Utc>,
    #[serde(rename = "Content-Length")]
    content_length: u64,
    #[serde(rename = "Etag")]
    etag: Option<String>,
    #[serde(rename = "ResourceType")]
    resource_type: Option<String>,
}

fn rfc2822<'de, D: Deserializer<'de>>(text: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(text)?;
    DateTime::parse_from_rfc2822(&text)
        .map(|time| time.to_utc())
        .map_err(serde::de::Error::custom)
}

/// One entry of a page, and where it stands in the bytes.
#[derive(Debug)]
struct Entry {
    range: Range<usize>,
    kind: Kind,
    /// Its name; none if it has none, or one that is not text.
    name: Option<String>,
    /// Whether there was a name at all: an entry without one is not ours to judge.
    named: bool,
}

impl Entry {
    fn may_stay(&self) -> bool {
        let Some(name) = &self.name else {
            return !self.named;
        };
        // A folded name may end in the slash it was folded at; `object_store` takes that off, as everybody expects.
        let key = match self.kind {
            Kind::Object => name,
            Kind::Folded => name.strip_suffix('/').unwrap_or(name),
        };
        !key.is_empty() && Path::parse(key).is_ok_and(|path| path.as_ref() == key)
    }

    fn shown(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| "(a name that is not text)".to_owned())
    }
}

/// All entries of a page that was understood to its end.
struct Reading {
    entries: Vec<Entry>,
    /// S3 counts the entries of a page; where, and how many.
    key_count: Option<(Range<usize>, usize)>,
}

impl Reading {
    fn of(page: &[u8], dialect: Dialect) -> Option<Self> {
        // Azure begins with a byte order mark, which the reader passes over without counting it.
        let mark = if page.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let mut reader = Reader::from_reader(&page[mark..]);
        let position = |reader: &Reader<&[u8]>| Some(mark + usize::try_from(reader.buffer_position()).ok()?);
        let mut path: Vec<Vec<u8>> = Vec::new();
        let mut entries = Vec::new();
        let mut key_count = None;
        let mut open: Option<Entry> = None;
        let mut name: Option<Name> = None;
        loop {
            let start = position(&reader)?;
            let event = reader.read_event().ok()?;
            match &event {
                Event::Start(element) | Event::Empty(element) => {
                    path.push(element.local_name().as_ref().to_vec());
                    if let Some(kind) = dialect.entry(&path) {
                        open = Some(Entry {
                            range: start..start,
                            kind,
                            name: None,
                            named: false,
                        });
                    } else if let Some(entry) = &open
                        && path
                            .last()
                            .is_some_and(|last| last == dialect.name_of(entry.kind))
                        && dialect.entry(&path[..path.len() - 1]).is_some()
                    {
                        name = Some(Name::begun(element));
                    }
                }
                Event::Text(text) => {
                    if let Some(name) = &mut name {
                        name.push(text);
                    } else if dialect == Dialect::S3
                        && path.len() == 2
                        && path[1] == b"KeyCount"
                        && let Ok(count) = std::str::from_utf8(text).unwrap_or_default().trim().parse()
                    {
                        key_count = Some((start..position(&reader)?, count));
                    }
                }
                Event::CData(text) => {
                    if let Some(name) = &mut name {
                        name.push(text);
                    }
                }
                Event::GeneralRef(reference) => {
                    if let Some(name) = &mut name {
                        name.push_reference(reference);
                    }
                }
                Event::Eof => break,
                Event::End(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
            if matches!(event, Event::End(_) | Event::Empty(_)) {
                if dialect.entry(&path).is_some() {
                    let mut entry = open.take()?;
                    entry.range.end = position(&reader)?;
                    // What is cut out must be an element, whole.
                    if page
                        .get(entry.range.clone())
                        .is_none_or(|cut| !cut.starts_with(b"<") || !cut.ends_with(b">"))
                    {
                        return None;
                    }
                    entries.push(entry);
                } else if let Some(name) =
                    name.take_if(|_| path.len() > 1 && dialect.entry(&path[..path.len() - 1]).is_some())
                {
                    let entry = open.as_mut()?;
                    entry.named = true;
                    entry.name = name.text();
                }
                path.pop()?;
            }
        }
        path.is_empty().then_some(Self { entries, key_count })
    }
}

/// A name while it is read.
struct Name {
    bytes: Vec<u8>,
    /// Cleared by what has no text: an unknown entity, or Azure's `Encoded="true"`, which marks a name that XML cannot
    /// say and that `object_store` would take by its encoded spelling.
    sayable: bool,
}

impl Name {
    fn begun(element: &BytesStart<'_>) -> Self {
        let encoded = element.attributes().flatten().any(|attribute| {
            attribute.key.local_name().as_ref() == b"Encoded" && attribute.value.eq_ignore_ascii_case(b"true")
        });
        Self {
            bytes: Vec::new(),
            sayable: !encoded,
        }
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
    }

    fn push_reference(&mut self, reference: &BytesRef<'_>) {
        let number = reference.resolve_char_ref().ok().flatten();
        let word = || std::str::from_utf8(reference).ok().and_then(resolve_xml_entity);
        match number {
            Some(character) => self
                .bytes
                .extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => match word() {
                Some(text) => self.bytes.extend_from_slice(text.as_bytes()),
                None => self.sayable = false,
            },
        }
    }

    fn text(self) -> Option<String> {
        String::from_utf8(self.bytes).ok().filter(|_| self.sayable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S3_HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>states</Name><Prefix>team/</Prefix><MaxKeys>1000</MaxKeys>";

    fn contents(key: &str) -> String {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-22T10:00:00.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size><Owner><ID>1</ID><DisplayName>a//b</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>"
        )
    }

    fn folded(prefix: &str) -> String {
        format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>")
    }

    fn s3(entries: &[String]) -> String {
        format!(
            "{S3_HEAD}<KeyCount>{}</KeyCount><IsTruncated>true</IsTruncated>{}<NextContinuationToken>1/a//b</NextContinuationToken></ListBucketResult>\n",
            entries.len(),
            entries.concat()
        )
    }

    fn blob(name: &str) -> String {
        format!(
            "<Blob><Name>{name}</Name><Properties><Creation-Time>Thu, 01 Jul 2021 10:45:02 GMT</Creation-Time><Last-Modified>Thu, 01 Jul 2021 10:45:02 GMT</Last-Modified><Etag>0x228281B5D517B20</Etag><Content-Length>8</Content-Length><Content-Type>text/plain</Content-Type><BlobType>BlockBlob</BlobType></Properties><Metadata><Name>a//b</Name></Metadata></Blob>\n"
        )
    }

    fn azure(entries: &str) -> String {
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://127.0.0.1:10000/devstoreaccount1\" ContainerName=\"states\"><Prefix>a//</Prefix><Marker/><MaxResults>5000</MaxResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>"
        )
    }

    fn sifted(page: &str, dialect: Dialect) -> Option<(String, Vec<String>)> {
        sift(&Bytes::copy_from_slice(page.as_bytes()), dialect)
            .map(|sifted| (String::from_utf8(sifted.page.to_vec()).unwrap(), sifted.skipped))
    }

    /// Spellings in XML of keys that must not reach `object_store`, and the keys.
    const BAD: [(&str, &str); 14] = [
        ("a//b", "a//b"),
        ("./a", "./a"),
        ("a/../b", "a/../b"),
        ("folder/", "folder/"),
        ("/a", "/a"),
        ("/", "/"),
        ("a/&#47;b", "a//b"),
        ("a&#x2F;/b", "a//b"),
        ("line&#10;break", "line\nbreak"),
        ("bell&#x7;", "bell\u{7}"),
        ("raw\u{1}", "raw\u{1}"),
        ("<![CDATA[a//b]]>", "a//b"),
        ("a/<!-- nothing -->/b", "a//b"),
        ("&amp;//&lt;", "&//<"),
    ];

    /// Spellings of keys that are units' or may become some.
    const GOOD: [&str; 9] = [
        "a/b",
        "env:/prod/terraform.tfstate",
        "a b+c=d~e",
        "gr&#252;n/ünï/状態",
        "&amp;&lt;&gt;&quot;&apos;",
        " lead and trail ",
        "50%2F",
        "...",
        "__opentaco_units/a/@head.json",
    ];

    #[test]
    fn an_s3_page_loses_what_cannot_be_named_and_nothing_else() {
        for (bad, key) in BAD {
            let page = s3(&[contents("a/a"), contents(bad), contents("z/z"), folded("y/")]);
            let (left, skipped) = sifted(&page, Dialect::S3).unwrap();
            let expected = page
                .replace(&contents(bad), "")
                .replace("<KeyCount>4<", "<KeyCount>3<");
            assert_eq!(left, expected, "{bad}");
            assert_eq!(skipped, [key]);
        }
    }

    #[test]
    fn a_folded_name_may_end_in_its_slash_and_not_otherwise_be_impossible() {
        let page = s3(&[
            contents("a/a"),
            folded("b/"),
            folded("c//"),
            folded("/"),
            folded("d/__opentaco_"),
            folded("./"),
        ]);
        let (left, skipped) = sifted(&page, Dialect::S3).unwrap();
        assert_eq!(skipped, ["c//", "/", "./"]);
        assert_eq!(
            left,
            s3(&[contents("a/a"), folded("b/"), folded("d/__opentaco_")])
        );
    }

    #[test]
    fn an_azure_page_loses_what_cannot_be_named_and_nothing_else() {
        for (bad, key) in BAD {
            let page = azure(
                &[
                    blob("a/a"),
                    blob(bad),
                    "<BlobPrefix><Name>y/</Name></BlobPrefix>".to_owned(),
                ]
                .concat(),
            );
            let (left, skipped) = sifted(&page, Dialect::Azure).unwrap();
            // The line break after the blob stands between entries, and stays.
            assert_eq!(left, page.replace(blob(bad).trim_end(), ""), "{bad}");
            assert_eq!(skipped, [key]);
        }
        let page = azure("<BlobPrefix><Name>a//</Name></BlobPrefix>");
        assert_eq!(
            sifted(&page, Dialect::Azure).unwrap(),
            (azure(""), vec!["a//".to_owned()])
        );
    }

    #[test]
    fn a_name_that_azure_could_only_send_encoded_is_skipped() {
        let encoded = blob("a%EF%BF%BF").replace("<Name>a", "<Name Encoded=\"true\">a");
        let page = azure(&[blob("b"), encoded.clone()].concat());
        let (left, skipped) = sifted(&page, Dialect::Azure).unwrap();
        assert_eq!(left, page.replace(encoded.trim_end(), ""));
        assert_eq!(skipped, ["(a name that is not text)"]);
    }

    #[test]
    fn a_key_that_is_not_text_is_skipped() {
        let mut page = s3(&[contents("a"), contents("?")]).into_bytes();
        let at = page.windows(6).position(|bytes| bytes == b"<Key>?").unwrap() + 5;
        page[at] = 0xff;
        let sifted = sift(&Bytes::from(page), Dialect::S3).unwrap();
        assert_eq!(
            sifted.page,
            s3(&[contents("a"), String::new()]).replace("<KeyCount>2<", "<KeyCount>1<")
        );
        for unsayable in ["&#0;", "&unheard;"] {
            let page = s3(&[contents("a"), contents(unsayable)]);
            let (left, skipped) = sifted_of(&page);
            assert_eq!(
                left,
                page.replace(&contents(unsayable), "")
                    .replace("<KeyCount>2<", "<KeyCount>1<")
            );
            assert_eq!(skipped, ["(a name that is not text)"]);
        }
    }

    fn sifted_of(page: &str) -> (String, Vec<String>) {
        sifted(page, Dialect::S3).unwrap()
    }

    #[test]
    fn a_page_of_good_keys_is_not_touched() {
        let page = s3(&GOOD.map(contents));
        assert_eq!(sifted(&page, Dialect::S3), None);
        let page = azure(&GOOD.map(blob).concat());
        assert_eq!(sifted(&page, Dialect::Azure), None);
    }

    #[test]
    fn what_is_not_a_whole_listing_is_not_touched() {
        let whole = s3(&[contents("a//b")]);
        for (at, _) in whole
            .char_indices()
            .skip(1)
            .take_while(|(at, _)| *at < whole.trim_end().len())
        {
            assert_eq!(sifted(&whole[..at], Dialect::S3), None, "cut at {at}");
        }
        assert!(sifted(&whole, Dialect::S3).is_some());
        for page in [
            "",
            "{}",
            "<ListBucketResult><Contents><Key>a//b</Contents></Key></ListBucketResult>",
        ] {
            assert_eq!(sifted(page, Dialect::S3), None, "{page}");
        }
        let elsewhere = "<Error><Contents><Key>a//b</Key></Contents></Error>";
        assert_eq!(sifted(elsewhere, Dialect::S3), None);
        assert_eq!(sifted(&whole, Dialect::Azure), None);
        assert_eq!(sifted(&azure(&blob("a//b")), Dialect::S3), None);
    }

    #[test]
    fn the_blob_called_like_the_prefix_is_found_with_its_properties() {
        let page = Bytes::from(azure(
            &[blob("net/prod.tfstate"), blob("net/prod.tfstate.lock")].concat(),
        ));
        let meta = named_like_the_prefix(&page, "net/prod.tfstate").unwrap();
        assert_eq!(meta.location.as_ref(), "net/prod.tfstate");
        assert_eq!(meta.size, 8);
        assert_eq!(meta.e_tag.as_deref(), Some("0x228281B5D517B20"));
        assert_eq!(meta.last_modified.to_rfc3339(), "2021-07-01T10:45:02+00:00");
        assert_eq!(named_like_the_prefix(&page, "net/prod"), None);
        assert_eq!(named_like_the_prefix(&page, ""), None);
        let directory = String::from_utf8(page.to_vec()).unwrap();
        let directory = directory.replace("<BlobType>", "<ResourceType>directory</ResourceType><BlobType>");
        assert_eq!(named_like_the_prefix(&directory.into(), "net/prod.tfstate"), None);
    }

    fn key() -> impl Strategy<Value = String> {
        // Mostly what keys are made of, and often what makes them impossible.
        prop::collection::vec(prop_oneof![
            4 => "[a-z0-9_.@-]{1,4}",
            3 => Just("/".to_owned()),
            1 => prop::sample::select(&["..", ".", "//", "ü", "状", " ", "&", "<", "]]>", "%2F", "\n", "\u{7f}", "\u{85}", "\u{fffe}"][..]).prop_map(str::to_owned),
            1 => any::<char>().prop_map(|character| character.to_string()),
        ], 1..6)
        .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn good_keys_survive_byte_for_byte_and_in_order(keys in prop::collection::vec(key(), 0..12), fold: bool) {
            let escaped = |key: &String| quick_xml::escape::escape(key.as_str()).into_owned();
            let entry = |key: &String| if fold { folded(&escaped(key)) } else { contents(&escaped(key)) };
            let good = |key: &&String| {
                let name = if fold { key.strip_suffix('/').unwrap_or(key) } else { key };
                !name.is_empty() && Path::parse(name).is_ok_and(|path| path.as_ref() == name)
            };
            let page = s3(&keys.iter().map(entry).collect::<Vec<_>>());
            let kept = keys.iter().filter(good).map(entry).collect::<Vec<_>>();
            let expected = s3(&kept);
            match sifted(&page, Dialect::S3) {
                Some((left, skipped)) => {
                    prop_assert_eq!(left, expected);
                    prop_assert_eq!(skipped.len(), keys.len() - kept.len());
                }
                None => prop_assert_eq!(page, expected),
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes: Vec<u8>, at in 0..2000_usize) {
            let mut page = s3(&[contents("a//b"), contents("c")]).into_bytes();
            let at = at.min(page.len());
            page.splice(at..at, bytes);
            let page = Bytes::from(page);
            for dialect in [Dialect::S3, Dialect::Azure] {
                if let Some(sifted) = sift(&page, dialect) {
                    prop_assert!(sifted.page.len() < page.len());
                }
            }
        }
    }
}
