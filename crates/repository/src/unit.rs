//! Units: what one worker stores in one go.
//!
//! Owns the road from rows to refs for one segment, or for a bundle of small ones. Promises that the refs it returns are
//! stored and in order, that a bundle is one object however many tables it holds, and that an upload that failed stops the
//! unit at its next row. Dropping a unit abandons its uploads; what they stored is nobody's until a manifest names it.

use crate::known::{Known, KnownSet};
use crate::upload::{Prepared, Uploader};
use crate::{ChunkId, ChunkRef, Chunker, Error, Hash, ObjectKind, Sizes, keys};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::task::JoinHandle;

/// Chunks of one unit that may be on their way at once; bounds what a single fast reader can queue.
const MOST_IN_FLIGHT: usize = 16;
/// A segment whose rows end up in one chunk of at most this many bytes goes into the bundle.
const MOST_BUNDLED: usize = 512 << 10;

/// The refs of one stored segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRefs {
    /// Chunks in order.
    pub refs: Vec<ChunkRef>,
    /// Bytes of plaintext.
    pub bytes: u64,
}

/// An upload on its way; given up when it is dropped.
struct Upload(JoinHandle<Result<ChunkRef, Error>>);

impl Upload {
    async fn stored(&mut self) -> Result<ChunkRef, Error> {
        (&mut self.0).await.map_err(|e| Error::Internal(format!("upload: {e}")))?
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Slot {
    Task(Upload),
    Done(ChunkRef),
    Bundled(usize),
}

/// Takes the rows of one or several segments and stores them.
pub struct UnitWriter {
    uploader: Arc<Uploader>,
    known: Arc<Known>,
    near: Arc<KnownSet>,
    sizes: Sizes,
    bundling: bool,
    chunker: Chunker,
    ready: VecDeque<Vec<u8>>,
    slots: Vec<Slot>,
    waited: usize,
    bytes: u64,
    finished: Vec<(Vec<Slot>, u64)>,
    bundle: Bundle,
}

/// Chunks that will share an object.
#[derive(Default)]
struct Bundle {
    frames: Vec<u8>,
    refs: Vec<ChunkRef>,
    by_id: HashMap<ChunkId, usize>,
}

impl UnitWriter {
    pub(crate) fn new(uploader: Arc<Uploader>, known: Arc<Known>, sizes: Sizes, bundling: bool) -> Self {
        Self {
            uploader,
            known,
            near: Arc::default(),
            sizes,
            bundling,
            chunker: Chunker::new(sizes),
            ready: VecDeque::new(),
            slots: Vec::new(),
            waited: 0,
            bytes: 0,
            finished: Vec::new(),
            bundle: Bundle::default(),
        }
    }

    /// Begins a segment; its name says where unchanged chunks are looked for.
    pub async fn begin_segment(&mut self, stream: &str, at: u64) {
        self.near = self.known.near(stream, at).await;
        self.chunker = Chunker::new(self.sizes);
    }

    /// Takes one row with its hash. True asks for [`UnitWriter::drain`] before the next row.
    pub fn push(&mut self, row: &[u8], terminator: &[u8], hash: u128) -> bool {
        self.bytes += (row.len() + terminator.len()) as u64;
        let ready = &mut self.ready;
        self.chunker.push(row, terminator, hash, &mut |chunk| ready.push_back(chunk));
        !self.ready.is_empty()
    }

    /// Sends complete chunks on their way; waits for room.
    pub async fn drain(&mut self) -> Result<(), Error> {
        while let Some(plain) = self.ready.pop_front() {
            self.send(plain).await?;
        }
        Ok(())
    }

    /// Takes a chunk whole, as another repository cut it; `small` ones share an object.
    pub(crate) async fn add(&mut self, plain: Vec<u8>, small: bool) -> Result<(), Error> {
        self.bytes += plain.len() as u64;
        if !small {
            return self.send(plain).await;
        }
        let slot = self.add_to_bundle(plain).await?;
        self.slots.push(slot);
        Ok(())
    }

    /// Takes a chunk that is stored already.
    pub(crate) fn reuse(&mut self, chunk: ChunkRef) {
        self.bytes += chunk.plain_len;
        self.uploader.counters.reused_chunks.fetch_add(1, Relaxed);
        self.slots.push(Slot::Done(chunk));
    }

    /// Bytes that wait for the bundle to be stored.
    pub(crate) fn bundled_bytes(&self) -> usize {
        self.bundle.frames.len()
    }

    /// Ends the segment.
    pub async fn end_segment(&mut self) -> Result<(), Error> {
        self.drain().await?;
        if let Some(rest) = self.chunker.finish() {
            if self.bundling && self.slots.is_empty() && rest.len() <= MOST_BUNDLED {
                let slot = self.add_to_bundle(rest).await?;
                self.slots.push(slot);
            } else {
                self.send(rest).await?;
            }
        }
        self.finished.push((std::mem::take(&mut self.slots), std::mem::take(&mut self.bytes)));
        self.waited = 0;
        Ok(())
    }

    /// Stores the bundle, waits for every chunk, returns the refs of each segment in the order they were given.
    pub async fn finish(mut self) -> Result<Vec<SegmentRefs>, Error> {
        let bundled = std::mem::take(&mut self.bundle).store(&self.uploader).await?;
        let mut segments = Vec::with_capacity(self.finished.len());
        for (slots, bytes) in std::mem::take(&mut self.finished) {
            let mut refs = Vec::with_capacity(slots.len());
            for slot in slots {
                refs.push(match slot {
                    Slot::Task(mut upload) => upload.stored().await?,
                    Slot::Done(chunk) => chunk,
                    Slot::Bundled(index) => bundled
                        .get(index)
                        .cloned()
                        .ok_or_else(|| Error::Internal("a bundle lost a chunk".to_owned()))?,
                });
            }
            segments.push(SegmentRefs { refs, bytes });
        }
        Ok(segments)
    }

    async fn send(&mut self, plain: Vec<u8>) -> Result<(), Error> {
        // Waiting for the oldest upload both bounds the queue and brings its error to light.
        if self.slots.len() - self.waited >= MOST_IN_FLIGHT {
            if let Some(slot) = self.slots.get_mut(self.waited)
                && let Slot::Task(task) = slot
            {
                *slot = Slot::Done(task.stored().await?);
            }
            self.waited += 1;
        }
        let permit = self.uploader.reserve(plain.len()).await?;
        let upload = Arc::clone(&self.uploader).store_chunk(plain, Arc::clone(&self.near), permit);
        self.slots.push(Slot::Task(Upload(tokio::spawn(upload))));
        Ok(())
    }

    async fn add_to_bundle(&mut self, plain: Vec<u8>) -> Result<Slot, Error> {
        match self.uploader.prepare(plain, Arc::clone(&self.near)).await? {
            Prepared::Known(chunk) => {
                self.uploader.counters.reused_chunks.fetch_add(1, Relaxed);
                Ok(Slot::Done(chunk))
            }
            Prepared::Fresh { id, plain_len, frame, sha256 } => {
                Ok(Slot::Bundled(self.bundle.add(id, plain_len, &frame, sha256)))
            }
        }
    }
}

impl Bundle {
    fn add(&mut self, id: ChunkId, plain_len: u64, frame: &[u8], sha256: Hash) -> usize {
        *self.by_id.entry(id).or_insert_with(|| {
            let offset = self.frames.len() as u64;
            let stored_len = frame.len() as u64;
            self.frames.extend_from_slice(frame);
            self.refs.push(ChunkRef {
                id,
                object: String::new(),
                offset,
                stored_len,
                plain_len,
                stored_sha256: sha256,
            });
            self.refs.len() - 1
        })
    }

    /// The bundle's own id is the hash of its chunks' ids, so that it says nothing about their content.
    async fn store(mut self, uploader: &Arc<Uploader>) -> Result<Vec<ChunkRef>, Error> {
        if self.refs.is_empty() {
            return Ok(self.refs);
        }
        let ids: Vec<u8> = self.refs.iter().flat_map(|chunk| chunk.id.0.0).collect();
        let object = keys::object_name(ChunkId::of(&ids), uploader.session());
        for chunk in &mut self.refs {
            chunk.object.clone_from(&object);
        }
        let key = keys::object(ObjectKind::Chunk, &object)?;
        let len = self.frames.len() as u64;
        let _permit = uploader.reserve(self.frames.len()).await?;
        crate::upload::put_own(uploader.store(), &key, Bytes::from(self.frames)).await?;
        uploader.note_added(len, self.refs.iter().cloned());
        Ok(self.refs)
    }
}
