//! What a drop says about itself: `drop.yaml` and `SHA256SUMS`.
//!
//! Owns both files' forms. Promises one list of files with what each must be: size, hash, number of rows, format and table, as far as anything is said;
//! that a name is listed once and leads nowhere else; and that two lists which contradict each other are an error. Refuses keys that it does
//! not know: a misspelt `sha265` would promise a check that nobody makes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Kind};
use crate::names::{Passed, fault, passed_over, shown};

/// The name of the manifest that people write.
pub const DROP_YAML: &str = "drop.yaml";
/// The name of the manifest that `sha256sum` writes.
pub const SHA256SUMS: &str = "SHA256SUMS";
/// The name of the empty file that says: everything is here.
pub const SUCCESS: &str = "_SUCCESS";
/// The largest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// What a drop says about its files, by their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    pub(crate) files: BTreeMap<String, Listed>,
    /// Of the marks themselves, which are no files of the drop: what `SHA256SUMS` says of `drop.yaml`.
    pub(crate) marks: BTreeMap<String, [u8; 32]>,
}

/// What a manifest says about one file. What it does not say is not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// How it is written, in the loader's words.
    pub format: Option<String>,
    /// Where it goes.
    pub table: Option<String>,
    /// SHA-256 of the file as it lies there, compressed if it is.
    pub sha256: Option<[u8; 32]>,
    /// Its size as it lies there, in bytes.
    pub bytes: Option<u64>,
    /// How many rows it holds, those that are refused included.
    pub rows: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropYaml {
    #[serde(default)]
    version: Option<u64>,
    files: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    format: Option<String>,
    table: Option<String>,
    sha256: Option<String>,
    bytes: Option<u64>,
    rows: Option<u64>,
}

impl Manifest {
    /// The files it lists, by path.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &Listed)> {
        self.files.iter().map(|(path, listed)| (path.as_str(), listed))
    }

    /// Reads a `drop.yaml`.
    pub(crate) fn from_yaml(text: &[u8]) -> Result<Manifest, Error> {
        let text = std::str::from_utf8(text).map_err(|error| wrong(DROP_YAML, "it is not UTF-8").because(error))?;
        let parsed: DropYaml = serde_saphyr::from_str(text).map_err(|error| {
            // The parser's words show lines of the file, of which one is enough.
            let said = error.to_string();
            wrong(DROP_YAML, said.lines().next().unwrap_or("it is not YAML of the expected form"))
        })?;
        if let Some(version) = parsed.version.filter(|version| *version != 1) {
            return Err(wrong(DROP_YAML, format_args!("it is of version {version}, and 1 is the only one")));
        }
        let mut manifest = Manifest::default();
        for entry in parsed.files {
            let sha256 = match &entry.sha256 {
                None => None,
                Some(text) => Some(hash(text).ok_or_else(|| {
                    wrong(DROP_YAML, format_args!("the sha256 of {} is not 64 hex digits", shown(&entry.path)))
                })?),
            };
            let Entry { path, format, table, bytes, rows, .. } = entry;
            manifest.add(DROP_YAML, path, Listed { format, table, sha256, bytes, rows })?;
        }
        Ok(manifest)
    }

    /// Reads a `SHA256SUMS`, as `sha256sum` writes it, in text or in binary mode.
    pub(crate) fn from_sums(text: &[u8]) -> Result<Manifest, Error> {
        let text = std::str::from_utf8(text).map_err(|error| wrong(SHA256SUMS, "it is not UTF-8").because(error))?;
        let mut manifest = Manifest::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let parts = line.split_at_checked(64).and_then(|(hex, rest)| {
                let path = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?;
                Some((hash(hex)?, path))
            });
            let Some((sha256, path)) = parts else {
                return Err(wrong(SHA256SUMS, format_args!("line {} is not a hash, two blanks and a name", at + 1)));
            };
            // `find . -type f` names them so.
            let path = path.strip_prefix("./").unwrap_or(path);
            if path == DROP_YAML || path == SUCCESS {
                if manifest.marks.insert(path.to_owned(), sha256).is_some() {
                    return Err(wrong(SHA256SUMS, format_args!("it lists {path} twice")));
                }
                continue;
            }
            manifest.add(SHA256SUMS, path.to_owned(), Listed { sha256: Some(sha256), ..Listed::default() })?;
        }
        Ok(manifest)
    }

    fn add(&mut self, name: &str, path: String, listed: Listed) -> Result<(), Error> {
        if let Some(fault) = fault(&path) {
            let what = format!("{name} lists {}: {fault}", shown(&path));
            return Err(
                Error::new(Kind::Refused, what).hint("list files below the drop, by their names relative to it")
            );
        }
        if [DROP_YAML, SHA256SUMS, SUCCESS].contains(&path.as_str()) {
            return Err(wrong(name, format_args!("it lists {path}, which is no file of the drop")));
        }
        match path.split('/').find_map(passed_over) {
            Some(Passed::Hidden) => {
                return Err(wrong(
                    name,
                    format_args!("it lists {path}, and names that begin with a dot are passed over"),
                ));
            }
            Some(Passed::Unfinished) => {
                return Err(wrong(name, format_args!("it lists {path}, whose name says that it is not finished")));
            }
            None => {}
        }
        match self.files.insert(path.clone(), listed) {
            Some(_) => Err(wrong(name, format_args!("it lists {path} twice"))),
            None => Ok(()),
        }
    }

    /// Joins what both manifests of a drop say, which must name the same files.
    pub(crate) fn join(mut self, sums: Manifest) -> Result<Manifest, Error> {
        let differ =
            |path: &str| wrong(DROP_YAML, format_args!("{path} is not in both of {DROP_YAML} and {SHA256SUMS}"));
        if let Some(path) = self.files.keys().find(|path| !sums.files.contains_key(*path)) {
            return Err(differ(path));
        }
        for (path, said) in sums.files {
            let listed = self.files.get_mut(&path).ok_or_else(|| differ(&path))?;
            if listed.sha256.is_some() && listed.sha256 != said.sha256 {
                return Err(wrong(DROP_YAML, format_args!("it gives {path} another hash than {SHA256SUMS} does")));
            }
            listed.sha256 = said.sha256;
        }
        self.marks = sums.marks;
        Ok(self)
    }
}

fn hash(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex, &mut bytes).ok()?;
    Some(bytes)
}

fn wrong(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Data, format!("the drop's {name} cannot be used: {what}"))
        .hint(format!("correct {name} and start again; nothing was loaded"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    const A: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

    #[test]
    fn a_drop_yaml_says_what_each_file_must_be() {
        let text = format!(
            "version: 1\nfiles:\n- path: sub/a.csv.gz\n  table: a\n  format: csv\n  sha256: {A}\n  bytes: 7\n  rows: 2\n- {{path: b.ndjson}}\n"
        );
        let manifest = Manifest::from_yaml(text.as_bytes()).unwrap();
        let files: Vec<_> = manifest.files().collect();
        assert_eq!(files[0], ("b.ndjson", &Listed::default()));
        assert_eq!(files[1].1.sha256.map(|hash| hash[31]), Some(0xaa));
        assert_eq!((files[1].1.bytes, files[1].1.rows), (Some(7), Some(2)));
        assert_eq!((files[1].1.format.as_deref(), files[1].1.table.as_deref()), (Some("csv"), Some("a")));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "",
            "files: 1",
            "files: [{path: a, sha265: x}]",
            "files: [{path: a, sha256: abc}]",
            "files: [{path: a},{path: a}]",
            "version: 2\nfiles: []",
            "files: [{path: .a}]",
            "files: [{path: a.part}]",
            "files: [{path: drop.yaml}]",
            "files: [{path: a, bytes: -1}]",
            "files: [{table: a}]",
            "more: 1\nfiles: []",
            "files: [{path: a}]\nfiles: []",
        ] {
            let error = Manifest::from_yaml(text.as_bytes()).unwrap_err();
            assert!(!error.what.contains('\n') && error.hint.is_some(), "{text}: {error}");
            assert!(!text.contains("sha265") || error.what.contains("sha265"), "{error}");
        }
        for path in ["../a", "/etc/passwd", "a/../../b", "a\\0b", "a//b"] {
            let error = Manifest::from_yaml(format!("files: [{{path: \"{path}\"}}]").as_bytes()).unwrap_err();
            assert!(error.kind == Kind::Refused || path.contains('\\'), "{path}: {error:?}");
        }
        for sums in [
            format!("{A}  ../a"),
            format!("{A}  /a"),
            format!("{A} a"),
            A.to_owned(),
            format!("\\{A}  a"),
            format!("{A}  a\n{A}  a"),
        ] {
            assert!(Manifest::from_sums(sums.as_bytes()).is_err(), "{sums}");
        }
    }

    #[test]
    fn sums_are_read_as_tools_write_them() {
        let text = format!("{A}  a b.csv\r\n\n{A} *./sub/c.csv\n{A}  drop.yaml\n");
        let manifest = Manifest::from_sums(text.as_bytes()).unwrap();
        assert_eq!(manifest.files().map(|(path, _)| path).collect::<Vec<_>>(), ["a b.csv", "sub/c.csv"]);
        assert!(manifest.marks.contains_key(DROP_YAML));
    }

    #[test]
    fn two_manifests_must_agree() {
        let yaml = |hash: &str| {
            Manifest::from_yaml(format!("files: [{{path: a, table: t, sha256: {hash}}}]").as_bytes()).unwrap()
        };
        let sums = |path: &str| Manifest::from_sums(format!("{A}  {path}").as_bytes()).unwrap();
        let joined = yaml(A).join(sums("a")).unwrap();
        assert_eq!(joined.files["a"].table.as_deref(), Some("t"));
        assert!(yaml(&"0".repeat(64)).join(sums("a")).is_err());
        assert!(yaml(A).join(sums("b")).is_err());
        assert!(yaml(A).join(Manifest::default()).is_err());
        assert!(Manifest::default().join(sums("a")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s)(files: \\[|path|[ -~\\n]|- |: |\\PC){0,40}", bytes: Vec<u8>) {
            for text in [text.as_bytes(), &bytes] {
                drop(Manifest::from_yaml(text));
                drop(Manifest::from_sums(text));
            }
        }
    }
}
