//! A restore of a part that is stopped or killed: the server takes all of it back.

use crate::place::{LARGE, Place};
use crate::staging::{mark, wait_for};
use testkit::proxy::{Direction, Tcp};
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
