//! A part of a file's text in memory.
//!
//! Owns the buffer in which readers look for the end of a row. Promises that a row stands in it in one piece, with its place, and that it never
//! holds much more than the longest row that is allowed. Refuses a longer one, wherever its end may be.

use crate::Place;
use crate::error::{Error, Kind};
use crate::expand::Expanded;

/// The buffer's size for rows of usual length, in bytes.
const USUAL: usize = 1 << 20;

/// The text from the row that is read now, as far as it is in memory.
pub(crate) struct Window {
    source: Expanded,
    data: Vec<u8>,
    /// Where the row that is read now begins in `data`, and where the text ends.
    from: usize,
    to: usize,
    place: Place,
    ended: bool,
    path: String,
    longest: usize,
}

impl Window {
    pub(crate) fn new(source: Expanded, path: &str, longest: usize) -> Window {
        let (data, place) = (vec![0; USUAL], Place { line: 1, byte: 0 });
        Window { source, data, from: 0, to: 0, place, ended: false, path: path.to_owned(), longest }
    }

    /// What has not been taken yet.
    pub(crate) fn text(&self) -> &[u8] {
        self.data.get(self.from..self.to).unwrap_or_default()
    }

    /// Whether nothing follows the text.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Where the text begins in the file.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Takes `bytes` from the text's front, in which there are `lines` ends of lines.
    pub(crate) fn take(&mut self, bytes: usize, lines: u64) {
        debug_assert!(bytes <= self.to - self.from);
        self.from += bytes;
        self.place.byte += bytes as u64;
        self.place.line += lines;
    }

    /// Reads more text behind what is there.
    pub(crate) fn more(&mut self) -> Result<(), Error> {
        let held = self.to - self.from;
        self.fits(held)?;
        self.data.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, held);
        if held > self.data.len() / 2 {
            // No more than twice the longest row: when that is full, the row in it is too long.
            let size = self.data.len().saturating_mul(2).min(self.longest.saturating_mul(2)).max(held + USUAL);
            self.data.resize(size, 0);
        }
        let room = self.data.get_mut(held..).unwrap_or_default();
        let (wanted, read) = (room.len(), self.source.fill(room)?);
        self.to += read;
        self.ended = read < wanted;
        Ok(())
    }

    /// Refuses a row of so many bytes, or more, if it is too long.
    pub(crate) fn fits(&self, bytes: usize) -> Result<(), Error> {
        let Window { path, place, longest, .. } = self;
        if bytes <= *longest {
            return Ok(());
        }
        let what = format!("{path}:{}: a row is longer than {longest} bytes, from byte {} on", place.line, place.byte);
        Err(Error::new(Kind::Data, what)
            .hint("look for a quote that is not closed, or line ends that are missing; or raise the limit of a row"))
    }

    /// Whether the file is still the one that was opened.
    pub(crate) fn unchanged(&self) -> Result<(), Error> {
        self.source.unchanged()
    }

    /// The SHA-256 of the file as it lies there, once its text was read to the end.
    pub(crate) fn finish(self) -> Result<[u8; 32], Error> {
        self.source.finish()
    }
}
