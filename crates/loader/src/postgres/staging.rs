//! Staging tables: a drop's rows as text, before anybody sees them.
//!
//! Owns their names, their making, the copying into them and their end. A staging table belongs to one number of one job, by its name; it has a
//! column for each of the drop's and the place where each row came from. It is unlogged: a crash empties it, so a merge counts. Promises that only
//! tables of the same job are dropped, of lower numbers or of the run itself. Refuses text that the server cannot keep, by its place.

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use lease::Epoch;
use postgres::{StatementCopy, StatementSession, qualified};

use super::table::Table;
use super::{Postgres, blame, merge};
use crate::names::{family, number_in};
use crate::record::Record;
use crate::target::{Fence, Merge, Portion, Staging, Writer};
use crate::{BadRow, Error};

/// What of the table's name is in the staging table's: with the rest 63 bytes, which is all that the server keeps.
const NAME_BYTES: usize = 24;
/// The columns that say where a row came from: file, line, and its number in the drop.
pub(super) const PLACE: &str = "f, l, n";

/// A staging table.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    pub target: Postgres,
    pub fence: Fence,
    pub table: Table,
    /// Quoted, for SQL.
    pub sql: String,
}

fn name(table: &str, fence: &Fence) -> String {
    let end = (0..=NAME_BYTES.min(table.len())).rev().find(|end| table.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{}{}", &table[..end], family(&fence.job), fence.epoch)
}

/// The name of a column in staging: the table's own may be anything.
pub(super) fn column(at: usize) -> String {
    format!("c{at}")
}

/// Drops staging tables of lower numbers.
pub(super) async fn tidy(session: &StatementSession, fence: &Fence, patience: u64) -> Result<(), Error> {
    drop_those(session, fence, patience, |number| number < fence.epoch).await
}

/// Drops the staging table of this number, if there is one.
pub(super) async fn clear(session: &StatementSession, fence: &Fence, patience: u64) -> Result<(), Error> {
    drop_those(session, fence, patience, |number| number == fence.epoch).await
}

/// Drops staging tables of a job by their numbers. One that somebody uses stays for another time.
async fn drop_those(
    session: &StatementSession,
    fence: &Fence,
    patience: u64,
    wanted: impl Fn(Epoch) -> bool,
) -> Result<(), Error> {
    let query = "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = 'longshore' AND c.relkind = 'r' AND pg_catalog.strpos(c.relname, $1::text) > 0 ORDER BY 1";
    let rows = session.rows("look for old staging tables", query, &[Some(&family(&fence.job))]).await;
    for table in rows.map_err(|error| error.error)?.into_iter().filter_map(|mut row| row.remove(0)) {
        if !number_in(&table, &fence.job).is_some_and(&wanted) {
            continue;
        }
        let drop = format!("SET lock_timeout = {patience}; DROP TABLE IF EXISTS {}", qualified("longshore", &table));
        if let Err(error) = session.run("drop a staging table", &drop).await {
            tracing::warn!(table, error = %error.error, "a staging table could not be dropped; the job's next run tries again");
        }
    }
    Ok(())
}

/// Makes the staging table of a number.
pub(super) async fn create(
    session: &StatementSession,
    target: Postgres,
    fence: Fence,
    table: Table,
) -> Result<Staged, Error> {
    let sql = qualified("longshore", &name(&table.name, &fence));
    let columns: String = (0..table.columns.len()).map(|at| format!(", {} text", column(at))).collect();
    let statement = format!(
        "CREATE UNLOGGED TABLE {sql} (f integer NOT NULL, l bigint NOT NULL, n bigint NOT NULL{columns}) WITH (autovacuum_enabled = off)"
    );
    let made = session.run("make the staging table", &statement).await;
    made.map_err(|error| match error.is(&["42501"]) {
        true => error.error.hint("GRANT CREATE ON SCHEMA longshore to the role that loads"),
        false => error.error,
    })?;
    Ok(Staged { target, fence, table, sql })
}

#[async_trait]
impl Staging for Staged {
    async fn writer(&self) -> Result<Box<dyn Writer>, Error> {
        let session = self.target.books.session(Some(self.fence.run)).await?;
        let columns: String = (0..self.table.columns.len()).map(|at| format!(", {}", column(at))).collect();
        let statement = format!("COPY {} ({PLACE}{columns}) FROM STDIN (FORMAT binary)", self.sql);
        let mut copy = session.copy_in("copy rows into staging", &statement).await.map_err(|error| error.error)?;
        copy.write(Bytes::from_static(HEADER)).await.map_err(|error| error.error)?;
        let columns = self.table.columns.iter().map(|column| column.name.clone()).collect();
        Ok(Box::new(Copying { _session: session, copy, columns, buffer: BytesMut::new() }))
    }

    async fn merge(&self, record: &Record, reload: bool) -> Result<Merge, Error> {
        merge::merge(self, record, reload).await
    }

    async fn discard(self: Box<Self>) -> Result<(), Error> {
        let session = self.target.books.session(Some(self.fence.run)).await?;
        let dropped = session.run("drop the staging table", &format!("DROP TABLE IF EXISTS {}", self.sql)).await;
        Ok(dropped.map_err(|error| error.error)?)
    }
}

/// What a binary COPY begins with: a signature, no flags, no extension (<https://www.postgresql.org/docs/current/sql-copy.html>).
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with, in place of a row's number of columns.
const TRAILER: &[u8] = &(-1_i16).to_be_bytes();
/// A length that stands for null.
const NULL: i32 = -1;

struct Copying {
    /// Holds the connection while the COPY goes on.
    _session: StatementSession,
    copy: StatementCopy,
    columns: Vec<String>,
    buffer: BytesMut,
}

#[async_trait]
impl Writer for Copying {
    async fn write(&mut self, portion: &Portion, files: &[String]) -> Result<(), Error> {
        encode(&mut self.buffer, portion, &self.columns).map_err(|bad| {
            let file = files.get(portion.file as usize).cloned().unwrap_or_default();
            let what = "a row cannot be kept by the target: nothing was loaded";
            Error::rows(what, vec![BadRow { file, ..bad }], true)
        })?;
        let bytes = self.buffer.split().freeze();
        Ok(self.copy.write(bytes).await.map_err(blame::told)?)
    }

    async fn finish(self: Box<Self>) -> Result<u64, Error> {
        let Copying { _session: session, mut copy, .. } = *self;
        copy.write(Bytes::from_static(TRAILER)).await.map_err(|error| error.error)?;
        let rows = copy.finish().await.map_err(blame::told)?;
        drop(session);
        Ok(rows)
    }
}

/// Rows as a binary COPY wants them.
fn encode(buffer: &mut BytesMut, portion: &Portion, columns: &[String]) -> Result<(), BadRow> {
    buffer.reserve(portion.batch.bytes() + portion.batch.len() * (40 + 4 * columns.len()));
    for (at, row) in portion.batch.rows().enumerate() {
        let bad = |column: Option<&String>, why: &str| BadRow {
            file: String::new(),
            line: row.place().line,
            column: column.cloned(),
            why: why.to_owned(),
        };
        if row.len() != columns.len() {
            return Err(bad(None, "it has another number of cells than the header"));
        }
        buffer.put_i16(i16::try_from(columns.len() + 3).map_err(|_| bad(None, "it has too many columns"))?);
        buffer.put_i32(4);
        buffer.put_u32(portion.file);
        buffer.put_i32(8);
        buffer.put_u64(row.place().line);
        buffer.put_i32(8);
        buffer.put_u64(portion.first + at as u64);
        for (cell, column) in row.cells().zip(columns) {
            match cell {
                None => buffer.put_i32(NULL),
                Some(text) if text.contains(&0) => {
                    return Err(bad(Some(column), "it holds a NUL character, which PostgreSQL does not keep"));
                }
                Some(text) => {
                    buffer
                        .put_i32(i32::try_from(text.len()).map_err(|_| bad(Some(column), "it is longer than 2 GiB"))?);
                    buffer.put_slice(text);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use drops::{Batch, Place};
    use lease::{Job, RunId};

    use super::*;

    fn fence(job: &str, epoch: u64) -> Fence {
        Fence { job: Job::parse(job).unwrap(), run: RunId::generate(), epoch: Epoch(epoch) }
    }

    #[test]
    fn names_keep_jobs_and_numbers_apart_and_fit() {
        let long = "\u{e9}".repeat(40);
        for table in ["t", "a__stg_b", long.as_str()] {
            let (one, other) = (fence("one", u64::MAX), fence("other", 7));
            let (first, second) = (name(table, &one), name(table, &other));
            assert!(first.len() <= 63 && first != second, "{first}");
            assert_eq!((number_in(&first, &one.job), number_in(&first, &other.job)), (Some(one.epoch), None));
            assert_eq!(number_in(&second, &other.job), Some(Epoch(7)));
        }
    }

    #[test]
    fn rows_are_encoded_with_their_places() {
        let mut batch = Batch::default();
        batch.begin_row(Place { line: 2, byte: 10 });
        batch.push_cell(Some(b"ab"));
        batch.push_cell(None);
        let mut portion = Portion { batch, file: 1, first: 5 };
        let columns = ["a".to_owned(), "b".to_owned()];
        let mut buffer = BytesMut::new();
        encode(&mut buffer, &portion, &columns).unwrap();
        let wanted: &[u8] = b"\0\x05\0\0\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x05\0\0\0\x02ab\xff\xff\xff\xff";
        assert_eq!(&buffer[..], wanted);
        portion.batch.begin_row(Place { line: 3, byte: 20 });
        portion.batch.push_cell(Some(b"a\0b"));
        portion.batch.push_cell(None);
        let bad = encode(&mut buffer, &portion, &columns).unwrap_err();
        assert_eq!((bad.line, bad.column.as_deref()), (3, Some("a")));
    }
}
