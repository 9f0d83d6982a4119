//! The floor of a verification: the least work that shows every chunk to be whole.
//!
//! Owns reading each object below `chunks/` once, SHA-256 over what is stored, decompressing it, and SHA-256 over the content: on one
//! thread per core, with buffers that are used again, and without asking who needs what. What is sealed is hashed as stored and
//! not opened, as for whoever verifies without an identity. Judges nothing: a frame it cannot read ends it.

use crate::Failure;
use repository::Hash;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of a frame's header: see `docs/format.md`, "Frames".
const HEADER: usize = 48;

/// Reads everything.
pub fn read(folder: &Path) -> Result<(), Failure> {
    let mut objects = Vec::new();
    for shard in std::fs::read_dir(folder.join("chunks"))? {
        for object in std::fs::read_dir(shard?.path())? {
            objects.push(object?.path());
        }
    }
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(|| worker(&objects, &next))).collect();
        readers.into_iter().try_for_each(|reader| reader.join().unwrap_or_else(|_| Err("a reader panicked".into())))
    })
}

fn worker(objects: &[PathBuf], next: &AtomicUsize) -> Result<(), Failure> {
    let (mut stored, mut plain) = (Vec::new(), Vec::new());
    let mut decompressor = zstd::bulk::Decompressor::new()?;
    while let Some(object) = objects.get(next.fetch_add(1, Relaxed)) {
        stored.clear();
        File::open(object)?.read_to_end(&mut stored)?;
        let mut rest = stored.as_slice();
        while !rest.is_empty() {
            let (head, _) = rest.split_at_checked(HEADER).ok_or("a frame without its header")?;
            let [open, stored_len] = [u64::from(number(&head[28..32])? as u32), number(&head[40..48])?];
            let plain_len = usize::try_from(number(&head[32..40])?)?;
            let end = HEADER + usize::try_from(open + stored_len)?;
            let (frame, after) = rest.split_at_checked(end).ok_or("a frame that was cut short")?;
            std::hint::black_box(Hash::of(frame));
            if head[7] == 0 {
                let closed = &frame[end - usize::try_from(stored_len)?..];
                if head[6] == 1 {
                    plain.clear();
                    plain.reserve(plain_len);
                    decompressor.decompress_to_buffer(closed, &mut plain)?;
                    std::hint::black_box(Hash::of(&plain));
                } else {
                    std::hint::black_box(Hash::of(closed));
                }
            }
            rest = after;
        }
    }
    Ok(())
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> Result<u64, Failure> {
    let mut whole = [0; 8];
    whole.get_mut(..bytes.len()).ok_or("too long a number")?.copy_from_slice(bytes);
    Ok(u64::from_le_bytes(whole))
}
