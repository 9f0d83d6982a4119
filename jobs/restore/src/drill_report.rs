//! What a finished drill says.

use crate::proof::Verdict;
use crate::road::Seconds;
use jobkit::format::{bytes, counted, duration};
use repository::Manifest;
use serde::Serialize;
use std::time::Duration;

/// Seconds that each stage took.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Stages {
    pub check: f64,
    #[serde(flatten)]
    pub road: Seconds,
    pub drop: f64,
}

/// The result, in the shape that `--output json` prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub source: String,
    pub id: String,
    pub server: String,
    pub server_version: String,
    pub tables: u64,
    pub rows: u64,
    pub bytes: u64,
    pub proof: &'static str,
    pub proven: bool,
    pub seconds: f64,
    pub stages: Stages,
    /// Key of the object that records it; null when it could not be written.
    pub evidence: Option<String>,
    pub notes: Vec<String>,
}

impl Report {
    pub fn new(
        manifest: &Manifest,
        server: String,
        server_version: String,
        verdicts: &[Verdict],
        stages: Stages,
        notes: Vec<String>,
    ) -> Self {
        let header = &manifest.header;
        Self {
            source: header.source.to_string(),
            id: header.backup.to_string(),
            server,
            server_version,
            tables: verdicts.len() as u64,
            rows: verdicts.iter().map(|verdict| verdict.found_rows).sum(),
            bytes: header.totals.bytes,
            proof: "content",
            // A difference is a failure and never gets here.
            proven: true,
            seconds: 0.0,
            stages,
            evidence: None,
            notes,
        }
    }

    pub fn name(&self) -> String {
        format!("{}@{}", self.source, self.id)
    }
}

/// A few lines: what was restored, how long that took, and what it shows.
pub(crate) fn text(report: &Report) -> String {
    let time = |seconds: f64| duration(Duration::from_secs_f64(seconds));
    let Stages { check, road, drop } = report.stages;
    let stages = [
        ("check", check),
        ("schema", road.schema),
        ("rows and indexes", road.load),
        ("constraints", road.complete),
        ("proof", road.prove),
        ("drop", drop),
    ];
    let stages: Vec<String> = stages.iter().map(|(name, seconds)| format!("{name} {}", time(*seconds))).collect();
    let recorded = report.evidence.as_ref().map_or_else(String::new, |key| format!("  recorded as {key}\n"));
    let notes: String = report.notes.iter().map(|note| format!("  note: {note}\n")).collect();
    format!(
        "drilled {} on {} ({})\n  {}, {}, {}, in {}: {}\n  proven: every row of every table is what the backup recorded\n  \
         the scratch database is gone\n{recorded}{notes}",
        report.name(),
        report.server,
        report.server_version,
        counted(report.tables, "table"),
        counted(report.rows, "row"),
        bytes(report.bytes),
        time(report.seconds),
        stages.join(", "),
    )
}
