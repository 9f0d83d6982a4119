//! What a finished restore says.

use crate::args::Proof;
use crate::proof::Verdict;
use engine::Conclusion;
use jobkit::format::{bytes, counted, duration};
use repository::Manifest;
use serde::Serialize;
use std::time::Duration;

/// The result, in the shape that `--output json` prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub source: String,
    pub id: String,
    pub database: String,
    pub server: String,
    pub tables: u64,
    pub rows: u64,
    pub bytes: u64,
    pub proof: Proof,
    pub proven: bool,
    pub seconds: f64,
    /// What the database that was replaced is called now; null when there was none, or it is gone.
    pub replaced: Option<String>,
    pub notes: Vec<String>,
}

impl Report {
    pub fn new(
        manifest: &Manifest,
        conclusion: Conclusion,
        proof: Proof,
        verdicts: &[Verdict],
        notes: Vec<String>,
    ) -> Self {
        let header = &manifest.header;
        Self {
            source: header.source.to_string(),
            id: header.backup.to_string(),
            database: conclusion.database,
            server: conclusion.server,
            tables: verdicts.len() as u64,
            rows: verdicts.iter().map(|verdict| verdict.found_rows).sum(),
            bytes: header.totals.bytes,
            proof,
            // A difference is a failure and never gets here.
            proven: true,
            seconds: 0.0,
            replaced: conclusion.replaced,
            notes,
        }
    }
}

/// A few lines: what was restored where, and what was compared.
pub(crate) fn text(report: &Report) -> String {
    let proof = match report.proof {
        Proof::Counts => "the number of rows in every table is what the backup recorded",
        Proof::Content => "every row of every table is what the backup recorded",
    };
    let kept = report.replaced.as_ref().map_or_else(String::new, |name| {
        format!("  kept, closed: {name}; `longshore rollback` brings it back, the next restore drops it\n")
    });
    let notes: String = report.notes.iter().map(|note| format!("  note: {note}\n")).collect();
    format!(
        "restored {}@{} into {} at {}\n  {}, {}, {}, in {}\n  proven: {proof}\n{kept}{notes}",
        report.source,
        report.id,
        report.database,
        report.server,
        counted(report.tables, "table"),
        counted(report.rows, "row"),
        bytes(report.bytes),
        duration(Duration::from_secs_f64(report.seconds)),
    )
}
