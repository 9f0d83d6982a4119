//! The fence: of several runs only the newest commits, wherever the others were stopped.

use std::time::Duration;

use loader::{Done, Error, Limits, Mode, MysqlTarget, Step};
use testkit::servers::TestSchema;

use super::rows::user;
use super::{append, at, schemas_with, target, traces};
use crate::kit::{Hand, Stopping, is_loaded, plan, quick, run};

async fn databases() -> Vec<TestSchema> {
    schemas_with("create table t (id int, name varchar(20))").await
}

fn drop_of(name: &str) -> Hand {
    let rows: Vec<String> = (0..50).map(|id| format!("{id}|{name}")).collect();
    Hand::new(&["id", "name"], &rows.iter().map(String::as_str).collect::<Vec<_>>())
}

fn with(db: &TestSchema, lock: Duration, idle: Duration) -> MysqlTarget {
    at(&db.url(), "t", Mode::Append, Limits { lock, idle, ..quick() })
}

async fn count(db: &TestSchema, name: &str) -> String {
    db.one(&format!("select count(*) from t where name = '{name}'")).await
}

#[tokio::test]
async fn a_run_that_wakes_up_behind_a_newer_one_merges_nothing() {
    for db in databases().await {
        let mut old = Stopping::start(target(&db, "t", Mode::Append), &drop_of("old"), plan("job"));
        let go = old.until(Step::Staged).await;
        // The newer one drops what the older one has staged, and does not wait for it.
        assert!(is_loaded(&append(&db, "t", &drop_of("new")).await.unwrap()));
        let error = old.end(go).await.unwrap_err();
        assert!(
            matches!(&error, Error::Superseded(by) if by.epoch.0 == 1 && by.newer.as_ref().is_some_and(|(epoch, _)| epoch.0 == 2)),
            "{error}"
        );
        assert_eq!((count(&db, "old").await, count(&db, "new").await), ("0".into(), "50".into()));
        assert_eq!(traces(&db).await, ("1".into(), "0".into()));
        // Nothing was lost: the drop is loaded when it is tried again.
        assert!(is_loaded(&append(&db, "t", &drop_of("old")).await.unwrap()));
    }
}

/// The newer run has no right to drop what the older one has staged: the fence alone stands between that and the table.
#[tokio::test]
async fn the_fence_alone_keeps_an_older_run_out() {
    for db in databases().await {
        let (name, newer) = user(&db, "create, select, insert, update", Mode::Append).await;
        let mut old = Stopping::start(target(&db, "t", Mode::Append), &drop_of("old"), plan("job"));
        let go = old.until(Step::Staged).await;
        assert!(is_loaded(&run(&newer, &drop_of("new"), &plan("job")).await.unwrap()));
        assert_eq!(traces(&db).await, ("1".into(), "2".into()));
        let error = old.end(go).await.unwrap_err();
        assert!(matches!(error, Error::Superseded(_)), "{error}");
        assert_eq!((count(&db, "old").await, count(&db, "new").await), ("0".into(), "50".into()));
        assert_eq!(traces(&db).await, ("1".into(), "1".into()));
        db.exec(&format!("drop user {name}@'%'")).await;
    }
}

#[tokio::test]
async fn a_run_that_sleeps_before_it_copies_is_told_who_was_first() {
    for db in databases().await {
        let mut old = Stopping::start(target(&db, "t", Mode::Append), &drop_of("old"), plan("job"));
        let go = old.until(Step::Minted).await;
        assert!(is_loaded(&append(&db, "t", &drop_of("old")).await.unwrap()));
        let ended = old.end(go).await;
        assert!(matches!(ended, Ok(Done::AlreadyLoaded { .. }) | Err(Error::Superseded(_))), "{ended:?}");
        assert_eq!((count(&db, "old").await, traces(&db).await.0), ("50".into(), "1".into()));
    }
}

#[tokio::test]
async fn a_merge_that_sleeps_keeps_others_out_until_the_server_ends_it() {
    for db in databases().await {
        let sleeper = with(&db, Duration::from_secs(5), Duration::from_secs(8));
        let mut old = Stopping::start(sleeper, &drop_of("old"), plan("job"));
        let go = old.until(Step::Merged).await;
        let hasty = with(&db, Duration::from_millis(50), Duration::from_secs(30));
        let error = run(&hasty, &drop_of("new"), &plan("job")).await.unwrap_err();
        assert!(matches!(error, Error::Merging { .. }), "{error}");
        // One that waits gets the fence when the server has ended the sleeper's session.
        let patient = with(&db, Duration::from_secs(60), Duration::from_secs(30));
        assert!(is_loaded(&run(&patient, &drop_of("new"), &plan("job")).await.unwrap()));
        let error = old.end(go).await.unwrap_err();
        assert!(error.is_settled(), "{error}");
        assert_eq!((count(&db, "old").await, count(&db, "new").await), ("0".into(), "50".into()));
        assert_eq!(traces(&db).await.0, "1");
    }
}

#[tokio::test]
async fn of_many_runs_with_one_drop_one_loads_it() {
    for db in databases().await {
        let runs = (0..6).map(|_| {
            let (table, drop) = (target(&db, "t", Mode::Append), drop_of("same"));
            tokio::spawn(async move { run(&table, &drop, &plan("job")).await })
        });
        let runs: Vec<_> = runs.collect();
        let mut loaded = 0;
        for run in runs {
            match run.await.unwrap() {
                Ok(done) => loaded += u32::from(is_loaded(&done)),
                Err(Error::Superseded(_) | Error::Merging { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert!(is_loaded(&append(&db, "t", &drop_of("same")).await.unwrap()) == (loaded == 0));
        assert_eq!((count(&db, "same").await, traces(&db).await.0), ("50".into(), "1".into()));
    }
}

#[tokio::test]
async fn a_lost_lease_ends_a_run_before_its_commit_wherever_it_is() {
    for db in databases().await {
        for step in [Step::Minted, Step::Staged] {
            let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop_of("lost"), plan("job"));
            let go = load.until(step).await;
            load.permit.send(false).unwrap();
            let error = load.end(go).await.unwrap_err();
            assert!(matches!(error, Error::Stopped), "{step:?}: {error}");
            assert_eq!((count(&db, "lost").await, traces(&db).await), ("0".into(), ("0".into(), "0".into())));
        }
        assert!(is_loaded(&append(&db, "t", &drop_of("lost")).await.unwrap()));
        assert_eq!(traces(&db).await, ("1".into(), "0".into()));
    }
}

/// A statement that nobody waits for any more goes on at the server, and holds the fence.
#[tokio::test]
async fn a_lease_that_is_lost_in_a_long_statement_ends_it_at_the_server() {
    for db in databases().await {
        db.exec("create trigger slow before insert on t for each row do sleep(3600)").await;
        let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop_of("lost"), plan("job"));
        let go = load.until(Step::Staged).await;
        go.send(()).unwrap();
        let asleep =
            "select count(*) from information_schema.processlist where db = database() and state like '%sleep%'";
        while db.one(asleep).await == "0" {}
        load.permit.send(false).unwrap();
        assert!(matches!(load.task.await.unwrap(), Err(Error::Stopped)));
        while db.one(asleep).await != "0" {}
        db.exec("drop trigger slow").await;
        assert_eq!((count(&db, "lost").await, traces(&db).await.0), ("0".into(), "0".into()));
        assert!(is_loaded(&append(&db, "t", &drop_of("lost")).await.unwrap()));
    }
}

#[tokio::test]
async fn jobs_do_not_stop_each_other() {
    for db in databases().await {
        let mut one = Stopping::start(target(&db, "t", Mode::Append), &drop_of("one"), plan("one"));
        let go = one.until(Step::Merged).await;
        assert!(is_loaded(&run(&target(&db, "t", Mode::Append), &drop_of("other"), &plan("other")).await.unwrap()));
        assert!(is_loaded(&one.end(go).await.unwrap()));
        assert_eq!(db.one("select count(*) from t").await, "100");
    }
}
