//! Telling it: when a run begins, and when it has ended.
//!
//! Promises that beginning never waits for the network, that ending takes no longer than it is given, and that all ways are taken
//! side by side: one that hangs delays no other. Works on a thread of its own, apart from the run's.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::http::{Ask, ask};
use crate::run::{Ended, Missed, Run, took};
use crate::settings::{Plan, TerminationLog};
use crate::{document, files, gateway, metrics, ping, termination, textfile, webhook};

/// The longest that telling about the end of a run takes, unless less is given.
pub const MOST: Duration = Duration::from_secs(10);
/// The longest that telling about its beginning takes.
const START: Duration = Duration::from_secs(5);
/// What the result file gets on top, to say what could not be told, when a signal has left little time.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// The same when nobody waits for the end: a busy disk takes a while to make a file last.
const UNHURRIED: Duration = Duration::from_secs(5);

/// What is to be told about a run that has begun.
#[derive(Debug)]
pub struct Signals {
    plan: Plan,
    run: Run,
    /// None when there is nothing to tell, or no thread to be had.
    runtime: Option<Runtime>,
    start: Option<JoinHandle<Result<(), Missed>>>,
    missed: Vec<Missed>,
}

type Told = Result<(), Missed>;

impl Signals {
    /// Says that a run begins: writes the result file, and sends the start ping without waiting for its answer.
    #[must_use]
    pub fn begin(plan: Plan, run: Run) -> Self {
        let mut signals = Self { plan, run, runtime: None, start: None, missed: Vec::new() };
        if signals.plan.is_empty() {
            return signals;
        }
        match Builder::new_multi_thread().worker_threads(1).thread_name("signals").enable_all().build() {
            Ok(runtime) => signals.runtime = Some(runtime),
            Err(error) => signals.missed.push(missed("signals", "everywhere", format!("no thread to be had: {error}"))),
        }
        signals.announce();
        signals
    }

    fn announce(&mut self) {
        let Some(runtime) = &self.runtime else { return };
        if let Some(path) = self.plan.result_file.clone() {
            let content = format!("{}\n", document::running(&self.run));
            let written = async {
                let write = in_file("result-file", path, move |path| files::replace_only(path, content.as_bytes()));
                timeout(UNHURRIED, write).await
            };
            // Its failure is found out again at the end, and reported then.
            let _told_at_the_end = runtime.block_on(written);
        }
        if let Some(url) = &self.plan.ping {
            let start = ping::start(url);
            self.start = Some(runtime.spawn(async move {
                let why = match timeout(START, ask(&start)).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(why)) => why,
                    Err(_) => format!("no answer within {}", took(START.as_secs_f64())),
                };
                Err(missed("ping", &start.to.shown(), format!("at the start: {why}")))
            }));
        }
    }

    /// Whether there is anybody to tell.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.plan.is_empty()
    }

    /// Says how a run ended, within `most` and a little more; `cut` ends it before. Gives back what could not be told.
    pub fn end(mut self, ended: &Ended, most: Duration, cut: impl Future<Output = ()> + Send + 'static) -> Vec<Missed> {
        let Some(runtime) = self.runtime.take() else { return self.missed };
        let start = self.start.take();
        let mut all = std::mem::take(&mut self.missed);
        runtime.block_on(async {
            let (hear, heard) = watch::channel(false);
            tokio::spawn(async move {
                cut.await;
                hear.send_replace(true);
                // Kept, so that those who listen never see it closed instead.
                std::future::pending::<()>().await;
            });
            let limits = Limits { deadline: Instant::now() + most, most, cut: heard };
            // First of all what needs no network: whatever comes, this is known.
            all.extend(self.write_result(ended, None, &limits).await.err());
            all.extend(self.tell(ended, start, &limits).await.into_iter().filter_map(Result::err));
            // What ended the telling must not keep from the file that it did: this has time of its own, and no signal ends it.
            let (_never, uncut) = watch::channel(false);
            let afterwards = if most < MOST { AFTERWARDS } else { UNHURRIED };
            let last = Limits { deadline: Instant::now() + afterwards, most: afterwards, cut: uncut };
            if let Err(missed) = self.write_result(ended, Some(&all), &last).await
                && !all.contains(&missed)
            {
                all.push(missed);
            }
        });
        runtime.shutdown_background();
        all
    }

    /// All ways but the result file, side by side.
    async fn tell(&self, ended: &Ended, start: Option<JoinHandle<Told>>, limits: &Limits) -> Vec<Told> {
        let (log, file) = (self.write_log(ended, limits), self.write_metrics(ended, limits));
        let (push, hook) = (self.push(ended, limits), self.call(ended, limits));
        let ping = async {
            let (Some(url), Some(start)) = (&self.plan.ping, start) else { return [Ok(()), Ok(())] };
            let start = started(url.shown(), start, limits).await;
            let end = ping::end(url, &self.run, ended);
            [start, limits.bound("ping", &end.to.shown(), sent("ping", &end)).await]
        };
        let (log, file, push, hook, ping) = tokio::join!(log, file, push, hook, ping);
        [log, file, push, hook].into_iter().chain(ping).collect()
    }

    async fn write_result(&self, ended: &Ended, missed: Option<&[Missed]>, limits: &Limits) -> Told {
        let Some(path) = self.plan.result_file.clone() else { return Ok(()) };
        let to = path.display().to_string();
        let content = format!("{}\n", document::ended(&self.run, ended, missed));
        let last = missed.is_some();
        let written = in_file("result-file", path, move |path| match last {
            true => files::replace(path, content.as_bytes()),
            false => files::replace_only(path, content.as_bytes()),
        });
        limits.bound("result-file", &to, written).await
    }

    async fn write_log(&self, ended: &Ended, limits: &Limits) -> Told {
        let Some(TerminationLog { path, asked_for }) = self.plan.termination_log.clone() else { return Ok(()) };
        let to = path.display().to_string();
        let text = termination::text(&self.run, ended);
        let write = move |path: &Path| files::write_over(path, text.as_bytes(), asked_for);
        let written = in_file("termination-log", path, write);
        match limits.bound("termination-log", &to, written).await {
            Err(_) if !asked_for => Ok(()),
            told => told,
        }
    }

    async fn write_metrics(&self, ended: &Ended, limits: &Limits) -> Told {
        let Some(path) = self.plan.metrics_file.clone() else { return Ok(()) };
        let to = path.display().to_string();
        let parts = metrics::parts(&self.run, ended);
        let written = in_file("metrics-file", path, move |path| textfile::update(path, &parts));
        limits.bound("metrics-file", &to, written).await
    }

    async fn push(&self, ended: &Ended, limits: &Limits) -> Told {
        let Some(url) = &self.plan.push_gateway else { return Ok(()) };
        let all = async {
            for request in gateway::requests(url, &metrics::parts(&self.run, ended)) {
                sent("push-gateway", &request).await?;
            }
            Ok(())
        };
        limits.bound("push-gateway", &url.shown(), all).await
    }

    async fn call(&self, ended: &Ended, limits: &Limits) -> Told {
        let request = self.plan.webhook.as_ref().and_then(|hook| webhook::end(hook, &self.run, ended));
        let Some(request) = request else { return Ok(()) };
        limits.bound("webhook", &request.to.shown(), sent("webhook", &request)).await
    }
}

/// How long there is, and what ends it before.
#[derive(Clone)]
struct Limits {
    deadline: Instant,
    most: Duration,
    cut: watch::Receiver<bool>,
}

impl Limits {
    async fn bound(&self, signal: &'static str, to: &str, work: impl Future<Output = Told>) -> Told {
        let mut cut = self.cut.clone();
        tokio::select! {
            biased;
            told = work => told,
            () = sleep_until(self.deadline) => Err(missed(signal, to, format!("no answer within {}", took(self.most.as_secs_f64())))),
            Ok(_) = cut.wait_for(|cut| *cut) => Err(missed(signal, to, "ended by a signal".to_owned())),
        }
    }
}

/// How the start ping went. The ping of the end must not come before it: there is half of the time for that.
async fn started(to: String, mut start: JoinHandle<Told>, limits: &Limits) -> Told {
    let patience = limits.deadline - limits.most / 2;
    let answered = timeout_at(patience, &mut start).await;
    start.abort();
    match answered {
        Ok(Ok(told)) => told,
        Ok(Err(_)) => Err(missed("ping", &to, "at the start: it was not sent".to_owned())),
        Err(_) => Err(missed("ping", &to, "at the start: no answer".to_owned())),
    }
}

async fn sent(signal: &'static str, request: &Ask) -> Told {
    ask(request).await.map_err(|why| missed(signal, &request.to.shown(), why))
}

/// File systems may hang: on a thread that nobody needs to wait for.
async fn in_file(
    signal: &'static str,
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
) -> Told {
    let to = path.display().to_string();
    let why = match tokio::task::spawn_blocking(move || work(&path)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => files::why(&error),
        Err(error) => error.to_string(),
    };
    Err(missed(signal, &to, why))
}

fn missed(signal: &'static str, to: &str, why: String) -> Missed {
    Missed { signal, to: to.to_owned(), why }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::run::tests::{failed, run, well};
    use crate::settings::Settings;
    use serde_json::{Value, json};
    use std::net::TcpListener;

    fn signals(settings: Settings) -> Signals {
        let (plan, problem) = Plan::check(&settings);
        assert!(problem.is_none(), "{problem:?}");
        Signals::begin(plan, run())
    }

    #[test]
    fn a_server_that_never_answers_takes_no_longer_than_is_given_and_is_named() {
        // Accepts connections by its backlog, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/canary", silent.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        let settings = Settings {
            result_file: Some(path.clone()),
            ping: Some(url.clone()),
            webhook: Some(url.clone()),
            push_gateway: Some(url),
            ..Settings::default()
        };
        let signals = signals(settings);
        let read = || serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read()["state"], "running");
        let missed = signals.end(&failed(), Duration::from_millis(200), std::future::pending());
        let mut names: Vec<_> = missed.iter().map(|missed| missed.signal).collect();
        names.sort_unstable();
        assert_eq!(names, ["ping", "ping", "push-gateway", "webhook"], "{missed:?}");
        assert!(!format!("{missed:?}").contains("canary"), "{missed:?}");
        let document = read();
        assert_eq!((&document["exit"], document["missed_signals"].as_array().unwrap().len()), (&69.into(), 4));
    }

    #[test]
    fn a_signal_ends_the_wait() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let signals = signals(Settings { webhook: Some(url), ..Settings::default() });
        let missed = signals.end(&failed(), Duration::from_secs(3600), std::future::ready(()));
        assert_eq!(missed[0].why, "ended by a signal");
    }

    #[test]
    fn files_that_cannot_be_written_are_named_and_others_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let settings = Settings {
            result_file: Some("/nonexistent/result.json".into()),
            metrics_file: Some("/nonexistent/longshore.prom".into()),
            termination_log: Some(log.clone()),
            ..Settings::default()
        };
        let missed = signals(settings).end(&well(json!({})), MOST, std::future::pending());
        let names: Vec<_> = missed.iter().map(|missed| (missed.signal, missed.why.as_str())).collect();
        assert_eq!(names, [("result-file", "there is no such folder"), ("metrics-file", "there is no such folder")]);
        assert_eq!(std::fs::read_to_string(log).unwrap(), "longshore backup of app: ok, in 1m 15s\n");
    }
}
