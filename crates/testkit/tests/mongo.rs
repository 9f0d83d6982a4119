//! MongoDB servers start, ask for passwords, serve and come back. Needs docker: run with scripts/test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use longshore_testkit::servers::{MongoServer, mongo, own_mongo, standalone_mongo, try_connect_mongo};
use mongodb::bson::{Document, doc};

#[tokio::test]
async fn mongodb_6_gives_each_test_a_database() {
    let server = mongo().await;
    assert_eq!(server.container_id, mongo().await.container_id);
    let (one, two) = (server.database().await, server.database().await);
    assert_ne!(one.name(), two.name());
    let says = one.run(doc! { "buildInfo": 1 }).await;
    assert!(says.get_str("version").unwrap().starts_with("6.0."), "{says:?}");
    let says = one.run(doc! { "hello": 1 }).await;
    assert_eq!(says.get_str("setName").unwrap(), "rs0");

    let things = one.db().await.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1, "name": "naïve 🚢" }).await.unwrap();
    let found = things.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(found, doc! { "_id": 1, "name": "naïve 🚢" });
    two.run(doc! { "create": "empty" }).await;

    let names = [one.name().to_owned(), format!("{}_copy", one.name()), format!("{}0", one.name())];
    for name in &names[1..] {
        server.client().await.database(name).run_command(doc! { "create": "empty" }).await.unwrap();
    }
    drop(one);
    assert!(!server.has_database(&names[0]).await);
    assert!(!server.has_database(&names[1]).await, "it was named after the test's");
    assert!(server.has_database(&names[2]).await, "another test's, by its number");
    server.client().await.database(&names[2]).drop().await.unwrap();
    assert!(server.has_database(two.name()).await);
}

#[tokio::test]
async fn nobody_comes_in_without_a_password() {
    for server in [own_mongo(&[]).await, standalone_mongo().await] {
        asks_for_passwords(&server).await;
        server.kill();
        server.start().await;
        asks_for_passwords(&server).await;
    }
}

async fn asks_for_passwords(server: &MongoServer) {
    let nobody = format!("mongodb://{}:{}/?directConnection=true", server.host(), server.port());
    for url in [nobody, server.url_as("root", "wrong", "x")] {
        let client = try_connect_mongo(&url).await.unwrap();
        client.database("x").run_command(doc! { "count": "things" }).await.expect_err(&url);
    }
    let root = try_connect_mongo(&server.url_as("root", server.password(), "x")).await.unwrap();
    root.database("x").run_command(doc! { "count": "things" }).await.unwrap();
}

#[tokio::test]
async fn a_command_that_writes_nothing_ends_the_test() {
    let database = mongo().await.database().await;
    let twice = doc! { "insert": "t", "documents": [{ "_id": 1 }, { "_id": 1 }] };
    assert!(tokio::spawn(async move { database.run(twice).await }).await.is_err());
}

#[tokio::test]
async fn an_own_mongodb_is_killed_and_comes_back_at_its_port_with_its_data() {
    let server = own_mongo(&["--setParameter", "ttlMonitorSleepSecs=1"]).await;
    let client = server.client().await;
    let admin = client.database("admin");
    let says = admin.run_command(doc! { "getParameter": 1, "ttlMonitorSleepSecs": 1 }).await.unwrap();
    assert_eq!(says.get_i32("ttlMonitorSleepSecs").unwrap(), 1);
    let kept = doc! { "insert": "t", "documents": [{ "_id": 7 }], "writeConcern": { "w": "majority", "j": true } };
    client.database("kept").run_command(kept).await.unwrap();

    server.pause();
    let answer = tokio::time::timeout(Duration::from_millis(300), admin.run_command(doc! { "ping": 1 })).await;
    assert!(answer.is_err(), "a paused server says nothing");
    server.unpause();
    server.client().await.database("kept").run_command(doc! { "ping": 1 }).await.unwrap();

    server.kill();
    let gone = try_connect_mongo(&server.root_url("")).await.unwrap();
    assert!(gone.database("admin").run_command(doc! { "ping": 1 }).await.is_err());
    server.start().await;
    let kept = server.client().await.database("kept").collection::<Document>("t");
    assert_eq!(kept.find_one(doc! {}).await.unwrap(), Some(doc! { "_id": 7 }));
    kept.insert_one(doc! { "_id": 8 }).await.unwrap();
    server.stop();
    let gone = try_connect_mongo(&server.root_url("")).await.unwrap();
    assert!(gone.database("admin").run_command(doc! { "ping": 1 }).await.is_err());
}

#[tokio::test]
async fn a_standalone_server_is_in_no_replica_set() {
    let server = standalone_mongo().await;
    let says = server.client().await.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    assert!(!says.contains_key("setName"), "{says:?}");
    let list = server.client().await.database("local").list_collection_names().await.unwrap();
    assert!(!list.iter().any(|name| name == "oplog.rs"), "{list:?}");
}
