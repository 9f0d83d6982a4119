//! Manifests: one backup each.
//!
//! Owns the manifest's two sections: an open header (ids, times, totals, refs: enough to verify, prune and judge a backup's
//! size without any key) and a closed body (what was backed up, in the engine's words). Promises that a manifest read
//! back belongs to the key it stood at and to this repository.

use crate::frame::{Frame, Kind, encode};
use crate::{BackupId, ChunkRef, Error, FORMAT, SessionId, SourceName};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Sums over a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Streams (tables).
    pub streams: u64,
    /// Segments.
    pub segments: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of rows as they were read.
    pub bytes: u64,
    /// Chunks referred to, documents included.
    pub chunks: u64,
    /// Bytes that these chunks take in the store.
    pub stored_bytes: u64,
    /// Bytes that this backup added to the store: what it could not reuse.
    pub added_bytes: u64,
    /// Chunks that were reused.
    pub reused_chunks: u64,
}

/// A document kept with the backup: refs to its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRecord {
    /// Its name.
    pub name: String,
    /// Its chunks, in order.
    pub refs: Vec<ChunkRef>,
}

/// The open section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestHeader {
    /// Version of the repository's layout.
    pub format: u64,
    /// Id of the repository it belongs to.
    pub repository: String,
    /// The source.
    pub source: SourceName,
    /// The backup.
    pub backup: BackupId,
    /// The session that wrote it.
    pub session: SessionId,
    /// When the session began, by the store's clock.
    pub started: Timestamp,
    /// When everything was stored: `started` plus the time that passed here.
    pub finished: Timestamp,
    /// The program that wrote it.
    pub program: String,
    /// `snapshot`: all rows belong to one moment.
    pub consistency: String,
    /// `full`: everything the source had; `filtered`: what was asked for.
    pub scope: String,
    /// Sums.
    pub totals: Totals,
    /// Lists of segments, in order.
    pub lists: Vec<ChunkRef>,
    /// Documents.
    pub documents: Vec<DocumentRecord>,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The open section.
    pub header: ManifestHeader,
    /// The closed section: what was backed up, in the engine's words.
    pub about: serde_json::Value,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Result<Bytes, Error> {
        let internal = |e: serde_json::Error| Error::Internal(format!("write manifest: {e}"));
        let open = serde_json::to_vec(&self.header).map_err(internal)?;
        let closed = serde_json::to_vec(&self.about).map_err(internal)?;
        encode(Kind::Manifest, &open, &closed)
    }

    /// Decodes what stands at a manifest's key; `None` for a tombstone.
    pub(crate) fn decode(
        bytes: &[u8],
        object: &str,
        repository: &str,
        source: &SourceName,
        backup: BackupId,
    ) -> Result<Option<Self>, Error> {
        let frame = Frame::decode(bytes, object)?;
        if frame.kind == Kind::Tombstone {
            return Ok(None);
        }
        if frame.kind != Kind::Manifest {
            return Err(Error::damaged(object, format!("it holds a {:?} where a manifest belongs", frame.kind)));
        }
        let damaged = |e: serde_json::Error| Error::damaged(object, e.to_string());
        // The format is looked at first: a newer one may have changed the rest.
        let raw: serde_json::Value = serde_json::from_slice(&frame.open).map_err(damaged)?;
        let found = raw.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found != FORMAT {
            return Err(Error::Format { object: object.to_owned(), found, known: FORMAT });
        }
        let header: ManifestHeader = serde_json::from_value(raw).map_err(damaged)?;
        let about = serde_json::from_slice(&frame.closed).map_err(damaged)?;
        if header.repository != repository || &header.source != source || header.backup != backup {
            let whose = format!(
                "it is the manifest of {}@{} of repository {}",
                header.source, header.backup, header.repository
            );
            return Err(Error::damaged(object, whose));
        }
        Ok(Some(Self { header, about }))
    }
}
