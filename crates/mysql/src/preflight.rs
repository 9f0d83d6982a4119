//! Preflight: whether a backup can come back at this server, asked before anything is made.
//!
//! Owns the questions about the server (product, version, character sets, collations, engines) and about what has the target's name. Promises that everything that stands
//! in the way is told at once. What only the making of a table shows is found in the scratch schema, where it does no harm.

use crate::catalog::{Catalog, Table};
use crate::connection::{Product, Server, Session};
use crate::endpoint::Endpoint;
use crate::quote::literal;
use crate::schema;
use crate::source::{SERVERS_OWN, named};
use engine::{Error, Kind, Mode, TargetOptions};
use std::collections::BTreeSet;

/// Fails for what this version does not do for these servers.
pub(crate) fn refuse_what_is_not_done(endpoint: &Endpoint, options: &TargetOptions) -> Result<(), Error> {
    let refused =
        |what: &str| Err(Error::new(Kind::Config, format!("{what}: not for MySQL and MariaDB in this version")));
    if options.role.is_some() {
        return refused("acting as a role");
    }
    if options.mode != Some(Mode::Drill) && SERVERS_OWN.contains(&endpoint.database()) {
        let what = format!("{endpoint} is the server's own database, which other programs rely on");
        return Err(Error::new(Kind::Config, what).hint("restore into a database of its own name"));
    }
    Ok(())
}

/// Fails with everything that stands in the way.
pub(crate) async fn check(session: &mut Session, catalog: &Catalog) -> Result<(), Error> {
    let mut obstacles = versions(catalog, &session.server);
    obstacles.extend(collations(session, catalog).await?);
    obstacles.extend(engines(session, catalog).await?);
    if obstacles.is_empty() {
        return Ok(());
    }
    let server = format!("{} {}", session.server.product.name(), session.server.text);
    let what = format!(
        "the backup of {} {} cannot come back at {server}: {}",
        catalog.product.name(),
        catalog.server_version,
        obstacles.join("; ")
    );
    Err(Error::new(Kind::Config, what)
        .hint("restore into a server of the backup's product, of the same or a newer version"))
}

fn versions(catalog: &Catalog, server: &Server) -> Vec<String> {
    let mut obstacles = Vec::new();
    let then = Server::parse(&catalog.server_version).map(|server| server.version).unwrap_or_default();
    if catalog.product == server.product && (server.version.0, server.version.1) < (then.0, then.1) {
        obstacles.push(format!("it is older than {}.{}", then.0, then.1));
    }
    if server.product == Product::Mysql && catalog.product == Product::Mariadb {
        obstacles.extend(only_in_mariadb(catalog));
    }
    let history = |table: &&Table| table.history.is_some();
    let ends_moved = then < (11, 5, 0) && server.is_mariadb() && server.version >= (11, 5, 0);
    if ends_moved && catalog.tables.iter().any(|table| history(&table)) {
        obstacles
            .push("tables with history of MariaDB before 11.5: what is current there would be past here".to_owned());
    }
    if server.is_mariadb() && catalog.product == Product::Mysql {
        let hidden = |table: &&Table| table.create.shown().contains("/*!8");
        let names: Vec<String> = catalog.tables.iter().filter(hidden).map(|table| table.name.clone()).collect();
        if !names.is_empty() {
            obstacles.push(format!("MariaDB passes over what MySQL 8 writes in comments of tables: {}", named(&names)));
        }
    }
    if server.is_mariadb() && server.version < (10, 11, 0) && catalog.tables.iter().any(|table| history(&table)) {
        obstacles.push("tables with history need MariaDB 10.11".to_owned());
    }
    obstacles
}

fn only_in_mariadb(catalog: &Catalog) -> Vec<String> {
    let mut obstacles = Vec::new();
    let sequences: Vec<String> = catalog.sequences.iter().map(|sequence| sequence.name.clone()).collect();
    if !sequences.is_empty() {
        obstacles.push(format!("MySQL has no sequences: {}", named(&sequences)));
    }
    let history: Vec<String> =
        catalog.tables.iter().filter(|table| table.history.is_some()).map(|table| table.name.clone()).collect();
    if !history.is_empty() {
        obstacles.push(format!("MySQL has no tables with history: {}", named(&history)));
    }
    let oracle: Vec<String> = catalog
        .routines
        .iter()
        .filter(|program| program.sql_mode.split(',').any(|mode| mode == "ORACLE"))
        .map(|program| program.name.clone())
        .collect();
    if !oracle.is_empty() {
        obstacles.push(format!("MySQL has no sql_mode ORACLE: {}", named(&oracle)));
    }
    obstacles
}

/// Collations that the statements name and the server does not know.
async fn collations(session: &mut Session, catalog: &Catalog) -> Result<Vec<String>, Error> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut questions = vec![
        "SELECT COLLATION_NAME FROM information_schema.COLLATIONS",
        "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS",
    ];
    if session.server.is_mariadb() && session.server.version >= (10, 10, 0) {
        questions.push("SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY");
    }
    for question in questions {
        for row in session.rows("read the collations", question).await? {
            known.insert(modern(&row.text(0)));
        }
    }
    let missing: Vec<String> = wanted(catalog).into_iter().filter(|name| !known.contains(&modern(name))).collect();
    Ok(if missing.is_empty() { Vec::new() } else { vec![format!("it does not know {}", named(&missing))] })
}

/// `utf8` is what newer servers call `utf8mb3`.
pub(crate) fn modern(name: &str) -> String {
    match name.strip_prefix("utf8") {
        Some(rest) if rest.is_empty() || rest.starts_with('_') => format!("utf8mb3{rest}"),
        _ => name.to_owned(),
    }
}

/// Every character set and collation that is named outside of strings, in definitions that servers write.
fn wanted(catalog: &Catalog) -> BTreeSet<String> {
    let mut names = BTreeSet::from([catalog.database.charset.clone(), catalog.database.collation.clone()]);
    for table in &catalog.tables {
        names.extend(named_in(&table.create.shown()));
    }
    for program in catalog.views.iter().chain(&catalog.routines).chain(&catalog.triggers).chain(&catalog.events) {
        names.extend([program.charset.clone(), program.collation.clone()]);
        names.extend(Some(program.database_collation.clone()).filter(|name| !name.is_empty()));
    }
    names
}

/// The words after `COLLATE`, `CHARSET` and `CHARACTER SET` in a `SHOW CREATE TABLE`; strings and quoted names are passed over.
fn named_in(create: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut words: Vec<&str> = Vec::new();
    let unquoted = without_quoted(create);
    words.extend(unquoted.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty()));
    for pair in words.windows(3) {
        let [a, b, c] = pair else { continue };
        match (*a, *b) {
            ("COLLATE" | "CHARSET", name) => drop(names.insert(name.to_owned())),
            ("CHARACTER", "SET") => drop(names.insert((*c).to_owned())),
            _ => {}
        }
    }
    if let [.., "COLLATE" | "CHARSET", last] = words.as_slice() {
        names.insert((*last).to_owned());
    }
    names
}

fn without_quoted(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if !matches!(c, '\'' | '`' | '"') {
            out.push(c);
            continue;
        }
        out.push(' ');
        while let Some(inner) = chars.next() {
            match inner {
                '\\' if c != '`' => drop(chars.next()),
                other if other == c => break,
                _ => {}
            }
        }
    }
    out
}

async fn engines(session: &mut Session, catalog: &Catalog) -> Result<Vec<String>, Error> {
    let sql = "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')";
    let known: BTreeSet<String> =
        session.rows("read the engines", sql).await?.iter().map(|row| row.text(0).to_ascii_lowercase()).collect();
    let missing: BTreeSet<String> = catalog
        .tables
        .iter()
        .map(|table| table.engine.clone())
        .filter(|engine| !known.contains(&engine.to_ascii_lowercase()))
        .collect();
    let missing: Vec<String> = missing.into_iter().collect();
    Ok(if missing.is_empty() { Vec::new() } else { vec![format!("it has no engine {}", named(&missing))] })
}

/// What has the target's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    /// A schema that holds nothing: it keeps its name and grants.
    Empty,
    /// Something in it, for people.
    Full(String),
}

/// Looks at the schema of that name.
pub(crate) async fn look(session: &mut Session, database: &str) -> Result<There, Error> {
    let name = literal(database);
    let sql = format!("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {name}");
    if session.maybe("look for the target", &sql).await?.is_none() {
        return Ok(There::Nothing);
    }
    let holders = [
        ("table", "TABLE_NAME", "TABLES", "TABLE_SCHEMA"),
        ("routine", "ROUTINE_NAME", "ROUTINES", "ROUTINE_SCHEMA"),
        ("event", "EVENT_NAME", "EVENTS", "EVENT_SCHEMA"),
    ];
    for (kind, column, view, of) in holders {
        let ours = schema::ours();
        let sql = format!(
            "SELECT {column} FROM information_schema.{view} WHERE {of} = {name} AND {column} NOT IN ({ours}) LIMIT 1"
        );
        if let Some(row) = session.maybe("look into the target", &sql).await? {
            return Ok(There::Full(format!("the {kind} {}", row.text(0))));
        }
    }
    Ok(There::Empty)
}

/// Fails when the schema holds something: this version takes nobody's place.
pub(crate) fn assert_free(there: &There, endpoint: &Endpoint) -> Result<(), Error> {
    let There::Full(what) = there else { return Ok(()) };
    Err(Error::new(Kind::Exists, format!("{endpoint} holds something: {what}"))
        .hint("restore under another name, or drop the database if nobody wants it; nothing was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_collations_are_found_outside_of_strings() {
        let create = "CREATE TABLE `COLLATE x` (\n `a` text CHARACTER SET latin1 COLLATE latin1_german2_ci COMMENT 'COLLATE no_such',\n \
             `b` char(1) DEFAULT 'it''s \\' CHARSET nor_this'\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8_bin";
        let names: Vec<String> = named_in(create).into_iter().collect();
        assert_eq!(names, ["latin1", "latin1_german2_ci", "utf8_bin", "utf8mb3"]);
        assert_eq!(modern("utf8_bin"), modern("utf8mb3_bin"));
        assert_eq!(modern("utf8mb4_bin"), "utf8mb4_bin");
    }
}
