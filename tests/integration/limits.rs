//! What spares the source: a rate, a deadline.

use crate::place::{LARGE, Place, assert_failed};
use crate::staging::wait_for;
use std::time::Duration;
use testkit::servers::postgres;
use testkit::sql;

#[tokio::test]
async fn max_rate_bounds_how_fast_rows_are_read() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    let outcome = place.backup(&db.url()).env("LONGSHORE_MAX_RATE", "16MiB").run().await.success();
    let bytes = outcome.json()["bytes"].as_u64().unwrap();
    // A slow machine takes longer: only too fast is wrong.
    let least = Duration::from_secs_f64(bytes as f64 / f64::from(16 << 20)) - Duration::from_millis(500);
    assert!(outcome.elapsed >= least, "{bytes} bytes in {:?}", outcome.elapsed);
}

#[tokio::test]
async fn max_duration_ends_a_backup_with_exit_74_and_nothing_stays() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    // At this rate it would take eight minutes on any machine.
    let job = place.backup(&db.url()).env("LONGSHORE_MAX_RATE", "64KiB").env("LONGSHORE_MAX_DURATION", "3s");
    assert_failed(job.run().await, 74, "--max-duration");
    place.assert_no_manifest();
    let ours = "select count(*) from pg_stat_activity where application_name like 'longshore%' and datname = current_database()";
    wait_for(&db, ours, "0").await;
    sql::exec(&db.url(), "set lock_timeout = '1s'; drop table large, small").await;
}

#[tokio::test]
async fn limits_that_cannot_be_meant_are_exit_64() {
    let place = Place::not_yet();
    for (name, value) in
        [("LONGSHORE_MAX_RATE", "fast"), ("LONGSHORE_MAX_RATE", "0"), ("LONGSHORE_MAX_DURATION", "soon")]
    {
        let outcome = place.backup("postgres://u@127.0.0.1:1/d").env(name, value).run().await;
        // A variable that cannot be read is configuration; on the command line it is usage.
        assert!(matches!(outcome.code, Some(64 | 78)), "{}", outcome.report());
    }
}
