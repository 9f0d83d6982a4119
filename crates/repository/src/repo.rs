//! An open repository.
//!
//! Owns opening and making one. Promises that `init` writes nothing into a place where create-only puts do not hold, and
//! that opening never writes. Refuses a second repository at the same place.

use crate::config::{ALGORITHM, ChunkerConfig, read_config, read_settings, to_text};
use crate::sealing::{Encryption, Keyring, Recipient, Secrets, recipients};
use crate::upload::put_own;
use crate::{Access, Config, Error, FORMAT, Settings, Sizes, keys};
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::Arc;
use store::Store;
use ulid::Ulid;

/// A repository in a store.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: Arc<Config>,
    pub(crate) keyring: Arc<Keyring>,
}

impl Repository {
    /// Makes a repository: probes the store, then writes `settings/1` and, last, `repository.json`. With recipients it is an encrypted
    /// one: its keys, wrapped for each of them, are stored before it says that it is there.
    pub async fn init(store: Arc<dyn Store>, sizes: Sizes, recipients: &[Recipient]) -> Result<Self, Error> {
        let chunker = ChunkerConfig { algorithm: ALGORITHM.to_owned(), sizes };
        if !chunker.is_usable() {
            return Err(Error::Name { what: format!("chunks cannot be cut with {sizes:?}") });
        }
        match read_config(store.as_ref()).await {
            // A place that is not there is the probe's to make, or to complain about.
            Err(Error::NoRepository { .. } | Error::Store { source: store::Error::NoPlace { .. }, .. }) => {}
            Ok(_) => return Err(Error::RepositoryExists { location: store.location().to_owned() }),
            Err(other) => return Err(other),
        }
        let profile = store::probe(store.as_ref()).await.map_err(Error::store("probe the store"))?;
        store.use_profile(&profile);
        let created = timestamp(store.now().await.map_err(Error::store("read the store's clock"))?)?;
        let secrets = if recipients.is_empty() { None } else { Some(Secrets::generate()?) };
        let encryption = secrets.as_ref().map(Secrets::encryption).transpose()?;
        let config = Config { format: FORMAT, id: Ulid::generate().to_string(), created, chunker, encryption };
        match put_text(store.as_ref(), keys::settings(1)?, &Settings { store: profile }).await {
            // An init that died half way left its settings without repository.json. Settings are advice: they may stay.
            Ok(()) | Err(Error::Conflict { .. }) => {}
            Err(other) => return Err(other),
        }
        if let Some(secrets) = &secrets {
            for recipient in recipients {
                wrap_first(store.as_ref(), secrets, recipient, created).await?;
            }
        }
        match put_text(store.as_ref(), keys::repository()?, &config).await {
            Err(Error::Conflict { .. }) => Err(Error::RepositoryExists { location: store.location().to_owned() }),
            Err(other) => Err(other),
            Ok(()) => {
                let keyring = secrets.map_or_else(|| Ok(Keyring::plain()), Keyring::of)?;
                Ok(Self { store, config: Arc::new(config), keyring: Arc::new(keyring) })
            }
        }
    }

    /// Opens a repository without any keys: enough to list, verify and prune an encrypted one.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, Error> {
        Self::open_with(store, &Access::default()).await
    }

    /// Opens a repository and tells the store what `init` found it able to do.
    ///
    /// # Errors
    /// [`Error::Keys`] when keys were given that are not this repository's.
    pub async fn open_with(store: Arc<dyn Store>, access: &Access) -> Result<Self, Error> {
        let config = read_config(store.as_ref()).await?;
        if let Some(settings) = read_settings(store.as_ref()).await? {
            store.use_profile(&settings.store);
        }
        let keyring = Keyring::unlock(store.as_ref(), &config, access).await?;
        Ok(Self { store, config: Arc::new(config), keyring: Arc::new(keyring) })
    }

    /// What names its keys; `None` where nothing is encrypted.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        self.config.encryption.as_ref().map(Encryption::fingerprint)
    }

    /// What never changes about it.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where it is, for people.
    #[must_use]
    pub fn location(&self) -> &str {
        self.store.location()
    }

    /// Whether closed sections are sealed.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.keyring.is_encrypted()
    }

    /// Whether an identity is held that opens what is sealed here. True where nothing is.
    #[must_use]
    pub fn can_open(&self) -> bool {
        !self.is_encrypted() || self.keyring.secrets().is_ok()
    }

    /// Whether a backup could be written with the keys that are held.
    ///
    /// # Errors
    /// [`Error::Keys`] when neither a writer's key nor an identity is.
    pub fn assert_writable(&self) -> Result<(), Error> {
        self.keyring.session().map(drop)
    }

    /// Whether the place keeps what is deleted as older versions; `None` when that is not known.
    pub async fn keeps_versions(&self) -> Option<bool> {
        self.store.keeping().await.versions
    }

    /// The store's clock.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        timestamp(self.store.now().await.map_err(Error::store("read the store's clock"))?)
    }
}

/// A store's time as a timestamp.
pub(crate) fn timestamp(time: std::time::SystemTime) -> Result<Timestamp, Error> {
    Timestamp::try_from(time).map_err(|e| Error::Internal(format!("the store's clock is out of range: {e}")))
}

/// Wraps a new repository's keys. An init that died half way left its keys where these belong: nothing is sealed with them, as
/// there was no repository yet.
async fn wrap_first(store: &dyn Store, secrets: &Secrets, to: &Recipient, added: Timestamp) -> Result<(), Error> {
    match recipients::wrap(store, secrets, to, added).await {
        Err(Error::Conflict { object }) => Err(Error::Keys {
            what: format!(
                "{object} is there already, without a repository: an init was interrupted; delete it, or choose another place"
            ),
        }),
        other => other,
    }
}

/// Puts text; what is there already may be our own, its reply lost.
async fn put_text(store: &dyn Store, key: store::Key, value: &impl serde::Serialize) -> Result<(), Error> {
    let text = to_text(value, key.as_str())?;
    put_own(store, &key, Bytes::from(text)).await
}
