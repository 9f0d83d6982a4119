//! The options that say whom to tell how a run goes, and the telling.
//!
//! Owns `--result-file`, `--termination-log`, `--metrics-file`, `--push-gateway`, `--repo-label`, `--ping` and `--webhook`; the crate `signals` does
//! the work. Promises that a run which ends before its options are parsed is told of as well, as far as the options can be
//! made out, and that what could not be told is a warning and changes no exit code.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use repository::SourceName;
use signals::{Ended, Failed, On, Plan, Run, Settings, Signals};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Printer;
use crate::secret::Secret;
use crate::shutdown::{GRACE, another_signal};

/// The least time for telling, however late a signal's grace is: the job's grace, what its leftovers get and this are less than the
/// 30 s after which Kubernetes kills.
const LEAST: Duration = Duration::from_secs(2);
/// Commands that only print something about the program itself.
const SILENT: [&str; 2] = ["help", "completions"];
/// Commands that are about one source, and name it in their options.
const OF_ONE_SOURCE: [&str; 4] = ["backup", "restore", "drill", "export"];

/// Whom to tell how a run goes. Every command has these options.
#[derive(Debug, Clone, Default, Args)]
pub struct SignalArgs {
    /// Write one JSON document about this run into this file: when it begins, and how it ended
    #[arg(long, global = true, value_name = "PATH", help_heading = "Signals")]
    pub result_file: Option<PathBuf>,
    /// Write how it ended into this file, in at most 4096 bytes [default: /dev/termination-log where that exists]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Signals")]
    pub termination_log: Option<PathBuf>,
    /// Keep metrics in this file for node-exporter's textfile collector; its name ends in .prom
    #[arg(long, global = true, value_name = "PATH", help_heading = "Signals")]
    pub metrics_file: Option<PathBuf>,
    /// Send metrics to this Prometheus push gateway
    #[arg(long, global = true, value_name = "URL", help_heading = "Signals")]
    pub push_gateway: Option<Secret>,
    /// What metrics call the repository, where several report to one place: their label `repository`
    #[arg(long, global = true, value_name = "NAME", help_heading = "Signals")]
    pub repo_label: Option<String>,
    /// Ping URL/start when it begins and URL/EXITCODE when it has ended, as healthchecks.io takes it
    #[arg(long, global = true, value_name = "URL", help_heading = "Signals")]
    pub ping: Option<Secret>,
    /// Post a message to this URL when it has ended
    #[arg(long, global = true, value_name = "URL", help_heading = "Signals")]
    pub webhook: Option<Secret>,
    /// The message: slack, teams, generic (the document of --result-file), or a file with {{placeholders}} [default: generic]
    #[arg(long, global = true, value_name = "slack|teams|generic|FILE", help_heading = "Signals")]
    pub webhook_template: Option<String>,
    /// When to post it
    #[arg(long, global = true, value_enum, default_value_t = WebhookOn::Failure, help_heading = "Signals")]
    pub webhook_on: WebhookOn,
}

/// `--webhook-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum WebhookOn {
    /// Only when it failed.
    #[default]
    Failure,
    /// Each time.
    Always,
}

impl SignalArgs {
    /// What can be made out of a command line that cannot be parsed; `given` finds the value of an option.
    pub(crate) fn by_hand(given: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            result_file: given("--result-file").map(PathBuf::from),
            termination_log: given("--termination-log").map(PathBuf::from),
            metrics_file: given("--metrics-file").map(PathBuf::from),
            push_gateway: given("--push-gateway").map(Secret::from),
            repo_label: given("--repo-label"),
            ping: given("--ping").map(Secret::from),
            webhook: given("--webhook").map(Secret::from),
            webhook_template: given("--webhook-template"),
            webhook_on: given("--webhook-on").and_then(|on| WebhookOn::from_str(&on, false).ok()).unwrap_or_default(),
        }
    }

    fn settings(&self) -> Settings {
        let exposed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        Settings {
            result_file: self.result_file.clone(),
            termination_log: self.termination_log.clone(),
            metrics_file: self.metrics_file.clone(),
            push_gateway: exposed(&self.push_gateway),
            repository: self.repo_label.clone(),
            ping: exposed(&self.ping),
            webhook: exposed(&self.webhook),
            webhook_template: self.webhook_template.clone(),
            webhook_on: match self.webhook_on {
                WebhookOn::Failure => On::Failure,
                WebhookOn::Always => On::Always,
            },
        }
    }
}

/// What a run is about: a label of its metrics. A job says it as soon as it knows. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Subject(Arc<Mutex<About>>);

#[derive(Debug, Clone, Default)]
struct About {
    source: Option<String>,
    part: bool,
}

impl Subject {
    /// The source that backups are kept under.
    pub fn source(&self, name: &SourceName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).source = Some(name.to_string());
    }

    /// The job of a load, which loads have where backups have a source.
    pub fn job(&self, job: &lease::Job) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).source = Some(job.to_string());
    }

    /// The run is about a part of the source only, and says nothing about how fresh the source's backups are.
    pub fn part(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).part = true;
    }

    /// What the options say by their looks, for runs that end before they are understood.
    pub(crate) fn by_hand(command: &str, given: impl Fn(&str) -> Option<String>) -> Self {
        let subject = Self::default();
        if OF_ONE_SOURCE.contains(&command)
            && let Some(name) = likely_source(command, given)
        {
            subject.source(&name);
        }
        subject
    }

    fn about(&self) -> About {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn likely_source(command: &str, given: impl Fn(&str) -> Option<String>) -> Option<SourceName> {
    if command != "backup" {
        return given("--from")?.split('@').next()?.parse().ok();
    }
    if given("--all-databases").is_some() {
        return None;
    }
    match given("--name") {
        Some(name) => name.parse().ok(),
        // Nothing but what is allowed in a name gets through: no part of a password that stands where it should not.
        None => {
            let source = given("--source")?;
            let (_, rest) = source.split_once("://")?;
            let (server, database) = rest.split('?').next()?.split_once('/')?;
            (!server.is_empty() && !rest.contains('#')).then_some(database)?.parse().ok()
        }
    }
}

/// When a run began, by the clock on the wall and by one that nobody sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    wall: Timestamp,
    clock: Instant,
}

impl Begun {
    pub fn now() -> Self {
        Self { wall: Timestamp::now(), clock: Instant::now() }
    }
}

/// The telling of one run.
#[derive(Debug)]
pub(crate) struct Telling {
    signals: Signals,
    begun: Begun,
    /// What the run is about.
    pub subject: Subject,
}

impl Telling {
    /// Says that a run begins. An option that cannot work comes back as a failure, which the telling can be told like any other.
    pub fn begin(args: &SignalArgs, command: &str, begun: Begun, subject: Subject) -> (Self, Result<(), Failure>) {
        let (plan, problem) = match SILENT.contains(&command) {
            true => (Plan::default(), None),
            false => Plan::check(&args.settings()),
        };
        let program = concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned();
        let run = Run { program, command: command.to_owned(), repository: plan.repository(), started: begun.wall };
        let checked = match problem {
            None => Ok(()),
            Some(problem) => Err(Failure::new(Exit::Config, problem.what).hint(problem.hint)),
        };
        (Self { signals: Signals::begin(plan, run), begun, subject }, checked)
    }

    /// Whether anybody wants to know.
    pub fn is_wanted(&self) -> bool {
        self.signals.is_wanted()
    }

    /// Says how it ended. `since_signal` is how long ago a signal told the run to stop, if one did.
    pub fn end(self, failure: Option<&Failure>, printer: &Printer, since_signal: Option<Duration>) {
        let exit = failure.map_or(Exit::Ok, Failure::exit);
        let About { source, part } = self.subject.about();
        let ended = Ended {
            source,
            part,
            exit: exit.code(),
            name: exit.name(),
            failed: failure.map(|failure| Failed {
                what: failure.what(),
                causes: failure.causes(),
                hint: failure.what_next(),
            }),
            result: printer.result(),
            finished: Timestamp::now(),
            seconds: self.begun.clock.elapsed().as_secs_f64(),
        };
        for missed in self.signals.end(&ended, time_for(since_signal), another_signal()) {
            tracing::warn!(signal = missed.signal, to = missed.to, "could not tell how the run went: {}", missed.why);
        }
    }
}

/// How long telling may take: within a signal's grace, when there was one.
fn time_for(since_signal: Option<Duration>) -> Duration {
    since_signal.map_or(signals::MOST, |passed| GRACE.saturating_sub(passed).clamp(LEAST, signals::MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likely(command: &str, options: &[(&str, &str)]) -> Option<String> {
        let given = |name: &str| options.iter().find(|(option, _)| *option == name).map(|(_, v)| (*v).to_owned());
        Subject::by_hand(command, given).about().source
    }

    #[test]
    fn a_source_is_made_out_of_the_options_and_never_a_password() {
        assert_eq!(likely("backup", &[("--name", "app"), ("--source", "x")]).as_deref(), Some("app"));
        assert_eq!(likely("backup", &[("--source", "postgres://u@h:1/clinic?x=y")]).as_deref(), Some("clinic"));
        assert_eq!(likely("restore", &[("--from", "app@01ABC")]).as_deref(), Some("app"));
        for source in ["postgres://u:can/ary@h/db", "postgres://u:p#/canary", "canary", "postgres:///x", "postgres://h"]
        {
            assert_eq!(likely("backup", &[("--source", source)]), None, "{source}");
        }
        assert_eq!(likely("backup", &[("--all-databases", "true"), ("--source", "postgres://h/x")]), None);
        assert_eq!(likely("check", &[("--name", "app")]), None);
    }

    #[test]
    fn telling_keeps_within_a_signals_grace() {
        assert_eq!(time_for(None), signals::MOST);
        assert_eq!(time_for(Some(Duration::from_secs(1))), signals::MOST);
        assert_eq!(time_for(Some(Duration::from_secs(20))), Duration::from_secs(5));
        assert_eq!(time_for(Some(Duration::from_secs(60))), LEAST);
    }
}
