//! Children of /bin/sh: how they end, what they leave, and above all what they do not leave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;

/// The longest any test waits for a condition.
const PATIENCE: Duration = Duration::from_secs(20);

fn sh(script: &str) -> Command {
    Command::new("/bin/sh").arg("-c").arg(script)
}

/// Polls until `condition` yields something.
async fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A process that is not there, or is only waiting for somebody to reap it.
fn gone(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}

async fn vanishes(pid: u32) {
    eventually("process gone", || gone(pid).then_some(())).await;
}

/// The number in a file that a script wrote with a newline at its end.
async fn pid_in(path: &Path) -> u32 {
    eventually("pid file", || fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok()).await
}

/// A file name in a fresh directory that lives as long as the test.
fn scratch(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    (dir, path)
}

#[tokio::test]
async fn captures_stdout_and_stderr_of_a_success() {
    let output = sh("echo out; echo err >&2").capture(100).spawn().unwrap().wait().await.unwrap();
    assert_eq!(output, Output { stdout: b"out\n".to_vec(), stderr_tail: "err\n".to_owned() });
}

#[tokio::test]
async fn an_exit_code_is_a_failure_with_the_end_of_stderr() {
    let error = sh("echo first >&2; echo why >&2; exit 3").spawn().unwrap().wait().await.unwrap_err();
    assert_eq!(error.to_string(), "/bin/sh ended with exit code 3: first | why");
    assert!(matches!(error, Error::Failed { status: Status::Code(3), .. }), "{error:?}");
}

#[tokio::test]
async fn death_by_signal_is_a_failure_that_names_it() {
    let error = sh("kill -9 $$").spawn().unwrap().wait().await.unwrap_err();
    assert_eq!(error.to_string(), "/bin/sh ended with SIGKILL");
}

#[tokio::test]
async fn a_missing_program_is_its_own_error() {
    for name in ["longshore-no-such-program", "/nowhere/at/all", ""] {
        assert!(matches!(Command::new(name).spawn(), Err(Error::Missing { .. })), "{name}");
        assert_eq!(find(name), None);
    }
    assert!(find("sh").is_some_and(|path| path.is_absolute()));
}

#[tokio::test]
async fn a_directory_or_plain_file_is_not_a_program() {
    let (_dir, path) = scratch("plain");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    assert_eq!(find(path.to_str().unwrap()), None);
    assert_eq!(find("/tmp"), None);
}

/// Writes an executable file from another process: were it open for writing here while another test forks, starting it
/// could fail with "text file busy".
async fn install(path: &Path, content: &str) {
    let script = "cat > \"$FILE\" && chmod 755 \"$FILE\"";
    sh(script).env("FILE", path).stdin_bytes(content).spawn().unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn a_program_without_its_interpreter_cannot_be_started_but_is_not_missing() {
    let (_dir, path) = scratch("script");
    install(&path, "#!/nowhere/interpreter\n").await;
    let error = Command::new(path.to_str().unwrap()).spawn().unwrap_err();
    assert!(matches!(error, Error::Spawn { .. }), "{error:?}");
}

#[test]
fn outside_a_runtime_it_is_an_error_not_a_panic() {
    assert!(matches!(sh("true").spawn(), Err(Error::Spawn { .. })));
}

#[tokio::test]
async fn the_stderr_tail_is_bounded_and_says_that_it_was_cut() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo line-number-$i >&2; i=$((i+1)); done; exit 1";
    let Error::Failed { stderr_tail, .. } = sh(script).spawn().unwrap().wait().await.unwrap_err() else {
        panic!("not a failure")
    };
    assert!(stderr_tail.len() <= TAIL_BYTES + 40, "{}", stderr_tail.len());
    assert!(stderr_tail.starts_with("[earlier output left out]\nline-number-"), "{}", &stderr_tail[..80]);
    assert!(stderr_tail.ends_with("line-number-2999\n"));
}

#[tokio::test]
async fn the_line_callback_sees_every_line() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let script = "i=0; while [ $i -lt 3000 ]; do echo line-number-$i >&2; i=$((i+1)); done; printf end >&2";
    let command = sh(script).on_stderr_line(move |line| sink.lock().unwrap().push(line.to_owned()));
    command.spawn().unwrap().wait().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3001);
    assert_eq!(
        (seen[0].as_str(), seen[2999].as_str(), seen[3000].as_str()),
        ("line-number-0", "line-number-2999", "end")
    );
}

#[tokio::test]
async fn an_endless_line_reaches_the_callback_in_bounded_pieces() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let command = sh("head -c 200000 /dev/zero >&2").on_stderr_line(move |line| sink.lock().unwrap().push(line.len()));
    command.spawn().unwrap().wait().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().sum::<usize>(), 200_000);
    assert!(seen.iter().all(|length| *length <= 64 * 1024));
}

#[tokio::test]
async fn the_environment_is_cleared() {
    let output = Command::new("env").env("GIVEN", "yes").capture(10_000).spawn().unwrap().wait().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["GIVEN", "LANG", "LC_ALL", "PATH"], "{text}");
    assert!(text.contains("LC_ALL=C\n") && text.contains("GIVEN=yes\n"));
}

#[tokio::test]
async fn arguments_are_not_interpreted() {
    let odd = "a b; $(echo x) 'q' \"*";
    let output = Command::new("printf").args(["%s", odd]).capture(100).spawn().unwrap().wait().await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), odd);
}

#[tokio::test]
async fn too_much_output_kills_the_child() {
    let mut child = sh("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done").capture(1000).spawn().unwrap();
    let pid = child.id();
    let error = child.wait().await.unwrap_err();
    assert!(matches!(error, Error::OutputTooLong { limit: 1000, .. }), "{error:?}");
    vanishes(pid).await;
}

#[tokio::test]
async fn output_of_exactly_the_limit_is_fine() {
    let output = sh("printf 12345").capture(5).spawn().unwrap().wait().await.unwrap();
    assert_eq!(output.stdout, b"12345");
}

#[tokio::test]
async fn stdout_goes_to_a_private_file_and_stdin_comes_from_bytes_or_a_file() {
    let (_dir, path) = scratch("out");
    sh("cat").stdin_bytes(vec![b'x'; 300_000]).stdout_to(&path).spawn().unwrap().wait().await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), vec![b'x'; 300_000]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let output = sh("wc -c").stdin_from(&path).capture(100).spawn().unwrap().wait().await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "300000");
}

#[tokio::test]
async fn a_child_that_ignores_its_stdin_does_not_hang_us() {
    sh("exit 0").stdin_bytes(vec![0; 1_000_000]).spawn().unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn secret_files_are_private_and_removed() {
    let script = "stat -c %a \"$KEY\" \"$(dirname \"$KEY\")\"; cat \"$KEY\"; echo; echo \"$KEY\"";
    let command = sh(script).secret_file("KEY", "pgpass", b"canary-7f3a").unwrap().capture(1000);
    assert!(!format!("{command:?}").contains("canary"));
    let mut child = command.spawn().unwrap();
    let text = String::from_utf8(child.wait().await.unwrap().stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["600", "700", "canary-7f3a"]);
    assert!(Path::new(lines[3]).exists());
    drop(child);
    assert!(!Path::new(lines[3]).exists() && !Path::new(lines[3]).parent().unwrap().exists());
}

#[tokio::test]
async fn errors_show_neither_environment_nor_secret_files() {
    let run = |script: &str| sh(script).env("TOKEN", "canary-env").secret_file("KEY", "k", b"canary-file").unwrap();
    assert!(!format!("{:?}", run("true")).contains("canary"));
    let failed = run("exit 1").spawn().unwrap().wait().await.unwrap_err();
    assert!(!format!("{failed:?} {failed}").contains("canary"));
    let taken = run("true").secret_file("KEY", "k", b"canary-file").unwrap_err();
    assert!(!format!("{taken:?} {taken}").contains("canary"));
    assert!(matches!(run("true").secret_file("KEY", "../k", b"canary-file"), Err(Error::Io { .. })));
}

#[tokio::test]
async fn stop_ends_the_whole_group_and_reaps_it() {
    let (_dir, path) = scratch("grandchild");
    let mut child = sh("sleep 1000 & echo $! > \"$FILE\"; wait").env("FILE", &path).spawn().unwrap();
    let grandchild = pid_in(&path).await;
    let status = child.stop(PATIENCE).await.unwrap();
    assert_eq!(status, Status::Signal(15));
    assert!(!Path::new(&format!("/proc/{}", child.id())).exists(), "reaped, not a zombie");
    vanishes(grandchild).await;
}

#[tokio::test]
async fn stop_kills_what_ignores_sigterm() {
    let (_dir, path) = scratch("ready");
    let mut child =
        sh("trap '' TERM; echo $$ > \"$FILE\"; while :; do sleep 1000; done").env("FILE", &path).spawn().unwrap();
    pid_in(&path).await;
    let status = child.stop(Duration::from_millis(200)).await.unwrap();
    assert_eq!(status, Status::Signal(9));
    vanishes(child.id()).await;
}

#[tokio::test]
async fn a_child_that_cleans_up_within_the_grace_keeps_its_own_status() {
    let (_dir, path) = scratch("ready");
    let script = "trap 'echo bye >&2; exit 7' TERM; echo $$ > \"$FILE\"; while :; do sleep 0.05; done";
    let mut child = sh(script).env("FILE", &path).spawn().unwrap();
    pid_in(&path).await;
    assert_eq!(child.stop(PATIENCE).await.unwrap(), Status::Code(7));
    let error = child.wait().await.unwrap_err();
    assert!(error.to_string().contains("bye"), "{error}");
}

#[tokio::test]
async fn what_a_finished_leader_left_behind_is_killed() {
    let (_dir, path) = scratch("left");
    sh("sleep 1000 & echo $! > \"$FILE\"").env("FILE", &path).capture(10).spawn().unwrap().wait().await.unwrap();
    vanishes(pid_in(&path).await).await;
}

#[tokio::test]
async fn dropping_the_handle_ends_the_group() {
    let (_dir, path) = scratch("grandchild");
    let script = "trap '' TERM; sleep 1000 & echo $! > \"$FILE\"; wait; wait";
    let child = sh(script).env("FILE", &path).grace(Duration::from_millis(100)).spawn().unwrap();
    let (leader, grandchild) = (child.id(), pid_in(&path).await);
    drop(child);
    vanishes(leader).await;
    vanishes(grandchild).await;
}

#[tokio::test]
async fn wait_can_be_dropped_and_called_again() {
    let (_dir, path) = scratch("go");
    let script = "echo early; while [ ! -e \"$FILE\" ]; do sleep 0.01; done; echo late";
    let mut child = sh(script).env("FILE", &path).capture(100).spawn().unwrap();
    tokio::select! {
        biased;
        _ = child.wait() => panic!("it cannot have ended"),
        () = tokio::task::yield_now() => {}
    }
    fs::write(&path, "").unwrap();
    assert_eq!(child.wait().await.unwrap().stdout, b"early\nlate\n");
}

#[tokio::test]
async fn version_of_reads_the_first_line() {
    let (_dir, path) = scratch("tool");
    install(&path, "#!/bin/sh\necho \"tool (Thing) 1.2 $1\"\necho more\n").await;
    assert_eq!(version_of(path.to_str().unwrap()).await.unwrap(), "tool (Thing) 1.2 --version");
    assert!(matches!(version_of("longshore-no-such-program").await, Err(Error::Missing { .. })));
}

const PID_FILE: &str = "LONGSHORE_TEST_PID_FILE";

/// The process that the next test kills: it has one child and never ends by itself.
#[tokio::test]
#[ignore = "helper process of a_killed_parent_takes_its_child_with_it"]
async fn parent_that_never_ends() {
    let Some(path) = std::env::var_os(PID_FILE) else { return };
    let mut child = sh("echo $$ > \"$FILE\"; exec sleep 1000").env("FILE", path).spawn().unwrap();
    child.wait().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_parent_takes_its_child_with_it() {
    let (_dir, path) = scratch("pid");
    let this = std::env::current_exe().unwrap();
    let mut parent = Command::new(this.to_str().unwrap())
        .args(["--exact", "tests::parent_that_never_ends", "--ignored"])
        .env(PID_FILE, &path)
        .spawn()
        .unwrap();
    let grandchild = pid_in(&path).await;
    assert!(!gone(grandchild));
    // Straight to SIGKILL: the parent gets no chance to clean up, and the grandchild is in a group of its own.
    parent.stop(Duration::ZERO).await.unwrap();
    vanishes(grandchild).await;
}

/// Children must survive the end of the thread that asked for them: worker and blocking threads come and go.
#[test]
fn a_child_survives_the_thread_that_asked_for_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let asked = std::thread::spawn(move || {
        let _guard = handle.enter();
        sh("read line; echo got $line").stdin_from("/dev/null").capture(100).spawn().unwrap()
    });
    let mut child = asked.join().unwrap();
    let output = runtime.block_on(child.wait()).unwrap();
    assert_eq!(output.stdout, b"got\n");
}

/// Everything that was handed on, by stream, and how often a stream ended.
#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ends: usize,
}

fn listening(command: Command) -> (Command, Arc<Mutex<Heard>>) {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let sink = Arc::clone(&heard);
    let command = command.on_output(move |stream, piece| {
        let mut heard = sink.lock().unwrap();
        heard.ends += usize::from(piece.is_empty());
        match stream {
            Stream::Stdout => heard.stdout.extend_from_slice(piece),
            Stream::Stderr => heard.stderr.extend_from_slice(piece),
        }
    });
    (command, heard)
}

#[tokio::test]
async fn both_outputs_are_handed_on_byte_for_byte_and_kept_nowhere() {
    let script = "head -c 300000 /dev/zero; printf 'a\\377b' >&2; exit 3";
    let (command, heard) = listening(sh(script));
    let mut child = command.spawn().unwrap();
    assert_eq!(child.ended().await.unwrap(), Status::Code(3));
    assert!(child.handed_over().await);
    {
        let heard = heard.lock().unwrap();
        assert_eq!((heard.stdout.len(), heard.stderr.as_slice(), heard.ends), (300_000, &b"a\xffb"[..], 2));
    }
    assert_eq!(child.wait().await.unwrap_err().to_string(), "/bin/sh ended with exit code 3");
    assert_eq!(Arc::strong_count(&heard), 1, "the function is gone");
}

#[tokio::test]
async fn a_listener_that_blocks_holds_up_the_child_and_nobody_else() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (_dir, path) = scratch("pid");
    let command = sh("echo $$ > \"$FILE\"; while :; do echo y; done").env("FILE", &path);
    let mut child = command.on_output(move |_, _| gone.recv().unwrap_or(())).spawn().unwrap();
    let pid = pid_in(&path).await;
    assert_eq!(child.kill().await.unwrap(), Status::Signal(9));
    vanishes(pid).await;
    drop(go);
    assert!(child.handed_over().await);
}

#[tokio::test]
async fn what_a_leader_left_in_its_group_holds_no_pipe_open() {
    let (_dir, path) = scratch("left");
    let (command, heard) = listening(sh("sleep 1000 & echo $! > \"$FILE\"; echo out").env("FILE", &path));
    let mut child = command.spawn().unwrap();
    assert_eq!(child.ended().await.unwrap(), Status::Code(0));
    assert!(child.handed_over().await);
    assert_eq!(heard.lock().unwrap().stdout, b"out\n");
    vanishes(pid_in(&path).await).await;
}

/// A daemon is not waited for, and is not ours to end.
#[tokio::test]
async fn who_left_the_group_and_holds_a_pipe_is_given_up() {
    let (_dir, path) = scratch("daemon");
    let script =
        "setsid sh -c 'echo $$ > \"$FILE\"; exec sleep 1000' & while [ ! -s \"$FILE\" ]; do sleep 0.01; done; echo out";
    let (command, heard) = listening(sh(script).env("FILE", &path));
    let mut child = command.spawn().unwrap();
    assert_eq!(child.ended().await.unwrap(), Status::Code(0));
    assert!(!child.handed_over().await);
    assert_eq!(heard.lock().unwrap().stdout, b"out\n");
    let daemon = pid_in(&path).await;
    assert!(!gone(daemon));
    sh(&format!("kill -9 {daemon}")).spawn().unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn a_whole_environment_is_taken_as_it_is() {
    let env = [("GIVEN", "yes"), ("LANG", "de_DE.UTF-8")].map(|(name, value)| (name.into(), value.into()));
    let output = Command::new("env").whole_env(env).capture(10_000).spawn().unwrap().wait().await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "GIVEN=yes\nLANG=de_DE.UTF-8\n");
}
