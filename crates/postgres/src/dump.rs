//! The schema's dump: `pg_dump` at work beside our own reading.
//!
//! Owns starting it in our snapshot, seeing that it gets its locks, and its end. Promises that a dump counts only when the
//! program ended well, and that its failure is known to readers at once. Dropping it ends the program.

use crate::archive::{self, Archive, private_folder};
use crate::endpoint::Endpoint;
use crate::failure::{from_postgres, from_tool};
use crate::snapshot::Snapshot;
use crate::toc::Contents;
use crate::tools::Tool;
use engine::{Error, Kind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// Most bytes of a schema archive that are taken into memory; a schema of 10,000 tables takes some 20 MiB.
const MOST_ARCHIVE: u64 = 512 << 20;
/// How often the server is asked whether `pg_dump` has its locks, how long between, and how many times in a row it may
/// be seen waiting.
const MOST_LOOKS: u32 = 500;
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: u32 = 3;

/// Why the dump failed, once it has: readers look, because reading on would be for nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct DumpFailure(Arc<OnceLock<(Kind, String, Option<String>)>>);

impl DumpFailure {
    /// Fails with the dump's error, if it has one.
    pub fn check(&self) -> Result<(), Error> {
        match self.0.get() {
            None => Ok(()),
            Some((kind, what, hint)) => {
                let mut error = Error::new(*kind, what);
                error.hint.clone_from(hint);
                Err(error)
            }
        }
    }

    fn set(&self, error: Error) {
        // The first reason stays.
        drop(self.0.set((error.kind, error.what, error.hint)));
    }
}

/// `pg_dump` at work.
pub(crate) struct SchemaDump {
    tool: Tool,
    folder: tempfile::TempDir,
    session: String,
    failure: DumpFailure,
    running: Option<JoinHandle<()>>,
}

impl SchemaDump {
    /// Starts `pg_dump` in the snapshot, with further options that say which part is dumped.
    pub fn start(
        endpoint: &Endpoint,
        tool: &Tool,
        snapshot: &Snapshot,
        lock_timeout_seconds: u64,
        part: &[String],
    ) -> Result<Self, Error> {
        let folder = private_folder()?;
        let wait = lock_timeout_seconds.saturating_mul(1000);
        // The program takes timeouts off by itself; PGOPTIONS, which could do it from the start, is refused by poolers.
        let command = process::Command::new(&tool.program)
            .args(["--format=custom", "--compress=0", "--section=pre-data", "--section=post-data", "--no-password"])
            // Large objects go the way of rows; in some versions this would put them among the schema.
            .arg("-B")
            .arg(format!("--dbname={}", archive::conninfo(endpoint.database())))
            .arg(format!("--snapshot={}", snapshot.id))
            .arg(format!("--lock-wait-timeout={wait}"))
            .args(part)
            .arg("--file")
            .arg(folder.path().join("schema"));
        let failed = |e| from_tool("dump the schema", e);
        // A name by which its session is found on the server; a snapshot's id is unique there.
        let session = format!("longshore schema {}", snapshot.id);
        let command = endpoint.lend(command).map_err(failed)?.env("PGAPPNAME", &session);
        let mut child = command.spawn().map_err(failed)?;
        let failure = DumpFailure::default();
        let noted = failure.clone();
        let running = tokio::spawn(async move {
            if let Err(error) = child.wait().await {
                noted.set(from_tool("dump the schema", error));
            }
        });
        Ok(Self { tool: tool.clone(), folder, session, failure, running: Some(running) })
    }

    /// Waits until `pg_dump` holds the locks of these tables, or has ended. Whoever asked for a stronger lock between ours
    /// and its own stands before it in the queue and behind us: it would wait for them, and they for us, until its
    /// timeout. That is seen here, and is an error that starting over cures.
    pub async fn locked(&self, leader: &Client, tables: &[u32]) -> Result<(), Error> {
        let sql = "SELECT count(DISTINCT l.relation) FILTER (WHERE l.granted AND l.relation = ANY ($2::oid[])), \
             coalesce(bool_or(NOT l.granted AND l.locktype = 'relation'), false) \
             FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_locks l USING (pid) WHERE a.application_name = $1";
        let mut waiting = 0;
        for _ in 0..MOST_LOOKS {
            if self.running.as_ref().is_none_or(JoinHandle::is_finished) {
                return Ok(());
            }
            // A transaction keeps the list of sessions as it first saw it, unless told otherwise.
            let fresh = leader.batch_execute("SELECT pg_catalog.pg_stat_clear_snapshot()").await;
            fresh.map_err(from_postgres("look for the locks of pg_dump"))?;
            let row = leader.query_one(sql, &[&self.session, &tables]).await;
            let row = row.map_err(from_postgres("look for the locks of pg_dump"))?;
            if usize::try_from(row.get::<_, i64>(0)).unwrap_or_default() >= tables.len() {
                return Ok(());
            }
            waiting = if row.get(1) { waiting + 1 } else { 0 };
            if waiting == PATIENCE {
                return Err(Error::new(
                    Kind::Changed,
                    "somebody waits to change a table that pg_dump is about to lock",
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
        // A server that does not show other sessions: pg_dump's own lock timeout has the last word.
        Ok(())
    }

    /// Where readers see that the dump has failed.
    pub fn failure(&self) -> DumpFailure {
        self.failure.clone()
    }

    /// Major version of the `pg_dump`.
    pub fn major(&self) -> u32 {
        self.tool.major
    }

    /// Waits for the dump, reads it and its table of contents.
    pub async fn finish(&mut self) -> Result<Archive, Error> {
        let gone = || Error::new(Kind::Internal, "the dump of the schema was lost");
        let running = self.running.as_mut().ok_or_else(gone)?;
        running.await.map_err(|_| gone())?;
        self.running = None;
        self.failure.check()?;
        let path = self.folder.path().join("schema");
        let unreadable = |e: std::io::Error| Error::new(Kind::Internal, format!("read the dumped schema: {e}"));
        let len = tokio::fs::metadata(&path).await.map_err(unreadable)?.len();
        if len > MOST_ARCHIVE {
            return Err(Error::new(
                Kind::Unsupported,
                format!("the schema alone takes {len} bytes; {MOST_ARCHIVE} are the most"),
            ));
        }
        let bytes = tokio::fs::read(&path).await.map_err(unreadable)?;
        Ok(Archive { contents: Contents::parse(&bytes)?, bytes })
    }
}

impl Drop for SchemaDump {
    fn drop(&mut self) {
        // Aborting drops the child's handle, which ends the child.
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
