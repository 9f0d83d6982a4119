//! From a URL to a lease.
//!
//! Owns which URL means which server. Promises that an error never repeats the URL, which may hold a password.

use std::path::PathBuf;
use std::sync::Arc;

use store::{Credentials, Location, open_registers};
use url::Url;

use crate::backend::Backend;
use crate::{Error, Files, Lease, Objects, Postgres, Redis, Terms};

const FORMS: &str = "write file:///absolute/directory, redis://HOST:6379, rediss://HOST:6379, postgresql://USER@HOST:5432/DATABASE or \
     s3://BUCKET/PREFIX?endpoint=https://HOST:9000";

/// What a server wants to know us by. `Debug` shows nothing of it.
#[derive(Clone, Copy, Default)]
pub struct Access<'a> {
    /// For Redis and PostgreSQL; goes before one in the URL.
    pub password: Option<&'a str>,
    /// For S3; without them the SDK's chain is asked.
    pub s3: Option<&'a Credentials>,
}

impl std::fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// Opens leases at a URL, without talking to anybody: what is wrong there shows at the first claim.
///
/// # Errors
/// [`Error::Config`] naming what is wrong, never repeating the URL.
pub async fn open(url: &str, access: Access<'_>, terms: Terms) -> Result<Lease, Error> {
    let parsed = Url::parse(url)
        .map_err(|error| Error::config(format!("the lease's URL cannot be read: {error}")).advise(FORMS))?;
    let backend: Arc<dyn Backend> = match parsed.scheme() {
        "file" => Arc::new(Files::new(&directory(url, &parsed)?)),
        "redis" | "rediss" => Arc::new(Redis::parse(url, access.password)?),
        "postgres" | "postgresql" => Arc::new(Postgres::parse(url, access.password)?),
        "s3" => {
            let failed =
                |error: store::Error| Error::Config { what: error.to_string(), advice: error.hint(), source: None };
            let location = Location::parse(url).map_err(failed)?;
            let store = Box::pin(open_registers(&location, access.s3.cloned())).await.map_err(failed)?;
            Arc::new(Objects::new(store))
        }
        other => return Err(Error::config(format!("no lease is kept by {other}://")).advise(FORMS)),
    };
    Ok(Lease::new(backend, terms))
}

fn directory(url: &str, parsed: &Url) -> Result<PathBuf, Error> {
    let absolute = url.trim_start().to_ascii_lowercase().starts_with("file:///");
    let path =
        parsed.to_file_path().ok().filter(|_| absolute && parsed.query().is_none() && parsed.fragment().is_none());
    path.ok_or_else(|| Error::config("the lease's URL is not file:/// and an absolute directory").advise(FORMS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test]
    async fn a_url_chooses_the_server() {
        for (url, location) in [
            ("file:///run/longshore", "file:///run/longshore"),
            ("redis://:hunter2@cache:7000/2", "redis://cache:7000/2"),
            ("rediss://cache", "rediss://cache:6379/0"),
            ("postgres://me:hunter2@db/app", "postgresql://db:5432/app"),
            ("s3://bucket/p?endpoint=http://minio:9000", "s3://bucket/p?endpoint=http://minio:9000"),
        ] {
            let lease = open(url, Access::default(), Terms::default()).await.unwrap();
            assert_eq!(lease.location(), location);
            assert!(!format!("{lease:?}").contains("hunter2"), "{url}");
        }
    }

    #[tokio::test]
    async fn a_refusal_does_not_repeat_the_url() {
        for url in [
            "hunter2",
            "etcd://u:hunter2@h",
            "file:hunter2",
            "file://hunter2/x",
            "s3://u:hunter2@b",
            "redis://:hunter2@h?x=1",
        ] {
            let error = open(url, Access { password: Some("hunter2"), s3: None }, Terms::default()).await.unwrap_err();
            assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("hunter2"), "{url}");
        }
    }
}
