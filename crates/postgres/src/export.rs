//! An export: a backup as files that stock tools bring back.
//!
//! Owns which file holds what, by the same order and the same rules as a restore: schema before data, rows in COPY's own text, schema
//! after data, where sequences stand, large objects, materialized views, the database's properties. Promises that every
//! stream has a file, that no name of a table can become a path, and that the statements are the vendor's where they are about
//! schema. Refuses to need a server: everything comes from the backup's documents.

use crate::builds::Builds;
use crate::catalog::{ARCHIVE, CATALOG, Catalog, Special, Table};
use crate::export_script::{self, Load, Loads, Restoring};
use crate::export_sql::Statements;
use crate::lacking;
use crate::order;
use crate::paths::SearchPath;
use crate::quote::{ident, literal, qualified};
use crate::refresh::Refresh;
use crate::statistics;
use crate::toc::{Contents, Entry, Section};
use crate::tools;
use engine::{Document, Error, Export, ExportFile, ExportOptions, ExportedStream, Kind, RowEnd, StreamName};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the restored database in scripts for `psql`, which quotes it.
const TARGET: &str = ":\"target\"";
/// Most letters of a table's name in the name of its file.
const MOST_LETTERS: usize = 80;

/// What is written into one export, and in which order.
struct Plan<'a> {
    catalog: &'a Catalog,
    contents: &'a Contents,
    /// Entries that cannot be made.
    out: BTreeSet<i32>,
    refresh: Refresh,
    builds: Builds,
    options: &'a ExportOptions,
}

/// Everything of a backup but its rows, as files.
///
/// # Errors
/// [`Kind::Data`] when a document is missing or damaged, or rows belong to no table; [`Kind::Config`] when the vendor's tools are
/// missing or too old.
pub async fn export(documents: &[Document], options: &ExportOptions) -> Result<Export, Error> {
    let missing = |name: &str| Error::new(Kind::Data, format!("the backup has no document {name}"));
    let catalog = Document::find(documents, CATALOG).ok_or_else(|| missing(CATALOG))?;
    let archive = Document::find(documents, ARCHIVE).ok_or_else(|| missing(ARCHIVE))?;
    let catalog = Catalog::parse(&catalog.bytes)?;
    let contents = Contents::parse(&archive.bytes)?;
    let tool = tools::find("pg_restore", catalog.dump_major, options.tools.as_deref()).await?;
    let mut statements = Statements::open(tool, &archive.bytes, catalog.server_major, options.no_owner).await?;
    let (out, unmakeable) = lacking::unmakeable(&contents, &catalog);
    // As in a restore: what is not ASCII may be written in another encoding, and is the vendor's tool's to write.
    let utf8 = catalog.database.encoding == "UTF8";
    let readable = |statement: &str| utf8 || statement.is_ascii();
    let refresh = Refresh::plan(&contents, readable);
    let tables = catalog.tables_by_stream().into_iter().map(|(stream, table)| (stream, table.clone())).collect();
    let builds = Builds::plan(&contents, &tables, readable);
    let mut notes = order::left_out(&contents, &catalog);
    notes.extend(unmakeable);
    let plan = Plan { catalog: &catalog, contents: &contents, out, refresh, builds, options };
    plan.write(&mut statements, notes).await
}

impl Plan<'_> {
    async fn write(self, statements: &mut Statements, notes: Vec<String>) -> Result<Export, Error> {
        let (streams, loads) = self.streams()?;
        let path = SearchPath::of(&self.catalog.database).statement();
        let mut files = Vec::new();
        let mut add = |path: &str, bytes: Vec<u8>| {
            if !bytes.is_empty() {
                files.push(ExportFile { path: path.to_owned(), bytes });
            }
        };
        let (late, built) = (order::at_the_end(self.contents), self.builds.chosen());
        let rest =
            |entry: &Entry| !(late.contains(&entry.id) || built.contains(&entry.id) || self.refresh.contains(entry.id));
        add("01-roles-needed.sql", self.roles().into_bytes());
        add("02-create-database.sql", self.create_database().into_bytes());
        add("03-schemas.sql", self.schemas().into_bytes());
        add("04-before-data.sql", statements.of(&self.entries(Section::PreData, |_| true)).await?);
        let (indexes, more) = self.indexes(&path);
        add("06-indexes.sql", indexes.into_bytes());
        add("07-more-indexes.sql", more.into_bytes());
        add("08-after-data.sql", statements.of(&self.entries(Section::PostData, rest)).await?);
        add("09-sequences.sql", self.sequences().into_bytes());
        let objects = self.catalog.large_objects.as_ref();
        let no_owner = self.options.no_owner;
        add("10-large-objects.sql", objects.map(|all| all.script(no_owner)).unwrap_or_default().into_bytes());
        let triggers = statements.of(&self.entries(Section::PostData, |entry| late.contains(&entry.id))).await?;
        add("12-statistics.sql", self.statistics().into_bytes());
        add("13-event-triggers.sql", triggers);
        add("14-database.sql", self.properties().into_bytes());
        // Statements in an encoding of their own are the vendor's tool's to write, as above.
        let left = self.refresh.left();
        let more = statements.of(&self.entries(Section::PostData, |entry| left.contains(&entry.id))).await?;
        add("11-more-materialized-views.sql", more);
        let views = views(&path, self.refresh)?;
        add("11-materialized-views.sql", views.into_bytes());
        let there = files.iter().map(|file| file.path.clone()).collect();
        let restoring = Restoring {
            catalog: self.catalog,
            options: self.options,
            tool: statements.tool(),
            path: &path,
            loads: &loads,
            there,
            notes: &notes,
        };
        files.push(ExportFile { path: "restore.sh".to_owned(), bytes: export_script::script(&restoring).into_bytes() });
        files.push(ExportFile { path: "README.txt".to_owned(), bytes: export_script::readme(&restoring).into_bytes() });
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Export { streams, files, notes, restore_with: "sh {folder}/restore.sh DATABASE".to_owned(), sieves: None })
    }

    /// Ids of a section's entries that can be made, in the archive's order.
    fn entries(&self, section: Section, wanted: impl Fn(&Entry) -> bool) -> Vec<i32> {
        let wanted = |entry: &&Entry| entry.section == section && !self.out.contains(&entry.id) && wanted(entry);
        self.contents.entries.iter().filter(wanted).map(|entry| entry.id).collect()
    }

    /// Indexes and keys, made where names are looked for as in the database's own sessions: those that the last rows may name, and
    /// those of the tables that these rows are in.
    fn indexes(&self, path: &str) -> (String, String) {
        let pairs = self.catalog.tables_by_stream();
        let last: BTreeSet<StreamName> =
            order::last(pairs.iter().map(|(name, table)| (name, *table))).into_iter().collect();
        let script = |of_last: bool| match self.builds.script(|stream| last.contains(stream) == of_last) {
            none if none.is_empty() => none,
            statements => format!("{path};\n{statements}"),
        };
        (script(false), script(true))
    }

    /// Where each stream goes, by name, and how it is loaded, in that order: most, and those after the indexes of most.
    fn streams(&self) -> Result<(Vec<ExportedStream>, Loads), Error> {
        let end = match self.catalog.row_format.terminator.as_bytes() {
            [one] => RowEnd::Byte(*one),
            _ => return Err(Error::new(Kind::Data, "the backup's rows do not end with one byte")),
        };
        let tables: BTreeMap<StreamName, &Table> = self.catalog.tables_by_stream();
        let (mut streams, mut loads) = (Vec::new(), BTreeMap::new());
        for (number, (name, digest)) in self.options.streams.iter().enumerate() {
            let unknown =
                || Error::new(Kind::Data, format!("the backup holds rows of {name}, which its catalog does not name"));
            let table = tables.get(name).ok_or_else(unknown)?;
            let path = format!("05-rows/{:05}-{}.copy", number + 1, harmless(name.as_str()));
            let pieces = match table.special {
                Some(Special::LargeObjects { piece_bytes }) => Some(piece_bytes),
                _ => None,
            };
            let encoding = literal(&self.catalog.row_format.encoding);
            let copy = format!("COPY {} FROM STDIN WITH (FORMAT text, ENCODING {encoding})", table.named_columns());
            loads.insert(name.clone(), Load { path: path.clone(), rows: digest.rows, copy, pieces });
            streams.push(ExportedStream { name: name.clone(), path, end });
        }
        let pairs = || tables.iter().map(|(name, table)| (name, *table));
        let (first, last) = (order::first(pairs()), order::last(pairs()));
        let take = |names: Vec<StreamName>, loads: &mut BTreeMap<StreamName, Load>| -> Vec<Load> {
            names.iter().filter_map(|name| loads.remove(name)).collect()
        };
        let (first, last) = (take(first, &mut loads), take(last, &mut loads));
        Ok((streams, Loads { most: first.into_iter().chain(loads.into_values()).collect(), late: last }))
    }

    /// A query for the roles that are needed and that the server lacks.
    fn roles(&self) -> String {
        let needed: BTreeSet<String> = if self.options.no_owner {
            self.catalog.needs.clone().unwrap_or_default().named
        } else {
            self.catalog.roles.union(&self.catalog.database.roles()).cloned().collect()
        };
        if needed.is_empty() {
            return String::new();
        }
        let needed: Vec<String> = needed.iter().map(|role| literal(role)).collect();
        format!(
            "SELECT role FROM pg_catalog.unnest(ARRAY[{}]::text[]) AS role\nWHERE role !~ '^pg_' AND NOT EXISTS \
             (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) ORDER BY role;\n",
            needed.join(", ")
        )
    }

    fn create_database(&self) -> String {
        format!("{};\n", self.catalog.database.create_statement_of(TARGET, self.catalog.server_major))
    }

    /// Schemas that a new database has and this one had not, and those of a part, which the archive does not make.
    fn schemas(&self) -> String {
        let dropped = (!self.catalog.has_public).then(|| "DROP SCHEMA IF EXISTS public;\n".to_owned());
        let missing = self.catalog.lacking.iter().flat_map(|lacking| &lacking.schemas);
        let made = missing.map(|name| format!("CREATE SCHEMA IF NOT EXISTS {};\n", ident(name)));
        dropped.into_iter().chain(made).collect()
    }

    fn sequences(&self) -> String {
        let one = |sequence: &crate::catalog::Sequence| {
            let name = literal(&qualified(&sequence.schema, &sequence.name));
            format!("SELECT pg_catalog.setval({name}, {}, {});\n", sequence.last_value, sequence.is_called)
        };
        self.catalog.sequences.iter().map(one).collect()
    }

    fn statistics(&self) -> String {
        let path = SearchPath::of(&self.catalog.database).statement();
        let tables = statistics::TABLES;
        format!("{path};\nSELECT pg_catalog.format('ANALYZE %I.%I', nspname, relname) FROM ({tables}) t\n\\gexec\n")
    }

    /// The database's own settings, grants, comment and owner; only for a database that the script has made.
    fn properties(&self) -> String {
        let properties = &self.catalog.database;
        let mut statements = properties.statements_of(TARGET, self.options.no_owner);
        if !self.options.no_owner {
            statements.push(properties.owner_statement_of(TARGET));
        }
        statements.iter().map(|statement| format!("{statement};\n")).collect()
    }
}

/// Fills the views, each after those that it reads from.
fn views(path: &str, refresh: Refresh) -> Result<String, Error> {
    if refresh.len() == 0 {
        return Ok(String::new());
    }
    let circle = || Error::new(Kind::Data, "materialized views need each other in a circle");
    let statements = refresh.in_order().ok_or_else(circle)?;
    Ok(format!("{path};\nSET row_security = on;\n{}", statements.concat()))
}

/// A name with nothing in it that a file system or a shell could take for something else.
fn harmless(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    name.chars().filter(|c| *c != '"').map(plain).take(MOST_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn no_name_becomes_a_path() {
        assert_eq!(harmless("public.events_2024"), "public.events_2024");
        assert_eq!(harmless("\"new\nline\".\"; rm -rf $HOME / ../..\""), "new_line.__rm_-rf__HOME___.._..");
        assert_eq!(harmless(&format!("public.\"{}\"", "患者".repeat(63))).len(), 80);
    }
}
