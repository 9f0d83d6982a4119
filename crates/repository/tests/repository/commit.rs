//! The commit: a backup exists exactly when its manifest does.

use crate::support::{
    Fault, Faulty, SIZES, assert_holds, back_up, begin, frame, repository, source, store_tables, table,
};
use repository::{Error, Repository, Sizes};
use serde_json::json;
use std::sync::Arc;
use store::Store;

#[tokio::test]
async fn nothing_is_listed_without_a_commit() {
    let (store, repository) = repository().await;
    for outcome in [Some("failed"), Some("interrupted"), None] {
        let session = begin(&repository).await;
        store_tables(&session, &[table("t", 500)], 1).await.unwrap();
        match outcome {
            Some(outcome) => session.abandon(outcome).await,
            None => drop(session),
        }
        assert!(repository.backups(None).await.unwrap().is_empty(), "{outcome:?}");
        assert!(store.keys("manifests/").await.is_empty(), "{outcome:?}");
    }
    let keys = store.keys("sessions/").await;
    let number = |name: &str| keys.iter().filter(|key| key.ends_with(name)).count();
    assert_eq!((number("/start"), number("/end")), (3, 2), "only the session that was dropped has no end");
}

#[tokio::test]
async fn a_tombstone_at_the_manifests_key_revokes_the_session() {
    let (store, repository) = repository().await;
    let session = begin(&repository).await;
    let commit = store_tables(&session, &[table("t", 10)], 1).await.unwrap();
    let key = format!("manifests/app/{}", session.backup());
    store.replace(&key, frame(4, &json!({}))).await;
    assert!(matches!(session.commit(commit).await, Err(Error::Revoked { .. })));
    assert!(repository.backups(None).await.unwrap().is_empty());
    assert!(repository.latest(&source()).await.unwrap().is_none());
}

#[tokio::test]
async fn somebody_elses_manifest_is_not_replaced() {
    let (store, repository) = repository().await;
    let session = begin(&repository).await;
    let commit = store_tables(&session, &[table("t", 10)], 1).await.unwrap();
    let key = format!("manifests/app/{}", session.backup());
    store.replace(&key, b"something else".to_vec()).await;
    assert!(matches!(session.commit(commit).await, Err(Error::Conflict { object }) if object == key));
    assert_eq!(store.bytes(&key).await, &b"something else"[..]);
}

#[tokio::test]
async fn a_reused_chunk_that_is_condemned_meanwhile_stops_the_commit() {
    let (store, repository) = repository().await;
    let tables = [table("t", 500)];
    back_up(&repository, &tables, 1).await.unwrap();
    let condemned = store.keys("chunks/").await[0].rsplit('/').next().unwrap().to_owned();
    let decision = frame(9, &json!({ "objects": [&condemned] }));

    let session = begin(&repository).await;
    let commit = store_tables(&session, &tables, 1).await.unwrap();
    store.replace("gc/01K00000000000000000000000/condemned", decision).await;
    match session.commit(commit).await {
        Err(Error::Condemned { count: 1, first }) => assert_eq!(first, condemned),
        other => panic!("{other:?}"),
    }
    assert_eq!(repository.backups(None).await.unwrap().len(), 1);

    // Known before the session begins, it is stored again instead.
    let again = back_up(&repository, &tables, 1).await.unwrap();
    store.delete(&format!("chunks/{}/{condemned}", &condemned[..2])).await;
    assert_holds(&repository, &again, &tables).await;
}

#[tokio::test]
async fn a_decision_that_cannot_be_read_stops_the_session() {
    let (store, repository) = repository().await;
    store.replace("gc/01K00000000000000000000000/condemned", b"?".to_vec()).await;
    let options = repository::BeginOptions { source: source(), compression: 3, program: "test".into() };
    let begun = repository::Session::begin(&repository, options).await;
    assert!(matches!(begun, Err(Error::Damaged { object, .. }) if object.starts_with("gc/")));
}

#[tokio::test]
async fn a_put_whose_reply_was_lost_is_our_own_success() {
    let store = Faulty::new();
    store.set("", Fault::LostReply);
    let repository = Repository::init(Arc::clone(&store) as Arc<dyn Store>, SIZES, &[]).await.unwrap();
    let tables = [table("a", 5), table("b", 6), table("t", 500), table("u", 0)];
    for bundle in [1, 2] {
        let manifest = back_up(&repository, &tables, bundle).await.unwrap();
        assert_holds(&repository, &manifest, &tables).await;
    }
    assert!(store.keys("sessions/").await.iter().filter(|key| key.ends_with("/end")).count() == 2);
}

#[tokio::test]
async fn when_nobody_knows_whether_the_manifest_was_stored_the_session_stays_open() {
    let (store, repository) = repository().await;
    let tables = [table("t", 100)];
    for fault in [Fault::Unanswered, Fault::Refused] {
        store.set("manifests/", fault);
        assert!(matches!(back_up(&repository, &tables, 1).await, Err(Error::Store { .. })));
    }
    assert_eq!(repository.backups(None).await.unwrap().len(), 1, "the first one did arrive");
    assert!(store.keys("sessions/").await.iter().all(|key| !key.ends_with("/end")), "a tombstone must decide");
}

#[tokio::test]
async fn a_store_that_fails_leaves_no_backup() {
    for part in ["chunks/", "lists/", "hints/"] {
        let (store, repository) = repository().await;
        store.set(part, Fault::Refused);
        for bundle in [1, 2] {
            let failed = back_up(&repository, &[table("t", 500), table("u", 3)], bundle).await;
            assert!(matches!(failed, Err(Error::Store { .. })), "{part} {failed:?}");
        }
        assert!(store.keys("manifests/").await.is_empty(), "{part}");
    }
}

#[tokio::test]
async fn sizes_that_no_reader_accepts_are_not_written() {
    let store = Faulty::new();
    let refused =
        Repository::init(Arc::clone(&store) as Arc<dyn Store>, Sizes { least: 0, aim: 0, greatest: 0 }, &[]).await;
    assert!(matches!(refused, Err(Error::Name { .. })), "{refused:?}");
    assert!(store.puts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_place_holds_one_repository() {
    let (store, _) = repository().await;
    let again = Repository::init(Arc::clone(&store) as Arc<dyn Store>, SIZES, &[]).await;
    assert!(matches!(again, Err(Error::RepositoryExists { .. })));
}
