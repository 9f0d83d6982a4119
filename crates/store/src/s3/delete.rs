//! Owns removing many objects with few requests.
//!
//! Promises that what one request did not remove is tried again by itself, so that servers without this request, and keys that
//! were refused, end as `Store::delete` has it. Trusts no reply that is silent about a failure it had: S3 answers 200 and
//! names the keys that stay.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::S3;
use super::error::Failure;
use crate::{Error, Key, one_by_one};

/// Keys in one request; the API's own limit ("`DeleteObjects`", Amazon S3 API reference).
const MOST_IN_ONE: usize = 1_000;

impl S3 {
    pub(super) async fn delete_in_batches(&self, keys: &[Key]) -> Result<(), Error> {
        for batch in keys.chunks(MOST_IN_ONE) {
            let left = match self.delete_batch(batch).await {
                Ok(left) => left,
                // One by one it succeeds, or fails with an error that names an object.
                Err(_) => batch.to_vec(),
            };
            one_by_one(self, &left).await?;
        }
        Ok(())
    }

    /// One request; the keys that it did not remove.
    async fn delete_batch(&self, keys: &[Key]) -> Result<Vec<Key>, Failure> {
        let by_path: BTreeMap<String, &Key> = keys.iter().map(|key| (self.path(key), key)).collect();
        let objects = by_path.keys().map(|path| ObjectIdentifier::builder().key(path).build());
        let objects: Vec<ObjectIdentifier> = objects.collect::<Result<_, _>>().map_err(Failure::not_built)?;
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(Failure::not_built)?;
        // Not the client for reads: a server takes its time for so many.
        let reply = self.puts.delete_objects().bucket(&self.bucket).delete(delete).send().await?;
        let failed = reply.errors().iter();
        let failed = failed.map(|error| error.key().and_then(|path| by_path.get(path)).map(|key| (*key).clone()));
        // A failure without a name can be any of them.
        Ok(failed.collect::<Option<Vec<Key>>>().unwrap_or_else(|| keys.to_vec()))
    }
}
