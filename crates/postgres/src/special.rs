//! Tables whose rows go another way than most.
//!
//! Owns recognising them at the source. An extension's own tables, made by `CREATE EXTENSION`, whose author declared some
//! rows to be the user's (`pg_extension_config_dump`): those rows are kept, and loaded before all others, in the order of
//! their foreign keys. And tables partitioned by the hash of something whose hash a restore changes: enum values hash by
//! their oid, so rows would not fit the partitions that they came from; they are read and loaded through the topmost
//! table. Promises that a row belongs to exactly one stream.

use crate::catalog::{Special, Table};
use crate::failure::from_postgres;
use engine::Error;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// Marks the tables that extensions declared, in the order in which their rows can be loaded.
pub(crate) async fn mark_extensions(client: &Client, tables: &mut [Table]) -> Result<(), Error> {
    let sql = "SELECT e.extname, f.oid, coalesce(f.condition, '') FROM pg_catalog.pg_extension e, \
         unnest(e.extconfig, e.extcondition) AS f(oid, condition) ORDER BY 1, 2";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("look for extensions' tables"))?;
    if rows.is_empty() {
        return Ok(());
    }
    let declared: BTreeMap<u32, (String, String)> =
        rows.iter().map(|row| (row.get(1), (row.get(0), row.get(2)))).collect();
    let order = load_order(declared.keys().copied().collect(), &references(client).await?);
    for table in tables {
        let Some((name, condition)) = declared.get(&table.oid) else { continue };
        let order = order.iter().position(|oid| *oid == table.oid).unwrap_or_default();
        let order = u32::try_from(order).unwrap_or(u32::MAX);
        table.special = Some(Special::Extension { name: name.clone(), condition: condition.clone(), order });
    }
    Ok(())
}

/// Pairs of tables of which the first refers to the second.
async fn references(client: &Client) -> Result<BTreeSet<(u32, u32)>, Error> {
    let sql = "SELECT conrelid, confrelid FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conrelid <> confrelid";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read foreign keys"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// An order in which every table comes after those it refers to. Tables that refer to each other in a circle come last, in
/// the order of their oids: whether they load is up to their constraints.
fn load_order(mut left: BTreeSet<u32>, references: &BTreeSet<(u32, u32)>) -> Vec<u32> {
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = |oid: &u32| !references.iter().any(|(from, to)| from == oid && left.contains(to));
        let mut next: Vec<u32> = left.iter().copied().filter(free).collect();
        if next.is_empty() {
            next = left.iter().copied().collect();
        }
        left.retain(|oid| !next.contains(oid));
        order.append(&mut next);
    }
    order
}

/// Topmost tables above any table partitioned by a hash that depends on oids, directly or by what a value is made of.
pub(crate) const HASHED_ROOTS: &str = "SELECT DISTINCT pg_catalog.pg_partition_root(p.partrelid)::oid AS root \
     FROM pg_catalog.pg_partitioned_table p WHERE p.partstrat = 'h' AND EXISTS (SELECT FROM pg_catalog.pg_opclass o \
     JOIN pg_catalog.pg_am a ON a.oid = o.opcmethod WHERE o.oid = ANY (p.partclass) AND a.amname = 'hash' \
     AND o.opcname IN ('enum_ops', 'array_ops', 'record_ops', 'range_ops', 'multirange_ops'))";

/// Marks tables partitioned by a hash that a restore changes: the topmost table and everything below it.
pub(crate) async fn mark_roots(client: &Client, tables: &mut [Table]) -> Result<(), Error> {
    let sql = format!(
        "SELECT DISTINCT r.root, t.relid::oid, r.root = t.relid FROM ({HASHED_ROOTS}) r, \
         pg_catalog.pg_partition_tree(r.root) t"
    );
    let rows = client.query(&sql, &[]).await.map_err(from_postgres("look for hash partitions"))?;
    let below: BTreeMap<u32, (u32, bool)> = rows.iter().map(|row| (row.get(1), (row.get(0), row.get(2)))).collect();
    let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
    for table in tables.iter().filter(|table| below.contains_key(&table.oid)) {
        let root = below.get(&table.oid).map_or(0, |(root, _)| *root);
        *bytes.entry(root).or_default() += table.table_bytes;
    }
    for table in tables {
        match below.get(&table.oid) {
            Some((root, true)) => {
                table.special = Some(Special::Root);
                table.table_bytes = bytes.get(root).copied().unwrap_or_default();
            }
            Some((_, false)) => table.special = Some(Special::Leaf),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_after_those_they_refer_to_and_circles_come_last() {
        let order = load_order([1, 2, 3, 4, 5].into(), &[(1, 2), (2, 3), (4, 5), (5, 4), (1, 99)].into());
        assert_eq!(order, [3, 2, 1, 4, 5]);
    }
}
