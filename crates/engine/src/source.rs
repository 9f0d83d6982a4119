//! Reading a database: what a driver offers a backup.
//!
//! Owns the traits of the reading side. A driver that hands out a [`Source`] promises: everything it yields belongs to one
//! moment of the database; segments tile each stream; [`Source::confirm`] fails unless the whole dump ended well. It
//! refuses to yield what it cannot read completely: an object that is not supported fails the backup by name.

use crate::{Document, Error, Filter, Segment, StreamPlan};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is being read, for people and for the manifest's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// `postgresql`, `mysql`, `mariadb` or `mongodb`.
    pub engine: String,
    /// The server's version as it says it.
    pub version: String,
    /// The database's name.
    pub database: String,
    /// Host and port, without credentials.
    pub server: String,
    /// What the operator should know about this backup: what was left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether the server's roles are kept with it; absent when they are not.
    #[serde(default, skip_serializing_if = "GlobalsWanted::is_no")]
    pub globals: GlobalsWanted,
    /// Which part was asked for; absent when it was everything.
    #[serde(default, skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// What the backup is instead of one moment, because that was allowed: `per-collection`. Absent for one moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inexact: Option<String>,
}

/// Whether what belongs to the server and not to one database (roles, memberships) is kept with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GlobalsWanted {
    /// Not at all.
    #[default]
    No,
    /// Roles without their passwords.
    WithoutPasswords,
    /// Roles with the hashes of their passwords.
    WithPasswords,
}

impl GlobalsWanted {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_no(&self) -> bool {
        *self == Self::No
    }
}

/// What a caller may ask of a source.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// How many readers will be asked for at most.
    pub workers: usize,
    /// Longest wait for locks on tables, in seconds, before giving up: whoever waits for a lock makes others wait.
    pub lock_timeout_seconds: u64,
    /// Count each stream's rows a second time without segments, in the same snapshot, and compare.
    pub cross_count: bool,
    /// Segment sizes by stream name from the previous backup, in the driver's unit: boundaries that stay where they
    /// were let unchanged data be recognised.
    pub boundaries: BTreeMap<String, u64>,
    /// Directory of the vendor's tools; the usual places when `None`.
    pub tools: Option<PathBuf>,
    /// Whether the server's roles are read as well.
    pub globals: GlobalsWanted,
    /// Which part is read; everything when empty.
    pub filter: Filter,
    /// A server that cannot show one moment is read all the same.
    pub allow_inexact: bool,
}

/// A database of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Why it is not to be backed up; `None` when it is.
    pub left_out: Option<String>,
}

/// What will be read.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All streams, sorted by name.
    pub streams: Vec<StreamPlan>,
    /// All segments, sorted by stream and position.
    pub segments: Vec<Segment>,
    /// Segment sizes by stream, to be given back as [`SourceOptions::boundaries`] next time.
    pub boundaries: BTreeMap<String, u64>,
}

/// A database at one moment.
#[async_trait]
pub trait Source: Send + Sync {
    /// What is being read.
    fn about(&self) -> &About;

    /// What there is to read.
    fn plan(&self) -> &Plan;

    /// A connection of its own that sees the same moment.
    async fn reader(&self) -> Result<Box<dyn Reader>, Error>;

    /// What is to be read once all planned segments are: further segments of the planned streams, after the planned ones. What stands in these takes the place of what
    /// earlier segments say of the same rows; see [`crate::Loader::superseded`]. May add notes to what is being read.
    ///
    /// # Errors
    /// Whatever stands in the way of an exact backup.
    async fn rest(&mut self) -> Result<Vec<Segment>, Error> {
        Ok(Vec::new())
    }

    /// Called once all segments are drained, with the rows read per stream name. Fails unless the dump ended well: the vendor's tool
    /// succeeded and agrees on the list of tables, the snapshot is still alive, nothing changed underneath. Returns
    /// the catalog's documents.
    async fn confirm(self: Box<Self>, rows: &BTreeMap<String, u64>) -> Result<Vec<Document>, Error>;
}

/// One connection of a source.
#[async_trait]
pub trait Reader: Send {
    /// Gives every row of the segment to the sink, in a stable order.
    async fn read(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error>;
}

/// The sink could not take a row. The reason stays with the sink; a reader stops at once and passes it on.
#[derive(Debug, thiserror::Error)]
#[error("the rows could not be taken")]
pub struct SinkError;

/// Takes the rows of one segment.
#[async_trait]
pub trait RowSink: Send {
    /// Takes one row without its terminator. True asks the reader to call [`RowSink::drain`] before the next row.
    fn push(&mut self, row: &[u8]) -> bool;

    /// Waits until there is room for more.
    async fn drain(&mut self) -> Result<(), SinkError>;
}
