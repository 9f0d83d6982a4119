//! Owns `policy`: the least that S3 or MinIO must grant for some access, as the document that both take.
//!
//! Promises that nothing but the named folders can be read, created or deleted, that no version can be removed or
//! unlocked, and, on AWS, that nothing can be replaced whatever else is granted. Refuses places that have no policies.

use serde::Serialize;
use serde_json::{Value, json};

use crate::location::{Bucket, Place};
use crate::{Error, Location};

/// What may be done with which objects: folders (`chunks/`) or single ones (`repository.json`), below the location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Access {
    /// May be read.
    pub read: Vec<&'static str>,
    /// May be created.
    pub create: Vec<&'static str>,
    /// May be deleted; the store decides whether versions are kept.
    pub delete: Vec<&'static str>,
}

/// Whose policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// AWS: puts can be made to be create-only.
    Aws,
    /// MinIO, and servers with policies like it. It refuses a document with the condition that AWS has for that.
    Minio,
}

/// The policy's document.
///
/// # Errors
/// `Error::Config` for a directory.
pub fn policy(location: &Location, access: &Access, dialect: Dialect) -> Result<Value, Error> {
    let Place::S3(bucket) = &location.0 else {
        return Err(Error::config_with_advice(
            "a directory has no policies",
            "its files belong to the user that writes them, who can delete and replace all of them: use an s3:// repository, or \
             keep a second copy where that user cannot get at it",
        ));
    };
    let arns = Arns { base: format!("arn:{}:s3:::{}", partition(bucket), bucket.bucket), prefix: &bucket.prefix };
    let mut statements = vec![
        arns.list(dialect),
        allow("ReadObjects", &["s3:GetObject"], arns.objects(&access.read)),
        allow("CreateObjects", &["s3:PutObject"], arns.objects(&access.create)),
    ];
    if !access.delete.is_empty() {
        statements.push(allow("DeleteObjects", &["s3:DeleteObject"], arns.objects(&access.delete)));
    }
    let look = ["s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"];
    statements.push(allow("LookAtVersioningAndLock", &look, vec![arns.base.clone()]));
    if dialect == Dialect::Aws {
        statements.push(json!({
            "Sid": "NeverReplaceObjects",
            "Effect": "Deny",
            "Action": ["s3:PutObject"],
            "Resource": arns.objects(&[""]),
            "Condition": { "Null": { "s3:if-none-match": "true" } },
        }));
    }
    Ok(json!({ "Version": "2012-10-17", "Statement": statements }))
}

struct Arns<'a> {
    base: String,
    prefix: &'a str,
}

impl Arns<'_> {
    fn objects(&self, names: &[&str]) -> Vec<String> {
        let star = |name: &str| if name.is_empty() || name.ends_with('/') { "*" } else { "" };
        names.iter().map(|name| format!("{}/{}{name}{}", self.base, self.prefix, star(name))).collect()
    }

    /// Without it, what is not there would be forbidden instead of absent. S3 looks for that answer without naming a prefix,
    /// so the condition must not be one that fails then.
    fn list(&self, dialect: Dialect) -> Value {
        let mut statement = allow("ListObjects", &["s3:ListBucket"], vec![self.base.clone()]);
        if !self.prefix.is_empty() {
            let operator = if dialect == Dialect::Aws { "StringLikeIfExists" } else { "StringLike" };
            statement["Condition"] = json!({ operator: { "s3:prefix": [format!("{}*", self.prefix)] } });
        }
        statement
    }
}

fn allow(sid: &str, actions: &[&str], resources: Vec<String>) -> Value {
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn partition(bucket: &Bucket) -> &'static str {
    match bucket.region.as_deref() {
        Some(region) if region.starts_with("cn-") => "aws-cn",
        Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn of(url: &str, dialect: Dialect) -> Value {
        let access = Access { read: vec!["chunks/", "repository.json"], create: vec!["chunks/"], delete: vec![] };
        policy(&Location::parse(url).unwrap(), &access, dialect).unwrap()
    }

    #[test]
    fn resources_are_below_the_prefix_and_nothing_is_deleted_unasked() {
        let policy = of("s3://b/a/c?region=eu-central-1", Dialect::Aws);
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements[0]["Condition"]["StringLikeIfExists"]["s3:prefix"], json!(["a/c/*"]));
        assert_eq!(
            statements[1]["Resource"],
            json!(["arn:aws:s3:::b/a/c/chunks/*", "arn:aws:s3:::b/a/c/repository.json"])
        );
        assert!(!policy.to_string().contains("Delete"), "{policy}");
        let last = statements.last().unwrap();
        assert_eq!((&last["Effect"], &last["Resource"]), (&json!("Deny"), &json!(["arn:aws:s3:::b/a/c/*"])));
        assert_eq!(last["Condition"], json!({ "Null": { "s3:if-none-match": "true" } }));
    }

    #[test]
    fn dialects_and_partitions_differ_and_a_whole_bucket_needs_no_condition() {
        let policy = of("s3://b?endpoint=http://m:9000", Dialect::Minio).to_string();
        assert!(
            !policy.contains("Deny") && !policy.contains("Condition") && !policy.contains("if-none-match"),
            "{policy}"
        );
        assert!(policy.contains("arn:aws:s3:::b/chunks/*"), "{policy}");
        assert!(of("s3://b?region=cn-north-1", Dialect::Aws).to_string().contains("arn:aws-cn:s3:::b"));
        assert!(of("s3://b?region=us-gov-west-1", Dialect::Aws).to_string().contains("arn:aws-us-gov:s3:::b"));
        let directory = policy_of_directory();
        assert!(matches!(directory, Err(Error::Config { .. })), "{directory:?}");
    }

    fn policy_of_directory() -> Result<Value, Error> {
        policy(&Location::parse("file:///srv/backups").unwrap(), &Access::default(), Dialect::Aws)
    }
}
