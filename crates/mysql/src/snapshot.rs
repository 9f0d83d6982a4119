//! Snapshots: many sessions that see one moment.
//!
//! Owns the protocols by which sessions are brought to the same moment, strongest first, chosen by trying: MariaDB's place in its binary log,
//! which needs no lock; short locks (see `locks`). Promises that sessions handed out see the same rows, or that there is none at all;
//! and that tables of engines without transactions stay locked against writes until they are read. The sessions each begin `START TRANSACTION WITH
//! CONSISTENT SNAPSHOT` (<https://dev.mysql.com/doc/refman/9.0/en/commit.html>).

use crate::catalog::{Moment, Position, Protocol};
use crate::connection::{Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::engines;
use crate::failure::{code, from_mysql, map};
use crate::locks::{self, LOCKED_SECONDS};
use crate::privileges::Grants;
use crate::quote::qualified;
use crate::schema::Listed;
use engine::{Error, Kind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How often the sessions' places in the binary log may differ before a lock is asked for: each try takes a few milliseconds.
const PLACE_TRIES: u32 = 40;

/// Sessions that see one moment.
pub(crate) struct Snapshot {
    pub sessions: Vec<Session>,
    pub moment: Moment,
    /// Holds the locks on tables without transactions, until the backup ends.
    pub keeper: Option<Arc<Mutex<Session>>>,
}

/// What is to be held still.
pub(crate) struct Wanted<'a> {
    pub endpoint: &'a Endpoint,
    pub grants: &'a Grants,
    /// The schema's tables with an engine.
    pub tables: &'a [Listed],
    /// How many sessions.
    pub sessions: usize,
    pub lock_timeout: Duration,
}

impl Wanted<'_> {
    fn qualified(&self, pick: impl Fn(&Listed) -> bool) -> Vec<String> {
        let base = |row: &&Listed| row.kind == "BASE TABLE" || row.kind == "SYSTEM VERSIONED";
        let schema = self.endpoint.database();
        self.tables.iter().filter(base).filter(|row| pick(row)).map(|row| qualified(schema, &row.name)).collect()
    }

    /// Tables that no snapshot covers.
    pub fn without_transactions(&self) -> Vec<String> {
        self.qualified(|row| row.engine.as_deref().is_some_and(engines::needs_locks))
    }
}

fn has_transactions(row: &Listed) -> bool {
    row.engine.as_deref().is_some_and(engines::has_transactions)
}

/// Brings the sessions to one moment, by the first protocol that this server and user allow.
pub(crate) async fn take(leader: &mut Session, wanted: &Wanted<'_>) -> Result<Snapshot, Error> {
    let mut sessions = Vec::new();
    for _ in 0..wanted.sessions {
        sessions.push(connect(wanted.endpoint, Purpose::Read).await?);
    }
    if leader.server.is_mariadb()
        && wanted.without_transactions().is_empty()
        && logs_every_commit(leader).await?
        && let Some(position) = at_one_place(&mut sessions).await?
    {
        // Nothing stands still here: what is missed between snapshot and hold fails as a changed table.
        hold(&mut sessions, &wanted.qualified(|_| true)).await?;
        let gtid = mariadb_gtid(leader, &position).await;
        return finish(leader, sessions, None, Protocol::BinlogPosition, Some(position), gtid).await;
    }
    // They stay locked anyway: nobody else waits while we wait for them.
    let still = locks::keep(wanted, &wanted.without_transactions()).await?;
    let mut stood = locks::stand_still(leader, wanted, &wanted.qualified(has_transactions)).await?;
    let protocol = stood.protocol();
    let locked = async {
        for session in &mut sessions {
            begin(session).await?;
        }
        hold(&mut sessions, &wanted.qualified(|_| true)).await?;
        let place = place(leader).await?;
        stood.let_go(leader).await?;
        Ok(place)
    };
    // Dropping the sessions lets go of every lock.
    let in_time = tokio::time::timeout(Duration::from_secs(u64::from(LOCKED_SECONDS)), locked).await;
    let (position, gtid) = in_time.unwrap_or_else(|_| {
        let what = format!("the sessions had no snapshots after {LOCKED_SECONDS} s, and nobody may wait for longer");
        Err(Error::new(Kind::Unavailable, what).hint("run again at a quieter time, with fewer --workers"))
    })?;
    finish(leader, sessions, still, protocol, position, gtid).await
}

/// Whether each commit that a session can see moves this server's binary log, which snapshots are compared by. What a replica or a node of a cluster applies, and what is filtered,
/// may not. When in doubt it is no.
pub(crate) async fn logs_every_commit(leader: &mut Session) -> Result<bool, Error> {
    let mut on = async |sql: &str| -> Result<Option<String>, Error> {
        Ok(leader.maybe("ask how commits are logged", sql).await?.map(|row| row.text(1)))
    };
    let logs_applied = on("SHOW GLOBAL VARIABLES LIKE 'log_slave_updates'").await?.is_some_and(|value| value == "ON");
    let applies = on("SHOW GLOBAL STATUS LIKE 'Slaves_running'").await?.is_none_or(|value| value != "0");
    let cluster = on("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'").await?.is_some_and(|value| value == "ON");
    if !logs_applied && (applies || cluster) {
        return Ok(false);
    }
    // Only who may see the log's filters knows that there are none.
    let row = match leader.answer("SHOW MASTER STATUS").await {
        Ok(rows) => rows.into_iter().next(),
        Err(error) if code(&error).is_some() => None,
        Err(error) => return Err(map("ask how commits are logged", &error)),
    };
    Ok(row.is_some_and(|row| row.text(2).is_empty() && row.text(3).is_empty()))
}

async fn finish(
    leader: &mut Session,
    sessions: Vec<Session>,
    keeper: Option<Arc<Mutex<Session>>>,
    protocol: Protocol,
    binlog: Option<Position>,
    gtid: Option<String>,
) -> Result<Snapshot, Error> {
    let server_id = identity(leader).await?;
    Ok(Snapshot { sessions, keeper, moment: Moment { protocol, binlog, gtid, server_id } })
}

async fn begin(session: &mut Session) -> Result<(), Error> {
    let what = "take a snapshot";
    session.run(what, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    session.run(what, "START TRANSACTION WITH CONSISTENT SNAPSHOT").await
}

/// MariaDB: each session tells the place in the binary log that its snapshot belongs to
/// (<https://mariadb.com/kb/en/enhancements-for-start-transaction-with-consistent-snapshot/>). `None` when it tells none, or
/// writers are too quick.
async fn at_one_place(sessions: &mut [Session]) -> Result<Option<Position>, Error> {
    for _ in 0..PLACE_TRIES {
        let mut places = Vec::new();
        for session in sessions.iter_mut() {
            begin(session).await?;
            places.push(snapshot_place(session).await?);
        }
        match places.split_first() {
            Some((Some(first), rest)) if rest.iter().all(|place| place.as_ref() == Some(first)) => {
                return Ok(Some(first.clone()));
            }
            Some((None, _)) | None => break,
            _ => {}
        }
    }
    for session in sessions.iter_mut() {
        session.run("give a snapshot up", "ROLLBACK").await?;
    }
    Ok(None)
}

async fn snapshot_place(session: &mut Session) -> Result<Option<Position>, Error> {
    let rows = session.rows("read a snapshot's place", "SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let value = |name: &str| rows.iter().find(|row| row.text(0).eq_ignore_ascii_case(name)).map(|row| row.text(1));
    let file = value("binlog_snapshot_file").filter(|file| !file.is_empty());
    let position = value("binlog_snapshot_position").and_then(|text| text.parse().ok());
    Ok(file.zip(position).map(|(file, position)| Position { file, position }))
}

async fn mariadb_gtid(leader: &mut Session, at: &Position) -> Option<String> {
    let sql = format!("SELECT BINLOG_GTID_POS({}, {})", crate::quote::literal(&at.file), at.position);
    leader.one("read the snapshot's GTID", &sql).await.ok()?.maybe(0).filter(|gtid| !gtid.is_empty())
}

/// The place in the binary log while everything stands still; nothing where there is none or the user may not ask.
async fn place(leader: &mut Session) -> Result<(Option<Position>, Option<String>), Error> {
    let sql = if leader.server.is_mysql(8, 2, 0) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row = match leader.answer(sql).await {
        Ok(rows) => rows.into_iter().next(),
        Err(error) if code(&error).is_some() => None,
        Err(error) => return Err(from_mysql("read the place in the binary log")(error)),
    };
    let Some(row) = row else { return Ok((None, None)) };
    let binlog = row.maybe(0).zip(row.number(1)).map(|(file, position)| Position { file, position });
    let gtid = if leader.server.is_mariadb() {
        leader.one("read the GTID", "SELECT @@gtid_binlog_pos").await?.maybe(0)
    } else {
        row.maybe(4)
    };
    Ok((binlog, gtid.map(|gtid| gtid.replace('\n', "")).filter(|gtid| !gtid.is_empty())))
}

/// What names this server and no other.
pub(crate) async fn identity(session: &mut Session) -> Result<Option<String>, Error> {
    let variable = if session.server.is_mariadb() { "server_uid" } else { "server_uuid" };
    let sql = format!("SHOW GLOBAL VARIABLES LIKE '{variable}'");
    Ok(session
        .maybe("read the server's identity", &sql)
        .await?
        .and_then(|row| row.maybe(1))
        .filter(|id| !id.is_empty()))
}

/// Sessions that cannot let go of definitions all keep all of them from the start. One session would not do: the others would queue behind whoever waits for it.
async fn hold(sessions: &mut [Session], tables: &[String]) -> Result<(), Error> {
    for session in sessions {
        if !session.keeps_definitions {
            return Ok(());
        }
        for table in tables {
            session.run(&format!("hold {table}"), &format!("SELECT 1 FROM {table} LIMIT 0")).await?;
        }
    }
    Ok(())
}
