//! What the errors of a load mean to an operator.
//!
//! Owns the mapping to exit codes. Promises that every variant is placed by hand.

use drops::Kind;
use jobkit::{Exit, Failure};
use loader::{Ended, Error};

/// A load that failed.
pub(crate) fn of_load(error: Error) -> Failure {
    let (what, hint) = (error.to_string(), error.hint());
    let exit = match error {
        Error::Target(error) => return Failure::from(error),
        Error::Drop(error) => return of_drop(error),
        Error::Lease(error) => return Failure::from(error),
        Error::Superseded(_) | Error::Stopped => Exit::Interrupted,
        Error::Merging { .. } => Exit::Busy,
        Error::Rows { .. } => Exit::Data,
        Error::Program { status, .. } => of_program(status),
        Error::Unstartable { .. } => Exit::Config,
        Error::Unsettled { source, .. } => {
            let failure = Failure::new(Exit::Unavailable, what).because(source).left_open();
            return hint.into_iter().fold(failure, Failure::hint);
        }
    };
    hint.into_iter().fold(Failure::new(exit, what), Failure::hint)
}

/// A program may say that the drop is bad, and that it wants to be started again; whatever else it says is a matter between it and those who wrote it.
fn of_program(status: Ended) -> Exit {
    match status {
        Ended::Code(65) => Exit::Data,
        Ended::Code(75) => Exit::Busy,
        Ended::Code(_) | Ended::Signal(_) => Exit::Config,
    }
}

/// A drop that cannot be read.
pub(crate) fn of_drop(error: drops::Error) -> Failure {
    let exit = match error.kind {
        Kind::Missing | Kind::Changed => Exit::NoInput,
        Kind::Data => Exit::Data,
        Kind::Refused => Exit::Refused,
        Kind::Exists => Exit::Exists,
        Kind::Config => Exit::Config,
        Kind::Unavailable => Exit::Unavailable,
        Kind::Internal => Exit::Internal,
    };
    let failure = error.hint.into_iter().fold(Failure::new(exit, error.what), Failure::hint);
    match error.source {
        Some(source) => failure.because(source),
        None => failure,
    }
}

/// A bucket that cannot be read.
pub(crate) fn of_store(error: store::Error) -> Failure {
    use store::Error as E;
    let (exit, hint) = match &error {
        E::Denied { .. } => (
            Exit::Refused,
            "let these credentials list the drop's prefix and read what is there (s3:ListBucket, s3:GetObject), and check this machine's clock; nothing was loaded",
        ),
        E::NoPlace { .. } => {
            (Exit::NoInput, "correct the bucket's name, its region or its endpoint in --drop; nothing was loaded")
        }
        E::Unavailable { .. } => (
            Exit::Unavailable,
            "check that the endpoint in --drop can be reached from here, and that its certificate is signed by a CA of this machine or of ca=…; then start again: nothing was loaded",
        ),
        _ => return Failure::from(error),
    };
    Failure::new(exit, error.to_string()).hint(hint).because(Failure::from(error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use jobkit::{Shutdown, StopSignal};

    use super::*;

    #[tokio::test]
    async fn what_is_not_known_is_not_called_undone_after_a_signal() {
        let shutdown = Shutdown::manual(std::time::Duration::from_secs(20));
        shutdown.stop(StopSignal::Terminate);
        let table = || "t".parse().unwrap();
        let opened =
            loader::open("mongodb://u@h/d", None, table(), loader::Mode::Append, loader::Limits::default(), false);
        let Err(Error::Target(source)) = opened else { panic!("it is no target yet") };
        let source = Box::new(source);
        let unsettled = Error::Unsettled { run: lease::RunId::generate(), location: "here".to_owned(), source };
        let failure = shutdown.run::<()>(async { Err(of_load(unsettled)) }).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(failure.render_text().contains("is not known"), "{failure}");
        let stopped = shutdown.run::<()>(async { Err(of_load(Error::Stopped)) }).await.unwrap_err();
        assert_eq!(stopped.exit(), Exit::Interrupted);
    }
}
