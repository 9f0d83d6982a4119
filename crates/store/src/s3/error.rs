//! Owns how an answer of the SDK becomes an `Error`.
//!
//! Promises that nothing is matched by prose: the status, the error code and the types decide. Refuses to keep the raw
//! reply: servers repeat signed headers, a session token among them, in some error bodies.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::{Cause, Error, Key};

/// What the server said: enough for its operator to find the request, nothing that signs one.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status} {code}{}{message}{}{request}",
    if message.is_empty() { "" } else { ": " }, if request.is_empty() { "" } else { ", request " })]
struct Reply {
    status: u16,
    code: String,
    message: String,
    request: String,
}

/// A failed call, before it is known which `Error` that makes.
pub(super) struct Failure {
    /// 0 when no reply came.
    status: u16,
    code: String,
    /// Nobody gave us credentials that could be used.
    no_credentials: bool,
    /// The request could not even be built.
    not_sent: bool,
    cause: Cause,
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + RequestId + StdError + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Failure {
        let status = error.raw_response().map_or(0, |reply| reply.status().as_u16());
        let not_sent = matches!(error, SdkError::ConstructionFailure(_));
        if let SdkError::ServiceError(service) = &error {
            let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
            let said = service.err();
            let code = text(said.code());
            let request = text(said.request_id());
            let reply = Reply { status, code: code.clone(), message: text(said.message()), request };
            return Failure { status, code, no_credentials: false, not_sent, cause: reply.into() };
        }
        let cause: Cause = match error.into_source() {
            Ok(source) => source,
            Err(error) => error.to_string().into(),
        };
        let no_credentials = lacks_credentials(cause.as_ref());
        Failure { status, code: String::new(), no_credentials, not_sent, cause }
    }
}

/// Whether the chain says that no usable credentials exist, as opposed to a provider that did not answer.
fn lacks_credentials(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(credentials) = error.downcast_ref::<CredentialsError>() {
            return matches!(
                credentials,
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)
            );
        }
        next = error.source();
    }
    false
}

impl Failure {
    /// A request that could not be put together.
    pub(super) fn not_built(cause: impl Into<Cause>) -> Failure {
        Failure { status: 0, code: String::new(), no_credentials: false, not_sent: true, cause: cause.into() }
    }

    /// A create met an object.
    pub(super) fn is_taken(&self) -> bool {
        self.status == 412 || self.code == "PreconditionFailed"
    }

    /// Another conditional request was under way; neither won yet.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == 409 && matches!(self.code.as_str(), "ConditionalRequestConflict" | "OperationAborted")
    }

    /// There is no such key, for certain: not merely a 404 from something in between.
    pub(super) fn is_no_key(&self) -> bool {
        self.code == "NoSuchKey"
    }

    /// A 404 without a code, which is all that HEAD can answer.
    pub(super) fn is_bare_404(&self) -> bool {
        self.status == 404 && matches!(self.code.as_str(), "" | "NotFound")
    }

    /// The range begins at or after the object's end.
    pub(super) fn is_beyond_end(&self) -> bool {
        self.status == 416
    }

    fn is_mismatch(&self) -> bool {
        const CODES: [&str; 6] = [
            "BadDigest",
            "InvalidDigest",
            "XAmzContentChecksumMismatch",
            "XAmzContentSHA256Mismatch",
            "InvalidChecksum",
            "ChecksumMismatch",
        ];
        CODES.contains(&self.code.as_str())
    }

    /// The error of a call on one object.
    pub(super) fn on(self, verb: &str, key: &Key, location: &str) -> Error {
        let (no_key, taken, mismatch) = (self.is_no_key(), self.is_taken(), self.is_mismatch());
        if !(no_key || taken || mismatch) {
            return self.general(format!("{verb} {key}"), location);
        }
        let (key, location, source) = (key.clone(), location.to_owned(), Some(self.cause));
        match (no_key, taken) {
            (true, _) => Error::NotFound { key, location, source },
            (_, true) => Error::AlreadyExists { key, location, source },
            _ => Error::Corrupt { key, location, source },
        }
    }

    /// The error of any other call.
    pub(super) fn general(self, what: String, location: &str) -> Error {
        let location = location.to_owned();
        let source = Some(self.cause);
        if self.no_credentials {
            return Error::Denied { what, location, source };
        }
        match (self.status, self.code.as_str()) {
            (507, _) | (_, "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "QuotaExceeded") => {
                Error::Full { what, location, source }
            }
            (401 | 403, _) | (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
                Error::Denied { what, location, source }
            }
            (404, _) => Error::NoPlace { what, location, source },
            (501, _) if what.starts_with("create") => Error::NoConditionalCreate {
                seen: "the server does not implement a header of the request".to_owned(),
                location,
                source,
            },
            // Also what came without a status: the network, a timeout, a reply that made no sense.
            (0, _) if !self.not_sent => Error::Unavailable { what, location, source },
            (408 | 409 | 425 | 429 | 500.., _) | (_, "SlowDown" | "RequestTimeout") => {
                Error::Unavailable { what, location, source }
            }
            (200..=299, _) => Error::Unavailable { what, location, source },
            (301 | 307, _) | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed") => Error::Config {
                what: format!("cannot {what}: {location} belongs to another region"),
                advice: Some("correct region=… or endpoint=… in the URL".to_owned()),
                source,
            },
            _ => Error::Config { what: format!("{location} refused to {what}"), advice: None, source },
        }
    }
}
