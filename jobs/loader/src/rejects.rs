//! The file of rows that are left out.
//!
//! Owns that file. Promises that nothing there before is overwritten; that only its owner reads it, for it holds rows; that rows stand in it as they were
//! written, each on lines of its own, under their header; and that it is gone when the load is known not to have happened, or left out nothing. Where that is not
//! known it stays: these rows may be nowhere else. Refuses to mix headers: rows of a file with another one have no place in it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drops::{Reject, RejectSink};
use jobkit::Failure;
use loader::Sinks;

/// What the file is for, in errors about it.
const PURPOSE: &str = "rows that are left out";

/// A new file that several sinks write into. It is made when the first file of the drop is opened: a drop that is loaded already has none.
#[derive(Debug)]
pub(crate) struct RejectFile {
    shared: Arc<Mutex<Rows>>,
    hold: Hold,
}

/// Says from elsewhere that the file stays, whatever becomes of the run: its rows may be left out of a table for good from now on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold(Arc<AtomicBool>);

impl Hold {
    pub fn hold(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The file and what is in it.
#[derive(Debug)]
struct Rows {
    path: PathBuf,
    file: Option<File>,
    header: Option<Vec<u8>>,
    /// The last byte that was written: a file's last row may have no end of line.
    last: Option<u8>,
    kept: u64,
}

impl RejectFile {
    /// A file that is made later.
    ///
    /// # Errors
    /// [`Exit::Config`] when there is no directory for it.
    pub fn at(path: &Path) -> Result<RejectFile, Failure> {
        loader::has_folder(path, PURPOSE).map_err(crate::failed::of_drop)?;
        let rows = Rows { path: path.to_owned(), file: None, header: None, last: None, kept: 0 };
        Ok(RejectFile { shared: Arc::new(Mutex::new(rows)), hold: Hold::default() })
    }

    /// Gives each file of the drop a place for its rows.
    pub fn sinks(&self) -> Sinks {
        let shared = Arc::clone(&self.shared);
        Box::new(move || {
            locked(&shared).make()?;
            Ok(Box::new(Sink { shared: Arc::clone(&shared), header: Vec::new() }))
        })
    }

    /// What says that the file stays.
    pub fn held(&self) -> Hold {
        self.hold.clone()
    }

    /// The run has ended, and this is whether its rows are needed.
    pub fn end(self, needed: bool) {
        self.hold.0.store(needed, Ordering::SeqCst);
    }
}

impl Drop for RejectFile {
    fn drop(&mut self) {
        let rows = locked(&self.shared);
        let stays = rows.kept > 0 && self.hold.0.load(Ordering::SeqCst);
        if stays || rows.file.is_none() {
            return;
        }
        if let Err(error) = std::fs::remove_file(&rows.path) {
            tracing::warn!(%error, path = %rows.path.display(), "could not remove the file of rows that were left out");
        }
    }
}

fn locked(rows: &Mutex<Rows>) -> MutexGuard<'_, Rows> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rows {
    /// Makes the file, which must not be there, once.
    fn make(&mut self) -> Result<(), drops::Error> {
        if self.file.is_some() {
            return Ok(());
        }
        // The name must outlive a crash of the machine, as the rows must.
        self.file = Some(loader::make_private(&self.path, PURPOSE)?);
        Ok(())
    }

    fn keep(&mut self, header: &[u8], original: &[u8]) -> io::Result<()> {
        match &self.header {
            Some(first) if without_end(first) == without_end(header) => {}
            Some(_) => {
                let what =
                    "the files of the drop have headers that differ, so rows that are left out cannot share a file";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            None => {
                self.header = Some(header.to_owned());
                self.write(header)?;
            }
        }
        self.write(original)?;
        self.kept += 1;
        Ok(())
    }

    /// Writes a row, on a line of its own.
    fn write(&mut self, row: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("the file was not made"))?;
        if self.last.is_some_and(|last| last != b'\n') {
            file.write_all(b"\n")?;
        }
        file.write_all(row)?;
        self.last = row.last().copied().or(self.last);
        Ok(())
    }
}

/// A header without the end of its line, of which there are three: `\n`, `\r\n` and that of a file without rows.
fn without_end(header: &[u8]) -> &[u8] {
    let end = header.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    &header[..end]
}

/// The place for rows of one file of the drop.
struct Sink {
    shared: Arc<Mutex<Rows>>,
    header: Vec<u8>,
}

impl RejectSink for Sink {
    fn keep(&mut self, _reject: &Reject, original: &[u8]) -> io::Result<()> {
        locked(&self.shared).keep(&self.header, original)
    }

    /// Written when there is a row to stand under it.
    fn header(&mut self, original: &[u8]) -> io::Result<()> {
        original.clone_into(&mut self.header);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        locked(&self.shared).file.as_ref().map_or(Ok(()), File::sync_all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::os::unix::fs::PermissionsExt;

    use drops::Kind;
    use jobkit::Exit;

    use super::*;

    fn reject() -> Reject {
        let place = drops::Place { line: 2, byte: 4 };
        Reject { path: "a.csv".into(), place, column: None, name: None, why: "wrong".to_owned() }
    }

    /// A file of the drop with a header and one row that is left out.
    fn leave_out(sinks: &mut Sinks, header: &[u8], row: &[u8]) -> io::Result<()> {
        let mut sink = sinks().unwrap();
        sink.header(header)?;
        sink.keep(&reject(), row)?;
        sink.end()
    }

    #[test]
    fn rows_of_several_files_stand_on_lines_of_their_own_under_one_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.csv");
        let file = RejectFile::at(&path).unwrap();
        let mut sinks = file.sinks();
        leave_out(&mut sinks, b"a,b\r\n", b"1,x,").unwrap();
        leave_out(&mut sinks, b"a,b\n", b"2,y,\n").unwrap();
        // Another header is no matter until a row would stand under it.
        sinks().unwrap().header(b"b,a\n").unwrap();
        let error = leave_out(&mut sinks, b"b,a\n", b"3,z,\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        file.end(true);
        assert_eq!(std::fs::read(&path).unwrap(), b"a,b\r\n1,x,\n2,y,\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_file_goes_with_a_load_that_did_not_happen_and_stays_where_that_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.csv");
        let left_out = || {
            let file = RejectFile::at(&path).unwrap();
            leave_out(&mut file.sinks(), b"a\n", b"x,\n").unwrap();
            file
        };
        drop(left_out());
        assert!(!path.exists());
        left_out().end(false);
        assert!(!path.exists());
        let file = left_out();
        file.held().hold();
        file.end(false);
        assert!(!path.exists(), "known not to have been committed after all");
        // Given up in the middle of the commit.
        let file = left_out();
        file.held().hold();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"a\nx,\n");
    }

    #[test]
    fn a_file_that_is_there_stays_as_it_is_and_nothing_is_made_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.csv");
        let file = RejectFile::at(&path).unwrap();
        assert!(!path.exists(), "not before a file of the drop is opened");
        drop(file.sinks()().unwrap());
        assert!(path.exists());
        file.end(true);
        assert!(!path.exists(), "nothing was left out");
        std::fs::write(&path, "rows").unwrap();
        let error = RejectFile::at(&path).unwrap().sinks()().err().unwrap();
        assert_eq!(error.kind, Kind::Exists);
        assert_eq!(std::fs::read(&path).unwrap(), b"rows");
        let nowhere = RejectFile::at(&folder.path().join("absent/bad.csv")).unwrap_err();
        assert_eq!((nowhere.exit(), nowhere.what_next().unwrap().contains("directory")), (Exit::Config, true));
    }
}
