//! Nothing is lost silently: what a backup cannot carry yet makes it fail, naming the object.

use crate::place::{Place, assert_failed};
use testkit::servers::postgres;

async fn is_refused(sql: &str, names: &str) {
    let db = postgres(15).await.create_database().await;
    db.exec(sql).await;
    let place = Place::new().await;
    assert_failed(place.backup(&db.url()).run().await, 78, names);
    place.assert_no_manifest();
}

#[tokio::test]
async fn a_database_with_timescaledb_is_refused_by_name() {
    // The extension itself is not to be had here: its row in the catalog is what is looked for.
    let sql = "insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
               values (99999, 'timescaledb', 10, 11, false, '2')";
    is_refused(&format!("set allow_system_table_mods = on; {sql}"), "timescaledb").await;
}

/// Its rows would be read through the topmost table, and on the day of the restore written into the other server.
#[tokio::test]
async fn a_foreign_partition_beside_one_hashed_by_an_enum_is_refused_by_name() {
    let sql = "create type mood as enum ('sad', 'ok'); create foreign data wrapper w; create server far foreign data wrapper w;
         create table above (id int, m mood) partition by range (id);
         create table above_1 partition of above for values from (0) to (10) partition by hash (m);
         create table above_1_0 partition of above_1 for values with (modulus 1, remainder 0); insert into above values (1, 'ok');
         create foreign table above_far partition of above for values from (10) to (20) server far";
    is_refused(sql, "by the hash of an enum: public.above_far").await;
}

#[tokio::test]
async fn a_table_partitioned_by_the_hash_of_a_number_is_carried() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create table n (x int) partition by hash (x); create table n0 partition of n for values with (modulus 2, remainder 0);
         create table n1 partition of n for values with (modulus 2, remainder 1); insert into n select generate_series(1, 1000);
         create foreign data wrapper w; create server far foreign data wrapper w; create table m (x int) partition by hash (x);
         create table m0 partition of m for values with (modulus 2, remainder 0);
         create foreign table m1 partition of m for values with (modulus 2, remainder 1) server far",
    )
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = crate::place::Target::of(&db);
    place.restore(&target.url).run().await.success();
}
