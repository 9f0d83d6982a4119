//! PostgreSQL as a target, from version 14 on.
//!
//! Owns the order of sessions: each step has its own, and a step that is given up takes its session along. Everything of ours is in the schema
//! `longshore` of the target's own database: `load_fence`, `load_ledger` and staging tables (`ground`, `ledger`, `staging`). `table` looks whether
//! a table can be loaded, `strict` which text is a value of its columns, `merge` is the one transaction, `blame` finds the rows that it did not take.

mod blame;
mod ground;
mod ledger;
mod merge;
mod staging;
mod strict;
mod table;

use async_trait::async_trait;
use engine::Kind;
use lease::{Epoch, Job, RunId};
use postgres::{Endpoint, StatementError, StatementSession, examine_statements};

use crate::record::Record;
use crate::target::{Fence, Look, Staging, Target};
use crate::{Error, Limits, Mode, TableName};

/// Waiting for the lock of a staging table whose run has just failed, in milliseconds: the server may take some seconds to notice that nobody is there.
const CLEAR_PATIENCE: u64 = 5000;
/// Waiting for a lock, which is not worth more than this when it is only about cleaning up, in milliseconds.
const TIDY_PATIENCE: u64 = 2000;

/// A table of a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres {
    endpoint: Endpoint,
    table: TableName,
    mode: Mode,
    limits: Limits,
    /// Whether replacing by nothing is meant.
    allow_empty: bool,
}

impl Postgres {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, table: TableName, mode: Mode, limits: Limits) -> Postgres {
        Postgres { endpoint, table, mode, limits, allow_empty: false }
    }

    /// Lets a drop without rows empty a table that is replaced.
    #[must_use]
    pub fn allow_empty(mut self, allow: bool) -> Postgres {
        self.allow_empty = allow;
        self
    }

    /// What the ledger of a database knows, newest first, at most so many runs.
    ///
    /// # Errors
    /// [`Error::Target`], with kind `NotFound` when there is no ledger.
    pub async fn history(endpoint: &Endpoint, job: Option<&Job>, most: u32) -> Result<Vec<Record>, Error> {
        let session = StatementSession::connect(endpoint, "longshore load", 1000).await?;
        if !ground::is_there(&session).await? {
            let what = format!("nothing was ever loaded into {endpoint}: it has no ledger");
            let hint = "check the URL: the ledger is in the schema longshore of the database that was loaded";
            return Err(engine::Error::new(Kind::NotFound, what).hint(hint).into());
        }
        ledger::history(&session, job, most).await
    }

    fn lock_patience(&self) -> u64 {
        u64::try_from(self.limits.lock.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A session that others see as this run's.
    async fn session(&self, run: Option<RunId>) -> Result<StatementSession, engine::Error> {
        let name = run.map_or_else(|| "longshore load".to_owned(), |run| format!("longshore load {run}"));
        StatementSession::connect(&self.endpoint, &name, self.lock_patience()).await
    }

    /// What it means when the fence's row is not to be had in time.
    fn fence_error(&self, job: &Job, error: StatementError) -> Error {
        match error.is(&["55P03"]) {
            true => Error::Merging { job: job.clone(), location: self.location() },
            false => Error::Target(error.error),
        }
    }
}

#[async_trait]
impl Target for Postgres {
    fn location(&self) -> String {
        self.endpoint.to_string()
    }

    fn table(&self) -> String {
        self.table.to_string()
    }

    fn mode(&self) -> String {
        self.mode.to_string()
    }

    async fn mint(&self, job: &Job, run: RunId) -> Result<Fence, Error> {
        examine_statements(&self.endpoint).await?;
        let session = self.session(Some(run)).await?;
        ground::prepare(&session, &self.location()).await?;
        let epoch = ground::mint(&session, job, run).await.map_err(|error| self.fence_error(job, error))?;
        let fence = Fence { job: job.clone(), run, epoch };
        staging::tidy(&session, &fence, TIDY_PATIENCE.min(self.lock_patience())).await?;
        Ok(fence)
    }

    async fn check(&self, fence: &Fence) -> Result<(), Error> {
        let session = self.session(Some(fence.run)).await?;
        match ground::newest(&session, &fence.job).await.map_err(|error| Error::Target(error.error))? {
            Some((epoch, run)) if epoch == fence.epoch && run == fence.run.to_string() => Ok(()),
            newer => Err(fence.superseded(self.location(), newer)),
        }
    }

    async fn loaded(&self, job: &Job, look: Look<'_>) -> Result<Option<Record>, Error> {
        ledger::loaded(&self.session(None).await?, job, look).await
    }

    async fn stage(&self, fence: &Fence, columns: &[String]) -> Result<Box<dyn Staging>, Error> {
        let session = self.session(Some(fence.run)).await?;
        let table = table::examine(&session, &self.table, &self.mode, columns, &self.location()).await?;
        let staged = staging::create(&session, self.clone(), fence.clone(), table).await?;
        Ok(Box::new(staged))
    }

    async fn clear(&self, fence: &Fence) -> Result<(), Error> {
        let session = self.session(Some(fence.run)).await?;
        staging::clear(&session, fence, CLEAR_PATIENCE.min(self.lock_patience())).await
    }

    async fn note(&self, record: &Record) -> Result<(), Error> {
        ledger::note_failure(&self.session(Some(record.run)).await?, record).await
    }
}

/// A number that the server wrote.
fn number(text: Option<&String>) -> Result<u64, Error> {
    let parsed = text.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| engine::Error::new(Kind::Internal, "the server wrote something that is no number").into())
}

fn epoch(text: Option<&String>) -> Result<Epoch, Error> {
    number(text).map(Epoch)
}
