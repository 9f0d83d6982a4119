//! Backups that take longer than their server keeps its past: what changes meanwhile is read once more, and all of it is of one moment.

use super::road::large;
use super::{Back, all, assert_same};
use crate::integration::export::{assert_whole, export};
use crate::place::{Place, assert_failed};
use mongodb::bson::{Bson, DateTime, Document, doc};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::Job;
use testkit::mongo::{fixture, make};
use testkit::servers::{MongoServer, TestMongo, own_mongo};

/// Documents that move between two collections.
const COINS: i32 = 3000;
/// Documents of the large collection: some seconds at the rate below.
const LARGE: i32 = 60_000;

/// A server that forgets nearly at once.
async fn forgetful(settings: &[&str]) -> Arc<MongoServer> {
    let forgets = ["--setParameter", "minSnapshotHistoryWindowInSeconds=2"];
    Arc::new(own_mongo(&[&forgets, settings].concat()).await)
}

fn slow_backup(place: &Place, url: &str) -> Job {
    place.backup(url).env("LONGSHORE_MAX_RATE", "6MiB").env("LONGSHORE_WORKERS", "2")
}

/// Coins that lie in one collection or the other, and move in transactions; two others count the moves, by updates. Some are moved a few at a time, so that entries hold several operations.
async fn move_coins(db: &TestMongo, stop: &AtomicBool, seed: u64) -> u32 {
    let (client, name) = (db.server.client().await, db.name());
    let mut session = client.start_session().await.unwrap();
    let database = client.database(name);
    let (mut moved, mut state) = (0, seed);
    while !stop.load(Ordering::Relaxed) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let first = i32::try_from((state >> 33) % 2990).unwrap();
        let (from, to) = if state & (1 << 20) == 0 { ("left", "right") } else { ("right", "left") };
        let (from, to) = (database.collection::<Document>(from), database.collection::<Document>(to));
        session.start_transaction().await.unwrap();
        let mut done = true;
        for id in first..first + 1 + i32::try_from(moved % 4).unwrap() {
            let Ok(coin) = from.find_one_and_delete(doc! {"_id": id}).session(&mut session).await else {
                done = false;
                break;
            };
            let Some(coin) = coin else { continue };
            done &= to.insert_one(coin).session(&mut session).await.is_ok();
        }
        for counter in ["counter", "counted"] {
            let counter = database.collection::<Document>(counter);
            let counted = counter.update_one(doc! {"_id": "moves"}, doc! {"$inc": {"n": 1}}).session(&mut session);
            done = done && counted.await.is_ok();
        }
        if done && session.commit_transaction().await.is_ok() {
            moved += 1;
        } else {
            drop(session.abort_transaction().await);
        }
    }
    moved
}

/// Writes of other kinds, without transactions: every document of `log` has a number, and none is missing between the first and the last.
async fn write_others(db: &TestMongo, stop: &AtomicBool) {
    let database = db.db().await;
    let log = database.collection::<Document>("log");
    let series = database.collection::<Document>("measured");
    let mut number = i32::try_from(log.count_documents(doc! {"_id": {"$gte": 0}}).await.unwrap()).unwrap();
    while !stop.load(Ordering::Relaxed) {
        log.insert_one(doc! {"_id": number, "n": number}).await.unwrap();
        series.insert_one(doc! {"at": DateTime::from_millis(i64::from(number) * 1000), "n": number}).await.unwrap();
        // The same identifier as another kind of number, and texts that the collection takes for the same.
        drop(log.delete_one(doc! {"_id": -1}).await);
        let odd = if number % 2 == 0 { Bson::Int32(-1) } else { Bson::Int64(-1) };
        log.insert_one(doc! {"_id": odd, "n": -1}).await.unwrap();
        // And as another kind of number by an update, of which the log names one of both alone.
        let even = number % 2 == 0;
        let (one, two) = if even { (Bson::Int32(-2), Bson::Int32(1)) } else { (Bson::Double(-2.0), Bson::Int64(1)) };
        let log_of = |id: &Bson, n: i32| doc! {"_id": id.clone(), "n": n};
        log.replace_one(doc! {"_id": -2}, log_of(&one, number)).upsert(true).await.unwrap();
        // Once and for good, for each of them: the log names what it was, or what it is.
        let known = i32::try_from(i64::from(number) % i64::from(COINS)).unwrap();
        let kinds = database.collection::<Document>("kinds");
        kinds.replace_one(doc! {"_id": known}, doc! {"_id": i64::from(known), "n": number}).await.unwrap();
        let within = Bson::Document(doc! {"key": two, "of": "log"});
        let known = doc! {"_id": {"key": 1, "of": "log"}};
        log.replace_one(known, log_of(&within, number)).upsert(true).await.unwrap();
        let said = database.collection::<Document>("said");
        drop(said.delete_one(doc! {"_id": "word"}).await);
        said.insert_one(doc! {"_id": if number % 2 == 0 { "Word" } else { "word" }}).await.unwrap();
        number += 1;
    }
}

/// The identifiers of a collection.
async fn ids(db: &TestMongo, database: &str, name: &str) -> Vec<i32> {
    let collection = db.server.client().await.database(database).collection::<Document>(name);
    let mut cursor = collection.find(doc! {}).await.unwrap();
    let mut found = Vec::new();
    while cursor.advance().await.unwrap() {
        found.extend(cursor.deserialize_current().unwrap().get_i32("_id").ok());
    }
    found.sort_unstable();
    found
}

async fn assert_coins_whole(db: &TestMongo, database: &str) {
    let (left, right) = (ids(db, database, "left").await, ids(db, database, "right").await);
    assert_eq!(left.len() + right.len(), usize::try_from(COINS).unwrap());
    let all: BTreeSet<i32> = left.into_iter().chain(right).collect();
    assert_eq!(all.len(), usize::try_from(COINS).unwrap(), "a coin is in both places, and another in none");
    let database_of = db.server.client().await.database(database);
    let count = async |name: &str| database_of.collection::<Document>(name).find_one(doc! {}).await.unwrap();
    assert_eq!(count("counter").await, count("counted").await);
    let kinds = database_of.collection::<Document>("kinds").count_documents(doc! {}).await.unwrap();
    assert_eq!(i32::try_from(kinds).unwrap(), COINS, "a document was lost, or is there twice");
    let log: Vec<i32> = ids(db, database, "log").await.into_iter().filter(|id| *id >= 0).collect();
    let whole: Vec<i32> = (0..i32::try_from(log.len()).unwrap()).collect();
    assert_eq!(log, whole, "an entry is missing between others");
}

async fn prepared(db: &TestMongo) {
    let half =
        |which: i32| (0..COINS).filter(move |id| id % 2 == which).map(|id| doc! {"_id": id, "text": "x".repeat(400)});
    db.run(doc! {"insert": "left", "documents": half(0).collect::<Vec<_>>()}).await;
    db.run(doc! {"insert": "right", "documents": half(1).collect::<Vec<_>>()}).await;
    for counter in ["counter", "counted"] {
        db.run(doc! {"insert": counter, "documents": [{"_id": "moves", "n": 0}]}).await;
    }
    db.run(doc! {"create": "log"}).await;
    db.run(doc! {"insert": "kinds", "documents": (0..COINS).map(|id| doc! {"_id": id}).collect::<Vec<_>>()}).await;
    db.run(doc! {"create": "said", "collation": {"locale": "en", "strength": 2}}).await;
    db.run(doc! {"create": "measured", "timeseries": {"timeField": "at"}}).await;
    large(db, LARGE).await;
}

/// Runs something while documents move, are made and deleted.
async fn while_others_write<T>(db: &Arc<TestMongo>, work: impl Future<Output = T>) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let movers: Vec<_> = [7, 11]
        .map(|seed| {
            let (db, stop) = (Arc::clone(db), Arc::clone(&stop));
            tokio::spawn(async move { move_coins(&db, &stop, seed).await })
        })
        .into();
    let (others, stopped) = (Arc::clone(db), Arc::clone(&stop));
    let others = tokio::spawn(async move { write_others(&others, &stopped).await });
    let done = work.await;
    stop.store(true, Ordering::Relaxed);
    let mut moved = 0;
    for mover in movers {
        moved += mover.await.unwrap();
    }
    others.await.unwrap();
    assert!(moved > 100, "only {moved} times was something moved");
    done
}

fn documents(file: &Path) -> Vec<Document> {
    let bytes = std::fs::read(file).unwrap();
    let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        found.push(Document::from_reader(&mut rest).unwrap());
    }
    found
}

/// G1: documents that move between collections for longer than the past is kept are in every backup exactly once, and so in its export.
#[tokio::test]
async fn a_backup_beyond_the_past_is_of_one_moment() {
    let server = forgetful(&[]).await;
    let db = Arc::new(server.database().await);
    prepared(&db).await;
    let place = Place::new().await;
    for round in 0..2 {
        let made = while_others_write(&db, slow_backup(&place, &db.url()).run()).await.success();
        let notes = made.json()["about"]["notes"].to_string();
        assert!(notes.contains("were read once more"), "{notes}");
        let back = Back::of(&db);
        place.restore(&back.url).run().await.success();
        assert_coins_whole(&db, &back.name).await;
        let folder = place.folder.path().join(format!("exported{round}"));
        export(&place, &folder).run().await.success();
        assert_whole(&folder);
        for name in ["left", "right", "log", "large", "said", "kinds", "system.buckets.measured"] {
            let file = folder.join("dump").join(db.name()).join(format!("{name}.bson"));
            let mut exported = documents(&file);
            let restored = server.client().await.database(&back.name).collection::<Document>(name);
            let mut cursor = restored.find(doc! {}).await.unwrap();
            let mut held = Vec::new();
            while cursor.advance().await.unwrap() {
                held.push(cursor.deserialize_current().unwrap());
            }
            exported.sort_by_key(ToString::to_string);
            held.sort_by_key(ToString::to_string);
            assert_eq!(exported, held, "{name}");
        }
        server.client().await.database(&back.name).drop().await.unwrap();
    }
    place.job(["drill", "--from", "app"]).env("LONGSHORE_TARGET", db.url()).run().await.success();
}

/// What nobody changes comes back to the last bit when the past is over before it is read.
#[tokio::test]
async fn everything_comes_back_from_beyond_the_past() {
    let server = forgetful(&[]).await;
    let db = server.database().await;
    make(&db.db().await, &fixture()).await;
    large(&db, LARGE).await;
    let place = Place::new().await;
    let made = slow_backup(&place, &db.url()).run().await.success();
    assert!(
        made.json()["about"]["notes"].to_string().contains("0 documents that changed meanwhile"),
        "{}",
        made.report()
    );
    let back = Back::of(&db);
    place.restore(&back.url).run().await.success();
    assert_same(&all(&db, db.name()).await, &all(&db, &back.name).await);
}

/// G1: a server that was upgraded and still behaves as the version before knows less words; its backups are exact all the same.
#[tokio::test]
async fn a_server_that_behaves_as_an_older_one_is_backed_up() {
    let server = forgetful(&[]).await;
    server.client().await.database("admin").run_command(doc! {"setFeatureCompatibilityVersion": "5.0"}).await.unwrap();
    let db = server.database().await;
    large(&db, LARGE).await;
    let place = Place::new().await;
    let running = slow_backup(&place, &db.url()).env("LONGSHORE_MAX_RATE", "2MiB").spawn();
    running.wait_for_stderr("the oplog is read for what changes").await;
    db.run(doc! {"update": "large", "updates": [{"q": {"_id": 1}, "u": {"$set": {"changed": true}}}]}).await;
    let made = running.wait().await.success();
    assert!(made.report().contains("1 documents that changed meanwhile"), "{}", made.report());
    let back = Back::of(&db);
    place.restore(&back.url).run().await.success();
    assert_same(&all(&db, db.name()).await, &all(&db, &back.name).await);
}

/// G2: who may not see what changed gets no backup, and is told what to grant.
#[tokio::test]
async fn who_may_not_read_the_oplog_gets_no_backup_beyond_the_past() {
    let server = forgetful(&[]).await;
    let db = server.database().await;
    large(&db, LARGE).await;
    let admin = server.client().await.database("admin");
    let reader = format!("{}_reader", db.name());
    let asks = doc! {"resource": {"cluster": true}, "actions": ["getParameter"]};
    let role = doc! {"createRole": &reader, "privileges": [asks], "roles": [{"role": "read", "db": db.name()}]};
    admin.run_command(role).await.unwrap();
    admin.run_command(doc! {"createUser": &reader, "pwd": "pw", "roles": [&reader]}).await.unwrap();
    let place = Place::new().await;
    // One reader: what it has begun at the moment ends at it, and what it begins later cannot.
    let as_reader = || {
        let backup = slow_backup(&place, &server.url_as(&reader, "pw", db.name()));
        backup.env("LONGSHORE_MAX_RATE", "2MiB").env("LONGSHORE_WORKERS", "1")
    };
    assert_failed(as_reader().run().await, 77, "grant the role backup");
    place.assert_no_manifest();
    admin.run_command(doc! {"grantRolesToUser": &reader, "roles": [{"role": "backup", "db": "admin"}]}).await.unwrap();
    let made = as_reader().run().await;
    assert!(made.success().json()["about"]["notes"].to_string().contains("were read once more"));
    admin.run_command(doc! {"dropUser": &reader}).await.unwrap();
}

/// G2: a collection that has another name for a while is back under its own when it is looked for, and what was written meanwhile is not under it in the oplog: no backup.
#[tokio::test]
async fn a_name_that_goes_and_comes_back_makes_no_backup() {
    let server = forgetful(&[]).await;
    let db = server.database().await;
    large(&db, LARGE).await;
    db.run(doc! {"insert": "orders", "documents": [{"_id": 1, "n": 0}]}).await;
    let place = Place::new().await;
    let running = slow_backup(&place, &db.url()).env("LONGSHORE_MAX_RATE", "2MiB").spawn();
    running.wait_for_stderr("the oplog is read for what changes").await;
    let admin = server.client().await.database("admin");
    let (orders, aside) = (format!("{}.orders", db.name()), format!("{}.orders_old", db.name()));
    admin.run_command(doc! {"renameCollection": &orders, "to": &aside}).await.unwrap();
    db.run(doc! {"update": "orders_old", "updates": [{"q": {"_id": 1}, "u": {"$set": {"n": 1}}}]}).await;
    admin.run_command(doc! {"renameCollection": &aside, "to": &orders}).await.unwrap();
    assert_failed(running.wait().await, 69, "renamed while the database was read");
    place.assert_no_manifest();
}
