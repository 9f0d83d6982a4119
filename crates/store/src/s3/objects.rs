//! Owns objects that somebody else writes: listed under any name, read as they were listed or not at all.
//!
//! Promises that what is read is the object that was listed, all of it, by its ETag (`If-Match`), or an error that says that it is another by now; that a body
//! which breaks off is asked for again from where it ended, within bounds; and that one piece of a body is in memory at a time. Writes nothing. Refuses
//! places that are no buckets, servers that give no ETag, and to judge a name: `../a` is one, and what becomes of it is the caller's to say.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::body::parse_content_range;
use super::client::ATTEMPT_TIMEOUT;
use super::error::Failure;
use super::{S3, pause};
use crate::location::Place;
use crate::{Cause, Credentials, Error, Location};

/// How often a body may break off before so many bytes of it came.
const ATTEMPTS: u32 = 5;
const ENOUGH: u64 = 1024 * 1024;

/// An object as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name below the location, as the bucket has it: of any characters, and not to be trusted.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// Its ETag, as the server wrote it.
    tag: String,
}

/// Why an object was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not the one that was listed any more.
    #[error("the object is not the one that was listed: {how}")]
    Changed {
        /// In words: "it is gone".
        how: String,
    },
    /// It could not be asked for, or its body did not come.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A bucket, or a part of one, whose objects are read and never written.
#[derive(Debug)]
pub struct Objects(S3);

impl Objects {
    /// Opens a bucket, without talking to it.
    ///
    /// `credentials` as for [`crate::open`].
    ///
    /// # Errors
    /// `Error::Config` for a directory, and as `open`.
    pub async fn open(location: &Location, credentials: Option<Credentials>) -> Result<Objects, Error> {
        match &location.0 {
            Place::S3(bucket) => Ok(Objects(S3::open(bucket, credentials).await?)),
            Place::Directory(_) => Err(Error::config("a directory is no bucket")),
        }
    }

    /// Where this is, for people. Holds no secret.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.0.location
    }

    /// Objects whose names come after `after`, in the byte order of their names, at most `PAGE_ENTRIES`, and whether there are more.
    ///
    /// # Errors
    /// `NoPlace`, `Denied`, `Unavailable`.
    pub async fn list(&self, after: Option<&str>) -> Result<(Vec<Object>, bool), Error> {
        let prefix = &self.0.prefix;
        self.page(prefix, after.map(|name| format!("{prefix}{name}")).as_deref()).await
    }

    /// The object of exactly this name, if there is one.
    ///
    /// # Errors
    /// As `list`. That there is none is never guessed from a reply to a read, which says the same where listing is forbidden.
    pub async fn find(&self, name: &str) -> Result<Option<Object>, Error> {
        let (objects, _) = self.page(&format!("{}{name}", self.0.prefix), None).await?;
        // The shortest of all names with this beginning is the first.
        Ok(objects.into_iter().next().filter(|object| object.name == name))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<(Vec<Object>, bool), Error> {
        let what = || "list objects".to_owned();
        let listed = Box::pin(self.0.list_raw(prefix, after)).await;
        let (found, more) = listed.map_err(|failure| failure.general(what(), &self.0.location))?;
        if !found.is_sorted_by(|one, next| one.key() < next.key()) {
            return Err(self.0.senseless(what(), "the server lists keys out of order"));
        }
        if more && found.last().and_then(|last| last.key()).is_none_or(|last| Some(last) <= after) {
            return Err(self.0.senseless(what(), "the server's listing does not advance"));
        }
        let mut objects = Vec::with_capacity(found.len());
        for object in &found {
            let name = object.key().and_then(|key| key.strip_prefix(self.0.prefix.as_str()));
            let len = object.size().and_then(|size| u64::try_from(size).ok());
            let (Some(name), Some(len), Some(tag)) = (name, len, object.e_tag()) else {
                return Err(self.0.senseless(what(), "the reply lacks a name, a size or an ETag"));
            };
            objects.push(Object { name: name.to_owned(), len, tag: tag.to_owned() });
        }
        Ok((objects, more))
    }

    /// Begins to read an object that was listed.
    ///
    /// # Errors
    /// `Changed` when it is another, or gone; `Denied`, `NoPlace`, `Unavailable`.
    pub async fn read(&self, object: &Object) -> Result<Reading<'_>, ReadError> {
        let mut reading = Reading { objects: self, object: object.clone(), at: 0, body: None, broken: 0, since: 0 };
        reading.body = Some(reading.ask().await?);
        Ok(reading)
    }
}

/// An object's body on its way.
#[derive(Debug)]
pub struct Reading<'a> {
    objects: &'a Objects,
    object: Object,
    /// Bytes handed on so far.
    at: u64,
    body: Option<ByteStream>,
    /// How often it broke off, and how many bytes came since that was set back.
    broken: u32,
    since: u64,
}

impl Reading<'_> {
    /// The next piece; `None` when all bytes of the object were handed on. After an error nothing more comes.
    ///
    /// # Errors
    /// As [`Objects::read`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if self.at == self.object.len {
                return Ok(None);
            }
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.ask().await?,
            };
            let cause: Cause = match tokio::time::timeout(ATTEMPT_TIMEOUT, body.next()).await {
                Ok(Some(Ok(piece))) if self.at + piece.len() as u64 <= self.object.len => {
                    self.count(piece.len() as u64);
                    self.body = Some(body);
                    return Ok(Some(piece));
                }
                Ok(Some(Ok(_))) => "the body is longer than announced".into(),
                Ok(Some(Err(error))) => error.into(),
                Ok(None) => "the body ended early".into(),
                Err(elapsed) => elapsed.into(),
            };
            self.broke_off(cause).await?;
        }
    }

    fn count(&mut self, bytes: u64) {
        self.at += bytes;
        self.since += bytes;
        if self.since >= ENOUGH {
            (self.broken, self.since) = (0, 0);
        }
    }

    /// Waits before the rest is asked for, or gives up.
    async fn broke_off(&mut self, cause: Cause) -> Result<(), ReadError> {
        self.broken += 1;
        if self.broken >= ATTEMPTS {
            let location = self.objects.0.location.clone();
            return Err(Error::Unavailable { what: self.what(), location, source: Some(cause) }.into());
        }
        tracing::debug!(object = ?self.object.name, at = self.at, len = self.object.len, %cause, "body broke off, read on");
        pause(self.broken).await;
        Ok(())
    }

    fn what(&self) -> String {
        format!("read {}", self.object.name.escape_debug())
    }

    /// Asks for what is left, of this object alone.
    async fn ask(&self) -> Result<ByteStream, ReadError> {
        let S3 { reads, bucket, prefix, location, .. } = &self.objects.0;
        let range = (self.at > 0).then(|| format!("bytes={}-", self.at));
        let request = reads.get_object().bucket(bucket).key(format!("{prefix}{}", self.object.name));
        let request = request.if_match(&self.object.tag).set_range(range);
        match Box::pin(request.send()).await.map_err(Failure::from) {
            Ok(reply) => self.checked(reply),
            Err(failure) if failure.is_taken() || failure.is_beyond_end() => Err(changed("it was replaced")),
            Err(failure) if failure.is_no_key() => Err(changed("it is gone")),
            Err(failure) => Err(failure.general(self.what(), location).into()),
        }
    }

    /// The body of a reply that is about the object that was listed, from where we are to its end. Not every server looks at `If-Match`.
    fn checked(&self, reply: GetObjectOutput) -> Result<ByteStream, ReadError> {
        let Some(tag) = reply.e_tag() else {
            return Err(self.objects.0.senseless(self.what(), "the reply lacks an ETag").into());
        };
        if tag.trim_matches('"') != self.object.tag.trim_matches('"') {
            return Err(changed("it was replaced"));
        }
        let (first, total) = match (self.at, reply.content_range().and_then(parse_content_range)) {
            (0, None) => (0, reply.content_length().and_then(|len| u64::try_from(len).ok())),
            (_, Some((first, last, total))) if last.checked_add(1) == Some(total) => (first, Some(total)),
            _ => (u64::MAX, None),
        };
        match total {
            Some(total) if first == self.at && total == self.object.len => Ok(reply.body),
            Some(total) if first == self.at => {
                Err(changed(format!("it had {} bytes and has {total} now", self.object.len)))
            }
            _ => Err(self
                .objects
                .0
                .senseless(self.what(), "the reply is not about the bytes that were asked for")
                .into()),
        }
    }
}

fn changed(how: impl Into<String>) -> ReadError {
    ReadError::Changed { how: how.into() }
}

#[cfg(test)]
mod tests;
