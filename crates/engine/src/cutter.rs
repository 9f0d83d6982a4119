//! Rows out of bytes that come in pieces.
//!
//! Owns where a row ends: at a byte that no row contains, or after the length that it begins with. Promises that a row counts the same whole or in pieces, that no row is
//! held, and that bytes which are no rows are noticed at the end at the latest. Refuses to look into a row.

use crate::digest::{Digest, row_hash};
use xxhash_rust::xxh3::Xxh3;

/// Bytes of a length.
const LENGTH_BYTES: usize = 4;

/// How it is known where a row ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowEnd {
    /// This byte follows each row. No row contains it, and it is not part of the row.
    Byte(u8),
    /// Each row begins with its length in bytes, those of the length among them: four, little-endian, signed, as BSON documents do (<https://bsonspec.org/spec.html>).
    Length,
}

/// Takes the bytes of rows, cut anywhere, and digests the rows. Holds no row: of one that is cut only the state of its hash.
#[derive(Clone)]
pub struct RowCutter {
    end: RowEnd,
    digest: Digest,
    /// The row that has begun and not ended.
    open: Option<Box<Xxh3>>,
    /// What is there of a length that is cut.
    head: Vec<u8>,
    /// Bytes that the open row lacks, where its length is known.
    lacks: usize,
    /// Something was no row.
    broken: bool,
}

impl RowCutter {
    /// For rows that end so.
    #[must_use]
    pub fn new(end: RowEnd) -> Self {
        Self { end, digest: Digest::default(), open: None, head: Vec::new(), lacks: 0, broken: false }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        match self.end {
            RowEnd::Byte(end) => self.take_to(end, bytes),
            RowEnd::Length => self.take_by_length(bytes),
        }
    }

    /// The digest of all rows; `None` when the last one has not ended, or something was no row.
    #[must_use]
    pub fn end(self) -> Option<Digest> {
        (self.open.is_none() && self.head.is_empty() && !self.broken).then_some(self.digest)
    }

    fn take_to(&mut self, end: u8, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == end) {
            let (row, after) = rest.split_at(at);
            self.close(row);
            rest = after.get(1..).unwrap_or_default();
        }
        if !rest.is_empty() {
            self.open.get_or_insert_with(Box::default).update(rest);
        }
    }

    fn take_by_length(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.broken {
            rest = if self.open.is_some() { self.go_on(rest) } else { self.begin(rest) };
        }
    }

    /// A row's beginning; gives what is left.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if let Some(length) = bytes.first_chunk().filter(|_| self.head.is_empty()).and_then(length)
            && let Some((row, after)) = bytes.split_at_checked(length)
        {
            self.close(row);
            return after;
        }
        let (now, after) = bytes.split_at(bytes.len().min(LENGTH_BYTES - self.head.len()));
        self.head.extend_from_slice(now);
        let Some(head) = self.head.first_chunk() else { return after };
        let Some(length) = length(head) else {
            self.broken = true;
            return &[];
        };
        let mut open = Box::<Xxh3>::default();
        open.update(head);
        self.head.clear();
        (self.open, self.lacks) = (Some(open), length - LENGTH_BYTES);
        after
    }

    /// More of the open row; gives what is left.
    fn go_on<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (now, after) = bytes.split_at(bytes.len().min(self.lacks));
        self.lacks -= now.len();
        if self.lacks == 0 {
            self.close(now);
        } else if let Some(open) = &mut self.open {
            open.update(now);
        }
        after
    }

    /// The row ends with this, or is it.
    fn close(&mut self, last: &[u8]) {
        self.digest.add(match self.open.take() {
            None => row_hash(last),
            Some(mut open) => {
                open.update(last);
                open.digest128()
            }
        });
    }
}

/// The length that a row says it has, if it can be one: there is more of it than that.
fn length(head: &[u8; LENGTH_BYTES]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(*head)).ok().filter(|length| *length > LENGTH_BYTES)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn of(rows: &[Vec<u8>]) -> Digest {
        let mut whole = Digest::default();
        rows.iter().for_each(|row| whole.add(row_hash(row)));
        whole
    }

    fn cut(end: RowEnd, bytes: &[u8], piece: usize) -> Option<Digest> {
        let mut cutter = RowCutter::new(end);
        bytes.chunks(piece.max(1)).for_each(|piece| cutter.take(piece));
        cutter.end()
    }

    #[test]
    fn rows_in_pieces_are_the_same_rows_and_one_without_an_end_is_none() {
        let rows: Vec<Vec<u8>> = vec![b"1\ta".to_vec(), Vec::new(), vec![b'x'; 1000], b"2".to_vec(), Vec::new()];
        let bytes: Vec<u8> = rows.iter().flat_map(|row| row.iter().copied().chain([b'\n'])).collect();
        let end = RowEnd::Byte(b'\n');
        for piece in 1..=bytes.len() {
            assert_eq!(cut(end, &bytes, piece), Some(of(&rows)), "in pieces of {piece}");
        }
        assert_eq!(cut(end, &bytes[..bytes.len() - 2], bytes.len()), None);
        assert_eq!(cut(end, &[], 1), Some(Digest::default()));
    }

    #[test]
    fn rows_that_say_their_length_may_hold_any_byte() {
        let row = |body: &[u8]| {
            let length = i32::try_from(body.len() + 4).unwrap();
            length.to_le_bytes().into_iter().chain(body.iter().copied()).collect::<Vec<u8>>()
        };
        let rows = vec![row(b"\0"), row(b"\n\n\n"), row(&[7; 1000]), row(&[5, 0, 0, 0, 0]), row(b"\0")];
        let bytes = rows.concat();
        for piece in 1..=bytes.len() {
            assert_eq!(cut(RowEnd::Length, &bytes, piece), Some(of(&rows)), "in pieces of {piece}");
        }
        assert_eq!(cut(RowEnd::Length, &[], 1), Some(Digest::default()));
        let ends: Vec<usize> = rows
            .iter()
            .scan(0, |at, row| {
                *at += row.len();
                Some(*at)
            })
            .collect();
        for length in 0..bytes.len() {
            let whole = length == 0 || ends.contains(&length);
            for piece in [1, 3, bytes.len()] {
                assert_eq!(cut(RowEnd::Length, &bytes[..length], piece).is_some(), whole, "{length} bytes by {piece}");
            }
        }
    }

    #[test]
    fn a_length_that_is_none_is_noticed() {
        for head in [-1, 0, 4, i32::MIN] {
            let bytes = [head.to_le_bytes().to_vec(), vec![0; 20]].concat();
            for piece in [1, 2, 30] {
                assert_eq!(cut(RowEnd::Length, &bytes, piece), None, "{head} by {piece}");
            }
        }
    }
}
