//! Reuse: what the last backup stored is not stored again, and damage to it never reaches the next one.

use crate::support::{Faulty, Table, assert_holds, back_up, begin, give, repository, table};
use repository::{Manifest, Repository};
use std::collections::HashSet;
use std::sync::Arc;

fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = (0..20).map(|n| table(&format!("small_{n:02}"), n)).collect();
    tables.extend([table("t", 1_000), table("u", 2_000)]);
    tables
}

async fn backed_up() -> (Arc<Faulty>, Repository, Vec<Table>, Manifest) {
    let (store, repository) = repository().await;
    let tables = tables();
    let manifest = back_up(&repository, &tables, 8).await.unwrap();
    (store, repository, tables, manifest)
}

#[tokio::test]
async fn the_second_backup_of_the_same_adds_nothing() {
    let (store, repository, tables, first) = backed_up().await;
    let before = (store.keys("chunks/").await, store.keys("lists/").await);
    let second = back_up(&repository, &tables, 8).await.unwrap();
    let totals = second.header.totals;
    assert_eq!((totals.added_bytes, totals.reused_chunks), (0, totals.chunks));
    assert_eq!((store.keys("chunks/").await, store.keys("lists/").await), before);
    assert_eq!(second.header.lists, first.header.lists);
    assert!(second.header.backup > first.header.backup);
    assert_holds(&repository, &second, &tables).await;
}

#[tokio::test]
async fn a_changed_row_adds_few_chunks() {
    let (_, repository, mut tables, first) = backed_up().await;
    tables.last_mut().unwrap().1[1_000] = b"changed".to_vec();
    let second = back_up(&repository, &tables, 8).await.unwrap();
    assert!(second.header.totals.chunks - second.header.totals.reused_chunks <= 4);
    assert_holds(&repository, &second, &tables).await;
    assert!(first.header.totals.chunks > 50, "the test needs many chunks");
}

#[tokio::test]
async fn two_thousand_tiny_tables_make_few_objects() {
    let (store, repository) = repository().await;
    let tables: Vec<Table> = (0..2_000).map(|n| table(&format!("t{n:04}"), n % 5)).collect();
    let manifest = back_up(&repository, &tables, 128).await.unwrap();
    let objects = store.keys("chunks/").await.len() + store.keys("lists/").await.len();
    assert!(objects <= 60, "{objects} objects");
    assert_holds(&repository, &manifest, &tables).await;
}

#[tokio::test]
async fn losing_the_hints_loses_no_reuse() {
    for damaged in [false, true] {
        let (store, repository, tables, _) = backed_up().await;
        let key = store.keys("hints/").await.remove(0);
        if damaged {
            store.damage(&key).await;
        } else {
            store.delete(&key).await;
        }
        let session = begin(&repository).await;
        assert!(session.boundaries().is_empty());
        session.abandon("interrupted").await;
        let second = back_up(&repository, &tables, 8).await.unwrap();
        assert_eq!(second.header.totals.added_bytes, 0);
        assert_holds(&repository, &second, &tables).await;
    }
}

#[tokio::test]
async fn a_damaged_manifest_does_not_keep_the_next_backup_from_being_made() {
    let (store, repository, tables, first) = backed_up().await;
    store.damage(&format!("manifests/app/{}", first.header.backup)).await;
    let second = back_up(&repository, &tables, 8).await.unwrap();
    assert!(second.header.backup > first.header.backup);
    assert_holds(&repository, &second, &tables).await;
}

#[tokio::test]
async fn a_list_that_is_damaged_or_gone_is_stored_again() {
    for gone in [false, true] {
        let (store, repository, tables, _) = backed_up().await;
        for key in store.keys("lists/").await {
            if gone {
                store.delete(&key).await;
            } else {
                store.damage(&key).await;
            }
        }
        let second = back_up(&repository, &tables, 8).await.unwrap();
        assert_holds(&repository, &second, &tables).await;
    }
}

#[tokio::test]
async fn a_list_of_empty_tables_only_is_not_reused_unseen() {
    // Its content does not depend on any chunk, so it is the same list again.
    let (store, repository) = repository().await;
    let tables = [table("t", 0), table("u", 0)];
    back_up(&repository, &tables, 1).await.unwrap();
    for key in store.keys("lists/").await {
        store.delete(&key).await;
    }
    let second = back_up(&repository, &tables, 1).await.unwrap();
    assert_holds(&repository, &second, &tables).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn equal_chunks_are_uploaded_once_however_many_workers_have_them() {
    let (store, repository) = repository().await;
    let session = begin(&repository).await;
    // Equal rows under different names: every worker cuts the same chunks.
    let rows = table("same", 2_000).1;
    let workers = (0..8).map(|n| {
        let (mut unit, table) = (session.unit(false), (format!("t{n}"), rows.clone()));
        tokio::spawn(async move {
            give(&mut unit, &table).await.unwrap();
            unit.finish().await.unwrap().remove(0).refs
        })
    });
    let mut refs = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        refs.push(worker.await.unwrap());
    }
    assert!(refs.iter().all(|other| *other == refs[0]) && refs[0].len() > 30);
    let ids: HashSet<_> = refs[0].iter().map(|chunk| chunk.id).collect();
    let puts = store.puts.lock().unwrap();
    let chunks: Vec<usize> = puts.iter().filter(|(key, _)| key.starts_with("chunks/")).map(|(_, n)| *n).collect();
    assert_eq!((chunks.len(), chunks.iter().sum::<usize>()), (ids.len(), ids.len()));
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_reorder_backups() {
    let (store, repository, tables, first) = backed_up().await;
    store.memory.set_clock(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000));
    let second = back_up(&repository, &tables, 8).await.unwrap();
    assert!(second.header.backup > first.header.backup);
    assert_eq!(second.header.totals.added_bytes, 0);
}
