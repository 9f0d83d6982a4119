//! Sessions and transactions in the way of the exchange of names.

use super::swap::Stuck;
use crate::application::Application;
use crate::place::{assert_failed, databases_like};
use crate::staging::{Staging, wait_for};
use std::sync::Arc;
use testkit::servers::own;
use testkit::{Signal, sql};

/// Sessions that come back at once, many of them: they wait for the name, and find the new data.
#[tokio::test]
async fn sessions_that_reconnect_at_once_are_no_obstacle() {
    let staging = Staging::new(15).await;
    let applications: Vec<Application> = (0..12).map(|_| Application::start(&staging.live.url())).collect();
    for application in &applications {
        application.is_answered().await;
    }
    staging.restore().run().await.success();
    for application in applications {
        application.is_answered().await;
        let seen = application.stop().await;
        assert_eq!(seen.values, ["old", "new"], "{seen:?}");
        assert!(seen.wrong.is_empty() && seen.failed.len() <= 1, "{seen:?}");
    }
}

/// A session that nobody can end: the restore tries for a minute, says whose it is, and leaves everything as it was.
#[tokio::test]
async fn a_session_that_does_not_end_is_named_and_nothing_has_changed() {
    let staging = Staging::new(15).await;
    let stuck = Stuck::new(&staging).await;
    let outcome = assert_failed(staging.restore().run().await, 69, "still inside are process");
    assert!(outcome.elapsed.as_secs() < 120, "{}", outcome.report());
    assert_as_it_was(&staging, stuck).await;
}

/// The old data answers. What was made is gone, or goes with the next run: no server drops any database while one of its
/// processes stands still.
async fn assert_as_it_was(staging: &Staging, stuck: Stuck<'_>) {
    assert_eq!(staging.value().await, "old");
    assert_eq!(staging.asides().await, Vec::<String>::new());
    drop(stuck);
    // The ended job's own session may be at its DROP DATABASE still: until it is gone, the run counts as alive.
    let ours = format!(
        "select count(*) from pg_stat_activity where application_name = 'longshore' and query like '%{}%'",
        staging.live.name
    );
    wait_for(&staging.source, &ours, "0").await;
    staging.restore().run().await.success();
    assert_eq!(staging.value().await, "new");
    let copies = databases_like(&staging.live, &format!("{}__new_", staging.live.name)).await;
    assert_eq!(copies, Vec::<String>::new());
}

/// A stop signal between two attempts.
#[tokio::test]
async fn a_signal_while_sessions_are_in_the_way_leaves_everything_as_it_was() {
    let staging = Staging::new(15).await;
    let stuck = Stuck::new(&staging).await;
    let running = staging.restore().spawn();
    stuck.wait_for_rename().await;
    running.signal(Signal::Terminate);
    assert_failed(running.wait().await, 74, "interrupted");
    assert_as_it_was(&staging, stuck).await;
}

/// Prepared transactions end only by whoever began them: seen before anything is made, and again before the exchange.
#[tokio::test]
async fn a_prepared_transaction_in_the_way_is_named() {
    let staging = Staging::on(Arc::new(own(15, &[("max_prepared_transactions", "5")]).await)).await;
    let prepare = "begin; insert into state values ('pending'); prepare transaction 'two-phase-7'";
    staging.live.exec(prepare).await;
    let outcome = assert_failed(staging.restore().run().await, 69, "two-phase-7");
    assert!(!outcome.stderr.contains("make the schema"), "{}", outcome.report());
    staging.live.exec("rollback prepared 'two-phase-7'").await;
    let folder = staging.place.folder.path();
    std::fs::write(folder.join("slow.sql"), "select pg_sleep(2)").unwrap();
    let running = staging.restore().env("LONGSHORE_BEFORE_SWAP", folder.join("slow.sql").display().to_string()).spawn();
    running.wait_for_stderr("before the swap").await;
    staging.live.exec(prepare).await;
    let application = sql::connect(&staging.live.url()).await;
    assert_failed(running.wait().await, 69, "two-phase-7");
    // Known before anybody was disturbed.
    application.simple_query("select 1").await.unwrap();
    staging.assert_untouched().await;
    staging.live.exec("commit prepared 'two-phase-7'").await;
    assert_eq!(staging.live.value("select count(*) from state").await, "2");
}
