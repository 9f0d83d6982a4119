//! The odd database can be made, and what databases are compared by sees what it should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use longshore_testkit::mongo::bytes::{Value, array, document, double, int, long, text};
use longshore_testkit::mongo::{different, everything, fixture, make, piece};
use longshore_testkit::servers::{TestMongo, mongo};
use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};

/// How many of each kind the whole fixture has.
const EXPECTED: &str = "collection=98 documents=98 index=217 order=4";

#[tokio::test]
async fn two_databases_made_alike_compare_equal() {
    let server = mongo().await;
    let (one, other) = (server.database().await, server.database().await);
    let mut all = fixture();
    let names: BTreeSet<_> = all.iter().map(|piece| piece.name).collect();
    assert_eq!(names.len(), all.len(), "each has a name of its own");
    make(&one.db().await, &all).await;
    all.reverse();
    make(&other.db().await, &all).await;

    let first = everything(&one.db().await).await;
    assert_eq!(counts(&first), EXPECTED);
    let second = everything(&other.db().await).await;
    if let Some(key) = different(&first, &second).first() {
        panic!("{key}\n--- one\n{:?}\n--- other\n{:?}", first.get(key), second.get(key));
    }
}

/// The server keeps every byte, whatever it means; the one thing that it changes is where the identity stands.
#[tokio::test]
async fn what_is_put_in_is_what_is_there() {
    let database = mongo().await.database().await;
    let (db, all) = (database.db().await, fixture());
    make(&db, &all).await;
    let mut changed = Vec::new();
    for (piece, command) in all.iter().flat_map(|piece| piece.commands.iter().map(move |command| (piece, command))) {
        let Ok(collection) = command.get_str("insert") else { continue };
        // Of these the server puts documents together, or has thrown some away.
        if collection.contains("series") || collection.contains("capped by") {
            continue;
        }
        let sent = command.get_array("documents").unwrap();
        let sent: BTreeSet<_> = sent.into_iter().map(|sent| sent.unwrap().as_document().unwrap().as_bytes()).collect();
        let documents = db.collection::<RawDocumentBuf>(collection);
        let mut cursor = documents.find(doc! {}).await.unwrap();
        let mut found = BTreeSet::new();
        while cursor.advance().await.unwrap() {
            found.insert(cursor.current().as_bytes().to_vec());
        }
        if !sent.iter().all(|sent| found.contains(*sent)) {
            changed.push((piece.name, collection));
        }
    }
    assert_eq!(changed, CHANGED);
}

/// The first is changed by an update of its piece's own.
const CHANGED: [(&str, &str); 2] =
    [("an empty timestamp at the top", "zero at the top"), ("no identity at the beginning", "identity last")];

/// Or a piece would not have what its name says.
#[tokio::test]
async fn a_timestamp_of_zeros_stays_where_an_update_put_it() {
    let database = mongo().await.database().await;
    make_some(&database, &["timestamps", "an empty timestamp at the top"]).await;
    let zeros = Timestamp { time: 0, increment: 0 };
    let db = database.db().await;
    let one = async |collection: &str| {
        db.collection::<Document>(collection).find_one(doc! { "_id": 1 }).await.unwrap().unwrap()
    };
    assert_eq!(one("zero at the top").await.get_timestamp("top").unwrap(), zeros);
    assert_eq!(one("zero timestamps").await.get_document("v").unwrap().get_timestamp("within").unwrap(), zeros);
    db.collection("plain").insert_one(doc! { "_id": 1, "top": zeros }).await.unwrap();
    let inserted = db.collection::<Document>("plain").find_one(doc! {}).await.unwrap().unwrap();
    assert_ne!(inserted.get_timestamp("top").unwrap(), zeros);
}

#[tokio::test]
async fn a_byte_of_a_document_makes_a_difference() {
    let database = mongo().await.database().await;
    make_some(&database, &["integers of two sizes", "fields of one name", "floating numbers"]).await;
    let same = document([("_id", int(1)), ("a", int(1)), ("a", text("twO")), ("b", int(0))]);
    for (collection, id, instead) in [
        ("integers", 0, document([("_id", int(0)), ("v", long(0))])),
        ("doubles", 2, document([("_id", int(2)), ("v", double(1.0_f64.to_bits() + 1))])),
        ("doubles", 12, document([("_id", int(12)), ("v", double(0x7ff8_dead_beef_caff))])),
        ("twice", 1, same),
    ] {
        let before = everything(&database.db().await).await;
        database.run(doc! { "delete": collection, "deletes": [{ "q": { "_id": id }, "limit": 1 }] }).await;
        let insert = document([("insert", text(collection)), ("documents", array([instead]))]);
        run_raw(&database, insert).await;
        assert_eq!(changed_since(&database, &before).await, [format!("documents {collection}")]);
    }
}

/// Read with the driver's documents, the two would be the same.
#[tokio::test]
async fn the_second_field_of_a_name_is_content() {
    let server = mongo().await;
    let (one, other) = (server.database().await, server.database().await);
    for (database, first) in [(&one, 1), (&other, 2)] {
        let twice = document([("_id", int(1)), ("a", int(first)), ("a", int(3))]);
        run_raw(database, document([("insert", text("t")), ("documents", array([twice]))])).await;
    }
    let differ = different(&everything(&one.db().await).await, &everything(&other.db().await).await);
    assert_eq!(differ, ["documents t"]);
}

#[tokio::test]
async fn an_option_or_an_index_makes_a_difference() {
    let database = mongo().await.database().await;
    let pieces = ["hidden indexes", "documents that expire later", "partial indexes", "validators", "views"];
    make_some(&database, &pieces).await;
    let unfiltered = doc! { "key": { "w": 1 }, "name": "empty filter" };
    let changes: [(Vec<Document>, &[&str]); 7] = [
        (vec![doc! { "collMod": "hidden", "index": { "name": "hidden", "hidden": false } }], &["index hidden: hidden"]),
        (
            vec![doc! { "collMod": "expiring", "index": { "name": "late", "expireAfterSeconds": 2_147_483_646 } }],
            &["index expiring: late"],
        ),
        (
            vec![
                doc! { "dropIndexes": "partial", "index": "empty filter" },
                doc! { "createIndexes": "partial", "indexes": [unfiltered] },
            ],
            &["index partial: empty filter"],
        ),
        (vec![doc! { "dropIndexes": "partial", "index": "null" }], &["index partial: null"]),
        (vec![doc! { "collMod": "moderately valid", "validationAction": "error" }], &["collection moderately valid"]),
        (
            // And what is read by way of it.
            vec![doc! { "collMod": "z view", "viewOn": "viewed", "pipeline": [{ "$limit": 1 }] }],
            &["collection z view", "documents a view", "documents z view"],
        ),
        (vec![doc! { "create": "new" }], &["collection new", "documents new", "index new: _id_"]),
    ];
    for (commands, keys) in changes {
        let before = everything(&database.db().await).await;
        for command in commands {
            database.run(command).await;
        }
        assert_eq!(changed_since(&database, &before).await, keys);
    }
}

#[tokio::test]
async fn the_order_of_a_capped_collection_is_content() {
    let server = mongo().await;
    let (one, other) = (server.database().await, server.database().await);
    for (database, ids) in [(&one, [1, 2]), (&other, [2, 1])] {
        for capped in [true, false] {
            let name = format!("capped {capped}");
            let options = if capped {
                doc! { "capped": true, "size": 4096 }
            } else {
                doc! {}
            };
            database.run([doc! { "create": &name }, options].into_iter().flatten().collect()).await;
            database.run(doc! { "insert": name, "documents": ids.map(|id| doc! { "_id": id }).to_vec() }).await;
        }
    }
    let differ = different(&everything(&one.db().await).await, &everything(&other.db().await).await);
    assert_eq!(differ, ["order capped true"]);
}

#[tokio::test]
async fn what_the_product_and_the_server_keep_for_themselves_is_left_out() {
    let database = mongo().await.database().await;
    make_some(&database, &["stored functions", "time series"]).await;
    let before = everything(&database.db().await).await;
    assert!(before.contains_key("documents system.js"));
    assert!(!before.keys().any(|key| key.contains("system.buckets")), "{before:#?}");
    database.run(doc! { "create": "longshore_mark" }).await;
    database.run(doc! { "create": "system.profile", "capped": true, "size": 4096 }).await;
    assert!(changed_since(&database, &before).await.is_empty());
}

async fn make_some(database: &TestMongo, names: &[&str]) {
    let pieces: Vec<_> = names.iter().map(|name| piece(name)).collect();
    make(&database.db().await, &pieces).await;
}

async fn run_raw(database: &TestMongo, command: Value) {
    let says = database.db().await.run_raw_command(command.into_document()).await.unwrap();
    assert!(!says.contains_key("writeErrors"), "{says:?}");
}

async fn changed_since(database: &TestMongo, before: &BTreeMap<String, String>) -> Vec<String> {
    different(before, &everything(&database.db().await).await)
}

/// `collection=9 documents=9 ...`
fn counts(everything: &BTreeMap<String, String>) -> String {
    let mut counts = BTreeMap::new();
    for key in everything.keys() {
        *counts.entry(key.split(' ').next().unwrap()).or_insert(0) += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    counts.join(" ")
}
