//! What a database must be able to do to be loaded.
//!
//! Owns the contract between `run` and a target, and the smaller one of a target's ledger, which is all that `command` needs. Promises nothing by itself. Each call is one step that can fail, be given up by dropping it, or
//! be repeated by another run; what others can see changes in `Merge::commit` alone.

use std::fmt::Debug;

use async_trait::async_trait;
use drops::Batch;
use lease::{Epoch, Job, RunId};

use crate::record::{Counts, Record};
use crate::{Error, Superseded};

/// A run's number in the target: greater than all numbers of the job before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The job.
    pub job: Job,
    /// The run.
    pub run: RunId,
    /// The number.
    pub epoch: Epoch,
}

/// What is looked for in the ledger.
#[derive(Debug, Clone, Copy)]
pub enum Look<'a> {
    /// A drop with files of these names and sizes.
    Listing(&'a str),
    /// This very drop.
    Drop(&'a str),
    /// This very run, also when another one has loaded the same drop again since.
    Run(RunId),
}

/// Rows on their way into staging.
#[derive(Debug, Default)]
pub struct Portion {
    /// The rows.
    pub batch: Batch,
    /// The file they are of, counted from 0.
    pub file: u32,
    /// How many rows of the drop came before them.
    pub first: u64,
}

/// A database that knows what was loaded: its fences and its ledger.
#[async_trait]
pub trait Ledger: Debug + Send + Sync {
    /// Where it is, for people. Holds no secret.
    fn location(&self) -> String;

    /// Prepares the place for fences and ledger, mints a number, and drops what runs with lower numbers have left in staging.
    ///
    /// # Errors
    /// [`Error::Merging`] while an earlier run's merge is open; [`Error::Target`].
    async fn mint(&self, job: &Job, run: RunId) -> Result<Fence, Error>;

    /// Fails when the number is not the newest any more. This is for a better message: what counts is the look inside of the merge.
    ///
    /// # Errors
    /// [`Error::Superseded`]; [`Error::Target`].
    async fn check(&self, fence: &Fence) -> Result<(), Error>;

    /// The run that has loaded what is looked for.
    ///
    /// # Errors
    /// [`Error::Target`].
    async fn loaded(&self, job: &Job, look: Look<'_>) -> Result<Option<Record>, Error>;

    /// Notes a run that failed.
    ///
    /// # Errors
    /// [`Error::Target`].
    async fn note(&self, record: &Record) -> Result<(), Error>;

    /// Opens a transaction that looks at the fence and notes the record as loaded, and does all but commit: for loads whose rows somebody else has
    /// written. With `reload` a run that has loaded the drop before is noted as reloaded.
    ///
    /// # Errors
    /// [`Error::Superseded`]; [`Error::Merging`]; [`Error::Target`]. All of it is rolled back then.
    async fn enter(&self, fence: &Fence, record: &Record, reload: bool) -> Result<Merge, Error>;
}

/// A table that drops are loaded into.
#[async_trait]
pub trait Target: Debug + Send + Sync {
    /// Where fences and loads are kept: in the same database, so that one transaction can have both.
    fn ledger(&self) -> &dyn Ledger;

    /// Where it is, for people. Holds no secret.
    fn location(&self) -> String {
        self.ledger().location()
    }

    /// The table, for people.
    fn table(&self) -> String;

    /// How rows get in, for people.
    fn mode(&self) -> String;

    /// Looks whether the table takes these columns in this way, and makes an empty staging table for them.
    ///
    /// # Errors
    /// [`Error::Target`], with kind `Config` when the table is not one that can be loaded so.
    async fn stage(&self, fence: &Fence, columns: &[String]) -> Result<Box<dyn Staging>, Error>;

    /// Drops what a run of this number has left in staging, if anything.
    ///
    /// # Errors
    /// [`Error::Target`]: the next run drops it then.
    async fn clear(&self, fence: &Fence) -> Result<(), Error>;
}

/// A staging table.
#[async_trait]
pub trait Staging: Debug + Send + Sync {
    /// Something that copies rows into it, over a connection of its own.
    ///
    /// # Errors
    /// [`Error::Target`].
    async fn writer(&self) -> Result<Box<dyn Writer>, Error>;

    /// Opens the transaction and does all but commit: looks at the fence, notes the record, merges the rows. With `reload` a run that has loaded
    /// the drop before is noted as reloaded.
    ///
    /// # Errors
    /// [`Error::Superseded`]; [`Error::Rows`] with those to blame; [`Error::Target`]. All of it is rolled back then.
    async fn merge(&self, record: &Record, reload: bool) -> Result<Merge, Error>;

    /// Drops it.
    ///
    /// # Errors
    /// [`Error::Target`]: the next run drops it then.
    async fn discard(self: Box<Self>) -> Result<(), Error>;
}

/// One connection that copies.
#[async_trait]
pub trait Writer: Send {
    /// Copies rows.
    ///
    /// # Errors
    /// [`Error::Rows`] for text that the target cannot keep; [`Error::Target`].
    async fn write(&mut self, portion: &Portion, files: &[String]) -> Result<(), Error>;

    /// Commits them to staging; how many it were is the server's word.
    ///
    /// # Errors
    /// [`Error::Target`].
    async fn finish(self: Box<Self>) -> Result<u64, Error>;
}

/// What a merge came to, before its commit.
#[derive(Debug)]
pub enum Merge {
    /// The ledger knows the drop as loaded. All is rolled back.
    Already,
    /// All is done but the commit.
    Open(Box<dyn Ready>),
}

/// A transaction that is ready.
#[async_trait]
pub trait Ready: Debug + Send {
    /// What it does.
    fn counts(&self) -> Counts;

    /// Commits, and finds out what became of it when the answer is lost.
    ///
    /// # Errors
    /// [`Error::Unsettled`] when that cannot be found out; any other error says that nothing has changed.
    async fn commit(self: Box<Self>) -> Result<(), Error>;

    /// Takes it back.
    ///
    /// # Errors
    /// [`Error::Target`]; it is taken back then, too.
    async fn roll_back(self: Box<Self>) -> Result<(), Error>;
}

impl Fence {
    /// That another run was first.
    pub(crate) fn superseded(&self, location: String, newer: Option<(Epoch, String)>) -> Error {
        let Fence { job, run, epoch } = self.clone();
        Error::Superseded(Box::new(Superseded { job, run, epoch, location, newer }))
    }
}
