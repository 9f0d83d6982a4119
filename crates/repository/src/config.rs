//! A repository's configuration: what never changes, and what may.
//!
//! Owns `repository.json` (written once by `init`) and `settings/<n>` (the highest number counts). Promises that a field
//! this program does not know in the settings is tolerated, and that a newer format is refused. Refuses to hold secrets.

use crate::{Error, Sizes, keys};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{Profile, Store};

/// The newest repository format this program reads, and the one it writes.
pub const FORMAT: u64 = 1;

/// `repository.json`: fixed for the life of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Version of the layout.
    pub format: u64,
    /// A ULID that tells this repository from any other.
    pub id: String,
    /// When it was made, by the store's clock.
    pub created: Timestamp,
    /// How rows are cut into chunks.
    pub chunker: ChunkerConfig,
}

/// The chunker's name and sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkerConfig {
    /// `row-xxh3-1`: cut after a row whose XXH3-128, upper half, falls under (length / aim) · 2⁶⁴.
    pub algorithm: String,
    /// The sizes, in bytes.
    pub sizes: Sizes,
}

/// The one chunker of format 1.
pub(crate) const ALGORITHM: &str = "row-xxh3-1";

/// `settings/<n>`: replaced as a whole by the next number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What `init` or `doctor` found the store able to do.
    pub store: Profile,
}

/// Reads `repository.json`.
pub(crate) async fn read_config(store: &dyn Store) -> Result<Config, Error> {
    let bytes = match store.get(&keys::repository()?).await {
        Ok(bytes) => bytes,
        Err(store::Error::NotFound { .. }) => {
            return Err(Error::NoRepository { location: store.location().to_owned() });
        }
        Err(source) => return Err(Error::Store { what: "open repository".to_owned(), source }),
    };
    let damaged = |what: String| Error::damaged(keys::REPOSITORY, what);
    // The format is looked at first: a newer layout may have changed everything else.
    let raw: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    let found = raw.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if found != FORMAT {
        return Err(Error::Format { object: keys::REPOSITORY.to_owned(), found, known: FORMAT });
    }
    let config: Config = serde_json::from_value(raw).map_err(|e| damaged(e.to_string()))?;
    let sizes = config.chunker.sizes;
    if config.chunker.algorithm != ALGORITHM || sizes.aim == 0 || sizes.greatest < sizes.least.max(1 << 10) {
        return Err(damaged(format!("chunker {:?} is not one this program knows", config.chunker)));
    }
    Ok(config)
}

/// Reads the settings that count; `None` when there are none.
pub(crate) async fn read_settings(store: &dyn Store) -> Result<Option<Settings>, Error> {
    let prefix = keys::settings_folder()?;
    // Numbers do not sort as text; a repository has a handful of them.
    let page = store.list(&prefix, None).await.map_err(Error::store("list settings"))?;
    let number = |key: &str| key.rsplit('/').next().and_then(|n| n.parse::<u64>().ok());
    let Some(newest) = page.entries.iter().filter_map(|entry| number(entry.key.as_str())).max() else {
        return Ok(None);
    };
    let key = keys::settings(newest)?;
    let bytes = store.get(&key).await.map_err(Error::store("read settings"))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::damaged(key.as_str(), e.to_string()))
}
