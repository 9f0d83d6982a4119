//! Partitions: of several levels, of every strategy, with holes and with a default, attached and detached.

use super::{Trip, on_every_version};
use testkit::sql;

/// Trap 11: only leaves hold rows, whatever the tree above them looks like.
async fn trap_11_partitions_of_every_kind_keep_their_rows(version: u16) {
    let trip = Trip::whole(
        version,
        "create table sales (id bigint, region text, at date not null, amount numeric) partition by list (region);
         create table sales_eu partition of sales for values in ('de', 'fr', null) partition by range (at);
         create table sales_eu_2023 partition of sales_eu for values from (minvalue) to ('2024-01-01');
         create table sales_eu_2024 partition of sales_eu for values from ('2024-01-01') to ('2025-01-01') partition by hash (id);
         create table sales_eu_2024_0 partition of sales_eu_2024 for values with (modulus 2, remainder 0);
         create table sales_eu_2024_1 partition of sales_eu_2024 for values with (modulus 2, remainder 1);
         create table sales_eu_rest partition of sales_eu default;
         create table sales_rest partition of sales default;
         create table sales_empty partition of sales for values in ('xx') partition by range (at);
         create index sales_at on sales (at); alter table sales add constraint sales_key unique (id, region, at);
         insert into sales select n, (array['de', 'fr', null, 'us', 'jp'])[1 + n % 5], date '2022-06-01' + n, n from generate_series(1, 1500) n;

         create table attached (at date not null, extra int, region text, id bigint, amount numeric);
         alter table attached drop column extra;
         insert into attached values ('2024-05-05', 'at', 1, 2);
         alter table sales attach partition attached for values in ('at');
         create table detached partition of sales for values in ('ch'); insert into sales values (9, 'ch', '2024-01-01', 1);
         alter table sales detach partition detached;

         create table by_range (a int, b text) partition by range (a, b);
         create table by_range_1 partition of by_range for values from (minvalue, minvalue) to (10, 'm');
         create table by_range_2 partition of by_range for values from (10, 'm') to (maxvalue, maxvalue);
         insert into by_range select n, chr(97 + n % 26) from generate_series(1, 200) n;
         create table by_expression (t text) partition by list (lower(left(t, 1)));
         create table by_expression_a partition of by_expression for values in ('a'); insert into by_expression values ('Abc'), ('a');
         create table by_text (t text collate \"C\") partition by hash (t);
         create table by_text_0 partition of by_text for values with (modulus 3, remainder 0);
         create table by_text_1 partition of by_text for values with (modulus 3, remainder 1);
         create table by_text_2 partition of by_text for values with (modulus 3, remainder 2);
         insert into by_text select md5(n::text) from generate_series(1, 300) n",
    )
    .await;
    trip.assert("select count(*) from sales", "1501").await;
    trip.assert("select count(*) from sales_eu_2024", "219").await;
    trip.assert("select count(*) from detached", "1").await;
    trip.assert("select count(*) from pg_inherits where inhrelid = 'detached'::regclass", "0").await;
    trip.assert("select id || ' ' || region from attached", "1 at").await;
    trip.assert_equal("select tableoid::regclass::text, count(*), sum(amount) from sales group by 1 order by 1").await;
    trip.assert_equal("select tableoid::regclass::text, count(*) from by_text group by 1 order by 1").await;
}

/// Trap 11: partitions may differ from their root: own defaults, checks, indexes, owners, schemas, storage.
async fn trap_11_partitions_differ_from_their_root_where_they_did(version: u16) {
    let trip = Trip::whole(
        version,
        "create role {db}_leaf; create schema leaves;
         create table root (id int not null default 1, x text default 'root', constraint positive check (id > 0)) partition by range (id);
         create table leaves.low partition of root (x default 'low', check (length(x) < 50)) for values from (1) to (100);
         create unlogged table leaves.high (x text, id int not null default 5, constraint positive check (id > 0));
         alter table root attach partition leaves.high for values from (100) to (1000);
         create index on root (x); create index own_index on leaves.low (id, x);
         create unique index low_only on leaves.low (id); alter table leaves.low owner to {db}_leaf;
         alter table leaves.low set (fillfactor = 50, autovacuum_enabled = false);
         create function note() returns trigger language plpgsql as $$ begin new.x := new.x || '!'; return new; end $$;
         create trigger on_root before insert on root for each row execute function note();
         alter table leaves.high disable trigger on_root;
         insert into root select n, 'n' || n from generate_series(1, 999) n",
    )
    .await;
    trip.assert("select x from root where id = 5", "n5!").await;
    trip.assert("select relpersistence from pg_class where relname = 'high'", "u").await;
    trip.assert("select string_agg(tgrelid::regclass::text || tgenabled::text, ' ' order by tgrelid::regclass::text) from pg_trigger where tgname = 'on_root'", "leaves.highD leaves.lowO rootO").await;
}

/// Trap 11: enum values hash by their oids, which a restore changes: rows may belong elsewhere now, so they are loaded
/// through the root, and found through it.
async fn trap_11_partitions_by_the_hash_of_an_enum_are_loaded_through_the_root(version: u16) {
    let trip = Trip::of(
        version,
        "create type mood as enum ('sad', 'ok', 'happy', 'odd', 'new', 'old', 'low', 'high');
         create table moods (id int, m mood) partition by hash (m);
         create table moods_0 partition of moods for values with (modulus 4, remainder 0);
         create table moods_1 partition of moods for values with (modulus 4, remainder 1);
         create table moods_2 partition of moods for values with (modulus 4, remainder 2) partition by list (m);
         create table moods_2_rest partition of moods_2 default;
         create table moods_3 partition of moods for values with (modulus 4, remainder 3);
         create table above (id int, m mood) partition by range (id);
         create table above_1 partition of above for values from (0) to (5000) partition by hash (m, id);
         create table above_1_0 partition of above_1 for values with (modulus 2, remainder 0);
         create table above_1_1 partition of above_1 for values with (modulus 2, remainder 1);
         create table above_2 partition of above default;
         insert into moods select n, (enum_range(null::mood))[1 + n % 8] from generate_series(1, 4000) n;
         insert into above select n, (enum_range(null::mood))[1 + n % 8] from generate_series(1, 8000) n;
         alter table moods add unique (id, m)",
    )
    .await;
    trip.go().await;
    trip.assert_same_schema().await;
    for root in ["moods", "above"] {
        trip.assert_equal(&format!(
            "select count(*), sum(id), md5(string_agg(t::text, ',' order by id)) from {root} t"
        ))
        .await;
        // Each row is where the server looks for it.
        trip.assert_equal(&format!("select m, count(*) from {root} group by m order by m")).await;
        let misplaced = format!(
            "select count(*) from {root} t where not exists (select from {root} o where o.m = t.m and o.id = t.id)"
        );
        assert_eq!(sql::value(&trip.back.url, &misplaced).await, "0");
    }
    let pruned = "select count(*) from moods where m = 'odd'";
    trip.assert(pruned, "500").await;
}

/// Trap 11: attached by two sessions at the same time, indexes of partitions' partitions leave the index on top invalid for
/// ever. A hundred trees make that all but certain for whoever lets it happen.
async fn trap_11_keys_over_partitions_of_partitions_are_whole(version: u16) {
    let trip = Trip::of(
        version,
        "do $$ begin for n in 1..100 loop execute format('create table top_%1$s (a int primary key) partition by list (a);
             create table low_%1$s partition of top_%1$s for values in (1, 2) partition by list (a);
             create table low_%1$s_1 partition of low_%1$s for values in (1);
             create table low_%1$s_2 partition of low_%1$s for values in (2);
             create table high_%1$s partition of top_%1$s for values in (3) partition by list (a);
             create table high_%1$s_1 partition of high_%1$s for values in (3);
             create table refers_%1$s (a int references top_%1$s); insert into top_%1$s values (1), (2), (3);
             insert into refers_%1$s values (1)', n); end loop; end $$",
    )
    .await;
    trip.backup().run().await.success();
    trip.restore().env("LONGSHORE_WORKERS", "6").run().await.success();
    trip.assert("select count(*) from pg_index where not indisvalid", "0").await;
    trip.assert_same_schema().await;
}

on_every_version!(
    trap_11_keys_over_partitions_of_partitions_are_whole,
    trap_11_partitions_of_every_kind_keep_their_rows,
    trap_11_partitions_differ_from_their_root_where_they_did,
    trap_11_partitions_by_the_hash_of_an_enum_are_loaded_through_the_root,
);
