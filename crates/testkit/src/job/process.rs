//! Owns a started job: reads its output as it comes, samples its memory, signals it, ends it when its time is over.

use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Outcome, Signal};
use crate::{background, docker};

const SAMPLE: Duration = Duration::from_millis(10);

/// A job that runs. Dropped before its end, it is killed with its whole process group, or its container removed.
#[derive(Debug)]
pub struct Running {
    command: String,
    shared: Arc<Shared>,
    container: Option<String>,
    deadline: Instant,
    limit: Duration,
    began: Instant,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// `None` once it has been waited for: its id may then be another's.
    child: Mutex<Option<Child>>,
    ended: watch::Sender<Option<(ExitStatus, Duration)>>,
    stdout: Mutex<Vec<u8>>,
    stderr: Mutex<Vec<u8>>,
    /// Changes whenever standard error grew.
    news: watch::Sender<usize>,
    max_rss: Mutex<Option<u64>>,
}

impl Running {
    pub(super) fn start(
        mut command: Command,
        container: Option<String>,
        shown: String,
        limit: Duration,
        began: Instant,
    ) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {shown}: {error}"));
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let shared = Arc::new(Shared {
            child: Mutex::new(Some(child)),
            ended: watch::channel(None).0,
            stdout: Mutex::default(),
            stderr: Mutex::default(),
            news: watch::channel(0).0,
            max_rss: Mutex::default(),
        });
        let (out, err, watcher) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&shared));
        let name = container.clone();
        let readers = vec![
            std::thread::spawn(move || read_all(stdout, |bytes| lock(&out.stdout).extend_from_slice(bytes))),
            std::thread::spawn(move || {
                read_all(stderr, |bytes| {
                    lock(&err.stderr).extend_from_slice(bytes);
                    err.news.send_modify(|count| *count += bytes.len());
                });
            }),
            std::thread::spawn(move || watch_over(&watcher, name.as_deref(), began)),
        ];
        Running { command: shown, shared, container, deadline: began + limit, limit, began, readers }
    }

    /// Waits until standard error contains `words`.
    ///
    /// # Panics
    /// When the job ends, or its time is over, without.
    pub async fn wait_for_stderr(&self, words: &str) {
        let (mut news, mut ended) = (self.shared.news.subscribe(), self.shared.ended.subscribe());
        loop {
            let over = ended.borrow_and_update().is_some();
            if self.stderr().contains(words) {
                return;
            }
            // What was written last may still be on its way to us when the end is seen: the reader stops at its end.
            if over && self.readers[1].is_finished() {
                assert!(self.stderr().contains(words), "ended without saying {words:?}\n{}", self.so_far());
                return;
            }
            let pace = tokio::time::sleep(SAMPLE);
            tokio::select! {
                _ = news.changed() => {}
                _ = ended.changed() => {}
                () = pace, if over => {}
                () = tokio::time::sleep_until(self.deadline.into()) => {
                    panic!("did not say {words:?} within {:?}\n{}", self.limit, self.so_far());
                }
            }
        }
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&lock(&self.shared.stderr)).into_owned()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        self.shared.ended.borrow().is_none()
    }

    /// Sends a signal to the job alone, not to its children. Does nothing when it has ended.
    pub fn signal(&self, signal: Signal) {
        match &self.container {
            None => self.shared.send(signal.number(), false),
            Some(name) => {
                let number = signal.number().to_string();
                // Ended meanwhile: what a signal to an ended process is.
                drop(docker::run(&["kill", "--signal", &number, name]));
            }
        }
    }

    /// The processes that this job has started and that are still there, by their command names. Host only.
    pub fn children(&self) -> Vec<String> {
        let Some(pid) = lock(&self.shared.child).as_ref().map(Child::id) else { return Vec::new() };
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let name = |child: &str| std::fs::read_to_string(format!("/proc/{child}/comm")).ok();
        list.split_whitespace().filter_map(name).map(|name| name.trim().to_owned()).collect()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When its time is over; it is killed, and the message holds all of its output.
    pub async fn wait(mut self) -> Outcome {
        let mut ended = self.shared.ended.subscribe();
        let end = tokio::time::timeout_at(self.deadline.into(), ended.wait_for(Option::is_some)).await;
        let Ok(Ok(end)) = end.map(|end| end.map(|end| *end)) else {
            panic!("did not end within {:?}\n{}", self.limit, self.so_far());
        };
        let (status, elapsed) = end.expect("waited for");
        for reader in self.readers.drain(..) {
            // A child of the job that outlives it holds the pipes open: leave such a reader behind.
            let closed = background::until(Duration::from_secs(5), || async { reader.is_finished().then_some(()) });
            if closed.await.is_none() {
                eprintln!("testkit: something that {} started still holds its output open", self.command);
            }
        }
        let (code, signal) = match (self.container.is_some(), status.code()) {
            (true, Some(code @ 129..=159)) => (None, Some(code - 128)),
            (_, code) => (code, status.signal()),
        };
        self.outcome(code, signal, elapsed)
    }

    fn outcome(&self, code: Option<i32>, signal: Option<i32>, elapsed: Duration) -> Outcome {
        Outcome {
            command: self.command.clone(),
            code,
            signal,
            stdout: String::from_utf8_lossy(&lock(&self.shared.stdout)).into_owned(),
            stderr: self.stderr(),
            max_rss: *lock(&self.shared.max_rss),
            elapsed,
        }
    }

    fn so_far(&self) -> String {
        self.outcome(None, None, self.began.elapsed()).report()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            if let Some(name) = &self.container {
                drop(docker::run(&["rm", "-f", "-v", name]));
            }
            self.shared.send(libc::SIGKILL, true);
        }
    }
}

impl Shared {
    fn send(&self, signal: i32, group: bool) {
        let child = lock(&self.child);
        let Some(pid) = child.as_ref().and_then(|child| i32::try_from(child.id()).ok()) else { return };
        // SAFETY: kill has no memory to corrupt. The lock is held and the child not yet waited for, so that the id,
        // which is also its group's, is still its own.
        #[expect(unsafe_code, reason = "the standard library only sends SIGKILL")]
        let sent = unsafe { libc::kill(if group { -pid } else { pid }, signal) };
        // Fails only when the process has ended by itself.
        let _ = sent;
    }
}

/// Waits for the end without holding the lock, and samples the memory mark until then.
fn watch_over(shared: &Shared, container: Option<&str>, began: Instant) {
    let mut pid = if container.is_none() { lock(&shared.child).as_ref().map(Child::id) } else { None };
    loop {
        if pid.is_none() {
            pid = container.and_then(pid_of);
        }
        // The newest mark, not the highest: before it executes the job, the child shows this test's own memory.
        if let Some(bytes) = pid.and_then(high_water) {
            *lock(&shared.max_rss) = Some(bytes);
        }
        let mut child = lock(&shared.child);
        if let Some(status) = child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
            *child = None;
            shared.ended.send_replace(Some((status, began.elapsed())));
            return;
        }
        drop(child);
        std::thread::sleep(SAMPLE);
    }
}

fn pid_of(container: &str) -> Option<u32> {
    let pid = docker::run(&["inspect", "-f", "{{.State.Pid}}", container]).ok()?.trim().parse().ok()?;
    (pid != 0).then_some(pid)
}

/// The most that a process has had resident, in bytes, since it was executed.
fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn read_all(mut from: impl Read, mut take: impl FnMut(&[u8])) {
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => take(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
