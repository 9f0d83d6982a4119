//! What can go wrong with a child process, and how one ends.
//!
//! Promises: names the program and, for a failed one, the end of what it wrote to stderr. Refuses to carry arguments,
//! environment values or secret file contents: an [`Error`] may be logged as it is.

use std::fmt;
use std::io;
use std::time::Duration;

/// How many of a failed program's last stderr lines `Display` shows; the field has the whole tail.
const SHOWN_LINES: usize = 3;
/// How many characters of one such line are shown.
const SHOWN_CHARS: usize = 300;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited by itself with this code, 0 to 255.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Status {
    /// True for exit code 0 and nothing else.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal {number}"),
            },
        }
    }
}

/// Names of the signals whose numbers are the same on every system we run on, and that end a process in practice.
fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// Why a child could not be started, or did not do what it was started for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not installed, or not on `PATH`.
    #[error("{program} is not installed or not on PATH")]
    Missing {
        /// As it was asked for.
        program: String,
    },
    /// The program exists and could not be started.
    #[error("start {program}")]
    Spawn {
        /// As it was asked for.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ended with something else than exit code 0.
    #[error("{program} ended with {status}{}", last_lines(stderr_tail))]
    Failed {
        /// As it was asked for.
        program: String,
        /// How it ended.
        status: Status,
        /// The last [`TAIL_BYTES`](crate::TAIL_BYTES) of its stderr.
        stderr_tail: String,
    },
    /// The program wrote more to stdout than the caller allowed; it was killed.
    #[error("{program} wrote more than {limit} bytes to its output")]
    OutputTooLong {
        /// As it was asked for.
        program: String,
        /// The caller's limit, in bytes.
        limit: usize,
    },
    /// The program did not end in time; it was killed.
    #[error("{program} did not end within {} s", after.as_secs())]
    TimedOut {
        /// As it was asked for.
        program: String,
        /// The time it was given.
        after: Duration,
    },
    /// A file or pipe around the child failed.
    #[error("{what}")]
    Io {
        /// What was being done, to what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}

/// `": line | line"` of the last non-empty lines, or nothing.
fn last_lines(tail: &str) -> String {
    let mut lines: Vec<&str> =
        tail.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(SHOWN_LINES).collect();
    if lines.is_empty() {
        return String::new();
    }
    lines.reverse();
    let shown: Vec<String> = lines.into_iter().map(|line| line.chars().take(SHOWN_CHARS).collect()).collect();
    format!(": {}", shown.join(" | "))
}
