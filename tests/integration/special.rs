//! G1 for what is not simply a table's rows: large objects, extensions' own tables, partitions by a hash that changes, views
//! and triggers that want to be made in the right order.

use crate::place::{Place, Target, assert_same_schema};
use testkit::servers::{TestDatabase, postgres};
use testkit::sql;

/// There and back, with the content proven; the target to look into.
async fn there_and_back(db: &TestDatabase) -> Target {
    let place = Place::new().await;
    place.backup(&db.url()).for_postgres(db.server.version).run().await.success();
    let target = Target::of(db);
    place.restore(&target.url).for_postgres(db.server.version).run().await.success();
    assert_same_schema(&db.server, &target.name, &db.name);
    target
}

/// Thousands of objects over several segments, large, empty and sparse ones, and everything that is not their bytes.
#[tokio::test]
async fn large_objects_come_back_with_owners_grants_and_comments() {
    for version in [15, 17] {
        let db = postgres(version).await.create_database().await;
        let role = format!("{}_r", db.name);
        db.exec(&format!(
            "create role {role};
             select lo_from_bytea(100000 + i, convert_to(repeat(md5(i::text), i % 50), 'UTF8')) from generate_series(1, 3000) i;
             select lo_from_bytea(4711, convert_to(repeat(md5('x'), 50000), 'UTF8'));
             select lo_create(4712);
             select lo_put(lo_create(4713), 3000000, 'the end');
             alter large object 4711 owner to {role};
             grant select on large object 4712 to {role} with grant option; grant update on large object 4712 to public;
             do $$ begin for i in 100100..100600 loop execute format('alter large object %s owner to {role}', i); end loop; end $$;
             comment on large object 4713 is 'it''s sparse'"
        ))
        .await;
        let target = there_and_back(&db).await;
        let facts = "select m.oid, m.lomowner::regrole, m.lomacl::text, obj_description(m.oid, 'pg_largeobject'), \
                     length(lo_get(m.oid)), md5(lo_get(m.oid)) from pg_largeobject_metadata m order by 1";
        let (back, there) = (sql::rows(&target.url, facts).await, sql::rows(&db.url(), facts).await);
        assert_eq!((there.len(), back == there), (3003, true), "large objects differ");
        drop(target);
        db.exec(&format!("drop owned by {role}; drop role {role}")).await;
    }
}

#[tokio::test]
async fn rows_hashed_by_an_enum_come_back_through_the_root() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create type mood as enum ('sad', 'ok', 'glad', 'wild');
         create table moods (m mood, n int, twice int generated always as (n * 2) stored) partition by list (n);
         create table moods_a partition of moods for values in (1, 2, 3) partition by hash (m);
         create table moods_a0 partition of moods_a for values with (modulus 2, remainder 0);
         create table moods_a1 partition of moods_a for values with (modulus 2, remainder 1);
         create table moods_rest partition of moods default;
         create index on moods (m);
         insert into moods select (array['sad', 'ok', 'glad', 'wild']::mood[])[1 + i % 4], i % 5 from generate_series(1, 1000) i",
    )
    .await;
    let target = there_and_back(&db).await;
    let rows = "select m, n, twice, count(*) from moods group by 1, 2, 3 order by 1, 2, 3";
    assert_eq!(sql::rows(&target.url, rows).await, sql::rows(&db.url(), rows).await);
}

/// A view filled after the one it reads from, by functions that need the database's own search path, as its owner; and an
/// event trigger that would refuse all of it, were it there.
#[tokio::test]
async fn views_are_filled_in_order_and_before_event_triggers_exist() {
    let db = postgres(15).await.create_database().await;
    db.exec(&format!(
        "create schema app; alter database {} set search_path = app, public; set search_path = app, public;
         create table app.t (x int); insert into app.t select generate_series(1, 10);
         create function app.total() returns bigint language sql as 'select sum(x) from t';
         create function app.limit_of() returns int language sql immutable as 'select 0';
         create function app.positive(x int) returns boolean language sql immutable as 'select x > limit_of() from (values (1)) v';
         create table app.checked (x int check (app.positive(x)), y int generated always as (app.limit_of() + x) stored);
         insert into app.checked values (1), (2);
         create materialized view app.z as select app.total() as total; create materialized view app.a as select total + 1 as more from app.z;
         create unique index on app.a (more);
         create materialized view app.empty as select * from app.a with no data;
         create function app.refuse() returns event_trigger language plpgsql as $$ begin raise exception 'no ddl'; end $$;
         create event trigger refuse on ddl_command_start execute function app.refuse();
         alter event trigger refuse enable always",
        db.name
    ))
    .await;
    let target = there_and_back(&db).await;
    assert_eq!(sql::value(&target.url, "select more from app.a").await, "56");
    assert_eq!(sql::value(&target.url, "select evtenabled from pg_event_trigger").await, "A");
    db.exec("drop event trigger refuse").await;
    sql::exec(&target.url, "drop event trigger refuse").await;
}

/// An extension of two tables that refer to each other's rows, with rows of its author's and of the user's.
#[tokio::test]
async fn the_users_rows_in_an_extensions_tables_come_back() {
    let db = postgres(15).await.create_database().await;
    let name = format!("ext_{}", db.name);
    let script = "create table zoo (id int primary key, name text); create sequence counter;
                  create table animals (id int primary key, zoo int references zoo, builtin boolean default false);
                  insert into zoo values (1, 'builtin'); insert into animals values (1, 1, true);
                  select pg_catalog.pg_extension_config_dump('animals', 'where not builtin');
                  select pg_catalog.pg_extension_config_dump('zoo', 'where id > 1');
                  select pg_catalog.pg_extension_config_dump('counter', '');";
    let folder = db.server.exec_as_root(&[
        "sh",
        "-c",
        "echo $(pg_config --sharedir 2>/dev/null || echo /usr/share/postgresql/15)/extension",
    ]);
    let folder = folder.unwrap().trim().to_owned();
    let write = |file: &str, text: &str| {
        db.server.exec_as_root(&["sh", "-c", &format!("cat > {folder}/{file} <<'END'\n{text}\nEND")]).unwrap();
    };
    write(&format!("{name}.control"), "default_version = '1'\nrelocatable = false\nschema = public");
    write(&format!("{name}--1.sql"), script);
    db.exec(&format!(
        "create extension {name}; insert into zoo values (7, 'ours'); insert into animals values (7, 7, false), (8, 1, false);
         select setval('counter', 42)"
    ))
    .await;
    let target = there_and_back(&db).await;
    for query in ["select * from zoo order by 1", "select * from animals order by 1", "select last_value from counter"]
    {
        assert_eq!(sql::rows(&target.url, query).await, sql::rows(&db.url(), query).await, "{query}");
    }
}
