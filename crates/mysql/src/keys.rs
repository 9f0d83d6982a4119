//! Foreign keys to tables that do not come with their own.
//!
//! Owns taking such keys out of the tables' statements and making them when the tables have their place. A key whose table is not there when its own is made would refer to the scratch schema for ever,
//! because a rename does not change that. Promises that it comes back as it was, or checked by the server where it refers to rows of a schema in use. Refuses keys to other schemas: they say
//! themselves where to look.

use crate::catalog::{Catalog, Table};
use crate::connection::Session;
use crate::parts::{Parts, after_word, begins, first_name, tokens};
use crate::quote::{ident, literal, qualified};
use crate::text::Text;
use engine::Error;
use std::collections::BTreeSet;

/// A foreign key that waits for its table to be in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LateKey {
    pub table: String,
    pub parent: String,
    /// `CONSTRAINT … FOREIGN KEY … REFERENCES …`
    pub clause: String,
}

/// Takes the keys to tables that are not there out of all statements.
pub(crate) fn take_out(catalog: &mut Catalog) -> Vec<LateKey> {
    let there: BTreeSet<String> = catalog.tables.iter().map(|table| table.name.clone()).collect();
    catalog.tables.iter_mut().flat_map(|table| take_out_of(table, &there)).collect()
}

fn take_out_of(table: &mut Table, there: &BTreeSet<String>) -> Vec<LateKey> {
    let Some(Parts { head, items, tail }) = Parts::of(&table.create.0) else { return Vec::new() };
    let (mut keys, mut staying) = (Vec::new(), Vec::new());
    for item in items {
        match key_to(&item).filter(|(parent, _)| !there.contains(parent)) {
            Some((parent, clause)) => keys.push(LateKey { table: table.name.clone(), parent, clause }),
            None => staying.push(item),
        }
    }
    if !keys.is_empty() {
        table.create = Text(Parts { head, items: staying, tail }.written());
    }
    keys
}

/// The table of its own schema that a foreign key refers to, and the key.
fn key_to(item: &[u8]) -> Option<(String, String)> {
    let after = after_word(item, "REFERENCES").filter(|_| begins(item, &["CONSTRAINT"]))?;
    let (name, rest) = tokens(after).next()?;
    if rest.first() == Some(&b'.') {
        return None;
    }
    Some((first_name(name)?, String::from_utf8(item.to_vec()).ok()?))
}

/// Makes the keys. `checked`: each by the server against the rows that are there, and those whose table is not there are left out, with a note; otherwise as they were.
pub(crate) async fn make(
    session: &mut Session,
    target: &str,
    keys: &[LateKey],
    checked: bool,
) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    for key in keys {
        if checked && !is_there(session, target, &key.parent).await? {
            let (table, parent) = (ident(&key.table), ident(&key.parent));
            notes.push(format!("a foreign key of {table} is left out: there is no table {parent}"));
            continue;
        }
        let what = format!("make the foreign key of {} to {}", ident(&key.table), ident(&key.parent));
        session.run(&what, &format!("SET SESSION foreign_key_checks = {}", u8::from(checked))).await?;
        let sql = format!("ALTER TABLE {} ADD {}", qualified(target, &key.table), key.clause);
        let made = session.run(&what, &sql).await;
        session.run(&what, "SET SESSION foreign_key_checks = 0").await?;
        made.map_err(|error| error.hint("rows that it refers to are not there; the target is as it was"))?;
    }
    Ok(notes)
}

async fn is_there(session: &mut Session, schema: &str, table: &str) -> Result<bool, Error> {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        literal(schema),
        literal(table)
    );
    Ok(session.one("look for a foreign key's table", &sql).await?.number(0) == Some(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn table(create: &str) -> Table {
        let json = r#"{"name": "c", "engine": "InnoDB", "create": "", "columns": [], "has_rows": true, "bytes": 1}"#;
        let table: Table = serde_json::from_str(json).unwrap();
        Table { create: Text(create.as_bytes().to_vec()), ..table }
    }

    #[test]
    fn keys_to_what_is_not_there_are_taken_out_whole() {
        let there: BTreeSet<String> = ["q".to_owned()].into();
        let create = "CREATE TABLE `c` (\n  `a` int COMMENT ' REFERENCES `p`',\n  KEY `a` (`a`),\n  CONSTRAINT `one` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON DELETE CASCADE,\n  CONSTRAINT `two` FOREIGN KEY (`a`) REFERENCES `q` (`id`),\n  CONSTRAINT `three` FOREIGN KEY (`a`) REFERENCES `p` (`id`)\n) ENGINE=InnoDB";
        let mut child = table(create);
        let keys = take_out_of(&mut child, &there);
        let clauses: Vec<&str> = keys.iter().map(|key| key.clause.as_str()).collect();
        assert_eq!(
            clauses,
            [
                "CONSTRAINT `one` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON DELETE CASCADE",
                "CONSTRAINT `three` FOREIGN KEY (`a`) REFERENCES `p` (`id`)"
            ]
        );
        let left = "CREATE TABLE `c` (\n  `a` int COMMENT ' REFERENCES `p`',\n  KEY `a` (`a`),\n  CONSTRAINT `two` FOREIGN KEY (`a`) REFERENCES `q` (`id`)\n) ENGINE=InnoDB";
        assert_eq!(child.create.shown(), left);
        let mut other = table(left);
        assert!(take_out_of(&mut other, &there).is_empty());
        assert_eq!(other.create.shown(), left);
        // What is in another schema is not ours to look for.
        let far =
            "CREATE TABLE `c` (\n  CONSTRAINT `one` FOREIGN KEY (`a`) REFERENCES `far`.`p` (`id`)\n) ENGINE=InnoDB";
        assert!(take_out_of(&mut table(far), &there).is_empty());
    }
}
