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

/// The repository's keys, wrapped for a recipient.
pub(crate) fn wrapped(recipient: &str) -> Result<Key, Error> {
    parse(format!("keys/{recipient}"))
}

pub(crate) fn wrapped_folder() -> Result<Prefix, Error> {
    prefix("keys/")
}

/// The recipient of such a key; `None` for a stranger.
pub(crate) fn parse_wrapped(key: &Key) -> Option<&str> {
    key.as_str().strip_prefix("keys/").filter(|name| name.starts_with("age1") && !name.contains('/'))
}

pub(crate) fn signers(number: u64) -> Result<Key, Error> {
    parse(format!("signers/{number}"))
}

pub(crate) fn signers_folder() -> Result<Prefix, Error> {
    prefix("signers/")
}

/// The number of a list of signers; `None` for a stranger.
pub(crate) fn parse_signers(key: &Key) -> Option<u64> {
    let number = key.as_str().strip_prefix("signers/")?;
    number.parse().ok().filter(|parsed: &u64| parsed.to_string() == number)
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

/// All sessions' objects.
pub(crate) fn sessions_folder() -> Result<Prefix, Error> {
    prefix("sessions/")
}

/// Session and last part of the key of a session's object; `None` for a stranger.
pub(crate) fn parse_session(key: &Key) -> Option<(SessionId, &str)> {
    let (session, part) = key.as_str().strip_prefix("sessions/")?.split_once('/')?;
    let known = matches!(part, "start" | "end") || part.strip_prefix("beat-").is_some_and(|n| n.parse::<u64>().is_ok());
    known.then_some((session.parse().ok()?, part))
}

/// All objects of a kind.
pub(crate) fn objects_folder(kind: ObjectKind) -> Result<Prefix, Error> {
    prefix(&format!("{}/", kind.folder()))
}

/// Name and session of the key of a chunk or list; `None` for a stranger.
pub(crate) fn parse_object(kind: ObjectKind, key: &Key) -> Option<(&str, SessionId)> {
    let name = key.as_str().rsplit('/').next()?;
    let session = name.split_once('-')?.1.parse().ok()?;
    (object(kind, name).ok()? == *key).then_some((name, session))
}

pub(crate) fn hints_folder() -> Result<Prefix, Error> {
    prefix("hints/")
}

/// Source and backup of the key of hints; `None` for a stranger.
pub(crate) fn parse_hints(key: &Key) -> Option<(SourceName, BackupId)> {
    let (source, backup) = key.as_str().strip_prefix("hints/")?.split_once('/')?;
    Some((source.parse().ok()?, backup.parse().ok()?))
}

pub(crate) fn pin(source: &SourceName, backup: BackupId) -> Result<Key, Error> {
    parse(format!("pins/{source}/{backup}"))
}

pub(crate) fn pins_folder() -> Result<Prefix, Error> {
    prefix("pins/")
}

/// Source and backup of a pin's key; `None` for a stranger.
pub(crate) fn parse_pin(key: &Key) -> Option<(SourceName, BackupId)> {
    let (source, backup) = key.as_str().strip_prefix("pins/")?.split_once('/')?;
    Some((source.parse().ok()?, backup.parse().ok()?))
}

pub(crate) fn accepted(source: &SourceName, id: Ulid) -> Result<Key, Error> {
    parse(format!("retention/{source}/{id}"))
}

pub(crate) fn accepted_folder() -> Result<Prefix, Error> {
    prefix("retention/")
}

/// One of the objects of a maintenance: `start`, `beat-<n>` or `end`. Twelve digits make epochs sort.
pub(crate) fn maintenance(epoch: u64, part: &str) -> Result<Key, Error> {
    parse(format!("maintenance/{epoch:012}/{part}"))
}

pub(crate) fn maintenance_folder() -> Result<Prefix, Error> {
    prefix("maintenance/")
}

/// Epoch and last part of the key of a maintenance's object; `None` for a stranger.
pub(crate) fn parse_maintenance(key: &Key) -> Option<(u64, &str)> {
    let (epoch, part) = key.as_str().strip_prefix("maintenance/")?.split_once('/')?;
    Some((epoch.parse().ok()?, part))
}

pub(crate) fn gc_folder() -> Result<Prefix, Error> {
    prefix("gc/")
}

/// One of the objects of a decision under `gc/`: `condemned`, `waits-for`, `removed` or `verdict`.
pub(crate) fn decision(id: Ulid, part: &str) -> Result<Key, Error> {
    parse(format!("gc/{id}/{part}"))
}

/// Id and last part of a key under `gc/`; `None` for a stranger.
pub(crate) fn parse_decision(key: &Key) -> Option<(Ulid, &str)> {
    let (id, part) = key.as_str().strip_prefix("gc/")?.split_once('/')?;
    let known = matches!(part, "condemned" | "waits-for" | "removed" | "verdict");
    known.then_some((Ulid::from_string(id).ok()?, part))
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
