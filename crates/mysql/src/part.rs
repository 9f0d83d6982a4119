//! A part: certain tables of a backup, brought into a schema that stays.
//!
//! Owns what is different then: guards, the names that must be free, and foreign keys to tables that are not part of it, which the server makes and checks when the tables have their place. Promises that
//! nothing that is there is replaced, and that a key that the live rows contradict takes everything back. Refuses to overwrite, and databases that a restore may not go into.

use crate::catalog::{Catalog, Table};
use crate::connection::Session;
use crate::endpoint::Endpoint;
use crate::filter::Rules;
use crate::guard;
use crate::mark::Mark;
use crate::preflight::There;
use crate::quote::{ident, literal, name_in, next_token, qualified};
use crate::schema;
use crate::source::named;
use crate::text::Text;
use engine::{Error, Kind, TargetOptions};
use std::collections::BTreeSet;

/// A foreign key that waits for its table to be in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LateKey {
    pub table: String,
    pub parent: String,
    /// `CONSTRAINT … FOREIGN KEY … REFERENCES …`
    pub clause: String,
}

/// What of a backup is to come in.
pub(crate) struct Part {
    pub catalog: Catalog,
    pub keys: Vec<LateKey>,
    pub notes: Vec<String>,
}

/// Chooses the part, after every guard.
pub(crate) async fn choose(
    session: &mut Session,
    there: &There,
    endpoint: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<Part, Error> {
    if *there == There::Nothing {
        return Err(Error::new(Kind::NotFound, format!("there is no {endpoint}"))
            .hint("a part is restored into a database that is there; make one, or restore everything into a new one"));
    }
    guard::assert_not_source(session, endpoint, catalog, options).await?;
    let mark = Mark::read(session, endpoint.database()).await?;
    if let Some(mark) = &mark {
        guard::assert_not_protected(mark, endpoint)?;
    }
    if let There::Full(holds) = there {
        guard::assert_marked(mark.as_ref(), endpoint, holds)?;
    }
    let (mut part, gone, mut notes) = Rules::part_of(catalog, &options.part)?;
    // The schema stays what it is.
    let name = part.database.name.clone();
    part.database = catalog_database(schema::database(session, endpoint.database()).await?, name);
    assert_names_free(session, endpoint.database(), &part).await?;
    let mut keys = Vec::new();
    for table in &mut part.tables {
        keys.extend(take_keys_out(table, &gone));
    }
    // They are made, or named when they cannot be.
    notes.retain(|note| !note.starts_with("foreign keys refer"));
    Ok(Part { catalog: part, keys, notes })
}

fn catalog_database(live: crate::catalog::Database, name: String) -> crate::catalog::Database {
    crate::catalog::Database { name, ..live }
}

/// Fails when the schema has something of a name that the part brings.
pub(crate) async fn assert_names_free(session: &mut Session, target: &str, part: &Catalog) -> Result<(), Error> {
    let tables = part.tables.iter().map(|table| &table.name);
    let sequences = part.sequences.iter().map(|sequence| &sequence.name);
    let tables: Vec<&String> = tables.chain(sequences).chain(part.views.iter().map(|view| &view.name)).collect();
    let triggers: Vec<&String> = part.triggers.iter().map(|trigger| &trigger.name).collect();
    let mut taken = Vec::new();
    for (view, schema, column, names) in
        [("TABLES", "TABLE_SCHEMA", "TABLE_NAME", tables), ("TRIGGERS", "TRIGGER_SCHEMA", "TRIGGER_NAME", triggers)]
    {
        if names.is_empty() {
            continue;
        }
        let list: Vec<String> = names.iter().map(|name| literal(name)).collect();
        let sql = format!(
            "SELECT {column} FROM information_schema.{view} WHERE {schema} = {} AND {column} IN ({}) ORDER BY 1",
            literal(target),
            list.join(", ")
        );
        let rows = session.rows("look for names that are taken", &sql).await?;
        taken.extend(rows.iter().map(|row| ident(&row.text(0))));
    }
    if taken.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Exists, format!("{target} has these already: {}", named(&taken))).hint(
        "a part replaces nothing: rename or drop what is there, or restore into another database; nothing was changed",
    ))
}

/// Takes the keys to these tables out of a table's statement.
fn take_keys_out(table: &mut Table, gone: &BTreeSet<String>) -> Vec<LateKey> {
    let mut lines: Vec<Vec<u8>> = table.create.0.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let mut keys = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        match key_to(&lines[at]).filter(|(parent, _)| gone.contains(parent)) {
            Some((parent, clause)) => {
                keys.push(LateKey { table: table.name.clone(), parent, clause });
                let last = lines.remove(at).last() != Some(&b',');
                // What was the last but one is the last now.
                let before = at.checked_sub(1).filter(|_| last).and_then(|before| lines.get_mut(before));
                if let Some(before) = before.filter(|line| line.last() == Some(&b',')) {
                    before.pop();
                }
            }
            None => at += 1,
        }
    }
    table.create = Text(lines.join(&b'\n'));
    keys
}

/// The table that a line's foreign key refers to, and the line without its comma.
fn key_to(line: &[u8]) -> Option<(String, String)> {
    const WORD: &[u8] = b" REFERENCES ";
    let text = line.strip_prefix(b"  CONSTRAINT ")?;
    let at = text.windows(WORD.len()).position(|words| words == WORD)?;
    let (token, _) = next_token(text.get(at + WORD.len()..)?)?;
    let parent = String::from_utf8_lossy(&name_in(token)?).into_owned();
    let clause = String::from_utf8(line.to_vec()).ok()?;
    Some((parent, clause.trim().trim_end_matches(',').to_owned()))
}

/// Makes the keys, each checked by the server against the rows that are there. Returns notes on those whose table is not.
pub(crate) async fn make_keys(session: &mut Session, target: &str, keys: &[LateKey]) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    for key in keys {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            literal(target),
            literal(&key.parent)
        );
        if session.one("look for a foreign key's table", &sql).await?.number(0) != Some(1) {
            notes.push(format!(
                "a foreign key of {} is left out: there is no table {}",
                ident(&key.table),
                ident(&key.parent)
            ));
            continue;
        }
        let what = format!("make the foreign key of {} to {}", ident(&key.table), ident(&key.parent));
        session.run(&what, "SET SESSION foreign_key_checks = 1").await?;
        let made =
            session.run(&what, &format!("ALTER TABLE {} ADD {}", qualified(target, &key.table), key.clause)).await;
        session.run(&what, "SET SESSION foreign_key_checks = 0").await?;
        made.map_err(|error| error.hint("rows that it refers to are not there; the target is as it was"))?;
    }
    Ok(notes)
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
        let gone: BTreeSet<String> = ["p".to_owned()].into();
        let create = "CREATE TABLE `c` (\n  `a` int COMMENT ' REFERENCES `p`',\n  KEY `a` (`a`),\n  CONSTRAINT `one` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON DELETE CASCADE,\n  CONSTRAINT `two` FOREIGN KEY (`a`) REFERENCES `q` (`id`),\n  CONSTRAINT `three` FOREIGN KEY (`a`) REFERENCES `p` (`id`)\n) ENGINE=InnoDB";
        let mut child = table(create);
        let keys = take_keys_out(&mut child, &gone);
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
        assert!(take_keys_out(&mut other, &gone).is_empty());
        assert_eq!(other.create.shown(), left);
    }
}
