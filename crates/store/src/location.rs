//! Owns `Location`, a repository's URL parsed once, and `Credentials` given by the caller.
//!
//! Promises that every parameter is known and usable, and that neither a `Location` nor an error about one holds a
//! secret: a URL with `user:password@` is refused, and no error repeats the URL or a parameter's value unasked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;
use zeroize::Zeroizing;

use crate::Error;
use crate::key::is_segment;

const CHAIN: &str = "give credentials by environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), profile or role";
const FORMS: &str = "write file:///absolute/path or s3://bucket/prefix?endpoint=https://host:9000";
/// What a bucket's prefix may take of S3's 1024 bytes; keys of a repository need far less than the rest.
const MAX_PREFIX_BYTES: usize = 512;

/// Where a store is: `file:///absolute/path` or
/// `s3://bucket/prefix?endpoint=http://minio:9000&region=eu-central-1&path_style=true&ca=/ca.pem`.
///
/// `Display` is the URL, normalized. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location(pub(crate) Place);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Directory(PathBuf),
    S3(Bucket),
}

/// A bucket, or a part of one, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bucket {
    pub(crate) bucket: String,
    /// Empty, or segments each ending in `/`.
    pub(crate) prefix: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    /// Without it: path style when there is an endpoint, since most servers beside AWS have no name per bucket.
    pub(crate) path_style: Option<bool>,
    pub(crate) ca: Option<PathBuf>,
}

impl Location {
    /// Parses a URL.
    ///
    /// # Errors
    /// `Error::Config` naming the parameter or the part that cannot be used.
    pub fn parse(text: &str) -> Result<Location, Error> {
        let url = Url::parse(text).map_err(|source| Error::Config {
            what: "the repository is not a URL".to_owned(),
            advice: Some(FORMS.to_owned()),
            source: Some(source.into()),
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::config_with_advice("the URL holds a user or a password", CHAIN));
        }
        if url.fragment().is_some() {
            return Err(Error::config("the URL has a '#' part, which means nothing here"));
        }
        match url.scheme() {
            "file" => parse_directory(text, &url),
            "s3" => parse_bucket(&url),
            other => Err(Error::config_with_advice(format!("no store is reached by {other}://"), FORMS)),
        }
    }

    /// Whether it is a bucket of AWS's own: no endpoint is named, or one of theirs.
    #[must_use]
    pub fn is_aws(&self) -> bool {
        let theirs = |endpoint: &String| {
            let host = Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
            host.is_some_and(|host| host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
        };
        matches!(&self.0, Place::S3(bucket) if bucket.endpoint.as_ref().is_none_or(theirs))
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.0, Place::Directory(_))
    }

    /// The location of a directory, whose path must be absolute.
    ///
    /// # Errors
    /// `Error::Config` when the path is relative or the file system's root.
    pub fn directory(path: &Path) -> Result<Location, Error> {
        if !path.is_absolute() {
            return Err(Error::config_with_advice(format!("{} is a relative path", path.display()), FORMS));
        }
        if path.parent().is_none() {
            return Err(Error::config("a repository cannot be the root of the file system"));
        }
        Ok(Location(Place::Directory(path.to_owned())))
    }
}

fn parse_directory(text: &str, url: &Url) -> Result<Location, Error> {
    // The parser turns `file:backups` into `/backups` and `file://backups/x` into a host; both mean a relative path.
    if !text.trim_start().to_ascii_lowercase().starts_with("file:///") {
        return Err(Error::config_with_advice("the file URL holds a relative path or a host", FORMS));
    }
    if let Some((name, _)) = url.query_pairs().next() {
        return Err(Error::config(format!("unknown parameter {name:?} in a file URL, which takes none")));
    }
    let path = url.to_file_path().map_err(|()| Error::config_with_advice("the file URL holds no path", FORMS))?;
    Location::directory(&path)
}

fn parse_bucket(url: &Url) -> Result<Location, Error> {
    let bucket = url.host_str().unwrap_or_default().to_owned();
    if bucket.is_empty() {
        return Err(Error::config_with_advice("the s3 URL names no bucket", FORMS));
    }
    if !is_segment(&bucket) {
        return Err(Error::config("the s3 URL's bucket has other characters than letters, digits, '.', '-' and '_'"));
    }
    if url.port().is_some() {
        return Err(Error::config_with_advice(
            "the s3 URL has a port after the bucket",
            "write the server as a parameter: s3://bucket/prefix?endpoint=http://host:9000",
        ));
    }
    let mut parsed = Bucket { bucket, prefix: parse_prefix(url.path())?, ..Bucket::default() };
    for (name, value) in url.query_pairs() {
        parsed.set(&name, &value)?;
    }
    if parsed.ca.is_some() && parsed.endpoint.as_deref().is_some_and(|endpoint| !endpoint.starts_with("https:")) {
        return Err(Error::config("parameter ca needs an https endpoint"));
    }
    Ok(Location(Place::S3(parsed)))
}

fn parse_prefix(path: &str) -> Result<String, Error> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    if path.len() >= MAX_PREFIX_BYTES || !path.split('/').all(is_segment) {
        return Err(Error::config(format!(
            "the s3 URL's path must be segments of A-Z a-z 0-9 . _ - below {MAX_PREFIX_BYTES} bytes in all"
        )));
    }
    Ok(format!("{path}/"))
}

impl Default for Bucket {
    fn default() -> Bucket {
        let (bucket, prefix) = (String::new(), String::new());
        Bucket { bucket, prefix, endpoint: None, region: None, path_style: None, ca: None }
    }
}

impl Bucket {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let twice = match name {
            "endpoint" => self.endpoint.replace(parse_endpoint(value)?).is_some(),
            "region" if is_segment(value) => self.region.replace(value.to_owned()).is_some(),
            "path_style" if value == "true" => self.path_style.replace(true).is_some(),
            "path_style" if value == "false" => self.path_style.replace(false).is_some(),
            "ca" if Path::new(value).is_absolute() => self.ca.replace(value.into()).is_some(),
            "region" => return Err(Error::config("parameter region is not a region's name, such as eu-central-1")),
            "path_style" => return Err(Error::config("parameter path_style is neither true nor false")),
            "ca" => return Err(Error::config("parameter ca is not the absolute path of a PEM file")),
            _ => {
                return Err(Error::config_with_advice(
                    format!("unknown parameter {name:?} in the s3 URL"),
                    format!("known are endpoint, region, path_style and ca; {CHAIN}"),
                ));
            }
        };
        if twice { Err(Error::config(format!("parameter {name} is given twice"))) } else { Ok(()) }
    }

    /// The bucket and its server, for people.
    pub(crate) fn describe(&self) -> String {
        let Bucket { bucket, prefix, endpoint, .. } = self;
        let path = if prefix.is_empty() { String::new() } else { format!("/{}", prefix.trim_end_matches('/')) };
        match endpoint {
            Some(endpoint) => format!("s3://{bucket}{path}?endpoint={endpoint}"),
            None => format!("s3://{bucket}{path}"),
        }
    }
}

fn parse_endpoint(value: &str) -> Result<String, Error> {
    const ADVICE: &str = "write endpoint=https://host:port";
    let url = Url::parse(value).map_err(|source| Error::Config {
        what: "parameter endpoint is not a URL".to_owned(),
        advice: Some(ADVICE.to_owned()),
        source: Some(source.into()),
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::config_with_advice("parameter endpoint holds a user or a password", CHAIN));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || url.query().is_some() {
        return Err(Error::config_with_advice("parameter endpoint is not an http or https address", ADVICE));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Directory(path) => match Url::from_file_path(path) {
                Ok(url) => write!(f, "{url}"),
                Err(()) => write!(f, "file://{}", path.display()),
            },
            Place::S3(bucket) => {
                f.write_str(&bucket.describe())?;
                let mut separator = if bucket.endpoint.is_some() { '&' } else { '?' };
                let region = bucket.region.as_deref().map(|region| ("region", region.to_owned()));
                let style = bucket.path_style.map(|style| ("path_style", style.to_string()));
                let ca = bucket.ca.as_ref().map(|ca| ("ca", ca.display().to_string()));
                for (name, value) in [region, style, ca].into_iter().flatten() {
                    write!(f, "{separator}{name}={value}")?;
                    separator = '&';
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Location {
    type Err = Error;
    fn from_str(text: &str) -> Result<Location, Error> {
        Location::parse(text)
    }
}

/// An access key given by the caller, in place of the SDK's chain. `Debug` shows nothing of it; it is wiped on drop.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) access_key: Zeroizing<String>,
    pub(crate) secret_key: Zeroizing<String>,
    pub(crate) session_token: Option<Zeroizing<String>>,
}

impl Credentials {
    /// Takes over an access key, its secret and, for temporary keys, the session token.
    #[must_use]
    pub fn new(access_key: String, secret_key: String, session_token: Option<String>) -> Credentials {
        Credentials {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            session_token: session_token.map(Into::into),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_location_is_written_as_it_is_read() {
        for url in [
            "file:///var/backups/app",
            "file:///with%20space",
            "s3://bucket",
            "s3://bucket/a/b",
            "s3://bucket?region=eu-central-1",
            "s3://bucket/a?endpoint=http://minio:9000&region=here&path_style=true",
            "s3://bucket/a?endpoint=https://[::1]:9000&path_style=false&ca=/etc/ca.pem",
        ] {
            assert_eq!(Location::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(Location::parse("s3://b/a/").unwrap(), Location::parse("s3://b/a").unwrap());
    }

    #[test]
    fn a_refusal_names_the_parameter() {
        for (url, named) in [
            ("backups", "not a URL"),
            ("file:backups", "relative path"),
            ("file://backups/x", "relative path"),
            ("file:///", "root"),
            ("file:///x?mode=7", "\"mode\""),
            ("ftp://host/x", "ftp"),
            ("s3:///prefix", "bucket"),
            ("s3://b:9000/x", "port"),
            ("s3://b/a%20b", "path"),
            ("s3://b?enpoint=http://x", "\"enpoint\""),
            ("s3://b?endpoint=minio:9000", "endpoint"),
            ("s3://b?region=", "region"),
            ("s3://b?path_style=yes", "path_style"),
            ("s3://b?ca=ca.pem", "ca"),
            ("s3://b?ca=/ca.pem&endpoint=http://x", "https"),
            ("s3://b?region=a&region=b", "twice"),
        ] {
            match Location::parse(url) {
                Err(Error::Config { what, .. }) => assert!(what.contains(named), "{url}: {what}"),
                other => assert!(other.is_err(), "{url} must be refused"),
            }
        }
    }

    #[test]
    fn a_secret_in_the_url_is_refused_and_not_repeated() {
        for url in [
            "s3://AKIA:CANARY@bucket/x",
            "s3://b?endpoint=http://me:CANARY@host:9000",
            "s3://b?secret_key=CANARY",
            "s3://AKIA:CANARY@bucket:notaport/x",
        ] {
            let error = Location::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("CANARY"), "{url}");
        }
        let credentials = Credentials::new("AKIA".into(), "CANARY".into(), Some("CANARY".into()));
        assert_eq!(format!("{credentials:?}"), "Credentials { .. }");
    }
}
