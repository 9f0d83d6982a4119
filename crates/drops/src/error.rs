//! What can go wrong with a drop, sorted by what an operator does about it.
//!
//! Owns the kinds that a job turns into exit codes and the list of rows that were refused. Promises that every error names the file, and within it
//! the line or the byte where there is one, and says what to do next where there is anything. Refuses content: what stands in a cell may be
//! about a patient, so no error repeats it.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::Place;

/// The cause below an error, as its `source`.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What kind of trouble it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The drop, or a file that it must hold, is not there or not complete (66).
    Missing,
    /// What the files hold is wrong: rows, encodings, hashes, a cut-off end (65).
    Data,
    /// A file became another while the drop was being read: whoever writes it was not done (66).
    Changed,
    /// A permission said no, or a name, a link or a size is one that is never followed (77).
    Refused,
    /// A file that was to be new is there already (73).
    Exists,
    /// The format, the contract or the place for rows that was asked for cannot be (78).
    Config,
    /// The disk or the machine failed; the same may succeed later (69).
    Unavailable,
    /// A bug (70).
    Internal,
}

/// An error of a drop, of one of its files, or of rows in it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What kind of trouble it is.
    pub kind: Kind,
    /// What happened, to what. With refused rows, one of them on each further line.
    pub what: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The first rows that were refused, when that is what is wrong. Their texts are in `what` already.
    pub rejects: Vec<Reject>,
    /// What caused it.
    #[source]
    pub source: Option<Cause>,
}

impl Error {
    pub(crate) fn new(kind: Kind, what: impl fmt::Display) -> Error {
        Error { kind, what: what.to_string(), hint: None, rejects: Vec::new(), source: None }
    }

    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Error {
        self.hint = Some(hint.to_string());
        self
    }

    pub(crate) fn because(mut self, source: impl Into<Cause>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// What the system said about a file or directory, `what` being what was tried: "read a.csv".
    pub(crate) fn io(what: impl fmt::Display, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Error::new(Kind::Missing, format!("could not {what}: it is not there")).because(error)
            }
            io::ErrorKind::PermissionDenied => Error::new(Kind::Refused, format!("no permission to {what}"))
                .hint("let the user that runs the job read the drop")
                .because(error),
            _ => Error::new(Kind::Unavailable, format!("could not {what}"))
                .hint("look at the disk or the mount that the drop is on, then start again")
                .because(error),
        }
    }

    /// A file is not the one that was listed any more.
    pub fn changed(path: &str, how: impl fmt::Display) -> Error {
        Error::new(Kind::Changed, format!("{path} changed while the drop was read: {how}"))
            .hint("start again when whoever writes the drop has ended; a manifest or _SUCCESS that is written last tells when")
    }

    /// A task of ours ended without a word.
    pub(crate) fn internal(what: impl fmt::Display, source: impl Into<Cause>) -> Error {
        Error::new(Kind::Internal, what).because(source)
    }
}

/// A row that cannot be taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The file, as the drop names it.
    pub path: Arc<str>,
    /// Where the row begins.
    pub place: Place,
    /// Which of the file's columns is wrong, from 1; `None` when it is the whole row, or a column that is not there.
    pub column: Option<usize>,
    /// That column's name.
    pub name: Option<Arc<str>>,
    /// What is wrong with it. Never what stands in it.
    pub why: String,
}

/// `file:line:column: name: why`, which editors follow; without a column `file:line: why`.
impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.place.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if let Some(name) = &self.name {
            write!(f, ": {name}")?;
        }
        write!(f, ": {}", self.why)
    }
}
