//! Storage engines: what a table's engine means for a backup of its rows.
//!
//! Owns the two lists, which everything else asks. Promises that an engine nobody knows is taken for one with rows and without transactions: it is locked and read. Names are
//! compared without case, as the servers do.

/// Engines whose tables a snapshot covers.
const WITH_TRANSACTIONS: [&str; 3] = ["InnoDB", "ROCKSDB", "TokuDB"];
/// Engines whose tables hold no rows of their own: they show those of other tables or servers, or none.
const WITHOUT_ROWS: [&str; 6] = ["MRG_MYISAM", "FEDERATED", "CONNECT", "SPIDER", "BLACKHOLE", "SPHINX"];

fn is_one_of(engine: &str, names: &[&str]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(engine))
}

/// Whether the engine knows transactions, and with them snapshots.
pub(crate) fn has_transactions(engine: &str) -> bool {
    is_one_of(engine, &WITH_TRANSACTIONS)
}

/// Whether its tables have rows of their own.
pub(crate) fn has_rows(engine: &str) -> bool {
    !is_one_of(engine, &WITHOUT_ROWS)
}

/// Whether no snapshot covers the rows that it has.
pub(crate) fn needs_locks(engine: &str) -> bool {
    has_rows(engine) && !has_transactions(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_locked_and_read() {
        assert!(needs_locks("MyISAM") && needs_locks("SomethingNew") && has_rows("SomethingNew"));
        assert!(!needs_locks("innodb") && !needs_locks("MRG_MyISAM") && !has_rows("MRG_MyISAM"));
    }
}
