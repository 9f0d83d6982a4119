//! What readers of all formats share.
//!
//! Owns the answer of a reader that looked for a row, and the choice between readers. Promises that a fault is told by place and column alone.

use std::sync::Arc;

use memchr::memchr_iter;

use crate::error::{Error, Kind};
use crate::{Batch, Place, csv, ndjson};

/// What a reader found at the front of a text.
pub(crate) enum Step {
    /// No whole row: more text is needed.
    More,
    /// Nothing that counts, of so many bytes and lines.
    Skip { bytes: usize, lines: u64 },
    /// A row of so many bytes and lines. It stands in the batch, unless it has a fault.
    Row { bytes: usize, lines: u64, fault: Option<Fault> },
}

/// Why a row is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) column: Option<usize>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) why: String,
}

impl Fault {
    /// The row is wrong as a whole.
    pub(crate) fn row(why: String) -> Fault {
        Fault { column: None, name: None, why }
    }
}

/// A reader of some format.
pub(crate) enum Reader {
    Csv(Box<csv::Reader>),
    NdJson(ndjson::Reader),
}

impl Reader {
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        match self {
            Reader::Csv(reader) => reader.names(),
            Reader::NdJson(reader) => reader.names(),
        }
    }

    /// Reads the first row of `text` into `batch`.
    pub(crate) fn row(&mut self, text: &[u8], ended: bool, place: Place, batch: &mut Batch) -> Result<Step, Error> {
        match self {
            Reader::Csv(reader) => reader.row(text, ended, place, batch),
            Reader::NdJson(reader) => reader.row(text, ended, place, batch),
        }
    }
}

/// Bytes that are none of the encoding: the file is not what it was declared to be, so no row of it is taken for right.
pub(crate) fn not_text(row: &[u8], place: Place, at: usize, encoding: &str) -> Error {
    let line = place.line + memchr_iter(b'\n', row.get(..at).unwrap_or_default()).count() as u64;
    Error::new(Kind::Data, format!("{line}: byte {} is not {encoding}", place.byte + at as u64))
        .hint("declare the encoding that the file is written in, or write it in UTF-8; nothing was loaded")
}
