//! Removals and pins when somebody sleeps between two calls: a maintenance past its lease, or an operator.
//!
//! Each story is told call by call, and ends with what was promised: what is pinned, or said to be taken back, is there.

use crate::support::{Faulty, back_up, repository, source, table};
use repository::retention::Policy;
use repository::{BackupId, Error, PruneOptions, Pruned, Repository};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3_600);
/// A lease is lost after ten minutes of silence.
const LOST: Duration = Duration::from_secs(601);

async fn prune(repository: &Repository) -> Result<Pruned, Error> {
    let plan = repository.plan_retention(&Policy { last: 9, ..Policy::default() }, None, 50).await?;
    let options = PruneOptions { grace: HOUR, undo: HOUR, silent: 24 * HOUR, least_percent: 50, holder: "test".into() };
    repository.prune(&plan, &options).await
}

/// A repository with three backups, the first two of which are marked by one removal whose time has come.
async fn marked() -> (Arc<Faulty>, Repository, Vec<BackupId>) {
    let (store, repository) = repository().await;
    store.memory.set_clock(SystemTime::now());
    for name in ["a", "b", "c"] {
        store.memory.advance_clock(HOUR);
        back_up(&repository, &[table("same", 100), table(name, 100)], 1).await.unwrap();
    }
    let ids = ids(&repository).await;
    repository.mark_removed(&source(), &ids[..2]).await.unwrap();
    store.memory.advance_clock(2 * HOUR);
    (store, repository, ids)
}

async fn ids(repository: &Repository) -> Vec<BackupId> {
    repository.backup_ids(None).await.unwrap().into_iter().map(|(_, id)| id).collect()
}

fn beside(repository: &Repository) -> JoinHandle<Result<Pruned, Error>> {
    let repository = repository.clone();
    tokio::spawn(async move { prune(&repository).await })
}

#[tokio::test]
async fn a_maintenance_that_slept_removes_nothing_that_was_taken_back() {
    let (store, repository, ids_before) = marked().await;
    let wake = store.sleep_before("/verdict");
    let sleeper = beside(&repository);
    store.until_asleep().await;
    assert_eq!(repository.undo_removals(None).await.unwrap().len(), 1);
    // Others tidy up what was taken back.
    for _ in 0..2 {
        store.memory.advance_clock(LOST);
        prune(&repository).await.unwrap();
    }
    wake.send(()).unwrap();
    let _lost = sleeper.await.unwrap();
    assert_eq!(ids(&repository).await, ids_before);
}

#[tokio::test]
async fn an_operator_who_slept_is_not_told_that_what_is_gone_was_taken_back() {
    let (store, repository, ids_before) = marked().await;
    let wake = store.sleep_before("/verdict");
    let operator = tokio::spawn({
        let repository = repository.clone();
        async move { repository.undo_removals(None).await }
    });
    store.until_asleep().await;
    assert_eq!(prune(&repository).await.unwrap().gone.len(), 2);
    wake.send(()).unwrap();
    assert_eq!(operator.await.unwrap().unwrap(), []);
    assert_eq!(ids(&repository).await, ids_before[2..]);
}

#[tokio::test]
async fn no_pin_is_told_to_hold_while_somebody_may_still_delete_the_backup() {
    let (store, repository, ids_before) = marked().await;
    let wake = store.sleep_before("manifests/");
    let sleeper = beside(&repository);
    store.until_asleep().await;
    for _ in 0..3 {
        // It is too late, and it stays too late, also when another maintenance has met the pin.
        let error = repository.pin(&source(), ids_before[0]).await.unwrap_err();
        assert!(error.to_string().contains("is being removed"), "{error}");
        store.memory.advance_clock(LOST);
        prune(&repository).await.unwrap();
    }
    wake.send(()).unwrap();
    let _lost = sleeper.await.unwrap();
    assert_eq!(ids(&repository).await, ids_before[2..]);
    let error = repository.pin(&source(), ids_before[0]).await.unwrap_err();
    assert!(error.to_string().contains("has been removed"), "{error}");
    // And nothing waits for ever for what is gone.
    store.memory.advance_clock(LOST);
    prune(&repository).await.unwrap();
    assert_eq!(store.keys("gc/").await.iter().filter(|key| key.ends_with("/removed")).count(), 0);
}

#[tokio::test]
async fn what_is_pinned_after_it_was_marked_stays_and_is_retentions_again() {
    let (store, repository, ids_before) = marked().await;
    repository.pin(&source(), ids_before[0]).await.unwrap();
    let gone: Vec<BackupId> = prune(&repository).await.unwrap().gone.into_iter().map(|(_, id)| id).collect();
    assert_eq!(gone, [ids_before[1]]);
    // Nothing is left of the mark: without the pin it is one of those that the rules keep.
    repository.pin(&source(), ids_before[0]).await.unwrap();
    repository.unpin(&source(), ids_before[0]).await.unwrap();
    for _ in 0..3 {
        store.memory.advance_clock(48 * HOUR);
        assert_eq!(prune(&repository).await.unwrap().gone, []);
    }
    assert_eq!(ids(&repository).await, [ids_before[0], ids_before[2]]);
}

/// A verdict outlives its mark, but not for ever.
#[tokio::test]
async fn a_verdict_stays_for_a_year_after_its_mark() {
    let (store, repository, _) = marked().await;
    let verdicts = async || store.keys("gc/").await.iter().filter(|key| key.ends_with("/verdict")).count();
    prune(&repository).await.unwrap();
    store.memory.advance_clock(364 * 24 * HOUR);
    prune(&repository).await.unwrap();
    assert_eq!(verdicts().await, 1);
    store.memory.advance_clock(2 * 24 * HOUR);
    prune(&repository).await.unwrap();
    assert_eq!(verdicts().await, 0);
}
