//! The metadata of objects, which a file system has no place for: one small JSON file for each object that has any.
//!
//! A sidecar is named after the moment and size of the file it describes ([`Stamp::moment`]), not after its key. So it
//! can be durable before its object appears, it never speaks for an object that was overwritten, by us or by hand, and
//! it survives a copy of the data directory that keeps times (`cp -a`). It names its key inside, so a copy of a file
//! under another name does not borrow it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use object_store::path::Path;
use object_store::{Attribute, Attributes};
use serde::{Deserialize, Serialize};

use super::disk::{Stamp, Trouble, sync_directory, trouble};

/// The directory that the sidecars are in.
#[derive(Debug)]
pub(super) struct Sidecars {
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Sidecar {
    key: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl Sidecars {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Writes what `attributes` say of the object `key` whose file has this stamp; durable when it returns.
    pub(super) fn write(&self, key: &Path, stamp: Stamp, attributes: &Attributes) -> Result<(), Trouble> {
        let path = self.path(stamp);
        let describe = trouble("writing the metadata", &path);
        let sidecar = Sidecar::of(key, attributes).map_err(describe)?;
        let json = serde_json::to_vec(&sidecar)
            .map_err(io::Error::other)
            .map_err(describe)?;
        let mut file = File::create(&path).map_err(describe)?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .map_err(describe)?;
        sync_directory(&self.directory)
    }

    /// What was said of the object `key` whose file has this stamp; nothing, if nothing was.
    pub(super) fn read(&self, key: &Path, stamp: Stamp) -> Result<Attributes, Trouble> {
        let path = self.path(stamp);
        let sidecar = self
            .sidecar(stamp)
            .map_err(trouble("reading the metadata", &path))?;
        Ok(sidecar
            .filter(|s| s.key == key.as_ref())
            .map(Sidecar::attributes)
            .unwrap_or_default())
    }

    /// Forgets what was said of the object `key` whose file had this stamp. Not made durable: what comes back in a
    /// crash describes a file that is nowhere.
    pub(super) fn remove(&self, key: &Path, stamp: Stamp) {
        if matches!(self.sidecar(stamp), Ok(Some(sidecar)) if sidecar.key == key.as_ref()) {
            let _gone = fs::remove_file(self.path(stamp));
        }
    }

    /// Whether anything is said of a file with this stamp.
    pub(super) fn knows(&self, stamp: Stamp) -> bool {
        self.path(stamp).exists()
    }

    /// Forgets what was said of a file that a crash left behind, unless `lives` tells that the very file is still the
    /// object of that key.
    pub(super) fn remove_leftover(&self, stamp: Stamp, lives: impl FnOnce(&str) -> bool) {
        match self.sidecar(stamp) {
            Ok(None) => {}
            Ok(Some(sidecar)) if lives(&sidecar.key) => {}
            // Not readable: its writer died over it, before the object could appear.
            Ok(Some(_)) | Err(_) => {
                let _gone = fs::remove_file(self.path(stamp));
            }
        }
    }

    fn path(&self, stamp: Stamp) -> PathBuf {
        self.directory.join(stamp.moment())
    }

    fn sidecar(&self, stamp: Stamp) -> io::Result<Option<Sidecar>> {
        match fs::read(self.path(stamp)) {
            Ok(json) => serde_json::from_slice(&json).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Sidecar {
    fn of(key: &Path, attributes: &Attributes) -> io::Result<Self> {
        let mut sidecar = Self {
            key: key.to_string(),
            headers: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        for (attribute, value) in attributes {
            let value = value.to_string();
            match (attribute, header(attribute)) {
                (Attribute::Metadata(name), _) => sidecar.metadata.insert(name.to_string(), value),
                (_, Some(name)) => sidecar.headers.insert(name.to_owned(), value),
                (other, None) => {
                    let reason = format!("the local disk has no place for {other:?}");
                    return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
                }
            };
        }
        Ok(sidecar)
    }

    fn attributes(self) -> Attributes {
        let metadata = self
            .metadata
            .into_iter()
            .map(|(name, value)| (Attribute::Metadata(Cow::Owned(name)), value));
        let headers = self
            .headers
            .into_iter()
            .filter_map(|(name, value)| Some((attribute(&name)?, value)));
        metadata.chain(headers).collect()
    }
}

fn header(attribute: &Attribute) -> Option<&'static str> {
    HEADERS
        .iter()
        .find(|(known, _)| known == attribute)
        .map(|(_, name)| *name)
}

fn attribute(header: &str) -> Option<Attribute> {
    HEADERS
        .iter()
        .find(|(_, name)| *name == header)
        .map(|(known, _)| known.clone())
}

const HEADERS: [(Attribute, &str); 6] = [
    (Attribute::CacheControl, "Cache-Control"),
    (Attribute::ContentDisposition, "Content-Disposition"),
    (Attribute::ContentEncoding, "Content-Encoding"),
    (Attribute::ContentLanguage, "Content-Language"),
    (Attribute::ContentType, "Content-Type"),
    (Attribute::StorageClass, "Storage-Class"),
];
