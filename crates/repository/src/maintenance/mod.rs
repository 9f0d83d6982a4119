//! Maintenance: what keeps a repository from growing for ever.
//!
//! Owns everything that removes something, and nothing else in this crate does: which backups go (`retention`), taking them away in
//! two steps of which the first can be undone (`removal`), deleting what nothing refers to any more (`sweep`), and the order of
//! it all (`prune`). Promises that no committed backup, and none that is being written, ever loses an object. Refuses to
//! work beside another maintenance, although that would only cost time: see `lease`.

mod lease;
mod notes;
mod prune;
mod referenced;
mod removal;
pub mod retention;
mod sessions;
mod sweep;

pub use prune::{PruneOptions, Pruned, SourcePlan};
pub use removal::{Mark, Verdict};
pub use sweep::Swept;
