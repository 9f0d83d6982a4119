//! Loading drops into MariaDB by the command: once, all or nothing, alone, with the exit code that says so, and by a program whose ledger is there.

use std::path::PathBuf;
use std::sync::Arc;

use testkit::Job;
use testkit::proxy::Tcp;
use testkit::servers::{Flavour, TestSchema, mysql};

use crate::place::{assert_failed, until};

/// A database with a table, and a folder for drops and leases.
struct Pier {
    db: Arc<TestSchema>,
    folder: tempfile::TempDir,
}

impl Pier {
    async fn new() -> Pier {
        let db = mysql(Flavour::MariaDb10).await.expect("always tested").database().await;
        db.exec("create table samples (id int primary key, name varchar(20) not null, taken date)").await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("leases")).unwrap();
        Pier { db: Arc::new(db), folder }
    }

    /// A drop with one file and the mark that it is complete.
    fn drop(&self, name: &str, csv: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("samples.csv"), csv).unwrap();
        std::fs::write(path.join("_SUCCESS"), "").unwrap();
        path
    }

    /// The target, as MariaDB's URL without a password, and a file that has it.
    fn at(&self, job: Job, url: &str) -> Job {
        let secret = self.folder.path().join("password");
        std::fs::write(&secret, self.db.server.password()).unwrap();
        job.env("LONGSHORE_TARGET", url.replacen("mysql://", "mariadb://", 1))
            .env("LONGSHORE_TARGET_PASSWORD_FILE", secret.to_str().unwrap())
            .env("LONGSHORE_LEASE", format!("file://{}/leases", self.folder.path().display()))
    }

    fn load_at(&self, url: &str, name: &str) -> Job {
        let load = Job::new(["load", "--job", "samples"]).env("LONGSHORE_TABLE", "samples");
        self.at(load, url).env("LONGSHORE_DROP", self.folder.path().join(name).to_str().unwrap())
    }

    fn load(&self, name: &str) -> Job {
        self.load_at(&self.db.url_without_password(), name)
    }

    async fn count(&self) -> String {
        self.db.one("select count(*) from samples").await
    }

    async fn loaded(&self) -> String {
        self.db.one("select count(*) from longshore_load_ledger where status = 'loaded'").await
    }
}

#[tokio::test]
async fn a_drop_is_loaded_once_and_the_history_tells() {
    let pier = Pier::new().await;
    pier.drop("one", "id,name,taken\n1,a,2026-01-02\n2,\"b \"\"quoted\"\"\",\n");
    let history = || pier.at(Job::new(["load", "--history"]), &pier.db.url_without_password());
    assert_failed(history().run().await, 66, "no ledger");
    let first = pier.load("one").run().await.success();
    assert!(first.stdout.contains("loaded 2 rows into samples"), "{}", first.report());
    let again = pier.load("one").run().await.success();
    assert!(again.stdout.contains("already loaded"), "{}", again.report());
    assert_eq!(pier.db.one("select name from samples where id = 2").await, "b \"quoted\"");
    assert_eq!((pier.count().await, pier.loaded().await), ("2".into(), "1".into()));
    let listed = history().env("LONGSHORE_OUTPUT", "json").run().await.success().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (listed[0]["job"].as_str(), listed[0]["files"][0]["path"].as_str()),
        (Some("samples"), Some("samples.csv"))
    );
}

#[tokio::test]
async fn a_broken_drop_changes_nothing_and_the_mended_one_is_loaded() {
    let pier = Pier::new().await;
    let folder = pier.drop("one", "id,name,taken\n1,a,2026-01-02\n2,canary,2026-02-30\n");
    let outcome = pier.load("one").run().await;
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.report());
    assert_failed(outcome, 65, "samples.csv:3: column taken: not a valid date");
    std::fs::write(folder.join("samples.csv"), "id,name,taken\n1,a,2026-01-02\n1,canary,\n").unwrap();
    let outcome = pier.load("one").run().await;
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.report());
    assert_failed(outcome, 65, "samples.csv:3: the key is there already (PRIMARY)");
    assert_failed(pier.load("one").env("LONGSHORE_TABLE", "absent").run().await, 78, "no table absent");
    assert_eq!((pier.count().await, pier.loaded().await), ("0".into(), "0".into()));
    std::fs::write(folder.join("samples.csv"), "id,name,taken\n1,a,2026-01-02\n").unwrap();
    pier.load("one").run().await.success();
    assert_eq!((pier.count().await, pier.loaded().await), ("1".into(), "1".into()));
}

#[tokio::test]
async fn a_second_run_is_refused_and_a_lost_commit_is_looked_up() {
    let pier = Pier::new().await;
    pier.drop("one", "id,name\n1,a\n");
    pier.drop("two", "id,name\n2,b\n");
    let proxy = Tcp::start(pier.db.server.host(), pier.db.server.port()).await;
    proxy.hold_at("FOR UPDATE");
    let through = format!("{}?ssl-mode=disabled", pier.db.url_at_port(proxy.port()));
    let first = pier.load_at(&through, "one").spawn();
    until("the first run to begin its merge", async || !proxy.waits_for_words()).await;
    assert_failed(pier.load("two").run().await, 75, "samples is held by");
    proxy.pass();
    proxy.cut_at("COMMIT", testkit::proxy::Lost::Answer);
    first.wait().await.success();
    assert_eq!((pier.count().await, pier.loaded().await), ("1".into(), "1".into()));
    pier.load("two").run().await.success();
    assert_eq!((pier.count().await, pier.loaded().await), ("2".into(), "2".into()));
}

#[tokio::test]
async fn a_program_loads_a_drop_once_by_a_ledger_there() {
    let pier = Pier::new().await;
    let drop = pier.drop("one", "anything\n");
    let load = |script: &str| {
        let load = ["load", "--job", "images", "--drop", drop.to_str().unwrap(), "--", "/bin/sh", "-c", script];
        let folder = pier.folder.path().to_str().unwrap();
        pier.at(Job::new(load), &pier.db.url_without_password()).env("SCRATCH", folder)
    };
    assert_failed(load("exit 3").run().await, 78, "ended with");
    assert_eq!(pier.loaded().await, "0");
    let script = "echo run >> $SCRATCH/runs";
    load(script).run().await.success();
    let again = load(script).run().await.success();
    assert!(again.stdout.contains("already loaded"), "{}", again.report());
    assert_eq!(std::fs::read_to_string(pier.folder.path().join("runs")).unwrap(), "run\n");
    assert_eq!((pier.count().await, pier.loaded().await), ("0".into(), "1".into()));
}
