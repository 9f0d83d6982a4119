//! The restore job: one backup into one target, proven.
//!
//! Owns the road back: find, check, prepare, load and build, complete, prove, publish. Promises that the target's name shows nothing
//! before everything is loaded and compared, and that a failure or a signal at any point removes what was made. Every
//! chunk is checked against its hash before a row of it reaches the database.

mod args;
mod backup;
mod load;
mod proof;
mod report;
mod schedule;
mod scripts;

pub use args::{Mode, Proof, RestoreArgs};
pub use backup::Backup;
pub use load::digest_of;

use databases::Address;
use engine::{Target, TargetOptions};
use jobkit::{Exit, Failure, Kit, Secret};
use repository::Repository;
use std::time::{Duration, Instant};
use ulid::Ulid;

/// How long removing a half-made database may take, inside the grace period of a stop.
const DISCARD: Duration = Duration::from_secs(20);

/// Restores one backup and prints what was proven.
pub async fn run(args: RestoreArgs, kit: Kit) -> Result<(), Failure> {
    let begun = Instant::now();
    let address = Address::parse(args.target.expose(), args.target_password.as_ref().map(Secret::expose))?;
    let selector = args.from.parse::<repository::Selector>().map_err(Failure::from)?;
    let part = args.part()?;
    let before_publish = scripts::read(&args.before_swap)?;
    kit.progress.stage("open the repository");
    let repository = args.repo.open().await?;
    let manifest = repository.find(&selector).await?;
    let mut backup = Backup::read(&repository, manifest).await?;
    kit.progress.stage("check the target");
    let options = TargetOptions {
        mode: args.mode.map(|mode| match mode {
            Mode::Fresh => engine::Mode::Fresh,
            Mode::Swap => engine::Mode::Swap,
        }),
        part,
        before_publish,
        drop_old: args.drop_old,
        target_is_a_clone: args.target_is_a_clone,
        source_server: backup.manifest.about.get("server").and_then(|server| server.as_str()).map(str::to_owned),
        workers: usize::from(args.workers),
        no_owner: args.no_owner,
        role: args.role.clone(),
        create_missing_roles: args.create_missing_roles,
        run: Ulid::generate().to_string().to_ascii_lowercase().chars().skip(16).collect(),
        tools: args.tools.clone(),
    };
    let mut target = address.open_target(&backup.documents, options).await?;
    if let Some(streams) = target.streams() {
        backup.keep(&streams);
    }
    let stopped = kit.shutdown.token().clone();
    let outcome = tokio::select! {
        biased;
        () = stopped.cancelled() => Err(Failure::new(Exit::Interrupted, "the restore was interrupted; the target is as it was")),
        outcome = Box::pin(restore(&args, &kit, &repository, &backup, target.as_mut())) => outcome,
    };
    // From here on a signal stops the job only between attempts: the rename may have been done when its answer is awaited,
    // and stopping then would leave the operator without knowing which database has the name.
    let published = match outcome {
        Ok(proven) => publish(&args, &kit, &backup, target.as_mut(), proven).await,
        Err(failure) => Err(failure),
    };
    match published {
        Ok(mut report) => {
            kit.progress.finish();
            report.seconds = begun.elapsed().as_secs_f64();
            kit.printer.print(&report, report::text)
        }
        Err(failure) => Err(discard(target.as_mut(), failure).await),
    }
}

async fn restore(
    args: &RestoreArgs,
    kit: &Kit,
    repository: &Repository,
    backup: &Backup,
    target: &mut dyn Target,
) -> Result<Proven, Failure> {
    kit.progress.stage("make the schema");
    let mut notes = target.prepare().await?;
    if backup.manifest.header.scope != "full" {
        notes.insert(0, format!("{} is of a part of its source only; `longshore show` says which", backup.name));
    }
    for note in &notes {
        tracing::info!("{note}");
    }
    kit.progress.stage("load rows, build indexes");
    kit.progress.set_total(backup.manifest.header.totals.bytes, backup.manifest.header.totals.rows);
    let units = load::units(&backup.lists, args.loaders());
    load::run(target, repository, &backup.name, units, args.loaders(), &kit.progress).await?;
    kit.progress.stage("add constraints, gather statistics");
    target.complete().await?;
    kit.progress.stage(match args.prove {
        Proof::Counts => "count rows",
        Proof::Content => "read everything back and compare",
    });
    let verdicts = proof::prove(target, &backup.lists, args.prove, args.loaders(), &kit.progress).await?;
    if !args.before_swap.is_empty() {
        kit.progress.stage("run what comes before the swap");
        notes.extend(target.before_publish().await?);
    }
    Ok(Proven { verdicts, notes })
}

/// A restored database that was compared and has not got its name yet.
struct Proven {
    verdicts: Vec<proof::Verdict>,
    notes: Vec<String>,
}

async fn publish(
    args: &RestoreArgs,
    kit: &Kit,
    backup: &Backup,
    target: &mut dyn Target,
    mut proven: Proven,
) -> Result<report::Report, Failure> {
    kit.progress.stage("publish");
    let stopped = kit.shutdown.token();
    let mut conclusion = target.publish(&|| stopped.is_cancelled()).await?;
    for note in &conclusion.notes {
        tracing::warn!("{note}");
    }
    proven.notes.append(&mut conclusion.notes);
    Ok(report::Report::new(&backup.manifest, conclusion, args.prove, &proven.verdicts, proven.notes))
}

/// Removes what was made. What could not be removed is said, with its name, beside what went wrong first.
async fn discard(target: &mut dyn Target, failure: Failure) -> Failure {
    match tokio::time::timeout(DISCARD, target.discard()).await {
        Ok(Ok(())) => failure,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the half-made database could not be removed; the next restore into the same target will");
            failure
        }
        Err(_) => {
            tracing::warn!(
                "the half-made database could not be removed in time; the next restore into the same target will"
            );
            failure
        }
    }
}
