//! An open repository.
//!
//! Owns opening and making one. Promises that `init` writes nothing into a place where create-only puts do not hold, and
//! that opening never writes. Refuses a second repository at the same place.

use crate::config::{ALGORITHM, ChunkerConfig, read_config, read_settings, to_text};
use crate::upload::put_own;
use crate::{Config, Error, FORMAT, Settings, Sizes, keys};
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
}

impl Repository {
    /// Makes a repository: probes the store, then writes `settings/1` and, last, `repository.json`.
    pub async fn init(store: Arc<dyn Store>, sizes: Sizes) -> Result<Self, Error> {
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
        let config = Config { format: FORMAT, id: Ulid::generate().to_string(), created, chunker };
        match put_text(store.as_ref(), keys::settings(1)?, &Settings { store: profile }).await {
            // An init that died half way left its settings without repository.json. Settings are advice: they may stay.
            Ok(()) | Err(Error::Conflict { .. }) => {}
            Err(other) => return Err(other),
        }
        match put_text(store.as_ref(), keys::repository()?, &config).await {
            Err(Error::Conflict { .. }) => Err(Error::RepositoryExists { location: store.location().to_owned() }),
            Err(other) => Err(other),
            Ok(()) => Ok(Self { store, config: Arc::new(config) }),
        }
    }

    /// Opens a repository and tells the store what `init` found it able to do.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, Error> {
        let config = read_config(store.as_ref()).await?;
        if let Some(settings) = read_settings(store.as_ref()).await? {
            store.use_profile(&settings.store);
        }
        Ok(Self { store, config: Arc::new(config) })
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

/// Puts text; what is there already may be our own, its reply lost.
async fn put_text(store: &dyn Store, key: store::Key, value: &impl serde::Serialize) -> Result<(), Error> {
    let text = to_text(value, key.as_str())?;
    put_own(store, &key, Bytes::from(text)).await
}
