//! Whether a table can be loaded, and what its columns take.
//!
//! Owns the look at the catalog. Promises that a table for which a load could not keep its word is refused by name: one whose rows cannot be taken back, one
//! whose rows are elsewhere, one whose replacement would delete rows of others along, and columns whose values nobody can look at. Refuses to replace what it cannot know to be
//! safe: foreign keys of tables that the user has no right to are seen with the right PROCESS alone.

use engine::{Error, Kind};
use mysql::{StatementSession, TextRow, ident, literal, qualified};

use super::MysqlTarget;
use super::values::{self, Definition};
use crate::header::{config, unknown};
use crate::target::Ledger;
use crate::{Mode, TableName};

/// A table that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub schema: String,
    /// Its name alone.
    pub name: String,
    /// Quoted, for SQL.
    pub sql: String,
    /// For people.
    pub shown: String,
    /// Those that the drop has, in its order.
    pub columns: Vec<Column>,
}

/// A column that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    pub kind: values::Kind,
    /// As it is declared, with character set and collation.
    pub declared: String,
    /// The character set of a text that is not kept in `utf8mb4`.
    pub charset: Option<String>,
    /// How many bytes it takes.
    pub octets: Option<u64>,
    /// Whether it takes no null.
    pub not_null: bool,
    /// Whether rows are found by it.
    pub is_key: bool,
}

/// Looks whether rows with these columns can be loaded into the target's table in its way.
pub(super) async fn examine(
    session: &mut StatementSession,
    target: &MysqlTarget,
    columns: &[String],
) -> Result<Table, Error> {
    let (schema, name) = find(session, &target.table, &target.books.location()).await?;
    let mut table =
        Table { sql: qualified(&schema, &name), shown: format!("{schema}.{name}"), columns: Vec::new(), schema, name };
    table.columns = matched(session, &table, &target.mode, columns).await?;
    match &target.mode {
        Mode::Append => {}
        Mode::Replace => may_be_replaced(session, &table).await?,
        Mode::Upsert { key } => require_key(session, &table, key).await?,
    }
    Ok(table)
}

/// Fails when the table is not what the drop's cells were held against. From here to the transaction's end nobody changes it: whoever reads a table holds its definition.
pub(super) async fn assert_unchanged(
    session: &mut StatementSession,
    target: &MysqlTarget,
    table: &Table,
) -> Result<(), Error> {
    let what = format!("look at {} again", table.shown);
    session.rows(&what, &format!("SELECT 1 FROM {} LIMIT 0", table.sql)).await?;
    let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    if examine(session, target, &names).await? == *table {
        return Ok(());
    }
    let what = format!("{} was changed while the drop was staged: its columns are others", table.shown);
    Err(Error::new(Kind::Changed, what).hint("nothing was loaded; start again when nobody alters the table"))
}

/// The table's schema and name.
async fn find(session: &mut StatementSession, name: &TableName, location: &str) -> Result<(String, String), Error> {
    let schema = name.schema.as_deref().map_or_else(|| "DATABASE()".to_owned(), literal);
    let query = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_SCHEMA = DATABASE() FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {}",
        literal(&name.name)
    );
    let rows = session.rows(&format!("look for table {name}"), &query).await?;
    // Names may be the same to the server where they are not to us.
    let row = rows.iter().find(|row| row[1].as_deref() == Some(name.name.as_str()));
    let Some([Some(schema), Some(table), Some(kind), engine, ours]) = row.map(Vec::as_slice) else {
        let what = format!("there is no table {name} in {location}");
        return Err(config(what, "make it first; names count as they are written, capital letters included"));
    };
    let shown = format!("{schema}.{table}");
    if ours.as_deref() != Some("1") {
        // By another URL the same drop would find another ledger, and be loaded once more.
        let what = format!("{shown} is in another database than the one that --target names, where the ledger is");
        return Err(config(what, &format!("name {schema} in the URL")));
    }
    match (kind.as_str(), engine.as_deref()) {
        ("BASE TABLE", Some("InnoDB")) => Ok((schema.clone(), table.clone())),
        ("BASE TABLE", engine) => {
            let engine = engine.unwrap_or("unknown");
            let what =
                format!("{shown} is a table of the engine {engine}: what a load does there cannot be taken back");
            Err(config(what, "ALTER TABLE … ENGINE = InnoDB, or load into another table"))
        }
        ("VIEW" | "SYSTEM VIEW", _) => Err(config(format!("{shown} is a view"), "load into a table")),
        (other, _) => Err(config(format!("{shown} is no ordinary table ({other})"), "load into another table")),
    }
}

/// The columns that are loaded, in the order of the drop.
async fn matched(
    session: &mut StatementSession,
    table: &Table,
    mode: &Mode,
    wanted: &[String],
) -> Result<Vec<Column>, Error> {
    let query = format!(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, CHARACTER_OCTET_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, \
         DATETIME_PRECISION, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, EXTRA FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        literal(&table.schema),
        literal(&table.name)
    );
    let rows = session.rows(&format!("read the columns of {}", table.shown), &query).await?;
    let key: &[String] = if let Mode::Upsert { key } = mode { key } else { &[] };
    let mut columns = Vec::with_capacity(wanted.len());
    let mut missing = Vec::new();
    for name in wanted {
        match rows.iter().find(|row| row[0].as_deref() == Some(name)) {
            Some(row) => columns.push(column(row, &table.shown, key)?),
            None => missing.push(name.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(columns);
    }
    let there: Vec<_> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    Err(unknown(&table.shown, &missing, wanted.len(), &there.join(", ")))
}

fn column(row: &TextRow, table: &str, key: &[String]) -> Result<Column, Error> {
    let text = |at: usize| row[at].clone().unwrap_or_default();
    let number = |at: usize| row[at].as_ref().and_then(|text| text.parse::<u64>().ok());
    let (name, data_type, column_type, extra) = (text(0), text(1).to_ascii_lowercase(), text(2), text(11));
    // Not `DEFAULT_GENERATED`, which is a default.
    if ["VIRTUAL", "STORED", "PERSISTENT"].iter().any(|word| extra.split(' ').any(|it| it.eq_ignore_ascii_case(word))) {
        let what = format!("column {name} of {table} is generated: no value can be put there");
        return Err(config(what, "leave it out of the drop"));
    }
    let definition = Definition {
        data_type: &data_type,
        column_type: &column_type,
        length: number(3),
        octets: number(4),
        precision: number(5),
        scale: number(6),
        fraction: row[7].as_ref().and_then(|text| text.parse().ok()),
    };
    let Some(kind) = values::Kind::of(&definition) else {
        let what = format!(
            "column {name} of {table} is of a type whose values the server may cut, round or rewrite unseen: {column_type}"
        );
        let hint = "leave it out of the drop, or load into a table with plain columns and convert there";
        return Err(config(what, hint));
    };
    let (charset, collation) = (row[8].as_deref(), row[9].as_deref());
    let in_words = match (charset, collation) {
        (Some(charset), Some(collation)) => format!(" CHARACTER SET {} COLLATE {}", ident(charset), ident(collation)),
        _ => String::new(),
    };
    Ok(Column {
        charset: charset.filter(|charset| kind.is_text() && *charset != "utf8mb4").map(str::to_owned),
        octets: definition.octets.filter(|_| kind.is_text()),
        declared: format!("{column_type}{in_words}"),
        not_null: text(10) == "NO",
        is_key: key.contains(&name),
        name,
        kind,
    })
}

/// What deleting takes along, in `INNODB_FOREIGN.TYPE`: rows that refer, or what they say
/// (<https://dev.mysql.com/doc/refman/9.0/en/information-schema-innodb-foreign-table.html>).
const TAKES_ALONG: u32 = 1 | 2;

/// Replacing deletes all rows first: what refers to them must not go along.
pub(super) async fn may_be_replaced(session: &mut StatementSession, table: &Table) -> Result<(), Error> {
    let what = format!("look who refers to {}", table.shown);
    let modern = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = 'INNODB_FOREIGN'";
    let rows = session.rows(&what, modern).await?;
    let from = if rows.first().and_then(|row| row[0].as_deref()) == Some("1") {
        "INNODB_FOREIGN"
    } else {
        "INNODB_SYS_FOREIGN"
    };
    let query = format!(
        "SELECT ID, FOR_NAME, REF_NAME FROM information_schema.{from} WHERE (TYPE & {TAKES_ALONG}) <> 0 ORDER BY ID"
    );
    let rows = session.rows(&what, &query).await.map_err(|error| match error.is(&[1227]) {
        true => {
            let what =
                format!("{}: foreign keys of tables that the user has no right to cannot be seen", error.error.what);
            Error::new(Kind::Refused, what)
                .hint("GRANT PROCESS ON *.* TO the user that loads, or load with --mode upsert")
        }
        false => error.error,
    })?;
    let own = format!("{}/{}", table.schema, table.name);
    for row in &rows {
        let of = |at: usize| row[at].as_deref().unwrap_or_default();
        if may_be(of(2), &own) && !(may_be(of(1), &own) && of(1) == of(2)) {
            let (key, other) = (unwritten(of(0)), unwritten(of(1)));
            let what =
                format!("replacing {} would delete or change rows of {other}, by its foreign key {key}", table.shown);
            return Err(config(what, "load with --mode upsert, or take ON DELETE away from that key"));
        }
    }
    Ok(())
}

/// `schema/name` with its `@002d` as characters. Some servers write names as their files are called
/// (<https://dev.mysql.com/doc/refman/9.0/en/identifier-mapping.html>).
fn unwritten(name: &str) -> String {
    let mut pieces = name.split('@');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.get(..4).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32) {
            Some(letter) => {
                text.push(letter);
                text.push_str(piece.get(4..).unwrap_or_default());
            }
            None => {
                text.push('@');
                text.push_str(piece);
            }
        }
    }
    text
}

/// Whether the name that InnoDB has of a table is this one. Of letters that files are called by otherwise it may only be: the server has more forms than the one.
fn may_be(name: &str, own: &str) -> bool {
    let same = |text: &str| text.eq_ignore_ascii_case(own);
    same(name) || same(&unwritten(name)) || (!own.is_ascii() && unwritten(name).contains('@'))
}

/// An upsert needs a unique index of exactly the key.
async fn require_key(session: &mut StatementSession, table: &Table, key: &[String]) -> Result<(), Error> {
    if let Some(absent) = key.iter().find(|name| !table.columns.iter().any(|column| column.name == **name)) {
        return Err(config(
            format!("the key's column {absent} is not in the drop"),
            "name columns of the drop in --key",
        ));
    }
    let query = format!(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND NON_UNIQUE = 0 AND INDEX_TYPE = 'BTREE'",
        literal(&table.schema),
        literal(&table.name)
    );
    let rows = session.rows(&format!("read the indexes of {}", table.shown), &query).await?;
    let mut wanted: Vec<&str> = key.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    let fits = |index: &str| {
        let of_it: Vec<_> = rows.iter().filter(|row| row[0].as_deref() == Some(index)).collect();
        // Of an index on an expression a column has no name; one with a length knows beginnings alone.
        let mut names: Vec<_> =
            of_it.iter().filter(|row| row[2].is_none()).filter_map(|row| row[1].as_deref()).collect();
        names.sort_unstable();
        names.len() == of_it.len() && names == wanted
    };
    if rows.iter().filter_map(|row| row[0].as_deref()).any(fits) {
        return Ok(());
    }
    let names: Vec<_> = key.iter().map(|name| ident(name)).collect();
    let what = format!(
        "{} has no unique index of exactly {}: rows could not be found by that key",
        table.shown,
        key.join(", ")
    );
    let hint = format!("ALTER TABLE {} ADD UNIQUE ({}), or name another --key", table.sql, names.join(", "));
    Err(config(what, &hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_names_of_tables() {
        assert_eq!(unwritten("x/c@002d1"), "x/c-1");
        assert_eq!(unwritten("x/c@1g"), "x/c@1g");
        assert!(may_be("x/c@002d1", "x/c-1") && may_be("X/c-1", "x/c-1") && !may_be("x/d@1g", "x/c-1"));
        assert!(may_be("x/@1g", "x/\u{e4}"));
    }
}
