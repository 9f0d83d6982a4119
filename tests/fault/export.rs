//! An export that fails or is stopped leaves nothing: no folder of its name, no part of one, and nothing changed that was there.

use crate::fault::directory::SmallDisk;
use crate::integration::export::{assert_whole, export};
use crate::place::{LARGE, Place, assert_failed};
use std::path::{Path, PathBuf};
use testkit::Signal;
use testkit::servers::postgres;

async fn backed_up() -> Place {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    place
}

/// What is in a folder, sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// A folder to export into, empty.
fn shelf(place: &Place) -> PathBuf {
    let shelf = place.folder.path().join("shelf");
    std::fs::create_dir(&shelf).unwrap();
    shelf
}

/// G7: every chunk is read and checked; one that is flipped, cut or missing is named, and there is no folder.
#[tokio::test]
async fn damaged_chunks_fail_an_export_by_name_and_leave_nothing() {
    let place = backed_up().await;
    let shelf = shelf(&place);
    for kind in ["chunks", "lists"] {
        for (number, path) in place.objects(kind).iter().enumerate() {
            let whole = std::fs::read(path).unwrap();
            let mut damaged = whole.clone();
            match number % 3 {
                0 => damaged[whole.len() / 2] ^= 4,
                1 => damaged.truncate(whole.len() / 2),
                _ => {}
            }
            std::fs::write(path, damaged).unwrap();
            if number % 3 == 2 {
                std::fs::remove_file(path).unwrap();
            }
            let name = path.strip_prefix(place.path()).unwrap().display().to_string();
            assert_failed(export(&place, &shelf.join("out")).run().await, 65, &name);
            assert_eq!(entries(&shelf), Vec::<PathBuf>::new(), "after {name}");
            std::fs::write(path, &whole).unwrap();
        }
    }
    export(&place, &shelf.join("out")).run().await.success();
    assert_whole(&shelf.join("out"));
}

#[tokio::test]
async fn what_is_there_is_refused_and_untouched_and_an_empty_folder_is_used() {
    let place = backed_up().await;
    let shelf = shelf(&place);
    let (full, file, empty) = (shelf.join("full"), shelf.join("file"), shelf.join("empty"));
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("mine"), "mine").unwrap();
    std::fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink(&full, shelf.join("link")).unwrap();
    let before = entries(&shelf);
    for there in [&full, &file, &shelf.join("link")] {
        let outcome = assert_failed(export(&place, there).run().await, 73, "is there already");
        assert_eq!(entries(&shelf), before, "{}", outcome.report());
    }
    assert_eq!(std::fs::read_to_string(full.join("mine")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    std::fs::create_dir(&empty).unwrap();
    export(&place, &empty).run().await.success();
    assert_whole(&empty);
    assert_failed(export(&place, &empty).run().await, 73, "is there already");
    assert_whole(&empty);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_a_clear_error_and_nothing_is_left() {
    let place = backed_up().await;
    let missing = place.folder.path().join("nowhere").join("out");
    assert_failed(export(&place, &missing).run().await, 78, "No such file or directory");
    assert!(!place.folder.path().join("nowhere").exists());
    let shelf = shelf(&place);
    let job = place.job(["export"]).env("LONGSHORE_FROM", "nobody");
    assert_failed(
        job.env("LONGSHORE_TO", shelf.join("out").display().to_string()).run().await,
        66,
        "no backup of nobody",
    );
    assert_failed(
        export(&place, &shelf.join("out")).env("LONGSHORE_TOOLS", "/nonexistent").run().await,
        78,
        "pg_restore",
    );
    assert_eq!(entries(&shelf), Vec::<PathBuf>::new());
    let Some(disk) = SmallDisk::mount(&place, 8) else { return };
    assert_failed(export(&place, &disk.0.join("out")).run().await, 69, "No space left");
    assert_eq!(entries(&disk.0), Vec::<PathBuf>::new());
    assert_failed(export(&place, &disk.0).run().await, 78, "is mounted");
    assert_eq!(entries(&disk.0), Vec::<PathBuf>::new());
}

/// G12: a signal leaves nothing; when it comes too late, the export is whole.
#[tokio::test]
async fn a_signal_midway_leaves_no_folder() {
    let place = backed_up().await;
    let shelf = shelf(&place);
    let mut interrupted = 0;
    for (signal, at) in [
        (Signal::Interrupt, "open the repository"),
        (Signal::Terminate, "write the schema"),
        (Signal::Terminate, "write rows"),
        (Signal::Interrupt, "write rows"),
    ] {
        let out = shelf.join("out");
        let outcome = export(&place, &out).env("LONGSHORE_WORKERS", "1").run_and_signal(at, signal).await;
        if outcome.code == Some(0) {
            assert_whole(&out);
            std::fs::remove_dir_all(&out).unwrap();
            continue;
        }
        assert_failed(outcome, 74, "interrupted");
        assert_eq!(entries(&shelf), Vec::<PathBuf>::new(), "{at}");
        interrupted += 1;
    }
    assert!(interrupted > 0, "no signal came in time");
}

/// After `kill -9` there is no folder of that name either, and the next export is not hindered by what is left.
#[tokio::test]
async fn a_killed_export_shows_no_folder_and_the_next_one_works() {
    let place = backed_up().await;
    let shelf = shelf(&place);
    let out = shelf.join("out");
    for at in ["open the repository", "write the schema", "write rows"] {
        export(&place, &out).run_and_signal(at, Signal::Kill).await;
        if out.exists() {
            assert_whole(&out);
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
    export(&place, &out).run().await.success();
    assert_whole(&out);
}
