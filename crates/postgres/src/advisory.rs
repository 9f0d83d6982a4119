//! Advisory locks: one number that one session of a database holds, for as long as the session lives.
//!
//! Owns the session, the lock and the looks at it. Promises that nothing but the server itself is between us and the lock, that a
//! look fails when the lock is not this session's any more, and that the server notices within the time it is told when this
//! machine is gone. Refuses poolers, which hand the locked session to somebody else, and standbys, whose locks the primary does not know.

use std::time::Duration;

use engine::{Error, Kind};
use tokio::sync::oneshot;
use tokio_postgres::Client;

use crate::connection::dial;
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::pooler;

/// What the server keeps of a session's name, in bytes; the name is cut to it.
pub const MAX_NAME_BYTES: usize = 63;

/// A session that can hold locks.
pub struct AdvisorySession {
    client: Client,
    pid: i32,
    key: i64,
    endpoint: Endpoint,
    /// Dropped with the session: then the connection is cut.
    _alive: oneshot::Sender<()>,
}

impl std::fmt::Debug for AdvisorySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdvisorySession").field("at", &self.endpoint).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// A session that holds a lock, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvisoryHolder {
    /// Its process at the server.
    pub pid: i32,
    /// The name that it gave itself.
    pub name: String,
    /// When it began, in seconds since 1970 by the server's clock; `None` where this role may not know.
    pub since: Option<i64>,
}

/// Fails where an advisory lock would not hold: behind a pooler of any kind, and on a standby.
///
/// # Errors
/// [`Kind::Config`] with what is in the way; [`Kind::Unavailable`], [`Kind::Refused`].
pub async fn examine_advisory(endpoint: &Endpoint) -> Result<(), Error> {
    pooler::refuse_any_here(endpoint).await?;
    let client = dial(endpoint, None, None).await?;
    let row = client.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]).await;
    if row.map_err(from_postgres("ask whether the server is a standby"))?.get(0) {
        let what = format!("{} is a standby: its locks are unknown to the primary", endpoint.server());
        return Err(Error::new(Kind::Config, what).hint("name the primary"));
    }
    Ok(())
}

impl AdvisorySession {
    /// Connects under a name that others can see. The server ends the session `silence` after it last heard of this machine, which
    /// must be at least 3 s.
    ///
    /// # Errors
    /// As for every connection.
    pub async fn connect(endpoint: &Endpoint, key: i64, name: &str, silence: Duration) -> Result<Self, Error> {
        let (alive, dropped) = oneshot::channel();
        let client = dial(endpoint, None, Some(dropped)).await?;
        let failed = || from_postgres(format!("prepare a session with {endpoint}"));
        // Half of the time in silence, then three questions: the server counts from the last word it heard.
        let seconds = silence.as_secs().max(3);
        let (idle, interval) = (seconds - seconds / 2, (seconds / 6).max(1));
        let limit = silence.as_millis();
        let settings = format!(
            "SET tcp_keepalives_idle = {idle}; SET tcp_keepalives_interval = {interval}; SET tcp_keepalives_count = 3; \
             SET tcp_user_timeout = {limit}; SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0; \
             SET statement_timeout = {}; SET search_path = ''; SET client_min_messages = error",
            limit / 3
        );
        client.batch_execute(&settings).await.map_err(failed())?;
        client
            .execute("SELECT pg_catalog.set_config('application_name', $1, false)", &[&cut(name)])
            .await
            .map_err(failed())?;
        let pid = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await.map_err(failed())?.get(0);
        Ok(Self { client, pid, key, endpoint: endpoint.clone(), _alive: alive })
    }

    /// Takes the lock if it is free, and returns a number that grows with every time it is taken: the server's transaction count,
    /// which no other setup of the database gives twice until it fails over.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] above all, after which the session is of no use.
    pub async fn try_lock(&self) -> Result<Option<u64>, Error> {
        let failed = || from_postgres(format!("lock at {}", self.endpoint));
        let row = self.client.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&self.key]).await;
        if !row.map_err(failed())?.get::<_, bool>(0) {
            return Ok(None);
        }
        // After the lock: the next holder's number is drawn after this one's.
        let row = self.client.query_one("SELECT pg_catalog.pg_current_xact_id()::text", &[]).await.map_err(failed())?;
        let number: String = row.get(0);
        number
            .parse()
            .map(Some)
            .map_err(|_| Error::new(Kind::Internal, "the server's transaction count is not a number"))
    }

    /// Whether the lock is this session's, and the session the one it was.
    ///
    /// # Errors
    /// As for every query.
    pub async fn holds(&self) -> Result<bool, Error> {
        let sql = format!(
            "SELECT pg_catalog.pg_backend_pid(), EXISTS (SELECT FROM {LOCKS} AND pid = pg_catalog.pg_backend_pid())"
        );
        let row = self
            .client
            .query_one(&sql, &[&self.key])
            .await
            .map_err(from_postgres(format!("look at the lock at {}", self.endpoint)))?;
        Ok(row.get::<_, i32>(0) == self.pid && row.get(1))
    }

    /// Who holds the lock; nobody, when it has just become free.
    ///
    /// # Errors
    /// As for every query.
    pub async fn holder(&self) -> Result<Option<AdvisoryHolder>, Error> {
        let sql = format!(
            "SELECT a.pid, a.application_name, extract(epoch from a.backend_start)::int8 FROM pg_catalog.pg_stat_activity a \
             WHERE a.pid IN (SELECT pid FROM {LOCKS})"
        );
        let rows = self.client.query(&sql, &[&self.key]).await;
        let rows = rows.map_err(from_postgres(format!("ask who holds the lock at {}", self.endpoint)))?;
        let name = |row: &tokio_postgres::Row| row.get::<_, Option<String>>(1).unwrap_or_default();
        Ok(rows.first().map(|row| AdvisoryHolder { pid: row.get(0), name: name(row), since: row.get(2) }))
    }

    /// Ends another session of the same role: an earlier one of this run, whose answers were lost.
    ///
    /// # Errors
    /// [`Kind::Refused`] when it is another role's.
    pub async fn end(&self, holder: &AdvisoryHolder) -> Result<(), Error> {
        let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2";
        let ended = self.client.execute(sql, &[&holder.pid, &holder.name]).await;
        ended.map(drop).map_err(from_postgres(format!("end an earlier session at {}", self.endpoint)))
    }

    /// Gives the lock back; `false` when it was not this session's.
    ///
    /// # Errors
    /// As for every query.
    pub async fn unlock(&self) -> Result<bool, Error> {
        let row = self.client.query_one("SELECT pg_catalog.pg_advisory_unlock($1)", &[&self.key]).await;
        Ok(row.map_err(from_postgres(format!("unlock at {}", self.endpoint)))?.get(0))
    }

    /// Whether the session is known to have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.client.is_closed()
    }
}

/// The locks of one number, in this database; `$1` is the number.
const LOCKS: &str = "pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
     AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
     AND (classid::int8 << 32) | objid::int8 = $1";

/// As much of a name as the server keeps; what it does not keep it would write as `?`.
pub(crate) fn cut(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(MAX_NAME_BYTES).collect()
}
