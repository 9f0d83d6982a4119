//! A restore of a part that is stopped or killed: the server takes all of it back.

use crate::place::{LARGE, Place};
use crate::staging::{mark, wait_for};
use testkit::proxy::{Direction, Lost, Tcp};
use testkit::servers::{TestDatabase, postgres};
use testkit::{Job, Signal, sql};

const OURS: &str =
    "select count(*) from pg_stat_activity where application_name = 'longshore' and datname = current_database()";

struct Live {
    db: TestDatabase,
    place: Place,
}

/// A backup of two tables, and a database in use that has lost the large one.
async fn live() -> Live {
    let server = postgres(15).await;
    let (source, db) = (server.create_database().await, server.create_database().await);
    source.exec(LARGE).await;
    db.exec(&format!("{LARGE}; drop table large; create view shown as select * from small")).await;
    let place = Place::new().await;
    place.backup(&source.url()).run().await.success();
    Live { db, place }
}

impl Live {
    fn restore(&self, url: &str) -> Job {
        self.place.restore(url).env("LONGSHORE_ONLY_TABLE", "large")
    }

    /// Whether the table is there while others look: never before it is whole.
    async fn rows(&self) -> String {
        if self.db.value("select to_regclass('public.large') is null").await == "t" {
            return "none".to_owned();
        }
        self.db.value("select count(*) from large").await
    }
}

#[tokio::test]
async fn a_part_killed_or_stopped_at_any_moment_leaves_nothing_or_all_of_it() {
    let live = live().await;
    mark(&live.db.url(), "staging").run().await.success();
    let before = (live.db.canonical_dump(), sql::content(&live.db.url()).await);
    for signal in [Signal::Kill, Signal::Terminate] {
        for moment in ["check the target", "make the schema", "load rows", "add constraints", "read everything back"] {
            let outcome = live.restore(&live.db.url()).run_and_signal(moment, signal).await;
            wait_for(&live.db, OURS, "0").await;
            if outcome.code != Some(0) {
                assert_eq!(live.rows().await, "none", "{moment}: {}", outcome.report());
                let now = (live.db.canonical_dump(), sql::content(&live.db.url()).await);
                assert_eq!(now, before, "{moment}");
            } else {
                live.db.exec("drop table large").await;
            }
        }
    }
    live.restore(&live.db.url()).run().await.success();
    assert_eq!(live.rows().await, "100000");
}

/// Moments inside the loading, by how many bytes have passed; somebody looks meanwhile.
#[tokio::test]
async fn a_part_is_not_seen_while_it_is_loaded_and_gone_when_it_is_killed() {
    let live = live().await;
    let proxy = Tcp::start(&live.db.server.host, live.db.server.port).await;
    let url = live.db.url_at_port(proxy.port());
    mark(&url, "staging").run().await.success();
    for bytes in [200_000, 5_000_000, 15_000_000] {
        let before = proxy.passed(Direction::ToServer);
        let running = live.restore(&url).spawn();
        proxy.wait_for_bytes(Direction::ToServer, before + bytes).await;
        assert_eq!(live.rows().await, "none", "seen after {bytes} bytes");
        running.signal(Signal::Kill);
        running.wait().await;
        wait_for(&live.db, OURS, "0").await;
        assert_eq!(live.rows().await, "none", "left after {bytes} bytes");
        assert_eq!(live.db.value("select count(*) from shown").await, "100");
    }
}

/// The answer to the commit is lost, or the commit itself: the job finds out which. Also of a part that makes no table.
#[tokio::test]
async fn a_lost_answer_to_a_parts_commit_is_found_out() {
    let server = postgres(15).await;
    let (source, db) = (server.create_database().await, server.create_database().await);
    source.exec("create schema code; create function code.f() returns int language sql as 'select 7'").await;
    source.exec("create schema data; create table data.t (x int); insert into data.t values (7)").await;
    let place = Place::new().await;
    place.backup(&source.url()).run().await.success();
    db.exec("create table kept (x int)").await;
    let schemas = "select count(*) from pg_namespace where nspname in ('code', 'data')";
    for (schema, value) in [("code", "select code.f()"), ("data", "select x from data.t")] {
        for lost in [Lost::Words, Lost::Answer] {
            let proxy = Tcp::start(&server.host, server.port).await;
            let url = db.url_at_port(proxy.port());
            mark(&url, "staging").run().await.success();
            let running = place.restore(&url).env("LONGSHORE_ONLY_SCHEMA", schema).spawn();
            running.wait_for_stderr("read everything back").await;
            proxy.cut_at("COMMIT\0", lost);
            let outcome = running.wait().await;
            assert!(!proxy.waits_for_words(), "nothing was cut\n{}", outcome.report());
            // Looked at once: nothing may come afterwards.
            match lost {
                Lost::Words => {
                    outcome.expect_code(69);
                    assert_eq!(db.value(schemas).await, "0");
                }
                Lost::Answer => {
                    outcome.success();
                    assert_eq!(db.value(value).await, "7");
                    db.exec(&format!("drop schema {schema} cascade")).await;
                }
            }
            wait_for(&db, OURS, "0").await;
        }
    }
}
