//! What is to be told, and where: as given, and as checked.
//!
//! Promises that a plan holds nothing that cannot work by its form, and that one wrong setting does not silence the others: a run
//! which ends because of it still says so wherever it can.

use std::path::PathBuf;

use crate::endpoint::Endpoint;
use crate::template::Template;

/// When the webhook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum On {
    /// When a run failed.
    #[default]
    Failure,
    /// At the end of each run.
    Always,
}

/// What was asked for. Has no `Debug`: the URLs are secrets.
#[derive(Clone, Default)]
pub struct Settings {
    /// `--result-file`.
    pub result_file: Option<PathBuf>,
    /// `--termination-log`.
    pub termination_log: Option<PathBuf>,
    /// `--metrics-file`.
    pub metrics_file: Option<PathBuf>,
    /// `--push-gateway`.
    pub push_gateway: Option<String>,
    /// `--repo-label`.
    pub repository: Option<String>,
    /// `--ping`.
    pub ping: Option<String>,
    /// `--webhook`.
    pub webhook: Option<String>,
    /// `--webhook-template`: `slack`, `teams`, `generic`, a path, or the text of a template. Generic when there is none.
    pub webhook_template: Option<String>,
    /// `--webhook-on`.
    pub webhook_on: On,
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Problem {
    /// What is wrong with which option, without a URL's value.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// Settings that can work. `Debug` shows no URL.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub(crate) result_file: Option<PathBuf>,
    pub(crate) termination_log: Option<TerminationLog>,
    pub(crate) metrics_file: Option<PathBuf>,
    pub(crate) push_gateway: Option<Endpoint>,
    repository: Option<String>,
    pub(crate) ping: Option<Endpoint>,
    pub(crate) webhook: Option<Webhook>,
}

/// Where the last words go.
#[derive(Debug, Clone)]
pub(crate) struct TerminationLog {
    pub path: PathBuf,
    /// False when it is only there, and nobody asked for it: then it is no fault when it cannot be written.
    pub asked_for: bool,
}

/// A webhook and what it is told.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub endpoint: Endpoint,
    pub template: Template,
    pub on: On,
}

/// Where Kubernetes expects a container's last words, unless told otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// The longest name that metrics call a repository by, in bytes.
const LONGEST_LABEL: usize = 100;

impl Plan {
    /// Checks all settings; reads the template's file, if there is one. What can work is in the plan, whatever else is wrong;
    /// the first problem comes with it.
    #[must_use]
    pub fn check(settings: &Settings) -> (Self, Option<Problem>) {
        let mut first = None;
        let mut note = |problem: Problem| {
            first.get_or_insert(problem);
        };
        let mut endpoint = |option, url: &Option<String>| match Endpoint::parse(option, url.as_deref()?) {
            Ok(endpoint) => Some(endpoint),
            Err(problem) => {
                note(problem);
                None
            }
        };
        let push_gateway = endpoint("push-gateway", &settings.push_gateway);
        let ping = endpoint("ping", &settings.ping);
        let webhook = endpoint("webhook", &settings.webhook);
        let template = match &settings.webhook_template {
            None => Some(Template::Generic),
            Some(named) => Template::read(named).map_err(&mut note).ok(),
        };
        let on = settings.webhook_on;
        let webhook = webhook.zip(template).map(|(endpoint, template)| Webhook { endpoint, template, on });
        let metrics_file = match &settings.metrics_file {
            Some(path) if path.extension().is_none_or(|extension| extension != "prom") => {
                note(Problem {
                    what: "the name in --metrics-file does not end in .prom".to_owned(),
                    hint: "the collector of node-exporter reads no other files".to_owned(),
                });
                None
            }
            path => path.clone(),
        };
        let termination_log = match &settings.termination_log {
            Some(path) => Some(TerminationLog { path: path.clone(), asked_for: true }),
            None => Some(TerminationLog { path: TERMINATION_LOG.into(), asked_for: false })
                .filter(|there| there.path.exists()),
        };
        let repository = match &settings.repository {
            Some(name) if !is_label(name) => {
                note(Problem {
                    what: format!("--repo-label is not 1 to {LONGEST_LABEL} of A-Z a-z 0-9 . _ -"),
                    hint: "it is a part of a URL at the push gateway".to_owned(),
                });
                None
            }
            name => name.clone(),
        };
        let result_file = settings.result_file.clone();
        (Self { result_file, termination_log, metrics_file, push_gateway, repository, ping, webhook }, first)
    }

    /// What metrics call the repository, for [`crate::Run`].
    #[must_use]
    pub fn repository(&self) -> Option<String> {
        self.repository.clone()
    }

    /// Whether there is nothing to tell anybody.
    pub(crate) fn is_empty(&self) -> bool {
        // A name alone tells nobody anything.
        let Self { result_file, termination_log, metrics_file, push_gateway, repository: _, ping, webhook } = self;
        let files = result_file.is_none() && termination_log.is_none() && metrics_file.is_none();
        files && push_gateway.is_none() && ping.is_none() && webhook.is_none()
    }
}

fn is_label(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    // A URL's client would take a segment of dots alone for a way up.
    (1..=LONGEST_LABEL).contains(&name.len()) && name.bytes().all(plain) && name.bytes().any(|byte| byte != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repositorys_label_fits_into_a_url() {
        let named = |name: &str| Plan::check(&Settings { repository: Some(name.to_owned()), ..Settings::default() });
        assert_eq!(named("main-1.b_C").0.repository().as_deref(), Some("main-1.b_C"));
        for name in ["", "a/b", "a b", "ä", "..", &"a".repeat(101)] {
            let (plan, problem) = named(name);
            assert!(plan.repository().is_none() && problem.is_some(), "{name}");
        }
    }

    #[test]
    fn one_wrong_setting_does_not_silence_the_others() {
        let settings = Settings {
            ping: Some("https://hc/canary".to_owned()),
            webhook: Some("canary".to_owned()),
            metrics_file: Some("/x/longshore.txt".into()),
            ..Settings::default()
        };
        let (plan, problem) = Plan::check(&settings);
        let what = problem.map(|problem| problem.what).unwrap_or_default();
        assert!(what.starts_with("the URL of --webhook cannot be read"), "{what}");
        assert!(plan.ping.is_some() && plan.webhook.is_none() && plan.metrics_file.is_none());
        assert!(!format!("{plan:?}").contains("canary"));
    }

    #[test]
    fn metrics_files_end_in_prom() {
        let named = |name: &str| Plan::check(&Settings { metrics_file: Some(name.into()), ..Settings::default() }).1;
        assert!(named("/x/a.prom").is_none() && named("/x/a.prom.tmp").is_some() && named("/x/prom").is_some());
    }
}
