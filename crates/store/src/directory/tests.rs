//! Tests of what only a directory does: modes, leftovers, names that no key has, a root that goes away.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::*;
use crate::conformance;

async fn put(store: &Directory, name: &str, body: &'static [u8]) -> Result<(), Error> {
    store.create(&Key::parse(name).unwrap(), Bytes::from_static(body), &Sha256::digest(body).into()).await
}

fn names(page: Page) -> Vec<String> {
    page.entries.into_iter().map(|entry| entry.key.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    let scratch = tempfile::tempdir().unwrap();
    let made = AtomicUsize::new(0);
    conformance::suite(async || {
        let root = scratch.path().join(made.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&root).unwrap();
        Arc::new(Directory::new(&root)) as Arc<dyn crate::Store>
    })
    .await;
}

#[tokio::test]
async fn only_the_owner_reads_and_nothing_temporary_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repo");
    let store = Directory::new(&root);
    put(&store, "a/b/c", b"x").await.unwrap();
    put(&store, "a/b/c", b"y").await.unwrap_err();
    store.now().await.unwrap();
    for (path, mode) in [("", 0o700), ("a", 0o700), ("a/b", 0o700), ("tmp", 0o700), ("a/b/c", 0o600)] {
        assert_eq!(fs::metadata(root.join(path)).unwrap().mode() & 0o777, mode, "{path}");
    }
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::metadata(root.join("a/b/c")).unwrap().nlink(), 1);
}

#[tokio::test]
async fn what_no_key_names_is_not_listed_or_read() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    let store = Directory::new(root);
    put(&store, "a/real", b"x").await.unwrap();
    fs::create_dir_all(root.join("lost+found")).unwrap();
    fs::write(root.join("tmp/leftover"), b"half").unwrap();
    fs::write(root.join("with space"), b"").unwrap();
    fs::create_dir_all(root.join("a/empty/empty")).unwrap();
    symlink(root.join("a/real"), root.join("a/link")).unwrap();
    assert_eq!(names(store.list(&Prefix::all(), None).await.unwrap()), ["a/real"]);
    let link = store.get(&Key::parse("a/link").unwrap()).await;
    assert!(matches!(link, Err(Error::NotFound { .. })), "{link:?}");
}

#[tokio::test]
async fn leftovers_go_when_they_are_old() {
    let scratch = tempfile::tempdir().unwrap();
    let tmp = scratch.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    let old = File::create(tmp.join("old")).unwrap();
    old.set_modified(SystemTime::now() - STALE_AFTER - Duration::from_secs(3600)).unwrap();
    File::create(tmp.join("new")).unwrap();
    put(&Directory::new(scratch.path()), "k", b"x").await.unwrap();
    let left: Vec<_> = fs::read_dir(&tmp).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["new"]);
}

#[tokio::test]
async fn a_directory_that_went_away_is_not_made_again() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("disk");
    let key = Key::parse("a/k").unwrap();
    let store = Directory::new(&root);
    assert!(matches!(store.get(&key).await, Err(Error::NoPlace { .. })));
    assert!(matches!(store.list(&Prefix::all(), None).await, Err(Error::NoPlace { .. })));
    put(&store, "a/k", b"x").await.unwrap();
    fs::rename(&root, scratch.path().join("elsewhere")).unwrap();
    assert!(matches!(put(&store, "a/l", b"x").await, Err(Error::NoPlace { .. })));
    assert!(matches!(store.get(&key).await, Err(Error::NoPlace { .. })));
    assert!(matches!(store.delete(&key).await, Err(Error::NoPlace { .. })));
    assert!(!root.exists());
    let nowhere = Directory::new(&scratch.path().join("no/such"));
    assert!(matches!(put(&nowhere, "k", b"x").await, Err(Error::NoPlace { .. })));
}

#[tokio::test]
async fn keys_that_nest_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Directory::new(scratch.path());
    put(&store, "a/b", b"x").await.unwrap();
    for name in ["a", "a/b/c"] {
        let refused = put(&store, name, b"x").await;
        assert!(matches!(refused, Err(Error::Config { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_parent_deleted_and_made_again_is_used() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Directory::new(scratch.path());
    for _ in 0..3 {
        put(&store, "x/y/z", b"x").await.unwrap();
        store.delete(&Key::parse("x/y/z").unwrap()).await.unwrap();
        assert!(!scratch.path().join("x").exists(), "empty parents stay");
    }
}

#[test]
fn a_full_disk_and_a_full_quota_are_told_apart_from_trouble() {
    let inner = Directory::new(Path::new("/nowhere")).inner;
    let sort = |errno: Errno| inner.failed_on("create", &Key::parse("k").unwrap(), errno.into());
    assert!(matches!(sort(Errno::NOSPC), Error::Full { .. }));
    assert!(matches!(sort(Errno::DQUOT), Error::Full { .. }));
    assert!(matches!(sort(Errno::ACCESS), Error::Denied { .. }));
    assert!(matches!(sort(Errno::ROFS), Error::Denied { .. }));
    assert!(matches!(sort(Errno::IO), Error::Unavailable { .. }));
    assert!(matches!(sort(Errno::STALE), Error::Unavailable { .. }));
}

#[test]
fn linking_replaces_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::write(&from, b"new").unwrap();
    assert!(matches!(link(&from, &to).unwrap(), Placed::Done));
    assert!(!from.exists());
    fs::write(&from, b"newer").unwrap();
    assert!(matches!(link(&from, &to).unwrap(), Placed::SomethingThere));
    assert_eq!(fs::read(&to).unwrap(), b"new");
}

#[tokio::test]
async fn a_read_only_directory_is_denied() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root ignores modes");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(matches!(put(&Directory::new(scratch.path()), "k", b"x").await, Err(Error::Denied { .. })));
}

/// What `doctor` looks at: nothing is made where nothing is, and nothing but a probe's object is ever replaced.
#[tokio::test]
async fn an_examination_tries_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repo");
    assert!(matches!(crate::examine(&Directory::new(&root)).await, Err(Error::NoPlace { .. })));
    assert!(!root.exists());
    fs::create_dir(&root).unwrap();
    let store = Directory::new(&root);
    let found = crate::examine(&store).await.unwrap();
    assert!(matches!(found.replace, Some(crate::Tried::Can)), "{:?}", found.replace);
    assert!(matches!(found.delete, crate::Tried::Can) && found.left.is_none() && found.absent.is_ok());
    assert!(names(store.list(&crate::Prefix::all(), None).await.unwrap()).is_empty());
    put(&store, "chunks/a", b"x").await.unwrap();
    let theirs = Key::parse("chunks/a").unwrap();
    assert!(matches!(store.replace_probe(&theirs, Bytes::from_static(b"y")).await, Err(Error::Config { .. })));
    assert_eq!(store.get(&theirs).await.unwrap(), "x");
}
