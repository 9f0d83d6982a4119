//! Locks: what makes a schema stand still for the moment in which sessions take their snapshots.
//!
//! Owns locks on the schema's tables, the global read lock, and the locks that tables without transactions stay under. Promises that whoever waits for our locks waits for
//! seconds, because a lock that is not had at once is given up and tried again; that a host which dies with one does not keep it; and that the global lock is asked for only where locks on tables
//! are not to be had. MySQL's closes all tables first: one that somebody reads for an hour, or has locked, stays shut for everybody else until then, also when we have long given up. So it is refused there to
//! who does not see all tables, and never tried while one of them is in use for a second.

use crate::catalog::Protocol;
use crate::connection::{LONG_SECONDS, Purpose, Session, connect};
use crate::failure::{code, map};
use crate::privileges::Grants;
use crate::snapshot::Wanted;
use engine::{Error, Kind};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A lock that is not had within this is given up for a while: everybody who comes after us waits behind us. In seconds.
const ONE_TRY_SECONDS: u64 = 2;
/// How long locks are held at most, in seconds: by us, and by the server when it hears nothing of us.
pub(crate) const LOCKED_SECONDS: u32 = 30;
/// How long others get between two tries.
const BREATH: Duration = Duration::from_millis(500);
/// A session that only holds locks is asked for a sign of life more often than this; the server ends it when it hears nothing, in seconds.
const KEEPER_SECONDS: u32 = 60;
/// How often, and in which steps, it is asked which tables are in use: what is each time is in use for long.
const LOOKS: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How the schema stands still.
pub(crate) enum Stood {
    /// The session that holds its tables.
    ByTables(Session),
    /// The leader holds the server.
    ByServer,
}

impl Stood {
    /// What the catalog says of it.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::ByTables(_) => Protocol::LockTables,
            Self::ByServer => Protocol::GlobalLock,
        }
    }

    /// Lets everybody go on.
    pub async fn let_go(&mut self, leader: &mut Session) -> Result<(), Error> {
        match self {
            Self::ByTables(keeper) => keeper.run("let go of the tables", "UNLOCK TABLES").await,
            Self::ByServer => {
                leader.run("let the server go on", "UNLOCK TABLES").await?;
                leader.run("go on", &format!("SET SESSION wait_timeout = {LONG_SECONDS}")).await
            }
        }
    }
}

/// What a try came to.
enum Tried {
    Had,
    /// Others are in the way.
    Busy,
    /// Never for this user.
    MayNot(mysql_async::Error),
}

/// Holds these tables still, or the server. In short tries, until the time that was given is over.
///
/// # Errors
/// [`Kind::Refused`] when this user may have neither; [`Kind::Unavailable`] when neither was to be had.
pub(crate) async fn stand_still(leader: &mut Session, wanted: &Wanted<'_>, tables: &[String]) -> Result<Stood, Error> {
    let mut keeper = keeper(wanted).await?;
    let may_hold_server = may_hold_server(wanted.grants, leader);
    let closes_tables = !leader.server.is_mariadb();
    let begun = Instant::now();
    loop {
        let tables = lock_tables(&mut keeper, tables).await.map_err(|e| map(WHAT, &e))?;
        if matches!(tables, Tried::Had) {
            return Ok(Stood::ByTables(keeper));
        }
        let server = match may_hold_server {
            true if closes_tables && anything_in_use(leader).await? => Tried::Busy,
            true => lock_server(leader).await?,
            false => tables,
        };
        match server {
            Tried::Had => return Ok(Stood::ByServer),
            Tried::MayNot(error) => return Err(no_way(&error, wanted)),
            Tried::Busy if begun.elapsed() < wanted.lock_timeout => tokio::time::sleep(BREATH).await,
            Tried::Busy => return Err(not_to_be_had(wanted)),
        }
    }
}

/// Whether this user may ask for the global lock and do no harm with it: MySQL shows which tables are in use to those who may read them.
pub(crate) fn may_hold_server(grants: &Grants, session: &Session) -> bool {
    let may = grants.global("RELOAD") || grants.global("FLUSH_TABLES");
    may && (session.server.is_mariadb() || grants.global("SELECT"))
}

const WHAT: &str = "hold the tables still for the snapshot";

/// Locks these tables against writes until the session that is returned ends; none when there are none. It is kept alive from here on.
pub(crate) async fn keep(wanted: &Wanted<'_>, tables: &[String]) -> Result<Option<Arc<Mutex<Session>>>, Error> {
    if tables.is_empty() {
        return Ok(None);
    }
    let mut keeper = keeper(wanted).await?;
    let begun = Instant::now();
    loop {
        match lock_tables(&mut keeper, tables).await.map_err(|e| map(WHAT, &e))? {
            Tried::Had => return Ok(Some(kept_alive(keeper))),
            Tried::MayNot(error) => return Err(no_way(&error, wanted)),
            Tried::Busy if begun.elapsed() < wanted.lock_timeout => tokio::time::sleep(BREATH).await,
            Tried::Busy => return Err(not_to_be_had(wanted)),
        }
    }
}

/// A session that takes locks. InnoDB locks tables as well (`innodb_table_locks`, without autocommit): before MySQL 5.7 nothing else waits for
/// writers that have not committed.
async fn keeper(wanted: &Wanted<'_>) -> Result<Session, Error> {
    let mut keeper = connect(wanted.endpoint, Purpose::Look).await?;
    let sql = format!(
        "SET SESSION lock_wait_timeout = {ONE_TRY_SECONDS}, innodb_lock_wait_timeout = {ONE_TRY_SECONDS}, \
         autocommit = 0, innodb_table_locks = 1, wait_timeout = {KEEPER_SECONDS}"
    );
    keeper.run(WHAT, &sql).await?;
    Ok(keeper)
}

/// Shows the server a sign of life as long as the session is ours: when our host dies, the locks go with it.
fn kept_alive(keeper: Session) -> Arc<Mutex<Session>> {
    let keeper = Arc::new(Mutex::new(keeper));
    let weak = Arc::downgrade(&keeper);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(u64::from(KEEPER_SECONDS) / 6)).await;
            let Some(keeper) = weak.upgrade() else { return };
            // One that is gone is found out at the end.
            drop(keeper.lock().await.one("show a sign of life", "SELECT 1").await);
        }
    });
    keeper
}

async fn lock_tables(keeper: &mut Session, tables: &[String]) -> Result<Tried, mysql_async::Error> {
    if tables.is_empty() {
        return Ok(Tried::Had);
    }
    let list: Vec<String> = tables.iter().map(|table| format!("{table} READ")).collect();
    match keeper.run_bytes(format!("LOCK TABLES {}", list.join(", ")).as_bytes()).await {
        Ok(()) => Ok(Tried::Had),
        Err(error) if code(&error) == Some(1205) => Ok(Tried::Busy),
        Err(error) if matches!(code(&error), Some(1044 | 1142 | 1227)) => Ok(Tried::MayNot(error)),
        Err(error) => Err(error),
    }
}

/// A host that dies with the lock must not leave the server still until its keepalive notices. Who waits for other locks does without.
async fn lock_server(leader: &mut Session) -> Result<Tried, Error> {
    const WHAT: &str = "hold the server still for the snapshot";
    let short = format!("SET SESSION lock_wait_timeout = {ONE_TRY_SECONDS}, wait_timeout = {LOCKED_SECONDS}");
    leader.run(WHAT, &short).await?;
    let tried = match leader.run_bytes(b"FLUSH TABLES WITH READ LOCK").await {
        Ok(()) => return Ok(Tried::Had),
        Err(error) if matches!(code(&error), Some(1044 | 1045 | 1227 | 1142)) => Tried::MayNot(error),
        Err(error) if code(&error) == Some(1205) => {
            leader.run(WHAT, "UNLOCK TABLES").await?;
            Tried::Busy
        }
        Err(error) => return Err(map(WHAT, &error)),
    };
    leader.run(WHAT, &format!("SET SESSION wait_timeout = {LONG_SECONDS}")).await?;
    Ok(tried)
}

/// Whether a table is in use each time that we look.
async fn anything_in_use(leader: &mut Session) -> Result<bool, Error> {
    let mut always: Option<BTreeSet<(String, String)>> = None;
    for _ in 0..LOOKS {
        let rows = leader.rows("look which tables are in use", "SHOW OPEN TABLES WHERE In_use > 0").await?;
        let now: BTreeSet<(String, String)> = rows.iter().map(|row| (row.text(0), row.text(1))).collect();
        let still = always.map_or_else(|| now.clone(), |before| before.intersection(&now).cloned().collect());
        if still.is_empty() {
            return Ok(false);
        }
        always = Some(still);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(true)
}

fn not_to_be_had(wanted: &Wanted<'_>) -> Error {
    let seconds = wanted.lock_timeout.as_secs();
    Error::new(
        Kind::Unavailable,
        format!("{WHAT}: not to be had within {seconds} s, because something long is running"),
    )
    .hint("run again at a quieter time, look for long queries with SHOW FULL PROCESSLIST, or raise --lock-timeout")
}

/// Neither lock may be had: nothing makes several sessions see one moment.
fn no_way(error: &mysql_async::Error, wanted: &Wanted<'_>) -> Error {
    let (schema, account) = (crate::quote::ident(wanted.endpoint.database()), &wanted.grants.account);
    let what = format!("{account} may not hold the tables of {} still for a moment", wanted.endpoint);
    map(&what, error).hint(format!("as an administrator: GRANT LOCK TABLES ON {schema}.* TO {account};"))
}
