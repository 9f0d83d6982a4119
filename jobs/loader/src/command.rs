//! A load by a program of the user's own: its options, and what is said of it.
//!
//! Owns which options it shares with loads into a table; all others are refused by name, so that nobody believes in what nobody does. Promises that the
//! program sees the directory that was listed, or that was made for what lies in a bucket, whatever a link in its name says later; and that an error after
//! the program was at work says that its work stays. How it is run is in `loader`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jobkit::{Exit, Failure, Kit, Secret};
use lease::Job;
use loader::{Done, DropInput, Error, Permit, Plan, Program, Step, Steps, Terms, load_by, open_ledger};
use sha2::{Digest, Sha256};

use crate::args::{LoadArgs, Wanted, Way, usage};
use crate::place::Place;
use crate::{AtHand, at_hand, failed, limits};

/// What the options mean together.
///
/// # Errors
/// [`Exit::Usage`] for options that are of no use here; [`Exit::Config`] for a program that cannot be started, or a file that cannot be made.
pub(crate) fn wanted(args: &LoadArgs) -> Result<Wanted, Failure> {
    let (Some(job), Some(drop)) = (&args.job, &args.drop) else {
        return Err(usage("a load needs --job and --drop"));
    };
    if let Some(option) = unfit(args) {
        return Err(usage(format!(
            "{option} is for loads into a table: what a program after -- does is its own business"
        )));
    }
    let Some((name, rest)) = args.program.split_first() else { return Err(usage("there is no program after --")) };
    let mut program = Program::find(name, rest.iter().cloned(), std::env::vars_os()).map_err(failed::of_load)?;
    if let Some(path) = &args.output_file {
        program = program.keep(path.clone()).map_err(failed::of_load)?;
    }
    let options = options(args);
    Ok(Wanted { job: Job::parse(job)?, place: Place::parse(drop)?, way: Way::Program(program), options })
}

/// `--history` starts nothing.
pub(crate) fn refuse_beside_history(args: &LoadArgs) -> Result<(), Failure> {
    match args.program.is_empty() {
        true => Ok(()),
        false => Err(usage("--history loads nothing: leave the program out")),
    }
}

/// The first option that was given and has no meaning for a program.
fn unfit(args: &LoadArgs) -> Option<&'static str> {
    let given = [
        (args.table.is_some(), "--table"),
        (args.mode.is_some(), "--mode"),
        (!args.key.is_empty(), "--key"),
        (args.format.is_some(), "--format"),
        (args.delimiter.is_some(), "--delimiter"),
        (!args.null.is_empty(), "--null"),
        (args.encoding.is_some(), "--encoding"),
        (!args.columns.is_empty(), "--columns"),
        (args.contract.is_some(), "--contract"),
        (args.ignore_extra, "--ignore-extra"),
        (args.max_rejects > 0, "--max-rejects"),
        (args.rejects.is_some(), "--rejects"),
        (args.workers.is_some(), "--workers"),
        (args.dry_run, "--dry-run"),
        (args.allow_empty, "--allow-empty"),
    ];
    given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
}

/// A hash of the program and its arguments. These may hold secrets, so nothing else of them is kept.
fn options(args: &LoadArgs) -> String {
    let mut hash = Sha256::new();
    for word in &args.program {
        let bytes = word.as_encoded_bytes();
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Has the program load the drop.
pub(crate) async fn load(
    args: &LoadArgs,
    kit: &Kit,
    place: &Place,
    program: &Program,
    plan: &Plan,
    permit: &dyn Permit,
) -> Result<(Done, String), Failure> {
    let password = args.target_password.as_ref().map(Secret::expose);
    let ledger = open_ledger(args.target.expose(), password, limits(args)).map_err(failed::of_load)?;
    let real = match place {
        Place::Directory(folder) => {
            let real = resolved(folder)?;
            refuse_inside(&real, args.output_file.as_deref())?;
            Place::Directory(real)
        }
        Place::Bucket(location) => Place::Bucket(location.clone()),
    };
    let AtHand { frozen, folder, fetched: _fetched } = at_hand(args, kit, &real, plan.run, permit).await?;
    let mut input = DropInput::new(frozen, place.to_string(), Terms::default());
    let stages = Stages { kit, program: program.name(), begun: AtomicBool::new(false) };
    let done = load_by(program, &*ledger, (&mut input, folder.as_path()), plan, permit, &stages).await;
    let begun = stages.begun.load(Ordering::Relaxed);
    Ok((done.map_err(|error| of_load(error, program, begun))?, ledger.location()))
}

/// The directory that a name stands for now, as an absolute path.
fn resolved(folder: &Path) -> Result<PathBuf, Failure> {
    let shown = folder.display();
    let exit = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Exit::NoInput,
        std::io::ErrorKind::PermissionDenied => Exit::Refused,
        _ => Exit::Unavailable,
    };
    folder.canonicalize().map_err(|error| {
        let exit = exit(&error);
        Failure::new(exit, format!("could not find the drop's directory {shown}")).because(error)
    })
}

/// A file that comes into the drop while it is loaded would change the drop.
fn refuse_inside(drop: &Path, file: Option<&Path>) -> Result<(), Failure> {
    let folder = file.map(|file| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    });
    // One that is not there is told of when the file is made.
    match folder.and_then(|folder| folder.canonicalize().ok()) {
        Some(folder) if folder.starts_with(drop) => {
            Err(usage("--output-file lies in the drop, and would be a change of it: keep it elsewhere"))
        }
        _ => Ok(()),
    }
}

/// A failure. What a load into a table has taken back, a program that was `begun` may have left, and an error that speaks of a table's load is given
/// other advice.
fn of_load(error: Error, program: &Program, begun: bool) -> Failure {
    if !begun || matches!(error, Error::Program { .. } | Error::Unstartable { .. }) {
        return failed::of_load(error);
    }
    let noted = if error.is_settled() {
        "the drop is not noted as loaded"
    } else {
        "it is not known whether the drop is noted as loaded"
    };
    let name = program.name();
    failed::of_load(error).hint(format!(
        "{noted}; what {name} has done stays unless it took that back itself, and where the drop is not noted, the next run starts it again; look at `longshore load --history` first"
    ))
}

/// Shows how far the load is.
struct Stages<'a> {
    kit: &'a Kit,
    program: &'a str,
    /// Whether the program may be at work, or was.
    begun: AtomicBool,
}

#[async_trait]
impl Steps for Stages<'_> {
    async fn at(&self, step: Step) {
        match step {
            Step::Minted => self.kit.progress.stage("hash the drop"),
            Step::Hashed => {
                self.begun.store(true, Ordering::Relaxed);
                self.kit.progress.stage(format!("run {}", self.program));
            }
            Step::Staged => self.kit.progress.stage("look at the drop again"),
            Step::Merged => self.kit.progress.stage("commit"),
            Step::Committed => {}
        }
    }
}
