//! G4: secrets appear in no argument list, log line, error or stored object.

use crate::place::{Place, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use testkit::recorder::{Answer, Recorder};
use testkit::servers::postgres;
use testkit::{Job, Outcome};

const CANARY: &str = "c4nary-pa55:w\\rd";
/// Another one, for what a user puts on the command line: all processes are watched for the first.
const ON_ARGV: &str = "h1dden-pa55%3Aw%5Crd";

fn assert_silent(outcome: &Outcome) {
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    for canary in ["c4nary", "h1dden"] {
        assert!(!said.contains(canary), "a secret was printed\n{}", outcome.report());
    }
}

/// Watches the argument lists and environments of all processes while a job runs.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(u64, Vec<String>)>,
}

impl Watch {
    /// `own` marks the job's own environment, where the test itself put the secret.
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut looks, mut found) = (0, Vec::new());
            while !stopped.load(Relaxed) {
                looks += 1;
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    let read = |name: &str| {
                        let bytes = std::fs::read(process.path().join(name)).unwrap_or_default();
                        String::from_utf8_lossy(&bytes).replace('\0', " ")
                    };
                    let arguments = read("cmdline");
                    if arguments.contains("c4nary") {
                        found.push(format!("argv: {arguments}"));
                    }
                    if arguments.contains("pg_dump") || arguments.contains("pg_restore") {
                        let environment = read("environ");
                        if environment.contains("c4nary") {
                            found.push(format!("environment of {arguments}"));
                        }
                    }
                }
                std::thread::yield_now();
            }
            (looks, found)
        });
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Relaxed);
        let (looks, found) = self.thread.join().unwrap();
        assert!(looks > 0);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[tokio::test]
async fn a_password_is_in_no_argument_log_error_or_object() {
    let db = postgres(15).await.create_database().await;
    testkit::data::realistic(&db, 5).await;
    let role = format!("{}_secret", db.name);
    db.exec(&format!("create role {role} superuser login password '{}'", CANARY)).await;
    let server = &db.server;
    let url = |name: &str| format!("postgres://{role}@{}:{}/{name}", server.host, server.port);
    let place = Place::new().await;
    let secret = place.folder.path().join("password");
    std::fs::write(&secret, format!("{CANARY}\n")).unwrap();
    let secret = secret.display().to_string();
    let watch = Watch::start();
    let backup = place
        .backup(&url(&db.name))
        .env("LONGSHORE_SOURCE_PASSWORD_FILE", &secret)
        .env("LONGSHORE_LOG", "trace")
        .run()
        .await;
    assert_silent(&backup);
    let target = Target::of(&db);
    let restore = place
        .restore(&url(&target.name))
        .env("LONGSHORE_TARGET_PASSWORD_FILE", &secret)
        .env("LONGSHORE_LOG", "trace")
        .run()
        .await;
    assert_silent(&restore);
    watch.end();
    backup.success();
    restore.success();
    std::fs::remove_file(place.folder.path().join("password")).unwrap();
    for object in crate::place::files(&place.path()) {
        let bytes = std::fs::read(&object).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"c4nary"), "{}", object.display());
    }
    db.exec(&format!("reassign owned by {role} to postgres; drop owned by {role}")).await;
    drop(target);
    db.exec(&format!("drop role {role}")).await;
}

#[tokio::test]
async fn a_wrong_password_a_bad_url_and_a_dead_server_say_nothing_secret() {
    let db = postgres(15).await.create_database().await;
    let place = Place::new().await;
    let server = &db.server;
    let encoded = ON_ARGV;
    for (url, code) in [
        (format!("postgres://postgres:{encoded}@{}:{}/{}", server.host, server.port, db.name), 77),
        (format!("postgres://postgres:{encoded}@127.0.0.1:1/{}", db.name), 69),
        (format!("postgres://postgres:{encoded}@127.0.0.1:99999/x"), 78),
        (format!("oracle://root:{encoded}@127.0.0.1/x"), 78),
        (format!("mysql://root:{encoded}@127.0.0.1:1/x"), 69),
        (format!("postgres://postgres:{encoded}@/x"), 78),
    ] {
        let outcome = place.backup(&url).env("LONGSHORE_LOG", "trace").run().await;
        assert_silent(&outcome);
        outcome.expect_code(code);
        let on_argv = Job::new(["backup", "--source", &url, "--repo", &place.repo]).run().await;
        assert!(!on_argv.stderr.contains("h1dden"), "{}", on_argv.report());
    }
    place.assert_no_manifest();
}

/// Result file, termination log, metrics, pings and messages: of a run that goes well, and of one that is refused.
#[tokio::test]
async fn what_others_are_told_has_no_secret_and_their_urls_are_not_repeated() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x text); insert into t values ('c4nary')").await;
    let place = Place::new().await;
    let heard = Recorder::start(Answer::Status(200)).await;
    // Behind these nobody listens: what is said about them is what may not show them.
    let unheard = "http://c4nary:c4nary@127.0.0.1:1/c4nary?token=c4nary#c4nary";
    let server = &db.server;
    let right = db.url();
    let wrong = format!("postgres://postgres:{ON_ARGV}@{}:{}/{}", server.host, server.port, db.name);
    for (url, code) in [(right, 0), (wrong, 77)] {
        for to in [heard.url("/h1dden"), unheard.to_owned()] {
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str| folder.path().join(name).display().to_string();
            let mut job = place.backup(&url).env("LONGSHORE_LOG", "trace").env("LONGSHORE_WEBHOOK_ON", "always");
            for name in ["LONGSHORE_PING", "LONGSHORE_PUSH_GATEWAY", "LONGSHORE_WEBHOOK"] {
                job = job.env(name, &to);
            }
            job = job.env("LONGSHORE_RESULT_FILE", file("result.json")).env("LONGSHORE_METRICS_FILE", file("m.prom"));
            let outcome = job.env("LONGSHORE_TERMINATION_LOG", file("log")).run().await;
            assert_silent(&outcome);
            outcome.expect_code(code);
            for name in ["result.json", "m.prom", "log"] {
                let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
                assert!(!text.is_empty() && !text.contains("c4nary") && !text.contains("h1dden"), "{name}: {text}");
            }
        }
    }
    assert!(heard.requests().len() >= 8, "{:?}", heard.lines());
    for request in heard.requests() {
        assert!(!request.body.contains("c4nary") && !request.body.contains("h1dden"), "{request:?}");
    }
}

#[tokio::test]
async fn s3_keys_are_in_no_log_or_error() {
    let server = testkit::servers::minio().await;
    let url = server.bucket().await;
    let job = Job::new(["init"])
        .env("LONGSHORE_REPO", &url)
        .env("LONGSHORE_S3_ACCESS_KEY", "a-key-id")
        .env("LONGSHORE_S3_SECRET_KEY", CANARY)
        .env("LONGSHORE_LOG", "trace");
    let outcome = job.run().await;
    assert_silent(&outcome);
    outcome.expect_code(77);
}

/// What a function raises about a row is as much a row as the row itself.
#[tokio::test]
async fn what_a_check_raises_about_a_row_is_not_repeated() {
    for raise in ["raise exception 'bad patient %', x", "raise sqlstate '23514' using message = 'bad patient ' || x"] {
        let db = postgres(15).await.create_database().await;
        db.exec(&format!(
            "create function known(x text) returns bool language plpgsql as 'begin return true; end';
             create table patients (x text check (known(x))); insert into patients values ('c4nary');
             create or replace function known(x text) returns bool language plpgsql as $$ begin {raise}; end $$"
        ))
        .await;
        let place = Place::new().await;
        place.backup(&db.url()).run().await.success();
        let target = Target::of(&db);
        let outcome = place.restore(&target.url).env("LONGSHORE_LOG", "trace").run().await;
        assert_silent(&outcome);
        let outcome = crate::place::assert_failed(outcome, 65, "PL/pgSQL function known(text) line 1 at RAISE");
        assert!(outcome.stderr.contains("public.patients"), "{}", outcome.report());
    }
}
