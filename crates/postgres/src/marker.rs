//! Marks: what a database says about itself to this program.
//!
//! Owns one line in a database's comment, `longshore {…}`: which environment it is (with the address and name that the
//! mark was made for), and whether a restore has replaced it. Promises that the rest of the comment stays its owner's,
//! and that a mark binds the place: a copy, a renamed database or another server is not marked. Refuses to read a mark from
//! anything but such a line. The comment, because an owner may write it; a setting of our own only a superuser may make.

use crate::failure::from_postgres;
use crate::quote::{ident, literal};
use engine::{Error, Mark};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

/// What the line begins with; JSON follows.
const BEGINNING: &str = "longshore ";
/// Everything the line says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Mark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
}

/// That a database was replaced: by which run, when, under which name it was known, and by which database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    pub run: String,
    pub target: String,
    /// By the server's clock, UTC.
    pub at: String,
    /// Oid of the database that has the name since.
    pub successor: u32,
}

impl Marks {
    fn says_something(&self) -> bool {
        self.target.is_some() || self.replaced.is_some()
    }

    /// The database's comment without our line, and what our line says.
    pub fn split(comment: Option<&str>) -> (Option<String>, Self) {
        let Some(comment) = comment else { return (None, Self::default()) };
        let parse = |line: &str| -> Option<Self> {
            let marks: Self = serde_json::from_str(line.strip_prefix(BEGINNING)?).ok()?;
            marks.says_something().then_some(marks)
        };
        let lines: Vec<&str> = comment.split('\n').collect();
        let Some((at, marks)) = lines.iter().enumerate().find_map(|(at, line)| Some((at, parse(line)?))) else {
            return (Some(comment.to_owned()), Self::default());
        };
        let others: Vec<&str> = lines.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| *line).collect();
        ((!others.is_empty()).then(|| others.join("\n")), marks)
    }

    /// A comment with our line as its last.
    pub fn join(&self, comment: Option<&str>) -> Option<String> {
        if !self.says_something() {
            return comment.map(str::to_owned);
        }
        // Three texts and a number: there is nothing in it that could not be JSON.
        let line = format!("{BEGINNING}{}", serde_json::to_string(self).unwrap_or_default());
        Some(comment.map_or_else(|| line.clone(), |theirs| format!("{theirs}\n{line}")))
    }

    /// The statement that makes this the comment of the database called `name`.
    pub fn statement(&self, name: &str, comment: Option<&str>) -> String {
        self.statement_on(&ident(name), comment)
    }

    /// The same, for a name that is quoted already.
    pub fn statement_on(&self, database: &str, comment: Option<&str>) -> String {
        let text = self.join(comment).map_or_else(|| "NULL".to_owned(), |text| literal(&text));
        format!("COMMENT ON DATABASE {database} IS {text}")
    }
}

/// A database that a restore has replaced.
#[derive(Debug, Clone)]
pub(crate) struct Aside {
    pub oid: u32,
    pub name: String,
    /// Whether it lets nobody in; who has opened it again uses it.
    pub closed: bool,
    pub replaced: Replaced,
}

/// The databases on this server that were replaced under this name, the newest first. Known by their mark alone.
pub(crate) async fn replaced(client: &Client, target: &str) -> Result<Vec<Aside>, Error> {
    let sql = "SELECT d.oid, d.datname::text, d.datallowconn, pg_catalog.shobj_description(d.oid, 'pg_database') \
         FROM pg_catalog.pg_database d WHERE d.datname <> $1 AND NOT d.datistemplate";
    let rows = client.query(sql, &[&target]).await.map_err(from_postgres("look for replaced databases"))?;
    let mut found: Vec<Aside> = Vec::new();
    for row in rows {
        let replaced = Marks::split(row.get(3)).1.replaced.filter(|replaced| replaced.target == target);
        let of = |replaced| Aside { oid: row.get(0), name: row.get(1), closed: !row.get::<_, bool>(2), replaced };
        found.extend(replaced.map(of));
    }
    found.sort_by(|a, b| b.replaced.at.cmp(&a.replaced.at));
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::endpoint::Endpoint;

    fn mark(name: &str) -> Marks {
        let endpoint = Endpoint::parse("postgres://u@DB.example.org:5433/app", None).unwrap();
        Marks { target: Some(Mark::new(name, &endpoint.spot())), replaced: None }
    }

    #[test]
    fn the_comment_around_a_mark_stays_as_it_was() {
        let marks = mark("staging");
        for theirs in [None, Some("owned by billing"), Some("two\nlines\n"), Some("longshore {not ours}"), Some("\n")] {
            let whole = marks.join(theirs).unwrap();
            assert_eq!(Marks::split(Some(&whole)), (theirs.map(str::to_owned), marks.clone()), "{whole}");
        }
        let below = format!("{}\nadded below", marks.join(Some("above")).unwrap());
        assert_eq!(Marks::split(Some(&below)), (Some("above\nadded below".to_owned()), marks));
    }

    #[test]
    fn a_mark_binds_the_server_and_knows_production_in_any_case() {
        let there = Endpoint::parse("postgres://other@db.EXAMPLE.org:5433/app", None).unwrap();
        let elsewhere = Endpoint::parse("postgres://u@db.example.org:5432/app", None).unwrap();
        let mark = mark("Prod").target.unwrap();
        assert!(there.spot().is_at(&mark.server) && !elsewhere.spot().is_at(&mark.server) && mark.is_protected());
    }

    #[test]
    fn what_is_not_ours_is_no_mark() {
        for comment in ["longshore {}", "longshore {\"target\":7}", "x longshore {\"target\":null}", "longshore"] {
            assert_eq!(Marks::split(Some(comment)), (Some(comment.to_owned()), Marks::default()));
        }
    }
}
