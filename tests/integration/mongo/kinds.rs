//! Errors of MongoDB as the exit codes and words that operators see.

use super::{Back, collections};
use crate::place::{Place, assert_failed};
use mongodb::bson::doc;
use testkit::servers::{mongo, standalone_mongo};

/// Nobody is let in with a wrong password, and it shows nowhere.
#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let server = mongo().await;
    let db = server.database().await;
    db.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    let place = Place::new().await;
    let wrong = place.backup(&server.url_as("root", "hunter2", db.name())).run().await;
    assert!(!wrong.stderr.contains("hunter2") && !wrong.stdout.contains("hunter2"));
    assert_failed(wrong, 77, "authSource");
    let by_file = place.backup(&db.url_without_password()).env("LONGSHORE_SOURCE_PASSWORD", server.password());
    by_file.run().await.success();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let place = Place::new().await;
    let url = "mongodb://127.0.0.1:1/app?directConnection=true&serverSelectionTimeoutMS=500";
    assert_failed(place.backup(url).run().await, 69, "reachable");
}

/// Nothing makes a server by itself show one moment; it can be restored into all the same.
#[tokio::test]
async fn a_server_by_itself_is_refused_as_a_source_and_taken_as_a_target() {
    let (server, alone) = (mongo().await, std::sync::Arc::new(standalone_mongo().await));
    let (db, there) = (server.database().await, alone.database().await);
    there.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    let place = Place::new().await;
    assert_failed(place.backup(&there.url()).run().await, 77, "--replSet");
    place.assert_no_manifest();
    let inexact = place.backup(&there.url()).env("LONGSHORE_ALLOW_INEXACT", "true").env("LONGSHORE_NAME", "alone");
    let inexact = inexact.run().await.success().json();
    assert_eq!(inexact["about"]["inexact"], "per-collection");
    assert!(inexact["about"]["notes"][0].as_str().unwrap().contains("of no one moment"), "{inexact}");
    assert_eq!(place.listed().await[0]["consistency"], "per-collection");
    assert!(place.job(["list"]).run().await.success().stdout.contains("full, per-collection"));
    let restore = place.job(["restore", "--from", "alone", "--prove", "content", "--output", "json"]);
    let restored = restore.env("LONGSHORE_TARGET", Back::of(&db).url).run().await.success().json();
    assert!(restored["notes"].to_string().contains("not of one moment (per-collection)"), "{restored}");
    db.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    db.run(doc! {"createIndexes": "t", "indexes": [{"key": {"a": 1}, "name": "a"}]}).await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&there);
    place.restore(&back.url).run().await.success();
    assert_eq!(collections(&there, &back.name).await, ["t"]);
}

#[tokio::test]
async fn databases_that_are_not_there_or_the_servers_own_are_named() {
    let server = mongo().await;
    let place = Place::new().await;
    assert_failed(place.backup(&server.root_url("no_such")).run().await, 66, "no database no_such");
    for own in ["admin", "local", "config"] {
        assert_failed(place.backup(&server.root_url(own)).run().await, 78, "the server's own");
    }
    place.assert_no_manifest();
}

/// A user who may read one database backs it up, and nobody backs up what he may not see.
#[tokio::test]
async fn the_role_read_is_enough_for_plain_collections() {
    let server = mongo().await;
    let (db, other) = (server.database().await, server.database().await);
    for db in [&db, &other] {
        db.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    }
    let reader = format!("r{}", &db.name()[4..]);
    let admin = server.client().await.database("admin");
    let create = doc! {"createUser": &reader, "pwd": "pw", "roles": [{"role": "read", "db": db.name()}]};
    admin.run_command(create).await.unwrap();
    let place = Place::new().await;
    place.backup(&server.url_as(&reader, "pw", db.name())).run().await.success();
    assert_failed(place.backup(&server.url_as(&reader, "pw", other.name())).run().await, 77, "role");
    assert_failed(place.restore(&server.url_as(&reader, "pw", &Back::of(&db).name)).run().await, 77, "role");
    admin.run_command(doc! {"dropUser": &reader}).await.unwrap();
    assert_eq!(place.listed().await.len(), 1);
}

/// What this version does not do for MongoDB is said before anything is done.
#[tokio::test]
async fn what_is_not_done_yet_is_refused() {
    let server = mongo().await;
    let db = server.database().await;
    db.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let restore = place.restore(&Back::of(&db).url).env("LONGSHORE_ROLE", "somebody");
    assert_failed(restore.run().await, 78, "not for MongoDB");
    assert_eq!(collections(&db, db.name()).await, ["t"]);
    assert!(!server.has_database(&Back::of(&db).name).await);
}

/// A backup of one kind of server is not put into another.
#[tokio::test]
async fn another_kind_of_server_is_refused() {
    let server = mongo().await;
    let db = server.database().await;
    db.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    assert_failed(place.restore("postgres://u@127.0.0.1:1/x").run().await, 78, "of MongoDB");
}

/// The doctor says what a backup and a restore would meet.
#[tokio::test]
async fn the_doctor_looks_at_both_ends() {
    let server = mongo().await;
    let db = server.database().await;
    db.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    let place = Place::new().await;
    let source = place.job(["doctor"]).env("LONGSHORE_SOURCE", db.url()).run().await.success();
    assert!(source.report().contains("keeps its past for 300 s"), "{}", source.report());
    let target = place.job(["doctor"]).env("LONGSHORE_TARGET", Back::of(&db).url).run().await.success();
    assert!(target.report().contains("a restore fills it"), "{}", target.report());
    place.job(["doctor"]).env("LONGSHORE_TARGET", db.url()).run().await.expect_code(77);
}
