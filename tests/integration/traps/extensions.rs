//! Extensions: what their script made comes back with `CREATE EXTENSION`, what users put into their tables with us.

use super::{Trip, on_every_version};
use std::sync::Arc;
use testkit::servers::{own, postgres};
use testkit::sql;

/// Two configuration tables, one referring to the other and sorted before it; a condition; a sequence; a table of its own.
const SCRIPT: &str = "create table longshore_kinds (kind text primary key, built_in boolean not null default false);
     insert into longshore_kinds values ('usual', true), ('rare', true);
     create table longshore_entries (id serial primary key, kind text not null references longshore_kinds, note text,
         long_note text generated always as (note || '!') stored);
     insert into longshore_entries (kind, note) values ('usual', 'from the script');
     create sequence longshore_counter;
     create table longshore_internal (x int); insert into longshore_internal values (1), (2);
     select pg_catalog.pg_extension_config_dump('longshore_kinds', 'where not built_in');
     select pg_catalog.pg_extension_config_dump('longshore_entries', 'where note <> ''from the script''');
     select pg_catalog.pg_extension_config_dump('longshore_entries_id_seq', '');
     select pg_catalog.pg_extension_config_dump('longshore_counter', '')";
const CONTROL: &str = "comment = 'a configuration that users fill'\ndefault_version = '1.0'\nrelocatable = true\n";

/// Trap 4: rows of users in configuration tables come back, after those that the script makes, in the order that their
/// foreign keys ask for; and sequences that were registered stand where they stood.
async fn trap_04_rows_in_tables_of_extensions_come_back(version: u16) {
    let server = Arc::new(own(version, &[]).await);
    server.install_extension("longshore_config", CONTROL, SCRIPT);
    let trip = Trip::with(
        server.create_database().await,
        "create schema ext; create extension longshore_config schema ext;
         insert into ext.longshore_kinds values ('mine', false), ('yours', false);
         insert into ext.longshore_entries (kind, note) select 'mine', 'n' || n from generate_series(1, 300) n;
         insert into ext.longshore_entries (kind, note) values ('usual', 'by me');
         select nextval('ext.longshore_counter') from generate_series(1, 5);
         create table t (x int); insert into t values (1)",
    )
    .await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert("select count(*) from ext.longshore_entries", "302").await;
    trip.assert("select string_agg(kind, ' ' order by kind) from ext.longshore_kinds", "mine rare usual yours").await;
    trip.assert("select max(long_note) from ext.longshore_entries where kind = 'mine'", "n99!").await;
    trip.assert("select last_value || ' ' || is_called from ext.longshore_entries_id_seq", "302 true").await;
    trip.assert("select last_value || ' ' || is_called from ext.longshore_counter", "5 true").await;
    trip.assert("select count(*) from ext.longshore_internal", "2").await;
}

/// Trap 4: configuration tables that nobody filled stop no backup, and what the script put there is there once.
async fn trap_04_untouched_tables_of_extensions_do_not_matter(version: u16) {
    let server = Arc::new(own(version, &[]).await);
    server.install_extension("longshore_config", CONTROL, SCRIPT);
    let db = server.create_database().await;
    let trip =
        Trip::with(db, "create extension longshore_config; create table t (x int); insert into t values (1)").await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert("select count(*) from longshore_entries", "1").await;
    trip.assert("select count(*) from longshore_kinds", "2").await;
}

/// Extensions of the server's package, all that can be made, in schemas of their own; with objects that use them.
async fn extensions_of_the_servers_package_come_back(version: u16) {
    let server = postgres(version).await;
    let db = server.create_database().await;
    let trip = Trip::with(
        db,
        "create schema \"ext ensions\"; create schema more;
         do $$ declare e text; begin
             for e in select name from pg_available_extensions where name in ('hstore', 'citext', 'ltree', 'cube', 'earthdistance', 'intarray', 'pg_trgm',
                 'btree_gin', 'btree_gist', 'uuid-ossp', 'pgcrypto', 'isn', 'seg', 'tablefunc', 'unaccent', 'fuzzystrmatch', 'dict_int', 'dict_xsyn',
                 'bloom', 'tsm_system_rows', 'tsm_system_time', 'pageinspect', 'pg_buffercache', 'pgrowlocks', 'pgstattuple', 'amcheck', 'sslinfo',
                 'lo', 'tcn', 'refint', 'autoinc', 'insert_username', 'moddatetime', 'xml2', 'dblink', 'pg_freespacemap', 'pg_visibility', 'pg_walinspect')
             order by name = 'earthdistance', name loop
                 execute format('create extension %I schema %I', e, case when e in ('cube', 'earthdistance') then 'more' else 'ext ensions' end);
             end loop; end $$;
         set search_path = public, \"ext ensions\", more;
         create table t (id uuid default uuid_generate_v4() primary key, h hstore, c citext unique, l ltree, q cube, i isbn13, s seg, a int[]);
         insert into t (h, c, l, q, i, s, a) select 'a=>1', 'C' || n, ('top.n' || n)::ltree, cube(n), '978-0-306-40615-7', '1 .. 2', array[n] from generate_series(1, 200) n;
         create index on t using gin (h); create index on t using gist (l); create index on t using gist (q); create index on t using gin (a gin__int_ops);
         create index on t using bloom ((a[1])) with (length = 100)",
    )
    .await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert("select count(*) > 25 from pg_extension", "t").await;
    trip.assert_equal("select extname, extversion, extnamespace::regnamespace::text from pg_extension order by 1")
        .await;
    trip.assert("select count(*) from t where \"ext ensions\".exist(h, 'a')", "200").await;
    assert!(
        sql::connect(&trip.back.url).await.batch_execute("insert into t (c) values ('c1')").await.is_err(),
        "citext is asleep"
    );
}

on_every_version!(
    trap_04_rows_in_tables_of_extensions_come_back,
    trap_04_untouched_tables_of_extensions_do_not_matter,
    extensions_of_the_servers_package_come_back,
);
