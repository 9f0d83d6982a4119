//! An export: a backup as files that the vendor's client brings back.
//!
//! Owns which file holds what, in the order of a restore: tables, rows as `LOAD DATA` reads them, programs, events. Promises that every stream has a file, that no name of a table can become a
//! path, that each table's rows are counted by the script, and that statements name no schema, so that they go into any. Refuses to need a server: everything comes from the backup's
//! documents.

use crate::catalog::{CATALOG, Catalog, Program, ProgramKind, Table};
use crate::columns::{Column, Form};
use crate::connection::{Product, Server, WRITE_MODE};
use crate::export_script::{self, Facts};
use crate::loader::load_statement;
use crate::objects::{comment_statement, statement};
use crate::quote::{ident, literal, unqualify};
use crate::schema::plain_word;
use crate::target::with_reference_systems;
use crate::tsv;
use engine::{Document, Error, Export, ExportFile, ExportOptions, ExportedStream, Kind, RowEnd, StreamName};
use std::collections::BTreeMap;

/// Most letters of a table's name in the name of its file.
const MOST_LETTERS: usize = 80;
/// Most characters of a condition's message (<https://dev.mysql.com/doc/refman/9.0/en/signal.html>).
const MOST_MESSAGE: usize = 128;
/// The mode that newer servers refuse by name and that changed nothing but grants.
const OLD_MODE: &str = "NO_AUTO_CREATE_USER";

/// Everything of a backup but its rows, as files.
///
/// # Errors
/// [`Kind::Data`] when the catalog is missing or damaged, or rows belong to no table.
pub fn export(documents: &[Document], options: &ExportOptions) -> Result<Export, Error> {
    let missing = || Error::new(Kind::Data, format!("the backup has no document {CATALOG}"));
    let catalog = Catalog::parse(&Document::find(documents, CATALOG).ok_or_else(missing)?.bytes)?;
    let (streams, paths) = streams(&catalog, options)?;
    let (programs, notes) = programs(&catalog, options.no_owner)?;
    let events = events(&catalog, options.no_owner)?;
    let mut files = Vec::new();
    let mut add = |path: &str, bytes: Vec<u8>| files.push(ExportFile { path: path.to_owned(), bytes });
    let facts = Facts { catalog: &catalog, options, notes: &notes, has_events: events.is_some() };
    add("01-tables.sql", tables(&catalog)?);
    add("03-load.sql", loads(&catalog, options, &paths)?);
    add("04-programs.sql", programs);
    if let Some(events) = events {
        add("05-events.sql", events);
    }
    add("restore.sh", export_script::script(&facts)?.into_bytes());
    add("README.txt", export_script::readme(&facts).into_bytes());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Export { streams, files, notes, restore_with: "sh {folder}/restore.sh DATABASE".to_owned(), sieves: None })
}

/// Where each stream goes, and the same by stream.
fn streams(
    catalog: &Catalog,
    options: &ExportOptions,
) -> Result<(Vec<ExportedStream>, BTreeMap<StreamName, String>), Error> {
    let tables = catalog.tables_by_stream();
    let (mut streams, mut paths) = (Vec::new(), BTreeMap::new());
    for (number, name) in options.streams.keys().enumerate() {
        if !tables.contains_key(name) {
            let what = format!("the backup holds rows of {name}, which its catalog does not name");
            return Err(Error::new(Kind::Data, what));
        }
        let path = format!("02-rows/{:05}-{}.tsv", number + 1, harmless(name.as_str()));
        paths.insert(name.clone(), path.clone());
        streams.push(ExportedStream { name: name.clone(), path, end: RowEnd::Byte(tsv::TERMINATOR) });
    }
    Ok((streams, paths))
}

/// A name with nothing in it that a file system or a statement could take for something else.
fn harmless(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    name.chars().filter(|c| *c != '`').map(plain).take(MOST_LETTERS).collect()
}

/// What every session of the script is told first.
fn head() -> String {
    format!(
        "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '{WRITE_MODE}', foreign_key_checks = 0, unique_checks = 0;\n\
         /*M!100201 SET SESSION check_constraint_checks = 0 */;\n"
    )
}

/// Sequences with the values they had, then tables.
fn tables(catalog: &Catalog) -> Result<Vec<u8>, Error> {
    let of = Server::parse(&catalog.server_version)?;
    let is_object = |name: &[u8]| catalog.has_object(name);
    let mut script = Script::new(&[]);
    script.plain(&head());
    // What a statement leaves to the default is made with the default of the server that wrote it.
    match catalog.product {
        Product::Mysql if of.version < (8, 0, 0) => {
            script.plain("/*!80011 SET SESSION default_collation_for_utf8mb4 = utf8mb4_general_ci */;\n");
        }
        Product::Mariadb if of.version < (11, 5, 0) => {
            script.plain("/*M!110500 SET SESSION character_set_collations = '' */;\n");
        }
        _ => {}
    }
    for sequence in &catalog.sequences {
        script.statement(&unqualify(&sequence.create.0, &catalog.database.name, &is_object));
        let number = |text: &str| {
            text.parse::<i128>().map_err(|_| Error::new(Kind::Data, "the value of a sequence is no number"))
        };
        let (next, cycles) = (number(&sequence.next)?, number(&sequence.cycles)?);
        script.plain(&format!("DO SETVAL({}, {next}, 0, {cycles});\n", ident(&sequence.name)));
    }
    for table in &catalog.tables {
        let create = with_reference_systems(table, catalog.product);
        script.statement(&unqualify(&create, &catalog.database.name, &is_object));
    }
    Ok(script.bytes)
}

/// Rows, each table's counted.
fn loads(catalog: &Catalog, options: &ExportOptions, paths: &BTreeMap<StreamName, String>) -> Result<Vec<u8>, Error> {
    let mut script = Script::new(&[]);
    script.plain(&head());
    script.plain("/*M!101100 SET SESSION system_versioning_insert_history = 1 */;\n");
    script.plain(ASSERT);
    for (stream, table) in catalog.tables_by_stream() {
        let (Some(digest), Some(path)) = (options.streams.get(&stream), paths.get(&stream)) else { continue };
        if table.by_insert_only() {
            by_insert(&mut script, &table, path);
        } else {
            script.plain(&format!("{};\n", load_statement(path, &ident(&table.name), &table)));
            script.plain("SELECT @@warning_count INTO @longshore_warnings;\n");
            if !may_warn(&table) {
                let message = message(&format!("{stream}: the server changed rows on their way in"));
                script.plain(&format!("CALL longshore_assert(@longshore_warnings = 0, {message});\n"));
            }
        }
        let message = message(&format!("{stream}: the server has other rows than the {} of the backup", digest.rows));
        let all = if table.history.is_some() { " FOR SYSTEM_TIME ALL" } else { "" };
        let count = format!("SELECT COUNT(*) FROM {}{all}", ident(&table.name));
        script.plain(&format!("CALL longshore_assert(({count}) = {}, {message});\n", digest.rows));
    }
    script.plain("DROP PROCEDURE longshore_assert;\n");
    Ok(script.bytes)
}

/// The script's own way to stop with a reason. Dropped again at the end.
const ASSERT: &str = "DELIMITER //
CREATE PROCEDURE longshore_assert (fine INT, reason VARCHAR(128) CHARACTER SET utf8mb4)
IF fine IS NULL OR fine = 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = reason; END IF//
DELIMITER ;
";

/// Values of these kinds make the server warn though it stores exactly them.
fn may_warn(table: &Table) -> bool {
    table.columns.iter().any(|column| matches!(column.form, Form::Number | Form::Double))
}

/// What `LOAD DATA` cannot fill: by way of a table of texts.
fn by_insert(script: &mut Script, table: &Table, path: &str) {
    let history = table.history.iter().flat_map(|(from, to)| [from, to]);
    let history = history.map(|name| Column::new(name.as_str(), Form::Plain));
    let columns: Vec<Column> = table.columns.iter().cloned().chain(history).collect();
    let each = |of: &dyn Fn(usize, &Column) -> String| -> String {
        let all: Vec<String> = columns.iter().enumerate().map(|(at, column)| of(at, column)).collect();
        all.join(", ")
    };
    let texts = each(&|at, _| format!("c{at} LONGBLOB"));
    let places = each(&|at, _| format!("c{at}"));
    let names = each(&|_, column| ident(&column.name));
    let values = each(&|at, column| column.value(&format!("c{at}")));
    let name = ident(&table.name);
    script.plain(&format!("CREATE TEMPORARY TABLE longshore_rows ({texts});\n"));
    script.plain(&format!(
        "LOAD DATA LOCAL INFILE '{path}' INTO TABLE longshore_rows CHARACTER SET binary FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' \
         LINES TERMINATED BY '\\n' ({places});\n"
    ));
    script.plain(&format!("INSERT INTO {name} ({names}) SELECT {values} FROM longshore_rows;\n"));
    script.plain("DROP TEMPORARY TABLE longshore_rows;\n");
}

/// Routines, views and triggers; and notes on what is left out.
fn programs(catalog: &Catalog, no_owner: bool) -> Result<(Vec<u8>, Vec<String>), Error> {
    let bodies = catalog.routines.iter().filter(|program| program.kind == ProgramKind::PackageBody);
    let routines = catalog.routines.iter().filter(|program| program.kind != ProgramKind::PackageBody).chain(bodies);
    let (broken, views): (Vec<&Program>, Vec<&Program>) = catalog.views.iter().partition(|view| view.broken);
    let all: Vec<&Program> = routines.chain(views).chain(&catalog.triggers).collect();
    let notes = broken.iter().map(|view| format!("{} is left out: it did not work at the source either", view.told()));
    Ok((written(catalog, &all, no_owner)?, notes.collect()))
}

/// Events, in a file of their own: what runs by itself is for people to switch on.
fn events(catalog: &Catalog, no_owner: bool) -> Result<Option<Vec<u8>>, Error> {
    let all: Vec<&Program> = catalog.events.iter().collect();
    if all.is_empty() { Ok(None) } else { written(catalog, &all, no_owner).map(Some) }
}

fn written(catalog: &Catalog, programs: &[&Program], no_owner: bool) -> Result<Vec<u8>, Error> {
    let texts: Vec<Vec<u8>> = programs.iter().map(|program| statement(program, catalog, None, no_owner)).collect();
    let mut script = Script::new(&texts);
    script.plain(&head());
    script.plain(&format!("DELIMITER {}\n", script.end));
    for (program, text) in programs.iter().zip(&texts) {
        let other = !program.database_collation.is_empty() && program.database_collation != catalog.database.collation;
        if other {
            script.statement(format!("ALTER DATABASE COLLATE {}", plain_word(&program.database_collation)?).as_bytes());
        }
        script.statement(settings(program)?.as_bytes());
        script.statement(text);
        script.statement(format!("SET NAMES utf8mb4, sql_mode = '{WRITE_MODE}', time_zone = '+00:00'").as_bytes());
        if let Some(sql) = comment_statement(program, &ident(&program.name)) {
            script.statement(sql.as_bytes());
        }
        if other {
            script.statement(format!("ALTER DATABASE COLLATE {}", plain_word(&catalog.database.collation)?).as_bytes());
        }
    }
    Ok(script.bytes)
}

/// The settings that belong to a program.
fn settings(program: &Program) -> Result<String, Error> {
    let mode = if program.kind == ProgramKind::View { "" } else { program.sql_mode.as_str() };
    if !mode.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b',') {
        return Err(Error::new(Kind::Data, format!("{}: {mode:?} is no sql_mode", program.told())));
    }
    let known: Vec<&str> = mode.split(',').filter(|word| *word != OLD_MODE).collect();
    let known = known.join(",");
    // Where the old mode is known no more, the comment is read, and the rest goes into a variable that nobody asks.
    let mode =
        if known == mode { format!("'{mode}'") } else { format!("/*!80011 '{known}', @longshore_older = */ '{mode}'") };
    let zone = program.time_zone.as_ref().map(|zone| format!(", time_zone = {}", literal(zone)));
    Ok(format!(
        "SET character_set_client = {}, collation_connection = {}{}, sql_mode = {mode}",
        plain_word(&program.charset)?,
        plain_word(&program.collation)?,
        zone.unwrap_or_default()
    ))
}

/// Text between quotes, as long as a condition's message may be.
fn message(text: &str) -> String {
    let text: String = text.chars().take(MOST_MESSAGE).collect();
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0"))
}

/// Statements for the vendor's client.
struct Script {
    bytes: Vec<u8>,
    /// What ends a statement; in none of them.
    end: String,
}

impl Script {
    /// For these statements among others.
    fn new(statements: &[Vec<u8>]) -> Self {
        let mut end = if statements.is_empty() { ";" } else { "//" }.to_owned();
        while statements.iter().any(|text| text.windows(end.len()).any(|piece| piece == end.as_bytes())) {
            end.push('/');
            end.insert(0, '$');
        }
        Self { bytes: Vec::new(), end }
    }

    /// Words of ours, whole lines.
    fn plain(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A statement, in whatever character set. One whose last line may end in a comment has its end on a line of its own.
    fn statement(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if last.contains(&b'#') || last.windows(2).any(|two| two == b"--") {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(self.end.as_bytes());
        self.bytes.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_a_path() {
        assert_eq!(harmless("`events_2024`"), "events_2024");
        assert_eq!(harmless("`new\nline'; rm -rf $HOME / ../..`"), "new_line___rm_-rf__HOME___.._..");
    }

    #[test]
    fn what_ends_a_statement_is_in_none() {
        let script = Script::new(&[b"SELECT 'a//b'".to_vec(), b"SELECT '$///'".to_vec()]);
        assert_eq!(script.end, "$$////");
        let mut script = Script::new(&[]);
        script.statement(b"CREATE TABLE t (x int)");
        script.statement(b"SELECT 1 -- why");
        assert_eq!(script.bytes, b"CREATE TABLE t (x int);\nSELECT 1 -- why\n;\n");
    }

    #[test]
    fn a_message_is_one_string() {
        assert_eq!(message("it's \\"), "'it''s \\\\'");
        assert_eq!(message(&"x".repeat(300)).len(), MOST_MESSAGE + 2);
    }
}
