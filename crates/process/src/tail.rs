//! The end of a child's stderr.
//!
//! Promises: at most [`TAIL_BYTES`] are kept, always the last ones, and a text that was cut says so. Refuses nothing:
//! a child may write what and as much as it likes without being blocked or filling memory.

use std::collections::VecDeque;

/// How much of a child's stderr is kept: 16 KiB, always the end of it.
pub const TAIL_BYTES: usize = 16 * 1024;

/// Put where earlier output was left out.
const CUT: &str = "[earlier output left out]\n";

/// A ring of the last [`TAIL_BYTES`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    /// Adds what was just read, dropping the oldest bytes beyond the bound.
    pub(crate) fn push(&mut self, read: &[u8]) {
        let keep = &read[read.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.bytes.len() + keep.len()).saturating_sub(TAIL_BYTES);
        self.cut |= excess > 0 || keep.len() < read.len();
        self.bytes.drain(..excess);
        self.bytes.extend(keep);
    }

    /// The tail as text. A cut text begins at the start of a line where there is one, after a note that it was cut.
    pub(crate) fn text(&self) -> String {
        let (front, back) = self.bytes.as_slices();
        let all = [front, back].concat();
        if !self.cut {
            return String::from_utf8_lossy(&all).into_owned();
        }
        let start = all.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        // A tail that is one endless line, perhaps with its newline at the very end, is better shown from its middle.
        let start = if start >= all.len() { 0 } else { start };
        format!("{CUT}{}", String::from_utf8_lossy(&all[start..]))
    }
}
