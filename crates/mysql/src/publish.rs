//! Publishing: giving proven tables the target's name.
//!
//! Owns the last steps into a target that is absent or empty, and what those have in common with an exchange. Promises that tables appear under the target's name all at once, by one `RENAME TABLE` (atomic, and crash-safe from
//! MySQL 8.0 and MariaDB 10.6.1 on); that what cannot move (views, routines, triggers, events) was made once in the scratch schema before, and is made again
//! right after; and that when this fails, the target is empty again. Refuses to begin when somebody filled the target meanwhile.

use crate::catalog::Catalog;
use crate::connection::{Purpose, Session, connect};
use crate::objects::{self, Place};
use crate::preflight::{self, There};
use crate::quote::{ident, qualified, requalify};
use crate::schema::plain_word;
use crate::scratch::{self, Scratch};
use engine::{Error, Kind};

/// Tables that are to take a place, and everything that goes with them.
pub(crate) struct Incoming<'a> {
    pub catalog: &'a Catalog,
    /// Where they are now.
    pub schema: &'a str,
    pub no_owner: bool,
    /// Whether events come switched off: what runs by itself must not run twice.
    pub events_asleep: bool,
}

impl Incoming<'_> {
    /// Names of all that moves: tables and sequences.
    pub fn names(&self) -> Vec<&String> {
        let tables = self.catalog.tables.iter().map(|table| &table.name);
        tables.chain(self.catalog.sequences.iter().map(|sequence| &sequence.name)).collect()
    }

    /// Gives the schema that they come into the character set of theirs.
    pub async fn take_charset(&self, session: &mut Session, target: &str) -> Result<(), Error> {
        let like = &self.catalog.database;
        let (charset, collation) = (plain_word(&like.charset)?, plain_word(&like.collation)?);
        let sql = format!("ALTER DATABASE {} CHARACTER SET {charset} COLLATE {collation}", ident(target));
        session.run("give the database its character set", &sql).await
    }

    /// Everything that could not move, made where the tables are now. Returns notes.
    pub async fn finish(&self, session: &mut Session, target: &str) -> Result<Vec<String>, Error> {
        session.enter(target).await?;
        self.defaults(session, target).await?;
        let place = Place { from: &self.catalog.database, to: target, no_owner: self.no_owner };
        objects::routines(session, self.catalog, &place).await?;
        let mut notes = objects::views(session, self.catalog, &place).await?;
        objects::triggers(session, self.catalog, &place).await?;
        notes.extend(objects::events(session, self.catalog, &place, self.events_asleep).await?);
        if self.events_asleep && !self.catalog.events.is_empty() {
            notes.push("events came switched off, so that nothing runs twice: ALTER EVENT … ENABLE".to_owned());
        }
        Ok(notes)
    }

    /// A default that takes a value of a sequence names the sequence with its schema, and a rename does not change that.
    async fn defaults(&self, session: &mut Session, target: &str) -> Result<(), Error> {
        if self.catalog.sequences.is_empty() {
            return Ok(());
        }
        for table in &self.catalog.tables {
            for line in table.create.0.split(|byte| *byte == b'\n') {
                let Some((column, default)) = sequence_default(line) else { continue };
                let default = requalify(default.as_bytes(), &self.catalog.database.name, target);
                let sql = format!(
                    "ALTER TABLE {} ALTER COLUMN {column} SET DEFAULT ({})",
                    qualified(target, &table.name),
                    String::from_utf8_lossy(&default)
                );
                session.run(&format!("set a default of {}", table.stream()), &sql).await?;
            }
        }
        Ok(())
    }
}

/// What is published, and where.
pub(crate) struct Publication<'a> {
    pub incoming: Incoming<'a>,
    pub endpoint: &'a Endpoint,
}

impl Publication<'_> {
    /// Publishes. Returns notes.
    pub async fn run(&self, session: &mut Session) -> Result<Vec<String>, Error> {
        let there = preflight::look(session, self.target).await?;
        preflight::assert_free(&there, &self.scratch.endpoint.of_database(self.target))?;
        let like = &self.catalog.database;
        if there == There::Nothing {
            scratch::create_schema(session, self.target, like).await?;
        } else {
            let (charset, collation) = (plain_word(&like.charset)?, plain_word(&like.collation)?);
            let sql = format!("ALTER DATABASE {} CHARACTER SET {charset} COLLATE {collation}", ident(self.target));
            session.run("give the database its character set", &sql).await?;
        }
        match self.move_all(session).await {
            Ok(notes) => Ok(notes),
            Err(error) => Err(self.undo(there, error).await),
        }
    }

    async fn move_all(&self, session: &mut Session) -> Result<Vec<String>, Error> {
        objects::drop_triggers(session, self.catalog, &self.scratch.name).await?;
        self.rename(session).await?;
        session.enter(self.target).await?;
        self.defaults(session).await?;
        let place = Place { from: &self.catalog.database, to: self.target, no_owner: self.no_owner };
        objects::routines(session, self.catalog, &place).await?;
        let mut notes = objects::views(session, self.catalog, &place).await?;
        objects::triggers(session, self.catalog, &place).await?;
        notes.extend(objects::events(session, self.catalog, &place, false).await?);
        Ok(notes)
    }

    /// All tables and sequences in one statement.
    async fn rename(&self, session: &mut Session) -> Result<(), Error> {
        let tables = self.catalog.tables.iter().map(|table| &table.name);
        let names: Vec<&String> = tables.chain(self.catalog.sequences.iter().map(|sequence| &sequence.name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let pair =
            |name: &&String| format!("{} TO {}", qualified(&self.scratch.name, name), qualified(self.target, name));
        let sql = format!("RENAME TABLE {}", names.iter().map(pair).collect::<Vec<_>>().join(", "));
        session.run(&format!("give the restored tables to {}", self.target), &sql).await
    }

    /// Makes the target what it was: nothing, or empty.
    async fn undo(&self, there: There, error: Error) -> Error {
        let name = ident(self.target);
        let kept =
            |why: &str| format!("{}; what was made of {} until then stays there: {why}", error.what, self.target);
        let mut fresh = match connect(&self.scratch.endpoint, Purpose::Write).await {
            Ok(fresh) => fresh,
            Err(why) => return Error { what: kept(&why.what), ..error },
        };
        let mut statements = vec![format!("DROP DATABASE IF EXISTS {name}")];
        if there == There::Empty {
            let like = &self.catalog.database;
            statements
                .push(format!("CREATE DATABASE {name} CHARACTER SET {} COLLATE {}", like.charset, like.collation));
        }
        for sql in statements {
            if let Err(why) = fresh.run("undo", &sql).await {
                return Error { what: kept(&why.what), ..error };
            }
        }
        let kind = if error.kind == Kind::Changed { Kind::Config } else { error.kind };
        Error { kind, ..error }
    }
}

/// The column and the expression of a line of a table's definition, when the default asks a sequence.
fn sequence_default(line: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(line).ok()?.trim().trim_end_matches(',');
    let (column, rest) = text.strip_prefix('`')?.split_once('`')?;
    let at = rest
        .find(" DEFAULT nextval(")
        .or_else(|| rest.find(" DEFAULT lastval("))
        .or_else(|| rest.find(" DEFAULT (nextval("))?;
    let default = rest.get(at + " DEFAULT ".len()..)?;
    let mut depth = 0_usize;
    let mut quoted = false;
    for (at, c) in default.char_indices() {
        match c {
            '`' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some((ident(column), default.get(..=at)?.to_owned()));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_that_ask_a_sequence_are_found() {
        let line = b"  `id` bigint(20) NOT NULL DEFAULT nextval(`app`.`s (1)`) COMMENT 'x',";
        assert_eq!(sequence_default(line), Some(("`id`".to_owned(), "nextval(`app`.`s (1)`)".to_owned())));
        assert_eq!(sequence_default(b"  `id` int DEFAULT 5,"), None);
    }
}
