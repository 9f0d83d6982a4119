//! Connections that are cut, runs that are killed, servers that crash.

use std::sync::Arc;

use loader::{Done, Error, Mode, Step};
use testkit::proxy::{Direction, Lost, Tcp};
use testkit::servers::{TestDatabase, own, postgres};

use crate::kit::{Hand, Stopping, append, at, is_loaded, plan, quick, run, target, traces};

/// How COMMIT stands in a message of its own, and nowhere else.
const COMMIT: &str = "COMMIT\0";

fn drop_of(rows: usize) -> Hand {
    let rows: Vec<String> = (0..rows).map(|id| format!("{id}|{}", "x".repeat(100))).collect();
    Hand::new(&["id", "name"], &rows.iter().map(String::as_str).collect::<Vec<_>>())
}

async fn database() -> TestDatabase {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (id int, name text)").await;
    // The ground is made, and a first drop loaded.
    append(&db, "t", &Hand::new(&["id"], &["-1"])).await.unwrap();
    db
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_is_looked_up() {
    let db = database().await;
    let proxy = Tcp::start("127.0.0.1", db.server.port).await;
    let by_proxy = at(&db.url_at_port(proxy.port()), "t", Mode::Append, quick());
    // Sessions commit before, too, when they look for poolers.
    let mut load = Stopping::start(by_proxy, &drop_of(20), plan("job"));
    let go = load.until(Step::Merged).await;
    proxy.cut_at(COMMIT, Lost::Answer);
    let done = load.end(go).await.unwrap();
    assert!(is_loaded(&done) && !proxy.waits_for_words());
    assert_eq!((db.value("select count(*) from t").await, traces(&db).await.0), ("21".into(), "2".into()));
}

/// While a run asks what became of its commit, another one that was told to has loaded the drop again.
#[tokio::test]
async fn a_load_that_was_loaded_again_since_was_loaded() {
    let db = database().await;
    let proxy = Tcp::start("127.0.0.1", db.server.port).await;
    let by_proxy = at(&db.url_at_port(proxy.port()), "t", Mode::Append, quick());
    let plan = plan("job");
    let mut load = Stopping::start(by_proxy, &drop_of(20), plan.clone());
    let go = load.until(Step::Merged).await;
    proxy.cut_at(COMMIT, Lost::Answer);
    // Waits for the merge, and so stands before whoever asks after it.
    let again = "begin; select from longshore.load_fence for update; \
                 update longshore.load_ledger set status = 'reloaded' where rows_read = 20; commit";
    let meanwhile = async {
        let waits =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while db.value(waits).await == "0" {}
        load.end(go).await
    };
    let ((), done) = tokio::join!(db.exec(again), meanwhile);
    let Done::Loaded { record } = done.unwrap() else { panic!("not loaded") };
    assert_eq!((record.run, record.counts.inserted, proxy.waits_for_words()), (plan.run, 20, false));
    assert_eq!(db.value("select count(*) from t").await, "21");
}

#[tokio::test]
async fn a_run_tells_of_itself_and_not_of_the_one_that_loaded_again() {
    let db = database().await;
    let mut first = Stopping::start(target(&db, "t", Mode::Append), &drop_of(20), plan("job"));
    let go = first.until(Step::Committed).await;
    let reload = loader::Plan { reload: true, ..plan("job") };
    let own = db.value("select run_id from longshore.load_ledger where rows_read = 20").await;
    assert!(is_loaded(&run(&target(&db, "t", Mode::Append), &drop_of(20), &reload).await.unwrap()));
    let Done::Loaded { record } = first.end(go).await.unwrap() else { panic!("not loaded") };
    assert_eq!(record.run.to_string(), own);
    assert_eq!(db.value("select count(*) from t").await, "41");
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_said_not_to_have_happened() {
    let db = database().await;
    let proxy = Tcp::start("127.0.0.1", db.server.port).await;
    let by_proxy = at(&db.url_at_port(proxy.port()), "t", Mode::Append, quick());
    let mut load = Stopping::start(by_proxy.clone(), &drop_of(20), plan("job"));
    let go = load.until(Step::Merged).await;
    proxy.cut_at(COMMIT, Lost::Words);
    let error = load.end(go).await.unwrap_err();
    assert!(error.to_string().contains("was not committed") && !proxy.waits_for_words(), "{error}");
    assert_eq!((db.value("select count(*) from t").await, traces(&db).await.0), ("1".into(), "1".into()));
    assert!(is_loaded(&run(&by_proxy, &drop_of(20), &plan("job")).await.unwrap()));
    assert_eq!((db.value("select count(*) from t").await, traces(&db).await), ("21".into(), ("2".into(), "0".into())));
}

#[tokio::test]
async fn connections_cut_anywhere_leave_nothing_or_all_of_it() {
    let db = database().await;
    for (number, kilobytes) in [1_u64, 3, 6, 10, 20, 40].into_iter().enumerate() {
        let proxy = Tcp::start("127.0.0.1", db.server.port).await;
        let by_proxy = at(&db.url_at_port(proxy.port()), "t", Mode::Append, quick());
        let drop = drop_of(200 + number);
        let before: usize = db.value("select count(*) from t").await.parse().unwrap();
        proxy.cut_after(Direction::ToServer, kilobytes << 10);
        let rows = match run(&by_proxy, &drop, &plan("job")).await {
            Ok(done) => {
                if is_loaded(&done) {
                    200 + number
                } else {
                    0
                }
            }
            Err(error) => {
                assert!(error.is_settled(), "{error}");
                0
            }
        };
        let after: usize = db.value("select count(*) from t").await.parse().unwrap();
        assert_eq!(after - before, rows, "cut after {kilobytes} KiB");
        let once = append(&db, "t", &drop).await.unwrap();
        assert_eq!(is_loaded(&once), rows == 0);
    }
    assert_eq!(traces(&db).await, ("7".into(), "0".into()));
}

#[tokio::test]
async fn what_a_killed_run_left_in_staging_the_next_one_drops() {
    let db = database().await;
    for step in [Step::Minted, Step::Staged, Step::Merged] {
        let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop_of(30), plan("job"));
        let _stands = load.until(step).await;
        load.task.abort();
        assert!(load.task.await.unwrap_err().is_cancelled());
        assert_eq!((db.value("select count(*) from t").await, traces(&db).await.0), ("1".into(), "1".into()));
    }
    assert!(is_loaded(&append(&db, "t", &drop_of(30)).await.unwrap()));
    assert_eq!((db.value("select count(*) from t").await, traces(&db).await), ("31".into(), ("2".into(), "0".into())));
}

#[tokio::test]
async fn a_crash_that_empties_staging_is_noticed() {
    let server = Arc::new(own(17, &[]).await);
    let db = server.create_database().await;
    db.exec("create table t (id int, name text)").await;
    let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop_of(30), plan("job"));
    let go = load.until(Step::Staged).await;
    server.kill();
    server.start().await;
    let error = load.end(go).await.unwrap_err();
    assert!(error.to_string().contains("0 of 30 rows are left in staging"), "{error}");
    assert_eq!((db.value("select count(*) from t").await, traces(&db).await.0), ("0".into(), "0".into()));
    assert!(is_loaded(&append(&db, "t", &drop_of(30)).await.unwrap()));
    assert_eq!((db.value("select count(*) from t").await, traces(&db).await), ("30".into(), ("1".into(), "0".into())));
}

#[tokio::test]
async fn a_server_that_crashes_while_it_commits_is_asked_when_it_is_back() {
    let server = Arc::new(own(17, &[]).await);
    let db = server.create_database().await;
    db.exec("create table t (id int, name text)").await;
    append(&db, "t", &Hand::new(&["id"], &["-1"])).await.unwrap();
    let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop_of(30), plan("job"));
    let go = load.until(Step::Merged).await;
    server.kill();
    let ended = tokio::spawn(load.end(go));
    server.start().await;
    let error = ended.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Target(_)) && error.to_string().contains("was not committed"), "{error}");
    assert_eq!((db.value("select count(*) from t").await, traces(&db).await.0), ("1".into(), "1".into()));
}
