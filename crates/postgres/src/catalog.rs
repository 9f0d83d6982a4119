//! The catalog: what a database holds, as far as we need it besides the vendor's schema archive.
//!
//! Owns what is known of tables, columns and sequences, the queries for the latter, and the JSON document that keeps them with a backup. Promises
//! that it sees the same objects as the vendor's dump (the two lists are compared before a backup is committed) and that
//! the document says what a later reader needs: columns in COPY's order, sequence values, the moment of the snapshot.

use crate::database::Properties;
use crate::failure::from_postgres;
use crate::filter::Chosen;
use crate::lacking::Lacking;
use crate::large_objects::{self, LargeObjects};
use crate::needs::Needs;
use crate::quote::{ident, qualified, shown};
use crate::segments::Range;
use crate::tables::{DECLARED, USERS_OWN};
use engine::{Error, Kind, RowFormat, StreamName, read_versioned};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Client, Row};

/// Name of this document within a backup.
pub(crate) const CATALOG: &str = "catalog.json";
/// Name of the vendor's schema archive within a backup.
pub(crate) const ARCHIVE: &str = "schema.pgdump";
/// Version of the document.
pub(crate) const VERSION: u32 = 1;
/// Name and version of the row format: COPY's text format, non-generated columns in the table's order.
pub(crate) const ROW_FORMAT: &str = "postgresql-copy-text-1";

/// A table or partitioned table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// `r`: has rows of its own; `p`: partitioned, has none.
    pub kind: String,
    /// `p`ermanent or `u`nlogged.
    pub persistence: String,
    /// Access method; page ranges are read only from `heap`.
    pub access_method: String,
    /// File on the server: changes when the table is rewritten.
    pub relfilenode: u32,
    /// Bytes of the main fork, and of all of it with TOAST.
    pub heap_bytes: u64,
    pub table_bytes: u64,
    /// Columns that are stored, in order, with their types.
    pub columns: Vec<Column>,
    /// How its rows are read and loaded, where that is not as of any other table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub special: Option<Special>,
    /// Its rows are not in the backup, on purpose: the backup's notes say why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rows_left_out: bool,
    /// Its indexes have expressions or conditions, which the server looks into whenever it plans.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plans_code: bool,
    /// Its values are or contain names of objects, such as those of type `regclass`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_names: bool,
    /// A check of its asks a function that somebody wrote, which may look into other tables.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks_code: bool,
}

/// Tables whose rows go another way than one table's rows into the same table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Special {
    /// A table that `CREATE EXTENSION` makes; the rows that its author declared to be the user's are kept.
    Extension {
        name: String,
        /// `WHERE …`, or empty.
        condition: String,
        /// Its place among the extensions' tables: those it refers to come before it.
        order: u32,
    },
    /// A partitioned table whose rows are read and loaded through it, because they may belong to other partitions after
    /// a restore.
    Root,
    /// A partition of such a table: its rows are the root's.
    Leaf,
    /// All large objects, as pieces of this many bytes: not a table at all.
    LargeObjects { piece_bytes: u32 },
}

/// A stored column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub name: String,
    pub type_name: String,
}

/// A sequence and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sequence {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub last_value: i64,
    pub is_called: bool,
    /// Whether an extension made it and declared its value to be the user's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_extension: bool,
}

/// The moment a backup shows, in terms that a later incremental backup could start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub system_identifier: Option<String>,
    pub timeline: Option<i32>,
    pub lsn: Option<String>,
    /// `xmin:xmax:xip` as `pg_current_snapshot()` prints it.
    pub snapshot: String,
    pub in_recovery: bool,
    /// The database's oid: stays when it is renamed. Older backups lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_oid: Option<u32>,
}

/// Name, encoding and terminator of the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RowFormatRecord {
    pub name: String,
    pub encoding: String,
    pub terminator: String,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    pub version: u32,
    pub server_version: String,
    pub server_major: u32,
    /// Major version of the `pg_dump` that wrote the schema archive.
    pub dump_major: u32,
    /// How rows are written in this backup's streams; columns are with each table.
    pub row_format: RowFormatRecord,
    pub moment: Moment,
    pub database: Properties,
    /// Whether the schema `public` exists; a new database has one.
    pub has_public: bool,
    /// Roles that own something or were granted something.
    pub roles: BTreeSet<String>,
    pub tables: Vec<Table>,
    pub sequences: Vec<Sequence>,
    /// What a restore needs of the target; backups of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// Owners, grants, comments and labels of large objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<LargeObjects>,
    /// What the backup does not hold and a restore must know of; only in a backup of a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking: Option<Lacking>,
}

impl Table {
    pub fn stream(&self) -> StreamName {
        StreamName::new(shown(&self.schema, &self.name))
    }

    pub fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// Columns for SQL, comma separated; empty for a table without stored columns.
    pub fn column_list(&self) -> String {
        self.columns.iter().map(|column| ident(&column.name)).collect::<Vec<_>>().join(", ")
    }

    /// The table and its columns, as COPY wants them.
    pub fn named_columns(&self) -> String {
        match self.column_list() {
            list if list.is_empty() => self.qualified(),
            list => format!("{} ({list})", self.qualified()),
        }
    }

    /// The oid it had when reading was planned; `None` for a table that a restore has made anew.
    pub fn planned_oid(&self) -> Option<u32> {
        (self.oid != 0).then_some(self.oid)
    }

    /// Whether it has a stream of its own.
    pub fn has_rows(&self) -> bool {
        match self.special {
            _ if self.rows_left_out => false,
            None => self.kind == "r",
            Some(Special::Leaf) => false,
            Some(Special::Extension { .. }) => self.kind == "r",
            Some(Special::Root | Special::LargeObjects { .. }) => true,
        }
    }

    /// Whether it is in the vendor's dump: what an extension makes and what is no table is not.
    pub fn in_archive(&self) -> bool {
        matches!(self.special, None | Some(Special::Root | Special::Leaf))
    }

    /// Whether it can be locked.
    pub fn is_relation(&self) -> bool {
        !matches!(self.special, Some(Special::LargeObjects { .. }))
    }

    /// Whether it is read with the database's own search path.
    pub fn needs_path(&self) -> bool {
        self.plans_code && !self.holds_names
    }

    /// A name of an index can be read once there is one, and a check may look for rows of other tables.
    pub fn loads_last(&self) -> bool {
        (self.holds_names || self.asks_code) && self.special.is_none()
    }

    /// Whether nothing but a COPY of the whole table can read it for certain.
    pub fn only_whole(&self) -> bool {
        self.plans_code && self.holds_names
    }

    /// The table for `FROM` and `LOCK TABLE`: its own rows only, or those of its partitions.
    pub fn relation(&self) -> String {
        match self.special {
            Some(Special::Root) => self.qualified(),
            _ => format!("ONLY {}", self.qualified()),
        }
    }

    /// A query for its rows in a range, in a stable order, one value per stored column.
    pub fn select(&self, range: Range) -> String {
        match &self.special {
            Some(Special::LargeObjects { piece_bytes }) => large_objects::select(range, *piece_bytes),
            Some(Special::Extension { condition, .. }) => {
                format!("SELECT {} FROM {} {condition}", self.column_list(), self.relation())
            }
            _ => format!("SELECT {} FROM {}{}", self.column_list(), self.relation(), range.condition()),
        }
    }

    /// A query for the number of its rows.
    pub fn count(&self) -> String {
        match &self.special {
            Some(Special::LargeObjects { piece_bytes }) => large_objects::count(*piece_bytes),
            Some(Special::Extension { condition, .. }) => {
                format!("SELECT pg_catalog.count(*) FROM {} {condition}", self.relation())
            }
            _ => format!("SELECT pg_catalog.count(*) FROM {}", self.relation()),
        }
    }

    pub fn row_format(&self, format: &RowFormatRecord) -> RowFormat {
        RowFormat {
            name: format.name.clone(),
            encoding: format.encoding.clone(),
            terminator: format.terminator.clone(),
            columns: self.columns.iter().map(|column| column.name.clone()).collect(),
        }
    }
}

impl RowFormatRecord {
    /// The format that this version writes, in a database's own encoding.
    pub fn current(encoding: &str) -> Self {
        Self { name: ROW_FORMAT.to_owned(), encoding: encoding.to_owned(), terminator: "\n".to_owned() }
    }
}

impl Catalog {
    /// Reads the document of a backup.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let catalog: Self = read_versioned(bytes, "the backup's catalog", VERSION)?;
        if catalog.row_format.name != ROW_FORMAT {
            let name = &catalog.row_format.name;
            let what = format!("the backup's rows are in format {name:?}, which this version does not know");
            let error = Error::new(Kind::Config, what);
            return Err(error.hint("use the version of longshore that wrote it, or a newer one"));
        }
        Ok(catalog)
    }

    pub fn tables_by_stream(&self) -> BTreeMap<StreamName, &Table> {
        self.tables.iter().filter(|table| table.has_rows()).map(|table| (table.stream(), table)).collect()
    }
}

/// Sequences asked for in one statement.
const SEQUENCE_BATCH: usize = 100;

/// Where every chosen sequence stands. Sequences are not part of a snapshot: read after it was taken they can only be ahead,
/// which is what the vendor's dump does too.
pub(crate) async fn read_sequences(client: &Client, chosen: &Chosen) -> Result<Vec<Sequence>, Error> {
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname, c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery(), \
         c.oid IN ({DECLARED}) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'S' AND ({USERS_OWN} OR c.oid IN ({DECLARED})) \
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
    );
    let mut rows = client.query(&sql, &[]).await.map_err(from_postgres("list sequences"))?;
    rows.retain(|row| chosen.keeps(row.get(0)));
    let mut sequences = Vec::with_capacity(rows.len());
    for batch in rows.chunks(SEQUENCE_BATCH) {
        let one = |(number, row): (usize, &Row)| {
            if row.get(3) {
                // A standby does not have it, as it does not have its table's rows: it begins anew.
                let oid: u32 = row.get(0);
                return format!("SELECT {number}, seqstart, false FROM pg_catalog.pg_sequence WHERE seqrelid = {oid}");
            }
            format!("SELECT {number}, last_value, is_called FROM {}", qualified(row.get(1), row.get(2)))
        };
        let sql = batch.iter().enumerate().map(one).collect::<Vec<_>>().join(" UNION ALL ");
        let values = client.query(&sql, &[]).await.map_err(from_postgres("read sequences"))?;
        for value in values {
            let number: i32 = value.get(0);
            if let Some(row) = usize::try_from(number).ok().and_then(|number| batch.get(number)) {
                sequences.push(Sequence {
                    oid: row.get(0),
                    schema: row.get(1),
                    name: row.get(2),
                    last_value: value.get(1),
                    is_called: value.get(2),
                    of_extension: row.get(4),
                });
            }
        }
    }
    if sequences.len() != rows.len() {
        return Err(Error::new(Kind::Internal, "a sequence was listed and could not be read"));
    }
    sequences.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    Ok(sequences)
}

/// The moment of the transaction's snapshot.
pub(crate) async fn read_moment(client: &Client) -> Result<Moment, Error> {
    let allowed = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_current_snapshot()::text, \
         pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') \
         AND pg_catalog.has_function_privilege('pg_catalog.pg_control_checkpoint()', 'EXECUTE'), \
         (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
         ELSE pg_catalog.pg_current_wal_lsn() END)::text, \
         (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())";
    let row = client.query_one(allowed, &[]).await.map_err(from_postgres("read the snapshot"))?;
    let (mut system_identifier, mut timeline) = (None, None);
    if row.get::<_, bool>(2) {
        let control = "SELECT (pg_catalog.pg_control_system()).system_identifier::text, \
             (pg_catalog.pg_control_checkpoint()).timeline_id";
        let row = client.query_one(control, &[]).await.map_err(from_postgres("read the server's identity"))?;
        (system_identifier, timeline) = (row.get(0), row.get(1));
    }
    let (lsn, snapshot, in_recovery, database_oid) = (row.get(3), row.get(1), row.get(0), row.get(4));
    Ok(Moment { system_identifier, timeline, lsn, snapshot, in_recovery, database_oid })
}

/// Roles that own or were granted something here, as far as a restore needs them.
pub(crate) async fn read_roles(client: &Client, needs: &Needs) -> Result<BTreeSet<String>, Error> {
    // The bootstrap superuser is pinned and leaves no dependency: its default privileges are asked for besides.
    let sql = "SELECT r.rolname::text FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid \
         WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype = 'a' AND d.dbid = \
         (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
         UNION SELECT pg_catalog.pg_get_userbyid(a.grantee)::text FROM pg_catalog.pg_default_acl d, \
         pg_catalog.aclexplode(d.defaclacl) a WHERE a.grantee <> 0 \
         UNION SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database WHERE datname = current_database()";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read roles"))?;
    let granted = rows.iter().map(|row| row.get::<_, String>(0));
    Ok(granted.chain(needs.owners.iter().cloned()).chain(needs.named.iter().cloned()).collect())
}

/// Names and labels that rows are written with, and that change without touching a table's lock: of schemas, of enum
/// values, of the attributes of composite types. By kind and oid.
pub(crate) async fn read_labels(client: &Client) -> Result<BTreeMap<(String, u32, i16), String>, Error> {
    let sql = "SELECT 'schema', oid, 0::int2, nspname::text FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' \
         UNION ALL SELECT 'value of an enum', oid, 0::int2, enumlabel::text FROM pg_catalog.pg_enum \
         UNION ALL SELECT 'attribute of a type', a.attrelid, a.attnum, a.attname || ' ' || a.atttypid::text \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid WHERE c.relkind = 'c'";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read names and labels"))?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1), row.get(2)), row.get(3))).collect())
}

/// Names that values of type `regclass` and its kin are written with, apart from schemas': of functions, types, operators,
/// collations, text search objects, tables, views and sequences. Not of indexes, which `REINDEX CONCURRENTLY` renames, nor
/// of roles, which come and go with other databases. By kind and oid.
pub(crate) async fn read_names(client: &Client) -> Result<BTreeMap<(String, u32), String>, Error> {
    let lasting = "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(toast|temp)')";
    let kinds = [
        ("function", "pg_proc", "proname", "pronamespace", ""),
        ("type", "pg_type", "typname", "typnamespace", ""),
        ("operator", "pg_operator", "oprname", "oprnamespace", ""),
        ("collation", "pg_collation", "collname", "collnamespace", ""),
        ("text search configuration", "pg_ts_config", "cfgname", "cfgnamespace", ""),
        ("text search dictionary", "pg_ts_dict", "dictname", "dictnamespace", ""),
        ("table, view or sequence", "pg_class", "relname", "relnamespace", "AND relkind NOT IN ('i', 'I', 't')"),
    ];
    let one = |(kind, from, name, schema, further): &(&str, &str, &str, &str, &str)| {
        format!(
            "SELECT '{kind}', oid, {schema}::text || '.' || {name} FROM pg_catalog.{from} \
             WHERE oid >= 16384 AND {schema} IN {lasting} {further}"
        )
    };
    let sql = kinds.iter().map(one).collect::<Vec<_>>().join(" UNION ALL ");
    let rows = client.query(&sql, &[]).await.map_err(from_postgres("read names"))?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}

/// Whether the schema `public` exists.
pub(crate) async fn has_public(client: &Client) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'public')";
    Ok(client.query_one(sql, &[]).await.map_err(from_postgres("read schemas"))?.get(0))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Table;

    /// An empty table `public.<name>` without columns.
    pub(crate) fn table(name: &str) -> Table {
        Table {
            oid: 1,
            schema: "public".into(),
            name: name.into(),
            kind: "r".into(),
            persistence: "p".into(),
            access_method: "heap".into(),
            relfilenode: 1,
            heap_bytes: 0,
            table_bytes: 0,
            columns: Vec::new(),
            special: None,
            rows_left_out: false,
            plans_code: false,
            holds_names: false,
            asks_code: false,
        }
    }
}
