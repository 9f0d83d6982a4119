//! Sessions for those who bring statements of their own: the loader of data drops, whose tables and transactions are not the driver's.
//!
//! Owns the session, and what its errors mean. Promises that values are text both ways; that dates are read as year, month, day or not at
//! all, and times without a zone as UTC; that what is committed is on the server's disk; that a session which is dropped ends at the server,
//! in the middle of a statement too; and that errors carry what a caller decides by and nothing of a row. Refuses poolers and standbys.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use engine::Error;
use futures_util::SinkExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Row};

use crate::advisory::{cut, examine_advisory};
use crate::connection::{Purpose, Session, connect_session, major_version};
use crate::endpoint::Endpoint;
use crate::failure::{from_postgres, map};

/// A row of text; `None` is NULL.
pub type TextRow = Vec<Option<String>>;

/// An error of a statement.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct StatementError {
    /// What happened, without anything of a row.
    #[source]
    pub error: Error,
    /// The server's SQLSTATE; `None` when it said nothing, so that nobody knows whether it did what it was told.
    pub state: Option<String>,
    /// The constraint that was violated.
    pub constraint: Option<String>,
    /// The column that was refused.
    pub column: Option<String>,
}

impl StatementError {
    /// Whether the SQLSTATE is one of these, or of one of these classes of two characters.
    #[must_use]
    pub fn is(&self, states: &[&str]) -> bool {
        self.state.as_deref().is_some_and(|state| states.iter().any(|wanted| state.starts_with(wanted)))
    }
}

impl From<StatementError> for Error {
    fn from(error: StatementError) -> Error {
        error.error
    }
}

fn failed(what: &str) -> impl FnOnce(tokio_postgres::Error) -> StatementError {
    let what = what.to_owned();
    move |error| {
        let db = error.as_db_error();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        StatementError {
            state: db.map(|db| db.code().code().to_owned()),
            constraint: owned(db.and_then(|db| db.constraint())),
            column: owned(db.and_then(|db| db.column())),
            error: map(&what, &error),
        }
    }
}

/// A session that runs its owner's statements, one after the other.
pub struct StatementSession {
    session: Session,
    major: u32,
}

impl fmt::Debug for StatementSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementSession").field("major", &self.major).finish_non_exhaustive()
    }
}

/// Fails where statements of several sessions would not meet the server itself: behind a pooler, and on a standby.
///
/// # Errors
/// `Kind::Config` with what is in the way; `Kind::Unavailable`, `Kind::Refused`.
pub async fn examine_statements(endpoint: &Endpoint) -> Result<(), Error> {
    examine_advisory(endpoint).await
}

impl StatementSession {
    /// Connects under a name that others can see. Waits for locks end after so many milliseconds.
    ///
    /// # Errors
    /// As for every connection.
    pub async fn connect(endpoint: &Endpoint, name: &str, lock_timeout: u64) -> Result<Self, Error> {
        let session = connect_session(endpoint, Purpose::Write, 0).await?;
        let what = format!("prepare the session with {endpoint}");
        // A role's or a database's own setting that waits for more than the disk stays.
        let settings = format!(
            "SET lock_timeout = {lock_timeout}; SET DateStyle = 'ISO, YMD'; RESET synchronous_commit; \
             SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
             WHERE pg_catalog.current_setting('synchronous_commit') IN ('off', 'local')"
        );
        session.batch_execute(&settings).await.map_err(from_postgres(what.clone()))?;
        let name = cut(name);
        let named = "SELECT pg_catalog.set_config('application_name', $1, false)";
        session.execute(named, &[&name]).await.map_err(from_postgres(what))?;
        // So that a server in the middle of a long statement sees that nobody waits for it; not every platform can.
        let looks = session.batch_execute("SET client_connection_check_interval = '2s'").await;
        if let Err(error) = looks {
            tracing::debug!(%error, "the server does not look for clients that are gone");
        }
        let major = major_version(&session).await?;
        Ok(Self { session, major })
    }

    /// The server's major version, such as 15.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Runs statements without values. `what` says what is being done, for an error.
    ///
    /// # Errors
    /// The server's, or that it said nothing.
    pub async fn run(&self, what: &str, statements: &str) -> Result<(), StatementError> {
        self.session.batch_execute(statements).await.map_err(failed(what))
    }

    /// The rows of a query. `$1` and so on are of type `text`, and so are all columns.
    ///
    /// # Errors
    /// As `run`.
    pub async fn rows(&self, what: &str, query: &str, values: &[Option<&str>]) -> Result<Vec<TextRow>, StatementError> {
        let values = as_values(values);
        let rows = self.session.query(query, &values).await.map_err(failed(what))?;
        rows.iter().map(text_row).collect::<Result<_, _>>().map_err(failed(what))
    }

    /// Runs a statement and says how many rows it was about.
    ///
    /// # Errors
    /// As `run`.
    pub async fn change(&self, what: &str, statement: &str, values: &[Option<&str>]) -> Result<u64, StatementError> {
        self.session.execute(statement, &as_values(values)).await.map_err(failed(what))
    }

    /// Begins a `COPY … FROM STDIN`.
    ///
    /// # Errors
    /// As `run`.
    pub async fn copy_in(&self, what: &str, statement: &str) -> Result<StatementCopy, StatementError> {
        let sink = self.session.copy_in(statement).await.map_err(failed(what))?;
        Ok(StatementCopy { sink: Box::pin(sink), what: what.to_owned() })
    }
}

fn as_values<'a>(values: &'a [Option<&'a str>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn text_row(row: &Row) -> Result<TextRow, tokio_postgres::Error> {
    (0..row.len()).map(|at| row.try_get(at)).collect()
}

/// A COPY under way. One that is dropped is given up, and its rows with it.
pub struct StatementCopy {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    what: String,
}

impl fmt::Debug for StatementCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementCopy").field("what", &self.what).finish_non_exhaustive()
    }
}

impl StatementCopy {
    /// Sends bytes.
    ///
    /// # Errors
    /// What the server refused before, or that it is gone.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StatementError> {
        match self.sink.send(bytes).await {
            Ok(()) => Ok(()),
            // The server refuses by a message that only the end of the COPY delivers; the write itself just fails.
            Err(error) if error.as_db_error().is_none() => {
                let reason = self.sink.as_mut().finish().await.err();
                Err(failed(&self.what)(reason.unwrap_or(error)))
            }
            Err(error) => Err(failed(&self.what)(error)),
        }
    }

    /// Ends it; the number of rows is the server's.
    ///
    /// # Errors
    /// What the server refused.
    pub async fn finish(mut self) -> Result<u64, StatementError> {
        self.sink.as_mut().finish().await.map_err(failed(&self.what))
    }
}
