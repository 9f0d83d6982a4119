//! Stopping when told to.
//!
//! Promises: the first SIGINT or SIGTERM cancels the job's token and gives it a stated grace to end by itself; what has
//! not ended by then is dropped; a second signal ends the process at once. A job that succeeded before the grace ran out
//! is a success: what it published is published. Refuses to call an interrupted job anything but interrupted, except one that does not know
//! what became of its work: that it says.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::format;

/// How long a job may take to end after the first signal: under the 30 s after which Kubernetes kills.
pub const GRACE: Duration = Duration::from_secs(25);

/// A signal that asks a job to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: somebody pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: the scheduler wants the job to end.
    Terminate,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Whether, and by what, this run was told to stop. Clones are the same run.
#[derive(Debug, Clone)]
pub struct Shutdown {
    token: CancellationToken,
    first: Arc<OnceLock<(StopSignal, Instant)>>,
    grace: Duration,
}

impl Shutdown {
    /// A run that no signal reaches: for tests, and for libraries driven by something else.
    #[must_use]
    pub fn manual(grace: Duration) -> Self {
        Self { token: CancellationToken::new(), first: Arc::default(), grace }
    }

    /// Listens for SIGINT and SIGTERM from here on, as long as the runtime lives. Must be called inside a tokio runtime
    /// with IO enabled.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn listen(grace: Duration) -> io::Result<Self> {
        let shutdown = Self::manual(grace);
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::spawn(shutdown.clone().obey(interrupt, terminate));
        Ok(shutdown)
    }

    /// Cancelled at the first signal. A job checks it between steps, and passes it to what it waits for.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The first signal, once there was one.
    #[must_use]
    pub fn signal(&self) -> Option<StopSignal> {
        self.first.get().map(|(signal, _)| *signal)
    }

    /// How long ago the first signal came, if there was one.
    pub(crate) fn since_signal(&self) -> Option<Duration> {
        self.first.get().map(|(_, at)| at.elapsed())
    }

    /// Acts as if `signal` had arrived; false when one had before.
    pub fn stop(&self, signal: StopSignal) -> bool {
        let is_first = self.first.set((signal, Instant::now())).is_ok();
        self.token.cancel();
        is_first
    }

    async fn obey(self, mut interrupt: Signal, mut terminate: Signal) {
        loop {
            let signal = tokio::select! {
                Some(()) = interrupt.recv() => StopSignal::Interrupt,
                Some(()) = terminate.recv() => StopSignal::Terminate,
                else => return,
            };
            if self.stop(signal) {
                tracing::warn!(%signal, grace_seconds = self.grace.as_secs(), "stopping; a second signal stops at once");
            } else {
                let _stderr_may_be_gone = writeln!(io::stderr(), "error: stopped at once by a second {signal}");
                std::process::exit(Exit::Interrupted.code().into());
            }
        }
    }

    /// Runs `job` to its end, or until a signal and the grace after it.
    ///
    /// # Errors
    /// The job's own failure when there was no signal; [`Exit::Interrupted`] when there was one and the job did not
    /// succeed nevertheless, with the job's failure as the cause. A failure that is left open keeps its exit.
    pub async fn run<T>(&self, job: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut job = pin!(job);
        let ended = tokio::select! {
            biased;
            ended = &mut job => ended,
            () = self.token.cancelled() => match tokio::time::timeout(self.grace, &mut job).await {
                Ok(ended) => ended,
                Err(_) => return Err(self.aborted()),
            },
        };
        match (ended, self.signal()) {
            (Err(failure), Some(signal)) => Err(interrupted(signal, failure)),
            (ended, _) => ended,
        }
    }

    fn aborted(&self) -> Failure {
        let by = self.signal().map_or_else(|| "a cancelled run".to_owned(), |signal| signal.to_string());
        let grace = format::duration(self.grace);
        Failure::new(Exit::Interrupted, format!("stopped by {by}; the job did not end within {grace} and was aborted"))
            .hint("look at what is there before the next run, with `longshore list`, or `longshore load --history` for a load: a commit that was under way may have happened")
    }
}

/// Ends when a signal comes; for the time after a job, when no [`Shutdown`] listens any more.
pub(crate) async fn another_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn interrupted(signal: StopSignal, failure: Failure) -> Failure {
    let what = format!("stopped by {signal}");
    if failure.exit() == Exit::Interrupted || failure.is_left_open() {
        failure.context(what)
    } else {
        Failure::new(Exit::Interrupted, what).because(failure)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use std::future::pending;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn failed(exit: Exit) -> Failure {
        Failure::new(exit, "canceled")
    }

    #[tokio::test]
    async fn without_a_signal_the_job_speaks_for_itself() {
        let shutdown = Shutdown::manual(PATIENCE);
        assert_eq!(shutdown.run(async { Ok(7) }).await.unwrap(), 7);
        let failure = shutdown.run::<()>(async { Err(failed(Exit::Data)) }).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Data);
    }

    #[tokio::test]
    async fn a_signal_lets_the_job_end_and_makes_it_interrupted() {
        let shutdown = Shutdown::manual(PATIENCE);
        let job = async {
            assert!(shutdown.stop(StopSignal::Terminate) && !shutdown.stop(StopSignal::Interrupt));
            shutdown.token().cancelled().await;
            Err::<(), _>(failed(Exit::Unavailable))
        };
        let failure = shutdown.run(job).await.unwrap_err();
        assert_eq!(failure.to_string(), "stopped by SIGTERM");
        assert_eq!((failure.exit(), failure.causes()), (Exit::Interrupted, vec!["canceled".to_owned()]));
    }

    #[tokio::test]
    async fn a_job_that_does_not_know_what_it_did_says_so() {
        let shutdown = Shutdown::manual(PATIENCE);
        shutdown.stop(StopSignal::Terminate);
        let unknown = || failed(Exit::Unavailable).hint("ask the server").left_open().context("load");
        let failure = shutdown.run::<()>(async { Err(unknown()) }).await.unwrap_err();
        assert_eq!((failure.exit(), failure.to_string()), (Exit::Unavailable, "stopped by SIGTERM".to_owned()));
        assert_eq!(failure.what_next().as_deref(), Some("ask the server"));
        assert!(failure.is_left_open() && failure.causes().contains(&"canceled".to_owned()));
    }

    #[tokio::test]
    async fn a_job_that_succeeds_within_the_grace_has_succeeded() {
        let shutdown = Shutdown::manual(PATIENCE);
        shutdown.stop(StopSignal::Interrupt);
        let job = async {
            tokio::task::yield_now().await;
            Ok("published")
        };
        assert_eq!(shutdown.run(job).await.unwrap(), "published");
    }

    #[tokio::test]
    async fn a_job_that_does_not_end_is_aborted_and_nothing_is_claimed() {
        let shutdown = Shutdown::manual(Duration::from_millis(10));
        shutdown.stop(StopSignal::Terminate);
        let failure = shutdown.run(pending::<Result<(), Failure>>()).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Interrupted);
        assert!(failure.to_string().contains("aborted") && !failure.to_string().contains("published"));
        // Of a load, too, nobody knows.
        assert!(failure.what_next().unwrap().contains("longshore load --history"));
    }
}
