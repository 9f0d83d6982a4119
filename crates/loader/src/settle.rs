//! What became of a commit whose answer was lost.
//!
//! Owns the asking. Promises to ask until the ledger has answered or patience is over, and to say then that nobody knows. Refuses to guess.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::Kind;

use crate::Error;
use crate::record::Record;
use crate::target::Ledger;

/// How long to wait before a server that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// A ledger that knows for certain.
#[async_trait]
pub(crate) trait Asked: Ledger {
    /// How long it is asked.
    fn patience(&self) -> Duration;

    /// Whether the run has loaded, asked under the fence's lock: that is had when the run's transaction has ended.
    async fn has_loaded(&self, record: &Record) -> Result<bool, engine::Error>;
}

/// Finds out what became of a commit whose answer was lost.
pub(crate) async fn settle(books: &dyn Asked, record: &Record, lost: engine::Error) -> Result<(), Error> {
    tracing::warn!(error = %lost, "the answer to the commit was lost; asking the ledger");
    let begun = Instant::now();
    loop {
        let last = match books.has_loaded(record).await {
            Ok(true) => return Ok(()),
            Ok(false) => {
                let what = format!("the load was not committed: {}", lost.what);
                return Err(engine::Error::new(Kind::Unavailable, what)
                    .hint("nothing was changed; start again")
                    .into());
            }
            Err(error) => error,
        };
        if begun.elapsed() > books.patience() {
            let location = books.location();
            return Err(Error::Unsettled { run: record.run, location, source: Box::new(last) });
        }
        tokio::time::sleep(AGAIN).await;
    }
}
