//! PostgreSQL as a target, from version 14 on.
//!
//! Owns the order of sessions: each step has its own, and a step that is given up takes its session along. Everything of ours is in the schema
//! `longshore` of the target's own database: `load_fence`, `load_ledger` and staging tables (`ground`, `ledger`, `staging`); `books` is what every load
//! needs of it. `table` looks whether a table can be loaded, `strict` which text is a value of its columns, `merge` is the one transaction, `commit` its
//! beginning and its end, `blame` finds the rows that it did not take.

mod blame;
mod books;
mod commit;
mod ground;
mod ledger;
mod merge;
mod staging;
mod strict;
mod table;

use async_trait::async_trait;
use engine::Kind;
use lease::Job;
use postgres::{Endpoint, StatementSession};

pub use books::PostgresLedger;

use crate::record::Record;
use crate::target::{Fence, Ledger, Staging, Target};
use crate::{Error, Limits, Mode, TableName};

/// Waiting for the lock of a staging table whose run has just failed, in milliseconds: the server may take some seconds to notice that nobody is there.
const CLEAR_PATIENCE: u64 = 5000;

/// A table of a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres {
    books: PostgresLedger,
    table: TableName,
    mode: Mode,
    /// Whether replacing by nothing is meant.
    allow_empty: bool,
}

impl Postgres {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, table: TableName, mode: Mode, limits: Limits) -> Postgres {
        Postgres { books: PostgresLedger::new(endpoint, limits), table, mode, allow_empty: false }
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
}

#[async_trait]
impl Target for Postgres {
    fn ledger(&self) -> &dyn Ledger {
        &self.books
    }

    fn table(&self) -> String {
        self.table.to_string()
    }

    fn mode(&self) -> String {
        self.mode.to_string()
    }

    async fn stage(&self, fence: &Fence, columns: &[String]) -> Result<Box<dyn Staging>, Error> {
        let session = self.books.session(Some(fence.run)).await?;
        let table = table::examine(&session, &self.table, &self.mode, columns, &self.books.location()).await?;
        let staged = staging::create(&session, self.clone(), fence.clone(), table).await?;
        Ok(Box::new(staged))
    }

    async fn clear(&self, fence: &Fence) -> Result<(), Error> {
        let session = self.books.session(Some(fence.run)).await?;
        staging::clear(&session, fence, CLEAR_PATIENCE.min(self.books.lock_patience())).await
    }
}
