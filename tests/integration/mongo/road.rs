//! The whole road: backup, list, show, restore, proof, of everything odd that a database may hold.

use super::{Back, all, assert_same, collections, databases_like};
use crate::place::{Place, assert_failed};
use mongodb::bson::{Document, doc};
use testkit::mongo::{fixture, make};
use testkit::servers::{TestMongo, mongo};

/// G1: every odd document, option and index comes back, by the product's own proof and by one that knows nothing of the product.
#[tokio::test]
async fn everything_comes_back() {
    let server = mongo().await;
    let db = server.database().await;
    make(&db.db().await, &fixture()).await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).run().await.success().json();
    let listed = place.listed().await;
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &backup["id"]));
    let there = all(&db, db.name()).await;

    let back = Back::of(&db);
    let restored = place.restore(&back.url).run().await.success().json();
    assert_eq!((&restored["proven"], &restored["rows"]), (&true.into(), &backup["rows"]));
    assert_same(&there, &all(&db, &back.name).await);
    // Nothing else stays, and the original is what it was.
    assert_eq!(databases_like(&db, db.name()).await, [db.name().to_owned(), back.name.clone()]);
    let ours: Vec<String> =
        collections(&db, &back.name).await.into_iter().filter(|name| name.starts_with("longshore")).collect();
    assert_eq!(ours, Vec::<String>::new());
    assert_same(&there, &all(&db, db.name()).await);
}

/// Documents of some 600 bytes that hardly compress, with numbers for `_id`.
pub async fn large(db: &TestMongo, documents: i32) {
    let mut state = 88_172_645_463_325_252_u64;
    let mut word = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    for first in (0..documents).step_by(5_000) {
        let batch: Vec<Document> = (first..(first + 5_000).min(documents))
            .map(|id| doc! {"_id": id, "body": (0..36).map(|_| word()).collect::<String>()})
            .collect();
        db.run(doc! {"insert": "large", "documents": batch}).await;
    }
}

/// A collection in several segments; a second backup recognises what it has, and one changed document costs little.
#[tokio::test]
async fn a_second_backup_adds_next_to_nothing() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, 80_000).await;
    let place = Place::new().await;
    let added = |outcome: testkit::Outcome| outcome.success().json()["added_bytes"].as_u64().unwrap();
    let first = added(place.backup(&db.url()).run().await);
    let again = added(place.backup(&db.url()).run().await);
    assert!(again * 100 <= first, "{again} of {first} bytes for an unchanged database");
    db.run(doc! {"update": "large", "updates": [{"q": {"_id": 50_000}, "u": {"$set": {"body": "changed"}}}]}).await;
    let changed = added(place.backup(&db.url()).run().await);
    // One chunk, which has 8 MiB at most.
    assert!(changed * 4 <= first * 3, "{changed} of {first} bytes for one changed document");
    let back = Back::of(&db);
    place.restore(&back.url).run().await.success();
    assert_same(&all(&db, db.name()).await, &all(&db, &back.name).await);
}

/// G6: what holds something is never touched.
#[tokio::test]
async fn a_target_that_holds_something_is_left_alone() {
    let server = mongo().await;
    let (db, other) = (server.database().await, server.database().await);
    db.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    other.run(doc! {"insert": "x", "documents": [{"_id": 2}]}).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let there = all(&other, other.name()).await;
    assert_failed(place.restore(&other.url()).run().await, 77, "is not marked");
    assert_failed(place.restore(&db.url()).run().await, 77, "that this backup was made of");
    let fresh = place.restore(&other.url()).env("LONGSHORE_MODE", "fresh");
    assert_failed(fresh.run().await, 73, "holds something");
    assert_same(&there, &all(&other, other.name()).await);
    assert_eq!(collections(&other, other.name()).await, ["x"]);
    assert_eq!(collections(&db, db.name()).await, ["t"]);
}

/// A drill proves everything in a database of its own and leaves nothing.
#[tokio::test]
async fn a_drill_leaves_nothing() {
    let server = mongo().await;
    let db = server.database().await;
    make(&db.db().await, &fixture()).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let drill = place.job(["drill", "--from", "app", "--output", "json"]);
    let drilled = drill.env("LONGSHORE_TARGET", db.server.root_url("admin")).run().await.success();
    assert!(drilled.stdout.contains("\"ok\":true") || drilled.json()["proven"] == true, "{}", drilled.report());
    assert_eq!(databases_like(&db, "longshore_drill").await, Vec::<String>::new());
    assert_eq!(databases_like(&db, db.name()).await, [db.name()]);
}

/// Documents that are past their time are there when they are compared, and expire only when the database has its name.
#[tokio::test]
async fn what_expires_is_restored_first() {
    let server = mongo().await;
    let db = server.database().await;
    let past = mongodb::bson::DateTime::from_millis(0);
    // Far enough away for the original to keep it.
    let index = doc! {"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": i32::MAX - 1};
    db.run(doc! {"insert": "sessions", "documents": [{"_id": 1, "at": past}]}).await;
    db.run(doc! {"createIndexes": "sessions", "indexes": [index]}).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    let restored = place.restore(&back.url).run().await.success();
    assert!(restored.stdout.contains("expire from now on"), "{}", restored.report());
    assert_same(&all(&db, db.name()).await, &all(&db, &back.name).await);
}
