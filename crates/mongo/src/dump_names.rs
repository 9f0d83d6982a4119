//! Names of files, as `mongodump` makes them of names of collections.
//!
//! Owns the rule (`outputPath` in `mongodump/prepare.go` of <https://github.com/mongodb/mongo-tools>): a name is escaped as in the query of a URL, and one that gets too long is cut and ends in its hash. Where `mongorestore` cannot read what was cut
//! (`getInfoFromFile` in `mongorestore/filepath.go`), as little as possible is escaped instead, which it reads. Promises that no name of a collection is a path,
//! that two names are two files, and that a file's name has 255 bytes at most. Refuses names of databases that no folder can have.

use crate::catalog::BUCKETS;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::address::decode;
use engine::{Error, Kind};
use sha1::{Digest as _, Sha1};

/// Most letters of a name, without what says the kind of file.
const MOST_LETTERS: usize = 238;
/// What is left of a longer one, before the hash.
const KEPT_LETTERS: usize = 208;
/// What stands between both; `$` is in no name of a collection.
const BEFORE_HASH: &str = "%24";

/// The name of a collection's files, without what says their kind.
pub(crate) fn file_name(collection: &str) -> String {
    let escaped = escaped(collection);
    let Some(kept) = escaped.get(..KEPT_LETTERS).filter(|_| escaped.len() > MOST_LETTERS) else { return escaped };
    if is_misread_when_cut(collection)
        && let Some(name) = hardly_escaped(collection)
    {
        return name;
    }
    let hash = URL_SAFE_NO_PAD.encode(Sha1::digest(collection.as_bytes()));
    format!("{kept}{BEFORE_HASH}{hash}")
}

/// Whether the vendor's tool stops at the collection's files, or takes them for another's.
pub(crate) fn is_misread(collection: &str) -> bool {
    escaped(collection).len() > MOST_LETTERS && is_misread_when_cut(collection) && hardly_escaped(collection).is_none()
}

/// The whole name is looked for in the metadata then, which for buckets have another name; and it is unescaped though it was not escaped there.
fn is_misread_when_cut(collection: &str) -> bool {
    collection.starts_with(BUCKETS) || collection.contains(['%', '+'])
}

/// With nothing escaped but what a file's name cannot have, or what would be unescaped; none where that is too long as well.
fn hardly_escaped(collection: &str) -> Option<String> {
    let one = |c: char| match c {
        '%' | '+' | '/' | '\\' => format!("%{:02X}", u32::from(c)),
        c if c.is_ascii_control() => format!("%{:02X}", u32::from(c)),
        c => c.to_string(),
    };
    let name: String = collection.chars().map(one).collect();
    // As long as this, one with `%24` in it would be taken for a name that was cut.
    (name.len() < MOST_LETTERS).then_some(name)
}

/// As in the query of a URL: letters, digits and `-_.~` are what they are, a space is `+`, everything else is `%` and its bytes.
fn escaped(name: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(one).collect()
}

/// The name that a file's stands for, without what says its kind; none for one that was cut, which only the file's content can tell.
///
/// # Errors
/// [`Kind::Data`] for a name that the vendor's tool does not make.
pub(crate) fn name_of_file(file: &str) -> Result<Option<String>, Error> {
    if file.len() == MOST_LETTERS && file.contains(BEFORE_HASH) {
        return Ok(None);
    }
    decode(&file.replace('+', " ")).map(Some).map_err(|_| {
        Error::new(Kind::Data, format!("the file's name {file:?} is not escaped as mongodump does it"))
            .hint("it was renamed, or copied by a program that changes names; no backup was made")
    })
}

/// Whether a file of this name, without what says its kind, is that of a collection.
pub(crate) fn is_file_of(file: &str, collection: &str) -> bool {
    file == file_name(collection) || name_of_file(file).is_ok_and(|name| name.as_deref() == Some(collection))
}

/// The database's name as that of a folder.
///
/// # Errors
/// [`Kind::Unsupported`] for a name that would be a path, or break a list of files.
pub(crate) fn folder_name(database: &str) -> Result<&str, Error> {
    let wrong = |c: char| c.is_control() || matches!(c, '/' | '\\' | '.');
    if database.is_empty() || database.contains(wrong) {
        let what = format!("the database {database:?} has a name that cannot be a folder's");
        return Err(
            Error::new(Kind::Unsupported, what).hint("restore it under another name, and export a backup of that")
        );
    }
    Ok(database)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn names_are_escaped_as_the_vendors_tool_does_it() {
        for (name, file) in [
            ("orders", "orders"),
            ("a.b-c_d~e", "a.b-c_d~e"),
            ("with spaces ", "with+spaces+"),
            ("up/..", "up%2F.."),
            ("100%25", "100%2525"),
            ("naïve \u{1f6a2}", "na%C3%AFve+%F0%9F%9A%A2"),
            ("new\nline*", "new%0Aline%2A"),
        ] {
            assert_eq!(file_name(name), file);
            assert!(!is_misread(name));
        }
    }

    #[test]
    fn a_long_name_is_cut_and_ends_in_its_hash() {
        let longest = "n".repeat(MOST_LETTERS);
        assert_eq!(file_name(&longest), longest);
        let longer = "ä".repeat(60);
        let file = file_name(&longer);
        assert!(!is_misread(&longer) && file.len() == MOST_LETTERS && file.starts_with("%C3%A4"), "{file}");
        assert_ne!(file, file_name(&format!("{longer}b")));
        assert!(format!("{file}.metadata.json").len() <= 255);
    }

    #[test]
    fn a_long_name_that_would_be_misread_is_hardly_escaped() {
        let long = "ä".repeat(60);
        assert_eq!(file_name(&format!("{BUCKETS}{long}")), format!("{BUCKETS}{long}"));
        assert_eq!(file_name(&format!("a +%/\\\n{long}")), format!("a %2B%25%2F%5C%0A{long}"));
        let longest = format!("+{}", "ä".repeat(120));
        assert!(is_misread(&longest) && file_name(&longest).len() == MOST_LETTERS);
    }

    #[test]
    fn names_of_files_are_read_back() {
        let long = "ä".repeat(60);
        let hardly = format!("{BUCKETS}{long}");
        for name in [
            "orders",
            "with spaces ",
            "up/..",
            "100%25",
            "naïve \u{1f6a2}",
            "a+b",
            &hardly,
            &format!("a +%/\\\n{long}"),
        ] {
            let file = file_name(name);
            assert_eq!(name_of_file(&file).unwrap().as_deref(), Some(name), "{file}");
            assert!(is_file_of(&file, name) && !is_file_of(&file, "other"));
        }
        let cut = file_name(&long);
        assert_eq!(name_of_file(&cut).unwrap(), None);
        assert!(is_file_of(&cut, &long) && !is_file_of(&cut, &format!("{long}b")));
        assert_eq!(name_of_file("100%").unwrap_err().kind, Kind::Data);
    }

    #[test]
    fn no_database_is_a_path() {
        assert_eq!(folder_name("my shop").unwrap(), "my shop");
        for wrong in ["", "..", "a/b", "a\\b", "a\nb", "/etc"] {
            assert!(folder_name(wrong).is_err(), "{wrong}");
        }
    }
}
