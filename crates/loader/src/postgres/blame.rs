//! Which rows the target did not take, after it did not.
//!
//! Owns the search. Values that are no value of their column's type are listed, where the server can tell without failing (from version 16 on);
//! every other refusal is found by halving: half of the rows are merged, kept when that works and taken back when not, until one is left. It costs
//! about one more merge, is never committed, and finds what a constraint, a trigger or a type says, whatever it is. Promises that rows are named
//! by their places and that no value is repeated: what a server says of values is never handed on.

use engine::Kind;
use postgres::{StatementError, StatementSession, literal};

use super::commit::{begin, roll_back};
use super::merge::{insert, make_room};
use super::staging::{Staged, column};
use crate::blamed::{MOST, at_place, not_taken};
use crate::record::Record;
use crate::{BadRow, Error, Mode};

/// Errors that are about something else than rows: the connection, rights, locks, the server. User-defined states are about rows.
const NOT_ROWS: [&str; 16] =
    ["08", "0A", "25", "26", "28", "34", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "XX"];
/// What types with a language of their own, such as `tsvector`, say of a value. It repeats it.
const NO_WORD: &str = "42601";
/// The version from which on the server tells whether a text is a value.
const TELLS: u32 = 16;

fn is_about_rows(error: &StatementError) -> bool {
    error.is(&[NO_WORD]) || (error.state.is_some() && !error.is(&NOT_ROWS))
}

/// The error that a person can act on.
pub(super) async fn explain(
    session: &StatementSession,
    staged: &Staged,
    record: &Record,
    error: StatementError,
) -> Error {
    if !is_about_rows(&error) {
        return Error::Target(told(error));
    }
    let found = match search(session, staged, record, &error).await {
        Ok(found) => found,
        Err(failed) => {
            tracing::debug!(error = %failed, "could not find the rows that were not taken");
            Vec::new()
        }
    };
    if found.is_empty() {
        let what = format!("{} does not take the rows: {}", staged.table.shown, why(&error));
        return Error::rows(what, found, false);
    }
    not_taken(&staged.table.shown, found)
}

async fn search(
    session: &StatementSession,
    staged: &Staged,
    record: &Record,
    error: &StatementError,
) -> Result<Vec<BadRow>, Error> {
    if error.is(&["21000"]) {
        return twice(session, staged, record).await;
    }
    if error.is(&["22", NO_WORD]) && session.major() >= TELLS {
        let listed = invalid(session, staged, record).await;
        if let Ok(rows) = &listed
            && !rows.is_empty()
        {
            return listed;
        }
    }
    if error.is(&["23503"]) && refers_to_itself(session, error).await? {
        // A row may refer to one that comes later: a part of the rows fails where all of them do not.
        return Ok(Vec::new());
    }
    halve(session, staged, record).await
}

/// What is wrong, without the value.
pub(super) fn why(error: &StatementError) -> String {
    let constraint = error.constraint.as_deref().unwrap_or("a constraint");
    match error.state.as_deref() {
        Some("23502") => "null, where the column takes none".to_owned(),
        Some("23503") => format!("refers to a row that is not there ({constraint})"),
        Some("23505") => format!("the key is there already ({constraint})"),
        Some("23514") => format!("violates the check {constraint}"),
        Some("23P01") => format!("violates the exclusion {constraint}"),
        // What the server says of values repeats them, and in its own language.
        Some("22P02") => "not a value of its column's type".to_owned(),
        Some("22003") => "out of the range of its column's type".to_owned(),
        Some("22001") => "too long for its column".to_owned(),
        Some("22007" | "22008") => "not a date or time that there is".to_owned(),
        Some(state) if state.starts_with("22") || [NO_WORD, "XX000"].contains(&state) => {
            format!("not a value that its column takes (SQLSTATE {state})")
        }
        _ => error.error.what.split_once(": ").map_or_else(|| error.error.what.clone(), |(_, said)| said.to_owned()),
    }
}

/// An error that may be about a value, without the value.
pub(super) fn told(error: StatementError) -> engine::Error {
    // Some types say what is wrong with a value as if the server itself were.
    if !error.is(&["22", NO_WORD, "XX000"]) {
        return error.error;
    }
    let said = why(&error);
    let mut told = error.error;
    let doing = told.what.split_once(": ").map_or("", |(doing, _)| doing);
    told.what = format!("{doing}: {said}");
    told
}

/// Values that are none of their column's type.
async fn invalid(session: &StatementSession, staged: &Staged, record: &Record) -> Result<Vec<BadRow>, Error> {
    let columns = staged.table.columns.iter().enumerate().filter(|(_, column)| !column.is_text());
    let values: Vec<_> =
        columns.map(|(at, is)| format!("({at}, s.{}, {})", column(at), literal(&is.declared))).collect();
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT s.f::text, s.l::text, v.at::text FROM {} s CROSS JOIN LATERAL (VALUES {}) AS v(at, value, type) \
         WHERE v.value IS NOT NULL AND NOT pg_catalog.pg_input_is_valid(v.value, v.type) ORDER BY s.n, v.at LIMIT {}",
        staged.sql,
        values.join(", "),
        MOST + 1
    );
    let rows = session.rows("look for values that are none", &query, &[]).await.map_err(told)?;
    Ok(rows
        .iter()
        .map(|row| {
            let of =
                row[2].as_ref().and_then(|at| at.parse::<usize>().ok()).and_then(|at| staged.table.columns.get(at));
            let declared = of.map(|column| column.declared.as_str()).unwrap_or_default();
            let bad = at_place(record, row[0].as_deref(), row[1].as_deref(), format!("not a valid {declared}"));
            BadRow { column: of.map(|column| column.name.clone()), ..bad }
        })
        .collect())
}

/// Rows of the drop that have one key.
async fn twice(session: &StatementSession, staged: &Staged, record: &Record) -> Result<Vec<BadRow>, Error> {
    let Mode::Upsert { key } = &staged.target.mode else { return Ok(Vec::new()) };
    let columns = staged.table.columns.iter().enumerate().filter(|(_, column)| key.contains(&column.name));
    let keys: Vec<_> = columns.map(|(at, is)| format!("({})::{}", column(at), is.cast)).collect();
    let keys = keys.join(", ");
    let query = format!(
        "SELECT f::text, l::text FROM (SELECT f, l, n, pg_catalog.count(*) OVER same AS times, pg_catalog.min(n) OVER same AS first \
         FROM {} WINDOW same AS (PARTITION BY {keys})) s WHERE times > 1 ORDER BY first, n LIMIT {}",
        staged.sql,
        MOST + 1
    );
    listed(session, record, &query, &format!("its key ({}) is on more than one line", key.join(", "))).await
}

/// Fails when a condition holds for staged rows, naming them.
pub(super) async fn refuse(
    session: &StatementSession,
    staged: &Staged,
    record: &Record,
    condition: &str,
    why: &str,
) -> Result<(), Error> {
    let query = format!("SELECT f::text, l::text FROM {} WHERE {condition} ORDER BY n LIMIT {}", staged.sql, MOST + 1);
    let rows = listed(session, record, &query, why).await?;
    if rows.is_empty() { Ok(()) } else { Err(not_taken(&staged.table.shown, rows)) }
}

async fn listed(session: &StatementSession, record: &Record, query: &str, why: &str) -> Result<Vec<BadRow>, Error> {
    let rows = session.rows("look for rows that are not taken", query, &[]).await.map_err(told)?;
    Ok(rows.iter().map(|row| at_place(record, row[0].as_deref(), row[1].as_deref(), why.to_owned())).collect())
}

async fn refers_to_itself(session: &StatementSession, error: &StatementError) -> Result<bool, Error> {
    let query = "SELECT conname::text FROM pg_catalog.pg_constraint \
                 WHERE contype = 'f' AND conname = $1::text AND conrelid = confrelid LIMIT 1";
    let rows = session.rows("look at a constraint", query, &[error.constraint.as_deref()]).await;
    Ok(!rows.map_err(|error| error.error)?.is_empty())
}

/// Finds the first row that the table does not take when all before it are there.
async fn halve(session: &StatementSession, staged: &Staged, record: &Record) -> Result<Vec<BadRow>, Error> {
    let found = halved(session, staged, record).await;
    roll_back(session).await;
    found
}

async fn halved(session: &StatementSession, staged: &Staged, record: &Record) -> Result<Vec<BadRow>, Error> {
    // The index goes with the transaction; without it each half would read all staged rows.
    begin(session, &staged.target.books, &staged.fence).await?;
    let said = |error: StatementError| Error::Target(told(error));
    session.run("look for a row", &format!("CREATE INDEX ON {} (n)", staged.sql)).await.map_err(said)?;
    if staged.target.mode == Mode::Replace {
        make_room(session, staged, record).await?;
    }
    let (mut from, mut to) = (0, record.counts.read);
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        match part(session, staged, from, middle).await? {
            None => from = middle,
            Some(_) => to = middle,
        }
    }
    let Some(error) = part(session, staged, from, to).await? else { return Ok(Vec::new()) };
    let query = format!("SELECT f::text, l::text FROM {} WHERE n = {from}", staged.sql);
    let rows = listed(session, record, &query, &why(&error)).await?;
    Ok(rows.into_iter().map(|row| BadRow { column: error.column.clone(), ..row }).collect())
}

/// Merges some rows: keeps them, or takes them back with the reason why they were not taken.
async fn part(
    session: &StatementSession,
    staged: &Staged,
    from: u64,
    to: u64,
) -> Result<Option<StatementError>, Error> {
    let said = |error: StatementError| Error::Target(told(error));
    session.run("look for a row", "SAVEPOINT half").await.map_err(said)?;
    match session.change("insert", &insert(staged, Some((from, to))), &[]).await {
        Ok(_) => session.run("look for a row", "RELEASE SAVEPOINT half").await.map_err(said).map(|()| None),
        Err(error) if error.error.kind == Kind::Data || is_about_rows(&error) => {
            session.run("look for a row", "ROLLBACK TO SAVEPOINT half").await.map_err(said)?;
            Ok(Some(error))
        }
        Err(error) => Err(said(error)),
    }
}
