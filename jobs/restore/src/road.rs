//! The road from a backup to a proven database: what every restore goes, and every drill.
//!
//! Owns the order: make the schema, load rows while indexes are built, complete, prove. Promises that at its end every row was
//! compared as far as was asked, and that nothing of it shows under a name of its own. Refuses to publish or to discard: whoever
//! sets out decides what becomes of the database.

use crate::args::Proof;
use crate::backup::Backup;
use crate::{load, proof};
use engine::Target;
use jobkit::{Exit, Failure, Kit};
use repository::Repository;
use serde::Serialize;
use std::time::{Duration, Instant};
use ulid::Ulid;

/// How long removing a half-made database may take, inside the grace period of a stop.
const DISCARD: Duration = Duration::from_secs(20);

/// What is taken along.
pub(crate) struct Road<'a> {
    pub kit: &'a Kit,
    pub repository: &'a Repository,
    pub backup: &'a Backup,
    pub proof: Proof,
    /// Connections that load.
    pub loaders: usize,
}

/// A restored database that was compared and has not got its name yet.
pub(crate) struct Proven {
    pub verdicts: Vec<proof::Verdict>,
    pub notes: Vec<String>,
    pub seconds: Seconds,
}

/// How long each part of the road took.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Seconds {
    pub schema: f64,
    pub load: f64,
    pub complete: f64,
    pub prove: f64,
}

/// Measures one part after the other.
pub(crate) struct Watch(Instant);

impl Watch {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the last lap, to the millisecond.
    pub fn lap(&mut self) -> f64 {
        let passed = self.0.elapsed();
        self.0 += passed;
        (passed.as_secs_f64() * 1000.0).round() / 1000.0
    }
}

impl Road<'_> {
    /// Goes all of it.
    pub async fn go(&self, target: &mut dyn Target) -> Result<Proven, Failure> {
        let Self { kit, repository, backup, .. } = *self;
        let (mut seconds, mut watch) = (Seconds::default(), Watch::start());
        kit.progress.stage("make the schema");
        let mut notes = target.prepare().await?;
        if backup.manifest.header.scope != "full" {
            notes.insert(0, format!("{} is of a part of its source only; `longshore show` says which", backup.name));
        }
        if let Some(inexact) = backup.manifest.about.get("inexact").and_then(|label| label.as_str()) {
            notes.insert(0, format!("{} is not of one moment ({inexact}); `longshore show` says why", backup.name));
        }
        for note in &notes {
            tracing::info!("{note}");
        }
        seconds.schema = watch.lap();
        kit.progress.stage("load rows, build indexes");
        kit.progress.set_total(backup.manifest.header.totals.bytes, backup.manifest.header.totals.rows);
        let units = load::units(&backup.lists, self.loaders);
        let superseded = load::run(target, repository, &backup.name, units, self.loaders, &kit.progress).await?;
        seconds.load = watch.lap();
        kit.progress.stage("add constraints, gather statistics");
        target.complete().await?;
        seconds.complete = watch.lap();
        kit.progress.stage(match self.proof {
            Proof::Counts => "count rows",
            Proof::Content => "read everything back and compare",
        });
        let verdicts =
            proof::prove(target, (&backup.lists, &superseded), self.proof, self.loaders, &kit.progress).await?;
        seconds.prove = watch.lap();
        Ok(Proven { verdicts, notes, seconds })
    }
}

/// Does the work to its end, or until a signal: what was made is the caller's to remove then.
pub(crate) async fn until_stopped<T>(
    kit: &Kit,
    interrupted: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let stopped = kit.shutdown.token().clone();
    tokio::select! {
        biased;
        () = stopped.cancelled() => Err(Failure::new(Exit::Interrupted, interrupted)),
        outcome = Box::pin(work) => outcome,
    }
}

/// Identifies a run in the names of what it makes.
pub(crate) fn new_run() -> String {
    Ulid::generate().to_string().to_ascii_lowercase().chars().skip(16).collect()
}

/// Removes what was made.
pub(crate) async fn discard(target: &mut dyn Target) -> Result<(), Failure> {
    match tokio::time::timeout(DISCARD, target.discard()).await {
        Ok(discarded) => Ok(discarded?),
        Err(_) => Err(Failure::new(Exit::Unavailable, "the database could not be dropped in time")),
    }
}

/// Removes what was made after something went wrong. What could not be removed is said beside it.
pub(crate) async fn discard_after(target: &mut dyn Target, failure: Failure, next: &str) -> Failure {
    if let Err(error) = discard(target).await {
        tracing::warn!(%error, "the half-made database could not be removed; the next {next} will");
    }
    failure
}
