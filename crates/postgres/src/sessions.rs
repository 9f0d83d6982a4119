//! Sessions in the way of a rename.
//!
//! Owns ending the sessions inside a database, and saying who could not be ended. Promises that sessions are ended only
//! once the rename holds the database's lock, so that none comes back meanwhile, and that an error names whose sessions, or which
//! prepared transactions, stand in the way. Refuses to end what another run of this program works in: callers name the
//! database by oid.

use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::quote::listed;
use engine::{Error, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Between two looks at who is inside. The server ends a session within milliseconds, and looks every 100 ms itself.
const LOOK: Duration = Duration::from_millis(20);
/// How often a single session is looked for after it was told to end.
const LOOKS: u32 = 500;
/// Names shown in one error.
const SHOWN: usize = 5;

/// Who was inside, over all attempts.
#[derive(Default)]
pub(crate) struct Inside {
    /// Sessions that were told to end: process and whose it was.
    ended: BTreeMap<i32, String>,
    /// Roles whose sessions we may not end.
    refused: BTreeSet<String>,
}

impl Inside {
    /// Ends every session in the database, again and again, once the process `renaming` holds its lock. Never ends by
    /// itself: it is dropped when the rename has its answer. Returns when the session was lost. `told` says whether the
    /// sessions are somebody's, to be told about, or our own.
    pub async fn end(&mut self, helper: &Client, renaming: i32, oid: u32, told: bool) -> Error {
        match self.keep_ending(helper, renaming, oid, told).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn keep_ending(
        &mut self,
        helper: &Client,
        renaming: i32,
        oid: u32,
        told: bool,
    ) -> Result<std::convert::Infallible, Error> {
        let locked = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'object' AND granted AND pid = $1 \
             AND classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND objid = $2 AND mode = 'AccessExclusiveLock')";
        // Autovacuum's workers have no user; the rename itself sends them away.
        let there = "SELECT pid, coalesce(usename::text, ''), coalesce(application_name, '') \
             FROM pg_catalog.pg_stat_activity WHERE datid = $1 AND usesysid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()";
        let failed = || from_postgres("end sessions");
        loop {
            if helper.query_one(locked, &[&renaming, &oid]).await.map_err(failed())?.get(0) {
                for row in helper.query(there, &[&oid]).await.map_err(failed())? {
                    let whose = self.end_one_of(helper, row.get(0), row.get(1), row.get(2)).await?;
                    self.ended.extend(whose.filter(|_| told));
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tells one session to end; gives its process and whose it was.
    async fn end_one_of(
        &mut self,
        helper: &Client,
        pid: i32,
        user: String,
        program: &str,
    ) -> Result<Option<(i32, String)>, Error> {
        match helper.query_one("SELECT pg_catalog.pg_terminate_backend($1)", &[&pid]).await {
            Ok(_) if program.is_empty() => Ok(Some((pid, user))),
            Ok(_) => Ok(Some((pid, format!("{user} ({program})")))),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                self.refused.insert(user);
                Ok(None)
            }
            Err(error) => Err(from_postgres("end sessions")(error)),
        }
    }

    /// Why the rename of a database failed: who is still inside. Final when waiting cannot help.
    pub async fn who(&self, helper: &Client, oid: u32, name: &str, user: &str, error: Error) -> crate::swap::Failed {
        use crate::swap::Failed;
        let still = match still_inside(helper, oid).await {
            Ok(still) => still,
            // What happened first is worth more than what happened when asking about it.
            Err(_) => return Failed::Again(error),
        };
        if still.is_empty() {
            return Failed::Again(error);
        }
        let what = format!("{name} cannot be renamed: still inside are {}", listed(&still, SHOWN));
        let error = Error::new(Kind::Unavailable, what).because(error);
        if self.refused.is_empty() {
            return Failed::Again(error.hint("end them, or find out why they do not end; everything is as it was"));
        }
        let roles = self.refused.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut refused = error.hint(format!(
            "{user} may not end sessions of {roles}: GRANT pg_signal_backend TO \"{user}\" (a superuser's sessions only a superuser \
             may end), or end them yourself; everything is as it was"
        ));
        refused.kind = Kind::Refused;
        Failed::Final(refused)
    }

    /// Adds to an error how many sessions were ended, if any were.
    pub fn tell(&self, mut error: Error) -> Error {
        if !self.ended.is_empty() {
            error.what = format!("{} (ended {} on the way)", error.what, sessions(self.ended.len()));
        }
        error
    }

    /// Whose sessions were ended.
    pub fn notes(&self) -> Vec<String> {
        if self.ended.is_empty() {
            return Vec::new();
        }
        let mut whose: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.ended.values() {
            *whose.entry(name).or_default() += 1;
        }
        let whose: Vec<String> = whose.iter().map(|(name, number)| format!("{number} of {name}")).collect();
        vec![format!("ended {} in the replaced database: {}", sessions(self.ended.len()), listed(&whose, SHOWN))]
    }
}

fn sessions(number: usize) -> String {
    if number == 1 { "1 session".to_owned() } else { format!("{number} sessions") }
}

async fn still_inside(client: &Client, oid: u32) -> Result<Vec<String>, Error> {
    let sql = "SELECT 'process ' || pid || ' of ' || coalesce(usename::text, 'the server') \
         || CASE WHEN coalesce(application_name, '') = '' THEN '' ELSE ' (' || application_name || ')' END \
         FROM pg_catalog.pg_stat_activity WHERE datid = $1 ORDER BY backend_start";
    let rows = client.query(sql, &[&oid]).await.map_err(from_postgres("look for sessions"))?;
    let mut still: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    still.extend(prepared(client, oid).await?);
    Ok(still)
}

async fn prepared(client: &Client, oid: u32) -> Result<Vec<String>, Error> {
    let sql = "SELECT 'prepared transaction ' || quote_literal(gid) || ' of ' || owner FROM pg_catalog.pg_prepared_xacts \
         WHERE database = (SELECT datname FROM pg_catalog.pg_database WHERE oid = $1) ORDER BY prepared";
    let rows = client.query(sql, &[&oid]).await.map_err(from_postgres("look for prepared transactions"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Fails when the database has prepared transactions: no one can end them but whoever began them.
pub(crate) async fn assert_nothing_prepared(client: &Client, oid: u32, target: &Endpoint) -> Result<(), Error> {
    let found = prepared(client, oid).await?;
    if found.is_empty() {
        return Ok(());
    }
    let what = format!("{target} cannot be replaced while it has a {}", listed(&found, SHOWN));
    Err(Error::new(Kind::Unavailable, what)
        .hint("COMMIT PREPARED or ROLLBACK PREPARED it, connected to that database; everything is as it was"))
}

/// Names, among the roles whose sessions are in the database now, those whose sessions we may not end.
pub(crate) async fn may_not_end(client: &Client, oid: u32) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_stat_activity a \
         JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid WHERE a.datid = $1 \
         AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \
         AND (r.rolsuper OR NOT (pg_catalog.pg_has_role(r.oid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))) \
         ORDER BY 1";
    let rows = client.query(sql, &[&oid]).await.map_err(from_postgres("look for sessions"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Ends one session of our own and waits until the server has forgotten it; at most ten seconds.
pub(crate) async fn end_one(client: &Client, pid: i32) -> Result<(), Error> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1";
    for _ in 0..LOOKS {
        if client.query(sql, &[&pid]).await.map_err(from_postgres("end our own session"))?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Error::new(Kind::Unavailable, format!("our own session, process {pid}, does not end")))
}
