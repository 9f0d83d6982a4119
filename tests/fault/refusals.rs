//! G11: what a store refuses in the middle of a run, loses, or does slowly.
//!
//! Each word of it becomes the exit code that says whether to try again, and nothing is half done.

use super::objects::setting;
use crate::place::{Place, Target, assert_failed, assert_nothing_made};
use std::time::Duration;
use testkit::proxy::{Fault, Rule};

/// A session token that expires, and a clock that is off, while a job works: exit 77, which says that trying again is no help.
#[tokio::test]
async fn credentials_that_stop_being_good_midway_are_exit_77() {
    let (db, place, through, proxy) = setting().await;
    let target = Target::of(&db);
    place.backup(&db.url()).run().await.success();
    let offsite = Place::new().await;
    for (status, code) in [(400, "ExpiredToken"), (403, "RequestTimeTooSkewed"), (403, "InvalidAccessKeyId")] {
        for (method, key) in [("PUT", "chunks/"), ("PUT", "manifests/")] {
            proxy.clear();
            proxy.add(Rule::new(Fault::Refused(status, code)).method(method).key(key).always());
            db.exec("update large set body = md5(body) || body where id % 50000 = 1").await;
            assert_failed(through.backup(&db.url()).run().await, 77, code);
        }
        proxy.clear();
        proxy.add(Rule::new(Fault::Refused(status, code)).method("GET").key("chunks/").nth(2).always());
        assert_failed(through.job(["verify"]).run().await, 77, code);
        assert_failed(through.restore(&target.url).run().await, 77, code);
        let copy = through.job(["copy"]).env("LONGSHORE_TO", &offsite.repo).sees(offsite.folder.path());
        assert_failed(copy.run().await, 77, code);
    }
    assert_nothing_made(&db, &target.name).await;
    offsite.assert_no_manifest();
    let listed = place.listed().await;
    assert!(listed.len() == 1 && listed[0]["verified"].is_null() && listed[0]["failed"].is_null(), "{listed:?}");
    place.job(["verify"]).run().await.success();
}

/// A put whose bytes did not arrive as they were sent.
#[tokio::test]
async fn a_hash_that_the_store_does_not_accept_makes_no_backup() {
    let (db, place, through, proxy) = setting().await;
    for key in ["chunks/", "lists/", "manifests/"] {
        proxy.clear();
        proxy.add(Rule::new(Fault::Refused(400, "XAmzContentChecksumMismatch")).method("PUT").key(key).always());
        assert_failed(through.backup(&db.url()).run().await, 65, key);
        assert!(place.listed().await.is_empty(), "{key}");
    }
}

/// A chunk that is gone when its turn comes is named by whoever wants it.
#[tokio::test]
async fn an_object_that_vanishes_midway_is_named_and_nothing_is_made_of_the_rest() {
    let (db, place, through, proxy) = setting().await;
    let target = Target::of(&db);
    place.backup(&db.url()).run().await.success();
    let offsite = Place::new().await;
    let copy = through.job(["copy"]).env("LONGSHORE_TO", &offsite.repo).sees(offsite.folder.path());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let export = crate::integration::export::export(&through, &out).sees(folder.path());
    for job in [through.job(["verify"]), through.restore(&target.url), copy, export] {
        proxy.clear();
        proxy.add(Rule::new(Fault::Refused(404, "NoSuchKey")).method("GET").key("chunks/").nth(2));
        let outcome = job.run().await.expect_code(65);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("chunks/") && said.contains("missing"), "{}", outcome.report());
    }
    assert_nothing_made(&db, &target.name).await;
    offsite.assert_no_manifest();
    assert!(!out.exists(), "half an export was left");
}

/// Listings that take their time change nothing.
#[tokio::test]
async fn slow_listings_are_waited_for() {
    let (db, place, through, proxy) = setting().await;
    proxy.add(Rule::new(Fault::Delay(Duration::from_secs(1))).method("GET").key("list-type=2").always());
    through.backup(&db.url()).run().await.success();
    through.job(["prune", "--keep-last=1"]).run().await.success();
    through.job(["verify"]).run().await.success();
    assert_eq!(place.listed().await.len(), 1);
}
