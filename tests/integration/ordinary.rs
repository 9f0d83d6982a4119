//! Restoring without a superuser, as on managed servers: what an ordinary role can bring back comes back whole, and what it
//! cannot is said before anything is made.

use super::roles::{BACK, Road};
use crate::place::assert_failed;
use testkit::sql;

/// Owners that may not create in the schemas that their things are in, matviews that read another owner's table, grants,
/// default privileges, a trusted extension: all that a restore by a superuser never notices.
const SHARED: &str = "create role e login createdb password 'pw'; create role o1; create role o2; create role g1;
    create schema s authorization o2; create schema \"S 2\";
    create table public.t (id int primary key, b text); insert into t select i, 'x' || i from generate_series(1, 500) i;
    create index on t (b); alter table t owner to o1; create sequence public.n; alter sequence n owner to o1; select nextval('n');
    create type s.mood as enum ('ok', 'sad'); alter type s.mood owner to o1; create domain s.d as int check (value > 0);
    alter domain s.d owner to o1; create function s.f(x int) returns int language sql immutable as 'select x + 1';
    alter function s.f owner to o1; create table s.u (m s.mood, y int references t); alter table s.u owner to o1;
    insert into s.u values ('ok', 1); create table \"S 2\".w (x int); alter table \"S 2\".w owner to o2;
    alter schema \"S 2\" owner to e; create materialized view s.v as select b from public.t; alter materialized view s.v owner to o2;
    create view public.seen as select * from s.u; alter view seen owner to e; create statistics s.st on id, b from public.t;
    alter statistics s.st owner to o1; grant select on t to o2, g1; grant select on s.u to e; grant usage on schema s to public;
    grant create on schema s to g1; grant create, usage on schema \"S 2\" to public; revoke usage on schema public from public;
    grant usage on schema public to o1, o2, g1; grant update (b) on t to g1; revoke execute on function s.f from public;
    alter default privileges for role o1 in schema s grant select on tables to g1; create extension pg_trgm schema s;
    alter table t enable row level security; create policy p on t to g1 using (id < 10); create policy all_of_it on t for select using (true); comment on table t is 'kept';
    alter database current_name owner to e; grant connect on database current_name to g1; grant o1, o2 to e";

const THERE: &str =
    "create role e login createdb password 'pw'; create role o1; create role o2; create role g1; grant o1, o2 to e";

async fn shared(version: u16) -> Road {
    let road = Road::new(version, "select").await;
    road.db.exec(&SHARED.replace("current_name", &road.db.name)).await;
    road.place.backup(&road.db.url()).for_postgres(version).run().await.success();
    road
}

async fn comes_back(version: u16) {
    let road = shared(version).await;
    road.there(THERE).await;
    assert_eq!(road.restore_as_e().run().await.success().json()["proven"], true);
    road.assert_equal().await;
    let owner = format!("select pg_get_userbyid(datdba) from pg_database where datname = '{BACK}'");
    assert_eq!(road.value_there(&owner).await, "e");
    assert_eq!(road.value_in_it("select has_schema_privilege('g1', 'public', 'create')").await, "f");
    assert_eq!(road.value_in_it("select count(*) from s.v").await, "500");
    assert_eq!(road.value_in_it("select count(*) from pg_default_acl").await, "1");
}

#[tokio::test]
async fn an_ordinary_role_restores_what_its_roles_own_on_postgresql_15() {
    comes_back(15).await;
}

#[tokio::test]
async fn an_ordinary_role_restores_what_its_roles_own_on_postgresql_17() {
    comes_back(17).await;
}

#[tokio::test]
async fn an_ordinary_role_restores_what_its_roles_own_on_postgresql_18() {
    if std::env::var("LONGSHORE_TEST_SERVERS").as_deref() != Ok("all") {
        return testkit::skipped("PostgreSQL 18 is tested by scripts/test --all");
    }
    comes_back(18).await;
}

/// Roles that it is no member of, or only in part; the way out that the error names works.
async fn memberships(version: u16) {
    let road = shared(version).await;
    road.there("create role e login password 'pw'; create role o1; create role o2; create role g1").await;
    let outcome = assert_failed(road.restore_as_e().run().await, 77, "no member of roles that own something: o1, o2");
    for says in ["may not make databases", "GRANT o1, o2 TO e", "--no-owner"] {
        assert!(outcome.stderr.contains(says), "{says}\n{}", outcome.report());
    }
    road.assert_nothing_made("e g1 o1 o2 postgres").await;
    road.there("alter role e createdb").await;
    if version >= 16 {
        road.there("grant o1 to e with set false; grant o2 to e with inherit false").await;
        assert_failed(road.restore_as_e().run().await, 77, "o1, o2; GRANT o1, o2 TO e WITH INHERIT TRUE, SET TRUE");
        road.there("grant o1, o2 to e with inherit true, set true").await;
    } else {
        road.there("alter role e noinherit; grant o1, o2 to e").await;
        assert_failed(road.restore_as_e().run().await, 77, "no member of roles that own something: o1, o2");
        road.there("alter role e inherit").await;
    }
    road.assert_nothing_made("e g1 o1 o2 postgres").await;
    road.restore_as_e().run().await.success();
    road.assert_equal().await;
}

#[tokio::test]
async fn roles_that_it_is_no_member_of_are_listed_on_postgresql_15() {
    memberships(15).await;
}

#[tokio::test]
async fn roles_that_it_is_no_member_of_are_listed_on_postgresql_17() {
    memberships(17).await;
}

#[tokio::test]
async fn without_owners_an_ordinary_role_needs_no_memberships() {
    let road = shared(17).await;
    road.there("create role e login createdb password 'pw'; create role g1").await;
    road.restore_as_e().env("LONGSHORE_NO_OWNER", "true").run().await.success();
    let owners = "select string_agg(distinct tableowner, ' ') from pg_tables where schemaname !~ '^(pg_|information)'";
    assert_eq!(road.value_in_it(owners).await, "e");
    assert_eq!(sql::content(&road.elsewhere.url(BACK)).await, sql::content(&road.db.url()).await);
}

/// All that takes a superuser, in one error; a superuser does it.
const SUPERUSERS: &str = "create role e login createdb password 'pw'; create role o1; create role o2;
    create extension pageinspect; create table t (x int); create table hidden (x int);
    alter table hidden enable row level security; alter table hidden force row level security;
    create function tick() returns event_trigger language plpgsql as 'begin end';
    create event trigger ticks on ddl_command_end execute function tick();
    create function c_one() returns int language c as '$libdir/pg_trgm', 'show_limit';
    create function leaks() returns int language sql leakproof as 'select 1';
    create operator family fam using btree; create foreign data wrapper bare;
    create aggregate inner_state (bigint) (sfunc = int8_avg_accum, stype = internal, finalfunc = numeric_poly_avg);
    create cast (date as int) without function;
    grant select on t to o1 with grant option; set role o1; grant select on t to o2; reset role;
    create extension pg_trgm; grant execute on function show_limit() to o2;
    alter database current_name set log_statement = 'ddl'; alter role o1 in database current_name set work_mem = '5MB'";

async fn superusers_own(version: u16) {
    let road = Road::new(version, "select").await;
    road.db.exec(&SUPERUSERS.replace("current_name", &road.db.name)).await;
    road.place.backup(&road.db.url()).for_postgres(version).run().await.success();
    road.there("create role e login createdb password 'pw'; create role o1; create role o2").await;
    let outcome = assert_failed(road.restore_as_e().run().await, 77, "extensions that are not trusted: pageinspect;");
    for says in [
        "event trigger ticks",
        "foreign data wrapper bare",
        "operator family public.fam",
        "function public.c_one() (language c)",
        "function public.leaks() (leakproof)",
        "cast from date to integer (without a function)",
        "aggregate public.inner_state(bigint) (internal state)",
        "table public.t, by o1",
        "function public.show_limit(), of extension pg_trgm",
        "forced on: public.hidden; ALTER ROLE e BYPASSRLS",
        "may not set, for the database: log_statement",
        "settings of roles in this database: o1",
        "cannot give to superusers what they own: postgres",
    ] {
        assert!(outcome.stderr.contains(says), "{says}\n{}", outcome.report());
    }
    road.assert_nothing_made("e o1 o2 postgres").await;
    road.restore().run().await.success();
    road.assert_equal().await;
}

#[tokio::test]
async fn what_only_a_superuser_can_make_is_listed_on_postgresql_15() {
    superusers_own(15).await;
}

#[tokio::test]
async fn what_only_a_superuser_can_make_is_listed_on_postgresql_17() {
    superusers_own(17).await;
}

#[tokio::test]
async fn an_empty_database_of_somebody_else_is_refused_and_stays() {
    let road = shared(15).await;
    road.there(THERE).await;
    road.there(&format!("create database {BACK}")).await;
    let before = road.value_there(&format!("select oid from pg_database where datname = '{BACK}'")).await;
    assert_failed(
        road.restore_as_e().run().await,
        77,
        "database back belongs to a role that e is no member of: postgres",
    );
    assert_eq!(
        road.value_there("select string_agg(oid::text, ' ') from pg_database where datname ~ '^back'").await,
        before
    );
    road.there(&format!("alter database {BACK} owner to o1")).await;
    road.restore_as_e().run().await.success();
    let owner = format!("select pg_get_userbyid(datdba) from pg_database where datname = '{BACK}'");
    assert_eq!(road.value_there(&owner).await, "o1");
}

async fn makes_roles(version: u16) {
    let road = shared(version).await;
    road.there("create role e login createdb password 'pw'").await;
    let job = || road.restore_as_e().env("LONGSHORE_CREATE_MISSING_ROLES", "true");
    assert_failed(job().run().await, 77, "e may not make the missing roles: g1, o1, o2; ALTER ROLE e CREATEROLE");
    road.assert_nothing_made("e postgres").await;
    road.there("alter role e createrole").await;
    job().run().await.success();
    road.assert_equal().await;
}

#[tokio::test]
async fn a_role_that_may_makes_the_missing_ones_on_postgresql_15() {
    makes_roles(15).await;
}

#[tokio::test]
async fn a_role_that_may_makes_the_missing_ones_on_postgresql_17() {
    makes_roles(17).await;
}

/// An ordinary role that restores as another one, which may neither log in nor make databases.
#[tokio::test]
async fn an_ordinary_role_may_restore_as_another() {
    let road = shared(17).await;
    road.there("create role e login createdb password 'pw'; create role app; create role g1").await;
    let job = || road.restore_as_e().env("LONGSHORE_NO_OWNER", "true").env("LONGSHORE_ROLE", "app");
    assert_failed(job().run().await, 77, "role e may not act as: app; GRANT app TO e WITH INHERIT TRUE, SET TRUE");
    road.assert_nothing_made("app e g1 postgres").await;
    road.there("grant app to e").await;
    job().run().await.success();
    let owner = format!("select pg_get_userbyid(datdba) from pg_database where datname = '{BACK}'");
    assert_eq!(road.value_there(&owner).await, "app");
    let owners = "select string_agg(distinct tableowner, ' ') from pg_tables where schemaname !~ '^(pg_|information)'";
    assert_eq!(road.value_in_it(owners).await, "app");
}

/// Managed services let their own administrators do part of what takes a superuser elsewhere: the server is asked by trying,
/// and its no comes before any row is loaded.
#[tokio::test]
async fn a_managed_services_administrator_is_let_try() {
    let road = Road::new(15, "create extension pageinspect; create table t (x int)").await;
    road.there("create role e login createdb password 'pw'; create role rds_superuser; grant rds_superuser to e").await;
    let job = road.restore_as_e().env("LONGSHORE_NO_OWNER", "true");
    let outcome = assert_failed(job.run().await, 77, "permission denied to create extension");
    assert!(!outcome.stderr.contains("load rows"), "{}", outcome.report());
    road.assert_nothing_made("e postgres rds_superuser").await;
}
