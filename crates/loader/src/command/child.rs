//! The program's process, from its start to its end.
//!
//! Owns how it is ended. Promises that it and its process group are killed at once when the lease is lost, also while they are being asked to end; that a
//! signal gives them ten seconds to end by themselves; that every wait has a bound; and that nothing it wrote is in an error. Whoever left the group is out
//! of reach.

use std::time::Duration;

use process::Child;

use super::program::{Program, Told};
use crate::Error;
use crate::run::Permit;

/// How long a program may take to end after SIGTERM. A signal's grace is 25 s, and the rest of the run needs some of it.
const GRACE: Duration = Duration::from_secs(10);
/// How long a process may take to be gone after SIGKILL. One that waits for a dead disk takes longer, and cannot be waited for.
const DEATH: Duration = Duration::from_secs(2);
/// How long the last of its output may take to be shown and kept. After a signal it is as little as a death.
const OUTPUT: Duration = Duration::from_secs(10);

/// Runs it to its end, which is 0 or an error.
pub(super) async fn run(program: &Program, told: &Told<'_>, permit: &dyn Permit) -> Result<(), Error> {
    permit.check()?;
    let mut child = program.start(told)?;
    tracing::info!(program = program.name(), pid = child.id(), "started the program");
    let ended = tokio::select! {
        biased;
        error = permit.ended() => Err(error),
        ended = child.ended() => Ok(ended),
    };
    let ended = match ended {
        Err(error) => Err(end(&mut child, program, permit, error).await),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Error::Program { program: program.name().to_owned(), status, kept: program.kept() }),
        Ok(Err(error)) => Err(engine::Error::new(engine::Kind::Internal, error.to_string()).into()),
    };
    let patience = if matches!(ended, Err(Error::Stopped)) { DEATH } else { OUTPUT };
    if !tokio::time::timeout(patience, child.handed_over()).await.unwrap_or(false) {
        tracing::warn!(
            program = program.name(),
            "some of what the program wrote was given up: a process that it left holds its output open, or nobody takes what is shown"
        );
    }
    ended
}

/// Ends it for a reason, and gives the one that counts.
async fn end(child: &mut Child, program: &Program, permit: &dyn Permit, error: Error) -> Error {
    if !matches!(error, Error::Stopped) {
        kill(child, program).await;
        return error;
    }
    // Nothing is logged before it is asked: where nobody takes what is shown, that would hold up the end.
    let lost = tokio::select! {
        biased;
        lost = permit.lost() => Some(lost),
        stopped = tokio::time::timeout(GRACE + DEATH, child.stop(GRACE)) => {
            if stopped.is_err() {
                stays(program);
            }
            None
        }
    };
    if lost.is_some() {
        kill(child, program).await;
    }
    lost.unwrap_or(error)
}

async fn kill(child: &mut Child, program: &Program) {
    if tokio::time::timeout(DEATH, child.kill()).await.is_err() {
        stays(program);
    }
}

fn stays(program: &Program) {
    tracing::warn!(program = program.name(), "the program was killed and is not gone yet: does it wait for a disk?");
}
