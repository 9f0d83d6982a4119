//! Backups of a part of a database: what is in them, what is said about what is not, and that they never pass for whole ones.

use crate::place::{LARGE, Place, Target, assert_failed};
use serde_json::Value;
use testkit::servers::{TestDatabase, postgres};
use testkit::{Job, sql};

const CLINIC: &str = "create schema clinic; create schema audit; create schema \"Far Away\";
    create type clinic.sex as enum ('f', 'm');
    create table clinic.wards (id serial primary key, name text not null);
    insert into clinic.wards (name) select 'ward ' || n from generate_series(1, 30) n;
    create table clinic.patients (id bigint generated always as identity primary key, sex clinic.sex, ward int references clinic.wards);
    insert into clinic.patients (sex, ward) select 'f', 1 + n % 30 from generate_series(1, 50) n;
    create table clinic.visits (id int not null, at date not null, patient bigint references clinic.patients, ward int references clinic.wards,
        primary key (id, at)) partition by range (at);
    create table clinic.visits_2024 partition of clinic.visits for values from ('2024-01-01') to ('2025-01-01');
    create table \"Far Away\".\"Visits 2025\" partition of clinic.visits for values from ('2025-01-01') to ('2026-01-01');
    insert into clinic.visits select n, date '2024-01-01' + n, 1 + n % 50, 1 + n % 30 from generate_series(1, 700) n;
    create view clinic.names as select name from clinic.wards;
    create table audit.log (id serial primary key, what text);
    insert into audit.log (what) select 'w' || n from generate_series(1, 40) n;
    create view clinic.logged as select what from audit.log;
    create view clinic.logged_twice as select what || what as what from clinic.logged;";

/// A filtered backup, ready to run; options as variables.
fn part(place: &Place, db: &TestDatabase, options: &[(&str, &str)]) -> Job {
    let job = options
        .iter()
        .fold(place.backup(&db.url()), |job, (name, value)| job.env(&format!("LONGSHORE_{name}"), *value));
    job.for_postgres(db.server.version)
}

/// A restore of one certain backup, ready to run.
fn restore(place: &Place, db: &TestDatabase, backup: &Value, target: &Target) -> Job {
    let from = format!("app@{}", backup["id"].as_str().unwrap());
    let job = place.job(["restore", "--prove", "content", "--output", "json"]).env("LONGSHORE_FROM", from);
    job.env("LONGSHORE_TARGET", &target.url).for_postgres(db.server.version)
}

/// What a query says in the target, as text.
async fn says(target: &Target, query: &str) -> String {
    sql::value(&target.url, query).await
}

fn notes(backup: &Value) -> String {
    backup["about"]["notes"]
        .as_array()
        .map(|notes| notes.iter().map(|n| format!("{n}\n")).collect())
        .unwrap_or_default()
}

async fn excluded(version: u16) {
    let db = postgres(version).await.create_database().await;
    db.exec(CLINIC).await;
    let place = Place::new().await;
    let options = [("EXCLUDE_SCHEMA", "audit"), ("EXCLUDE_TABLE_DATA", "clinic.visits")];
    let backup = part(&place, &db, &options).run().await.success().json();
    assert_eq!((&backup["scope"], &backup["rows"]), (&Value::from("filtered"), &Value::from(80)), "{backup}");
    assert_eq!(
        backup["about"]["filter"],
        serde_json::json!({ "exclude_schemas": ["audit"], "exclude_table_data": ["clinic.visits"] })
    );
    let said = notes(&backup);
    assert!(
        said.contains("a part of the database: without schemas audit; without the rows of clinic.visits"),
        "{said}"
    );
    assert!(said.contains("views that read from what is left out: clinic.logged, clinic.logged_twice"), "{said}");
    // There is nothing but a part: no whole backup can be meant by the name alone.
    let target = Target::of(&db);
    let refused = place.restore(&target.url).for_postgres(version).run().await;
    assert_failed(refused, 66, "no full backup");
    assert!(!db.server.has_database(&target.name).await);
    let whole = place.backup(&db.url()).for_postgres(version).run().await.success().json();
    let again = part(&place, &db, &options).run().await.success().json();
    let scopes: Vec<Value> = place.listed().await.iter().map(|backup| backup["scope"].clone()).collect();
    assert_eq!(scopes, ["filtered", "full", "filtered"]);
    let listed = place.job(["list"]).run().await.success().stdout;
    assert!(listed.contains("SCOPE") && listed.matches("filtered").count() == 2, "{listed}");
    let shown = place.job(["show", &format!("app@{}", again["id"].as_str().unwrap())]).run().await.success().stdout;
    assert!(shown.contains("restored by its id only") && shown.contains("without schemas audit"), "{shown}");
    // The name alone means the whole one, though a part is newer.
    let restored = place.restore(&target.url).for_postgres(version).run().await.success().json();
    assert_eq!(restored["id"], whole["id"]);
    assert_eq!(says(&target, "select count(*) from audit.log").await, "40");
    drop(target);
    let target = Target::of(&db);
    restore(&place, &db, &again, &target).run().await.success();
    assert_eq!(says(&target, "select count(*) from clinic.wards").await, "30");
    assert_eq!(says(&target, "select count(*) from clinic.visits").await, "0");
    assert_eq!(
        says(&target, "select count(*) from pg_inherits where inhparent = 'clinic.visits'::regclass").await,
        "2"
    );
    assert_eq!(says(&target, "select coalesce(to_regclass('audit.log')::text, 'none')").await, "none");
    assert_eq!(says(&target, "select nextval('clinic.wards_id_seq')").await, "31");
}

#[tokio::test]
async fn a_part_is_labelled_never_the_latest_and_comes_back_by_its_id_on_15() {
    excluded(15).await;
}

#[tokio::test]
async fn a_part_is_labelled_never_the_latest_and_comes_back_by_its_id_on_17() {
    excluded(17).await;
}

async fn named(version: u16) {
    let db = postgres(version).await.create_database().await;
    db.exec(CLINIC).await;
    let place = Place::new().await;
    // A root brings its partitions, wherever they are; a table the sequences that it owns.
    let options = [("INCLUDE_TABLE", "clinic.visits,\n  clinic.ward?")];
    let backup = part(&place, &db, &options).run().await.success().json();
    assert_eq!((&backup["streams"], &backup["rows"]), (&Value::from(3), &Value::from(730)), "{backup}");
    let said = notes(&backup);
    assert!(said.contains("visits_patient_fkey of clinic.visits") && !said.contains("visits_ward_fkey"), "{said}");
    let target = Target::of(&db);
    let restored = restore(&place, &db, &backup, &target).run().await.success().json();
    assert!(restored["notes"].to_string().contains("visits_patient_fkey"), "{restored}");
    assert_eq!(says(&target, "select count(*) from clinic.visits").await, "700");
    assert_eq!(says(&target, "select count(*) from \"Far Away\".\"Visits 2025\"").await, "335");
    assert_eq!(says(&target, "select nextval('clinic.wards_id_seq')").await, "31");
    let keys =
        "select string_agg(conname, ',' order by conname) from pg_constraint where contype = 'f' and conparentid = 0";
    assert_eq!(says(&target, keys).await, "visits_ward_fkey");
    assert_eq!(says(&target, "select coalesce(to_regclass('clinic.patients')::text, 'none')").await, "none");
    // What a table needs and a part lacks is named on the day of the backup.
    let said = notes(&part(&place, &db, &[("INCLUDE_TABLE", "clinic.patients")]).run().await.success().json());
    assert!(said.contains("needed by what is in this backup, and not in it: type clinic.sex"), "{said}");
    // A partition by itself is a table by itself.
    let backup = part(&place, &db, &[("INCLUDE_TABLE", "\"Far Away\".\"Visits 2025\"")]).run().await.success().json();
    drop(target);
    let target = Target::of(&db);
    let restored = restore(&place, &db, &backup, &target).run().await.success().json();
    assert!(restored["notes"].to_string().contains("table attach"), "{restored}");
    assert_eq!(says(&target, "select count(*) from \"Far Away\".\"Visits 2025\"").await, "335");
}

#[tokio::test]
async fn named_tables_come_back_with_what_belongs_to_them_on_15() {
    named(15).await;
}

#[tokio::test]
async fn named_tables_come_back_with_what_belongs_to_them_on_17() {
    named(17).await;
}

#[tokio::test]
async fn a_schema_comes_back_and_what_is_outside_of_it_is_named() {
    let db = postgres(15).await.create_database().await;
    db.exec(CLINIC).await;
    db.exec("create table public.t (x int); insert into t values (7); select lo_from_bytea(0, 'x')").await;
    let place = Place::new().await;
    let options = [("INCLUDE_SCHEMA", "clin*,public"), ("EXCLUDE_TABLE", "patients")];
    let backup = part(&place, &db, &options).run().await.success().json();
    let said = notes(&backup);
    assert!(said.contains(r#"partitions of tables that are kept: \"Far Away\"#), "{said}");
    assert!(said.contains("large objects, which belong to no schema"), "{said}");
    let target = Target::of(&db);
    restore(&place, &db, &backup, &target).run().await.success();
    assert_eq!(says(&target, "select count(*) from clinic.visits").await, "365");
    assert_eq!(says(&target, "select x from public.t").await, "7");
    assert_eq!(says(&target, "select count(*) from clinic.names").await, "30");
    assert_eq!(says(&target, "select enum_range(null::clinic.sex)").await, "{f,m}");
    let gone = "select count(*) from pg_class where relname in ('patients', 'patients_id_seq', 'log', 'logged')";
    assert_eq!(says(&target, gone).await, "0");
}

#[tokio::test]
async fn a_pattern_that_matches_nothing_or_cannot_be_meant_stores_nothing() {
    let db = postgres(15).await.create_database().await;
    db.exec(CLINIC).await;
    db.exec(
        "create table base (x int); create table child () inherits (base);
         create type mood as enum ('a', 'b'); create table moods (m mood) partition by hash (m);
         create table moods_0 partition of moods for values with (modulus 1, remainder 0)",
    )
    .await;
    let place = Place::new().await;
    for (options, says) in [
        (&[("INCLUDE_SCHEMA", "clinik")][..], "--include-schema clinik matches no schema"),
        (&[("EXCLUDE_SCHEMA", "Clinic")], "--exclude-schema Clinic matches no schema"),
        (&[("INCLUDE_TABLE", "clinic.wards,clinic.nothing")], "--include-table clinic.nothing matches no table"),
        (&[("EXCLUDE_TABLE", "public.wards")], "--exclude-table public.wards matches no table"),
        (&[("EXCLUDE_TABLE_DATA", "clinic.names")], "--exclude-table-data clinic.names matches no table"),
        (&[("INCLUDE_TABLE", "a.b.c")], "a.b.c cannot be meant"),
        (&[("INCLUDE_TABLE", "clinic.wards"), ("INCLUDE_SCHEMA", "audit")], "cannot be included at once"),
        (&[("INCLUDE_TABLE", "clinic.wards"), ("EXCLUDE_TABLE", "wards")], "leaves nothing"),
        (&[("EXCLUDE_TABLE", "base")], "public.child inherits from public.base"),
        (&[("EXCLUDE_TABLE_DATA", "moods_0")], "read through public.moods"),
        (&[("INCLUDE_TABLE", "moods_0")], "read through public.moods"),
    ] {
        assert_failed(part(&place, &db, options).run().await, 78, says);
        place.assert_no_manifest();
        assert!(place.objects("chunks").is_empty(), "{says}");
    }
    let all = part(&place, &db, &[("INCLUDE_SCHEMA", "clinic"), ("ALL_DATABASES", "true")]);
    assert_failed(all.run().await, 64, "whole databases");
    place.assert_no_manifest();
}

/// What is left out may be locked by others, and unreadable for the role.
#[tokio::test]
async fn only_what_is_read_is_locked_and_needs_a_grant() {
    let db = postgres(15).await.create_database().await;
    db.exec(CLINIC).await;
    let role = format!("{}_reader", db.name);
    db.exec(&format!(
        "create role {role} login password 'pw'; grant usage on schema clinic to {role};
         grant select on clinic.wards, clinic.wards_id_seq to {role}"
    ))
    .await;
    let url = format!("postgres://{role}:pw@{}:{}/{}", db.server.host, db.server.port, db.name);
    let place = Place::new().await;
    let somebody = sql::connect(&db.url()).await;
    somebody.batch_execute("begin; lock table audit.log in access exclusive mode").await.unwrap();
    let only = [("INCLUDE_TABLE", "clinic.wards"), ("LOCK_TIMEOUT", "1"), ("SOURCE", url.as_str())];
    let backup = part(&place, &db, &only).run().await.success().json();
    assert_eq!(backup["rows"], 30);
    let without = [("EXCLUDE_SCHEMA", "audit"), ("LOCK_TIMEOUT", "1")];
    part(&place, &db, &without).run().await.success();
    assert_failed(part(&place, &db, &[("LOCK_TIMEOUT", "1")]).run().await, 69, "audit.log is locked");
    drop(somebody);
    db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}

/// A part leaves no hole in what the next whole backup recognises.
#[tokio::test]
async fn a_whole_backup_after_a_part_recognises_what_the_whole_one_before_stored() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    let first = place.backup(&db.url()).run().await.success().json();
    part(&place, &db, &[("INCLUDE_TABLE", "small")]).run().await.success();
    let third = place.backup(&db.url()).run().await.success().json();
    let added = |backup: &Value| backup["added_bytes"].as_u64().unwrap();
    assert!(added(&third) * 10 < added(&first), "{first}\n{third}");
    // Where there are only parts, one recognises what the last one stored.
    let place = Place::new().await;
    let only = [("EXCLUDE_TABLE", "small")];
    let first = part(&place, &db, &only).run().await.success().json();
    let second = part(&place, &db, &only).run().await.success().json();
    assert!(added(&second) * 10 < added(&first), "{first}\n{second}");
}

/// Keys to rows that were left out would end every restore; keys that hold come back.
#[tokio::test]
async fn foreign_keys_to_rows_that_were_left_out_are_named_and_left_out() {
    let db = postgres(15).await.create_database().await;
    db.exec(CLINIC).await;
    db.exec(
        "create table clinic.stays (visit int, at date, loose bigint, foreign key (visit, at) references clinic.visits);
         alter table clinic.stays add constraint loose_fkey foreign key (loose) references clinic.patients not valid;
         insert into clinic.stays values (1, '2024-01-02', null)",
    )
    .await;
    let place = Place::new().await;
    let keys =
        "select string_agg(conname, ',' order by conname) from pg_constraint where contype = 'f' and conparentid = 0";
    for (without, lost, held) in [
        // Those without rows may keep their keys, and so may a key that is not checked.
        (
            "clinic.patients",
            "visits_patient_fkey of clinic.visits",
            "loose_fkey,patients_ward_fkey,stays_visit_at_fkey,visits_ward_fkey",
        ),
        (
            "clinic.visits_2024",
            "stays_visit_at_fkey of clinic.stays",
            "loose_fkey,patients_ward_fkey,visits_patient_fkey,visits_ward_fkey",
        ),
    ] {
        let backup = part(&place, &db, &[("EXCLUDE_TABLE_DATA", without)]).run().await.success().json();
        let note = format!("foreign keys to rows that are not in this backup: {lost}\"");
        assert!(notes(&backup).contains(&note), "{}", notes(&backup));
        let target = Target::of(&db);
        let restored = restore(&place, &db, &backup, &target).run().await.success().json();
        assert!(restored["notes"].to_string().contains("fk constraint"), "{restored}");
        assert_eq!(says(&target, keys).await, held);
    }
}

/// A partition on another server is a definition, like any other: in a part, and in a part of that.
#[tokio::test]
async fn foreign_partitions_stay_attached_in_a_part() {
    let db = postgres(15).await.create_database().await;
    db.exec(CLINIC).await;
    let far = "create foreign data wrapper w; create server far foreign data wrapper w;";
    db.exec(far).await;
    db.exec(
        "create table mixed (k int, v text) partition by list (k); create table mixed_here partition of mixed for values in (1);
         create foreign table mixed_there partition of mixed for values in (2) server far;
         comment on foreign table mixed_there is 'far'; insert into mixed values (1, 'here')",
    )
    .await;
    let place = Place::new().await;
    let backup = part(&place, &db, &[("EXCLUDE_SCHEMA", "audit")]).run().await.success().json();
    let target = Target::of(&db);
    let restored = restore(&place, &db, &backup, &target).run().await.success().json();
    assert!(!restored["notes"].to_string().contains("attach"), "{restored}");
    let partitions = "select string_agg(inhrelid::regclass || ' ' || coalesce(obj_description(inhrelid, 'pg_class'), '-'), ',' order by 1)
         from pg_inherits where inhparent = 'mixed'::regclass";
    assert_eq!(says(&target, partitions).await, "mixed_here -,mixed_there far");
    let into = db.server.create_database().await;
    let only = || {
        let job = place.job(["restore", "--output", "json"]).env("LONGSHORE_TARGET", into.url());
        job.env("LONGSHORE_FROM", format!("app@{}", backup["id"].as_str().unwrap()))
            .env("LONGSHORE_ONLY_TABLE", "mixed")
    };
    assert_failed(only().run().await, 78, "the part needs what the target does not have: server far");
    into.exec(far).await;
    crate::staging::mark(&into.url(), "staging").run().await.success();
    only().run().await.success();
    assert_eq!(into.value(partitions).await, "mixed_here -,mixed_there far");
}

/// Elsewhere only the roles of the part are needed, and made.
#[tokio::test]
async fn a_part_needs_its_own_roles_and_no_others() {
    let db = postgres(15).await.create_database().await;
    db.exec(CLINIC).await;
    let role = |name: &str| format!("{}_{name}", db.name);
    let (owner, reader, ruled, other) = (role("owner"), role("reader"), role("ruled"), role("other"));
    db.exec(&format!(
        "create role {owner}; create role {reader}; create role {ruled}; create role {other};
         alter table clinic.wards owner to {owner}; grant select on clinic.patients to {reader};
         alter table clinic.visits enable row level security; create policy these on clinic.visits to {ruled} using (true);
         alter schema audit owner to {other}; grant select on audit.log to {other}; grant execute on function pg_sleep(float8) to {other};
         alter default privileges in schema audit grant select on tables to {other}"
    ))
    .await;
    let place = Place::new().await;
    let included = part(&place, &db, &[("INCLUDE_SCHEMA", "clinic")]).run().await.success().json();
    let named = part(&place, &db, &[("INCLUDE_TABLE", "clinic.patients")]).run().await.success().json();
    let all = format!("{owner}, {reader}, {ruled}, {other}");
    db.exec(&format!("reassign owned by {all} to postgres; drop owned by {all}; drop role {all}")).await;
    let target = Target::of(&db);
    let refused = restore(&place, &db, &included, &target).run().await;
    let lacks = format!("lacks roles that own or were granted something: {owner}, {reader}, {ruled};");
    let refused = assert_failed(refused, 78, &lacks);
    assert!(!refused.stderr.contains(&other), "{}", refused.report());
    assert!(!db.server.has_database(&target.name).await);
    let refused =
        assert_failed(restore(&place, &db, &named, &target).run().await, 78, &format!("something: {reader};"));
    assert!(!refused.stderr.contains(&ruled), "{}", refused.report());
    let job = restore(&place, &db, &included, &target).env("LONGSHORE_CREATE_MISSING_ROLES", "true");
    job.run().await.success();
    let made =
        format!("select string_agg(rolname, ',' order by rolname) from pg_roles where rolname ~ '^{}_'", db.name);
    assert_eq!(says(&target, &made).await, format!("{owner},{reader},{ruled}"));
    assert_eq!(says(&target, "select tableowner from pg_tables where tablename = 'wards'").await, owner);
    drop(target);
    db.exec(&format!("drop role {owner}, {reader}, {ruled}")).await;
}
