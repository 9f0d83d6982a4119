//! G3 and the number of objects: what a backup takes does not grow with the database.

use crate::place::{Place, Target};
use testkit::servers::postgres;

const MIB: u64 = 1 << 20;

/// The target of the design: 256 MiB, plus three times the largest row as it goes over the wire.
#[tokio::test]
async fn memory_is_bounded_with_a_row_of_200_mb() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create table wide (id int primary key, body text);
         alter table wide alter body set storage external;
         insert into wide select 1, repeat(md5('x'), 6250000);
         create table rows (id bigint primary key, body text);
         insert into rows select i, repeat(md5(i::text), 20) from generate_series(1, 150000) i;",
    )
    .await;
    let row = db.value("select octet_length(body) from wide").await.parse::<u64>().unwrap();
    assert_eq!(row, 200_000_000);
    let place = Place::new().await;
    let bound = 256 * MIB + 3 * row;
    let backup = place.backup(&db.url()).run().await.success();
    let peak = backup.max_rss.expect("the backup's memory was seen");
    assert!(peak <= bound, "the backup took {} MiB", peak / MIB);
    let target = Target::of(&db);
    let restore = place.restore(&target.url).run().await.success();
    let peak = restore.max_rss.expect("the restore's memory was seen");
    assert!(peak <= bound, "the restore took {} MiB", peak / MIB);
}

/// Without a giant row the bound is 256 MiB whatever the size; 400 MB of rows are enough to show a leak.
#[tokio::test]
async fn memory_is_bounded_whatever_the_database_holds() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create table rows (id bigint, body text);
         insert into rows select i, md5(i::text) || repeat(md5((i * 7)::text), 24) from generate_series(1, 500000) i;",
    )
    .await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).run().await.success();
    assert!(backup.json()["bytes"].as_u64().unwrap() > 400_000_000);
    let peak = backup.max_rss.expect("the backup's memory was seen");
    assert!(peak <= 256 * MIB, "the backup took {} MiB", peak / MIB);
    let target = Target::of(&db);
    let peak = place.restore(&target.url).run().await.success().max_rss.expect("the restore's memory was seen");
    assert!(peak <= 256 * MIB, "the restore took {} MiB", peak / MIB);
}

/// Values that do not compress, of 1 to 128 KiB: chunks of every size that go from thread to thread.
#[tokio::test]
async fn memory_is_bounded_with_wide_values() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create table scans (id bigint primary key, pixels bytea not null);
         alter table scans alter pixels set storage external;
         insert into scans select i, (select string_agg(sha256(int8send(i * 8192 + p)), ''::bytea)
             from generate_series(1, 32 * (1 + (hashint8extended(i, 5) & 127))) p) from generate_series(1, 6000) i;",
    )
    .await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).run().await.success();
    assert!(backup.json()["bytes"].as_u64().unwrap() > 700_000_000);
    let peak = backup.max_rss.expect("the backup's memory was seen");
    assert!(peak <= 256 * MIB, "the backup took {} MiB", peak / MIB);
    let target = Target::of(&db);
    let peak = place.restore(&target.url).run().await.success().max_rss.expect("the restore's memory was seen");
    assert!(peak <= 256 * MIB, "the restore took {} MiB", peak / MIB);
}

#[tokio::test]
async fn two_thousand_small_tables_take_at_most_60_objects() {
    let db = postgres(15).await.create_database().await;
    // Several transactions: one would need more locks than a server has by default.
    for hundred in 0..20 {
        let first = hundred * 100 + 1;
        db.exec(&format!(
            "do $$ begin for i in {first}..{} loop execute format('create table t%s (id int primary key, v text)', i); \
             execute format('insert into t%s select x, md5((x * %s)::text) from generate_series(1, 20) x', i, i); end loop; end $$",
            first + 99
        ))
        .await;
    }
    let place = Place::new().await;
    let before = crate::place::files(&place.path()).len();
    let backup = place.backup(&db.url()).run().await.success().json();
    assert_eq!((backup["streams"].as_u64(), backup["rows"].as_u64()), (Some(2_000), Some(40_000)));
    let written = crate::place::files(&place.path()).len() - before;
    assert!(written <= 60, "{written} objects were written");
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}
