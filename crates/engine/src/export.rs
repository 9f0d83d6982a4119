//! Writing a backup as plain files: what a driver offers an export.
//!
//! Owns the words for it: which file holds which stream, and the files that hold everything else, with the script that brings it
//! all back by the vendor's own tools. A driver promises that those files together with the rows are the whole backup and
//! that nothing of ours is needed to read them. It refuses to touch rows or a disk: both are the job's.

use crate::{About, Digest, Error, RowEnd, StreamName};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What a driver must know to write an export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The backup's full name, `NAME@ID`.
    pub backup: String,
    /// When the backup was begun, for people.
    pub taken: String,
    /// What wrote the backup, and what writes the export, for people.
    pub programs: (String, String),
    /// What was backed up.
    pub about: About,
    /// Every stream with the rows that the backup recorded.
    pub streams: BTreeMap<StreamName, Digest>,
    /// Leave owners and grants out: everything will belong to the role that restores.
    pub no_owner: bool,
    /// Directory of the vendor's tools; the usual places when `None`.
    pub tools: Option<PathBuf>,
}

/// Everything of an export but the rows themselves.
#[derive(Debug, Clone, Default)]
pub struct Export {
    /// Where each stream's rows go: all of them, in the order of their files.
    pub streams: Vec<ExportedStream>,
    /// The other files.
    pub files: Vec<ExportFile>,
    /// What was left out on purpose, for the operator.
    pub notes: Vec<String>,
    /// How to bring it back, for the operator; `{folder}` stands for the export's folder.
    pub restore_with: String,
    /// What leaves rows out that other segments have once more; nothing is left out when `None`.
    pub sieves: Option<Arc<dyn Sieves>>,
}

/// Knows of each segment whether others have some of its rows once more.
pub trait Sieves: fmt::Debug + Send + Sync {
    /// What leaves them out of the segment with this range; `None` when all stay.
    ///
    /// # Errors
    /// [`crate::Kind::Internal`] for a range that no backup has.
    fn of(&self, stream: &StreamName, range: &str) -> Result<Option<Box<dyn Sieve>>, Error>;
}

/// Leaves rows out of one segment.
pub trait Sieve: Send {
    /// Takes bytes, cut anywhere; returns the rows that stay, as far as they are whole.
    ///
    /// # Errors
    /// [`crate::Kind::Data`] for what are no rows.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error>;

    /// Ends the segment. Returns the rows that were left out.
    ///
    /// # Errors
    /// [`crate::Kind::Data`] when the last row has not ended.
    fn end(&mut self) -> Result<Digest, Error>;
}

/// A stream and the file that gets its bytes as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedStream {
    /// The stream.
    pub name: StreamName,
    /// Path within the export, with `/` between folders and file. No part of it is `..` or empty, and none has a line break, which would make the list of sums another one.
    pub path: String,
    /// How it is known where each row ends.
    pub end: RowEnd,
}

/// A file that is written as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// Path within the export, as in [`ExportedStream::path`].
    pub path: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}
