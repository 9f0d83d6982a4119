//! One moment: whoever writes meanwhile.

use super::road::large;
use super::{Back, all, assert_same, collections};
use crate::place::{Place, assert_failed};
use mongodb::bson::{Document, doc};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::servers::{TestMongo, mongo};

const ACCOUNTS: i32 = 200;

/// Money that moves between two collections, each time in one transaction.
async fn move_money(db: &TestMongo, stop: Arc<AtomicBool>) -> u32 {
    let client = db.server.client().await;
    let (one, other) = (
        client.database(db.name()).collection::<Document>("one"),
        client.database(db.name()).collection::<Document>("other"),
    );
    let (mut moved, mut seed) = (0, 7_u64);
    let mut session = client.start_session().await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let id = i32::try_from((seed >> 33) % 200).unwrap();
        session.start_transaction().await.unwrap();
        let taken = one.update_one(doc! {"_id": id}, doc! {"$inc": {"money": -1}}).session(&mut session).await;
        let given = other.update_one(doc! {"_id": id}, doc! {"$inc": {"money": 1}}).session(&mut session).await;
        if taken.is_ok() && given.is_ok() && session.commit_transaction().await.is_ok() {
            moved += 1;
        } else {
            drop(session.abort_transaction().await);
        }
    }
    moved
}

async fn money(db: &TestMongo, database: &str) -> i64 {
    let database = db.server.client().await.database(database);
    let mut sum = 0;
    for name in ["one", "other"] {
        let pipeline = vec![doc! {"$group": {"_id": null, "sum": {"$sum": {"$toLong": "$money"}}}}];
        let reply = database.run_command(doc! {"aggregate": name, "pipeline": pipeline, "cursor": {}}).await.unwrap();
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        sum += batch[0].as_document().unwrap().get_i64("sum").unwrap();
    }
    sum
}

/// G3: money that moves between collections while they are read is in every backup exactly once.
#[tokio::test]
async fn writers_do_not_tear_a_backup() {
    let server = mongo().await;
    let db = Arc::new(server.database().await);
    for name in ["one", "other"] {
        let documents: Vec<Document> =
            (0..ACCOUNTS).map(|id| doc! {"_id": id, "money": 1000, "text": "x".repeat(5000)}).collect();
        db.run(doc! {"insert": name, "documents": documents}).await;
    }
    large(&db, 60_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (db, stop) = (Arc::clone(&db), Arc::clone(&stop));
            tokio::spawn(async move { move_money(&db, stop).await })
        })
        .collect();
    let place = Place::new().await;
    for round in 0..3 {
        place.backup(&db.url()).run().await.success();
        let back = Back::of(&db);
        place.restore(&back.url).run().await.success();
        assert_eq!(money(&db, &back.name).await, i64::from(ACCOUNTS) * 2000, "round {round}");
        server.client().await.database(&back.name).drop().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut moved = 0;
    for writer in writers {
        moved += writer.await.unwrap();
    }
    assert!(moved > 100, "only {moved} times was money moved");
}

/// What happens to collections while others are read: no backup, and none that is torn.
#[tokio::test]
async fn a_collection_that_changes_meanwhile_makes_no_backup() {
    let server = mongo().await;
    for changes in [
        vec![doc! {"drop": "small"}],
        vec![doc! {"drop": "small"}, doc! {"insert": "small", "documents": [{"_id": 1}]}],
        vec![doc! {"drop": "measured"}, series()],
        vec![doc! {"create": "new"}],
        vec![doc! {"createIndexes": "small", "indexes": [{"key": {"a": 1}, "name": "a"}]}],
        vec![doc! {"collMod": "small", "validator": {"a": 1}}],
        vec![doc! {"convertToCapped": "small", "size": 100_000}],
    ] {
        let db = server.database().await;
        db.run(doc! {"insert": "small", "documents": [{"_id": 1}]}).await;
        db.run(series()).await;
        large(&db, 20_000).await;
        let place = Place::new().await;
        let running = place.backup(&db.url()).env("LONGSHORE_MAX_RATE", "2MiB").spawn();
        // The moment has been chosen when rows are stored.
        while place.objects("chunks").is_empty() && running.is_running() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        for change in &changes {
            db.run(change.clone()).await;
        }
        let failed = running.wait().await;
        assert!(matches!(failed.code, Some(69 | 75)), "{changes:?}: {}", failed.report());
        place.assert_no_manifest();
    }
}

fn series() -> Document {
    doc! {"create": "measured", "timeseries": {"timeField": "at"}}
}

/// A restore that is killed shows nothing under the names of the backup, and stops no other.
#[tokio::test]
async fn a_killed_restore_shows_nothing_and_stops_nobody() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, 40_000).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let proxy = testkit::proxy::Tcp::start(server.host(), server.port()).await;
    let back = Back::of(&db);
    let running = place.restore(&server.url_at_port(proxy.port(), &back.name)).spawn();
    proxy.wait_for_bytes(testkit::proxy::Direction::ToServer, 9 << 20).await;
    running.signal(testkit::Signal::Kill);
    drop(running.wait().await);
    let left = collections(&db, &back.name).await;
    assert!(!left.is_empty() && left.iter().all(|name| name.starts_with("longshore.")), "{left:?}");
    place.restore(&back.url).run().await.success();
    assert_same(&all(&db, db.name()).await, &all(&db, &back.name).await);
    assert_failed(place.restore(&back.url).run().await, 77, "is not marked");
}

/// What a dead run left is dropped by its document: scratch names, and what has the identifiers that it made. Nothing else is, and nothing of a run that lives or has begun to publish.
#[tokio::test]
async fn only_what_a_dead_run_made_is_dropped() {
    let server = mongo().await;
    let source = server.database().await;
    source.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    let place = Place::new().await;
    place.backup(&source.url()).run().await.success();
    let (old, now) = (mongodb::bson::DateTime::from_millis(0), mongodb::bson::DateTime::now());
    for (beat, publishes, left) in [
        (old, false, vec!["other"]),
        (old, true, vec!["mine", "other"]),
        (now, false, vec!["longshore.new.x.a", "longshore.run.x", "mine", "other"]),
    ] {
        let db = server.database().await;
        for name in ["longshore.new.x.a", "mine", "other"] {
            db.run(doc! {"insert": name, "documents": [{"_id": 1}]}).await;
        }
        let listed = db.run(doc! {"listCollections": 1, "filter": {"name": "mine"}}).await;
        let entry = &listed.get_document("cursor").unwrap().get_array("firstBatch").unwrap()[0];
        let info = entry.as_document().unwrap().get_document("info").unwrap();
        let Some(mongodb::bson::Bson::Binary(uuid)) = info.get("uuid") else { panic!("{info}") };
        let uuid: String = uuid.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let run = doc! {"_id": 1, "of": "longshore", "beat": beat, "made": [uuid], "publishes": publishes};
        db.run(doc! {"insert": "longshore.run.x", "documents": [run]}).await;
        assert_failed(place.restore(&db.url()).run().await, 77, "is not marked");
        assert_eq!(collections(&db, db.name()).await, left);
    }
}
