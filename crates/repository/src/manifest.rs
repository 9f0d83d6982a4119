//! Manifests: one backup each.
//!
//! Owns the manifest's two sections: an open header (ids, times, totals, refs: enough to verify, prune and judge a backup's
//! size without any key) and a closed body (what was backed up, in the engine's words). Promises that a manifest read
//! back belongs to the key it stood at and to this repository, and that a known signer has signed it where that is asked for.

use crate::frame::{Frame, Kind, encode_with};
use crate::sealing::PublicKey;
use crate::sealing::{Sealer, Signing};
use crate::{BackupId, ChunkRef, Error, FORMAT, Repository, SessionId, SourceName, Tag};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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

/// The consistency of a backup whose rows all belong to one moment.
pub const SNAPSHOT: &str = "snapshot";

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
    /// [`SNAPSHOT`]: all rows belong to one moment; else a word for what it is instead.
    pub consistency: String,
    /// `full`: everything the source had; `filtered`: what was asked for.
    pub scope: String,
    /// Sums.
    pub totals: Totals,
    /// Lists of segments, in order.
    pub lists: Vec<ChunkRef>,
    /// Documents.
    pub documents: Vec<DocumentRecord>,
    /// Words that somebody gave it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// Id of the repository that it was made in, when this is a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<String>,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The open section.
    pub header: ManifestHeader,
    /// The closed section: what was backed up, in the engine's words. Null while [`Manifest::sealed`].
    pub about: serde_json::Value,
    /// Whether the closed section could not be opened, for want of an identity.
    pub sealed: bool,
    /// Who has signed it, in an encrypted repository.
    pub signer: Option<PublicKey>,
}

impl Manifest {
    /// What was backed up.
    ///
    /// # Errors
    /// [`Error::Sealed`] when nobody here can open it: it is not known then, and not empty.
    pub fn about(&self) -> Result<&serde_json::Value, Error> {
        if self.sealed {
            return Err(Error::Sealed { object: format!("manifests/{}/{}", self.header.source, self.header.backup) });
        }
        Ok(&self.about)
    }

    pub(crate) fn encode(&self, sealer: Option<&Sealer>, signing: Option<&Signing>) -> Result<Bytes, Error> {
        let internal = |e: serde_json::Error| Error::Internal(format!("write manifest: {e}"));
        let open = serde_json::to_vec(&self.header).map_err(internal)?;
        let closed = serde_json::to_vec(&self.about).map_err(internal)?;
        encode_with(Kind::Manifest, &open, &closed, sealer, signing)
    }

    /// Decodes what stands at a manifest's key; `None` for a tombstone.
    pub(crate) fn decode(
        bytes: &[u8],
        object: &str,
        repository: &Repository,
        source: &SourceName,
        backup: BackupId,
    ) -> Result<Option<Self>, Error> {
        let (keyring, repository) = (&repository.keyring, &repository.config.id);
        let frame = Frame::decode(bytes, object)?;
        if frame.kind == Kind::Tombstone {
            return Ok(None);
        }
        if frame.kind != Kind::Manifest {
            return Err(Error::damaged(object, format!("it holds a {:?} where a manifest belongs", frame.kind)));
        }
        // Before a word of it is looked at: what somebody else has put there may say anything.
        keyring.believe(frame.signer, object)?;
        let damaged = |e: serde_json::Error| Error::damaged(object, e.to_string());
        // The format is looked at first: a newer one may have changed the rest.
        let raw: serde_json::Value = serde_json::from_slice(&frame.open).map_err(damaged)?;
        let found = raw.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found != FORMAT {
            return Err(Error::Format { object: object.to_owned(), found, known: FORMAT });
        }
        let header: ManifestHeader = serde_json::from_value(raw).map_err(damaged)?;
        let signer = frame.signer;
        let (about, sealed) = match frame.into_sections(keyring.as_ref(), object) {
            Ok((_, closed)) => (serde_json::from_slice(&closed).map_err(damaged)?, false),
            Err(Error::Sealed { .. }) => (serde_json::Value::Null, true),
            Err(other) => return Err(other),
        };
        if &header.repository != repository || &header.source != source || header.backup != backup {
            let whose = format!(
                "it is the manifest of {}@{} of repository {}",
                header.source, header.backup, header.repository
            );
            return Err(Error::damaged(object, whose));
        }
        Ok(Some(Self { header, about, sealed, signer }))
    }
}
