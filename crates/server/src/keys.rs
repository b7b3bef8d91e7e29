//! The keys of our own tokens and of S3 credentials: given by the operator, or made once and kept in the data directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use opentaco_control::StoreConfig;
use opentaco_domain::Secret;
use opentaco_domain::audit::{Seal, Signature};
use opentaco_identity::keys::Jwks;
use opentaco_identity::sts::StsKeys;
use opentaco_identity::{KeyError, KeyId, KeyRing, SigningKey, VerifyingKey};

use crate::config::{Config, StsConfig, TokensConfig};
use crate::kept;
use crate::problem::chain;

/// The file in the data directory with a key that we made ourselves.
const KEY_FILE: &str = "tokens-key.pem";

/// The file in the data directory with a secret for S3 credentials that we drew ourselves.
const STS_FILE: &str = "sts-secret";

/// What that secret is called.
const STS_KID: &str = "kept";

/// Why there are no keys. Never shows one.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// People log in, the bucket is shared, and every replica would make a key of its own.
    #[error(
        "people log in at a provider and the bucket is shared, so all replicas need one and the same key for their tokens, and none is given: `opentacosvc keys new --out tokens-key.pem` makes one; give it to every replica by OPENTACO_TOKENS_PRIVATE_KEY_PEM_PATH"
    )]
    Missing,
    /// A file could not be read or written.
    #[error("the key file {} cannot be {doing}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Read, or written.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What stands in the file is no key.
    #[error("what stands in {} is no key for tokens", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// Keys that do not go together.
    #[error("the keys do not go together")]
    Ring(#[from] KeyError),
}

/// The keys that sign and verify tokens; none where no key is given and nobody logs in.
///
/// # Errors
/// If a key is needed and there is none, or one that was given cannot be used.
pub fn ring(config: &Config) -> Result<Option<KeyRing>, KeysError> {
    let TokensConfig { key, kid, others, .. } = &config.identity.tokens;
    let path = match key {
        Some(path) => path.clone(),
        // Nobody logs in, so nothing would be signed; drawing a key takes as long as all the rest of a start.
        None if config.identity.provider.is_none() => return Ok(None),
        None if config.shared => return Err(KeysError::Missing),
        None => kept_in(&config.data_dir, KEY_FILE, || SigningKey::generate().to_pem())?,
    };
    let content = |path: &Path| {
        let path = path.to_owned();
        move |source| KeysError::Content { path, source }
    };
    let signing = SigningKey::from_pem(&read(&path)?).map_err(content(&path))?;
    let signing = match kid {
        Some(kid) => signing.named(kid.clone()),
        None => signing,
    };
    let mut ring = KeyRing::new(signing);
    for (kid, path) in others {
        let key = VerifyingKey::from_pem(&read(path)?).map_err(content(path))?;
        ring = ring.and(match kid {
            Some(kid) => key.named(kid.clone()),
            None => key,
        })?;
    }
    Ok(Some(ring))
}

/// The key that signs the audit where nobody logs in and no bucket is shared. It is made, or read, when first something is
/// to be signed: drawing one takes as long as all the rest of a start.
#[derive(Debug)]
pub struct AuditKey {
    /// Where it is kept; none where states are not kept either.
    data_dir: Option<PathBuf>,
    key: OnceLock<Option<SigningKey>>,
}

impl AuditKey {
    /// The key of this service; none where replicas share a bucket, and each would have another.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let data_dir = match config.store {
            StoreConfig::Memory => None,
            _ => Some(config.data_dir.clone()),
        };
        (!config.shared).then(|| Self {
            data_dir,
            key: OnceLock::new(),
        })
    }

    /// Its public document.
    #[must_use]
    pub fn jwks(&self) -> Option<Jwks> {
        self.get().map(|key| KeyRing::new(key.clone()).jwks())
    }

    fn get(&self) -> Option<&SigningKey> {
        let made = || match &self.data_dir {
            None => Ok(SigningKey::generate()),
            Some(data_dir) => {
                let path = kept_in(data_dir, KEY_FILE, || SigningKey::generate().to_pem())?;
                SigningKey::from_pem(&read(&path)?).map_err(|source| KeysError::Content { path, source })
            }
        };
        let key = self.key.get_or_init(|| {
            made()
                .inspect_err(|error: &KeysError| {
                    tracing::error!(
                        cause = chain(error),
                        "the audit is not signed until the next start"
                    );
                })
                .ok()
        });
        key.as_ref()
    }
}

impl Seal for AuditKey {
    fn seal(&self, bytes: &[u8]) -> Option<Signature> {
        self.get()?.seal(bytes)
    }
}

/// The keys of S3 credentials; none where a bucket is shared and none is given.
///
/// # Errors
/// If one that was given cannot be used, or ours cannot be kept.
pub fn sts(config: &Config) -> Result<Option<StsKeys>, KeysError> {
    let StsConfig { keys, .. } = &config.identity.sts;
    let mut keys = keys.clone();
    if keys.is_empty() && !config.shared {
        let path = kept_in(&config.data_dir, STS_FILE, StsKeys::draw_secret)?;
        let kid: KeyId = STS_KID.parse()?;
        keys.push((kid, Secret::new(read(&path)?.trim_end())));
    }
    let mut all: Option<StsKeys> = None;
    for (kid, secret) in keys {
        all = Some(match all {
            None => StsKeys::new(kid, &secret)?,
            Some(all) => all.and(kid, &secret)?,
        });
    }
    Ok(all)
}

/// Makes a key, and puts it into a file that is not there yet; without one, the key is what is to be printed.
///
/// # Errors
/// If there is such a file already, or it cannot be made.
pub fn make(out: Option<&Path>) -> Result<String, KeysError> {
    let key = SigningKey::generate();
    let Some(path) = out else {
        return Ok(key.to_pem().expose().to_owned());
    };
    kept::keep_new(path, &key.to_pem()).map_err(trouble(path, "written"))?;
    Ok(format!("{}: the key {}\n", path.display(), key.kid()))
}

fn kept_in(data_dir: &Path, name: &str, draw: impl FnOnce() -> Secret) -> Result<PathBuf, KeysError> {
    let path = data_dir.join(name);
    if !path.exists() {
        kept::keep_once(&path, &draw()).map_err(trouble(&path, "written"))?;
    }
    Ok(path)
}

fn read(path: &Path) -> Result<String, KeysError> {
    std::fs::read_to_string(path).map_err(trouble(path, "read"))
}

fn trouble(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_owned();
    move |source| KeysError::File { path, doing, source }
}
