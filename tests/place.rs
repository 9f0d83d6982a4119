//! A repository of a test's own, and the commands on it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use testkit::servers::TestDatabase;
use testkit::{Job, Outcome};

/// A repository in a directory or a bucket.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub repo: String,
}

impl Place {
    /// A directory repository, made by `init`.
    pub async fn new() -> Self {
        let place = Self::not_yet();
        place.job(["init"]).run().await.success();
        place
    }

    /// A place where `init` has not been called.
    pub fn not_yet() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = format!("file://{}", folder.path().join("repo").display());
        Self { folder, repo }
    }

    /// A repository at a URL, made by `init`.
    pub async fn at(url: String) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), repo: url };
        place.job(["init"]).run().await.success();
        place
    }

    /// The same repository under another URL: by way of a proxy.
    pub fn by_way_of(&self, url: String) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), repo: url }
    }

    /// Where a directory repository's objects are.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.repo.strip_prefix("file://").unwrap())
    }

    /// A command on this repository.
    pub fn job<const N: usize>(&self, arguments: [&str; N]) -> Job {
        Job::new(arguments).env("LONGSHORE_REPO", &self.repo).with_s3_keys().sees(self.folder.path())
    }

    /// A backup of a database, ready to run; counts are always crossed.
    pub fn backup(&self, source: &str) -> Job {
        self.job(["backup", "--cross-count", "--output", "json"])
            .env("LONGSHORE_SOURCE", source)
            .env("LONGSHORE_NAME", "app")
    }

    /// A restore of the newest backup, ready to run, proving the content.
    pub fn restore(&self, target: &str) -> Job {
        self.job(["restore", "--from", "app", "--prove", "content", "--output", "json"]).env("LONGSHORE_TARGET", target)
    }

    /// What `list` shows.
    pub async fn listed(&self) -> Vec<Value> {
        let outcome = self.job(["list", "--output", "json"]).run().await.success();
        outcome.json().as_array().unwrap().clone()
    }

    /// Fails unless no backup is listed and no manifest is stored.
    #[track_caller]
    pub fn assert_no_manifest(&self) {
        let manifests = files(&self.path().join("manifests"));
        assert!(manifests.is_empty(), "{manifests:?}");
    }

    /// All objects of a directory repository under a folder such as `chunks`.
    pub fn objects(&self, folder: &str) -> Vec<PathBuf> {
        files(&self.path().join(folder))
    }
}

/// A database with the tables of [`LARGE`], and one backup of it.
pub async fn backed_up() -> (TestDatabase, Place) {
    let db = testkit::servers::postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    (db, place)
}

/// All files under a folder, sorted; none when it is not there.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Flips a bit in the middle of a file.
pub fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Names of databases on the server that begin like this, sorted.
pub async fn databases_like(db: &TestDatabase, beginning: &str) -> Vec<String> {
    let query = format!("select datname::text from pg_database where starts_with(datname, '{beginning}') order by 1");
    let rows = testkit::sql::rows(&db.server.url("postgres"), &query).await;
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

/// Fails unless neither the target nor anything made for it is on the server.
pub async fn assert_nothing_made(db: &TestDatabase, target: &str) {
    assert_eq!(databases_like(db, target).await, Vec::<String>::new());
}

/// A name for a target database that nothing else uses.
pub fn target_name(db: &TestDatabase) -> String {
    format!("{}_back", db.name)
}

/// Drops a target when the test ends.
pub struct Target {
    pub name: String,
    pub url: String,
    admin: String,
}

impl Target {
    pub fn of(db: &TestDatabase) -> Self {
        let name = target_name(db);
        Self { url: db.server.url(&name), admin: db.server.url("postgres"), name }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let sql = format!("drop database if exists \"{}\" with (force)", self.name);
        let admin = self.admin.clone();
        // Dropped inside the test's runtime: a runtime of its own needs a thread of its own.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                if let Ok(client) = testkit::sql::try_connect(&admin).await {
                    drop(client.batch_execute(&sql).await);
                }
            });
        });
        drop(dropping.join());
    }
}

/// A table with enough rows for several segments, some 40 MB.
pub const LARGE: &str = "create table large (id bigint primary key, body text not null);
    insert into large select i, md5(i::text) || repeat(md5((i + 1)::text), 8) from generate_series(1, 100000) i;
    create table small (id int primary key, name text);
    insert into small select i, 'n' || i from generate_series(1, 100) i;";

/// Fails unless a run failed with this code and this text in its error.
#[track_caller]
pub fn assert_failed(outcome: Outcome, code: i32, says: &str) -> Outcome {
    let outcome = outcome.expect_code(code);
    assert!(outcome.stderr.contains(says), "{says:?} expected\n{}", outcome.report());
    outcome
}

/// Fails unless two databases have the same schema by the vendor's own dump; says which lines differ.
#[track_caller]
pub fn assert_same_schema(server: &testkit::servers::PostgresServer, restored: &str, original: &str) {
    let dump = |name: &str| testkit::sql::canonical_dump(server, name);
    let (back, there) = (dump(restored), dump(original));
    let only = |a: &str, b: &str| -> Vec<String> {
        let known: std::collections::HashSet<&str> = b.lines().collect();
        a.lines().filter(|line| !known.contains(line)).map(str::to_owned).collect()
    };
    let (missing, more) = (only(&there, &back), only(&back, &there));
    assert!(missing.is_empty() && more.is_empty(), "missing: {missing:#?}\nnot in the original: {more:#?}");
    assert!(back == there, "the same lines in another order");
}

/// Waits until something is so; at most two minutes.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !is_so().await {
        assert!(std::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
