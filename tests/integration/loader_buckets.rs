//! Loading drops that lie in a bucket: the same drops as in a directory, read as they were listed or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use store::{Credentials, Key, Location, Store};
use testkit::proxy::{Fault, Rule, S3};
use testkit::servers::{ACCESS_KEY, ObjectServer, SECRET_KEY, TestDatabase, minio, postgres};
use testkit::{Job, Outcome, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::place::{assert_failed, files};

const TWO_ROWS: &str = "id,name\n1,a\n2,b\n";

/// A database with a table, a bucket, and a folder for leases and for what is fetched.
struct Pier {
    db: TestDatabase,
    server: Arc<ObjectServer>,
    bucket: String,
    folder: tempfile::TempDir,
}

impl Pier {
    async fn new() -> Pier {
        let db = postgres(17).await.create_database().await;
        db.exec("create table samples (id int primary key, name text not null)").await;
        let server = minio().await;
        let folder = tempfile::tempdir().unwrap();
        for name in ["leases", "scratch"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Pier { bucket: server.create_bucket().await, db, server, folder }
    }

    /// The URL of a drop by way of a port.
    fn url_at(&self, name: &str, port: u16) -> String {
        self.server.url(&self.bucket, port).replace("/repo?", &format!("/lab/{name}?"))
    }

    fn url(&self, name: &str) -> String {
        self.url_at(name, self.server.port)
    }

    async fn store(&self, name: &str) -> Arc<dyn Store> {
        let keys = Credentials::new(ACCESS_KEY.to_owned(), SECRET_KEY.to_owned(), None);
        store::open(&Location::parse(&self.url(name)).unwrap(), Some(keys)).await.unwrap()
    }

    /// Puts a file into a drop, in place of one that is there.
    async fn put(&self, name: &str, file: &str, content: impl Into<Vec<u8>>) {
        let (store, key, content): (_, _, Vec<u8>) =
            (self.store(name).await, Key::parse(file).unwrap(), content.into());
        store.delete(&key).await.unwrap();
        store.create(&key, content.into(), &[0; 32]).await.unwrap();
    }

    async fn remove(&self, name: &str, file: &str) {
        self.store(name).await.delete(&Key::parse(file).unwrap()).await.unwrap();
    }

    /// A drop with one file and the mark that it is complete.
    async fn drop(&self, name: &str, csv: &str) {
        self.put(name, "samples.csv", csv).await;
        self.put(name, "_SUCCESS", "").await;
    }

    /// A load of what `--drop` says into the table.
    fn load(&self, drop: &str) -> Job {
        self.job(["load", "--table", "samples"], drop)
    }

    /// A load by `/bin/sh`.
    fn run(&self, drop: &str, script: &str) -> Job {
        self.job(["load", "--", "/bin/sh", "-c", script], drop)
    }

    fn job<const N: usize>(&self, words: [&str; N], drop: &str) -> Job {
        Job::new(words)
            .env("LONGSHORE_TARGET", self.db.url())
            .env("LONGSHORE_DROP", drop)
            .env("LONGSHORE_JOB", "samples")
            .env("LONGSHORE_S3_ACCESS_KEY", ACCESS_KEY)
            .env("LONGSHORE_S3_SECRET_KEY", SECRET_KEY)
            .env("LONGSHORE_LEASE", format!("file://{}/leases", self.folder.path().display()))
            .env("LONGSHORE_SCRATCH", self.scratch().to_str().unwrap())
            .env("NOTES", self.folder.path().to_str().unwrap())
    }

    fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// What programs wrote.
    fn note(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    async fn count(&self) -> String {
        self.db.value("select count(*) from samples").await
    }

    /// Directories that runs have made for what they fetch.
    fn fetched(&self) -> Vec<PathBuf> {
        let homes = std::fs::read_dir(self.scratch()).unwrap().map(|home| home.unwrap().path());
        homes.flat_map(|home| std::fs::read_dir(home).unwrap()).map(|run| run.unwrap().path()).collect()
    }

    fn assert_nothing_left(&self) {
        assert_eq!((self.fetched(), files(&self.scratch())), (Vec::new(), Vec::new()));
    }

    /// Fails unless a load failed like this and nobody could tell from data, ledger or disk that it was there.
    async fn refused(&self, outcome: Outcome, code: i32, words: &str) {
        let outcome = assert_failed(outcome, code, words);
        assert!(!outcome.stderr.contains(SECRET_KEY), "{}", outcome.report());
        let ledger = "select count(*) from pg_namespace where nspname = 'longshore'";
        assert_eq!((self.count().await, self.db.value(ledger).await), ("0".into(), "0".into()), "{}", outcome.report());
        self.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_drop_in_a_bucket_is_the_one_of_the_directory() {
    let pier = Pier::new().await;
    let directory = pier.folder.path().join("one");
    std::fs::create_dir_all(directory.join("more")).unwrap();
    let listed = "files: [{path: samples.csv, bytes: 16}, {path: more/c.csv, rows: 1, table: samples}]";
    for (file, content) in [("samples.csv", TWO_ROWS), ("more/c.csv", "id,name\n3,c\n"), ("drop.yaml", listed)] {
        std::fs::write(directory.join(file), content).unwrap();
        pier.put("one", file, content).await;
    }
    // Neither is part of it.
    pier.put("one", ".hidden", "x").await;
    pier.put("one", "d.csv.part", "x").await;
    pier.put("one-more", "samples.csv", "x").await;
    let (directory, bucket) = (directory.to_str().unwrap().to_owned(), pier.url("one"));
    let json = |load: Job| async move { load.env("LONGSHORE_OUTPUT", "json").run().await.success().json() };
    let loaded = json(pier.load(&directory)).await;
    assert_eq!((loaded["outcome"].as_str(), pier.count().await.as_str()), (Some("loaded"), "3"), "{loaded}");
    let again = json(pier.load(&bucket)).await;
    assert_eq!(again["outcome"].as_str(), Some("already_loaded"), "{again}");
    assert_eq!(again["by"]["drop"], loaded["record"]["drop"]);
    // The other way round, as another job.
    pier.db.exec("truncate samples").await;
    let other = |drop: &str| pier.load(drop).env("LONGSHORE_JOB", "other");
    let first = other(&bucket).run().await.success();
    assert!(first.stdout.contains("loaded 3 rows") && first.stderr.contains("d.csv.part"), "{}", first.report());
    let then = other(&directory).run().await.success();
    assert!(then.stdout.contains("already loaded"), "{}", then.report());
    assert_eq!(pier.count().await, "3");
    let source =
        pier.db.value("select source from longshore.load_ledger where job = 'other' and status = 'loaded'").await;
    assert_eq!(source, bucket);
    pier.assert_nothing_left();
}

#[tokio::test]
async fn a_drop_that_is_not_complete_is_not_fetched() {
    let pier = Pier::new().await;
    let proxy = S3::start(pier.server.port).await;
    let url = pier.url_at("one", proxy.port());
    pier.refused(pier.load(&url).run().await, 66, "is not complete: it holds 0 files").await;
    pier.put("one", "samples.csv", TWO_ROWS).await;
    pier.refused(
        pier.load(&url).run().await,
        66,
        "is not complete: it holds 1 files, 0 unfinished, and none of drop.yaml",
    )
    .await;
    pier.put("one", "drop.yaml", "files: [{path: samples.csv}, {path: more.csv}]").await;
    pier.refused(pier.load(&url).run().await, 66, "lacks files of its manifest: more.csv").await;
    pier.put("one", "drop.yaml", "files: [{path: samples.csv, bytes: 17}]").await;
    pier.refused(pier.load(&url).run().await, 65, "samples.csv has 16 bytes, and the manifest says 17").await;
    pier.put("one", "drop.yaml", "files: [{path: ../samples.csv}]").await;
    pier.refused(pier.load(&url).run().await, 77, "drop.yaml lists ../samples.csv").await;
    assert_eq!(proxy.count("GET", "samples.csv"), 0);
    let wrong = format!("{}  samples.csv\n", "0".repeat(64));
    pier.remove("one", "drop.yaml").await;
    pier.put("one", "SHA256SUMS", wrong).await;
    let outcome = assert_failed(pier.load(&url).run().await, 65, "does not have the hash that the manifest gives");
    assert_eq!(pier.count().await, "0", "{}", outcome.report());
    pier.remove("one", "SHA256SUMS").await;
    pier.load(&url).env("LONGSHORE_COMPLETE", "true").run().await.success();
    assert_eq!(pier.count().await, "2");
    pier.assert_nothing_left();
}

/// The list is made, and before the file is read, or in the middle of it, somebody writes into the bucket.
#[tokio::test]
async fn an_object_that_changed_since_the_list_was_made_is_not_loaded() {
    let pier = Pier::new().await;
    let proxy = S3::start(pier.server.port).await;
    let url = pier.url_at("one", proxy.port());
    for replaced in [true, false] {
        for begun in [false, true] {
            pier.drop("one", TWO_ROWS).await;
            let before = proxy.count("GET", "samples.csv");
            if begun {
                proxy.add(Rule::new(Fault::ResetBody(9)).method("GET").key("samples.csv"));
            }
            proxy.add(Rule::new(Fault::Hold).method("GET").key("samples.csv").always());
            let load = pier.load(&url).spawn();
            proxy.wait_for("GET", "samples.csv", before + 1 + usize::from(begun)).await;
            match replaced {
                true => pier.put("one", "samples.csv", "id,name\n1,x\n2,y\n").await,
                false => pier.remove("one", "samples.csv").await,
            }
            proxy.clear();
            let words =
                if replaced { "samples.csv changed while the drop was read: it was replaced" } else { "it is gone" };
            pier.refused(load.wait().await, 66, words).await;
        }
    }
    // A mark that is written again while the list is made.
    pier.drop("one", TWO_ROWS).await;
    let lists = proxy.count("GET", "list-type=2");
    // The first three look for marks.
    proxy.add(Rule::new(Fault::Hold).method("GET").key("list-type=2").nth(4).always());
    let load = pier.load(&url).spawn();
    proxy.wait_for("GET", "list-type=2", lists + 4).await;
    pier.put("one", "_SUCCESS", "again").await;
    proxy.clear();
    pier.refused(load.wait().await, 66, "_SUCCESS changed while the drop was read").await;
    pier.load(&url).run().await.success();
    assert_eq!(pier.count().await, "2");
}

#[tokio::test]
async fn a_connection_that_breaks_is_read_on_and_one_that_stays_broken_loads_nothing() {
    let pier = Pier::new().await;
    let rows: String = (0..30_000).map(|id| format!("{id},some name of {id} that makes the row longer\n")).collect();
    pier.drop("one", &format!("id,name\n{rows}")).await;
    let proxy = S3::start(pier.server.port).await;
    let url = pier.url_at("one", proxy.port());
    for (fault, key) in
        [(Fault::ResetBody(10), "samples.csv"), (Fault::Truncate(9), "samples.csv"), (Fault::Reset, "list-type=2")]
    {
        proxy.clear();
        proxy.add(Rule::new(fault).method("GET").key(key).always());
        let outcome = pier.load(&url).run().await;
        pier.refused(outcome, 69, if key == "list-type=2" { "list objects" } else { "read samples.csv" }).await;
    }
    proxy.clear();
    for (nth, fault) in [
        Fault::Status(500),
        Fault::ResetBody(300_000),
        Fault::Truncate(200_000),
        Fault::Reset,
        Fault::ResetBody(500_000),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.add(Rule::new(fault).method("GET").key("samples.csv").nth(nth as u64 + 1));
    }
    let outcome = pier.load(&url).run().await.success();
    assert!(outcome.stdout.contains("loaded 30,000 rows"), "{}", outcome.report());
    let sum = "select count(*) || ' ' || sum(id) || ' ' || sum(length(name)) from samples";
    let expected: usize =
        (0..30_000).map(|id: usize| format!("some name of {id} that makes the row longer").len()).sum();
    assert_eq!(pier.db.value(sum).await, format!("30000 449985000 {expected}"));
    pier.assert_nothing_left();
}

#[tokio::test]
async fn what_cannot_be_read_is_told_by_name() {
    let pier = Pier::new().await;
    pier.drop("one", TWO_ROWS).await;
    let url = pier.url("one");
    let absent = url.replace(&pier.bucket, &format!("{}-absent", pier.bucket));
    pier.refused(pier.load(&absent).run().await, 66, "there is no s3://").await;
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    pier.refused(pier.load(&pier.url_at("one", nobody)).run().await, 69, "could not list objects in s3://").await;
    let wrong = pier.load(&url).env("LONGSHORE_S3_SECRET_KEY", "canary-of-a-secret").run().await;
    assert!(!wrong.stderr.contains("canary"), "{}", wrong.report());
    pier.refused(wrong, 77, "no permission to list objects").await;
    for (drop, code, words) in [
        ("s3://canary:canary@b/x", 78, "holds a user or a password"),
        ("s3://b/x?endpoint=canary", 78, "endpoint"),
        ("file:///srv/canary", 64, "s3://BUCKET/PREFIX"),
    ] {
        let outcome = pier.load(drop).run().await;
        assert!(!outcome.stderr.contains("canary"), "{}", outcome.report());
        pier.refused(outcome, code, words).await;
    }
    let half = pier.load(&url).env("LONGSHORE_S3_ACCESS_KEY", "").run().await;
    pier.refused(half, 78, "only one is given").await;
    let nowhere = pier.load(&url).env("LONGSHORE_SCRATCH", "/nowhere/at/all").run().await;
    pier.refused(nowhere, 78, "could not make room for the drop in /nowhere/at/all").await;
    // The chain that every command asks.
    let chain = Job::new(["load", "--job", "samples", "--table", "samples"]).with_s3_keys();
    let chain = chain.env("LONGSHORE_TARGET", pier.db.url()).env("LONGSHORE_DROP", &url);
    let chain = chain.env("LONGSHORE_LEASE", format!("file://{}/leases", pier.folder.path().display()));
    chain.env("LONGSHORE_SCRATCH", pier.scratch().to_str().unwrap()).run().await.success();
    assert_eq!(pier.count().await, "2");
}

#[tokio::test]
async fn credentials_need_to_list_and_to_read_and_nothing_else() {
    let pier = Pier::new().await;
    if !pier.server.has_client() {
        return;
    }
    pier.drop("one", TWO_ROWS).await;
    let allow = |action: &str, resource: &str| {
        format!(
            r#"{{"Effect":"Allow","Action":["s3:{action}"],"Resource":["arn:aws:s3:::{}{resource}"]}}"#,
            pier.bucket
        )
    };
    let (list, read) = (allow("ListBucket", ""), allow("GetObject", "/lab/one/*"));
    let load = |statements: &str| {
        let (key, secret) = pier.server.user(&format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#));
        pier.load(&pier.url("one")).env("LONGSHORE_S3_ACCESS_KEY", key).env("LONGSHORE_S3_SECRET_KEY", secret)
    };
    pier.refused(load(&list).run().await, 77, "no permission to read _SUCCESS").await;
    pier.refused(load(&read).run().await, 77, "no permission to list objects").await;
    load(&format!("{list},{read}")).run().await.success();
    assert_eq!(pier.count().await, "2");
}

/// A server that lists one more name than an honest one would take.
async fn liar(name: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
            let object = |name: &str| {
                format!("<Contents><Key>lab/one/{name}</Key><Size>5</Size><ETag>&quot;tag&quot;</ETag></Contents>")
            };
            let is_list = String::from_utf8_lossy(&request).contains("list-type=2");
            let body = match is_list {
                true => {
                    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>", object(name))
                }
                false => "hello".to_owned(),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nETag: \"tag\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
        }
    });
    port
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_refused() {
    let pier = Pier::new().await;
    for name in ["../x", "../../../x", "a/../../x", "/x", "a\\..\\x"] {
        let load = pier.load(&pier.url_at("one", liar(name).await)).env("LONGSHORE_COMPLETE", "true");
        pier.refused(load.run().await, 77, "cannot be part of a drop").await;
        assert!(files(pier.folder.path()).iter().all(|file| !file.ends_with("x")), "{name}");
    }
    // The same server, honest: what was refused above is the name.
    let load = pier.run(&pier.url_at("one", liar("x").await), "cat $LONGSHORE_LOAD_DROP/x > $NOTES/said");
    load.env("LONGSHORE_COMPLETE", "true").run().await.success();
    assert_eq!(pier.note("said"), "hello");
}

#[tokio::test]
async fn a_program_finds_the_drop_in_a_directory_that_is_gone_afterwards() {
    let pier = Pier::new().await;
    pier.drop("one", TWO_ROWS).await;
    pier.put("one", "deep/er/image.bin", "scan").await;
    let url = pier.url("one");
    let script = "cd $LONGSHORE_LOAD_DROP; pwd > $NOTES/where; find . -type f | sort > $NOTES/files; cat deep/er/image.bin > $NOTES/image
        stat -c %a . deep samples.csv > $NOTES/modes; echo run >> $NOTES/runs";
    for (end, code) in [("exit 65", 65), ("exit 1", 78), ("echo x >> $LONGSHORE_LOAD_DROP/samples.csv", 66)] {
        assert_failed(pier.run(&url, &format!("{script}; {end}")).run().await, code, "error");
        pier.assert_nothing_left();
    }
    pier.run(&url, script).run().await.success();
    assert_eq!(pier.note("files"), "./_SUCCESS\n./deep/er/image.bin\n./samples.csv\n");
    assert_eq!((pier.note("image").as_str(), pier.note("modes").as_str()), ("scan", "700\n700\n600\n"));
    let scratch = pier.scratch().canonicalize().unwrap();
    assert!(pier.note("where").starts_with(scratch.to_str().unwrap()), "{}", pier.note("where"));
    let again = pier.run(&url, script).run().await.success();
    assert!(again.stdout.contains("already loaded"), "{}", again.report());
    assert_eq!(pier.note("runs").lines().count(), 4);
    pier.assert_nothing_left();
}

#[tokio::test]
async fn a_signal_ends_the_fetching_and_what_a_killed_run_has_left_goes_with_the_next() {
    let pier = Pier::new().await;
    pier.drop("one", TWO_ROWS).await;
    let proxy = S3::start(pier.server.port).await;
    let url = pier.url_at("one", proxy.port());
    let stall = || proxy.add(Rule::new(Fault::Stall).method("GET").key("samples.csv").always());
    stall();
    let load = pier.load(&url).spawn();
    proxy.wait_for("GET", "samples.csv", 1).await;
    assert_eq!(pier.fetched().len(), 1);
    load.signal(Signal::Terminate);
    pier.refused(load.wait().await, 74, "stopped by SIGTERM").await;
    let before = proxy.count("GET", "samples.csv");
    let load = pier.load(&url).spawn();
    proxy.wait_for("GET", "samples.csv", before + 1).await;
    load.signal(Signal::Kill);
    load.wait().await;
    assert_eq!(pier.fetched().len(), 1);
    proxy.clear();
    pier.load(&url).run().await.success();
    assert_eq!(pier.count().await, "2");
    pier.assert_nothing_left();
}

#[tokio::test]
async fn memory_does_not_grow_with_a_file() {
    let pier = Pier::new().await;
    const SIZE: usize = 256 << 20;
    pier.put("one", "image.bin", vec![7u8; SIZE]).await;
    pier.put("one", "_SUCCESS", "").await;
    let outcome = pier.run(&pier.url("one"), "stat -c %s $LONGSHORE_LOAD_DROP/image.bin > $NOTES/size").run().await;
    let outcome = outcome.success();
    assert_eq!(pier.note("size").trim(), SIZE.to_string());
    assert!(outcome.max_rss.is_none_or(|most| most < 160 << 20), "{}", outcome.report());
}
