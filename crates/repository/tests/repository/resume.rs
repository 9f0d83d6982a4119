//! What an interrupted backup has stored is not stored again.

use crate::support::{assert_holds, back_up, begin, frame, repository, source, store_tables, table};
use repository::{Access, Identity, Repository};
use serde_json::json;
use std::sync::Arc;
use store::Store;

/// A first backup that was interrupted, and one after a good one.
#[tokio::test]
async fn chunks_of_an_interrupted_backup_are_found_and_used() {
    let (_store, repository) = repository().await;
    for rows in [500, 900] {
        let tables = [table("t", rows), table("u", rows / 2)];
        let session = begin(&repository).await;
        store_tables(&session, &tables, 1).await.unwrap();
        session.abandon("interrupted").await;
        let made = back_up(&repository, &tables, 1).await.unwrap();
        let totals = made.header.totals;
        // The one document was to come last.
        assert!(totals.reused_chunks + 1 >= totals.chunks && totals.chunks > 10, "{totals:?}");
        assert_holds(&repository, &made, &tables).await;
    }
}

/// Chunks that are gone, cut short or condemned are stored again, and so are those of another source's session.
#[tokio::test]
async fn chunks_that_cannot_be_relied_on_are_stored_again() {
    let (store, repository) = repository().await;
    let tables = [table("t", 900)];
    let session = begin(&repository).await;
    store_tables(&session, &tables, 1).await.unwrap();
    session.abandon("interrupted").await;
    let chunks = store.keys("chunks/").await;
    let name = |key: &String| key.rsplit('/').next().unwrap().to_owned();
    store.delete(&chunks[0]).await;
    store.replace(&chunks[1], store.bytes(&chunks[1]).await.slice(..100)).await;
    let condemned = frame(9, &json!({ "objects": [name(&chunks[2])] }));
    store.replace("gc/01ARZ3NDEKTSV4RRFFQ69G5FAV/condemned", condemned).await;
    let made = back_up(&repository, &tables, 1).await.unwrap();
    assert_holds(&repository, &made, &tables).await;
    let totals = made.header.totals;
    assert_eq!(totals.reused_chunks + 3, chunks.len() as u64, "{totals:?}");
    let elsewhere = repository::BeginOptions { source: "other".parse().unwrap(), compression: 3, program: "t".into() };
    let session = repository::Session::begin(&repository, elsewhere).await.unwrap();
    let commit = store_tables(&session, &tables, 1).await.unwrap();
    assert_eq!(session.commit(commit).await.unwrap().header.totals.reused_chunks, 0);
}

/// A journal that cannot be read costs space and nothing else.
#[tokio::test]
async fn a_damaged_journal_stops_no_backup() {
    let (store, repository) = repository().await;
    let tables = [table("t", 900)];
    let session = begin(&repository).await;
    store_tables(&session, &tables, 1).await.unwrap();
    session.abandon("interrupted").await;
    for key in store.keys("sessions/").await {
        store.damage(&key).await;
    }
    let made = back_up(&repository, &tables, 1).await.unwrap();
    assert_eq!(made.header.totals.reused_chunks, 0);
    assert_holds(&repository, &made, &tables).await;
}

/// Whoever can write into the store cannot have a backup refer to rubbish.
#[tokio::test]
async fn a_journal_that_nobody_known_has_signed_is_not_used() {
    let (store, owner) = (crate::support::Faulty::new(), Identity::generate());
    let sizes = crate::support::SIZES;
    Repository::init(Arc::clone(&store) as Arc<dyn Store>, sizes, &[owner.recipient()]).await.unwrap();
    let access = Access { identities: vec![owner], ..Access::default() };
    let repository = Repository::open_with(Arc::clone(&store) as Arc<dyn Store>, &access).await.unwrap();
    let tables = [table("t", 900)];
    let session = begin(&repository).await;
    store_tables(&session, &tables, 1).await.unwrap();
    session.abandon("interrupted").await;
    let beat = store.keys("sessions/").await.into_iter().find(|key| key.contains("/beat-")).unwrap();
    let open = repository::Frame::decode(&store.bytes(&beat).await, &beat).unwrap().open;
    let signed = store.bytes(&beat).await;
    store.replace(&beat, frame(6, &serde_json::from_slice(&open).unwrap())).await;
    let made = back_up(&repository, &tables, 1).await.unwrap();
    assert_eq!(made.header.totals.reused_chunks, 0);
    assert_holds(&repository, &made, &tables).await;
    store.delete(&format!("manifests/{}/{}", source(), made.header.backup)).await;
    store.replace(&beat, signed).await;
    assert!(back_up(&repository, &tables, 1).await.unwrap().header.totals.reused_chunks > 0);
}
