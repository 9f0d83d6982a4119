//! Rules about the workspace itself: who may depend on whom.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Dependencies of each workspace package on others of the workspace: ordinary ones, and dev-dependencies.
type Graph = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output =
        Command::new(cargo).args(["metadata", "--no-deps", "--offline", "--format-version=1"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn graph() -> Graph {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let of = |package: &Value| {
        let mut found = (BTreeSet::new(), BTreeSet::new());
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if names.contains(name) {
                let into = if dependency["kind"] == "dev" { &mut found.1 } else { &mut found.0 };
                into.insert(name.to_owned());
            }
        }
        (package["name"].as_str().unwrap().to_owned(), found)
    };
    packages.iter().map(of).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("longshore-{name}")).collect()
}

#[test]
fn crates_depend_only_on_the_layers_below() {
    let allowed: BTreeMap<String, BTreeSet<String>> = [
        ("store", set(&[])),
        ("engine", set(&[])),
        ("process", set(&[])),
        ("repository", set(&["store"])),
        ("postgres", set(&["engine", "process"])),
        ("mysql", set(&["engine"])),
        ("mongo", set(&["engine"])),
        ("databases", set(&["engine", "mongo", "mysql", "postgres"])),
        ("signals", set(&[])),
        ("jobkit", set(&["engine", "lease", "repository", "signals", "store"])),
        ("lease", set(&["engine", "postgres", "store"])),
        ("drops", set(&[])),
        ("loader", set(&["drops", "engine", "lease", "mysql", "postgres", "process"])),
        ("load", set(&["drops", "jobkit", "lease", "loader", "store"])),
        ("backup", set(&["databases", "engine", "jobkit", "repository"])),
        ("restore", set(&["databases", "engine", "jobkit", "lease", "repository"])),
        ("copy", set(&["jobkit", "repository"])),
        ("testkit", set(&["store"])),
        ("tests", set(&[])),
    ]
    .into_iter()
    .map(|(name, may)| (format!("longshore-{name}"), may))
    .chain([(
        "longshore".to_owned(),
        set(&["backup", "copy", "databases", "engine", "jobkit", "load", "repository", "restore", "store"]),
    )])
    .collect();
    for (package, (ordinary, _)) in graph() {
        let may = allowed.get(&package).unwrap_or_else(|| panic!("{package} is new: say here what it may depend on"));
        let beyond: Vec<_> = ordinary.difference(may).collect();
        assert!(beyond.is_empty(), "{package} may not depend on {beyond:?}");
    }
}

#[test]
fn only_tests_depend_on_the_testkit() {
    for (package, (ordinary, _)) in graph() {
        assert!(!ordinary.contains("longshore-testkit"), "{package} depends on the testkit outside of tests");
    }
}

/// Words that may stand in the source of certain crates only.
#[test]
fn each_crate_keeps_to_its_own_words() {
    let rules = [
        ("aws_sdk_s3", &["crates/store"][..]),
        ("tokio_postgres", &["crates/postgres", "crates/testkit"]),
        ("mysql_async", &["crates/mysql", "crates/testkit"]),
        ("mysql_common", &["crates/mysql"]),
        ("mongodb::", &["crates/mongo", "crates/testkit"]),
        ("redis::aio", &["crates/lease"]),
        ("std::process::Command", &["crates/process", "crates/testkit", "tests"]),
        ("tokio::process", &["crates/process", "crates/testkit"]),
    ];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = ["crates", "jobs", "tests"].iter().flat_map(|folder| crate::place::files(&root.join(folder)));
    for path in sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let within = path.strip_prefix(root).unwrap();
        for (word, allowed) in rules {
            let here =
                allowed.iter().any(|folder| within.starts_with(folder)) || within.ends_with("integration/layout.rs");
            let is_test = within.components().any(|part| part.as_os_str() == "tests");
            assert!(here || is_test || !text.contains(word), "{} uses {word}", within.display());
        }
    }
}

/// Each test that the page of promises names is there, under that name.
#[test]
fn the_tests_that_promises_name_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let names: Vec<&str> = page.split('`').filter(|text| text.contains("::") && !text.contains(' ')).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let (module, test) = name.rsplit_once("::").unwrap();
        let file = root.join("tests").join(format!("{}.rs", module.replace("::", "/")));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{name}: {}: {e}", file.display()));
        // Of what runs on every server there is one test per server.
        let there = [format!("fn {test}()"), format!("on_each_server!({test});")];
        assert!(
            there.iter().any(|text_of| text.contains(text_of)),
            "docs/guarantees.md names {name}, which is not there"
        );
    }
}

/// One alert, one runbook, and nothing left over.
#[test]
fn each_alert_has_its_runbook() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let guide = std::fs::read_to_string(root.join("docs/guides/monitoring.md")).unwrap();
    let alerts: BTreeSet<&str> = guide.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let files = std::fs::read_dir(root.join("docs/runbooks")).unwrap();
    let books: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(alerts.iter().map(|alert| format!("{alert}.md")).collect::<BTreeSet<_>>(), books);
    assert!(alerts.len() > 4 && alerts.iter().all(|alert| guide.contains(&format!("(../runbooks/{alert}.md)"))));
}
