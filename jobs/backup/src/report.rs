//! What a finished backup says to a person.

use crate::all::Entry;
use jobkit::format::{bytes, count, counted, duration};
use repository::Summary;

/// A few lines: what was backed up, how much, how long, and where it is.
pub(crate) fn text(summary: &Summary, location: &str) -> String {
    let took = summary.finished.duration_since(summary.started).unsigned_abs();
    let saved = match (summary.reused_chunks, summary.chunks) {
        (0, _) => String::new(),
        (reused, all) => format!(", {} of {} chunks were there already", count(reused), count(all)),
    };
    let notes: String = notes(summary).iter().map(|note| format!("  {note}\n")).collect();
    format!(
        "backed up {source}@{id}\n  {tables}, {rows}, {read} read in {took}\n  {added} added to {location}{saved}\n{notes}",
        source = summary.source,
        id = summary.id,
        tables = counted(summary.streams, "table"),
        rows = counted(summary.rows, "row"),
        read = bytes(summary.bytes),
        took = duration(took),
        added = bytes(summary.added_bytes),
    )
}

/// A paragraph per database: what was made, why not, or why it was left out.
pub(crate) fn all(entries: &[Entry], location: &str) -> String {
    let one = |entry: &Entry| match (&entry.backup, &entry.left_out, &entry.failure) {
        (Some(summary), ..) => text(summary, location),
        (_, Some(why), _) => format!("left out database {}: {why}\n", entry.database),
        (.., failure) => {
            let said = failure.as_ref().and_then(|failure| failure.get("error")).and_then(|error| error.as_str());
            format!("NOT backed up: database {}: {}\n", entry.database, said.unwrap_or("it failed"))
        }
    };
    entries.iter().map(one).collect()
}

/// What the source had to say about this backup.
fn notes(summary: &Summary) -> Vec<&str> {
    let notes = summary.about.get("notes").and_then(|notes| notes.as_array());
    notes.into_iter().flatten().filter_map(|note| note.as_str()).collect()
}
