//! `--before-swap`: what is disarmed before anybody can connect, and what happens when that fails.

use crate::application::Application;
use crate::place::assert_failed;
use crate::staging::Staging;
use testkit::Job;

fn with(staging: &Staging, files: &[(&str, &str)]) -> Job {
    let folder = staging.place.folder.path();
    let mut arguments: Vec<String> =
        ["restore", "--from", "app", "--prove", "content", "--output", "json"].map(str::to_owned).to_vec();
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        arguments.extend(["--before-swap".to_owned(), path.display().to_string()]);
    }
    let job = Job::new(arguments).env("LONGSHORE_REPO", &staging.place.repo);
    job.env("LONGSHORE_TARGET", staging.live.url()).sees(folder)
}

#[tokio::test]
async fn nobody_sees_the_data_before_it_is_disarmed() {
    let staging = Staging::new(15).await;
    let name = &staging.live.name;
    // The path that the live database sets is the one that names are looked up in.
    staging
        .live
        .exec(&format!("alter database {name} set search_path = app, public; create table extra (x int)"))
        .await;
    let application = Application::start(&staging.live.url());
    application.is_answered().await;
    let first = "create schema app;\nupdate state set v = 'half';\ncreate table tidied (n int);";
    let second = "/* after the first */ update state set v = 'disarmed' where v = 'half'";
    let restored = with(&staging, &[("1.sql", first), ("2.sql", second)]).run().await.success().json();
    application.is_answered().await;
    let seen = application.stop().await;
    assert_eq!(seen.values, ["old", "disarmed"], "{seen:?}");
    assert_eq!(staging.live.value("select to_regclass('app.tidied')::text").await, "tidied");
    let notes = restored["notes"].to_string();
    assert!(notes.contains("1.sql: 3 statements") && notes.contains("2.sql: 1 statement"), "{notes}");
}

#[tokio::test]
async fn a_file_that_fails_is_named_with_its_place_and_changes_nothing() {
    let staging = Staging::new(15).await;
    let fine = ("1.sql", "update state set v = 'half'");
    for (text, says) in [
        ("select 1;\nupdate nothing_there set x = 1;", "2.sql, statement 2, line 2"),
        ("update state set v = 'x';\nselect 1;\ninsert into state values (null)", "2.sql, statement 3"),
        ("update state set v = 'x'; rollback; select 1", "ends its transaction itself"),
        ("update state set v = 'x'; commit", "ends its transaction itself"),
        ("copy state from stdin", "2.sql"),
    ] {
        let failed = with(&staging, &[fine, ("2.sql", text)]).run().await;
        assert_failed(failed, if text.starts_with("copy") { 69 } else { 78 }, says);
        staging.assert_untouched().await;
    }
}

#[tokio::test]
async fn what_is_not_plain_sql_is_refused_before_anything_is_made() {
    let staging = Staging::new(15).await;
    for (text, says) in [("select 1;\n\\i other.sql", "line 2: \\\\i is a command of psql"), (" \n", "is empty")] {
        let outcome = assert_failed(with(&staging, &[("d.sql", text)]).run().await, 78, says);
        assert!(!outcome.stderr.contains("make the schema"), "{}", outcome.report());
        staging.assert_untouched().await;
    }
    let missing = staging.restore().env("LONGSHORE_BEFORE_SWAP", "/no/such/file.sql");
    assert_failed(missing.run().await, 78, "/no/such/file.sql");
}

/// A new database is disarmed as well before it gets its name.
#[tokio::test]
async fn a_new_database_is_disarmed_too() {
    let staging = Staging::new(15).await;
    let target = crate::place::Target::of(&staging.live);
    let job = with(&staging, &[("d.sql", "update state set v = 'disarmed'")]).env("LONGSHORE_TARGET", &target.url);
    job.run().await.success();
    assert_eq!(testkit::sql::value(&target.url, "select v from state").await, "disarmed");
}

/// A signal ends a script that takes long.
#[tokio::test]
async fn a_signal_ends_a_script() {
    let staging = Staging::new(15).await;
    let job = with(&staging, &[("slow.sql", "select pg_sleep(600)")]);
    let outcome = job.run_and_signal("before the swap", testkit::Signal::Terminate).await;
    assert_failed(outcome, 74, "interrupted");
    staging.assert_untouched().await;
}
