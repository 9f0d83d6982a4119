//! The loader job: one drop of files into one table, once, all or nothing; or by a program of the user's own (`command`).
//!
//! Owns the order of a run: options, lease, a drop in a bucket fetched, the frozen list, the load, the lease given back. Promises that nothing is asked of the target without a
//! lease; that a run which is refused says who is at work and since when (exit 75); that without the lease's server nothing runs (exit 69); that a lost
//! lease or a signal ends the run before its commit (exit 74); and that rows which were left out of a table, or may have been, are kept. Refuses drops that say
//! of a file that it goes into another table. What keeps data correct when all that fails is in `loader`.

mod args;
mod bucket;
mod command;
mod failed;
mod place;
mod rejects;
mod report;
mod scratch;

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use async_trait::async_trait;
use drops::{Frozen, Source, freeze};
use jobkit::{Exit, Failure, Kit, OrFail, Secret, Shutdown};
use lease::{RunId, Watch};
use loader::{Done, DropInput, Error, Limits, Permit, Plan, Step, Steps, TableName, Terms};

pub use args::{How, LoadArgs, Written};
use args::{IntoTable, Wanted, Way};
use place::Place;
use rejects::{Hold, RejectFile};
use scratch::{Scratch, own};

/// Loads a drop, or shows what was loaded.
///
/// # Errors
/// [`Exit::Busy`] while another run of the job is at work; [`Exit::Data`] for rows that cannot be loaded, [`Exit::NoInput`] for a drop that is not there
/// or not complete; [`Exit::Interrupted`] when the lease was lost. The table is as it was then.
pub async fn run(args: LoadArgs, kit: Kit) -> Result<(), Failure> {
    if args.history {
        command::refuse_beside_history(&args)?;
        return history(&args, &kit).await;
    }
    let wanted = args.wanted()?;
    kit.subject.job(&wanted.job);
    let run = RunId::generate();
    kit.progress.stage("acquire the lease");
    let held = args.lease.acquire(own_directory, wanted.job.clone(), run).await?;
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
    own(&path, user, "say with --lease where leases are kept")?;
    Ok(format!("file://{shown}"))
}

async fn load(args: &LoadArgs, kit: &Kit, wanted: Wanted, run: RunId, watch: Watch) -> Result<(Done, String), Failure> {
    let permit = Going { watch, shutdown: kit.shutdown.clone() };
    let plan = plan(args, wanted.job, run, wanted.options);
    match wanted.way {
        Way::Table(into) => load_into(args, kit, &wanted.place, *into, &plan, &permit).await,
        Way::Program(program) => command::load(args, kit, &wanted.place, &program, &plan, &permit).await,
    }
}

async fn load_into(
    args: &LoadArgs,
    kit: &Kit,
    place: &Place,
    into: IntoTable,
    plan: &Plan,
    permit: &Going,
) -> Result<(Done, String), Failure> {
    let IntoTable { table, mode, format, contract } = into;
    let password = args.target_password.as_ref().map(Secret::expose);
    let (url, limits) = (args.target.expose(), limits(args));
    let target = loader::open(url, password, table.clone(), mode, limits, args.allow_empty).map_err(failed::of_load)?;
    let AtHand { frozen, fetched: _fetched, .. } = at_hand(args, kit, place, plan.run, permit).await?;
    refuse_other_tables(&frozen, &table)?;
    let rejects = args.rejects.as_deref().map(RejectFile::at).transpose()?;
    let sinks = rejects.as_ref().map(RejectFile::sinks);
    let terms = Terms { format, contract, max_rejects: args.max_rejects, sinks };
    let mut input = DropInput::new(frozen, place.to_string(), terms);
    let shown = Shown { kit, rejects: rejects.as_ref().map(RejectFile::held) };
    let done = loader::load(&*target, &mut input, plan, permit, &shown).await;
    if let Some(file) = rejects {
        file.end(needs_rejects(&done));
    }
    Ok((done.map_err(failed::of_load)?, target.location()))
}

fn limits(args: &LoadArgs) -> Limits {
    Limits { lock: args.lock_timeout, ..Limits::default() }
}

/// A drop that can be read.
pub(crate) struct AtHand {
    /// Its list of files.
    pub frozen: Frozen,
    /// The directory that they are in.
    pub folder: PathBuf,
    /// That directory, where it was made for this: it is gone when this is.
    pub fetched: Option<Scratch>,
}

/// A drop's list of files, frozen; one that lies in a bucket is fetched before.
pub(crate) async fn at_hand(
    args: &LoadArgs,
    kit: &Kit,
    place: &Place,
    run: RunId,
    permit: &dyn Permit,
) -> Result<AtHand, Failure> {
    let (folder, fetched) = match place {
        Place::Directory(folder) => (folder.clone(), None),
        Place::Bucket(location) => {
            let scratch = Box::pin(bucket::fetch(args, kit, location, run, permit)).await?;
            (scratch.path().to_owned(), Some(scratch))
        }
    };
    kit.progress.stage("list the drop");
    let frozen = freeze(&Source::Directory(folder.clone()), args.completeness()).await.map_err(failed::of_drop)?;
    for note in frozen.notes() {
        tracing::warn!("{note}");
    }
    Ok(AtHand { frozen, folder, fetched })
}

fn plan(args: &LoadArgs, job: lease::Job, run: RunId, options: String) -> Plan {
    Plan {
        job,
        run,
        workers: args.workers.unwrap_or(4).into(),
        reload: args.reload,
        dry_run: args.dry_run,
        options,
        program: concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned(),
        image: args.image.clone(),
    }
}

/// Whether rows that were left out are, or may be, missing from the table because of it.
fn needs_rejects(done: &Result<Done, Error>) -> bool {
    match done {
        Ok(Done::Loaded { .. } | Done::DryRun { .. }) => true,
        Ok(Done::AlreadyLoaded { .. }) => false,
        Err(error) => !error.is_settled(),
    }
}

/// What a drop says of its files' tables is not passed over: rows of another table might just fit.
fn refuse_other_tables(frozen: &Frozen, table: &TableName) -> Result<(), Failure> {
    // A drop that names no schema leaves that to us; one that names it means it.
    let is_ours = |said: &str| {
        said.parse().is_ok_and(|said: TableName| {
            said.name == table.name && (said.schema.is_none() || said.schema == table.schema)
        })
    };
    let other = |file: &drops::File| file.listed.table.clone().filter(|said| !is_ours(said));
    match frozen.files().iter().find_map(|file| other(file).map(|said| (&file.path, said))) {
        None => Ok(()),
        Some((path, said)) => {
            let said = said.escape_debug();
            let what = format!("drop.yaml says that {path} goes into {said}, and --table says {table}");
            Err(Failure::new(Exit::Config, what)
                .hint("load each table's files as a drop of their own; nothing was loaded"))
        }
    }
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

    async fn lost(&self) -> Error {
        Error::Lease(lease::Error::Lost(self.watch.lost().await))
    }
}

/// Shows how far a load is, and keeps the file of rows that are left out from where it may be needed.
struct Shown<'a> {
    kit: &'a Kit,
    rejects: Option<Hold>,
}

#[async_trait]
impl Steps for Shown<'_> {
    async fn at(&self, step: Step) {
        let stage = match step {
            Step::Hashed => return,
            Step::Minted => "copy rows into staging",
            Step::Staged => "merge",
            Step::Merged => {
                if let Some(rejects) = &self.rejects {
                    rejects.hold();
                }
                "commit"
            }
            Step::Committed => return,
        };
        self.kit.progress.stage(stage);
    }

    fn read(&self, rows: u64, bytes: u64) {
        self.kit.progress.add(rows, bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use drops::Complete;

    use super::*;

    async fn drop_that_says(table: &str) -> Frozen {
        let folder = tempfile::tempdir().unwrap();
        let listed = format!("files: [{{path: a.csv}}, {{path: b.csv, table: '{table}'}}]");
        std::fs::write(folder.path().join("drop.yaml"), listed).unwrap();
        for name in ["a.csv", "b.csv"] {
            std::fs::write(folder.path().join(name), "id\n1\n").unwrap();
        }
        freeze(&Source::Directory(folder.path().to_owned()), Complete::Marked).await.unwrap()
    }

    #[tokio::test]
    async fn files_go_where_the_drop_says_or_nowhere() {
        for (said, table, fits) in [
            ("patients", "patients", true),
            ("patients", "lab.patients", true),
            ("lab.patients", "lab.patients", true),
            ("contacts", "patients", false),
            ("lab.patients", "patients", false),
            ("old.patients", "lab.patients", false),
            ("Patients", "patients", false),
            ("", "patients", false),
        ] {
            let refused = refuse_other_tables(&drop_that_says(said).await, &table.parse().unwrap());
            assert_eq!(refused.is_ok(), fits, "{said} {table}");
            let Err(failure) = refused else { continue };
            assert_eq!(failure.exit(), Exit::Config);
            assert!(failure.what().contains("b.csv") && failure.what().contains(table), "{failure}");
        }
    }

    #[test]
    fn rows_that_were_left_out_are_kept_unless_the_load_is_known_not_to_have_happened() {
        assert!(!needs_rejects(&Err(Error::Stopped)));
        let opened =
            loader::open("mongodb://u@h/d", None, "t".parse().unwrap(), loader::Mode::Append, Limits::default(), false);
        let Err(Error::Target(source)) = opened else { panic!("it is no target yet") };
        let (run, location) = (RunId::generate(), "here".to_owned());
        assert!(needs_rejects(&Err(Error::Unsettled { run, location, source: Box::new(source) })));
    }
}
