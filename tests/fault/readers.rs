//! G11 for what reads a repository and writes little or nothing into it: list, show, check, doctor, keys, drill, export.
//!
//! Faults that pass once are survived; faults that stay end with 69, and leave no database, no export and no evidence.

use super::objects::setting;
use crate::integration::drill::{drill, left, server};
use crate::integration::export::{assert_whole, export};
use crate::place::{LARGE, Place, assert_failed};
use testkit::Job;
use testkit::proxy::{Fault, Rule};
use testkit::servers::{minio, postgres};

/// Requests of theirs that the proxy can tell apart.
const REQUESTS: &[(&str, &str)] = &[
    ("GET", "repository.json"),
    ("GET", "list-type=2"),
    ("GET", "settings/"),
    ("GET", "manifests/"),
    ("GET", "lists/"),
    ("GET", "chunks/"),
    ("GET", "evidence/"),
    ("PUT", "probe/"),
    ("PUT", "evidence/"),
    ("DELETE", "probe/"),
];

#[tokio::test]
async fn what_reads_survives_faults_that_pass_and_ends_with_69_when_they_stay() {
    let (_db, place, through, proxy) = setting().await;
    let server = server(15).await;
    let (db, folder) = (server.create_database().await, tempfile::tempdir().unwrap());
    db.exec(LARGE).await;
    place.backup(&db.url()).run().await.success();
    let commands = |to: &std::path::Path| -> [(&'static str, Job); 6] {
        [
            ("list", through.job(["list"])),
            ("show", through.job(["show", "app"])),
            ("check", through.job(["check", "--max-age=26h"])),
            ("doctor", through.job(["doctor"])),
            ("drill", drill(&through, &server)),
            ("export", export(&through, to).sees(folder.path())),
        ]
    };
    let faults = [Fault::Status(503), Fault::LostReply, Fault::ResetBody(20)];
    for (number, fault) in faults.into_iter().enumerate() {
        let to = folder.path().join(format!("out-{number}"));
        for (name, command) in commands(&to) {
            proxy.clear();
            for (method, key) in REQUESTS {
                proxy.add(Rule::new(fault).method(method).key(key));
            }
            let outcome = command.run().await;
            assert_eq!(outcome.code, Some(0), "{name} {fault:?}\n{}", outcome.report());
        }
        assert_whole(&to);
    }
    let recorded = place.listed().await[0]["drilled"].clone();
    for (name, command) in commands(&folder.path().join("never")) {
        proxy.clear();
        let key = if matches!(name, "drill" | "export") { "chunks/" } else { "manifests/" };
        proxy.add(Rule::new(Fault::Status(500)).method("GET").key(key).always());
        let outcome = command.run().await;
        match name {
            // What it cannot find out is one line of its account, and it goes on.
            "doctor" => assert!(outcome.stdout.contains("list manifests/"), "{}", outcome.report()),
            _ => assert!(outcome.stderr.contains("hint"), "{}", outcome.report()),
        }
        assert_eq!(outcome.code, Some(69), "{}", outcome.report());
    }
    assert!(!folder.path().join("never").exists(), "an export was left");
    assert_eq!(left(&db).await, Vec::<String>::new());
    assert_eq!(place.listed().await[0]["drilled"], recorded);
}

/// The wrapped keys and signers of an encrypted repository are objects like the others.
#[tokio::test]
async fn keys_survive_faults_that_pass_and_change_nothing_when_they_stay() {
    let server = minio().await;
    let bucket = server.create_bucket().await;
    let direct = Place::not_yet().by_way_of(server.url(&bucket, server.port));
    let proxy = testkit::proxy::S3::start(server.port).await;
    let through = direct.by_way_of(server.url(&bucket, proxy.port()));
    let file = |name: &str| direct.folder.path().join(name).display().to_string();
    let mut recipients = Vec::new();
    for name in ["owner", "spare", "third"] {
        let made = direct.job(["keys", "new-identity", "--out", &file(name)]).run().await.success();
        recipients.push(made.stdout.trim().to_owned());
    }
    let init = ["init", "--recipient", &recipients[0], "--writer-key-out", &file("writer")];
    direct.job(init).run().await.success();
    let owner = |job: Job| job.env("LONGSHORE_IDENTITY_FILE", file("owner")).sees(direct.folder.path());
    let faults = [Fault::Status(503), Fault::LostReply];
    for (number, fault) in faults.into_iter().enumerate() {
        let (name, out) = (format!("writer-{number}"), file(&format!("new-{number}")));
        let commands = [
            through.job(["keys", "add", &recipients[1]]),
            through.job(["keys", "list"]),
            through.job(["keys", "new-writer", &name, "--out", &out]),
            through.job(["keys", "remove-writer", &name]),
            through.job(["keys", "remove", &recipients[1]]),
        ];
        for command in commands {
            proxy.clear();
            for (method, key) in [("GET", ""), ("GET", "keys/"), ("GET", "signers/"), ("PUT", ""), ("DELETE", "")] {
                proxy.add(Rule::new(fault).method(method).key(key));
            }
            owner(command).run().await.success();
        }
    }
    let before = owner(direct.job(["keys", "list"])).run().await.success().stdout;
    proxy.clear();
    proxy.add(Rule::new(Fault::Status(500)).method("PUT").key("").always());
    for command in [
        through.job(["keys", "add", &recipients[2]]),
        through.job(["keys", "new-writer", "late", "--out", &file("late")]),
    ] {
        assert_failed(owner(command).run().await, 69, "hint");
    }
    proxy.clear();
    let after = owner(direct.job(["keys", "list"])).run().await.success().stdout;
    assert_eq!(after, before);
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); insert into t values (7)").await;
    direct.backup(&db.url()).env("LONGSHORE_WRITER_KEY_FILE", file("writer")).run().await.success();
}
