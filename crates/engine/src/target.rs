//! Writing a database: what a driver offers a restore.
//!
//! Owns the traits of the writing side, in the order a restore calls them: prepare (schema before data), load (rows, in
//! parallel) and build (indexes of a table that is loaded), complete (constraints, sequences, the rest), read back (for the proof), then publish or discard. A driver
//! promises that nothing is visible under the target's own name before `publish`, and that `discard` leaves nothing
//! behind. It refuses to replace what is not marked for it.

use crate::{Digest, Error, Filter, Reader, Segment, StreamName};
use async_trait::async_trait;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// What a restore does with a database that has the target's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Refuses one that holds something.
    Fresh,
    /// Takes its place, when everything is proven; it is kept aside.
    Swap,
    /// Looks at none: the database is made on the URL's server, never published, and only there to be discarded. Roles that
    /// are missing are no obstacle.
    Drill,
}

/// Statements that the operator gives, in the database's own language.
#[derive(Clone)]
pub struct Script {
    /// What to call it in errors: a file's name.
    pub name: String,
    /// The statements.
    pub text: String,
}

/// Never the text: what disarms a copy may name a secret.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({}, {} bytes)", self.name, self.text.len())
    }
}

/// What a caller may ask of a target.
#[derive(Debug, Clone)]
pub struct TargetOptions {
    /// Swap where the target holds something, fresh where it does not, when `None`.
    pub mode: Option<Mode>,
    /// Only this, by what it includes, into a database that stays; everything into one of its own when empty.
    pub part: Filter,
    /// What the one collection of `part` is to be called, for databases that can.
    pub rename: Option<String>,
    /// What to run in the proven database before anybody can connect to it.
    pub before_publish: Vec<Script>,
    /// Drop the database that was replaced, right away.
    pub drop_old: bool,
    /// Replace each collection in one step, which leaves no way back: for databases that have no step for all of them.
    pub atomic: bool,
    /// The target's server was cloned from the source's: that both have the same identity says nothing.
    pub target_is_a_clone: bool,
    /// Host and port that the backup was made from.
    pub source_server: Option<String>,
    /// How many loaders will be asked for at most; also parallel index builds.
    pub workers: usize,
    /// Leave owners and grants out: everything belongs to the role that restores.
    pub no_owner: bool,
    /// Programs of the first account of a pair are made as those of the second.
    pub definers: Vec<(String, String)>,
    /// Everything is done as this role, which the copy belongs to; the role that connects when `None`.
    pub role: Option<String>,
    /// Make roles that the backup needs and the server lacks.
    pub create_missing_roles: bool,
    /// Identifies this run in the names of what it makes: the last characters of a ULID, lower case.
    pub run: String,
    /// Directory of the vendor's tools; the usual places when `None`.
    pub tools: Option<PathBuf>,
}

/// Something that is made of a stream once all its rows are in: an index, a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The driver's number for it.
    pub number: usize,
    /// Kind and name, for people.
    pub what: String,
}

/// How a restore ended.
#[derive(Debug, Clone, Serialize)]
pub struct Conclusion {
    /// The database's name.
    pub database: String,
    /// Host and port.
    pub server: String,
    /// What the database that had the name before is called now, where it is kept.
    pub replaced: Option<String>,
    /// What the operator should know about the last step.
    pub notes: Vec<String>,
}

/// What `mark` says about a database.
#[derive(Debug, Clone, Serialize)]
pub struct Marked {
    /// The database's name.
    pub database: String,
    /// Host and port.
    pub server: String,
    /// The environment it is marked as now; `None` when the mark was taken away.
    pub marked_as: Option<String>,
    /// Whether restores may replace it now.
    pub replaceable: bool,
    /// The environment it was marked as before.
    pub before: Option<String>,
    /// Its size on disk.
    pub bytes: u64,
    /// How many tables it has.
    pub tables: u64,
}

/// A database being restored, under a name of its own until it is published.
#[async_trait]
pub trait Target: Send + Sync {
    /// Makes the schema as far as it must exist before data. Returns notes for the operator: what was left out on
    /// purpose, what was tidied.
    async fn prepare(&mut self) -> Result<Vec<String>, Error>;

    /// The streams that are restored; all that the backup has when `None`.
    fn streams(&self) -> Option<BTreeSet<StreamName>> {
        None
    }

    /// Streams that are loaded before all others, one after another in this order: what they hold refers to each other.
    fn first(&self) -> Vec<StreamName>;

    /// Streams that are loaded after all others, and after what is built of these: what they hold refers to it.
    fn last(&self) -> Vec<StreamName> {
        Vec::new()
    }

    /// A connection of its own for loading.
    async fn loader(&self) -> Result<Box<dyn Loader>, Error>;

    /// What can be made of a stream as soon as all its rows are in, in stages: one stage after the other, and within one
    /// all at the same time. May be empty: what was not built when it is called, `complete` makes.
    fn builds(&self, stream: &StreamName) -> Vec<Vec<Build>>;

    /// Makes the rest of the schema: what was not built yet, constraints, triggers, sequence values, statistics.
    async fn complete(&mut self) -> Result<(), Error>;

    /// The server's version, as it says it.
    async fn server_version(&self) -> Result<String, Error>;

    /// Number of rows a stream holds now.
    async fn count(&self, stream: &StreamName) -> Result<u64, Error>;

    /// Segments that tile every restored stream, for reading it back.
    async fn read_back_plan(&self) -> Result<Vec<Segment>, Error>;

    /// A connection of its own for reading back, in the row format of the backup.
    async fn reader(&self) -> Result<Box<dyn Reader>, Error>;

    /// Runs what the operator wants run in the proven database before anybody can connect to it. Returns notes.
    async fn before_publish(&mut self) -> Result<Vec<String>, Error>;

    /// Gives the finished database its name. Until this returns `Ok` the target is as it was. `stop` is asked between
    /// attempts, where it takes several: whether to give up.
    async fn publish(&mut self, stop: &(dyn Fn() -> bool + Send + Sync)) -> Result<Conclusion, Error>;

    /// Removes everything this run made.
    async fn discard(&mut self) -> Result<(), Error>;
}

/// One connection of a target.
#[async_trait]
pub trait Loader: Send {
    /// Begins to load a stream; `whole` says that this loader alone loads all of it, in one transaction.
    async fn begin(&mut self, stream: &StreamName, whole: bool) -> Result<(), Error>;

    /// Begins one segment of the stream, by the range that the backup recorded.
    async fn begin_segment(&mut self, range: &str) -> Result<(), Error>;

    /// Gives some of the segment's bytes: rows with their terminators, cut anywhere.
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error>;

    /// Ends the segment. Returns the number of rows that the server took.
    async fn end_segment(&mut self) -> Result<u64, Error>;

    /// Rows of the segment that was ended last whose place is taken by rows of a later segment: they were not loaded, and are not part of what comes back.
    fn superseded(&self) -> Digest {
        Digest::default()
    }

    /// Ends the stream: what was loaded is committed.
    async fn commit(&mut self) -> Result<(), Error>;

    /// Makes one of [`Target::builds`]; the stream is loaded by now.
    async fn build(&mut self, build: &Build) -> Result<(), Error>;
}
