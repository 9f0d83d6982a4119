//! How far a job is.
//!
//! Promises: [`Progress::add`] is two atomic additions, cheap enough for every chunk; at most ten redraws a second on a
//! terminal; elsewhere a log line when a stage begins, every ten seconds of a long one, and when it ends, unless it was
//! over at once; never more than 100 %, whatever the estimate was. Refuses to be the record of anything: numbers here
//! are for people, results come from the job.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::format;
use crate::telemetry::Screen;

/// How often a bar is brought up to date.
const REDRAW: Duration = Duration::from_millis(200);
/// How wide the bar itself is, in characters.
const BAR: usize = 16;
/// How often progress is logged where there is no bar.
pub(crate) const LOG_EVERY: Duration = Duration::from_secs(10);
/// A stage that counted nothing and was over sooner needs no line to say so: the next one's beginning does.
const WORTH_A_LINE: Duration = Duration::from_millis(50);

/// Where progress goes.
#[derive(Debug, Clone)]
pub enum Mode {
    /// A bar on this screen.
    Bar(Screen),
    /// A log line at each stage change and this often.
    Log(Duration),
    /// Nowhere.
    Silent,
}

/// A handle to a job's progress. Clones are the same progress; the last one to go ends it.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Handle>);

/// What all clones of a handle share, apart from the reporting thread: its end is the end of reporting.
#[derive(Debug)]
struct Handle(Arc<State>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[derive(Debug)]
struct State {
    rows: AtomicU64,
    bytes: AtomicU64,
    total_rows: AtomicU64,
    total_bytes: AtomicU64,
    stage: Mutex<Stage>,
    display: Display,
    /// True when the reporting thread is to end.
    finished: Mutex<bool>,
    wake: Condvar,
}

#[derive(Debug)]
struct Stage {
    name: String,
    message: String,
    begun: Instant,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Log,
    Silent,
}

impl Progress {
    /// Starts reporting, from a thread of its own unless `mode` is silent.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        let (display, every) = match mode {
            Mode::Bar(screen) => (Display::Bar(screen.add(new_bar())), REDRAW),
            Mode::Log(every) => (Display::Log, every),
            Mode::Silent => (Display::Silent, Duration::ZERO),
        };
        let silent = matches!(display, Display::Silent);
        let state = Arc::new(State {
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            total_rows: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            stage: Mutex::new(Stage { name: String::new(), message: String::new(), begun: Instant::now() }),
            display,
            finished: Mutex::new(silent),
            wake: Condvar::new(),
        });
        if !silent {
            let reported = Arc::clone(&state);
            let reporter = thread::Builder::new().name("progress".to_owned()).spawn(move || report(&reported, every));
            if let Err(error) = reporter {
                tracing::warn!(%error, "no progress will be shown");
            }
        }
        Self(Arc::new(Handle(state)))
    }

    /// Begins a stage, for example `copying rows`: counters, totals and message start over.
    pub fn stage(&self, name: impl Into<String>) {
        let state = &self.0.0;
        let (name, before) = (name.into(), self.snapshot());
        {
            let mut stage = lock(&state.stage);
            *stage = Stage { name: name.clone(), message: String::new(), begun: Instant::now() };
            for counter in [&state.rows, &state.bytes, &state.total_rows, &state.total_bytes] {
                counter.store(0, Ordering::Relaxed);
            }
        }
        match &state.display {
            Display::Bar(bar) => draw(bar, &self.snapshot()),
            Display::Log => {
                if before.is_worth_a_line() {
                    log_end(&before);
                }
                tracing::info!(stage = name.as_str(), "stage begins");
            }
            Display::Silent => {}
        }
    }

    /// States how much this stage will be, as far as known; 0 is unknown. May be called again with a better estimate.
    pub fn set_total(&self, bytes: u64, rows: u64) {
        self.0.0.total_bytes.store(bytes, Ordering::Relaxed);
        self.0.0.total_rows.store(rows, Ordering::Relaxed);
    }

    /// Counts work done. Never blocks.
    pub fn add(&self, rows: u64, bytes: u64) {
        self.0.0.rows.fetch_add(rows, Ordering::Relaxed);
        self.0.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is being worked on right now, for example a table's name. Shown next to the stage, and logged with it.
    pub fn message(&self, message: impl Into<String>) {
        lock(&self.0.0.stage).message = message.into();
    }

    /// How far the current stage is.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.0.snapshot()
    }

    /// Ends reporting: clears the bar, or logs the last stage's numbers. Further calls do nothing. A progress that is
    /// dropped without this ends as well, without saying that the stage ended.
    pub fn finish(&self) {
        let state = &self.0.0;
        let snapshot = self.snapshot();
        if state.end() && matches!(state.display, Display::Log) && snapshot.is_worth_a_line() {
            log_end(&snapshot);
        }
    }

    /// Ends reporting without saying that the stage ended: it failed.
    pub(crate) fn abandon(&self) {
        self.0.0.end();
    }
}

impl State {
    fn snapshot(&self) -> Snapshot {
        let stage = lock(&self.stage);
        Snapshot {
            stage: stage.name.clone(),
            message: stage.message.clone(),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            total_rows: self.total_rows.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            elapsed: stage.begun.elapsed(),
        }
    }

    /// Ends the reporting thread and clears the bar; true for the first call.
    fn end(&self) -> bool {
        if std::mem::replace(&mut *lock(&self.finished), true) {
            return false;
        }
        self.wake.notify_all();
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reporting thread: ends when the progress does.
fn report(state: &State, every: Duration) {
    loop {
        let waited = state.wake.wait_timeout_while(lock(&state.finished), every, |finished| !*finished);
        // The lock is held while drawing, so that a bar that was cleared stays cleared.
        let finished = waited.unwrap_or_else(PoisonError::into_inner).0;
        if *finished {
            return;
        }
        let snapshot = state.snapshot();
        match &state.display {
            Display::Bar(bar) => draw(bar, &snapshot),
            // A stage that has only just begun has said so.
            Display::Log if !snapshot.stage.is_empty() && snapshot.elapsed >= every => log_progress(&snapshot),
            Display::Log | Display::Silent => {}
        }
    }
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The stage's name.
    pub stage: String,
    /// What is being worked on.
    pub message: String,
    /// Rows done.
    pub rows: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Rows expected; 0 is unknown.
    pub total_rows: u64,
    /// Bytes expected; 0 is unknown.
    pub total_bytes: u64,
    /// Since the stage began.
    pub elapsed: Duration,
}

impl Snapshot {
    /// Work done and expected, in bytes when those are known, else in rows. `None` when nothing is known. What is
    /// expected is never less than what is done.
    fn work(&self) -> Option<(u64, u64)> {
        match (self.total_bytes, self.total_rows) {
            (0, 0) => None,
            (0, rows) => Some((self.rows, rows.max(self.rows))),
            (bytes, _) => Some((self.bytes, bytes.max(self.bytes))),
        }
    }

    /// 0 to 100, rounded down; `None` when no total is known.
    #[must_use]
    pub fn percent(&self) -> Option<u8> {
        let (done, total) = self.work()?;
        u8::try_from(u128::from(done) * 100 / u128::from(total.max(1))).ok()
    }

    /// Since the stage began.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        let rate = u128::from(self.bytes) * 1000 / self.elapsed.as_millis().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// Time left at the stage's average speed; `None` without a total or before the first work is done.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let (done, total) = self.work().filter(|(done, _)| *done > 0)?;
        let millis = self.elapsed.as_millis() * u128::from(total - done) / u128::from(done);
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// Since the stage began, in seconds, to the millisecond. The division is of whole numbers, so that 7.238 is not
    /// printed as 7.2379999999999995.
    fn elapsed_seconds(&self) -> f64 {
        f64::from(u32::try_from(self.elapsed.as_millis()).unwrap_or(u32::MAX)) / 1000.0
    }

    /// Whether the end of this stage is worth a log line.
    fn is_worth_a_line(&self) -> bool {
        !self.stage.is_empty() && (self.rows > 0 || self.bytes > 0 || self.elapsed >= WORTH_A_LINE)
    }

    /// `[====>           ]  25% `; nothing without a total.
    fn bar(&self) -> String {
        let Some(percent) = self.percent() else { return String::new() };
        let full = usize::from(percent) * BAR / 100;
        let head = if full < BAR { ">" } else { "" };
        format!("[{:BAR$}] {percent:>3}% ", format!("{}{head}", "=".repeat(full)))
    }

    /// The numbers, most wanted first: a narrow terminal cuts the end.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        match (self.bytes, self.total_bytes) {
            (0, 0) => {}
            (bytes, 0) => parts.push(format::bytes(bytes)),
            (bytes, total) => parts.push(format!("{}/{}", format::bytes(bytes), format::bytes(total.max(bytes)))),
        }
        if self.bytes > 0 {
            parts.push(format!("{}/s", format::bytes(self.bytes_per_second())));
        }
        if let Some(eta) = self.eta() {
            parts.push(format!("{} left", format::duration(Duration::from_secs(eta.as_secs()))));
        }
        match (self.rows, self.total_rows) {
            (0, 0) => {}
            (rows, total) if self.total_bytes == 0 && total > 0 => {
                parts.push(format!("{}/{} rows", format::count(rows), format::count(total.max(rows))));
            }
            (rows, _) => parts.push(format!("{} rows", format::count(rows))),
        }
        parts.push(format::duration(Duration::from_secs(self.elapsed.as_secs())));
        if !self.message.is_empty() {
            parts.push(self.message.clone());
        }
        parts.join(", ")
    }
}

/// One line, drawn in one go: indicatif would redraw for every part that is set on its own.
fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style)
}

fn draw(bar: &ProgressBar, snapshot: &Snapshot) {
    if !snapshot.stage.is_empty() {
        bar.set_message(format!("{} {}{}", snapshot.stage, snapshot.bar(), snapshot.line()));
    }
}

/// A stage at work: what is not known, or not counted, is left out.
fn log_progress(snapshot: &Snapshot) {
    let known = |count: u64| (count > 0).then_some(count);
    tracing::info!(
        stage = snapshot.stage.as_str(),
        doing = (!snapshot.message.is_empty()).then_some(snapshot.message.as_str()),
        rows = known(snapshot.rows),
        bytes = known(snapshot.bytes),
        total_rows = known(snapshot.total_rows),
        total_bytes = known(snapshot.total_bytes),
        percent = snapshot.percent(),
        bytes_per_second = known(snapshot.bytes_per_second()),
        eta_seconds = snapshot.eta().map(|eta| eta.as_secs()),
        elapsed_seconds = snapshot.elapsed_seconds(),
        "progress"
    );
}

/// A stage that is over: how long it took and what it did. Estimates no longer matter.
fn log_end(snapshot: &Snapshot) {
    let known = |count: u64| (count > 0).then_some(count);
    tracing::info!(
        stage = snapshot.stage.as_str(),
        rows = known(snapshot.rows),
        bytes = known(snapshot.bytes),
        bytes_per_second = known(snapshot.bytes_per_second()),
        elapsed_seconds = snapshot.elapsed_seconds(),
        "stage ends"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: u64, total_bytes: u64, seconds: u64) -> Snapshot {
        let (stage, message) = ("copying".to_owned(), String::new());
        Snapshot {
            stage,
            message,
            rows: 1234,
            bytes,
            total_rows: 0,
            total_bytes,
            elapsed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long() {
        let mib = 1024 * 1024;
        assert_eq!(
            at(512 * mib, 1024 * mib, 72).line(),
            "512.0 MiB/1.0 GiB, 7.1 MiB/s, 1m 12s left, 1,234 rows, 1m 12s"
        );
        assert_eq!(at(512 * mib, 0, 1).line(), "512.0 MiB, 512.0 MiB/s, 1,234 rows, 1s");
    }

    #[test]
    fn never_more_than_everything() {
        let over = at(300, 100, 10);
        assert_eq!(over.percent(), Some(100));
        assert_eq!(over.bar(), "[================] 100% ");
        assert_eq!((at(25, 100, 1).bar().as_str(), at(5, 0, 1).bar().as_str()), ("[====>           ]  25% ", ""));
        assert_eq!(over.eta(), Some(Duration::ZERO));
        assert!(over.line().starts_with("300 B/300 B"));
        assert_eq!(at(99, 100, 10).percent(), Some(99));
        assert_eq!(at(u64::MAX, u64::MAX, 1).percent(), Some(100));
        assert_eq!(at(5, 0, 10).percent(), None);
    }

    #[test]
    fn rows_stand_in_when_bytes_are_unknown() {
        let rows = Snapshot { total_rows: 2468, ..at(0, 0, 10) };
        assert_eq!(rows.percent(), Some(50));
        assert_eq!(rows.line(), "10s left, 1,234/2,468 rows, 10s");
    }

    #[test]
    fn the_end_of_a_stage_is_logged_when_it_took_or_did_something() {
        let nothing = Snapshot { rows: 0, elapsed: Duration::from_millis(49), ..at(0, 0, 0) };
        assert!(!nothing.is_worth_a_line());
        assert!(Snapshot { elapsed: Duration::from_millis(50), ..nothing.clone() }.is_worth_a_line());
        assert!(Snapshot { rows: 1, ..nothing.clone() }.is_worth_a_line());
        assert!(Snapshot { bytes: 1, ..nothing }.is_worth_a_line());
        assert!(!Snapshot { stage: String::new(), ..at(1, 0, 1) }.is_worth_a_line());
    }

    #[test]
    fn seconds_are_logged_to_the_millisecond() {
        let seconds = |micros| Snapshot { elapsed: Duration::from_micros(micros), ..at(0, 0, 0) }.elapsed_seconds();
        assert_eq!(seconds(1_234_567).to_string(), "1.234");
        assert_eq!(seconds(7_238_000).to_string(), "7.238");
        assert_eq!(seconds(86_400_000_000).to_string(), "86400");
    }

    #[test]
    fn every_add_counts_and_a_stage_starts_over() {
        let progress = Progress::new(Mode::Silent);
        progress.stage("one");
        progress.set_total(1000, 10);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| progress.add(1, 2)));
            }
        });
        let snapshot = progress.snapshot();
        assert_eq!((snapshot.rows, snapshot.bytes, snapshot.total_bytes), (4000, 8000, 1000));
        progress.stage("two");
        assert_eq!((progress.snapshot().rows, progress.snapshot().stage.as_str()), (0, "two"));
        progress.finish();
        progress.finish();
    }

    #[test]
    fn a_hidden_bar_takes_every_call() {
        let progress = Progress::new(Mode::Bar(Screen::hidden()));
        progress.stage("one");
        progress.add(1, 1);
        progress.set_total(10, 0);
        progress.message("table");
        progress.finish();
    }
}
