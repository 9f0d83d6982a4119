//! Owns reading an object's body to its end.
//!
//! Promises exactly the bytes that the reply announced, or an error: the SDK retries a request until its head arrived and
//! no further, so a body that breaks off is asked for again here, within bounds. Refuses a body longer than announced.

use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};

use super::client::ATTEMPT_TIMEOUT;
use super::error::Failure;
use super::{S3, SLOWEST_BYTES_PER_SECOND, pause};
use crate::{Cause, Error, Key, Store};

/// Whole reads of one body.
const ATTEMPTS: u32 = 5;
/// Memory taken before bytes arrive; a reply may announce any length.
const FIRST_BUFFER: u64 = 64 * 1024 * 1024;

/// Why one reading of a body did not give it.
enum Broken {
    /// Another attempt may do better.
    Off { got: u64, wanted: u64, cause: Option<Cause> },
    /// It will not.
    Final(Error),
}

impl S3 {
    /// The whole object, or the bytes from the first to before the second offset.
    pub(super) async fn read(&self, key: &Key, range: Option<(u64, u64)>) -> Result<Bytes, Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.read_once(key, range).await {
                Ok(body) => return Ok(body),
                Err(Broken::Final(error)) => return Err(error),
                Err(Broken::Off { got, wanted, cause }) if attempt < ATTEMPTS => {
                    let cause = cause.map(|cause| cause.to_string()).unwrap_or_default();
                    tracing::debug!(%key, got, wanted, cause, attempt, "body broke off, read again");
                    pause(attempt).await;
                }
                Err(Broken::Off { got, wanted, cause: None }) => return Err(self.truncated(key, wanted, got)),
                Err(Broken::Off { cause, .. }) => {
                    let what = format!("read {key}");
                    return Err(Error::Unavailable { what, location: self.location.clone(), source: cause });
                }
            }
        }
    }

    async fn read_once(&self, key: &Key, range: Option<(u64, u64)>) -> Result<Bytes, Broken> {
        let header = range.map(|(start, end)| format!("bytes={start}-{}", end.saturating_sub(1)));
        let request = self.reads.get_object().bucket(&self.bucket).key(self.path(key)).set_range(header);
        let reply = match request.send().await.map_err(Failure::from) {
            Ok(reply) => reply,
            Err(failure) => return Err(Broken::Final(self.unread(key, range, failure).await)),
        };
        let wanted = match range {
            Some((start, end)) => self.check_range(key, start, end, &reply).map_err(Broken::Final)?,
            None => match reply.content_length().and_then(|len| u64::try_from(len).ok()) {
                Some(len) => len,
                // Something in between took the header away; without it an early end looks like the end.
                None => self.head(key).await.map_err(Broken::Final)?.len,
            },
        };
        let patience = ATTEMPT_TIMEOUT + Duration::from_secs(wanted / SLOWEST_BYTES_PER_SECOND);
        match tokio::time::timeout(patience, collect(reply, wanted)).await {
            Ok(collected) => collected,
            Err(elapsed) => Err(Broken::Off { got: 0, wanted, cause: Some(elapsed.into()) }),
        }
    }

    async fn unread(&self, key: &Key, range: Option<(u64, u64)>, failure: Failure) -> Error {
        match range {
            Some((start, end)) if failure.is_beyond_end() => match self.head(key).await {
                Ok(entry) => self.truncated(key, end - start, entry.len.saturating_sub(start)),
                Err(error) => error,
            },
            _ => failure.on("read", key, &self.location),
        }
    }

    /// Checks that the reply is about the range asked for, all of it; returns its length.
    fn check_range(&self, key: &Key, start: u64, end: u64, reply: &GetObjectOutput) -> Result<u64, Error> {
        let answered = reply.content_range().and_then(parse_content_range);
        match answered {
            Some((first, last, _)) if first == start && last.checked_add(1) == Some(end) => Ok(end - start),
            Some((first, _, total)) if first == start && total < end => {
                Err(self.truncated(key, end - start, total.saturating_sub(start)))
            }
            _ => Err(self.senseless(format!("read a range of {key}"), "the reply is not about that range")),
        }
    }

    pub(super) fn truncated(&self, key: &Key, wanted: u64, got: u64) -> Error {
        Error::Truncated { key: key.clone(), location: self.location.clone(), wanted, got }
    }
}

async fn collect(reply: GetObjectOutput, wanted: u64) -> Result<Bytes, Broken> {
    let mut stream = reply.body;
    let mut body = BytesMut::with_capacity(usize::try_from(wanted.min(FIRST_BUFFER)).unwrap_or(0));
    loop {
        let got = body.len() as u64;
        match stream.next().await {
            Some(Ok(part)) if got + part.len() as u64 <= wanted => body.extend_from_slice(&part),
            Some(Ok(_)) => {
                return Err(Broken::Off { got, wanted, cause: Some("the body is longer than announced".into()) });
            }
            Some(Err(error)) => return Err(Broken::Off { got, wanted, cause: Some(error.into()) }),
            None if got == wanted => return Ok(body.freeze()),
            None => return Err(Broken::Off { got, wanted, cause: None }),
        }
    }
}

/// `bytes 10-19/1000` → 10, 19, 1000.
pub(super) fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_content_range;

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(parse_content_range("bytes 10-19/1000"), Some((10, 19, 1000)));
        for bad in ["", "bytes 10-19/*", "bytes */1000", "10-19/1000", "bytes 10-/1000", "bytes -1-2/3"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
