//! G1: a backup belongs to one moment, whatever is written meanwhile.

use crate::place::{Place, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use testkit::servers::postgres;
use testkit::sql;

/// Writers move amounts between two tables and log each move, always in one transaction: any moment has the same total,
/// and as many moves as the log's own counter says.
#[tokio::test]
async fn a_backup_under_concurrent_writes_shows_one_moment() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create table a (id int primary key, amount bigint not null, pad text);
         create table b (id int primary key, amount bigint not null, pad text);
         create table moves (id bigint generated always as identity primary key, n bigint not null, at timestamptz default now());
         create table counter (n bigint not null); insert into counter values (0);
         insert into a select i, 1000, repeat('x', 300) from generate_series(1, 60000) i;
         insert into b select i, 1000, repeat('y', 300) from generate_series(1, 60000) i;",
    )
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let moved = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> =
        (0..3).map(|n| tokio::spawn(write(db.url(), n, Arc::clone(&stop), Arc::clone(&moved)))).collect();
    let place = Place::new().await;
    let begun = moved.load(Relaxed);
    place.backup(&db.url()).run().await.success();
    let during = moved.load(Relaxed) - begun;
    stop.store(true, Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(during > 0, "nothing was written during the backup, so this has shown nothing");
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    let total = "select (select sum(amount) from a) + (select sum(amount) from b)";
    assert_eq!(sql::value(&target.url, total).await, "120000000");
    let consistent = "select (select n from counter) = (select count(*) from moves)";
    assert_eq!(sql::value(&target.url, consistent).await, "t");
}

async fn write(url: String, seed: u64, stop: Arc<AtomicBool>, moved: Arc<AtomicU64>) {
    let client = sql::connect(&url).await;
    let mut n = seed * 7919;
    while !stop.load(Relaxed) {
        n += 104_729;
        let (from, to) = (n % 60_000 + 1, (n * 31) % 60_000 + 1);
        let sql = format!(
            "begin; update counter set n = n + 1; update a set amount = amount - 5 where id = {from};
             update b set amount = amount + 5 where id = {to}; insert into moves (n) values ({n}); commit"
        );
        client.batch_execute(&sql).await.unwrap();
        moved.fetch_add(1, Relaxed);
    }
}

/// A table that appears while tables are being locked is in the backup or makes it start over: never half in it.
#[tokio::test]
async fn tables_that_come_and_go_during_a_backup_do_not_tear_it() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table kept (x int); insert into kept values (1)").await;
    let stop = Arc::new(AtomicBool::new(false));
    let (url, stopped) = (db.url(), Arc::clone(&stop));
    let churn = tokio::spawn(async move {
        let client = sql::connect(&url).await;
        let mut n = 0;
        while !stopped.load(Relaxed) {
            n += 1;
            client
                .batch_execute(&format!("create table t{n} as select 1 as x; create table u{n} as select 1 as x"))
                .await
                .unwrap();
            if n > 2 {
                client.batch_execute(&format!("drop table t{}, u{}", n - 2, n - 2)).await.unwrap();
            }
        }
    });
    let place = Place::new().await;
    let mut made = 0;
    for _ in 0..5 {
        let outcome = place.backup(&db.url()).run().await;
        // Either all of a moment, or an error that a retry may cure; nothing between.
        match outcome.code {
            Some(0) => made += 1,
            _ => drop(outcome.expect_code(69)),
        }
    }
    stop.store(true, Relaxed);
    churn.await.unwrap();
    assert_eq!(place.listed().await.len(), made);
    if made > 0 {
        let target = Target::of(&db);
        place.restore(&target.url).run().await.success();
        let torn = "select count(*) from (select substr(relname, 2) from pg_class where relname ~ '^[tu][0-9]+$' \
                    group by 1 having count(*) = 1) x";
        assert!(
            sql::value(&target.url, torn).await.parse::<u64>().unwrap() <= 1,
            "at most the pair being made is torn"
        );
    }
}
