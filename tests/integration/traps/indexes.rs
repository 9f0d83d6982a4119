//! Indexes and statistics: what hangs on them, what is wrong with them, what a planner knows.

use super::{Trip, on_every_version};
use testkit::sql;

/// Trap 12: replica identity, cluster mark, statistics targets and dependencies live inside an index's entry.
async fn trap_12_what_hangs_on_an_index_comes_back(version: u16) {
    let trip = Trip::whole(
        version,
        "create extension pg_trgm; create extension btree_gist;
         create table t (id int primary key, a int not null, b text, c int4range,
             constraint no_overlap exclude using gist (a with =, c with &&) where (a > 0) deferrable initially deferred);
         insert into t select n, n, 'b' || n, int4range(n, n + 2) from generate_series(1, 500) n;
         create unique index t_a on t (a); alter table t replica identity using index t_a;
         create index t_ab on t (lower(b), (a % 10)) include (id) with (fillfactor = 70) where a > 5;
         alter index t_ab alter column 1 set statistics 321; alter index t_ab alter column 2 set statistics 7;
         create table u (b text); insert into u select 'b' || n from generate_series(1, 100) n; create index u_b on u (b desc nulls last); cluster u using u_b;
         create index t_words on t using gin (b gin_trgm_ops) with (fastupdate = off);
         alter index t_words depends on extension pg_trgm;
         comment on index t_words is 'by trigrams'; alter table t alter column b set statistics 55;
         alter table t alter column a set (n_distinct = -0.5);
         create unique index nulls_too on t (b, id) nulls not distinct;
         create table full_identity (x int); alter table full_identity replica identity full;
         create table no_identity (x int); alter table no_identity replica identity nothing;
         create table by_constraint (x int, y int not null, constraint named unique (y) deferrable);
         alter table by_constraint cluster on named; create index hashed on by_constraint using hash (x);
         create index narrow on by_constraint using brin (x) with (pages_per_range = 4)",
    )
    .await;
    trip.assert("select indisreplident from pg_index where indexrelid = 't_a'::regclass", "t").await;
    trip.assert("select indisclustered from pg_index where indexrelid = 'u_b'::regclass", "t").await;
    trip.assert("select indisclustered from pg_index where indexrelid = 'named'::regclass", "t").await;
    trip.assert("select string_agg(attstattarget::text, ' ' order by attnum) filter (where attnum < 3) from pg_attribute where attrelid = 't_ab'::regclass", "321 7").await;
    trip.assert("select string_agg(relname || relreplident::text, ' ' order by relname) from pg_class where relname in ('t', 'full_identity', 'no_identity')", "full_identityf no_identityn ti").await;
    trip.assert("select count(*) from pg_depend where objid = 't_words'::regclass and deptype = 'x'", "1").await;
}

/// Trap 12: two indexes of one table with marks. Each is made and marked in one transaction, whose second lock is stronger
/// than its first: made side by side they wait for each other.
async fn trap_12_several_marks_on_one_table_do_not_lock_each_other_out(version: u16) {
    let one = |n: usize| {
        format!(
            "create table t{n} (a int not null, b int); insert into t{n} select i, i from generate_series(1, 2000) i;
             create unique index t{n}_a on t{n} (a); create index t{n}_b on t{n} (b);
             alter table t{n} replica identity using index t{n}_a; alter table t{n} cluster on t{n}_b;"
        )
    };
    let made = (1..=30).map(one).collect::<String>();
    let latin1 = "template template0 encoding 'LATIN1' locale 'C'";
    let db = testkit::servers::postgres(version).await.create_database_with(latin1).await;
    // Statements that are not ASCII are the vendor's tool to replay there, side by side as well.
    for (db, made) in [
        (testkit::servers::postgres(version).await.create_database().await, made.clone()),
        (db, made.replace("_a on", "_ä on").replace("_a;", "_ä;").replace("_b", "_ö")),
    ] {
        let trip = Trip::with(db, &made).await;
        trip.go().await;
        trip.assert_same().await;
        trip.assert("select count(*) from pg_index where indisclustered", "30").await;
        trip.assert("select count(*) from pg_index where indisreplident", "30").await;
    }
}

/// Trap 13: an index that could not be built is no part of a backup, and does not stop one. One on a partitioned table
/// that some partitions lack is another thing: it comes back as it is.
async fn trap_13_an_invalid_index_neither_breaks_nor_comes_back(version: u16) {
    let trip = Trip::of(
        version,
        "create table t (x int, y int); insert into t select n % 10, n from generate_series(1, 100) n;
         create index good on t (x);
         create table p (x int) partition by range (x); create table p1 partition of p for values from (0) to (10);
         create table p2 partition of p for values from (10) to (20); insert into p select generate_series(0, 19);
         create index on_parent on only p (x); create index on_p1 on p1 (x); alter index on_parent attach partition on_p1",
    )
    .await;
    let client = sql::connect(&trip.db.url()).await;
    client.batch_execute("create unique index concurrently bad on t (x)").await.expect_err("duplicates");
    assert_eq!(trip.db.value("select indisvalid from pg_index where indexrelid = 'bad'::regclass").await, "f");
    trip.go().await;
    trip.assert_same().await;
    assert_eq!(sql::value(&trip.back.url, "select count(*) from pg_class where relname = 'bad'").await, "0");
    trip.assert("select indisvalid from pg_index where indexrelid = 'on_parent'::regclass", "f").await;
    trip.assert("select count(*) from pg_inherits where inhparent = 'on_parent'::regclass", "1").await;
}

/// Trap 13: keys without overlaps and foreign keys with periods, from version 18 on.
async fn trap_13_keys_without_overlaps_come_back(version: u16) {
    let mut made = "create extension btree_gist;
         create table rooms (id int, during daterange, exclude using gist (id with =, during with &&));
         insert into rooms select n % 5, daterange(date '2024-01-01' + n, date '2024-01-01' + n + 1) from generate_series(1, 200) n"
        .to_owned();
    if version >= 18 {
        made.push_str(
            "; create table staff (id int, during daterange, primary key (id, during without overlaps));
             create table duty (id int, during daterange, unique (id, during without overlaps),
                 foreign key (id, period during) references staff (id, period during));
             insert into staff select n, daterange('2024-01-01', '2025-01-01') from generate_series(1, 20) n;
             insert into duty select n, daterange('2024-02-01', '2024-03-01') from generate_series(1, 20) n",
        );
    }
    let trip = Trip::whole(version, &made).await;
    trip.assert("select count(*) from pg_constraint where contype = 'x'", "1").await;
    let twice = "insert into rooms values (1, daterange('2024-01-01', '2025-01-01'))";
    assert!(
        sql::connect(&trip.back.url).await.batch_execute(twice).await.is_err(),
        "the exclusion constraint is asleep"
    );
    if version >= 18 {
        trip.assert("select string_agg(conrelid::regclass || ' ' || contype::text, ', ' order by conrelid::regclass::text, contype::text) from pg_constraint where conperiod", "duty f, duty u, staff p").await;
    }
}

/// Trap 21: definitions of extended statistics come back, and a planner finds all statistics gathered.
async fn trap_21_statistics_are_defined_and_gathered(version: u16) {
    let trip = Trip::whole(
        version,
        "create table t (a int, b int, c text, d date); insert into t select n % 10, n % 20, 'c' || n % 5, date '2024-01-01' + n % 30 from generate_series(1, 3000) n;
         create schema \"stats here\";
         create statistics \"stats here\".\"all kinds\" (ndistinct, dependencies, mcv) on a, b, c from t;
         create statistics by_expression on (a + b), lower(c), date_trunc('month', d) from t;
         create statistics targeted (dependencies) on a, c from t; alter statistics targeted set statistics 42;
         comment on statistics targeted is 'helps'; analyze t",
    )
    .await;
    trip.assert("select count(*) from pg_statistic_ext", "3").await;
    trip.assert("select stxstattarget from pg_statistic_ext where stxname = 'targeted'", "42").await;
    trip.assert("select count(*) from pg_statistic_ext_data", "3").await;
    trip.assert("select count(*) from pg_stats where tablename = 't' and n_distinct is not null", "4").await;
    trip.assert("select reltuples from pg_class where relname = 't'", "3000").await;
}

on_every_version!(
    trap_12_what_hangs_on_an_index_comes_back,
    trap_12_several_marks_on_one_table_do_not_lock_each_other_out,
    trap_13_an_invalid_index_neither_breaks_nor_comes_back,
    trap_13_keys_without_overlaps_come_back,
    trap_21_statistics_are_defined_and_gathered,
);
