//! Constraints that rows break, that point in circles, or that wait until the end of a transaction.

use super::{Trip, on_every_version};
use testkit::sql;

/// Trap 16: a constraint that was never validated comes back not validated, beside the rows that break it.
async fn trap_16_what_was_not_validated_stays_so(version: u16) {
    let mut made = "create table parent (id int primary key); insert into parent values (1);
         create table child (id int, parent int, x int); create table inheriting () inherits (child); insert into child values (1, 1, 5), (2, 99, -5);
         alter table child add constraint orphan foreign key (parent) references parent not valid,
             add constraint positive check (x > 0) not valid;
         create domain score as int; create table scored (s score); insert into scored values (500);
         alter domain score add constraint low check (value < 100) not valid"
        .to_owned();
    if version >= 18 {
        made.push_str(
            "; create table loose (a int, b int); insert into loose values (null, 1), (-1, 7);
             alter table loose add constraint a_there not null a not valid;
             alter table loose add constraint a_big check (a > 0) not enforced;
             alter table loose add constraint b_known foreign key (b) references parent not enforced",
        );
    }
    let trip = Trip::whole(version, &made).await;
    trip.assert("select string_agg(conname || convalidated, ' ' order by conname) from pg_constraint where conname in ('orphan', 'low') or (conname = 'positive' and conislocal)", "lowfalse orphanfalse positivefalse").await;
    for broken in [
        "insert into child values (3, 98, 1)",
        "insert into child values (3, 1, -1)",
        "insert into scored values (600)",
    ] {
        assert!(sql::connect(&trip.back.url).await.batch_execute(broken).await.is_err(), "accepted: {broken}");
    }
    if version >= 18 {
        trip.assert("select string_agg(conname || convalidated || conenforced, ' ' order by conname) from pg_constraint where conrelid = 'loose'::regclass", "a_bigfalsefalse a_therefalsetrue b_knownfalsefalse").await;
    }
}

/// Trap 16: rows that refer in circles, to themselves, and to what comes later.
async fn trap_16_foreign_keys_in_circles_come_back(version: u16) {
    let trip = Trip::whole(
        version,
        "create table a (id int primary key, b int); create table b (id int primary key, c int); create table c (id int primary key, a int);
         insert into a select n, n from generate_series(1, 100) n; insert into b select n, n from generate_series(1, 100) n;
         insert into c select n, n from generate_series(1, 100) n;
         alter table a add foreign key (b) references b deferrable initially deferred;
         alter table b add foreign key (c) references c on delete cascade on update set null;
         alter table c add constraint round foreign key (a) references a match full not valid; alter table c validate constraint round;
         create table tree (id int primary key, above int references tree, also int references tree (id) on delete set default default 1);
         insert into tree select n, nullif(n / 2, 0), 1 from generate_series(1, 200) n;
         create table parted (id int, x int, primary key (id, x)) partition by list (x); create table parted_1 partition of parted for values in (1);
         create table refers (id int, x int, foreign key (id, x) references parted); insert into parted values (1, 1); insert into refers values (1, 1), (null, 1);
         create table two (x int, y int, foreign key (x, y) references parted on delete set null (x))",
    )
    .await;
    trip.assert("select count(*) from pg_constraint where contype = 'f' and convalidated and conparentid = 0", "7")
        .await;
    assert!(
        sql::connect(&trip.back.url)
            .await
            .batch_execute("delete from b where id = 7; set constraints all immediate")
            .await
            .is_err()
    );
}

/// Trap 16 and its neighbours: checks that look at other columns, domains of domains, names on NOT NULL.
async fn trap_16_checks_and_domains_hold_again(version: u16) {
    let trip = Trip::whole(
        version,
        "create domain even as int check (value % 2 = 0); create domain small_even as even not null default 4 check (value < 100);
         create type pair as (x int, y text); create domain good_pair as pair check ((value).x > 0);
         create domain codes as text[] collate \"C\" check (array_length(value, 1) < 5);
         create table t (e even, s small_even, p good_pair, pp good_pair[], c codes,
             lo int not null, hi int, constraint ordered check (lo <= hi), constraint local_only check (lo > -1) no inherit);
         insert into t values (2, 4, row(1, 'one'), array[row(2, 'two')::good_pair], '{a,b}', 1, 2), (null, 8, null, null, null, 0, null);
         create table heir () inherits (t); insert into heir (lo, s) values (-7, 2);
         comment on constraint ordered on t is 'low first'; comment on domain even is 'by two';
         alter domain small_even set default 6",
    )
    .await;
    trip.assert("select (pp[1]).y from t where e = 2", "two").await;
    for broken in [
        "insert into t (e, lo) values (3, 1)",
        "insert into t (lo, s) values (1, 200)",
        "insert into t (lo, hi) values (3, 2)",
    ] {
        assert!(sql::connect(&trip.back.url).await.batch_execute(broken).await.is_err(), "accepted: {broken}");
    }
}

on_every_version!(
    trap_16_what_was_not_validated_stays_so,
    trap_16_foreign_keys_in_circles_come_back,
    trap_16_checks_and_domains_hold_again,
);
