//! Files of a dump: where bytes are, and that they stay what they are.
//!
//! Owns reading at places of a file, what a file is known by, and the words for what can go wrong with one. Promises that a file which is replaced, written to or truncated between two looks is
//! noticed, and that nothing is written. Refuses whatever is no regular file: a pipe cannot be read twice.

use engine::{Error, Kind};
use flate2::bufread::MultiGzDecoder;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// A definition is no longer than this, unpacked: no command to a server is.
const MOST_TEXT_BYTES: u64 = 48 << 20;

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub at: u64,
    pub length: u64,
}

/// What a file is known by: whoever writes to it, or puts another in its place, changes one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// A file of a dump.
#[derive(Debug)]
pub(crate) enum Place {
    /// One with a name, which may be somebody else's to change.
    Named { path: PathBuf, stamp: Stamp },
    /// What another one unpacks to: it has no name, and is gone when nobody reads it any more.
    Unpacked { of: PathBuf, file: Arc<File> },
}

impl Place {
    /// A file as it is now.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Refused`] where it may not be looked at, [`Kind::Unsupported`] for what is no regular file.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let found = std::fs::metadata(path).map_err(|e| failed(path, e))?;
        if !found.is_file() {
            return Err(Error::new(Kind::Unsupported, format!("{} is no regular file", path.display()))
                .hint("a dump is read twice: write it to a file first"));
        }
        Ok(Self::Named { path: path.to_owned(), stamp: Stamp::of(&found) })
    }

    /// What it is called.
    pub fn path(&self) -> &Path {
        match self {
            Self::Named { path, .. } => path,
            Self::Unpacked { of, .. } => of,
        }
    }

    /// Its bytes.
    pub fn length(&self) -> Result<u64, Error> {
        match self {
            Self::Named { stamp, .. } => Ok(stamp.length),
            Self::Unpacked { of, file } => Ok(file.metadata().map_err(|e| failed(of, e))?.len()),
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Kind::Changed`] when it is another one by now.
    pub fn open(&self) -> Result<Arc<File>, Error> {
        let (path, stamp) = match self {
            Self::Named { path, stamp } => (path, stamp),
            Self::Unpacked { file, .. } => return Ok(Arc::clone(file)),
        };
        let file = File::open(path).map_err(|e| failed(path, e))?;
        let now = file.metadata().map_err(|e| failed(path, e))?;
        if Stamp::of(&now) != *stamp {
            return Err(changed(path));
        }
        Ok(Arc::new(file))
    }

    /// Fails when it is not what it was.
    pub fn assert_same(&self) -> Result<(), Error> {
        let Self::Named { path, stamp } = self else { return Ok(()) };
        match std::fs::metadata(path) {
            Ok(now) if Stamp::of(&now) == *stamp => Ok(()),
            _ => Err(changed(path)),
        }
    }

    /// All of a small file, unpacked.
    pub fn text(&self, packed: bool) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        let mut from = self.bytes(packed, None)?.take(MOST_TEXT_BYTES + 1);
        from.read_to_end(&mut text).map_err(|e| failed(self.path(), e))?;
        if text.len() as u64 > MOST_TEXT_BYTES {
            let what =
                format!("{} has more than {MOST_TEXT_BYTES} bytes, which no definition has", self.path().display());
            return Err(Error::new(Kind::Data, what).hint("no backup was made"));
        }
        Ok(text)
    }

    /// Its bytes, or those of stretches of it; unpacked where it is packed.
    pub fn bytes(&self, packed: bool, spans: Option<Vec<Span>>) -> Result<Box<dyn Read + Send>, Error> {
        let length = self.length()?;
        if packed && length == 0 {
            // A library that unpacks may take it for nothing at all, and a disk that was full leaves such files.
            return Err(short(self.path()));
        }
        let spans = spans.unwrap_or_else(|| vec![Span { at: 0, length }]);
        let stretches = Stretches { file: self.open()?, spans: spans.into_iter(), now: Span { at: 0, length: 0 } };
        let buffered = BufReader::with_capacity(BUFFER_BYTES, stretches);
        Ok(if packed { Box::new(MultiGzDecoder::new(buffered)) } else { Box::new(buffered) })
    }
}

/// Reads stretches of a file one after the other, wherever others read it.
struct Stretches {
    file: Arc<File>,
    spans: std::vec::IntoIter<Span>,
    now: Span,
}

impl Read for Stretches {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.length == 0 {
            let Some(next) = self.spans.next() else { return Ok(0) };
            self.now = next;
        }
        let most = usize::try_from(self.now.length).unwrap_or(usize::MAX).min(into.len());
        let read = self.file.read_at(into.get_mut(..most).unwrap_or_default(), self.now.at)?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.now = Span { at: self.now.at + read as u64, length: self.now.length - read as u64 };
        Ok(read)
    }
}

/// What an error of the system means for a file of a dump.
pub(crate) fn failed(path: &Path, error: io::Error) -> Error {
    let what = format!("{} cannot be read", path.display());
    match error.kind() {
        io::ErrorKind::NotFound => Error::new(Kind::NotFound, format!("there is no {}", path.display()))
            .hint("check the path in the URL: mongodump:///FOLDER, and %20 for a space"),
        io::ErrorKind::PermissionDenied => Error::new(Kind::Refused, what)
            .hint("let the user that runs this read it; nothing is written there")
            .because(error),
        // What unpacks says so of bytes that are no gzip, or end in the middle.
        io::ErrorKind::UnexpectedEof => short(path),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::new(Kind::Data, format!("{} is damaged: gzip cannot unpack it", path.display()))
                .hint("`gzip --test` says the same; dump again, or copy the dump again; no backup was made")
                .because(error)
        }
        _ => Error::new(Kind::Unavailable, what).because(error),
    }
}

/// A file that ends too early.
pub(crate) fn short(path: &Path) -> Error {
    Error::new(Kind::Data, format!("{} is cut short", path.display()))
        .hint("the dump did not end well, or was not copied whole; no backup was made")
}

fn changed(path: &Path) -> Error {
    Error::new(Kind::Changed, format!("{} was changed, replaced or removed while the dump was read", path.display()))
        .hint("run it again when nobody writes to the dump; no backup was made")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn stretches_are_read_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "0123456789").unwrap();
        let place = Place::at(&path).unwrap();
        let spans = vec![Span { at: 7, length: 2 }, Span { at: 0, length: 0 }, Span { at: 1, length: 3 }];
        let mut text = String::new();
        place.bytes(false, Some(spans)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "78123");
        let beyond = place.bytes(false, Some(vec![Span { at: 8, length: 5 }])).unwrap().read_to_string(&mut text);
        assert_eq!(beyond.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_packed_is_whole_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gz");
        let whole = [packed(b"one "), packed(b"two")].concat();
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Place::at(&path).unwrap().text(true).unwrap(), b"one two");
        let first = packed(b"one ").len();
        for length in (0..whole.len()).filter(|length| *length != first) {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(Place::at(&path).unwrap().text(true).unwrap_err().kind, Kind::Data, "{length} bytes");
        }
    }

    #[test]
    fn a_file_that_is_another_one_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let place = Place::at(&path).unwrap();
        place.assert_same().unwrap();
        let copy = folder.path().join("b");
        std::fs::write(&copy, "two").unwrap();
        std::fs::rename(&copy, &path).unwrap();
        assert_eq!(place.assert_same().unwrap_err().kind, Kind::Changed);
        assert_eq!(place.open().unwrap_err().kind, Kind::Changed);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(place.assert_same().unwrap_err().kind, Kind::Changed);
        assert_eq!(Place::at(&path).unwrap_err().kind, Kind::NotFound);
        assert_eq!(Place::at(folder.path()).unwrap_err().kind, Kind::Unsupported);
    }
}
