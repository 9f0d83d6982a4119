//! Rows by `INSERT`: for servers that take no files from clients, and tables that `LOAD DATA` cannot fill.
//!
//! Owns the cutting of bytes into rows, and of rows into statements of a bounded size. Promises the same as loading by file: every row is taken as it is, or it is an
//! error. A value is written as a binary string, which the server converts to no character set.

use crate::catalog::Table;
use crate::columns::Column;
use crate::connection::Session;
use crate::failure::from_mysql;
use crate::loader::assert_harmless;
use crate::quote::{ident, qualified};
use crate::tsv;
use engine::{Error, Kind};
use mysql_async::prelude::Queryable;

/// A statement aims at this many bytes, where the server takes them.
const AIM_BYTES: usize = 1 << 20;

/// Collects rows and inserts them.
pub(crate) struct Inserter {
    table: Table,
    head: String,
    columns: Vec<Column>,
    /// The longest statement that the server takes, in bytes.
    longest: usize,
    /// A line that has not ended.
    line: Vec<u8>,
    statement: Vec<u8>,
    waiting: u64,
    rows: u64,
}

impl Inserter {
    /// For a table of this schema.
    pub fn new(schema: &str, table: &Table) -> Self {
        let history = table.history.iter().flat_map(|(from, to)| [from, to]);
        let history = history.map(|name| Column::new(name.as_str(), crate::columns::Form::Plain));
        let columns: Vec<Column> = table.columns.iter().cloned().chain(history).collect();
        let names: Vec<String> = columns.iter().map(|column| ident(&column.name)).collect();
        let head = format!("INSERT INTO {} ({}) VALUES ", qualified(schema, &table.name), names.join(", "));
        let table = table.clone();
        Self { table, head, columns, longest: AIM_BYTES, line: Vec::new(), statement: Vec::new(), waiting: 0, rows: 0 }
    }

    /// Asks how long a statement may be.
    pub async fn ready(mut self, session: &mut Session) -> Result<Self, Error> {
        let row = session.one("read max_allowed_packet", "SELECT @@max_allowed_packet").await?;
        let longest = row.number(0).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(AIM_BYTES);
        self.longest = longest.saturating_sub(1024);
        Ok(self)
    }

    /// Takes bytes, cut anywhere.
    pub async fn write(&mut self, session: &mut Session, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == tsv::TERMINATOR) {
            let (piece, after) = rest.split_at(end);
            self.line.extend_from_slice(piece);
            let line = std::mem::take(&mut self.line);
            self.take(session, &line).await?;
            self.line = line;
            self.line.clear();
            rest = after.get(1..).unwrap_or_default();
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    async fn take(&mut self, session: &mut Session, line: &[u8]) -> Result<(), Error> {
        let mut row = Vec::with_capacity(line.len() + 16);
        self.push_row(&mut row, line)?;
        if self.head.len() + row.len() > self.longest {
            let what = format!("a row of {} is longer than the server takes in one statement", self.table.stream());
            return Err(Error::new(Kind::Config, what)
                .hint("raise max_allowed_packet at the server, or set local_infile=ON there"));
        }
        if self.waiting > 0 && self.statement.len() + row.len() + 1 > AIM_BYTES.min(self.longest) {
            self.flush(session).await?;
        }
        if self.waiting == 0 {
            self.statement.extend_from_slice(self.head.as_bytes());
        } else {
            self.statement.push(b',');
        }
        self.statement.extend_from_slice(&row);
        self.waiting += 1;
        Ok(())
    }

    fn push_row(&self, out: &mut Vec<u8>, line: &[u8]) -> Result<(), Error> {
        let values = if self.columns.is_empty() { Vec::new() } else { tsv::columns(line)? };
        if values.len() != self.columns.len() {
            let what = format!(
                "a row of {} has {} columns, its catalog {}",
                self.table.stream(),
                values.len(),
                self.columns.len()
            );
            return Err(Error::new(Kind::Data, what));
        }
        out.push(b'(');
        for (at, (column, value)) in self.columns.iter().zip(values).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let Some(value) = value else {
                out.extend_from_slice(b"NULL");
                continue;
            };
            // The expression around the value, with a place for it that no expression has.
            let around = column.value("\0");
            let (before, after) = around.split_once('\0').unwrap_or(("", ""));
            out.extend_from_slice(before.as_bytes());
            push_string(out, &value);
            out.extend_from_slice(after.as_bytes());
        }
        out.push(b')');
        Ok(())
    }

    async fn flush(&mut self, session: &mut Session) -> Result<(), Error> {
        if self.waiting == 0 {
            return Ok(());
        }
        let what = format!("load {}", self.table.stream());
        let sql = std::mem::take(&mut self.statement);
        let conn = session.driver().map_err(from_mysql(&what))?;
        let result = conn.query_iter(sql).await.map_err(from_mysql(&what))?;
        let (taken, warnings) = (result.affected_rows(), result.warnings());
        result.drop_result().await.map_err(from_mysql(&what))?;
        if warnings > 0 {
            assert_harmless(session, &self.table, u64::from(warnings), &what).await?;
        }
        if taken != self.waiting {
            return Err(Error::new(Kind::Data, format!("{what}: the server took {taken} of {} rows", self.waiting)));
        }
        self.rows += taken;
        self.waiting = 0;
        Ok(())
    }

    /// Inserts what is left. Returns the number of rows the server took.
    pub async fn end(mut self, session: &mut Session) -> Result<u64, Error> {
        if !self.line.is_empty() {
            return Err(Error::new(
                Kind::Data,
                format!("the rows of {} end in the middle of one", self.table.stream()),
            ));
        }
        self.flush(session).await?;
        Ok(self.rows)
    }
}

/// A binary string with escapes; writing sessions have no `NO_BACKSLASH_ESCAPES`.
fn push_string(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(b"_binary'");
    for byte in value {
        match byte {
            b'\'' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0 => out.extend_from_slice(b"\\0"),
            other => out.push(*other),
        }
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::columns::Form;
    use crate::text::Text;
    use std::collections::BTreeMap;

    fn inserter() -> Inserter {
        let table = Table {
            name: "t".to_owned(),
            engine: "InnoDB".to_owned(),
            create: Text::default(),
            collations: BTreeMap::new(),
            columns: vec![Column::new("a", Form::Plain), Column::new("e", Form::Number)],
            has_rows: true,
            history: Some(("rs".to_owned(), "re".to_owned())),
            key: None,
            bytes: 0,
            made: String::new(),
        };
        Inserter::new("s", &table)
    }

    #[test]
    fn rows_are_written_as_values() {
        let inserter = inserter();
        assert_eq!(inserter.head, "INSERT INTO `s`.`t` (`a`, `e`, `rs`, `re`) VALUES ");
        let mut out = Vec::new();
        inserter.push_row(&mut out, b"o'n\\\\\\n\t3\t\\N\tx").unwrap();
        assert_eq!(out, b"(_binary'o\\'n\\\\\n',CAST(_binary'3' AS UNSIGNED),NULL,_binary'x')");
        assert_eq!(inserter.push_row(&mut Vec::new(), b"a\tb").unwrap_err().kind, Kind::Data);
    }
}
