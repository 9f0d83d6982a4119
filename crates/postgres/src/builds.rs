//! Indexes and keys that are built as soon as their table's rows are in.
//!
//! Owns choosing them from the archive: the vendor's own statements, run as they are over a loader's session, while other
//! tables still load. Keys come first and one after the other, because each locks its table, then in the same way
//! indexes that mark it (`CLUSTER ON`, `REPLICA IDENTITY`); a table's plain indexes may be built at the same time. Refuses whatever needs anything but its table and things that exist before data:
//! indexes of materialized views, attached indexes of partitioned tables, foreign keys. Those, and every statement that
//! is not chosen here, are left to `pg_restore`, which is told what was done: each entry is restored exactly once.

use crate::catalog::Table;
use crate::quote::literal;
use crate::toc::{Contents, Entry, Section};
use engine::{Build, StreamName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// The chosen entries.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    steps: Vec<Step>,
    stages: BTreeMap<StreamName, Vec<Vec<Build>>>,
    done: Mutex<BTreeSet<i32>>,
}

#[derive(Debug)]
struct Step {
    id: i32,
    shown: String,
    sql: String,
    /// It wants the table for itself.
    alone: bool,
}

impl Builds {
    /// Chooses from the archive what belongs to these tables.
    pub fn plan(contents: &Contents, tables: &BTreeMap<StreamName, Table>, readable: impl Fn(&str) -> bool) -> Self {
        let entries = contents.by_id();
        let streams: BTreeMap<u32, &StreamName> = tables.iter().map(|(stream, table)| (table.oid, stream)).collect();
        let mut builds = Self::default();
        for entry in contents.entries.iter().filter(|entry| entry.section == Section::PostData) {
            let Some(stream) = belongs_to(entry, &entries).and_then(|oid| streams.get(&oid)) else { continue };
            let Some(sql) = statement(entry, &readable) else { continue };
            let build = Build { number: builds.steps.len(), what: entry.shown() };
            let alone = entry.kind == "CONSTRAINT" || entry.marks_its_table;
            builds.steps.push(Step { id: entry.id, shown: entry.shown(), sql, alone });
            let stages = builds.stages.entry((*stream).clone()).or_default();
            let is_alone = |stage: &Vec<Build>| stage.iter().any(|build| alone_at(&builds.steps, build));
            match (entry.kind.as_str(), stages.last_mut()) {
                // The archive lists a table's entries in any order: keys go before all indexes.
                ("CONSTRAINT", _) => stages.insert(keys(stages), vec![build]),
                _ if alone => {
                    let before = stages.iter().take_while(|stage| is_alone(stage)).count();
                    stages.insert(before, vec![build]);
                }
                (_, Some(last)) if !is_alone(last) => last.push(build),
                _ => stages.push(vec![build]),
            }
        }
        builds
    }

    /// What a stream's table gets, in stages: within one all may be built at the same time.
    pub fn of(&self, stream: &StreamName) -> Vec<Vec<Build>> {
        self.stages.get(stream).cloned().unwrap_or_default()
    }

    /// The statements for some streams' tables as a script: each table's in stages, one after the other.
    pub fn script(&self, streams: impl Fn(&StreamName) -> bool) -> String {
        let builds =
            self.stages.iter().filter(|(stream, _)| streams(stream)).flat_map(|(_, stages)| stages.iter().flatten());
        builds.filter_map(|build| self.statement(build)).map(|(sql, _)| format!("{}\n", sql.trim_end())).collect()
    }

    /// Ids of the archive's entries that are chosen.
    pub fn chosen(&self) -> BTreeSet<i32> {
        self.steps.iter().map(|step| step.id).collect()
    }

    /// The statement of a build, and its name for people.
    pub fn statement(&self, build: &Build) -> Option<(&str, &str)> {
        self.steps.get(build.number).map(|step| (step.sql.as_str(), step.shown.as_str()))
    }

    /// Notes that it has been built.
    pub fn note(&self, build: &Build) {
        if let Some(step) = self.steps.get(build.number) {
            self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(step.id);
        }
    }

    /// Ids of the archive's entries that were built.
    pub fn done(&self) -> BTreeSet<i32> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How many stages of keys there are: they come first, one each.
fn keys(stages: &[Vec<Build>]) -> usize {
    stages.iter().take_while(|stage| stage.first().is_some_and(|build| build.what.starts_with("constraint "))).count()
}

fn alone_at(steps: &[Step], build: &Build) -> bool {
    steps.get(build.number).is_some_and(|step| step.alone)
}

/// The oid of the one table that an index or key belongs to, when everything it needs is there before data.
fn belongs_to(entry: &Entry, entries: &BTreeMap<i32, &Entry>) -> Option<u32> {
    if !matches!(entry.kind.as_str(), "INDEX" | "CONSTRAINT") {
        return None;
    }
    let needs: Vec<&Entry> = entry.needs.iter().filter_map(|id| entries.get(id).copied()).collect();
    if needs.iter().any(|need| need.section != Section::PreData) {
        return None;
    }
    // An index whose columns and whose expression are of the same table names it twice.
    let tables: BTreeSet<u32> = needs.iter().filter(|need| need.is_table()).map(|need| need.oid).collect();
    tables.first().copied().filter(|_| tables.len() == 1)
}

/// The entry's own statement, in the tablespace it belongs to.
fn statement(entry: &Entry, readable: impl Fn(&str) -> bool) -> Option<String> {
    let definition = entry.definition.as_deref().filter(|text| readable(text) && !text.trim().is_empty())?;
    Some(format!("SET default_tablespace = {};\n{definition}", literal(&entry.tablespace)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i32, kind: &str, tag: &str, section: Section, oid: u32, needs: &[i32]) -> Entry {
        Entry {
            id,
            class: 1259,
            oid,
            tag: tag.to_owned(),
            kind: kind.to_owned(),
            section,
            definition: Some(format!("make {tag};")),
            marks_its_table: tag.starts_with("marked"),
            schema: "public".to_owned(),
            tablespace: String::new(),
            owner: String::new(),
            needs: needs.to_vec(),
        }
    }

    fn table(oid: u32) -> (StreamName, Table) {
        let table = Table { oid, ..crate::catalog::tests::table("t") };
        (table.stream(), table)
    }

    #[test]
    fn keys_come_first_and_what_needs_more_than_its_table_is_left() {
        let entries = vec![
            entry(1, "TABLE", "t", Section::PreData, 100, &[]),
            entry(2, "FUNCTION", "f", Section::PreData, 101, &[]),
            entry(3, "TABLE", "other", Section::PreData, 102, &[]),
            entry(4, "INDEX", "a", Section::PostData, 103, &[1, 1]),
            entry(5, "INDEX", "b", Section::PostData, 104, &[1, 2]),
            entry(6, "CONSTRAINT", "t pk", Section::PostData, 105, &[1]),
            entry(7, "CONSTRAINT", "t uq", Section::PostData, 106, &[1]),
            entry(8, "FK CONSTRAINT", "t fk", Section::PostData, 107, &[1, 3, 6]),
            entry(9, "INDEX", "on post-data", Section::PostData, 108, &[1, 6]),
            entry(10, "INDEX", "of another", Section::PostData, 109, &[3]),
            entry(11, "INDEX", "marked", Section::PostData, 110, &[1]),
            entry(12, "INDEX", "marked too", Section::PostData, 111, &[1]),
            entry(13, "INDEX", "c", Section::PostData, 112, &[1]),
        ];
        let (stream, t) = table(100);
        let builds = Builds::plan(&Contents { entries }, &[(stream.clone(), t)].into(), |_| true);
        let stages: Vec<Vec<String>> =
            builds.of(&stream).iter().map(|stage| stage.iter().map(|build| build.what.clone()).collect()).collect();
        assert_eq!(
            stages,
            [
                vec!["constraint public.t pk".to_owned()],
                vec!["constraint public.t uq".to_owned()],
                vec!["index public.marked".to_owned()],
                vec!["index public.marked too".to_owned()],
                vec!["index public.a".to_owned(), "index public.b".to_owned(), "index public.c".to_owned()]
            ]
        );
        assert!(builds.done().is_empty());
        for build in builds.of(&stream).concat() {
            builds.note(&build);
        }
        assert_eq!(builds.done(), [4, 5, 6, 7, 11, 12, 13].into());
    }
}
