//! The options that name a repository.
//!
//! Owns `--repo`, the explicit S3 credentials and the keys of encrypted repositories. Promises that both are taken from variables
//! or files and never appear in an error; without credentials the SDK's own chain is asked (environment, profile, web identity,
//! instance), without keys an encrypted repository can be listed, verified and pruned.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::secret::Secret;
use clap::Args;
use repository::{Access, Identity, Repository, WriterKey};
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
    /// age identity (AGE-SECRET-KEY-1…) that opens an encrypted repository; better given in LONGSHORE_IDENTITY_FILE
    #[arg(long, value_name = "KEY", help_heading = "Encryption")]
    pub identity: Option<Secret>,
    /// Key of a backup job, which can write and not read; better given in LONGSHORE_WRITER_KEY_FILE
    #[arg(long, value_name = "KEY", help_heading = "Encryption")]
    pub writer_key: Option<Secret>,
    /// Refuse a repository whose keys do not have this fingerprint, which `init` printed
    #[arg(long, value_name = "lsr1-…", help_heading = "Encryption")]
    pub repository_key: Option<String>,
}

/// The second repository of a command that has two, and how to get in there.
#[derive(Debug, Clone, Args)]
pub struct ToArgs {
    /// The repository to write to, in the same form as --repo
    #[arg(long = "to", id = "to", value_name = "URL")]
    pub url: String,
    /// S3 access key for it; the usual chain of credentials without it
    #[arg(long, value_name = "KEY")]
    pub to_s3_access_key: Option<Secret>,
    /// S3 secret key for it; better given in LONGSHORE_TO_S3_SECRET_KEY_FILE than on the command line
    #[arg(long, value_name = "KEY")]
    pub to_s3_secret_key: Option<Secret>,
    /// age identity for it; a writer's key is enough
    #[arg(long, value_name = "KEY", help_heading = "Encryption")]
    pub to_identity: Option<Secret>,
    /// Writer's key for it; better given in LONGSHORE_TO_WRITER_KEY_FILE
    #[arg(long, value_name = "KEY", help_heading = "Encryption")]
    pub to_writer_key: Option<Secret>,
    /// Refuse it unless its keys have this fingerprint
    #[arg(long, value_name = "lsr1-…", help_heading = "Encryption")]
    pub to_repository_key: Option<String>,
}

/// A repository's URL with whatever was given to get in, however the options are called.
#[derive(Debug, Clone, Copy, Default)]
pub struct Opening<'a> {
    /// Where it is.
    pub url: &'a str,
    /// S3 access key and secret key: both or neither.
    pub s3: [Option<&'a Secret>; 2],
    /// Identities, one a line.
    pub identity: Option<&'a Secret>,
    /// A writer's key.
    pub writer: Option<&'a Secret>,
    /// The fingerprint that its keys must have.
    pub pinned: Option<&'a String>,
}

/// The credentials that an access key and a secret key are; without both, those of the SDK's own chain.
///
/// # Errors
/// [`Exit::Config`] when one is given without the other.
pub fn s3_credentials(location: &Location, pair: [Option<&Secret>; 2]) -> Result<Option<Credentials>, Failure> {
    match pair {
        [Some(access), Some(secret)] => {
            Ok(Some(Credentials::new(access.expose().to_owned(), secret.expose().to_owned(), None)))
        }
        [None, None] => Ok(None),
        _ => {
            let what = format!("of the S3 access key and secret key for {location} only one is given");
            let hint = "give both, or neither for the usual chain of credentials";
            Err(Failure::new(Exit::Config, what).hint(hint))
        }
    }
}

impl Opening<'_> {
    /// Opens the store behind the URL.
    ///
    /// # Errors
    /// [`Exit::Config`] for half a pair of S3 keys, and the store's.
    pub async fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        let location = Location::parse(self.url)?;
        Ok(store::open(&location, s3_credentials(&location, self.s3)?).await?)
    }

    /// Opens the repository, with the keys that were given.
    ///
    /// # Errors
    /// As for [`Opening::store`]; [`Exit::Config`] when the keys are none, or another repository's.
    pub async fn repository(&self) -> Result<Repository, Failure> {
        let access = Access {
            identities: self.identity.map_or(Ok(Vec::new()), |text| Identity::parse_all(text.expose()))?,
            writer: self.writer.map(|text| WriterKey::parse(text.expose())).transpose()?,
            pinned: self.pinned.cloned(),
        };
        Ok(Repository::open_with(self.store().await?, &access).await?)
    }
}

impl RepoArgs {
    /// Where the repository is.
    pub fn location(&self) -> Result<Location, Failure> {
        Ok(Location::parse(&self.repo)?)
    }

    fn opening(&self) -> Opening<'_> {
        Opening {
            url: &self.repo,
            s3: [self.s3_access_key.as_ref(), self.s3_secret_key.as_ref()],
            identity: self.identity.as_ref(),
            writer: self.writer_key.as_ref(),
            pinned: self.repository_key.as_ref(),
        }
    }

    /// Opens the store behind the repository's URL.
    ///
    /// # Errors
    /// As for [`Opening::store`].
    pub async fn open_store(&self) -> Result<Arc<dyn Store>, Failure> {
        self.opening().store().await
    }

    /// Opens the repository.
    ///
    /// # Errors
    /// As for [`Opening::repository`].
    pub async fn open(&self) -> Result<Repository, Failure> {
        self.opening().repository().await
    }
}

impl ToArgs {
    /// Opens the repository.
    ///
    /// # Errors
    /// As for [`Opening::repository`].
    pub async fn open(&self) -> Result<Repository, Failure> {
        let opening = Opening {
            url: &self.url,
            s3: [self.to_s3_access_key.as_ref(), self.to_s3_secret_key.as_ref()],
            identity: self.to_identity.as_ref(),
            writer: self.to_writer_key.as_ref(),
            pinned: self.to_repository_key.as_ref(),
        };
        opening.repository().await
    }
}
