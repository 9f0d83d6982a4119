//! The catalog: what a schema holds besides rows, as it goes into a backup.
//!
//! Owns the shapes and their JSON form, which `docs/format.md` describes. Promises that everything the server says of an object is kept in the server's own words, in the
//! character set the object was made in. Refuses versions newer than it knows.

use crate::columns::Column;
use crate::connection::Product;
use crate::engines;
use crate::quote::ident;
use crate::text::Text;
use crate::tsv;
use engine::{Error, RowFormat, StreamName, read_versioned};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the document.
pub(crate) const CATALOG: &str = "catalog.json";
/// Version of the document's form.
pub(crate) const VERSION: u32 = 1;

/// Everything a schema had at one moment, apart from rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Catalog {
    pub version: u32,
    pub product: Product,
    pub server_version: String,
    pub database: Database,
    pub moment: Moment,
    pub tables: Vec<Table>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<Sequence>,
    /// Views, in an order in which each finds those that it needs, as far as there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<Program>,
    /// Functions, procedures and packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routines: Vec<Program>,
    /// Triggers, in the order in which those of one table and moment fire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Program>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Program>,
}

/// The schema itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Database {
    pub name: String,
    pub charset: String,
    pub collation: String,
}

/// How the sessions came to see one moment, and which one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub protocol: Protocol,
    /// The server's binary log at that moment; absent when it writes none, or may not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binlog: Option<Position>,
    /// All transactions up to that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    /// What names the server: MySQL's UUID, or what MariaDB has in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_id: Option<String>,
}

/// What made all sessions see the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// No lock at all: the sessions' snapshots have the same place in MariaDB's binary log.
    BinlogPosition,
    /// The server stood still (`FLUSH TABLES WITH READ LOCK`) while the sessions took their snapshots.
    GlobalLock,
    /// All tables of the schema were locked (`LOCK TABLES`) while the sessions took their snapshots.
    LockTables,
}

impl Protocol {
    /// For people.
    pub fn told(self) -> &'static str {
        match self {
            Self::BinlogPosition => "exact, without a lock",
            Self::GlobalLock => "exact, by a short global read lock",
            Self::LockTables => "exact, by short locks on all tables",
        }
    }
}

/// A place in the binary log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub file: String,
    pub position: u64,
}

/// A base table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    pub name: String,
    pub engine: String,
    pub create: Text,
    /// The collations of its columns, by name: what a statement leaves to defaults is not the same on all servers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub collations: BTreeMap<String, String>,
    /// Columns of a row, in their order.
    pub columns: Vec<Column>,
    /// Whether its rows are its own and were read.
    pub has_rows: bool,
    /// Names of the columns that say when a row was the current one, where the table keeps its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<(String, String)>,
    /// The primary key of an InnoDB table, in whose order it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Bytes it takes at the server, by its own estimate.
    pub bytes: u64,
    /// When it and its partitions were made: tells a table from another one that took its name. For one server only, so not kept.
    #[serde(skip)]
    pub made: String,
}

/// By what a table is read in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// All columns of the primary key.
    pub columns: Vec<String>,
    /// Whether the first of them is an integer: ranges can be cut.
    pub integer: bool,
    /// What ranges can be cut by where it is none.
    #[serde(default, skip_serializing_if = "Leading::is_other")]
    pub leading: Leading,
}

/// What a key's first column is, where it is no integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Leading {
    /// Characters, which the server sorts by a collation.
    Text,
    /// Bytes, sorted as they are.
    Bytes,
    #[default]
    Other,
}

impl Leading {
    // serde wants a reference.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

/// A sequence of MariaDB.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sequence {
    pub name: String,
    pub create: Text,
    /// The next value that no session has taken ahead.
    pub next: String,
    pub cycles: String,
}

/// What kind of program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProgramKind {
    View,
    Function,
    Procedure,
    Package,
    PackageBody,
    Trigger,
    Event,
}

impl ProgramKind {
    /// As statements call it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::View => "VIEW",
            Self::Function => "FUNCTION",
            Self::Procedure => "PROCEDURE",
            Self::Package => "PACKAGE",
            Self::PackageBody => "PACKAGE BODY",
            Self::Trigger => "TRIGGER",
            Self::Event => "EVENT",
        }
    }
}

/// Something that is made by a statement and has settings of its own: with others it would mean something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub kind: ProgramKind,
    pub name: String,
    pub create: Text,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sql_mode: String,
    pub charset: String,
    pub collation: String,
    /// The schema's collation when it was made; views have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub database_collation: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// A routine's comment, where it has more than plain letters: in the statement it stands in another character set, with other escapes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The table that a trigger is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_table: Option<String>,
    /// A view that does not work at the source either: something that it needs is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
}

impl Program {
    /// For people.
    pub fn told(&self) -> String {
        format!("{} {}", self.kind.sql().to_lowercase(), self.name)
    }
}

impl Catalog {
    /// Reads the document.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        read_versioned(bytes, "the backup's catalog", VERSION)
    }

    /// Whether a name is that of something which statements qualify by the schema.
    pub fn has_object(&self, name: &[u8]) -> bool {
        let programs = self.views.iter().chain(&self.routines).map(|program| &program.name);
        let tables = self.tables.iter().map(|table| &table.name);
        let sequences = self.sequences.iter().map(|sequence| &sequence.name);
        let trigger = self.triggers.iter().map(|trigger| &trigger.name);
        tables.chain(sequences).chain(programs).chain(trigger).any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Tables with rows, by stream.
    pub fn tables_by_stream(&self) -> BTreeMap<StreamName, Table> {
        self.tables.iter().filter(|table| table.has_rows).map(|table| (table.stream(), table.clone())).collect()
    }
}

impl Table {
    /// The stream of its rows.
    pub fn stream(&self) -> StreamName {
        StreamName::new(ident(&self.name))
    }

    /// How its rows are written.
    pub fn row_format(&self) -> RowFormat {
        let history = self.history.iter().flat_map(|(from, to)| [from, to]);
        RowFormat {
            name: tsv::FORMAT.to_owned(),
            encoding: "binary".to_owned(),
            terminator: char::from(tsv::TERMINATOR).to_string(),
            columns: self.columns.iter().map(|column| &column.name).chain(history).cloned().collect(),
        }
    }

    /// What is read of it, as expressions; at least one, for a table whose columns are all computed.
    pub fn expressions(&self) -> String {
        let history = self.history.iter().flat_map(|(from, to)| [ident(from), ident(to)]);
        let all: Vec<String> = self.columns.iter().map(Column::read).chain(history).collect();
        if all.is_empty() { "''".to_owned() } else { all.join(", ") }
    }

    /// Where it is read from: with all its history, where it keeps one.
    pub fn from(&self, schema: &str) -> String {
        let all = if self.history.is_some() { " FOR SYSTEM_TIME ALL" } else { "" };
        format!("{}{all}", crate::quote::qualified(schema, &self.name))
    }

    /// Whether the server takes its rows by `INSERT` only: `LOAD DATA` sets no history, and loses rows of periods that must not overlap.
    pub fn by_insert_only(&self) -> bool {
        self.history.is_some() || self.create.shown().contains("WITHOUT OVERLAPS")
    }

    /// Whether the engine knows transactions, and with them snapshots.
    pub fn is_transactional(&self) -> bool {
        engines::has_transactions(&self.engine)
    }
}
