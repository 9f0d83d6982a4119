//! From the errors of the layers below to failures with exit codes.
//!
//! Owns the one mapping from store, repository, database and lease errors to the exit code table. Promises that every variant
//! is placed by hand: a new one does not compile until somebody has decided what it means to an operator.

use crate::exit::Exit;
use crate::failure::Failure;
use engine::Kind;

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let exit = match &error {
            E::NotFound { .. } | E::Truncated { .. } | E::Corrupt { .. } => Exit::Data,
            E::AlreadyExists { .. } => Exit::Exists,
            E::Denied { .. } | E::NoConditionalCreate { .. } => Exit::Refused,
            E::NoPlace { .. } | E::Config { .. } => Exit::Config,
            E::Full { .. } | E::Unavailable { .. } => Exit::Unavailable,
        };
        let failure = match error.hint() {
            Some(hint) => Self::new(exit, error.to_string()).hint(hint),
            None => Self::new(exit, error.to_string()),
        };
        match std::error::Error::source(&error) {
            Some(source) => failure.because(chain(source)),
            None => failure,
        }
    }
}

/// The texts of an error and its causes, as one error: the sources themselves are borrowed.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = source.source();
    }
    text
}

impl From<repository::Error> for Failure {
    fn from(error: repository::Error) -> Self {
        use repository::Error as E;
        let what = error.to_string();
        match error {
            E::Store { what, source } => Self::from(source).context(what),
            E::Damaged { object, .. } if object == "repository.json" || object.starts_with("settings/") => {
                Self::new(Exit::Data, what).hint(format!("put {object} back from a copy of the repository"))
            }
            E::Damaged { .. } => Self::new(Exit::Data, what)
                .hint("restore another backup, or from a second copy of the repository; keep the damaged object for a closer look"),
            E::Missing { object, .. } if object == "repository.json" => Self::new(Exit::Data, what).hint(
                "put it back, from an older version or another copy of the bucket; a new repository in this place would not know these backups",
            ),
            E::Missing { .. } => Self::new(Exit::Data, what)
                .hint("restore another backup, or from a second copy of the repository; find out who deletes in this one"),
            E::NoRepository { .. } => {
                Self::new(Exit::NoInput, what).hint("make one with `longshore init`, or check the repository's URL")
            }
            E::RepositoryExists { .. } => Self::new(Exit::Exists, what).hint("use it as it is, or choose another prefix"),
            E::Format { .. } => Self::new(Exit::Config, what).hint("use the version of longshore that wrote it, or a newer one"),
            E::Sealed { .. } => Self::new(Exit::Config, what)
                .hint("name the file of an age identity that is a recipient in LONGSHORE_IDENTITY_FILE; `longshore keys list` shows for whom it can be"),
            E::Keys { .. } => Self::new(Exit::Config, what)
                .hint("`longshore keys list` shows who is known; compare the repository's URL, and the key that was given"),
            E::Signer { .. } => Self::new(Exit::Refused, what)
                .hint("restore nothing from it before you know who has put it there: `longshore keys list` shows whose backups are believed"),
            E::NotFound { .. } => Self::new(Exit::NoInput, what).hint("`longshore list` shows what there is"),
            E::Name { .. } => Self::new(Exit::Usage, what),
            E::Revoked { .. } => Self::new(Exit::Interrupted, what)
                .hint("this backup was silent for too long and was given up by maintenance; run it again"),
            E::Condemned { .. } => Self::new(Exit::Interrupted, what).hint("run the backup again; it stores them anew"),
            E::Conflict { .. } => Self::new(Exit::Data, what).hint("who else writes into this repository's prefix?"),
            E::Busy { .. } => Self::new(Exit::Busy, what).hint("wait for it; one that died is given up after ten minutes"),
            E::LostLease => Self::new(Exit::Interrupted, what).hint("run it again when the other one has ended"),
            E::Internal(_) => Self::new(Exit::Internal, what),
        }
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Self {
        let exit = match error.kind {
            Kind::Unavailable | Kind::Changed => Exit::Unavailable,
            Kind::Refused => Exit::Refused,
            Kind::Config | Kind::Unsupported => Exit::Config,
            Kind::NotFound => Exit::NoInput,
            Kind::Exists => Exit::Exists,
            Kind::Data => Exit::Data,
            Kind::Interrupted => Exit::Interrupted,
            Kind::Internal => Exit::Internal,
        };
        let mut failure = Self::new(exit, error.what);
        if let Some(hint) = error.hint {
            failure = failure.hint(hint);
        }
        match error.source {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}

impl From<lease::Error> for Failure {
    fn from(error: lease::Error) -> Self {
        use lease::Error as E;
        let (what, hint) = (error.to_string(), error.hint());
        let (exit, source) = match error {
            E::Busy(_) => (Exit::Busy, None),
            E::Unavailable { source, .. } => (Exit::Unavailable, source),
            E::Lost(_) => (Exit::Interrupted, None),
            E::Denied { source, .. } => (Exit::Refused, source),
            E::Config { source, .. } => (Exit::Config, source),
        };
        let failure = hint.into_iter().fold(Self::new(exit, what), Self::hint);
        source.into_iter().fold(failure, Self::because)
    }
}
