//! The options that name a repository.
//!
//! Owns `--repo` and the explicit S3 credentials. Promises that credentials are taken from variables or files and never
//! appear in an error; without them the SDK's own chain is asked (environment, profile, web identity, instance).

use crate::exit::Exit;
use crate::failure::Failure;
use crate::secret::Secret;
use clap::Args;
use repository::Repository;
use std::sync::Arc;
use store::{Credentials, Location, Store};

/// Which repository, and how to get in.
#[derive(Debug, Clone, Args)]
pub struct RepoArgs {
    /// The repository: s3://BUCKET/PREFIX?endpoint=…&region=…&path_style=true or file:///PATH
    #[arg(long, value_name = "URL")]
    pub repo: String,
    /// S3 access key; the usual chain of credentials without it
    #[arg(long, value_name = "KEY")]
    pub s3_access_key: Option<Secret>,
    /// S3 secret key; better given in LONGSHORE_S3_SECRET_KEY_FILE than on the command line
    #[arg(long, value_name = "KEY")]
    pub s3_secret_key: Option<Secret>,
}

impl RepoArgs {
    /// Where the repository is.
    pub fn location(&self) -> Result<Location, Failure> {
        Ok(Location::parse(&self.repo)?)
    }

    /// Opens the store behind the repository's URL.
    pub async fn open_store(&self) -> Result<Arc<dyn Store>, Failure> {
        let location = self.location()?;
        let credentials = match (&self.s3_access_key, &self.s3_secret_key) {
            (Some(access), Some(secret)) => {
                Some(Credentials::new(access.expose().to_owned(), secret.expose().to_owned(), None))
            }
            (None, None) => None,
            _ => {
                return Err(Failure::new(
                    Exit::Config,
                    "one of the S3 access key and secret key is given without the other",
                )
                .hint("give both, or neither for the usual chain of credentials"));
            }
        };
        Ok(store::open(&location, credentials).await?)
    }

    /// Opens the repository.
    pub async fn open(&self) -> Result<Repository, Failure> {
        Ok(Repository::open(self.open_store().await?).await?)
    }
}
