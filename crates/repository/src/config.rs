//! A repository's configuration: what never changes, and what may.
//!
//! Owns `repository.json` (written once by `init`) and `settings/<n>` (the highest number counts). Both are text for people
//! that carries its own hash. Promises that a field this program does not know is tolerated, that a newer format is
//! refused, and that a changed byte is damage. Refuses to hold secrets.

use crate::sealing::{self, Encryption};
use crate::{Error, Hash, Sizes, keys};
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
    /// The public side of its keys; absent where nothing is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

/// The chunker's name and sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkerConfig {
    /// `row-xxh3-1`: cut after a row whose XXH3-128, upper half, falls under (length / aim) · 2⁶⁴.
    pub algorithm: String,
    /// The sizes, in bytes.
    pub sizes: Sizes,
}

/// Greatest chunk that a repository may be made with: chunks are held in memory whole, several at a time.
const MOST_CHUNK: u64 = 64 << 20;

impl ChunkerConfig {
    /// Whether this program can cut by it: `aim` and `least` at most `greatest`, which is 1 KiB to 64 MiB.
    pub(crate) fn is_usable(&self) -> bool {
        let Sizes { least, aim, greatest } = self.sizes;
        self.algorithm == ALGORITHM
            && (1 << 10..=MOST_CHUNK).contains(&greatest)
            && (1..=greatest).contains(&aim)
            && least <= greatest
    }
}

/// The one chunker of format 1.
pub(crate) const ALGORITHM: &str = "row-xxh3-1";

/// `settings/<n>`: replaced as a whole by the next number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What `init` or `doctor` found the store able to do.
    pub store: Profile,
}

/// Without `repository.json` there is no repository, unless it was lost: where backups are, another one must not be made.
async fn nothing_there(store: &dyn Store) -> Result<Error, Error> {
    let listed = store.list(&keys::manifests_folder(None)?, None).await;
    Ok(match listed.ok().and_then(|page| page.entries.into_iter().next()) {
        Some(first) => Error::Missing { object: keys::REPOSITORY.to_owned(), needed_by: first.key.to_string() },
        None => Error::NoRepository { location: store.location().to_owned() },
    })
}

/// Reads `repository.json`.
pub(crate) async fn read_config(store: &dyn Store) -> Result<Config, Error> {
    let bytes = match store.get(&keys::repository()?).await {
        Ok(bytes) => bytes,
        Err(store::Error::NotFound { .. }) => {
            return Err(nothing_there(store).await?);
        }
        Err(source) => return Err(Error::Store { what: "open repository".to_owned(), source }),
    };
    let damaged = |what: String| Error::damaged(keys::REPOSITORY, what);
    let raw = from_text(&bytes, keys::REPOSITORY)?;
    // Then the format: a newer layout may have changed everything else.
    let found = raw.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if found != FORMAT {
        return Err(Error::Format { object: keys::REPOSITORY.to_owned(), found, known: FORMAT });
    }
    let config: Config = serde_json::from_value(raw).map_err(|e| damaged(e.to_string()))?;
    if !config.chunker.is_usable() {
        return Err(damaged(format!("chunker {:?} is not one this program knows", config.chunker)));
    }
    if let Some(other) = config.encryption.as_ref().map(|it| &it.algorithm).filter(|it| *it != sealing::ALGORITHM) {
        return Err(damaged(format!("it is encrypted by {other:?}, which this program does not know")));
    }
    Ok(config)
}

/// What stands in place of the hash while the text is hashed.
const NO_HASH: Hash = Hash([0; 32]);

/// A value and, last, the hash of the text it is written as.
#[derive(Serialize)]
struct Hashed<'a, T> {
    #[serde(flatten)]
    value: &'a T,
    sha256: Hash,
}

/// Writes a value as JSON text whose member `sha256` is the hash of the text with zeros in that place.
pub(crate) fn to_text<T: Serialize>(value: &T, object: &str) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(&Hashed { value, sha256: NO_HASH })
        .map_err(|e| Error::Internal(format!("write {object}: {e}")))?;
    text.push('\n');
    let (zeros, hash) = (NO_HASH.to_string(), Hash::of(text.as_bytes()).to_string());
    match text.rfind(&zeros) {
        Some(at) => text.replace_range(at..at + zeros.len(), &hash),
        None => return Err(Error::Internal(format!("write {object}: no place for its hash"))),
    }
    Ok(text)
}

/// Reads text that [`to_text`] wrote and checks its hash.
pub(crate) fn from_text(bytes: &[u8], object: &str) -> Result<serde_json::Value, Error> {
    let damaged = |what: String| Error::damaged(object, what);
    let text = std::str::from_utf8(bytes).map_err(|e| damaged(e.to_string()))?;
    let raw: serde_json::Value = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
    let stated: Option<Hash> = raw.get("sha256").and_then(|hash| hash.as_str()?.parse().ok());
    let stated = stated.ok_or_else(|| damaged("it does not carry its hash".to_owned()))?;
    let blank = text.replacen(&stated.to_string(), &NO_HASH.to_string(), 1);
    if Hash::of(blank.as_bytes()) != stated {
        return Err(damaged("its hash does not match".to_owned()));
    }
    Ok(raw)
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
    let raw = from_text(&bytes, key.as_str())?;
    serde_json::from_value(raw).map(Some).map_err(|e| Error::damaged(key.as_str(), e.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_flipped_bit_of_the_text_is_found() {
        let sizes = Sizes::default();
        let config = Config {
            format: FORMAT,
            id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            created: Timestamp::UNIX_EPOCH,
            chunker: ChunkerConfig { algorithm: ALGORITHM.to_owned(), sizes },
            encryption: None,
        };
        let text = to_text(&config, "x").unwrap();
        assert_eq!(serde_json::from_value::<Config>(from_text(text.as_bytes(), "x").unwrap()).unwrap(), config);
        for at in 0..text.len() * 8 {
            let mut bad = text.clone().into_bytes();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(from_text(&bad, "x").is_err(), "bit {at}");
        }
        assert!((0..text.len()).all(|len| from_text(&text.as_bytes()[..len], "x").is_err()));
    }

    #[test]
    fn sizes_that_cannot_work_are_refused() {
        let usable = |least, aim, greatest| {
            ChunkerConfig { algorithm: ALGORITHM.to_owned(), sizes: Sizes { least, aim, greatest } }.is_usable()
        };
        assert!(usable(1 << 20, 2 << 20, 8 << 20) && usable(0, 1, 1 << 10));
        assert!(!usable(0, 0, 1 << 20) && !usable(2 << 20, 1, 1 << 20) && !usable(1, 1, 100) && !usable(1, 1, 1 << 40));
    }
}
