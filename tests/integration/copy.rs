//! The second copy: what it holds comes back, and what is damaged never gets there.

use crate::place::{LARGE, Place, Target, assert_failed, backed_up, damage, until};
use serde_json::Value;
use testkit::servers::{minio, postgres};
use testkit::{Job, Signal};

fn copy(from: &Place, to: &Place) -> Job {
    from.job(["copy", "--output", "json"]).env("LONGSHORE_TO", &to.repo).sees(to.folder.path())
}

fn ids(listed: &[Value]) -> Vec<&str> {
    listed.iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_copy_in_a_bucket_comes_back_when_the_first_repository_is_gone() {
    let (db, place) = backed_up().await;
    let server = minio().await;
    let offsite = Place::at(server.bucket().await).await;
    let first = copy(&place, &offsite).run().await.success().json();
    assert_eq!(
        (first["copied"][0]["reused_chunks"].clone(), first["left_out"].clone()),
        (0.into(), Value::Array(vec![]))
    );
    db.exec("update small set name = 'changed' where id = 7").await;
    place.backup(&db.url()).run().await.success();
    let second = copy(&place, &offsite).run().await.success().json();
    let copied = &second["copied"][0];
    let fresh = copied["chunks"].as_u64().unwrap() - copied["reused_chunks"].as_u64().unwrap();
    assert!(second["copied"].as_array().unwrap().len() == 1 && fresh <= 4, "{second}");
    let nothing = place.job(["copy"]).env("LONGSHORE_TO", &offsite.repo).run().await.success().stdout;
    assert!(nothing.contains("nothing to copy"), "{nothing}");
    assert_eq!(ids(&place.listed().await), ids(&offsite.listed().await));
    std::fs::remove_dir_all(place.path()).unwrap();
    offsite.job(["verify"]).run().await.success();
    let target = Target::of(&db);
    offsite.restore(&target.url).run().await.success();
}

/// Sealed for other recipients: the first repository's keys open nothing of the second.
/// What retention has removed over there is not brought back the next night.
#[tokio::test]
async fn a_copy_can_leave_older_backups_alone() {
    let (db, place) = backed_up().await;
    let offsite = Place::new().await;
    let first = place.listed().await[0]["id"].as_str().unwrap().parse::<repository::BackupId>().unwrap();
    until("the first backup to be two seconds old", async || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_millis() > u128::from(first.milliseconds()) + 2_000
    })
    .await;
    copy(&place, &offsite).env("LONGSHORE_SINCE", "1s").run().await.success();
    assert!(offsite.listed().await.is_empty());
    place.backup(&db.url()).run().await.success();
    copy(&place, &offsite).env("LONGSHORE_SINCE", "1h").run().await.success();
    assert_eq!(ids(&offsite.listed().await), ids(&place.listed().await));
}

#[tokio::test]
async fn a_copy_is_sealed_for_its_own_recipients() {
    let (db, place) = backed_up().await;
    let offsite = Place::not_yet();
    let file = |name: &str| offsite.folder.path().join(name).to_str().unwrap().to_owned();
    let made = offsite.job(["keys", "new-identity", "--out", &file("owner")]).run().await.success();
    let init = ["init", "--recipient", made.stdout.trim(), "--writer-key-out", &file("writer")];
    offsite.job(init).run().await.success();
    assert_failed(copy(&place, &offsite).run().await, 78, "neither a writer's key nor an identity was given");
    offsite.assert_no_manifest();
    copy(&place, &offsite).env("LONGSHORE_TO_WRITER_KEY_FILE", file("writer")).run().await.success();
    let target = Target::of(&db);
    assert_failed(offsite.restore(&target.url).run().await, 78, "no identity was given");
    offsite.restore(&target.url).env("LONGSHORE_IDENTITY_FILE", file("owner")).run().await.success();
    // Back into the open only when that is asked for.
    let open = Place::new().await;
    let back = || copy(&offsite, &open).env("LONGSHORE_IDENTITY_FILE", file("owner"));
    assert_failed(back().run().await, 77, "would be legible");
    open.assert_no_manifest();
    back().env("LONGSHORE_DECRYPT", "true").run().await.success();
    assert_eq!(open.listed().await.len(), 1);
    assert_failed(copy(&place, &place).run().await, 77, "are the same repository");
}

#[tokio::test]
async fn a_damaged_backup_is_named_and_left_out_and_the_others_are_copied() {
    let (db, place) = backed_up().await;
    let before = place.objects("chunks");
    db.exec("update large set body = body || '!' where id > 90000").await;
    place.backup(&db.url()).run().await.success();
    let new = place.objects("chunks").into_iter().find(|path| !before.contains(path)).unwrap();
    damage(&new);
    let offsite = Place::new().await;
    let copied = copy(&place, &offsite).run().await.expect_code(65);
    assert!(copied.stderr.contains(new.file_name().unwrap().to_str().unwrap()), "{}", copied.report());
    let (there, here) = (offsite.listed().await, place.listed().await);
    assert_eq!(ids(&there), ids(&here)[..1]);
    offsite.job(["verify"]).run().await.success();
}

#[tokio::test]
async fn a_copy_that_was_stopped_or_killed_goes_on_and_shows_nothing_half_made() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let offsite = Place::new().await;
    for signal in [Signal::Terminate, Signal::Kill] {
        let running = copy(&place, &offsite).spawn();
        let stored = offsite.objects("chunks").len();
        until("chunks", async || offsite.objects("chunks").len() > stored || !running.is_running()).await;
        running.signal(signal);
        let outcome = running.wait().await;
        if outcome.code == Some(0) {
            // It was done before the signal came.
            assert_eq!(offsite.listed().await.len(), 1);
            continue;
        }
        offsite.assert_no_manifest();
        if signal == Signal::Terminate {
            outcome.expect_code(74);
        }
    }
    copy(&place, &offsite).run().await.success();
    assert_eq!(offsite.listed().await.len(), 1);
    offsite.job(["verify"]).run().await.success();
    let target = Target::of(&db);
    offsite.restore(&target.url).run().await.success();
}

/// Objects of every kind, damaged or gone: what the second copy has brings each of them back, under new keys.
#[tokio::test]
async fn a_damaged_repository_is_healed_from_its_second_copy() {
    let (db, place) = backed_up().await;
    let offsite = Place::new().await;
    copy(&place, &offsite).run().await.success();
    let repair =
        || place.job(["verify", "--repair-from", &offsite.repo, "--output", "json"]).sees(offsite.folder.path());
    for folder in ["chunks", "lists", "manifests"] {
        // Of lists there may be one that nothing refers to any more.
        let most = if folder == "lists" { usize::MAX } else { 1 };
        let damaged: Vec<_> = place.objects(folder).into_iter().take(most).collect();
        for path in &damaged {
            damage(path);
        }
        let before: Vec<_> = damaged.iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert_failed(place.job(["verify"]).run().await, 65, "damaged");
        let healed = repair().run().await.success().json();
        assert_eq!(healed["repaired"].as_array().unwrap().len(), 1, "{healed}");
        assert_eq!((&healed["ok"], &healed["hurt_backups"]), (&true.into(), &1.into()), "{healed}");
        if folder != "manifests" {
            let after: Vec<_> = damaged.iter().map(|path| std::fs::read(path).unwrap()).collect();
            assert!(before == after, "an object was changed in place");
            damaged.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        }
        place.job(["verify"]).run().await.success();
    }
    assert!(place.listed().await[0]["verified"].is_string());
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    // Damaged in both places: nothing is replaced, and it is said.
    for repo in [&place, &offsite] {
        for path in repo.objects("chunks") {
            std::fs::write(path, b"rubbish").unwrap();
        }
    }
    let manifest = std::fs::read(&place.objects("manifests")[0]).unwrap();
    let refused = repair().run().await.expect_code(65);
    assert!(refused.stdout.contains("cannot be repaired from"), "{}", refused.report());
    assert_eq!(std::fs::read(&place.objects("manifests")[0]).unwrap(), manifest);
}
