//! What to start, and with what.
//!
//! Owns the description of a child: program, argument list, environment, secret files, where its output goes. Promises
//! that a child sees only the variables named here plus `PATH`, `LANG=C` and `LC_ALL=C` (messages and sorting do not
//! depend on the host), or without these where the caller names the whole environment; and that `Debug` shows names of variables, never values. Refuses shells: nothing is split,
//! expanded or quoted.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::child::Child;
use crate::error::Error;
use crate::group;
use crate::path::{find, search_path};
use crate::pump::OnLine;
use crate::secret::SecretDir;
use crate::stream::{OnOutput, Stream};

/// How long a dropped child may take to end after SIGTERM before it is killed, unless [`Command::grace`] says more.
const GRACE: Duration = Duration::from_secs(5);

/// Where stdin comes from.
enum Input {
    Nothing,
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Where stdout goes.
enum Sink {
    Discard,
    File(PathBuf),
    Capture {
        limit: usize,
    },
    /// Both outputs, as they come.
    Streamed(OnOutput),
}

/// Who reads what a child writes to its pipes.
pub(crate) enum Listener {
    /// The tail of stderr is kept, and perhaps shown by lines.
    Tail(Option<OnLine>),
    /// Everything is handed on.
    Output(OnOutput),
}

/// A program to be started. Nothing runs before [`Command::spawn`].
#[must_use = "a command does nothing until it is spawned"]
pub struct Command {
    program: String,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    /// Whether `env` is all that there is.
    whole_env: bool,
    secrets: Option<SecretDir>,
    input: Input,
    sink: Sink,
    on_line: Option<OnLine>,
    grace: Duration,
}

impl Command {
    /// A command without arguments whose stdin is empty and whose stdout is discarded. A name without a slash is
    /// looked up on this process's `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            whole_env: false,
            secrets: None,
            input: Input::Nothing,
            sink: Sink::Discard,
            on_line: None,
            grace: GRACE,
        }
    }

    /// Adds one argument, passed as it is. Arguments are visible to every user of the host: never a secret.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments, each passed as it is.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable of the child. Prefer [`Command::secret_file`] for what must not show: a child's
    /// environment is readable by its user and by root.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Takes these variables, and no others: not even `PATH` and the language are added. For programs that are not ours.
    pub fn whole_env(mut self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.env = env.into_iter().collect();
        self.whole_env = true;
        self
    }

    /// Writes `content` to a file only this user can read and sets variable `key` to its path, for example
    /// `secret_file("PGPASSFILE", "pgpass", b"...")`. The file is removed when the child's handle is dropped.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written or `name` was used already; never with the content.
    pub fn secret_file(mut self, key: impl Into<OsString>, name: &str, content: &[u8]) -> Result<Self, Error> {
        let secrets = match self.secrets.take() {
            Some(secrets) => secrets,
            None => SecretDir::new()?,
        };
        let path = secrets.write(name, content)?;
        self.secrets = Some(secrets);
        Ok(self.env(key, path))
    }

    /// Lets the child read its stdin from a file.
    pub fn stdin_from(mut self, path: impl Into<PathBuf>) -> Self {
        self.input = Input::File(path.into());
        self
    }

    /// Writes these bytes to the child's stdin, then closes it. The caller bounds them.
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Writes stdout to a file of mode 0600, created or emptied when the child starts.
    pub fn stdout_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.sink = Sink::File(path.into());
        self
    }

    /// Keeps stdout in memory, at most `limit` bytes; a child that writes more is killed.
    pub fn capture(mut self, limit: usize) -> Self {
        self.sink = Sink::Capture { limit };
        self
    }

    /// Calls `on_line` with every line of stderr, without its newline, as it is read. No line is left out; bytes that
    /// are not UTF-8 are replaced, lines beyond 64 KiB come in pieces. It must not block for long: it holds up stderr.
    pub fn on_stderr_line(mut self, on_line: impl FnMut(&str) + Send + 'static) -> Self {
        self.on_line = Some(Box::new(on_line));
        self
    }

    /// Hands on what the child writes to stdout and stderr, byte for byte, as it comes; an empty piece is a stream's end. Nothing of it is kept:
    /// [`Child::wait`] has no output and no tail then. It is called on a thread of its own and may block, which holds up the child alone.
    pub fn on_output(mut self, on_output: impl FnMut(Stream, &[u8]) + Send + 'static) -> Self {
        self.sink = Sink::Streamed(Box::new(on_output));
        self
    }

    /// How long the child may take after SIGTERM when its handle is dropped, before SIGKILL; 5 s by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Starts the child in a process group of its own. Must be called inside a tokio runtime with IO enabled. Blocks for
    /// the fork and exec, some milliseconds.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such program, [`Error::Spawn`] when it cannot be started, [`Error::Io`] when
    /// a file for stdin or stdout cannot be opened.
    pub fn spawn(self) -> Result<Child, Error> {
        let program = self.program;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::Spawn { program, source: io::Error::other("not inside an async runtime") });
        }
        let Some(path) = find(&program) else { return Err(Error::Missing { program }) };
        let (stdin, bytes) = match self.input {
            Input::Nothing => (Stdio::null(), None),
            Input::File(path) => (open(&path)?.into(), None),
            Input::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
        };
        let tail = Listener::Tail(self.on_line);
        let (stdout, limit, listener) = match self.sink {
            Sink::Discard => (Stdio::null(), None, tail),
            Sink::File(path) => (create(&path)?.into(), None, tail),
            Sink::Capture { limit } => (Stdio::piped(), Some(limit), tail),
            Sink::Streamed(on_output) => (Stdio::piped(), None, Listener::Output(on_output)),
        };
        let mut command = std::process::Command::new(path);
        command.args(self.args).env_clear();
        if !self.whole_env {
            command.env("PATH", search_path()).env("LANG", "C").env("LC_ALL", "C");
        }
        command.envs(self.env);
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        match group::start(command) {
            Ok(started) => Child::attach(program, started, bytes, limit, listener, self.grace, self.secrets),
            Err(source) => Err(Error::Spawn { program, source }),
        }
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::io(format!("open {} as input", path.display()), source))
}

fn create(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    opened.map_err(|source| Error::io(format!("create {} for output", path.display()), source))
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&OsStr> = self.env.keys().map(OsString::as_os_str).collect();
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env_names", &names)
            .finish_non_exhaustive()
    }
}
