//! Writing a database: what a driver offers a restore.
//!
//! Owns the traits of the writing side, in the order a restore calls them: prepare (schema before data), load (rows, in
//! parallel), complete (indexes, constraints, sequences), read back (for the proof), then publish or discard. A driver
//! promises that nothing is visible under the target's own name before `publish`, and that `discard` leaves nothing
//! behind. It refuses a target that already holds something.

use crate::{Error, Reader, Segment, StreamName};
use async_trait::async_trait;
use serde::Serialize;
use std::path::PathBuf;

/// What a caller may ask of a target.
#[derive(Debug, Clone)]
pub struct TargetOptions {
    /// How many loaders will be asked for at most; also parallel index builds.
    pub workers: usize,
    /// Leave owners and grants out: everything belongs to the role that restores.
    pub no_owner: bool,
    /// Everything is done as this role, which the copy belongs to; the role that connects when `None`.
    pub role: Option<String>,
    /// Make roles that the backup needs and the server lacks.
    pub create_missing_roles: bool,
    /// Identifies this run in the names of what it makes: the last characters of a ULID, lower case.
    pub run: String,
    /// Directory of the vendor's tools; the usual places when `None`.
    pub tools: Option<PathBuf>,
}

/// How a restore ended.
#[derive(Debug, Clone, Serialize)]
pub struct Conclusion {
    /// The database's name.
    pub database: String,
    /// Host and port.
    pub server: String,
    /// What the operator should know about the last step.
    pub notes: Vec<String>,
}

/// A database being restored, under a name of its own until it is published.
#[async_trait]
pub trait Target: Send + Sync {
    /// Makes the schema as far as it must exist before data. Returns notes for the operator: what was left out on
    /// purpose, what was tidied.
    async fn prepare(&mut self) -> Result<Vec<String>, Error>;

    /// A connection of its own for loading.
    async fn loader(&self) -> Result<Box<dyn Loader>, Error>;

    /// Makes the rest of the schema: indexes, constraints, triggers, sequence values, statistics.
    async fn complete(&mut self) -> Result<(), Error>;

    /// Number of rows a stream holds now.
    async fn count(&self, stream: &StreamName) -> Result<u64, Error>;

    /// Segments that tile every restored stream, for reading it back.
    async fn read_back_plan(&self) -> Result<Vec<Segment>, Error>;

    /// A connection of its own for reading back, in the row format of the backup.
    async fn reader(&self) -> Result<Box<dyn Reader>, Error>;

    /// Gives the finished database its name. Until this returns `Ok` the target is as it was.
    async fn publish(&mut self) -> Result<Conclusion, Error>;

    /// Removes everything this run made.
    async fn discard(&mut self) -> Result<(), Error>;
}

/// One connection of a target.
#[async_trait]
pub trait Loader: Send {
    /// Begins to load a stream; `whole` says that this loader alone loads all of it, in one transaction.
    async fn begin(&mut self, stream: &StreamName, whole: bool) -> Result<(), Error>;

    /// Begins one segment of the stream.
    async fn begin_segment(&mut self) -> Result<(), Error>;

    /// Gives some of the segment's bytes: rows with their terminators, cut anywhere.
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error>;

    /// Ends the segment. Returns the number of rows that the server took.
    async fn end_segment(&mut self) -> Result<u64, Error>;

    /// Ends the stream: what was loaded is committed.
    async fn commit(&mut self) -> Result<(), Error>;
}
