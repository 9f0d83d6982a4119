//! The chunker: where one chunk ends and the next begins.
//!
//! Owns the rule: after a row whose hash, read as a fraction, falls under (row length / aim), once the chunk has its least
//! size; before a row that would take the chunk over its greatest size; inside a row only when the row alone is greater
//! than that. Promises that cuts depend on nothing but the rows since the segment's beginning, so that unchanged rows make
//! unchanged chunks. Refuses to hash: it is given each row's hash, which the digest needs anyway.

use serde::{Deserialize, Serialize};

/// Chunk sizes in bytes of plaintext; part of a repository's configuration for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// No cut by content before this many bytes.
    pub least: u64,
    /// Expected distance from `least` to the cut.
    pub aim: u64,
    /// No chunk is longer.
    pub greatest: u64,
}

impl Default for Sizes {
    /// 1 MiB, 2 MiB, 8 MiB: chunks of 3 MiB on average. Smaller ones recognise little more after scattered changes
    /// and cost more requests; larger ones make a contiguous change dearer.
    fn default() -> Self {
        Self { least: 1 << 20, aim: 2 << 20, greatest: 8 << 20 }
    }
}

/// Cuts the rows of one segment into chunks.
#[derive(Debug)]
pub struct Chunker {
    sizes: Sizes,
    buffer: Vec<u8>,
}

impl Chunker {
    /// Begins a segment.
    #[must_use]
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes, buffer: Vec::new() }
    }

    /// Takes a row, its terminator and its hash. Calls `ready` with each chunk this completes: none or one for
    /// ordinary rows, several for a row greater than a chunk may be.
    pub fn push(&mut self, row: &[u8], terminator: &[u8], hash: u128, ready: &mut impl FnMut(Vec<u8>)) {
        let len = row.len() + terminator.len();
        let greatest = usize::try_from(self.sizes.greatest).unwrap_or(usize::MAX);
        if self.buffer.len() + len > greatest {
            if !self.buffer.is_empty() {
                ready(self.take());
            }
            if len > greatest {
                return self.push_giant(row, terminator, greatest, ready);
            }
        }
        if self.buffer.capacity() == 0 {
            let usual = self.sizes.least + self.sizes.aim;
            self.buffer.reserve(usize::try_from(usual).unwrap_or(greatest).min(greatest).max(len));
        }
        self.buffer.extend_from_slice(row);
        self.buffer.extend_from_slice(terminator);
        if self.buffer.len() as u64 >= self.sizes.least && self.cuts_after(hash, len) {
            ready(self.take());
        }
    }

    /// Ends the segment: what is left, if anything.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() { None } else { Some(self.take()) }
    }

    fn push_giant(&mut self, row: &[u8], terminator: &[u8], greatest: usize, ready: &mut impl FnMut(Vec<u8>)) {
        let mut rest = row;
        while let Some((piece, after)) = rest.split_at_checked(greatest) {
            ready(piece.to_vec());
            rest = after;
        }
        self.buffer.extend_from_slice(rest);
        self.buffer.extend_from_slice(terminator);
    }

    /// The upper 64 bits of the hash against (len / aim) · 2⁶⁴: a row twice as long is twice as likely to end a chunk,
    /// so the distance between cuts is measured in bytes, not in rows.
    fn cuts_after(&self, hash: u128, len: usize) -> bool {
        (hash >> 64) * u128::from(self.sizes.aim) < (len as u128) << 64
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_128;

    const SMALL: Sizes = Sizes { least: 64, aim: 128, greatest: 512 };

    fn cut(rows: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let mut chunker = Chunker::new(SMALL);
        for row in rows {
            chunker.push(row, b"\n", xxh3_128(row), &mut |chunk| chunks.push(chunk));
        }
        chunks.extend(chunker.finish());
        chunks
    }

    fn joined(rows: &[Vec<u8>]) -> Vec<u8> {
        rows.iter().flat_map(|row| row.iter().copied().chain([b'\n'])).collect()
    }

    proptest! {
        #[test]
        fn chunks_joined_are_the_rows_and_none_is_empty_or_too_long(
            rows in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..200)
        ) {
            let chunks = cut(&rows);
            prop_assert_eq!(chunks.concat(), joined(&rows));
            prop_assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() as u64 <= SMALL.greatest + 1));
        }
    }

    #[test]
    fn a_changed_row_changes_few_chunks() {
        let rows: Vec<Vec<u8>> = (0..5_000_u32).map(|n| format!("{n}\tsome text {}", n * 7).into_bytes()).collect();
        let before = cut(&rows);
        let mut changed = rows;
        changed[2_500] = b"2500\tquite another text, and longer".to_vec();
        let after = cut(&changed);
        let known: std::collections::HashSet<_> = before.iter().collect();
        let fresh = after.iter().filter(|chunk| !known.contains(chunk)).count();
        assert!(before.len() > 300, "the test needs many chunks, got {}", before.len());
        assert!(fresh <= 4, "{fresh} of {} chunks changed", after.len());
    }
}
