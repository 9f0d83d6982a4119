//! The backup job: one backup of one source into one repository, or of each database of a server.
//!
//! Owns the road from a database to a manifest: plan, read, store, confirm, commit. Here, and only here, the driver (which
//! knows rows) and the repository (which knows chunks) meet. Promises that the commit comes last, after the driver has
//! said that the dump ended well; any failure or signal before it leaves no backup. Refuses nothing itself.

mod all;
mod args;
mod plan;
mod rate;
mod report;
mod sink;
mod workers;

pub use args::BackupArgs;

use databases::Address;
use engine::{About, Document, Source, SourceOptions};
use jobkit::{Exit, Failure, Kit, Secret};
use rate::Rate;
use repository::{BeginOptions, Commit, Manifest, Repository, Scope, Session, SourceName, Summary};
use sink::Pace;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// Makes one backup, or one of each database, and prints what it made.
pub async fn run(args: BackupArgs, kit: Kit) -> Result<(), Failure> {
    let run = Run::new(&args);
    if args.all_databases && !args.filter().is_empty() {
        let what = "--all-databases backs up whole databases, and a filter was given";
        return Err(Failure::new(Exit::Usage, what).hint("back the database that the filter is for up by itself"));
    }
    let address = Address::parse(args.source.expose(), args.source_password.as_ref().map(Secret::expose))?;
    let name = match args.all_databases {
        true => None,
        false => Some(source_name(args.name.as_deref(), address.database())?),
    };
    if let Some(name) = &name {
        kit.subject.source(name);
    }
    if !args.filter().is_empty() {
        kit.subject.part();
    }
    kit.progress.stage("open the repository");
    let repository = args.repo.open().await?;
    match name {
        None => all::run(&args, &kit, &run, address, &repository).await,
        Some(name) => {
            let summary = one(&args, &kit, &run, address, name, &repository).await?;
            kit.progress.finish();
            let printed = kit.printer.print(&summary, |summary| report::text(summary, repository.location()));
            printed.map_err(|failure| {
                failure.context(format!("{}@{} was made, and is not told", summary.source, summary.id))
            })
        }
    }
}

/// What all backups of one run share.
struct Run {
    rate: Rate,
    deadline: Option<Instant>,
}

impl Run {
    fn new(args: &BackupArgs) -> Self {
        let deadline = args.max_duration.and_then(|most| Instant::now().checked_add(most));
        Self { rate: Rate::new(args.max_rate), deadline }
    }

    /// Ends when the run has taken as long as it may.
    async fn out_of_time(&self) {
        match self.deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// One backup, from its beginning to its manifest.
async fn one(
    args: &BackupArgs,
    kit: &Kit,
    run: &Run,
    address: Address,
    name: SourceName,
    repository: &Repository,
) -> Result<Summary, Failure> {
    let options = BeginOptions {
        source: name,
        compression: args.compression,
        program: concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    // Advice only: what is wrong with it is said elsewhere.
    let earlier = repository.latest(&options.source).await.ok().flatten();
    let session = Session::begin(repository, options).await?;
    let stopped = kit.shutdown.token().clone();
    let outcome = tokio::select! {
        biased;
        () = stopped.cancelled() => Err(("interrupted", interrupted("the backup was interrupted"))),
        () = run.out_of_time() => Err(("interrupted", interrupted("the backup took longer than --max-duration allows")
            .hint("give it more time, or a higher --max-rate"))),
        outcome = Box::pin(copy(args, kit, run, address, &session, earlier)) => outcome.map_err(|failure| ("failed", failure)),
    };
    match outcome {
        Err((why, failure)) => {
            session.abandon(why).await;
            Err(failure)
        }
        Ok(copied) => commit(args, kit, session, copied).await,
    }
}

fn interrupted(what: &str) -> Failure {
    Failure::new(Exit::Interrupted, format!("{what}; nothing was published"))
}

/// What was read and stored, ready to be committed.
struct Copied {
    about: About,
    documents: Vec<Document>,
    stored: Vec<workers::Stored>,
    streams: u64,
    boundaries: BTreeMap<String, u64>,
}

/// Reads everything and stores it; ends with the driver's word that it was everything.
async fn copy(
    args: &BackupArgs,
    kit: &Kit,
    run: &Run,
    address: Address,
    session: &Session,
    earlier: Option<Manifest>,
) -> Result<Copied, Failure> {
    kit.progress.stage("connect, lock tables, take the snapshot");
    let options = SourceOptions {
        workers: usize::from(args.workers),
        lock_timeout_seconds: args.lock_timeout,
        cross_count: args.cross_count,
        boundaries: session.boundaries().clone(),
        tools: args.tools.clone(),
        globals: args.globals_wanted(),
        filter: args.filter(),
        allow_inexact: args.allow_inexact,
    };
    let mut source: Box<dyn Source> = address.open_source(&options).await?;
    let mut plan = source.plan().clone();
    let units = plan::units(&plan.segments);
    let estimated = plan.segments.iter().map(|segment| segment.estimated_bytes).sum();
    tracing::debug!(
        streams = plan.streams.len(),
        segments = plan.segments.len(),
        estimated_bytes = estimated,
        "reading"
    );
    for note in &source.about().notes {
        tracing::warn!("{note}");
    }
    kit.progress.stage("read rows");
    kit.progress.set_total(estimated, 0);
    let pace = Pace { rate: run.rate.clone(), progress: kit.progress.clone() };
    let workers = usize::from(args.workers);
    let mut stored = workers::run(source.as_ref(), session, &plan, units, workers, &pace).await?;
    let rest = source.rest().await?;
    if !rest.is_empty() {
        stored.extend(workers::run(source.as_ref(), session, &plan, plan::units(&rest), workers, &pace).await?);
        plan.segments.extend(rest);
    }
    assert_complete(&plan, &stored)?;
    kit.progress.stage("confirm the dump");
    let mut about = source.about().clone();
    about.notes.extend(earlier.and_then(|earlier| of_another(&earlier, &about)));
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for segment in &stored {
        *rows.entry(segment.stream.to_string()).or_default() += segment.digest.rows;
    }
    let documents = source.confirm(&rows).await?;
    Ok(Copied { about, documents, stored, streams: plan.streams.len() as u64, boundaries: plan.boundaries })
}

/// Two databases under one name pass for one: retention and `check` would judge them as one history.
fn of_another(earlier: &Manifest, now: &About) -> Option<String> {
    let before: About = serde_json::from_value(earlier.about.clone()).ok()?;
    (before.database != now.database).then(|| {
        format!(
            "the backup before this one under the name {} is of another database: {} at {}",
            earlier.header.source, before.database, before.server
        )
    })
}

/// Every planned segment was stored exactly once: a worker that lost one would otherwise make a smaller backup.
fn assert_complete(plan: &engine::Plan, stored: &[workers::Stored]) -> Result<(), Failure> {
    let planned: BTreeSet<_> = plan.segments.iter().map(|segment| (&segment.stream, segment.at)).collect();
    let done: BTreeSet<_> = stored.iter().map(|segment| (&segment.stream, segment.at)).collect();
    if planned == done && stored.len() == plan.segments.len() {
        return Ok(());
    }
    let what = format!("{} of {} planned segments were stored", stored.len(), plan.segments.len());
    Err(Failure::new(Exit::Internal, what))
}

async fn commit(args: &BackupArgs, kit: &Kit, session: Session, copied: Copied) -> Result<Summary, Failure> {
    kit.progress.stage("commit");
    let commit = Commit {
        rows: copied.stored.iter().map(|segment| segment.digest.rows).sum(),
        segments: copied.stored.into_iter().map(workers::Stored::into_record).collect(),
        documents: copied.documents.into_iter().map(|document| (document.name, document.bytes)).collect(),
        about: serde_json::to_value(&copied.about)
            .map_err(|e| Failure::new(Exit::Internal, "describe the source").because(e))?,
        scope: if copied.about.filter.is_empty() { Scope::Full } else { Scope::Filtered },
        inexact: copied.about.inexact.clone(),
        streams: copied.streams,
        boundaries: copied.boundaries,
        tags: args.tag.iter().cloned().collect(),
        pin: args.pin,
    };
    // From here on a signal no longer stops the job: the few puts that are left take less than the grace period, and
    // stopping between them would leave the operator without an answer to whether the backup exists.
    let manifest = session.commit(commit).await?;
    Ok(Summary::from(&manifest))
}

/// The name to keep backups under: the given one, or the database's.
fn source_name(given: Option<&str>, database: &str) -> Result<SourceName, Failure> {
    given.unwrap_or(database).parse().map_err(|error| {
        let failure = Failure::from(error);
        if given.is_some() {
            failure
        } else {
            failure.hint(format!("give the backups of {database:?} a name with --name"))
        }
    })
}
