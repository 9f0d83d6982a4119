//! Flags, variables, files of variables, help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::num::NonZeroU16;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::*;

#[derive(Debug, Parser)]
#[command(name = "tool", version = "1.2.3")]
struct Tool {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Backs up
    Backup(BackupArgs),
    /// Restores
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
struct BackupArgs {
    /// Where from
    #[arg(long)]
    source: String,
    #[arg(long)]
    secret_key: Option<Secret>,
    /// How many at once
    #[arg(long, default_value = "4")]
    workers: NonZeroU16,
    /// Weaker is fine
    #[arg(long)]
    allow_inexact: bool,
    /// Tables to leave out
    #[arg(long)]
    exclude: Vec<String>,
    #[arg(long)]
    identity_file: Option<String>,
    #[arg(long)]
    identity: Option<String>,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// How
    #[arg(long, value_enum)]
    mode: Mode,
    /// Where to
    #[arg(long, conflicts_with = "dry_run")]
    target: Option<String>,
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Fresh,
    Swap,
}

fn run(vars: &[(&str, &str)], line: &str) -> Result<(Tool, Vec<String>), Stop> {
    let vars: Vars = vars.iter().copied().collect();
    parse_args(&vars, std::iter::once("tool").chain(line.split_whitespace()))
}

fn backup(vars: &[(&str, &str)], line: &str) -> BackupArgs {
    match run(vars, line).map(|(tool, _)| tool.command) {
        Ok(Sub::Backup(args)) => args,
        other => panic!("{other:?}"),
    }
}

fn failure(vars: &[(&str, &str)], line: &str) -> Failure {
    match run(vars, line) {
        Err(Stop::Failure(failure)) => {
            let all = format!("{} {} {failure:?}", failure.render_text(), failure.to_json());
            assert!(!all.contains("canary"), "{all}");
            failure
        }
        other => panic!("{other:?}"),
    }
}

fn help(vars: &[(&str, &str)], line: &str) -> String {
    match run(vars, line) {
        Err(Stop::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_is_sound() {
    Tool::command().debug_assert();
}

#[test]
fn a_variable_stands_for_a_required_flag_and_a_flag_beats_it() {
    let vars = [("LONGSHORE_SOURCE", "from-env"), ("LONGSHORE_WORKERS", "7")];
    let args = backup(&vars, "backup");
    assert_eq!((args.source.as_str(), args.workers.get()), ("from-env", 7));
    let args = backup(&vars, "backup --source from-flag --workers 2");
    assert_eq!((args.source.as_str(), args.workers.get()), ("from-flag", 2));
    assert_eq!(backup(&[], "backup --source x").workers.get(), 4);
}

#[test]
fn an_empty_variable_is_unset() {
    assert_eq!(backup(&[("LONGSHORE_WORKERS", "")], "backup --source x").workers.get(), 4);
    assert_eq!(failure(&[("LONGSHORE_SOURCE", "")], "backup").exit(), Exit::Usage);
}

#[test]
fn global_options_take_flags_at_any_level_and_variables() {
    let output = |vars: &[(&str, &str)], line: &str| run(vars, line).unwrap().0.common.output;
    let json = [("LONGSHORE_OUTPUT", "json")];
    assert_eq!(output(&json, "backup --source x"), Output::Json);
    assert_eq!(output(&json, "backup --source x --output text"), Output::Text);
    assert_eq!(output(&json, "--output text backup --source x"), Output::Text);
    assert_eq!(output(&[], "backup --source x --output json"), Output::Json);
}

#[test]
fn switches_take_true_and_false() {
    for (value, expected) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        assert_eq!(backup(&[("LONGSHORE_ALLOW_INEXACT", value)], "backup --source x").allow_inexact, expected);
    }
    assert!(backup(&[("LONGSHORE_ALLOW_INEXACT", "0")], "backup --source x --allow-inexact").allow_inexact);
    let failure = failure(&[("LONGSHORE_ALLOW_INEXACT", "canary")], "backup --source x");
    assert_eq!(failure.exit(), Exit::Config);
    assert!(failure.render_text().contains("LONGSHORE_ALLOW_INEXACT"));
}

#[test]
fn lists_are_separated_by_commas_in_variables_only() {
    assert_eq!(backup(&[("LONGSHORE_EXCLUDE", "a, b,,c")], "backup --source x").exclude, ["a", "b", "c"]);
    let lines = "a.b\n  \"c, d\".\"e\nf\",\n\ng\n";
    assert_eq!(backup(&[("LONGSHORE_EXCLUDE", lines)], "backup --source x").exclude, ["a.b", "\"c, d\".\"e\nf\"", "g"]);
    assert_eq!(backup(&[("LONGSHORE_EXCLUDE", "5\" disk,b")], "backup --source x").exclude, ["5\" disk", "b"]);
    let vars = [("LONGSHORE_EXCLUDE", "a")];
    assert_eq!(backup(&vars, "backup --source x --exclude b,c --exclude d").exclude, ["b,c", "d"]);
    assert_eq!(backup(&[("LONGSHORE_SOURCE", "mongodb://a,b/db")], "backup").source, "mongodb://a,b/db");
}

#[test]
fn a_bad_value_names_the_variable_and_what_is_allowed_but_not_the_value() {
    let bad = failure(&[("LONGSHORE_WORKERS", "canary")], "backup --source x");
    assert_eq!(bad.exit(), Exit::Config);
    assert!(bad.to_string().contains("LONGSHORE_WORKERS"), "{bad}");
    let bad = failure(&[("LONGSHORE_MODE", "canary")], "restore");
    assert_eq!((bad.exit(), bad.what_next().as_deref()), (Exit::Config, Some("use one of: fresh, swap")));
}

#[test]
fn a_bad_value_is_nobodys_business_but_the_commands_that_use_it() {
    let vars = [("LONGSHORE_MODE", "canary"), ("LONGSHORE_WORKERS", "-1")];
    assert_eq!(backup(&vars, "backup --source x --workers 3").workers.get(), 3);
    let tool = run(&vars, "restore --mode swap").unwrap().0;
    assert!(matches!(tool.command, Sub::Restore(RestoreArgs { mode: Mode::Swap, .. })));
    assert_eq!(failure(&[("LONGSHORE_OUTPUT", "canary")], "restore --mode swap").exit(), Exit::Config);
    assert!(run(&[("LONGSHORE_OUTPUT", "canary")], "restore --mode swap --output text").is_ok());
}

#[test]
fn a_variable_does_not_conflict_with_a_flag() {
    let tool = run(&[("LONGSHORE_TARGET", "t")], "restore --mode fresh --dry-run").unwrap().0;
    assert!(matches!(tool.command, Sub::Restore(RestoreArgs { dry_run: true, target: Some(_), .. })));
}

#[test]
fn a_file_holds_the_value_without_its_last_newline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("source");
    for (content, value) in [("canary", "canary"), ("canary\n", "canary"), ("canary\r\n", "canary"), ("a\n\n", "a\n")] {
        fs::write(&path, content).unwrap();
        assert_eq!(backup(&[("LONGSHORE_SOURCE_FILE", path.to_str().unwrap())], "backup").source, value);
    }
    let both = [("LONGSHORE_SOURCE_FILE", path.to_str().unwrap()), ("LONGSHORE_SOURCE", "canary")];
    let failure = failure(&both, "backup");
    assert_eq!(failure.exit(), Exit::Config);
    assert!(failure.to_string().contains("both LONGSHORE_SOURCE and LONGSHORE_SOURCE_FILE are set"));
}

#[test]
fn a_file_of_no_use_is_a_configuration_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("source");
    let text = |content: Option<&[u8]>| {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let failure = failure(&[("LONGSHORE_SOURCE_FILE", path.to_str().unwrap())], "backup");
        assert_eq!(failure.exit(), Exit::Config);
        assert!(failure.to_string().starts_with("LONGSHORE_SOURCE_FILE names /"), "{failure}");
        failure.render_text()
    };
    assert!(text(None).contains("cannot be read\n  caused by: No such file"));
    assert!(text(Some(b"\n")).contains("is empty"));
    assert!(text(Some(b"canary\xff")).contains("not UTF-8"));
    assert!(text(Some("canary".repeat(200_000).as_bytes())).contains("larger than 1 MiB"));
}

#[test]
fn an_option_whose_name_ends_in_file_keeps_its_variable() {
    let args = backup(&[("LONGSHORE_IDENTITY_FILE", "/k")], "backup --source x");
    assert_eq!((args.identity_file.as_deref(), args.identity), (Some("/k"), None));
}

#[test]
fn help_shows_names_of_variables_and_no_values() {
    let vars = [("LONGSHORE_SOURCE", "canary-a"), ("LONGSHORE_SECRET_KEY", "canary-b"), ("LONGSHORE_WORKERS", "77")];
    for line in ["backup --help", "backup -h", "help backup"] {
        let text = help(&vars, line);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("Where from [env: LONGSHORE_SOURCE]"), "{text}");
        assert!(words.contains("[env: LONGSHORE_SECRET_KEY]") && words.contains("LONGSHORE_LOG_FORMAT"), "{text}");
        assert!(!text.contains("canary") && !text.contains("77"), "{text}");
        assert!(!text.contains("LONGSHORE_HELP"), "{text}");
    }
    assert!(help(&[], "backup --help").contains("[default: 4]"));
    assert_eq!(help(&[], "--version"), "tool 1.2.3\n");
}

#[test]
fn usage_errors_keep_claps_advice() {
    let missing = failure(&[], "backup");
    assert_eq!(missing.exit(), Exit::Usage);
    assert!(missing.to_string().contains("--source <SOURCE>") && missing.what_next().unwrap().contains("Usage:"));
    assert!(!missing.to_string().starts_with("error"));
    assert!(failure(&[], "bakup").render_text().contains("'backup'"));
    assert_eq!(failure(&[], "").exit(), Exit::Usage);
}

#[test]
fn secrets_on_the_command_line_are_not_echoed() {
    for line in [
        "backup postgres://u:canary@h/db",
        "backup --source x canary",
        "backup --source x --secret-key canary canary2",
        "backup --sorce=postgres://u:canary@h/db",
        "backup --sorce postgres://u:canary@h/db",
        "backup --secret-keyy=canary",
        "postgres://u:canary@h/db",
        "backup --source x --workers postgres://u:canary@h/db",
        "backup --source x --workers=postgres://u:canary@h/db",
        "restore --mode postgres://u:canary@h/db",
        "backup --source postgres://u:canary@h/db --source postgres://u:canary@h/db",
        "--output postgres://u:canary@h/db backup",
    ] {
        assert_eq!(failure(&[], line).exit(), Exit::Usage, "{line}");
    }
}

#[test]
fn unknown_variables_are_listed_and_never_shown() {
    let vars = [
        ("LONGSHORE_SORCE", "canary"),
        ("LONGSHORE_WORKERS_FILES", "x"),
        ("LONGSHORE_LOG", "info"),
        ("LONGSHORE_TEST_ANYTHING", "x"),
        ("LONGSHORE_MODE", "fresh"),
        ("LONGSHORE_TRIGGER_SERVICE_HOST", "10.0.0.1"),
        ("LONGSHORE_TRIGGER_PORT", "tcp://10.0.0.1:80"),
        ("LONGSHORE_TRIGGER_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("HOME", "/"),
    ];
    let (_, unknown) = run(&vars, "backup --source x").unwrap();
    assert_eq!(unknown, ["LONGSHORE_SORCE", "LONGSHORE_WORKERS_FILES"]);
    let vars: Vars = vars.into_iter().collect();
    assert!(!format!("{vars:?}").contains("canary"));
}

#[test]
fn an_argument_of_type_secret_does_not_print() {
    let args = backup(&[("LONGSHORE_SECRET_KEY", "canary")], "backup --source x");
    assert!(!format!("{args:?}").contains("canary"));
    assert_eq!(args.secret_key.unwrap().expose(), "canary");
}

#[test]
fn secrets_on_the_command_line_are_noticed_by_their_names_and_in_urls() {
    let exposed = |argv: &[&str]| crate::run::exposed(&argv.iter().map(std::ffi::OsString::from).collect::<Vec<_>>());
    let all =
        ["x", "--s3-secret-key", "k", "--identity=AGE", "--source", "postgres://u:p@h/d", "--to=https://token@h/"];
    assert_eq!(exposed(&all), ["--s3-secret-key", "--identity", "--source", "--to"]);
    assert!(exposed(&["x", "--source", "postgres://u@h/d", "--writer-key-out", "f", "--repo", "s3://b/p"]).is_empty());
    assert!(exposed(&["x", "--", "/opt/load", "--password", "p"]).is_empty(), "another program's");
}
