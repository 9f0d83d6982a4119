//! A standby as the source.
//!
//! Owns what is different there: rows of unlogged tables exist on the primary only, and replay ends sessions that are in its
//! way. Promises that what cannot be read there is left out by name and said so, as the vendor's dump does, and that
//! everything else must come.

use crate::catalog::Catalog;
use crate::quote::listed;
use engine::{Error, Kind};

/// Most names in one note; the catalog has all of them.
const MOST_NAMES: usize = 20;
/// What helps against conflicts with recovery.
pub(crate) const ADVICE: &str = "replay on the standby was in the way: set hot_standby_feedback = on there, or raise max_standby_streaming_delay \
     above what a backup takes, or back up the primary";

/// Marks the tables whose rows a standby does not have. Returns notes for the operator.
pub(crate) fn leave_unlogged_out(catalog: &mut Catalog) -> Vec<String> {
    if !catalog.moment.in_recovery {
        return Vec::new();
    }
    let mut names = Vec::new();
    for table in catalog.tables.iter_mut().filter(|table| table.kind == "r" && table.persistence == "u") {
        table.rows_left_out = true;
        names.push(table.stream().to_string());
    }
    match names.len() {
        0 => Vec::new(),
        number => {
            let tables = if number == 1 { "unlogged table" } else { "unlogged tables" };
            vec![format!(
                "left out: the rows of {tables} {}, which a standby does not have",
                listed(&names, MOST_NAMES)
            )]
        }
    }
}

/// A session that ended on a standby ended most likely because of replay: the server may not have been able to say so.
pub(crate) fn explain(in_recovery: bool) -> impl Fn(Error) -> Error {
    move |error| if in_recovery && error.kind == Kind::Unavailable { error.hint(ADVICE) } else { error }
}

/// Whether a message is the server's own about such a conflict.
pub(crate) fn is_conflict(message: &str) -> bool {
    message.contains("conflict with recovery")
}
