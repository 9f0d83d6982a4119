//! G8 with real processes: a writer that sleeps while maintenance runs.

use crate::place::{LARGE, Place, Target, until};
use serde_json::Value;
use testkit::proxy::{Direction, Tcp};
use testkit::servers::postgres;
use testkit::{Running, Signal};

/// A repository with one backup, and a writer of the next that was stopped in the middle of its uploads.
struct Asleep {
    db: testkit::servers::TestDatabase,
    place: Place,
    writer: Running,
    _proxy: Tcp,
}

async fn asleep() -> Asleep {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    db.exec("update large set body = reverse(body)").await;
    let proxy = Tcp::start(&db.server.host, db.server.port).await;
    let stored = place.objects("chunks").len();
    let writer = place.backup(&db.url_at_port(proxy.port())).spawn();
    until("the writer's first uploads", async || place.objects("chunks").len() > stored + 2).await;
    writer.signal(Signal::Stop);
    assert!(proxy.passed(Direction::ToClient) > 0);
    assert!(writer.is_running(), "the backup was over before it was stopped: it needs more rows");
    Asleep { db, place, writer, _proxy: proxy }
}

async fn prune(place: &Place, silent: &str) -> Value {
    let options = ["prune", "--keep-last=1", "--grace=1s", "--undo-period=1s", silent, "--output", "json"];
    place.job(options).run().await.success().json()
}

/// Maintenance waits for a writer that may come back: what it has stored stays, and it commits.
#[tokio::test]
async fn a_writer_that_sleeps_through_two_runs_of_maintenance_commits_a_whole_backup() {
    let Asleep { db, place, writer, _proxy } = asleep().await;
    for _ in 0..2 {
        let pruned = prune(&place, "--silent=1h").await;
        assert_eq!((&pruned["swept"]["deleted"], &pruned["revoked"]), (&0.into(), &serde_json::json!([])), "{pruned}");
    }
    writer.signal(Signal::Continue);
    writer.wait().await.success();
    assert_eq!(place.listed().await.len(), 2);
    place.job(["verify"]).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}

/// A writer that was given up never commits, whatever it does when it wakes; what it stored is removed.
#[tokio::test]
async fn a_writer_that_was_given_up_while_it_slept_does_not_commit() {
    let Asleep { db, place, writer, _proxy } = asleep().await;
    until("the writer to be silent for a second, and its objects to go", async || {
        prune(&place, "--silent=1s").await["swept"]["deleted"].as_u64() > Some(0)
    })
    .await;
    writer.signal(Signal::Continue);
    let outcome = writer.wait().await;
    assert_eq!(outcome.code, Some(74), "{}", outcome.report());
    assert_eq!(place.listed().await.len(), 1);
    place.job(["verify"]).run().await.success();
    place.backup(&db.url()).run().await.success();
    place.job(["verify"]).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}
