//! Which chunk objects are there.
//!
//! Owns one listing of `chunks/` at the beginning of a backup. Promises that a chunk which vanished (a lifecycle rule, a
//! hand that cleaned up) or was cut short is not reused, so that the next backup stores it again instead of listing as
//! complete what cannot be restored. Costs one request per 1,000 objects, and some 30 bytes of memory per object.

use crate::{ChunkRef, Error, Hash, ObjectKind, keys, pages};
use std::collections::HashMap;
use store::Store;

/// Lengths of the objects under `chunks/`, by the beginning of their name's hash.
#[derive(Debug, Default)]
pub(crate) struct Present(HashMap<u64, u64>);

/// 64 bits of a hash: among ten million objects two share it with a probability of one in 400,000, and then a missing
/// one passes for the other.
pub(crate) fn short(object: &str) -> u64 {
    let hash = Hash::of(object.as_bytes());
    hash.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Present {
    /// Lists the chunk objects.
    pub async fn read(store: &dyn Store) -> Result<Self, Error> {
        let mut present = HashMap::new();
        let note = |entry: &store::Entry| {
            if let Some((object, _)) = keys::parse_object(ObjectKind::Chunk, &entry.key) {
                present.insert(short(object), entry.len);
            }
        };
        pages::each(store, &keys::objects_folder(ObjectKind::Chunk)?, "list chunks", note).await?;
        Ok(Self(present))
    }

    /// Whether the object is there and long enough to hold the chunk.
    pub fn holds(&self, chunk: &ChunkRef) -> bool {
        let end = chunk.offset.saturating_add(chunk.stored_len);
        self.0.get(&short(&chunk.object)).is_some_and(|len| *len >= end)
    }
}
