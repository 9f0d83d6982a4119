//! G5: whatever happens to a restore, the name shows the old data or the new.

use crate::application::Application;
use crate::place::{assert_failed, databases_like};
use crate::staging::{Staging, wait_for};
use testkit::proxy::{Lost, Tcp};
use testkit::{Signal, sql};

/// A session inside the live database whose process stands still: nobody can end it, and the rename waits for it.
pub struct Stuck<'a> {
    staging: &'a Staging,
    pid: String,
    _client: tokio_postgres::Client,
}

impl<'a> Stuck<'a> {
    pub async fn new(staging: &'a Staging) -> Self {
        let client = sql::connect(&staging.live.url()).await;
        let pid = sql::rows_on(&client, "select pg_backend_pid()").await[0][0].clone().unwrap();
        staging.live.server.exec(&["kill", "-STOP", &pid]).unwrap();
        Self { staging, pid, _client: client }
    }

    pub fn let_go(&self) {
        self.staging.live.server.exec(&["kill", "-CONT", &self.pid]).unwrap();
    }

    /// Waits until a restore holds the lock on the live database.
    pub async fn wait_for_rename(&self) {
        let held = format!(
            "select count(*) > 0 from pg_locks l join pg_database d on d.oid = l.objid where l.locktype = 'object' and l.granted \
             and l.classid = 'pg_database'::regclass and l.mode = 'AccessExclusiveLock' and d.datname = '{}'",
            self.staging.live.name
        );
        wait_for(&self.staging.source, &held, "t").await;
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        drop(self.staging.live.server.exec(&["kill", "-CONT", &self.pid]));
    }
}

const MOMENTS: &[&str] =
    &["check the target", "make the schema", "load rows", "add constraints", "read everything back", "publish"];

#[tokio::test]
async fn a_restore_killed_at_any_moment_leaves_the_old_data_answering() {
    let staging = Staging::new(15).await;
    let application = Application::start(&staging.live.url());
    application.is_answered().await;
    for moment in MOMENTS {
        staging.restore().run_and_signal(moment, Signal::Kill).await;
        application.is_answered().await;
        // Killed when all was done: then it is done, and taken back for the next moment.
        if staging.value().await == "new" {
            assert_eq!(*moment, "publish");
            staging.rollback().run().await.success();
        }
        staging.wait_for_no_session().await;
    }
    let seen = application.stop().await;
    assert!(seen.wrong.is_empty() && seen.values[0] == "old", "{seen:?}");
    // The next one tidies up after all of them.
    staging.restore().run().await.success();
    assert_eq!(staging.value().await, "new");
    assert_eq!(databases_like(&staging.live, &format!("{}__new", staging.live.name)).await, Vec::<String>::new());
}

/// In the middle of the exchange: the rename waits for a session, and the job is killed.
#[tokio::test]
async fn a_restore_killed_while_it_renames_leaves_the_old_data_answering() {
    let staging = Staging::new(15).await;
    let stuck = Stuck::new(&staging).await;
    let running = staging.restore().spawn();
    stuck.wait_for_rename().await;
    let application = Application::start(&staging.live.url());
    running.signal(Signal::Kill);
    running.wait().await;
    // The server itself gives up the rename, with nobody there to tell.
    application.is_answered().await;
    let seen = application.stop().await;
    assert_eq!((seen.values, seen.failed), (vec!["old".to_owned()], Vec::new()));
    stuck.let_go();
    staging.wait_for_no_session().await;
    staging.restore().run().await.success();
    assert_eq!(staging.value().await, "new");
}

/// A job that stands still in the middle of the exchange must not keep the name locked.
#[tokio::test]
async fn a_restore_stopped_while_it_renames_lets_the_old_data_answer() {
    let staging = Staging::new(15).await;
    let stuck = Stuck::new(&staging).await;
    let running = staging.restore().spawn();
    stuck.wait_for_rename().await;
    running.signal(Signal::Stop);
    stuck.let_go();
    let application = Application::start(&staging.live.url());
    application.is_answered().await;
    assert_eq!(staging.value().await, "old");
    running.signal(Signal::Continue);
    running.wait().await.success();
    application.is_answered().await;
    let seen = application.stop().await;
    assert_eq!((seen.values, seen.wrong), (vec!["old".to_owned(), "new".to_owned()], Vec::new()));
}

/// Two restores into one target: the one that was paused finds another database than the one it saw, and gives up.
#[tokio::test]
async fn a_paused_restore_never_swaps_over_a_newer_one() {
    let staging = Staging::new(15).await;
    let folder = staging.place.folder.path();
    std::fs::write(folder.join("marked.sql"), "update state set v = 'paused'").unwrap();
    let paused =
        staging.restore().env("LONGSHORE_BEFORE_SWAP", folder.join("marked.sql").display().to_string()).spawn();
    paused.wait_for_stderr("add constraints").await;
    paused.signal(Signal::Stop);
    let restored = staging.restore().run().await.success().json();
    assert!(!restored["notes"].to_string().contains("left behind"), "the paused run's copy was dropped: {restored}");
    assert_eq!(staging.value().await, "new");
    paused.signal(Signal::Continue);
    assert_failed(paused.wait().await, 73, "somebody was here in the meantime");
    assert_eq!(staging.value().await, "new");
    let there = databases_like(&staging.live, &staging.live.name).await;
    assert_eq!(there, [staging.live.name.clone(), restored["replaced"].as_str().unwrap().to_owned()]);
}

/// A run between its last session in the copy and the exchange has none inside: its lock says that it is alive.
#[tokio::test]
async fn the_copy_of_a_living_run_is_not_taken_for_a_leftover() {
    let staging = Staging::new(15).await;
    let stuck = Stuck::new(&staging).await;
    let running = staging.restore().spawn();
    stuck.wait_for_rename().await;
    running.signal(Signal::Stop);
    let copies = format!("select count(*) from pg_database where starts_with(datname, '{}__new_')", staging.live.name);
    let target = staging.restore_by(&staging.live.url()).spawn();
    target.wait_for_stderr("make the schema").await;
    target.wait_for_stderr("load rows").await;
    assert_eq!(staging.source.value(&copies).await, "2");
    target.signal(Signal::Terminate);
    target.wait().await;
    stuck.let_go();
    running.signal(Signal::Continue);
    running.wait().await.success();
    assert_eq!(staging.value().await, "new");
}

/// The answer to the commit is lost: the job finds out, and says what is true.
#[tokio::test]
async fn a_lost_answer_to_the_commit_is_found_out() {
    let staging = Staging::new(15).await;
    let server = &staging.live.server;
    for lost in [Lost::Answer, Lost::Words] {
        let proxy = Tcp::start(&server.host, server.port).await;
        let url = staging.live.url_at_port(proxy.port());
        crate::staging::mark(&url, "staging").run().await.success();
        let running = staging.restore_by(&url).spawn();
        running.wait_for_stderr("read everything back").await;
        proxy.cut_at("COMMIT\0", lost);
        let outcome = running.wait().await.success();
        assert!(!proxy.waits_for_words(), "nothing was cut\n{}", outcome.report());
        assert_eq!(staging.value().await, "new");
        assert_eq!(staging.asides().await.len(), 1);
        staging.rollback_by(&url).run().await.success();
        assert_eq!(staging.value().await, "old");
    }
}

/// The network goes away at any step of the exchange: old or new, whole, and the exit code says which.
#[tokio::test]
async fn connections_cut_at_any_step_of_the_exchange_leave_one_or_the_other() {
    let staging = Staging::new(15).await;
    let server = &staging.live.server;
    for words in ["SET LOCAL lock_timeout", "RENAME TO \"longshore_", "__old_", "pg_locks", "ALLOW_CONNECTIONS false"] {
        for lost in [Lost::Answer, Lost::Words] {
            let proxy = Tcp::start(&server.host, server.port).await;
            let url = staging.live.url_at_port(proxy.port());
            crate::staging::mark(&url, "staging").run().await.success();
            let running = staging.restore_by(&url).spawn();
            running.wait_for_stderr("read everything back").await;
            proxy.cut_at(words, lost);
            let outcome = running.wait().await;
            let value = staging.value().await;
            match outcome.code {
                Some(0) => assert_eq!(value, "new", "{words} {lost:?}"),
                Some(69) => staging.assert_untouched().await,
                _ => panic!("{words} {lost:?}: {}", outcome.report()),
            }
            if value == "new" {
                staging.rollback_by(&url).run().await.success();
            }
        }
    }
}
