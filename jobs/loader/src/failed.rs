//! What the errors of a load mean to an operator.
//!
//! Owns the mapping to exit codes. Promises that every variant is placed by hand.

use drops::Kind;
use jobkit::{Exit, Failure};
use loader::Error;

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
        Error::Unsettled { source, .. } => {
            let failure = Failure::new(Exit::Unavailable, what).because(source);
            return hint.into_iter().fold(failure, Failure::hint);
        }
    };
    hint.into_iter().fold(Failure::new(exit, what), Failure::hint)
}

/// A drop that cannot be read.
pub(crate) fn of_drop(error: drops::Error) -> Failure {
    let exit = match error.kind {
        Kind::Missing | Kind::Changed => Exit::NoInput,
        Kind::Data => Exit::Data,
        Kind::Refused => Exit::Refused,
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
