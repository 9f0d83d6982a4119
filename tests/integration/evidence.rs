//! What verifications have found out is recorded, shown, and never more than what was read.

use crate::place::{Place, assert_failed, backed_up, damage};
use serde_json::{Value, json};
use testkit::proxy::{Fault, Rule, S3};
use testkit::servers::{minio, postgres};

async fn verify(place: &Place, arguments: &[&str]) -> testkit::Outcome {
    let all = ["verify", "--output", "json"].iter().chain(arguments).map(|it| (*it).to_owned());
    testkit::Job::new(all).env("LONGSHORE_REPO", &place.repo).with_s3_keys().run().await
}

/// Verified, drilled and failed, as `list` tells it.
fn proofs(backup: &Value) -> [bool; 3] {
    ["verified", "drilled", "failed"].map(|member| backup.get(member).expect(member).is_string())
}

#[tokio::test]
async fn a_verification_is_shown_by_list_and_show_and_a_sample_is_none() {
    let (db, place) = backed_up().await;
    assert_eq!(proofs(&place.listed().await[0]), [false, false, false]);
    let sampled = verify(&place, &["--sample", "20%"]).await.success().json();
    assert_eq!(sampled["recorded"], 1, "{sampled}");
    assert_eq!(proofs(&place.listed().await[0]), [false, false, false], "a sample is no verification");
    verify(&place, &[]).await.success();
    place.backup(&db.url()).run().await.success();
    let listed = place.listed().await;
    assert_eq!((proofs(&listed[0]), proofs(&listed[1])), ([true, false, false], [false, false, false]));
    let day = &listed[0]["verified"].as_str().unwrap()[..10];
    let text = place.job(["list"]).run().await.success().stdout;
    assert!(text.contains("VERIFIED") && text.contains("DRILLED") && text.matches(day).count() >= 3, "{text}");
    let id = format!("app@{}", listed[0]["id"].as_str().unwrap());
    let shown = place.job(["show", &id]).run().await.success().stdout;
    assert!(shown.contains(&format!("verified     {day}")) && shown.contains("drilled      never"), "{shown}");
    let shown = place.job(["show", &id, "--output", "json"]).run().await.success().json();
    assert_eq!((&shown["verified"], &shown["failed"]), (&listed[0]["verified"], &json!(null)));
}

/// Damage hurts one of two backups: that one is in doubt, the other is verified.
#[tokio::test]
async fn damage_is_recorded_for_the_backups_that_it_hurts() {
    let (db, place) = backed_up().await;
    let before = place.objects("chunks");
    db.exec("update large set body = body || '!' where id > 90000").await;
    place.backup(&db.url()).run().await.success();
    verify(&place, &[]).await.success();
    let new = place.objects("chunks").into_iter().find(|path| !before.contains(path)).unwrap();
    let whole = std::fs::read(&new).unwrap();
    damage(&new);
    assert_failed(verify(&place, &[]).await, 65, "damaged");
    let listed = place.listed().await;
    assert_eq!((proofs(&listed[0]), proofs(&listed[1])), ([true, false, false], [true, false, true]));
    let text = place.job(["list"]).run().await.success().stdout;
    assert_eq!(text.matches("FAILED 20").count(), 1, "{text}");
    // Repaired: it is whole again, and that it once was not stays on record.
    std::fs::write(&new, whole).unwrap();
    verify(&place, &[]).await.success();
    let text = place.job(["list"]).run().await.success().stdout;
    assert!(!text.contains("FAILED"), "{text}");
    assert_eq!(proofs(&place.listed().await[1]), [true, false, true]);
}

/// A credential that may only read: the result is the same, and it is said that it is not recorded.
#[tokio::test]
async fn a_repository_that_cannot_be_written_to_is_verified_all_the_same() {
    let server = minio().await;
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); insert into t values (7)").await;
    let bucket = server.create_bucket().await;
    let place = Place::at(server.url(&bucket, server.port)).await;
    place.backup(&db.url()).run().await.success();
    let proxy = S3::start(server.port).await;
    proxy.add(Rule::new(Fault::Status(403)).method("PUT").always());
    let through = place.by_way_of(server.url(&bucket, proxy.port()));
    let outcome = verify(&through, &[]).await.success();
    let result = outcome.json();
    assert_eq!((&result["ok"], &result["recorded"]), (&json!(true), &json!(0)));
    assert!(result["notes"][0].as_str().unwrap().contains("not recorded"), "{result}");
    assert!(outcome.stderr.contains("could not be recorded"), "{}", outcome.report());
    assert_eq!(proofs(&place.listed().await[0]), [false, false, false]);
    verify(&place, &[]).await.success();
    assert_eq!(proofs(&place.listed().await[0]), [true, false, false]);
}

/// What somebody else put there, or damaged, proves nothing and breaks nothing.
#[tokio::test]
async fn evidence_that_is_damaged_is_ignored_and_said() {
    let (_db, place) = backed_up().await;
    verify(&place, &[]).await.success();
    let evidence = place.objects("evidence");
    assert_eq!(evidence.len(), 1);
    damage(&evidence[0]);
    std::fs::write(place.path().join("evidence/README"), "hello").unwrap();
    let outcome = place.job(["list", "--output", "json"]).run().await.success();
    assert_eq!(proofs(&outcome.json()[0]), [false, false, false]);
    assert!(outcome.stderr.contains("evidence/"), "{}", outcome.report());
}
