//! What can go wrong in a repository.
//!
//! Owns the variants that a job turns into exit codes: damage is not absence, absence is not a store that cannot be
//! reached. Promises that damage names the object and what is wrong with it.

/// An error of the repository.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused or failed.
    #[error("{what}")]
    Store {
        /// What was being done, such as `read manifest`.
        what: String,
        /// The store's own error.
        #[source]
        source: store::Error,
    },
    /// Stored bytes are not what was written.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// Key of the object.
        object: String,
        /// What is wrong with it.
        what: String,
    },
    /// Closed to whoever holds no identity of one of the repository's recipients.
    #[error("{object} is sealed, and no identity was given that opens it")]
    Sealed {
        /// Key of the object.
        object: String,
    },
    /// Keys that are missing, wrong, or another repository's.
    #[error("{what}")]
    Keys {
        /// What is wrong with which of them.
        what: String,
    },
    /// Not signed by anybody whose word counts here.
    #[error("{object} is {}", signed_by(.signer.as_deref()))]
    Signer {
        /// Key of the object.
        object: String,
        /// Public key of who has signed it, if anybody has.
        signer: Option<String>,
    },
    /// A backup refers to an object that is gone.
    #[error("{object} is missing, and {needed_by} needs it")]
    Missing {
        /// Key of the object.
        object: String,
        /// What refers to it.
        needed_by: String,
    },
    /// There is no repository at this place.
    #[error("there is no repository in {location}")]
    NoRepository {
        /// The place.
        location: String,
    },
    /// There is one already.
    #[error("there is a repository in {location} already")]
    RepositoryExists {
        /// The place.
        location: String,
    },
    /// Written by a newer program.
    #[error("{object} has format {found}; this program reads up to {known}")]
    Format {
        /// Key of the object.
        object: String,
        /// The format it states.
        found: u64,
        /// The newest format known here.
        known: u64,
    },
    /// No backup matches.
    #[error("{what}")]
    NotFound {
        /// What was looked for, and what there is instead.
        what: String,
    },
    /// A name or key that is not allowed.
    #[error("{what}")]
    Name {
        /// What is wrong with which name.
        what: String,
    },
    /// Somebody declared this session dead and put a tombstone where its manifest would have gone.
    #[error("session {session} was revoked by maintenance before it could commit")]
    Revoked {
        /// The session.
        session: String,
    },
    /// Chunks this backup reused were condemned by a sweep while it ran.
    #[error("{count} reused objects were condemned by a sweep during this backup, the first of them {first}")]
    Condemned {
        /// How many.
        count: usize,
        /// Name of the first one, as refs carry it.
        first: String,
    },
    /// Something else stands at a key that only this session writes.
    #[error("{object} exists already and is not what this session wrote")]
    Conflict {
        /// Key of the object.
        object: String,
    },
    /// Another maintenance is at work.
    #[error("a maintenance of this repository by {holder} is at work since {since}")]
    Busy {
        /// Who.
        holder: String,
        /// When it began, by the store's clock.
        since: jiff::Timestamp,
    },
    /// This maintenance was silent for so long that another one began.
    #[error("another maintenance of this repository began while this one was silent; it goes on with what is left")]
    LostLease,
    /// A bug or a broken runtime.
    #[error("{0}")]
    Internal(String),
}

fn signed_by(signer: Option<&str>) -> String {
    match signer {
        Some(key) => format!("signed by {key}, which is not a known signer of this repository"),
        None => "not signed, as everything of its kind in this repository must be".to_owned(),
    }
}

impl Error {
    /// Wraps a store error with what was being done.
    pub(crate) fn store(what: impl Into<String>) -> impl FnOnce(store::Error) -> Self {
        let what = what.into();
        move |source| Self::Store { what, source }
    }

    /// Damage found in an object.
    pub(crate) fn damaged(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Damaged { object: object.into(), what: what.into() }
    }
}
