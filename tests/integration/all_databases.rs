//! Every database of a server, one backup each: one that fails does not stop the others, and none is missing from the account.

use crate::place::{Place, assert_failed};
use serde_json::Value;
use testkit::servers::{PostgresServer, own};
use testkit::{Signal, sql};

async fn server() -> PostgresServer {
    let server = own(15, &[]).await;
    let admin = server.url("postgres");
    for statement in [
        "create database app",
        "create database \"My App\"",
        "create database broken",
        "create database scratch__new_1",
        "comment on database scratch__new_1 is 'longshore scratch database, run 1 for scratch'",
        "create database old",
        "comment on database old is 'longshore {\"replaced\":{\"run\":\"1\",\"target\":\"app\",\"at\":\"2026-01-01\",\"successor\":1}}'",
        "create database closed allow_connections false",
        "create database named__new_1",
    ] {
        sql::exec(&admin, statement).await;
    }
    for name in ["app", "My%20App", "named__new_1"] {
        sql::exec(&server.url(name), "create table t (x int); insert into t values (1), (2)").await;
    }
    // A row in the catalog is all that is looked for.
    let unsupported = "set allow_system_table_mods = on;
                       insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
                       values (99999, 'timescaledb', 10, 11, false, '2')";
    sql::exec(&server.url("broken"), unsupported).await;
    server
}

fn entry<'a>(account: &'a Value, database: &str) -> &'a Value {
    let entries = account.as_array().unwrap();
    entries.iter().find(|entry| entry["database"] == database).unwrap_or_else(|| panic!("{database}: {account}"))
}

#[tokio::test]
async fn each_database_is_backed_up_or_named_with_the_reason() {
    let server = server().await;
    let place = Place::new().await;
    let all = |prefix: &str| {
        let job = place.job(["backup", "--all-databases", "--output", "json"]);
        let job = job.env("LONGSHORE_SOURCE", server.url("postgres"));
        if prefix.is_empty() { job } else { job.env("LONGSHORE_NAME", prefix) }
    };
    let outcome = assert_failed(all("").run().await, 78, "1 of 5 databases were not backed up: broken");
    let account = outcome.json();
    assert_eq!(account.as_array().unwrap().len(), 8, "{account}");
    for (database, name) in [("app", "app"), ("postgres", "postgres"), ("named__new_1", "named__new_1")] {
        let entry = entry(&account, database);
        assert_eq!((&entry["ok"], &entry["name"]), (&true.into(), &name.into()), "{entry}");
    }
    assert!(entry(&account, "My App")["name"].as_str().unwrap().starts_with("my-app-"), "{account}");
    let broken = entry(&account, "broken");
    assert_eq!((&broken["ok"], &broken["failure"]["exit"]), (&false.into(), &78.into()), "{broken}");
    for (database, why) in [("scratch__new_1", "restore"), ("old", "replaced"), ("closed", "no connections")] {
        let entry = entry(&account, database);
        assert!(entry["left_out"].as_str().unwrap().contains(why) && entry["ok"] == false, "{entry}");
    }
    assert_eq!(place.listed().await.len(), 4);

    sql::exec(&server.url("postgres"), "drop database broken").await;
    all("prod").run().await.success();
    let listed = place.listed().await;
    let names: Vec<&str> = listed.iter().filter_map(|backup| backup["source"].as_str()).collect();
    assert!(names.contains(&"prod.app") && names.contains(&"prod.postgres"), "{names:?}");
    // Each is a backup like any other.
    let restore = place.job(["restore", "--from", "prod.app", "--prove", "content"]);
    restore.env("LONGSHORE_TARGET", server.url("app_back")).run().await.success();
    assert_eq!(sql::value(&server.url("app_back"), "select sum(x) from t").await, "3");
}

#[tokio::test]
async fn for_people_each_database_has_its_lines() {
    let server = server().await;
    let place = Place::new().await;
    let outcome = place.job(["backup", "--all-databases"]).env("LONGSHORE_SOURCE", server.url("app")).run().await;
    for said in ["backed up app@", "NOT backed up: database broken", "left out database closed"] {
        assert!(outcome.stdout.contains(said), "{said:?}\n{}", outcome.report());
    }
    outcome.expect_code(78);
}

/// The deadline is for all of them: what did not begin is named, too.
#[tokio::test]
async fn a_deadline_ends_the_whole_run_and_names_what_is_missing() {
    let server = own(15, &[]).await;
    sql::exec(&server.url("postgres"), "create database app").await;
    sql::exec(&server.url("app"), crate::place::LARGE).await;
    let place = Place::new().await;
    let job =
        place.job(["backup", "--all-databases", "--max-rate", "64KiB", "--max-duration", "3s", "--output", "json"]);
    let outcome = job.env("LONGSHORE_SOURCE", server.url("app")).run().await;
    let outcome = assert_failed(outcome, 74, "2 of 2 databases were not backed up: app, postgres");
    assert_eq!(outcome.json().as_array().unwrap().len(), 2, "{}", outcome.report());
    place.assert_no_manifest();
}

/// A stop signal is for all of them, too.
#[tokio::test]
async fn a_signal_ends_the_whole_run_and_names_what_is_missing() {
    let server = own(15, &[]).await;
    sql::exec(&server.url("postgres"), "create database app").await;
    sql::exec(&server.url("app"), crate::place::LARGE).await;
    let place = Place::new().await;
    let job = place.job(["backup", "--all-databases", "--max-rate", "64KiB", "--output", "json"]);
    let job = job.env("LONGSHORE_SOURCE", server.url("app"));
    let outcome = job.run_and_signal("read rows", Signal::Terminate).await;
    let outcome = assert_failed(outcome, 74, "2 of 2 databases were not backed up: app, postgres");
    assert_eq!(entry(&outcome.json(), "postgres")["failure"]["exit"], 74, "{}", outcome.report());
    place.assert_no_manifest();
}
