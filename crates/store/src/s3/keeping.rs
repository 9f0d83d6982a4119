//! Owns what a bucket says about versions and locks.
//!
//! Promises that what the credentials may not ask, or the server does not answer, is not known, and never guessed.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockConfiguration, ObjectLockEnabled};

use crate::Keeping;

/// Asks a bucket, in two requests.
pub(super) async fn of(client: &Client, bucket: &str) -> Keeping {
    let mut keeping = Keeping::default();
    match Box::pin(client.get_bucket_versioning().bucket(bucket).send()).await {
        Ok(reply) => keeping.versions = Some(reply.status() == Some(&BucketVersioningStatus::Enabled)),
        Err(error) => tracing::debug!(code = error.code(), "whether the bucket keeps versions is not known"),
    }
    match Box::pin(client.get_object_lock_configuration().bucket(bucket).send()).await {
        Ok(reply) => {
            let configuration = reply.object_lock_configuration();
            let enabled = configuration.and_then(ObjectLockConfiguration::object_lock_enabled);
            keeping.lock = Some(enabled == Some(&ObjectLockEnabled::Enabled));
            keeping.retention = configuration.and_then(retention);
        }
        Err(error) if error.code() == Some("ObjectLockConfigurationNotFoundError") => keeping.lock = Some(false),
        Err(error) => tracing::debug!(code = error.code(), "whether the bucket locks objects is not known"),
    }
    keeping
}

/// `COMPLIANCE, 30 days`.
fn retention(configuration: &ObjectLockConfiguration) -> Option<String> {
    let default = configuration.rule()?.default_retention()?;
    let mode = default.mode()?.as_str();
    let plural = |number: i32, unit: &str| format!("{number} {unit}{}", if number == 1 { "" } else { "s" });
    let length = match (default.days(), default.years()) {
        (Some(days), _) => plural(days, "day"),
        (_, Some(years)) => plural(years, "year"),
        _ => return None,
    };
    Some(format!("{mode}, {length}"))
}
