//! The loader job: one drop of files into one table, once, all or nothing.
//!
//! Owns the order of a run: options, lease, the frozen list, the load, the lease given back. Promises that nothing is asked of the target without a
//! lease; that a run which is refused says who is at work and since when (exit 75); that without the lease's server nothing runs (exit 69); and that a lost
//! lease or a signal ends the run before its merge (exit 74). What keeps data correct when all that fails is in `loader`.

mod args;
mod failed;
mod rejects;
mod report;

use std::os::unix::fs::{DirBuilderExt, MetadataExt};

use async_trait::async_trait;
use drops::{Complete, Source, freeze};
use jobkit::{Exit, Failure, Kit, OrFail, Secret, Shutdown};
use lease::{Access, Claim, Held, Lease, RunId, Watch};
use loader::{Done, DropInput, Error, Limits, Permit, Plan, Sinks, Step, Steps, Terms};

use args::Wanted;
pub use args::{How, LoadArgs, Written};
use rejects::RejectFile;

/// Loads a drop, or shows what was loaded.
///
/// # Errors
/// [`Exit::Busy`] while another run of the job is at work; [`Exit::Data`] for rows that cannot be loaded, [`Exit::NoInput`] for a drop that is not there
/// or not complete; [`Exit::Interrupted`] when the lease was lost. The table is as it was then.
pub async fn run(args: LoadArgs, kit: Kit) -> Result<(), Failure> {
    if args.history {
        return history(&args, &kit).await;
    }
    let wanted = args.wanted()?;
    let run = RunId::generate();
    kit.progress.stage("acquire the lease");
    let held = acquire(&args, &wanted, run).await?;
    tracing::info!(job = %wanted.job, %run, epoch = %held.epoch(), "acquired the lease");
    let done = Box::pin(load(&args, &kit, wanted, run, held.watch())).await;
    if let Err(error) = held.release().await {
        // What is loaded is loaded: others wait a little longer.
        tracing::warn!(%error, "could not give the lease back");
    }
    let (done, location) = done?;
    kit.progress.finish();
    kit.printer.print(&done, |done| report::done(done, &location))
}

async fn history(args: &LoadArgs, kit: &Kit) -> Result<(), Failure> {
    let job = args.job.as_deref().map(lease::Job::parse).transpose()?;
    let password = args.target_password.as_ref().map(Secret::expose);
    let records = loader::history(args.target.expose(), password, job.as_ref(), args.most).await;
    kit.printer.print(&records.map_err(failed::of_load)?, |records| report::history(records))
}

async fn acquire(args: &LoadArgs, wanted: &Wanted, run: RunId) -> Result<Held, Failure> {
    let terms = lease::Terms::new(args.lease_ttl)?;
    let access = Access { password: args.lease_password.as_ref().map(Secret::expose), s3: None };
    let lease: Lease = match &args.lease {
        Some(url) => lease::open(url.expose(), access, terms).await?,
        None => lease::open(&own_directory()?, access, terms).await?,
    };
    for note in lease.examine().await? {
        tracing::warn!(lease = lease.location(), "{note}");
    }
    let claim = Claim::new(wanted.job.clone(), run);
    let claim = args.holder.as_deref().map_or(claim.clone(), |name| claim.clone().named(name));
    Ok(lease.acquire(&claim).await?)
}

/// Where leases are without any other word: a directory of this user's on this machine.
fn own_directory() -> Result<String, Failure> {
    let user = rustix::process::getuid().as_raw();
    let path = std::env::temp_dir().join(format!("longshore-leases-{user}"));
    let shown = path.display();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .or_fail(Exit::Config, format!("make {shown} for leases"))?;
    let meta = std::fs::symlink_metadata(&path).or_fail(Exit::Config, format!("look at {shown}"))?;
    if !meta.is_dir() || meta.uid() != user {
        let what = format!("{shown}, where leases would be, is not this user's own directory");
        return Err(Failure::new(Exit::Refused, what).hint("say with --lease where leases are kept"));
    }
    Ok(format!("file://{shown}"))
}

async fn load(args: &LoadArgs, kit: &Kit, wanted: Wanted, run: RunId, watch: Watch) -> Result<(Done, String), Failure> {
    let limits = Limits { lock: args.lock_timeout, ..Limits::default() };
    let Wanted { job, drop: folder, table, mode, format, contract, options } = wanted;
    let password = args.target_password.as_ref().map(Secret::expose);
    let target =
        loader::open(args.target.expose(), password, table, mode, limits, args.allow_empty).map_err(failed::of_load)?;
    kit.progress.stage("list the drop");
    let how = if args.complete { Complete::Asked } else { Complete::Marked };
    let frozen = freeze(&Source::Directory(folder.clone()), how).await.map_err(failed::of_drop)?;
    for note in frozen.notes() {
        tracing::warn!("{note}");
    }
    let rejects = args.rejects.as_deref().map(RejectFile::create).transpose()?;
    let sinks = rejects.as_ref().map(|file| Box::new(file.sink()) as Sinks);
    let terms = Terms { format, contract, max_rejects: args.max_rejects, sinks };
    let mut input = DropInput::new(frozen, folder.display().to_string(), terms);
    let plan = Plan {
        job,
        run,
        workers: args.workers.into(),
        reload: args.reload,
        dry_run: args.dry_run,
        options,
        program: concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned(),
        image: args.image.clone(),
    };
    let permit = Going { watch, shutdown: kit.shutdown.clone() };
    let done = loader::load(&*target, &mut input, &plan, &permit, &Shown(kit)).await.map_err(failed::of_load)?;
    if let (Some(file), Done::Loaded { .. } | Done::DryRun { .. }) = (rejects, &done) {
        file.keep();
    }
    Ok((done, target.location()))
}

/// Goes on as long as the lease is held and nobody says stop.
struct Going {
    watch: Watch,
    shutdown: Shutdown,
}

#[async_trait]
impl Permit for Going {
    fn check(&self) -> Result<(), Error> {
        if self.shutdown.token().is_cancelled() {
            return Err(Error::Stopped);
        }
        Ok(self.watch.assert_held()?)
    }

    async fn ended(&self) -> Error {
        tokio::select! {
            lost = self.watch.lost() => Error::Lease(lease::Error::Lost(lost)),
            () = self.shutdown.token().cancelled() => Error::Stopped,
        }
    }
}

/// Shows how far a load is.
struct Shown<'a>(&'a Kit);

#[async_trait]
impl Steps for Shown<'_> {
    async fn at(&self, step: Step) {
        let stage = match step {
            Step::Minted => "copy rows into staging",
            Step::Staged => "merge",
            Step::Merged => "commit",
            Step::Committed => return,
        };
        self.0.progress.stage(stage);
    }

    fn read(&self, rows: u64, bytes: u64) {
        self.0.progress.add(rows, bytes);
    }
}
