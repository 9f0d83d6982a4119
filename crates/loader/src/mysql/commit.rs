//! How the one transaction of a load begins and ends.
//!
//! Owns the look at the fence, which is its first statement, and its commit. Promises that without the newest number nothing else is done; that nothing is committed but by the
//! one COMMIT, not even after the server has taken the transaction back by itself; and that a commit whose answer was lost is looked up under the fence's lock: then the
//! transaction has ended, one way or the other. Refuses to guess.

use std::time::Duration;

use async_trait::async_trait;
use engine::Kind;
use mysql::StatementSession;

use super::{MysqlLedger, ground, ledger};
use crate::record::{Counts, Record};
use crate::settle::{Asked, settle};
use crate::target::{Fence, Ledger, Merge, Ready};
use crate::{Error, Mode};

/// The longest time that a server waits for a word of a session, in seconds.
const LONGEST_IDLE: u64 = 31_536_000;

/// What the transaction sees of others, and keeps from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Each statement sees what is committed.
    Committed,
    /// What is deleted leaves gaps that nobody else fills before the end.
    Gaps,
}

impl Isolation {
    pub fn of(mode: &Mode) -> Isolation {
        if *mode == Mode::Replace { Isolation::Gaps } else { Isolation::Committed }
    }
}

/// Begins the transaction, with the look at the fence. Ended is it by the session's end, too: nothing commits by itself there.
pub(super) async fn begin(
    session: &mut StatementSession,
    books: &MysqlLedger,
    fence: &Fence,
    isolation: Isolation,
) -> Result<(), Error> {
    let what = "begin the merge";
    let idle = u64::try_from(books.limits.idle.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).clamp(1, LONGEST_IDLE);
    // A deadlock ends a transaction, and what comes after it would else be committed statement by statement.
    let settings = format!("SET SESSION wait_timeout = {idle}, autocommit = 0");
    session.run(what, &settings).await.map_err(|error| error.error)?;
    if isolation == Isolation::Gaps {
        let gaps = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
        session.run(what, gaps).await.map_err(|error| error.error)?;
        see_the_newest(session, what).await?;
    }
    session.run(what, "START TRANSACTION").await.map_err(|error| error.error)?;
    let locked = ground::lock(session, &fence.job, fence.epoch, fence.run).await;
    if locked.map_err(|error| books.fence_error(&fence.job, error))? {
        return Ok(());
    }
    let newer = ground::newest(session, &fence.job).await.map_err(|error| error.error)?;
    Err(fence.superseded(books.location(), newer))
}

/// MariaDB from 11.6 on refuses to change rows that somebody has written since the transaction's first look: a replacement of a busy table would never be one. What it
/// deletes is what is there.
async fn see_the_newest(session: &mut StatementSession, what: &str) -> Result<(), Error> {
    /// Servers of before do not know the variable.
    const UNKNOWN: u16 = 1193;
    if !session.is_mariadb() {
        return Ok(());
    }
    match session.run(what, "SET SESSION innodb_snapshot_isolation = OFF").await {
        Err(error) if !error.is(&[UNKNOWN]) => Err(Error::Target(error.error)),
        _ => Ok(()),
    }
}

pub(super) async fn roll_back(session: &mut StatementSession) {
    if let Err(error) = session.run("roll the merge back", "ROLLBACK").await {
        tracing::debug!(error = %error.error, "the session has ended, and the merge with it");
    }
}

/// A transaction that notes a load and does nothing else.
pub(super) async fn enter(books: &MysqlLedger, fence: &Fence, record: &Record, reload: bool) -> Result<Merge, Error> {
    let mut session = books.session().await?;
    let noted = match begin(&mut session, books, fence, Isolation::Committed).await {
        Ok(()) => ledger::begin(&mut session, record, reload).await.map_err(|error| Error::Target(error.error)),
        Err(error) => Err(error),
    };
    match noted {
        Ok(true) => {
            let (books, record) = (books.clone(), record.clone());
            let counts = record.counts;
            Ok(Merge::Open(Box::new(Transaction { session, books, record, counts })))
        }
        Ok(false) => {
            roll_back(&mut session).await;
            Ok(Merge::Already)
        }
        Err(error) => {
            roll_back(&mut session).await;
            Err(error)
        }
    }
}

/// Everything but the commit.
#[derive(Debug)]
pub(super) struct Transaction {
    pub session: StatementSession,
    pub books: MysqlLedger,
    pub record: Record,
    pub counts: Counts,
}

#[async_trait]
impl Ready for Transaction {
    fn counts(&self) -> Counts {
        self.counts
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        let Transaction { mut session, books, record, .. } = *self;
        let limit = books.limits.settle;
        let said = tokio::time::timeout(limit, session.run("commit the load", "COMMIT")).await;
        // Whatever is still open on it ends before anybody asks what became of it.
        drop(session);
        let lost = match said {
            Ok(Ok(())) => return Ok(()),
            // An error at the commit may have come after it, such as that of a session that was ended: the ledger knows.
            Ok(Err(error)) => error.error,
            Err(_) => engine::Error::new(Kind::Unavailable, format!("commit the load: no answer within {limit:?}")),
        };
        settle(&books, &record, lost).await
    }

    async fn roll_back(mut self: Box<Self>) -> Result<(), Error> {
        let rolled = self.session.run("roll the load back", "ROLLBACK").await;
        Ok(rolled.map_err(|error| error.error)?)
    }
}

#[async_trait]
impl Asked for MysqlLedger {
    fn patience(&self) -> Duration {
        self.limits.settle
    }

    async fn has_loaded(&self, record: &Record) -> Result<bool, engine::Error> {
        let mut session = self.session().await?;
        session.run("ask the ledger", "START TRANSACTION").await?;
        ground::wait(&mut session, &record.job).await?;
        let loaded = ledger::has_loaded(&mut session, record).await?;
        roll_back(&mut session).await;
        Ok(loaded)
    }
}
