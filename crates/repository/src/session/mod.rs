//! Sessions: one writer at work, from its first object to the manifest.
//!
//! Owns the writer's side of the commit-and-sweep protocol, in this order: put `start` naming the manifest's key; read
//! the sweeps' decisions; read the previous manifest; store chunks, lists, hints; read the decisions again; put the
//! manifest create-only. Promises that nothing but the manifest makes a backup exist, and that a session which was revoked,
//! or which reused something condemned meanwhile, does not commit. A session that is dropped leaves no backup.

mod commit;

use crate::condemned;
use crate::frame::{Kind, encode, encode_with};
use crate::known::Known;
use crate::present::Present;
use crate::repo::timestamp;
use crate::resume;
use crate::upload::{Uploader, put_own};
use crate::{
    BackupId, ChunkRef, Error, FORMAT, Hints, Manifest, ManifestHeader, Repository, SegmentRecord, SegmentRefs,
    SessionId, SourceName, Tag, UnitWriter, keys,
};
use jiff::Timestamp;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A beat at least this often while a session works.
const BEAT: Duration = Duration::from_secs(60);
/// A beat also when this many refs wait to be journaled.
const BEAT_REFS: usize = 2048;
/// How often the two conditions are looked at.
const BEAT_LOOK: Duration = Duration::from_secs(2);
/// Documents are cut into chunks of this many bytes.
const DOCUMENT_CHUNK: usize = 4 << 20;

/// What a session is begun with.
#[derive(Debug, Clone)]
pub struct BeginOptions {
    /// The source to be backed up.
    pub source: SourceName,
    /// zstd level, 1 to 19.
    pub compression: i32,
    /// Name and version of the program, for the manifest.
    pub program: String,
}

/// What a backup consists of, handed over for the commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// All segments with their refs.
    pub segments: Vec<(SegmentRecord, SegmentRefs)>,
    /// Documents by name.
    pub documents: Vec<(String, Vec<u8>)>,
    /// What was backed up, in the engine's words.
    pub about: serde_json::Value,
    /// Whether this is everything the source had.
    pub scope: Scope,
    /// What it is instead of one moment of its source, such as `per-collection`.
    pub inexact: Option<String>,
    /// Number of streams.
    pub streams: u64,
    /// Number of rows.
    pub rows: u64,
    /// Segment sizes for the next backup.
    pub boundaries: BTreeMap<String, u64>,
    /// Words to find it by, and to keep it by.
    pub tags: BTreeSet<Tag>,
    /// Whether it is pinned before it exists, so that there is no moment at which it could go.
    pub pin: bool,
}

/// How much of its source a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Full,
    /// What was asked for: never the latest, restored by its id alone.
    Filtered,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Filtered => "filtered",
        }
    }
}

/// What a copy is a copy of.
#[derive(Debug, Clone)]
pub(crate) struct Original {
    /// Its manifest's open section.
    pub header: ManifestHeader,
    /// The repository that it is in.
    pub repository: String,
    /// Whether it takes the place of a damaged one.
    pub replace: bool,
}

/// A writer at work.
#[derive(Debug)]
pub struct Session {
    repository: Repository,
    options: BeginOptions,
    id: SessionId,
    backup: BackupId,
    started: Timestamp,
    begun: Instant,
    uploader: Arc<Uploader>,
    known: Arc<Known>,
    boundaries: BTreeMap<String, u64>,
    beats: Arc<AtomicU64>,
    beating: tokio::task::JoinHandle<()>,
    copy_of: Option<Original>,
}

impl Session {
    /// Begins a session: the first steps of the protocol, in the order that makes them safe.
    ///
    /// # Errors
    /// The store's; [`Error::Keys`] when the repository is encrypted and no key to write it is held: then nothing was written.
    pub async fn begin(repository: &Repository, options: BeginOptions) -> Result<Self, Error> {
        Self::begin_with(repository, options, None).await
    }

    /// Begins a session that copies a backup under the id that it has.
    ///
    /// # Errors
    /// As for [`Session::begin`]; [`Error::Conflict`] on commit when a backup with this id came to be meanwhile.
    pub(crate) async fn begin_copy(
        repository: &Repository,
        options: BeginOptions,
        original: Original,
    ) -> Result<Self, Error> {
        Self::begin_with(repository, options, Some(original)).await
    }

    async fn begin_with(
        repository: &Repository,
        options: BeginOptions,
        copy_of: Option<Original>,
    ) -> Result<Self, Error> {
        repository.keyring.session()?;
        let now = repository.store.now().await.map_err(Error::store("read the store's clock"))?;
        let backup = match &copy_of {
            Some(original) => original.header.backup,
            None => {
                let newest = repository.backup_ids(Some(&options.source)).await?.last().map(|(_, id)| *id);
                BackupId::after(newest, now)
            }
        };
        let id = SessionId::at(now);
        let started = timestamp(now)?;
        let start = json!({
            "format": FORMAT, "session": id, "source": options.source, "backup": backup,
            "manifest": keys::manifest(&options.source, backup)?.as_str(),
            "started": started, "program": options.program,
        });
        let signing = repository.keyring.signing();
        let start = encode_with(Kind::Start, start.to_string().as_bytes(), b"", None, signing)?;
        put_own(repository.store.as_ref(), &keys::session_start(id)?, start).await?;
        let condemned = condemned::read(repository.store.as_ref()).await?;
        let previous = last_backup(repository, &options.source).await?;
        let after = previous.as_ref().map(|manifest| manifest.header.session);
        let resumed = resume::left_behind(repository, &options.source, id, after, &condemned).await;
        let (known, boundaries) = what_is_known(repository, previous, condemned).await?;
        let uploader = Arc::new(Uploader::new(repository, id, options.compression, resumed)?);
        let beats = Arc::new(AtomicU64::new(0));
        let beating = tokio::spawn(beat_until_dropped(Arc::clone(&uploader), Arc::clone(&beats)));
        Ok(Self {
            repository: repository.clone(),
            options,
            id,
            backup,
            started,
            begun: Instant::now(),
            uploader,
            known: Arc::new(known),
            boundaries,
            beats,
            beating,
            copy_of,
        })
    }

    /// Whether a chunk of this repository may be referred to.
    pub(crate) fn can_reuse(&self, chunk: &ChunkRef) -> bool {
        self.known.can_reuse(chunk)
    }

    /// The id the backup will have.
    #[must_use]
    pub fn backup(&self) -> BackupId {
        self.backup
    }

    /// Segment sizes of the previous backup.
    #[must_use]
    pub fn boundaries(&self) -> &BTreeMap<String, u64> {
        &self.boundaries
    }

    /// A writer for one unit; `bundling` lets small segments share an object.
    #[must_use]
    pub fn unit(&self, bundling: bool) -> UnitWriter {
        let sizes = self.repository.config.chunker.sizes;
        UnitWriter::new(Arc::clone(&self.uploader), Arc::clone(&self.known), sizes, bundling)
    }

    /// Commits: stores documents, lists and hints, then the manifest. `Ok` means that the backup exists. So it may after
    /// an [`Error::Store`] if it was the manifest's put that was not answered. A pin of a backup that does not come to be is
    /// left behind, and holds nothing.
    pub async fn commit(mut self, commit: Commit) -> Result<Manifest, Error> {
        let manifest = match self.prepare(commit).await {
            Ok(manifest) => manifest,
            Err(error) => {
                self.end_without_backup("failed").await;
                return Err(error);
            }
        };
        match self.put_manifest(&manifest).await {
            Ok(()) => self.end("committed").await,
            // Not known: a put that was not answered may still arrive. Without an end, maintenance will revoke the session,
            // and its tombstone decides.
            Err(error @ Error::Store { .. }) => return Err(error),
            Err(error) => {
                self.end_without_backup("failed").await;
                return Err(error);
            }
        }
        Ok(manifest)
    }

    /// Ends the session without a backup, saying why: `failed` or `interrupted`.
    pub async fn abandon(mut self, outcome: &str) {
        self.end_without_backup(outcome).await;
    }

    /// Puts a last beat before the end: what was stored since the one before is what a later run could go on from.
    async fn end_without_backup(&mut self, outcome: &str) {
        self.beating.abort();
        // Waiting for the task, so that two beats never run at once.
        if (&mut self.beating).await.is_err_and(|error| error.is_panic()) {
            tracing::warn!(session = %self.id, "signs of life had stopped");
        }
        if self.uploader.journal_len() > 0 {
            let number = self.beats.fetch_add(1, Relaxed) + 1;
            if let Err(error) = beat(&self.uploader, number).await {
                tracing::warn!(%error, number, "could not record what was stored last");
            }
        }
        self.end(outcome).await;
    }

    /// Says how it ended. The backup exists or not whatever becomes of this object, so trouble is only logged.
    async fn end(&self, outcome: &str) {
        self.beating.abort();
        let end = json!({ "session": self.id, "outcome": outcome, "beats": self.beats.load(Relaxed) }).to_string();
        let put = async {
            put_own(self.store(), &keys::session_end(self.id)?, encode(Kind::End, end.as_bytes(), b"")?).await
        };
        if let Err(error) = put.await {
            tracing::warn!(%error, session = %self.id, "could not record the session's end; maintenance will revoke it");
        }
    }

    fn store(&self) -> &dyn store::Store {
        self.repository.store.as_ref()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// The previous manifest of the source, if it helps. Damage in it must not keep a new backup from being made.
async fn last_backup(repository: &Repository, source: &SourceName) -> Result<Option<Manifest>, Error> {
    // A filtered backup is better than nothing, and worse than a full one that is older: most of what comes is in that.
    match repository.latest_or_filtered(source).await {
        Err(error @ (Error::Damaged { .. } | Error::Format { .. } | Error::NotFound { .. } | Error::Signer { .. })) => {
            tracing::warn!(%error, "the last backup cannot be read; this one stores everything anew");
            Ok(None)
        }
        other => other,
    }
}

/// The chunks of the last backup, and the sizes of its segments.
async fn what_is_known(
    repository: &Repository,
    previous: Option<Manifest>,
    condemned: condemned::Condemned,
) -> Result<(Known, BTreeMap<String, u64>), Error> {
    let Some(manifest) = previous else { return Ok((Known::nothing(repository.clone(), condemned), BTreeMap::new())) };
    let hints = Hints::read(repository, &manifest.header.source, manifest.header.backup).await;
    let present = Present::read(repository.store.as_ref()).await?;
    let known = Known::of(repository.clone(), condemned, present, &manifest, hints.as_ref()).await;
    Ok((known, hints.map(|hints| hints.boundaries).unwrap_or_default()))
}

/// Beats while the session lives: proof of life for maintenance, and the journal a later run can resume from.
async fn beat_until_dropped(uploader: Arc<Uploader>, beats: Arc<AtomicU64>) {
    let mut last = Instant::now();
    let mut look = tokio::time::interval(BEAT_LOOK);
    loop {
        look.tick().await;
        if last.elapsed() < BEAT && uploader.journal_len() < BEAT_REFS {
            continue;
        }
        last = Instant::now();
        let number = beats.fetch_add(1, Relaxed) + 1;
        if let Err(error) = beat(&uploader, number).await {
            tracing::warn!(%error, number, "could not put a sign of life; going on");
        }
    }
}

async fn beat(uploader: &Uploader, number: u64) -> Result<(), Error> {
    let refs = uploader.journal();
    let open = serde_json::to_vec(&json!({ "session": uploader.session(), "number": number, "refs": refs }))
        .map_err(|e| Error::Internal(format!("write beat: {e}")))?;
    let frame = encode_with(Kind::Beat, &open, b"", None, uploader.signing())?;
    put_own(uploader.store(), &keys::session_beat(uploader.session(), number)?, frame).await?;
    uploader.journaled(&refs);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::known::KnownSet;
    use crate::{ChunkId, Hash};
    use std::time::SystemTime;
    use store::{Memory, Store};

    #[tokio::test]
    async fn refs_of_a_beat_that_was_not_stored_are_in_the_next_one() {
        let store = Arc::new(Memory::new());
        let session = SessionId::at(SystemTime::now());
        let made = Arc::clone(&store) as Arc<dyn Store>;
        let repository = Repository::init(made, crate::Sizes::default(), &[]).await.unwrap();
        let uploader = Uploader::new(&repository, session, 3, KnownSet::new()).unwrap();
        let id = ChunkId::of(b"x");
        let object = keys::object_name(id, session);
        let chunk = ChunkRef { id, object, offset: 0, stored_len: 1, plain_len: 1, stored_sha256: id.0 };
        uploader.note_added(1, [chunk.clone()]);
        let first = keys::session_beat(session, 1).unwrap();
        store.create(&first, "in the way".into(), &Hash::of(b"in the way").0).await.unwrap();
        assert!(beat(&uploader, 1).await.is_err());
        assert_eq!(uploader.journal_len(), 1);
        let later = ChunkRef { offset: 1, ..chunk };
        uploader.note_added(1, [later]);
        beat(&uploader, 2).await.unwrap();
        assert_eq!(uploader.journal_len(), 0);
        let second = store.get(&keys::session_beat(session, 2).unwrap()).await.unwrap();
        let open = crate::Frame::decode(&second, "beat").unwrap().open;
        let open: serde_json::Value = serde_json::from_slice(&open).unwrap();
        assert_eq!(open["refs"].as_array().unwrap().len(), 2);
    }
}
