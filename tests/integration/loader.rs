//! Loading drops by the command: once, alone, all or nothing, with the exit code that says so.

use std::path::PathBuf;

use serde_json::Value;
use testkit::proxy::Tcp;
use testkit::servers::{TestDatabase, postgres, redis};
use testkit::{Job, Outcome, Signal};

use crate::place::{assert_failed, until};

/// A database with a table, and a folder for drops and leases.
struct Dock {
    db: TestDatabase,
    folder: tempfile::TempDir,
}

impl Dock {
    async fn new() -> Dock {
        let db = postgres(17).await.create_database().await;
        db.exec("create table samples (id int primary key, name text not null, taken date)").await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("leases")).unwrap();
        Dock { db, folder }
    }

    /// A drop with one file and the mark that it is complete.
    fn drop(&self, name: &str, csv: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("samples.csv"), csv).unwrap();
        std::fs::write(path.join("_SUCCESS"), "").unwrap();
        path
    }

    /// A load into the table, with a lease in the folder.
    fn load(&self, name: &str) -> Job {
        self.load_at(&self.db.url(), name)
    }

    fn load_at(&self, url: &str, name: &str) -> Job {
        Job::new(["load", "--job", "samples", "--table", "samples"])
            .env("LONGSHORE_TARGET", url)
            .env("LONGSHORE_DROP", self.folder.path().join(name).to_str().unwrap())
            .env("LONGSHORE_LEASE", format!("file://{}/leases", self.folder.path().display()))
    }

    async fn count(&self) -> String {
        self.db.value("select count(*) from samples").await
    }
}

/// What a merge says first.
const MERGE: &str = "FOR UPDATE";

fn refused(outcome: Outcome, code: i32, words: &str) {
    assert_failed(outcome, code, words);
}

#[tokio::test]
async fn a_drop_is_loaded_once_and_the_history_tells() {
    let dock = Dock::new().await;
    dock.drop("one", "id,name,taken\n1,a,2026-01-02\n2,\"b \"\"quoted\"\"\",\n");
    let first = dock.load("one").run().await.success();
    assert!(first.stdout.contains("loaded 2 rows into samples"), "{}", first.report());
    let metrics = dock.folder.path().join("longshore.prom");
    let again = dock.load("one").env("LONGSHORE_METRICS_FILE", metrics.to_str().unwrap()).run().await.success();
    let metrics = std::fs::read_to_string(metrics).unwrap();
    assert!(metrics.contains("longshore_run_success{command=\"load\",source=\"samples\"} 1"), "{metrics}");
    assert!(again.stdout.contains("already loaded"), "{}", again.report());
    let json = dock.load("one").env("LONGSHORE_OUTPUT", "json").run().await.success().json();
    assert_eq!((json["outcome"].as_str(), json["by"]["counts"]["read"].as_u64()), (Some("already_loaded"), Some(2)));
    assert_eq!(dock.db.value("select name from samples where id = 2").await, "b \"quoted\"");
    assert_eq!(dock.count().await, "2");
    let history = || Job::new(["load", "--history"]).env("LONGSHORE_TARGET", dock.db.url());
    let table = history().run().await.success().stdout;
    assert!(table.contains("samples") && table.contains("loaded"), "{table}");
    let listed = history().env("LONGSHORE_OUTPUT", "json").run().await.success().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (listed[0]["job"].as_str(), listed[0]["files"][0]["path"].as_str()),
        (Some("samples"), Some("samples.csv"))
    );
}

#[tokio::test]
async fn a_broken_drop_changes_nothing_and_the_mended_one_is_loaded() {
    let dock = Dock::new().await;
    let folder = dock.drop("one", "id,name,taken\n1,a,2026-01-02\n2,canary,2026-02-30\n");
    let outcome = dock.load("one").run().await;
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.report());
    refused(outcome, 65, "samples.csv:3: column taken: not a valid date");
    std::fs::write(folder.join("samples.csv"), "id,name,taken\n1,a,Tomorrow\n").unwrap();
    refused(dock.load("one").run().await, 65, "samples.csv:2: column taken: not a valid date");
    std::fs::write(folder.join("samples.csv"), "id,name,taken\n1,a,2026-01-02,\n").unwrap();
    refused(dock.load("one").run().await, 65, "samples.csv:2");
    std::fs::remove_file(folder.join("_SUCCESS")).unwrap();
    refused(dock.load("one").run().await, 66, "not complete");
    refused(dock.load("absent").run().await, 66, "absent");
    assert_eq!(dock.count().await, "0");
    std::fs::write(folder.join("samples.csv"), "id,name,taken\n1,a,2026-01-02\n").unwrap();
    dock.load("one").env("LONGSHORE_COMPLETE", "true").run().await.success();
    let loaded = "select count(*) from longshore.load_ledger where status = 'loaded'";
    assert_eq!((dock.count().await, dock.db.value(loaded).await), ("1".into(), "1".into()));
}

#[tokio::test]
async fn rows_that_may_be_left_out_are_kept_as_they_were_written() {
    let dock = Dock::new().await;
    dock.drop("one", "id,name,taken\n1,a,2026-01-02\n 2 ,\"b, b\",2026-01-03\n3,c,\n");
    let contract = dock.folder.path().join("contract.json");
    let columns = r#"[{"name":"id","type":"integer","required":true},{"name":"name"},{"name":"taken","type":"date"}]"#;
    std::fs::write(&contract, columns).unwrap();
    let kept = dock.folder.path().join("left-out.csv");
    let load = || dock.load("one").env("LONGSHORE_CONTRACT", contract.to_str().unwrap());
    refused(load().run().await, 65, "samples.csv:3");
    let sparing = || load().env("LONGSHORE_MAX_REJECTS", "1").env("LONGSHORE_REJECTS", kept.to_str().unwrap());
    let json = sparing().env("LONGSHORE_OUTPUT", "json").run().await.success().json();
    assert_eq!(json["record"]["counts"]["rejected"].as_u64(), Some(1), "{json}");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "id,name,taken\n 2 ,\"b, b\",2026-01-03\n");
    assert_eq!(dock.count().await, "2");
    // The drop is loaded; its file is as it was.
    let again = sparing().run().await.success();
    assert!(again.stdout.contains("already loaded"), "{}", again.report());
    refused(sparing().env("LONGSHORE_RELOAD", "true").run().await, 73, "left-out.csv");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "id,name,taken\n 2 ,\"b, b\",2026-01-03\n");
    assert_eq!(dock.count().await, "2");
}

/// The server never answers to the commit, and the run has to end: what it left out may be nowhere else.
#[tokio::test]
async fn a_signal_in_the_commit_leaves_the_rows_that_were_left_out() {
    let dock = Dock::new().await;
    dock.drop("one", "id,name\n1,a\n2,b,b\n");
    let kept = dock.folder.path().join("left-out.csv");
    let proxy = Tcp::start("127.0.0.1", dock.db.server.port).await;
    // Sessions commit before, too: the words are looked for from the minting on.
    proxy.hold_at("load_fence AS f");
    let url = dock.db.url_at_port(proxy.port());
    let load = || dock.load("one").env("LONGSHORE_MAX_REJECTS", "1").env("LONGSHORE_REJECTS", kept.to_str().unwrap());
    let first = load().env("LONGSHORE_TARGET", url).spawn();
    until("the run to mint its number", async || !proxy.waits_for_words()).await;
    proxy.pass();
    proxy.hold_at("COMMIT\0");
    until("the run to commit", async || !proxy.waits_for_words()).await;
    first.signal(Signal::Terminate);
    let outcome = first.wait().await;
    assert!(outcome.stderr.contains("longshore load --history"), "{}", outcome.report());
    refused(outcome, 74, "aborted");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "id,name\n2,b,b\n");
    drop(proxy);
    // It never arrived, as it happens. The file is not overwritten by the run that loads.
    refused(load().run().await, 73, "left-out.csv");
    std::fs::rename(&kept, dock.folder.path().join("moved.csv")).unwrap();
    load().run().await.success();
    assert_eq!((dock.count().await, kept.exists()), ("1".into(), true));
}

#[tokio::test]
async fn a_file_that_goes_into_another_table_is_not_loaded() {
    let dock = Dock::new().await;
    let folder = dock.drop("one", "id,name\n1,a\n");
    std::fs::remove_file(folder.join("_SUCCESS")).unwrap();
    std::fs::write(folder.join("drop.yaml"), "files: [{path: samples.csv, table: contacts}]").unwrap();
    refused(dock.load("one").run().await, 78, "samples.csv goes into contacts, and --table says samples");
    assert_eq!(dock.count().await, "0");
    std::fs::write(folder.join("drop.yaml"), "files: [{path: samples.csv, table: samples}]").unwrap();
    dock.load("one").run().await.success();
}

#[tokio::test]
async fn a_second_run_is_refused_and_told_who_is_at_work() {
    let dock = Dock::new().await;
    dock.drop("one", "id,name\n1,a\n");
    dock.drop("two", "id,name\n2,b\n");
    let proxy = Tcp::start("127.0.0.1", dock.db.server.port).await;
    proxy.hold_at(MERGE);
    let first = dock.load_at(&dock.db.url_at_port(proxy.port()), "one").env("LONGSHORE_HOLDER", "nightly").spawn();
    until("the first run to begin its merge", async || !proxy.waits_for_words()).await;
    let second = dock.load("two").run().await;
    assert!(second.stderr.contains("nightly (run ") && second.stderr.contains(" since 20"), "{}", second.report());
    refused(second, 75, "samples is held by nightly");
    proxy.pass();
    first.wait().await.success();
    dock.load("two").run().await.success();
    assert_eq!(dock.count().await, "2");
}

#[tokio::test]
async fn without_the_leases_server_nothing_runs() {
    let dock = Dock::new().await;
    dock.drop("one", "id,name\n1,a\n");
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    let load = dock.load("one").env("LONGSHORE_LEASE", format!("redis://:canary@127.0.0.1:{nobody}"));
    let outcome = load.run().await;
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.report());
    refused(outcome, 69, "127.0.0.1");
    assert_eq!(dock.db.value("select count(*) from pg_namespace where nspname = 'longshore'").await, "0");
    assert_eq!(dock.count().await, "0");
}

/// The lease runs out while the process is stopped; when it wakes up, another run has loaded another drop.
#[tokio::test]
async fn a_loader_that_is_stopped_past_its_lease_commits_nothing() {
    let dock = Dock::new().await;
    let server = redis().await;
    dock.drop("one", "id,name\n1,a\n");
    dock.drop("two", "id,name\n2,b\n");
    let job = format!("samples-{}", dock.db.name);
    let with_lease = |load: Job| {
        load.env("LONGSHORE_LEASE", server.url()).env("LONGSHORE_LEASE_TTL", "3s").env("LONGSHORE_OUTPUT", "json")
    };
    let as_job = |url: &str, name: &str| {
        let arguments = ["load", "--job", job.as_str(), "--table", "samples"];
        let folder = dock.folder.path().join(name);
        with_lease(Job::new(arguments).env("LONGSHORE_TARGET", url).env("LONGSHORE_DROP", folder.to_str().unwrap()))
    };
    let proxy = Tcp::start("127.0.0.1", dock.db.server.port).await;
    proxy.hold_at(MERGE);
    let first = as_job(&dock.db.url_at_port(proxy.port()), "one").spawn();
    until("the first run to begin its merge", async || !proxy.waits_for_words()).await;
    first.signal(Signal::Stop);
    let second = loop {
        let outcome = as_job(&dock.db.url(), "two").run().await;
        if outcome.code != Some(75) {
            break outcome;
        }
    };
    assert_eq!(second.success().json()["outcome"].as_str(), Some("loaded"));
    proxy.pass();
    first.signal(Signal::Continue);
    let outcome = first.wait().await.expect_code(74);
    let error: Value = outcome.json();
    assert_eq!(error["exit"].as_u64(), Some(74), "{error}");
    assert_eq!(dock.db.value("select string_agg(name, ',') from samples").await, "b");
    let loaded = "select count(*) from longshore.load_ledger where status = 'loaded'";
    assert_eq!(dock.db.value(loaded).await, "1");
}

#[tokio::test]
async fn a_signal_ends_a_load_with_exit_74_and_nothing_in_the_table() {
    let dock = Dock::new().await;
    dock.drop("one", "id,name\n1,a\n");
    let proxy = Tcp::start("127.0.0.1", dock.db.server.port).await;
    proxy.hold_at(MERGE);
    let load = dock.load_at(&dock.db.url_at_port(proxy.port()), "one").spawn();
    until("the run to begin its merge", async || !proxy.waits_for_words()).await;
    load.signal(Signal::Terminate);
    until("the run to be told", async || load.stderr().contains("SIGTERM")).await;
    proxy.pass();
    refused(load.wait().await, 74, "SIGTERM");
    assert_eq!(dock.count().await, "0");
    dock.load("one").run().await.success();
    assert_eq!(dock.count().await, "1");
}

/// What comes with the loader is loaded as it is written, blanks, quotes and ends of lines included.
#[tokio::test]
async fn the_sample_is_loaded_as_it_is_written() {
    let dock = Dock::new().await;
    let sample = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../jobs/loader/sample"));
    dock.db.exec(&std::fs::read_to_string(sample.with_extension("sql")).unwrap()).await;
    let load = Job::new(["load", "--job", "sample", "--table", "lab.samples"])
        .env("LONGSHORE_TARGET", dock.db.url())
        .env("LONGSHORE_DROP", sample.to_str().unwrap())
        .env("LONGSHORE_LEASE", format!("file://{}/leases", dock.folder.path().display()));
    let outcome = load.run().await.success();
    assert!(outcome.stdout.contains("loaded 40 rows into lab.samples"), "{}", outcome.report());
    let notes = "select string_agg(note, '|' order by id) from lab.samples";
    assert_eq!(dock.db.value(notes).await, "hemolysed, drawn again|label read \"D-0011?\"|first line\nsecond line");
    assert_eq!(dock.db.value("select count(*) from lab.samples where volume_ml is null").await, "1");
}

#[tokio::test]
async fn options_that_cannot_be_are_told_before_anything_is_asked() {
    let dock = Dock::new().await;
    dock.drop("one", "id,name\n1,a\n");
    for (name, value, code, words) in [
        ("LONGSHORE_MODE", "upsert", 64, "needs --key"),
        ("LONGSHORE_KEY", "id", 64, "--key is for"),
        ("LONGSHORE_MAX_REJECTS", "3", 64, "belong together"),
        ("LONGSHORE_NULL", "NA", 64, "need --format"),
        ("LONGSHORE_TARGET", "mongodb://u@h/d", 78, "mongodb"),
        ("LONGSHORE_LEASE", "file://here", 78, "lease"),
    ] {
        refused(dock.load("one").env(name, value).run().await, code, words);
    }
    assert_eq!(dock.db.value("select count(*) from pg_namespace where nspname = 'longshore'").await, "0");
    refused(Job::new(["load", "--history"]).env("LONGSHORE_TARGET", dock.db.url()).run().await, 66, "no ledger");
}
