//! A drill restores, proves, records and leaves nothing. Each test has a server of its own: drills of several tests on one server
//! would see each other's databases.

use crate::place::{LARGE, Place, assert_failed, databases_like};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::proxy::{Fault, Rule, S3};
use testkit::servers::{PostgresServer, TestDatabase, minio, own, postgres};
use testkit::{Job, Outcome};

pub async fn server(version: u16) -> Arc<PostgresServer> {
    Arc::new(own(version, &[]).await)
}

/// A drill of `app` on a server, ready to run.
pub fn drill(place: &Place, server: &PostgresServer) -> Job {
    place.job(["drill", "--from", "app", "--output", "json"]).env("LONGSHORE_TARGET", server.url("postgres"))
}

/// Whatever looks like a drill's database.
pub async fn left(db: &TestDatabase) -> Vec<String> {
    databases_like(db, "longshore_drill").await
}

fn has_note(result: &Value, says: &str) -> bool {
    result["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains(says))
}

async fn drills(version: u16) {
    let server = server(version).await;
    let db = server.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).for_postgres(version).run().await.success();
    let before = testkit::sql::content(&db.url()).await;
    let result = drill(&place, &server).for_postgres(version).run().await.success().json();
    assert_eq!(
        (&result["rows"], &result["proof"], &result["proven"]),
        (&100_100.into(), &"content".into(), &true.into())
    );
    assert!(result["server_version"].as_str().unwrap().starts_with(&version.to_string()), "{result}");
    for stage in ["check", "schema", "load", "complete", "prove", "drop"] {
        assert!(result["stages"][stage].is_number(), "{stage}: {result}");
    }
    assert!(
        has_note(&result, "owners and grants were left out") && has_note(&result, "server that the backup was made of")
    );
    let key = result["evidence"].as_str().unwrap();
    assert_eq!(place.objects("evidence"), [place.path().join(key)]);
    let listed = place.listed().await.remove(0);
    assert!(listed["drilled"].is_string() && listed["verified"].is_null() && listed["failed"].is_null(), "{listed}");
    assert_eq!(left(&db).await, Vec::<String>::new());
    assert_eq!(testkit::sql::content(&db.url()).await, before, "the source is as it was");
}

#[tokio::test]
async fn a_drill_proves_records_and_leaves_nothing_on_15() {
    drills(15).await;
}

#[tokio::test]
async fn a_drill_proves_records_and_leaves_nothing_on_18() {
    drills(18).await;
}

/// Any full backup, never a part of one; and a certain one.
#[tokio::test]
async fn any_full_backup_or_a_certain_one_is_drilled() {
    let server = server(15).await;
    let db = server.create_database().await;
    db.exec("create table t (x int); create table u (x int); insert into t values (7)").await;
    let place = Place::new().await;
    let id = |made: Outcome| made.success().json()["id"].as_str().unwrap().to_owned();
    let mut full = vec![id(place.backup(&db.url()).run().await), id(place.backup(&db.url()).run().await)];
    id(place.backup(&db.url()).env("LONGSHORE_INCLUDE_TABLE", "t").run().await);
    let first = format!("app@{}", full[0]);
    let certain =
        place.job(["drill", "--from", &first, "--output", "json"]).env("LONGSHORE_TARGET", server.url("postgres"));
    assert_eq!(certain.run().await.success().json()["id"], json!(full[0]));
    let newest = drill(&place, &server).run().await.success().json();
    assert_eq!(newest["id"], json!(full[1]));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let any = drill(&place, &server).env("LONGSHORE_RANDOM", "true").run().await.success().json();
        seen.push(any["id"].as_str().unwrap().to_owned());
    }
    full.sort();
    assert!(seen.iter().all(|id| full.contains(id)), "{seen:?} of {full:?}");
    let both = place.job(["drill", "--random", "--from", &first]).env("LONGSHORE_TARGET", server.url("postgres"));
    assert_failed(both.run().await, 64, "--random");
    assert_eq!(left(&db).await, Vec::<String>::new());
}

/// A server for drills has none of production's roles: owners, grants, policies and user mappings stand in nobody's way.
#[tokio::test]
async fn missing_roles_are_named_and_fail_no_drill() {
    let db = postgres(15).await.create_database().await;
    let role = format!("{}_role", db.name);
    db.exec(&format!(
        "create role {role}; create table t (x int); insert into t values (1), (2); alter table t owner to {role};
         alter table t enable row level security; create policy p on t to {role} using (x > 1); comment on policy p on t is 'c'",
    ))
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    db.exec(&format!("drop owned by {role} cascade; drop role {role}")).await;
    let server = server(15).await;
    let result = drill(&place, &server).run().await.success().json();
    assert_eq!(result["rows"], 2, "{result}");
    assert!(has_note(&result, &format!("miss roles here: {role}")), "{result}");
    assert!(has_note(&result, "policies and user mappings were left out"), "{result}");
}

/// Whoever points at production means another server.
#[tokio::test]
async fn a_drill_from_a_database_marked_as_production_is_refused() {
    let server = server(15).await;
    let db = server.create_database().await;
    db.exec("create table t (x int)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    crate::staging::mark(&db.url(), "production").run().await.success();
    let outcome = drill(&place, &server).env("LONGSHORE_TARGET", db.url()).run().await;
    assert_failed(outcome, 77, "marked as production");
    assert_eq!((left(&db).await.len(), place.objects("evidence").len()), (0, 0));
}

/// A drill's own name means nothing: who has a database of that name keeps it.
#[tokio::test]
async fn a_database_that_has_a_drills_name_is_not_touched() {
    let server = server(15).await;
    let db = server.create_database().await;
    db.exec("create table t (x int)").await;
    db.exec("create database longshore_drill").await;
    let theirs = server.url("longshore_drill");
    testkit::sql::exec(&theirs, "create table mine (x int); insert into mine values (3)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    drill(&place, &server).run().await.success();
    assert_eq!(testkit::sql::value(&theirs, "select x from mine").await, "3");
    assert_eq!(left(&db).await, ["longshore_drill"]);
}

/// A credential that may only read: the proof holds, and it is said that it is not recorded.
#[tokio::test]
async fn a_drill_that_cannot_be_recorded_says_so() {
    let store = minio().await;
    let server = server(15).await;
    let db = server.create_database().await;
    db.exec("create table t (x int); insert into t values (7)").await;
    let bucket = store.create_bucket().await;
    let place = Place::at(store.url(&bucket, store.port)).await;
    place.backup(&db.url()).run().await.success();
    let proxy = S3::start(store.port).await;
    proxy.add(Rule::new(Fault::Status(403)).method("PUT").always());
    let through = place.by_way_of(store.url(&bucket, proxy.port()));
    let result = drill(&through, &server).run().await.success().json();
    assert!(result["evidence"].is_null() && has_note(&result, "not recorded"), "{result}");
    assert_eq!(left(&db).await, Vec::<String>::new());
}
