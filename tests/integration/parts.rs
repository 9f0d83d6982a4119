//! Restores of single tables and schemas into a database that stays: what comes, what is refused, what stays as it was.

use crate::place::{Place, assert_failed};
use crate::staging::{mark, wait_for};
use testkit::servers::{TestDatabase, postgres};
use testkit::{Job, sql};

pub const CLINIC: &str = "create schema clinic;
    create type clinic.sex as enum ('f', 'm');
    create function clinic.touch() returns trigger language plpgsql as 'begin return new; end';
    create table clinic.wards (id serial primary key, name text not null unique);
    insert into clinic.wards (name) select 'ward ' || n from generate_series(1, 30) n;
    create table clinic.patients (id bigint generated always as identity primary key, sex clinic.sex not null, ward int references clinic.wards,
        twice bigint generated always as (ward * 2) stored);
    insert into clinic.patients (sex, ward) select 'f', 1 + n % 30 from generate_series(1, 50) n;
    comment on table clinic.patients is 'people'; comment on column clinic.patients.sex is 'or none';
    create index patients_ward on clinic.patients (ward) where sex = 'f';
    create trigger touch before update on clinic.patients for each row execute function clinic.touch();
    alter table clinic.patients enable row level security; create policy all_of_it on clinic.patients using (true);
    create statistics clinic.shape on sex, ward from clinic.patients; grant select (id) on clinic.patients to pg_monitor;
    create table clinic.visits (id int not null, at date not null, patient bigint constraint of_patient references clinic.patients,
        ward int constraint on_ward references clinic.wards, primary key (id, at)) partition by range (at);
    comment on constraint of_patient on clinic.visits is 'a person';
    create table clinic.visits_2024 partition of clinic.visits for values from ('2024-01-01') to ('2025-01-01');
    create table clinic.visits_2025 partition of clinic.visits for values from ('2025-01-01') to ('2026-01-01');
    create index on clinic.visits (patient);
    insert into clinic.visits select n, date '2024-01-01' + n, 1 + n % 50, 1 + n % 30 from generate_series(1, 700) n;
    create schema lab; create table lab.results (id int primary key, patient bigint references clinic.patients);
    insert into lab.results select n, n from generate_series(1, 20) n;
    create view lab.recent as select * from lab.results; create materialized view lab.many as select count(*) as n from lab.results;
    create function lab.pick(int) returns int language sql as 'select $1';";

/// A backup, and a database in use that looks like its source.
pub struct Parts {
    pub source: TestDatabase,
    pub live: TestDatabase,
    pub place: Place,
}

impl Parts {
    pub async fn new(version: u16) -> Self {
        let server = postgres(version).await;
        let (source, live) = (server.create_database().await, server.create_database().await);
        source.exec(CLINIC).await;
        live.exec(CLINIC).await;
        let place = Place::new().await;
        place.backup(&source.url()).for_postgres(version).run().await.success();
        mark(&live.url(), "staging").run().await.success();
        Self { source, live, place }
    }

    /// A restore of a part, ready to run: `TABLE` or `SCHEMA`, and the pattern.
    pub fn restore(&self, what: &str, pattern: &str) -> Job {
        let job = self.place.restore(&self.live.url()).env(&format!("LONGSHORE_ONLY_{what}"), pattern);
        job.for_postgres(self.live.server.version)
    }

    /// Refused with this code and text, and everything is as it was.
    async fn refused(&self, job: Job, code: i32, says: &str) {
        let before = (self.live.canonical_dump(), sql::content(&self.live.url()).await);
        let outcome = assert_failed(job.run().await, code, says);
        assert!(!outcome.stderr.contains("load rows"), "refused only after something was made\n{}", outcome.report());
        assert_eq!((self.live.canonical_dump(), sql::content(&self.live.url()).await), before);
    }
}

async fn lost_tables(version: u16) {
    let parts = Parts::new(version).await;
    let before = (parts.source.canonical_dump(), sql::content(&parts.source.url()).await);
    parts.live.exec("drop table clinic.visits, lab.results, clinic.patients cascade").await;
    // Patients first; what refers to them comes with its own table.
    let restored = parts.restore("TABLE", "clinic.patients").run().await.success().json();
    assert_eq!((restored["tables"].as_u64(), restored["rows"].as_u64()), (Some(1), Some(50)), "{restored}");
    assert_eq!(restored["database"].as_str(), Some(parts.live.name.as_str()));
    parts.live.exec("insert into clinic.patients (sex, ward) values ('m', 1)").await;
    assert_eq!(parts.live.value("select max(id) from clinic.patients").await, "51", "its numbers go on");
    parts.live.exec("delete from clinic.patients where id = 51; select setval('clinic.patients_id_seq', 50)").await;
    parts.restore("TABLE", "clinic.visits").run().await.success();
    parts.restore("TABLE", "lab.results").run().await.success();
    parts.live.exec(
        "create view lab.recent as select * from lab.results; create materialized view lab.many as select count(*) as n from lab.results",
    )
    .await;
    assert_eq!(sql::content(&parts.live.url()).await, before.1);
    let lines = |dump: &str| {
        let mut lines: Vec<String> =
            dump.lines().map(|line| line.replace(&parts.live.name, &parts.source.name)).collect();
        lines.retain(|line| !line.contains("longshore {"));
        lines.sort();
        lines
    };
    assert_eq!(lines(&parts.live.canonical_dump()), lines(&before.0), "as if they had never been lost");
}

#[tokio::test]
async fn lost_tables_come_back_with_all_that_belongs_to_them_on_15() {
    lost_tables(15).await;
}

#[tokio::test]
async fn lost_tables_come_back_with_all_that_belongs_to_them_on_17() {
    lost_tables(17).await;
}

async fn lost_schema(version: u16) {
    let parts = Parts::new(version).await;
    parts.live.exec("drop schema lab cascade").await;
    let restored = parts.restore("SCHEMA", "lab").run().await.success().json();
    assert_eq!(restored["rows"].as_u64(), Some(20), "{restored}");
    assert_eq!(
        parts.live.value("select (select count(*) from lab.recent) + (select n from lab.many) + lab.pick(2)").await,
        "42"
    );
    assert_eq!(sql::content(&parts.live.url()).await, sql::content(&parts.source.url()).await);
}

#[tokio::test]
async fn a_lost_schema_comes_back_with_all_that_is_in_it_on_15() {
    lost_schema(15).await;
}

#[tokio::test]
async fn a_lost_schema_comes_back_with_all_that_is_in_it_on_17() {
    lost_schema(17).await;
}

#[tokio::test]
async fn nothing_that_is_there_is_overwritten() {
    let parts = Parts::new(15).await;
    parts.refused(parts.restore("TABLE", "clinic.wards"), 73, "clinic.wards").await;
    parts.refused(parts.restore("SCHEMA", "lab"), 73, "schema lab").await;
    // Not only a table: an index, a sequence or a type may have a name that is needed.
    parts.live.exec("drop table clinic.wards cascade; create table clinic.wards_name_key (x int)").await;
    parts.refused(parts.restore("TABLE", "clinic.wards"), 73, "wards_name_key").await;
    parts.live.exec("drop table clinic.wards_name_key; create sequence clinic.wards_id_seq").await;
    parts.refused(parts.restore("TABLE", "clinic.wards"), 73, "clinic.wards_id_seq").await;
    parts.live.exec("drop sequence clinic.wards_id_seq; create type clinic.wards as enum ()").await;
    parts.refused(parts.restore("TABLE", "clinic.wards"), 73, "clinic.wards").await;
}

#[tokio::test]
async fn what_a_part_needs_must_be_there() {
    let parts = Parts::new(15).await;
    parts.live.exec("drop schema clinic, lab cascade").await;
    parts.refused(parts.restore("TABLE", "lab.results"), 78, "schema lab").await;
    parts.live.exec("create schema clinic; create schema lab").await;
    parts.refused(parts.restore("TABLE", "clinic.patients"), 78, "type clinic.sex").await;
    parts.refused(parts.restore("TABLE", "clinic.nothing"), 78, "clinic.nothing").await;
    parts.refused(parts.restore("TABLE", "clinic.wards").env("LONGSHORE_MODE", "swap"), 64, "--mode").await;
    // A key to a table that is not there is left out, and said so.
    let restored = parts.restore("TABLE", "lab.results").run().await.success().json();
    assert!(restored["notes"].to_string().contains("the target has no clinic.patients"), "{restored}");
    assert_eq!(parts.live.value("select count(*) from lab.results").await, "20");
    // A partition by itself is a table by itself.
    let restored = parts.restore("TABLE", "clinic.visits_2024").run().await.success().json();
    assert!(restored["notes"].to_string().contains("a table by itself"), "{restored}");
    assert_eq!(parts.live.value("select count(*) from clinic.visits_2024").await, "365");
}

/// The guards are those of every restore: not the source, not without a mark, not production.
#[tokio::test]
async fn the_guards_of_every_restore_hold_for_a_part() {
    let parts = Parts::new(15).await;
    parts.live.exec("drop table clinic.visits").await;
    let only = |url: &str| parts.place.restore(url).env("LONGSHORE_ONLY_TABLE", "clinic.visits");
    parts.source.exec("drop table clinic.visits").await;
    mark(&parts.source.url(), "staging").run().await.success();
    assert_failed(only(&parts.source.url()).run().await, 77, "is the database that this backup was made of");
    assert_eq!(parts.source.value("select coalesce(to_regclass('clinic.visits')::text, 'none')").await, "none");
    Job::new(["mark", "--remove"]).env("LONGSHORE_TARGET", parts.live.url()).run().await.success();
    parts.refused(only(&parts.live.url()), 77, "not marked").await;
    mark(&parts.live.url(), "production").run().await.success();
    parts.refused(only(&parts.live.url()), 77, "marked as production").await;
    assert_failed(only(&parts.live.server.url("no_such_database_here")).run().await, 66, "no_such_database_here");
}

/// Rows that a key of the part does not accept: everything is taken back.
#[tokio::test]
async fn a_key_that_does_not_hold_takes_everything_back() {
    let parts = Parts::new(15).await;
    parts
        .live
        .exec("drop table clinic.visits; delete from lab.results; delete from clinic.patients where id > 40")
        .await;
    let before = (parts.live.canonical_dump(), sql::content(&parts.live.url()).await);
    assert_failed(parts.restore("TABLE", "clinic.visits").run().await, 65, "of_patient");
    let left =
        "select count(*) from pg_stat_activity where application_name = 'longshore' and datname = current_database()";
    wait_for(&parts.live, left, "0").await;
    assert_eq!((parts.live.canonical_dump(), sql::content(&parts.live.url()).await), before);
}

/// Line ends are content: in a default, and in a function's body.
#[tokio::test]
async fn carriage_returns_in_definitions_come_back() {
    let parts = Parts::new(15).await;
    parts
        .source
        .exec(
            "create schema dos; create table dos.t (x text default E'a\r\nb'); insert into dos.t default values;
             do $$ begin execute E'create function dos.f() returns int language sql as $f$select 1;\r\n-- so\r\nselect 2;\r\n$f$'; end $$;
             comment on table dos.t is E'one\r\ntwo'",
        )
        .await;
    parts.place.backup(&parts.source.url()).run().await.success();
    parts.restore("SCHEMA", "dos").run().await.success();
    parts.live.exec("insert into dos.t default values").await;
    for query in [
        "select encode(prosrc::bytea, 'escape') from pg_proc where proname = 'f' and pronamespace = 'dos'::regnamespace",
        "select obj_description('dos.t'::regclass, 'pg_class')",
        "select string_agg(distinct x, '+') from dos.t",
    ] {
        let (back, there) = (parts.live.value(query).await, parts.source.value(query).await);
        assert!(there.contains('\r'), "the test's own premise: {there:?}");
        assert_eq!(back, there, "{query}");
    }
}

/// A view is filled with its owner's rights: policies choose what such an owner sees.
#[tokio::test]
async fn a_view_whose_owner_is_subject_to_policies_is_filled() {
    let parts = Parts::new(15).await;
    let role = format!("{}_viewer", parts.source.name);
    parts
        .source
        .exec(&format!(
            "create role {role}; create schema seen; grant usage, create on schema seen to {role};
             create table seen.t (x int); insert into seen.t select generate_series(1, 9); grant select on seen.t to {role};
             alter table seen.t enable row level security; create policy these on seen.t using (x > 5);
             create materialized view seen.m as select count(*) as n from seen.t;
             alter materialized view seen.m owner to {role}; refresh materialized view seen.m"
        ))
        .await;
    assert_eq!(parts.source.value("select n from seen.m").await, "4");
    parts.place.backup(&parts.source.url()).run().await.success();
    let restored = parts.restore("SCHEMA", "seen").run().await.success().json();
    assert_eq!(restored["proven"], true, "{restored}");
    assert_eq!(parts.live.value("select n from seen.m").await, "4");
    assert_eq!(parts.live.value("select count(*) from seen.t").await, "9");
}
