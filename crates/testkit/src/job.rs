//! Owns running the built job as its users do: the binary, on this machine or inside a PostgreSQL image (for client
//! tools of that version), with nothing in its environment but what the test puts there.
//!
//! Promises the whole output in every failure message, a bound on every run, and no process or container left behind.

mod process;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use process::Running;

use crate::docker;
use crate::servers;

/// A signal for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// What a terminal's Ctrl-C sends.
    Interrupt,
    /// What an orchestrator sends before it kills.
    Terminate,
    /// Cannot be handled.
    Kill,
    /// Stops the process where it is, until `Continue`.
    Stop,
    /// Goes on after `Stop`.
    Continue,
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Signal::Interrupt => libc::SIGINT,
            Signal::Terminate => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run, for messages.
    pub command: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
    /// The most memory it had resident, in bytes, its children not counted. Sampled every 10 ms from a mark that the
    /// kernel keeps; `None` when it ended before the first sample or this machine cannot see it.
    pub max_rss: Option<u64>,
    /// From start to end.
    pub elapsed: Duration,
}

impl Outcome {
    /// The outcome, if the exit code is `code`; else the test ends with the whole output.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Outcome {
        assert_eq!(self.code, Some(code), "\n{}", self.report());
        self
    }

    /// `expect_code(0)`.
    #[track_caller]
    pub fn success(self) -> Outcome {
        self.expect_code(0)
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not JSON: {error}\n{}", self.report()))
    }

    /// Everything that is known, for messages.
    pub fn report(&self) -> String {
        format!(
            "{}\nended after {:?} with code {:?}, signal {:?}, {:?} bytes of memory\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.elapsed, self.code, self.signal, self.max_rss, self.stdout, self.stderr
        )
    }
}

/// A job to run.
#[derive(Clone, Debug)]
pub struct Job {
    binary: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    inside: Option<u16>,
    directory: Option<PathBuf>,
    mounts: Vec<PathBuf>,
    limit: Duration,
}

impl Job {
    /// `longshore` with arguments, on this machine, for at most three minutes.
    pub fn new<A: Into<String>>(arguments: impl IntoIterator<Item = A>) -> Job {
        Job {
            binary: "longshore".into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            inside: None,
            directory: None,
            mounts: Vec::new(),
            limit: Duration::from_secs(180),
        }
    }

    /// Another binary of the workspace; a path stands for itself.
    #[must_use]
    pub fn binary(self, name: &str) -> Job {
        Job { binary: name.into(), ..self }
    }

    /// Sets a variable. Without any, the job has `PATH` and nothing else.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Job {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The credentials of the S3 test servers.
    #[must_use]
    pub fn with_s3_keys(self) -> Job {
        self.env("AWS_ACCESS_KEY_ID", servers::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", servers::SECRET_KEY)
    }

    /// Runs inside the image of a PostgreSQL major version, on this machine's network, as root.
    #[must_use]
    pub fn inside_postgres(self, version: u16) -> Job {
        Job { inside: Some(version), ..self }
    }

    /// Runs on this machine when its client tools are of the server's version, else inside that version's image.
    #[must_use]
    pub fn for_postgres(self, version: u16) -> Job {
        let tools = Command::new("pg_dump").arg("--version").output();
        let tools = tools.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let major = tools.split_whitespace().find_map(|word| word.split('.').next()?.parse::<u16>().ok());
        if major == Some(version) { self } else { self.inside_postgres(version) }
    }

    /// The working directory; it is there inside an image too.
    #[must_use]
    pub fn directory(self, path: impl Into<PathBuf>) -> Job {
        Job { directory: Some(path.into()), ..self }
    }

    /// A directory (a repository, secret files) that is there, at the same path, inside an image too.
    #[must_use]
    pub fn sees(mut self, path: impl Into<PathBuf>) -> Job {
        self.mounts.push(path.into());
        self
    }

    /// The longest it may run; after that it is killed and the test ends.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Job {
        Job { limit, ..self }
    }

    /// Runs it to its end.
    pub async fn run(self) -> Outcome {
        self.spawn().wait().await
    }

    /// Runs it and sends `signal` when a line of standard error contains `words`.
    pub async fn run_and_signal(self, words: &str, signal: Signal) -> Outcome {
        let running = self.spawn();
        running.wait_for_stderr(words).await;
        running.signal(signal);
        running.wait().await
    }

    /// Starts it.
    pub fn spawn(self) -> Running {
        let began = Instant::now();
        let (command, container) = match self.inside {
            None => (self.on_host(), None),
            Some(version) => {
                static NEXT: AtomicU32 = AtomicU32::new(1);
                let name = format!("longshore-job-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
                (self.in_image(version, &name), Some(name))
            }
        };
        let shown = format!("{} {}", self.binary, self.arguments.join(" "));
        Running::start(command, container, shown, self.limit, began)
    }

    fn on_host(&self) -> Command {
        let mut command = Command::new(self.path());
        command.args(&self.arguments).env_clear().env("PATH", search_path()).envs(self.environment.iter().cloned());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Values go to docker through its own environment: a secret in `docker run -e NAME=value` would stand in argv.
    fn in_image(&self, version: u16, name: &str) -> Command {
        let (image, tag) = servers::postgres_image(version);
        let mut command = Command::new("docker");
        for inherited in ["HOME", "DOCKER_HOST", "XDG_RUNTIME_DIR"] {
            if std::env::var_os(inherited).is_none() {
                command.env_remove(inherited);
            }
        }
        command.args(["run", "--rm", "--name", name, "--network", "host", "--user", "0"]);
        for label in docker::labels() {
            command.args(["--label", &label]);
        }
        let inside = format!("/usr/local/bin/{}", self.binary.rsplit('/').next().unwrap_or_default());
        command.arg("-v").arg(mount(&self.path(), &inside, ":ro"));
        for path in self.mounts.iter().chain(&self.directory) {
            command.arg("-v").arg(mount(path, &path.to_string_lossy(), ""));
        }
        for (name, value) in &self.environment {
            command.args(["-e", name]).env(name, value);
        }
        if let Some(directory) = &self.directory {
            command.arg("-w").arg(directory);
        }
        command.args(["--entrypoint", &inside, &format!("{image}:{tag}")]).args(&self.arguments);
        command
    }

    /// The binary: `LONGSHORE_TEST_BIN` when set (for `longshore`), else where cargo put it, beside this test.
    fn path(&self) -> PathBuf {
        if self.binary.contains('/') {
            return self.binary.clone().into();
        }
        let set = if self.binary == "longshore" { std::env::var_os("LONGSHORE_TEST_BIN") } else { None };
        let set = set.or_else(|| std::env::var_os(format!("CARGO_BIN_EXE_{}", self.binary)));
        let path = set.map(PathBuf::from).unwrap_or_else(|| {
            let test = std::env::current_exe().expect("find this test's own path");
            let folder = test.ancestors().nth(2).expect("target/<profile>/deps/<test> has a profile folder");
            folder.join(&self.binary)
        });
        assert!(path.exists(), "no binary at {}; run `cargo build --bins` first", path.display());
        path
    }
}

fn mount(from: &std::path::Path, to: &str, options: &str) -> OsString {
    let mut text = OsString::from(from);
    text.push(format!(":{to}{options}"));
    text
}

fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}
