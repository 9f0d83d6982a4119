//! Where a dump is: a parsed `mongodump:///FOLDER` or `mongodump:///FILE` URL.
//!
//! Owns the path and which database of it is meant. Promises to look at no file: what is there is found when it is read. Refuses options it does not know, and paths that begin nowhere: a job has no folder of its own.

use engine::address::decode;
use engine::{Error, Kind};
use std::fmt;
use std::path::{Path, PathBuf};

/// A folder or an archive that `mongodump` has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    path: PathBuf,
    database: Option<String>,
    /// What the path is called.
    name: String,
}

const SCHEME: &str = "mongodump://";
const FORM: &str = "write mongodump:///FOLDER/DATABASE or mongodump:///FOLDER/FILE, and ?database=NAME where it holds several; %20 is a space, %3F a ?";
/// What files of archives are called besides their names.
const ENDINGS: [&str; 3] = [".gz", ".archive", ".dump"];

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Dump {
    /// Parses `mongodump:///path/to/dump?database=shop`.
    ///
    /// # Errors
    /// [`Kind::Config`] naming what is wrong.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let bad = |what: String| Error::new(Kind::Config, what).hint(FORM);
        let rest = url.strip_prefix(SCHEME).ok_or_else(|| bad("that is not the URL of a dump".to_owned()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err(bad(format!(
                "the URL of a dump has three slashes, and a path from the root: {path:?} is none"
            )));
        }
        let path = PathBuf::from(decode(path).map_err(bad)?);
        let mut database = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("database", name)) if !name.is_empty() => database = Some(decode(name).map_err(bad)?),
                _ => return Err(bad(format!("the URL's option {pair:?} is not known here"))),
            }
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let name = ENDINGS.iter().fold(name, |name, ending| name.strip_suffix(ending).unwrap_or(&name).to_owned());
        if name.is_empty() {
            return Err(bad("the URL of a dump names no folder and no file".to_owned()));
        }
        Ok(Self { path, database, name })
    }

    /// The database that is asked for; where none is, what folder or file are called.
    #[must_use]
    pub fn database(&self) -> &str {
        self.database.as_deref().unwrap_or(&self.name)
    }

    /// The path, for people.
    #[must_use]
    pub fn server(&self) -> String {
        self.to_string()
    }

    /// The same dump, another database in it.
    #[must_use]
    pub fn of_database(&self, database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..self.clone() }
    }

    /// The database that the URL names.
    pub(crate) fn named(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The folder or file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn urls_name_a_path_and_a_database() {
        for (url, path, database) in [
            ("mongodump:///srv/dump/shop", "/srv/dump/shop", "shop"),
            ("mongodump:///srv/dump/", "/srv/dump/", "dump"),
            ("mongodump:///srv/my%20dump?database=sh%26op", "/srv/my dump", "sh&op"),
            ("mongodump:///srv/shop.archive.gz", "/srv/shop.archive.gz", "shop"),
        ] {
            let dump = Dump::parse(url).unwrap();
            assert_eq!((dump.path(), dump.database()), (Path::new(path), database), "{url}");
            assert_eq!(dump.of_database("b").named(), Some("b"));
        }
        for url in [
            "mongodump://srv/dump",
            "mongodump:///",
            "mongodump:///srv?db=a",
            "mongodump:///srv?database=",
            "mongodump:///srv%2",
            "mongodump:srv",
        ] {
            assert_eq!(Dump::parse(url).unwrap_err().kind, Kind::Config, "{url}");
        }
    }
}
