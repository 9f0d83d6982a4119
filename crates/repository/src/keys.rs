//! Keys: the one place that builds and parses the names of objects.
//!
//! Owns the layout of a repository as in `docs/format.md`, "Keys". Promises that parse and build agree, so that a listing
//! can be trusted. Refuses keys that are not in the layout: strangers in the bucket are ignored by listings, never read.

use crate::evidence::Sort;
use crate::{BackupId, ChunkId, Error, Hash, SessionId, SourceName};
use serde::{Deserialize, Serialize};
use store::{Key, Prefix};
use ulid::Ulid;

/// Which of the two content-addressed folders an object is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// `chunks/`: one framed chunk, or several back to back.
    Chunk,
    /// `lists/`: a list of segments.
    List,
}

impl ObjectKind {
    fn folder(self) -> &'static str {
        match self {
            Self::Chunk => "chunks",
            Self::List => "lists",
        }
    }
}

/// Where a chunk or a list lies and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Identity of the plaintext.
    pub id: ChunkId,
    /// Name of the object within its folder: `<id>-<session>`; a bundle's id differs from its chunks'.
    pub object: String,
    /// Where the frame begins in the object, in bytes.
    pub offset: u64,
    /// Length of the frame, in bytes.
    pub stored_len: u64,
    /// Length of the plaintext, in bytes.
    pub plain_len: u64,
    /// SHA-256 of the frame.
    pub stored_sha256: Hash,
}

impl ChunkRef {
    /// The key of the object this lies in.
    pub(crate) fn key(&self, kind: ObjectKind) -> Result<Key, Error> {
        object(kind, &self.object)
    }
}

pub(crate) const REPOSITORY: &str = "repository.json";

fn parse(text: String) -> Result<Key, Error> {
    Key::parse(&text).map_err(|_| Error::Name { what: format!("{text:?} is not a key of a repository") })
}

fn prefix(text: &str) -> Result<Prefix, Error> {
    Prefix::parse(text).map_err(|_| Error::Name { what: format!("{text:?} is not a folder of a repository") })
}

pub(crate) fn repository() -> Result<Key, Error> {
    parse(REPOSITORY.to_owned())
}

pub(crate) fn settings(number: u64) -> Result<Key, Error> {
    parse(format!("settings/{number}"))
}

pub(crate) fn settings_folder() -> Result<Prefix, Error> {
    prefix("settings/")
}

/// Name of an object within its folder.
pub(crate) fn object_name(id: ChunkId, session: SessionId) -> String {
    format!("{id}-{session}")
}

/// Key of an object, from its name as refs carry it. A name that is not in the layout is damage in whatever named it.
pub(crate) fn object(kind: ObjectKind, name: &str) -> Result<Key, Error> {
    let valid = name
        .split_once('-')
        .is_some_and(|(id, session)| id.parse::<Hash>().is_ok() && session.parse::<SessionId>().is_ok());
    match name.get(..2) {
        Some(shard) if valid => parse(format!("{}/{shard}/{name}", kind.folder())),
        // Names come from refs that were read: a bad one is damage in what holds the ref.
        _ => {
            Err(Error::damaged(format!("{}/{name}", kind.folder()), "a ref names it, and no object can be called that"))
        }
    }
}

pub(crate) fn manifest(source: &SourceName, backup: BackupId) -> Result<Key, Error> {
    parse(format!("manifests/{source}/{backup}"))
}

/// All manifests, or those of one source.
pub(crate) fn manifests_folder(source: Option<&SourceName>) -> Result<Prefix, Error> {
    match source {
        Some(source) => prefix(&format!("manifests/{source}/")),
        None => prefix("manifests/"),
    }
}

/// Source and backup of a manifest's key; `None` for a stranger.
pub(crate) fn parse_manifest(key: &Key) -> Option<(SourceName, BackupId)> {
    let mut parts = key.as_str().split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("manifests"), Some(source), Some(backup), None) => Some((source.parse().ok()?, backup.parse().ok()?)),
        _ => None,
    }
}

pub(crate) fn hints(source: &SourceName, backup: BackupId) -> Result<Key, Error> {
    parse(format!("hints/{source}/{backup}"))
}

pub(crate) fn session_start(session: SessionId) -> Result<Key, Error> {
    parse(format!("sessions/{session}/start"))
}

pub(crate) fn session_beat(session: SessionId, number: u64) -> Result<Key, Error> {
    parse(format!("sessions/{session}/beat-{number}"))
}

pub(crate) fn session_end(session: SessionId) -> Result<Key, Error> {
    parse(format!("sessions/{session}/end"))
}

/// All chunk objects.
pub(crate) fn chunks_folder() -> Result<Prefix, Error> {
    prefix("chunks/")
}

pub(crate) fn gc_folder() -> Result<Prefix, Error> {
    prefix("gc/")
}

/// The list of condemned objects of a sweep, or of a verification.
pub(crate) fn condemned(sweep: Ulid) -> Result<Key, Error> {
    parse(format!("gc/{sweep}/condemned"))
}

/// Whether a key under `gc/` holds a sweep's list of condemned objects.
pub(crate) fn is_condemned(key: &Key) -> bool {
    key.as_str().starts_with("gc/") && key.as_str().ends_with("/condemned")
}

/// A result of a verification or drill; what it is stands in its name, after the time.
pub(crate) fn evidence(backup: BackupId, ulid: Ulid, sort: Sort) -> Result<Key, Error> {
    parse(format!("evidence/{backup}/{ulid}-{}", sort.as_str()))
}

/// All evidence, or that of one backup (of whatever source).
pub(crate) fn evidence_folder(backup: Option<BackupId>) -> Result<Prefix, Error> {
    match backup {
        Some(backup) => prefix(&format!("evidence/{backup}/")),
        None => prefix("evidence/"),
    }
}

/// What a key of evidence says; `None` for a stranger.
pub(crate) fn parse_evidence(key: &Key) -> Option<(BackupId, Ulid, Sort)> {
    let (backup, name) = key.as_str().strip_prefix("evidence/")?.split_once('/')?;
    let (text, sort) = name.split_once('-')?;
    // One spelling per id: what is parsed must build the same key again.
    let ulid = Ulid::from_string(text).ok().filter(|ulid| ulid.to_string() == text)?;
    Some((backup.parse().ok()?, ulid, Sort::parse(sort)?))
}
