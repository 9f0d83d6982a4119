//! Owns the odd database of the MariaDB and MySQL tests, as small named pieces, and what two schemas are compared by:
//! every definition in the server's own words, every table's rows as a digest.
//!
//! Promises that pieces stand alone (any selection can be made, in any order), that each is made in the same session
//! settings whatever the one before it set, and that nothing in what it says of a schema depends on the schema's name,
//! on the time, or on the order in which the server returns rows. Refuses to know what a backup should keep: callers
//! that expect a difference take it out themselves. All that reads changes the session's settings and default schema.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value};

use crate::servers::Flavour;

const SOURCES: [&str; 4] = [
    include_str!("sql/mysql/types.sql"),
    include_str!("sql/mysql/tables.sql"),
    include_str!("sql/mysql/code.sql"),
    include_str!("sql/mysql/mariadb.sql"),
];

/// What opens a piece: `-- piece: NAME`, or `-- piece: NAME [only: WORD ...]` where a word is the beginning of a
/// flavour's word: `mysql` is both of that family.
const HEAD: &str = "-- piece: ";

/// What ends a statement, at the end of a line. The bodies of routines hold single semicolons.
const END: &str = ";;\n";

/// The session that each piece begins in. Every setting that some piece changes is here, but for those that not every
/// server has: the piece puts them back itself.
const SESSION: [&str; 2] = [
    "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', \
     foreign_key_checks = 1, unique_checks = 1, timestamp = DEFAULT, sql_quote_show_create = 1",
];

/// A few objects that belong together, with their rows.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What is odd about it; unique among the pieces of a flavour.
    pub name: &'static str,
    /// One statement each, without its end. They name no schema.
    pub statements: Vec<String>,
}

/// The pieces that a server of this flavour can make.
pub fn fixture(flavour: Flavour) -> Vec<Piece> {
    let pieces = SOURCES.into_iter().flat_map(|source| source.split(HEAD).skip(1));
    pieces.filter_map(|piece| parse(piece, word(flavour))).collect()
}

/// The piece of this name.
///
/// # Panics
/// When the flavour has none.
pub fn piece(flavour: Flavour, name: &str) -> Piece {
    let found = fixture(flavour).into_iter().find(|piece| piece.name == name);
    found.unwrap_or_else(|| panic!("{flavour} has no piece called {name}"))
}

fn word(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MariaDb10 => "mariadb10",
        Flavour::MariaDb11 => "mariadb11",
        Flavour::MySql5 => "mysql5",
        Flavour::MySql9 => "mysql9",
    }
}

fn parse(piece: &'static str, word: &str) -> Option<Piece> {
    let (head, body) = piece.split_once('\n')?;
    let (name, only) = head.split_once(" [only: ").unwrap_or((head, ""));
    let mut words = only.trim_end_matches(']').split_whitespace().peekable();
    if words.peek().is_some() && !words.any(|known| word.starts_with(known)) {
        return None;
    }
    let statements = body.split(END).map(str::trim).filter(|statement| !statement.is_empty());
    Some(Piece { name, statements: statements.map(str::to_owned).collect() })
}

/// Makes pieces in a schema, and leaves the connection there with the settings that every piece begins with.
///
/// # Panics
/// When the server refuses a statement, saying of which piece.
pub async fn make(conn: &mut Conn, schema: &str, pieces: &[Piece]) {
    for piece in pieces {
        enter(conn, schema).await;
        for statement in &piece.statements {
            run(conn, piece.name, statement).await;
        }
    }
    enter(conn, schema).await;
}

/// Makes the schema the default one, which is what lets SHOW CREATE VIEW leave its name out, and settles the session.
async fn enter(conn: &mut Conn, schema: &str) {
    run(conn, "the schema", &format!("USE {}", quoted(schema))).await;
    for statement in SESSION {
        run(conn, "session settings", statement).await;
    }
}

async fn run(conn: &mut Conn, what: &str, statement: &str) {
    if let Err(error) = conn.query_drop(statement).await {
        panic!("{what}: {error}\n{statement:.400}");
    }
}

/// Every object of a schema by the server's own words: all columns of its SHOW CREATE, with modes, character sets and
/// AUTO_INCREMENT, without the time at which it was made. The keys are such as `table t`; the schema itself is `schema`.
/// Of a trigger also its place among those of the same moment, which its statement need not say. The schema's name is
/// replaced by `{schema}` wherever it stands between backticks.
///
/// # Panics
/// When the server refuses.
pub async fn definitions(conn: &mut Conn, schema: &str) -> BTreeMap<String, String> {
    enter(conn, schema).await;
    let mut found = BTreeMap::new();
    for (kind, name, extra) in objects(conn, schema).await {
        let place = if kind == "schema" { quoted(schema) } else { format!("{}.{}", quoted(schema), quoted(&name)) };
        let statement = match kind.as_str() {
            "schema" => format!("SHOW CREATE DATABASE {place}"),
            kind => format!("SHOW CREATE {} {place}", kind.to_uppercase()),
        };
        let rows = query(conn, &statement).await;
        let words: String = rows.iter().map(described).collect();
        let words = format!("{words}{extra}").replace(&quoted(schema), "`{schema}`");
        let key = if kind == "schema" { kind } else { format!("{kind} {name}") };
        found.insert(key, words);
    }
    found
}

/// Kind, name, and what SHOW CREATE leaves out, of everything in a schema.
async fn objects(conn: &mut Conn, schema: &str) -> Vec<(String, String, String)> {
    let list = format!(
        "SELECT 'schema', '', CONCAT('collation: ', default_collation_name) FROM information_schema.schemata \
           WHERE schema_name = '{schema}' \
         UNION ALL SELECT CASE table_type WHEN 'VIEW' THEN 'view' WHEN 'SEQUENCE' THEN 'sequence' ELSE 'table' END, \
           table_name, '' FROM information_schema.tables WHERE table_schema = '{schema}' \
         UNION ALL SELECT 'trigger', trigger_name, CONCAT('order: ', action_order) FROM information_schema.triggers \
           WHERE trigger_schema = '{schema}' \
         UNION ALL SELECT LOWER(routine_type), routine_name, '' FROM information_schema.routines \
           WHERE routine_schema = '{schema}' \
         UNION ALL SELECT 'event', event_name, '' FROM information_schema.events WHERE event_schema = '{schema}'"
    );
    let rows = query(conn, &list).await;
    rows.into_iter().map(texts).map(|[kind, name, extra]| (kind, name, extra)).collect()
}

/// `column: value` in lines. A schema's name is no definition of its: it has no backticks to be replaced by.
fn described(row: &Row) -> String {
    let columns = row.columns();
    let named =
        columns.iter().enumerate().filter(|(_, column)| !["Created", "Database"].contains(&&*column.name_str()));
    named.map(|(index, column)| format!("{}: {}\n", column.name_str(), text(row.as_ref(index)))).collect()
}

/// Of every table of a schema the number of its rows and a digest of them, whatever their order; of every sequence its
/// state. Views have no content. A table with history has all of it, with its times; a float all of its digits; a
/// choice of an enum its number and its word; a document of MySQL the type and the size that the server keeps it with.
///
/// # Panics
/// When the server refuses.
pub async fn content(conn: &mut Conn, schema: &str) -> BTreeMap<String, String> {
    enter(conn, schema).await;
    let mut found = BTreeMap::new();
    for (name, kind) in tables(conn, schema).await {
        if kind == "SEQUENCE" {
            let state = query(conn, &format!("SELECT * FROM {}.{}", quoted(schema), quoted(&name))).await;
            found.insert(format!("sequence {name}"), state.iter().map(described).collect());
            continue;
        }
        let select = select(conn, schema, &name, &kind).await;
        let folded = conn.query_fold(&select, (0_u64, 0_u64), |(count, sum), row: Row| {
            let mut hasher = DefaultHasher::new();
            written(row).hash(&mut hasher);
            (count + 1, sum.wrapping_add(hasher.finish()))
        });
        let (count, sum) = folded.await.unwrap_or_else(|error| panic!("rows of {name}: {error}\n{select}"));
        found.insert(format!("table {name}"), format!("{count} rows, digest {sum:016x}"));
    }
    found
}

/// The rows that `content` digests, one text each, sorted: for looking at two tables that differ.
///
/// # Panics
/// When there is no such table.
pub async fn rows(conn: &mut Conn, schema: &str, table: &str) -> Vec<String> {
    enter(conn, schema).await;
    let kind = tables(conn, schema).await.remove(table).unwrap_or_else(|| panic!("{schema} has no table {table}"));
    let select = select(conn, schema, table, &kind).await;
    let mut rows: Vec<String> = query(conn, &select).await.into_iter().map(written).collect();
    rows.sort();
    rows
}

/// The keys of two `definitions` or `content` whose values differ, or that only one of them has.
pub fn different(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter(|key| one.get(*key) != other.get(*key)).cloned().collect()
}

/// Names and types of everything with rows of its own.
async fn tables(conn: &mut Conn, schema: &str) -> BTreeMap<String, String> {
    let list = format!(
        "SELECT table_name, table_type FROM information_schema.tables \
         WHERE table_schema = '{schema}' AND table_type <> 'VIEW'"
    );
    let rows = query(conn, &list).await;
    rows.into_iter().map(texts).map(|[name, kind]| (name, kind)).collect()
}

/// Reads all rows with all columns, hidden ones too, so that nothing is rounded or converted on its way.
async fn select(conn: &mut Conn, schema: &str, table: &str, kind: &str) -> String {
    let literal = table.replace('\\', "\\\\").replace('\'', "''");
    let list = format!(
        "SELECT column_name, data_type FROM information_schema.columns \
         WHERE table_schema = '{schema}' AND table_name = '{literal}' ORDER BY ordinal_position"
    );
    let columns = query(conn, &list).await;
    let mut expressions: Vec<String> = columns.into_iter().map(|row| expression(texts(row))).collect();
    let mut history = "";
    if kind == "SYSTEM VERSIONED" {
        // Columns that the table does not declare are not listed, and have these names.
        let declared = "AND generation_expression = 'ROW START'";
        if query(conn, &list.replace("ORDER BY", &format!("{declared} ORDER BY"))).await.is_empty() {
            expressions.extend(["row_start".to_owned(), "row_end".to_owned()]);
        }
        history = "FOR SYSTEM_TIME ALL";
    }
    format!("SELECT {} FROM {}.{} {history}", expressions.join(", "), quoted(schema), quoted(table))
}

fn expression([column, kind]: [String; 2]) -> String {
    let column = quoted(&column);
    match kind.as_str() {
        "float" => format!("{column} * 1E0"),
        "bit" => format!("{column} + 0"),
        // The number tells the empty choice from none; the word, what SHOW CREATE cannot say of its members.
        "enum" | "set" => format!("{column} + 0, HEX({column})"),
        "json" => format!("JSON_TYPE({column}), JSON_STORAGE_SIZE({column}), HEX(CAST({column} AS CHAR))"),
        kind if kind.ends_with("int") || PLAIN.contains(&kind) => column,
        _ => format!("HEX({column})"),
    }
}

/// Types whose text is the value: HEX of a number is another number.
const PLAIN: [&str; 10] =
    ["decimal", "double", "year", "date", "time", "datetime", "timestamp", "uuid", "inet4", "inet6"];

fn written(row: Row) -> String {
    row.unwrap().iter().map(|value| format!("{}|", text(Some(value)))).collect()
}

fn texts<const N: usize>(row: Row) -> [String; N] {
    let texts: Vec<String> = row.unwrap().iter().map(|value| text(Some(value))).collect();
    texts.try_into().unwrap_or_else(|texts| panic!("{N} columns expected: {texts:?}"))
}

/// NULL and the word differ from each other and from the empty text.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("not UTF-8: {}", bytes.escape_ascii()),
        },
        Some(Value::NULL) => "(NULL)".to_owned(),
        other => panic!("a text row holds {other:?}"),
    }
}

async fn query(conn: &mut Conn, statement: &str) -> Vec<Row> {
    conn.query(statement).await.unwrap_or_else(|error| panic!("{error}\n{statement}"))
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
