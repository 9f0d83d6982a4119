//! What a load says of itself.
//!
//! Owns the texts. Promises to show what the ledger has, and nothing of a row.

use jobkit::format::{bytes, count, counted};
use jobkit::{Align, text_table};
use loader::{Counts, Done, Record};

/// What of a drop's identity is shown to people.
const SHORT: usize = 12;

fn short(record: &Record) -> &str {
    record.drop.as_deref().and_then(|drop| drop.get(..SHORT)).unwrap_or("-")
}

/// How a load ended, for people.
pub(crate) fn done(done: &Done, location: &str) -> String {
    match done {
        Done::Loaded { record } => format!("loaded {}", about(record, location)),
        Done::DryRun { record } => format!("would load {}  nothing was changed\n", about(record, location)),
        Done::AlreadyLoaded { by, other_options } => {
            let when = by.finished.as_deref().unwrap_or("before");
            let mut text =
                format!("already loaded: drop {} by run {} at {when}; nothing was done\n", short(by), by.run);
            if *other_options {
                text.push_str("  that was with other options; --reload loads it again with these\n");
            }
            text
        }
    }
}

fn about(record: &Record, location: &str) -> String {
    let size: u64 = record.files.iter().map(|file| file.bytes).sum();
    let files = counted(record.files.len() as u64, "file");
    if record.is_by_program() {
        return format!(
            "by {}, as the ledger of {location} has it\n  {files}, {}\n  drop {}, run {}\n",
            record.table,
            bytes(size),
            short(record),
            record.run
        );
    }
    format!(
        "{} into {} of {location} ({})\n  {files}, {}; {}\n  drop {}, run {}\n",
        counted(record.counts.read, "row"),
        record.table,
        record.mode,
        bytes(size),
        counts(record.counts),
        short(record),
        record.run
    )
}

fn counts(counts: Counts) -> String {
    let Counts { inserted, updated, deleted, rejected, .. } = counts;
    let all = [(inserted, "inserted"), (updated, "updated"), (deleted, "deleted"), (rejected, "left out")];
    let said: Vec<_> =
        all.iter().filter(|(rows, _)| *rows > 0).map(|(rows, what)| format!("{} {what}", count(*rows))).collect();
    if said.is_empty() { "no rows".to_owned() } else { said.join(", ") }
}

/// The ledger as a table.
pub(crate) fn history(records: &[Record]) -> String {
    let columns = [
        ("FINISHED (UTC)", Align::Left),
        ("JOB", Align::Left),
        ("STATUS", Align::Left),
        ("TABLE", Align::Left),
        ("MODE", Align::Left),
        ("ROWS", Align::Right),
        ("DROP", Align::Left),
        ("RUN", Align::Left),
        ("WHY", Align::Left),
    ];
    let rows = records.iter().map(|record| {
        let first_line = |text: &String| text.lines().next().unwrap_or_default().to_owned();
        vec![
            record.finished.clone().unwrap_or_default().replace('T', " ").replace('Z', ""),
            record.job.to_string(),
            record.status.as_str().to_owned(),
            record.table.clone(),
            record.mode.clone(),
            if record.is_by_program() { "-".to_owned() } else { count(record.counts.read) },
            short(record).to_owned(),
            record.run.to_string(),
            record.error.as_ref().map(first_line).unwrap_or_default(),
        ]
    });
    text_table(&columns, rows)
}
