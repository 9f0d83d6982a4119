//! G11: trouble of an S3 store is survived or reported, never swallowed.
//!
//! A scripted proxy stands between the job and a real server. Faults that pass once must be survived; faults that stay
//! must end with the right exit code, and without a manifest.

use crate::place::{LARGE, Place, Target, assert_failed, assert_nothing_made, until};
use std::time::Duration;
use testkit::proxy::{Fault, Rule, S3};
use testkit::servers::{TestDatabase, minio, postgres};

/// A repository in a fresh bucket, the same by way of a proxy, and a database worth several chunks.
pub async fn setting() -> (TestDatabase, Place, Place, S3) {
    let server = minio().await;
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let bucket = server.create_bucket().await;
    let place = Place::at(server.url(&bucket, server.port)).await;
    let proxy = S3::start(server.port).await;
    let through = place.by_way_of(server.url(&bucket, proxy.port()));
    (db, place, through, proxy)
}

/// Each kind of request of a backup meets each passing fault once.
#[tokio::test]
async fn a_backup_survives_faults_that_pass() {
    let (db, place, through, proxy) = setting().await;
    let requests = [
        ("PUT", "sessions/"),
        ("PUT", "chunks/"),
        ("PUT", "lists/"),
        ("PUT", "hints/"),
        ("PUT", "manifests/"),
        ("GET", "repository.json"),
        ("GET", "list-type=2"),
        ("GET", "manifests/"),
        ("GET", "hints/"),
    ];
    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Reset,
        Fault::LostReply,
        Fault::Truncate(5),
        Fault::Delay(Duration::from_millis(300)),
    ];
    place.backup(&db.url()).run().await.success();
    let mut backups = 1;
    for fault in faults {
        proxy.clear();
        for (method, key) in requests {
            // What a lost or truncated reply to a PUT means is a question of its own only where the body matters.
            proxy.add(Rule::new(fault).method(method).key(key));
        }
        db.exec("update large set body = md5(body) || body where id % 50000 = 1; update small set name = name || 'x'")
            .await;
        through.backup(&db.url()).run().await.success();
        backups += 1;
        assert_eq!(place.listed().await.len(), backups, "{fault:?}");
    }
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    assert_eq!(testkit::sql::content(&target.url).await, testkit::sql::content(&db.url()).await);
}

/// The same for a restore, which only reads.
#[tokio::test]
async fn a_restore_survives_faults_that_pass() {
    let (db, place, through, proxy) = setting().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    for key in ["repository.json", "list-type=2", "manifests/", "lists/", "chunks/"] {
        for fault in [Fault::Status(500), Fault::Status(503), Fault::Reset, Fault::ResetBody(20), Fault::Truncate(20)] {
            proxy.add(Rule::new(fault).method("GET").key(key).nth(1));
        }
    }
    through.restore(&target.url).run().await.success();
    assert_eq!(testkit::sql::content(&target.url).await, testkit::sql::content(&db.url()).await);
}

/// Requests of maintenance and of copies, which the proxy can tell apart.
const OTHER_REQUESTS: &[(&str, &str)] = &[
    ("GET", "repository.json"),
    ("GET", "list-type=2"),
    ("GET", "manifests/"),
    ("GET", "lists/"),
    ("GET", "chunks/"),
    ("PUT", "chunks/"),
    ("PUT", "lists/"),
    ("PUT", "manifests/"),
    ("PUT", "sessions/"),
    ("PUT", "maintenance/"),
    ("PUT", "gc/"),
    ("PUT", "pins/"),
    ("PUT", "evidence/"),
    ("DELETE", "manifests/"),
    ("DELETE", "gc/"),
];

/// What a sweep deletes goes in one request for many. A server that refuses it, or whose answer is lost, still loses every object.
#[tokio::test]
async fn a_sweep_deletes_in_batches_and_survives_faults_in_them() {
    let (db, place, through, proxy) = setting().await;
    let prune = || through.job(["prune", "--keep-last=1", "--undo-period=1s", "--grace=1s", "--output", "json"]);
    for fault in [None, Some(Fault::Status(501)), Some(Fault::LostReply)] {
        proxy.clear();
        let (batches, singles) = (proxy.count("POST", "delete"), proxy.count("DELETE", "/chunks/"));
        for _ in 0..2 {
            db.exec("update large set body = reverse(body)").await;
            place.backup(&db.url()).run().await.success();
        }
        if let Some(fault) = fault {
            proxy.add(Rule::new(fault).method("POST").key("delete"));
        }
        let mut deleted = 0;
        until("everything unneeded to go", async || {
            let swept = prune().run().await.success().json()["swept"].clone();
            deleted += swept["deleted"].as_u64().unwrap();
            deleted > 0 && swept["unreferenced"] == 0 && swept["waiting"] == 0
        })
        .await;
        assert!(deleted > 2 && proxy.count("POST", "delete") > batches, "{fault:?}: {deleted}");
        let singles = proxy.count("DELETE", "/chunks/") - singles;
        assert_eq!(singles > 0, matches!(fault, Some(Fault::Status(_))), "{fault:?}: {singles}");
    }
    place.job(["verify"]).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}

/// The same for what maintains a repository, and for a copy into it.
#[tokio::test]
async fn maintenance_and_copies_survive_faults_that_pass() {
    let (db, place, through, proxy) = setting().await;
    let first = Place::new().await;
    let faults = [Fault::Status(500), Fault::Status(503), Fault::Reset, Fault::LostReply, Fault::Truncate(5)];
    for (number, fault) in (1_usize..).zip(faults) {
        db.exec("update large set body = md5(body) || body where id % 50000 = 1").await;
        first.backup(&db.url()).run().await.success();
        let commands = [
            first.job(["copy"]).env("LONGSHORE_TO", &through.repo),
            through.job(["verify"]),
            through.job(["pin", "app"]),
            through.job(["prune", "--keep-last=1", "--undo-period=1s", "--grace=1s"]),
        ];
        for command in commands {
            proxy.clear();
            for (method, key) in OTHER_REQUESTS {
                proxy.add(Rule::new(fault).method(method).key(key));
            }
            command.run().await.success();
        }
        // Each is pinned, so none goes.
        assert_eq!(place.listed().await.len(), number, "{fault:?}");
    }
    place.job(["verify"]).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}

/// Faults that stay: the right exit code, nothing half done, and a repository that is as sound as before.
#[tokio::test]
async fn maintenance_and_copies_end_with_69_when_the_store_keeps_failing() {
    let (db, place, through, proxy) = setting().await;
    let first = Place::new().await;
    first.backup(&db.url()).run().await.success();
    for key in ["chunks/", "manifests/"] {
        proxy.clear();
        proxy.add(Rule::new(Fault::Status(500)).method("PUT").key(key).always());
        assert_failed(first.job(["copy"]).env("LONGSHORE_TO", &through.repo).run().await, 69, "hint");
        assert!(place.listed().await.is_empty(), "{key}");
    }
    for _ in 0..2 {
        place.backup(&db.url()).run().await.success();
    }
    proxy.clear();
    proxy.add(Rule::new(Fault::Status(500)).method("GET").key("chunks/").always());
    assert_failed(through.job(["verify"]).run().await, 69, "hint");
    let listed = place.listed().await;
    assert!(listed.iter().all(|it| it["verified"].is_null() && it["failed"].is_null()), "{listed:?}");
    proxy.clear();
    proxy.add(Rule::new(Fault::Status(500)).method("DELETE").key("manifests/").always());
    let prune = || ["prune", "--keep-last=1", "--undo-period=1s", "--grace=1s"];
    place.job(prune()).run().await.success();
    // A second must have passed since the mark.
    until("the removal to be tried", async || through.job(prune()).run().await.code == Some(69)).await;
    assert_eq!(place.listed().await.len(), 2, "a backup went all the same");
    place.job(["verify"]).run().await.success();
}

/// Faults that stay: exit 69, and no manifest. The budget of retries bounds the time.
#[tokio::test]
async fn a_store_that_keeps_failing_is_exit_69_without_a_manifest() {
    let (db, place, through, proxy) = setting().await;
    for (key, fault) in [
        ("chunks/", Fault::Status(500)),
        ("chunks/", Fault::Status(503)),
        ("lists/", Fault::Reset),
        ("manifests/", Fault::Status(503)),
        ("sessions/", Fault::Status(500)),
    ] {
        proxy.clear();
        proxy.add(Rule::new(fault).method("PUT").key(key).always());
        assert_failed(through.backup(&db.url()).run().await, 69, "hint");
        assert!(place.listed().await.is_empty(), "{key} {fault:?}");
    }
}

#[tokio::test]
async fn a_denied_put_is_exit_77_without_a_manifest() {
    let (db, place, through, proxy) = setting().await;
    for key in ["chunks/", "manifests/"] {
        proxy.clear();
        proxy.add(Rule::new(Fault::Status(403)).method("PUT").key(key).always());
        assert_failed(through.backup(&db.url()).run().await, 77, "no permission");
        assert!(place.listed().await.is_empty(), "{key}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_exit_78() {
    let server = minio().await;
    let place = Place { folder: tempfile::tempdir().unwrap(), repo: server.url("no-such-bucket", server.port) };
    assert_failed(place.job(["init"]).run().await, 78, "no-such-bucket");
    assert_failed(place.backup("postgres://u@127.0.0.1:1/app").run().await, 78, "no-such-bucket");
}

/// The manifest was put and the reply was lost, for good: the backup exists, and the job cannot know. It asks what is
/// there instead of guessing.
#[tokio::test]
async fn a_lost_reply_to_the_manifest_is_recognised_as_our_own() {
    let (db, place, through, proxy) = setting().await;
    proxy.add(Rule::new(Fault::LostReply).method("PUT").key("manifests/"));
    through.backup(&db.url()).run().await.success();
    assert_eq!(place.listed().await.len(), 1);
    assert!(proxy.count("PUT", "manifests/") >= 2, "the put was tried again");
}

/// A store that flips a byte on the way: found by hash, named, exit 65, no database.
#[tokio::test]
async fn a_byte_flipped_on_the_way_is_found_on_restore() {
    let (db, place, through, proxy) = setting().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    proxy.add(Rule::new(Fault::Flip(1000)).method("GET").key("chunks/").nth(3).always());
    assert_failed(through.restore(&target.url).run().await, 65, "chunks/");
    assert_nothing_made(&db, &target.name).await;
}

/// A request that is never answered: retried after a while, then the backup goes on.
#[tokio::test]
async fn a_stalled_request_is_given_up_and_tried_again() {
    let (db, place, through, proxy) = setting().await;
    proxy.add(Rule::new(Fault::Stall).method("GET").key("repository.json"));
    through.backup(&db.url()).run().await.success();
    assert_eq!(place.listed().await.len(), 1);
}
