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

#[tokio::test]
async fn a_table_partitioned_by_the_hash_of_a_number_is_carried() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create table n (x int) partition by hash (x); create table n0 partition of n for values with (modulus 2, remainder 0);
         create table n1 partition of n for values with (modulus 2, remainder 1); insert into n select generate_series(1, 1000)",
    )
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = crate::place::Target::of(&db);
    place.restore(&target.url).run().await.success();
}
