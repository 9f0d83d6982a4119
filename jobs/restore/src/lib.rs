//! The restore job: one backup into one target, proven.
//!
//! Owns the road back: find, check, prepare, load and build, complete, prove, publish; and the drill, which goes the same road and
//! discards what it made instead. Promises that the target's name shows nothing
//! before everything is loaded and compared, and that a failure or a signal at any point removes what was made. Every
//! chunk is checked against its hash before a row of it reaches the database.

mod alone;
mod args;
mod backup;
mod drill;
mod drill_report;
mod load;
mod proof;
mod report;
mod road;
mod schedule;
mod scripts;

pub use args::{DrillArgs, Mode, Proof, RestoreArgs};
pub use backup::Backup;
pub use drill::drill;
pub use load::digest_of;

use alone::Alone;
use databases::Address;
use engine::{Target, TargetOptions};
use jobkit::{Failure, Kit, Secret};
use road::{Proven, Road};
use std::time::Instant;

/// Restores one backup and prints what was proven.
pub async fn run(args: RestoreArgs, kit: Kit) -> Result<(), Failure> {
    let alone = Alone::acquire(&args.lease, args.job.as_deref()).await?;
    let outcome = restore_one(args, kit, &alone).await;
    alone.release().await;
    outcome
}

async fn restore_one(args: RestoreArgs, kit: Kit, alone: &Alone) -> Result<(), Failure> {
    let begun = Instant::now();
    let address = Address::parse(args.target.expose(), args.target_password.as_ref().map(Secret::expose))?;
    let selector = args.from.parse::<repository::Selector>().map_err(Failure::from)?;
    kit.subject.source(&selector.source);
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
        rename: args.rename.clone(),
        before_publish,
        drop_old: args.drop_old,
        atomic: args.atomic,
        target_is_a_clone: args.target_is_a_clone,
        source_server: backup.source_server(),
        workers: usize::from(args.workers),
        no_owner: args.no_owner,
        definers: args.definers()?,
        role: args.role.clone(),
        create_missing_roles: args.create_missing_roles,
        run: road::new_run(),
        tools: args.tools.clone(),
    };
    let mut target = address.open_target(&backup.documents, options).await?;
    if let Some(streams) = target.streams() {
        backup.keep(&streams);
    }
    let road = Road { kit: &kit, repository: &repository, backup: &backup, proof: args.prove, loaders: args.loaders() };
    let outcome = alone.unless_lost(restore(&args, &road, target.as_mut())).await;
    // From here on a signal stops the job only between attempts: the rename may have been done when its answer is awaited,
    // and stopping then would leave the operator without knowing which database has the name.
    let published = match outcome {
        Ok(proven) => publish(&args, &kit, alone, &backup, target.as_mut(), proven).await,
        Err(failure) => Err(failure),
    };
    match published {
        Ok(mut report) => {
            kit.progress.finish();
            report.seconds = begun.elapsed().as_secs_f64();
            kit.printer.print(&report, report::text)
        }
        Err(failure) => Err(road::discard_after(target.as_mut(), failure, "restore into the same target").await),
    }
}

/// The road, and what comes before the name.
async fn restore(args: &RestoreArgs, road: &Road<'_>, target: &mut dyn Target) -> Result<Proven, Failure> {
    let whole_way = async {
        let mut proven = road.go(target).await?;
        if !args.before_swap.is_empty() {
            road.kit.progress.stage("run what comes before the swap");
            proven.notes.extend(target.before_publish().await?);
        }
        Ok(proven)
    };
    road::until_stopped(road.kit, "the restore was interrupted; the target is as it was", whole_way).await
}

async fn publish(
    args: &RestoreArgs,
    kit: &Kit,
    alone: &Alone,
    backup: &Backup,
    target: &mut dyn Target,
    mut proven: Proven,
) -> Result<report::Report, Failure> {
    kit.progress.stage("publish");
    alone.check()?;
    let stopped = kit.shutdown.token();
    let mut conclusion = target.publish(&|| stopped.is_cancelled() || alone.check().is_err()).await?;
    for note in &conclusion.notes {
        tracing::warn!("{note}");
    }
    proven.notes.append(&mut conclusion.notes);
    Ok(report::Report::new(&backup.manifest, conclusion, args.prove, &proven.verdicts, proven.notes))
}
