//! Whether the schema is still what it was: definitions belong to no snapshot.
//!
//! Owns the comparison of the catalog at a backup's beginning with the one at its end. Promises that whatever was made, dropped or changed meanwhile
//! is named. Counters that move with every row are no change: `AUTO_INCREMENT`, the values of sequences.

use crate::catalog::{Catalog, Program, Sequence, Table};
use engine::{Error, Kind};
use std::collections::BTreeMap;

/// The error of a schema that did not stay as it was.
pub(crate) fn changed(what: &str) -> Error {
    Error::new(Kind::Changed, format!("{what} while rows were read")).hint("run again; no backup was made")
}

/// The same error with what to do, where it came of a change in the schema while a backup read.
pub(crate) fn explain(error: Error) -> Error {
    if error.kind != Kind::Changed {
        return error;
    }
    error.hint("the schema was changed while rows were read; run again, no backup was made")
}

/// Fails when the two differ.
pub(crate) fn assert_same(then: &Catalog, now: &Catalog) -> Result<(), Error> {
    if then.database != now.database {
        return Err(changed("the database's character set or collation was changed"));
    }
    difference(&definitions(then), &definitions(now)).map_or(Ok(()), |what| Err(changed(&what)))
}

/// What of the changes between the two is lost when only the tables of the one are moved, and its programs made anew from a backup.
pub(crate) fn lost_by_moving(then: &Catalog, now: &Catalog) -> Option<String> {
    let kept = |catalog: &Catalog| -> BTreeMap<String, Vec<u8>> {
        let moves = |name: &str| name.starts_with("table ") || name.starts_with("sequence ");
        let all = definitions(catalog).into_iter();
        all.map(|(name, words)| if moves(&name) { (name, Vec::new()) } else { (name, words) }).collect()
    };
    difference(&kept(then), &kept(now))
}

fn difference(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    for (name, definition) in before {
        match after.get(name) {
            None => return Some(format!("{name} was dropped or renamed")),
            Some(other) if other != definition => return Some(format!("{name} was changed")),
            Some(_) => {}
        }
    }
    after.keys().find(|name| !before.contains_key(*name)).map(|name| format!("{name} was made"))
}

fn definitions(catalog: &Catalog) -> BTreeMap<String, Vec<u8>> {
    let table = |table: &Table| {
        (format!("table {}", table.name), [table.made.as_bytes(), &without_counter(&table.create.0)].concat())
    };
    let sequence = |sequence: &Sequence| (format!("sequence {}", sequence.name), sequence.create.0.clone());
    let program = |program: &Program| {
        let settings = format!(
            "{}/{}/{}/{}/{:?}/",
            program.sql_mode, program.charset, program.collation, program.database_collation, program.time_zone
        );
        (program.told(), [settings.into_bytes(), program.create.0.clone()].concat())
    };
    let programs = [&catalog.views, &catalog.routines, &catalog.triggers, &catalog.events];
    let tables = catalog.tables.iter().map(table);
    let sequences = catalog.sequences.iter().map(sequence);
    tables.chain(sequences).chain(programs.into_iter().flatten().map(program)).collect()
}

/// The statement without ` AUTO_INCREMENT=n`, which stands behind the closing parenthesis, before any comment.
fn without_counter(create: &[u8]) -> Vec<u8> {
    const WORD: &[u8] = b" AUTO_INCREMENT=";
    let line = create.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    let starts = |at: usize| create.get(at..at + WORD.len()) == Some(WORD);
    // The last line has the options, unless partitions follow; the first place after a closing parenthesis is the counter's.
    let last_paren = create.windows(3).rposition(|three| three == b"\n) ").unwrap_or(line);
    match (last_paren..create.len()).find(|at| starts(*at)) {
        None => create.to_vec(),
        Some(at) => {
            let digits = create.get(at + WORD.len()..).unwrap_or_default();
            let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            [create.get(..at).unwrap_or_default(), create.get(at + WORD.len() + digits..).unwrap_or_default()].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_counter_is_left_out() {
        let counted = b"CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=5'\n) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=latin1";
        let without =
            b"CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=5'\n) ENGINE=InnoDB DEFAULT CHARSET=latin1";
        assert_eq!(without_counter(counted), without);
        assert_eq!(without_counter(without), without);
    }
}
