//! A running child.
//!
//! Promises: [`Child::wait`] may be dropped and called again without losing anything; [`Child::stop`] ends the whole
//! group within the grace it is given; dropping the handle ends the group too. Refuses to call anything but exit code 0
//! a success.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::command::Listener;
use crate::error::{Error, Status};
use crate::group::{Ended, Group, Started};
use crate::pump::{self, Lost, OnLine};
use crate::secret::SecretDir;
use crate::stream::Streaming;
use crate::tail::Tail;

/// How long a pipe may stay open after the child and its group are gone. Only a descendant that left the group (a
/// daemon) can hold one.
const PIPE_CLOSES: Duration = Duration::from_secs(5);

/// What a child that ended with exit code 0 left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Captured stdout, whole; empty when it went elsewhere.
    pub stdout: Vec<u8>,
    /// The last [`TAIL_BYTES`](crate::TAIL_BYTES) of stderr.
    pub stderr_tail: String,
}

/// Captured stdout: still coming, or all there.
#[derive(Debug)]
enum Capture {
    None,
    Running(JoinHandle<Result<Vec<u8>, Lost>>),
    Done(Result<Vec<u8>, Lost>),
}

fn unreadable(source: io::Error) -> Error {
    Error::io("read the pipes of a child", source)
}

/// A child process. Dropping it sends SIGTERM to its group and, after the command's grace, SIGKILL.
#[derive(Debug)]
pub struct Child {
    program: String,
    group: Arc<Group>,
    ended: watch::Receiver<Option<Ended>>,
    limit: usize,
    stdout: Capture,
    stderr: Option<JoinHandle<()>>,
    stdin: Option<JoinHandle<()>>,
    streaming: Option<Streaming>,
    tail: Arc<Mutex<Tail>>,
    grace: Duration,
    _secrets: Option<SecretDir>,
}

impl Child {
    /// Takes charge of a started child: from here on dropping it ends it.
    pub(crate) fn attach(
        program: String,
        started: Started,
        input: Option<Vec<u8>>,
        limit: Option<usize>,
        listener: Listener,
        grace: Duration,
        secrets: Option<SecretDir>,
    ) -> Result<Self, Error> {
        let Started { group, stdin, stdout, stderr } = started;
        let mut child = Self {
            program,
            ended: group.ended(),
            group,
            limit: limit.unwrap_or_default(),
            stdout: Capture::None,
            stderr: None,
            stdin: None,
            streaming: None,
            tail: Arc::default(),
            grace,
            _secrets: secrets,
        };
        if let (Some(pipe), Some(bytes)) = (stdin, input) {
            let pipe = pipe::Sender::from_owned_fd(OwnedFd::from(pipe)).map_err(unreadable)?;
            child.stdin = Some(tokio::spawn(pump::feed(pipe, bytes)));
        }
        match (listener, stdout, stderr) {
            (Listener::Output(on_output), Some(stdout), Some(stderr)) => {
                child.streaming = Some(Streaming::start(stdout, stderr, on_output).map_err(unreadable)?);
            }
            (Listener::Output(_), ..) => return Err(unreadable(io::Error::other("there are none"))),
            (Listener::Tail(on_line), stdout, stderr) => child.keep(stdout, limit, stderr, on_line)?,
        }
        Ok(child)
    }

    /// Begins to read: stdout whole, of stderr the tail.
    fn keep(
        &mut self,
        stdout: Option<ChildStdout>,
        limit: Option<usize>,
        stderr: Option<ChildStderr>,
        on_line: Option<OnLine>,
    ) -> Result<(), Error> {
        if let Some(pipe) = stderr {
            let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(pipe)).map_err(unreadable)?;
            self.stderr = Some(tokio::spawn(pump::drain(pipe, Arc::clone(&self.tail), on_line)));
        }
        if let (Some(pipe), Some(limit)) = (stdout, limit) {
            let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(pipe)).map_err(unreadable)?;
            self.stdout = Capture::Running(tokio::spawn(pump::capture(pipe, limit, Arc::clone(&self.group))));
        }
        Ok(())
    }

    /// The process id, which is also the id of its group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// What is known of the end of stderr so far.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).text()
    }

    /// Waits until the child has ended and its output is read. Other processes of its group are killed when it ends.
    /// Cancel-safe: use it in `select!`, drop it, call it again. Captured output is handed out once.
    ///
    /// # Errors
    /// [`Error::Failed`] for everything but exit code 0, [`Error::OutputTooLong`], and [`Error::Io`] when the captured
    /// output could not be read to its end.
    pub async fn wait(&mut self) -> Result<Output, Error> {
        let status = self.status().await?;
        self.collect().await;
        let stdout = match std::mem::replace(&mut self.stdout, Capture::None) {
            Capture::Done(Err(Lost::TooLong)) => {
                return Err(Error::OutputTooLong { program: self.program.clone(), limit: self.limit });
            }
            Capture::Done(read) => read,
            Capture::None | Capture::Running(_) => Ok(Vec::new()),
        };
        let stderr_tail = self.stderr_tail();
        if !status.success() {
            return Err(Error::Failed { program: self.program.clone(), status, stderr_tail });
        }
        match stdout {
            Ok(stdout) => Ok(Output { stdout, stderr_tail }),
            Err(Lost::Io(source)) => Err(Error::io(format!("read the output of {}", self.program), source)),
            Err(Lost::TooLong) => Err(Error::OutputTooLong { program: self.program.clone(), limit: self.limit }),
        }
    }

    /// Sends SIGTERM to the whole group, waits at most `grace`, then sends SIGKILL; returns when the child is reaped,
    /// with how it ended. A child that had ended already keeps its own status.
    ///
    /// # Errors
    /// [`Error::Io`] when the child cannot be waited for.
    pub async fn stop(&mut self, grace: Duration) -> Result<Status, Error> {
        self.group.terminate();
        if let Ok(status) = timeout(grace, self.status()).await {
            return status;
        }
        self.group.kill();
        self.status().await
    }

    /// Waits until the child has ended, and says how, whatever that was. Other processes of its group are killed when it ends. Cancel-safe; it may
    /// be called again. What the child wrote may still be on its way: [`Child::handed_over`].
    ///
    /// # Errors
    /// [`Error::Io`] when the child cannot be waited for.
    pub async fn ended(&mut self) -> Result<Status, Error> {
        self.status().await
    }

    /// Sends SIGKILL to the whole group at once; returns when the child is reaped, with how it ended.
    ///
    /// # Errors
    /// [`Error::Io`] when the child cannot be waited for.
    pub async fn kill(&mut self) -> Result<Status, Error> {
        self.group.kill();
        self.status().await
    }

    /// Waits, after the end, until all that the child wrote was handed on ([`Command::on_output`](crate::Command::on_output)), at most 10 s; false
    /// when a process that left the group keeps a pipe open, or whoever takes the output is too slow. The rest is given up then.
    pub async fn handed_over(&mut self) -> bool {
        match self.streaming.take() {
            Some(streaming) => streaming.end(PIPE_CLOSES).await,
            None => true,
        }
    }

    /// How the leader ended, once it is reaped.
    async fn status(&mut self) -> Result<Status, Error> {
        let lost = |source| Error::io(format!("wait for {}", self.program), source);
        match self.ended.wait_for(Option::is_some).await.map(|ended| *ended) {
            Ok(Some(Ok(status))) => Ok(status),
            Ok(Some(Err(number))) => Err(lost(io::Error::from_raw_os_error(number))),
            Ok(None) | Err(_) => Err(lost(io::Error::other("the thread that watches it ended"))),
        }
    }

    /// Waits for both pipes to reach their end. Each result is stored before the next wait, so that being dropped in
    /// between loses nothing.
    async fn collect(&mut self) {
        if let Capture::Running(task) = &mut self.stdout {
            let read = match timeout(PIPE_CLOSES, &mut *task).await {
                Ok(Ok(read)) => read,
                Ok(Err(join)) => Err(Lost::Io(io::Error::other(join))),
                Err(_) => {
                    task.abort();
                    Err(Lost::Io(io::Error::other("a process that left the group keeps the pipe open")))
                }
            };
            self.stdout = Capture::Done(read);
        }
        if let Some(task) = &mut self.stderr {
            if timeout(PIPE_CLOSES, &mut *task).await.is_err() {
                task.abort();
            }
            self.stderr = None;
        }
        self.handed_over().await;
    }

    fn abort_pumps(&self) {
        if let Capture::Running(task) = &self.stdout {
            task.abort();
        }
        for task in self.stderr.iter().chain(&self.stdin) {
            task.abort();
        }
        if let Some(streaming) = &self.streaming {
            streaming.abort();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.borrow().is_some() {
            self.abort_pumps();
            return;
        }
        // The pumps of a child that still runs go on until its pipes close: a broken pipe must not be what ends a
        // child that is cleaning up after SIGTERM.
        self.group.terminate();
        // A thread, not a task: the runtime may be shutting down. If this process ends before the grace does, the
        // parent death signal finishes the leader.
        let (group, grace) = (Arc::clone(&self.group), self.grace);
        let insist = thread::Builder::new().name("child-stop".to_owned()).spawn(move || group.kill_after(grace));
        if insist.is_err() {
            self.group.kill();
        }
    }
}
