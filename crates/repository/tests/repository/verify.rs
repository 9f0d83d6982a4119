//! Verification over a store in memory.

use crate::support::{assert_holds, back_up, repository, source, table};
use repository::Share;

/// More damage than is named one by one is condemned all the same: the next backup refers to none of it.
#[tokio::test]
async fn all_damaged_chunks_are_condemned_however_many() {
    let (store, repository) = repository().await;
    let tables = [table("t", 45_000)];
    let first = back_up(&repository, &tables, 1).await.unwrap();
    let chunks = store.keys("chunks/").await;
    assert!(chunks.len() > 1_100, "{} chunks", chunks.len());
    for key in &chunks {
        store.damage(key).await;
    }
    let backups = [(source(), first.header.backup)];
    let mut verified = repository.verify(&backups, Share::ALL, &|_| {}).await.unwrap();
    assert_eq!(verified.damaged, chunks.len() as u64);
    assert_eq!(verified.damage.len(), 1_000);
    repository.condemn(&mut verified).await.unwrap();
    assert_eq!(verified.condemned, chunks.len() as u64);
    let second = back_up(&repository, &tables, 1).await.unwrap();
    assert_eq!(second.header.totals.reused_chunks, 0);
    assert_holds(&repository, &second, &tables).await;
}
