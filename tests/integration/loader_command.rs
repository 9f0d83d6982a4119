//! Loading drops by a program of the user's own, by the command: exit codes, signals, leases that are lost, what is shown and what is kept.

use std::path::PathBuf;

use testkit::programs::{STUBBORN, gone};
use testkit::proxy::Tcp;
use testkit::servers::{TestDatabase, postgres, redis};
use testkit::{Job, Signal};

use crate::place::{assert_failed, until};

/// A database for the ledger, a drop, and a folder for leases and for what programs write.
struct Quay {
    db: TestDatabase,
    folder: tempfile::TempDir,
}

impl Quay {
    async fn new() -> Quay {
        let quay = Quay { db: postgres(17).await.create_database().await, folder: tempfile::tempdir().unwrap() };
        for folder in ["leases", "drop"] {
            std::fs::create_dir(quay.path(folder)).unwrap();
        }
        std::fs::write(quay.path("drop/image.bin"), "scan").unwrap();
        std::fs::write(quay.path("drop/_SUCCESS"), "").unwrap();
        quay
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A load by `/bin/sh`, with more options before the program.
    fn load_with(&self, options: &[&str], script: &str) -> Job {
        let drop = self.path("drop");
        let ours = ["load", "--job", "images", "--drop", drop.to_str().unwrap()];
        let program = ["--", "/bin/sh", "-c", script];
        Job::new(ours.iter().chain(options).chain(&program).copied())
            .env("LONGSHORE_TARGET", self.db.url())
            .env("LONGSHORE_LEASE", format!("file://{}", self.path("leases").display()))
            .env("SCRATCH", self.folder.path().to_str().unwrap())
    }

    fn load(&self, script: &str) -> Job {
        self.load_with(&[], script)
    }

    async fn loaded(&self) -> String {
        self.db.value("select count(*) from longshore.load_ledger where status = 'loaded'").await
    }
}

async fn both_pids(quay: &Quay) -> [String; 2] {
    until("the program to be at work", async || quay.text("leader").ends_with('\n')).await;
    let pids = [quay.text("leader"), quay.text("child")];
    assert!(!gone(&pids[0]) && !gone(&pids[1]));
    pids
}

#[tokio::test]
async fn a_program_loads_a_drop_once_and_its_output_is_shown_and_kept() {
    let quay = Quay::new().await;
    let out = quay.path("out");
    let keeping = ["--output-file", out.to_str().unwrap()];
    let script = "echo run >> $SCRATCH/runs; printf 'to stdout\\n\\033[31mred\\n'; printf 'to stderr' >&2";
    let first = quay.load_with(&keeping, script).run().await.success();
    assert!(first.stdout.contains("loaded by /bin/sh") && !first.stdout.contains("to std"), "{}", first.report());
    for shown in ["sh: to stdout", "sh: to stderr", "u{1b}[31mred"] {
        assert!(first.stderr.contains(shown), "{}", first.report());
    }
    assert!(!first.stderr.contains("\u{1b}[31m"), "{}", first.report());
    let kept = quay.text("out");
    assert!(kept.contains("to stdout\n\u{1b}[31mred\n") && kept.contains("to stderr"), "{kept:?}");
    // The file is there, and this is no error: nobody writes into it.
    let again = quay.load_with(&keeping, script).run().await.success();
    assert!(again.stdout.contains("already loaded"), "{}", again.report());
    assert_eq!((quay.text("runs").as_str(), quay.loaded().await.as_str()), ("run\n", "1"));
    let reload = || quay.load_with(&["--reload", "--output", "json"], script);
    let json = reload().run().await.success().json();
    assert_eq!((json["outcome"].as_str(), json["record"]["mode"].as_str()), (Some("loaded"), Some("command")));
    assert_failed(reload().env("LONGSHORE_OUTPUT_FILE", out.to_str().unwrap()).run().await, 73, "is there already");
    assert_eq!((quay.text("runs").as_str(), quay.text("out")), ("run\nrun\n", kept));
    let history = Job::new(["load", "--history"]).env("LONGSHORE_TARGET", quay.db.url()).run().await.success();
    assert!(history.stdout.contains("/bin/sh") && history.stdout.contains("command"), "{}", history.report());
}

#[tokio::test]
async fn how_a_program_ends_is_how_the_run_ends() {
    let quay = Quay::new().await;
    let result = quay.path("result.json");
    for (script, code, words) in [
        ("exit 65", 65, "/bin/sh ended with exit code 65"),
        ("exit 75", 75, "/bin/sh ended with exit code 75"),
        ("exit 74", 78, "/bin/sh ended with exit code 74"),
        ("kill -9 $$", 78, "/bin/sh ended with SIGKILL"),
        ("echo more >> $LONGSHORE_LOAD_DROP/image.bin", 66, "image.bin changed"),
    ] {
        let told = ["--result-file", result.to_str().unwrap()];
        let outcome = quay.load_with(&told, &format!("echo canary; {script}")).run().await;
        assert!(!quay.text("result.json").contains("canary"), "{}", quay.text("result.json"));
        assert_failed(outcome, code, words);
    }
    assert_eq!(quay.loaded().await, "0");
    assert!(!quay.db.value("select string_agg(l::text, '|') from longshore.load_ledger l").await.contains("canary"));
    quay.load("true").run().await.success();
    assert_eq!(quay.loaded().await, "1");
}

#[tokio::test]
async fn what_makes_no_sense_with_a_program_is_refused_by_name_and_asks_nobody() {
    let quay = Quay::new().await;
    for (name, value, option) in [
        ("LONGSHORE_TABLE", "t", "--table"),
        ("LONGSHORE_MODE", "append", "--mode"),
        ("LONGSHORE_FORMAT", "csv", "--format"),
        ("LONGSHORE_CONTRACT", "c.json", "--contract"),
        ("LONGSHORE_WORKERS", "4", "--workers"),
        ("LONGSHORE_DRY_RUN", "true", "--dry-run"),
        ("LONGSHORE_HISTORY", "true", "--history"),
    ] {
        assert_failed(quay.load("echo > $SCRATCH/ran").env(name, value).run().await, 64, option);
    }
    let drop = quay.path("drop");
    let by = |program: &str, out: &str| {
        let words = ["load", "--job", "j", "--drop", drop.to_str().unwrap(), "--output-file", out, "--", program];
        Job::new(words).env("LONGSHORE_TARGET", quay.db.url())
    };
    let out = quay.path("out");
    let out = out.to_str().unwrap();
    assert_failed(by("/nowhere/load", out).run().await, 78, "/nowhere/load cannot be started");
    assert_failed(by(drop.join("image.bin").to_str().unwrap(), out).run().await, 78, "executable");
    assert_failed(by("true", "/nowhere/out").run().await, 78, "/nowhere/out");
    let inside = drop.join("out");
    assert_failed(by("true", inside.to_str().unwrap()).run().await, 64, "--output-file lies in the drop");
    assert!(!inside.exists());
    let no_program = Job::new(["load", "--job", "j", "--table", "t", "--output-file", out]);
    let no_program = no_program.env("LONGSHORE_TARGET", quay.db.url()).env("LONGSHORE_DROP", drop.to_str().unwrap());
    assert_failed(no_program.run().await, 64, "--output-file");
    assert_eq!(quay.db.value("select count(*) from pg_namespace where nspname = 'longshore'").await, "0");
    assert!(!quay.path("ran").exists() && !quay.path("out").exists());
}

#[tokio::test]
async fn a_program_sees_none_of_our_secrets() {
    let quay = Quay::new().await;
    let load = quay.load("env > $SCRATCH/env; readlink /proc/$$/fd/0 > $SCRATCH/stdin");
    load.env("LONGSHORE_LEASE_PASSWORD", "canary").env("OTHER", "stays").run().await.success();
    let env = quay.text("env");
    assert!(env.contains("OTHER=stays\n") && env.contains("LONGSHORE_LOAD_EPOCH=1\n"), "{env}");
    let ours = env.lines().filter(|line| line.starts_with("LONGSHORE_") && !line.starts_with("LONGSHORE_LOAD_"));
    assert_eq!((ours.count(), env.contains("canary"), env.contains("postgres")), (0, false, false), "{env}");
    assert_eq!(quay.text("stdin"), "/dev/null\n");
}

#[tokio::test]
async fn a_signal_ends_the_program_and_what_it_has_started() {
    let quay = Quay::new().await;
    let load = quay.load(STUBBORN).spawn();
    let pids = both_pids(&quay).await;
    load.signal(Signal::Terminate);
    // After ten seconds, for these do not want to.
    let outcome = assert_failed(load.wait().await, 74, "stopped by SIGTERM");
    assert!(outcome.stderr.contains("what /bin/sh has done stays"), "{}", outcome.report());
    until("the group to be gone", async || pids.iter().all(|pid| gone(pid))).await;
    assert_eq!(quay.loaded().await, "0");
    let polite = "trap 'echo tidy > $SCRATCH/tidy; exit 0' TERM; echo > $SCRATCH/ready; while :; do sleep 0.05; done";
    let load = quay.load(polite).spawn();
    until("the program to be at work", async || quay.path("ready").exists()).await;
    load.signal(Signal::Interrupt);
    assert_failed(load.wait().await, 74, "stopped by SIGINT");
    assert_eq!((quay.text("tidy").as_str(), quay.loaded().await.as_str()), ("tidy\n", "0"));
}

/// The lease's server is gone, so the lease is over when its time is.
#[tokio::test]
async fn a_lost_lease_kills_the_program_and_what_it_has_started() {
    let quay = Quay::new().await;
    let server = redis().await;
    let proxy = Tcp::start("127.0.0.1", server.port).await;
    let load = quay.load(STUBBORN).env("LONGSHORE_LEASE", server.url_at_port(proxy.port()));
    let load = load.env("LONGSHORE_LEASE_TTL", "3s").spawn();
    let pids = both_pids(&quay).await;
    proxy.refuse();
    proxy.cut();
    assert_failed(load.wait().await, 74, "did not confirm it in time");
    until("the group to be gone", async || pids.iter().all(|pid| gone(pid))).await;
    assert_eq!(quay.loaded().await, "0");
}

/// Nobody is left to end the whole group; the kernel ends the program itself.
#[tokio::test]
async fn a_killed_run_takes_the_program_itself_along() {
    let quay = Quay::new().await;
    let load = quay.load(STUBBORN).spawn();
    let [leader, child] = both_pids(&quay).await;
    load.signal(Signal::Kill);
    load.wait().await;
    until("the program to be gone", async || gone(&leader)).await;
    assert!(!gone(&child), "as the guide says of what it has started");
    let killed = std::process::Command::new("kill").args(["-9", child.trim()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(quay.loaded().await, "0");
}
