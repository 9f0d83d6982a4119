//! What can go wrong with a load, sorted by what a caller does about it.
//!
//! Owns the variants that a job turns into exit codes. Promises that each says what happened to what and, in `hint`, what to do next; that rows are
//! named by their places and never shown, for they may be anybody's data; and that none but `Unsettled` leaves it open whether the target has
//! changed: it has not.

use std::fmt;

use lease::{Epoch, Job, RunId};

use crate::Ended;

/// A row that was not taken, by its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BadRow {
    /// The file's path within the drop.
    pub file: String,
    /// The line where the row begins, from 1.
    pub line: u64,
    /// The column, where one is to blame.
    pub column: Option<String>,
    /// What is wrong, without the value.
    pub why: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        match &self.column {
            Some(column) => write!(f, "column {column}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// A newer run of the job has minted a number of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a newer run of {job} has taken over at {location}: this one, {run}, has number {epoch}{}", newer_text(.newer))]
pub struct Superseded {
    /// The job.
    pub job: Job,
    /// This run.
    pub run: RunId,
    /// Its number.
    pub epoch: Epoch,
    /// The target, for people.
    pub location: String,
    /// The newer number and its run, as far as the target tells.
    pub newer: Option<(Epoch, String)>,
}

fn newer_text(newer: &Option<(Epoch, String)>) -> String {
    newer.as_ref().map(|(epoch, run)| format!(", run {run} has {epoch}")).unwrap_or_default()
}

/// Why a drop was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target, or what stands between.
    #[error(transparent)]
    Target(#[from] engine::Error),
    /// The drop, or a row of it that cannot be read.
    #[error(transparent)]
    Drop(#[from] drops::Error),
    /// The lease is lost.
    #[error(transparent)]
    Lease(#[from] lease::Error),
    /// Another run was first.
    #[error("{0}")]
    Superseded(Box<Superseded>),
    /// An earlier run's merge is open and holds the fence.
    #[error("an earlier run of {job} is still merging at {location}")]
    Merging {
        /// The job.
        job: Job,
        /// The target, for people.
        location: String,
    },
    /// Rows that the target does not take.
    #[error("{what}{}", listed(.rows, *.more))]
    Rows {
        /// What happened to which table.
        what: String,
        /// The rows that are to blame, as far as they could be told.
        rows: Vec<BadRow>,
        /// Whether there are more.
        more: bool,
        /// What to do, when it is not to mend the rows.
        advice: Option<String>,
    },
    /// The answer to the commit was lost, and then the target could not be asked.
    #[error("whether {run} was loaded is not known: {location} did not answer to the commit, nor since")]
    Unsettled {
        /// The run.
        run: RunId,
        /// The target, for people.
        location: String,
        /// What was seen last.
        #[source]
        source: Box<engine::Error>,
    },
    /// A program that was to load the drop did not say that it has.
    #[error("{program} ended with {status}; {kept}")]
    Program {
        /// As it was asked for.
        program: String,
        /// How it ended.
        status: Ended,
        /// Where what it wrote is. Never what.
        kept: String,
    },
    /// A program that cannot be started.
    #[error("{program} cannot be started: {why}")]
    Unstartable {
        /// As it was asked for.
        program: String,
        /// What the system said.
        why: String,
    },
    /// Told to stop.
    #[error("stopped before the merge")]
    Stopped,
}

fn program_hint(status: Ended) -> &'static str {
    match status {
        Ended::Code(65) => {
            "by this code the program says that the drop is bad: read what it wrote, and mend the drop; nothing is noted as loaded, and what it has done itself stays unless it took that back"
        }
        Ended::Code(75) => {
            "by this code the program asks to be started again later; nothing is noted as loaded, and what it has done itself stays unless it took that back"
        }
        _ => {
            "read what it wrote; nothing is noted as loaded, and what it has done itself stays unless it took that back"
        }
    }
}

fn listed(rows: &[BadRow], more: bool) -> String {
    let mut text: String = rows.iter().map(|row| format!("\n    {row}")).collect();
    if more {
        text.push_str("\n    and more");
    }
    text
}

impl Error {
    /// Rows that the target does not take.
    pub(crate) fn rows(what: impl Into<String>, rows: Vec<BadRow>, more: bool) -> Error {
        Error::Rows { what: what.into(), rows, more, advice: None }
    }

    /// Whether it is known that the target has not changed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self, Error::Unsettled { .. })
    }

    /// What a person does next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Target(error) => return error.hint.clone(),
            Error::Drop(error) => return error.hint.clone(),
            Error::Lease(error) => return error.hint(),
            Error::Superseded(_) => "nothing of this run was merged; see `longshore load --history` for what the other one did".to_owned(),
            Error::Merging { .. } => "wait for it: the server ends one whose client is gone; then start again".to_owned(),
            Error::Rows { advice: Some(advice), .. } => advice.clone(),
            Error::Rows { .. } => "nothing was loaded; mend these rows in a new drop".to_owned(),
            Error::Unsettled { .. } => {
                "start the same load again when the server answers: the ledger knows, and what is loaded is not loaded twice".to_owned()
            }
            Error::Program { status, .. } => program_hint(*status).to_owned(),
            Error::Unstartable { .. } => {
                "give the path of an executable file whose interpreter is there as well; it was not started, and nothing is noted as loaded".to_owned()
            }
            Error::Stopped => "nothing was merged; start again".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_by_their_places() {
        let row = |line, column: Option<&str>, why: &str| BadRow {
            file: "a/b.csv".to_owned(),
            line,
            column: column.map(str::to_owned),
            why: why.to_owned(),
        };
        let rows = vec![row(2, Some("age"), "not an integer"), row(9, None, "violates t_check")];
        let said = Error::rows("public.t does not take 2 rows", rows, true).to_string();
        let wanted = "public.t does not take 2 rows\n    a/b.csv:2: column age: not an integer\n    a/b.csv:9: violates t_check\n    and more";
        assert_eq!(said, wanted);
    }
}
