//! Tests of locked files: the suite, and what others do to the file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use super::*;
use crate::conformance::{Harness, Later, suite};
use crate::{Held, Lease, RunId};

struct Directory(PathBuf);

impl Harness for Directory {
    fn backend(&self) -> Later<'_, Arc<dyn Backend>> {
        Box::pin(async { Arc::new(Files::new(&self.0)) as Arc<dyn Backend> })
    }
    fn terms(&self) -> Terms {
        Terms::default()
    }
    fn expire(&self) -> Later<'_, ()> {
        Box::pin(async {})
    }
    fn grants_again(&self) -> bool {
        false
    }
}

fn claim() -> Claim {
    Claim::new(Job::parse("fragments").unwrap(), RunId::generate()).named("test")
}

fn lease(directory: &Path) -> Lease {
    Lease::new(Arc::new(Files::new(directory)), Terms::default())
}

async fn acquire(directory: &Path) -> Held {
    lease(directory).acquire(&claim()).await.unwrap()
}

#[tokio::test]
async fn passes_the_suite() {
    let scratch = tempfile::tempdir().unwrap();
    suite(&Directory(scratch.path().to_owned())).await;
}

#[tokio::test]
async fn a_lock_that_was_dropped_or_released_is_free_and_the_file_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let first = acquire(scratch.path()).await;
    assert_eq!((first.epoch(), first.deadline()), (Epoch(1), None));
    let error = lease(scratch.path()).acquire(&claim()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Busy(busy) if busy.holder.as_ref().map(|holder| holder.run) == Some(first.run())),
        "{error}"
    );
    first.release().await.unwrap();
    let file = scratch.path().join("fragments.lease");
    assert!(file.exists());
    assert_eq!(acquire(scratch.path()).await.epoch(), Epoch(2));
}

#[tokio::test]
async fn a_file_that_is_removed_is_a_lease_that_is_lost() {
    let scratch = tempfile::tempdir().unwrap();
    let files = Files::new(scratch.path());
    let Answer::Granted(mut first) = Backend::acquire(&files, &claim(), Terms::default()).await.unwrap() else {
        panic!("busy")
    };
    first.renew().await.unwrap();
    std::fs::remove_file(scratch.path().join("fragments.lease")).unwrap();
    let second = acquire(scratch.path()).await;
    assert!(matches!(first.renew().await, Err(Refusal::Lost(_))));
    second.assert_held().unwrap();
}

#[tokio::test]
async fn an_epoch_survives_a_record_that_is_half_written() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("fragments.lease");
    for expected in 1..=6 {
        let held = acquire(scratch.path()).await;
        assert_eq!(held.epoch(), Epoch(expected), "the record before it counts");
        held.release().await.unwrap();
        // As if the machine had stopped while the next run wrote its record, in place of the older one.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let at = if (expected + 1).is_multiple_of(2) { 0 } else { RECORD_BYTES as u64 };
        file.write_all_at(br#"{"epoch":99,"holder":{"run"#, at).unwrap();
    }
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(RECORD_BYTES as u64 / 2).unwrap();
    acquire(scratch.path()).await.release().await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_way_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    let error = lease(&scratch.path().join("absent")).acquire(&claim()).await.unwrap_err();
    assert!(matches!(&error, Error::Config { what, .. } if what.contains("absent")), "{error}");
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(lease(&file).acquire(&claim()).await, Err(Error::Config { .. })));
    // A link in the file's place is not followed: it may lead to a file that others do not lock.
    std::os::unix::fs::symlink(&file, scratch.path().join("fragments.lease")).unwrap();
    assert!(lease(scratch.path()).acquire(&claim()).await.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"", "what the link names was written to");
}
