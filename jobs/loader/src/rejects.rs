//! The file of rows that are left out.
//!
//! Owns that file. Promises that nothing there before is overwritten, that rows stand in it as they were written, under their header, and that it is
//! gone when the load is. Refuses to mix headers: a second one is left out where it is the same, and is an error where it is not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use drops::{Reject, RejectSink};
use jobkit::{Exit, Failure, OrFail};

/// A new file that several sinks write into.
#[derive(Debug)]
pub(crate) struct RejectFile {
    path: PathBuf,
    inner: Arc<Mutex<Inner>>,
    keep: bool,
}

#[derive(Debug)]
struct Inner {
    file: File,
    header: Option<Vec<u8>>,
}

impl RejectFile {
    /// Makes the file, which must not be there.
    pub fn create(path: &Path) -> Result<RejectFile, Failure> {
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let exit = match &made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Exit::Exists,
            _ => Exit::Refused,
        };
        let file = made.or_fail(exit, format!("make {} for rows that are left out", path.display()))?;
        Ok(RejectFile { path: path.to_owned(), inner: Arc::new(Mutex::new(Inner { file, header: None })), keep: false })
    }

    /// Where one file's rows go.
    pub fn sink(&self) -> impl FnMut() -> Box<dyn RejectSink> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        move || Box::new(Sink(Arc::clone(&inner)))
    }

    /// Keeps the file: the load is done.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for RejectFile {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "could not remove the file of rows that were left out");
        }
    }
}

struct Sink(Arc<Mutex<Inner>>);

impl RejectSink for Sink {
    fn keep(&mut self, _reject: &Reject, original: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.write_all(original)
    }

    fn header(&mut self, original: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &inner.header {
            Some(first) if first == original => Ok(()),
            Some(_) => Err(io::Error::other(
                "the files of the drop have headers that differ, so their rows cannot share a file",
            )),
            None => {
                inner.header = Some(original.to_owned());
                inner.file.write_all(original)
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_header_is_written_once_and_the_file_goes_with_the_load() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.csv");
        let file = RejectFile::create(&path).unwrap();
        assert_eq!(RejectFile::create(&path).unwrap_err().exit(), Exit::Exists);
        let mut sinks = file.sink();
        sinks().header(b"a,b\n").unwrap();
        sinks().header(b"a,b\n").unwrap();
        assert!(sinks().header(b"b,a\n").is_err());
        sinks().end().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a,b\n");
        drop(file);
        assert!(!path.exists());
        RejectFile::create(&path).unwrap().keep();
        assert!(path.exists());
    }
}
