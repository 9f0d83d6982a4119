//! Maintenance over a store in memory: damage, other maintenances, and leftovers.

use crate::support::{Faulty, back_up, repository, source, table};
use repository::retention::Policy;
use repository::{Error, PruneOptions, Repository};
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3_600);

fn options() -> PruneOptions {
    PruneOptions { grace: HOUR, undo: HOUR, silent: 24 * HOUR, least_percent: 50, holder: "test".into() }
}

async fn prune(repository: &Repository, last: u32) -> Result<repository::Pruned, Error> {
    let plan = repository.plan_retention(&Policy { last, ..Policy::default() }, None, 50).await?;
    repository.prune(&plan, &options()).await
}

/// A repository with three backups, each with a table of its own.
async fn three() -> (std::sync::Arc<Faulty>, Repository) {
    let (store, repository) = repository().await;
    store.memory.set_clock(SystemTime::now());
    for name in ["a", "b", "c"] {
        store.memory.advance_clock(HOUR);
        back_up(&repository, &[table("same", 100), table(name, 100)], 1).await.unwrap();
    }
    (store, repository)
}

/// What a damaged manifest needs is not known, so nothing is deleted until it was given up by name.
#[tokio::test]
async fn a_damaged_manifest_stops_the_sweep_until_it_is_removed_by_name() {
    let (store, repository) = three().await;
    let ids = repository.backup_ids(None).await.unwrap();
    let first = format!("manifests/{}/{}", ids[0].0, ids[0].1);
    store.damage(&first).await;
    let before = store.keys("").await;
    for _ in 0..3 {
        store.memory.advance_clock(48 * HOUR);
        let error = prune(&repository, 1).await.unwrap_err();
        assert!(matches!(&error, Error::Damaged { object, .. } if *object == first), "{error:?}");
    }
    assert_eq!(store.keys("").await, before, "something was removed beside a damaged manifest");

    repository.mark_removed(&source(), &[ids[0].1]).await.unwrap();
    for _ in 0..5 {
        store.memory.advance_clock(48 * HOUR);
        // The first run still meets it: a removal can be undone for an hour.
        let _result = prune(&repository, 1).await;
    }
    assert_eq!(repository.backup_ids(None).await.unwrap(), ids[2..]);
    let swept = prune(&repository, 1).await.unwrap().swept;
    assert_eq!((swept.unreferenced, swept.waiting), (0, 0), "{swept:?}");
}

#[tokio::test]
async fn a_damaged_list_stops_every_delete() {
    let (store, repository) = three().await;
    prune(&repository, 1).await.unwrap();
    store.memory.advance_clock(2 * HOUR);
    let list = store.keys("lists/").await.remove(0);
    store.damage(&list).await;
    let chunks = store.keys("chunks/").await;
    for _ in 0..4 {
        let result = prune(&repository, 1).await;
        store.memory.advance_clock(48 * HOUR);
        if result.is_ok() {
            // The backup with that list is gone, by a removal that was marked before.
            break;
        }
        assert_eq!(store.keys("chunks/").await, chunks);
    }
}

#[tokio::test]
async fn two_maintenances_do_not_run_at_once_and_a_dead_one_is_given_up() {
    let (store, repository) = three().await;
    store.set("/end", crate::support::Fault::Refused);
    prune(&repository, 3).await.unwrap();
    let busy = prune(&repository, 3).await.unwrap_err();
    assert!(matches!(&busy, Error::Busy { holder, .. } if holder == "test"), "{busy:?}");
    store.memory.advance_clock(Duration::from_secs(601));
    prune(&repository, 3).await.unwrap();
}

/// What killed writers leave goes when they have been silent for long enough; the backups stay.
#[tokio::test]
async fn leftovers_of_a_dead_writer_are_removed() {
    let (store, repository) = three().await;
    let needed = [store.keys("chunks/").await, store.keys("lists/").await].concat();
    let session = crate::support::begin(&repository).await;
    crate::support::store_tables(&session, &[table("lost", 200)], 1).await.unwrap();
    drop(session);
    assert!(store.keys("chunks/").await.len() + store.keys("lists/").await.len() > needed.len());
    for _ in 0..3 {
        store.memory.advance_clock(25 * HOUR);
        prune(&repository, 3).await.unwrap();
    }
    assert_eq!([store.keys("chunks/").await, store.keys("lists/").await].concat(), needed);
    assert_eq!(repository.backups(None).await.unwrap().len(), 3);
    assert!(store.keys("gc/").await.is_empty());
}

/// A mark or a verdict that cannot be read removes nothing, and stops nothing else.
#[tokio::test]
async fn damaged_notes_of_maintenance_keep_more_and_stop_nothing() {
    for part in ["removed", "verdict"] {
        let (store, repository) = three().await;
        let ids = repository.backup_ids(None).await.unwrap();
        repository.mark_removed(&source(), &[ids[0].1]).await.unwrap();
        if part == "verdict" {
            repository.undo_removals(None).await.unwrap();
        }
        repository.accept(&source(), ids[2].1).await.unwrap();
        let notes = [store.keys("gc/").await, store.keys("retention/").await].concat();
        for key in notes.iter().filter(|key| key.ends_with(part) || key.starts_with("retention/")) {
            store.damage(key).await;
        }
        for _ in 0..4 {
            store.memory.advance_clock(48 * HOUR);
            prune(&repository, 3).await.unwrap();
            assert!(repository.removals().await.unwrap().is_empty());
        }
        assert_eq!(repository.backup_ids(None).await.unwrap(), ids, "{part}");
    }
}
