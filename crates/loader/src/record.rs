//! What the ledger remembers of a run.
//!
//! Owns the record, in the shape that `--output json` shows. Promises that it holds no row and no secret.

use lease::{Epoch, Job, RunId};
use serde::{Deserialize, Serialize, Serializer};

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its rows are in the table. At most one run of a job has this of one drop.
    Loaded,
    /// They were, until the same drop was loaded again on request.
    Reloaded,
    /// Nothing of it is there.
    Failed,
}

impl Status {
    /// As in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Loaded => "loaded",
            Status::Reloaded => "reloaded",
            Status::Failed => "failed",
        }
    }

    /// From the ledger; what a newer version wrote counts as failed.
    pub(crate) fn read(text: &str) -> Status {
        match text {
            "loaded" => Status::Loaded,
            "reloaded" => Status::Reloaded,
            _ => Status::Failed,
        }
    }
}

/// Rows, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Read from the drop.
    pub read: u64,
    /// New in the table.
    pub inserted: u64,
    /// In the table under their keys before.
    pub updated: u64,
    /// Removed from the table before others came.
    pub deleted: u64,
    /// Left out on request, because they were bad.
    pub rejected: u64,
}

/// One file of a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path within the drop.
    pub path: String,
    /// Its size as it lies there, in bytes.
    pub bytes: u64,
    /// The hash of these bytes in 64 hex digits, once they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Rows read from it.
    #[serde(default)]
    pub rows: u64,
}

/// One run in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The run.
    pub run: RunId,
    /// Its job.
    #[serde(serialize_with = "job_name")]
    pub job: Job,
    /// The drop's identity in 64 hex digits; `None` when the run ended before all of it was read.
    pub drop: Option<String>,
    /// A hash of the files' names and sizes: drops that differ in it differ.
    pub listing: String,
    /// The fence's number.
    pub epoch: Epoch,
    /// What became of it.
    pub status: Status,
    /// The table, or the program that has loaded the drop.
    pub table: String,
    /// How rows got into the table, or `command`.
    pub mode: String,
    /// Where the drop was.
    pub source: String,
    /// Its files.
    pub files: Vec<FileRecord>,
    /// Rows.
    pub counts: Counts,
    /// A hash of the options.
    pub options: String,
    /// The program.
    pub program: String,
    /// Its image.
    pub image: Option<String>,
    /// When the fence was minted, by the target's clock, RFC 3339.
    pub started: Option<String>,
    /// When it ended, by the target's clock.
    pub finished: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// In `mode`, where a program has loaded the drop.
pub(crate) const BY_PROGRAM: &str = "command";

impl Record {
    /// Whether a program of the user's own has loaded the drop: rows are not counted then.
    #[must_use]
    pub fn is_by_program(&self) -> bool {
        self.mode == BY_PROGRAM
    }
}

fn job_name<S: Serializer>(job: &Job, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(job.as_str())
}
