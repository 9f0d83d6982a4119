//! kill -9 of the job at any moment: nothing half-made shows, and the next run works.

use crate::place::{LARGE, Place, Target, databases_like};
use testkit::proxy::{Direction, Tcp};
use testkit::servers::postgres;
use testkit::{Job, Signal};

/// Moments by what the job says, and within the reading by how far it is.
const BACKUP_MOMENTS: &[&str] = &["open the repository", "lock tables", "read rows", "confirm the dump", "\"commit\""];

#[tokio::test]
async fn a_backup_killed_at_any_moment_is_not_listed_and_the_next_one_works() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    let mut complete = 0;
    for moment in BACKUP_MOMENTS {
        let outcome = place.backup(&db.url()).run_and_signal(moment, Signal::Kill).await;
        // A kill that comes after the manifest was put finds a complete backup: it counts as one, and must be whole.
        let listed = place.listed().await.len();
        assert!(
            listed == complete || outcome.code == Some(0) || *moment == "\"commit\"",
            "{moment}: {}",
            outcome.report()
        );
        complete = listed;
    }
    place.backup(&db.url()).run().await.success();
    assert_eq!(place.listed().await.len(), complete + 1);
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}

/// Moments by how many bytes have passed: inside the reading, where stages say nothing.
#[tokio::test]
async fn a_backup_killed_after_any_number_of_bytes_is_not_listed() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let proxy = Tcp::start(&db.server.host, db.server.port).await;
    let place = Place::new().await;
    // Powers of three: early and late moments alike, the same ones in every run.
    for bytes in (6..=15).map(|n| 3_u64.pow(n)).chain([20_000_000, 28_000_000]) {
        let before = proxy.passed(Direction::ToClient);
        let running = place.backup(&db.url_at_port(proxy.port())).spawn();
        proxy.wait_for_bytes(Direction::ToClient, before + bytes).await;
        running.signal(Signal::Kill);
        running.wait().await;
        assert!(place.listed().await.is_empty(), "killed after {bytes} bytes");
    }
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}

/// A killed job's `pg_dump` must not live on, holding locks in production.
#[tokio::test]
async fn a_killed_backup_leaves_no_child_and_no_session() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run_and_signal("read rows", Signal::Kill).await;
    let sessions = "select count(*) from pg_stat_activity where application_name like 'longshore%' \
                    and datname = current_database()";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while db.value(sessions).await != "0" {
        assert!(std::time::Instant::now() < deadline, "sessions of a killed job stay on the server");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_restore_killed_at_any_moment_shows_no_target_and_the_next_one_tidies_up() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    for moment in ["check the target", "make the schema", "load rows", "add constraints", "read everything back"] {
        place.restore(&target.url).run_and_signal(moment, Signal::Kill).await;
        let there = databases_like(&db, &target.name).await;
        assert!(there.iter().all(|name| name.starts_with(&format!("{}__new_", target.name))), "{moment}: {there:?}");
    }
    wait_for_no_session(&db, &target.name).await;
    let restored = place.restore(&target.url).run().await.success().json();
    assert_eq!(databases_like(&db, &target.name).await, [target.name.as_str()], "{restored}");
}

/// The server needs a moment to notice that a killed client is gone; a database in use is not dropped as a leftover.
async fn wait_for_no_session(db: &testkit::servers::TestDatabase, beginning: &str) {
    let sessions = format!("select count(*) from pg_stat_activity where starts_with(datname, '{beginning}')");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while db.value(&sessions).await != "0" {
        assert!(std::time::Instant::now() < deadline, "sessions of a killed restore stay on the server");
        tokio::task::yield_now().await;
    }
}

/// A scratch database is known by its marker, never by its name alone.
#[tokio::test]
async fn a_database_that_only_looks_like_a_leftover_is_not_dropped() {
    let db = postgres(15).await.create_database().await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    let theirs = format!("{}__new_abc123", target.name);
    db.exec(&format!("create database {theirs}")).await;
    let restored = place.restore(&target.url).run().await;
    let there = databases_like(&db, &theirs).await;
    db.exec(&format!("drop database if exists {theirs}")).await;
    restored.success();
    assert_eq!(there, [theirs]);
}

/// Two backups of one source at the same time: both are whole.
#[tokio::test]
async fn two_backups_at_once_are_both_whole() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    let (url, other) = (db.url(), db.url());
    let (first, second): (Job, Job) = (place.backup(&url), place.backup(&other));
    let (first, second) = tokio::join!(first.run(), second.run());
    first.success();
    second.success();
    for backup in place.listed().await {
        let target = Target::of(&db);
        let from = format!("app@{}", backup["id"].as_str().unwrap());
        let job = place
            .job(["restore", "--prove", "content"])
            .env("LONGSHORE_TARGET", &target.url)
            .env("LONGSHORE_FROM", from);
        job.run().await.success();
    }
}

/// What a backup has stored before it was stopped is not stored again.
#[tokio::test]
async fn a_stopped_backup_does_not_start_from_zero() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    // Slow enough on any machine to be stopped half way.
    let running = place.backup(&db.url()).env("LONGSHORE_MAX_RATE", "2MiB").spawn();
    crate::place::until("chunks", async || place.objects("chunks").len() >= 3).await;
    running.signal(Signal::Terminate);
    running.wait().await.expect_code(74);
    place.assert_no_manifest();
    let stored = place.objects("chunks").len() as u64;
    let made = place.backup(&db.url()).run().await.success().json();
    assert!(made["reused_chunks"].as_u64().unwrap() + 1 >= stored, "{stored} stored before: {made}");
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}
