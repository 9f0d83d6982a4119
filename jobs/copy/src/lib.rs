//! The copy job: backups from one repository into another, oldest first.
//!
//! Owns choosing what is copied and saying what became of it. Promises that a backup which is damaged here is named, left out, and does not keep the
//! others from being copied; that the exit code says so; and that what is sealed here does not become legible there unless that was asked for.
//! Two runs at once do no harm: of one backup one copy is made.

use clap::Args;
use jobkit::format::{bytes, count, counted};
use jobkit::{Exit, Failure, Kit, RepoArgs, ToArgs, limits};
use repository::{BackupId, Copied, CopyOptions, Error, Manifest, Repository, Selector, SourceName};
use serde::Serialize;
use std::time::Duration;

/// Options of `copy`.
#[derive(Debug, Clone, Args)]
pub struct CopyArgs {
    /// Where the backups are
    #[command(flatten)]
    pub repo: RepoArgs,
    /// Where they go
    #[command(flatten)]
    pub to: ToArgs,
    /// These backups: NAME for the newest, NAME@ID or the beginning of an ID; without any, all that are not there yet
    #[arg(value_name = "NAME[@ID]")]
    pub backups: Vec<String>,
    /// Only backups of this source
    #[arg(long, value_name = "NAME", conflicts_with = "backups")]
    pub name: Option<String>,
    /// Only so many of the newest backups of each source
    #[arg(long, value_name = "N", conflicts_with = "backups", value_parser = clap::value_parser!(u32).range(1..))]
    pub last: Option<u32>,
    /// Only backups that began less than so long ago: what retention has removed there is not copied again
    #[arg(long, value_name = "TIME", conflicts_with = "backups", value_parser = limits::duration)]
    pub since: Option<Duration>,
    /// Copy from an encrypted repository into one that is not encrypted
    #[arg(long, help_heading = "Encryption")]
    pub decrypt: bool,
    /// zstd level, 1 to 19
    #[arg(long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression: i32,
}

/// One backup that was copied.
#[derive(Debug, Serialize)]
struct Done {
    source: SourceName,
    id: BackupId,
    rows: u64,
    bytes: u64,
    chunks: u64,
    /// Chunks that were there already.
    reused_chunks: u64,
    /// Bytes that the copy added there.
    added_bytes: u64,
}

/// One backup that cannot be copied.
#[derive(Debug, Serialize)]
struct LeftOut {
    source: SourceName,
    id: BackupId,
    why: String,
}

/// The result, in the shape that `--output json` prints.
#[derive(Debug, Default, Serialize)]
struct Account {
    copied: Vec<Done>,
    /// Damaged or unbelievable here; not copied.
    left_out: Vec<LeftOut>,
    /// Copied by somebody else at the same time.
    there_meanwhile: u64,
}

/// Copies, and says what was copied.
///
/// # Errors
/// [`Exit::Data`] when a backup could not be copied because it is damaged; [`Exit::Refused`] when it would become legible.
pub async fn run(args: CopyArgs, kit: Kit) -> Result<(), Failure> {
    kit.progress.stage("open the repositories");
    let (from, to) = (args.repo.open().await?, args.to.open().await?);
    guard(&args, &from, &to)?;
    let chosen = chosen(&args, &from, &to).await?;
    kit.progress.stage("copy");
    let options = CopyOptions {
        compression: args.compression,
        program: concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned(),
        replace: false,
    };
    let mut account = Account::default();
    for (source, id) in chosen {
        tracing::info!(%source, backup = %id, "copying");
        let step = |plain: u64| kit.progress.add(0, plain);
        let stopped = kit.shutdown.token().cancelled();
        match from.copy_backup(&to, &source, id, &options, &step, stopped).await {
            Ok(Copied::Made(manifest)) => account.copied.push(done(&manifest)),
            Ok(Copied::Nothing) => {}
            Ok(Copied::Stopped) => {
                let what =
                    format!("stopped while {source}@{id} was copied; {} before it are whole", account.copied.len());
                return Err(Failure::new(Exit::Interrupted, what).hint("start it again: it goes on from there"));
            }
            Err(Error::Conflict { object }) if object.starts_with("manifests/") => account.there_meanwhile += 1,
            Err(error @ (Error::Damaged { .. } | Error::Missing { .. } | Error::Signer { .. })) => {
                tracing::error!(%source, backup = %id, %error, "this backup cannot be copied");
                account.left_out.push(LeftOut { source, id, why: error.to_string() });
            }
            Err(other) => return Err(Failure::from(other).context(format!("copy {source}@{id}"))),
        }
    }
    kit.progress.finish();
    kit.printer.print(&account, |account| text(account, to.location()))?;
    match account.left_out.first() {
        Some(LeftOut { source, id, why }) => Err(left_out(&account, format!("{source}@{id}: {why}"))),
        None => Ok(()),
    }
}

fn left_out(account: &Account, first: String) -> Failure {
    let what =
        format!("{} could not be copied, the first of them {first}", counted(account.left_out.len() as u64, "backup"));
    Failure::new(Exit::Data, what).hint(
        "`longshore verify` of the repository they are in names all damage; a copy made before may still be whole",
    )
}

/// What would be a mistake.
fn guard(args: &CopyArgs, from: &Repository, to: &Repository) -> Result<(), Failure> {
    if from.config().id == to.config().id {
        let what = format!("{} and {} are the same repository", from.location(), to.location());
        return Err(Failure::new(Exit::Refused, what).hint("make the second one with `longshore init`"));
    }
    if from.fingerprint().is_some() && to.fingerprint().is_none() && !args.decrypt {
        let what =
            format!("{} is encrypted and {} is not: copies would be legible there", from.location(), to.location());
        return Err(Failure::new(Exit::Refused, what)
            .hint("make the second one with `longshore init --recipient`, or say --decrypt"));
    }
    Ok(())
}

/// What is not there yet, oldest first.
async fn chosen(args: &CopyArgs, from: &Repository, to: &Repository) -> Result<Vec<(SourceName, BackupId)>, Failure> {
    let source: Option<SourceName> = args.name.as_deref().map(str::parse).transpose().map_err(Failure::from)?;
    if args.backups.is_empty() {
        let mut missing = from.missing_in(to, source.as_ref()).await?;
        if let Some(last) = args.last {
            let all = from.backup_ids(source.as_ref()).await?;
            let newer = |(source, id): &(SourceName, BackupId)| {
                all.iter().filter(|(of, other)| of == source && other > id).count() < last as usize
            };
            missing.retain(newer);
        }
        if let Some(since) = args.since {
            let now = u64::try_from(to.now().await?.as_millisecond()).unwrap_or_default();
            let oldest = now.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            missing.retain(|(_, id)| id.milliseconds() >= oldest);
        }
        return Ok(missing);
    }
    let mut chosen = Vec::new();
    for name in &args.backups {
        let header = from.find(&name.parse::<Selector>()?).await?.header;
        chosen.push((header.source, header.backup));
    }
    chosen.sort();
    chosen.dedup();
    let there = to.backup_ids(None).await?;
    chosen.retain(|backup| !there.contains(backup));
    Ok(chosen)
}

fn done(manifest: &Manifest) -> Done {
    let (header, totals) = (&manifest.header, &manifest.header.totals);
    Done {
        source: header.source.clone(),
        id: header.backup,
        rows: totals.rows,
        bytes: totals.bytes,
        chunks: totals.chunks,
        reused_chunks: totals.reused_chunks,
        added_bytes: totals.added_bytes,
    }
}

fn text(account: &Account, location: &str) -> String {
    let mut out: String = account
        .copied
        .iter()
        .map(|it| {
            let (rows, read, added) = (counted(it.rows, "row"), bytes(it.bytes), bytes(it.added_bytes));
            let there = format!("{} of {} chunks were there", count(it.reused_chunks), count(it.chunks));
            format!("copied {}@{}\n  {rows}, {read}; {added} added, {there}\n", it.source, it.id)
        })
        .collect();
    if account.copied.is_empty() && account.left_out.is_empty() {
        out.push_str(&format!("nothing to copy: everything is in {location}\n"));
    }
    out.extend(account.left_out.iter().map(|it| format!("LEFT OUT {}@{}\n  {}\n", it.source, it.id, it.why)));
    out
}
