//! Owns `S3`: objects in a bucket, or below a prefix of one.
//!
//! Promises create-only by `If-None-Match: *`, bodies read to their announced end or read again, and bounds on every
//! retry and wait. Refuses to split objects, to overwrite, and to trust a server that has not been probed.

mod body;
mod client;
mod delete;
mod error;
mod keeping;
mod objects;
mod register;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat};
use aws_sdk_s3::types::Object as Listed;
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use ulid::Ulid;

pub use self::objects::{Object, Objects, ReadError, Reading};

use self::client::{ATTEMPT_TIMEOUT, Clients};
use self::error::Failure;
use crate::location::Bucket;
use crate::probe::is_probe;
use crate::{Credentials, Entry, Error, Keeping, Key, PAGE_ENTRIES, Page, Prefix, Profile, Store};

/// Creates tried when the server answers each time that another one is under way.
const CONFLICT_ATTEMPTS: u32 = 6;
/// What an upload gets on top of the timeout of an attempt: a line of 512 KiB/s is fast enough.
const SLOWEST_BYTES_PER_SECOND: u64 = 512 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A store in a bucket of S3, MinIO or another server of that protocol.
pub struct S3 {
    reads: aws_sdk_s3::Client,
    puts: aws_sdk_s3::Client,
    bucket: String,
    /// Empty, or segments each ending in `/`.
    prefix: String,
    location: String,
    sha256_checksum: AtomicBool,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3").field("location", &self.location).finish_non_exhaustive()
    }
}

impl S3 {
    pub(crate) async fn open(bucket: &Bucket, credentials: Option<Credentials>) -> Result<S3, Error> {
        let Clients { reads, puts } = Box::pin(client::clients(bucket, credentials)).await?;
        Ok(S3 {
            reads,
            puts,
            bucket: bucket.bucket.clone(),
            prefix: bucket.prefix.clone(),
            location: bucket.describe(),
            sha256_checksum: AtomicBool::new(false),
        })
    }

    fn path(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// One put; without `create_only` it replaces what is there.
    async fn put(&self, key: &Key, body: Bytes, sha256: &[u8; 32], create_only: bool) -> Result<(), Failure> {
        let checksum = self.sha256_checksum.load(Ordering::Relaxed);
        let patience = ATTEMPT_TIMEOUT + Duration::from_secs(body.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(patience).build();
        self.puts
            .put_object()
            .bucket(&self.bucket)
            .key(self.path(key))
            .set_if_none_match(create_only.then(|| "*".to_owned()))
            .content_type("application/octet-stream")
            .set_checksum_sha256(checksum.then(|| aws_smithy_types::base64::encode(sha256)))
            .body(ByteStream::from(body))
            .customize()
            .config_override(aws_sdk_s3::config::Config::builder().timeout_config(timeouts))
            .send()
            .await?;
        Ok(())
    }

    /// One request for objects below `prefix` after `after`, both as the bucket names them.
    async fn list_raw(&self, prefix: &str, after: Option<&str>) -> Result<(Vec<Listed>, bool), Failure> {
        let request = self.reads.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let reply = request.set_start_after(after.map(str::to_owned)).max_keys(PAGE_ENTRIES as i32).send().await?;
        let more = reply.is_truncated().unwrap_or(false);
        Ok((reply.contents.unwrap_or_default(), more))
    }

    /// The entry of a listed object; none for what no key can name, which is not ours.
    fn entry(&self, object: &Listed) -> Result<Option<Entry>, Error> {
        let Some(name) = object.key().and_then(|key| key.strip_prefix(self.prefix.as_str())) else { return Ok(None) };
        let Ok(key) = Key::parse(name) else { return Ok(None) };
        let len = object.size().and_then(|size| u64::try_from(size).ok());
        let modified = object.last_modified().and_then(|time| SystemTime::try_from(*time).ok());
        match (len, modified) {
            (Some(len), Some(modified)) => Ok(Some(Entry { key, len, modified })),
            _ => Err(self.senseless(format!("list {key}"), "the reply lacks a size or a time")),
        }
    }

    /// The result of a small request, and the time that its answer carried, whatever it says.
    async fn ask_for_the_time(&self) -> (Result<(), Error>, Option<SystemTime>) {
        let date = ReplyDate::default();
        let request = self.reads.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).max_keys(1);
        let sent = Box::pin(request.customize().interceptor(date.clone()).send()).await;
        let what = || "ask for the time".to_owned();
        let sent = sent.map(drop).map_err(|error| Failure::from(error).general(what(), &self.location));
        (sent, date.get())
    }

    fn senseless(&self, what: String, reply: &'static str) -> Error {
        Error::Unavailable { what, location: self.location.clone(), source: Some(reply.into()) }
    }

    /// Tells a missing object from a missing bucket, after a HEAD that could say neither.
    async fn absent(&self, key: &Key) -> Error {
        match self.reads.list_objects_v2().bucket(&self.bucket).prefix(self.path(key)).max_keys(1).send().await {
            Err(error) => match Failure::from(error).general(format!("read {key}"), &self.location) {
                gone @ Error::NoPlace { .. } => gone,
                // Credentials that may read but not list: the 404 is the best there is.
                _ => Error::NotFound { key: key.clone(), location: self.location.clone(), source: None },
            },
            Ok(_) => Error::NotFound { key: key.clone(), location: self.location.clone(), source: None },
        }
    }
}

/// Waits before try `attempt` (from 1), longer each time, and not in step with others.
async fn pause(attempt: u32) {
    let longest = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(8)).min(LONGEST_PAUSE);
    let parts = u32::try_from(Ulid::generate().random() % 512).unwrap_or(0);
    tokio::time::sleep(longest / 2 + (longest / 1024) * parts).await;
}

#[async_trait]
impl Store for S3 {
    fn location(&self) -> &str {
        &self.location
    }

    async fn create(&self, key: &Key, body: Bytes, sha256: &[u8; 32]) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Box::pin(self.put(key, body.clone(), sha256, true)).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.is_conflict() && attempt < CONFLICT_ATTEMPTS => pause(attempt).await,
                Err(failure) => return Err(failure.on("create", key, &self.location)),
            }
        }
    }

    async fn get(&self, key: &Key) -> Result<Bytes, Error> {
        Box::pin(self.read(key, None)).await
    }

    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error> {
        // HTTP has no empty range, and servers count in 63 bits.
        let end = start.checked_add(len).filter(|end| i64::try_from(*end).is_ok());
        if let (Some(end), 1..) = (end, len) {
            return Box::pin(self.read(key, Some((start, end)))).await;
        }
        let there = self.head(key).await?.len;
        if len == 0 && start <= there {
            return Ok(Bytes::new());
        }
        Err(self.truncated(key, len, there.saturating_sub(start)))
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        let sent = self.reads.head_object().bucket(&self.bucket).key(self.path(key)).send().await;
        let reply = match sent.map_err(Failure::from) {
            Ok(reply) => reply,
            Err(failure) if failure.is_bare_404() => return Err(Box::pin(self.absent(key)).await),
            Err(failure) => return Err(failure.on("read", key, &self.location)),
        };
        let len = reply.content_length().and_then(|len| u64::try_from(len).ok());
        let modified = reply.last_modified().and_then(|time| SystemTime::try_from(*time).ok());
        match (len, modified) {
            (Some(len), Some(modified)) => Ok(Entry { key: key.clone(), len, modified }),
            _ => Err(self.senseless(format!("read {key}"), "the reply lacks a length or a time")),
        }
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, Error> {
        let what = || format!("list {}", if prefix.as_str().is_empty() { "all objects" } else { prefix.as_str() });
        let whole = format!("{}{prefix}", self.prefix);
        let mut after = after.map(|key| self.path(key));
        // Ends: each turn moves `after` on, and only a page full of other people's objects takes another turn.
        loop {
            let listed = Box::pin(self.list_raw(&whole, after.as_deref())).await;
            let (objects, more) = listed.map_err(|failure| failure.general(what(), &self.location))?;
            if !objects.is_sorted_by(|one, next| one.key() < next.key()) {
                return Err(self.senseless(what(), "the server lists keys out of order"));
            }
            let last = objects.last().and_then(Listed::key).map(str::to_owned);
            if more && (last.is_none() || last <= after) {
                return Err(self.senseless(what(), "the server's listing does not advance"));
            }
            let mut entries = Vec::with_capacity(objects.len());
            for object in &objects {
                entries.extend(self.entry(object)?.filter(|entry| prefix.contains(&entry.key)));
            }
            if !more || !entries.is_empty() {
                return Ok(Page { entries, more });
            }
            after = last;
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        match self.reads.delete_object().bucket(&self.bucket).key(self.path(key)).send().await.map_err(Failure::from) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_no_key() => Ok(()),
            Err(failure) => Err(failure.general(format!("delete {key}"), &self.location)),
        }
    }

    async fn delete_all(&self, keys: &[Key]) -> Result<(), Error> {
        Box::pin(self.delete_in_batches(keys)).await
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        let (sent, date) = self.ask_for_the_time().await;
        sent?;
        date.ok_or_else(|| self.senseless("ask for the time".to_owned(), "the reply has no Date header"))
    }

    async fn clock(&self) -> Result<SystemTime, Error> {
        match self.ask_for_the_time().await {
            (_, Some(date)) => Ok(date),
            (Err(error), None) => Err(error),
            (Ok(()), None) => Err(self.senseless("ask for the time".to_owned(), "the reply has no Date header")),
        }
    }

    async fn keeping(&self) -> Keeping {
        keeping::of(&self.reads, &self.bucket).await
    }

    async fn replace_probe(&self, key: &Key, body: Bytes) -> Result<(), Error> {
        if !is_probe(key) {
            return Err(Error::config(format!("{key} is not a probe's, and nothing else is ever replaced")));
        }
        let sha256 = Sha256::digest(&body).into();
        Box::pin(self.put(key, body, &sha256, false))
            .await
            .map_err(|failure| failure.on("replace", key, &self.location))
    }

    fn use_profile(&self, profile: &Profile) {
        self.sha256_checksum.store(profile.sha256_checksum, Ordering::Relaxed);
    }
}

/// Notes the `Date` of the last reply to one call.
#[derive(Clone, Debug, Default)]
struct ReplyDate(Arc<Mutex<Option<SystemTime>>>);

impl ReplyDate {
    fn get(&self) -> Option<SystemTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ReplyDate {
    fn name(&self) -> &'static str {
        "ReplyDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|text| DateTime::from_str(text, DateTimeFormat::HttpDate).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.and_then(|date| SystemTime::try_from(date).ok());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
