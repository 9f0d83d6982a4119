//! What is known of a run: at its beginning, and at its end.

use jiff::Timestamp;
use serde_json::Value;

/// A run, as it begins.
#[derive(Debug, Clone)]
pub struct Run {
    /// The program and its version: `longshore 1.2.3`.
    pub program: String,
    /// The command: `backup`.
    pub command: String,
    /// What metrics call the repository: the label `repository`. `None` when nobody gave it a name.
    pub repository: Option<String>,
    /// When it began.
    pub started: Timestamp,
}

/// How a run ended. All texts are redacted already.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What it was about, as backups are named: the label `source`. `None` when it was about several, or ended before that was known.
    pub source: Option<String>,
    /// Whether it was about a part of the source alone: such a run says nothing about how fresh the source's backups are.
    pub part: bool,
    /// The exit code.
    pub exit: u8,
    /// The exit code's name.
    pub name: &'static str,
    /// Why it failed; `None` when it did not.
    pub failed: Option<Failed>,
    /// What `--output json` prints; `None` when the run did not get that far.
    pub result: Option<Value>,
    /// When it ended.
    pub finished: Timestamp,
    /// How long it took, in seconds, by a clock that nobody sets.
    pub seconds: f64,
}

impl Ended {
    /// Whether all went well.
    pub(crate) fn ok(&self) -> bool {
        self.failed.is_none()
    }

    /// One line: what happened to what.
    pub(crate) fn summary(&self, run: &Run) -> String {
        let of = self.source.as_ref().map_or_else(String::new, |source| format!(" of {source}"));
        let took = took(self.seconds);
        match &self.failed {
            None => format!("longshore {}{of}: ok, in {took}", run.command),
            Some(failed) => format!(
                "longshore {}{of} failed after {took} with exit {} ({}): {}",
                run.command, self.exit, self.name, failed.what
            ),
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// What happened to what.
    pub what: String,
    /// Its causes, outermost first.
    pub causes: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failed {
    /// All of it, a line each.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.what);
        for cause in &self.causes {
            text.push_str(&format!("caused by: {cause}\n"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }
}

/// Something that could not be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The option that asked for it: `ping`.
    pub signal: &'static str,
    /// Where to: a path, or a URL's scheme and host.
    pub to: String,
    /// Why not.
    pub why: String,
}

/// Seconds for people: `4s`, `3m 20s`, `2h 05m`.
pub(crate) fn took(seconds: f64) -> String {
    // The cast saturates, and a negative number becomes 0.
    let whole = seconds as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

/// The beginning of a text, of at most so many bytes, with an ellipsis where it was cut.
pub(crate) fn cut(text: &str, most: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A backup that began in 2026 and took 75 s.
    pub(crate) fn run() -> Run {
        let (program, command) = ("longshore 0.1.0".to_owned(), "backup".to_owned());
        Run { program, command, repository: None, started: Timestamp::from_second(1_790_000_000).unwrap_or_default() }
    }

    pub(crate) fn well(result: Value) -> Ended {
        Ended {
            source: Some("app".to_owned()),
            part: false,
            exit: 0,
            name: "ok",
            failed: None,
            result: Some(result),
            finished: Timestamp::from_second(1_790_000_075).unwrap_or_default(),
            seconds: 75.5,
        }
    }

    pub(crate) fn failed() -> Ended {
        let failed = Failed {
            what: "connect to \"app\" & <others>".to_owned(),
            causes: vec!["refused".to_owned()],
            hint: Some("is it up?".to_owned()),
        };
        Ended { exit: 69, name: "unavailable", failed: Some(failed), result: None, ..well(Value::Null) }
    }

    #[test]
    fn a_line_says_what_happened_to_what() {
        assert_eq!(well(Value::Null).summary(&run()), "longshore backup of app: ok, in 1m 15s");
        let summary = failed().summary(&run());
        assert!(summary.starts_with("longshore backup of app failed after 1m 15s with exit 69 (unavailable): connect"));
        assert_eq!((took(3.9).as_str(), took(7500.0).as_str(), took(f64::NAN).as_str()), ("3s", "2h 05m", "0s"));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("ääää", 7), "ää…");
        assert!(cut(&"ä".repeat(4000), 4096).len() <= 4096);
    }
}
