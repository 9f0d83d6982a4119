//! Streams and segments: the units in which a database's rows travel.
//!
//! Owns the names and the plan's shapes. Promises that segments of one stream sort by `at` and tile the stream without
//! gap or overlap (drivers assert it). Refuses to interpret a segment's range: that is the driver's own text.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a stream, as the driver writes it: for PostgreSQL a quoted qualified table name such as
/// `public.events` or `public."Odd ""name"`. Unique within one backup.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamName(String);

impl StreamName {
    /// Takes a driver's name for a stream as it is.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the rows of a stream are written. Two digests are comparable only when their row formats are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFormat {
    /// Name and version of the format, such as `postgresql-copy-text-1`.
    pub name: String,
    /// Character encoding of the bytes, in the engine's own spelling.
    pub encoding: String,
    /// What follows every row in the stored bytes; it is not part of the row that is hashed. May be empty.
    pub terminator: String,
    /// Columns in the order they stand in a row.
    pub columns: Vec<String>,
}

/// One stream of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// Name of the stream.
    pub name: StreamName,
    /// Format of its rows.
    pub format: RowFormat,
    /// Bytes the driver expects the rows to take on the wire; an estimate for ordering and progress.
    pub estimated_bytes: u64,
}

/// A part of a stream that one worker reads in one go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Where it begins, for sorting: a page number, an ordinal. Unique within the stream.
    pub at: u64,
    /// What the driver needs to read it, in the driver's own text.
    pub range: String,
    /// Bytes the driver expects; an estimate.
    pub estimated_bytes: u64,
}
