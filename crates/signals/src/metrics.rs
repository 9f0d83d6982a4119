//! Metrics about a run, in Prometheus' text format.
//!
//! Owns their names, units and labels. Promises that `longshore_run_*` are about the last run and all others about the last one that
//! ended well: a failed run says nothing about those, so that they stay as they were. A backup of a part has a label of its own
//! (`scope`) and never makes its source's backups look fresh.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::run::{Ended, Run};

/// What every name begins with.
pub(crate) const PREFIX: &str = "longshore_";
/// What names of metrics about the last run, whatever came of it, begin with.
const LAST_RUN: &str = "longshore_run_";
/// The label of what backups are kept under.
const SOURCE: &str = "source";
/// The label of where they are kept, where that was given a name.
const REPOSITORY: &str = "repository";

/// All metrics, in the order in which they are written. All are gauges.
const FAMILIES: [(&str, &str); 13] = [
    ("longshore_run_success", "1 when the last run ended well, 0 when it failed."),
    ("longshore_run_exit_code", "Exit code of the last run."),
    ("longshore_run_duration_seconds", "How long the last run took."),
    ("longshore_run_finished_timestamp_seconds", "When the last run ended."),
    ("longshore_last_success_timestamp_seconds", "When a run last ended well."),
    (
        "longshore_backup_started_timestamp_seconds",
        "When the newest backup began; what was written later is not in it.",
    ),
    ("longshore_backup_tables", "Tables in the newest backup."),
    ("longshore_backup_rows", "Rows in the newest backup."),
    ("longshore_backup_bytes", "Bytes of rows in the newest backup, as they were read."),
    ("longshore_backup_stored_bytes", "Bytes that the newest backup takes in the repository, shared ones included."),
    ("longshore_backup_added_bytes", "Bytes that the newest backup added to the repository."),
    ("longshore_backup_chunks", "Chunks of the newest backup."),
    ("longshore_backup_reused_chunks", "Chunks of the newest backup that were in the repository already."),
];

/// Numbers of a backup's result, and what they are called here.
const OF_BACKUP: [(&str, &str); 7] = [
    ("streams", "longshore_backup_tables"),
    ("rows", "longshore_backup_rows"),
    ("bytes", "longshore_backup_bytes"),
    ("stored_bytes", "longshore_backup_stored_bytes"),
    ("added_bytes", "longshore_backup_added_bytes"),
    ("chunks", "longshore_backup_chunks"),
    ("reused_chunks", "longshore_backup_reused_chunks"),
];

/// Values by name and labels: `{command="backup",source="app"}`.
pub(crate) type Series = BTreeMap<(String, String), String>;

/// What a run has to say about one source, or about no source in particular.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Names and values, in the order of the labels.
    pub labels: Vec<(&'static str, String)>,
    pub ok: bool,
    values: Vec<(&'static str, String)>,
}

impl Part {
    /// `{command="backup",source="app"}`.
    fn label_text(&self) -> String {
        let one = |(name, value): &(&str, String)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
        };
        format!("{{{}}}", self.labels.iter().map(one).collect::<Vec<_>>().join(","))
    }

    /// Its series.
    pub fn series(&self) -> Series {
        let labels = self.label_text();
        self.values.iter().map(|(name, value)| (((*name).to_owned(), labels.clone()), value.clone())).collect()
    }
}

/// What a run has to say: one part, and of a backup of all databases one more for each of them.
pub(crate) fn parts(run: &Run, ended: &Ended) -> Vec<Part> {
    let mut labels = common(run);
    labels.extend(ended.source.clone().map(|source| (SOURCE, source)));
    if ended.part {
        labels.push(("scope", "filtered".to_owned()));
    }
    let mut values = last_run(ended.exit, Some(ended.seconds), ended.finished);
    if ended.ok() {
        values.push(last_success(ended.finished));
    }
    let is_backup = run.command == "backup";
    if let (true, true, Some(result)) = (is_backup, ended.ok(), &ended.result) {
        values.extend(of_backup(result));
    }
    let whole = Part { labels, ok: ended.ok(), values };
    let entries = ended.result.as_ref().and_then(Value::as_array).filter(|_| is_backup);
    std::iter::once(whole)
        .chain(entries.into_iter().flatten().filter_map(|entry| of_entry(entry, run, ended)))
        .collect()
}

/// Labels of everything that a run has to say.
fn common(run: &Run) -> Vec<(&'static str, String)> {
    let repository = run.repository.clone().map(|name| (REPOSITORY, name));
    [("command", run.command.clone())].into_iter().chain(repository).collect()
}

fn last_run(exit: u8, seconds: Option<f64>, finished: Timestamp) -> Vec<(&'static str, String)> {
    let mut values = vec![
        ("longshore_run_success", u8::from(exit == 0).to_string()),
        ("longshore_run_exit_code", exit.to_string()),
        ("longshore_run_finished_timestamp_seconds", unix(finished)),
    ];
    values.extend(seconds.map(|seconds| ("longshore_run_duration_seconds", format!("{seconds:.3}"))));
    values
}

fn last_success(at: Timestamp) -> (&'static str, String) {
    ("longshore_last_success_timestamp_seconds", unix(at))
}

/// The account of one database among all of a server. What was left out on purpose has nothing to say.
fn of_entry(entry: &Value, run: &Run, ended: &Ended) -> Option<Part> {
    let source = entry.get("name")?.as_str()?;
    let labels = [common(run), vec![(SOURCE, source.to_owned())]].concat();
    let time = |of: &Value, name: &str| of.get(name)?.as_str()?.parse::<Timestamp>().ok();
    if let Some(backup) = entry.get("backup").filter(|backup| backup.is_object()) {
        let finished = time(backup, "finished").unwrap_or(ended.finished);
        let seconds = time(backup, "started").map(|started| finished.duration_since(started).as_secs_f64());
        let mut values = last_run(0, seconds, finished);
        values.push(last_success(finished));
        values.extend(of_backup(backup));
        return Some(Part { labels, ok: true, values });
    }
    let exit = entry.get("failure")?.get("exit")?.as_u64().and_then(|exit| u8::try_from(exit).ok())?;
    Some(Part { labels, ok: false, values: last_run(exit, None, ended.finished) })
}

fn of_backup(backup: &Value) -> Vec<(&'static str, String)> {
    let number = |(field, name): (&str, &'static str)| Some((name, backup.get(field)?.as_u64()?.to_string()));
    let mut values: Vec<_> = OF_BACKUP.into_iter().filter_map(number).collect();
    let started = backup.get("started").and_then(Value::as_str).and_then(|started| started.parse().ok());
    values.extend(started.map(|started| ("longshore_backup_started_timestamp_seconds", unix(started))));
    values
}

fn unix(at: Timestamp) -> String {
    format!("{:.3}", at.as_duration().as_secs_f64())
}

/// Series as text, each family with its help and type, names without a family last.
pub(crate) fn text(series: &Series) -> String {
    let mut text = String::new();
    for (name, help) in FAMILIES {
        let of_family: Vec<_> = series.iter().filter(|((of, _), _)| of == name).collect();
        if !of_family.is_empty() {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        }
        for ((_, labels), value) in of_family {
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    }
    for ((name, labels), value) in series.iter().filter(|((of, _), _)| !FAMILIES.iter().any(|(name, _)| name == of)) {
        text.push_str(&format!("{name}{labels} {value}\n"));
    }
    text
}

/// Series of a text that [`text`] has made. `None` when something else is in it.
pub(crate) fn read(text: &str) -> Option<Series> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = |line: &str| {
        let (name, rest) = line.split_once('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        let ours = name.starts_with(PREFIX) && value.parse::<f64>().is_ok();
        ours.then(|| ((name.to_owned(), format!("{{{labels}}}")), value.to_owned()))
    };
    lines.map(line).collect()
}

/// What is known after a run, from what was known before: the run's own series take the place of older ones, all others stay.
/// A run that knows its source ends what an earlier one had to say which failed too early to know it.
pub(crate) fn merge(mut before: Series, parts: &[Part]) -> Series {
    for part in parts {
        if let Some(at) = part.labels.iter().position(|(name, _)| *name == SOURCE) {
            let nameless = Part { labels: part.labels[..at].to_vec(), ok: false, values: Vec::new() }.label_text();
            let outdated =
                |name: &str, labels: &str| parts.len() == 1 && name.starts_with(LAST_RUN) && labels == nameless;
            before.retain(|(name, labels), _| !outdated(name, labels));
        }
        before.extend(part.series());
    }
    before
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::run::tests::{failed, run, well};
    use serde_json::json;

    fn backup_of_app() -> Value {
        json!({"source": "app", "started": "2026-09-21T14:13:20Z", "finished": "2026-09-21T14:14:20Z", "streams": 2, "rows": 30,
            "bytes": 4000, "stored_bytes": 500, "added_bytes": 60, "chunks": 7, "reused_chunks": 6})
    }

    fn rendered(ended: &Ended) -> String {
        text(&merge(Series::new(), &parts(&run(), ended)))
    }

    #[test]
    fn a_good_run_says_all_there_is() {
        let text = rendered(&well(backup_of_app()));
        for line in [
            "# TYPE longshore_run_success gauge",
            "longshore_run_success{command=\"backup\",source=\"app\"} 1",
            "longshore_run_exit_code{command=\"backup\",source=\"app\"} 0",
            "longshore_run_duration_seconds{command=\"backup\",source=\"app\"} 75.500",
            "longshore_last_success_timestamp_seconds{command=\"backup\",source=\"app\"} 1790000075.000",
            "longshore_backup_started_timestamp_seconds{command=\"backup\",source=\"app\"} 1790000000.000",
            "longshore_backup_added_bytes{command=\"backup\",source=\"app\"} 60",
            "longshore_backup_reused_chunks{command=\"backup\",source=\"app\"} 6",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} expected in\n{text}");
        }
        for (name, _) in FAMILIES {
            assert!(text.contains(&format!("\n{name}{{")), "{name}");
        }
    }

    #[test]
    fn a_failed_run_says_nothing_about_the_last_good_one() {
        let text = rendered(&failed());
        assert!(text.contains("longshore_run_exit_code{command=\"backup\",source=\"app\"} 69\n"), "{text}");
        assert!(!text.contains("last_success") && !text.contains("longshore_backup_"), "{text}");
    }

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_is_not() {
        let series = merge(Series::new(), &parts(&run(), &well(backup_of_app())));
        assert_eq!(read(&text(&series)).unwrap(), series);
        let odd = Ended { source: Some("a\"b\\} 1".to_owned()), ..failed() };
        let series = merge(Series::new(), &parts(&run(), &odd));
        assert_eq!(read(&text(&series)).unwrap(), series);
        assert!(read("node_load1{x=\"y\"} 1\n").is_none() && read("what?").is_none());
        assert!(read("# a comment\n").unwrap().is_empty());
    }

    #[test]
    fn a_failure_replaces_the_last_run_and_keeps_the_last_success() {
        let before = merge(Series::new(), &parts(&run(), &well(backup_of_app())));
        let other = Ended { source: Some("other".to_owned()), ..failed() };
        let after = text(&merge(merge(before, &parts(&run(), &other)), &parts(&run(), &failed())));
        assert!(after.contains("longshore_run_success{command=\"backup\",source=\"app\"} 0\n"), "{after}");
        assert!(
            after.contains(
                "longshore_last_success_timestamp_seconds{command=\"backup\",source=\"app\"} 1790000075.000\n"
            )
        );
        assert!(after.contains("longshore_backup_rows{command=\"backup\",source=\"app\"} 30\n"));
        assert!(after.contains("longshore_run_success{command=\"backup\",source=\"other\"} 0\n"));
    }

    #[test]
    fn a_run_that_knows_its_source_ends_the_alarm_of_one_that_did_not() {
        let before = merge(Series::new(), &parts(&run(), &Ended { source: None, ..failed() }));
        assert!(text(&before).contains("longshore_run_success{command=\"backup\"} 0"));
        let after = text(&merge(before, &parts(&run(), &well(backup_of_app()))));
        assert!(!after.contains("{command=\"backup\"}"), "{after}");
    }

    #[test]
    fn repositories_with_names_are_told_apart() {
        let in_one = |name: &str| Run { repository: Some(name.to_owned()), command: "verify".to_owned(), ..run() };
        let about_all = |ended: Ended| Ended { source: None, result: None, ..ended };
        let before = merge(Series::new(), &parts(&in_one("main"), &about_all(failed())));
        let after = text(&merge(before, &parts(&in_one("offsite"), &about_all(well(json!({}))))));
        assert!(after.contains("longshore_run_success{command=\"verify\",repository=\"main\"} 0\n"), "{after}");
        assert!(after.contains("longshore_run_success{command=\"verify\",repository=\"offsite\"} 1\n"), "{after}");
        // An alarm of a run that did not know its source ends with one of the same repository alone.
        let backup = |name: &str| Run { repository: Some(name.to_owned()), ..run() };
        let before = merge(Series::new(), &parts(&backup("main"), &Ended { source: None, ..failed() }));
        let elsewhere = merge(before, &parts(&backup("offsite"), &well(backup_of_app())));
        assert!(text(&elsewhere).contains("longshore_run_success{command=\"backup\",repository=\"main\"} 0\n"));
        let here = text(&merge(elsewhere, &parts(&backup("main"), &well(backup_of_app()))));
        assert!(!here.contains("{command=\"backup\",repository=\"main\"}"), "{here}");
        assert!(here.contains("{command=\"backup\",repository=\"main\",source=\"app\"} 1\n"), "{here}");
    }

    #[test]
    fn a_part_never_looks_like_a_whole_backup() {
        let text = rendered(&Ended { part: true, ..well(backup_of_app()) });
        let of_values = text.lines().filter(|line| !line.starts_with('#'));
        for line in of_values {
            assert!(line.contains("{command=\"backup\",source=\"app\",scope=\"filtered\"}"), "{line}");
        }
    }

    #[test]
    fn each_database_of_a_server_has_series_of_its_own() {
        let entries = json!([
            {"database": "app", "name": "app", "ok": true, "backup": backup_of_app()},
            {"database": "hr", "name": "hr", "ok": false, "failure": {"exit": 77}},
            {"database": "template0", "ok": false, "left_out": "no connections"},
        ]);
        let ended = Ended { source: None, result: Some(entries), ..failed() };
        let text = rendered(&ended);
        assert!(text.contains("longshore_run_exit_code{command=\"backup\"} 69\n"), "{text}");
        assert!(text.contains("longshore_run_duration_seconds{command=\"backup\",source=\"app\"} 60.000\n"));
        assert!(text.contains("longshore_run_exit_code{command=\"backup\",source=\"hr\"} 77\n"));
        assert!(text.contains("longshore_backup_rows{command=\"backup\",source=\"app\"} 30\n"));
        assert!(!text.contains("template0") && !text.contains("last_success_timestamp_seconds{command=\"backup\"}"));
    }
}
