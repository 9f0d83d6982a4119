//! The merge: the one transaction in which a drop becomes visible.
//!
//! Owns its statements; its beginning and its end are in `commit`. Promises their order (fence, ledger, rows, ledger), that every row which was read is a row that the table took, that a
//! warning of the server is an error, and that nothing is committed after a doubt. Refuses to guess.
//!
//! An upsert is an UPDATE of the rows whose key is there and an INSERT of the others, and not `ON DUPLICATE KEY UPDATE`: that changes a row that any unique index finds, and the last of two
//! rows with one key wins without a word. Which keys are the same is the table's own collation's business: they are put into columns of staging that are declared as the table's are, under a unique index.

use engine::Kind;
use mysql::{Changed, StatementError, StatementSession, ident};

use super::books::LOCKED;
use super::commit::{Isolation, Transaction, begin, roll_back};
use super::staging::{Staged, column, key};
use super::table::Column;
use super::{blame, ground, ledger, strict, table, values};
use crate::blamed::{no_rows_to_replace_by, not_taken};
use crate::record::{Counts, Record};
use crate::target::Merge;
use crate::{Error, Mode};

/// Opens the transaction and does all but commit.
pub(super) async fn merge(staged: &Staged, record: &Record, reload: bool) -> Result<Merge, Error> {
    let mut session = staged.target.books.session().await?;
    match attempt(&mut session, staged, record, reload).await {
        Ok(Some(counts)) => {
            let books = staged.target.books.clone();
            Ok(Merge::Open(Box::new(Transaction { session, books, record: record.clone(), counts })))
        }
        Ok(None) => {
            roll_back(&mut session).await;
            Ok(Merge::Already)
        }
        Err(failed) => {
            roll_back(&mut session).await;
            Err(match failed {
                Failed::Rows(error) => blame::explain(&mut session, staged, record, error).await,
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
        Failed::Other(Error::Target(error.error))
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Other(error)
    }
}

/// `None` when the ledger knows the drop as loaded.
async fn attempt(
    session: &mut StatementSession,
    staged: &Staged,
    record: &Record,
    reload: bool,
) -> Result<Option<Counts>, Failed> {
    begin(session, &staged.target.books, &staged.fence, Isolation::of(&staged.target.mode)).await?;
    if !ledger::begin(session, record, reload).await? {
        return Ok(None);
    }
    table::assert_unchanged(session, &staged.target, &staged.table).await.map_err(Error::from)?;
    let mut bad = staged.bad();
    if bad.is_empty() {
        bad = strict::find(session, staged, record).await?;
    }
    if !bad.is_empty() {
        return Err(Failed::Other(not_taken(&staged.table.shown, bad)));
    }
    let mut counts = record.counts;
    match &staged.target.mode {
        Mode::Append => {}
        Mode::Replace => counts.deleted = make_room(session, staged, record).await?,
        Mode::Upsert { .. } => {
            find_keys(session, staged).await.map_err(Failed::Rows)?;
            counts.updated = present(session, staged).await.map_err(Failed::Rows)?;
        }
    }
    counts.inserted = put(session, staged, None).await.map_err(Failed::Rows)?;
    if counts.inserted + counts.updated != counts.read {
        return Err(Failed::Other(swallowed(session, staged, counts).await?));
    }
    ledger::end(session, record, counts).await?;
    Ok(Some(counts))
}

/// Deletes what is there. Others read it until the commit, and write nothing meanwhile.
pub(super) async fn make_room(session: &mut StatementSession, staged: &Staged, record: &Record) -> Result<u64, Error> {
    let (table, shown) = (&staged.table.sql, &staged.table.shown);
    if record.counts.read == 0 && !staged.target.allow_empty {
        return Err(no_rows_to_replace_by(shown));
    }
    // Looked at before staging; what has come since then would count just the same.
    table::may_be_replaced(session, &staged.table).await?;
    let what = format!("replace the rows of {shown}");
    let deleted = session.change(&what, &format!("DELETE FROM {table}")).await.map_err(|error| {
        if error.is(&[1217, 1451]) {
            return error.error.hint("other tables refer to rows of this one: load with --mode upsert");
        }
        in_the_way(error, shown)
    })?;
    let left = session.rows(&what, &format!("SELECT EXISTS (SELECT 1 FROM {table})")).await;
    if left.map_err(|error| error.error)?.first().and_then(|row| row[0].as_deref()) == Some("0") {
        return Ok(deleted.rows);
    }
    let what = format!("{shown} still holds rows after all were deleted");
    Err(engine::Error::new(Kind::Data, what).hint("nothing was changed; load with --mode upsert").into())
}

fn in_the_way(error: StatementError, table: &str) -> engine::Error {
    match error.is(&[LOCKED]) {
        true => {
            error.error.hint(format!("somebody else works on {table}; start again, or wait longer with --lock-timeout"))
        }
        false => error.error,
    }
}

fn keys(staged: &Staged) -> impl Iterator<Item = (String, usize, &Column)> {
    let columns = staged.table.columns.iter().enumerate().filter(|(_, column)| column.is_key);
    columns.enumerate().map(|(number, (at, column))| (key(number), at, column))
}

/// Gives staged rows their keys as the table would keep them. Fails when two are the same.
pub(super) fn find_keys_sql(staged: &Staged, how: &str) -> String {
    let sets: Vec<_> = keys(staged).map(|(name, at, is)| format!("s.{name} = {}", value(at, is))).collect();
    format!("UPDATE {how} {} s SET {}", staged.sql, sets.join(", "))
}

pub(super) async fn find_keys(session: &mut StatementSession, staged: &Staged) -> Result<(), StatementError> {
    let what = "look for keys of the drop";
    let changed = session.change(what, &find_keys_sql(staged, "")).await?;
    refuse_warnings(session, what, changed).await
}

/// The condition that finds a staged row's own in the table.
fn same_key(staged: &Staged) -> String {
    let pairs: Vec<_> = keys(staged).map(|(name, _, is)| format!("t.{} = s.{name}", ident(&is.name))).collect();
    pairs.join(" AND ")
}

/// How many staged rows have their key in the table; these rows are locked.
async fn present(session: &mut StatementSession, staged: &Staged) -> Result<u64, StatementError> {
    let query =
        format!("SELECT COUNT(*) FROM {} s JOIN {} t ON {} FOR UPDATE", staged.sql, staged.table.sql, same_key(staged));
    let rows = session.rows(&format!("look for keys in {}", staged.table.shown), &query).await?;
    Ok(rows.first().and_then(|row| row[0].as_ref()).and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// A staged cell as the column takes it.
fn value(at: usize, is: &Column) -> String {
    let cell = format!("s.{}", column(at));
    match is.kind {
        // A text would be taken for its letters' bits.
        values::Kind::Bits(_) => format!("CAST(CONV({cell}, 2, 10) AS UNSIGNED)"),
        _ => cell,
    }
}

/// Changes rows of the table whose key is there, and adds the others: all staged rows, or those with numbers from the first up to before the second. Returns how many were added.
pub(super) async fn put(
    session: &mut StatementSession,
    staged: &Staged,
    range: Option<(u64, u64)>,
) -> Result<u64, StatementError> {
    let what = format!("load into {}", staged.table.shown);
    if let Some(statement) = update(staged, range) {
        let changed = session.change(&what, &statement).await?;
        refuse_warnings(session, &what, changed).await?;
    }
    let changed = session.change(&what, &insert(staged, range)).await?;
    refuse_warnings(session, &what, changed).await?;
    Ok(changed.rows)
}

fn within(range: Option<(u64, u64)>) -> String {
    range.map_or_else(|| "TRUE".to_owned(), |(from, to)| format!("s.n >= {from} AND s.n < {to}"))
}

fn update(staged: &Staged, range: Option<(u64, u64)>) -> Option<String> {
    let Mode::Upsert { .. } = staged.target.mode else { return None };
    let others = staged.table.columns.iter().enumerate().filter(|(_, column)| !column.is_key);
    let sets: Vec<_> = others.map(|(at, is)| format!("t.{} = {}", ident(&is.name), value(at, is))).collect();
    let (table, staging) = (&staged.table.sql, &staged.sql);
    (!sets.is_empty()).then(|| {
        format!(
            "UPDATE {table} t JOIN {staging} s ON {} SET {} WHERE {}",
            same_key(staged),
            sets.join(", "),
            within(range)
        )
    })
}

fn insert(staged: &Staged, range: Option<(u64, u64)>) -> String {
    let columns = &staged.table.columns;
    let names: Vec<_> = columns.iter().map(|column| ident(&column.name)).collect();
    let values: Vec<_> = columns.iter().enumerate().map(|(at, is)| value(at, is)).collect();
    let (table, within) = (&staged.table.sql, within(range));
    let (join, only) = match keys(staged).next() {
        None => (String::new(), String::new()),
        Some((_, _, first)) => {
            (format!(" LEFT JOIN {table} t ON {}", same_key(staged)), format!(" AND t.{} IS NULL", ident(&first.name)))
        }
    };
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {} s{join} WHERE {within}{only} ORDER BY s.n",
        names.join(", "),
        values.join(", "),
        staged.sql
    )
}

/// Warnings that are about statements, and not about what they do: syntax of the past, and how replicas are told.
const ABOUT_STATEMENTS: [u16; 4] = [1287, 1592, 1681, 3135];

/// Every cell was held against its column: what a server still warns of is something that nobody thought of.
async fn refuse_warnings(session: &mut StatementSession, what: &str, changed: Changed) -> Result<(), StatementError> {
    if changed.warnings == 0 {
        return Ok(());
    }
    let said = session.warnings(what).await?;
    if said.len() < usize::from(changed.warnings) {
        let what = format!("{what}: the server warned of {} things and told of {}", changed.warnings, said.len());
        let error = engine::Error::new(Kind::Data, what).hint("SET GLOBAL max_error_count = 65535, and start again");
        return Err(StatementError { error, code: None, constraint: None, column: None });
    }
    let found = said.into_iter().find(|warning| !warning.is(&ABOUT_STATEMENTS));
    found.map_or(Ok(()), |warning| {
        let what = format!("the server has changed a row on its way in: {}", warning.error.what);
        Err(StatementError { error: engine::Error::new(Kind::Data, what), ..warning })
    })
}

/// Fewer or more rows than were read: something is between us and the table.
async fn swallowed(session: &mut StatementSession, staged: &Staged, counts: Counts) -> Result<Error, Error> {
    let (shown, read) = (&staged.table.shown, counts.read);
    let there = ground::count(session, &staged.sql).await?;
    let what = match there == read {
        true => format!("{shown} took {} of {read} rows", counts.inserted + counts.updated),
        false => format!("{there} of {read} rows are left in staging"),
    };
    Ok(engine::Error::new(Kind::Unavailable, what).hint("nothing was loaded; start again").into())
}
