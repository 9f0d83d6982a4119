//! Parts: backups without some of it, and restores of some of it into a database that stays.

use super::swap::{marked, names_like};
use super::{Back, all, assert_same};
use crate::place::{Place, assert_failed};
use mongodb::bson::{DateTime, doc};
use std::collections::BTreeMap;
use testkit::Job;
use testkit::servers::{TestMongo, mongo};

async fn clinic(db: &TestMongo) {
    for name in ["wards", "patients", "app.log"] {
        db.run(doc! {"insert": name, "documents": [{"_id": 1, "ward": 1, "of": name}, {"_id": 2, "ward": 1}]}).await;
        db.run(doc! {"createIndexes": name, "indexes": [{"key": {"ward": 1}, "name": "by_ward", "sparse": true}]})
            .await;
    }
    db.run(doc! {"create": "pulse", "timeseries": {"timeField": "t"}}).await;
    db.run(doc! {"insert": "pulse", "documents": [{"t": DateTime::from_millis(1_600_000_000_000_i64), "n": 1}]}).await;
    db.run(doc! {"create": "names", "viewOn": "wards", "pipeline": [{"$match": {"kind": "app.log"}}]}).await;
    let lookup = doc! {"$lookup": {"from": "app.log", "localField": "_id", "foreignField": "_id", "as": "log"}};
    db.run(doc! {"create": "logged", "viewOn": "wards", "pipeline": [lookup]}).await;
    db.run(doc! {"create": "all_logged", "viewOn": "logged", "pipeline": []}).await;
}

/// What the database would be without some of it.
fn without(all: BTreeMap<String, String>, gone: &[&str]) -> BTreeMap<String, String> {
    let is_of = |key: &str, name: &str| key.split([' ', ':']).any(|word| word == name);
    all.into_iter().filter(|(key, _)| !gone.iter().any(|name| is_of(key, name))).collect()
}

fn restore(place: &Place, backup: &serde_json::Value, url: &str) -> Job {
    let from = format!("app@{}", backup["id"].as_str().unwrap());
    let job = place.job(["restore", "--prove", "content", "--output", "json"]).env("LONGSHORE_FROM", from);
    job.env("LONGSHORE_TARGET", url)
}

#[tokio::test]
async fn what_is_left_out_is_said_and_the_rest_comes_back() {
    let server = mongo().await;
    let db = server.database().await;
    clinic(&db).await;
    let place = Place::new().await;
    let filtered = place.backup(&db.url()).env("LONGSHORE_EXCLUDE_TABLE", "app.*");
    let backup = filtered.env("LONGSHORE_EXCLUDE_TABLE_DATA", "patients,pul*").run().await.success().json();
    assert_eq!((&backup["scope"], &backup["rows"], &backup["streams"]), (&"filtered".into(), &2.into(), &1.into()));
    let said = backup["about"]["notes"].to_string();
    assert!(said.contains("a part of the database: without tables app.*; without the rows of patients"), "{said}");
    assert!(said.contains("views that show what is left out: logged, all_logged"), "{said}");
    let back = Back::of(&db);
    assert_failed(place.restore(&back.url).run().await, 66, "no full backup");
    restore(&place, &backup, &back.url).run().await.success();
    let there = without(all(&db, db.name()).await, &["app.log", "logged", "all_logged"]);
    let here = all(&db, &back.name).await;
    // Empty, and with their indexes.
    let content = |key: &&String| !key.starts_with("collection ") && !key.starts_with("index ");
    let empty = ["patients", "pulse"];
    let keys: Vec<String> =
        there.keys().filter(content).filter(|key| empty.iter().any(|name| key.contains(name))).cloned().collect();
    assert!(!keys.is_empty());
    let rest = |mut all: BTreeMap<String, String>| {
        all.retain(|key, _| !keys.contains(key));
        all
    };
    assert_same(&rest(there), &rest(here));
    let client = db.server.client().await;
    for name in empty {
        let count = client.database(&back.name).run_command(doc! {"count": name}).await.unwrap();
        assert_eq!(count.get_i32("n").unwrap(), 0, "{name}");
    }
}

#[tokio::test]
async fn a_filter_that_cannot_be_meant_is_refused() {
    let server = mongo().await;
    let db = server.database().await;
    clinic(&db).await;
    let place = Place::new().await;
    for (option, value, says) in [
        ("INCLUDE_TABLE", "Wards", "--include-table Wards matches no collection"),
        ("EXCLUDE_TABLE", "*", "leaves nothing"),
        ("INCLUDE_SCHEMA", "app", "has no schemas"),
    ] {
        let job = place.backup(&db.url()).env(&format!("LONGSHORE_{option}"), value);
        assert_failed(job.run().await, 78, says);
    }
    place.assert_no_manifest();
}

/// Collections come in beside what is there, which stays as it was; names that are taken change nothing.
#[tokio::test]
async fn collections_come_in_beside_what_is_there() {
    let server = mongo().await;
    let (db, live) = (server.database().await, server.database().await);
    clinic(&db).await;
    live.run(doc! {"insert": "wards", "documents": [{"_id": 7}]}).await;
    live.run(doc! {"create": "sevens", "viewOn": "wards", "pipeline": [{"$match": {"_id": 7}}]}).await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).run().await.success().json();
    let there = all(&live, live.name()).await;
    let only = |names: &str| restore(&place, &backup, &live.url()).env("LONGSHORE_ONLY_TABLE", names);
    assert_failed(only("patients").run().await, 77, "is not marked");
    marked(&place, &live.url()).await;
    assert_failed(only("wards,patients").run().await, 73, "has these already: wards");
    assert_failed(only("nothing").run().await, 78, "--only-table nothing matches no collection");
    let itself = only("patients").env("LONGSHORE_TARGET", db.url());
    assert_failed(itself.run().await, 77, "that this backup was made of");
    assert_same(&there, &all(&live, live.name()).await);
    assert_eq!(names_like(&live, "longshore.").await, ["longshore.mark"]);

    let restored = only("patients,app.log,pulse").run().await.success().json();
    assert_eq!((&restored["proven"], &restored["rows"]), (&true.into(), &5.into()), "{restored}");
    let mut wanted = without(all(&db, db.name()).await, &["wards", "names", "logged", "all_logged"]);
    wanted.extend(there);
    assert_same(&wanted, &all(&live, live.name()).await);
    assert_eq!(names_like(&live, "longshore.").await, ["longshore.mark"]);
}

/// One collection comes back beside the one of today, under a name that nobody has.
#[tokio::test]
async fn a_collection_comes_back_under_another_name() {
    let server = mongo().await;
    let (db, live) = (server.database().await, server.database().await);
    clinic(&db).await;
    clinic(&live).await;
    live.run(doc! {"delete": "patients", "deletes": [{"q": {"_id": 2}, "limit": 1}]}).await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).run().await.success().json();
    marked(&place, &live.url()).await;
    let there = all(&live, live.name()).await;
    let only = |names: &str, name: &str| {
        restore(&place, &backup, &live.url()).env("LONGSHORE_ONLY_TABLE", names).env("LONGSHORE_RENAME", name)
    };
    for (names, name, code, says) in [
        ("patients", "wards", 73, "has these already: wards"),
        ("patients", "pulse", 73, "has these already: pulse"),
        ("patients,wards", "rescued", 78, "2 collections and views were chosen"),
        ("patients", "system.users", 78, "not a name for a collection"),
        ("patients", "longshore.mark", 78, "not a name for a collection"),
    ] {
        assert_failed(only(names, name).run().await, code, says);
    }
    let whole = restore(&place, &backup, &live.url()).env("LONGSHORE_RENAME", "rescued");
    assert_failed(whole.run().await, 64, "--rename is for one table of --only-table");
    assert_same(&there, &all(&live, live.name()).await);

    let restored = only("patients", "patients.rescued").run().await.success().json();
    assert_eq!((&restored["proven"], &restored["rows"]), (&true.into(), &2.into()), "{restored}");
    only("pulse", "pulse_rescued").run().await.success();
    let now = all(&live, live.name()).await;
    let renamed = |of: &str, to: &str| -> BTreeMap<String, String> {
        let of_it = |key: &String| key.split([' ', ':']).any(|word| word == of);
        let mine = now.iter().filter(|(key, _)| of_it(key));
        mine.map(|(key, value)| (key.replace(of, to), value.replace(of, to))).collect()
    };
    let original = all(&db, db.name()).await;
    for (name, rescued) in [("patients", "patients.rescued"), ("pulse", "pulse_rescued")] {
        let wanted: BTreeMap<String, String> =
            original.clone().into_iter().filter(|(key, _)| key.split([' ', ':']).any(|word| word == name)).collect();
        assert!(!wanted.is_empty());
        assert_same(&wanted, &renamed(rescued, name));
    }
    let rest: BTreeMap<String, String> = now
        .iter()
        .filter(|(key, _)| !key.contains("rescued"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    assert_same(&there, &rest);
    assert_eq!(names_like(&live, "longshore.").await, ["longshore.mark"]);
}
