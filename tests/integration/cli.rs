//! What people and scripts see: variables, files, exit codes, formats, signals.

use crate::place::{LARGE, Place, Target, assert_failed, assert_nothing_made};
use serde_json::Value;
use testkit::servers::postgres;
use testkit::{Job, Signal};

#[tokio::test]
async fn variables_can_be_files_and_an_unreadable_one_is_exit_78() {
    let place = Place::not_yet();
    let file = place.folder.path().join("url");
    std::fs::write(&file, format!("{}\n", place.repo)).unwrap();
    let job = |path: &str| Job::new(["init"]).env("LONGSHORE_REPO_FILE", path);
    job(&file.display().to_string()).run().await.success();
    let missing = place.folder.path().join("nothing").display().to_string();
    assert_failed(job(&missing).run().await, 78, "LONGSHORE_REPO_FILE");
}

#[tokio::test]
async fn bad_flags_are_exit_64_and_a_second_init_is_exit_73() {
    Job::new(["backup", "--no-such-flag"]).run().await.expect_code(64);
    Job::new(["list"]).run().await.expect_code(64);
    let place = Place::new().await;
    assert_failed(place.job(["init"]).run().await, 73, "already");
    let elsewhere = Place::not_yet();
    std::fs::create_dir(elsewhere.path()).unwrap();
    assert_failed(elsewhere.job(["list"]).run().await, 66, "longshore init");
}

#[tokio::test]
async fn without_a_terminal_every_log_line_is_json_and_the_result_one_document() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int)").await;
    let place = Place::new().await;
    let outcome = place.backup(&db.url()).run().await.success();
    outcome.json();
    for line in outcome.stderr.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(parsed["time"].is_string() && parsed["level"].is_string(), "{line}");
    }
    let failed = place.backup("postgres://nobody@127.0.0.1:1/x").run().await.expect_code(69);
    let result = failed.json();
    assert_eq!((&result["ok"], &result["exit"], &result["name"]), (&false.into(), &69.into(), &"unavailable".into()));
    assert!(result["hint"].is_string(), "{result}");
}

#[tokio::test]
async fn help_completions_and_the_exit_codes_are_printed() {
    for (arguments, says) in [
        (vec!["--help"], "LONGSHORE_REPO"),
        (vec!["backup", "--help"], "LONGSHORE_SOURCE"),
        (vec!["help", "exit-codes"], "74"),
        (vec!["completions", "bash"], "longshore"),
        (vec!["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let outcome = Job::new(arguments).run().await.success();
        assert!(outcome.stdout.contains(says), "{says:?} expected\n{}", outcome.report());
    }
}

#[tokio::test]
async fn the_jobs_own_binaries_do_the_same() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); insert into t values (7)").await;
    let place = Place::new().await;
    let job = Job::new(["--cross-count"]).binary("longshore-backup").env("LONGSHORE_REPO", &place.repo);
    job.env("LONGSHORE_SOURCE", db.url()).env("LONGSHORE_NAME", "app").run().await.success();
    let target = Target::of(&db);
    let job = Job::new(["--from", "app"]).binary("longshore-restore").env("LONGSHORE_REPO", &place.repo);
    job.env("LONGSHORE_TARGET", &target.url).run().await.success();
    assert_eq!(testkit::sql::value(&target.url, "select x from t").await, "7");
}

/// G12: a signal ends a backup cleanly: exit 74, no manifest, no child left, and the session says how it ended.
#[tokio::test]
async fn signals_end_a_backup_with_exit_74_and_no_manifest() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    for (signal, at) in [
        (Signal::Interrupt, "lock tables, take the snapshot"),
        (Signal::Interrupt, "read rows"),
        (Signal::Terminate, "confirm the dump"),
    ] {
        let place = Place::new().await;
        let outcome = place.backup(&db.url()).run_and_signal(at, signal).await;
        // A signal that comes when everything is stored finds the commit made: then there is a backup, and exit 0.
        match outcome.code {
            Some(0) => assert_eq!(place.listed().await.len(), 1),
            _ => {
                assert_failed(outcome, 74, "interrupted");
                place.assert_no_manifest();
                assert_eq!(place.objects("sessions").iter().filter(|path| path.ends_with("end")).count(), 1);
            }
        }
    }
    assert_no_sessions(&db).await;
}

#[tokio::test]
async fn signals_end_a_restore_with_exit_74_and_no_database() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    for (signal, at) in [
        (Signal::Interrupt, "check the target"),
        (Signal::Terminate, "make the schema"),
        (Signal::Interrupt, "load rows"),
        (Signal::Terminate, "add constraints"),
        (Signal::Interrupt, "read everything back"),
    ] {
        let outcome = place.restore(&target.url).run_and_signal(at, signal).await;
        assert_failed(outcome, 74, "interrupted");
        assert_nothing_made(&db, &target.name).await;
    }
}

/// No session of ours stays on the server once a job has ended.
async fn assert_no_sessions(db: &testkit::servers::TestDatabase) {
    let left = "select count(*) from pg_stat_activity where application_name like 'longshore%' and datname = current_database()";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // A server notices a closed connection a moment later: the condition is waited for, within a bound.
    while db.value(left).await != "0" {
        assert!(std::time::Instant::now() < deadline, "sessions of an ended job stay on the server");
        tokio::task::yield_now().await;
    }
}
