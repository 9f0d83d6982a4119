//! What runs tell people and machines, and that nobody's silence changes how a run ends.

use crate::place::{LARGE, Place, Target, assert_failed};
use serde_json::Value;
use std::path::PathBuf;
use testkit::recorder::{Answer, Recorder};
use testkit::servers::{TestDatabase, postgres};
use testkit::{Job, Signal};

/// What every URL here has in its path, and nothing may repeat.
const SECRET: &str = "/c4nary-t0ken";
/// A server that nobody answers for: the port of no service.
const NOBODY: &str = "http://127.0.0.1:1";

async fn small_database() -> TestDatabase {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); insert into t select generate_series(1, 100)").await;
    db
}

fn file(place: &Place, name: &str) -> PathBuf {
    place.folder.path().join(name)
}

fn with_file(job: Job, option: &str, path: &std::path::Path) -> Job {
    job.env(option, path.display().to_string())
}

/// The result file.
#[track_caller]
fn result(place: &Place) -> Value {
    let text = std::fs::read_to_string(file(place, "result.json")).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn telling(place: &Place, job: Job) -> Job {
    with_file(job, "LONGSHORE_RESULT_FILE", &file(place, "result.json"))
}

fn missed(document: &Value) -> Vec<String> {
    let mut names: Vec<String> = document["missed_signals"]
        .as_array()
        .unwrap_or_else(|| panic!("{document}"))
        .iter()
        .map(|missed| missed["signal"].as_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_good_backup_is_told_everywhere() {
    let db = small_database().await;
    let place = Place::new().await;
    let server = Recorder::start(Answer::Status(200)).await;
    let (log, metrics) = (file(&place, "log"), file(&place, "longshore.prom"));
    let job = telling(&place, place.backup(&db.url()))
        .env("LONGSHORE_PING", server.url(SECRET))
        .env("LONGSHORE_PUSH_GATEWAY", server.url(""))
        .env("LONGSHORE_WEBHOOK", server.url("/hook"))
        .env("LONGSHORE_WEBHOOK_ON", "always")
        .env("LONGSHORE_WEBHOOK_TEMPLATE", "slack");
    let job = with_file(with_file(job, "LONGSHORE_TERMINATION_LOG", &log), "LONGSHORE_METRICS_FILE", &metrics);
    let outcome = job.run().await.success();
    let printed = outcome.json();

    let document = result(&place);
    assert_eq!((&document["command"], &document["source"]), (&"backup".into(), &"app".into()), "{document}");
    assert_eq!((&document["ok"], &document["exit"], &document["state"]), (&true.into(), &0.into(), &"finished".into()));
    assert_eq!(document["result"], printed, "the facts of --output json");
    assert!(missed(&document).is_empty(), "{document}");
    assert!(std::fs::read_to_string(&log).unwrap().starts_with("longshore backup of app: ok, in "));

    let mut lines = server.lines();
    assert_eq!(lines[0], format!("POST {SECRET}/start"));
    lines.sort_unstable();
    let end = format!("POST {SECRET}/0");
    let push = "PUT /metrics/job/longshore/command/backup/source/app".to_owned();
    assert_eq!(lines, [end, format!("POST {SECRET}/start"), "POST /hook".to_owned(), push]);
    let requests = server.requests();
    let pushed = &requests.iter().find(|request| request.method == "PUT").unwrap().body;
    let written = std::fs::read_to_string(&metrics).unwrap();
    for text in [pushed, &written] {
        assert!(text.contains("longshore_run_success{command=\"backup\",source=\"app\"} 1\n"), "{text}");
        assert!(text.contains("longshore_backup_rows{command=\"backup\",source=\"app\"} 100\n"), "{text}");
        assert!(
            text.contains("longshore_last_success_timestamp_seconds{command=\"backup\",source=\"app\"} "),
            "{text}"
        );
    }
    let hook = requests.iter().find(|request| request.path == "/hook").unwrap();
    assert_eq!(hook.content_type, "application/json");
    let hook: Value = serde_json::from_str(&hook.body).unwrap();
    assert!(hook["text"].as_str().unwrap().starts_with("longshore backup of app: ok, in "), "{hook}");
}

#[tokio::test]
async fn a_failure_is_told_with_its_reason_and_its_exit_code() {
    let place = Place::new().await;
    let server = Recorder::start(Answer::Status(200)).await;
    let log = file(&place, "log");
    let job = telling(&place, place.backup("postgres://nobody@127.0.0.1:1/x"))
        .env("LONGSHORE_PING", server.url("/ping"))
        .env("LONGSHORE_WEBHOOK", server.url("/hook"));
    let outcome = with_file(job, "LONGSHORE_TERMINATION_LOG", &log).run().await;
    let outcome = assert_failed(outcome, 69, "127.0.0.1:1");
    let (document, printed) = (result(&place), outcome.json());
    for field in ["ok", "exit", "name", "error", "causes", "hint"] {
        assert_eq!(document[field], printed[field], "{field}");
    }
    assert_eq!((&document["source"], &document["result"]), (&"app".into(), &Value::Null));
    let error = document["error"].as_str().unwrap();
    assert!(std::fs::read_to_string(&log).unwrap().contains(error));
    let requests = server.requests();
    let end = requests.iter().find(|request| request.path == "/ping/69").unwrap();
    assert!(end.body.contains(error), "{}", end.body);
    let hook = requests.iter().find(|request| request.path == "/hook").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&hook.body).unwrap()["exit"], 69);
}

/// What is wrong with the command line or a variable is found before options are parsed; a schedule must not fall silent by it.
#[tokio::test]
async fn a_run_that_never_began_is_told_as_well() {
    let place = Place::new().await;
    let server = Recorder::start(Answer::Status(200)).await;
    let job = || telling(&place, place.job(["backup", "--name", "app"])).env("LONGSHORE_PING", server.url("/ping"));
    job().run().await.expect_code(64);
    assert_eq!((&result(&place)["exit"], &result(&place)["command"]), (&64.into(), &"backup".into()));
    let unreadable = job().env("LONGSHORE_SOURCE_FILE", "/nonexistent/source");
    assert_failed(unreadable.run().await, 78, "LONGSHORE_SOURCE_FILE");
    assert_eq!((&result(&place)["exit"], &result(&place)["source"]), (&78.into(), &"app".into()));
    let template = file(&place, "template.json");
    std::fs::write(&template, r#"{"text": "{{nonsense}}"}"#).unwrap();
    let wrong = with_file(job(), "LONGSHORE_WEBHOOK_TEMPLATE", &template)
        .env("LONGSHORE_WEBHOOK", server.url("/hook"))
        .env("LONGSHORE_SOURCE", "postgres://nobody@127.0.0.1:1/x");
    assert_failed(wrong.run().await, 78, "nonsense");
    let ends: Vec<_> = server.lines().into_iter().filter(|line| !line.ends_with("start")).collect();
    assert_eq!(ends, ["POST /ping/64", "POST /ping/78", "POST /ping/78"]);
    Job::new(["--help"]).env("LONGSHORE_PING", server.url("/ping")).run().await.success();
    Job::new(["help"]).env("LONGSHORE_PING", server.url("/ping")).run().await.success();
    assert_eq!(server.lines().len(), 6, "help tells nobody: {:?}", server.lines());
}

#[tokio::test]
async fn a_template_of_ones_own_is_filled() {
    let place = Place::new().await;
    let server = Recorder::start(Answer::Status(200)).await;
    let template = file(&place, "template.json");
    let own = r#"{"title": "{{command}} {{source}}: {{name}}", "code": {{exit}}, "why": "{{error}}"}"#;
    std::fs::write(&template, own).unwrap();
    let url = format!("http://user:p%40ss@{}", server.url("/hook").trim_start_matches("http://"));
    let job = with_file(place.backup("postgres://nobody@127.0.0.1:1/x"), "LONGSHORE_WEBHOOK_TEMPLATE", &template);
    job.env("LONGSHORE_WEBHOOK", url).run().await.expect_code(69);
    let request = server.requests().remove(0);
    let message: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!((&message["title"], &message["code"]), (&"backup app: unavailable".into(), &69.into()));
    assert_eq!(request.authorization, "Basic dXNlcjpwQHNz");
}

/// Whoever is told, however that goes: the backup is what it is.
#[tokio::test]
async fn nobodys_silence_fails_a_backup_and_each_is_named() {
    let db = small_database().await;
    let place = Place::new().await;
    let (silent, broken) = (Recorder::start(Answer::Silence).await, Recorder::start(Answer::Status(500)).await);
    let job = telling(&place, place.backup(&db.url()))
        .env("LONGSHORE_PING", silent.url(SECRET))
        .env("LONGSHORE_PUSH_GATEWAY", broken.url(SECRET))
        .env("LONGSHORE_WEBHOOK", format!("{NOBODY}{SECRET}"))
        .env("LONGSHORE_WEBHOOK_ON", "always")
        .env("LONGSHORE_METRICS_FILE", "/nonexistent/longshore.prom")
        .env("LONGSHORE_TERMINATION_LOG", "/nonexistent/log")
        .env("LONGSHORE_LOG", "trace");
    let outcome = job.run().await.success();
    assert_eq!(place.listed().await.len(), 1);
    let document = result(&place);
    assert_eq!((&document["ok"], &document["exit"]), (&true.into(), &0.into()));
    let names = ["metrics-file", "ping", "ping", "push-gateway", "termination-log", "webhook"];
    assert_eq!(missed(&document), names, "{document}");
    for name in names {
        let line = format!("\"signal\":\"{name}\"");
        assert!(outcome.stderr.contains(&line), "{name} is not in the log\n{}", outcome.report());
    }
    assert!(document["missed_signals"].to_string().contains("status 500"), "{document}");
    assert!(!format!("{document}{}{}", outcome.stdout, outcome.stderr).contains("c4nary"), "{}", outcome.report());
    assert_eq!(broken.lines().len(), 2, "tried twice, and no more");
}

#[tokio::test]
async fn what_fails_once_is_tried_again() {
    let place = Place::new().await;
    let server = Recorder::start_with(&[Answer::Status(503)], Answer::Status(200)).await;
    let job = telling(&place, place.job(["list"])).env("LONGSHORE_PUSH_GATEWAY", server.url(""));
    job.run().await.success();
    assert_eq!(server.lines(), ["PUT /metrics/job/longshore/command/list", "PUT /metrics/job/longshore/command/list"]);
    assert!(missed(&result(&place)).is_empty());
}

/// G12: a signal ends a run within its grace, and it is told as interrupted.
#[tokio::test]
async fn an_interrupted_run_is_told_within_the_grace() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    let (server, silent) = (Recorder::start(Answer::Status(200)).await, Recorder::start(Answer::Silence).await);
    let job = telling(&place, place.backup(&db.url()))
        .env("LONGSHORE_PING", server.url("/ping"))
        .env("LONGSHORE_WEBHOOK", silent.url(SECRET));
    let outcome = job.env("LONGSHORE_MAX_RATE", "1MiB").run_and_signal("read rows", Signal::Terminate).await;
    let outcome = assert_failed(outcome, 74, "interrupted");
    assert!(outcome.elapsed.as_secs() < 60, "{}", outcome.report());
    place.assert_no_manifest();
    assert_eq!(server.lines(), ["POST /ping/start", "POST /ping/74"]);
    let document = result(&place);
    assert_eq!((&document["exit"], missed(&document)), (&74.into(), vec!["webhook".to_owned()]));
}

/// A second signal while others are told ends the telling; the backup was made, and says so.
#[tokio::test]
async fn a_signal_ends_the_telling_and_not_the_outcome() {
    let db = small_database().await;
    let place = Place::new().await;
    let silent = Recorder::start(Answer::Silence).await;
    let job = telling(&place, place.backup(&db.url())).env("LONGSHORE_PUSH_GATEWAY", silent.url(""));
    let running = job.spawn();
    silent.wait_for(1).await;
    running.signal(Signal::Interrupt);
    let outcome = running.wait().await.success();
    let document = result(&place);
    assert_eq!(document["missed_signals"][0]["error"], "ended by a signal", "{document}\n{}", outcome.report());
    assert_eq!(place.listed().await.len(), 1);
}

/// A file that still says so after the process is gone tells that it was killed.
#[tokio::test]
async fn a_killed_run_leaves_no_result_that_reads_as_success() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    telling(&place, place.job(["list"])).run().await.success();
    assert_eq!(result(&place)["ok"], true);
    let server = Recorder::start(Answer::Status(200)).await;
    let job = telling(&place, place.backup(&db.url())).env("LONGSHORE_PING", server.url("/ping"));
    let running = job.env("LONGSHORE_MAX_RATE", "1MiB").spawn();
    running.wait_for_stderr("read rows").await;
    server.wait_for(1).await;
    running.signal(Signal::Kill);
    running.wait().await;
    let document = result(&place);
    assert_eq!((&document["ok"], &document["state"]), (&Value::Null, &"running".into()), "{document}");
    assert_eq!(server.lines(), ["POST /ping/start"], "a start without an end");
}

#[tokio::test]
async fn a_termination_log_is_cut_where_kubernetes_cuts() {
    let place = Place::new().await;
    let (log, script) = (file(&place, "log"), file(&place, "x"));
    // A runtime mounts the file before the container starts: it is written over, and never replaced.
    std::fs::write(&log, "z".repeat(9000)).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&log).unwrap());
    let name = "n".repeat(3000);
    let missing = script.join(&name).join(&name);
    let job = place.job(["restore", "--from", "app", "--target", "postgres://x@127.0.0.1:1/x"]);
    let job = with_file(job, "LONGSHORE_BEFORE_SWAP", &missing);
    let outcome = with_file(job, "LONGSHORE_TERMINATION_LOG", &log).run().await;
    assert_ne!(outcome.code, Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.len() <= 4096 && text.len() > 4000, "{}", text.len());
    assert!(text.starts_with("longshore restore of app failed"), "{text}");
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&log).unwrap()), inode);
}

/// What an alert on "no fresh backup" needs: a failure does not wipe the last success, and no other job's either.
#[tokio::test]
async fn a_failed_run_keeps_the_last_success_in_the_metrics() {
    let db = small_database().await;
    let place = Place::new().await;
    let metrics = file(&place, "longshore.prom");
    let server = Recorder::start(Answer::Status(200)).await;
    let told =
        |job: Job| with_file(job, "LONGSHORE_METRICS_FILE", &metrics).env("LONGSHORE_PUSH_GATEWAY", server.url(""));
    told(place.backup(&db.url())).run().await.success();
    let value = |name: &str| {
        let text = std::fs::read_to_string(&metrics).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} expected in\n{text}"))
    };
    let success = "longshore_last_success_timestamp_seconds{command=\"backup\",source=\"app\"}";
    let first = value(success);
    told(place.backup("postgres://nobody@127.0.0.1:1/x")).run().await.expect_code(69);
    assert_eq!(value(success), first);
    assert_eq!(value("longshore_run_success{command=\"backup\",source=\"app\"}"), "0");
    assert_eq!(value("longshore_backup_rows{command=\"backup\",source=\"app\"}"), "100");
    told(place.job(["verify"])).run().await.success();
    assert_eq!(value("longshore_run_exit_code{command=\"backup\",source=\"app\"}"), "69");
    assert_eq!(value("longshore_run_success{command=\"verify\"}"), "1");
    let filtered = place.backup(&db.url()).env("LONGSHORE_INCLUDE_TABLE", "public.t");
    told(filtered).run().await.success();
    assert_eq!(value(success), first, "a part is no fresh backup");
    let group = "/metrics/job/longshore/command/backup/source/app";
    let expected = [
        format!("PUT {group}"),
        format!("POST {group}"),
        "PUT /metrics/job/longshore/command/verify".to_owned(),
        format!("PUT {group}/scope/filtered"),
    ];
    assert_eq!(server.lines(), expected);
}

#[tokio::test]
async fn every_binary_and_command_has_the_options() {
    for (binary, arguments) in [
        ("longshore", vec!["drill", "--help"]),
        ("longshore-backup", vec!["--help"]),
        ("longshore-restore", vec!["--help"]),
    ] {
        let help = Job::new(arguments).binary(binary).run().await.success().stdout;
        assert!(help.contains("Signals:") && help.contains("LONGSHORE_PING"), "{help}");
    }
    let db = small_database().await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    let job = Job::new(["--from", "app"]).binary("longshore-restore").env("LONGSHORE_REPO", &place.repo);
    telling(&place, job.env("LONGSHORE_TARGET", &target.url)).run().await.success();
    let document = result(&place);
    assert_eq!((&document["command"], &document["source"]), (&"restore".into(), &"app".into()), "{document}");
    assert_eq!(document["result"]["proven"], true);
}

/// Notifiers on the internet are reached by way of the proxy that the environment names.
#[tokio::test]
async fn https_goes_by_way_of_a_proxy() {
    let place = Place::new().await;
    let proxy = Recorder::start(Answer::Status(405)).await;
    let job = telling(&place, place.job(["list"])).env("LONGSHORE_PING", format!("https://hc.invalid{SECRET}"));
    let outcome = job.env("HTTPS_PROXY", proxy.url("")).run().await.success();
    assert!(proxy.lines().iter().all(|line| line == "CONNECT hc.invalid:443"), "{:?}", proxy.lines());
    assert!(!proxy.lines().is_empty() && missed(&result(&place)).contains(&"ping".to_owned()), "{}", outcome.report());
}
