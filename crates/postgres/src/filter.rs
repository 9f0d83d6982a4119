//! Filters: which tables of a database are backed up.
//!
//! Owns turning patterns into names, once, against the catalog: the vendor's dump is given exactly those names, quoted, so that
//! its list and ours are the same. Partitions go with the table that they are part of, sequences with the table that owns
//! them, and a view that reads from what is left out is left out, too. Promises that a pattern which matches nothing is an
//! error, that only what is read is locked, and that what a part needs and does not hold is named (see `lacking`).
//! Refuses parts that could not come back: a child without its parent table, partitions without the table that their
//! rows are read through.

use crate::catalog::{Special, Table};
use crate::failure::from_postgres;
use crate::lacking;
use crate::quote::{ident, listed, qualified, shown};
use crate::tables::{DECLARED, TableKey, USERS_OWN, list_tables};
use engine::{Error, Filter, Kind, Pattern};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// Most bytes of names on the command line of the vendor's dump; systems take four times as much.
const MOST_NAMES_BYTES: usize = 512 << 10;
/// Most names in one note.
pub(crate) const MOST_NOTED: usize = 20;

/// What the vendor's dump is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Only certain tables; nothing that belongs to no table.
    Tables,
    /// Everything in certain schemas; nothing that belongs to no schema.
    Schemas,
    /// Everything but what is excluded.
    Rest,
}

/// A filter, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    include_schemas: Vec<Pattern>,
    exclude_schemas: Vec<Pattern>,
    include_tables: Vec<Pattern>,
    exclude_tables: Vec<Pattern>,
    exclude_data: Vec<Pattern>,
}

/// A table, view, foreign table or sequence.
#[derive(Debug, Clone)]
struct Relation {
    oid: u32,
    schema: String,
    name: String,
    kind: String,
    /// The partitioned table that it is a partition of.
    partition_of: Option<u32>,
    /// Tables that it inherits from, when it is no partition.
    inherits: Vec<u32>,
    /// The table whose column owns it, for a sequence.
    owned_by: Option<u32>,
    of_extension: bool,
}

impl Relation {
    fn shown(&self) -> String {
        shown(&self.schema, &self.name)
    }
}

/// What a filter comes to at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chosen {
    part: Option<Part>,
}

/// A part of a database.
#[derive(Debug, Clone)]
struct Part {
    extent: Extent,
    kept: BTreeSet<u32>,
    without_rows: BTreeSet<u32>,
    /// Partition to partitioned table, of all tables.
    partition_of: BTreeMap<u32, u32>,
    options: Vec<String>,
    /// Schemas that the vendor's dump holds.
    schemas: BTreeSet<String>,
    notes: Vec<String>,
}

impl Rules {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`Kind::Config`] for a pattern that cannot be meant, and for tables and schemas included at once.
    pub fn parse(filter: &Filter) -> Result<Self, Error> {
        if !filter.include_schemas.is_empty() && !filter.include_tables.is_empty() {
            let what = "schemas and tables cannot be included at once";
            return Err(Error::new(Kind::Config, what).hint(
                "include schemas and exclude tables of them, or include tables as SCHEMA.*; or make two backups under two names",
            ));
        }
        Ok(Self {
            include_schemas: Pattern::all(&filter.include_schemas, Pattern::schema)?,
            exclude_schemas: Pattern::all(&filter.exclude_schemas, Pattern::schema)?,
            include_tables: Pattern::all(&filter.include_tables, Pattern::table)?,
            exclude_tables: Pattern::all(&filter.exclude_tables, Pattern::table)?,
            exclude_data: Pattern::all(&filter.exclude_table_data, Pattern::table)?,
        })
    }

    fn is_whole(&self) -> bool {
        let Self { include_schemas, exclude_schemas, include_tables, exclude_tables, exclude_data } = self;
        [include_schemas, exclude_schemas, include_tables, exclude_tables, exclude_data]
            .iter()
            .all(|all| all.is_empty())
    }

    fn extent(&self) -> Extent {
        match (self.include_tables.is_empty(), self.include_schemas.is_empty()) {
            (false, _) => Extent::Tables,
            (true, false) => Extent::Schemas,
            (true, true) => Extent::Rest,
        }
    }

    /// The tables that are kept, as [`list_tables`] lists them.
    pub async fn tables(&self, client: &Client) -> Result<Vec<TableKey>, Error> {
        let chosen = self.choose(client).await?;
        let mut tables = list_tables(client).await?;
        tables.retain(|(oid, ..)| chosen.keeps(*oid));
        Ok(tables)
    }

    /// What the patterns come to now.
    ///
    /// # Errors
    /// [`Kind::Config`] when a pattern matches nothing, when nothing is left, or when the part could not come back;
    /// [`Kind::Unsupported`] when the names are more than the vendor's dump can be told.
    pub async fn choose(&self, client: &Client) -> Result<Chosen, Error> {
        if self.is_whole() {
            return Ok(Chosen::default());
        }
        let relations = read_relations(client).await?;
        let schemas = read_schemas(client).await?;
        self.assert_all_match(&relations, &schemas)?;
        let by_oid: BTreeMap<u32, &Relation> = relations.iter().map(|relation| (relation.oid, relation)).collect();
        let mut kept = self.keep(&relations, &by_oid);
        let views = leave_views_out(client, &relations, &mut kept).await?;
        assert_parents(&relations, &by_oid, &kept)?;
        let extent = self.extent();
        let in_dump = |schema: &&String| match extent {
            Extent::Tables => false,
            Extent::Schemas => self.includes_schema(schema) && !self.excludes_schema(schema),
            Extent::Rest => !self.excludes_schema(schema),
        };
        let in_dump: BTreeSet<String> = schemas.iter().filter(in_dump).cloned().collect();
        if kept.is_empty() && in_dump.is_empty() {
            return Err(Error::new(Kind::Config, "the filter leaves nothing to back up").hint("nothing was stored"));
        }
        let options = options(extent, &relations, &schemas, &kept, &in_dump);
        assert_fits(&options, client).await?;
        let data_out = |relation: &&Relation| {
            path(relation, &by_oid).iter().any(|r| self.exclude_data.iter().any(|p| p.is_table(&r.schema, &r.name)))
        };
        let without_rows = relations.iter().filter(data_out).map(|relation| relation.oid).collect();
        let partition_of = relations.iter().filter_map(|r| Some((r.oid, r.partition_of?))).collect();
        let mut notes = Vec::new();
        if !views.is_empty() {
            notes.push(format!("left out: views that read from what is left out: {}", listed(&views, MOST_NOTED)));
        }
        let lost = |r: &&Relation| !kept.contains(&r.oid) && r.partition_of.is_some_and(|of| kept.contains(&of));
        let lost: Vec<String> = relations.iter().filter(lost).map(Relation::shown).collect();
        if !lost.is_empty() {
            notes.push(format!("left out: partitions of tables that are kept: {}", listed(&lost, MOST_NOTED)));
        }
        let part = Part { extent, kept, without_rows, partition_of, options, schemas: in_dump, notes };
        Ok(Chosen { part: Some(part) })
    }

    fn includes_schema(&self, schema: &str) -> bool {
        self.include_schemas.iter().any(|pattern| pattern.is_schema(schema))
    }

    fn excludes_schema(&self, schema: &str) -> bool {
        self.exclude_schemas.iter().any(|pattern| pattern.is_schema(schema))
    }

    fn assert_all_match(&self, relations: &[Relation], schemas: &BTreeSet<String>) -> Result<(), Error> {
        let none = |option: &str, pattern: &Pattern, of: &str| {
            Err(Error::new(Kind::Config, format!("--{option} {pattern} matches no {of} of this database"))
                .hint("names are written as they are in the catalog, case counts; nothing was stored"))
        };
        for (option, patterns) in [("include-schema", &self.include_schemas), ("exclude-schema", &self.exclude_schemas)]
        {
            if let Some(pattern) = patterns.iter().find(|p| !schemas.iter().any(|schema| p.is_schema(schema))) {
                return none(option, pattern, "schema");
            }
        }
        let named = |pattern: &Pattern, kinds: &str| {
            let of_kind = |r: &&Relation| r.owned_by.is_none() && kinds.contains(r.kind.as_str());
            relations.iter().filter(of_kind).any(|r| pattern.is_table(&r.schema, &r.name))
        };
        for (option, patterns, kinds) in [
            ("include-table", &self.include_tables, "rpvmfS"),
            ("exclude-table", &self.exclude_tables, "rpvmfS"),
            ("exclude-table-data", &self.exclude_data, "rp"),
        ] {
            if let Some(pattern) = patterns.iter().find(|pattern| !named(pattern, kinds)) {
                return none(option, pattern, "table");
            }
        }
        Ok(())
    }

    fn keep(&self, relations: &[Relation], by_oid: &BTreeMap<u32, &Relation>) -> BTreeSet<u32> {
        let extent = self.extent();
        let named = |patterns: &[Pattern], r: &Relation| patterns.iter().any(|p| p.is_table(&r.schema, &r.name));
        let own = |relation: &&Relation| {
            let path = path(relation, by_oid);
            let included = match extent {
                Extent::Rest => true,
                Extent::Schemas => !relation.of_extension && self.includes_schema(&relation.schema),
                Extent::Tables => !relation.of_extension && path.iter().any(|r| named(&self.include_tables, r)),
            };
            included && !path.iter().any(|r| named(&self.exclude_tables, r) || self.excludes_schema(&r.schema))
        };
        let owned = |relation: &&Relation| relation.owned_by.is_some_and(|owner| by_oid.contains_key(&owner));
        let mut kept: BTreeSet<u32> =
            relations.iter().filter(|r| !owned(r)).filter(own).map(|relation| relation.oid).collect();
        let with_owner = |r: &&Relation| r.owned_by.is_some_and(|owner| kept.contains(&owner));
        let sequences: Vec<u32> = relations.iter().filter(owned).filter(with_owner).map(|r| r.oid).collect();
        kept.extend(sequences);
        kept
    }
}

impl Chosen {
    /// Whether this table, view or sequence is read.
    pub fn keeps(&self, oid: u32) -> bool {
        self.part.as_ref().is_none_or(|part| part.kept.contains(&oid))
    }

    /// The oids of all that is read; `None` for everything.
    pub fn oids(&self) -> Option<Vec<u32>> {
        self.part.as_ref().map(|part| part.kept.iter().copied().collect())
    }

    /// Whether everything is read.
    pub fn is_whole(&self) -> bool {
        self.part.is_none()
    }

    /// Whether what belongs to no schema is read, too: large objects, subscriptions.
    pub fn holds_the_rest(&self) -> bool {
        self.part.as_ref().is_none_or(|part| part.extent == Extent::Rest)
    }

    /// Options for the vendor's dump.
    pub fn options(&self) -> &[String] {
        self.part.as_ref().map_or(&[], |part| &part.options)
    }

    /// Leaves out of the listed tables what is not kept, and the rows that are not.
    pub fn apply(&self, tables: &mut Vec<Table>) -> Result<(), Error> {
        let Some(part) = &self.part else { return Ok(()) };
        part.assert_rows_stay_together(tables)?;
        tables.retain(|table| part.kept.contains(&table.oid));
        for table in tables.iter_mut().filter(|table| part.without_rows.contains(&table.oid)) {
            table.rows_left_out = true;
        }
        Ok(())
    }

    /// Roles that were granted something of the part, or that its policies name; `None` when everything is read.
    pub async fn roles(&self, client: &Client) -> Result<Option<BTreeSet<String>>, Error> {
        match &self.part {
            None => Ok(None),
            Some(part) => lacking::roles(client, part.extent, &part.kept, &part.schemas).await.map(Some),
        }
    }

    /// What a restore must know of the part, and what the operator should.
    pub async fn conclude(&self, client: &Client) -> Result<(Option<lacking::Lacking>, Vec<String>), Error> {
        let Some(part) = &self.part else { return Ok((None, Vec::new())) };
        let mut notes = part.notes.clone();
        let Part { kept, without_rows, partition_of, .. } = part;
        let tables = lacking::Tables { kept, without_rows, partition_of };
        let (lacking, more) = lacking::read(client, part.extent, tables, &part.schemas).await?;
        notes.extend(more);
        Ok((Some(lacking), notes))
    }
}

impl Part {
    /// Rows of some partitions are read through the topmost table: they cannot be left out one by one.
    fn assert_rows_stay_together(&self, tables: &[Table]) -> Result<(), Error> {
        for leaf in tables.iter().filter(|table| table.special == Some(Special::Leaf)) {
            let top = std::iter::successors(Some(leaf.oid), |oid| self.partition_of.get(oid).copied()).last();
            let top = top.unwrap_or(leaf.oid);
            let as_one = |set: &BTreeSet<u32>| set.contains(&leaf.oid) == set.contains(&top);
            if !as_one(&self.kept) || !as_one(&self.without_rows) {
                let root = tables.iter().find(|table| table.oid == top).map(Table::stream);
                let root = root.map_or_else(String::new, |root| root.to_string());
                let what = format!("the rows of {} are read through {root}, so a filter must name that", leaf.stream());
                return Err(Error::new(Kind::Config, what).hint("nothing was stored"));
            }
        }
        Ok(())
    }
}

/// The relation, the table that it is a partition of, the one that this is a partition of, and so on.
fn path<'a>(relation: &'a Relation, by_oid: &BTreeMap<u32, &'a Relation>) -> Vec<&'a Relation> {
    std::iter::successors(Some(relation), |r| r.partition_of.and_then(|oid| by_oid.get(&oid).copied())).collect()
}

async fn read_relations(client: &Client) -> Result<Vec<Relation>, Error> {
    let sql = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
         CASE WHEN c.relispartition THEN (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid LIMIT 1) END, \
         CASE WHEN c.relispartition THEN '{{}}'::oid[] ELSE ARRAY(SELECT i.inhparent FROM pg_catalog.pg_inherits i \
         WHERE i.inhrelid = c.oid) END, \
         CASE c.relkind WHEN 'S' THEN (SELECT d.refobjid FROM pg_catalog.pg_depend d \
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0 \
         AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') LIMIT 1) END, \
         NOT ({USERS_OWN}) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND ({USERS_OWN} OR c.oid IN ({DECLARED})) \
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
    );
    let rows = client.query(&sql, &[]).await.map_err(from_postgres("list tables for the filter"))?;
    let relation = |row: &tokio_postgres::Row| Relation {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        kind: row.get(3),
        partition_of: row.get(4),
        inherits: row.get(5),
        owned_by: row.get(6),
        of_extension: row.get(7),
    };
    Ok(rows.iter().map(relation).collect())
}

async fn read_schemas(client: &Client) -> Result<BTreeSet<String>, Error> {
    let sql =
        "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("list schemas for the filter"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Takes views away that read from what is not kept, until none is left. Returns their names.
async fn leave_views_out(
    client: &Client,
    relations: &[Relation],
    kept: &mut BTreeSet<u32>,
) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT r.ev_class, d.refobjid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d \
         ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
         WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("look what views read from"))?;
    let known: BTreeSet<u32> = relations.iter().map(|relation| relation.oid).collect();
    let mut left_out = Vec::new();
    loop {
        let reads_lost = |view: &Relation| {
            let from = |row: &tokio_postgres::Row| (row.get::<_, u32>(0), row.get::<_, u32>(1));
            rows.iter().map(from).any(|(v, t)| v == view.oid && known.contains(&t) && !kept.contains(&t))
        };
        let is_view = |r: &&Relation| matches!(r.kind.as_str(), "v" | "m") && kept.contains(&r.oid);
        let lost: Vec<&Relation> = relations.iter().filter(is_view).filter(|view| reads_lost(view)).collect();
        if lost.is_empty() {
            return Ok(left_out);
        }
        for view in lost {
            kept.remove(&view.oid);
            left_out.push(view.shown());
        }
    }
}

/// A table that inherits columns cannot be made without the table that it inherits them from.
fn assert_parents(
    relations: &[Relation],
    by_oid: &BTreeMap<u32, &Relation>,
    kept: &BTreeSet<u32>,
) -> Result<(), Error> {
    for child in relations.iter().filter(|relation| kept.contains(&relation.oid)) {
        let lost = child.inherits.iter().filter(|oid| !kept.contains(oid)).find_map(|oid| by_oid.get(oid));
        if let Some(parent) = lost {
            let what = format!("{} inherits from {}, which the filter leaves out", child.shown(), parent.shown());
            return Err(Error::new(Kind::Config, what).hint("keep both, or leave both out; nothing was stored"));
        }
    }
    Ok(())
}

/// Exact names for the vendor's dump.
fn options(
    extent: Extent,
    relations: &[Relation],
    schemas: &BTreeSet<String>,
    kept: &BTreeSet<u32>,
    in_dump: &BTreeSet<String>,
) -> Vec<String> {
    let table = |option: &str, r: &Relation| format!("--{option}={}", qualified(&r.schema, &r.name));
    // An extension makes its own tables, which are in no dump; a sequence that is owned comes with its owner.
    let own = relations.iter().filter(|relation| !relation.of_extension);
    if extent == Extent::Tables {
        let named = own.filter(|r| kept.contains(&r.oid) && r.owned_by.is_none_or(|owner| !kept.contains(&owner)));
        return named.map(|relation| table("table", relation)).collect();
    }
    let mut options: Vec<String> = if extent == Extent::Schemas {
        in_dump.iter().map(|schema| format!("--schema={}", ident(schema))).collect()
    } else {
        schemas.difference(in_dump).map(|schema| format!("--exclude-schema={}", ident(schema))).collect()
    };
    let lost = own.filter(|r| !kept.contains(&r.oid) && in_dump.contains(&r.schema));
    options.extend(lost.map(|relation| table("exclude-table", relation)));
    options
}

async fn assert_fits(options: &[String], client: &Client) -> Result<(), Error> {
    let bytes: usize = options.iter().map(String::len).sum();
    if bytes > MOST_NAMES_BYTES {
        let what = format!(
            "the filter comes to {} names of {bytes} bytes together; pg_dump can be told {MOST_NAMES_BYTES} bytes",
            options.len()
        );
        return Err(
            Error::new(Kind::Unsupported, what).hint("filter by schema, or by fewer tables; nothing was stored")
        );
    }
    if options.iter().all(|option| option.is_ascii()) {
        return Ok(());
    }
    let row = client.query_one("SHOW server_encoding", &[]).await.map_err(from_postgres("read the encoding"))?;
    match row.get::<_, String>(0).as_str() {
        "UTF8" => Ok(()),
        encoding => {
            let what = format!("the filter comes to names that are not ASCII, in a database in {encoding}");
            Err(Error::new(Kind::Unsupported, what).hint("filter by schemas with plain names; nothing was stored"))
        }
    }
}
