//! Documents one after the other: bytes of a dump, taken apart and looked at.
//!
//! Owns where a document begins and ends (<https://bsonspec.org/spec.html>), whether what stands between is one down to its last member, and where a collection is cut into parts that several readers take.
//! Promises that a byte too few or too many, anywhere, is an error that says where; and that parts end where they ended in the last backup of nearly the same documents. Looks at lengths and kinds alone: text
//! that is no UTF-8 is what servers have, too.

use crate::dump::files::{Span, failed, short};
use crate::raw::{LEAST_BYTES, MOST_BYTES};
use engine::{Error, Kind, row_hash};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What ends a list of documents in an archive, where a length would stand.
pub(crate) const TERMINATOR: [u8; 4] = [0xff; 4];
/// Levels of documents in documents; servers take 180 at most.
const MOST_LEVELS: usize = 250;
/// A part has no fewer bytes, but for the last.
const LEAST_PART: u64 = 8 << 20;
/// Bytes from there to where it ends, on average.
const PART_REST: u64 = 8 << 20;
/// A part ends here at the latest.
const MOST_PART: u64 = 32 << 20;

/// What stands next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Document(&'a [u8]),
    Terminator,
}

/// Takes bytes apart. Holds one document.
pub(crate) struct Documents<R> {
    from: R,
    path: PathBuf,
    at: u64,
    open: Vec<u8>,
}

impl<R: Read> Documents<R> {
    /// `at` is where the first byte stands in the file, for errors.
    pub fn new(from: R, path: &Path, at: u64) -> Self {
        Self { from, path: path.to_owned(), at, open: Vec::new() }
    }

    /// Where the next item begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next document; nothing behind the last.
    ///
    /// # Errors
    /// [`Kind::Data`] for bytes that are none, or end in the middle of one.
    pub fn document(&mut self) -> Result<Option<&[u8]>, Error> {
        let at = self.at;
        match self.go_on()? {
            Some(true) => Ok(Some(&self.open)),
            Some(false) => Err(no_document(&self.path, at)),
            None => Ok(None),
        }
    }

    /// The next document, or what stands at the end of a list of them.
    pub fn item(&mut self) -> Result<Option<Item<'_>>, Error> {
        Ok(self.go_on()?.map(|is_document| if is_document { Item::Document(&self.open) } else { Item::Terminator }))
    }

    /// Reads the next item; says whether it is a document.
    fn go_on(&mut self) -> Result<Option<bool>, Error> {
        self.open.clear();
        match self.take(4)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(short(&self.path)),
        }
        let head: [u8; 4] = self.open.first_chunk().copied().unwrap_or_default();
        if head == TERMINATOR {
            self.at += 4;
            return Ok(Some(false));
        }
        let length = usize::try_from(i32::from_le_bytes(head)).unwrap_or_default();
        if !(LEAST_BYTES..=MOST_BYTES).contains(&length) {
            return Err(no_document(&self.path, self.at));
        }
        if self.take(length - 4)? != length - 4 {
            return Err(short(&self.path));
        }
        if !is_whole(&self.open, 0) {
            return Err(no_document(&self.path, self.at));
        }
        self.at += length as u64;
        Ok(Some(true))
    }

    /// Reads so many bytes behind those that are there, or as many as there are.
    fn take(&mut self, bytes: usize) -> Result<usize, Error> {
        let (before, mut read) = (self.open.len(), 0);
        self.open.resize(before + bytes, 0);
        while read < bytes {
            match self.from.read(self.open.get_mut(before + read..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&self.path, error)),
            }
        }
        self.open.truncate(before + read);
        Ok(read)
    }
}

fn no_document(path: &Path, at: u64) -> Error {
    let what = format!("{}: what begins at byte {at} is no document", path.display());
    Error::new(Kind::Data, what).hint("the file is damaged, or not what mongodump wrote; no backup was made")
}

/// Whether lengths and kinds of all members fit into each other.
fn is_whole(document: &[u8], level: usize) -> bool {
    members(document, level).is_some()
}

fn members(document: &[u8], level: usize) -> Option<()> {
    if level > MOST_LEVELS || int(document)? != document.len() {
        return None;
    }
    let mut rest = document.get(4..)?;
    loop {
        let (kind, after) = rest.split_first()?;
        if *kind == 0 {
            return after.is_empty().then_some(());
        }
        let value = after.get(text_to_zero(after)?..)?;
        rest = value.get(size(*kind, value, level)?..)?;
    }
}

/// Bytes of a value.
fn size(kind: u8, value: &[u8], level: usize) -> Option<usize> {
    let bytes = match kind {
        0x06 | 0x0a | 0x7f | 0xff => 0,
        0x08 => 1,
        0x10 => 4,
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x07 => 12,
        0x13 => 16,
        0x02 | 0x0d | 0x0e => text(value)?,
        0x0c => text(value)? + 12,
        0x03 | 0x04 => inner(value, level)?,
        0x05 => int(value)?.checked_add(5)?,
        0x0b => {
            let pattern = text_to_zero(value)?;
            pattern + text_to_zero(value.get(pattern..)?)?
        }
        0x0f => {
            let code = value.get(4..)?;
            let code_bytes = text(code)?;
            let bytes = 4 + code_bytes + inner(code.get(code_bytes..)?, level)?;
            (int(value)? == bytes).then_some(bytes)?
        }
        _ => return None,
    };
    (value.len() >= bytes).then_some(bytes)
}

fn inner(value: &[u8], level: usize) -> Option<usize> {
    let length = int(value)?;
    members(value.get(..length)?, level + 1)?;
    Some(length)
}

/// A text with its length before it and a zero behind.
fn text(value: &[u8]) -> Option<usize> {
    let length = int(value)?;
    let text = value.get(4..)?.get(..length)?;
    (text.last() == Some(&0)).then_some(4 + length)
}

fn text_to_zero(value: &[u8]) -> Option<usize> {
    value.iter().position(|byte| *byte == 0).map(|at| at + 1)
}

fn int(value: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(*value.first_chunk()?)).ok()
}

/// A part of a collection: what one reader takes at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Part {
    pub spans: Vec<Span>,
    pub bytes: u64,
}

/// Cuts a collection into parts by what is in it, so that a document more or less moves one end and not all that follow.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    parts: Vec<Part>,
    open: Part,
    /// Stretches of all parts.
    pub spans: usize,
}

impl Cuts {
    /// Takes the document that stands there.
    pub fn push(&mut self, document: &[u8], at: u64) {
        let length = document.len() as u64;
        match self.open.spans.last_mut() {
            Some(last) if last.at + last.length == at => last.length += length,
            _ => {
                self.open.spans.push(Span { at, length });
                self.spans += 1;
            }
        }
        self.open.bytes += length;
        if self.open.bytes >= MOST_PART || self.open.bytes >= LEAST_PART && is_an_end(document) {
            self.parts.push(std::mem::take(&mut self.open));
        }
    }

    /// All parts: one at least.
    pub fn end(mut self) -> Vec<Part> {
        if self.open.bytes > 0 || self.parts.is_empty() {
            self.parts.push(self.open);
        }
        self.parts
    }
}

/// Long documents are ends more often, so that parts are of about one size whatever is in them.
fn is_an_end(document: &[u8]) -> bool {
    let low = u128::from(u64::MAX);
    let threshold = u128::from(u64::MAX / PART_REST) * document.len() as u128;
    (row_hash(document) & low) < threshold
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use mongodb::bson::{RawDocumentBuf, rawdoc};

    fn all(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut documents = Documents::new(bytes, Path::new("shop/a.bson"), 0);
        let mut found = Vec::new();
        while let Some(document) = documents.document()? {
            found.push(document.to_vec());
        }
        Ok(found)
    }

    /// Every value that the odd database has.
    fn odd() -> Vec<RawDocumentBuf> {
        let commands = testkit::mongo::fixture().into_iter().flat_map(|piece| piece.commands);
        commands.filter(|command| command.as_bytes().len() < 1 << 20).collect()
    }

    #[test]
    fn odd_documents_are_documents() {
        for document in odd() {
            assert_eq!(all(document.as_bytes()).unwrap(), [document.as_bytes()]);
        }
    }

    #[test]
    fn whatever_is_cut_short_is_an_error() {
        let bytes: Vec<u8> = [rawdoc! {"a": "x"}, rawdoc! {}, rawdoc! {"b": [1, {"c": true}]}]
            .iter()
            .flat_map(|one| one.as_bytes().to_vec())
            .collect();
        assert_eq!(all(&bytes).unwrap().len(), 3);
        let whole: Vec<usize> =
            [0, rawdoc! {"a": "x"}.as_bytes().len(), rawdoc! {"a": "x"}.as_bytes().len() + 5].to_vec();
        for length in (0..bytes.len()).filter(|length| !whole.contains(length)) {
            assert_eq!(all(&bytes[..length]).unwrap_err().kind, Kind::Data, "{length} bytes");
        }
    }

    #[test]
    fn lengths_and_kinds_that_do_not_fit_are_an_error() {
        for (document, at, byte) in [
            // The length of all, of a text, of what is inside; a kind that is none; what ends a text, and all.
            (rawdoc! {"a": 1}, 0, 13),
            (rawdoc! {"a": "xy"}, 7, 9),
            (rawdoc! {"a": "xy"}, 13, 1),
            (rawdoc! {"a": {"b": 1}}, 7, 11),
            (rawdoc! {"a": [1]}, 10, 0x20),
            (rawdoc! {"a": 1}, 4, 0x15),
            (rawdoc! {"a": 1}, 11, 1),
            (rawdoc! {}, 0, 0),
        ] {
            let mut bytes = document.as_bytes().to_vec();
            bytes[at] = byte;
            assert_eq!(all(&bytes).unwrap_err().kind, Kind::Data, "{document:?}");
        }
        assert!(all(&TERMINATOR).is_err());
        assert!(all(&[0xff, 0xff, 0xff, 0x7f, 0]).unwrap_err().to_string().contains("byte 0 "));
    }

    #[test]
    fn levels_have_an_end() {
        let mut deep = rawdoc! {};
        for _ in 0..MOST_LEVELS + 1 {
            deep = rawdoc! {"a": deep};
        }
        assert!(!is_whole(deep.as_bytes(), 0));
        assert!(is_whole(deep.get_document("a").unwrap().as_bytes(), 0));
    }

    #[test]
    fn parts_tile_and_a_document_more_moves_one_end() {
        let documents: Vec<Vec<u8>> =
            (0..60_000_i32).map(|n| rawdoc! {"_id": n, "body": format!("{n:x>1500}")}.as_bytes().to_vec()).collect();
        let cut = |from: usize| {
            let (mut cuts, mut at) = (Cuts::default(), 0);
            for document in &documents[from..] {
                cuts.push(document, at);
                at += document.len() as u64;
            }
            let parts = cuts.end();
            let ends = parts.iter().scan(0, |end, part| {
                assert_eq!(part.spans, [Span { at: *end, length: part.bytes }]);
                *end += part.bytes;
                Some(at - *end)
            });
            let ends: Vec<u64> = ends.collect();
            assert_eq!(ends.last(), Some(&0));
            ends
        };
        let (all, without) = (cut(0), cut(1));
        assert!((3..=11).contains(&all.len()), "{}", all.len());
        let same = all.iter().filter(|end| without.contains(end)).count();
        assert!(same + 3 >= all.len(), "{all:?} {without:?}");
        assert_eq!(Cuts::default().end(), [Part::default()]);
    }
}
