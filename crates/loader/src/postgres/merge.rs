//! The merge: the one transaction in which a drop becomes visible.
//!
//! Owns its statements; its beginning and its end are in `commit`. Promises their order (fence, ledger, rows, ledger), that every row which was read is
//! a row that the table took, and that nothing is committed after a doubt. Refuses to guess.
//!
//! Values are cast here and not before: the one pass over all rows that a load cannot do without finds those that are wrong, too. Only then is it
//! looked which they are (`blame`).

use engine::Kind;
use postgres::{StatementError, StatementSession, ident};

use super::commit::{Transaction, begin, roll_back};
use super::staging::{Staged, column};
use super::{blame, ground, ledger, strict, table};
use crate::blamed::{no_rows_to_replace_by, not_taken};
use crate::record::{Counts, Record};
use crate::target::Merge;
use crate::{Error, Mode};

/// Opens the transaction and does all but commit.
pub(super) async fn merge(staged: &Staged, record: &Record, reload: bool) -> Result<Merge, Error> {
    let session = staged.target.books.session(Some(staged.fence.run)).await?;
    match attempt(&session, staged, record, reload).await {
        Ok(Some(counts)) => {
            let books = staged.target.books.clone();
            Ok(Merge::Open(Box::new(Transaction { session, books, record: record.clone(), counts })))
        }
        Ok(None) => {
            roll_back(&session).await;
            Ok(Merge::Already)
        }
        Err(failed) => {
            roll_back(&session).await;
            Err(match failed {
                Failed::Rows(error) => blame::explain(&session, staged, record, error).await,
                Failed::Other(error) => error,
            })
        }
    }
}

/// Why a merge did not come to its end.
enum Failed {
    /// The server did not take the rows.
    Rows(StatementError),
    Other(Error),
}

impl From<StatementError> for Failed {
    fn from(error: StatementError) -> Failed {
        Failed::Other(Error::Target(blame::told(error)))
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Other(error)
    }
}

/// `None` when the ledger knows the drop as loaded.
async fn attempt(
    session: &StatementSession,
    staged: &Staged,
    record: &Record,
    reload: bool,
) -> Result<Option<Counts>, Failed> {
    begin(session, &staged.target.books, &staged.fence).await?;
    if !ledger::begin(session, record, reload).await? {
        return Ok(None);
    }
    refuse_nulls(session, staged, record).await?;
    let changed = strict::find(session, staged, record).await.map_err(Failed::Rows)?;
    if !changed.is_empty() {
        return Err(Failed::Other(not_taken(&staged.table.shown, changed)));
    }
    let mut counts = record.counts;
    if staged.target.mode == Mode::Replace {
        counts.deleted = make_room(session, staged, record).await?;
    }
    if matches!(staged.target.mode, Mode::Upsert { .. }) {
        counts.updated = present(session, staged).await.map_err(Failed::Rows)?;
    }
    let what = format!("load into {}", staged.table.shown);
    let taken = session.change(&what, &insert(staged, None), &[]).await.map_err(Failed::Rows)?;
    if taken != counts.read {
        return Err(Failed::Other(swallowed(session, staged, taken, counts.read).await?));
    }
    counts.inserted = taken.saturating_sub(counts.updated);
    // What is checked at the commit otherwise is checked now, while there is still an error to tell.
    session.run(&what, "SET CONSTRAINTS ALL IMMEDIATE").await.map_err(|error| deferred(staged, error))?;
    ledger::end(session, record, counts).await?;
    Ok(Some(counts))
}

/// Rows whose key is null would be new each time.
async fn refuse_nulls(session: &StatementSession, staged: &Staged, record: &Record) -> Result<(), Error> {
    let Mode::Upsert { key } = &staged.target.mode else { return Ok(()) };
    let columns = staged.table.columns.iter().enumerate();
    let nullable = columns.filter(|(_, column)| key.contains(&column.name) && !column.not_null);
    let tests: Vec<String> = nullable.map(|(at, _)| format!("{} IS NULL", column(at))).collect();
    if tests.is_empty() {
        return Ok(());
    }
    blame::refuse(session, staged, record, &tests.join(" OR "), "its key is null").await
}

/// Deletes what is there. Others read it until the commit, and write nothing meanwhile.
pub(super) async fn make_room(session: &StatementSession, staged: &Staged, record: &Record) -> Result<u64, Error> {
    let (table, shown) = (&staged.table.sql, &staged.table.shown);
    if record.counts.read == 0 && !staged.target.allow_empty {
        return Err(no_rows_to_replace_by(shown));
    }
    let what = format!("replace the rows of {shown}");
    let lock = format!("SET CONSTRAINTS ALL DEFERRED; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE");
    session.run(&what, &lock).await.map_err(|error| in_the_way(error, shown))?;
    // Looked at before staging; what has come since then would count just the same.
    table::may_be_replaced(session, &staged.table.oid, shown).await?;
    let deleted = session.change(&what, &format!("DELETE FROM {table}"), &[]).await;
    let deleted = deleted.map_err(|error| match error.is(&["23503"]) {
        true => error
            .error
            .hint("other tables refer to rows of this one: load with --mode upsert, or make their keys DEFERRABLE"),
        false => in_the_way(error, shown),
    })?;
    refuse_leftovers(session, staged).await?;
    Ok(deleted)
}

/// The server's word that rows were deleted is not enough: a trigger or rule may have kept some, or put others there.
async fn refuse_leftovers(session: &StatementSession, staged: &Staged) -> Result<(), Error> {
    let (table, shown) = (&staged.table.sql, &staged.table.shown);
    let query = format!("SELECT (EXISTS (SELECT FROM {table}))::text");
    let left = session.rows(&format!("look whether {shown} is empty"), &query, &[]).await;
    let left = left.map_err(|error| match error.is(&["42501"]) {
        true => error.error.hint(format!("GRANT SELECT ON {table} to the role that loads; nothing was changed")),
        false => error.error,
    })?;
    if left.first().and_then(|row| row[0].as_deref()) == Some("false") {
        return Ok(());
    }
    Err(Error::Rows {
        what: format!("{shown} still holds rows after all were deleted: a trigger or rule of its own keeps them"),
        rows: Vec::new(),
        more: false,
        advice: Some("nothing was changed; take the trigger or rule away, or load with --mode upsert".to_owned()),
    })
}

fn in_the_way(error: StatementError, table: &str) -> engine::Error {
    match error.is(&["55P03"]) {
        true => {
            error.error.hint(format!("somebody else works on {table}; start again, or wait longer with --lock-timeout"))
        }
        false => error.error,
    }
}

/// How many staged rows have their key in the table.
async fn present(session: &StatementSession, staged: &Staged) -> Result<u64, StatementError> {
    let Mode::Upsert { key } = &staged.target.mode else { return Ok(0) };
    let columns = staged.table.columns.iter().enumerate().filter(|(_, column)| key.contains(&column.name));
    let pairs: Vec<_> =
        columns.map(|(at, is)| format!("t.{} = (s.{})::{}", ident(&is.name), column(at), is.cast)).collect();
    let query = format!(
        "SELECT pg_catalog.count(*)::text FROM {} s WHERE EXISTS (SELECT FROM {} t WHERE {})",
        staged.sql,
        staged.table.sql,
        pairs.join(" AND ")
    );
    let rows = session.rows(&format!("look for keys in {}", staged.table.shown), &query, &[]).await?;
    Ok(rows.first().and_then(|row| row[0].as_ref()).and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// The statement that merges all staged rows, or those with numbers from the first up to before the second.
pub(super) fn insert(staged: &Staged, range: Option<(u64, u64)>) -> String {
    let columns = &staged.table.columns;
    let names: Vec<_> = columns.iter().map(|column| ident(&column.name)).collect();
    let values: Vec<_> =
        columns.iter().enumerate().map(|(at, is)| format!("(s.{})::{}", column(at), is.cast)).collect();
    let mut sql = format!(
        "INSERT INTO {} ({}) SELECT {} FROM {} s",
        staged.table.sql,
        names.join(", "),
        values.join(", "),
        staged.sql
    );
    if let Some((from, to)) = range {
        sql.push_str(&format!(" WHERE s.n >= {from} AND s.n < {to}"));
    }
    if let Mode::Upsert { key } = &staged.target.mode {
        let keys: Vec<_> = key.iter().map(|name| ident(name)).collect();
        let others: Vec<_> =
            columns.iter().filter(|column| !key.contains(&column.name)).map(|it| ident(&it.name)).collect();
        // Without any other column the key is set to itself, so that the row counts.
        let set = if others.is_empty() { &keys } else { &others };
        let set: Vec<_> = set.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        sql.push_str(&format!(" ON CONFLICT ({}) DO UPDATE SET {}", keys.join(", "), set.join(", ")));
    }
    sql
}

/// Fewer or more rows than were read: something is between us and the table.
async fn swallowed(session: &StatementSession, staged: &Staged, taken: u64, read: u64) -> Result<Error, Error> {
    let shown = &staged.table.shown;
    let there = ground::count(session, &staged.sql).await?;
    if there != read {
        let what = format!("{there} of {read} rows are left in staging: did the server crash meanwhile?");
        return Ok(engine::Error::new(Kind::Unavailable, what).hint("nothing was loaded; start again").into());
    }
    Ok(Error::Rows {
        what: format!("{shown} took {taken} of {read} rows: a trigger or rule of its own keeps others out"),
        rows: Vec::new(),
        more: false,
        advice: Some(
            "nothing was loaded; name the table where the rows are to be, or take the trigger or rule away".to_owned(),
        ),
    })
}

/// A constraint that waits until the end was violated.
fn deferred(staged: &Staged, error: StatementError) -> Failed {
    if !error.is(&["23"]) {
        return error.into();
    }
    let what = format!("{} does not take the rows: {}", staged.table.shown, blame::why(&error));
    Failed::Other(Error::rows(what, Vec::new(), false))
}
