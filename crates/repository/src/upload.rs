//! Uploads: from a chunk's plaintext to a ref.
//!
//! Owns hashing, deduplication, compression and the put. Promises one upload in flight per id, a bound on the bytes held by
//! all chunks between the chunker and the store, and that a put whose reply was lost is recognised as our own by its bytes.
//! Refuses to call a chunk stored before the store has confirmed it.

use crate::frame::encode_chunk;
use crate::known::KnownSet;
use crate::read::check_chunk;
use crate::sealing::{Keyring, Opens, Sealer, Signing};
use crate::{ChunkId, ChunkRef, Error, Hash, ObjectKind, Repository, SessionId, keys};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use store::Store;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// Bytes of plaintext between chunker and store, over all workers.
const BUDGET: usize = 96 << 20;
/// Ids of this session that are remembered to be stored: about 10 MiB.
const MOST_REMEMBERED: usize = 1 << 16;

/// Refs that wait for a beat; when beats fail for so long that there are more, the oldest are forgotten: about 16 MiB.
const MOST_JOURNALED: usize = 1 << 16;

/// Sums that a session keeps while it works.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub added_bytes: AtomicU64,
    pub reused_chunks: AtomicU64,
}

/// The way into the store, shared by all workers of a session.
pub(crate) struct Uploader {
    store: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    /// This session's key, where closed sections are sealed.
    sealer: Option<Arc<Sealer>>,
    /// Chunks that interrupted sessions have stored.
    resumed: KnownSet,
    session: SessionId,
    level: i32,
    budget: Arc<Semaphore>,
    compressors: Mutex<Vec<zstd::bulk::Compressor<'static>>>,
    stored: Mutex<HashMap<ChunkId, Arc<OnceCell<ChunkRef>>>>,
    journal: Mutex<Vec<ChunkRef>>,
    pub counters: Counters,
}

impl std::fmt::Debug for Uploader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uploader").field("session", &self.session).finish_non_exhaustive()
    }
}

/// A chunk that is ready for the store, or that turned out to be there.
pub(crate) enum Prepared {
    Known(ChunkRef),
    Fresh { id: ChunkId, plain_len: u64, frame: Bytes, sha256: Hash },
}

impl Uploader {
    /// # Errors
    /// [`Error::Keys`] when the repository is encrypted and this process may not write it.
    pub fn new(repository: &Repository, session: SessionId, level: i32, resumed: KnownSet) -> Result<Self, Error> {
        Ok(Self {
            resumed,
            store: Arc::clone(&repository.store),
            keyring: Arc::clone(&repository.keyring),
            sealer: repository.keyring.session()?,
            session,
            level,
            budget: Arc::new(Semaphore::new(BUDGET)),
            compressors: Mutex::default(),
            stored: Mutex::default(),
            journal: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// The key that this session signs with, where anything is signed.
    pub fn signing(&self) -> Option<&Signing> {
        self.keyring.signing()
    }

    /// This session's key, where closed sections are sealed.
    pub fn sealer(&self) -> Option<&Sealer> {
        self.sealer.as_deref()
    }

    /// Waits until `len` more bytes may be held. One chunk greater than the whole budget waits for all of it.
    pub async fn reserve(&self, len: usize) -> Result<OwnedSemaphorePermit, Error> {
        let permits = u32::try_from(len.min(BUDGET)).unwrap_or(u32::MAX);
        Arc::clone(&self.budget)
            .acquire_many_owned(permits)
            .await
            .map_err(|_| Error::Internal("the upload budget was closed".to_owned()))
    }

    /// Stores one chunk, or finds that it is stored. The permit is held until then.
    pub async fn store_chunk(
        self: Arc<Self>,
        plain: Vec<u8>,
        known: Arc<KnownSet>,
        permit: OwnedSemaphorePermit,
    ) -> Result<ChunkRef, Error> {
        let prepared = self.prepare(plain, known).await?;
        let chunk = match prepared {
            Prepared::Known(chunk) => {
                self.counters.reused_chunks.fetch_add(1, Relaxed);
                chunk
            }
            Prepared::Fresh { id, plain_len, frame, sha256 } => self.put_once(id, plain_len, frame, sha256).await?,
        };
        drop(permit);
        Ok(chunk)
    }

    /// Hashes, looks up, compresses: all that needs a processor, on a thread made for it.
    pub async fn prepare(self: &Arc<Self>, plain: Vec<u8>, known: Arc<KnownSet>) -> Result<Prepared, Error> {
        let this = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let id = this.keyring.id(&plain)?;
            let known = known.get(&id).cloned().or_else(|| this.remembered(&id));
            if let Some(chunk) = known.or_else(|| this.resumed.get(&id).cloned()) {
                return Ok(Prepared::Known(chunk));
            }
            let frame = this.compress(&plain)?;
            let sha256 = Hash::of(&frame);
            Ok(Prepared::Fresh { id, plain_len: plain.len() as u64, frame, sha256 })
        });
        task.await.map_err(|e| Error::Internal(format!("prepare chunk: {e}")))?
    }

    /// Puts a chunk as an object of its own; a second caller with the same id waits for the first one's put.
    async fn put_once(&self, id: ChunkId, plain_len: u64, frame: Bytes, sha256: Hash) -> Result<ChunkRef, Error> {
        let cell = Arc::clone(lock(&self.stored).entry(id).or_default());
        let put = || async {
            let object = keys::object_name(id, self.session);
            let chunk =
                ChunkRef { id, object, offset: 0, stored_len: frame.len() as u64, plain_len, stored_sha256: sha256 };
            let chunk = self.put_chunk_object(chunk, frame).await?;
            self.note_added(chunk.stored_len, [chunk.clone()]);
            Ok::<_, Error>(chunk)
        };
        let chunk = cell.get_or_try_init(put).await?.clone();
        let mut stored = lock(&self.stored);
        if stored.len() > MOST_REMEMBERED {
            stored.remove(&id);
        }
        Ok(chunk)
    }

    async fn put_chunk_object(&self, mut chunk: ChunkRef, frame: Bytes) -> Result<ChunkRef, Error> {
        let key = chunk.key(ObjectKind::Chunk)?;
        match self.store.create(&key, frame, &chunk.stored_sha256.0).await {
            Ok(()) => Ok(chunk),
            Err(store::Error::AlreadyExists { .. }) => {
                // Only this session writes this key: it is an earlier attempt whose reply was lost. What counts is what
                // is there now.
                let there = self.store.get(&key).await.map_err(Error::store(format!("read back {key}")))?;
                chunk.stored_len = there.len() as u64;
                chunk.stored_sha256 = Hash::of(&there);
                let opens: &dyn Opens = match &self.sealer {
                    Some(sealer) => sealer.as_ref(),
                    None => self.keyring.as_ref(),
                };
                check_chunk(&there, &chunk, key.as_str(), &self.keyring, opens, &mut Vec::new())
                    .map_err(|_| Error::Conflict { object: key.to_string() })?;
                Ok(chunk)
            }
            Err(source) => Err(Error::Store { what: format!("store {key}"), source }),
        }
    }

    /// Counts what was stored and remembers it for the next beat.
    pub fn note_added(&self, bytes: u64, refs: impl IntoIterator<Item = ChunkRef>) {
        self.counters.added_bytes.fetch_add(bytes, Relaxed);
        let mut journal = lock(&self.journal);
        journal.extend(refs);
        let excess = journal.len().saturating_sub(MOST_JOURNALED);
        journal.drain(..excess);
    }

    /// The refs stored since the last beat that was put. They stay until [`Uploader::journaled`] says that they are safe:
    /// a beat may fail, or be given up half way.
    pub fn journal(&self) -> Vec<ChunkRef> {
        lock(&self.journal).clone()
    }

    /// Forgets refs that a beat has recorded. Some of them may be forgotten already.
    pub fn journaled(&self, refs: &[ChunkRef]) {
        let recorded: HashSet<(&str, u64)> = refs.iter().map(|chunk| (chunk.object.as_str(), chunk.offset)).collect();
        lock(&self.journal).retain(|chunk| !recorded.contains(&(chunk.object.as_str(), chunk.offset)));
    }

    /// How many refs wait for a beat.
    pub fn journal_len(&self) -> usize {
        lock(&self.journal).len()
    }

    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub fn session(&self) -> SessionId {
        self.session
    }

    fn remembered(&self, id: &ChunkId) -> Option<ChunkRef> {
        lock(&self.stored).get(id).and_then(|cell| cell.get().cloned())
    }

    fn compress(&self, plain: &[u8]) -> Result<Bytes, Error> {
        let internal = |e: std::io::Error| Error::Internal(format!("compress: {e}"));
        let reused = lock(&self.compressors).pop();
        let mut compressor = match reused {
            Some(compressor) => compressor,
            None => zstd::bulk::Compressor::new(self.level).map_err(internal)?,
        };
        let frame = encode_chunk(plain, &mut compressor, self.sealer());
        lock(&self.compressors).push(compressor);
        frame
    }
}

/// Puts bytes at a key that only this session writes; an object that is there already must hold the same bytes.
pub(crate) async fn put_own(store: &dyn Store, key: &store::Key, bytes: Bytes) -> Result<(), Error> {
    let hash = Hash::of(&bytes);
    match store.create(key, bytes, &hash.0).await {
        Ok(()) => Ok(()),
        Err(store::Error::AlreadyExists { .. }) => {
            let there = store.get(key).await.map_err(Error::store(format!("read back {key}")))?;
            if Hash::of(&there) == hash { Ok(()) } else { Err(Error::Conflict { object: key.to_string() }) }
        }
        Err(source) => Err(Error::Store { what: format!("store {key}"), source }),
    }
}

/// A lock that a panicking thread held is still good: what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
