//! Small objects: a kind of frame, JSON in its open section.
//!
//! Owns writing and reading them, for everything that maintenance keeps besides chunks and manifests.

use crate::frame::{Frame, Kind, encode};
use crate::upload::put_own;
use crate::{Error, Repository};
use serde::{Serialize, de::DeserializeOwned};
use store::Key;

impl Repository {
    /// Puts a small object. What is there already must have the same bytes.
    pub(super) async fn put_note(&self, key: &Key, kind: Kind, open: &impl Serialize) -> Result<(), Error> {
        let open = serde_json::to_vec(open).map_err(|e| Error::Internal(format!("write {key}: {e}")))?;
        put_own(self.store.as_ref(), key, encode(kind, &open, b"")?).await
    }

    /// Reads a small object; `None` when it is not there.
    pub(super) async fn note<T: DeserializeOwned>(&self, key: &Key, kind: Kind) -> Result<Option<T>, Error> {
        let bytes = match self.store.get(key).await {
            Ok(bytes) => bytes,
            Err(store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(Error::Store { what: format!("read {key}"), source }),
        };
        let frame = Frame::expect(&bytes, key.as_str(), kind)?;
        serde_json::from_slice(&frame.open).map(Some).map_err(|e| Error::damaged(key.as_str(), e.to_string()))
    }

    /// Deletes an object; one that is gone is fine.
    pub(super) async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.store.delete(key).await.map_err(Error::store(format!("delete {key}")))
    }
}
