//! `check` succeeds only when nothing is overdue, and names what is.

use super::drill::{drill, server};
use crate::place::{LARGE, Place, assert_failed, damage};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::servers::{TestDatabase, postgres};
use testkit::{Job, Outcome};

fn check(place: &Place, arguments: &[&str]) -> Job {
    let all = ["check", "--output", "json"].iter().chain(arguments).map(|it| (*it).to_owned());
    Job::new(all).env("LONGSHORE_REPO", &place.repo)
}

async fn backed_up() -> (TestDatabase, Place) {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); insert into t values (7)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    (db, place)
}

#[track_caller]
fn overdue(outcome: Outcome, says: &str) -> Value {
    let outcome = outcome.expect_code(76);
    let result = outcome.json();
    assert_eq!(result["ok"], false, "{result}");
    assert!(result.to_string().contains(says), "{says:?} expected\n{}", outcome.report());
    result
}

#[tokio::test]
async fn a_backup_that_is_too_old_or_missing_is_overdue() {
    let empty = Place::new().await;
    overdue(check(&empty, &["--max-age", "26h"]).run().await, "no backup at all");
    let (_db, place) = backed_up().await;
    let fine = check(&place, &["--max-age", "26h"]).run().await.success().json();
    assert_eq!((&fine["ok"], &fine["sources"][0]["source"]), (&json!(true), &json!("app")));
    overdue(check(&place, &["--max-age", "26h", "--name", "app", "--name", "other"]).run().await, "--name other");
    // A second passes, sooner or later.
    let begun = Instant::now();
    let outcome = loop {
        let outcome = check(&place, &["--max-age", "1s"]).run().await;
        if outcome.code != Some(0) {
            break outcome;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", outcome.report());
    };
    assert!(outcome.stderr.contains("overdue: app"), "{}", outcome.report());
    overdue(outcome, "1s is the most");
    assert_failed(check(&place, &["--max-age", "soon"]).run().await, 64, "write a time such as");
    let nowhere = Place::not_yet();
    std::fs::create_dir(nowhere.path()).unwrap();
    assert_failed(check(&nowhere, &["--max-age", "26h"]).run().await, 66, "no repository");
}

/// A part of a database is no backup of it.
#[tokio::test]
async fn a_filtered_backup_is_no_fresh_one() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); create table u (x int)").await;
    let place = Place::new().await;
    place.backup(&db.url()).env("LONGSHORE_INCLUDE_TABLE", "t").run().await.success();
    overdue(check(&place, &["--max-age", "26h"]).run().await, "there is no full backup");
}

#[tokio::test]
async fn what_was_never_verified_or_drilled_is_overdue_until_it_is() {
    let server = server(15).await;
    let db = server.create_database().await;
    db.exec("create table t (x int); insert into t values (7)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let both = ["--max-age", "26h", "--verified", "8d", "--drilled", "8d"];
    let result = overdue(check(&place, &both).run().await, "longshore verify --name app");
    assert!(result["sources"][0]["overdue"].to_string().contains("longshore drill --from app"), "{result}");
    place.job(["verify", "--sample", "50%"]).run().await.success();
    overdue(check(&place, &both[..4]).run().await, "was verified in");
    place.job(["verify"]).run().await.success();
    overdue(check(&place, &both).run().await, "was drilled in");
    drill(&place, &server).run().await.success();
    // The proof is of an older backup than the newest: sources are what must be proven lately.
    place.backup(&db.url()).run().await.success();
    let fine = check(&place, &both).run().await.success().json();
    assert!(fine["sources"][0]["verified"].is_string() && fine["sources"][0]["drilled"].is_string(), "{fine}");
    let text = Job::new(["check", "--max-age", "26h"]).env("LONGSHORE_REPO", &place.repo).run().await.success().stdout;
    assert!(text.starts_with("ok       app: "), "{text}");
}

/// A fresh backup that is known to be damaged is no backup.
#[tokio::test]
async fn a_newest_backup_that_was_found_damaged_is_overdue() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let chunk = place.objects("chunks").remove(0);
    damage(&chunk);
    check(&place, &["--max-age", "26h"]).run().await.success();
    place.job(["verify"]).run().await.expect_code(65);
    overdue(check(&place, &["--max-age", "26h"]).run().await, "was found damaged");
    // The next backup stores it again.
    place.backup(&db.url()).run().await.success();
    check(&place, &["--max-age", "26h"]).run().await.success();
}

#[tokio::test]
async fn databases_that_no_source_covers_are_named() {
    let server = server(15).await;
    let (db, other) = (server.create_database().await, server.create_database().await);
    other.exec("create table t (x int)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let with_server = || check(&place, &["--max-age", "26h"]).env("LONGSHORE_SERVER", server.url("postgres"));
    let result = overdue(with_server().run().await, &other.name);
    assert_eq!(result["uncovered"], json!([other.name]), "an empty database postgres is nobody's");
    // A backup of a part does not cover a database.
    place.backup(&other.url()).env("LONGSHORE_NAME", "other").env("LONGSHORE_INCLUDE_TABLE", "t").run().await.success();
    assert_eq!(overdue(with_server().run().await, "no full backup")["uncovered"], json!([other.name]));
    place.backup(&other.url()).env("LONGSHORE_NAME", "other").run().await.success();
    with_server().run().await.success();
}
