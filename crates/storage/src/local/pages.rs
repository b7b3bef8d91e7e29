//! One page of a listing, cut out of keys that come in byte order. What memory and the local disk share; nothing here
//! performs I/O.

use std::ops::ControlFlow;

use object_store::list::{PaginatedListOptions, PaginatedListResult};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};

/// As many keys as S3 puts on a page at most. Never more, so that paging is exercised on every store.
pub(crate) const PAGE_KEYS_MAX: usize = 1000;

/// A page that is being filled: [`Page::offer`] it every key in byte order, then [`Page::finish`].
#[derive(Debug)]
pub(crate) struct Page {
    prefix: String,
    delimiter: Option<String>,
    keys_max: usize,
    reached: Reached,
    objects: Vec<ObjectMeta>,
    folded: Vec<Path>,
    more: bool,
}

/// How far the listing has come. Everything up to here is done.
#[derive(Debug)]
enum Reached {
    Nothing,
    /// This key and all before it.
    Key(String),
    /// All keys that start so, and all before them.
    Folded(String),
}

impl Page {
    /// The page that `opts` ask for. A page token goes before an offset.
    pub(crate) fn new(prefix: Option<&str>, opts: &PaginatedListOptions) -> Result<Self> {
        let reached = match (&opts.page_token, &opts.offset) {
            (Some(token), _) => Reached::from_token(token)?,
            (None, Some(offset)) => Reached::Key(offset.clone()),
            (None, None) => Reached::Nothing,
        };
        Ok(Self {
            prefix: prefix.unwrap_or_default().to_owned(),
            delimiter: opts
                .delimiter
                .as_deref()
                .filter(|d| !d.is_empty())
                .map(str::to_owned),
            keys_max: opts.max_keys.unwrap_or(PAGE_KEYS_MAX).min(PAGE_KEYS_MAX),
            reached,
            objects: Vec::new(),
            folded: Vec::new(),
            more: false,
        })
    }

    /// The whole segments of the prefix: every key of this page lies below. `None` if no key can.
    pub(crate) fn directory(&self) -> Option<Path> {
        let Some((directory, _)) = self.prefix.rsplit_once('/') else {
            return Some(Path::ROOT);
        };
        // `Path::parse` forgives slashes at both ends. No key has one there, so nothing starts with such a prefix.
        Path::parse(directory)
            .ok()
            .filter(|path| path.as_ref() == directory && !directory.is_empty())
    }

    /// Whether a key that starts with `start` could still come onto this page.
    pub(crate) fn wants_below(&self, start: &str) -> bool {
        (start.starts_with(&self.prefix) || self.prefix.starts_with(start))
            && !self.reached.is_past_all(start)
    }

    /// Puts a key onto the page if it belongs there; [`ControlFlow::Break`] once the page is full. `meta` is asked only
    /// if it is needed, and answers `None` if the object has gone meanwhile.
    pub(crate) fn offer(
        &mut self,
        key: &str,
        meta: impl FnOnce() -> Result<Option<ObjectMeta>>,
    ) -> Result<ControlFlow<()>> {
        if !key.starts_with(&self.prefix) || self.reached.is_past(key) {
            return Ok(ControlFlow::Continue(()));
        }
        if self.objects.len() + self.folded.len() >= self.keys_max {
            self.more = true;
            return Ok(ControlFlow::Break(()));
        }
        if let Some(folded) = self.fold(key) {
            self.folded.push(Path::parse(folded)?);
            self.reached = Reached::Folded(folded.to_owned());
        } else if let Some(meta) = meta()? {
            self.objects.push(meta);
            self.reached = Reached::Key(key.to_owned());
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The page as the trait wants it.
    pub(crate) fn finish(self) -> PaginatedListResult {
        let page_token = if self.more { self.reached.token() } else { None };
        let result = ListResult {
            common_prefixes: self.folded,
            objects: self.objects,
            extensions: http::Extensions::default(),
        };
        PaginatedListResult { result, page_token }
    }

    /// The key up to and with the first delimiter behind the prefix.
    fn fold<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter.as_deref()?;
        let at = key[self.prefix.len()..].find(delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }
}

impl Reached {
    fn is_past(&self, key: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Key(last) => key <= last.as_str(),
            Self::Folded(start) => key < start.as_str() || key.starts_with(start.as_str()),
        }
    }

    fn is_past_all(&self, start: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Key(last) => start < last.as_str() && !last.starts_with(start),
            Self::Folded(done) => {
                start.starts_with(done.as_str()) || (start < done.as_str() && !done.starts_with(start))
            }
        }
    }

    fn token(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Key(last) => Some(format!("key:{last}")),
            Self::Folded(start) => Some(format!("folded:{start}")),
        }
    }

    fn from_token(token: &str) -> Result<Self> {
        match token.split_once(':') {
            Some(("key", last)) => Ok(Self::Key(last.to_owned())),
            Some(("folded", start)) => Ok(Self::Folded(start.to_owned())),
            _ => Err(object_store::Error::Generic {
                store: "listing",
                source: format!("`{token}` is no page token of this store").into(),
            }),
        }
    }
}

/// What [`object_store::ObjectStore::list`] calls a prefix (whole segments, the key itself not meant), as a string.
pub(crate) fn below(prefix: Option<&Path>) -> String {
    match prefix {
        Some(prefix) if !prefix.is_root() => format!("{prefix}/"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lists over a small world: keys of up to three letters over `a`, `-`, `/`, each prefix, offset, delimiter and
    /// page size, against a listing written down the slow way.
    #[test]
    fn pages_put_together_are_the_listing_whatever_the_prefix_offset_delimiter_and_page_size() {
        let letters = ["a", "-", "/"];
        let mut words = vec![String::new()];
        for _ in 0..3 {
            let longer = words
                .iter()
                .flat_map(|w| letters.map(|l| format!("{w}{l}")))
                .collect::<Vec<_>>();
            words.extend(longer);
        }
        words.sort();
        words.dedup();
        let is_key = |w: &String| Path::parse(w).is_ok_and(|p| p.as_ref() == w && !p.is_root());
        let keys: Vec<String> = words.iter().filter(|w| is_key(w)).cloned().collect();
        assert_eq!(keys.len(), 18, "the small world has the size it should have");

        let mut compared = 0;
        for prefix in words.iter().filter(|w| w.len() < 3) {
            for offset in [None, Some("-"), Some("a"), Some("a/"), Some("a/a"), Some("aa")] {
                for delimiter in [None, Some("/"), Some("-"), Some("a/")] {
                    let expected = slowly(&keys, prefix, offset, delimiter);
                    for keys_max in [1, 2, 5, 1000] {
                        assert_eq!(
                            paged(&keys, prefix, offset, delimiter, keys_max),
                            expected,
                            "{prefix:?} after {offset:?} folded at {delimiter:?}, {keys_max} a page"
                        );
                        compared += 1;
                    }
                }
            }
        }
        assert_eq!(compared, 13 * 6 * 4 * 4);
    }

    fn slowly(keys: &[String], prefix: &str, offset: Option<&str>, delimiter: Option<&str>) -> Vec<String> {
        let mut all = Vec::new();
        for key in keys
            .iter()
            .filter(|k| k.starts_with(prefix) && offset.is_none_or(|o| k.as_str() > o))
        {
            let rest = &key[prefix.len()..];
            let name = match delimiter.and_then(|d| Some(rest.find(d)? + d.len())) {
                Some(end) => format!("{}…", Path::parse(&key[..prefix.len() + end]).unwrap()),
                None => key.clone(),
            };
            if all.last() != Some(&name) {
                all.push(name);
            }
        }
        all
    }

    fn paged(
        keys: &[String],
        prefix: &str,
        offset: Option<&str>,
        delimiter: Option<&str>,
        keys_max: usize,
    ) -> Vec<String> {
        let mut all = Vec::new();
        let mut page_token = None;
        loop {
            let opts = PaginatedListOptions {
                offset: offset.map(str::to_owned),
                delimiter: delimiter.map(|d| d.to_owned().into()),
                max_keys: Some(keys_max),
                page_token,
                ..PaginatedListOptions::default()
            };
            let mut page = Page::new(Some(prefix), &opts).unwrap();
            let mut order = Vec::new();
            for key in keys {
                // A walk over directories asks this before it goes down, so it must never deny a key that belongs.
                let wanted = key
                    .rfind('/')
                    .is_none_or(|slash| page.wants_below(&key[..=slash]));
                let before = (page.objects.len(), page.folded.len());
                let meta = || Ok(Some(meta(key)));
                let full = page.offer(key, meta).unwrap().is_break();
                if page.objects.len() > before.0 {
                    order.push(key.clone());
                }
                if page.folded.len() > before.1 {
                    order.push(format!("{}…", page.folded.last().unwrap()));
                }
                let came = before != (page.objects.len(), page.folded.len());
                assert!(
                    wanted || !came,
                    "`{key}` came onto a page that wants nothing below its directory"
                );
                if full {
                    break;
                }
            }
            all.extend(order);
            page_token = page.finish().page_token;
            if page_token.is_none() {
                return all;
            }
        }
    }

    fn meta(key: &str) -> ObjectMeta {
        ObjectMeta {
            location: Path::parse(key).unwrap(),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: 0,
            e_tag: None,
            version: None,
        }
    }

    #[test]
    fn a_foreign_page_token_is_an_error_and_not_a_listing_from_the_start() {
        let opts = PaginatedListOptions {
            page_token: Some("x".into()),
            ..PaginatedListOptions::default()
        };
        assert!(Page::new(None, &opts).is_err());
    }

    #[test]
    fn a_prefix_that_no_key_can_have_leads_nowhere() {
        for prefix in ["../x", "a/../b", "/a/b", "/", "a//b", "./x"] {
            let page = Page::new(Some(prefix), &PaginatedListOptions::default()).unwrap();
            assert_eq!(page.directory(), None, "{prefix}");
        }
    }
}
