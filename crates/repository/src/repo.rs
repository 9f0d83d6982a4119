//! An open repository.
//!
//! Owns opening and making one. Promises that `init` writes nothing into a place where create-only puts do not hold, and
//! that opening never writes. Refuses a second repository at the same place.

use crate::config::{ALGORITHM, ChunkerConfig, read_config, read_settings};
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
        match read_config(store.as_ref()).await {
            // A place that is not there is the probe's to make, or to complain about.
            Err(Error::NoRepository { .. } | Error::Store { source: store::Error::NoPlace { .. }, .. }) => {}
            Ok(_) => return Err(Error::RepositoryExists { location: store.location().to_owned() }),
            Err(other) => return Err(other),
        }
        let profile = store::probe(store.as_ref()).await.map_err(Error::store("probe the store"))?;
        store.use_profile(&profile);
        let created = timestamp(store.now().await.map_err(Error::store("read the store's clock"))?)?;
        let config = Config {
            format: FORMAT,
            id: Ulid::generate().to_string(),
            created,
            chunker: ChunkerConfig { algorithm: ALGORITHM.to_owned(), sizes },
        };
        put_json(store.as_ref(), keys::settings(1)?, &Settings { store: profile }).await?;
        match put_json(store.as_ref(), keys::repository()?, &config).await {
            Err(Error::Store { source: store::Error::AlreadyExists { .. }, .. }) => {
                Err(Error::RepositoryExists { location: store.location().to_owned() })
            }
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

    /// The store's clock.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        timestamp(self.store.now().await.map_err(Error::store("read the store's clock"))?)
    }
}

/// A store's time as a timestamp.
pub(crate) fn timestamp(time: std::time::SystemTime) -> Result<Timestamp, Error> {
    Timestamp::try_from(time).map_err(|e| Error::Internal(format!("the store's clock is out of range: {e}")))
}

async fn put_json(store: &dyn Store, key: store::Key, value: &impl serde::Serialize) -> Result<(), Error> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|e| Error::Internal(format!("write {}: {e}", key.as_str())))?;
    text.push(b'\n');
    let body = Bytes::from(text);
    let hash = crate::Hash::of(&body);
    // After an init that died half way settings/1 is there without repository.json: it says the same, so it may stay.
    match store.create(&key, body, &hash.0).await {
        Err(store::Error::AlreadyExists { .. }) if key.as_str() == "settings/1" => Ok(()),
        other => other.map_err(Error::store(format!("write {key}"))),
    }
}
