//! What a user may do, by the server's own list of grants.
//!
//! Owns the reading of `SHOW GRANTS`, and what a backup needs. These servers hide what a user may not use: a table, view, routine, trigger or event
//! without a grant is simply not in any list. So a backup asks first whether the user would see everything. Promises
//! that a refusal prints the statements that help. Trusts the list only to say yes: whatever is done is still tried.

use crate::accounts::Name;
use crate::connection::Session;
use crate::endpoint::Endpoint;
use crate::quote::ident;
use engine::{Error, Kind};
use std::collections::BTreeSet;

/// The grants of a session's user, with those of its active roles.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    granted: Vec<Grant>,
    revoked: Vec<Grant>,
    /// The user as grants name it: `'ann'@'%'`.
    pub account: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    privileges: BTreeSet<String>,
    schema: Pattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Everything,
    /// A schema's name, where `_` and `%` stand for others unless escaped.
    Schema(String),
    /// One table of a schema.
    Table(String, String),
}

impl Grants {
    /// Asks the server.
    pub async fn read(session: &mut Session) -> Result<Self, Error> {
        let account = session.one("read the user", "SELECT CURRENT_USER()").await?.text(0);
        let mut sql = "SHOW GRANTS".to_owned();
        if session.server.is_mysql(8, 0, 0) {
            let roles = session.one("read the active roles", "SELECT CURRENT_ROLE()").await?.text(0);
            if roles != "NONE" && !roles.is_empty() {
                sql = format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}");
            }
        }
        let rows = session.rows("read the grants", &sql).await?;
        let lines: Vec<String> = rows.iter().map(|row| row.text(0)).collect();
        Ok(Self { account: Name::plain(&account).to_string(), ..Self::parse(&lines) })
    }

    fn parse(lines: &[String]) -> Self {
        let mut grants = Self::default();
        for line in lines {
            if let Some(grant) = line.strip_prefix("GRANT ").and_then(parse_grant) {
                grants.granted.push(grant);
            } else if let Some(grant) = line.strip_prefix("REVOKE ").and_then(parse_grant) {
                grants.revoked.push(grant);
            }
        }
        grants
    }

    /// Whether this is granted everywhere.
    pub fn global(&self, privilege: &str) -> bool {
        self.granted.iter().any(|grant| grant.schema == Pattern::Everything && grant.has(privilege))
    }

    /// Whether this is granted on all of a schema, and not taken back there.
    pub fn on(&self, schema: &str, privilege: &str) -> bool {
        let taken_back = self.revoked.iter().any(|grant| grant.schema.matches(schema) && grant.has(privilege));
        if self.global(privilege) && !taken_back {
            return true;
        }
        // Of several patterns that match, the server takes one: the most exact, or whichever comes first. What all of them grant is granted.
        let matching: Vec<&Grant> = self
            .granted
            .iter()
            .filter(|grant| grant.schema != Pattern::Everything && grant.schema.matches(schema))
            .collect();
        let exact: Vec<&Grant> = matching.iter().copied().filter(|grant| grant.schema.is_exactly(schema)).collect();
        if !exact.is_empty() {
            return exact.iter().any(|grant| grant.has(privilege));
        }
        let mut patterns: Vec<&Pattern> = matching.iter().map(|grant| &grant.schema).collect();
        patterns.dedup();
        let grants =
            |pattern: &&Pattern| matching.iter().any(|grant| grant.schema == **pattern && grant.has(privilege));
        !patterns.is_empty() && patterns.iter().all(grants)
    }

    /// Whether this is granted on one table, by itself or with more.
    pub fn on_table(&self, schema: &str, table: &str, privilege: &str) -> bool {
        let exactly = Pattern::Table(schema.to_owned(), table.to_owned());
        self.on(schema, privilege) || self.granted.iter().any(|grant| grant.schema == exactly && grant.has(privilege))
    }
}

impl Grant {
    fn has(&self, privilege: &str) -> bool {
        self.privileges.contains(privilege) || (self.privileges.contains("ALL PRIVILEGES") && privilege != "USAGE")
    }
}

impl Pattern {
    fn matches(&self, schema: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Schema(pattern) => like(pattern.as_bytes(), schema.as_bytes()),
            Self::Table(..) => false,
        }
    }
}

impl Pattern {
    /// Whether it is that schema's name, and no pattern.
    fn is_exactly(&self, schema: &str) -> bool {
        let Self::Schema(pattern) = self else { return false };
        let mut plain = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' | '_' if pattern != schema => return false,
                '\\' => plain.extend(chars.next()),
                other => plain.push(other),
            }
        }
        plain == schema
    }
}

/// SQL's LIKE with backslashes, as grants on schemas have it.
pub(crate) fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'%', rest)), _) => like(rest, text) || text.split_first().is_some_and(|(_, text)| like(pattern, text)),
        (Some((b'_', rest)), Some((_, text))) => like(rest, text),
        (Some((b'\\', rest)), Some((c, text))) => {
            rest.split_first().is_some_and(|(p, rest)| p == c && like(rest, text))
        }
        (Some((p, rest)), Some((c, text))) => p == c && like(rest, text),
        _ => false,
    }
}

/// `SELECT, LOCK TABLES ON `app`.* TO …`; `None` for roles, proxies and routines.
fn parse_grant(line: &str) -> Option<Grant> {
    let (privileges, rest) = line.split_once(" ON ")?;
    // Grants on single columns are grants on less than a table.
    let privileges =
        privileges.split(", ").filter(|word| !word.contains(['(', ')'])).map(|word| word.trim().to_owned()).collect();
    let (schema, rest) = name(rest)?;
    let (table, _) = name(rest.strip_prefix('.')?)?;
    let schema = match (schema.as_str(), table.as_str()) {
        ("*", "*") => Pattern::Everything,
        (_, "*") => Pattern::Schema(schema),
        _ => Pattern::Table(schema, table),
    };
    Some(Grant { privileges, schema })
}

/// A name in backticks, or a star; and what follows.
fn name(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some(("*".to_owned(), rest));
    }
    let inner = text.strip_prefix('`')?;
    let mut out = String::new();
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '`' {
            out.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == '`') {
            chars.next();
            out.push('`');
        } else {
            return Some((out, inner.get(at + 1..)?));
        }
    }
    None
}

/// What a backup of a schema lacks, as statements that grant it.
pub(crate) fn lacking(grants: &Grants, session: &Session, endpoint: &Endpoint) -> Vec<String> {
    let schema = endpoint.database();
    let to = format!("TO {}", grants.account);
    let on_schema: Vec<&str> = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"]
        .into_iter()
        .filter(|privilege| !grants.on(schema, privilege))
        .collect();
    let mut statements = Vec::new();
    if !on_schema.is_empty() {
        statements.push(format!("GRANT {} ON {}.* {to}", on_schema.join(", "), ident(schema)));
    }
    statements.extend(routines(grants, session).map(|grant| format!("GRANT {grant} {to}")));
    statements
}

/// Without one of these nobody can tell a schema without routines from one whose routines are hidden.
fn routines(grants: &Grants, session: &Session) -> Option<&'static str> {
    let server = &session.server;
    if grants.global("SELECT") {
        return None;
    }
    if server.is_mysql(8, 0, 20) {
        return (!grants.global("SHOW_ROUTINE")).then_some("SHOW_ROUTINE ON *.*");
    }
    if server.is_mysql(8, 0, 0) {
        return Some("SELECT ON *.*");
    }
    (!grants.on_table("mysql", "proc", "SELECT")).then_some("SELECT ON `mysql`.`proc`")
}

/// Fails unless the user sees everything that the schema holds.
pub(crate) async fn assert_sees_all(session: &mut Session, endpoint: &Endpoint) -> Result<Grants, Error> {
    let grants = Grants::read(session).await?;
    let missing = lacking(&grants, session, endpoint);
    if missing.is_empty() {
        return Ok(grants);
    }
    let what = format!(
        "{} may not see everything in {endpoint}: what is hidden would be missing from the backup",
        grants.account
    );
    Err(Error::new(Kind::Refused, what).hint(format!("as an administrator: {};", missing.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        Grants::parse(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn grants_count_where_they_are_made() {
        let some = grants(&[
            "GRANT USAGE ON *.* TO `ann`@`%` IDENTIFIED BY PASSWORD '*0'",
            "GRANT SELECT, LOCK TABLES, SHOW VIEW ON `app\\_%`.* TO `ann`@`%`",
            "GRANT SELECT, INSERT (`a`) ON `mysql`.`proc` TO `ann`@`%`",
            "GRANT `reader`@`%` TO `ann`@`%`",
        ]);
        assert!(some.on("app_1", "LOCK TABLES") && !some.on("apps", "SELECT") && !some.global("SELECT"));
        assert!(some.on_table("mysql", "proc", "SELECT") && !some.on("mysql", "SELECT"));
        assert!(!some.on_table("mysql", "proc", "INSERT"));
        let all = grants(&["GRANT ALL PRIVILEGES ON *.* TO 'root'@'localhost' WITH GRANT OPTION"]);
        assert!(all.global("RELOAD") && all.on("x", "SELECT"));
    }

    #[test]
    fn what_was_taken_back_counts_unless_it_was_given_again() {
        let some = grants(&["GRANT SELECT, TRIGGER ON *.* TO `ann`@`%`", "REVOKE SELECT ON `secret`.* FROM `ann`@`%`"]);
        assert!(some.on("app", "SELECT") && !some.on("secret", "SELECT") && some.on("secret", "TRIGGER"));
    }

    #[test]
    fn the_most_exact_grant_counts_and_hides_the_others() {
        let some =
            grants(&["GRANT SELECT, TRIGGER ON `shop\\_%`.* TO `a`@`%`", "GRANT SELECT ON `shop\\_eu`.* TO `a`@`%`"]);
        assert!(some.on("shop_eu", "SELECT") && !some.on("shop_eu", "TRIGGER") && some.on("shop_us", "TRIGGER"));
        let two = grants(&["GRANT SELECT, TRIGGER ON `shop%`.* TO `a`@`%`", "GRANT SELECT ON `%eu`.* TO `a`@`%`"]);
        assert!(two.on("shop_eu", "SELECT") && !two.on("shop_eu", "TRIGGER"));
    }

    #[test]
    fn odd_names_are_read() {
        let some = grants(&["GRANT SELECT ON `a``b ON c`.* TO `x`@`%`"]);
        assert!(!some.on("other", "SELECT"));
    }
}
