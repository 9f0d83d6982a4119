//! `longshore doctor`: will the jobs work, and can this credential do more than it should?
//!
//! Promises to try instead of guessing, on objects of its own under `probe/` in the repository and nowhere else; that one
//! thing which is bad hides no other; that each line which is not good says what to do; and an exit code of the worst. Refuses to
//! repair anything.

mod report;
mod repository;
mod secrets;
mod store;

use ::repository::Job;
use ::store::Dialect;
use clap::{Args, ValueEnum};
use databases::Address;
use jobkit::{Failure, Kit, RepoArgs, Secret};
use report::{Account, Check};
use std::path::PathBuf;

/// Options of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// What the credential is for: a backup's should not be able to delete, maintenance's must
    #[arg(long = "for", value_name = "JOB", value_enum, default_value_t = Purpose::Backup)]
    purpose: Purpose,
    /// A database to back up: what would a backup of it meet?
    #[arg(long, value_name = "URL")]
    source: Option<Secret>,
    /// Password for the source; better given in LONGSHORE_SOURCE_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    source_password: Option<Secret>,
    /// A database to restore into, or a server for drills: what would a restore meet?
    #[arg(long, value_name = "URL")]
    target: Option<Secret>,
    /// Password for the target; better given in LONGSHORE_TARGET_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    target_password: Option<Secret>,
    /// Workers of a job, for which there must be connections
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Folder of the vendor's tools (pg_dump, pg_restore) [default: the usual places]
    #[arg(long, value_name = "FOLDER")]
    tools: Option<PathBuf>,
    /// Print the least policy for a job's credential and stop; nothing is asked of any server
    #[arg(long, value_name = "JOB", value_enum)]
    print_policy: Option<Purpose>,
    /// Whose policy to print [default: aws for buckets of AWS, else minio]
    #[arg(long, value_name = "STORE", value_enum, requires = "print_policy")]
    store: Option<Policies>,
}

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// backup, list, show, check
    Backup,
    /// restore, drill, export, list, show, check
    Restore,
    /// init, prune, pin, verify, list, show, check
    Maintenance,
}

impl Purpose {
    fn job(self) -> Job {
        match self {
            Self::Backup => Job::Backup,
            Self::Restore => Job::Restore,
            Self::Maintenance => Job::Maintenance,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Maintenance => "maintenance",
        }
    }
}

/// Whose policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policies {
    /// AWS
    Aws,
    /// MinIO, and servers with policies like it
    Minio,
}

/// Looks at everything, prints what was found, and fails when something is bad.
pub async fn run(args: DoctorArgs, kit: Kit) -> Result<(), Failure> {
    if let Some(purpose) = args.print_policy {
        return print_policy(&args, purpose, &kit);
    }
    let looking = look(&args, &kit);
    let Some(checks) = kit.shutdown.token().run_until_cancelled(looking).await else {
        return Err(Failure::new(jobkit::Exit::Interrupted, "stopped before everything was looked at"));
    };
    let account = Account::of(args.purpose.as_str(), checks?);
    kit.progress.finish();
    kit.printer.print(&account, report::text)?;
    account.failure().map_or(Ok(()), Err)
}

async fn look(args: &DoctorArgs, kit: &Kit) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    kit.progress.stage("look at the store");
    let store = args.repo.open_store().await?;
    let location = args.repo.location()?;
    let answers = store::look(store.as_ref(), &location, args.purpose, &mut checks).await;
    if answers {
        kit.progress.stage("look at the repository");
        repository::look(&args.repo, args.purpose, &mut checks).await;
    }
    let servers = [("source", &args.source, &args.source_password), ("target", &args.target, &args.target_password)];
    for (part, url, password) in servers {
        let Some(url) = url else { continue };
        kit.progress.stage(format!("look at the {part}"));
        checks.extend(server(part, url, password.as_ref(), args).await);
    }
    checks.push(secrets::look(&kit.vars));
    Ok(checks)
}

async fn server(part: &'static str, url: &Secret, password: Option<&Secret>, args: &DoctorArgs) -> Vec<Check> {
    let address = match Address::parse(url.expose(), password.map(Secret::expose)) {
        Ok(address) => address,
        Err(error) => return vec![Check::bad(part, "URL", error)],
    };
    let tools = args.tools.as_deref();
    let found = match part {
        "source" => address.examine_source(args.workers, tools).await,
        _ => address.examine_target(args.workers, tools).await,
    };
    found.into_iter().map(|finding| Check::of(part, finding)).collect()
}

fn print_policy(args: &DoctorArgs, purpose: Purpose, kit: &Kit) -> Result<(), Failure> {
    let location = args.repo.location()?;
    let dialect = match args.store {
        Some(Policies::Aws) => Dialect::Aws,
        Some(Policies::Minio) => Dialect::Minio,
        None if location.is_aws() => Dialect::Aws,
        None => Dialect::Minio,
    };
    let policy = purpose.job().policy(&location, dialect)?;
    if dialect == Dialect::Minio {
        tracing::warn!(
            "MinIO's policies cannot forbid that an object is replaced: turn the bucket's versioning on, so that what was there \
             can be brought back"
        );
    }
    kit.progress.finish();
    kit.printer.print(&policy, |policy| format!("{policy:#}"))
}
