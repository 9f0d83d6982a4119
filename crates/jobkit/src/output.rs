//! A command's result on stdout.
//!
//! Promises: with `--output json` exactly one JSON document, indented only on a terminal; a reader that goes away
//! (`| head`) is no failure. Refuses to print anything else on stdout.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::{Failure, OrFail};

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Prints the one result of a command. Clones print the same one.
#[derive(Debug, Clone)]
pub struct Printer {
    output: Output,
    printed: Arc<AtomicBool>,
    /// The result once more, for those who are told of it; `None` when nobody is.
    kept: Option<Arc<Mutex<Value>>>,
}

impl Printer {
    /// Nothing is printed yet.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self { output, printed: Arc::default(), kept: None }
    }

    /// Keeps what is printed, for [`Printer::result`].
    pub(crate) fn keeping(self) -> Self {
        Self { kept: Some(Arc::default()), ..self }
    }

    /// What was printed, in the shape of `--output json`, when that is kept and there was anything.
    pub(crate) fn result(&self) -> Option<Value> {
        let kept = self.kept.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(kept).filter(|kept| !kept.is_null())
    }

    /// What was asked for.
    #[must_use]
    pub fn output(&self) -> Output {
        self.output
    }

    /// Prints the result: `result` as JSON, or what `text` makes of it.
    ///
    /// # Errors
    /// [`Exit::Internal`] when a document was printed already or `result` cannot be JSON; [`Exit::Unavailable`] when
    /// stdout cannot be written. A broken pipe is no error.
    pub fn print<T: Serialize>(&self, result: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        if let Some(kept) = &self.kept {
            // What cannot be JSON is kept as nothing, and is a failure below when JSON is asked for.
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = serde_json::to_value(result).unwrap_or_default();
        }
        let text = match self.output {
            Output::Text => with_newline(text(result)),
            Output::Json => {
                if self.printed.swap(true, Ordering::Relaxed) {
                    return Err(Failure::new(Exit::Internal, "print a second result"));
                }
                let pretty = io::stdout().is_terminal();
                let json = if pretty { serde_json::to_string_pretty(result) } else { serde_json::to_string(result) };
                with_newline(json.or_fail(Exit::Internal, "write the result as JSON")?)
            }
        };
        write_stdout(&text).or_fail(Exit::Unavailable, "write the result to stdout")
    }

    /// With `--output json`: the failure as the one document, unless the job got as far as printing its own.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.output == Output::Json && !self.printed.swap(true, Ordering::Relaxed) {
            // The exit code and stderr say it as well; there is nobody left to tell about stdout.
            let _stdout_may_be_gone = write_stdout(&format!("{}\n", failure.to_json()));
        }
    }
}

fn with_newline(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Writes to stdout. A reader that has gone away had enough.
pub(crate) fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table without borders, two spaces between columns. Rows with fewer cells than columns are filled up. A cell
/// is never broken: an id in pieces cannot be copied.
#[must_use]
pub fn text_table(columns: &[(&str, Align)], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(name, _)| *name));
    table.add_rows(rows);
    for (index, (_, align)) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            column.set_cell_alignment(match align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_plain_and_numbers_stand_right() {
        let rows = [vec!["shop".to_owned(), "1,234".to_owned()], vec!["a".to_owned(), "5".to_owned()]];
        let table = text_table(&[("source", Align::Left), ("rows", Align::Right)], rows);
        assert_eq!(table, "source   rows\nshop    1,234\na           5\n");
    }
}
