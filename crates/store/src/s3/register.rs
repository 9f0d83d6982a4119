//! Owns registers in S3: conditional puts by ETag, and reads that carry the server's own clock.
//!
//! Promises that a 412, and a 404 for a version that is expected, are `Changed`, and that a 409 is tried again within bounds: another write was
//! under way, and none is decided.

use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::error::Failure;
use super::{CONFLICT_ATTEMPTS, ReplyDate, S3, pause};
use crate::register::{Register, Registers, Version, Written, check_key};
use crate::{Error, Key};

impl S3 {
    /// One conditional put.
    async fn put_register(
        &self,
        key: &Key,
        body: Bytes,
        expected: Option<&Version>,
    ) -> Result<Option<String>, Failure> {
        let request = self.puts.put_object().bucket(&self.bucket).key(self.path(key));
        let request = match expected {
            None => request.if_none_match("*"),
            Some(version) => request.if_match(&version.0),
        };
        let sent = request.content_type("application/json").body(ByteStream::from(body)).send().await?;
        Ok(sent.e_tag)
    }
}

#[async_trait]
impl Registers for S3 {
    async fn read_register(&self, key: &Key) -> Result<Option<Register>, Error> {
        check_key(key)?;
        let date = ReplyDate::default();
        let request = self.reads.get_object().bucket(&self.bucket).key(self.path(key));
        let reply = match Box::pin(request.customize().interceptor(date.clone()).send()).await.map_err(Failure::from) {
            Ok(reply) => reply,
            Err(failure) if failure.is_no_key() => return Ok(None),
            Err(failure) => return Err(failure.on("read", key, &self.location)),
        };
        let version = reply.e_tag().map(|tag| Version(tag.to_owned()));
        let modified = reply.last_modified().and_then(|time| SystemTime::try_from(*time).ok());
        let body = reply.body.collect().await.map_err(|error| Error::Unavailable {
            what: format!("read {key}"),
            location: self.location.clone(),
            source: Some(error.into()),
        })?;
        match (version, modified, date.get()) {
            (Some(version), Some(modified), Some(read)) => {
                Ok(Some(Register { body: body.into_bytes(), version, modified, read }))
            }
            _ => Err(self.senseless(format!("read {key}"), "the reply lacks an ETag, a Date or a Last-Modified")),
        }
    }

    async fn write_register(&self, key: &Key, body: Bytes, expected: Option<&Version>) -> Result<Written, Error> {
        check_key(key)?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Box::pin(self.put_register(key, body.clone(), expected)).await {
                Ok(Some(tag)) => return Ok(Written::Done(Version(tag))),
                Ok(None) => return Err(self.senseless(format!("write {key}"), "the reply lacks an ETag")),
                Err(failure) if failure.is_taken() || (expected.is_some() && failure.is_no_key()) => {
                    return Ok(Written::Changed);
                }
                Err(failure) if failure.is_conflict() && attempt < CONFLICT_ATTEMPTS => pause(attempt).await,
                Err(failure) => return Err(failure.on("create", key, &self.location)),
            }
        }
    }
}
