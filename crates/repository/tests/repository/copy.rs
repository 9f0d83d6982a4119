//! Copies: what comes out of the second repository is what went into the first, whatever the keys of both.

use crate::support::{Fault, Faulty, SIZES, Table, assert_holds, assert_sound, back_up, source, table};
use repository::{Access, Copied, CopyOptions, Error, Identity, Manifest, Repository};
use std::sync::Arc;
use store::Store;

fn options() -> CopyOptions {
    CopyOptions { compression: 3, program: "copy".into(), replace: false }
}

async fn plain() -> (Arc<Faulty>, Repository) {
    crate::support::repository().await
}

async fn sealed() -> (Arc<Faulty>, Repository) {
    let (store, owner) = (Faulty::new(), Identity::generate());
    Repository::init(Arc::clone(&store) as Arc<dyn Store>, SIZES, &[owner.recipient()]).await.unwrap();
    let access = Access { identities: vec![owner], ..Access::default() };
    let repository = Repository::open_with(Arc::clone(&store) as Arc<dyn Store>, &access).await.unwrap();
    (store, repository)
}

async fn copy(from: &Repository, to: &Repository, backup: &Manifest) -> Result<Manifest, Error> {
    copy_with(from, to, backup, &options()).await
}

async fn copy_with(
    from: &Repository,
    to: &Repository,
    backup: &Manifest,
    options: &CopyOptions,
) -> Result<Manifest, Error> {
    let never = std::future::pending();
    match from.copy_backup(to, &source(), backup.header.backup, options, &|_| {}, never).await? {
        Copied::Made(manifest) => Ok(*manifest),
        other => panic!("{other:?}"),
    }
}

fn tables(version: u32) -> Vec<Table> {
    let mut changing = table("changing", 400);
    changing.1[usize::try_from(version).unwrap()] = b"changed".to_vec();
    let small = (0..40).map(|n| table(&format!("small{n:02}"), 3));
    [changing, table("same", 900)].into_iter().chain(small).collect()
}

#[tokio::test]
async fn copies_come_back_and_the_next_one_copies_what_is_new() {
    for (from_sealed, to_sealed) in [(false, false), (false, true), (true, false), (true, true)] {
        let (_store, from) = if from_sealed { sealed().await } else { plain().await };
        let (_store, to) = if to_sealed { sealed().await } else { plain().await };
        let mut made = Vec::new();
        for version in 0..3 {
            made.push(back_up(&from, &tables(version), 64).await.unwrap());
        }
        for (version, backup) in (0..3).zip(&made) {
            let copied = copy(&from, &to, backup).await.unwrap();
            assert_holds(&to, &copied, &tables(version)).await;
            let (header, original) = (&copied.header, &backup.header);
            assert_eq!(
                (header.backup, header.started, header.finished),
                (original.backup, original.started, original.finished)
            );
            assert_eq!((header.totals.rows, header.totals.bytes), (original.totals.rows, original.totals.bytes));
            assert_eq!(header.copied_from.as_ref(), Some(&from.config().id));
            assert_eq!(copied.about, backup.about);
            let fresh = header.totals.chunks - header.totals.reused_chunks;
            assert!(version == 0 || fresh <= 4, "{from_sealed} {to_sealed}: {:?}", header.totals);
        }
        let all: Vec<_> = made.iter().map(|manifest| (source(), manifest.header.backup)).collect();
        assert_sound(&to, &all).await;
        assert_eq!(from.missing_in(&to, None).await.unwrap(), []);
    }
}

/// Small tables share objects in the copy as they do in the original.
#[tokio::test]
async fn a_copy_takes_no_more_objects_than_its_original() {
    let ((from_store, from), (to_store, to)) = (plain().await, sealed().await);
    let backup = back_up(&from, &tables(0), 64).await.unwrap();
    copy(&from, &to, &backup).await.unwrap();
    let (here, there) = (from_store.keys("chunks/").await.len(), to_store.keys("chunks/").await.len());
    assert!(there <= here + 1, "{there} objects for {here}");
}

#[tokio::test]
async fn a_damaged_chunk_is_named_and_never_copied() {
    let ((store, from), (to_store, to)) = (plain().await, plain().await);
    let backup = back_up(&from, &[table("t", 600)], 1).await.unwrap();
    for key in store.keys("chunks/").await {
        let whole = store.bytes(&key).await;
        store.damage(&key).await;
        let refused = copy(&from, &to, &backup).await;
        assert!(matches!(&refused, Err(Error::Damaged { object, .. }) if *object == key), "{refused:?}");
        assert!(to_store.keys("manifests/").await.is_empty());
        store.replace(&key, whole).await;
    }
    let copied = copy(&from, &to, &backup).await.unwrap();
    assert_holds(&to, &copied, &[table("t", 600)]).await;
}

#[tokio::test]
async fn an_interrupted_copy_goes_on_where_it_stopped() {
    let ((_store, from), (to_store, to)) = (sealed().await, sealed().await);
    let backup = back_up(&from, &[table("t", 900)], 1).await.unwrap();
    to_store.set("manifests/", Fault::Refused);
    assert!(copy(&from, &to, &backup).await.is_err());
    assert!(to_store.keys("manifests/").await.is_empty());
    to_store.faults.lock().unwrap().clear();
    // The put of the manifest was not answered, so that session says nothing of its end; its journal is what counts.
    let copied = copy(&from, &to, &backup).await.unwrap();
    assert_holds(&to, &copied, &[table("t", 900)]).await;
}

/// Two copies of one backup at a time: one of them is it, the other one says so.
#[tokio::test]
async fn of_two_copies_at_once_one_commits() {
    let ((_store, from), (_to_store, to)) = (plain().await, sealed().await);
    let backup = back_up(&from, &tables(1), 64).await.unwrap();
    let (one, two) = tokio::join!(copy(&from, &to, &backup), copy(&from, &to, &backup));
    let (made, refused) = match one {
        Ok(made) => (made, two),
        refused => (two.unwrap(), refused),
    };
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_holds(&to, &made, &tables(1)).await;
}

/// Any object of a backup can be lost: what is whole stays where it is, the rest comes from the other repository.
#[tokio::test]
async fn a_damaged_backup_is_healed_from_its_copy_under_new_keys() {
    let ((store, main), (_other, offsite)) = (sealed().await, plain().await);
    let backup = back_up(&main, &tables(0), 64).await.unwrap();
    copy(&main, &offsite, &backup).await.unwrap();
    let options = CopyOptions { replace: true, ..options() };
    let name = (source(), backup.header.backup);
    for lost in ["chunks/", "lists/", "manifests/"] {
        // One of the chunks; of lists there may be some that nothing refers to any more.
        let most = if lost == "chunks/" { 1 } else { usize::MAX };
        for key in store.keys(lost).await.iter().take(most) {
            store.damage(key).await;
        }
        let mut found = main.verify(std::slice::from_ref(&name), repository::Share::ALL, &|_| {}).await.unwrap();
        assert_eq!(found.damaged, 1, "{lost}: {:?}", found.damage);
        main.condemn(&mut found).await.unwrap();
        let healed = copy_with(&offsite, &main, &backup, &options).await.unwrap();
        assert_sound(&main, std::slice::from_ref(&name)).await;
        assert_holds(&main, &healed, &tables(0)).await;
        let totals = healed.header.totals;
        if lost == "chunks/" {
            assert!(totals.reused_chunks > totals.chunks / 4, "{totals:?}");
        }
        assert_eq!(healed.header.started, backup.header.started);
    }
    // What cannot be read there replaces nothing here.
    let (broken_store, broken) = plain().await;
    copy(&offsite, &broken, &backup).await.unwrap();
    for key in broken_store.keys("chunks/").await {
        broken_store.damage(&key).await;
    }
    let manifest = store.bytes(&store.keys("manifests/").await[0]).await;
    let gone = store.keys("chunks/").await;
    store.delete(&gone[gone.len() - 1]).await;
    for key in &gone {
        store.delete(key).await;
    }
    let refused = copy_with(&broken, &main, &backup, &options).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    assert_eq!(store.bytes(&store.keys("manifests/").await[0]).await, manifest);
}
