//! What was found, for people and machines.
//!
//! Owns one check's shape, the account of all, and which of several bad ones decides the exit code: what a retry does not cure
//! comes before what it may cure, among equals the first.

use engine::{Finding, Health};
use jobkit::{Exit, Failure, Retry};
use serde::Serialize;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Good,
    /// Works; there is something to do.
    Warning,
    /// A job would fail.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Of what it is: `store`, `repository`, `source`, …
    part: &'static str,
    name: String,
    outcome: Outcome,
    found: String,
    /// What to do; absent when nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// The exit code of a job that meets this.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "code")]
    exit: Option<Exit>,
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn code<S: serde::Serializer>(exit: &Option<Exit>, to: S) -> Result<S::Ok, S::Error> {
    exit.map(Exit::code).serialize(to)
}

impl Check {
    pub fn good(part: &'static str, name: impl Into<String>, found: impl Into<String>) -> Self {
        let (name, found) = (name.into(), found.into());
        Self { part, name, outcome: Outcome::Good, found, advice: None, exit: None }
    }

    pub fn warning(
        part: &'static str,
        name: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { outcome: Outcome::Warning, advice: Some(advice.into()), ..Self::good(part, name, found) }
    }

    /// What a job would fail with.
    pub fn bad(part: &'static str, name: impl Into<String>, failure: impl Into<Failure>) -> Self {
        let failure = failure.into();
        let found = [vec![failure.what()], failure.causes()].concat().join(": ");
        let (advice, exit) = (failure.what_next(), Some(failure.exit()));
        Self { outcome: Outcome::Bad, advice, exit, ..Self::good(part, name, found) }
    }

    /// The same, where a job can do without.
    pub fn tolerated(part: &'static str, name: impl Into<String>, failure: impl Into<Failure>) -> Self {
        Self { outcome: Outcome::Warning, exit: None, ..Self::bad(part, name, failure) }
    }

    pub fn of(part: &'static str, finding: Finding) -> Self {
        match finding.health {
            Health::Good(found) => Self::good(part, finding.what, found),
            Health::Warning(found, advice) => Self::warning(part, finding.what, found, advice),
            Health::Bad(error) => Self::bad(part, finding.what, error),
        }
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Account {
    /// Nothing is bad.
    ok: bool,
    #[serde(rename = "for")]
    purpose: &'static str,
    bad: usize,
    warnings: usize,
    checks: Vec<Check>,
}

impl Account {
    pub fn of(purpose: &'static str, checks: Vec<Check>) -> Self {
        let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
        let (bad, warnings) = (count(Outcome::Bad), count(Outcome::Warning));
        Self { ok: bad == 0, purpose, bad, warnings, checks }
    }

    /// The failure of the worst; none when nothing is bad.
    pub fn failure(&self) -> Option<Failure> {
        let rank = |exit: Exit| match exit.retry() {
            Retry::No => 0,
            Retry::Later => 1,
            Retry::Yes => 2,
            Retry::Done => 3,
        };
        let bad = self.checks.iter().filter_map(|check| Some((check.exit?, check)));
        let (exit, _) = bad.clone().min_by_key(|(exit, _)| rank(*exit))?;
        let names: Vec<String> = bad.map(|(_, check)| format!("{} {}", check.part, check.name)).collect();
        let failure = Failure::new(exit, format!("not as it should be: {}", names.join(", ")));
        Some(failure.hint("the result says of each what to do"))
    }
}

/// One line per check, aligned, and below it what to do.
pub fn text(account: &Account) -> String {
    let longest = |of: fn(&Check) -> usize| account.checks.iter().map(of).max().unwrap_or_default();
    let parts = longest(|check| check.part.chars().count());
    let names = longest(|check| check.name.chars().count());
    let mut out = String::new();
    for check in &account.checks {
        let outcome = match check.outcome {
            Outcome::Good => "good",
            Outcome::Warning => "WARNING",
            Outcome::Bad => "BAD",
        };
        let found = check.found.replace('\n', " ");
        out.push_str(&format!("{outcome:<7}  {:<parts$}  {:<names$}  {found}\n", check.part, check.name));
        if let Some(advice) = &check.advice {
            let indent = 7 + 2 + parts + 2 + names + 2;
            out.push_str(&format!("{:indent$}-> {}\n", "", advice.replace('\n', " ")));
        }
    }
    let number = |count: usize, word: &str| format!("{count} {word}");
    let warnings = number(account.warnings, if account.warnings == 1 { "warning" } else { "warnings" });
    let summary = match account.bad {
        0 => format!("ready for {}, {warnings}", account.purpose),
        bad => format!("not ready for {}: {}, {warnings}", account.purpose, number(bad, "bad")),
    };
    format!("{out}{summary}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_the_worst_decides() {
        let account = Account::of(
            "backup",
            vec![
                Check::good("store", "answer", "yes"),
                Check::bad("source", "reach", Failure::new(Exit::Unavailable, "down").hint("start it")),
                Check::warning("store", "deletes", "can", "take it away"),
                Check::bad("tools", "pg_dump", Failure::new(Exit::Config, "not installed")),
                Check::tolerated("store", "x", Failure::new(Exit::Refused, "no")),
            ],
        );
        let expected = "good     store   answer   yes\nBAD      source  reach    down\n                          -> start it\n\
                        WARNING  store   deletes  can\n                          -> take it away\n\
                        BAD      tools   pg_dump  not installed\nWARNING  store   x        no\n\
                        not ready for backup: 2 bad, 2 warnings\n";
        assert_eq!(text(&account), expected);
        let failure = account.failure();
        assert_eq!(failure.as_ref().map(Failure::exit), Some(Exit::Config), "{failure:?}");
        assert!(Account::of("backup", vec![Check::good("a", "b", "c")]).failure().is_none());
    }
}
