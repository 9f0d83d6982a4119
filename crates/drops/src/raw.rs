//! The bytes of one file as they lie there.
//!
//! Owns reading a frozen file. Promises that what is read to its end is the file that was listed, all of it and nothing else, and gives its
//! SHA-256. Refuses a file that grows, shrinks or is exchanged meanwhile.

use std::fs;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind};
use crate::freeze::File;
use crate::tree::{Stamp, Tree};

/// How much is read at a time where nobody else has a buffer.
const BLOCK: usize = 256 << 10;

/// A file that is being read, hashed on the way.
#[derive(Debug)]
pub(crate) struct Raw {
    file: fs::File,
    path: String,
    stamp: Stamp,
    hasher: Sha256,
    read: u64,
}

/// A file gave more bytes than it had.
#[derive(Debug, thiserror::Error)]
#[error("it grew while it was read")]
pub(crate) struct Grew;

impl Raw {
    pub(crate) fn open(tree: &Tree, file: &File) -> Result<Raw, Error> {
        let (open, stamp) = tree.open_file(&file.path)?;
        match stamp.differs(&file.stamp) {
            Some(how) => Err(Error::changed(&file.path, how)),
            None => Ok(Raw { file: open, path: file.path.clone(), stamp, hasher: Sha256::new(), read: 0 }),
        }
    }

    /// How many bytes were read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.read
    }

    /// Whether the file is still the one that was opened.
    pub(crate) fn unchanged(&self) -> Result<(), Error> {
        let now = Stamp::now(&self.file).map_err(|error| Error::io(format_args!("look at {}", self.path), error))?;
        match now.differs(&self.stamp) {
            Some(how) => Err(Error::changed(&self.path, how)),
            None => Ok(()),
        }
    }

    /// Reads what is left, as long as anybody wants it, and gives the SHA-256 of everything.
    pub(crate) fn drain(mut self, is_wanted: impl Fn() -> bool) -> Result<[u8; 32], Error> {
        let mut block = vec![0; BLOCK];
        loop {
            if !is_wanted() {
                return Err(Error::new(Kind::Internal, format!("nobody waits for the hash of {}", self.path)));
            }
            match self.read(&mut block) {
                Ok(0) => return self.finish(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// The SHA-256 of all bytes, once the end was read.
    pub(crate) fn finish(&mut self) -> Result<[u8; 32], Error> {
        self.unchanged()?;
        if self.read != self.stamp.bytes {
            let how = format!("of {} bytes there were {} to read", self.stamp.bytes, self.read);
            return Err(Error::changed(&self.path, how));
        }
        Ok(std::mem::take(&mut self.hasher).finalize().into())
    }

    fn failed(&self, error: io::Error) -> Error {
        match error.get_ref().is_some_and(|source| source.is::<Grew>()) {
            true => Error::changed(&self.path, Grew),
            false => Error::io(format_args!("read {}", self.path), error),
        }
    }
}

impl Read for Raw {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(block)?;
        self.hasher.update(block.get(..read).unwrap_or_default());
        self.read += read as u64;
        // A file that somebody goes on writing may have no end.
        if self.read > self.stamp.bytes { Err(io::Error::other(Grew)) } else { Ok(read) }
    }
}
