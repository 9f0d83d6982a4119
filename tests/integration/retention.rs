//! G8 from the outside: what retention removes, what it never does, and that nothing is left in the end.

use crate::place::{Place, Target, assert_failed, damage, files, until};
use serde_json::Value;
use testkit::servers::{TestDatabase, postgres};

const ROWS: &str = "create table rows (id int primary key, body text);
     insert into rows select i, md5(i::text) from generate_series(1, 20000) i";

/// Everything that takes its time takes a second.
const IMPATIENT: [&str; 7] =
    ["prune", "--undo-period=1s", "--grace=1s", "--silent=1h", "--keep-last=1", "--output", "json"];

async fn backed_up(times: u32) -> (TestDatabase, Place) {
    let db = postgres(15).await.create_database().await;
    db.exec(ROWS).await;
    let place = Place::new().await;
    for n in 0..times {
        db.exec(&format!("update rows set body = body || '{n}' where id % 7 = 0")).await;
        place.backup(&db.url()).run().await.success();
    }
    (db, place)
}

async fn prune(place: &Place) -> Value {
    place.job(IMPATIENT).run().await.success().json()
}

async fn ids(place: &Place) -> Vec<String> {
    place.listed().await.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn removed_backups_go_in_two_steps_and_nothing_of_them_is_left() {
    let (db, place) = backed_up(3).await;
    let newest = ids(&place).await.pop().unwrap();
    let objects = || files(&place.path()).into_iter().filter(|path| !path.to_string_lossy().contains("/tmp/"));

    let before: Vec<_> = objects().collect();
    let planned = place.job(["prune", "--keep-last=1", "--dry-run", "--output", "json"]).run().await.success().json();
    assert_eq!(planned["plan"][0]["removed"].as_array().unwrap().len(), 2, "{planned}");
    assert_eq!(objects().collect::<Vec<_>>(), before, "a dry run changed something");
    let text = place.job(["prune", "--keep-last=1", "--dry-run"]).run().await.success().stdout;
    assert!(text.contains("last, newest") && text.matches("remove  ").count() == 2, "{text}");

    assert_eq!(prune(&place).await["marked"], 2);
    assert_eq!(ids(&place).await.len(), 3, "marked backups are there until a later run");
    let text = place.job(["list"]).run().await.success().stdout;
    assert_eq!(text.matches("to be removed").count(), 2, "{text}");
    let undone = place.job(["prune", "--undo", "--output", "json"]).run().await.success().json();
    assert_eq!(undone["undone"][0]["backups"].as_array().unwrap().len(), 2, "{undone}");
    assert_eq!(place.job(["prune", "--undo"]).run().await.success().stdout, "there was nothing to take back\n");

    assert_eq!(prune(&place).await["marked"], 2);
    until("marked backups to go", async || {
        prune(&place).await;
        ids(&place).await.len() == 1
    })
    .await;
    assert_eq!(ids(&place).await, [newest]);
    // What they alone needed is condemned, then deleted.
    until("everything unneeded to go", async || {
        let swept = prune(&place).await["swept"].clone();
        swept["unreferenced"] == 0 && swept["waiting"] == 0
    })
    .await;
    let swept = prune(&place).await["swept"].clone();
    let left = place.objects("chunks").len() + place.objects("lists").len();
    assert_eq!(swept["referenced"], left, "{swept}");
    // A verdict stays for a year, for whoever may have slept before giving another one.
    let notes = place.objects("gc");
    assert!(notes.iter().all(|path| path.ends_with("verdict")), "{notes:?}");
    place.job(["verify"]).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}

#[tokio::test]
async fn pinned_and_proven_backups_stay_whatever_the_rules_say() {
    let (_db, place) = backed_up(3).await;
    let all = ids(&place).await;
    place.job(["pin", &format!("app@{}", all[0])]).run().await.success();
    place.job(["verify", &format!("app@{}", all[1])]).run().await.success();
    let plan = place.job(["prune", "--keep-last=1", "--dry-run", "--output", "json"]).run().await.success().json();
    let kept = plan["plan"][0]["kept"].as_array().unwrap();
    let reasons: Vec<&Value> = kept.iter().map(|it| &it["reasons"]).collect();
    assert_eq!(serde_json::json!(reasons), serde_json::json!([["last", "newest"], ["newest-verified"], ["pinned"]]));
    place.job(["pin", "--remove", &format!("app@{}", all[0])]).run().await.success();
    assert_eq!(prune(&place).await["plan"][0]["removed"], serde_json::json!([all[0]]));
}

#[tokio::test]
async fn a_backup_is_found_and_kept_by_its_tags_and_pinned_as_it_is_made() {
    let (db, place) = backed_up(1).await;
    let made = place.backup(&db.url()).env("LONGSHORE_TAG", "release").env("LONGSHORE_PIN", "true");
    let pinned = made.run().await.success().json();
    assert_eq!(pinned["tags"], serde_json::json!(["release"]));
    db.exec("update rows set body = body || '!' where id % 7 = 0").await;
    place.backup(&db.url()).env("LONGSHORE_TAG", "audit").run().await.success();
    place.backup(&db.url()).run().await.success();
    let all = ids(&place).await;
    assert_eq!((all.len(), &pinned["id"]), (4, &all[1].clone().into()));
    let found = place.job(["list", "--tag", "audit", "--output", "json"]).run().await.success().json();
    assert!(found.as_array().unwrap().len() == 1 && found[0]["id"] == all[2], "{found}");
    let text = place.job(["list", "--name", "app"]).run().await.success().stdout;
    assert!(text.contains("TAGS") && text.contains("for ever  release"), "{text}");
    let plan = |more: &'static str| place.job(["prune", "--keep-last=1", more, "--dry-run", "--output", "json"]);
    let kept = plan("--keep-tag=audit").run().await.success().json();
    assert_eq!(kept["plan"][0]["removed"], serde_json::json!([all[0]]), "{kept}");
    let without = plan("--keep-tag=other").run().await.success().json();
    assert_eq!(without["plan"][0]["removed"], serde_json::json!([all[2], all[0]]), "{without}");
    assert_failed(place.backup(&db.url()).env("LONGSHORE_TAG", "No Tag").run().await, 78, "LONGSHORE_TAG");
    assert_eq!(ids(&place).await.len(), 4);
}

#[tokio::test]
async fn a_backup_that_is_much_too_small_stops_retention_until_it_is_accepted() {
    let (db, place) = backed_up(3).await;
    db.exec("delete from rows where id > 100").await;
    place.backup(&db.url()).run().await.success();
    let newest = ids(&place).await.pop().unwrap();
    let refused = place.job(IMPATIENT).run().await;
    assert_eq!(refused.code, Some(77), "{}", refused.report());
    assert!(refused.stderr.contains("100 rows where 20,000 rows are usual"), "{}", refused.report());
    assert_eq!(place.objects("gc").len(), 0, "something was marked");
    let accepted = place
        .job(["prune", "--keep-last=1", "--accept", &format!("app@{newest}"), "--output", "json"])
        .run()
        .await
        .success()
        .json();
    assert_eq!(accepted["marked"], 3, "{accepted}");
}

#[tokio::test]
async fn without_a_rule_no_backup_is_removed_and_a_named_one_is() {
    let (_db, place) = backed_up(2).await;
    let all = ids(&place).await;
    let none = place.job(["prune", "--output", "json"]).run().await.success().json();
    assert_eq!(none["marked"], 0, "{none}");
    let remove = format!("app@{}", all[0]);
    let one = place.job(["prune", "--remove", &remove, "--output", "json"]).run().await.success().json();
    assert_eq!(one["marked"], 1, "{one}");
    let text = place.job(["prune"]).run().await.success().stdout;
    assert!(text.contains(&format!("marked  {}", all[0])), "{text}");
}

/// A backup of an emptied database, given up: what is restored by name is the one before it.
#[tokio::test]
async fn a_backup_that_was_given_up_is_restored_by_its_id_only() {
    let (db, place) = backed_up(2).await;
    let all = ids(&place).await;
    let newest =
        async || place.job(["show", "app", "--output", "json"]).run().await.success().json()["backup"]["id"].clone();
    assert_eq!(newest().await, all[1]);
    for given_up in [&all[1], &all[0]] {
        place.job(["prune", "--remove", &format!("app@{given_up}")]).run().await.success();
        // Of two that were given up the newest is still better than nothing.
        let expected = if given_up == &all[1] { &all[0] } else { &all[1] };
        assert_eq!(newest().await, **expected);
    }
    let target = Target::of(&db);
    let by_id = place.job(["restore", "--from", &format!("app@{}", all[1])]).env("LONGSHORE_TARGET", &target.url);
    by_id.run().await.success();
}

/// A backup whose manifest is damaged stops every delete, until it is given up by name; what that does is said.
#[tokio::test]
async fn a_damaged_manifest_is_given_up_by_name() {
    let (db, place) = backed_up(2).await;
    let first = ids(&place).await.remove(0);
    let manifest = place.path().join(format!("manifests/app/{first}"));
    damage(&manifest);
    let objects = place.objects("chunks");
    let listed = place.job(["list"]).run().await;
    assert!(listed.stdout.matches("app ").count() == 1 && !listed.stdout.contains(&first), "{}", listed.report());
    assert_failed(listed, 65, &first);
    assert_failed(place.job(IMPATIENT).run().await, 65, &first);
    let remove = format!("app@{first}");
    let marked = place.job(["prune", "--remove", &remove, "--undo-period=1s", "--grace=1s"]).run().await;
    assert_failed(marked, 65, &format!("{remove} is marked for removal"));
    assert_eq!(place.objects("chunks"), objects, "something was deleted beside a damaged manifest");
    until("the damaged backup to go", async || {
        place.job(IMPATIENT).run().await;
        !manifest.exists()
    })
    .await;
    prune(&place).await;
    assert_eq!(ids(&place).await.len(), 1);
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
}
