//! What `doctor` says, of what is well and of what is not.

use crate::place::{Place, Target, assert_failed};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use testkit::servers::{minio, pooler, postgres};
use testkit::{Job, Outcome};

fn doctor(place: &Place) -> Job {
    place.job(["doctor", "--output", "json"])
}

/// Outcome, what was found and what to do, of one check.
#[track_caller]
fn check(outcome: &Outcome, part: &str, name: &str) -> (String, String, String) {
    let json = outcome.json();
    let found = json["checks"].as_array().unwrap().iter().find(|it| it["part"] == part && it["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no check {part} {name}: {json:#}"));
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("found"), text("advice"))
}

#[track_caller]
fn assert_good(outcome: &Outcome, checks: &[(&str, &str)]) {
    for (part, name) in checks {
        assert_eq!(check(outcome, part, name).0, "good", "{part} {name}\n{}", outcome.report());
    }
}

#[tokio::test]
async fn what_is_well_is_said_line_by_line_and_nothing_is_left_behind() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); insert into t values (7)").await;
    let place = Place::new().await;
    let before = doctor(&place).env("LONGSHORE_FOR", "maintenance").run().await.success();
    assert_eq!(check(&before, "repository", "backups").0, "warning");
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    let job = doctor(&place).env("LONGSHORE_SOURCE", db.url()).env("LONGSHORE_TARGET", &target.url);
    let well = job.run().await.success();
    let json = well.json();
    assert_eq!((&json["ok"], &json["bad"], &json["for"]), (&json!(true), &json!(0), &json!("backup")), "{json:#}");
    assert_good(&well, &[("store", "answer"), ("store", "clock"), ("store", "list"), ("store", "create")]);
    assert_good(&well, &[("repository", "open"), ("repository", "newest of app"), ("secrets", "files")]);
    assert_good(&well, &[("source", "answer"), ("source", "pg_dump"), ("source", "readable"), ("source", "objects")]);
    assert_good(&well, &[("source", "encoding"), ("source", "connections"), ("target", "answer"), ("target", "role")]);
    assert_good(&well, &[("target", "pg_restore"), ("target", "database"), ("target", "connections")]);
    let (outcome, found, advice) = check(&well, "store", "delete");
    assert!(outcome == "warning" && found.contains("can delete") && advice.contains("second copy"), "{found} {advice}");
    assert_eq!(check(&well, "source", "role").0, "warning", "a superuser is more than a backup needs");
    assert!(check(&well, "source", "pg_dump").1.contains("for a server of version 15"));
    assert_eq!(place.objects("probe").len(), 0);
    let text = place.job(["doctor"]).run().await.success().stdout;
    let column = |line: &str| line.find("objects can be listed");
    assert!(text.lines().any(|line| line.starts_with("good     store") && column(line).is_some()), "{text}");
    assert!(text.ends_with("warnings\n") && text.contains("ready for backup"), "{text}");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_named_and_not_made() {
    let place = Place::not_yet();
    let outcome = doctor(&place).run().await.expect_code(78);
    assert!(check(&outcome, "store", "answer").2.contains("mount or create"));
    assert!(!place.path().exists());
    std::fs::create_dir(place.path()).unwrap();
    let empty = doctor(&place).run().await.expect_code(66);
    assert_good(&empty, &[("store", "create")]);
    assert!(check(&empty, "repository", "open").2.contains("longshore init"));
    let server = minio().await;
    let gone = Place::not_yet().by_way_of(server.url("no-such-bucket", server.port));
    assert_eq!(check(&doctor(&gone).run().await.expect_code(78), "store", "answer").0, "bad");
    let silent = Place::not_yet().by_way_of(server.url("bucket", 1));
    assert_eq!(check(&doctor(&silent).run().await.expect_code(69), "store", "answer").0, "bad");
}

/// An administrator's credential works, and is more than a job needs.
#[tokio::test]
async fn a_credential_that_can_do_too_much_is_told_so_and_a_wrong_one_is_bad() {
    let server = minio().await;
    let place = Place::at(server.bucket().await).await;
    let outcome = doctor(&place).run().await.success();
    for (name, says) in [("replace", "versioning"), ("delete", "--print-policy backup"), ("versions", "versioning")] {
        let (how, found, advice) = check(&outcome, "store", name);
        assert!(how == "warning" && advice.contains(says), "{name}: {found} {advice}");
    }
    assert_eq!(check(&outcome, "store", "object lock").1, "is off");
    let delete = check(&doctor(&place).env("LONGSHORE_FOR", "maintenance").run().await.success(), "store", "delete");
    assert_eq!(delete.0, "good", "{delete:?}");
    let wrong = doctor(&place).env("AWS_SECRET_ACCESS_KEY", "wrong-canary").run().await.expect_code(77);
    assert_eq!(check(&wrong, "store", "list").0, "bad");
    assert_eq!(check(&wrong, "store", "clock").0, "good", "a refusal tells the time, too");
    assert!(!wrong.report().contains("wrong-canary"));
}

#[tokio::test]
async fn what_a_source_keeps_from_a_backup_is_named_and_hides_nothing_else() {
    let db = postgres(15).await.create_database().await;
    let role = format!("{}_reader", db.name);
    db.exec(&format!(
        "create table seen (x int); create table hidden (x int); create role {role} login password 'canary-7';
         grant select on seen to {role}"
    ))
    .await;
    let url = format!("postgres://{role}:canary-7@{}:{}/{}", db.server.host, db.server.port, db.name);
    let place = Place::new().await;
    let job = doctor(&place).env("LONGSHORE_SOURCE", &url).env("LONGSHORE_TARGET", db.url());
    let outcome = job.run().await.expect_code(77);
    let (how, found, advice) = check(&outcome, "source", "readable");
    assert!(how == "bad" && found.contains("hidden") && !found.contains("seen"), "{found}");
    assert!(advice.contains("pg_read_all_data"), "{advice}");
    assert_good(
        &outcome,
        &[("source", "answer"), ("source", "pg_dump"), ("source", "role"), ("source", "connections")],
    );
    let (how, found, advice) = check(&outcome, "target", "database");
    assert!(how == "bad" && found.contains("not marked") && advice.contains("longshore mark"), "{found} {advice}");
    assert!(!outcome.report().contains("canary-7"), "{}", outcome.report());
    db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_role_that_cannot_restore_and_a_pooler_are_named() {
    let db = postgres(15).await.create_database().await;
    let role = format!("{}_weak", db.name);
    db.exec(&format!("create role {role} login password 'pw'")).await;
    let (place, target) = (Place::new().await, Target::of(&db));
    let as_role = |name: &str| format!("postgres://{role}:pw@{}:{}/{name}", db.server.host, db.server.port);
    let weak = doctor(&place).env("LONGSHORE_TARGET", as_role(&target.name)).run().await.expect_code(77);
    let (how, _, advice) = check(&weak, "target", "role");
    assert!(how == "bad" && advice.contains("CREATEDB"), "{advice}");
    assert_good(&weak, &[("target", "database"), ("target", "pg_restore")]);
    db.exec("create table t (x int)").await;
    place.job(["mark", "--as", "production"]).env("LONGSHORE_TARGET", db.url()).run().await.success();
    let never = doctor(&place).env("LONGSHORE_TARGET", db.url()).run().await.expect_code(77);
    assert!(check(&never, "target", "database").1.contains("production"));
    for mark in [place.job(["mark", "--remove"]), place.job(["mark", "--as", "staging"])] {
        mark.env("LONGSHORE_TARGET", db.url()).run().await.success();
    }
    let marked = doctor(&place).env("LONGSHORE_TARGET", db.url()).run().await.success();
    assert!(check(&marked, "target", "database").1.contains("marked as staging"));
    let shared = pooler(&db.server, &["pool_mode = transaction"]).await;
    let job = doctor(&place).env("LONGSHORE_SOURCE", db.url_at_port(shared.port));
    let (how, found, _) = check(&job.run().await.expect_code(78), "source", "answer");
    assert!(how == "bad" && found.contains("pooler"), "{found}");
    db.exec(&format!("drop role {role}")).await;
}

#[tokio::test]
async fn servers_and_tools_that_are_not_there_have_their_own_codes() {
    let place = Place::new().await;
    let down = doctor(&place).env("LONGSHORE_SOURCE", "postgres://nobody@127.0.0.1:1/x").run().await.expect_code(69);
    assert_eq!(check(&down, "source", "answer").0, "bad");
    assert_good(&down, &[("store", "create"), ("repository", "open")]);
    let db = postgres(15).await.create_database().await;
    let folder = place.folder.path().display().to_string();
    let job =
        doctor(&place).env("LONGSHORE_SOURCE", db.url()).env("LONGSHORE_TARGET", "postgres://nobody@127.0.0.1:1/x");
    let without = job.env("LONGSHORE_TOOLS", &folder).run().await;
    assert_failed(without.clone(), 78, "source pg_dump");
    assert_eq!(check(&without, "source", "pg_dump").0, "bad");
    assert_eq!(check(&without, "target", "answer").0, "bad", "the worst decides the code, and hides no other");
}

#[tokio::test]
async fn secrets_that_everybody_may_read_are_named() {
    let place = Place::new().await;
    let file = place.folder.path().join("password");
    std::fs::write(&file, "canary").unwrap();
    let looked = async |mode: u32| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let job = doctor(&place).env("LONGSHORE_SOURCE_PASSWORD_FILE", file.display().to_string());
        check(&job.run().await.success(), "secrets", "files")
    };
    assert_eq!(looked(0o400).await.0, "good");
    let (how, found, _) = looked(0o444).await;
    assert!(how == "warning" && found.contains("LONGSHORE_SOURCE_PASSWORD_FILE") && found.contains("0444"), "{found}");
}

#[tokio::test]
async fn a_policy_is_printed_without_any_server_and_is_one_document() {
    let print = |repo: &str, job: &str| Job::new(["doctor", "--repo", repo, "--print-policy", job]);
    let sids = |policy: &Value| -> Vec<String> {
        policy["Statement"].as_array().unwrap().iter().map(|it| it["Sid"].as_str().unwrap().to_owned()).collect()
    };
    let aws = print("s3://bucket/prefix?region=eu-central-1", "backup").run().await.success();
    assert!(sids(&aws.json()).contains(&"NeverReplaceObjects".to_owned()));
    assert!(!aws.stdout.contains("Delete"), "{}", aws.stdout);
    let minio = print("s3://bucket/prefix?endpoint=http://127.0.0.1:1", "maintenance").run().await.success();
    assert!(sids(&minio.json()).contains(&"DeleteObjects".to_owned()));
    assert!(!minio.stdout.contains("if-none-match") && minio.stderr.contains("versioning"), "{}", minio.report());
    assert_failed(print("file:///srv/backups", "backup").run().await, 78, "no policies");
}
