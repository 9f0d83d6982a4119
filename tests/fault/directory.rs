//! A directory repository on a disk that is full or goes away.

use crate::place::{LARGE, Place, assert_failed, files};
use std::process::Command;
use testkit::servers::postgres;

/// A small file system of its own; `None` where this machine does not let us mount one.
pub struct SmallDisk(pub std::path::PathBuf);

impl SmallDisk {
    pub fn mount(place: &Place, megabytes: u32) -> Option<Self> {
        let path = place.folder.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        testkit::skipped("a full disk is tested on a tmpfs of its own, which only root can mount");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_full_disk_is_exit_69_without_a_manifest_and_space_cures_it() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let mut place = Place::not_yet();
    let Some(disk) = SmallDisk::mount(&place, 2) else { return };
    place.repo = format!("file://{}", disk.0.join("repo").display());
    place.job(["init"]).run().await.success();
    assert_failed(place.backup(&db.url()).run().await, 69, "no space left");
    place.assert_no_manifest();
    assert!(files(&place.path().join("tmp")).is_empty(), "no half-written file is left");
    let grown = Command::new("mount").args(["-o", "remount,size=200m"]).arg(&disk.0).status().unwrap();
    assert!(grown.success());
    place.backup(&db.url()).run().await.success();
    assert_eq!(place.listed().await.len(), 1);
}

#[tokio::test]
async fn a_repository_that_is_gone_is_an_error_not_a_new_one() {
    let db = postgres(15).await.create_database().await;
    let place = Place::new().await;
    std::fs::rename(place.path(), place.folder.path().join("elsewhere")).unwrap();
    assert_failed(place.backup(&db.url()).run().await, 78, "there is no file://");
    assert!(!place.path().exists());
}
