//! The scratch schema: where a restore happens until it is proven.
//!
//! Owns a schema named `<target>__new_<run>` on the target's server, with a table in it that says whose it is, and a lock by name that says that the run
//! lives. Promises that the target's own name is touched only by publishing; that schemas which a killed run left behind are found by their mark and dropped;
//! and that nothing without the mark is ever dropped. Refuses names that the server would not take.

use crate::catalog::Database;
use crate::connection::{Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::failure::{code, from_mysql};
use crate::quote::{ident, literal, qualified};
use crate::schema::plain_word;
use engine::{Error, Kind};

/// Longest name of a schema, in characters.
const LONGEST_NAME: usize = 64;
/// The table that marks a scratch schema.
pub(crate) const MARK: &str = "longshore_scratch";
/// What the scratch schemas of drills are named after.
pub(crate) const DRILL: &str = "longshore_drill";

/// A scratch schema.
pub(crate) struct Scratch {
    pub endpoint: Endpoint,
    /// The schema's name.
    pub name: String,
    target: String,
    run: String,
    made: bool,
}

impl Scratch {
    /// Claims the run. `target` is the name that it will be published under.
    pub async fn plan(session: &mut Session, endpoint: Endpoint, target: &str, run: &str) -> Result<Self, Error> {
        let name = format!("{target}__new_{run}");
        if name.chars().count() > LONGEST_NAME {
            let most = LONGEST_NAME - "__new_".len() - run.len();
            let what = format!("the name {target} is too long to restore beside it: at most {most} characters");
            return Err(Error::new(Kind::Config, what));
        }
        let row = session.one("claim the run", &format!("SELECT GET_LOCK({}, 0)", literal(&lock(run)))).await?;
        if row.number(0) != Some(1) {
            return Err(Error::new(Kind::Unavailable, format!("another restore with the run {run} is at work")));
        }
        Ok(Self { endpoint, name, target: target.to_owned(), run: run.to_owned(), made: false })
    }

    /// Makes the schema and marks it. Returns notes on what was tidied before.
    pub async fn create(&mut self, session: &mut Session, like: &Database) -> Result<Vec<String>, Error> {
        let notes = self.drop_leftovers(session).await?;
        // Noted first: a stop while the server is at it must find something to discard.
        self.made = true;
        if let Err(error) = create_schema(session, &self.name, like).await {
            self.made = error.kind != Kind::Exists;
            return Err(error);
        }
        let table = qualified(&self.name, MARK);
        let sql = format!(
            "CREATE TABLE {table} (run VARCHAR(64) NOT NULL PRIMARY KEY, target VARCHAR(64) NOT NULL) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        );
        session.run("mark the scratch database", &sql).await?;
        let sql = format!("INSERT INTO {table} VALUES ({}, {})", literal(&self.run), literal(&self.target));
        session.run("mark the scratch database", &sql).await?;
        Ok(notes)
    }

    /// Drops what this run made, if anything, over a session of its own: others may have died with whatever made us give up.
    pub async fn discard(&mut self) -> Result<(), Error> {
        if !self.made {
            return Ok(());
        }
        let mut fresh = connect(&self.endpoint, Purpose::Write).await?;
        fresh.run("drop the scratch database", "SET SESSION lock_wait_timeout = 60").await?;
        fresh.run(&format!("drop {}", self.name), &format!("DROP DATABASE IF EXISTS {}", ident(&self.name))).await?;
        self.made = false;
        Ok(())
    }

    /// Drops what killed runs for the same target left: marked as ours, and of a run that holds its lock no more.
    async fn drop_leftovers(&self, session: &mut Session) -> Result<Vec<String>, Error> {
        let prefix = format!("{}__new_", self.target);
        let sql = format!(
            "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = '{MARK}' AND LEFT(TABLE_SCHEMA, {}) = {}",
            prefix.chars().count(),
            literal(&prefix)
        );
        let mut notes = Vec::new();
        for row in session.rows("look for leftovers", &sql).await? {
            let name = row.text(0);
            let begins = name.get(..prefix.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(&prefix));
            if !begins || !self.is_left_over(session, &name).await? {
                continue;
            }
            session.run(&format!("drop {name}"), &format!("DROP DATABASE IF EXISTS {}", ident(&name))).await?;
            notes.push(format!("dropped {name}, which an earlier run left behind"));
        }
        Ok(notes)
    }

    async fn is_left_over(&self, session: &mut Session, name: &str) -> Result<bool, Error> {
        let sql = format!("SELECT run, target FROM {}", qualified(name, MARK));
        let Ok(rows) = session.rows("read a mark", &sql).await else { return Ok(false) };
        let [row] = rows.as_slice() else { return Ok(false) };
        let (run, target) = (row.text(0), row.text(1));
        if target != self.target || !name.eq_ignore_ascii_case(&format!("{target}__new_{run}")) || run == self.run {
            return Ok(false);
        }
        let sql = format!("SELECT IS_FREE_LOCK({})", literal(&lock(&run)));
        Ok(session.one("ask whether a run lives", &sql).await?.number(0) == Some(1))
    }
}

fn lock(run: &str) -> String {
    format!("longshore:{run}")
}

/// Makes a schema with the character set and collation of another.
pub(crate) async fn create_schema(session: &mut Session, name: &str, like: &Database) -> Result<(), Error> {
    let (charset, collation) = (plain_word(&like.charset)?, plain_word(&like.collation)?);
    let sql = format!("CREATE DATABASE {} CHARACTER SET {charset} COLLATE {collation}", ident(name));
    let made = session.run_bytes(sql.as_bytes()).await;
    if made.as_ref().is_err_and(|error| code(error) == Some(1007)) {
        return Err(Error::new(Kind::Exists, format!("there is a database {name} already")));
    }
    made.map_err(from_mysql(format!("make the database {name}")))
}
