//! The lease that a restore may be given, so that it does not run beside a loader of the same database or another restore.
//!
//! Owns what the lease means here: it is acquired before the target is asked anything, looked at last before the database gets its name, and given back
//! at the end. Promises that a lost lease ends the restore as a signal does, with the target as it was. Without `--lease` nothing is asked of anybody.

use std::future::Future;

use jobkit::{Exit, Failure, LeaseArgs};
use lease::{Held, Job, RunId};

/// Nobody else is at work, as far as a lease can tell.
#[derive(Debug)]
pub(crate) struct Alone(Option<Held>);

impl Alone {
    /// Acquires the lease, when there is to be one.
    ///
    /// # Errors
    /// [`Exit::Usage`] when one of `--lease` and `--job` is missing; what acquiring says.
    pub(crate) async fn acquire(args: &LeaseArgs, job: Option<&str>) -> Result<Self, Failure> {
        let apart = || {
            let what = "--lease and --job belong together (also as LONGSHORE_LEASE and LONGSHORE_JOB): where the lease is kept, and what only one run does";
            Failure::new(Exit::Usage, what).hint("give the same job to all that must not run at once")
        };
        match (&args.lease, job) {
            (None, None) => Ok(Self(None)),
            (_, None) | (None, _) => Err(apart()),
            (Some(_), Some(job)) => {
                Ok(Self(Some(args.acquire(|| Err(apart()), Job::parse(job)?, RunId::generate()).await?)))
            }
        }
    }

    /// Fails when the lease is lost.
    ///
    /// # Errors
    /// [`Exit::Interrupted`].
    pub(crate) fn check(&self) -> Result<(), Failure> {
        Ok(self.0.as_ref().map_or(Ok(()), |held| held.watch().assert_held())?)
    }

    /// Does the work, unless the lease is lost before its end.
    ///
    /// # Errors
    /// The work's own; [`Exit::Interrupted`].
    pub(crate) async fn unless_lost<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let Some(held) = &self.0 else { return work.await };
        let watch = held.watch();
        tokio::select! {
            biased;
            lost = watch.lost() => Err(lease::Error::Lost(lost).into()),
            outcome = Box::pin(work) => outcome,
        }
    }

    /// Gives the lease back. What was restored is restored: others wait a little longer when that fails.
    pub(crate) async fn release(self) {
        if let Some(held) = self.0
            && let Err(error) = held.release().await
        {
            tracing::warn!(%error, "could not give the lease back");
        }
    }
}
