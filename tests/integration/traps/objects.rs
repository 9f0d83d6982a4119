//! Objects with a state that no table's rows show: sequences, large objects, materialized views.

use super::{Trip, on_every_version};

/// Trap 1: what the vendor's `--schema-only` leaves out, and its two sections around the data do not.
async fn trap_01_what_a_schema_only_dump_drops_comes_back(version: u16) {
    let trip = Trip::whole(
        version,
        "create sequence s start 40; select nextval('s');
         create table t (x int); insert into t values (1), (2);
         create materialized view filled as select sum(x) from t",
    )
    .await;
    trip.assert("select last_value || ' ' || is_called from s", "40 true").await;
    trip.assert("select sum from filled", "3").await;
    trip.assert("select nextval('s')", "41").await;
}

/// Trap 2: where sequences stand, of every type, in both directions, called and not.
async fn trap_02_sequences_stand_where_they_stood(version: u16) {
    let trip = Trip::whole(
        version,
        "create schema \"Odd 'one'\";
         create sequence untouched start 17;
         create sequence once start 5; select nextval('once');
         create sequence small as smallint maxvalue 32767 start 32767; select nextval('small');
         create sequence down as integer increment -3 minvalue -100 maxvalue 0 start 0;
         select nextval('down') from generate_series(1, 5);
         create sequence round minvalue 1 maxvalue 3 cycle; select nextval('round') from generate_series(1, 4);
         create sequence cached cache 50; select nextval('cached');
         create sequence lowest minvalue -9223372036854775808 start -9223372036854775808; select nextval('lowest');
         create sequence highest start 9223372036854775807 maxvalue 9223372036854775807; select nextval('highest');
         create sequence set_back; select setval('set_back', 100, false);
         create sequence restarted; select nextval('restarted'); alter sequence restarted restart with 9;
         create sequence \"Odd 'one'\".\"per%cent \\ \"\"q\"\"\"; select setval('\"Odd ''one''\".\"per%cent \\ \"\"q\"\"\"', 3);
         create table owning (id serial, other bigserial); insert into owning default values;
         create sequence owned owned by owning.other; select setval('owned', 44)",
    )
    .await;
    trip.assert("select last_value || ' ' || is_called from untouched", "17 false").await;
    trip.assert("select last_value || ' ' || is_called from down", "-12 true").await;
    trip.assert("select last_value || ' ' || is_called from set_back", "100 false").await;
    trip.assert("select last_value || ' ' || is_called from restarted", "9 false").await;
    trip.assert("select last_value || ' ' || is_called from lowest", "-9223372036854775808 true").await;
    trip.assert("select last_value || ' ' || is_called from highest", "9223372036854775807 true").await;
    trip.assert("select pg_get_serial_sequence('owning', 'id')", "public.owning_id_seq").await;
    trip.assert("select nextval('down')", "-15").await;
    trip.assert("select nextval('small') from (select setval('small', 1)) s", "2").await;
}

/// Trap 3: large objects with their number, bytes, owner, grants and comment. An empty one, one with a hole, one of
/// several megabytes, and more than fit into one batch or lock table.
async fn trap_03_large_objects_come_back_with_owner_grants_and_comment(version: u16) {
    let trip = Trip::of(
        version,
        "create role {db}_writer; create role {db}_reader;
         select lo_create(4711);
         select lo_from_bytea(4712, 'hello');
         select lo_create(4713); select lo_put(4713, 3000000, 'after the hole');
         select lo_from_bytea(4714, decode(repeat(md5('x'), 200000), 'hex'));
         select lo_from_bytea(4294967295, '\\x00ff5c0a0d');
         alter large object 4712 owner to {db}_writer;
         grant select on large object 4712 to {db}_reader with grant option; grant update on large object 4714 to public;
         comment on large object 4712 is 'it''s \\ small';
         select count(lo_from_bytea(100000 + n, convert_to('number ' || n, 'UTF8'))) from generate_series(1, 3000) n;
         create table refers (id int, content oid); insert into refers values (1, 4712), (2, 4714)",
    )
    .await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert("select count(*) from pg_largeobject_metadata", "3005").await;
    trip.assert_equal(
        "select oid, md5(lo_get(oid)), length(lo_get(oid)), lomowner::regrole, obj_description(oid, 'pg_largeobject'), \
         (select string_agg(a::text, ' ' order by a::text) from aclexplode(lomacl) a) from pg_largeobject_metadata order by 1",
    )
    .await;
    trip.assert("select length(lo_get(4713)) || ' ' || encode(lo_get(4713, 0, 2), 'hex')", "3000014 0000").await;
    trip.assert("select lomowner::regrole::text from pg_largeobject_metadata where oid = 4712", "{db}_writer").await;
    trip.assert("select obj_description(4712, 'pg_largeobject')", "it's \\ small").await;
}

/// Trap 14: materialized views are filled in the order they need, whatever their names say; after the grants that their
/// owner needs; and those without data stay so.
async fn trap_14_materialized_views_are_filled_in_their_order(version: u16) {
    let trip = Trip::whole(
        version,
        "create role {db}_owner; grant create, usage on schema public to {db}_owner;
         create table base (k int primary key, v text); insert into base select n, 'v' || n from generate_series(1, 500) n;
         grant select on base to {db}_owner;
         create materialized view z_first as select k, v from base where k % 2 = 0;
         create view m_between as select k, upper(v) as v from z_first;
         create materialized view a_last as select count(*) as n, max(k) as k from m_between;
         create unique index a_last_key on a_last (k);
         create materialized view never as select * from a_last with no data;
         create index never_n on never (n);
         create materialized view owned as select count(*) as n from base; alter materialized view owned owner to {db}_owner;
         create function body_without_names() returns bigint language plpgsql stable set search_path = public
             as $$ begin return (select count(*) from base); end $$;
         create materialized view by_function as select body_without_names() as n;
         comment on materialized view a_last is 'made of another'",
    )
    .await;
    trip.assert("select n || ' ' || k from a_last", "250 500").await;
    trip.assert("select n from owned", "500").await;
    trip.assert("select n from by_function", "500").await;
    trip.assert("select relispopulated from pg_class where relname = 'never'", "f").await;
    trip.assert("select count(*) from pg_class where relkind = 'm' and relispopulated", "4").await;
}

/// Rows of an old materialized view that the base no longer gives: a restore computes it again, as the vendor's does.
async fn trap_14_a_stale_materialized_view_is_computed_anew(version: u16) {
    let trip = Trip::of(
        version,
        "create table base (x int); insert into base values (1);
         create materialized view stale as select count(*) as n from base; insert into base values (2)",
    )
    .await;
    trip.go().await;
    trip.assert_same_schema().await;
    assert_eq!(trip.db.value("select n from stale").await, "1");
    assert_eq!(testkit::sql::value(&trip.back.url, "select n from stale").await, "2");
}

on_every_version!(
    trap_01_what_a_schema_only_dump_drops_comes_back,
    trap_02_sequences_stand_where_they_stood,
    trap_03_large_objects_come_back_with_owner_grants_and_comment,
    trap_14_materialized_views_are_filled_in_their_order,
    trap_14_a_stale_materialized_view_is_computed_anew,
);
