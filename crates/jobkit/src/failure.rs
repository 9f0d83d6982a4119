//! What an operator sees when a job fails: what happened, to what, and what to do next.
//!
//! Promises: one exit code, causes listed once each, URLs and `name=value` secrets redacted in every text that is
//! rendered, whoever wrote it. Refuses to guess: the exit code is chosen where the error is understood; and where nobody knows whether a job has
//! done what it was to do, nothing that comes later says that it has not.

use std::error::Error;
use std::fmt;

use serde_json::{Value, json};

use crate::exit::Exit;
use crate::secret::redact_text;

/// An error that somebody may hand over: what `because` takes.
pub type Source = Box<dyn Error + Send + Sync>;

/// The most causes that are listed; a longer chain is a loop or of no use.
const MOST_CAUSES: usize = 16;

/// A failed job.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    hint: Option<String>,
    source: Option<Source>,
    /// Whether it is not known if what was to be published is.
    left_open: bool,
}

impl Failure {
    /// `what` says what happened to what, in lower case, without secrets: `connect to the source database h:5432/db`.
    #[must_use]
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: None, source: None, left_open: false }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error that led here.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure, seen from further out: keeps exit code and hint, and becomes the cause of `what`.
    #[must_use]
    pub fn context(mut self, what: impl Into<String>) -> Self {
        let (exit, hint, left_open) = (self.exit, self.hint.take(), self.left_open);
        Self { exit, what: what.into(), hint, source: Some(Box::new(self)), left_open }
    }

    /// Marks a failure after which it is not known whether the job has done what it was to do: an answer was lost.
    #[must_use]
    pub fn left_open(mut self) -> Self {
        self.left_open = true;
        self
    }

    /// Whether it is marked so.
    #[must_use]
    pub fn is_left_open(&self) -> bool {
        self.left_open
    }

    /// How the process will end.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened, redacted.
    #[must_use]
    pub fn what(&self) -> String {
        redact_text(&self.what).into_owned()
    }

    /// What to do next, redacted.
    #[must_use]
    pub fn what_next(&self) -> Option<String> {
        self.hint.as_deref().map(|hint| redact_text(hint).into_owned())
    }

    /// The chain of causes, outermost first, redacted, without those that only repeat what was said before.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut said = vec![self.what()];
        let mut next: Option<&(dyn Error + 'static)> = self.source.as_deref().map(|source| source as _);
        for _ in 0..MOST_CAUSES {
            let Some(error) = next else { break };
            let text = redact_text(&error.to_string()).into_owned();
            if !said.iter().any(|before| before.contains(&text)) {
                said.push(text);
            }
            next = error.source();
        }
        said.split_off(1)
    }

    /// For people: `error:`, `caused by:` and `hint:` lines and the exit code, ending with a newline.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text = format!("error: {}\n", self.what());
        for cause in self.causes() {
            text.push_str(&labelled("caused by", &cause));
        }
        if let Some(hint) = self.what_next() {
            text.push_str(&labelled("hint", &hint));
        }
        text.push_str(&format!("  exit {} ({})\n", self.exit.code(), self.exit.name()));
        text
    }

    /// For machines: `ok` (false), `exit`, `name`, `error`, `causes`, `hint` (null when there is none).
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "ok": false,
            "exit": self.exit.code(),
            "name": self.exit.name(),
            "error": self.what(),
            "causes": self.causes(),
            "hint": self.what_next(),
        })
    }
}

/// An indented line; further lines of the text are indented as well, so that they visibly belong to it.
fn labelled(label: &str, text: &str) -> String {
    let mut lines = text.trim_end().lines();
    let mut rendered = format!("  {label}: {}\n", lines.next().unwrap_or_default());
    for line in lines {
        rendered.push_str(format!("    {line}").trim_end());
        rendered.push('\n');
    }
    rendered
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_text(&self.what))
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Turns any error into a [`Failure`] where its meaning is known.
pub trait OrFail<T> {
    /// An error becomes a failure with this exit code and text, and its cause.
    ///
    /// # Errors
    /// The failure, when `self` is an error.
    fn or_fail(self, exit: Exit, what: impl Into<String>) -> Result<T, Failure>;

    /// As [`OrFail::or_fail`], with a text made only when needed.
    ///
    /// # Errors
    /// The failure, when `self` is an error.
    fn or_fail_with(self, exit: Exit, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Source>> OrFail<T> for Result<T, E> {
    fn or_fail(self, exit: Exit, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, what).because(error))
    }

    fn or_fail_with(self, exit: Exit, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, what()).because(error))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn sample() -> Failure {
        let inner =
            Failure::new(Exit::Unavailable, "postgres://u:canary@h/db: refused").because(io::Error::other("refused"));
        Failure::new(Exit::Unavailable, "connect to the source").because(inner).hint("is it up?\n\nsee the runbook")
    }

    #[test]
    fn text_lists_each_cause_once_and_ends_with_the_exit_code() {
        let expected = "error: connect to the source\n  caused by: postgres://u:***@h/db: refused\n  \
                        hint: is it up?\n\n    see the runbook\n  exit 69 (unavailable)\n";
        assert_eq!(sample().render_text(), expected);
    }

    #[test]
    fn json_has_the_same_facts() {
        let json = sample().to_json();
        assert_eq!(json["exit"], 69);
        assert_eq!(json["name"], "unavailable");
        assert_eq!(json["error"], "connect to the source");
        assert_eq!(json["causes"][0], "postgres://u:***@h/db: refused");
        assert!(!json.to_string().contains("canary"));
        assert!(Failure::new(Exit::Data, "x").to_json()["hint"].is_null());
    }

    #[test]
    fn context_keeps_exit_and_hint() {
        let failure = sample().context("back up shop");
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert_eq!(failure.causes()[0], "connect to the source");
        assert_eq!(failure.what_next().as_deref(), Some("is it up?\n\nsee the runbook"));
    }

    #[test]
    fn results_become_failures_where_they_are_understood() {
        let failed: Result<(), _> = Err(io::Error::other("boom"));
        let failure = failed.or_fail(Exit::Config, "read the rules").err().map(|failure| failure.render_text());
        assert_eq!(failure.as_deref(), Some("error: read the rules\n  caused by: boom\n  exit 78 (config)\n"));
    }
}
