//! One JSON object on each line.
//!
//! Owns how keys become columns and values become text. Promises that numbers keep every digit they are written with, that nested values stay JSON, and that a key
//! which nobody knows, or which is there twice, is never dropped in silence. Refuses a last line that ends in the middle:
//! the file was cut off, and what else it lacks nobody can tell.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use memchr::memchr;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::contract::{Contract, Wanted};
use crate::error::{Error, Kind};
use crate::names::shown;
use crate::reader::{Fault, Step, not_text};
use crate::{Batch, Place};

/// Reads the rows of a file.
pub(crate) struct Reader {
    wanted: Vec<Wanted>,
    columns: Columns,
    /// Where in its line the value of each column stands.
    values: Vec<Option<(usize, usize)>>,
}

struct Columns {
    by_name: HashMap<Arc<str>, usize>,
    in_order: Vec<Arc<str>>,
    ignore_extra: bool,
}

impl Reader {
    pub(crate) fn new(contract: &Contract) -> Result<Reader, Error> {
        if contract.columns.is_empty() {
            return Err(Error::new(Kind::Config, "the columns of an NDJSON file must be declared: it has no header")
                .hint("name the columns that the target wants"));
        }
        let wanted = contract.columns.clone();
        let in_order = contract.names();
        let by_name = in_order.iter().cloned().zip(0..).collect();
        let columns = Columns { by_name, in_order, ignore_extra: contract.ignores_extra() };
        Ok(Reader { values: vec![None; wanted.len()], wanted, columns })
    }

    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.columns.in_order.clone()
    }

    /// Reads the first line of `text` into `batch`.
    pub(crate) fn row(&mut self, text: &[u8], ended: bool, place: Place, batch: &mut Batch) -> Result<Step, Error> {
        let (bytes, lines) = match memchr(b'\n', text) {
            Some(at) => (at + 1, 1),
            None if ended => (text.len(), 0),
            None => return Ok(Step::More),
        };
        let row = &text[..bytes];
        let line = std::str::from_utf8(row).map_err(|error| not_text(row, place, error.valid_up_to(), "UTF-8"))?;
        if line.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Ok(Step::Skip { bytes, lines });
        }
        let fault = match self.parse(line) {
            Ok(None) => self.cells(line, place, batch),
            Ok(fault) => fault,
            // A number that is cut off is wrong at the line's last character.
            Err(error) if lines == 0 && (error.is_eof() || error.column() >= line.len()) => return Err(cut(place)),
            Err(error) if error.is_data() => Some(Fault::row("not a JSON object".to_owned())),
            Err(error) => Some(Fault::row(format!("not JSON, from its character {} on", error.column()))),
        };
        Ok(Step::Row { bytes, lines, fault })
    }

    /// Finds the values of the wanted columns in a line.
    fn parse(&mut self, line: &str) -> Result<Option<Fault>, serde_json::Error> {
        self.values.fill(None);
        let mut parser = serde_json::Deserializer::from_str(line);
        let found = Object { columns: &self.columns, values: &mut self.values, line: line.as_ptr().addr() };
        let fault = parser.deserialize_map(found)?;
        parser.end()?;
        Ok(fault)
    }

    fn cells(&self, line: &str, place: Place, batch: &mut Batch) -> Option<Fault> {
        batch.begin_row(place);
        for (wanted, value) in self.wanted.iter().zip(&self.values) {
            let raw = value.and_then(|(from, to)| line.get(from..to)).filter(|raw| *raw != "null");
            let cell = match raw.map(|raw| text_of(raw, wanted)).transpose() {
                Ok(cell) => cell,
                Err(why) => return Some(refuse(wanted, why, batch)),
            };
            let cell = cell.as_deref().map(str::as_bytes);
            if let Some(why) = wanted.fault(cell) {
                return Some(refuse(wanted, why, batch));
            }
            batch.push_cell(cell);
        }
        None
    }
}

fn refuse(wanted: &Wanted, why: &str, batch: &mut Batch) -> Fault {
    batch.take_back();
    Fault { column: None, name: Some(wanted.name.clone()), why: why.to_owned() }
}

/// A string's text; all else as it is written.
fn text_of<'a>(raw: &'a str, wanted: &Wanted) -> Result<Cow<'a, str>, &'static str> {
    let quoted = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let text = match quoted {
        None => Cow::Borrowed(raw),
        Some(_) if wanted.is_json() => Cow::Borrowed(raw),
        Some(plain) if memchr(b'\\', plain.as_bytes()).is_none() => Cow::Borrowed(plain),
        Some(_) => Cow::Owned(serde_json::from_str(raw).map_err(|_| "not text: half of a character is missing")?),
    };
    match memchr(0, text.as_bytes()) {
        Some(_) => Err("it holds a NUL byte"),
        None => Ok(text),
    }
}

fn cut(place: Place) -> Error {
    Error::new(Kind::Data, format!("{}: the file ends in the middle of a row", place.line))
        .hint("it was cut off on its way, or while it was written: upload it again; nothing was loaded")
}

/// Visits an object and notes where values stand, by their addresses within the line's.
struct Object<'a> {
    columns: &'a Columns,
    values: &'a mut [Option<(usize, usize)>],
    line: usize,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Option<Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Fault>, A::Error> {
        let (mut fault, mut next) = (None, 0);
        while let Some(key) = map.next_key_seed(KeyOf { columns: self.columns, next })? {
            let column = match key {
                Ok(column) => column,
                Err(name) => {
                    let _: IgnoredAny = map.next_value()?;
                    if !self.columns.ignore_extra && fault.is_none() {
                        fault = Some(Fault::row(format!("the key {name:?} is not wanted")));
                    }
                    continue;
                }
            };
            let raw: &RawValue = map.next_value()?;
            let from = raw.get().as_ptr().addr() - self.line;
            if self.values[column].replace((from, from + raw.get().len())).is_some() && fault.is_none() {
                let name = Some(self.columns.in_order[column].clone());
                fault = Some(Fault { column: None, name, why: "the key is there twice".to_owned() });
            }
            next = column + 1;
        }
        Ok(fault)
    }
}

/// Finds the column of a key: most objects have theirs in one order.
struct KeyOf<'a> {
    columns: &'a Columns,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for KeyOf<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOf<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        if self.columns.in_order.get(self.next).is_some_and(|column| **column == *name) {
            return Ok(Ok(self.next));
        }
        Ok(self.columns.by_name.get(name).copied().ok_or_else(|| shown(name)))
    }
}

#[cfg(test)]
mod tests;
