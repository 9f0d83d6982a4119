//! Which entries of an archive make certain tables or schemas.
//!
//! Owns following the archive's dependencies from the tables that were asked for to what belongs to them: partitions, owned
//! sequences, defaults, keys, indexes, triggers, rules, policies, comments, grants. Promises that what belongs to
//! another table never comes along, that foreign keys to tables which are not asked for are kept apart, and that what must be
//! in the target already is named. Refuses nothing: it is a choice, the restore looks at the target.

use crate::quote::shown;
use crate::toc::{Contents, Entry, Section};
use engine::{Error, Filter, Kind, Pattern};
use std::collections::{BTreeMap, BTreeSet};

/// Schemas and names.
type Names = BTreeSet<(String, String)>;

/// What was chosen.
#[derive(Debug, Default)]
pub(crate) struct PartEntries {
    /// Entries before data, and after it, in the archive's order.
    pub before: Vec<i32>,
    pub after: Vec<i32>,
    /// Materialized views to fill, by their statements.
    pub fill: Vec<(String, String)>,
    /// Foreign keys to tables that are not chosen: entry, what to call it, schema and name of each table.
    pub keys: Vec<(i32, String, Names)>,
    /// Oids at the source of chosen tables.
    pub tables: BTreeSet<u32>,
    /// Oids at the source of chosen sequences.
    pub sequences: BTreeSet<u32>,
    /// Schemas that are made, and whether the archive makes them.
    pub schemas: BTreeMap<String, bool>,
    /// Schemas that must be there.
    pub into: BTreeSet<String>,
    /// Names that must be free: schema and name.
    pub makes: Names,
    /// What must be there: kind, schema and name.
    pub needs: BTreeSet<(String, String, String)>,
    /// Roles that own something of it.
    pub owners: BTreeSet<String>,
    /// Partitions without the table that they are a partition of.
    pub alone: Names,
    pub notes: Vec<String>,
}

struct Archive<'a> {
    entries: &'a [Entry],
    by_id: BTreeMap<i32, &'a Entry>,
}

impl PartEntries {
    /// Chooses; `tables` of the filter are looked for among the archive's tables, `schemas` among its schemas. `out` are
    /// entries that cannot be made.
    ///
    /// # Errors
    /// [`Kind::Config`] for a pattern that cannot be meant or matches nothing, and for a table that inherits from one that is
    /// not chosen.
    pub fn choose(contents: &Contents, part: &Filter, out: &BTreeSet<i32>) -> Result<Self, Error> {
        let archive = Archive { entries: &contents.entries, by_id: contents.by_id() };
        let schemas = archive.schemas(part)?;
        let tables = archive.tables(part, &schemas)?;
        let mut chosen = archive.with_what_belongs(&schemas, tables);
        let mut part = Self::default();
        // A key to a table that is not asked for is about the target's rows, whatever the backup has of them.
        let lost =
            |id: &i32| archive.by_id.get(id).is_none_or(|entry| archive.outside_tables(entry, &chosen).is_empty());
        let lost: BTreeSet<i32> = out.iter().copied().filter(lost).collect();
        for entry in archive.entries.iter().filter(|entry| lost.contains(&entry.id)) {
            if chosen.remove(&entry.id) && entry.kind == "FK CONSTRAINT" {
                part.notes.push(format!("left out, because the backup is of a part: {}", entry.shown()));
            }
        }
        for (schema, made) in schemas {
            part.schemas.insert(schema, made);
        }
        part.sort(&archive, &chosen)?;
        Ok(part)
    }

    fn sort(&mut self, archive: &Archive<'_>, chosen: &BTreeSet<i32>) -> Result<(), Error> {
        for entry in archive.entries {
            let alone =
                archive.attached(entry).is_some_and(|(of, part)| chosen.contains(&part) && !chosen.contains(&of));
            if alone {
                self.alone.insert((entry.schema.clone(), entry.tag.clone()));
                self.notes.push(format!("made as a table by itself: {}", shown(&entry.schema, &entry.tag)));
            }
        }
        let attaches = |entry: &Entry| matches!(entry.kind.as_str(), "TABLE ATTACH" | "INDEX ATTACH");
        let wanted =
            |entry: &&Entry| chosen.contains(&entry.id) && (!attaches(entry) || archive.attaches_within(entry, chosen));
        for entry in archive.entries.iter().filter(wanted) {
            if let Some(tables) = self.of_a_key_outside(entry) {
                self.keys.push((entry.id, entry.shown(), tables));
                continue;
            }
            self.owners.extend((!entry.owner.is_empty()).then(|| entry.owner.clone()));
            let outside = archive.outside_tables(entry, chosen);
            match (entry.kind.as_str(), entry.section) {
                ("FK CONSTRAINT", _) if !outside.is_empty() => {
                    self.keys.push((entry.id, entry.shown(), outside));
                    continue;
                }
                ("MATERIALIZED VIEW DATA", _) => {
                    let sql = entry.definition.clone().unwrap_or_default();
                    self.fill.push((shown(&entry.schema, &entry.tag), sql));
                    continue;
                }
                (_, Section::PostData) => self.after.push(entry.id),
                (_, Section::PreData) => self.before.push(entry.id),
                _ => continue,
            }
            self.note_names(archive, entry);
            self.note_needs(archive, entry, chosen)?;
        }
        Ok(())
    }

    /// A comment on a foreign key that is made last is made after it.
    fn of_a_key_outside(&self, entry: &Entry) -> Option<Names> {
        let key = self.keys.iter().find(|(id, ..)| entry.kind == "COMMENT" && entry.needs.contains(id));
        key.map(|(.., tables)| tables.clone())
    }

    fn note_names(&mut self, archive: &Archive<'_>, entry: &Entry) {
        let name = match entry.kind.as_str() {
            "TABLE" | "SEQUENCE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "INDEX" | "TYPE" | "DOMAIN" => {
                entry.tag.clone()
            }
            // A key's index has the key's name.
            "CONSTRAINT" => match archive.owner(entry).and_then(|table| entry.tag.get(table.tag.len() + 1..)) {
                Some(name) => name.to_owned(),
                None => return,
            },
            _ => return,
        };
        if entry.is_table() {
            self.tables.insert(entry.oid);
        }
        if entry.is_sequence() {
            self.sequences.insert(entry.oid);
        }
        if !self.schemas.contains_key(&entry.schema) {
            self.into.insert(entry.schema.clone());
        }
        self.makes.insert((entry.schema.clone(), name));
    }

    fn note_needs(&mut self, archive: &Archive<'_>, entry: &Entry, chosen: &BTreeSet<i32>) -> Result<(), Error> {
        let needs = entry.needs.iter().filter(|id| !chosen.contains(id)).filter_map(|id| archive.by_id.get(id));
        for need in needs {
            let kind = need.kind.as_str();
            if kind == "TABLE" && entry.is_table() {
                let inherits = entry.definition.as_deref().is_some_and(|text| text.contains("\nINHERITS ("));
                if inherits {
                    let what = format!("{} inherits from {}, which was not asked for", entry.shown(), need.shown());
                    return Err(Error::new(Kind::Config, what).hint("name both; nothing was changed"));
                }
                continue;
            }
            if matches!(
                kind,
                "TABLE"
                    | "SEQUENCE"
                    | "VIEW"
                    | "MATERIALIZED VIEW"
                    | "FOREIGN TABLE"
                    | "TYPE"
                    | "DOMAIN"
                    | "EXTENSION"
                    | "SERVER"
            ) {
                self.needs.insert((kind.to_lowercase(), need.schema.clone(), need.tag.clone()));
            }
        }
        Ok(())
    }
}

impl Archive<'_> {
    /// The schemas that are asked for, and whether the archive makes them.
    fn schemas(&self, part: &Filter) -> Result<BTreeMap<String, bool>, Error> {
        let patterns = Pattern::all(&part.include_schemas, Pattern::schema)?;
        let made = self.entries.iter().filter(|entry| entry.kind == "SCHEMA").map(|entry| (entry.tag.clone(), true));
        let mut all: BTreeMap<String, bool> =
            self.entries.iter().filter(|e| !e.schema.is_empty()).map(|e| (e.schema.clone(), false)).collect();
        all.extend(made);
        if let Some(pattern) = patterns.iter().find(|pattern| !all.keys().any(|name| pattern.is_schema(name))) {
            return Err(nothing("only-schema", pattern, "schema"));
        }
        all.retain(|name, _| patterns.iter().any(|pattern| pattern.is_schema(name)));
        Ok(all)
    }

    /// Ids of the tables that are asked for, with their partitions.
    fn tables(&self, part: &Filter, schemas: &BTreeMap<String, bool>) -> Result<BTreeSet<i32>, Error> {
        let patterns = Pattern::all(&part.include_tables, Pattern::table)?;
        let tables = || self.entries.iter().filter(|entry| entry.is_table());
        let is = |pattern: &Pattern, entry: &Entry| pattern.is_table(&entry.schema, &entry.tag);
        if let Some(pattern) = patterns.iter().find(|pattern| !tables().any(|entry| is(pattern, entry))) {
            return Err(nothing("only-table", pattern, "table"));
        }
        let wanted = |e: &&Entry| schemas.contains_key(&e.schema) || patterns.iter().any(|pattern| is(pattern, e));
        let mut chosen: BTreeSet<i32> = tables().filter(wanted).map(|entry| entry.id).collect();
        let pairs: Vec<(i32, i32)> = self.entries.iter().filter_map(|entry| self.attached(entry)).collect();
        loop {
            let more: Vec<i32> =
                pairs.iter().filter(|(p, c)| chosen.contains(p) && !chosen.contains(c)).map(|p| p.1).collect();
            if more.is_empty() {
                return Ok(chosen);
            }
            chosen.extend(more);
        }
    }

    /// Partitioned table and partition, of an entry that attaches one.
    fn attached(&self, entry: &Entry) -> Option<(i32, i32)> {
        if entry.kind != "TABLE ATTACH" {
            return None;
        }
        let tables = || self.needed(entry).filter(|need| need.is_any_table());
        let is_child = |need: &&Entry| need.tag == entry.tag && need.schema == entry.schema;
        let child = tables().find(is_child)?.id;
        Some((tables().find(|need| need.id != child)?.id, child))
    }

    fn needed<'b>(&'b self, entry: &'b Entry) -> impl Iterator<Item = &'b Entry> {
        entry.needs.iter().filter_map(|id| self.by_id.get(id).copied())
    }

    /// Everything that belongs to the tables, or is in the schemas. Ends when a pass adds nothing: at most as many
    /// passes as there are entries.
    fn with_what_belongs(&self, schemas: &BTreeMap<String, bool>, tables: BTreeSet<i32>) -> BTreeSet<i32> {
        let mut chosen = tables;
        let subscribed = |e: &Entry| e.kind.starts_with("PUBLICATION") || e.kind.starts_with("SUBSCRIPTION");
        let in_schema = |e: &Entry| {
            schemas.contains_key(&e.schema) && !e.is_table() || e.kind == "SCHEMA" && schemas.contains_key(&e.tag)
        };
        chosen.extend(self.entries.iter().filter(|e| in_schema(e) && !subscribed(e)).map(|e| e.id));
        loop {
            let before = chosen.len();
            for entry in self.entries {
                if !chosen.contains(&entry.id) && self.belongs(entry, &chosen) {
                    chosen.insert(entry.id);
                }
            }
            if chosen.len() == before {
                return chosen;
            }
        }
    }

    fn belongs(&self, entry: &Entry, chosen: &BTreeSet<i32>) -> bool {
        let any = |what: fn(&Entry) -> bool| self.needed(entry).any(|need| what(need) && chosen.contains(&need.id));
        match entry.kind.as_str() {
            "DEFAULT" | "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" | "RULE" | "POLICY"
            | "ROW SECURITY" => self.owner(entry).is_some_and(|table| chosen.contains(&table.id)),
            "INDEX" | "STATISTICS" | "SEQUENCE" => any(Entry::is_any_table),
            "SEQUENCE OWNED BY" => any(Entry::is_sequence),
            "TABLE ATTACH" | "INDEX ATTACH" => self.attaches_within(entry, chosen),
            "COMMENT" | "ACL" | "SECURITY LABEL" => any(|_| true),
            _ => false,
        }
    }

    /// Whether both sides of an attachment are chosen.
    fn attaches_within(&self, entry: &Entry, chosen: &BTreeSet<i32>) -> bool {
        self.needed(entry).count() >= 2 && self.needed(entry).all(|need| chosen.contains(&need.id))
    }

    /// The table that a key, trigger, rule, policy or default belongs to: its tag begins with the table's name.
    fn owner<'b>(&'b self, entry: &'b Entry) -> Option<&'b Entry> {
        let names = |table: &&Entry| {
            let after = entry.tag.strip_prefix(table.tag.as_str());
            table.is_any_table()
                && table.schema == entry.schema
                && after.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        self.needed(entry).filter(names).max_by_key(|table| table.tag.len())
    }

    /// Schema and name of the tables that a foreign key refers to and that are not chosen.
    fn outside_tables(&self, entry: &Entry, chosen: &BTreeSet<i32>) -> Names {
        if entry.kind != "FK CONSTRAINT" {
            return BTreeSet::new();
        }
        let mut found = BTreeSet::new();
        for need in self.needed(entry).filter(|need| !chosen.contains(&need.id)) {
            let table = match need.kind.as_str() {
                "TABLE" => Some(need),
                "CONSTRAINT" => self.owner(need),
                "INDEX" => self.needed(need).find(|table| table.is_table()),
                _ => None,
            };
            found.extend(table.map(|table| (table.schema.clone(), table.tag.clone())));
        }
        found
    }
}

fn nothing(option: &str, pattern: &Pattern, of: &str) -> Error {
    Error::new(Kind::Config, format!("--{option} {pattern} matches no {of} of this backup"))
        .hint("`longshore show` lists its tables; case counts; nothing was changed")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn entry(id: i32, kind: &str, tag: &str, needs: &[i32]) -> Entry {
        let after = ["CONSTRAINT", "FK CONSTRAINT", "INDEX", "TRIGGER"].contains(&kind);
        Entry {
            id,
            class: 1259,
            oid: 1000 + id.unsigned_abs(),
            tag: tag.to_owned(),
            kind: kind.to_owned(),
            section: if after { Section::PostData } else { Section::PreData },
            definition: Some(format!("make {tag};")),
            schema: "app".to_owned(),
            tablespace: String::new(),
            owner: "ann".to_owned(),
            needs: needs.to_vec(),
            marks_its_table: false,
        }
    }

    fn archive() -> Contents {
        Contents {
            entries: vec![
                entry(1, "TABLE", "users", &[]),
                entry(2, "TABLE", "orders", &[20]),
                entry(3, "TABLE", "users old", &[]),
                entry(4, "SEQUENCE", "orders_id_seq", &[2]),
                entry(5, "SEQUENCE OWNED BY", "orders_id_seq", &[4]),
                entry(6, "DEFAULT", "orders id", &[2, 4, 2]),
                entry(7, "CONSTRAINT", "users users_pkey", &[1]),
                entry(8, "CONSTRAINT", "orders orders_pkey", &[2]),
                entry(9, "FK CONSTRAINT", "orders orders_user_fkey", &[2, 7, 1]),
                entry(10, "COMMENT", "TABLE orders", &[2]),
                entry(11, "TRIGGER", "users old t", &[3, 1]),
                entry(12, "COMMENT", "CONSTRAINT users_pkey ON users", &[7]),
                entry(20, "TYPE", "state", &[]),
            ],
        }
    }

    fn choose(table: &str) -> Result<PartEntries, Error> {
        let part = Filter { include_tables: vec![table.to_owned()], ..Filter::default() };
        PartEntries::choose(&archive(), &part, &BTreeSet::new())
    }

    #[test]
    fn a_table_brings_what_belongs_to_it_and_nothing_else() {
        let part = choose("app.orders").unwrap();
        assert_eq!((part.before, part.after), (vec![2, 4, 5, 6, 10], vec![8]));
        assert_eq!(part.keys.len(), 1, "its foreign key refers to a table that was not asked for");
        assert_eq!(part.keys[0].2, [("app".to_owned(), "users".to_owned())].into());
        assert_eq!(part.needs, [("type".to_owned(), "app".to_owned(), "state".to_owned())].into());
        let part = choose("app.users").unwrap();
        assert_eq!((part.before, part.after), (vec![1, 12], vec![7]), "not the trigger of \"users old\"");
        assert!(part.keys.is_empty());
    }

    #[test]
    fn what_matches_nothing_is_an_error() {
        assert!(choose("app.nothing").unwrap_err().what.contains("app.nothing"));
    }
}
