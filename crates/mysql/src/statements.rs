//! Sessions for those who bring statements of their own: the loader of data drops, whose tables and transactions are not the driver's.
//!
//! Owns the session, and what its errors mean. Promises that values are text both ways, and dates UTC; that the server judges values as strictly as it can; that rows
//! are read committed; that a session which is dropped in the middle of a statement is ended at the server, as far as that can be reached; and that errors carry what a
//! caller decides by and nothing of a row. Refuses replicas, and clusters in which a lock of one server is none at another.

use crate::connection::{Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::failure::{code, map};
use crate::target::refuse_read_only;
use engine::{Error, Kind};
use mysql_async::prelude::Queryable;
use std::fmt;
use std::time::{Duration, Instant};

/// A row of text; `None` is NULL.
pub type TextRow = Vec<Option<String>>;

/// How long ending a session that nobody waits for may take.
const ENDING: Duration = Duration::from_secs(5);
/// The longest that a server waits for a lock: a year, in seconds.
const LONGEST_WAIT: u64 = 31_536_000;

/// An error of a statement.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct StatementError {
    /// What happened, without anything of a row.
    #[source]
    pub error: Error,
    /// The server's error number; `None` when it said nothing, so that nobody knows whether it did what it was told.
    pub code: Option<u16>,
    /// The key or constraint that was violated.
    pub constraint: Option<Box<str>>,
    /// The column that was refused.
    pub column: Option<Box<str>>,
}

impl StatementError {
    /// Whether the server's error number is one of these.
    #[must_use]
    pub fn is(&self, codes: &[u16]) -> bool {
        self.code.is_some_and(|code| codes.contains(&code))
    }

    /// From the driver's error; `what` says what was being done.
    pub(crate) fn of(what: &str, error: &mysql_async::Error) -> Self {
        let said = match error {
            mysql_async::Error::Server(error) => error.message.as_str(),
            _ => "",
        };
        let constraint = name_after(said, &["for key ", "CONSTRAINT ", "Check constraint "]);
        Self {
            error: map(what, error),
            code: code(error),
            constraint: constraint.map(String::into_boxed_str),
            column: name_after(said, &["column ", "Column ", "Field "]).map(String::into_boxed_str),
        }
    }
}

impl From<StatementError> for Error {
    fn from(error: StatementError) -> Error {
        error.error
    }
}

/// The name in quotes behind the last of these words, without what qualifies it. Values stand before names, and may hold anything.
fn name_after(said: &str, words: &[&str]) -> Option<String> {
    let begins = words.iter().flat_map(|word| ['\'', '`'].map(|quote| (format!("{word}{quote}"), quote)));
    let (from, quote) = begins.filter_map(|(word, quote)| Some((said.rfind(&word)? + word.len(), quote))).max()?;
    let rest = said.get(from..)?;
    let end = match quote {
        // `db`.`table`.`column`
        '`' => rest.find("` ").or_else(|| rest.rfind('`'))?,
        _ => rest.find('\'')?,
    };
    let name = rest.get(..end)?;
    let name = name.rsplit_once("`.`").map_or(name, |(_, name)| name);
    // MySQL 8 puts the table before a key's name.
    let name = if quote == '\'' { name.rsplit_once('.').map_or(name, |(_, name)| name) } else { name };
    Some(name.to_owned())
}

/// What a statement has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Rows that are now otherwise.
    pub rows: u64,
    /// Warnings of the server, of which `StatementSession::warnings` tells.
    pub warnings: u16,
}

/// A session that runs its owner's statements, one after the other.
pub struct StatementSession {
    session: Session,
    endpoint: Endpoint,
    id: u64,
    /// Which server it is, by its own name, and since when we have known it.
    host: String,
    since: Instant,
    /// Whether a statement was begun whose answer has not come.
    at_work: bool,
}

impl fmt::Debug for StatementSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementSession").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Fails where a lock of one session would not hold for all others: on a replica, and in clusters where several servers take writes.
///
/// # Errors
/// `Kind::Refused`, `Kind::Unsupported` with what is in the way; `Kind::Unavailable`.
pub async fn examine_statements(endpoint: &Endpoint) -> Result<(), Error> {
    let mut session = connect(endpoint, Purpose::Statements).await?;
    refuse_read_only(&mut session, endpoint).await?;
    let query = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'group_replication_single_primary_mode')";
    for row in session.rows("look for a cluster", query).await? {
        let cluster = match (row.text(0).as_str(), row.flag(1)) {
            ("wsrep_on", true) => "a Galera cluster",
            ("group_replication_single_primary_mode", false) => "a replication group with several primaries",
            _ => continue,
        };
        let what = format!("{} is part of {cluster}: locks of one server are none at another", endpoint.server());
        return Err(Error::new(Kind::Unsupported, what)
            .hint("use a server where all writes go, such as one with replicas; nothing was changed"));
    }
    Ok(())
}

impl StatementSession {
    /// Connects, with the endpoint's schema as the default. Waits for locks end after so many seconds.
    ///
    /// # Errors
    /// As for every connection.
    pub async fn connect(endpoint: &Endpoint, lock_seconds: u64) -> Result<Self, Error> {
        let mut session = connect(endpoint, Purpose::Statements).await?;
        let what = format!("prepare the session with {endpoint}");
        let seconds = lock_seconds.clamp(1, LONGEST_WAIT);
        let waits = format!("SET SESSION lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}");
        session.run(&what, &waits).await?;
        session.run(&what, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        let since = Instant::now();
        let known = session.one(&what, "SELECT CONNECTION_ID(), @@hostname").await?;
        let (id, host) = (known.number(0).unwrap_or_default(), known.text(1));
        session.enter(endpoint.database()).await?;
        Ok(Self { session, endpoint: endpoint.clone(), id, host, since, at_work: false })
    }

    /// Whether the server is MariaDB and not MySQL.
    #[must_use]
    pub fn is_mariadb(&self) -> bool {
        self.session.server.is_mariadb()
    }

    /// What comes back of a statement; until then the session is at work, and after an answer that was lost.
    fn answered<T>(&mut self, what: &str, answer: Result<T, mysql_async::Error>) -> Result<T, StatementError> {
        let answer = answer.map_err(|error| StatementError::of(what, &error));
        self.at_work = answer.as_ref().is_err_and(|error| error.code.is_none());
        answer
    }

    /// Runs a statement. `what` says what is being done, for an error.
    ///
    /// # Errors
    /// The server's, or that it said nothing.
    pub async fn run(&mut self, what: &str, statement: &str) -> Result<(), StatementError> {
        self.at_work = true;
        let answer = self.session.run_bytes(statement.as_bytes()).await;
        self.answered(what, answer)
    }

    /// The rows of a query, as text.
    ///
    /// # Errors
    /// As `run`.
    pub async fn rows(&mut self, what: &str, query: &str) -> Result<Vec<TextRow>, StatementError> {
        self.at_work = true;
        let answer = self.session.records(query).await;
        let records = self.answered(what, answer)?;
        Ok(records.into_iter().map(|record| (0..record.0.len()).map(|at| record.maybe(at)).collect()).collect())
    }

    /// Runs a statement and says how many rows it has changed.
    ///
    /// # Errors
    /// As `run`.
    pub async fn change(&mut self, what: &str, statement: &str) -> Result<Changed, StatementError> {
        self.at_work = true;
        let answer = self.session.change(statement).await;
        let (rows, warnings) = self.answered(what, answer)?;
        Ok(Changed { rows, warnings })
    }

    /// What the server has warned of in its last statement, without anything of a row.
    ///
    /// # Errors
    /// As `run`.
    pub async fn warnings(&mut self, what: &str) -> Result<Vec<StatementError>, StatementError> {
        self.at_work = true;
        let answer = match self.session.driver() {
            Ok(conn) => conn.query("SHOW WARNINGS").await,
            Err(error) => Err(error),
        };
        let said: Vec<(String, u16, String)> = self.answered(what, answer)?;
        let as_error = |(_, code, message)| {
            let error = mysql_async::ServerError { code, message, state: String::new() };
            StatementError::of(what, &mysql_async::Error::Server(error))
        };
        Ok(said.into_iter().map(as_error).collect())
    }
}

impl Drop for StatementSession {
    /// A server works on for somebody who has hung up, and keeps their locks.
    fn drop(&mut self) {
        let (endpoint, id, host, age) = (self.endpoint.clone(), self.id, self.host.clone(), self.since.elapsed());
        let Some(runtime) = self.at_work.then(tokio::runtime::Handle::try_current).and_then(Result::ok) else { return };
        runtime.spawn(async move {
            let ended = async {
                let mut session = connect(&endpoint, Purpose::Look).await?;
                // After a crash, or behind another server's address, the number is somebody else's.
                let what = "look whether the server is the same";
                let uptime = session.one(what, "SHOW GLOBAL STATUS LIKE 'Uptime'").await?.number(1);
                let same = session.one(what, "SELECT @@hostname").await?.text(0) == host;
                if !same || uptime.is_none_or(|seconds| seconds < age.as_secs()) {
                    return Ok(());
                }
                session.run("end a session", &format!("KILL {id}")).await
            };
            if let Ok(Err(error)) = tokio::time::timeout(ENDING, ended).await {
                tracing::debug!(%error, "a session that was given up could not be ended");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, message: &str) -> StatementError {
        let error = mysql_async::ServerError { code, message: message.to_owned(), state: "HY000".to_owned() };
        StatementError::of("load t", &mysql_async::Error::Server(error))
    }

    #[test]
    fn keys_constraints_and_columns_are_known_by_name() {
        for (code, message, constraint, column) in [
            (1062, "Duplicate entry 'for key 'x' for key 't.PRIMARY'", Some("PRIMARY"), None),
            (1062, "Duplicate entry '7' for key 'once'", Some("once"), None),
            (3819, "Check constraint 't_chk_1' is violated.", Some("t_chk_1"), None),
            (4025, "CONSTRAINT `positive` failed for `d`.`t`", Some("positive"), None),
            (
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`d`.`c`, CONSTRAINT `c_ibfk_1` FOREIGN KEY (`id`) REFERENCES `t` (`id`))",
                Some("c_ibfk_1"),
                None,
            ),
            (1048, "Column 'n' cannot be null", None, Some("n")),
            (1366, "Incorrect integer value: 'column 'q' for column 'n' at row 1", None, Some("n")),
            (1366, "Incorrect integer value: 'x' for column `d`.`t`.`n` at row 1", None, Some("n")),
            (1364, "Field 'kept' doesn't have a default value", None, Some("kept")),
        ] {
            let error = of(code, message);
            assert_eq!((error.constraint.as_deref(), error.column.as_deref()), (constraint, column), "{message}");
        }
    }
}
