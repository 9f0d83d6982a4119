//! Where a drop lies.
//!
//! Owns reading `--drop`. Promises that a URL is read as a repository's is, parameters and all, and that no error repeats what may be a secret in it.
//! Refuses other URLs, which would else be taken for paths that are not there.

use std::fmt;
use std::path::{Path, PathBuf};

use jobkit::Failure;
use store::Location;

use crate::args::usage;

/// Where a drop lies.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket, or a part of one.
    Bucket(Location),
}

impl Place {
    /// Reads `--drop`.
    ///
    /// # Errors
    /// [`Exit::Config`](jobkit::Exit::Config) naming what is wrong with a bucket's URL, [`Exit::Usage`](jobkit::Exit::Usage) for any other URL.
    pub fn parse(drop: &Path) -> Result<Place, Failure> {
        let text = drop.to_str().unwrap_or_default();
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.filter(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')) {
            None => Ok(Place::Directory(drop.to_owned())),
            Some(scheme) if scheme == "s3" => Location::parse(text)
                .map(Place::Bucket)
                .map_err(|error| Failure::from(error).context("--drop names no bucket that can be used")),
            Some(_) => Err(usage("--drop is the path of a directory, or s3://BUCKET/PREFIX?endpoint=…")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Directory(folder) => write!(f, "{}", folder.display()),
            Place::Bucket(location) => write!(f, "{location}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use jobkit::Exit;

    #[test]
    fn a_drop_is_a_path_or_a_bucket() {
        for path in ["drop", "/srv/drops/2026-11-23", "../a", "s3:", "s3/b", "/srv/odd://name"] {
            let place = Place::parse(Path::new(path)).unwrap();
            assert!(matches!(place, Place::Directory(_)) && place.to_string() == path, "{path}");
        }
        let url = "s3://b/lab/drop-1?endpoint=http://minio:9000&region=here";
        assert_eq!(Place::parse(Path::new(url)).unwrap().to_string(), url);
        for (url, exit) in [
            ("s3://b?endpoint=minio:9000", Exit::Config),
            ("s3://AKIA:CANARY@b/x", Exit::Config),
            ("s3://b/x?secret_key=CANARY", Exit::Config),
            ("file:///srv/CANARY", Exit::Usage),
            ("https://b.s3.amazonaws.com/CANARY", Exit::Usage),
        ] {
            let failure = Place::parse(Path::new(url)).unwrap_err();
            assert_eq!(failure.exit(), exit, "{url}");
            assert!(!failure.render_text().contains("CANARY"), "{}", failure.render_text());
        }
    }
}
