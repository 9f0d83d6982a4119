//! Whole processes: exit codes, what is on stdout and stderr, signals. The process is this test binary again, running
//! `job` below in the part that a variable names; the test harness's own lines on its stdout are left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use process::{Command, Error, Status};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::*;

const PART: &str = "LONGSHORE_TEST_PART";
const LINE: &str = "LONGSHORE_TEST_LINE";
const READY: &str = "LONGSHORE_TEST_READY";
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Job {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    source: Option<String>,
}

#[test]
#[ignore = "the process that the tests below start"]
fn job() {
    let Ok(part) = std::env::var(PART) else { return };
    let line = std::env::var(LINE).unwrap_or_default();
    let argv = std::iter::once("job").chain(line.split_whitespace()).map(Into::into).collect();
    let code = run_with(Vars::from_env(), argv, |job: &Job| &job.common, async |job, kit| play(&part, &job, kit).await);
    let exit = Exit::ALL.into_iter().find(|exit| ExitCode::from(exit.code()) == code).unwrap();
    std::process::exit(exit.code().into());
}

async fn play(part: &str, job: &Job, kit: Kit) -> Result<(), Failure> {
    match part {
        "succeed" => {
            kit.progress.stage("copying");
            kit.progress.add(3, 1000);
            kit.progress.set_total(500, 0);
            tracing::info!(url = job.source, "reading");
            kit.progress.finish();
            kit.printer.print(&json!({"ok": true}), |_| "{done}".to_owned())
        }
        "fail" => Err(Failure::new(Exit::Data, "postgres://u:canary@h/db is wrong").hint("look")),
        "panic" => panic!("canary password=canary"),
        "obey" => {
            announce();
            kit.shutdown.token().cancelled().await;
            Err(Failure::new(Exit::Unavailable, "connection closed"))
        }
        "ignore" => {
            kit.progress.stage("waiting");
            kit.progress.set_total(4 << 30, 0);
            kit.progress.add(1_234_567, 1 << 30);
            kit.progress.message("public.orders");
            announce();
            std::future::pending().await
        }
        "flood" => kit.printer.print(&json!("x".repeat(1_000_000)), |_| "y\n".repeat(1_000_000)),
        other => Err(Failure::new(Exit::Internal, format!("no part {other}"))),
    }
}

fn announce() {
    fs::write(std::env::var_os(READY).unwrap(), "ready").unwrap();
}

fn command(part: &str, line: &str) -> Command {
    Command::new(std::env::current_exe().unwrap().to_str().unwrap())
        .args(["--exact", "tests::processes::job", "--ignored", "--nocapture"])
        .env(PART, part)
        .env(LINE, line)
        .capture(10_000_000)
}

struct Ran {
    code: i32,
    stdout: Vec<String>,
    stderr: String,
}

impl Ran {
    /// The lines of stderr that are JSON objects; everything there must be.
    fn log(&self) -> Vec<Value> {
        self.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// Runs it through a shell that keeps stdout in a file, since a failed child has no captured output.
async fn ran(part: &str, line: &str, vars: &[(&str, &str)]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut command = command(part, line).stdout_to(&out);
    for (name, value) in vars {
        command = command.env(name, value);
    }
    let (code, stderr) = match command.spawn().unwrap().wait().await {
        Ok(output) => (0, output.stderr_tail),
        Err(Error::Failed { status: Status::Code(code), stderr_tail, .. }) => (code, stderr_tail),
        Err(error) => panic!("{error:?}"),
    };
    let stdout = fs::read_to_string(out).unwrap();
    assert!(!stdout.contains("canary") && !stderr.contains("canary"), "{stdout}{stderr}");
    let harness = |line: &&str| !line.is_empty() && !line.starts_with("running ");
    Ran { code, stdout: stdout.lines().filter(harness).map(str::to_owned).collect(), stderr }
}

#[tokio::test]
async fn success_is_0_with_one_document_and_json_logs() {
    let ran = ran("succeed", "--output json --source postgres://u:canary@h/db", &[]).await;
    assert_eq!((ran.code, ran.stdout.as_slice()), (0, ["{\"ok\":true}".to_owned()].as_slice()), "{}", ran.stderr);
    let log = ran.log();
    assert_eq!(
        (&log[0]["option"], &log[0]["level"]),
        (&"--source".into(), &"warn".into()),
        "a password on the command line"
    );
    let log = &log[1..];
    assert_eq!(log[0]["message"], "stage begins");
    assert_eq!((&log[1]["message"], &log[1]["url"]), (&"reading".into(), &"postgres://u:***@h/db".into()));
    assert_eq!(
        (&log[2]["message"], &log[2]["rows"], &log[2]["bytes"]),
        (&"stage ends".into(), &3.into(), &1000.into())
    );
    assert!(log[2]["elapsed_seconds"].is_f64() && log[2]["percent"].is_null(), "{}", log[2]);
}

#[tokio::test]
async fn quiet_success_says_nothing_but_the_result() {
    let ran = ran("succeed", "--quiet", &[]).await;
    assert_eq!((ran.code, ran.stdout.join("\n").as_str(), ran.stderr.as_str()), (0, "{done}", ""));
}

#[tokio::test]
async fn progress_can_be_had_even_when_quiet() {
    let ran = ran("succeed", "--quiet --progress always", &[]).await;
    let messages: Vec<Value> = ran.log().into_iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["stage begins", "stage ends"]);
}

#[tokio::test]
async fn a_failure_is_told_on_stderr_and_as_the_one_document() {
    let ran = ran("fail", "--output json", &[]).await;
    assert_eq!((ran.code, ran.stdout.len()), (65, 1));
    let document: Value = serde_json::from_str(&ran.stdout[0]).unwrap();
    assert_eq!(document["ok"], false);
    assert_eq!((&document["exit"], &document["name"], &document["hint"]), (&65.into(), &"data".into(), &"look".into()));
    let log = ran.log();
    assert_eq!(log.len(), 1);
    assert_eq!((&log[0]["level"], &log[0]["exit"], &log[0]["name"]), (&"error".into(), &65.into(), &"data".into()));
    assert_eq!(log[0]["message"], "postgres://u:***@h/db is wrong");
}

#[tokio::test]
async fn a_failure_in_text_has_no_document() {
    let ran = ran("fail", "--log-format text", &[]).await;
    assert_eq!((ran.code, ran.stdout.len()), (65, 0));
    assert_eq!(ran.stderr, "error: postgres://u:***@h/db is wrong\n  hint: look\n  exit 65 (data)\n");
}

#[tokio::test]
async fn bad_flags_are_64_and_bad_variables_78_in_the_asked_for_formats() {
    let usage = ran("succeed", "--output=json --bogus", &[("LONGSHORE_LOG_FORMAT", "text")]).await;
    assert_eq!((usage.code, usage.stdout.len()), (64, 1));
    assert!(usage.stderr.starts_with("error: unexpected argument '--bogus' found\n"), "{}", usage.stderr);
    let config = ran("succeed", "", &[("LONGSHORE_SOURCE_FILE", "/nowhere")]).await;
    assert_eq!((config.code, &config.log()[0]["name"]), (78, &"config".into()));
    let log = ran("succeed", "", &[("LONGSHORE_LOG", "canary=canary")]).await;
    assert_eq!(log.code, 78);
}

#[tokio::test]
async fn help_is_0_on_stdout() {
    let ran = ran("succeed", "--help", &[]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.join("\n").contains("LONGSHORE_SOURCE"));
}

#[tokio::test]
async fn a_mistyped_variable_is_a_warning() {
    let ran = ran("succeed", "", &[("LONGSHORE_SORCE", "canary")]).await;
    assert_eq!((ran.code, &ran.log()[0]["variable"]), (0, &"LONGSHORE_SORCE".into()));
}

#[tokio::test]
async fn a_panic_is_70() {
    let dir = tempfile::tempdir().unwrap();
    let Err(error) = command("panic", "").stdout_to(dir.path().join("out")).spawn().unwrap().wait().await else {
        panic!("it cannot succeed")
    };
    let Error::Failed { status, stderr_tail, .. } = error else { panic!("{error:?}") };
    assert_eq!(status, Status::Code(70));
    assert!(!stderr_tail.contains("password=canary") && stderr_tail.contains("\"internal\""), "{stderr_tail}");
}

async fn ready(path: &Path) {
    let wait = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

fn tell(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
}

#[tokio::test]
async fn a_signal_is_74() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ready");
    let mut child = command("obey", "--log-format text").env(READY, &path).spawn().unwrap();
    ready(&path).await;
    tell(child.id());
    let Err(Error::Failed { status, stderr_tail, .. }) = child.wait().await else { panic!("it cannot succeed") };
    assert_eq!(status, Status::Code(74), "{stderr_tail}");
    let end = "error: stopped by SIGTERM\n  caused by: connection closed\n  exit 74 (interrupted)\n";
    assert!(stderr_tail.ends_with(end), "{stderr_tail}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ready");
    let mut child = command("ignore", "--log-format text").env(READY, &path).spawn().unwrap();
    ready(&path).await;
    tell(child.id());
    while !child.stderr_tail().contains("a second signal stops at once") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tell(child.id());
    // Well before the grace of the first one.
    let ended = tokio::time::timeout(Duration::from_secs(15), child.wait()).await.unwrap();
    let Err(Error::Failed { status, stderr_tail, .. }) = ended else { panic!("it cannot succeed") };
    assert_eq!(status, Status::Code(74));
    assert!(stderr_tail.ends_with("error: stopped at once by a second SIGTERM\n"), "{stderr_tail}");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let script = "{ \"$BIN\" --exact tests::processes::job --ignored --nocapture; echo $? >&2; } | head -c 100";
    let this = std::env::current_exe().unwrap();
    let shell = Command::new("sh").args(["-c", script]).env("BIN", this).env(PART, "flood").env(LINE, "--quiet");
    let output = shell.capture(1000).spawn().unwrap().wait().await.unwrap();
    assert_eq!((output.stdout.len(), output.stderr_tail.as_str()), (100, "0\n"));
}
