//! Who may do what, what it is called, what a database is set to, and what would talk to production.

use super::{Trip, on_every_version};
use crate::place::{Target, assert_failed, assert_nothing_made, databases_like};
use testkit::servers::{own, postgres};
use testkit::sql;

/// Trap 7: policies come back, forced or not, and hide no row from a backup.
async fn trap_07_row_level_security_hides_nothing_and_comes_back(version: u16) {
    let trip = Trip::whole(
        version,
        "create role {db}_tenant; create role {db}_keeper;
         create table notes (id int, tenant text, secret bool); insert into notes select n, 't' || n % 3, n % 2 = 0 from generate_series(1, 300) n;
         alter table notes owner to {db}_keeper; alter table notes enable row level security; alter table notes force row level security;
         create policy own_rows on notes for select to {db}_tenant using (tenant = current_user);
         create policy writes on notes as restrictive for update to public using (not secret) with check (tenant <> 't0');
         create policy nobody on notes for delete to {db}_keeper, {db}_tenant using (false);
         create table enabled_only (x int); insert into enabled_only values (1); alter table enabled_only enable row level security;
         create table policies_asleep (x int); create policy asleep on policies_asleep using (x > 0);
         comment on policy own_rows on notes is 'each their own'; grant select on notes to {db}_tenant",
    )
    .await;
    trip.assert("select count(*) from notes", "300").await;
    trip.assert_equal("select polname, polcmd, polpermissive, array(select r::regrole::text from unnest(polroles) r order by 1), pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) from pg_policy order by 1").await;
    trip.assert("select string_agg(relname || ' ' || relrowsecurity || relforcerowsecurity, ', ' order by relname) from pg_class where relname in ('notes', 'enabled_only', 'policies_asleep')", "enabled_only truefalse, notes truetrue, policies_asleep falsefalse").await;
    let hidden = sql::connect(&trip.back.url).await;
    hidden.batch_execute(&trip.named("set role {db}_tenant")).await.unwrap();
    assert_eq!(sql::rows_on(&hidden, "select count(*) from notes").await[0][0].as_deref(), Some("0"));
}

/// Trap 18: publications and subscriptions are left out by default, and named: a copy must not talk to production.
async fn trap_18_publications_and_subscriptions_are_left_out_and_named(version: u16) {
    let trip = Trip::of(
        version,
        "create table t (id int primary key, x text); insert into t values (1, 'one');
         create publication everything for all tables; create publication \"some rows\" for table t (id) where (id > 5);
         create subscription listens connection 'host=production.invalid dbname=app password=canary-subscr1ption'
             publication theirs with (connect = false, slot_name = 'production_slot', enabled = false)",
    )
    .await;
    let backup = trip.backup().run().await;
    let restore = trip.restore().run().await;
    // A database with a subscription cannot be dropped: it goes before anything is judged.
    trip.exec("alter subscription listens set (slot_name = none); drop subscription listens").await;
    for outcome in [backup.success(), restore.clone().success()] {
        assert!(!outcome.report().contains("canary-subscr1ption"), "the subscription's password is in the output");
    }
    let notes = restore.json()["notes"].to_string();
    for name in ["publication everything", "publication some rows", "subscription listens"] {
        assert!(notes.contains(name), "{name} in {notes}");
    }
    assert_eq!(sql::value(&trip.back.url, "select count(*) from pg_publication").await, "0");
    let subscriptions = format!(
        "select count(*) from pg_subscription s join pg_database d on d.oid = s.subdbid where datname = '{}'",
        trip.back.name
    );
    assert_eq!(sql::value(&trip.back.url, &subscriptions).await, "0");
    assert_eq!(
        sql::value(&trip.back.url, "select count(*) from pg_replication_slots where slot_name like '%production%'")
            .await,
        "0"
    );
    assert_eq!(sql::content(&trip.back.url).await, sql::content(&trip.db.url()).await);
}

/// Trap 22: comments on everything, grants on everything, and defaults of grants.
async fn trap_22_comments_and_grants_on_everything_come_back(version: u16) {
    let trip = Trip::whole(
        version,
        "create role {db}_a; create role {db}_b; create role {db}_owner;
         grant create on schema public to {db}_owner;
         create schema s; comment on schema s is 'schema'; grant usage on schema s to {db}_a; grant create on schema s to {db}_b with grant option;
         create table t (id int primary key, x text, y text, z int check (z > 0)); insert into t values (1, 'x', 'y', 1);
         comment on table t is E'line\\nbreak, ''quote'', \\\\ and % and $$'; comment on column t.x is ''; comment on column t.y is 'ü ☃ 患者';
         comment on constraint t_pkey on t is 'key'; comment on constraint t_z_check on t is 'check';
         grant select (id, x), update (y) on t to {db}_a; grant select on t to {db}_b with grant option; grant references (id) on t to public;
         set role {db}_b; grant select on t to {db}_a; reset role;
         alter table t owner to {db}_owner;
         create view v as select * from t; comment on view v is 'view'; comment on column v.x is 'seen'; grant insert on v to {db}_a; revoke select on v from postgres;
         create sequence q; comment on sequence q is 'sequence'; grant usage, select on sequence q to {db}_a;
         create function f(int) returns int language sql as 'select 1'; comment on function f(int) is 'function'; revoke execute on function f(int) from public; grant execute on function f(int) to {db}_a;
         create type e as enum ('a'); comment on type e is 'type'; revoke usage on type e from public;
         create domain d as int; comment on domain d is 'domain'; grant usage on type d to {db}_b;
         create extension pg_trgm schema s; comment on extension pg_trgm is 'changed'; revoke execute on function s.similarity(text, text) from public; grant execute on function s.similarity(text, text) to {db}_b;
         create foreign data wrapper fdw; comment on foreign data wrapper fdw is 'wrapper'; grant usage on foreign data wrapper fdw to {db}_a;
         create server far foreign data wrapper fdw; comment on server far is 'server'; grant usage on foreign server far to {db}_b;
         revoke usage on language plpgsql from public; comment on language plpgsql is 'language'; grant usage on language plpgsql to {db}_a;
         revoke execute on function pg_catalog.pg_sleep(double precision) from public; grant select on pg_catalog.pg_authid to {db}_a;
         comment on schema public is 'not the usual'; revoke usage on schema public from public; grant usage on schema public to {db}_a, {db}_b; alter schema public owner to {db}_owner;
         alter default privileges for role {db}_owner in schema s grant select on tables to {db}_a;
         alter default privileges for role {db}_owner revoke execute on functions from public;
         alter default privileges for role postgres grant usage on sequences to {db}_b with grant option;
         alter default privileges grant all on types to {db}_b; alter default privileges grant usage on schemas to {db}_a;
         create table owned (x int); alter table owned owner to {db}_owner; revoke all on owned from {db}_owner",
    )
    .await;
    trip.assert_equal(
        "select attname, attacl from pg_attribute where attrelid = 't'::regclass and attacl is not null order by 1",
    )
    .await;
    trip.assert_equal("select proname, array(select a::text from aclexplode(proacl) a order by 1) from pg_proc where proname in ('f', 'similarity', 'pg_sleep') and proacl is not null order by 1, 2").await;
    trip.assert_equal("select nspname, pg_get_userbyid(nspowner), obj_description(oid, 'pg_namespace'), array(select a::text from aclexplode(nspacl) a order by 1) from pg_namespace where nspname in ('public', 's') order by 1").await;
    trip.assert("select string_agg(a.grantor::regrole::text, ' ' order by 1) from pg_class c, aclexplode(relacl) a where c.oid = 't'::regclass and a.grantee = '{db}_a'::regrole", "{db}_b").await;
    trip.assert("select col_description('t'::regclass, 3)", "ü ☃ 患者").await;
}

/// Trap 22: a database without the schema `public` gets none.
async fn trap_22_a_database_without_public_gets_none(version: u16) {
    let trip = Trip::whole(
        version,
        "drop schema public; create schema single; create table single.t (x int); insert into single.t values (1)",
    )
    .await;
    trip.assert("select count(*) from pg_namespace where nspname = 'public'", "0").await;
}

/// Trap 22: labels need a provider, a module loaded into the server. The images made here have the vendor's own for its tests.
async fn trap_22_security_labels_come_back(version: u16) {
    let shared = postgres(version).await.create_database().await;
    if sql::connect(&shared.url()).await.batch_execute("load 'dummy_seclabel'").await.is_err() {
        return testkit::skipped("security labels: this server has no dummy_seclabel");
    }
    // The restore's own sessions must have it too.
    let server = std::sync::Arc::new(own(version, &[("session_preload_libraries", "dummy_seclabel")]).await);
    let trip = Trip::with(
        server.create_database().await,
        "create table t (x int); create view v as select 1 as x; create schema s; create type s.e as enum ('a');
         create function f() returns int language sql as 'select 1';
         security label on table t is 'classified'; security label on column t.x is 'secret'; security label on view v is 'unclassified';
         security label on schema s is 'top secret'; security label on type s.e is 'classified'; security label on function f() is 'secret';
         select lo_create(4711); security label on large object 4711 is 'classified'",
    )
    .await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert_equal("select objtype, objname, provider, label from pg_seclabels order by 1, 2").await;
    trip.assert("select count(*) from pg_seclabels where objtype <> 'role'", "7").await;
}

/// Trap 23: roles that the target lacks are named before anything is made.
async fn trap_23_missing_roles_are_named_before_anything_is_made(version: u16) {
    let trip = Trip::of(
        version,
        "create role {db}_owner; create role {db}_granted; create role {db}_policy; create role {db}_default;
         create table t (x int); insert into t values (1); alter table t owner to {db}_owner; grant select on t to {db}_granted;
         alter table t enable row level security; create policy p on t to {db}_policy using (true);
         alter default privileges grant select on tables to {db}_default",
    )
    .await;
    trip.backup().run().await.success();
    let elsewhere = std::sync::Arc::new(own(version, &[]).await);
    let database = elsewhere.create_database().await;
    let target = Target::of(&database);
    let outcome = trip.place.restore(&target.url).for_postgres(version).run().await;
    let outcome = assert_failed(outcome, 78, "lacks roles");
    for role in ["owner", "granted", "policy", "default"] {
        assert!(outcome.stderr.contains(&format!("{}_{role}", trip.db.name)), "{role} in {}", outcome.report());
    }
    assert_nothing_made(&database, &target.name).await;
    assert_eq!(databases_like(&database, "").await.len(), 4, "the target's server has another database");
}

/// Trap 24: what belongs to the database itself and is no part of a dump of it.
async fn trap_24_properties_of_the_database_come_back(version: u16) {
    let trip = Trip::of(
        version,
        "create role {db}_r; create role {db}_owner; create table t (x int); insert into t values (1);
         alter database {db} owner to {db}_owner;
         alter database {db} connection limit 12; comment on database {db} is E'it''s \\\\ ours\\nand more';
         alter database {db} set search_path = \"$user\", \"Odd, one\", public; alter database {db} set work_mem = '7MB';
         alter database {db} set datestyle = 'German, DMY'; alter database {db} set \"my.own\" = 'a ''b'' \\ c';
         alter database {db} set default_transaction_read_only = on; alter database {db} set statement_timeout = '30s';
         alter database {db} set temp_tablespaces = '';
         alter role {db}_r in database {db} set role = {db}_owner; alter role {db}_r in database {db} set search_path = 'x y', z;
         grant connect, temporary on database {db} to {db}_r with grant option; revoke all on database {db} from public;
         grant {db}_owner to {db}_r",
    )
    .await;
    trip.go().await;
    let about = |name: &str| {
        format!(
            "select pg_get_userbyid(d.datdba), d.datconnlimit, shobj_description(d.oid, 'pg_database'), d.encoding, d.datcollate, d.datctype, \
             d.datlocprovider, d.datistemplate, d.datallowconn, (select spcname from pg_tablespace where oid = d.dattablespace), \
             array(select a::text from aclexplode(d.datacl) a order by 1), \
             array(select setrole::regrole::text || c from pg_db_role_setting, unnest(setconfig) c where setdatabase = d.oid order by 1) \
             from pg_database d where d.datname = '{name}'"
        )
    };
    let admin = trip.server.url("postgres");
    let (back, there) =
        (sql::rows(&admin, &about(&trip.back.name)).await, sql::rows(&admin, &about(&trip.db.name)).await);
    assert_eq!(there[0][1].as_deref(), Some("12"), "the test's own premise");
    assert_eq!(back, there);
}

/// Trap 24: encodings and collations of other providers than the operating system's.
async fn trap_24_the_provider_of_the_locale_comes_back(version: u16) {
    let mut kinds = vec!["template template0 locale_provider icu icu_locale 'de-u-kn-true' locale 'C.UTF-8'"];
    if version >= 17 {
        kinds.push("template template0 locale_provider icu icu_locale 'und' icu_rules '&a < g' locale 'C.UTF-8'");
        kinds.push("template template0 locale_provider builtin builtin_locale 'C.UTF-8' locale 'C'");
    }
    if version >= 18 {
        kinds.push("template template0 locale_provider builtin builtin_locale 'PG_UNICODE_FAST' locale 'C'");
    }
    for kind in kinds {
        let server = testkit::servers::postgres(version).await;
        let db = server.create_database_with(kind).await;
        let trip = Trip::with(
            db,
            "create table t (x text primary key); insert into t values ('a10'), ('a9'), ('g'), ('ß'), ('b')",
        )
        .await;
        trip.go().await;
        trip.assert_same().await;
        trip.assert_equal("select string_agg(x, ' ' order by x), max(upper(x)) from t").await;
        let locale = if version >= 17 { "datlocale" } else { "daticulocale" };
        let rules = if version >= 16 { "daticurules" } else { "null" };
        trip.assert_equal(&format!("select datlocprovider, {locale}, {rules}, datcollate, datctype from pg_database where datname = current_database()")).await;
    }
}

/// Trap 24: that others may be copied from it is not replayed, since a template cannot be dropped; it is said instead.
async fn trap_24_that_a_database_is_a_template_is_said(version: u16) {
    let trip = Trip::of(version, "create table t (x int); alter database {db} is_template true").await;
    let backup = trip.backup().run().await;
    let restore = trip.restore().run().await;
    // A template cannot be dropped: it stops being one before anything is judged.
    trip.exec("alter database {db} is_template false").await;
    backup.success();
    let notes = restore.success().json()["notes"].to_string();
    assert!(notes.contains("left out: that the database is a template"), "{notes}");
    let flag = format!("select datistemplate from pg_database where datname = '{}'", trip.back.name);
    assert_eq!(sql::value(&trip.back.url, &flag).await, "f");
    trip.exec("drop table t; create table t (x int)").await;
    trip.backup().run().await.success();
    sql::exec(&trip.server.url("postgres"), &format!("drop database {}", trip.back.name)).await;
    let notes = trip.restore().run().await.success().json()["notes"].to_string();
    assert!(!notes.contains("template"), "{notes}");
}

on_every_version!(
    trap_07_row_level_security_hides_nothing_and_comes_back,
    trap_18_publications_and_subscriptions_are_left_out_and_named,
    trap_22_comments_and_grants_on_everything_come_back,
    trap_22_a_database_without_public_gets_none,
    trap_22_security_labels_come_back,
    trap_23_missing_roles_are_named_before_anything_is_made,
    trap_24_properties_of_the_database_come_back,
    trap_24_the_provider_of_the_locale_comes_back,
    trap_24_that_a_database_is_a_template_is_said,
);
