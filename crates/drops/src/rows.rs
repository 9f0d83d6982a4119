//! From a file of a drop to batches of its rows.
//!
//! Owns the thread that reads a file, and the way between it and those who take its rows. Promises that batches come in the order of the file, that few of them are
//! in memory however large it is, and that `next` says "no more" only after the whole file was read and found to be the one that was
//! frozen: until then nothing of it may be published. Refuses to end well after an error, however often it is asked.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::batch::Batch;
use crate::contract::Contract;
use crate::csv;
use crate::error::{Error, Kind, Reject};
use crate::expand::{Expanded, Limits};
use crate::format::{Csv, Format};
use crate::freeze::{File, Frozen};
use crate::ndjson;
use crate::raw::Raw;
use crate::reader::{Fault, Reader, Step};
use crate::rejects::{RejectSink, Tally};
use crate::tree::Tree;
use crate::window::Window;

/// A batch is handed on when it holds so many bytes of text,
const BATCH_BYTES: usize = 1 << 20;
/// or so many cells: they take memory although they may hold nothing.
const BATCH_CELLS: usize = 1 << 18;
/// Batches that wait to be taken.
const WAITING: usize = 2;
/// What begins a UTF-8 file that Windows wrote.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How a file is read, besides its format and its contract.
#[derive(Default)]
pub struct Reading {
    /// What a file may become.
    pub limits: Limits,
    /// How many rows may be left out.
    pub max_rejects: u64,
    /// Who keeps rows that are left out. There must be one when any may be.
    pub rejects: Option<Box<dyn RejectSink>>,
}

/// What was read of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that were handed on.
    pub rows: u64,
    /// Rows that were left out.
    pub rejected: u64,
}

/// What a reading thread says.
enum Said {
    Batch(Batch),
    End(Counts),
    Failed(Box<Error>),
}

/// The rows of one file. Dropping it ends the reading.
#[derive(Debug)]
pub struct Rows {
    path: String,
    columns: Vec<String>,
    full: mpsc::Receiver<Said>,
    empty: mpsc::UnboundedSender<Batch>,
    counts: Option<Counts>,
    failed: bool,
}

/// Opens a file of a drop for reading, without any row left out: see [`open_rows_with`].
///
/// # Errors
/// As [`open_rows_with`].
pub async fn open_rows(frozen: &Frozen, file: &File, format: &Format, wanted: &Contract) -> Result<Rows, Error> {
    open_rows_with(frozen, file, format, wanted, Reading::default()).await
}

/// Opens a file of a drop: finds out how it is compressed, reads its header and compares that with the columns that are wanted.
///
/// A thread that may block reads the file, some batches ahead of whoever takes them.
///
/// # Errors
/// [`Kind::Config`] for settings that cannot be, [`Kind::Data`] for a header that does not fit, [`Kind::Changed`] when the file is not the one that was listed, and
/// whatever [`Rows::next`] says.
pub async fn open_rows_with(
    frozen: &Frozen,
    file: &File,
    format: &Format,
    wanted: &Contract,
    reading: Reading,
) -> Result<Rows, Error> {
    let (tell_names, names) = oneshot::channel();
    let (tell, full) = mpsc::channel(WAITING);
    let (empty, emptied) = mpsc::unbounded_channel();
    let (tree, path) = (frozen.tree.clone(), file.path.clone());
    let (file, format, wanted) = (file.clone(), format.clone(), wanted.clone());
    let work = move || match Pump::open(&tree, file, &format, &wanted, reading) {
        Err(error) => drop(tell_names.send(Err(error))),
        Ok(pump) => {
            if tell_names.send(Ok(pump.reader.names())).is_ok() {
                pump.run(&tell, emptied);
            }
        }
    };
    // What becomes of the thread is heard from the channels: they close when it ends, however it does.
    drop(tokio::task::spawn_blocking(work));
    let names = names.await.map_err(|gone| Error::internal(format_args!("the reading of {path} ended"), gone))??;
    let columns = names.iter().map(|name| name.to_string()).collect();
    Ok(Rows { path, columns, full, empty, counts: None, failed: false })
}

impl Rows {
    /// What the cells of each row are, in their order: the contract's columns; without any, the header's.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What was read, once `next` has said that there is no more.
    #[must_use]
    pub fn counts(&self) -> Option<Counts> {
        self.counts
    }

    /// Fills `batch` with the next rows, about 1 MiB of text and at least one row; what it held is gone. False, and an empty batch, when there is no more:
    /// then all of the file was read, its size and hash are what was frozen and promised, and the number of rows is what the manifest says.
    ///
    /// May be dropped while it waits, and asked again.
    ///
    /// # Errors
    /// [`Kind::Data`] for rows that are refused (all of the first twenty are listed), for a file that is cut off or is not what its manifest says, for bytes that are no
    /// text; [`Kind::Changed`] when it was written to; [`Kind::Refused`] when it expands beyond the limits; [`Kind::Unavailable`] when it cannot be
    /// read. After an error there are no more rows, and the file has failed.
    pub async fn next(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear();
        if self.counts.is_some() {
            return Ok(false);
        }
        if self.failed {
            return Err(Error::new(Kind::Internal, format!("{} has failed, and was asked for more rows", self.path)));
        }
        match self.full.recv().await {
            Some(Said::Batch(mut full)) => {
                std::mem::swap(batch, &mut full);
                // The thread may have ended meanwhile, and needs none.
                drop(self.empty.send(full));
                Ok(true)
            }
            Some(Said::End(counts)) => {
                self.counts = Some(counts);
                Ok(false)
            }
            Some(Said::Failed(error)) => {
                self.failed = true;
                Err(*error)
            }
            None => {
                self.failed = true;
                Err(Error::new(Kind::Internal, format!("the reading of {} ended without a word", self.path)))
            }
        }
    }
}

/// Reads a file on a thread of its own.
struct Pump {
    file: File,
    path: Arc<str>,
    window: Window,
    reader: Reader,
    tally: Tally,
    rows: u64,
}

/// Nobody takes rows any more.
struct Gone;

impl Pump {
    fn open(tree: &Tree, file: File, format: &Format, wanted: &Contract, reading: Reading) -> Result<Pump, Error> {
        let mut tally = Tally::new(reading.max_rejects, reading.rejects)?;
        // What is wrong with the settings is told before the file is touched.
        let json = match format {
            Format::Csv(csv) => csv.check().map(|()| None)?,
            Format::NdJson => Some(ndjson::Reader::new(wanted)?),
        };
        let expanded = Expanded::new(Raw::open(tree, &file)?, &file.path, reading.limits)?;
        let mut window = Window::new(expanded, &file.path, reading.limits.row_bytes);
        window.more()?;
        let located = |error| at(&file.path, error);
        begin(&mut window, format).map_err(located)?;
        let reader = match (format, json) {
            (_, Some(json)) => Reader::NdJson(json),
            (Format::Csv(csv), None) => {
                let names = header(&mut window, csv, &mut tally, &file.path)?;
                Reader::Csv(Box::new(csv::Reader::new(csv, &names, wanted).map_err(located)?))
            }
            (Format::NdJson, None) => return Err(Error::new(Kind::Internal, "a format has no reader")),
        };
        Ok(Pump { path: file.path.as_str().into(), file, window, reader, tally, rows: 0 })
    }

    fn run(mut self, tell: &mpsc::Sender<Said>, mut emptied: mpsc::UnboundedReceiver<Batch>) {
        let said = match self.read(tell, &mut emptied) {
            Ok(Ok(())) => self.finish().map_or_else(|error| Said::Failed(error.into()), Said::End),
            Ok(Err(Gone)) => return,
            // Wrong rows may be half of what somebody is writing.
            Err(error) => Said::Failed(self.window.unchanged().err().unwrap_or(error).into()),
        };
        // Whoever does not listen any more does not want to know.
        drop(tell.blocking_send(said));
    }

    /// Hands all rows on.
    fn read(
        &mut self,
        tell: &mpsc::Sender<Said>,
        emptied: &mut mpsc::UnboundedReceiver<Batch>,
    ) -> Result<Result<(), Gone>, Error> {
        let mut batch = Batch::default();
        loop {
            if self.window.text().is_empty() && self.window.ended() {
                break;
            }
            self.row(&mut batch)?;
            if self.tally.failed() {
                batch.clear();
                if tell.is_closed() {
                    return Ok(Err(Gone));
                }
                if self.tally.is_full() {
                    break;
                }
            }
            if batch.bytes() >= BATCH_BYTES || batch.cells() >= BATCH_CELLS {
                let next = emptied.try_recv().unwrap_or_default();
                if tell.blocking_send(Said::Batch(std::mem::replace(&mut batch, next))).is_err() {
                    return Ok(Err(Gone));
                }
                batch.clear();
            }
        }
        if self.tally.failed() {
            return Err(self.tally.error(&self.path));
        }
        if !batch.is_empty() && tell.blocking_send(Said::Batch(batch)).is_err() {
            return Ok(Err(Gone));
        }
        Ok(Ok(()))
    }

    /// Reads one row, or more of the file.
    fn row(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let place = self.window.place();
        let text = self.window.text();
        let step = match text {
            [] => Step::More,
            _ => self.reader.row(text, self.window.ended(), place, batch).map_err(|error| at(&self.path, error))?,
        };
        let (bytes, lines) = match step {
            Step::More => return self.window.more(),
            Step::Skip { bytes, lines } => (bytes, lines),
            Step::Row { bytes, lines, fault: None } => {
                self.rows += 1;
                (bytes, lines)
            }
            Step::Row { bytes, lines, fault: Some(Fault { column, name, why }) } => {
                let reject = Reject { path: self.path.clone(), place, column, name, why };
                self.tally.add(reject, &text[..bytes])?;
                (bytes, lines)
            }
        };
        self.window.fits(bytes)?;
        self.window.take(bytes, lines);
        Ok(())
    }

    /// Compares what was read with what was frozen and promised.
    fn finish(mut self) -> Result<Counts, Error> {
        self.file.confirm(self.window.finish()?)?;
        let counts = Counts { rows: self.rows, rejected: self.tally.count() };
        let found = counts.rows + counts.rejected;
        if let Some(listed) = self.file.listed.rows.filter(|listed| *listed != found) {
            let what = format!("{} has {found} rows, and the manifest says {listed}", self.path);
            return Err(
                Error::new(Kind::Data, what).hint("upload the file again, or correct the manifest; nothing was loaded")
            );
        }
        self.tally.end()?;
        Ok(counts)
    }
}

/// Passes the mark over that some writers begin a file with.
fn begin(window: &mut Window, format: &Format) -> Result<(), Error> {
    let encoding = match format {
        Format::Csv(csv) => csv.encoding,
        Format::NdJson => crate::Encoding::default(),
    };
    match window.text() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] if encoding.is_utf8() => {
            Err(Error::new(Kind::Data, "1: it is written in UTF-16, which cannot be read")
                .hint("convert it to UTF-8 first, as `iconv -t UTF-8` does; nothing was loaded"))
        }
        text if !text.starts_with(BOM) => Ok(()),
        _ if encoding.is_utf8() => {
            window.take(BOM.len(), 0);
            Ok(())
        }
        _ => {
            let what = format!("1: it begins as UTF-8 does, and is declared to be {}", encoding.name());
            Err(Error::new(Kind::Data, what).hint("declare UTF-8; nothing was loaded"))
        }
    }
}

fn header(window: &mut Window, csv: &Csv, tally: &mut Tally, path: &str) -> Result<Vec<Arc<str>>, Error> {
    loop {
        if window.text().is_empty() && window.ended() {
            return Err(Error::new(Kind::Data, format!("{path} is empty, and must begin with a header"))
                .hint("upload it again; a file without rows has a header all the same"));
        }
        let found = csv::header(csv, window.text(), window.ended(), window.place()).map_err(|error| at(path, error))?;
        if let Some(csv::Header { names, bytes, lines }) = found {
            tally.header(&window.text()[..bytes])?;
            window.take(bytes, lines);
            return Ok(names);
        }
        window.more()?;
    }
}

/// Readers know lines, and not whose.
fn at(path: &str, mut error: Error) -> Error {
    error.what = format!("{path}:{}", error.what);
    error
}

#[cfg(test)]
mod tests;
