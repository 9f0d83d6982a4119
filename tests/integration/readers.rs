//! Ordinary roles as readers: what they may read comes, and what they may not is all named before anything is locked.

use crate::place::{Place, Target, assert_failed};
use testkit::servers::{TestDatabase, postgres};
use testkit::sql;

fn url(db: &TestDatabase, role: &str) -> String {
    format!("postgres://{role}:pw@{}:{}/{}", db.server.host, db.server.port, db.name)
}

async fn read_all_data(version: u16) {
    let db = postgres(version).await.create_database().await;
    testkit::data::realistic(&db, 1).await;
    let role = format!("{}_reader", db.name);
    db.exec(&format!("create role {role} login password 'pw' in role pg_read_all_data")).await;
    let place = Place::new().await;
    // The generated data has row-level security, which that role does not pass.
    let refused = place.backup(&url(&db, &role)).for_postgres(version).run().await;
    assert_failed(refused, 77, "BYPASSRLS");
    place.assert_no_manifest();
    db.exec(&format!("alter role {role} bypassrls")).await;
    place.backup(&url(&db, &role)).for_postgres(version).run().await.success();
    db.exec(&format!("drop role {role}")).await;
    let target = Target::of(&db);
    place.restore(&target.url).for_postgres(version).run().await.success();
    assert_eq!(sql::content(&target.url).await, sql::content(&db.url()).await);
    assert_eq!(sql::canonical_dump(&db.server, &target.name), sql::canonical_dump(&db.server, &db.name));
}

#[tokio::test]
async fn pg_read_all_data_is_enough_on_postgresql_15() {
    read_all_data(15).await;
}

#[tokio::test]
async fn pg_read_all_data_is_enough_on_postgresql_17() {
    read_all_data(17).await;
}

async fn owner(version: u16) {
    let db = postgres(version).await.create_database().await;
    let role = format!("{}_owner", db.name);
    db.exec(&format!("create role {role} login password 'pw'; alter database {} owner to {role}", db.name)).await;
    db.exec(&format!("grant all on schema public to {role}")).await;
    let own = "create schema s; create table s.t (id serial primary key, x text); insert into s.t (x) values ('a');
               create table p (x int); alter table p enable row level security; create policy none on p using (false);
               insert into p values (1)";
    sql::exec(&url(&db, &role), own).await;
    let place = Place::new().await;
    place.backup(&url(&db, &role)).for_postgres(version).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).for_postgres(version).run().await.success();
    assert_eq!(sql::content(&target.url).await, sql::content(&db.url()).await);

    // One table of somebody else's, and the owner of the database is told.
    db.exec("create table theirs (x int); create sequence counts").await;
    let before = place.listed().await.len();
    let outcome =
        assert_failed(place.backup(&url(&db, &role)).for_postgres(version).run().await, 77, "table public.theirs");
    assert!(outcome.stderr.contains("sequence public.counts"), "{}", outcome.report());
    assert_eq!(place.listed().await.len(), before);
    drop(target);
    db.exec(&format!("reassign owned by {role} to postgres; drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn the_owner_of_everything_needs_no_other_right_on_postgresql_15() {
    owner(15).await;
}

#[tokio::test]
async fn the_owner_of_everything_needs_no_other_right_on_postgresql_17() {
    owner(17).await;
}

async fn everything_is_named(version: u16) {
    let db = postgres(version).await.create_database().await;
    let role = format!("{}_nobody", db.name);
    db.exec(&format!(
        "create role {role} login password 'pw'; create schema hidden; create table hidden.a (x int); create table b (x int);
         create table \"Odd \"\"c\"\"\" (x int) partition by list (x); create sequence d; create table open (x int);
         create table notes (x int); alter table notes enable row level security; create policy p on notes using (x = 1);
         grant select on open, notes to {role}; select lo_from_bytea(4711, 'x');"
    ))
    .await;
    db.exec("create subscription sub connection 'dbname=nowhere' publication p with (connect = false)").await;
    let place = Place::new().await;
    let outcome = place.backup(&url(&db, &role)).for_postgres(version).run().await.expect_code(77);
    let said: serde_json::Value = outcome.json();
    let (error, hint) = (said["error"].as_str().unwrap(), said["hint"].as_str().unwrap());
    for name in [
        "table hidden.a",
        "table public.b",
        "public.\"Odd \"\"c\"\"\"",
        "sequence public.d",
        "public.notes",
        "large object 4711",
        "subscription sub",
    ] {
        assert!(error.contains(name), "{name}: {error}");
    }
    assert!(!error.contains("public.open"), "{error}");
    for grant in [
        "GRANT pg_read_all_data",
        "GRANT USAGE ON SCHEMA \"hidden\"",
        "BYPASSRLS",
        "GRANT SELECT ON LARGE OBJECT 4711",
        "superuser",
    ] {
        assert!(hint.contains(grant), "{grant}: {hint}");
    }
    place.assert_no_manifest();
    // With what the hint says, the rest works.
    db.exec("alter subscription sub set (slot_name = none)").await;
    db.exec("drop subscription sub").await;
    db.exec(&format!("select lo_unlink(4711); grant pg_read_all_data to {role}; alter role {role} bypassrls")).await;
    place.backup(&url(&db, &role)).for_postgres(version).run().await.success();
    db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn everything_that_cannot_be_read_is_named_with_the_grant_on_postgresql_15() {
    everything_is_named(15).await;
}

#[tokio::test]
async fn everything_that_cannot_be_read_is_named_with_the_grant_on_postgresql_17() {
    everything_is_named(17).await;
}

/// What the vendor's dump leaves out without a word is said at least.
#[tokio::test]
async fn options_of_user_mappings_that_cannot_be_seen_are_noted() {
    let db = postgres(15).await.create_database().await;
    let role = format!("{}_reader", db.name);
    db.exec(&format!(
        "create role {role} login password 'pw' in role pg_read_all_data; create foreign data wrapper w; create server s foreign data wrapper w;
         create user mapping for postgres server s options (password 'canary-9z')"
    ))
    .await;
    let place = Place::new().await;
    let outcome = place.backup(&url(&db, &role)).run().await.success();
    let note = outcome.json()["about"]["notes"][0].as_str().unwrap().to_owned();
    assert!(note.contains("postgres on s") && !outcome.stderr.contains("canary"), "{}", outcome.report());
    let whole = place.backup(&db.url()).run().await.success().json();
    assert!(whole["about"].get("notes").is_none(), "{whole}");
    db.exec(&format!("drop role {role}")).await;
}
