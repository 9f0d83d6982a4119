//! Reading the catalog: asking a server for everything a schema holds.
//!
//! Owns the questions. Promises that an object which cannot be read fails the backup by its name, and that no object of a kind unknown here is
//! left out in silence. The server writes the statements; nothing of them is changed.

use crate::catalog::{Catalog, Database, Key, Leading, Moment, Program, ProgramKind, Sequence, Table, VERSION};
use crate::columns::{Described, describe};
use crate::connection::{Record, Session};
use crate::engines;
use crate::mark;
use crate::quote::{ident, literal, qualified};
use crate::replaced;
use crate::scratch;
use crate::text::Text;
use crate::views;
use engine::{Error, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// Reads everything but the moment.
pub(crate) async fn read(session: &mut Session, schema: &str, moment: Moment) -> Result<Catalog, Error> {
    // No schema is entered: a view would be shown without the names of schemas, and one of a table's could be taken for one.
    let database = database(session, schema).await?;
    let listed = list(session, schema).await?;
    let mut catalog = Catalog {
        version: VERSION,
        product: session.server.product,
        server_version: session.server.text.clone(),
        database,
        moment,
        tables: Vec::new(),
        sequences: Vec::new(),
        views: Vec::new(),
        routines: routines(session, schema).await?,
        triggers: triggers(session, schema).await?,
        events: events(session, schema).await?,
    };
    catalog.tables = tables(session, schema, &listed).await?;
    for row in &listed {
        match row.kind.as_str() {
            "VIEW" => catalog.views.push(program(session, schema, ProgramKind::View, &row.name).await?),
            "SEQUENCE" => catalog.sequences.push(sequence(session, schema, &row.name).await?),
            _ => {}
        }
    }
    catalog.views = views::in_order(catalog.views, schema);
    Ok(catalog)
}

/// The schema's own properties; whether it is there at all.
pub(crate) async fn database(session: &mut Session, schema: &str) -> Result<Database, Error> {
    let sql = format!(
        "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA \
         WHERE SCHEMA_NAME = {}",
        literal(schema)
    );
    let row = session.maybe("read the schema", &sql).await?;
    let row = row.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("there is no database {schema}, or this user may not see it"))
            .hint("check the database's name in the URL, and the user's grants")
    })?;
    Ok(Database { name: row.text(0), charset: row.text(1), collation: row.text(2) })
}

/// A table, view or sequence of the server's list.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub name: String,
    pub kind: String,
    pub engine: Option<String>,
    pub bytes: u64,
    pub comment: String,
}

/// Tables of ours that stand beside others: no backup has them.
const OURS: [&str; 3] = [mark::TABLE, scratch::MARK, replaced::TABLE];

/// Their names, as values.
pub(crate) fn ours() -> String {
    OURS.map(|name| format!("'{name}'")).join(", ")
}

/// Everything that has a table's name, but for ours.
pub(crate) async fn list(session: &mut Session, schema: &str) -> Result<Vec<Listed>, Error> {
    let sql = format!(
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, DATA_LENGTH, TABLE_COMMENT FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = {} AND TABLE_TYPE <> 'TEMPORARY' AND TABLE_NAME NOT IN ({}) ORDER BY TABLE_NAME",
        literal(schema),
        ours()
    );
    let rows = session.rows("list the tables", &sql).await?;
    let listed = |row: &Record| Listed {
        name: row.text(0),
        kind: row.text(1),
        engine: row.maybe(2),
        bytes: row.number(3).unwrap_or_default(),
        comment: row.text(4),
    };
    Ok(rows.iter().map(listed).collect())
}

async fn tables(session: &mut Session, schema: &str, listed: &[Listed]) -> Result<Vec<Table>, Error> {
    let mut columns: BTreeMap<String, Vec<Described>> = BTreeMap::new();
    for described in describe(session, schema).await? {
        columns.entry(described.table.clone()).or_default().push(described);
    }
    let keys = keys(session, schema, &columns).await?;
    let made = made(session, schema).await?;
    let mut tables = Vec::new();
    for row in listed {
        match row.kind.as_str() {
            "BASE TABLE" | "SYSTEM VERSIONED" => {
                let columns = columns.remove(&row.name).unwrap_or_default();
                let table = table(session, schema, row, columns, keys.get(&row.name).cloned()).await?;
                tables.push(Table { made: made.get(&row.name).cloned().unwrap_or_default(), ..table });
            }
            "VIEW" | "SEQUENCE" => {}
            other => {
                let what = format!("{} is a {other}, which this version cannot carry", ident(&row.name));
                return Err(Error::new(Kind::Unsupported, what));
            }
        }
    }
    Ok(tables)
}

async fn table(
    session: &mut Session,
    schema: &str,
    row: &Listed,
    columns: Vec<Described>,
    key: Option<Key>,
) -> Result<Table, Error> {
    let name = row.name.clone();
    let Some(engine) = row.engine.clone() else {
        let what = format!("table {} cannot be opened at the server: {}", ident(&name), row.comment);
        return Err(Error::new(Kind::Data, what).hint("repair or drop it; no backup was made"));
    };
    let what = format!("read the definition of {}", ident(&name));
    let sql = format!("SHOW CREATE TABLE {}", qualified(schema, &name));
    let create = session.one(&what, &sql).await?.bytes(1).unwrap_or_default().to_vec();
    let create = Text(create);
    let mut history = None;
    if row.kind == "SYSTEM VERSIONED" {
        history = Some(history_of(session, &name, &columns)?);
    }
    if columns.is_empty() {
        let what = format!("the columns of {} cannot be seen", ident(&name));
        return Err(Error::new(Kind::Refused, what).hint("grant SELECT on the whole database"));
    }
    let collations =
        columns.iter().filter_map(|described| Some((described.column.name.clone(), described.collation.clone()?)));
    let collations = collations.collect();
    let own = |described: &Described| !described.generated && !described.history;
    Ok(Table {
        has_rows: engines::has_rows(&engine),
        key: key.filter(|_| engine == "InnoDB"),
        engine,
        create,
        collations,
        columns: columns.iter().filter(|described| own(described)).map(|described| described.column.clone()).collect(),
        history,
        bytes: row.bytes,
        made: String::new(),
        name,
    })
}

/// The two columns that say when a row was current. Where the table does not declare them they are there all the same.
fn history_of(session: &Session, name: &str, columns: &[Described]) -> Result<(String, String), Error> {
    let refused = |what: String| Error::new(Kind::Unsupported, what);
    if session.server.version < (10, 11, 0) {
        let what =
            format!("{} keeps its history, which MariaDB before 10.11 does not let anybody restore", ident(name));
        return Err(refused(what));
    }
    let declared: Vec<&Described> = columns.iter().filter(|described| described.history).collect();
    match declared.as_slice() {
        [] => Ok(("row_start".to_owned(), "row_end".to_owned())),
        [from, to] if from.declared.starts_with("timestamp") => Ok((from.column.name.clone(), to.column.name.clone())),
        _ => Err(refused(format!(
            "{} keeps its history by transaction numbers, which mean nothing at another server",
            ident(name)
        ))),
    }
}

/// When each table's partitions were made, or the table, where it has none.
async fn made(session: &mut Session, schema: &str) -> Result<BTreeMap<String, String>, Error> {
    let sql = format!(
        "SELECT TABLE_NAME, PARTITION_NAME, SUBPARTITION_NAME, CREATE_TIME FROM information_schema.PARTITIONS \
         WHERE TABLE_SCHEMA = {} ORDER BY 1, 2, 3",
        literal(schema)
    );
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    for row in session.rows("read when tables were made", &sql).await? {
        let one = format!("{} {} {};", row.text(1), row.text(2), row.text(3));
        made.entry(row.text(0)).or_default().push_str(&one);
    }
    Ok(made)
}

/// Primary keys without prefixes, ascending, that the optimizer may use.
async fn keys(
    session: &mut Session,
    schema: &str,
    columns: &BTreeMap<String, Vec<Described>>,
) -> Result<BTreeMap<String, Key>, Error> {
    let sql = format!(
        "SELECT TABLE_NAME, COLUMN_NAME, SUB_PART, COLLATION FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = {} AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX",
        literal(schema)
    );
    let mut keys: BTreeMap<String, Key> = BTreeMap::new();
    let mut odd = BTreeSet::new();
    for row in session.rows("read the keys", &sql).await? {
        let (table, column) = (row.text(0), row.text(1));
        // MySQL 5 may say nothing of the order where it is ascending.
        if row.maybe(2).is_some() || row.text(3) == "D" {
            odd.insert(table.clone());
        }
        let described =
            columns.get(&table).and_then(|all| all.iter().find(|described| described.column.name == column));
        let integer = described.is_some_and(|described| is_integer(&described.declared));
        let leading = described.map(|described| leading(&described.declared)).unwrap_or_default();
        keys.entry(table).or_insert_with(|| Key { columns: Vec::new(), integer, leading }).columns.push(column);
    }
    keys.retain(|table, _| !odd.contains(table));
    Ok(keys)
}

fn is_integer(declared: &str) -> bool {
    ["tinyint", "smallint", "mediumint", "int", "bigint"]
        .iter()
        .any(|kind| declared.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', ' '])))
}

fn leading(declared: &str) -> Leading {
    let kind = declared.split('(').next().unwrap_or_default();
    match kind {
        "char" | "varchar" => Leading::Text,
        "binary" | "varbinary" => Leading::Bytes,
        _ => Leading::Other,
    }
}

async fn sequence(session: &mut Session, schema: &str, name: &str) -> Result<Sequence, Error> {
    let what = format!("read the sequence {}", ident(name));
    let row = session.one(&what, &format!("SHOW CREATE SEQUENCE {}", qualified(schema, name))).await?;
    let create = Text(row.bytes(1).unwrap_or_default().to_vec());
    let sql = format!("SELECT next_not_cached_value, cycle_count FROM {}", qualified(schema, name));
    let row = session.one(&what, &sql).await?;
    Ok(Sequence { name: name.to_owned(), create, next: row.text(0), cycles: row.text(1) })
}

async fn routines(session: &mut Session, schema: &str) -> Result<Vec<Program>, Error> {
    let sql = format!(
        "SELECT ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_COMMENT FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {} ORDER BY ROUTINE_TYPE, ROUTINE_NAME",
        literal(schema)
    );
    let mut programs = Vec::new();
    for row in session.rows("list the routines", &sql).await? {
        let (name, kind) = (row.text(0), row.text(1));
        let kind = match kind.as_str() {
            "FUNCTION" => ProgramKind::Function,
            "PROCEDURE" => ProgramKind::Procedure,
            "PACKAGE" => ProgramKind::Package,
            "PACKAGE BODY" => ProgramKind::PackageBody,
            other => {
                let what = format!("{} is a {other}, which this version cannot carry", ident(&name));
                return Err(Error::new(Kind::Unsupported, what));
            }
        };
        let comment = Some(row.text(2)).filter(|text| !text.is_ascii() || text.contains(['\\', '\n', '\r', '\0']));
        programs.push(Program { comment, ..program(session, schema, kind, &name).await? });
    }
    Ok(programs)
}

async fn triggers(session: &mut Session, schema: &str) -> Result<Vec<Program>, Error> {
    let sql = format!(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {} \
         ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER, TRIGGER_NAME",
        literal(schema)
    );
    programs(session, schema, ProgramKind::Trigger, &sql).await
}

async fn events(session: &mut Session, schema: &str) -> Result<Vec<Program>, Error> {
    let sql = format!(
        "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {} ORDER BY EVENT_NAME",
        literal(schema)
    );
    programs(session, schema, ProgramKind::Event, &sql).await
}

async fn programs(session: &mut Session, schema: &str, kind: ProgramKind, sql: &str) -> Result<Vec<Program>, Error> {
    let names = session.rows(&format!("list every {}", kind.sql().to_lowercase()), sql).await?;
    let mut programs = Vec::new();
    for row in names {
        let of_table = row.maybe(1);
        programs.push(Program { of_table, ..program(session, schema, kind, &row.text(0)).await? });
    }
    Ok(programs)
}

/// Where each kind's answer has sql_mode, statement, character set and the rest.
struct Places {
    sql_mode: Option<usize>,
    create: usize,
    charset: usize,
    time_zone: Option<usize>,
    database_collation: Option<usize>,
}

fn places(kind: ProgramKind) -> Places {
    match kind {
        ProgramKind::View => {
            Places { sql_mode: None, create: 1, charset: 2, time_zone: None, database_collation: None }
        }
        ProgramKind::Event => {
            Places { sql_mode: Some(1), create: 3, charset: 4, time_zone: Some(2), database_collation: Some(6) }
        }
        _ => Places { sql_mode: Some(1), create: 2, charset: 3, time_zone: None, database_collation: Some(5) },
    }
}

/// One program, in the character set that it was made in.
async fn program(session: &mut Session, schema: &str, kind: ProgramKind, name: &str) -> Result<Program, Error> {
    let places = places(kind);
    let what = format!("read the {} {}", kind.sql().to_lowercase(), ident(name));
    let sql = format!("SHOW CREATE {} {}", kind.sql(), qualified(schema, name));
    let mut row = session.one(&what, &sql).await.map_err(explain_view)?;
    let broken = kind == ProgramKind::View && warns_of_invalid(session).await?;
    let charset = row.text(places.charset);
    if !charset.starts_with("utf8") {
        row = in_charset(session, &what, &sql, &charset).await?;
    }
    let Some(create) = row.bytes(places.create) else {
        return Err(Error::new(Kind::Refused, format!("{what}: the server does not show its body to this user"))
            .hint("`longshore doctor` prints the grants that are missing"));
    };
    Ok(Program {
        kind,
        name: name.to_owned(),
        create: Text(create.to_vec()),
        sql_mode: places.sql_mode.map(|at| row.text(at)).unwrap_or_default(),
        collation: row.text(places.charset + 1),
        database_collation: places.database_collation.map(|at| row.text(at)).unwrap_or_default(),
        time_zone: places.time_zone.map(|at| row.text(at)),
        comment: None,
        of_table: None,
        charset,
        broken,
    })
}

/// Servers before MySQL 8 do not show the statement of a view when a column that it names is gone.
fn explain_view(error: Error) -> Error {
    if !error.what.ends_with("(error 1356)") {
        return error;
    }
    Error { kind: Kind::Config, ..error }.hint(
        "this server does not show what a view is when a column that it needs is gone: drop the view, or make it again",
    )
}

/// The same answer in another character set.
async fn in_charset(session: &mut Session, what: &str, sql: &str, charset: &str) -> Result<Record, Error> {
    session.run(what, &format!("SET character_set_results = {}", plain_word(charset)?)).await?;
    let row = session.one(what, sql).await;
    session.run(what, "SET character_set_results = utf8mb4").await?;
    row
}

/// A character set, collation or sql_mode goes into statements as it is: it must be a word.
pub(crate) fn plain_word(word: &str) -> Result<&str, Error> {
    if !word.is_empty() && word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
        return Ok(word);
    }
    Err(Error::new(Kind::Data, format!("{word:?} is no name of a character set or collation")))
}

async fn warns_of_invalid(session: &mut Session) -> Result<bool, Error> {
    let warnings = session.rows("ask for warnings", "SHOW WARNINGS").await?;
    Ok(warnings.iter().any(|row| row.number(1) == Some(1356)))
}
