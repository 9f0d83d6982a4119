//! MongoDB goes away in the middle, or says no.

use crate::integration::mongo::road::large;
use crate::integration::mongo::{Back, all, assert_same, collections, databases_like};
use crate::place::{Place, assert_failed};
use mongodb::bson::doc;
use std::sync::Arc;
use testkit::Signal;
use testkit::proxy::{Direction, Tcp};
use testkit::servers::{mongo, own_mongo};

/// Bytes after which documents are surely under way, and surely not all of them: the collection has some 24 MB.
const MID_WAY: u64 = 9 << 20;
const DOCUMENTS: i32 = 40_000;

/// G2: a server killed in the middle of its documents makes no backup, and a backup after it works.
#[tokio::test]
async fn a_server_killed_while_it_is_read_makes_no_backup() {
    let server = Arc::new(own_mongo(&[]).await);
    let db = server.database().await;
    large(&db, DOCUMENTS).await;
    let proxy = Tcp::start(server.host(), server.port()).await;
    let place = Place::new().await;
    let running = place.backup(&db.url_at_port(proxy.port())).spawn();
    proxy.wait_for_bytes(Direction::ToClient, MID_WAY).await;
    proxy.stall();
    server.kill();
    proxy.cut();
    assert_failed(running.wait().await, 69, "hint");
    place.assert_no_manifest();
    server.start().await;
    place.backup(&db.url()).run().await.success();
    assert_eq!(place.listed().await.len(), 1);
}

#[tokio::test]
async fn connections_cut_while_reading_make_no_backup() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, DOCUMENTS).await;
    let proxy = Tcp::start(server.host(), server.port()).await;
    let place = Place::new().await;
    proxy.cut_after(Direction::ToClient, MID_WAY);
    let url = format!("{}&serverSelectionTimeoutMS=2000", db.url_at_port(proxy.port()));
    assert_failed(place.backup(&url).run().await, 69, "hint");
    place.assert_no_manifest();
}

/// G5: a load that is cut off shows nothing under the backup's names, and the next restore works.
#[tokio::test]
async fn connections_cut_while_loading_show_nothing() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, DOCUMENTS).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let proxy = Tcp::start(server.host(), server.port()).await;
    proxy.cut_after(Direction::ToServer, MID_WAY);
    let back = Back::of(&db);
    let url = format!("{}&serverSelectionTimeoutMS=2000", server.url_at_port(proxy.port(), &back.name));
    assert_failed(place.restore(&url).run().await, 69, "hint");
    let left = collections(&db, &back.name).await;
    assert!(left.iter().all(|name| name.starts_with("longshore.")), "{left:?}");
    place.restore(&back.url).run().await.success();
    assert_same(&all(&db, db.name()).await, &all(&db, &back.name).await);
}

/// G12: a stop in the middle of loading takes everything away.
#[tokio::test]
async fn a_stopped_restore_leaves_nothing() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, DOCUMENTS).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let proxy = Tcp::start(server.host(), server.port()).await;
    let back = Back::of(&db);
    let running = place.restore(&server.url_at_port(proxy.port(), &back.name)).spawn();
    proxy.wait_for_bytes(Direction::ToServer, MID_WAY).await;
    running.signal(Signal::Terminate);
    running.wait().await.expect_code(74);
    assert_eq!(databases_like(&db, &back.name).await, Vec::<String>::new());
}

/// Cursors that the server ends, as an administrator or a failover does.
#[tokio::test]
async fn killed_cursors_make_no_backup() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, DOCUMENTS).await;
    let place = Place::new().await;
    let running = place.backup(&db.url()).env("LONGSHORE_MAX_RATE", "2MiB").spawn();
    while place.objects("chunks").is_empty() && running.is_running() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let admin = server.client().await.database("admin");
    let idle = doc! {"$currentOp": {"allUsers": true, "idleCursors": true}};
    let of_large = doc! {"$match": {"ns": format!("{}.large", db.name()), "cursor.cursorId": {"$exists": true}}};
    let reply = admin.run_command(doc! {"aggregate": 1, "pipeline": [idle, of_large], "cursor": {}}).await.unwrap();
    let found = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    let ids: Vec<i64> = found
        .iter()
        .filter_map(|entry| entry.as_document()?.get_document("cursor").ok()?.get_i64("cursorId").ok())
        .collect();
    assert!(!ids.is_empty(), "{reply}");
    db.run(doc! {"killCursors": "large", "cursors": ids}).await;
    assert_failed(running.wait().await, 69, "hint");
    place.assert_no_manifest();
}
