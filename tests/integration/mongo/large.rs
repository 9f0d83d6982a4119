//! Collections that are large enough to be read and loaded in several segments.

use super::{Back, all, assert_same};
use crate::place::{Place, until};
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Document, doc, oid::ObjectId, spec::BinarySubtype};
use std::sync::Arc;
use testkit::servers::{TestMongo, mongo, own_mongo};

/// Bytes that hardly compress.
fn noise(state: &mut u64, words: usize) -> String {
    let mut word = || {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        format!("{state:016x}")
    };
    (0..words).map(|_| word()).collect()
}

/// Of every kind that may stand in `_id`, all different.
fn id(n: i32) -> Bson {
    let bytes = u128::from(n.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
    match n % 10 {
        0 => Bson::Int32(n),
        1 => Bson::Int64(i64::from(n) << 33),
        2 => Bson::Double(f64::from(n) + 0.5),
        3 => Bson::String(format!("text {n}")),
        4 => Bson::Document(doc! {"a": n % 7, "b": n}),
        5 => Bson::ObjectId(ObjectId::from_bytes(bytes[..12].try_into().unwrap())),
        6 => Bson::DateTime(DateTime::from_millis(i64::from(n) * 1_000_000)),
        7 => Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: bytes.to_vec() }),
        8 => Bson::Decimal128(format!("{n}.25").parse::<Decimal128>().unwrap()),
        _ => Bson::Boolean(n % 20 == 9),
    }
}

async fn fill(db: &TestMongo, name: &str, documents: i32, mut document: impl FnMut(i32, String) -> Document) {
    let mut state = 88_172_645_463_325_252_u64;
    for first in (0..documents).step_by(5_000) {
        let batch: Vec<Document> =
            (first..(first + 5_000).min(documents)).map(|n| document(n, noise(&mut state, 36))).collect();
        db.run(doc! {"insert": name, "documents": batch, "ordered": false}).await;
    }
}

/// What a backup logged of how many segments it read.
fn segments(outcome: &testkit::Outcome) -> u64 {
    let lines = outcome.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter_map(|line| line["segments"].as_u64()).max().unwrap()
}

/// Every kind of `_id`, clustered collections and the buckets of time series are cut, alike each time, and nothing is lost between the cuts.
#[tokio::test]
async fn every_kind_of_id_is_cut() {
    let server = mongo().await;
    let db = server.database().await;
    db.run(doc! {"create": "clustered", "clusteredIndex": {"key": {"_id": 1}, "unique": true}}).await;
    db.run(doc! {"create": "series", "timeseries": {"timeField": "t", "metaField": "m"}}).await;
    // Of booleans there are two: one of each document in ten is left.
    fill(
        &db,
        "mixed",
        130_000,
        |n, body| doc! {"_id": if n % 10 == 9 && n > 20 { Bson::Int32(n) } else { id(n) }, "body": body},
    )
    .await;
    fill(&db, "clustered", 70_000, |n, body| doc! {"_id": format!("{:08x}", n.wrapping_mul(2_654_435)), "body": body})
        .await;
    let time = |n: i32| DateTime::from_millis(1_600_000_000_000 + i64::from(n) * 1_000);
    fill(&db, "series", 70_000, |n, body| doc! {"t": time(n), "m": n % 50, "body": body}).await;
    let place = Place::new().await;
    let backup = || place.backup(&db.url()).env("LONGSHORE_LOG", "debug");
    let first = backup().run().await.success();
    let cut = segments(&first);
    assert!((6..40).contains(&cut), "{cut} segments");
    let again = backup().run().await.success();
    let (first, again) = (first.json()["added_bytes"].as_u64().unwrap(), again.json()["added_bytes"].as_u64().unwrap());
    assert!(again * 100 <= first, "{again} of {first} bytes for an unchanged database");
    let there = all(&db, db.name()).await;
    let back = Back::of(&db);
    let restored = place.restore(&back.url).run().await.success().json();
    assert_eq!(restored["proven"], true, "{restored}");
    assert_same(&there, &all(&db, &back.name).await);
}

/// Documents that are long past their time are all there when they are compared, at a server that looks every second, and go when the database has its name.
#[tokio::test]
async fn nothing_expires_before_it_is_proven() {
    let source = Arc::new(own_mongo(&["--setParameter", "ttlMonitorEnabled=false"]).await);
    let target = Arc::new(own_mongo(&["--setParameter", "ttlMonitorSleepSecs=1"]).await);
    let db = source.database().await;
    let past = |n: i32| DateTime::from_millis(978_307_200_000 + i64::from(n));
    let cluster = doc! {"key": {"_id": 1}, "unique": true};
    db.run(doc! {"create": "clustered", "clusteredIndex": cluster, "expireAfterSeconds": 60_i64}).await;
    db.run(doc! {"create": "series", "timeseries": {"timeField": "t"}, "expireAfterSeconds": 60_i64}).await;
    let index = doc! {"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": 0};
    db.run(doc! {"createIndexes": "sessions", "indexes": [index]}).await;
    for name in ["sessions", "clustered", "series"] {
        fill(&db, name, 500, |n, _| match name {
            "sessions" => doc! {"_id": n, "at": past(n)},
            "clustered" => doc! {"_id": past(n)},
            _ => doc! {"t": past(n), "n": n},
        })
        .await;
    }
    // Long enough for the server to look.
    fill(&db, "large", 80_000, |n, body| doc! {"_id": n, "body": body}).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = target.database().await;
    let restored = place.restore(&back.url()).env("LONGSHORE_PROVE", "content").run().await.success();
    assert_eq!(restored.json()["proven"], true, "{}", restored.report());
    assert!(restored.stdout.contains("expire from now on"), "{}", restored.report());
    // MongoDB 6.0 lets such time series be, at the source too.
    for name in ["sessions", "clustered"] {
        until("documents past their time are gone", async || {
            let count = back.run(doc! {"count": name}).await;
            count.get_i32("n").unwrap_or_default() == 0
        })
        .await;
    }
}
