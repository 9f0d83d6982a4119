//! The books of a PostgreSQL database: its fences and its ledger, and the sessions that all of a load's steps have.
//!
//! Owns what every load needs, whatever writes its rows. Promises that a pooler is noticed before anything is made, and that a session says whose it is.

use async_trait::async_trait;
use lease::{Job, RunId};
use postgres::{Endpoint, StatementError, StatementSession, examine_statements};

use super::{commit, ground, ledger, staging};
use crate::record::Record;
use crate::target::{Fence, Ledger, Look, Merge};
use crate::{Error, Limits};

/// Waiting for a lock, which is not worth more than this when it is only about cleaning up, in milliseconds.
const TIDY_PATIENCE: u64 = 2000;

/// The fences and the ledger of a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PostgresLedger {
    endpoint: Endpoint,
    pub(super) limits: Limits,
}

impl PostgresLedger {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, limits: Limits) -> PostgresLedger {
        PostgresLedger { endpoint, limits }
    }

    /// How long a session waits for a lock, in milliseconds.
    pub(super) fn lock_patience(&self) -> u64 {
        u64::try_from(self.limits.lock.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A session that others see as this run's.
    pub(super) async fn session(&self, run: Option<RunId>) -> Result<StatementSession, engine::Error> {
        let name = run.map_or_else(|| "longshore load".to_owned(), |run| format!("longshore load {run}"));
        StatementSession::connect(&self.endpoint, &name, self.lock_patience()).await
    }

    /// What it means when the fence's row is not to be had in time.
    pub(super) fn fence_error(&self, job: &Job, error: StatementError) -> Error {
        match error.is(&["55P03"]) {
            true => Error::Merging { job: job.clone(), location: self.location() },
            false => Error::Target(error.error),
        }
    }
}

#[async_trait]
impl Ledger for PostgresLedger {
    fn location(&self) -> String {
        self.endpoint.to_string()
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

    async fn note(&self, record: &Record) -> Result<(), Error> {
        ledger::note_failure(&self.session(Some(record.run)).await?, record).await
    }

    async fn enter(&self, fence: &Fence, record: &Record, reload: bool) -> Result<Merge, Error> {
        commit::enter(self, fence, record, reload).await
    }
}
