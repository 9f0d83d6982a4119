//! How the one transaction of a load begins and ends.
//!
//! Owns the look at the fence, which is its first statement, and its commit. Promises that without the newest number nothing else is done, and that a
//! commit whose answer was lost is looked up under the fence's lock: then the transaction has ended, one way or the other. Refuses to guess.

use std::time::Duration;

use async_trait::async_trait;
use engine::Kind;
use postgres::StatementSession;

use super::{PostgresLedger, blame, ground, ledger};
use crate::Error;
use crate::record::{Counts, Record};
use crate::settle::{Asked, settle};
use crate::target::{Fence, Ledger, Merge, Ready};

/// Begins the transaction, with the look at the fence.
pub(super) async fn begin(session: &StatementSession, books: &PostgresLedger, fence: &Fence) -> Result<(), Error> {
    let idle = books.limits.idle.as_millis().max(1);
    let opened = format!(
        "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL idle_in_transaction_session_timeout = {idle}"
    );
    session.run("begin the merge", &opened).await.map_err(|error| error.error)?;
    let locked = ground::lock(session, &fence.job, fence.epoch, fence.run).await;
    if locked.map_err(|error| books.fence_error(&fence.job, error))? {
        return Ok(());
    }
    let newer = ground::newest(session, &fence.job).await.map_err(|error| error.error)?;
    Err(fence.superseded(books.location(), newer))
}

pub(super) async fn roll_back(session: &StatementSession) {
    if let Err(error) = session.run("roll the merge back", "ROLLBACK").await {
        tracing::debug!(error = %error.error, "the session has ended, and the merge with it");
    }
}

/// A transaction that notes a load and does nothing else.
pub(super) async fn enter(
    books: &PostgresLedger,
    fence: &Fence,
    record: &Record,
    reload: bool,
) -> Result<Merge, Error> {
    let session = books.session(Some(fence.run)).await?;
    let noted = match begin(&session, books, fence).await {
        Ok(()) => ledger::begin(&session, record, reload).await.map_err(|error| Error::Target(error.error)),
        Err(error) => Err(error),
    };
    match noted {
        Ok(true) => {
            let (books, record) = (books.clone(), record.clone());
            let counts = record.counts;
            Ok(Merge::Open(Box::new(Transaction { session, books, record, counts })))
        }
        Ok(false) => {
            roll_back(&session).await;
            Ok(Merge::Already)
        }
        Err(error) => {
            roll_back(&session).await;
            Err(error)
        }
    }
}

/// Everything but the commit.
#[derive(Debug)]
pub(super) struct Transaction {
    pub session: StatementSession,
    pub books: PostgresLedger,
    pub record: Record,
    pub counts: Counts,
}

#[async_trait]
impl Ready for Transaction {
    fn counts(&self) -> Counts {
        self.counts
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        let Transaction { session, books, record, .. } = *self;
        let limit = books.limits.settle;
        let said = tokio::time::timeout(limit, session.run("commit the load", "COMMIT")).await;
        // Whatever is still open on it ends before anybody asks what became of it.
        drop(session);
        match said {
            Ok(Ok(())) => Ok(()),
            // A refusal: the transaction is over and has changed nothing. A session that ends may have committed before.
            Ok(Err(error)) if error.state.is_some() && !error.is(&["08", "57", "58", "XX"]) => {
                Err(Error::Target(blame::told(error)))
            }
            Ok(Err(error)) => settle(&books, &record, error.error).await,
            Err(_) => {
                let what = format!("commit the load: no answer within {limit:?}");
                settle(&books, &record, engine::Error::new(Kind::Unavailable, what)).await
            }
        }
    }

    async fn roll_back(self: Box<Self>) -> Result<(), Error> {
        let rolled = self.session.run("roll the load back", "ROLLBACK").await;
        Ok(rolled.map_err(|error| error.error)?)
    }
}

#[async_trait]
impl Asked for PostgresLedger {
    fn patience(&self) -> Duration {
        self.limits.settle
    }

    async fn has_loaded(&self, record: &Record) -> Result<bool, engine::Error> {
        let session = self.session(Some(record.run)).await?;
        session.run("ask the ledger", "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE").await?;
        ground::wait(&session, &record.job).await?;
        let loaded = ledger::has_loaded(&session, record).await?;
        roll_back(&session).await;
        Ok(loaded)
    }
}
