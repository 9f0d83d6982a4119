//! Reading back: refs to bytes.
//!
//! Owns the checks on the way back: the stored hash of the frame, the frame itself, the plaintext's id. Promises that bytes
//! handed out are the bytes that were put in, and that anything else is an error naming the object. Holds at most one
//! frame and its plaintext per call.

use crate::frame::{Frame, Kind};
use crate::sealing::{Keyring, Opens};
use crate::{ChunkRef, DocumentRecord, Error, Hash, List, Manifest, ObjectKind, Repository};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

impl Repository {
    /// Reads one chunk and checks its stored hash, its frame and its id. `needed_by` names who asks, for errors.
    pub async fn read_chunk(&self, chunk: &ChunkRef, needed_by: &str) -> Result<Vec<u8>, Error> {
        let key = chunk.key(ObjectKind::Chunk)?;
        let bytes = self.read_frame(chunk, ObjectKind::Chunk, needed_by).await?;
        let (chunk, keyring) = (chunk.clone(), Arc::clone(&self.keyring));
        // Hashing and decompressing 8 MiB takes milliseconds: not on a thread that serves connections.
        let check = move || check_chunk(&bytes, &chunk, key.as_str(), &keyring, keyring.as_ref(), &mut Vec::new());
        tokio::task::spawn_blocking(check).await.map_err(|e| Error::Internal(format!("read chunk: {e}")))?
    }

    /// Reads one chunk and checks what can be checked with the keys that are held: its stored hash always, its content where that can
    /// be opened.
    pub(crate) async fn verify_chunk(
        &self,
        chunk: &ChunkRef,
        needed_by: &str,
        rooms: &Arc<Rooms>,
    ) -> Result<(), Error> {
        let key = chunk.key(ObjectKind::Chunk)?;
        let bytes = self.read_frame(chunk, ObjectKind::Chunk, needed_by).await?;
        let (chunk, keyring, rooms) = (chunk.clone(), Arc::clone(&self.keyring), Arc::clone(rooms));
        let check = move || {
            let mut room = rooms.take();
            match check_chunk(&bytes, &chunk, key.as_str(), &keyring, keyring.as_ref(), &mut room) {
                Ok(plain) => rooms.give_back(plain),
                // Its stored hash was compared before anything was to be opened, and its form.
                Err(Error::Sealed { .. }) => rooms.give_back(room),
                Err(other) => return Err(other),
            }
            Ok(())
        };
        tokio::task::spawn_blocking(check).await.map_err(|e| Error::Internal(format!("read chunk: {e}")))?
    }

    /// Reads a list of segments.
    pub async fn read_list(&self, list: &ChunkRef, needed_by: &str) -> Result<List, Error> {
        let key = list.key(ObjectKind::List)?;
        let bytes = self.read_frame(list, ObjectKind::List, needed_by).await?;
        check_stored(&bytes, list, key.as_str())?;
        List::decode(&bytes, list, key.as_str(), &self.keyring)
    }

    /// Reads the refs of a list: all of it that is legible without an identity.
    pub(crate) async fn read_list_refs(&self, list: &ChunkRef, needed_by: &str) -> Result<Vec<ChunkRef>, Error> {
        let key = list.key(ObjectKind::List)?;
        let bytes = self.read_frame(list, ObjectKind::List, needed_by).await?;
        check_stored(&bytes, list, key.as_str())?;
        List::decode_refs(&bytes, list, key.as_str(), &self.keyring)
    }

    /// Reads a document kept with a backup.
    pub async fn read_document(&self, document: &DocumentRecord, needed_by: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for chunk in &document.refs {
            bytes.extend(self.read_chunk(chunk, needed_by).await?);
        }
        Ok(bytes)
    }

    async fn read_frame(&self, chunk: &ChunkRef, kind: ObjectKind, needed_by: &str) -> Result<Bytes, Error> {
        let key = chunk.key(kind)?;
        match self.store.get_range(&key, chunk.offset, chunk.stored_len).await {
            Ok(bytes) => Ok(bytes),
            Err(store::Error::NotFound { .. }) => {
                Err(Error::Missing { object: key.to_string(), needed_by: needed_by.to_owned() })
            }
            Err(store::Error::Truncated { wanted, got, .. }) => {
                Err(Error::damaged(key.as_str(), format!("truncated: {got} of {wanted} bytes at {}", chunk.offset)))
            }
            Err(source) => Err(Error::Store { what: format!("read {key}"), source }),
        }
    }
}

/// Reads all lists of a manifest, in order. For backups whose lists fit in memory comfortably: about 150 bytes a chunk.
pub async fn read_all(repository: &Repository, manifest: &Manifest) -> Result<Vec<List>, Error> {
    let name = format!("backup {}@{}", manifest.header.source, manifest.header.backup);
    let mut lists = Vec::with_capacity(manifest.header.lists.len());
    for list in &manifest.header.lists {
        lists.push(repository.read_list(list, &name).await?);
    }
    Ok(lists)
}

fn check_stored(bytes: &[u8], chunk: &ChunkRef, object: &str) -> Result<(), Error> {
    let found = Hash::of(bytes);
    if found == chunk.stored_sha256 {
        return Ok(());
    }
    let what = format!("stored bytes at {} have SHA-256 {found} instead of {}", chunk.offset, chunk.stored_sha256);
    Err(Error::damaged(object, what))
}

/// Memory that chunks were decompressed into, for the next ones. Blocks of this size come from the kernel and would go back to
/// it each time: half as long as hashing and decompressing takes. There are as many as checks at the same time, and each
/// is as large as the largest chunk it has held; they go when the verification ends.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<Vec<Vec<u8>>>);

impl Rooms {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, room: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(room);
    }
}

/// The content of a frame, once it is what the ref says. `opens` holds the key: the keyring, or the session that wrote it. It is
/// returned in `room`'s memory.
pub(crate) fn check_chunk(
    bytes: &[u8],
    chunk: &ChunkRef,
    object: &str,
    keyring: &Keyring,
    opens: &dyn Opens,
    room: &mut Vec<u8>,
) -> Result<Vec<u8>, Error> {
    check_stored(bytes, chunk, object)?;
    let frame = Frame::expect_in(bytes, object, Kind::Chunk, room)?;
    let wrong = || Error::damaged(object, format!("its content is not chunk {}", chunk.id));
    if frame.closed_len() != chunk.plain_len {
        return Err(wrong());
    }
    let (_, plain) = frame.into_sections_in(opens, object, room)?;
    match keyring.try_id(&[&plain]) {
        Some(id) if id != chunk.id => Err(wrong()),
        _ => Ok(plain),
    }
}
