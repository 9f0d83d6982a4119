//! One child and everything it starts: a process group, and the thread that watches over it.
//!
//! Promises: signals reach the whole group and never a stranger that got a recycled process id; what is left of the
//! group when its leader ends is killed; the leader is always reaped. On Linux the kernel kills the leader when this
//! process dies, however it dies.
//!
//! Why a thread per child: `PR_SET_PDEATHSIG` fires when the *thread* that started the child ends, not only when the
//! process does. The threads of an async runtime come and go (a worker that blocks hands over, an idle blocking thread
//! retires after seconds) and would take the child with them. So each child has one thread of its own that starts it,
//! waits for it and reaps it, and therefore lives exactly as long. Children are few, and such a thread only sleeps.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::watch;

use crate::error::Status;

/// How a child ended, or the error number that kept us from knowing.
pub(crate) type Ended = Result<Status, i32>;

/// A running, or ended, process group.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    /// True once the leader is reaped: from then on its id may belong to somebody else, and is never signalled again.
    reaped: Mutex<bool>,
    reaping: Condvar,
    ended: watch::Sender<Option<Ended>>,
}

/// What a started child hands back.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) group: Arc<Group>,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

/// Starts `command` as the leader of its own group, on a thread of its own.
pub(crate) fn start(mut command: Command) -> io::Result<Started> {
    command.process_group(0);
    die_with_parent(&mut command);
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new().name("child".to_owned()).spawn(move || supervise(command, &sender))?;
    receiver.recv().map_err(|_| io::Error::other("the thread that starts the child ended"))?
}

/// Asks the kernel to kill the child when the thread that starts it ends.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "only code between fork and exec can ask for a parent death signal")]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let ask = move || {
        // SIGKILL, not SIGTERM: nobody would be left to insist.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before the line above took effect will never send anything.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()))
        }
    };
    // SAFETY: after fork only async-signal-safe calls are allowed; the closure makes two plain system calls, and
    // neither allocates nor locks (an error from a raw number does not allocate).
    unsafe {
        command.pre_exec(ask);
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}

/// The life of one child, on its own thread: start, wait, kill what is left of the group, reap, tell.
fn supervise(mut command: Command, started: &SyncSender<io::Result<Started>>) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            // The receiver waits for exactly this message; it cannot be gone.
            let _receiver_waits = started.send(Err(error));
            return;
        }
    };
    drop(command); // closes our copies of what was opened for the child
    let group = Arc::new(Group {
        leader: Pid::from_child(&child),
        reaped: Mutex::new(false),
        reaping: Condvar::new(),
        ended: watch::Sender::new(None),
    });
    let handed_over = started.send(Ok(Started {
        group: Arc::clone(&group),
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
    }));
    if handed_over.is_err() {
        group.kill();
    }
    group.watch_over(&mut child);
}

impl Group {
    /// The leader's process id; also the id of the group.
    pub(crate) fn id(&self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Becomes `Some` when the leader has ended and is reaped.
    pub(crate) fn ended(&self) -> watch::Receiver<Option<Ended>> {
        self.ended.subscribe()
    }

    /// Asks every process of the group to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends every process of the group.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let reaped = self.lock();
        if !*reaped {
            // The leader is not reaped, so the group exists; members that are not ours to signal do not occur.
            let _group_exists = rustix::process::kill_process_group(self.leader, signal);
        }
    }

    /// Blocks until the leader is reaped, at most `grace`; then kills the group.
    pub(crate) fn kill_after(&self, grace: Duration) {
        let waited = self.reaping.wait_timeout_while(self.lock(), grace, |reaped| !*reaped);
        let reaped = *waited.unwrap_or_else(PoisonError::into_inner).0;
        if !reaped {
            self.kill();
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the leader, kills the rest of the group while the unreaped leader still reserves its id, reaps.
    fn watch_over(&self, child: &mut std::process::Child) {
        wait_without_reaping(self.leader);
        let ended = {
            let mut reaped = self.lock();
            let _nobody_left_is_fine = rustix::process::kill_process_group(self.leader, Signal::KILL);
            let ended = child.wait();
            *reaped = true;
            ended
        };
        self.reaping.notify_all();
        let ended = ended.map(status).map_err(|error| error.raw_os_error().unwrap_or_default());
        self.ended.send_replace(Some(ended));
    }
}

/// Returns when the process has ended, leaving it to be reaped. An error other than an interruption means that it
/// cannot be waited for; reaping will then tell why.
fn wait_without_reaping(process: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(process), options) {}
}

fn status(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Code(code),
        (None, signal) => Status::Signal(signal.unwrap_or_default()),
    }
}
