//! A drop as a load sees it: files in an order, rows with text, and an identity that is known once all was read.
//!
//! Owns the contract, and its keeping by `drops::Frozen`. Promises that what is loaded is what the identity is of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use drops::{Batch, Contract, File, Format, Frozen, Reading, RejectSink, Rows, open_rows_with};

use crate::Error;
use crate::record::FileRecord;

/// One file, before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Its path within the drop.
    pub path: String,
    /// Its size as it lies there, in bytes.
    pub bytes: u64,
}

/// What is loaded.
#[async_trait]
pub trait Input: Send {
    /// Where it is, for people. Holds no secret.
    fn location(&self) -> String;

    /// Its files, in the order they are read.
    fn files(&self) -> Vec<InputFile>;

    /// Opens a file's rows.
    ///
    /// # Errors
    /// [`Error::Drop`].
    async fn open(&mut self, file: usize) -> Result<Box<dyn InputRows>, Error>;

    /// Its identity in 64 hex digits: reads what was not read yet.
    ///
    /// # Errors
    /// [`Error::Drop`], also when a file has changed since the list was frozen.
    async fn identity(&mut self) -> Result<String, Error>;
}

/// The rows of one file.
#[async_trait]
pub trait InputRows: Send {
    /// The columns' names, in the order of the cells.
    fn columns(&self) -> &[String];

    /// Fills the batch, which is empty, with about 1 MiB of rows; `false` when there are no more.
    ///
    /// # Errors
    /// [`Error::Drop`], with the row's place.
    async fn next(&mut self, batch: &mut Batch) -> Result<bool, Error>;

    /// The hash of the file's bytes in 64 hex digits, once all rows were read.
    fn sha256(&self) -> Option<String>;

    /// Rows that were left out, once all were read.
    fn rejected(&self) -> u64 {
        0
    }
}

/// Gives a place for the rows of one file that are left out. Asked when the file is opened: for a drop that is loaded already, never.
pub type Sinks = Box<dyn FnMut() -> Result<Box<dyn RejectSink>, drops::Error> + Send>;

/// How the files of a drop are read.
#[derive(Default)]
pub struct Terms {
    /// How they are written; `None` goes by the manifest and the files' names.
    pub format: Option<Format>,
    /// What their rows must be.
    pub contract: Contract,
    /// How many rows of the whole drop may be left out.
    pub max_rejects: u64,
    /// Where these go.
    pub sinks: Option<Sinks>,
}

/// A frozen drop.
pub struct DropInput {
    frozen: Frozen,
    location: String,
    terms: Terms,
    /// Rows left out so far, of the files that were read to their ends.
    rejected: Arc<AtomicU64>,
}

impl DropInput {
    /// A drop from a place that is shown to people.
    #[must_use]
    pub fn new(frozen: Frozen, location: String, terms: Terms) -> DropInput {
        DropInput { frozen, location, terms, rejected: Arc::default() }
    }

    /// Its files with the hashes that are known.
    pub(crate) fn records(&self) -> Vec<FileRecord> {
        let record =
            |file: &File| FileRecord { path: file.path.clone(), bytes: file.bytes, sha256: sha256(file), rows: 0 };
        self.frozen.files().iter().map(record).collect()
    }

    /// Looks whether it is still what was listed, without reading it.
    ///
    /// # Errors
    /// [`Error::Drop`].
    pub(crate) async fn unchanged(&mut self) -> Result<(), Error> {
        Ok(self.frozen.unchanged().await?)
    }
}

#[async_trait]
impl Input for DropInput {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn files(&self) -> Vec<InputFile> {
        self.frozen.files().iter().map(|file| InputFile { path: file.path.clone(), bytes: file.bytes }).collect()
    }

    async fn open(&mut self, file: usize) -> Result<Box<dyn InputRows>, Error> {
        let file = self.frozen.files()[file].clone();
        let format = match &self.terms.format {
            Some(format) => format.clone(),
            None => Format::of(&file)?,
        };
        let left = self.terms.max_rejects.saturating_sub(self.rejected.load(Ordering::SeqCst));
        let rejects = self.terms.sinks.as_mut().map(|sink| sink()).transpose()?;
        let reading = Reading { max_rejects: left, rejects, ..Reading::default() };
        let rows = open_rows_with(&self.frozen, &file, &format, &self.terms.contract, reading).await?;
        Ok(Box::new(FileRows { rows, file, rejected: Arc::clone(&self.rejected) }))
    }

    async fn identity(&mut self) -> Result<String, Error> {
        Ok(self.frozen.hash().await?.to_string())
    }
}

fn sha256(file: &File) -> Option<String> {
    file.sha256().map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

struct FileRows {
    rows: Rows,
    file: File,
    rejected: Arc<AtomicU64>,
}

#[async_trait]
impl InputRows for FileRows {
    fn columns(&self) -> &[String] {
        self.rows.columns()
    }

    async fn next(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        let more = self.rows.next(batch).await?;
        if !more {
            self.rejected.fetch_add(self.rejected(), Ordering::SeqCst);
        }
        Ok(more)
    }

    fn sha256(&self) -> Option<String> {
        sha256(&self.file)
    }

    fn rejected(&self) -> u64 {
        self.rows.counts().map_or(0, |counts| counts.rejected)
    }
}
