//! Rows that a target did not take, as they are told.
//!
//! Owns how many are listed, and from what a place is made. Promises that rows are named by their places alone.

use crate::record::Record;
use crate::{BadRow, Error};

/// How many rows an error lists.
pub(crate) const MOST: usize = 20;

/// The error that lists rows; `table` is for people.
pub(crate) fn not_taken(table: &str, mut rows: Vec<BadRow>) -> Error {
    let more = rows.len() > MOST;
    rows.truncate(MOST);
    Error::rows(format!("{table} does not take rows of the drop:"), rows, more)
}

/// A row by the number of its file and its line, as they stand in staging.
pub(crate) fn at_place(record: &Record, file: Option<&str>, line: Option<&str>, why: String) -> BadRow {
    let file = file.and_then(|file| file.parse::<usize>().ok()).and_then(|at| record.files.get(at));
    let line = line.and_then(|line| line.parse().ok()).unwrap_or_default();
    BadRow { file: file.map(|file| file.path.clone()).unwrap_or_default(), line, column: None, why }
}

/// Why nothing is replaced by nothing.
pub(crate) fn no_rows_to_replace_by(table: &str) -> Error {
    Error::Rows {
        what: format!("the drop holds no rows: replacing would leave {table} empty"),
        rows: Vec::new(),
        more: false,
        advice: Some("say --allow-empty when that is meant; nothing was changed".to_owned()),
    }
}
