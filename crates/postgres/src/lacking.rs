//! What a part of a database needs and does not hold.
//!
//! Owns finding it at the source, where the server knows what depends on what: types, functions, sequences and extensions that
//! kept tables use and that the vendor's dump of a part leaves out; schemas that it does not make; foreign keys to tables,
//! or to rows, that are not there. Promises that each is named in a note of the backup, so that nobody finds out on the day of the
//! restore, and that a restore knows which entries of the archive cannot be made. Refuses to fetch them: a part is a part.

use crate::catalog::Catalog;
use crate::failure::from_postgres;
use crate::filter::{Extent, MOST_NOTED};
use crate::quote::{listed, shown};
use crate::toc::{Contents, Entry};
use engine::Error;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// Oid of `pg_constraint` in every PostgreSQL.
const PG_CONSTRAINT: u32 = 2606;

/// What a restore must know of a filtered backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lacking {
    /// Schemas that things in the archive are in, and that it does not make.
    pub schemas: Vec<String>,
    /// Foreign keys, by their oid at the source, to tables or rows that are not in the backup.
    pub foreign_keys: Vec<u32>,
}

/// The tables of a part, by oid.
pub(crate) struct Tables<'a> {
    /// Relations that are kept.
    pub kept: &'a BTreeSet<u32>,
    /// Tables whose rows are left out.
    pub without_rows: &'a BTreeSet<u32>,
    /// Partition to partitioned table, of all tables.
    pub partition_of: &'a BTreeMap<u32, u32>,
}

impl Tables<'_> {
    /// The table if it has no partitions, else those of its partitions that have none.
    fn leaves(&self, table: u32) -> Vec<u32> {
        if !self.partition_of.values().any(|top| *top == table) {
            return vec![table];
        }
        let is_below =
            |oid: u32| std::iter::successors(Some(oid), |o| self.partition_of.get(o).copied()).any(|o| o == table);
        let tops: BTreeSet<u32> = self.partition_of.values().copied().collect();
        let below = self.partition_of.keys().copied().filter(|oid| is_below(*oid));
        below.filter(|oid| !tops.contains(oid)).collect()
    }

    fn has_rows(&self, leaf: &u32) -> bool {
        self.kept.contains(leaf) && !self.without_rows.contains(leaf)
    }
}

/// Looks at what is needed. `schemas` are those whose other objects are in the dump.
pub(crate) async fn read(
    client: &Client,
    extent: Extent,
    tables: Tables<'_>,
    schemas: &BTreeSet<String>,
) -> Result<(Lacking, Vec<String>), Error> {
    let kept = tables.kept;
    let (mut foreign_keys, mut keys, mut keys_to_rows) = (Vec::new(), Vec::new(), Vec::new());
    for key in read_keys(client).await?.into_iter().filter(|key| kept.contains(&key.from)) {
        let names = match (kept.contains(&key.to), key.is_lost(&tables)) {
            (false, _) => &mut keys,
            (true, true) => &mut keys_to_rows,
            (true, false) => continue,
        };
        names.push(key.shown);
        foreign_keys.push(key.oid);
    }
    let needed = objects(client, extent, kept, schemas).await?;
    let missing = missing_schemas(client, extent, kept, schemas).await?;
    let mut notes = Vec::new();
    let mut note = |what: &str, names: &[String]| {
        if !names.is_empty() {
            notes.push(format!("{what}: {}", listed(names, MOST_NOTED)));
        }
    };
    note("left out at a restore: foreign keys to tables that are not in this backup", &keys);
    note("left out at a restore: foreign keys to rows that are not in this backup", &keys_to_rows);
    note("needed by what is in this backup, and not in it", &needed);
    if extent != Extent::Rest && has_large_objects(client).await? {
        notes.push("left out: large objects, which belong to no schema".to_owned());
    }
    Ok((Lacking { schemas: missing, foreign_keys }, notes))
}

/// A foreign key at the source.
struct Key {
    oid: u32,
    /// The table that refers, and the one that is referred to.
    from: u32,
    to: u32,
    /// Whether every row was checked: only then a restore checks them.
    checked: bool,
    shown: String,
}

impl Key {
    /// Whether rows that are kept may refer to rows that are not.
    fn is_lost(&self, tables: &Tables<'_>) -> bool {
        self.checked
            && tables.leaves(self.from).iter().any(|leaf| tables.has_rows(leaf))
            && !tables.leaves(self.to).iter().all(|leaf| tables.has_rows(leaf))
    }
}

/// All foreign keys, by the names of their tables; a partition's are its table's.
async fn read_keys(client: &Client) -> Result<Vec<Key>, Error> {
    let sql = "SELECT k.oid, k.conname::text, k.conrelid, k.confrelid, n.nspname::text, c.relname::text, k.convalidated \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 5, 6, 2";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("look for foreign keys"))?;
    let key = |row: &tokio_postgres::Row| Key {
        oid: row.get(0),
        from: row.get(2),
        to: row.get(3),
        checked: row.get(6),
        shown: format!("{} of {}", row.get::<_, String>(1), shown(row.get(4), row.get(5))),
    };
    Ok(rows.iter().map(key).collect())
}

/// Types, functions, collations and sequences that something in the part refers to, and that are not in it.
async fn objects(
    client: &Client,
    extent: Extent,
    kept: &BTreeSet<u32>,
    schemas: &BTreeSet<String>,
) -> Result<Vec<String>, Error> {
    let sql = "WITH kept AS (SELECT unnest($1::oid[]) AS oid), \
         inside AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ($2::text[])), \
         parts(class, oid) AS ( \
         SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, oid FROM kept \
         UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, indexrelid FROM pg_catalog.pg_index WHERE indrelid IN (SELECT oid FROM kept) \
         UNION ALL SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, oid FROM pg_catalog.pg_attrdef WHERE adrelid IN (SELECT oid FROM kept) \
         UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, oid FROM pg_catalog.pg_constraint \
         WHERE conrelid IN (SELECT oid FROM kept) AND contype <> 'f' \
         UNION ALL SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, oid FROM pg_catalog.pg_trigger WHERE tgrelid IN (SELECT oid FROM kept) AND NOT tgisinternal \
         UNION ALL SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, oid FROM pg_catalog.pg_rewrite WHERE ev_class IN (SELECT oid FROM kept) \
         UNION ALL SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, oid FROM pg_catalog.pg_policy WHERE polrelid IN (SELECT oid FROM kept) \
         UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM inside) \
         UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM inside) AND typtype IN ('d', 'r')), \
         needed AS (SELECT DISTINCT d.refclassid AS class, d.refobjid AS oid FROM parts p JOIN pg_catalog.pg_depend d \
         ON d.classid = p.class AND d.objid = p.oid WHERE d.refobjid >= 16384 AND d.deptype IN ('n', 'a') \
         AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)), \
         found(class, oid, schema, relation) AS ( \
         SELECT n.class, coalesce(e.oid, t.oid), t.typnamespace, coalesce(c.oid, 0) FROM needed n JOIN pg_catalog.pg_type t \
         ON n.class = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = n.oid \
         LEFT JOIN pg_catalog.pg_type e ON t.typelem <> 0 AND t.typlen = -1 AND e.oid = t.typelem \
         LEFT JOIN pg_catalog.pg_class c ON c.oid = coalesce(e.typrelid, t.typrelid) AND c.relkind <> 'c' \
         UNION ALL SELECT n.class, p.oid, p.pronamespace, 0 FROM needed n JOIN pg_catalog.pg_proc p \
         ON n.class = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = n.oid \
         UNION ALL SELECT n.class, k.oid, k.collnamespace, 0 FROM needed n JOIN pg_catalog.pg_collation k \
         ON n.class = 'pg_catalog.pg_collation'::pg_catalog.regclass AND k.oid = n.oid \
         UNION ALL SELECT n.class, c.oid, c.relnamespace, c.oid FROM needed n JOIN pg_catalog.pg_class c \
         ON n.class = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = n.oid AND c.relkind NOT IN ('i', 'I', 'c') \
         UNION ALL SELECT n.class, o.oid, o.opcnamespace, 0 FROM needed n JOIN pg_catalog.pg_opclass o \
         ON n.class = 'pg_catalog.pg_opclass'::pg_catalog.regclass AND o.oid = n.oid) \
         SELECT DISTINCT coalesce('extension ' || x.extname, pg_catalog.pg_describe_object(f.class, f.oid, 0)), \
         x.extname IS NOT NULL, f.schema IN (SELECT oid FROM inside), f.relation FROM found f \
         LEFT JOIN pg_catalog.pg_depend d ON d.classid = f.class AND d.objid = f.oid AND d.objsubid = 0 AND d.deptype = 'e' \
         LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid ORDER BY 1";
    let kept_oids: Vec<u32> = kept.iter().copied().collect();
    let inside: Vec<&str> = schemas.iter().map(String::as_str).collect();
    let rows = client.query(sql, &[&kept_oids, &inside]).await.map_err(from_postgres("look what the part needs"))?;
    let lacks = |row: &&tokio_postgres::Row| match (row.get(1), row.get::<_, u32>(3)) {
        (true, _) => extent != Extent::Rest,
        (false, 0) => !row.get::<_, bool>(2),
        (false, relation) => !kept.contains(&relation),
    };
    let mut names: Vec<String> = rows.iter().filter(lacks).map(|row| row.get(0)).collect();
    names.dedup();
    Ok(names)
}

/// Schemas of kept relations, and those that extensions in the dump are made in.
async fn missing_schemas(
    client: &Client,
    extent: Extent,
    kept: &BTreeSet<u32>,
    schemas: &BTreeSet<String>,
) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname <> ALL ($2::text[]) \
         AND n.nspname !~ '^pg_' AND (n.oid IN (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = ANY ($1::oid[])) \
         OR $3 AND n.oid IN (SELECT extnamespace FROM pg_catalog.pg_extension)) ORDER BY 1";
    let kept: Vec<u32> = kept.iter().copied().collect();
    let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
    let rows = client.query(sql, &[&kept, &schemas, &(extent == Extent::Rest)]).await;
    Ok(rows.map_err(from_postgres("look for schemas that the part needs"))?.iter().map(|row| row.get(0)).collect())
}

/// Roles that were granted something in the part, or that policies and user mappings in it name. Its owners are in the
/// archive.
pub(crate) async fn roles(
    client: &Client,
    extent: Extent,
    kept: &BTreeSet<u32>,
    schemas: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Error> {
    let sql = "WITH inside AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ($2::text[])) \
         SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid \
         WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.dbid = \
         (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
         AND (d.deptype IN ('a', 'r') OR d.classid = 'pg_catalog.pg_user_mapping'::pg_catalog.regclass) \
         AND CASE d.classid WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN d.objid = ANY ($1::oid[]) \
         WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass \
         THEN EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.oid = d.objid AND p.polrelid = ANY ($1::oid[])) \
         WHEN 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN d.objid IN (SELECT oid FROM inside) \
         WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass \
         THEN EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.oid = d.objid AND p.pronamespace IN (SELECT oid FROM inside)) \
         WHEN 'pg_catalog.pg_type'::pg_catalog.regclass \
         THEN EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = d.objid AND t.typnamespace IN (SELECT oid FROM inside)) \
         WHEN 'pg_catalog.pg_default_acl'::pg_catalog.regclass \
         THEN EXISTS (SELECT FROM pg_catalog.pg_default_acl a WHERE a.oid = d.objid \
         AND (a.defaclnamespace IN (SELECT oid FROM inside) OR a.defaclnamespace = 0 AND $3)) \
         ELSE $3 END ORDER BY 1";
    let kept: Vec<u32> = kept.iter().copied().collect();
    let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
    let rows = client.query(sql, &[&kept, &schemas, &(extent == Extent::Rest)]).await;
    Ok(rows.map_err(from_postgres("look for roles that the part needs"))?.iter().map(|row| row.get(0)).collect())
}

async fn has_large_objects(client: &Client) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)";
    Ok(client.query_one(sql, &[]).await.map_err(from_postgres("look for large objects"))?.get(0))
}

/// Owners of what a filtered backup's archive makes; none for a backup of everything, which records them.
pub(crate) fn owners(contents: &Contents, catalog: &Catalog) -> BTreeSet<String> {
    if catalog.lacking.is_none() {
        return BTreeSet::new();
    }
    let (out, _) = unmakeable(contents, catalog);
    let made = contents.entries.iter().filter(|entry| !entry.owner.is_empty() && !out.contains(&entry.id));
    made.map(|entry| entry.owner.clone()).collect()
}

/// Entries of a filtered backup's archive that cannot be made: foreign keys to what is not there, attachments to a
/// partitioned table that is not there, and the schema that every database has. With a note on each but the last.
pub(crate) fn unmakeable(contents: &Contents, catalog: &Catalog) -> (BTreeSet<i32>, Vec<String>) {
    let Some(lacking) = &catalog.lacking else { return (BTreeSet::new(), Vec::new()) };
    let by_id = contents.by_id();
    // Both sides of an attachment are needed, if they are there.
    let two = |entry: &Entry, kinds: &[&str]| {
        let of_kind = |id: &&i32| by_id.get(id).is_some_and(|need| kinds.contains(&need.kind.as_str()));
        entry.needs.iter().filter(of_kind).collect::<BTreeSet<_>>().len() >= 2
    };
    let attached_to_nothing = |entry: &Entry| entry.kind == "TABLE ATTACH" && !two(entry, &["TABLE", "FOREIGN TABLE"]);
    let index_to_nothing = |entry: &Entry| entry.kind == "INDEX ATTACH" && !two(entry, &["INDEX", "CONSTRAINT"]);
    let key_to_nothing = |entry: &Entry| entry.class == PG_CONSTRAINT && lacking.foreign_keys.contains(&entry.oid);
    let (mut out, mut notes) = (BTreeSet::new(), Vec::new());
    for entry in &contents.entries {
        if attached_to_nothing(entry) || key_to_nothing(entry) {
            notes.push(format!("left out, because the backup is of a part: {}", entry.shown()));
        } else if !(index_to_nothing(entry) || entry.kind == "SCHEMA" && entry.tag == "public") {
            continue;
        }
        out.insert(entry.id);
    }
    // What is said about something that is not made is not said.
    let about = |entry: &&Entry| entry.kind == "COMMENT" && entry.tag.starts_with("CONSTRAINT ");
    let comments = contents.entries.iter().filter(about).filter(|entry| entry.needs.iter().any(|id| out.contains(id)));
    let comments: Vec<i32> = comments.map(|entry| entry.id).collect();
    out.extend(comments);
    (out, notes)
}
