//! Secondary indexes of large tables, made when the rows are in.
//!
//! Owns taking such indexes out of a table's statement and making them afterwards, in one statement per table: sorting all entries once costs a fraction of
//! finding each one's place while rows come in. Promises that a table ends with the indexes that its statement named, in their order, which optimizers decide ties by.
//! Refuses to part with what the table cannot be without meanwhile: the index that rows are stored in, those that an automatic number or a foreign key needs, and
//! kinds that some server makes only with the table: full text, spatial, on expressions, on periods, on hashes.

use crate::catalog::{Catalog, Table};
use crate::connection::Session;
use crate::failure::{code, map};
use crate::parts::{Parts, after_word, begins, first_name, has_word, names_in_parentheses, tokens};
use crate::quote::qualified;
use crate::text::Text;
use engine::{Build, Error, Kind, StreamName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Tables that are smaller get theirs with the table: making it twice would take longer.
const WORTH_BYTES: u64 = 8 << 20;
/// Memory that the server sorts entries in, for one table: 64 MiB.
const SORT_BYTES: u64 = 64 << 20;

/// The server has ended one of two statements that waited for each other.
const DEADLOCK: u16 = 1213;
/// How often such a statement is tried again.
const TRIES: u32 = 9;

/// Indexes that wait for rows, by stream, and which of them are made.
#[derive(Debug, Default)]
pub(crate) struct LateIndexes {
    waiting: BTreeMap<StreamName, Late>,
    made: Mutex<BTreeSet<usize>>,
}

/// Those of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Late {
    table: String,
    /// `KEY … (…)`, as the server writes them.
    clauses: Vec<Vec<u8>>,
}

impl LateIndexes {
    /// Takes what can wait out of the statements.
    pub fn take_out(catalog: &mut Catalog) -> Self {
        let needed = needed_by_foreign_keys(catalog);
        let none = BTreeSet::new();
        let mut waiting = BTreeMap::new();
        for table in catalog.tables.iter_mut().filter(|table| is_worth_it(table)) {
            let clauses = take_out_of(table, needed.get(&table.name).unwrap_or(&none));
            if !clauses.is_empty() {
                waiting.insert(table.stream(), Late { table: table.name.clone(), clauses });
            }
        }
        Self { waiting, made: Mutex::default() }
    }

    /// What is built of this stream, if anything waits.
    pub fn of(&self, stream: &StreamName) -> Option<Build> {
        let (number, (_, late)) = self.waiting.iter().enumerate().find(|(_, (of, _))| *of == stream)?;
        let what = match late.clauses.len() {
            1 => format!("an index of {stream}"),
            count => format!("{count} indexes of {stream}"),
        };
        Some(Build { number, what })
    }

    /// What was not built yet.
    pub fn left(&self) -> Vec<Build> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.waiting.keys().filter_map(|stream| self.of(stream));
        all.filter(|build| !made.contains(&build.number)).collect()
    }

    /// Makes the indexes of a table.
    pub async fn build(&self, session: &mut Session, schema: &str, build: &Build) -> Result<(), Error> {
        let unknown = || Error::new(Kind::Internal, format!("nothing is known of {}", build.what));
        let statement = self.statement(schema, build.number).ok_or_else(unknown)?;
        // Entries are sorted in as much memory at a time; 1 MiB by default, where it can be said at all.
        if session.server.is_mysql(8, 0, 27) {
            session.run(&build.what, &format!("SET SESSION innodb_ddl_buffer_size = {SORT_BYTES}")).await?;
        }
        let mut tries = 0;
        // Tables that get their indexes at the same time meet in the server's own dictionary: one of two is told to try again, and has changed nothing.
        while let Err(error) = session.run_bytes(&statement).await {
            if code(&error) != Some(DEADLOCK) || tries == TRIES {
                return Err(map(&format!("make {}", build.what), &error));
            }
            tries += 1;
            tracing::debug!(tries, what = build.what, "a deadlock; trying again");
        }
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(build.number);
        Ok(())
    }

    fn statement(&self, schema: &str, number: usize) -> Option<Vec<u8>> {
        let late = self.waiting.values().nth(number)?;
        let mut statement = format!("ALTER TABLE {}", qualified(schema, &late.table)).into_bytes();
        for (number, clause) in late.clauses.iter().enumerate() {
            statement.extend_from_slice(if number == 0 { b" ADD " } else { b", ADD " });
            statement.extend_from_slice(clause);
        }
        Some(statement)
    }
}

/// History may not be altered, and other engines build every index in their own time.
fn is_worth_it(table: &Table) -> bool {
    table.has_rows
        && table.bytes >= WORTH_BYTES
        && table.history.is_none()
        && table.engine.eq_ignore_ascii_case("innodb")
}

fn take_out_of(table: &mut Table, needed: &BTreeSet<String>) -> Vec<Vec<u8>> {
    let Some(Parts { head, items, tail }) = Parts::of(&table.create.0) else { return Vec::new() };
    let is = |item: &[u8], kind: &[&str]| begins(item, kind);
    let clustered = items.iter().any(|item| is(item, &["PRIMARY", "KEY"]));
    let mut needed = needed.clone();
    // An automatic number needs an index that it leads.
    needed.extend(items.iter().filter(|item| has_word(item, "AUTO_INCREMENT")).filter_map(|item| first_name(item)));
    let can_wait = |item: &[u8]| {
        let kind = is(item, &["KEY"]) || (clustered && is(item, &["UNIQUE", "KEY"]));
        kind && !["OVERLAPS", "HASH"].iter().any(|word| has_word(item, word))
            && leading_column(item).is_some_and(|column| !needed.contains(&column))
    };
    // Only the last ones: what is made later comes after what is there. Full text comes last on every server.
    let is_index = |item: &[u8]| {
        ["PRIMARY", "UNIQUE", "SPATIAL"].iter().any(|word| is(item, &[word, "KEY"])) || is(item, &["KEY"])
    };
    let indexes: Vec<usize> = (0..items.len()).filter(|at| items.get(*at).is_some_and(|item| is_index(item))).collect();
    let late: BTreeSet<usize> =
        indexes.into_iter().rev().take_while(|at| items.get(*at).is_some_and(|item| can_wait(item))).collect();
    if late.is_empty() {
        return Vec::new();
    }
    let (waiting, staying): (Vec<_>, Vec<_>) = items.into_iter().enumerate().partition(|(at, _)| late.contains(at));
    let items = staying.into_iter().map(|(_, item)| item).collect();
    table.create = Text(Parts { head, items, tail }.written());
    waiting.into_iter().map(|(_, item)| item).collect()
}

/// Columns that lead an index which a foreign key may need, by table: its own columns, and those that it refers to.
fn needed_by_foreign_keys(catalog: &Catalog) -> BTreeMap<String, BTreeSet<String>> {
    let mut needed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for table in &catalog.tables {
        let Some(parts) = Parts::of(&table.create.0) else { continue };
        for item in parts.items.iter().filter(|item| has_word(item, "REFERENCES")) {
            let names = |from: &str| after_word(item, from).map(names_in_parentheses).unwrap_or_default();
            needed.entry(table.name.clone()).or_default().extend(names("KEY"));
            let parent = after_word(item, "REFERENCES").and_then(first_name);
            if let Some(parent) = parent {
                needed.entry(parent).or_default().extend(names("REFERENCES"));
            }
        }
    }
    needed
}

/// The first column of an index; none when it is on an expression.
fn leading_column(item: &[u8]) -> Option<String> {
    let (_, after) = tokens(item).find(|(token, _)| *token == b"(")?;
    let expression = tokens(after).any(|(token, _)| token == b"(") && has_expression(after);
    if expression { None } else { first_name(after) }
}

/// Whether a list has something in parentheses that is not the length of a column's beginning.
fn has_expression(list: &[u8]) -> bool {
    let inner = tokens(list).filter(|(token, _)| *token == b"(");
    inner
        .into_iter()
        .any(|(_, after)| tokens(after).next().is_none_or(|(token, _)| !token.iter().all(u8::is_ascii_digit)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn table(create: &str) -> Table {
        let json =
            r#"{"name": "t", "engine": "InnoDB", "create": "", "columns": [], "has_rows": true, "bytes": 99999999}"#;
        let table: Table = serde_json::from_str(json).unwrap();
        Table { create: Text(create.as_bytes().to_vec()), ..table }
    }

    fn taken(create: &str, needed: &[&str]) -> (Vec<String>, String) {
        let mut table = table(create);
        let needed = needed.iter().map(|name| (*name).to_owned()).collect();
        let clauses = take_out_of(&mut table, &needed);
        (
            clauses.iter().map(|clause| String::from_utf8_lossy(clause).into_owned()).collect(),
            table.create.shown().into_owned(),
        )
    }

    #[test]
    fn indexes_wait_and_everything_else_stays() {
        let create = "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `a` varchar(9) DEFAULT '),\\n  KEY `x` (`y`)',\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`a`(5),`id` DESC),\n  KEY `k` (`a`) COMMENT 'a, (b' /*!80000 INVISIBLE */,\n  FULLTEXT KEY `f` (`a`),\n  CONSTRAINT `c` CHECK ((`id` > 0))\n) ENGINE=InnoDB COMMENT='KEY ('";
        let (clauses, left) = taken(create, &[]);
        assert_eq!(
            clauses,
            ["UNIQUE KEY `u` (`a`(5),`id` DESC)", "KEY `k` (`a`) COMMENT 'a, (b' /*!80000 INVISIBLE */"]
        );
        assert_eq!(
            left,
            "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `a` varchar(9) DEFAULT '),\\n  KEY `x` (`y`)',\n  PRIMARY KEY (`id`),\n  FULLTEXT KEY `f` (`a`),\n  CONSTRAINT `c` CHECK ((`id` > 0))\n) ENGINE=InnoDB COMMENT='KEY ('"
        );
    }

    #[test]
    fn what_the_table_needs_meanwhile_stays_with_all_before_it() {
        let with = |keys: &str| {
            format!("CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `a` int,\n{keys}\n) ENGINE=InnoDB")
        };
        for keys in [
            // The number's, the foreign key's, the clustered one.
            "  PRIMARY KEY (`a`),\n  KEY `n` (`id`)",
            "  PRIMARY KEY (`id`),\n  KEY `k` (`needed`,`a`)",
            "  UNIQUE KEY `u` (`a`)",
            "  PRIMARY KEY (`id`),\n  KEY `k` ((lower(`a`)))",
            "  PRIMARY KEY (`id`),\n  KEY `k` (`a`,(lower(`a`)))",
            "  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`a`) USING HASH",
            "  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`a`,`p` WITHOUT OVERLAPS)",
            "  PRIMARY KEY (`id`),\n  SPATIAL KEY `s` (`a`)",
        ] {
            let create = with(keys);
            assert_eq!(taken(&create, &["needed"]), (Vec::new(), create.clone()), "{keys}");
        }
        let (clauses, _) = taken(
            &with("  PRIMARY KEY (`id`),\n  KEY `a` (`a`),\n  KEY `n` (`needed`),\n  KEY `z` (`a`)"),
            &["needed"],
        );
        assert_eq!(clauses, ["KEY `z` (`a`)"]);
    }

    #[test]
    fn foreign_keys_name_what_they_need_on_both_sides() {
        let child = "CREATE TABLE `t` (\n  `a` int COMMENT 'REFERENCES `x` (`y`)',\n  CONSTRAINT `f` FOREIGN KEY (`a`, `b`) REFERENCES `p` (`c`, `d`) ON DELETE CASCADE\n)";
        let json = r#"{"version": 1, "product": "mysql", "server_version": "9.0.0", "tables": [], "moment": {"protocol": "global-lock"},
            "database": {"name": "app", "charset": "", "collation": ""}}"#;
        let catalog = Catalog { tables: vec![table(child)], ..serde_json::from_str(json).unwrap() };
        let needed = needed_by_foreign_keys(&catalog);
        let of = |name: &str| needed.get(name).unwrap().iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!((needed.len(), of("t"), of("p")), (2, "a b".to_owned(), "c d".to_owned()));
    }

    #[test]
    fn the_statement_is_of_the_schema_that_is_filled() {
        let json = r#"{"version": 1, "product": "mysql", "server_version": "9.0.0", "tables": [], "moment": {"protocol": "global-lock"},
            "database": {"name": "app", "charset": "", "collation": ""}}"#;
        let create = "CREATE TABLE `t` (\n  `id` int,\n  PRIMARY KEY (`id`),\n  KEY `k` (`a`),\n  KEY `l` (`b`)\n)";
        let mut catalog = Catalog { tables: vec![table(create)], ..serde_json::from_str(json).unwrap() };
        let stream = catalog.tables[0].stream();
        let late = LateIndexes::take_out(&mut catalog);
        let build = late.of(&stream).unwrap();
        let statement = late.statement("new", build.number).unwrap();
        assert_eq!(String::from_utf8_lossy(&statement), "ALTER TABLE `new`.`t` ADD KEY `k` (`a`), ADD KEY `l` (`b`)");
        assert_eq!((build.what.as_str(), late.left()), ("2 indexes of `t`", vec![build.clone()]));
    }
}
