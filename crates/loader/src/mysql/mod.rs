//! MySQL and MariaDB as targets, from MySQL 5.6 and MariaDB 10.5 on.
//!
//! Owns the order of sessions: each step has its own, and a step that is given up takes its session along. Everything of ours is in the schema that the URL names, under
//! names that begin with `longshore`: fence, ledger and staging tables (`ground`, `ledger`, `staging`); `books` is what every load needs of it. `table` looks whether a table
//! can be loaded, `values` which text is a value of its columns, `merge` is the one transaction, `commit` its beginning and its end, `blame` finds the rows that it did not
//! take.

mod blame;
mod books;
mod commit;
mod decimal;
mod ground;
mod ledger;
mod merge;
mod moments;
mod staging;
mod strict;
mod table;
mod values;

use async_trait::async_trait;
use engine::Kind;
use lease::Job;
use mysql::{Endpoint, StatementSession};

pub use books::MysqlLedger;

use crate::record::Record;
use crate::target::{Fence, Ledger, Staging, Target};
use crate::{Error, Limits, Mode, TableName};

/// Waiting for the lock of a staging table whose run has just failed, in seconds: the server may take some to notice that nobody is there.
const CLEAR_PATIENCE: u64 = 5;

/// A table of a MySQL or MariaDB server.
#[derive(Debug, Clone)]
pub struct MysqlTarget {
    books: MysqlLedger,
    table: TableName,
    mode: Mode,
    /// Whether replacing by nothing is meant.
    allow_empty: bool,
}

impl MysqlTarget {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, table: TableName, mode: Mode, limits: Limits) -> MysqlTarget {
        MysqlTarget { books: MysqlLedger::new(endpoint, limits), table, mode, allow_empty: false }
    }

    /// Lets a drop without rows empty a table that is replaced.
    #[must_use]
    pub fn allow_empty(mut self, allow: bool) -> MysqlTarget {
        self.allow_empty = allow;
        self
    }

    /// What the ledger of a database knows, newest first, at most so many runs.
    ///
    /// # Errors
    /// [`Error::Target`], with kind `NotFound` when there is no ledger.
    pub async fn history(endpoint: &Endpoint, job: Option<&Job>, most: u32) -> Result<Vec<Record>, Error> {
        let mut session = StatementSession::connect(endpoint, 1).await?;
        if !ground::is_there(&mut session).await? {
            let what = format!("nothing was ever loaded into {endpoint}: it has no ledger");
            let hint = "check the URL: the ledger is in the database that it names";
            return Err(engine::Error::new(Kind::NotFound, what).hint(hint).into());
        }
        ledger::history(&mut session, job, most).await
    }
}

#[async_trait]
impl Target for MysqlTarget {
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
        let mut session = self.books.session().await?;
        let table = table::examine(&mut session, self, columns).await?;
        let staged = staging::create(&mut session, self.clone(), fence.clone(), table).await?;
        Ok(Box::new(staged))
    }

    async fn clear(&self, fence: &Fence) -> Result<(), Error> {
        let mut session = self.books.session_that_waits(CLEAR_PATIENCE.min(self.books.lock_patience())).await?;
        staging::clear(&mut session, fence).await
    }
}
