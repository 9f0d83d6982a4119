//! What a restore will need: recorded with the backup, because the vendor's archive does not tell.
//!
//! Owns the queries that find it at the source: who owns what, which roles are named even where owners and grants are left
//! out, the system's collations in use, and what only a superuser can make. Promises that a restore can say before
//! it makes anything what will not work. Refuses to guess: what extensions make is left to `CREATE EXTENSION`.

use crate::failure::from_postgres;
use engine::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Most names that one query adds to a list for people.
const MOST_NAMES: u32 = 20;

/// The record. Backups of versions that had none lack it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Needs {
    /// Roles that own something which the archive gives back to them, or whose default privileges it sets.
    pub owners: BTreeSet<String>,
    /// Roles that policies and user mappings name: they are needed even when owners and grants are left out.
    pub named: BTreeSet<String>,
    /// Collations of the system's that columns, domains and ranges use.
    pub collations: BTreeSet<String>,
    /// What only a superuser can make and the archive's table of contents does not show as such.
    pub superuser: Vec<String>,
    /// Grants that only a superuser can bring back.
    pub superuser_grants: Vec<String>,
    /// Tables whose policies hide rows from their own owner, too.
    pub hidden_rows: Vec<String>,
}

/// Reads the record in the session's transaction.
pub(crate) async fn read(client: &Client) -> Result<Needs, Error> {
    let set = async |sql: &str| Ok::<_, Error>(names(client, sql).await?.into_iter().collect::<BTreeSet<_>>());
    Ok(Needs {
        owners: set(&owners()).await?,
        named: set(NAMED).await?,
        collations: set(COLLATIONS).await?,
        superuser: names(client, &superuser()).await?,
        superuser_grants: names(client, &superuser_grants()).await?,
        hidden_rows: names(client, HIDDEN_ROWS).await?,
    })
}

async fn names(client: &Client, sql: &str) -> Result<Vec<String>, Error> {
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read what a restore will need"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Catalogs of what has an owner: name, column of the owner, column of the schema.
const OWNED: &[(&str, &str, Option<&str>)] = &[
    ("pg_class", "relowner", Some("relnamespace")),
    ("pg_proc", "proowner", Some("pronamespace")),
    ("pg_type", "typowner", Some("typnamespace")),
    ("pg_namespace", "nspowner", None),
    ("pg_operator", "oprowner", Some("oprnamespace")),
    ("pg_opclass", "opcowner", Some("opcnamespace")),
    ("pg_opfamily", "opfowner", Some("opfnamespace")),
    ("pg_collation", "collowner", Some("collnamespace")),
    ("pg_conversion", "conowner", Some("connamespace")),
    ("pg_ts_dict", "dictowner", Some("dictnamespace")),
    ("pg_ts_config", "cfgowner", Some("cfgnamespace")),
    ("pg_statistic_ext", "stxowner", Some("stxnamespace")),
    ("pg_foreign_data_wrapper", "fdwowner", None),
    ("pg_foreign_server", "srvowner", None),
    ("pg_language", "lanowner", None),
    ("pg_event_trigger", "evtowner", None),
    ("pg_largeobject_metadata", "lomowner", None),
    ("pg_default_acl", "defaclrole", None),
];

/// Schemas that hold temporary things of other sessions.
const TEMPORARY: &str = "SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname ~ '^pg_(toast_)?temp_'";

/// A condition: the object is no extension's own (those are made by `CREATE EXTENSION` and given to nobody), and no part of
/// another (array types, a range's functions), which belongs to the same owner.
fn no_extensions(catalog: &str, oid: &str) -> String {
    format!(
        "NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass \
         AND e.objid = {oid} AND e.deptype IN ('e', 'i'))"
    )
}

/// Owners by their objects and not by `pg_shdepend`, which knows nothing of the bootstrap superuser's.
fn owners() -> String {
    let one = |(catalog, owner, schema): &(&str, &str, Option<&str>)| {
        let lasting = match (*catalog, schema) {
            ("pg_namespace", _) => "AND o.nspname !~ '^pg_(toast_)?temp_'".to_owned(),
            (_, Some(schema)) => format!("AND o.{schema} NOT IN ({TEMPORARY})"),
            (_, None) => String::new(),
        };
        format!(
            "SELECT pg_catalog.pg_get_userbyid(o.{owner})::text FROM pg_catalog.{catalog} o WHERE o.oid >= 16384 \
             {lasting} AND {}",
            no_extensions(catalog, "o.oid")
        )
    };
    let mut all: Vec<String> = OWNED.iter().map(one).collect();
    // The schema `public` is not a user's object, and given back when its owner was changed. Before version 15 it was
    // always the bootstrap superuser's, and left alone.
    all.push(
        "SELECT pg_catalog.pg_get_userbyid(n.nspowner)::text FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public' \
         AND pg_catalog.pg_get_userbyid(n.nspowner) <> 'pg_database_owner' \
         AND current_setting('server_version_num')::int >= 150000"
            .to_owned(),
    );
    all.join(" UNION ")
}

/// A policy for everybody has role 0 in its list; a mapping for everybody has user 0.
const NAMED: &str = "SELECT r.rolname::text FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_roles r ON r.oid = ANY (p.polroles) \
     UNION SELECT r.rolname::text FROM pg_catalog.pg_user_mappings m JOIN pg_catalog.pg_roles r ON r.oid = m.umuser";

const COLLATIONS: &str = "SELECT DISTINCT c.collname::text FROM pg_catalog.pg_collation c WHERE c.collname <> 'default' \
     AND c.collnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.oid IN ( \
     SELECT a.attcollation FROM pg_catalog.pg_attribute a WHERE a.attrelid >= 16384 AND NOT a.attisdropped \
     UNION SELECT t.typcollation FROM pg_catalog.pg_type t WHERE t.oid >= 16384 \
     UNION SELECT r.rngcollation FROM pg_catalog.pg_range r WHERE r.rngtypid >= 16384)";

const HIDDEN_ROWS: &str = "SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c \
     WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND c.relforcerowsecurity ORDER BY 1";

fn superuser() -> String {
    let (functions, casts) = (no_extensions("pg_proc", "p.oid"), no_extensions("pg_cast", "c.oid"));
    format!(
        "(SELECT 'function ' || p.oid::pg_catalog.regprocedure::text || ' (' || CASE WHEN l.lanpltrusted THEN 'leakproof' \
         ELSE 'language ' || l.lanname END || ')' FROM pg_catalog.pg_proc p \
         JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.oid >= 16384 AND p.prokind <> 'a' \
         AND (p.proleakproof OR NOT l.lanpltrusted) AND {functions} ORDER BY 1 LIMIT {MOST_NAMES}) \
         UNION ALL (SELECT 'aggregate ' || p.oid::pg_catalog.regprocedure::text || ' (internal state)' \
         FROM pg_catalog.pg_aggregate g JOIN pg_catalog.pg_proc p ON p.oid = g.aggfnoid WHERE p.oid >= 16384 \
         AND g.aggtranstype = 'pg_catalog.internal'::pg_catalog.regtype AND {functions} ORDER BY 1 LIMIT {MOST_NAMES}) \
         UNION ALL (SELECT 'cast from ' || c.castsource::pg_catalog.regtype::text || ' to ' \
         || c.casttarget::pg_catalog.regtype::text || ' (without a function)' FROM pg_catalog.pg_cast c \
         WHERE c.oid >= 16384 AND c.castmethod = 'b' AND {casts} ORDER BY 1 LIMIT {MOST_NAMES})"
    )
}

/// A grant that somebody else than the owner gave is brought back in that role's name, which takes a superuser; and what the
/// script of a trusted extension makes belongs to the bootstrap superuser.
fn superuser_grants() -> String {
    // Catalog, its list of grants, its owner, how to name one.
    let granted = [
        ("pg_class", "relacl", "relowner", "'table ' || o.oid::pg_catalog.regclass::text"),
        ("pg_proc", "proacl", "proowner", "'function ' || o.oid::pg_catalog.regprocedure::text"),
        ("pg_namespace", "nspacl", "nspowner", "'schema ' || o.nspname::text"),
        ("pg_type", "typacl", "typowner", "'type ' || o.oid::pg_catalog.regtype::text"),
        ("pg_foreign_server", "srvacl", "srvowner", "'server ' || o.srvname::text"),
    ];
    let by_others = granted.iter().map(|(catalog, acl, owner, name)| {
        format!(
            "SELECT {name} || ', by ' || pg_catalog.pg_get_userbyid(a.grantor)::text FROM pg_catalog.{catalog} o, \
             pg_catalog.aclexplode(o.{acl}) a WHERE a.grantor <> o.{owner} AND (o.oid >= 16384{}) AND {}",
            if *catalog == "pg_namespace" { " OR o.nspname = 'public'" } else { "" },
            no_extensions(catalog, "o.oid")
        )
    });
    let of_columns = format!(
        "SELECT 'columns of ' || o.oid::pg_catalog.regclass::text || ', by ' \
         || pg_catalog.pg_get_userbyid(a.grantor)::text FROM pg_catalog.pg_class o JOIN pg_catalog.pg_attribute c \
         ON c.attrelid = o.oid, pg_catalog.aclexplode(c.attacl) a WHERE a.grantor <> o.relowner AND o.oid >= 16384 AND {}",
        no_extensions("pg_class", "o.oid")
    );
    let of_extensions = [granted[0], granted[1]].map(|(catalog, acl, _, name)| {
        format!(
            "SELECT {name} || ', of extension ' || x.extname::text FROM pg_catalog.{catalog} o \
             JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass AND d.objid = o.oid \
             AND d.deptype = 'e' JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid \
             JOIN pg_catalog.pg_available_extension_versions v \
             ON v.name = x.extname AND v.version = x.extversion AND v.superuser \
             LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = d.classid AND i.objoid = o.oid AND i.objsubid = 0 \
             WHERE o.oid >= 16384 AND o.{acl} IS DISTINCT FROM i.initprivs"
        )
    });
    let all: Vec<String> = by_others.chain([of_columns]).chain(of_extensions).collect();
    format!("SELECT DISTINCT g FROM ({}) AS grants(g) ORDER BY 1 LIMIT {MOST_NAMES}", all.join(" UNION ALL "))
}
