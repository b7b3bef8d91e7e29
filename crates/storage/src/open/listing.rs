//! Listings as [`Store`](crate::Store) promises them, where a cloud or its client keeps less.

use std::fmt;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::store::Store;
use crate::transport::{AskedPrefix, NamedLikeThePrefix};

/// A cloud store whose listings say what the stores of this crate say.
///
/// - They begin strictly after the offset. Azure's `startFrom` is young: azurite and older service versions ignore it,
///   and it includes what it names. What comes too early is left out here; on S3 and GCS nothing does.
/// - A folded name is in them if keys that it stands for come after the offset. (S3 servers compare the folded name
///   itself with the offset, and would lose those keys: versitygw and moto do.) It may be there without such keys, too.
/// - They hold the object that is called like the prefix: `object_store` drops it on Azure (see [`NamedLikeThePrefix`]).
/// - They show the same ETags as answers to a get; Azure's lack the quotes.
/// - They end when they say so: some S3 servers say with an empty token that there is no further page.
#[derive(Debug)]
pub(super) struct Exact<S> {
    store: S,
    etags: ETags,
}

/// How a store spells ETags in its listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ETags {
    /// As everywhere.
    Quoted,
    /// Without the quotes they have everywhere else.
    Bare,
}

impl<S: Store> Exact<S> {
    pub(super) fn new(store: S, etags: ETags) -> Self {
        Self { store, etags }
    }

    fn mended(&self, mut object: ObjectMeta) -> ObjectMeta {
        if self.etags == ETags::Bare {
            object.e_tag = object.e_tag.map(|etag| {
                if etag.contains('"') {
                    etag
                } else {
                    format!("\"{etag}\"")
                }
            });
        }
        object
    }
}

impl<S: Store> fmt::Display for Exact<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.store, f)
    }
}

#[async_trait]
impl<S: Store> PaginatedListStore for Exact<S> {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        mut options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let wanted = prefix.unwrap_or_default();
        let after = options.offset.take();
        let delimiter = options
            .delimiter
            .clone()
            .filter(|delimiter| !delimiter.is_empty());
        options.offset = after
            .as_deref()
            .and_then(|after| sent_offset(after, wanted, delimiter.as_deref()));
        options.extensions.insert(AskedPrefix(wanted.to_owned()));
        let mut page = self.store.list_paginated(prefix, options).await?;
        let found = &mut page.result;
        if let Some(NamedLikeThePrefix(meta)) = found.extensions.remove()
            && !found
                .objects
                .iter()
                .any(|object| object.location == meta.location)
        {
            found.objects.insert(0, meta);
        }
        found.objects = found
            .objects
            .drain(..)
            .map(|object| self.mended(object))
            .collect();
        if let Some(delimiter) = &delimiter {
            for folded in &mut found.common_prefixes {
                if let Some(whole) = completed(folded.as_ref(), delimiter) {
                    *folded = Path::parse(whole)?;
                }
            }
        }
        if let Some(after) = after {
            found
                .objects
                .retain(|object| object.location.as_ref() > after.as_str());
            found
                .common_prefixes
                .retain(|folded| folded.as_ref() > after.as_str() || after.starts_with(folded.as_ref()));
        }
        page.page_token = page.page_token.filter(|token| !token.is_empty());
        Ok(page)
    }
}

/// The offset to send, so that nothing after `after` is missed.
fn sent_offset(after: &str, prefix: &str, delimiter: Option<&str>) -> Option<String> {
    let mut sent = after;
    // Inside what is folded into one name, step back to just before that name.
    if let Some(delimiter) = delimiter
        && let Some(rest) = after.strip_prefix(prefix)
        && let Some(at) = rest.find(delimiter)
    {
        let folded = &after[..prefix.len() + at + delimiter.len()];
        sent = folded
            .char_indices()
            .next_back()
            .map_or("", |(last, _)| &folded[..last]);
    }
    // An offset before the prefix says nothing, and a store may take it amiss.
    (!sent.is_empty() && sent >= prefix).then(|| sent.to_owned())
}

/// The folded name up to the end of its delimiter, where azurite cuts it after the delimiter's first letter.
fn completed(folded: &str, delimiter: &str) -> Option<String> {
    if delimiter.contains('/') || folded.ends_with(delimiter) {
        return None;
    }
    Some(folded.strip_suffix(delimiter.chars().next()?)?.to_owned() + delimiter)
}

#[async_trait]
impl<S: Store> ObjectStore for Exact<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let after = offset.clone();
        self.store
            .list_with_offset(prefix, offset)
            .filter(move |object| {
                let comes_after = object.as_ref().map_or(true, |object| object.location > after);
                futures::future::ready(comes_after)
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every listing with the same page, offset or not, as azurite does.
    #[derive(Debug)]
    struct Deaf {
        named_like_the_prefix: bool,
    }

    impl fmt::Display for Deaf {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("deaf")
        }
    }

    fn object(key: &str) -> ObjectMeta {
        let location = Path::parse(key).unwrap();
        ObjectMeta {
            location,
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: 1,
            e_tag: None,
            version: None,
        }
    }

    #[async_trait]
    impl PaginatedListStore for Deaf {
        async fn list_paginated(
            &self,
            prefix: Option<&str>,
            o: PaginatedListOptions,
        ) -> Result<PaginatedListResult> {
            let mut extensions = http::Extensions::new();
            let asked: &AskedPrefix = o.extensions.get().unwrap();
            assert_eq!(asked.0, prefix.unwrap_or_default());
            if self.named_like_the_prefix {
                extensions.insert(NamedLikeThePrefix(object(&asked.0)));
            }
            // Told by a folded name, so that the test sees what the store was asked.
            let asked = Path::parse(format!(
                "zz-asked-after-{}",
                o.offset.as_deref().unwrap_or("nothing")
            ))
            .unwrap();
            Ok(PaginatedListResult {
                result: ListResult {
                    common_prefixes: vec![Path::parse("a/d").unwrap(), Path::parse("a/f").unwrap(), asked],
                    objects: ["a/b", "a/c", "a/e"].map(object).to_vec(),
                    extensions,
                },
                page_token: Some(String::new()),
            })
        }
    }

    #[async_trait]
    impl ObjectStore for Deaf {
        async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
            unreachable!("only listed")
        }
        async fn put_multipart_opts(
            &self,
            _: &Path,
            _: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            unreachable!("only listed")
        }
        async fn get_opts(&self, _: &Path, _: GetOptions) -> Result<GetResult> {
            unreachable!("only listed")
        }
        fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            unreachable!("only listed")
        }
        fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            futures::stream::iter(["a/b", "a/c", "a/e"].map(|key| Ok(object(key)))).boxed()
        }
        async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
            unreachable!("only listed")
        }
        async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
            unreachable!("only listed")
        }
    }

    async fn listed(
        prefix: &str,
        offset: Option<&str>,
        named_like_the_prefix: bool,
    ) -> (Vec<String>, Vec<String>) {
        let store = Exact::new(
            Deaf {
                named_like_the_prefix,
            },
            ETags::Quoted,
        );
        let offset = offset.map(str::to_owned);
        let options = PaginatedListOptions {
            offset,
            ..PaginatedListOptions::default()
        };
        let page = store.list_paginated(Some(prefix), options).await.unwrap();
        assert_eq!(page.page_token, None, "an empty token is none");
        let objects = page
            .result
            .objects
            .iter()
            .map(|object| object.location.to_string())
            .collect();
        (
            objects,
            page.result
                .common_prefixes
                .iter()
                .map(ToString::to_string)
                .collect(),
        )
    }

    #[tokio::test]
    async fn a_listing_begins_strictly_after_its_offset_whatever_the_store_does() {
        let (objects, folded) = listed("a/", Some("a/c"), false).await;
        assert_eq!(objects, ["a/e"]);
        assert_eq!(folded, ["a/d", "a/f", "zz-asked-after-a/c"]);
        let (objects, folded) = listed("a/", Some("a/d/x"), false).await;
        assert_eq!(objects, ["a/e"]);
        assert_eq!(
            folded,
            ["a/d", "a/f", "zz-asked-after-a/d/x"],
            "a folded name may go on after the offset"
        );
        let (objects, folded) = listed("a/", Some("a/ee"), false).await;
        assert_eq!(objects, [""; 0]);
        assert_eq!(folded, ["a/f", "zz-asked-after-a/ee"]);
    }

    #[tokio::test]
    async fn an_offset_before_the_prefix_is_not_passed_on() {
        let (objects, folded) = listed("a/", Some("a"), false).await;
        assert_eq!(objects, ["a/b", "a/c", "a/e"]);
        assert_eq!(folded.last().unwrap(), "zz-asked-after-nothing");
    }

    #[tokio::test]
    async fn the_object_called_like_the_prefix_comes_first_unless_the_offset_is_past_it() {
        assert_eq!(listed("a", None, true).await.0, ["a", "a/b", "a/c", "a/e"]);
        assert_eq!(listed("a", Some("a"), true).await.0, ["a/b", "a/c", "a/e"]);
        assert_eq!(
            listed("a/b", None, true).await.0,
            ["a/b", "a/c", "a/e"],
            "and is there once"
        );
    }

    #[test]
    fn an_offset_inside_a_fold_is_sent_as_one_before_it() {
        for (after, prefix, delimiter, sent) in [
            ("a/b", "", None, Some("a/b")),
            ("a/b", "", Some("/"), Some("a")),
            ("a/b", "a/", Some("/"), Some("a/b")),
            ("a/b/c", "a/", Some("/"), Some("a/b")),
            ("m/__opentaco_x/y", "", Some("__opentaco_"), Some("m/__opentaco")),
            ("ä/b/", "ä/", Some("/"), Some("ä/b")),
            ("m/ä", "m/", Some("ä"), Some("m/")),
            ("a", "m/", Some("/"), None),
            ("/", "", Some("/"), None),
            ("", "", None, None),
        ] {
            assert_eq!(
                sent_offset(after, prefix, delimiter).as_deref(),
                sent,
                "{after} in {prefix} at {delimiter:?}"
            );
        }
    }

    #[test]
    fn a_folded_name_cut_short_is_completed_and_no_other() {
        assert_eq!(completed("m/_", "__opentaco_").as_deref(), Some("m/__opentaco_"));
        assert_eq!(completed("m/__opentaco_", "__opentaco_"), None);
        assert_eq!(completed("m", "/"), None, "`Path` takes the slash off");
        assert_eq!(completed("m", "/@/"), None);
    }

    #[test]
    fn bare_etags_get_the_quotes_that_a_get_shows() {
        let shown = |etags, etag: &str| {
            let store = Exact::new(
                Deaf {
                    named_like_the_prefix: false,
                },
                etags,
            );
            store
                .mended(ObjectMeta {
                    e_tag: Some(etag.to_owned()),
                    ..object("a")
                })
                .e_tag
                .unwrap()
        };
        assert_eq!(shown(ETags::Bare, "0x1"), "\"0x1\"");
        assert_eq!(shown(ETags::Bare, "\"0x1\""), "\"0x1\"");
        assert_eq!(shown(ETags::Quoted, "0x1"), "0x1");
    }

    #[tokio::test]
    async fn a_stream_of_objects_begins_after_its_offset_too() {
        let store = Exact::new(
            Deaf {
                named_like_the_prefix: false,
            },
            ETags::Quoted,
        );
        let offset = Path::parse("a/b").unwrap();
        let keys: Vec<_> = store
            .list_with_offset(None, &offset)
            .map(|object| object.unwrap().location.to_string())
            .collect()
            .await;
        assert_eq!(keys, ["a/c", "a/e"]);
    }
}
