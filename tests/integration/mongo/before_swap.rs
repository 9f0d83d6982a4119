//! `--before-swap` for MongoDB: what is disarmed before it has its name, and what happens when that fails.

use super::swap::{marked, names_like};
use super::{Back, all, assert_same};
use crate::place::{Place, assert_failed, until};
use mongodb::bson::doc;
use testkit::proxy::Tcp;
use testkit::servers::{TestMongo, mongo};
use testkit::{Job, Signal};

/// Users with secrets, in a backup.
async fn prepared() -> (TestMongo, Place) {
    let db = mongo().await.database().await;
    let user = |id: i32| doc! {"_id": id, "mail": format!("u{id}@example.org"), "token": "canary"};
    db.run(doc! {"insert": "users", "documents": [user(1), user(2), user(3)]}).await;
    db.run(doc! {"createIndexes": "users", "indexes": [{"key": {"mail": 1}, "name": "mail", "unique": true}]}).await;
    db.run(doc! {"insert": "queue", "documents": [{"_id": 1}, {"_id": 2}]}).await;
    db.run(doc! {"create": "seen", "viewOn": "users", "pipeline": [{"$match": {"_id": 1}}]}).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    (db, place)
}

/// A restore with these files, proven before they are run.
fn with(place: &Place, url: &str, files: &[(&str, &str)]) -> Job {
    let folder = place.folder.path();
    let mut arguments: Vec<String> =
        ["restore", "--from", "app", "--prove", "content", "--output", "json"].map(str::to_owned).to_vec();
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        arguments.extend(["--before-swap".to_owned(), path.display().to_string()]);
    }
    Job::new(arguments).env("LONGSHORE_REPO", &place.repo).env("LONGSHORE_TARGET", url).sees(folder)
}

const TOKENS: &str = r#"{"update": "users", "updates": [{"q": {"token": {"$exists": true}}, "u": {"$unset": {"token": 1}}, "multi": true}]}"#;
const QUEUE: &str = r#"{"delete": "queue", "deletes": [{"q": {}, "limit": 0}]}
{"insert": "queue", "documents": [{"_id": 9, "note": "disarmed"}]}"#;

async fn count(db: &TestMongo, name: &str, of: &str, query: mongodb::bson::Document) -> i32 {
    let client = db.server.client().await;
    client.database(name).run_command(doc! {"count": of, "query": query}).await.unwrap().get_i32("n").unwrap()
}

/// What has its name was disarmed before: into a new database and into a marked one's place.
#[tokio::test]
async fn nobody_sees_the_data_before_it_is_disarmed() {
    let (db, place) = prepared().await;
    let staging = mongo().await.database().await;
    staging.run(doc! {"insert": "users", "documents": [{"_id": "old"}]}).await;
    let proxy = Tcp::start(staging.server.host(), staging.server.port()).await;
    let through = staging.url_at_port(proxy.port());
    marked(&place, &through).await;
    let there = all(&db, db.name()).await;
    // The first rename waits: whatever has been done is done by then, and shows under no name of the target's.
    proxy.hold_at(&format!("{}.longshore.old", staging.name()));
    let running = with(&place, &through, &[("1.json", TOKENS), ("2.json", QUEUE)]).spawn();
    until("the exchange to begin", async || !proxy.waits_for_words()).await;
    let made = names_like(&staging, "longshore.new.").await;
    let users = made.iter().find(|name| name.ends_with(".users")).unwrap();
    assert_eq!(count(&staging, staging.name(), users, doc! {}).await, 3);
    assert_eq!(count(&staging, staging.name(), users, doc! {"token": {"$exists": true}}).await, 0);
    assert_eq!(count(&staging, staging.name(), "users", doc! {"_id": "old"}).await, 1);
    proxy.pass();
    let restored = running.wait().await.success().json();
    let notes = restored["notes"].to_string();
    assert!(notes.contains("1.json: 1 command run") && notes.contains("3 documents changed"), "{notes}");
    assert!(notes.contains("2.json: 2 commands run"), "{notes}");
    assert_eq!(count(&staging, staging.name(), "queue", doc! {"note": "disarmed"}).await, 1);
    assert_eq!(count(&staging, staging.name(), "queue", doc! {}).await, 1);
    assert_eq!(count(&staging, staging.name(), "users", doc! {"token": {"$exists": true}}).await, 0);
    // The source keeps what it had.
    assert_same(&there, &all(&db, db.name()).await);

    let back = Back::of(&db);
    with(&place, &back.url, &[("1.json", TOKENS)]).run().await.success();
    assert_eq!(count(&db, &back.name, "users", doc! {"token": {"$exists": true}}).await, 0);
    assert_eq!(count(&db, &back.name, "queue", doc! {}).await, 2);
}

/// The first error ends the restore, by file and line, without a value of a document; the target is as it was.
#[tokio::test]
async fn a_file_that_fails_is_named_with_its_place_and_changes_nothing() {
    let (_db, place) = prepared().await;
    let staging = mongo().await.database().await;
    staging.run(doc! {"insert": "users", "documents": [{"_id": "old"}]}).await;
    marked(&place, &staging.url()).await;
    let there = all(&staging, staging.name()).await;
    let twice = r#"
{"delete": "queue", "deletes": [{"q": {}, "limit": 0}]}
{"insert": "users", "documents": [{"_id": 1, "mail": "canary@example.org"}]}"#;
    let unknown = r#"{"update": "users", "updates": [{"q": {}, "u": {"$sett": {"a": 1}}}]}"#;
    let quoting = r#"{"update": "users", "updates": [{"q": {"_id": 2}, "u": [{"$set": {"n": {"$toInt": "$mail"}}}]}]}"#;
    let fixed = r#"{"update": "users", "updates": [{"q": {"_id": 2}, "u": {"$set": {"_id": 3}}}]}"#;
    for (text, code, says) in [
        (quoting, 78, "2.json, line 1: update users: the server does not do it"),
        (fixed, 78, "2.json, line 1: update users: the server does not do it"),
        (twice, 65, "2.json, line 3: insert users"),
        (unknown, 78, "2.json, line 1: update users"),
        ("db.users.drop()", 78, "2.json, line 1: what begins here is no JSON"),
        (r#"{"drop": "users"}"#, 78, "is not update, delete or insert"),
        (r#"{"delete": "seen", "deletes": []}"#, 78, "seen is a view"),
        (r#"{"delete": "nothing", "deletes": []}"#, 78, "nothing is no collection of the backup"),
    ] {
        let outcome = with(&place, &staging.url(), &[("1.json", TOKENS), ("2.json", text)]).run().await;
        let outcome = assert_failed(outcome, code, says);
        assert!(!outcome.stderr.contains("canary") && !outcome.stderr.contains("example.org"), "{}", outcome.report());
        assert_same(&there, &all(&staging, staging.name()).await);
        assert_eq!(names_like(&staging, "longshore.new").await, Vec::<String>::new(), "{text}");
    }
}

/// A signal while a command is under way ends the restore, and nothing that arrives late makes a collection anew.
#[tokio::test]
async fn a_signal_ends_a_command_and_leaves_nothing() {
    let (_db, place) = prepared().await;
    let staging = mongo().await.database().await;
    staging.run(doc! {"insert": "users", "documents": [{"_id": "old"}]}).await;
    let proxy = Tcp::start(staging.server.host(), staging.server.port()).await;
    let through = staging.url_at_port(proxy.port());
    marked(&place, &through).await;
    let there = all(&staging, staging.name()).await;
    proxy.hold_at("disarmed");
    let running = with(&place, &through, &[("2.json", QUEUE)]).spawn();
    until("the insert is under way", async || !proxy.waits_for_words()).await;
    running.signal(Signal::Terminate);
    proxy.pass();
    assert_failed(running.wait().await, 74, "interrupted");
    assert_same(&there, &all(&staging, staging.name()).await);
    assert_eq!(names_like(&staging, "longshore.new").await, Vec::<String>::new());
}
