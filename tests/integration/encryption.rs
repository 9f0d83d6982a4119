//! Encrypted repositories, by the commands: who can do what with which file.

use crate::place::{LARGE, Place, Target, assert_failed, assert_nothing_made, damage, files};
use std::path::PathBuf;
use testkit::servers::{TestDatabase, postgres};
use testkit::{Job, sql};

/// An encrypted repository with one backup, and the files of everybody concerned.
struct Safe {
    db: TestDatabase,
    place: Place,
}

impl Safe {
    /// `owner` and `spare` can read, `job` can write.
    async fn new() -> Self {
        let safe = Self { db: postgres(15).await.create_database().await, place: Place::not_yet() };
        safe.db.exec(LARGE).await;
        let (owner, spare) = (safe.identity("owner").await, safe.identity("spare").await);
        let out = safe.file("job");
        let init = ["init", "--recipient", &owner, "--recipient", &spare, "--writer-key-out", out.to_str().unwrap()];
        safe.place.job(init).run().await.success();
        safe.backup().run().await.success();
        safe
    }

    fn file(&self, name: &str) -> PathBuf {
        self.place.folder.path().join(name)
    }

    /// Makes an identity and returns its recipient.
    async fn identity(&self, name: &str) -> String {
        let out = self.file(name);
        let made = self.place.job(["keys", "new-identity", "--out", out.to_str().unwrap()]).run().await.success();
        made.stdout.trim().to_owned()
    }

    fn backup(&self) -> Job {
        self.writes(self.place.backup(&self.db.url()))
    }

    /// With what the backup job holds.
    fn writes(&self, job: Job) -> Job {
        job.env("LONGSHORE_WRITER_KEY_FILE", self.file("job").to_str().unwrap())
    }

    /// With somebody's identity.
    fn reads(&self, job: Job, who: &str) -> Job {
        job.env("LONGSHORE_IDENTITY_FILE", self.file(who).to_str().unwrap())
    }
}

/// Fails if a word stands in any file of a repository, raw or in an open section.
fn assert_absent(place: &Place, words: &[&str]) {
    let all = files(&place.path());
    assert!(all.len() > 10);
    for path in all {
        let bytes = std::fs::read(&path).unwrap();
        let open = repository::Frame::decode(&bytes, "x").map(|frame| frame.open).unwrap_or_default();
        for word in words {
            let has = |bytes: &[u8]| bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!has(&bytes) && !has(&open), "{word} stands in {}", path.display());
        }
    }
}

#[tokio::test]
async fn what_is_sealed_comes_back_with_an_identity_and_only_with_one() {
    let safe = Safe::new().await;
    let (place, target) = (&safe.place, Target::of(&safe.db));
    // Names of tables and of the database, and a row: the writer has all of them, its files have none.
    assert_absent(place, &["large", "small", &safe.db.name, "c4ca4238a0b923820dcc509a6f75849b"]);
    for poor in [place.restore(&target.url), safe.writes(place.restore(&target.url))] {
        assert_failed(poor.run().await, 78, "no identity was given");
        assert_nothing_made(&safe.db, &target.name).await;
    }
    for who in ["owner", "spare"] {
        let restored = safe.reads(place.restore(&target.url), who).run().await.success().json();
        assert_eq!(restored["proof"], "content", "{restored}");
        sql::exec(&safe.db.server.url("postgres"), &format!("drop database \"{}\"", target.name)).await;
    }
}

#[tokio::test]
async fn deduplication_verify_prune_and_list_work_without_an_identity() {
    let safe = Safe::new().await;
    let place = &safe.place;
    let again = safe.backup().run().await.success().json();
    // The archive of the schema carries its time: it is never the same.
    assert!(again["chunks"].as_u64().unwrap() - again["reused_chunks"].as_u64().unwrap() <= 2, "{again}");
    let listed = place.listed().await;
    assert!(listed.len() == 2 && listed[0]["sealed"] == true && listed[0]["about"].is_null(), "{listed:?}");
    let shown = place.job(["show", "app"]).run().await.success().stdout;
    assert!(shown.contains("sealed") && !shown.contains("large") && !shown.contains(&safe.db.name), "{shown}");
    let verified = place.job(["verify", "--output", "json"]).run().await.success().json();
    assert_eq!((&verified["damaged"], &verified["intact_backups"]), (&0.into(), &2.into()));
    place.job(["prune", "--keep-last", "1"]).run().await.success();
    let chunk = place.objects("chunks").into_iter().next().unwrap();
    damage(&chunk);
    let name = chunk.file_name().unwrap().to_str().unwrap();
    let verified = place.job(["verify"]).run().await.expect_code(65);
    assert!(verified.stdout.contains(name), "{}", verified.report());
}

/// It locks somebody out and hurts no backup: that is said, and a second copy does not make it good.
#[tokio::test]
async fn a_damaged_wrapped_key_is_no_damaged_backup() {
    let safe = Safe::new().await;
    let place = &safe.place;
    damage(&place.objects("keys")[0]);
    let offsite = Place::new().await;
    let plain = || place.job(["verify"]);
    let healing = || plain().env("LONGSHORE_REPAIR_FROM", &offsite.repo).sees(offsite.folder.path());
    for verify in [plain(), healing()] {
        let found = verify.run().await;
        assert!(found.stdout.contains("needed by whoever reads"), "{}", found.report());
        assert_failed(found, 65, "1 wrapped key is damaged or missing; no backup is");
    }
    assert!(place.listed().await[0]["failed"].is_null(), "the backup passes for damaged");
    let check = || place.job(["check", "--max-age=26h"]);
    let overdue = check().run().await.expect_code(76);
    assert!(overdue.stdout.contains("keys/"), "{}", overdue.report());
    place.objects("keys").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert_failed(plain().run().await, 65, "nobody can read");
    let overdue = check().run().await.expect_code(76);
    assert!(overdue.stdout.contains("nobody can read"), "{}", overdue.report());
}

/// Without `repository.json` nobody knows for whom it is sealed: another one in its place would be worse than none.
#[tokio::test]
async fn a_lost_repository_file_is_named_and_no_other_is_made() {
    let safe = Safe::new().await;
    let place = &safe.place;
    let (file, aside) = (place.path().join("repository.json"), safe.file("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let before = files(&place.path());
    for job in [place.job(["init"]), place.job(["list"]), safe.backup()] {
        assert_failed(job.run().await, 65, "repository.json is missing");
    }
    let after = files(&place.path());
    let probes = |path: &&PathBuf| path.to_string_lossy().contains("/probe/");
    assert_eq!(after.iter().filter(|path| !probes(path)).collect::<Vec<_>>(), before.iter().collect::<Vec<_>>());
    std::fs::rename(&aside, &file).unwrap();
    safe.backup().run().await.success();
    assert_eq!(place.listed().await.len(), 2);
}

#[tokio::test]
async fn drill_export_and_show_take_an_identity() {
    let safe = Safe::new().await;
    let place = &safe.place;
    let drill = || place.job(["drill", "--from", "app"]).env("LONGSHORE_TARGET", safe.db.server.url("postgres"));
    assert_failed(drill().run().await, 78, "no identity was given");
    safe.reads(drill(), "owner").run().await.success();
    let folder = safe.file("export");
    let export = || place.job(["export", "--from", "app", "--to", folder.to_str().unwrap()]);
    assert_failed(export().run().await, 78, "no identity was given");
    assert!(!folder.exists());
    safe.reads(export(), "owner").run().await.success();
    let shown = safe.reads(place.job(["show", "app"]), "spare").run().await.success().stdout;
    assert!(shown.contains("large") && shown.contains(&safe.db.name), "{shown}");
}

#[tokio::test]
async fn wrong_keys_are_refused_before_anything_is_written() {
    let safe = Safe::new().await;
    let place = &safe.place;
    let before = files(&place.path());
    let stranger = safe.identity("stranger").await;
    let refused = safe.reads(place.job(["list"]), "stranger").run().await;
    assert_failed(refused, 78, "is not a recipient of");
    assert_failed(place.backup(&safe.db.url()).run().await, 78, "neither a writer's key nor an identity was given");
    let list = place.job(["list"]).env("LONGSHORE_REPOSITORY_KEY", "lsr1-0000");
    assert_failed(list.run().await, 78, "not lsr1-0000");
    // A writer can make nobody a reader, and no other writer.
    let add = safe.writes(place.job(["keys", "add", &stranger]));
    assert_failed(add.run().await, 78, "no identity was given");
    let out = safe.file("other");
    let new = safe.writes(place.job(["keys", "new-writer", "other", "--out", out.to_str().unwrap()]));
    assert_failed(new.run().await, 78, "no identity was given");
    assert!(!out.exists(), "an empty file for a key stayed behind");
    assert_eq!(files(&place.path()), before);
    // Keys of one repository do nothing in another, and none in one that is not encrypted.
    let plain = Place::new().await;
    let backup = safe.writes(plain.backup(&safe.db.url()).sees(place.folder.path()));
    assert_failed(backup.run().await, 78, "is not encrypted");
    plain.assert_no_manifest();
}

#[tokio::test]
async fn an_identity_can_be_lost_and_replaced() {
    let safe = Safe::new().await;
    let place = &safe.place;
    let chunks = place.objects("chunks");
    let new = safe.identity("new").await;
    safe.reads(place.job(["keys", "add", &new]), "spare").run().await.success();
    let listed = place.job(["keys", "list", "--output", "json"]).run().await.success().json();
    assert_eq!(listed["recipients"].as_array().unwrap().len(), 3);
    let owner = listed["recipients"].as_array().unwrap().iter().find(|it| **it != new.as_str()).unwrap().clone();
    place.job(["keys", "remove", owner.as_str().unwrap()]).run().await.success();
    assert_eq!(place.objects("chunks"), chunks, "chunks were rewritten");
    let target = Target::of(&safe.db);
    safe.reads(place.restore(&target.url), "new").run().await.success();
}

/// A backup that somebody has put there with a key that is not known: its SQL would run in the target.
#[tokio::test]
async fn a_backup_of_an_unknown_signer_is_not_restored() {
    let safe = Safe::new().await;
    let (place, target) = (&safe.place, Target::of(&safe.db));
    // It takes every backup of that writer's along, so it is not done by the way.
    let remove = || safe.reads(place.job(["keys", "remove-writer", "backup"]), "owner");
    assert_failed(remove().run().await, 77, "has signed 1 backup");
    assert_eq!(place.listed().await.len(), 1);
    remove().env("LONGSHORE_GIVE_UP_BACKUPS", "true").run().await.success();
    let refused = safe.reads(place.restore(&target.url), "owner").run().await;
    assert_failed(refused, 77, "not a known signer");
    assert_nothing_made(&safe.db, &target.name).await;
    // A job with the old key hears of it before it makes a backup that nobody would believe.
    assert_failed(safe.backup().run().await, 78, "is not known");
    // A verification names it, and goes on.
    assert_failed(place.job(["verify"]).run().await, 65, "damaged");
    // The next writer starts anew: it uses nothing that an unknown one has left.
    let out = safe.file("next");
    let new = place.job(["keys", "new-writer", "next", "--out", out.to_str().unwrap()]);
    safe.reads(new, "owner").run().await.success();
    let backup = place.backup(&safe.db.url()).env("LONGSHORE_WRITER_KEY_FILE", out.to_str().unwrap());
    let made = backup.run().await.success().json();
    assert_eq!(made["reused_chunks"], 0, "{made}");
    let restored = safe.reads(place.restore(&target.url), "owner");
    let restored = restored.env("LONGSHORE_FROM", format!("app@{}", made["id"].as_str().unwrap()));
    restored.run().await.success();
}

/// G4: no key shows in what commands print, on any road through them.
#[tokio::test]
async fn keys_never_show() {
    let safe = Safe::new().await;
    let place = &safe.place;
    let secrets: Vec<String> = ["owner", "spare", "job"]
        .map(|name| std::fs::read_to_string(safe.file(name)).unwrap().lines().last().unwrap().to_owned())
        .into();
    let debug = |job: Job| job.env("LONGSHORE_LOG", "trace");
    let outcomes = [
        debug(safe.backup()).run().await.success(),
        debug(safe.reads(place.job(["keys", "list"]), "owner")).run().await.success(),
        debug(safe.reads(place.job(["show", "app"]), "owner")).run().await.success(),
        // Files exchanged by mistake.
        debug(place.job(["list"]).env("LONGSHORE_WRITER_KEY_FILE", safe.file("owner").to_str().unwrap()))
            .run()
            .await
            .expect_code(78),
        debug(place.job(["list"]).env("LONGSHORE_IDENTITY_FILE", safe.file("job").to_str().unwrap()))
            .run()
            .await
            .expect_code(78),
        debug(place.job(["keys", "add"]).env("LONGSHORE_IDENTITY", secrets[0].clone())).run().await.expect_code(64),
    ];
    for outcome in outcomes {
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        for secret in &secrets {
            assert!(!said.contains(&secret[20..]), "a key was printed\n{}", outcome.report());
        }
    }
    for (name, mode) in [("owner", 0o600), ("job", 0o600)] {
        let found = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(safe.file(name)).unwrap().permissions());
        assert_eq!(found & 0o777, mode, "{name}");
    }
    for path in files(&place.path()) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(secrets.iter().all(|secret| !text.contains(&secret[20..])), "{}", path.display());
    }
}
