//! What a finished backup says to a person.

use jobkit::format::{bytes, count, duration};
use repository::Summary;

/// A few lines: what was backed up, how much, how long, and where it is.
pub(crate) fn text(summary: &Summary, location: &str) -> String {
    let took = summary.finished.duration_since(summary.started).unsigned_abs();
    let saved = match (summary.reused_chunks, summary.chunks) {
        (0, _) => String::new(),
        (reused, all) => format!(", {} of {} chunks were there already", count(reused), count(all)),
    };
    format!(
        "backed up {source}@{id}\n  {tables}, {rows} rows, {read} read in {took}\n  {added} added to {location}{saved}\n",
        source = summary.source,
        id = summary.id,
        tables = if summary.streams == 1 { "1 table".to_owned() } else { format!("{} tables", count(summary.streams)) },
        rows = count(summary.rows),
        read = bytes(summary.bytes),
        took = duration(took),
        added = bytes(summary.added_bytes),
    )
}
