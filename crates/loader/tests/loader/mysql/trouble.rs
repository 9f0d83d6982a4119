//! Connections that are cut, runs that are killed, servers that crash.

use std::time::Duration;

use loader::{Done, Error, Mode, Step};
use testkit::proxy::{Direction, Lost, Tcp};
use testkit::servers::{Flavour, TestSchema};

use super::{append, by_proxy, own, schemas, schemas_with, target, traces};
use crate::kit::{Hand, Stopping, is_loaded, plan, run};

/// How COMMIT stands at the end of a packet that asks for it.
const COMMIT: &str = "COMMIT";

fn drop_of(rows: usize) -> Hand {
    let rows: Vec<String> = (0..rows).map(|id| format!("{id}|{}", "x".repeat(100))).collect();
    Hand::new(&["id", "name"], &rows.iter().map(String::as_str).collect::<Vec<_>>())
}

async fn databases() -> Vec<TestSchema> {
    let all = schemas_with("create table t (id int, name varchar(200))").await;
    for db in &all {
        // The ground is made, and a first drop loaded.
        append(db, "t", &Hand::new(&["id"], &["-1"])).await.unwrap();
    }
    all
}

async fn proxy(db: &TestSchema) -> Tcp {
    Tcp::start(db.server.host(), db.server.port()).await
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_is_looked_up() {
    for db in databases().await {
        let proxy = proxy(&db).await;
        let mut load = Stopping::start(by_proxy(&db, proxy.port(), "t"), &drop_of(20), plan("job"));
        let go = load.until(Step::Merged).await;
        proxy.cut_at(COMMIT, Lost::Answer);
        let done = load.end(go).await.unwrap();
        assert!(is_loaded(&done) && !proxy.waits_for_words());
        assert_eq!((db.one("select count(*) from t").await, traces(&db).await.0), ("21".into(), "2".into()));
    }
}

/// While a run asks what became of its commit, another one that was told to has loaded the drop again.
#[tokio::test]
async fn a_load_that_was_loaded_again_since_was_loaded() {
    for db in databases().await {
        let proxy = proxy(&db).await;
        let plan = plan("job");
        let mut load = Stopping::start(by_proxy(&db, proxy.port(), "t"), &drop_of(20), plan.clone());
        let go = load.until(Step::Merged).await;
        proxy.cut_at(COMMIT, Lost::Answer);
        // Waits for the merge, and so stands before whoever asks after it.
        let again = "start transaction; select job from longshore_load_fence for update; \
                     update longshore_load_ledger set status = 'reloaded', loaded_drop = null where rows_read = 20; commit";
        let meanwhile = async {
            let waits = "select count(*) from information_schema.processlist where db = database() and info like '%for update%' and info not like '%processlist%'";
            while db.one(waits).await == "0" {}
            load.end(go).await
        };
        let ((), done) = tokio::join!(db.exec(again), meanwhile);
        let Done::Loaded { record } = done.unwrap() else { panic!("not loaded") };
        assert_eq!((record.run, record.counts.inserted, proxy.waits_for_words()), (plan.run, 20, false));
        assert_eq!(db.one("select count(*) from t").await, "21");
    }
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_said_not_to_have_happened() {
    for db in databases().await {
        let proxy = proxy(&db).await;
        let table = by_proxy(&db, proxy.port(), "t");
        let mut load = Stopping::start(table.clone(), &drop_of(20), plan("job"));
        let go = load.until(Step::Merged).await;
        proxy.cut_at(COMMIT, Lost::Words);
        let error = load.end(go).await.unwrap_err();
        assert!(error.to_string().contains("was not committed") && !proxy.waits_for_words(), "{error}");
        assert_eq!((db.one("select count(*) from t").await, traces(&db).await.0), ("1".into(), "1".into()));
        assert!(is_loaded(&run(&table, &drop_of(20), &plan("job")).await.unwrap()));
        assert_eq!(
            (db.one("select count(*) from t").await, traces(&db).await),
            ("21".into(), ("2".into(), "0".into()))
        );
    }
}

#[tokio::test]
async fn connections_cut_anywhere_leave_nothing_or_all_of_it() {
    for db in databases().await {
        for (number, kilobytes) in [1_u64, 3, 6, 10, 20, 40].into_iter().enumerate() {
            let proxy = proxy(&db).await;
            let table = by_proxy(&db, proxy.port(), "t");
            let drop = drop_of(200 + number);
            let before: usize = db.one("select count(*) from t").await.parse().unwrap();
            proxy.cut_after(Direction::ToServer, kilobytes << 10);
            let rows = match run(&table, &drop, &plan("job")).await {
                Ok(done) => usize::from(is_loaded(&done)) * (200 + number),
                Err(error) => {
                    assert!(error.is_settled(), "{error}");
                    0
                }
            };
            let after: usize = db.one("select count(*) from t").await.parse().unwrap();
            assert_eq!(after - before, rows, "cut after {kilobytes} KiB");
            let once = append(&db, "t", &drop).await.unwrap();
            assert_eq!(is_loaded(&once), rows == 0);
        }
        assert_eq!(traces(&db).await, ("7".into(), "0".into()));
    }
}

#[tokio::test]
async fn what_a_killed_run_left_in_staging_the_next_one_drops() {
    for db in databases().await {
        for step in [Step::Minted, Step::Staged, Step::Merged] {
            let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop_of(30), plan("job"));
            let _stands = load.until(step).await;
            load.task.abort();
            assert!(load.task.await.unwrap_err().is_cancelled());
            assert_eq!((db.one("select count(*) from t").await, traces(&db).await.0), ("1".into(), "1".into()));
        }
        assert!(is_loaded(&append(&db, "t", &drop_of(30)).await.unwrap()));
        assert_eq!(
            (db.one("select count(*) from t").await, traces(&db).await),
            ("31".into(), ("2".into(), "0".into()))
        );
    }
}

async fn crashes(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let server = own(flavour, &[]).await;
    let db = server.database().await;
    db.exec("create table t (id int, name varchar(200))").await;
    append(&db, "t", &Hand::new(&["id"], &["-1"])).await.unwrap();
    // Before the merge: staging is there again when the server is.
    let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop_of(30), plan("job"));
    let go = load.until(Step::Staged).await;
    server.kill();
    server.start().await;
    assert!(is_loaded(&load.end(go).await.unwrap()));
    assert_eq!((db.one("select count(*) from t").await, traces(&db).await), ("31".into(), ("2".into(), "0".into())));
    // Before the commit.
    let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop_of(40), plan("job"));
    let go = load.until(Step::Merged).await;
    server.kill();
    let ended = tokio::spawn(load.end(go));
    server.start().await;
    let error = ended.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Target(_)) && error.to_string().contains("was not committed"), "{error}");
    assert_eq!((db.one("select count(*) from t").await, traces(&db).await.0), ("31".into(), "2".into()));
}

#[tokio::test]
async fn a_server_that_crashes_is_asked_when_it_is_back_on_mariadb() {
    crashes(Flavour::MariaDb10).await;
}

#[tokio::test]
async fn a_server_that_crashes_is_asked_when_it_is_back_on_mysql() {
    crashes(Flavour::MySql9).await;
}

/// As when a newer run has dropped what an older one stages: the server refuses the statement and never asks for the rows.
#[tokio::test]
async fn rows_for_a_table_that_is_gone_are_refused_and_not_waited_for() {
    for db in schemas().await {
        let endpoint = mysql::Endpoint::parse(&db.url(), None).unwrap();
        let mut fill = mysql::Fill::begin(&endpoint, "gone", &["a".to_owned()]).await.unwrap();
        let sending = async {
            // More than the channel to the session holds.
            for _ in 0..64 {
                let mut rows = mysql::Rows::default();
                rows.cell(Some(b"1"));
                rows.end_row();
                fill.write(rows).await?;
            }
            fill.finish().await
        };
        let ended = tokio::time::timeout(Duration::from_secs(120), sending).await.expect("it waits for ever");
        let error = ended.unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
