//! Roles at the target: restoring as one, making those that are missing, and what is needed even without owners. Whatever
//! the target's server lacks is said at once, before anything is made.

use crate::place::{Place, assert_failed};
use std::sync::Arc;
use testkit::servers::{PostgresServer, TestDatabase, own, postgres};
use testkit::{Job, sql};

/// A database on a server, and another server to restore it into, which has none of its roles.
pub struct Road {
    pub version: u16,
    pub db: TestDatabase,
    pub place: Place,
    pub elsewhere: Arc<PostgresServer>,
}

/// Where restores go.
pub const BACK: &str = "back";

impl Road {
    /// Both servers are a test's own: roles belong to a whole server.
    pub async fn new(version: u16, statements: &str) -> Self {
        Self::between(version, version, statements).await
    }

    pub async fn between(from: u16, to: u16, statements: &str) -> Self {
        let db = Arc::new(own(from, &[]).await).create_database().await;
        db.exec(statements).await;
        let place = Place::new().await;
        place.backup(&db.url()).for_postgres(from).run().await.success();
        Self { version: to, db, place, elsewhere: Arc::new(own(to, &[]).await) }
    }

    /// A restore by the superuser.
    pub fn restore(&self) -> Job {
        self.place.restore(&self.elsewhere.url(BACK)).for_postgres(self.version)
    }

    /// A restore by the role `e`.
    pub fn restore_as_e(&self) -> Job {
        let url = format!("postgres://e:pw@{}:{}/{BACK}", self.elsewhere.host, self.elsewhere.port);
        self.place.restore(&url).for_postgres(self.version)
    }

    /// Runs statements on the target's server.
    pub async fn there(&self, statements: &str) {
        sql::exec(&self.elsewhere.url("postgres"), statements).await;
    }

    pub async fn value_there(&self, query: &str) -> String {
        sql::value(&self.elsewhere.url("postgres"), query).await
    }

    pub async fn value_in_it(&self, query: &str) -> String {
        sql::value(&self.elsewhere.url(BACK), query).await
    }

    /// Fails unless neither a database nor a role nor a session is left of a restore.
    pub async fn assert_nothing_made(&self, roles: &str) {
        let databases = "select coalesce(string_agg(datname, ' '), '') from pg_database where datname ~ '^back'";
        assert_eq!(self.value_there(databases).await, "");
        let sessions = "select count(*) from pg_stat_activity where application_name in ('longshore', 'pg_restore')";
        assert_eq!(self.value_there(sessions).await, "0");
        let all =
            "select coalesce(string_agg(rolname, ' ' order by rolname), '') from pg_roles where rolname !~ '^pg_'";
        assert_eq!(self.value_there(all).await, roles);
    }

    /// Fails unless schema and content are what they were.
    pub async fn assert_equal(&self) {
        let (there, back) = (self.db.canonical_dump(), sql::canonical_dump(&self.elsewhere, BACK));
        assert_eq!(back, there);
        assert_eq!(sql::content(&self.elsewhere.url(BACK)).await, sql::content(&self.db.url()).await);
    }
}

/// Everything that has an owner, as far as a test cares, and whose it is.
const OWNERS: &str = "select string_agg(distinct pg_get_userbyid(o), ' ') from (select relowner from pg_class where \
    oid >= 16384 union select proowner from pg_proc where oid >= 16384 union select typowner from pg_type where oid >= 16384 \
    union select nspowner from pg_namespace where oid >= 16384 union select datdba from pg_database where \
    datname = current_database()) as owners(o)";

async fn done_as_a_role(version: u16) {
    let road = Road::new(
        version,
        "create role theirs; create schema s authorization theirs; create type s.mood as enum ('ok');
         create table s.t (id serial primary key, m s.mood, b int); create index on s.t (b);
         insert into s.t (m, b) select 'ok', i from generate_series(1, 100) i; alter table s.t owner to theirs;
         create function s.f() returns int language sql as 'select 1'; create table public.p (x int references s.t);
         create materialized view s.v as select count(*) from s.t; create extension pg_trgm schema s;
         grant select on s.t to theirs; alter default privileges for role theirs grant select on tables to public",
    )
    .await;
    road.there("create role app nologin createdb").await;
    let job = road.restore().env("LONGSHORE_NO_OWNER", "true").env("LONGSHORE_ROLE", "app");
    assert_eq!(job.run().await.success().json()["proven"], true);
    let owners = road.value_in_it(OWNERS).await;
    // What the script of a trusted extension makes belongs to the bootstrap superuser, whoever asks.
    assert_eq!(owners, "app postgres");
    let not_the_extensions = OWNERS.replace(
        "from pg_proc where oid >= 16384",
        "from pg_proc p where oid >= 16384 and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')",
    );
    let not_the_extensions = not_the_extensions
        .replace("from pg_type where oid >= 16384", "from pg_type t where oid >= 16384 and typname !~ 'gtrgm'");
    assert_eq!(road.value_in_it(&not_the_extensions).await, "app");
    assert_eq!(road.value_in_it("select count(*) from s.t").await, "100");
}

#[tokio::test]
async fn everything_belongs_to_the_role_that_is_named_on_postgresql_15() {
    done_as_a_role(15).await;
}

#[tokio::test]
async fn everything_belongs_to_the_role_that_is_named_on_postgresql_17() {
    done_as_a_role(17).await;
}

#[tokio::test]
async fn a_role_that_is_not_there_is_refused() {
    let road = Road::new(15, "create table t (x int)").await;
    let job = road.restore().env("LONGSHORE_ROLE", "nobody");
    assert_failed(job.run().await, 78, "no role nobody");
    road.assert_nothing_made("postgres").await;
}

/// A role that is named does without a superuser's powers, even when a superuser lends it: said before and not after loading.
#[tokio::test]
async fn a_role_that_is_named_is_checked_and_not_the_one_that_connects() {
    let road = Road::new(15, "create extension pg_stat_statements; create table t (x int)").await;
    road.there("create role app").await;
    let job = road.restore().env("LONGSHORE_ROLE", "app").env("LONGSHORE_NO_OWNER", "true");
    let outcome = assert_failed(job.run().await, 77, "role app may not create extensions that are not trusted");
    assert!(outcome.stderr.contains("pg_stat_statements"), "{}", outcome.report());
    road.assert_nothing_made("app postgres").await;
}

const MANY_ROLES: &str = "create role owner_1; create role \"Owner 2\"; create role grantee; create role setter; create role default_1;
    create table t (x int); insert into t values (1); alter table t owner to owner_1; grant select on t to grantee;
    create schema \"Two\" authorization \"Owner 2\"; create table \"Two\".u (x int); alter table \"Two\".u owner to \"Owner 2\";
    alter default privileges for role default_1 grant select on tables to grantee;
    create role listed; alter table t enable row level security; create policy p on t to listed using (true)";

async fn missing_roles_are_made(version: u16) {
    let road = Road::new(version, MANY_ROLES).await;
    let name = &road.db.name;
    road.db.exec(&format!("alter role setter in database {name} set work_mem = '9MB'")).await;
    road.place.backup(&road.db.url()).for_postgres(version).run().await.success();
    let outcome = assert_failed(road.restore().run().await, 78, "Owner 2, default_1, grantee, listed, owner_1, setter");
    assert!(outcome.stderr.contains("--create-missing-roles"), "{}", outcome.report());
    road.assert_nothing_made("postgres").await;

    let restored = road.restore().env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success().json();
    let note = restored["notes"].to_string();
    assert!(note.contains("made roles that were missing") && note.contains("owner_1"), "{note}");
    assert_eq!(
        road.value_there("select count(*) from pg_roles where rolcanlogin and rolname <> 'postgres'").await,
        "0"
    );
    let settings = "select setconfig::text from pg_db_role_setting s join pg_roles r on r.oid = s.setrole";
    assert_eq!(road.value_there(settings).await, "{work_mem=9MB}");
    road.assert_equal().await;
}

#[tokio::test]
async fn missing_roles_are_made_when_asked_for_on_postgresql_15() {
    missing_roles_are_made(15).await;
}

#[tokio::test]
async fn missing_roles_are_made_when_asked_for_on_postgresql_17() {
    missing_roles_are_made(17).await;
}

async fn needed_even_without_owners(version: u16) {
    let road = Road::new(
        version,
        "create role listed; create role mapped; create role owner_1; create role grantee; create role runner;
         create table t (x int); insert into t values (1); alter table t owner to owner_1; grant select on t to grantee;
         alter table t enable row level security; create policy p on t to listed using (true);
         create policy everybody on t using (true); create extension postgres_fdw;
         create server far foreign data wrapper postgres_fdw; create user mapping for public server far;
         create user mapping for mapped server far options (user 'u', password 'canary');
         alter default privileges for role owner_1 grant select on tables to grantee;
         create function f() returns int language sql security definer set role = 'runner' as 'select 1'",
    )
    .await;
    let job = || road.restore().env("LONGSHORE_NO_OWNER", "true");
    let outcome = assert_failed(job().run().await, 78, "policies or user mappings name");
    assert!(outcome.stderr.contains(": listed, mapped;"), "{}", outcome.report());
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.report());
    road.assert_nothing_made("postgres").await;
    job().env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success();
    assert_eq!(
        road.value_in_it("select string_agg(roles::text, ' ' order by policyname) from pg_policies").await,
        "{public} {listed}"
    );
    assert_eq!(
        road.value_there("select count(*) from pg_roles where rolname in ('owner_1', 'grantee', 'runner')").await,
        "0"
    );
}

#[tokio::test]
async fn roles_that_policies_and_mappings_name_are_needed_without_owners_on_postgresql_15() {
    needed_even_without_owners(15).await;
}

#[tokio::test]
async fn roles_that_policies_and_mappings_name_are_needed_without_owners_on_postgresql_17() {
    needed_even_without_owners(17).await;
}

/// One error names it all. The extension was dropped from PostgreSQL 17; the collation and the tablespace are the source's own.
#[tokio::test]
async fn whatever_the_server_lacks_is_listed_at_once() {
    let road =
        Road::between(15, 17, "create role owner_1; create table t (x int); alter table t owner to owner_1").await;
    road.db.server.exec(&["mkdir", "/tmp/fast"]).unwrap();
    sql::exec(&road.db.server.url("postgres"), "create tablespace fast location '/tmp/fast'").await;
    road.db
        .exec(
            "create extension old_snapshot; set allow_system_table_mods = on;
             create collation pg_catalog.odd (locale = 'C'); create table u (x text collate pg_catalog.odd);
             create table v (x int); create index v_x on v (x) tablespace fast",
        )
        .await;
    road.place.backup(&road.db.url()).run().await.success();
    let job = road.restore().env("LONGSHORE_CREATE_MISSING_ROLES", "true");
    let outcome = assert_failed(job.run().await, 78, "lacks extensions: old_snapshot");
    for says in ["lacks tablespaces: fast", "lacks collations that columns use: odd"] {
        assert!(outcome.stderr.contains(says), "{says}\n{}", outcome.report());
    }
    // Roles are made last: not when something else stands in the way.
    road.assert_nothing_made("postgres").await;

    road.db.exec("drop extension old_snapshot; drop table u").await;
    road.place.backup(&road.db.url()).run().await.success();
    road.elsewhere.exec(&["mkdir", "/tmp/fast"]).unwrap();
    road.there("create tablespace fast location '/tmp/fast'").await;
    road.restore().env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success();
    assert_eq!(road.value_in_it("select tablespace from pg_indexes where indexname = 'v_x'").await, "fast");
}

/// A locale of the source's machine alone: glibc takes any folder of that name.
#[tokio::test]
async fn a_locale_that_the_machine_lacks_is_named() {
    let road = Road::new(15, "create table t (x int)").await;
    let copy = ["cp", "-r", "/usr/lib/locale/C.utf8", "/usr/lib/locale/xx_YY.utf8"];
    let done = std::process::Command::new("docker")
        .args(["exec", "--user", "0", &road.db.server.container_id])
        .args(copy)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let odd = "create database odd template template0 locale 'xx_YY.utf8'";
    sql::exec(&road.db.server.url("postgres"), odd).await;
    let from = road.place.backup(&road.db.server.url("odd"));
    from.run().await.success();
    assert_failed(road.restore().run().await, 78, "lacks the locale: xx_YY.utf8");
    road.assert_nothing_made("postgres").await;
}

/// A database with a slot or a subscription may be empty and is not free to be replaced: it takes a mark, like data.
#[tokio::test]
async fn an_empty_target_with_a_slot_or_a_subscription_is_refused() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let server = Arc::new(own(15, &[("wal_level", "logical")]).await);
    let theirs = server.create_database().await;
    theirs.exec("select pg_create_logical_replication_slot('kept', 'pgoutput')").await;
    assert_failed(place.restore(&theirs.url()).run().await, 77, "replication slot kept");
    assert_eq!(theirs.value("select count(*) from pg_replication_slots").await, "1");
    theirs.exec("select pg_drop_replication_slot('kept')").await;
    theirs.exec("create subscription follows connection 'host=nowhere' publication p with (connect = false)").await;
    assert_failed(place.restore(&theirs.url()).run().await, 77, "subscription follows");
    assert_eq!(theirs.value("select count(*) from pg_subscription").await, "1");
    theirs.exec("alter subscription follows set (slot_name = none)").await;
    theirs.exec("drop subscription follows").await;
    place.restore(&theirs.url()).run().await.success();
}

/// Whatever was not granted again is named, and so is what the role that restores has been given.
#[tokio::test]
async fn memberships_that_are_lost_or_made_on_the_way_are_named() {
    let road = Road::new(
        15,
        "create role owner_1; create role present; grant owner_1 to present; create table t (x int); alter table t owner to owner_1",
    )
    .await;
    road.db.exec(&format!("alter database {} owner to owner_1", road.db.name)).await;
    road.place.backup(&road.db.url()).env("LONGSHORE_GLOBALS", "true").run().await.success();
    road.there("create role present; create role e login createdb createrole password 'pw'").await;
    let restored = road.restore_as_e().env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success().json();
    let notes = restored["notes"].to_string();
    assert!(notes.contains("role present was not made a member of owner_1 again"), "{notes}");
    assert!(notes.contains("role e was made a member, and stays one, of owner_1"), "{notes}");
    let members =
        "select string_agg(member::regrole::text, ',') from pg_auth_members where roleid = 'owner_1'::regrole";
    assert_eq!(road.value_there(members).await, "e");
}
