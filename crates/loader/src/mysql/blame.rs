//! Which rows the target did not take, after it did not.
//!
//! Owns the search. Values that are none are known before a merge begins (`values`, `strict`); what a constraint or a trigger says is found by halving: half of the rows are merged, kept when
//! that works and taken back when not, until one is left. It costs about one more merge, is never committed, and finds what a table refuses, whatever it is. Promises that rows are named by their
//! places and that no value is repeated: what a server says of values is never handed on.

use engine::Kind;
use mysql::{StatementError, StatementSession};

use super::commit::{Isolation, begin, roll_back};
use super::ground::NO_RIGHT;
use super::merge::{find_keys, find_keys_sql, make_room, put};
use super::staging::{Staged, key};
use crate::blamed::{MOST, at_place, not_taken};
use crate::record::Record;
use crate::{BadRow, Error, Mode};

/// A row has this key already.
const DUPLICATE: [u16; 2] = [1062, 1586];

fn is_about_rows(error: &StatementError) -> bool {
    error.error.kind == Kind::Data && error.code.is_some() && !error.is(&NO_RIGHT)
}

/// The error that a person can act on.
pub(super) async fn explain(
    session: &mut StatementSession,
    staged: &Staged,
    record: &Record,
    error: StatementError,
) -> Error {
    if !is_about_rows(&error) {
        return Error::Target(error.error);
    }
    let shown = &staged.table.shown;
    let found = search(session, staged, record).await;
    roll_back(session).await;
    match found {
        Ok(found) if !found.is_empty() => not_taken(shown, found),
        Ok(_) => {
            // The same rows were taken this time.
            let what = format!("{shown} did not take the rows, and then did: {}", why(&error));
            let hint = "somebody else has worked on the table meanwhile; nothing was loaded, start again";
            engine::Error::new(Kind::Unavailable, what).hint(hint).into()
        }
        Err(failed) => {
            tracing::debug!(error = %failed, "could not find the rows that were not taken");
            Error::rows(format!("{shown} does not take the rows: {}", why(&error)), Vec::new(), false)
        }
    }
}

/// What is wrong, without the value.
fn why(error: &StatementError) -> String {
    let constraint = error.constraint.as_deref().unwrap_or("a constraint");
    match error.code {
        Some(1048) => "null, where the column takes none".to_owned(),
        Some(1062 | 1586) => format!("the key is there already ({constraint})"),
        Some(1216 | 1452) => format!("refers to a row that is not there ({constraint})"),
        Some(1217 | 1451) => format!("other rows refer to the one that it would change ({constraint})"),
        Some(3819 | 4025) => format!("violates the check {constraint}"),
        Some(1264 | 1690) => "out of the range of its column's type".to_owned(),
        Some(1406) => "too long for its column".to_owned(),
        Some(1526) => "no partition of the table is for it".to_owned(),
        Some(1644) => "a trigger of the table refuses it".to_owned(),
        Some(code) => format!("not taken by the server (error {code})"),
        None => "not taken by the server".to_owned(),
    }
}

/// In a transaction of its own, which the caller takes back.
async fn search(session: &mut StatementSession, staged: &Staged, record: &Record) -> Result<Vec<BadRow>, Error> {
    begin(session, &staged.target.books, &staged.fence, Isolation::of(&staged.target.mode)).await?;
    match &staged.target.mode {
        Mode::Append => {}
        Mode::Replace => drop(make_room(session, staged, record).await?),
        Mode::Upsert { key } => match find_keys(session, staged).await {
            Ok(()) => {}
            Err(error) if error.is(&DUPLICATE) => return twice(session, staged, record, key).await,
            Err(error) => return Err(error.error.into()),
        },
    }
    halve(session, staged, record).await
}

/// Rows of the drop whose key another one has before them.
async fn twice(
    session: &mut StatementSession,
    staged: &Staged,
    record: &Record,
    names: &[String],
) -> Result<Vec<BadRow>, Error> {
    let what = "look for keys of the drop";
    session.change(what, &find_keys_sql(staged, "IGNORE")).await.map_err(|error| error.error)?;
    let why = format!("its key ({}) is on an earlier line, too", names.join(", "));
    listed(session, staged, record, &format!("{} IS NULL", key(0)), &why).await
}

async fn listed(
    session: &mut StatementSession,
    staged: &Staged,
    record: &Record,
    condition: &str,
    why: &str,
) -> Result<Vec<BadRow>, Error> {
    let query = format!("SELECT f, l FROM {} WHERE {condition} ORDER BY n LIMIT {}", staged.sql, MOST + 1);
    let rows = session.rows("look for rows that are not taken", &query).await.map_err(|error| error.error)?;
    Ok(rows.iter().map(|row| at_place(record, row[0].as_deref(), row[1].as_deref(), why.to_owned())).collect())
}

/// Finds the first row that the table does not take when all before it are there.
async fn halve(session: &mut StatementSession, staged: &Staged, record: &Record) -> Result<Vec<BadRow>, Error> {
    let (mut from, mut to) = (0, record.counts.read);
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        match part(session, staged, from, middle).await? {
            None => from = middle,
            Some(_) => to = middle,
        }
    }
    let Some(error) = part(session, staged, from, to).await? else { return Ok(Vec::new()) };
    let rows = listed(session, staged, record, &format!("n = {from}"), &why(&error)).await?;
    let named = error.column.filter(|name| staged.table.columns.iter().any(|column| column.name == **name));
    let column = named.map(String::from);
    Ok(rows.into_iter().map(|row| BadRow { column: column.clone(), ..row }).collect())
}

/// Merges some rows: keeps them, or takes them back with the reason why they were not taken.
async fn part(
    session: &mut StatementSession,
    staged: &Staged,
    from: u64,
    to: u64,
) -> Result<Option<StatementError>, Error> {
    let what = "look for a row";
    let said = |error: StatementError| Error::Target(error.error);
    session.run(what, "SAVEPOINT half").await.map_err(said)?;
    match put(session, staged, Some((from, to))).await {
        Ok(_) => session.run(what, "RELEASE SAVEPOINT half").await.map_err(said).map(|()| None),
        Err(error) if is_about_rows(&error) => {
            session.run(what, "ROLLBACK TO SAVEPOINT half").await.map_err(said)?;
            Ok(Some(error))
        }
        Err(error) => Err(said(error)),
    }
}
