//! A pooler in front of the source or the target: refused where it would break the promise, and told what to do.

use crate::place::{Place, Target, assert_failed, assert_nothing_made};
use testkit::servers::{TestDatabase, pooler, postgres};
use testkit::sql;

const ADVICE: &str = "connect to the database server itself";

async fn small() -> TestDatabase {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int primary key); insert into t select generate_series(1, 1000)").await;
    db
}

async fn is_refused_as_a_source(settings: &[&str]) {
    let db = small().await;
    let pooler = pooler(&db.server, settings).await;
    let place = Place::new().await;
    let outcome = assert_failed(place.backup(&db.url_at_port(pooler.port)).run().await, 78, ADVICE);
    assert!(outcome.stderr.contains("pooler"), "{}", outcome.report());
    place.assert_no_manifest();
    // An application that is given the same backends must not find our settings on them.
    let client = sql::connect(&db.url_at_port(pooler.port)).await;
    for _ in 0..3 {
        let left = "select count(*) from pg_settings where name in ('row_security', 'lock_timeout', 'search_path', \
                    'enable_seqscan', 'TimeZone') and source = 'session'";
        assert_eq!(sql::rows_on(&client, left).await[0][0].as_deref(), Some("0"));
    }
}

#[tokio::test]
async fn a_transaction_pool_before_the_source_is_exit_78_and_keeps_no_setting_of_ours() {
    is_refused_as_a_source(&["pool_mode = transaction"]).await;
}

#[tokio::test]
async fn a_transaction_pool_that_takes_turns_is_exit_78_too() {
    is_refused_as_a_source(&["pool_mode = transaction", "server_round_robin = 1", "min_pool_size = 4"]).await;
}

#[tokio::test]
async fn a_transaction_pool_of_one_is_exit_78_too() {
    is_refused_as_a_source(&["pool_mode = transaction", "default_pool_size = 1"]).await;
}

#[tokio::test]
async fn a_statement_pool_before_the_source_is_exit_78() {
    is_refused_as_a_source(&["pool_mode = statement"]).await;
}

#[tokio::test]
async fn a_session_pool_before_the_source_works() {
    let db = small().await;
    let pooler = pooler(&db.server, &["pool_mode = session"]).await;
    let place = Place::new().await;
    place.backup(&db.url_at_port(pooler.port)).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    assert_eq!(sql::value(&target.url, "select count(*) from t").await, "1000");
}

#[tokio::test]
async fn any_pool_before_the_target_is_exit_78_before_anything_is_made() {
    let db = small().await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    for settings in [
        &["pool_mode = transaction"][..],
        &["pool_mode = session"],
        &["pool_mode = session", "ignore_startup_parameters = options"],
    ] {
        let pooler = pooler(&db.server, settings).await;
        let url = db.server.url_at("127.0.0.1", pooler.port, &target.name);
        let outcome = assert_failed(place.restore(&url).run().await, 78, ADVICE);
        assert!(outcome.stderr.contains("pooler"), "{settings:?}\n{}", outcome.report());
        assert_nothing_made(&db, &target.name).await;
    }
}
