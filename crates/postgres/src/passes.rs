//! Passes: which entries of the archive the vendor's tool may bring back at the same time.
//!
//! Owns cutting a list of entries into runs of `pg_restore`, one after the other, each in parallel only where that is safe. The
//! tool knows what needs what; it does not know two things that the server makes of entries side by side. Promises that
//! every entry is in exactly one pass, and in the archive's order there. Refuses to know statements.

use crate::toc::Entry;
use std::collections::BTreeSet;

/// Entries for one run of the tool.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Ids, in the archive's order.
    pub entries: Vec<i32>,
    /// Sessions that may work at the same time.
    pub workers: usize,
}

/// The passes that bring back these entries of one section, given in the archive's order.
///
/// First, one by one, what marks its table: two of these on one table would wait for each other. Then most. Then, one by one, the
/// indexes of partitions are attached: of two sessions that attach one to a partition's partition and one to the
/// partition at the same time, neither sees that the index on top is now whole, which then stays invalid for ever, and
/// whoever needs it fails. Last what needs those: foreign keys to partitioned tables above all.
pub(crate) fn of(entries: &[&Entry], workers: usize) -> Vec<Pass> {
    let ids: BTreeSet<i32> = entries.iter().map(|entry| entry.id).collect();
    let mut attached = BTreeSet::new();
    let mut passes = [(Vec::new(), 1), (Vec::new(), workers), (Vec::new(), 1), (Vec::new(), workers)];
    for entry in entries {
        let needs = |some: &BTreeSet<i32>| entry.needs.iter().any(|id| some.contains(id));
        // In an archive's order whatever is needed comes first.
        let pass = if entry.kind == "INDEX ATTACH" {
            attached.insert(entry.id);
            2
        } else if needs(&attached) {
            attached.insert(entry.id);
            3
        } else if entry.marks_its_table && !needs(&ids) {
            0
        } else {
            1
        };
        passes[pass].0.push(entry.id);
    }
    let filled = passes.into_iter().filter(|(entries, _)| !entries.is_empty());
    filled.map(|(entries, workers)| Pass { entries, workers }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toc::Section;

    fn entry(id: i32, kind: &str, marks_its_table: bool, needs: &[i32]) -> Entry {
        Entry {
            id,
            class: 1259,
            oid: 0,
            tag: String::new(),
            kind: kind.to_owned(),
            section: Section::PostData,
            definition: None,
            marks_its_table,
            schema: "public".to_owned(),
            tablespace: String::new(),
            owner: String::new(),
            needs: needs.to_vec(),
        }
    }

    #[test]
    fn attaching_is_done_alone_and_before_whatever_needs_it() {
        let entries = [
            entry(1, "INDEX", false, &[90]),
            entry(2, "INDEX", true, &[90]),
            entry(3, "CONSTRAINT", false, &[91]),
            entry(4, "CONSTRAINT", false, &[92]),
            entry(5, "INDEX", true, &[3]),
            entry(6, "INDEX ATTACH", false, &[3, 4]),
            entry(7, "FK CONSTRAINT", false, &[90, 1]),
            entry(8, "FK CONSTRAINT", false, &[92, 6]),
            entry(9, "COMMENT", false, &[8]),
            entry(10, "TRIGGER", false, &[90]),
        ];
        let entries: Vec<&Entry> = entries.iter().collect();
        let pass = |entries: &[i32], workers| Pass { entries: entries.to_vec(), workers };
        assert_eq!(of(&entries, 4), [pass(&[2], 1), pass(&[1, 3, 4, 5, 7, 10], 4), pass(&[6], 1), pass(&[8, 9], 4)]);
        assert!(of(&[], 4).is_empty());
    }
}
