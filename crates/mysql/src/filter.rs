//! Filters: which tables of a schema are backed up.
//!
//! Owns turning patterns into names and a catalog into that of a part. A part by inclusion holds tables, their triggers, and the sequences and views among what was named; a part by exclusion holds
//! everything else. Promises that a pattern which matches nothing is an error, that views which read from what is left out are left out by name, that only what is read is locked, and that
//! foreign keys to what is left out are named. Refuses schemas: a database has none here.

use crate::catalog::Catalog;
use crate::quote::{ident, name_in, next_token};
use crate::schema::Listed;
use crate::source::named;
use crate::views::names_any;
use engine::{Choice, Error, Filter, Pattern};
use std::collections::BTreeSet;

/// Which tables are meant.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Choice);

impl Rules {
    /// Reads a filter for this database.
    ///
    /// # Errors
    /// [`Kind::Config`] for a pattern that cannot be meant, and for schemas.
    pub fn parse(filter: &Filter, database: &str) -> Result<Self, Error> {
        Ok(Self(Choice::parse(filter, database, "MySQL or MariaDB", Pattern::table)?))
    }

    /// The part of a backup that is to come back, and nothing else of it. Returns it with notes.
    ///
    /// # Errors
    /// [`Kind::Config`] for patterns that cannot be meant, or match nothing.
    pub fn part_of(catalog: &Catalog, part: &Filter) -> Result<(Catalog, Vec<String>), Error> {
        let rules = Self::parse(part, &catalog.database.name)?;
        let mut chosen = catalog.clone();
        rules.0.assert_meant(names(catalog).iter(), "only-table", "table")?;
        let notes = rules.apply(&mut chosen);
        Ok((chosen, notes))
    }

    /// Whether a table, view or sequence is part of it.
    pub fn keeps(&self, name: &str) -> bool {
        self.0.keeps(name)
    }

    /// The tables to hold still and to read.
    pub fn read(&self, listed: &[Listed]) -> Vec<Listed> {
        let read = |row: &&Listed| self.keeps(&row.name) && !self.0.empties(&row.name);
        listed.iter().filter(read).cloned().collect()
    }

    /// Fails when a pattern matches nothing, or nothing is left.
    pub fn assert_meant(&self, listed: &BTreeSet<String>) -> Result<(), Error> {
        self.0.assert_meant(listed.iter(), "include-table", "table")
    }

    /// Leaves out of a catalog what is not part of it. Returns what the operator should know.
    pub fn apply(&self, catalog: &mut Catalog) -> Vec<String> {
        if self.0.is_whole() {
            return Vec::new();
        }
        let schema = catalog.database.name.clone();
        let mut gone: BTreeSet<String> = names(catalog).into_iter().filter(|name| !self.keeps(name)).collect();
        let needed = sequences_of(catalog, &gone);
        gone.retain(|name| !needed.contains(name));
        // A view may call functions, which a part by inclusion has not.
        let functions = catalog.routines.iter().filter(|_| self.0.names_all()).map(|routine| routine.name.clone());
        let unseen: BTreeSet<String> = functions.collect();
        let mut blind = Vec::new();
        while let Some(view) = catalog
            .views
            .iter()
            .find(|view| {
                !gone.contains(&view.name) && (names_any(view, &schema, &gone) || names_any(view, &schema, &unseen))
            })
            .map(|v| v.name.clone())
        {
            blind.push(ident(&view));
            gone.insert(view);
        }
        catalog.tables.retain(|table| !gone.contains(&table.name));
        catalog.sequences.retain(|sequence| !gone.contains(&sequence.name));
        catalog.views.retain(|view| !gone.contains(&view.name));
        catalog.triggers.retain(|trigger| !trigger.of_table.as_ref().is_some_and(|table| gone.contains(table)));
        if self.0.names_all() {
            catalog.routines.clear();
            catalog.events.clear();
        }
        for table in &mut catalog.tables {
            table.has_rows &= !self.0.empties(&table.name);
        }
        self.notes(catalog, &blind, &gone)
    }

    fn notes(&self, catalog: &Catalog, blind: &[String], gone: &BTreeSet<String>) -> Vec<String> {
        let mut notes = vec![self.0.note()];
        if !blind.is_empty() {
            notes.push(format!("left out: views that read from what is left out: {}", named(blind)));
        }
        let keys: Vec<String> = catalog
            .tables
            .iter()
            .flat_map(|table| parents(&table.create.0).into_iter().map(move |parent| (table, parent)))
            .filter(|(_, parent)| gone.contains(parent))
            .map(|(table, parent)| format!("{} to {}", ident(&table.name), ident(&parent)))
            .collect();
        if !keys.is_empty() {
            notes.push(format!("foreign keys refer to tables that are left out: {}", named(&keys)));
        }
        notes
    }
}

/// Everything that has a table's name.
fn names(catalog: &Catalog) -> BTreeSet<String> {
    let tables = catalog.tables.iter().map(|table| table.name.clone());
    let sequences = catalog.sequences.iter().map(|sequence| sequence.name.clone());
    tables.chain(sequences).chain(catalog.views.iter().map(|view| view.name.clone())).collect()
}

/// Sequences among these that the defaults of tables ask which are kept.
fn sequences_of(catalog: &Catalog, gone: &BTreeSet<String>) -> BTreeSet<String> {
    let kept = catalog.tables.iter().filter(|table| !gone.contains(&table.name));
    let asked: Vec<String> = kept.flat_map(|table| after_word(&table.create.0, b"nextval(")).collect();
    let sequences = catalog.sequences.iter().map(|sequence| sequence.name.clone());
    sequences.filter(|name| gone.contains(name) && asked.contains(name)).collect()
}

/// The tables that a table's foreign keys refer to in its own schema.
fn parents(create: &[u8]) -> Vec<String> {
    after_word(create, b" REFERENCES ")
}

/// The names that follow a word; the last part of each.
fn after_word(text: &[u8], word: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for at in 0..text.len() {
        let Some(mut rest) = text.get(at..).and_then(|rest| rest.strip_prefix(word)) else { continue };
        let mut last = None;
        while let Some((token, after)) = next_token(rest) {
            let Some(name) = name_in(token) else { break };
            last = Some(String::from_utf8_lossy(&name).into_owned());
            match after.strip_prefix(b".") {
                Some(more) => rest = more,
                None => break,
            }
        }
        names.extend(last);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_stand() {
        let create = b"CREATE TABLE `c` (\n CONSTRAINT `k` FOREIGN KEY (`a`) REFERENCES `p 1` (`id`),\n KEY x REFERENCES `other`.`p2` (`id`))";
        assert_eq!(parents(create), ["p 1", "p2"]);
        assert_eq!(after_word(b"`id` bigint DEFAULT nextval(`app`.`s`)", b"nextval("), ["s"]);
    }
}
