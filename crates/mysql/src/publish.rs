//! Publishing: giving proven tables the target's name.
//!
//! Owns the last steps into a target that is absent or empty, or has nothing of a part's names, and what they have in common with an exchange. Promises that tables appear under the target's name all at once, by one `RENAME TABLE` (atomic, and crash-safe from
//! MySQL 8.0 and MariaDB 10.6.1 on); that what cannot move (views, routines, triggers, events) was made once in the scratch schema before, and is made again
//! right after; and that when this fails, what was made is taken back, and nothing else is touched. Refuses to begin when somebody filled the target meanwhile.

use crate::catalog::Catalog;
use crate::connection::{Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::keys::{self, LateKey};
use crate::objects::{self, Place};
use crate::part;
use crate::preflight::{self, There};
use crate::quote::{ident, literal, qualified, requalify};
use crate::schema::plain_word;
use crate::scratch;
use engine::{Error, Kind};

/// Tables that are to take a place, and everything that goes with them.
pub(crate) struct Incoming<'a> {
    pub catalog: &'a Catalog,
    /// Where they are now.
    pub schema: &'a str,
    pub no_owner: bool,
    /// Whether events come switched off: what runs by itself must not run twice.
    pub events_asleep: bool,
    /// Foreign keys that wait for their tables to have their place.
    pub keys: &'a [LateKey],
    /// Whether the rows that they refer to are those of others.
    pub keys_checked: bool,
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
        let place = Place { catalog: self.catalog, to: target, no_owner: self.no_owner };
        let mut notes = keys::make(session, target, self.keys, self.keys_checked).await?;
        objects::routines(session, self.catalog, &place).await?;
        notes.extend(objects::views(session, self.catalog, &place).await?);
        objects::triggers(session, self.catalog, &place).await?;
        notes.extend(objects::events(session, self.catalog, &place, self.events_asleep).await?);
        if self.events_asleep && !self.catalog.events.is_empty() {
            notes.push(
                "events came switched off, so that nothing runs twice; ALTER EVENT … ENABLE switches one on".to_owned(),
            );
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
                let default = requalify(default.as_bytes(), &self.catalog.database.name, target, &|name| {
                    self.catalog.has_object(name)
                });
                let sql = format!(
                    "ALTER TABLE {} ALTER COLUMN {column} SET DEFAULT ({})",
                    qualified(target, &table.name),
                    String::from_utf8_lossy(&default)
                );
                session.run(&format!("set a default of {}", table.stream()), &sql).await?;
            }
            let what = format!("look at {}", table.stream());
            let sql = format!("SHOW CREATE TABLE {}", qualified(target, &table.name));
            if session.one(&what, &sql).await?.text(1).contains(&ident(self.schema)) {
                let what = format!("a default of {} asks a sequence in a way that cannot be corrected", table.stream());
                return Err(Error::new(Kind::Unsupported, what).hint("restore under the name that the database had"));
            }
        }
        Ok(())
    }
}

/// What is published into a target that holds nothing, or nothing of these names.
pub(crate) struct Publication<'a> {
    pub incoming: Incoming<'a>,
    /// The target.
    pub endpoint: &'a Endpoint,
    /// Whether it is a part, and the target keeps what it has.
    pub part: bool,
}

impl Publication<'_> {
    /// Publishes. Returns notes.
    pub async fn run(&self, session: &mut Session) -> Result<Vec<String>, Error> {
        let target = self.endpoint.database();
        let there = preflight::look(session, target).await?;
        if self.part {
            part::assert_names_free(session, target, self.incoming.catalog).await?;
        } else {
            preflight::assert_free(&there, self.endpoint)?;
            self.make_room(session, &there).await?;
        }
        if let Err(error) = self.move_tables(session).await {
            return Err(self.undo(&there, false, error).await);
        }
        match self.incoming.finish(session, target).await {
            Ok(notes) => Ok(notes),
            Err(error) => Err(self.undo(&there, true, error).await),
        }
    }

    async fn make_room(&self, session: &mut Session, there: &There) -> Result<(), Error> {
        let target = self.endpoint.database();
        if *there == There::Nothing {
            return scratch::create_schema(session, target, &self.incoming.catalog.database).await;
        }
        self.incoming.take_charset(session, target).await
    }

    async fn move_tables(&self, session: &mut Session) -> Result<(), Error> {
        objects::drop_triggers(session, self.incoming.catalog, self.incoming.schema).await?;
        self.rename(session).await
    }

    /// All tables and sequences in one statement. An answer that was lost on its way is asked for again: the server knows.
    async fn rename(&self, session: &mut Session) -> Result<(), Error> {
        let Some(sql) = self.renaming(self.incoming.schema, self.endpoint.database()) else { return Ok(()) };
        let Err(error) = session.run(&format!("give the restored tables to {}", self.endpoint.database()), &sql).await
        else {
            return Ok(());
        };
        if error.kind == Kind::Unavailable && self.is_renamed().await {
            *session = connect(self.endpoint, Purpose::Write).await?;
            return Ok(());
        }
        Err(error)
    }

    fn renaming(&self, from: &str, to: &str) -> Option<String> {
        let pair = |name: &&String| format!("{} TO {}", qualified(from, name), qualified(to, name));
        let names = self.incoming.names();
        let pairs: Vec<String> = names.iter().map(pair).collect();
        (!pairs.is_empty()).then(|| format!("RENAME TABLE {}", pairs.join(", ")))
    }

    async fn is_renamed(&self) -> bool {
        let Some(first) = self.incoming.names().first().map(|name| literal(name)) else { return false };
        let Ok(mut fresh) = connect(self.endpoint, Purpose::Look).await else { return false };
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {first}",
            literal(self.incoming.schema)
        );
        matches!(fresh.one("look what was renamed", &sql).await, Ok(row) if row.number(0) == Some(0))
    }

    /// Takes back what this run made in the target, and nothing else: somebody may have made something there since.
    async fn undo(&self, there: &There, renamed: bool, error: Error) -> Error {
        let kind = if error.kind == Kind::Changed { Kind::Config } else { error.kind };
        match self.take_back(there, renamed).await {
            Ok(()) => Error { kind, ..error },
            Err(why) => {
                let what = format!(
                    "{}; what was made of {} until then stays there: {}",
                    error.what,
                    self.endpoint.database(),
                    why.what
                );
                Error { kind, what, ..error }
            }
        }
    }

    async fn take_back(&self, there: &There, renamed: bool) -> Result<(), Error> {
        let mut fresh = connect(self.endpoint, Purpose::Write).await?;
        if renamed {
            objects::drop_triggers(&mut fresh, self.incoming.catalog, self.endpoint.database()).await?;
            objects::drop_programs(&mut fresh, self.incoming.catalog, self.endpoint.database()).await?;
            if let Some(sql) = self.renaming(self.endpoint.database(), self.incoming.schema) {
                fresh.run("take the restored tables back", &sql).await?;
            }
        }
        if *there == There::Nothing && preflight::look(&mut fresh, self.endpoint.database()).await? == There::Empty {
            fresh.run("drop the empty database", &format!("DROP DATABASE {}", ident(self.endpoint.database()))).await?;
        }
        Ok(())
    }
}

/// The column and the expression of a line of a table's definition, when the default asks a sequence.
fn sequence_default(line: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(line).ok()?.trim().trim_end_matches(',');
    let (column, rest) = leading_name(text)?;
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
                    return Some((ident(&column), default.get(..=at)?.to_owned()));
                }
            }
            _ => {}
        }
    }
    None
}

/// The name in backticks that a line begins with, and what follows.
fn leading_name(text: &str) -> Option<(String, &str)> {
    let mut at = 1;
    text.strip_prefix('`')?;
    loop {
        at += text.get(at..)?.find('`')?;
        if text.get(at + 1..)?.starts_with('`') {
            at += 2;
            continue;
        }
        return Some((text.get(1..at)?.replace("``", "`"), text.get(at + 1..)?));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_that_ask_a_sequence_are_found() {
        let line = b"  `id` bigint(20) NOT NULL DEFAULT nextval(`app`.`s (1)`) COMMENT 'x',";
        assert_eq!(sequence_default(line), Some(("`id`".to_owned(), "nextval(`app`.`s (1)`)".to_owned())));
        assert_eq!(sequence_default(b"  `id` int DEFAULT 5,"), None);
        assert_eq!(leading_name("`a``b` int"), Some(("a`b".to_owned(), " int")));
    }
}
