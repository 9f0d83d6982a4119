//! A standby whose replay is in the way, or that becomes the primary meanwhile.

use crate::place::{LARGE, Place, Target, assert_failed};
use crate::staging::wait_for_at;
use std::sync::Arc;
use testkit::proxy::{Direction, Tcp};
use testkit::servers::{PostgresServer, TestDatabase, own, standby_of};
use testkit::sql;

const MID_COPY: u64 = 6 << 20;

async fn pair(settings: &[(&str, &str)]) -> (Arc<PostgresServer>, TestDatabase, PostgresServer) {
    let primary = Arc::new(own(15, &[]).await);
    let db = primary.create_database().await;
    db.exec(LARGE).await;
    let standby = standby_of(&primary, settings).await;
    (primary, db, standby)
}

/// What replay needs to get on with is not kept waiting: it ends our sessions, and the backup must say so.
#[tokio::test]
async fn a_conflict_with_recovery_is_exit_69_with_the_settings_that_help() {
    for change in ["drop table large", "delete from large where id > 10; vacuum (freeze) large"] {
        let (_primary, db, standby) = pair(&[("max_standby_streaming_delay", "100ms")]).await;
        let admin = standby.url("postgres");
        let proxy = Tcp::start(&standby.host, standby.port).await;
        let place = Place::new().await;
        let running = place.backup(&standby.url_at("127.0.0.1", proxy.port(), &db.name)).spawn();
        proxy.wait_for_bytes(Direction::ToClient, MID_COPY).await;
        proxy.stall();
        let first = format!(
            "select pid from pg_stat_activity where application_name = 'longshore' and datname = '{}' order by backend_start limit 1",
            db.name
        );
        let leader = sql::value(&admin, &first).await;
        // VACUUM stands in no transaction, nor in one message with others.
        for statement in change.split("; ") {
            db.exec(statement).await;
        }
        // Replay does not wait for the session that holds locks and snapshot: it ends it.
        let there = format!("select count(*) from pg_stat_activity where pid = {leader}");
        while sql::value(&admin, &there).await != "0" {
            assert!(running.is_running(), "{}", running.stderr());
        }
        proxy.pass();
        let outcome = assert_failed(running.wait().await, 69, "hot_standby_feedback");
        assert!(outcome.stderr.contains("max_standby_streaming_delay"), "{}", outcome.report());
        place.assert_no_manifest();
        let left = format!(
            "select count(*) from pg_stat_activity where application_name like 'longshore%' and datname = '{}'",
            db.name
        );
        wait_for_at(&standby.url("postgres"), &left, "0").await;
    }
}

/// With the setting that the hint names the same change does not end the backup.
#[tokio::test]
async fn with_feedback_to_the_primary_a_vacuum_does_not_end_the_backup() {
    let (primary, db, standby) = pair(&[
        ("max_standby_streaming_delay", "100ms"),
        ("hot_standby_feedback", "on"),
        ("wal_receiver_status_interval", "1s"),
    ])
    .await;
    let proxy = Tcp::start(&standby.host, standby.port).await;
    let place = Place::new().await;
    let running = place.backup(&standby.url_at("127.0.0.1", proxy.port(), &db.name)).spawn();
    proxy.wait_for_bytes(Direction::ToClient, MID_COPY).await;
    proxy.stall();
    // The primary has heard of our snapshot.
    let heard = "select count(*) from pg_stat_replication where backend_xmin is not null";
    while db.value(heard).await == "0" {
        assert!(running.is_running(), "{}", running.stderr());
    }
    db.exec("delete from large where id > 10").await;
    db.exec("vacuum (freeze) large").await;
    standby.catch_up_with(&primary).await;
    proxy.pass();
    running.wait().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    assert_eq!(sql::value(&target.url, "select count(*) from large").await, "100000");
}

/// The standby becomes the primary in the middle: the snapshot lives on, and the backup is whole, or there is none.
#[tokio::test]
async fn a_promotion_during_a_backup_leaves_a_whole_one_or_none() {
    let (primary, db, standby) = pair(&[]).await;
    let proxy = Tcp::start(&standby.host, standby.port).await;
    let place = Place::new().await;
    let running = place.backup(&standby.url_at("127.0.0.1", proxy.port(), &db.name)).spawn();
    proxy.wait_for_bytes(Direction::ToClient, MID_COPY).await;
    proxy.stall();
    assert_eq!(sql::value(&standby.url("postgres"), "select pg_promote(true, 60)").await, "t");
    sql::exec(&standby.url(&db.name), "delete from large where id % 2 = 0").await;
    proxy.pass();
    let outcome = running.wait().await;
    match outcome.code {
        Some(0) => {
            let target = Target::of(&db);
            place.restore(&primary.url(&target.name)).run().await.success();
            assert_eq!(sql::value(&target.url, "select count(*) from large").await, "100000");
        }
        _ => {
            assert_failed(outcome, 69, "hint");
            place.assert_no_manifest();
        }
    }
}
