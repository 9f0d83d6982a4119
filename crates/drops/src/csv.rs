//! CSV as RFC 4180 has it, and nothing looser.
//!
//! Owns where cells and rows end, and what a cell's text is. Promises that a quoted cell is told from an unquoted one, so that empty is not null; that rows are cut
//! in the file's own bytes, whatever its encoding; and that a quote or a carriage return where none belongs fails the file: from there on
//! nobody knows where rows begin, so such a row can never be left out alone. Refuses to skip, trim or complete anything.

use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use crate::contract::{Contract, Wanted};
use crate::error::{Error, Kind};
use crate::format::{Csv, Encoding};
use crate::reader::{Fault, Step, not_text};
use crate::{Batch, Place};

/// The most columns that a file may have.
pub(crate) const MAX_COLUMNS: usize = 10_000;
const QUOTE: u8 = b'"';

/// A cell's bytes, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    from: usize,
    to: usize,
    quoted: bool,
    /// Whether quotes in it are doubled.
    doubled: bool,
}

/// What stands at the front of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// No whole row: more text is needed.
    More,
    /// A row of so many bytes, its end included, with so many ends of lines in quoted cells.
    Row { bytes: usize, lines: u64, cells: usize },
    /// No CSV, at this byte.
    Broken { at: usize, lines: u64, column: usize, why: &'static str },
}

/// Finds rows.
pub(crate) struct Splitter {
    delimiter: u8,
    /// Whether a byte ends an unquoted cell, or must not be in one.
    special: [bool; 256],
    /// How many cells of a row are kept; more are counted.
    most: usize,
    cells: Vec<Span>,
}

impl Splitter {
    pub(crate) fn new(delimiter: u8, most: usize) -> Splitter {
        let mut special = [false; 256];
        [delimiter, QUOTE, b'\r', b'\n'].iter().for_each(|byte| special[usize::from(*byte)] = true);
        Splitter { delimiter, special, most, cells: Vec::new() }
    }

    /// Cuts the first row from `text`, after which nothing follows in the file if it has `ended`.
    pub(crate) fn cut(&mut self, text: &[u8], ended: bool) -> Cut {
        self.cells.clear();
        let (mut at, mut lines, mut count) = (0, 0, 0);
        loop {
            count += 1;
            let broken = |at, why| Cut::Broken { at, lines, column: count, why };
            let span = match text.get(at) {
                Some(&QUOTE) => match quoted(text, at + 1, ended) {
                    Some(span) => span,
                    None if ended => return broken(at, "a quoted cell begins here and does not end"),
                    None => return Cut::More,
                },
                _ => self.unquoted(text, at),
            };
            let end = span.to + usize::from(span.quoted);
            let in_cell = if span.quoted { memchr_iter(b'\n', &text[span.from..span.to]).count() as u64 } else { 0 };
            let bytes = match text.get(end) {
                Some(byte) if *byte == self.delimiter => None,
                Some(b'\n') => Some(end + 1),
                Some(b'\r') => match text.get(end + 1) {
                    Some(b'\n') => Some(end + 2),
                    None if !ended => return Cut::More,
                    _ => return broken(end, "a carriage return without a line feed"),
                },
                None if ended => Some(end),
                None => return Cut::More,
                Some(_) if span.quoted => return broken(end, "text after the quote that ends a cell"),
                Some(_) => return broken(end, "a quote in a cell that does not begin with one"),
            };
            lines += in_cell;
            if count <= self.most {
                self.cells.push(span);
            }
            match bytes {
                Some(bytes) => return Cut::Row { bytes, lines, cells: count },
                None => at = end + 1,
            }
        }
    }

    fn unquoted(&self, text: &[u8], from: usize) -> Span {
        let rest = &text[from..];
        let long = rest.iter().position(|byte| self.special[usize::from(*byte)]).unwrap_or(rest.len());
        Span { from, to: from + long, quoted: false, doubled: false }
    }
}

/// The cell whose text begins at `from`, behind its quote; `None` when its end is not there.
fn quoted(text: &[u8], from: usize, ended: bool) -> Option<Span> {
    let (mut look, mut doubled) = (from, false);
    loop {
        let to = look + memchr(QUOTE, &text[look..])?;
        match text.get(to + 1) {
            Some(&QUOTE) => (look, doubled) = (to + 2, true),
            // The next byte may be a second quote.
            None if !ended => return None,
            _ => return Some(Span { from, to, quoted: true, doubled }),
        }
    }
}

/// Reads the rows of a file whose header was read.
pub(crate) struct Reader {
    splitter: Splitter,
    nulls: Nulls,
    encoding: Encoding,
    /// How many columns the file has.
    columns: usize,
    /// What is wanted, and which of the file's columns it is.
    wanted: Vec<(Wanted, usize)>,
}

impl Reader {
    /// A reader for the columns of `header`, which were matched with the contract's.
    pub(crate) fn new(format: &Csv, header: &[Arc<str>], contract: &Contract) -> Result<Reader, Error> {
        let wanted = match_header(header, contract)?;
        let splitter = Splitter::new(format.delimiter, header.len());
        Ok(Reader {
            splitter,
            nulls: Nulls::new(&format.nulls),
            encoding: format.encoding,
            columns: header.len(),
            wanted,
        })
    }

    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.wanted.iter().map(|(wanted, _)| wanted.name.clone()).collect()
    }

    /// Reads the first row of `text` into `batch`.
    pub(crate) fn row(&mut self, text: &[u8], ended: bool, place: Place, batch: &mut Batch) -> Result<Step, Error> {
        let (bytes, lines, cells) = match self.splitter.cut(text, ended) {
            Cut::More => return Ok(Step::More),
            Cut::Row { bytes, lines, cells } => (bytes, lines, cells),
            Cut::Broken { at, lines, column, why } => return Err(broken(place, at, lines, column, why)),
        };
        let row = &text[..bytes];
        if self.encoding.is_utf8() {
            std::str::from_utf8(row)
                .map_err(|error| not_text(row, place, error.valid_up_to(), self.encoding.name()))?;
        }
        let lines = lines + u64::from(row.ends_with(b"\n"));
        let fault = if cells != self.columns {
            Some(Fault::row(format!("it has {cells} cells, and the header {}", self.columns)))
        } else if memchr(0, row).is_some() {
            Some(Fault::row("it holds a NUL byte".to_owned()))
        } else {
            batch.begin_row(place);
            self.cells(row, place, batch)?
        };
        Ok(Step::Row { bytes, lines, fault })
    }

    /// Adds the wanted cells, up to one that does not fit.
    fn cells(&self, row: &[u8], place: Place, batch: &mut Batch) -> Result<Option<Fault>, Error> {
        for (wanted, column) in &self.wanted {
            let span = self.splitter.cells[*column];
            let raw = &row[span.from..span.to];
            let from = batch.bytes();
            let null = !span.quoted && self.nulls.has(raw);
            if !null {
                self.push(raw, span, place, row, batch)?;
            }
            let fault = wanted.fault((!null).then(|| batch.text_from(from)));
            if let Some(why) = fault {
                batch.take_back();
                return Ok(Some(Fault {
                    column: Some(column + 1),
                    name: Some(wanted.name.clone()),
                    why: why.to_owned(),
                }));
            }
            batch.end_cell(null);
        }
        Ok(None)
    }

    fn push(&self, raw: &[u8], span: Span, place: Place, row: &[u8], batch: &mut Batch) -> Result<(), Error> {
        if self.encoding.is_utf8() || raw.is_ascii() {
            push_quoted(raw, span.doubled, batch);
            return Ok(());
        }
        let wrong = |at| not_text(row, place, span.from + at, self.encoding.name());
        push_quoted(self.encoding.decode(raw).map_err(wrong)?.as_bytes(), span.doubled, batch);
        Ok(())
    }
}

/// Adds the text of a cell, of two quotes one.
fn push_quoted(mut text: &[u8], doubled: bool, batch: &mut Batch) {
    while doubled && let Some(at) = memchr(QUOTE, text) {
        batch.push_text(&text[..=at]);
        text = text.get(at + 2..).unwrap_or_default();
    }
    batch.push_text(text);
}

/// What an unquoted cell says when it is null.
struct Nulls {
    empty: bool,
    others: Vec<Vec<u8>>,
}

impl Nulls {
    fn new(texts: &[String]) -> Nulls {
        let others = texts.iter().filter(|text| !text.is_empty()).map(|text| text.clone().into_bytes()).collect();
        Nulls { empty: texts.iter().any(String::is_empty), others }
    }

    fn has(&self, raw: &[u8]) -> bool {
        if raw.is_empty() { self.empty } else { self.others.iter().any(|other| other == raw) }
    }
}

fn broken(place: Place, at: usize, lines: u64, column: usize, why: &str) -> Error {
    let (line, byte) = (place.line + lines, place.byte + at as u64);
    Error::new(
        Kind::Data,
        format!("{line}:{column}: {why} (byte {byte}); from here on no row can be told from another"),
    )
    .hint("correct the file, or declare its delimiter; nothing was loaded")
}

/// The row that names the columns.
pub(crate) struct Header {
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) bytes: usize,
    pub(crate) lines: u64,
}

/// Reads the header at the front of `text`. `None` when more text is needed.
pub(crate) fn header(format: &Csv, text: &[u8], ended: bool, place: Place) -> Result<Option<Header>, Error> {
    let mut splitter = Splitter::new(format.delimiter, MAX_COLUMNS);
    let (bytes, lines, cells) = match splitter.cut(text, ended) {
        Cut::More => return Ok(None),
        Cut::Row { bytes, lines, cells } => (bytes, lines, cells),
        Cut::Broken { at, lines, column, why } => return Err(broken(place, at, lines, column, why)),
    };
    if cells > MAX_COLUMNS {
        let what = format!("{}: the header has {cells} columns, and {MAX_COLUMNS} are the most", place.line);
        return Err(Error::new(Kind::Data, what).hint("is it a header, and is the delimiter right?"));
    }
    let mut names = Vec::with_capacity(cells);
    for span in &splitter.cells {
        let raw = &text[span.from..span.to];
        let name = format.encoding.decode(raw);
        let name = name.map_err(|at| not_text(text, place, span.from + at, format.encoding.name()))?;
        let name = if span.doubled { name.replace("\"\"", "\"") } else { name.into_owned() };
        names.push(name.into());
    }
    let lines = lines + u64::from(text[..bytes].ends_with(b"\n"));
    Ok(Some(Header { names, bytes, lines }))
}

/// Which of the file's columns each wanted one is. All that is wrong is told at once.
fn match_header(header: &[Arc<str>], contract: &Contract) -> Result<Vec<(Wanted, usize)>, Error> {
    let wanted = contract.or_header(header);
    if !wanted.iter().any(|column| header.contains(&column.name)) {
        return Err(no_header(&wanted));
    }
    let at = |name: &str| header.iter().position(|column| **column == *name);
    let shown = |name: &str| format!("{:?}", crate::names::shown(name));
    let mut faults = Vec::new();
    let mut fault = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            faults.push(format!("{what} {}", names.join(", ")));
        }
    };
    let unnamed = header.iter().enumerate().filter(|(_, name)| name.is_empty());
    fault("no name for column", unnamed.map(|(at, _)| (at + 1).to_string()).collect());
    let twice = header.iter().enumerate().filter(|(n, name)| !name.is_empty() && at(name) != Some(*n));
    // By their places: without a contract nobody knows whether these are names, or a row of somebody's data.
    fault("the name of an earlier column again for column", twice.map(|(at, _)| (at + 1).to_string()).collect());
    let missing = wanted.iter().filter(|column| at(&column.name).is_none());
    fault("missing", missing.map(|column| shown(&column.name)).collect());
    if !contract.ignores_extra() {
        let extra = header.iter().filter(|name| !name.is_empty() && wanted.iter().all(|column| column.name != **name));
        fault("not wanted", extra.map(|name| shown(name)).collect());
    }
    if !faults.is_empty() {
        return Err(Error::new(Kind::Data, format!("1: the header does not fit: {}", faults.join("; ")))
            .hint("correct the header or the contract; names are compared as they are, with case and blanks"));
    }
    Ok(wanted.into_iter().filter_map(|column| at(&column.name).map(|at| (column, at))).collect())
}

/// The first line has nothing that is known to be a name, and may hold anything.
fn no_header(wanted: &[Wanted]) -> Error {
    let names: Vec<_> = wanted.iter().map(|column| format!("{:?}", crate::names::shown(&column.name))).collect();
    Error::new(Kind::Data, format!("1: the header does not fit: it has none of {}", names.join(", "))).hint(
        "does the file begin with a header? Its first line is not shown, for it may be a row; names are compared as they are, with case and blanks",
    )
}

#[cfg(test)]
mod tests;
