//! Staging tables: a drop's rows as text, before anybody sees them.
//!
//! Owns their names, their making, the copying into them and their end. A staging table belongs to one number of one job, by its name; it has a column for each of the drop's, the place
//! where each row came from, and for upserts the key as the table itself would keep it, empty until the merge. Promises that each cell was held against its column before it is copied, that all
//! rows that are none are known by then, and that only tables of the same job are dropped, of lower numbers or of the run itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lease::Epoch;
use mysql::{Fill, Rows, StatementSession, ident, literal};

use super::table::{Column, Table};
use super::{MysqlTarget, ground, merge};
use crate::blamed::MOST;
use crate::names::{family, number_in};
use crate::record::Record;
use crate::target::{Fence, Merge, Portion, Staging, Writer};
use crate::{BadRow, Error, Mode};

/// A table would have more columns than its rows have room for.
const TOO_WIDE: u16 = 1118;

/// The first rows that are not taken, by their number in the drop and the column's.
type Bad = Arc<Mutex<BTreeMap<(u64, usize), BadRow>>>;

/// A staging table.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    pub target: MysqlTarget,
    pub fence: Fence,
    pub table: Table,
    name: String,
    /// Quoted, for SQL.
    pub sql: String,
    bad: Bad,
}

impl Staged {
    /// Rows with cells that are no values, the first so many and perhaps one more.
    pub fn bad(&self) -> Vec<BadRow> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

fn name(fence: &Fence) -> String {
    format!("longshore{}{}", family(&fence.job), fence.epoch)
}

/// The name of a column in staging: the table's own may be anything.
pub(super) fn column(at: usize) -> String {
    format!("c{at}")
}

/// The name of a key's column in staging.
pub(super) fn key(at: usize) -> String {
    format!("k{at}")
}

/// Drops staging tables of lower numbers.
pub(super) async fn tidy(session: &mut StatementSession, fence: &Fence) -> Result<(), Error> {
    drop_those(session, fence, |number| number < fence.epoch).await
}

/// Drops the staging table of this number, if there is one.
pub(super) async fn clear(session: &mut StatementSession, fence: &Fence) -> Result<(), Error> {
    drop_those(session, fence, |number| number == fence.epoch).await
}

/// Drops staging tables of a job by their numbers. One that somebody uses stays for another time.
async fn drop_those(
    session: &mut StatementSession,
    fence: &Fence,
    wanted: impl Fn(Epoch) -> bool,
) -> Result<(), Error> {
    let family = format!("longshore{}", family(&fence.job));
    let query = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND LEFT(TABLE_NAME, {}) = {} ORDER BY 1",
        family.len(),
        literal(&family)
    );
    let rows = session.rows("look for old staging tables", &query).await;
    for table in rows.map_err(|error| error.error)?.into_iter().filter_map(|mut row| row.remove(0)) {
        if !number_in(&table, &fence.job).is_some_and(&wanted) {
            continue;
        }
        let statement = format!("DROP TABLE IF EXISTS {}", ident(&table));
        if let Err(error) = session.run("drop a staging table", &statement).await {
            tracing::warn!(table, error = %error.error, "a staging table could not be dropped; the job's next run tries again");
        }
    }
    Ok(())
}

/// Makes the staging table of a number.
pub(super) async fn create(
    session: &mut StatementSession,
    target: MysqlTarget,
    fence: Fence,
    table: Table,
) -> Result<Staged, Error> {
    let name = name(&fence);
    let text = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    let mut parts: Vec<String> = (0..table.columns.len()).map(|at| format!("{} {text}", column(at))).collect();
    if let Mode::Upsert { .. } = target.mode {
        let keys: Vec<_> = table.columns.iter().filter(|column| column.is_key).collect();
        parts.extend(keys.iter().enumerate().map(|(at, is)| format!("{} {} NULL DEFAULT NULL", key(at), is.declared)));
        let names: Vec<String> = (0..keys.len()).map(key).collect();
        parts.push(format!("UNIQUE KEY once ({})", names.join(", ")));
    }
    let sql = ident(&name);
    let statement = format!(
        "CREATE TABLE {sql} (f INT UNSIGNED NOT NULL, l BIGINT UNSIGNED NOT NULL, n BIGINT UNSIGNED NOT NULL PRIMARY KEY, {}) \
         ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'Longshore: rows of a load that is not over, or was killed'",
        parts.join(", ")
    );
    session.run("make the staging table", &statement).await.map_err(|error| match error.is(&[TOO_WIDE]) {
        true => error
            .error
            .hint("InnoDB has no room for so many columns of text; load some 150 of them at a time, by --mode upsert"),
        false => ground::no_right(error),
    })?;
    Ok(Staged { target, fence, table, name, sql, bad: Bad::default() })
}

#[async_trait]
impl Staging for Staged {
    async fn writer(&self) -> Result<Box<dyn Writer>, Error> {
        let places = ["f", "l", "n"].into_iter().map(str::to_owned);
        let columns: Vec<String> = places.chain((0..self.table.columns.len()).map(column)).collect();
        let fill = Fill::begin(&self.target.books.endpoint, &self.name, &columns).await?;
        let columns = self.table.columns.clone();
        Ok(Box::new(Copying { fill, columns, bad: Arc::clone(&self.bad) }))
    }

    async fn merge(&self, record: &Record, reload: bool) -> Result<Merge, Error> {
        merge::merge(self, record, reload).await
    }

    async fn discard(self: Box<Self>) -> Result<(), Error> {
        let mut session = self.target.books.session().await?;
        let dropped = session.run("drop the staging table", &format!("DROP TABLE IF EXISTS {}", self.sql)).await;
        Ok(dropped.map_err(|error| error.error)?)
    }
}

struct Copying {
    fill: Fill,
    columns: Vec<Column>,
    bad: Bad,
}

#[async_trait]
impl Writer for Copying {
    async fn write(&mut self, portion: &Portion, files: &[String]) -> Result<(), Error> {
        let file = files.get(portion.file as usize).cloned().unwrap_or_default();
        let rows = encode(portion, &self.columns, &file, &self.bad)?;
        Ok(self.fill.write(rows).await?)
    }

    async fn finish(self: Box<Self>) -> Result<u64, Error> {
        Ok(self.fill.finish().await?)
    }
}

/// Rows as they go into staging. One that is not taken is kept in mind, and told of when it is known that the drop is not loaded already.
fn encode(portion: &Portion, columns: &[Column], file: &str, bad: &Bad) -> Result<Rows, Error> {
    let mut rows = Rows::with_capacity(portion.batch.bytes() + portion.batch.len() * (32 + 3 * columns.len()));
    for (number, row) in (portion.first..).zip(portion.batch.rows()) {
        let line = row.place().line;
        if row.len() != columns.len() {
            let why = "it has another number of cells than the header".to_owned();
            let row = BadRow { file: file.to_owned(), line, column: None, why };
            return Err(Error::rows("a row cannot be kept by the target: nothing was loaded", vec![row], true));
        }
        rows.cell(Some(portion.file.to_string().as_bytes()));
        rows.cell(Some(line.to_string().as_bytes()));
        rows.cell(Some(number.to_string().as_bytes()));
        for (at, (cell, column)) in row.cells().zip(columns).enumerate() {
            match taken(cell, column) {
                Ok(value) => rows.cell(value.as_deref()),
                Err(why) => {
                    rows.cell(None);
                    let column = Some(column.name.clone());
                    keep(bad, (number, at), BadRow { file: file.to_owned(), line, column, why });
                }
            }
        }
        rows.end_row();
    }
    Ok(rows)
}

type Cell<'a> = Option<std::borrow::Cow<'a, [u8]>>;

fn taken<'a>(cell: Option<&'a [u8]>, column: &Column) -> Result<Cell<'a>, String> {
    use std::borrow::Cow;
    let Some(bytes) = cell else {
        return match (column.is_key, column.not_null) {
            (true, _) => Err("its key is null".to_owned()),
            // A server would put the time of day there, or the next number.
            (_, true) => Err("null, where the column takes none".to_owned()),
            _ => Ok(None),
        };
    };
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    match column.kind.take(text) {
        Ok(Cow::Borrowed(text)) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
        Ok(Cow::Owned(text)) => Ok(Some(Cow::Owned(text.into_bytes()))),
        Err(why) => Err(why.into_owned()),
    }
}

/// The first so many, and one more that says that there are more.
fn keep(bad: &Bad, at: (u64, usize), row: BadRow) {
    let mut bad = bad.lock().unwrap_or_else(PoisonError::into_inner);
    bad.insert(at, row);
    if bad.len() > MOST + 1 {
        bad.pop_last();
    }
}
