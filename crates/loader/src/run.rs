//! The order of a load.
//!
//! Owns the steps and nothing of what they do. Promises that the lease is looked at last before the commit; that losing it, or a signal, ends
//! everything before the commit at once, by closing the connections; that the commit itself is waited for; and that a run which failed is noted in
//! the ledger, and leaves nothing in staging, where that can be. Tests stop it between any two steps.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::feed::{Fed, feed};
use crate::input::{Input, InputFile};
use crate::record::{Counts, FileRecord, Record, Status};
use crate::target::{Fence, Ledger, Look, Merge, Ready, Staging, Target};
use crate::{Error, Plan};

/// How long a run that failed asks the target for each of three things: who was newer, a line in the ledger, an empty staging. A signal's grace is 25 s.
const CLEARING: Duration = Duration::from_secs(7);

/// Whether the run may go on.
#[async_trait]
pub trait Permit: Send + Sync {
    /// Fails from the moment on when it may not.
    ///
    /// # Errors
    /// [`Error::Lease`], [`Error::Stopped`].
    fn check(&self) -> Result<(), Error>;

    /// Returns when it may not.
    async fn ended(&self) -> Error;

    /// Returns when the lease is lost, also after `ended` has returned for another reason; never where there is none to lose.
    async fn lost(&self) -> Error {
        std::future::pending().await
    }
}

/// The places between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The fence is minted.
    Minted,
    /// The drop's content is known, and a program starts next. Loads into a table know it later.
    Hashed,
    /// The rows are in staging, or the program has ended well.
    Staged,
    /// The transaction has done everything but commit, and the lease was looked at.
    Merged,
    /// It is committed.
    Committed,
}

/// What happens between steps: nothing, unless a test says so.
#[async_trait]
pub trait Steps: Send + Sync {
    /// Called at each place.
    async fn at(&self, step: Step);

    /// Called with rows and bytes of text that were read.
    fn read(&self, _rows: u64, _bytes: u64) {}
}

/// No stop anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Straight;

#[async_trait]
impl Steps for Straight {
    async fn at(&self, _step: Step) {}
}

/// How a load ended well.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Done {
    /// The rows are in the table.
    Loaded {
        /// As the ledger has it.
        record: Box<Record>,
    },
    /// They were before; nothing was done.
    AlreadyLoaded {
        /// The run that loaded them.
        by: Box<Record>,
        /// Whether that was with other options.
        other_options: bool,
    },
    /// They would have been: everything was done, and taken back.
    DryRun {
        /// What the ledger would have.
        record: Box<Record>,
    },
}

/// Loads a drop.
///
/// # Errors
/// Every variant of [`Error`]; after each but `Unsettled` the table is as it was.
pub async fn load(
    target: &dyn Target,
    input: &mut dyn Input,
    plan: &Plan,
    permit: &dyn Permit,
    steps: &dyn Steps,
) -> Result<Done, Error> {
    let ledger = target.ledger();
    let mut record = blank(target.table(), target.mode(), &*input, plan);
    let mut minted = None;
    let prepared = tokio::select! {
        biased;
        error = permit.ended() => Err(error),
        prepared = prepare(target, input, plan, steps, &mut record, &mut minted) => prepared,
    };
    let result = match prepared {
        Ok(Prepared::Already(by)) => {
            let other_options = by.options != plan.options;
            return Ok(Done::AlreadyLoaded { by, other_options });
        }
        Ok(Prepared::Ready(ready, staging)) => {
            let finished = finish(ledger, plan, permit, steps, ready, &record).await;
            if finished.is_ok() {
                discard(staging).await;
            }
            finished
        }
        Err(error) => Err(explained(ledger, minted.as_ref(), error).await),
    };
    if let (Err(error), Some(fence)) = (&result, &minted)
        && error.is_settled()
    {
        if !plan.dry_run {
            note(ledger, record, error).await;
        }
        clear(target, fence).await;
    }
    result
}

/// Notes a failure in the ledger, where that can be.
pub(crate) async fn note(ledger: &dyn Ledger, mut record: Record, error: &Error) {
    record.status = Status::Failed;
    record.error = Some(error.to_string());
    match tokio::time::timeout(CLEARING, ledger.note(&record)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not note in the ledger that this run has failed"),
        Err(_) => tracing::warn!("could not note in the ledger that this run has failed: the server did not answer"),
    }
}

/// Leaves no copy of the drop behind, where that can be. The connections of what failed are closed by now, and the server may still learn of it.
async fn clear(target: &dyn Target, fence: &Fence) {
    match tokio::time::timeout(CLEARING, target.clear(fence)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the staging table stays for the next run to drop"),
        Err(_) => tracing::debug!("the staging table stays for the next run to drop: the server did not answer"),
    }
}

enum Prepared {
    Already(Box<Record>),
    Ready(Box<dyn Ready>, Box<dyn Staging>),
}

/// Everything that can be given up at any moment.
async fn prepare(
    target: &dyn Target,
    input: &mut dyn Input,
    plan: &Plan,
    steps: &dyn Steps,
    record: &mut Record,
    minted: &mut Option<Fence>,
) -> Result<Prepared, Error> {
    let ledger = target.ledger();
    let fence = ledger.mint(&plan.job, plan.run).await?;
    record.epoch = fence.epoch;
    *minted = Some(fence.clone());
    steps.at(Step::Minted).await;
    if let Some(by) = known(ledger, input, plan, &record.listing).await? {
        return Ok(Prepared::Already(Box::new(by)));
    }
    let Fed { staging, rows, rejected, files } =
        feed(target, &fence, input, plan, &|rows, bytes| steps.read(rows, bytes)).await?;
    record.counts.read = rows;
    record.counts.rejected = rejected;
    record.files = files;
    record.drop = Some(input.identity().await?);
    steps.at(Step::Staged).await;
    match staging.merge(record, plan.reload).await? {
        Merge::Open(ready) => {
            record.counts = ready.counts();
            Ok(Prepared::Ready(ready, staging))
        }
        Merge::Already => {
            discard(staging).await;
            let drop = record.drop.clone().unwrap_or_default();
            let by = ledger.loaded(&plan.job, Look::Drop(&drop)).await?;
            by.map(|by| Prepared::Already(Box::new(by))).ok_or_else(|| {
                let what = "the ledger knew the drop as loaded, and then did not any more";
                engine::Error::new(engine::Kind::Unavailable, what).hint("start again").into()
            })
        }
    }
}

/// Whether the drop is loaded, found out before it is staged. A drop whose names and sizes nobody has loaded is not read for that.
pub(crate) async fn known(
    ledger: &dyn Ledger,
    input: &mut dyn Input,
    plan: &Plan,
    listing: &str,
) -> Result<Option<Record>, Error> {
    if plan.reload || ledger.loaded(&plan.job, Look::Listing(listing)).await?.is_none() {
        return Ok(None);
    }
    let drop = input.identity().await?;
    ledger.loaded(&plan.job, Look::Drop(&drop)).await
}

/// The end, from the last look at the lease on: it is not given up half way.
pub(crate) async fn finish(
    ledger: &dyn Ledger,
    plan: &Plan,
    permit: &dyn Permit,
    steps: &dyn Steps,
    ready: Box<dyn Ready>,
    record: &Record,
) -> Result<Done, Error> {
    if let Err(error) = permit.check() {
        drop(ready);
        return Err(error);
    }
    steps.at(Step::Merged).await;
    if plan.dry_run {
        ready.roll_back().await?;
        return Ok(Done::DryRun { record: Box::new(record.clone()) });
    }
    ready.commit().await?;
    steps.at(Step::Committed).await;
    // What the ledger has to add: the target's own times. Without an answer the run is as loaded as with one.
    let noted = ledger.loaded(&plan.job, Look::Run(record.run)).await;
    let record = noted.ok().flatten().unwrap_or_else(|| record.clone());
    Ok(Done::Loaded { record: Box::new(record) })
}

/// An error behind which another run may be: then that one is the reason.
pub(crate) async fn explained(ledger: &dyn Ledger, fence: Option<&Fence>, error: Error) -> Error {
    let Some(fence) = fence else { return error };
    match error {
        Error::Target(_) => match tokio::time::timeout(CLEARING, ledger.check(fence)).await {
            Ok(Err(newer @ Error::Superseded(_))) => newer,
            _ => error,
        },
        other => other,
    }
}

async fn discard(staging: Box<dyn Staging>) {
    if let Err(error) = staging.discard().await {
        tracing::debug!(%error, "the staging table stays for the next run to drop");
    }
}

pub(crate) fn blank(table: String, mode: String, input: &dyn Input, plan: &Plan) -> Record {
    let files = input.files();
    Record {
        run: plan.run,
        job: plan.job.clone(),
        drop: None,
        listing: listing(&files),
        epoch: lease::Epoch(0),
        status: Status::Loaded,
        table,
        mode,
        source: input.location(),
        files: files
            .into_iter()
            .map(|file| FileRecord { path: file.path, bytes: file.bytes, sha256: None, rows: 0 })
            .collect(),
        counts: Counts::default(),
        options: plan.options.clone(),
        program: plan.program.clone(),
        image: plan.image.clone(),
        started: None,
        finished: None,
        error: None,
    }
}

/// A hash of names and sizes, in the order of the names.
fn listing(files: &[InputFile]) -> String {
    let mut sorted: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    sorted.sort_unstable();
    let mut hash = Sha256::new();
    for (path, bytes) in sorted {
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path.as_bytes());
        hash.update(bytes.to_be_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
