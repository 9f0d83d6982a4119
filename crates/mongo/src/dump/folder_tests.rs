#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
//! Folders as the vendor's tool writes them, and those that it does not.

use super::*;
use crate::catalog::Sort as Of;
use mongodb::bson::rawdoc;
use std::fs;

const PLAIN: &str = r#"{"indexes":[]}"#;

struct Dump(tempfile::TempDir);

impl Dump {
    fn new(files: &[(&str, &str)]) -> Self {
        let dump = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| dump.write(name, text.as_bytes()));
        dump
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.path().join("dump").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn look(&self, folder: &str, named: Option<&str>) -> Result<Contents, Error> {
        look(&self.0.path().join("dump").join(folder), named)
    }
}

#[test]
fn a_database_is_found_from_its_folder_and_from_above() {
    let dump = Dump::new(&[("shop/a.bson", ""), ("shop/a.metadata.json", PLAIN), ("admin/system.version.bson", "")]);
    for (folder, named, database) in
        [("shop", None, "shop"), ("", None, "shop"), ("", Some("shop"), "shop"), ("shop", Some("x"), "x")]
    {
        let found = dump.look(folder, named).unwrap();
        assert_eq!(
            (found.database.as_str(), found.server_version.as_str(), found.has_oplog),
            (database, UNKNOWN, false)
        );
        assert_eq!(found.collections.len(), 1);
    }
    assert_eq!(dump.look("", Some("b")).unwrap_err().kind, Kind::NotFound);
    assert_eq!(dump.look("admin", None).unwrap_err().kind, Kind::Config);
    dump.write("other/b.bson", b"");
    let several = dump.look("", None).unwrap_err();
    assert!(several.kind == Kind::Config && several.to_string().contains("other, shop"), "{several}");
    dump.write("prelude.json", br#"{"ServerVersion":"6.0.5","ToolVersion":"100.12.0"}"#);
    dump.write("oplog.bson", b"");
    let found = dump.look("shop", None).unwrap();
    assert_eq!((found.server_version.as_str(), found.has_oplog), ("6.0.5", true));
    dump.write("shop/prelude.json", br#"{"ServerVersion":"7.0.1"}"#);
    assert_eq!(dump.look("", Some("shop")).unwrap().server_version, "7.0.1");
    dump.write("shop/prelude.json", b"{");
    assert_eq!(dump.look("shop", None).unwrap_err().kind, Kind::Data);
}

#[test]
fn every_kind_of_collection_has_its_files() {
    let long = "ä".repeat(60);
    let cut = file_name(&long);
    let named = |name: &str| format!(r#"{{"indexes":[],"collectionName":"{name}"}}"#);
    let dump = Dump::new(&[
        ("shop/a%2Fb+c.metadata.json", &named("a/b c")),
        ("shop/a%2Fb+c.bson", ""),
        (&format!("shop/{cut}.metadata.json"), &named(&long)),
        (&format!("shop/{cut}.bson"), ""),
        ("shop/system.js.metadata.json", PLAIN),
        ("shop/system.js.bson", ""),
        ("shop/t.metadata.json", r#"{"options":{"timeseries":{"timeField":"at"}},"indexes":[],"type":"timeseries"}"#),
        ("shop/system.buckets.t.bson", ""),
        ("shop/v.metadata.json", r#"{"options":{"viewOn":"w","pipeline":[]},"indexes":[]}"#),
        ("shop/w.metadata.json", r#"{"options":{"viewOn":"t","pipeline":[]},"indexes":[]}"#),
        ("shop/$admin.system.users.bson", ""),
        ("shop/system.profile.bson", ""),
        ("shop/longshore.mark.bson", ""),
        ("shop/longshore.mark.metadata.json", PLAIN),
    ]);
    dump.write("shop/a%2Fb+c.bson", rawdoc! {"_id": 1}.as_bytes());
    let found = dump.look("shop", None).unwrap();
    let names: Vec<(&str, Of)> = found.collections.iter().map(|one| (one.name.as_str(), one.sort)).collect();
    assert_eq!(
        names,
        [
            ("a/b c", Of::Collection),
            ("system.js", Of::Collection),
            ("t", Of::TimeSeries),
            (long.as_str(), Of::Collection),
            ("w", Of::View),
            ("v", Of::View)
        ]
    );
    assert_eq!(
        found.data.keys().map(String::as_str).collect::<Vec<_>>(),
        ["a/b c", "system.buckets.t", "system.js", &long]
    );
    assert_eq!(found.data["a/b c"].bytes, 14);
    assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
}

#[test]
fn what_nobody_knows_and_what_is_half_there_is_named() {
    let whole = [("shop/a.bson", ""), ("shop/a.metadata.json", PLAIN)];
    for (file, text, kind, said) in [
        ("shop/notes.txt", "", Kind::Unsupported, "notes.txt"),
        ("shop/more/a.bson", "", Kind::Unsupported, "more"),
        ("shop/.bson", "", Kind::Unsupported, ".bson"),
        ("shop/b.bson", "", Kind::Data, "documents of b and no definition"),
        ("shop/b.metadata.json", PLAIN, Kind::Data, "definition of b and not its documents"),
        ("shop/a.bson.gz", "", Kind::Data, "another file with documents of a"),
        ("shop/a.metadata.json", r#"{"indexes":[],"collectionName":"b"}"#, Kind::Data, "another collection"),
        ("shop/a.metadata.json", "", Kind::Data, "a.metadata.json"),
        ("shop/b%zz.bson", "", Kind::Data, "b%zz"),
        ("shop/system.views.bson", "", Kind::Unsupported, "system.views"),
    ] {
        let dump = Dump::new(&whole);
        dump.look("shop", None).unwrap();
        dump.write(file, text.as_bytes());
        let error = dump.look("shop", None).unwrap_err();
        assert!(error.kind == kind && error.to_string().contains(said), "{file}: {error}");
    }
    let renamed = Dump::new(&whole);
    let cut = file_name(&"ä".repeat(60));
    renamed.write(&format!("shop/{cut}.metadata.json"), br#"{"indexes":[],"collectionName":"other"}"#);
    assert_eq!(renamed.look("shop", None).unwrap_err().kind, Kind::Data);
    let top = Dump::new(&[("shop/a.bson", ""), ("README.txt", "")]);
    assert_eq!(top.look("", None).unwrap_err().kind, Kind::Unsupported);
    let empty = Dump::new(&[("prelude.json", "{}")]);
    assert_eq!(empty.look("", None).unwrap_err().kind, Kind::NotFound);
    assert_eq!(empty.look("shop", None).unwrap_err().kind, Kind::NotFound);
}
