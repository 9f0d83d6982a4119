//! The exit codes: one table, defined here and nowhere else.
//!
//! Promises: code, name, meaning and retry advice of an [`Exit`] agree wherever they are printed, because help text,
//! documentation and JSON are all rendered from [`Exit::ALL`]. Refuses codes outside of the table.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How a job ends. Codes follow `sysexits.h` where that has a fitting one, so that they collide with neither a shell's
/// (126 and up) nor a panic's (101).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Done, or already done.
    Ok,
    /// Bad flags or arguments.
    Usage,
    /// Corrupted repository data, bad rows, failed proof.
    Data,
    /// No such backup, drop missing or incomplete.
    NoInput,
    /// A server could not be reached or went away.
    Unavailable,
    /// A bug.
    Internal,
    /// Would overwrite something.
    Exists,
    /// Lost the lease, a signal, a deadline; nothing half done was published.
    Interrupted,
    /// Another run holds the lease.
    Busy,
    /// What was checked is not as it should be: too old, or not proven.
    Overdue,
    /// A guard or a permission said no.
    Refused,
    /// Configuration or masking rules are wrong or incomplete.
    Config,
}

/// Whether starting the same job again, unchanged, can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// There is nothing to retry.
    Done,
    /// Not before somebody changes something.
    No,
    /// Yes, at once or with a short backoff.
    Yes,
    /// Yes, when the other run has ended.
    Later,
}

impl Retry {
    /// As in the table: empty, `no`, `yes` or `later`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Done => "",
            Self::No => "no",
            Self::Yes => "yes",
            Self::Later => "later",
        }
    }
}

impl Exit {
    /// Every exit code there is, in ascending order.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Usage,
        Self::Data,
        Self::NoInput,
        Self::Unavailable,
        Self::Internal,
        Self::Exists,
        Self::Interrupted,
        Self::Busy,
        Self::Overdue,
        Self::Refused,
        Self::Config,
    ];

    /// The table's one row for this exit.
    const fn row(self) -> (u8, &'static str, &'static str, Retry) {
        match self {
            Self::Ok => (0, "ok", "done, or already done (the drop was loaded before)", Retry::Done),
            Self::Usage => (64, "usage", "bad flags or arguments", Retry::No),
            Self::Data => (65, "data", "corrupted repository data, bad rows, failed proof", Retry::No),
            Self::NoInput => (66, "no input", "no such backup, drop missing or incomplete", Retry::No),
            Self::Unavailable => (69, "unavailable", "a server could not be reached or went away", Retry::Yes),
            Self::Internal => (70, "internal", "a bug", Retry::No),
            Self::Exists => (73, "exists", "would overwrite something", Retry::No),
            Self::Interrupted => {
                (74, "interrupted", "lost the lease, a signal, a deadline; nothing half done was published", Retry::Yes)
            }
            Self::Busy => (75, "busy", "another run holds the lease", Retry::Later),
            Self::Overdue => (76, "overdue", "a backup, verification or drill is too old, or missing", Retry::No),
            Self::Refused => (77, "refused", "a guard or a permission said no", Retry::No),
            Self::Config => (78, "config", "configuration or masking rules are wrong or incomplete", Retry::No),
        }
    }

    /// The process exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.row().0
    }

    /// The name, for example `no input`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// What it means, in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.row().2
    }

    /// Whether to try again.
    #[must_use]
    pub const fn retry(self) -> Retry {
        self.row().3
    }
}

/// How [`table`] is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Aligned columns for a terminal.
    Text,
    /// A Markdown table for the documentation.
    Markdown,
    /// An array of objects: `code`, `name`, `meaning`, `retry`.
    Json,
}

/// The whole table, ending with a newline.
#[must_use]
pub fn table(layout: Layout) -> String {
    match layout {
        Layout::Text => text(),
        Layout::Markdown => markdown(),
        Layout::Json => {
            let rows: Vec<Value> = Exit::ALL
                .iter()
                .map(|exit| {
                    let retry = exit.retry().text();
                    json!({"code": exit.code(), "name": exit.name(), "meaning": exit.meaning(), "retry": retry})
                })
                .collect();
            format!("{:#}\n", Value::Array(rows))
        }
    }
}

fn text() -> String {
    let meanings = Exit::ALL.iter().map(|exit| exit.meaning().len()).max().unwrap_or_default();
    let mut table = format!("code  name         {:meanings$}  retry?\n", "meaning");
    for exit in Exit::ALL {
        let row =
            format!("{:>4}  {:11}  {:meanings$}  {}", exit.code(), exit.name(), exit.meaning(), exit.retry().text());
        table.push_str(row.trim_end());
        table.push('\n');
    }
    table
}

fn markdown() -> String {
    let mut table = String::from("| code | name | meaning | retry? |\n|---|---|---|---|\n");
    for exit in Exit::ALL {
        // Writing to a String cannot fail.
        let _infallible =
            writeln!(table, "| {} | {} | {} | {} |", exit.code(), exit.name(), exit.meaning(), exit.retry().text());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_names_are_unique() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 64, 65, 66, 69, 70, 73, 74, 75, 76, 77, 78]);
        let mut names: Vec<&str> = Exit::ALL.iter().map(|exit| exit.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Exit::ALL.len());
    }

    #[test]
    fn every_layout_has_every_row() {
        for layout in [Layout::Text, Layout::Markdown, Layout::Json] {
            let table = table(layout);
            for exit in Exit::ALL {
                assert!(table.contains(exit.meaning()) && table.contains(&exit.code().to_string()), "{table}");
            }
        }
        assert!(table(Layout::Markdown).contains("| 75 | busy | another run holds the lease | later |\n"));
        assert!(table(Layout::Text).lines().all(|line| line.trim_end() == line && line.len() <= 100));
    }
}
