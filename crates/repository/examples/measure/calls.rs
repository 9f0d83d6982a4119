//! Pruning with counted calls.
//!
//! Owns running maintenance until nothing is left to do, without any patience: a removal cannot be undone and nothing waits for its grace
//! period, which changes when things happen and not how many calls they take. Prints one JSON object for each run.

use crate::Failure;
use crate::stores::Counting;
use repository::retention::Policy;
use repository::{PruneOptions, Repository};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// More runs than any number of objects here needs.
const MOST_RUNS: usize = 64;

/// Keeps the newest backups, and says what that took.
pub async fn prune(folder: &Path, keep: u32) -> Result<(), Failure> {
    let counting = Arc::new(Counting::new(folder));
    let repository = Repository::open(Arc::clone(&counting) as Arc<dyn Store>).await?;
    let policy = Policy { last: keep, ..Policy::default() };
    let options = PruneOptions {
        grace: Duration::ZERO,
        undo: Duration::ZERO,
        silent: Duration::from_secs(3_600),
        least_percent: 50,
        holder: "measure".into(),
    };
    counting.take();
    for _ in 0..MOST_RUNS {
        let plan = repository.plan_retention(&policy, None, options.least_percent).await?;
        let pruned = repository.prune(&plan, &options).await?;
        println!("{}", serde_json::json!({ "calls": counting.take(), "pruned": pruned }));
        let left = pruned.marked + pruned.swept.unreferenced + pruned.swept.waiting + pruned.swept.deleted;
        if left == 0 && pruned.gone.is_empty() {
            return Ok(());
        }
    }
    Err("there is no end to it".into())
}
