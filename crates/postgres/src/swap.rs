//! The swap: two databases exchange a name, in one transaction.
//!
//! Owns the exchange that ends a restore and that a rollback makes. Promises that whoever connects by the name gets the old
//! database or the new one: one session holds the server's lock on the database, where new connections wait for the commit or
//! the rollback, while a second one ends the sessions that are inside. All of it is one uncommitted transaction, so
//! that nothing has to be undone when this process dies; the server itself ends the transaction when the process only
//! stands still. Refuses when the name belongs to another database than at the start. See docs/adr/0010.

use crate::connection::{Purpose, connect};
use crate::database::Properties;
use crate::endpoint::Endpoint;
use crate::failure::{from_postgres, map};
use crate::marker::{Marks, Replaced};
use crate::quote::ident;
use crate::scratch::{connect_maintenance, oid_of};
use crate::sessions::{Inside, assert_nothing_prepared};
use engine::{Error, Kind, Mark};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// How long attempts go on; the server itself gives each one five seconds for sessions to go.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts, so that whoever waited for the name gets to work meanwhile.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest one step of an attempt may take before the connection counts as lost.
const STEP: Duration = Duration::from_secs(20);
/// For every attempt: the lock comes at once or after sessions that just connect; and a process that stands still between
/// two steps, or a network that does, must not keep the name locked.
const LIMITS: &str = "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// Asked between attempts: whether to give up.
pub(crate) type Stop<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// What becomes of the properties of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The incoming one gets those of the live one: settings, grants, comment, limit, owner.
    Restore,
    /// The incoming one was live before and keeps its own; it is opened again.
    Rollback,
}

/// An exchange to be made.
pub(crate) struct Exchange {
    /// The name, and how to connect.
    pub target: Endpoint,
    /// Oid of the database that had the name at the start.
    pub live: u32,
    /// The database that gets the name.
    pub incoming: (String, u32),
    pub run: String,
    pub major: u32,
    pub direction: Direction,
}

/// What was done.
pub(crate) struct Exchanged {
    /// What the database that had the name is called now.
    pub aside: String,
    pub notes: Vec<String>,
}

/// How an attempt failed: for good, or in a way that the next one may not.
pub(crate) enum Failed {
    Final(Error),
    Again(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// The two sessions of an attempt, both outside of the databases.
struct Pair {
    /// Renames.
    renaming: Client,
    pid: i32,
    /// Ends sessions.
    helper: Client,
}

impl Exchange {
    /// Exchanges the names, or leaves everything as it was; at most a minute of attempts.
    pub async fn run(&self, stop: Stop<'_>) -> Result<Exchanged, Error> {
        let begun = Instant::now();
        let mut inside = Inside::default();
        loop {
            match self.attempt(&mut inside).await {
                Ok(()) => break,
                Err(Failed::Final(error)) => return Err(inside.tell(error)),
                Err(Failed::Again(_)) if stop() => {
                    let what = format!("interrupted while sessions were in the way; {} is as it was", self.target);
                    return Err(inside.tell(Error::new(Kind::Interrupted, what)));
                }
                Err(Failed::Again(error)) if begun.elapsed() + PAUSE > PATIENCE => return Err(inside.tell(error)),
                Err(Failed::Again(error)) => {
                    tracing::info!(reason = %error, "the names are exchanged in another attempt")
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Exchanged { aside: self.aside(), notes: inside.notes() })
    }

    fn aside(&self) -> String {
        format!("{}__old_{}", self.target.database(), self.run)
    }

    async fn attempt(&self, inside: &mut Inside) -> Result<(), Failed> {
        let renaming = connect_maintenance(&self.target).await?;
        let row = renaming.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await;
        let pid: i32 = row.map_err(from_postgres("prepare the exchange"))?.get(0);
        let pair = Pair { renaming, pid, helper: connect_maintenance(&self.target).await? };
        // Looked at before anybody is disturbed, and again under the lock.
        self.assert_still_live(&pair.helper, self.target.database()).await?;
        assert_nothing_prepared(&pair.helper, self.live, &self.target).await?;
        if let Err(failed) = self.exchange(&pair, inside).await {
            // Dropping the session would do the same, a little later.
            drop(tokio::time::timeout(STEP, pair.renaming.batch_execute("ROLLBACK")).await);
            return Err(failed);
        }
        match tokio::time::timeout(STEP, pair.renaming.batch_execute("COMMIT")).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.as_db_error().is_some() && !error.is_closed() => {
                Err(Failed::Again(map(&self.what(), &error)))
            }
            _ => self.was_committed(pair.pid).await,
        }
    }

    fn what(&self) -> String {
        format!("give {} the name {}", self.incoming.0, self.target.database())
    }

    /// Everything but the commit.
    async fn exchange(&self, pair: &Pair, inside: &mut Inside) -> Result<(), Failed> {
        let (name, aside, between) = (self.target.database(), self.aside(), format!("longshore_{}", self.run));
        self.step(pair, LIMITS).await?;
        // The incoming one first: it is locked and free of sessions before the live one is touched.
        self.rename(pair, inside, self.incoming.1, &self.incoming.0, &between).await?;
        self.rename(pair, inside, self.live, name, &aside).await?;
        self.assert_still_live(&pair.renaming, &aside).await.map_err(or_again)?;
        let last = self.last_step(&pair.renaming, &between, &aside).await.map_err(or_again)?;
        self.step(pair, &last).await
    }

    /// One step in the renaming session; a session that is lost before the commit has changed nothing.
    async fn step(&self, pair: &Pair, sql: &str) -> Result<(), Failed> {
        let done = tokio::time::timeout(STEP, pair.renaming.batch_execute(sql)).await;
        done.map_err(|_| self.silent())?.map_err(|error| self.failed(&error))
    }

    fn silent(&self) -> Failed {
        Failed::Again(Error::new(Kind::Unavailable, format!("{}: the server did not answer", self.what())))
    }

    fn failed(&self, error: &tokio_postgres::Error) -> Failed {
        let again = [
            SqlState::OBJECT_IN_USE,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        let mapped = map(&self.what(), error);
        if error.is_closed() || error.code().is_none_or(|code| again.contains(code)) {
            return Failed::Again(mapped);
        }
        Failed::Final(mapped)
    }

    /// Renames a database while the second session ends the sessions inside of it: the server holds new ones back as
    /// soon as it has the lock, and waits up to five seconds for those that are there.
    async fn rename(&self, pair: &Pair, inside: &mut Inside, oid: u32, from: &str, to: &str) -> Result<(), Failed> {
        let sql = format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to));
        let renamed = tokio::select! {
            biased;
            renamed = self.step(pair, &sql) => renamed,
            lost = inside.end(&pair.helper, pair.pid, oid, oid == self.live) => return Err(Failed::Again(lost)),
        };
        match renamed {
            Err(Failed::Again(error)) => Err(inside.who(&pair.helper, oid, from, &self.target.user, error).await),
            other => other,
        }
    }

    /// Fails unless `name` is what the database that was live at the start is called.
    async fn assert_still_live(&self, client: &Client, name: &str) -> Result<(), Error> {
        let now = oid_of(client, name).await?;
        if now == Some(self.live) {
            return Ok(());
        }
        let now = now.map_or_else(|| "nothing".to_owned(), |oid| format!("database {oid}"));
        let what = format!(
            "{} was database {} when this run began, and is {now} now: somebody was here in the meantime, such as another restore",
            self.target, self.live
        );
        Err(Error::new(Kind::Exists, what)
            .hint("the newer one stays; look at it, and run again if it is not the one wanted"))
    }

    /// The statements after the two renames: under the lock, so that nothing they were made of can change.
    async fn last_step(&self, client: &Client, between: &str, aside: &str) -> Result<String, Error> {
        let name = self.target.database();
        let (theirs, mut marks) = comment_of(client, aside).await?;
        Mark::assert_allows(marks.target.as_ref(), &self.target.spot(), "data")?;
        let to_name = format!("ALTER DATABASE {} RENAME TO {}", ident(between), ident(name));
        let mut sql = Vec::new();
        let here = Marks { target: marks.target.clone(), replaced: None };
        match self.direction {
            Direction::Restore => {
                let properties = Properties::read(client, self.major, aside.to_owned()).await?;
                sql.extend(properties.statements(between, false));
                sql.extend([to_name, here.statement(name, theirs.as_deref()), properties.owner_statement(name)]);
            }
            Direction::Rollback => {
                let (ours, _) = comment_of(client, between).await?;
                sql.extend([to_name, here.statement(name, ours.as_deref())]);
                sql.push(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(name)));
            }
        }
        let at = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        let at = client.query_one(at, &[]).await.map_err(from_postgres("read the server's clock"))?.get(0);
        let (run, target) = (self.run.clone(), name.to_owned());
        marks.replaced = Some(Replaced { run, target, at, successor: self.incoming.1 });
        sql.push(marks.statement(aside, theirs.as_deref()));
        sql.push(format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", ident(aside)));
        Ok(sql.join("; "))
    }

    /// The answer to the commit was lost. The session is ended first, so that it cannot commit after we have looked.
    async fn was_committed(&self, pid: i32) -> Result<(), Failed> {
        let unknown = |error: Error| {
            let what = format!("the answer to the last step was lost, and nobody can be asked: {error}");
            Failed::Final(Error::new(Kind::Unavailable, what).hint(format!(
                "ask the server: SELECT oid FROM pg_database WHERE datname = '{}'; {} is the old database, {} the new one; \
                 either is whole",
                self.target.database(),
                self.live,
                self.incoming.1
            )))
        };
        let fresh = connect_maintenance(&self.target).await.map_err(unknown)?;
        crate::sessions::end_one(&fresh, pid).await.map_err(unknown)?;
        match oid_of(&fresh, self.target.database()).await.map_err(unknown)? {
            Some(oid) if oid == self.incoming.1 => Ok(()),
            _ => Err(Failed::Again(Error::new(Kind::Unavailable, format!("{}: the connection was lost", self.what())))),
        }
    }
}

/// Before the commit a session that was lost, or that the server ended because we stood still, has changed nothing.
fn or_again(error: Error) -> Failed {
    if error.kind == Kind::Unavailable { Failed::Again(error) } else { Failed::Final(error) }
}

/// A database's comment: its owner's part, and ours.
async fn comment_of(client: &Client, name: &str) -> Result<(Option<String>, Marks), Error> {
    let sql = "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = $1";
    let row = client.query_one(sql, &[&name]).await.map_err(from_postgres("read the database's comment"))?;
    Ok(Marks::split(row.get(0)))
}

/// What stays with a database when its name goes to another: it belongs to the database, not to the name.
pub(crate) async fn what_stays(
    client: &Client,
    oid: u32,
    publications: &[String],
    name: &str,
) -> Result<Vec<String>, Error> {
    let sql = "SELECT 'replication slot ' || slot_name FROM pg_catalog.pg_replication_slots \
         WHERE datoid = $1 UNION ALL SELECT 'subscription ' || subname FROM pg_catalog.pg_subscription WHERE subdbid = $1 \
         ORDER BY 1";
    let rows = client.query(sql, &[&oid]).await.map_err(from_postgres("look for slots and subscriptions"))?;
    let publications = publications.iter().map(|publication| format!("publication {publication}"));
    let what = publications.chain(rows.iter().map(|row| row.get(0)));
    Ok(what.map(|what| format!("{what} stays with {name}")).collect())
}

/// The publications in a database. Asked before the exchange, which closes it; the session that asks is gone afterwards, and so
/// in nobody's way. `client` is outside.
pub(crate) async fn publications(client: &Client, endpoint: &Endpoint) -> Result<Vec<String>, Error> {
    let failed = || from_postgres("look for publications");
    let inside = connect(endpoint, Purpose::Lead, 60).await?;
    let pid: i32 = inside.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await.map_err(failed())?.get(0);
    let sql = "SELECT pubname::text FROM pg_catalog.pg_publication ORDER BY 1";
    let rows = inside.query(sql, &[]).await.map_err(failed())?;
    drop(inside);
    crate::sessions::end_one(client, pid).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
