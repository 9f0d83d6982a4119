//! The books of a MySQL or MariaDB schema: its fences and its ledger, and the sessions that all of a load's steps have.
//!
//! Owns what every load needs, whatever writes its rows. They are in the schema that the URL names, and not in one of their own: one transaction must have them and the rows, nobody
//! needs the right to make schemas, and whoever backs the schema up, restores it or gives it another name takes the knowledge of what was loaded along with what was. Promises that
//! a replica is noticed before anything is made.

use async_trait::async_trait;
use lease::{Job, RunId};
use mysql::{Endpoint, StatementError, StatementSession, examine_statements};

use super::{commit, ground, ledger, staging};
use crate::record::Record;
use crate::target::{Fence, Ledger, Look, Merge};
use crate::{Error, Limits};

/// Waiting for a lock, which is not worth more than this when it is only about cleaning up, in seconds.
const TIDY_PATIENCE: u64 = 2;
/// The server has not given a lock in time.
pub(super) const LOCKED: u16 = 1205;

/// The fences and the ledger of a MySQL or MariaDB schema.
#[derive(Debug, Clone)]
pub struct MysqlLedger {
    pub(super) endpoint: Endpoint,
    pub(super) limits: Limits,
}

impl MysqlLedger {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, limits: Limits) -> MysqlLedger {
        MysqlLedger { endpoint, limits }
    }

    /// How long a session waits for a lock, in seconds: the servers know no shorter times.
    pub(super) fn lock_patience(&self) -> u64 {
        u64::try_from(self.limits.lock.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
    }

    pub(super) async fn session(&self) -> Result<StatementSession, engine::Error> {
        self.session_that_waits(self.lock_patience()).await
    }

    /// A session that waits so many seconds for a lock.
    pub(super) async fn session_that_waits(&self, seconds: u64) -> Result<StatementSession, engine::Error> {
        StatementSession::connect(&self.endpoint, seconds).await
    }

    /// What it means when the fence's row is not to be had in time.
    pub(super) fn fence_error(&self, job: &Job, error: StatementError) -> Error {
        match error.is(&[LOCKED]) {
            true => Error::Merging { job: job.clone(), location: self.location() },
            false => Error::Target(error.error),
        }
    }
}

#[async_trait]
impl Ledger for MysqlLedger {
    fn location(&self) -> String {
        self.endpoint.to_string()
    }

    async fn mint(&self, job: &Job, run: RunId) -> Result<Fence, Error> {
        examine_statements(&self.endpoint).await?;
        let mut session = self.session().await?;
        ground::prepare(&mut session, &self.location()).await?;
        let epoch = ground::mint(&mut session, job, run).await.map_err(|error| self.fence_error(job, error))?;
        let fence = Fence { job: job.clone(), run, epoch };
        let mut hasty = self.session_that_waits(TIDY_PATIENCE.min(self.lock_patience())).await?;
        staging::tidy(&mut hasty, &fence).await?;
        Ok(fence)
    }

    async fn check(&self, fence: &Fence) -> Result<(), Error> {
        let mut session = self.session().await?;
        match ground::newest(&mut session, &fence.job).await.map_err(|error| Error::Target(error.error))? {
            Some((epoch, run)) if epoch == fence.epoch && run == fence.run.to_string() => Ok(()),
            newer => Err(fence.superseded(self.location(), newer)),
        }
    }

    async fn loaded(&self, job: &Job, look: Look<'_>) -> Result<Option<Record>, Error> {
        ledger::loaded(&mut self.session().await?, job, look).await
    }

    async fn note(&self, record: &Record) -> Result<(), Error> {
        ledger::note_failure(&mut self.session().await?, record).await
    }

    async fn enter(&self, fence: &Fence, record: &Record, reload: bool) -> Result<Merge, Error> {
        commit::enter(self, fence, record, reload).await
    }
}
