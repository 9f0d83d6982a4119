//! G7: a chunk, list or manifest that is flipped, truncated or missing is found and named, and no database is left.

use crate::place::{Target, assert_failed, assert_nothing_made, backed_up};
use std::path::{Path, PathBuf};

/// What is done to an object.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Truncate,
    Remove,
}

fn damage(path: &Path, damage: Damage, seed: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    match damage {
        Damage::Flip => {
            let at = (seed * 7919) % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            std::fs::write(path, bytes).unwrap();
        }
        Damage::Truncate => {
            bytes.truncate((seed * 104_729) % bytes.len());
            std::fs::write(path, bytes).unwrap();
        }
        Damage::Remove => std::fs::remove_file(path).unwrap(),
    }
}

/// Every object of every kind, each damaged in each way once: restore fails with exit 65, names it, leaves no database.
#[tokio::test]
async fn a_restore_finds_and_names_every_damaged_object() {
    let (db, place) = backed_up().await;
    let target = Target::of(&db);
    let chunks = place.objects("chunks");
    assert!(chunks.len() > 8, "the test needs several chunks, there are {}", chunks.len());
    // The first, the last and some between: every chunk is read by the same code.
    let some_chunks = chunks.iter().step_by(chunks.len() / 4).chain(chunks.last());
    let (lists, manifests) = (place.objects("lists"), place.objects("manifests"));
    let objects: Vec<PathBuf> = some_chunks.chain(&lists).chain(&manifests).cloned().collect();
    for (seed, path) in objects.iter().enumerate() {
        let whole = std::fs::read(path).unwrap();
        for kind in [Damage::Flip, Damage::Truncate, Damage::Remove] {
            damage(path, kind, seed + 1);
            let outcome = place.restore(&target.url).run().await;
            let is_manifest = path.starts_with(place.path().join("manifests"));
            match kind {
                // Without its manifest a backup does not exist: that is what it means, and it is said.
                Damage::Remove if is_manifest => drop(assert_failed(outcome, 66, "no backup of app")),
                _ => {
                    let name = path.strip_prefix(place.path()).unwrap().display().to_string();
                    assert_failed(outcome, 65, &name);
                }
            }
            assert_nothing_made(&db, &target.name).await;
            std::fs::write(path, &whole).unwrap();
        }
    }
    place.restore(&target.url).run().await.success();
}

/// A damaged manifest is not a shorter list: `list` says so, by name.
#[tokio::test]
async fn a_damaged_manifest_fails_the_listing_by_name() {
    let (_db, place) = backed_up().await;
    let manifest = place.objects("manifests").remove(0);
    damage(&manifest, Damage::Flip, 3);
    let name = manifest.file_name().unwrap().to_string_lossy().into_owned();
    assert_failed(place.job(["list"]).run().await, 65, &name);
}

/// Somebody deletes or truncates chunks behind our back: the next backup notices, stores them again, and is whole.
#[tokio::test]
async fn a_chunk_that_vanished_is_stored_again_by_the_next_backup() {
    for kind in [Damage::Remove, Damage::Truncate] {
        let (db, place) = backed_up().await;
        for (seed, chunk) in place.objects("chunks").iter().enumerate().filter(|(n, _)| n % 3 == 0) {
            damage(chunk, kind, seed + 1);
        }
        let next = place.backup(&db.url()).run().await.success().json();
        assert!(next["added_bytes"].as_u64().unwrap() > 100_000, "{next}");
        let target = Target::of(&db);
        place.restore(&target.url).run().await.success();
    }
}

/// Damage in the last backup must not keep the next one from being made, nor get into it where it is noticed.
#[tokio::test]
async fn damage_in_the_last_backup_does_not_stop_the_next() {
    for folder in ["manifests", "lists", "hints"] {
        let (db, place) = backed_up().await;
        damage(&place.objects(folder)[0], Damage::Flip, 5);
        let next = place.backup(&db.url()).run().await.success().json();
        let target = Target::of(&db);
        let from = format!("app@{}", next["id"].as_str().unwrap());
        let job = place
            .job(["restore", "--prove", "content"])
            .env("LONGSHORE_TARGET", &target.url)
            .env("LONGSHORE_FROM", from);
        job.run().await.success();
    }
}

/// Verifying names every damaged object at once, each with the backups that it hurts, and the next backup heals them.
#[tokio::test]
async fn verifying_names_all_damage_and_whom_it_hurts_and_the_next_backup_is_whole() {
    let (db, place) = backed_up().await;
    db.exec("create table another (id int); insert into another values (1)").await;
    place.backup(&db.url()).run().await.success();
    let verify = || place.job(["verify", "--output", "json"]);
    let whole = verify().run().await.success().json();
    assert_eq!(
        (&whole["ok"], &whole["backups"], &whole["intact_backups"]),
        (&true.into(), &2.into(), &2.into()),
        "{whole}"
    );
    assert_eq!(whole["chunks"], whole["chunks_in_all"]);

    // The greatest chunks hold rows, which both backups refer to: each list leads to them, if the other one is damaged.
    let (mut chunks, lists) = (place.objects("chunks"), place.objects("lists"));
    chunks.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).unwrap().len()));
    let damaged = [
        (&chunks[0], Damage::Flip),
        (&chunks[1], Damage::Truncate),
        (&chunks[2], Damage::Remove),
        (&lists[0], Damage::Flip),
    ];
    for (seed, (path, kind)) in damaged.iter().enumerate() {
        damage(path, *kind, seed + 1);
    }
    let outcome = assert_failed(verify().run().await, 65, "4 objects are damaged or missing");
    let found = outcome.json();
    let names: Vec<&str> =
        found["damage"].as_array().unwrap().iter().map(|it| it["object"].as_str().unwrap()).collect();
    let mut meant: Vec<String> =
        damaged.iter().map(|(path, _)| path.strip_prefix(place.path()).unwrap().display().to_string()).collect();
    meant.sort();
    assert_eq!(names, meant);
    for entry in found["damage"].as_array().unwrap() {
        assert!(!entry["backups"].as_array().unwrap().is_empty(), "{entry}");
    }
    assert_eq!(found["condemned"], 3, "{found}");

    // A flipped chunk looks whole from outside: without the verification the next backup would have referred to it.
    place.backup(&db.url()).run().await.success();
    place.job(["verify", "app"]).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}

/// A share of the chunks is read, and said to be a share.
#[tokio::test]
async fn a_sample_reads_a_share_of_the_chunks_and_says_so() {
    let (_db, place) = backed_up().await;
    let sampled = place.job(["verify", "--sample", "20%", "--output", "json"]).run().await.success().json();
    assert!(sampled["chunks"].as_u64() < sampled["chunks_in_all"].as_u64(), "{sampled}");
    assert_eq!(sampled["sample_percent"], 20.0);
    assert_eq!(sampled["intact_backups"], serde_json::Value::Null, "what was not read is not known to be intact");
    // However small the share, something is read.
    let little = place.job(["verify", "--sample", "0.0001%", "--output", "json"]).run().await.success().json();
    assert_eq!(little["chunks"], 1);
    let text = place.job(["verify", "--sample", "1%"]).run().await.success().stdout;
    assert!(text.contains(" of ") && text.contains("nothing of what was read is damaged"), "{text}");
    assert_failed(place.job(["verify", "--sample", "0"]).run().await, 64, "more than 0%");
    assert_failed(place.job(["verify", "nobody"]).run().await, 66, "no backup of nobody");
}
