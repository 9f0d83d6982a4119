//! Rows that are refused: how many may be, and where they go.
//!
//! Owns counting them. Promises that by default the first one fails the file, with a list of the first twenty; and that where some are allowed, each one that
//! is left out is handed to a sink as its original bytes before the file can end well. Refuses to leave out a row that nobody keeps.

use std::io;

use crate::error::{Error, Kind, Reject};

/// How many refused rows an error lists.
pub const LISTED_REJECTS: usize = 20;

/// Where refused rows go. Called from a thread that may block, in the order of the file.
pub trait RejectSink: Send {
    /// Keeps a row: `original` are its bytes as they stand in the decompressed file, the end of the line included, which a
    /// file's last row may lack.
    ///
    /// # Errors
    /// What the system says; the file fails with it. `InvalidInput` when rows of this file cannot be kept beside those of the ones before.
    fn keep(&mut self, reject: &Reject, original: &[u8]) -> io::Result<()>;

    /// Keeps the line of the file that names its columns, which comes before any row. Formats without one never call it.
    ///
    /// # Errors
    /// As `keep`.
    fn header(&mut self, original: &[u8]) -> io::Result<()> {
        let _ = original;
        Ok(())
    }

    /// Nothing follows, and the file ended well. What was kept is durable on return, as far as the sink promises that.
    ///
    /// # Errors
    /// As `keep`.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The refused rows of one file.
pub(crate) struct Tally {
    most: u64,
    sink: Option<Box<dyn RejectSink>>,
    count: u64,
    first: Vec<Reject>,
}

impl Tally {
    pub(crate) fn new(most: u64, sink: Option<Box<dyn RejectSink>>) -> Result<Tally, Error> {
        if most > 0 && sink.is_none() {
            return Err(Error::new(Kind::Config, "rows may be refused, and nothing keeps them")
                .hint("say where refused rows go, or allow none"));
        }
        Ok(Tally { most, sink, count: 0, first: Vec::new() })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether more were refused than are allowed. From then on no row is handed on.
    pub(crate) fn failed(&self) -> bool {
        self.count > self.most
    }

    /// Whether the error has all that it will list.
    pub(crate) fn is_full(&self) -> bool {
        self.failed() && self.first.len() == LISTED_REJECTS
    }

    pub(crate) fn header(&mut self, original: &[u8]) -> Result<(), Error> {
        self.sink.as_mut().map_or(Ok(()), |sink| sink.header(original)).map_err(unkept)
    }

    pub(crate) fn add(&mut self, reject: Reject, original: &[u8]) -> Result<(), Error> {
        self.count += 1;
        if let Some(sink) = self.sink.as_mut().filter(|_| self.count <= self.most) {
            sink.keep(&reject, original).map_err(unkept)?;
        }
        if self.first.len() < LISTED_REJECTS {
            self.first.push(reject);
        }
        Ok(())
    }

    /// The error of a file with too many, whose last row may not have been read.
    pub(crate) fn error(&mut self, path: &str) -> Error {
        let first = std::mem::take(&mut self.first);
        let more = if first.len() == LISTED_REJECTS { " at least" } else { "" };
        let mut what =
            format!("{path} has{more} {} rows that cannot be taken, and {} may be left out:", self.count, self.most);
        for reject in &first {
            what.push_str(&format!("\n  {reject}"));
        }
        let mut error =
            Error::new(Kind::Data, what).hint("correct the file, or allow rows to be left out; nothing was loaded");
        error.rejects = first;
        error
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.sink.as_mut().map_or(Ok(()), |sink| sink.end()).map_err(unkept)
    }
}

fn unkept(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::InvalidInput {
        return Error::new(Kind::Config, error).hint("give all files the same header, or load without --rejects");
    }
    Error::new(Kind::Unavailable, "could not keep a row that was refused")
        .hint("look at the disk that rows which are left out are written to, then start again; nothing was loaded")
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_have_no_place_are_no_trouble_of_the_disk() {
        let error = unkept(io::Error::new(io::ErrorKind::InvalidInput, "their headers differ"));
        assert_eq!((error.kind, error.what.as_str()), (Kind::Config, "their headers differ"));
        assert_eq!(unkept(io::Error::other("full")).kind, Kind::Unavailable);
    }
}
