//! Where names are looked for: the search path of sessions that read and load.
//!
//! Owns the few cases in which an empty path, which makes every name that is written a qualified one, is too strict: reading a
//! range of a table makes the server plan its indexes, and an index whose function names things without their schema cannot
//! be planned then. Such a table is read with the database's own path. Promises that no value is written with a
//! name that depends on a path: a table that holds names of objects (`regclass` and its kin, however deep inside a value) is
//! read with the empty one, and when its indexes need a path, by a COPY of the whole table, which plans nothing.

use crate::catalog::Table;
use crate::database::{Properties, Setting};
use crate::failure::from_postgres;
use crate::quote::literal;
use engine::Error;
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// The database's own search path, where it has one; its sessions' default where not.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchPath(Option<String>);

impl SearchPath {
    /// What the database sets for everybody.
    pub fn of(properties: &Properties) -> Self {
        let own = |setting: &&Setting| setting.role.is_none() && setting.name == "search_path";
        Self(properties.settings.iter().find(own).map(|setting| setting.value.clone()))
    }

    /// The statement that makes a session look for names there.
    pub fn statement(&self) -> String {
        match &self.0 {
            Some(path) => format!("SELECT pg_catalog.set_config('search_path', {}, false)", literal(path)),
            None => "RESET search_path".to_owned(),
        }
    }

    /// Makes a session look for names there.
    pub async fn set(&self, client: &Client) -> Result<(), Error> {
        let set = match &self.0 {
            Some(path) => {
                client.execute("SELECT pg_catalog.set_config('search_path', $1, false)", &[path]).await.map(drop)
            }
            None => client.batch_execute("RESET search_path").await,
        };
        set.map_err(from_postgres("set the search path"))
    }
}

/// Makes a session look for names nowhere.
pub(crate) async fn clear(client: &Client) -> Result<(), Error> {
    client.batch_execute("SET search_path = ''").await.map_err(from_postgres("clear the search path"))
}

/// Marks tables whose indexes have expressions or conditions, tables that hold names of objects, and tables whose checks ask
/// functions.
pub(crate) async fn mark(client: &Client, tables: &mut [Table]) -> Result<(), Error> {
    let planned = oids(client, PLANNED).await?;
    let naming = oids(client, NAMING).await?;
    let asking = oids(client, ASKING).await?;
    for table in tables {
        table.plans_code = planned.contains(&table.oid);
        table.holds_names = naming.contains(&table.oid);
        table.asks_code = asking.contains(&table.oid);
    }
    Ok(())
}

async fn oids(client: &Client, sql: &str) -> Result<BTreeSet<u32>, Error> {
    let rows = client.query(sql, &[]).await.map_err(from_postgres("look for tables that depend on a search path"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Tables with code in their indexes: the server looks into it whenever it plans.
const PLANNED: &str =
    "SELECT DISTINCT indrelid FROM pg_catalog.pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL";

/// Tables with a check, or a column of a domain with one, that calls a function of somebody's own: not in C, not of an extension.
const ASKING: &str = "WITH asking AS (SELECT o.conrelid, o.contypid FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_depend d \
     ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = o.oid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
     JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
     WHERE o.contype = 'c' AND p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e \
     WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e')) \
     SELECT conrelid FROM asking WHERE conrelid <> 0 UNION SELECT a.attrelid FROM asking JOIN pg_catalog.pg_attribute a \
     ON a.atttypid = asking.contypid WHERE asking.contypid <> 0 AND a.attnum > 0 AND NOT a.attisdropped";

/// Tables with a column of a type that is written as a name, or that is made of one: arrays, domains, rows, ranges.
const NAMING: &str = "WITH RECURSIVE naming(type) AS (SELECT t.oid FROM pg_catalog.pg_type t \
     JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = 'pg_catalog' AND t.typname ~ '^reg[a-z]+$' \
     UNION SELECT made.type FROM naming JOIN (SELECT typelem AS of, oid AS type FROM pg_catalog.pg_type WHERE typelem <> 0 \
     UNION ALL SELECT typbasetype, oid FROM pg_catalog.pg_type WHERE typbasetype <> 0 \
     UNION ALL SELECT rngsubtype, rngtypid FROM pg_catalog.pg_range UNION ALL SELECT rngtypid, rngmultitypid FROM pg_catalog.pg_range \
     UNION ALL SELECT a.atttypid, c.reltype FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     WHERE c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped) made ON made.of = naming.type) \
     SELECT DISTINCT a.attrelid FROM pg_catalog.pg_attribute a JOIN naming ON naming.type = a.atttypid \
     WHERE a.attnum > 0 AND NOT a.attisdropped";
