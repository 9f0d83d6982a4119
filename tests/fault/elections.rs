//! Another member becomes the primary, in the middle of everything.

use crate::place::{Place, until};
use mongodb::Database;
use mongodb::bson::{Document, doc};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::mongo::everything;
use testkit::servers::{MongoSet, three_mongos};

const DOCUMENTS: i32 = 30_000;

/// Documents of some 600 bytes that do not compress, and two collections in which the same identifiers are.
async fn filled(db: &Database) {
    let word = |id: i32| format!("{:x}", u64::from(id.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for first in (0..DOCUMENTS).step_by(5000) {
        let batch = (first..first + 5000).map(|id| {
            doc! {"_id": id, "body": (0..36).map(|part| word(id * 37 + part)).collect::<String>()}
        });
        db.run_command(doc! {"insert": "large", "documents": batch.collect::<Vec<_>>()}).await.unwrap();
    }
    for name in ["one", "other"] {
        db.run_command(doc! {"insert": name, "documents": [{"_id": -1}]}).await.unwrap();
    }
}

/// Puts the same identifier into both collections, or into none, whatever becomes of the primary. Returns how often it did.
async fn write_pairs(set: Arc<MongoSet>, name: String, stop: Arc<AtomicBool>) -> u32 {
    let db = set.db(&name).await;
    let (one, other) = (db.collection::<Document>("one"), db.collection::<Document>("other"));
    let mut session = db.client().start_session().await.unwrap();
    let (mut id, mut written) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        id += 1;
        if session.start_transaction().await.is_err() {
            continue;
        }
        let first = one.insert_one(doc! {"_id": id}).session(&mut session).await;
        let second = other.insert_one(doc! {"_id": id}).session(&mut session).await;
        if first.is_ok() && second.is_ok() && session.commit_transaction().await.is_ok() {
            written += 1;
        } else {
            drop(session.abort_transaction().await);
        }
    }
    written
}

async fn ids(db: &Database, name: &str) -> BTreeSet<i32> {
    let mut cursor = db.collection::<Document>(name).find(doc! {}).await.unwrap();
    let mut found = BTreeSet::new();
    while cursor.advance().await.unwrap() {
        found.insert(cursor.deserialize_current().unwrap().get_i32("_id").unwrap());
    }
    found
}

/// What was restored is of one moment, and whole.
async fn assert_exact(set: &MongoSet, place: &Place, name: &str) {
    place.restore(&set.url(name)).run().await.success();
    let db = set.db(name).await;
    assert_eq!(ids(&db, "one").await, ids(&db, "other").await);
    assert_eq!(ids(&db, "large").await.len(), usize::try_from(DOCUMENTS).unwrap());
    db.drop().await.unwrap();
}

/// G1, G2: a backup that another primary comes in the middle of is exact, or there is none, and the next one works.
async fn another_primary_while_reading(forgets: bool, crashes: bool) {
    let set = three_mongos().await;
    if forgets {
        set.tell_each(doc! {"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 2}).await;
    }
    filled(&set.db("app").await).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_pairs(Arc::clone(&set), "app".to_owned(), Arc::clone(&stop)));
    let place = Place::new().await;
    let slow = || place.backup(&set.url("app")).env("LONGSHORE_MAX_RATE", "4MiB");
    let running = slow().spawn();
    until("documents are stored", async || !place.objects("chunks").is_empty() || !running.is_running()).await;
    if crashes {
        set.kill_primary().await;
    } else {
        set.step_down().await;
    }
    let ended = running.wait().await;
    match ended.code {
        Some(0) => assert_exact(&set, &place, "back").await,
        // Of an oplog that reaches back far enough nothing is missing, whoever answers.
        Some(69) if !ended.report().contains("does not reach back") => place.assert_no_manifest(),
        _ => panic!("{}", ended.report()),
    }
    let whole = slow().run().await.success();
    assert_eq!(whole.report().contains("were read once more"), forgets, "{}", whole.report());
    assert_exact(&set, &place, "back").await;
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    assert!(written > 50, "only {written} times was something written");
}

#[tokio::test]
async fn a_step_down_while_reading_makes_an_exact_backup_or_none() {
    another_primary_while_reading(false, false).await;
}

#[tokio::test]
async fn a_step_down_beyond_the_past_makes_an_exact_backup_or_none() {
    another_primary_while_reading(true, false).await;
}

#[tokio::test]
async fn a_primary_that_dies_while_reading_makes_an_exact_backup_or_none() {
    another_primary_while_reading(false, true).await;
}

/// G5: a restore that another primary comes in the middle of is whole, or shows nothing under the backup's names; the next one works.
#[tokio::test]
async fn a_step_down_while_loading_shows_all_or_nothing() {
    let set = three_mongos().await;
    let app = set.db("app").await;
    filled(&app).await;
    let wanted = everything(&app).await;
    let place = Place::new().await;
    place.backup(&set.url("app")).run().await.success();
    let back = set.db("back").await;
    let running = place.restore(&set.url("back")).spawn();
    let names = async || back.list_collection_names().await.unwrap_or_default();
    until("documents are loaded", async || !names().await.is_empty() || !running.is_running()).await;
    set.step_down().await;
    let ended = running.wait().await;
    if ended.code != Some(0) {
        assert_eq!(ended.code, Some(69), "{}", ended.report());
        let shown: Vec<String> = names().await.into_iter().filter(|name| !name.starts_with("longshore.")).collect();
        assert_eq!(shown, Vec::<String>::new());
        place.restore(&set.url("back")).run().await.success();
    }
    assert_eq!(wanted, everything(&back).await);
}
