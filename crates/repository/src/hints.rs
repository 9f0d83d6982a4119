//! Hints: what the next backup's writer wants to know about the last one.
//!
//! Owns `hints/<source>/<backup>`: segment sizes per stream (boundaries that stay put let unchanged data be recognised) and
//! which list holds which stretch of segments (so that known chunks are looked up list by list, in bounded memory).
//! In an encrypted repository they are sealed under a key that writers keep. Promises that losing them costs speed and space, never correctness: a reader of hints treats any trouble as "none".

use crate::frame::{Frame, Kind, encode_with};
use crate::sealing::Keyring;
use crate::{BackupId, Error, Repository, SourceName, keys};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one backup leaves for the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hints {
    /// Segment sizes by stream, in the driver's unit.
    pub boundaries: BTreeMap<String, u64>,
    /// First stream and position of each list of the manifest, in the manifest's order.
    pub lists: Vec<(String, u64)>,
}

impl Hints {
    pub(crate) fn encode(&self, keyring: &Keyring) -> Result<Bytes, Error> {
        let closed = serde_json::to_vec(self).map_err(|e| Error::Internal(format!("write hints: {e}")))?;
        encode_with(Kind::Hints, b"", &closed, keyring.hints(), None)
    }

    /// The hints of a backup; none when they are absent or unreadable.
    pub(crate) async fn read(repository: &Repository, source: &SourceName, backup: BackupId) -> Option<Self> {
        let key = keys::hints(source, backup).ok()?;
        let read = async {
            let bytes = repository.store.get(&key).await.map_err(Error::store("read hints"))?;
            let frame = Frame::expect(&bytes, key.as_str(), Kind::Hints)?;
            let (_, closed) = frame.into_sections(repository.keyring.as_ref(), key.as_str())?;
            serde_json::from_slice(&closed).map_err(|e| Error::damaged(key.as_str(), e.to_string()))
        };
        read.await
            .inspect_err(|error| tracing::warn!(%error, "hints of the last backup are lost; this one may store more than it needs"))
            .ok()
    }
}
