//! `longshore verify`: is everything that the backups need there, and undamaged?
//!
//! What was found out about each backup is recorded in the repository as evidence, for `list`, `check` and retention. A
//! credential that may only read verifies all the same, and is told that nothing was recorded.

use super::repair::{self, RepairArgs};
use clap::Args;
use jobkit::format::{bytes, count, counted};
use jobkit::{Exit, Failure, Kit, RepoArgs};
use repository::{BackupId, Damage, Evidence, EvidenceKind, Outcome, Repository, Share, SourceName, Verified};
use serde::Serialize;
use std::str::FromStr;
use std::time::Instant;

/// Backups that one damaged object's line names; how many more there are is said.
const MOST_BACKUPS: usize = 5;

/// Options of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// One backup: NAME for the newest, NAME@ID or the beginning of an ID; all backups without it
    #[arg(value_name = "NAME[@ID]")]
    backup: Option<String>,
    /// All backups of this source
    #[arg(long, value_name = "NAME", conflicts_with = "backup")]
    name: Option<String>,
    /// Read this share of the chunks, others each time; manifests and lists are always read
    #[arg(long, value_name = "PERCENT", default_value = "100%")]
    sample: Percent,
    #[command(flatten)]
    repair: RepairArgs,
}

/// More than 0, at most 100.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Percent(f64);

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: f64 = text.strip_suffix('%').unwrap_or(text).trim().parse().map_err(|_| "write it like 5%")?;
        if number > 0.0 && number <= 100.0 { Ok(Self(number)) } else { Err("more than 0% and at most 100%") }
    }
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Account {
    /// Nothing is damaged, or all of it was healed.
    ok: bool,
    sample_percent: f64,
    #[serde(flatten)]
    verified: Verified,
    /// Damaged backups that were healed from another repository; everything else here is from before.
    repaired: Vec<String>,
    /// Backups whose result was recorded.
    recorded: u64,
    notes: Vec<String>,
}

/// Reads, compares, and says what is wrong.
pub async fn run(args: VerifyArgs, kit: Kit) -> Result<(), Failure> {
    let begun = Instant::now();
    let repository = args.repo.open().await?;
    let second = args.repair.open().await?;
    kit.progress.stage("read the manifests");
    let backups = chosen(&args, &repository).await?;
    if let (true, Some((source, _))) = (args.name.is_some() || args.backup.is_some(), backups.first()) {
        kit.subject.source(source);
    }
    if backups.is_empty() {
        return Err(Failure::new(Exit::NoInput, format!("there is no backup in {}", repository.location())));
    }
    kit.progress.stage("read the chunks");
    // Another sample each time, without a clock: asking a directory for its time writes to it.
    let seed = u64::try_from(ulid::Ulid::generate().random() & u128::from(u64::MAX)).unwrap_or_default();
    let share = Share { of_chunks: args.sample.0 / 100.0, seed };
    let step = |stored: u64| kit.progress.add(0, stored);
    let verified = repository.verify(&backups, share, &step);
    let Some(verified) = kit.shutdown.token().run_until_cancelled(verified).await else {
        return Err(Failure::new(Exit::Interrupted, "stopped before everything was read").hint("start it again"));
    };
    let mut account = conclude(&repository, verified?, args.sample.0).await;
    record(&repository, &mut account, begun.elapsed().as_secs()).await;
    let hurt = account.verified.checked.iter().filter(|(.., whole)| !whole);
    let hurt: Vec<(SourceName, BackupId)> = hurt.map(|(source, backup, _)| (source.clone(), *backup)).collect();
    if let Some(second) = second.filter(|_| !hurt.is_empty()) {
        let repaired = repair::heal(&repository, &second, &hurt, &kit).await?;
        account.repaired = repaired.healed;
        account.notes.extend(repaired.not_healed);
    }
    let failure = failure(&account.verified, account.repaired.len() as u64);
    account.ok = failure.is_none();
    kit.progress.finish();
    kit.printer.print(&account, |account| text(account, repository.location()))?;
    failure.map_or(Ok(()), Err)
}

async fn chosen(args: &VerifyArgs, repository: &Repository) -> Result<Vec<(SourceName, BackupId)>, Failure> {
    if let Some(one) = &args.backup {
        let manifest = repository.find(&one.parse()?).await?;
        return Ok(vec![(manifest.header.source, manifest.header.backup)]);
    }
    let source: Option<SourceName> = args.name.as_deref().map(str::parse).transpose().map_err(Failure::from)?;
    Ok(repository.backup_ids(source.as_ref()).await?)
}

/// Condemns what is damaged. A credential that may not write finds damage all the same.
async fn conclude(repository: &Repository, mut verified: Verified, sample_percent: f64) -> Account {
    let mut notes = Vec::new();
    if verified.damaged > 0 {
        match repository.condemn(&mut verified).await {
            Ok(()) if verified.condemned > 0 => notes.push(format!(
                "the next backup stores {} damaged chunks again, as far as its source still has the data",
                count(verified.condemned)
            )),
            Ok(()) => {}
            Err(error) => {
                verified.condemned = 0;
                notes.push(format!("the damage could not be marked in the repository, and the next backup may refer to it again: {error}"));
            }
        }
    }
    Account { ok: verified.damaged == 0, sample_percent, verified, repaired: Vec::new(), recorded: 0, notes }
}

/// Writes down what was found out about each backup. That it cannot be written does not change what was found.
async fn record(repository: &Repository, account: &mut Account, seconds: u64) {
    let recorded = async {
        let at = repository.now().await?;
        let percent = account.sample_percent;
        let share = if percent >= 100.0 { Evidence::ALL.to_owned() } else { format!("{percent}%") };
        let evidence = account.verified.checked.iter().map(|(source, backup, whole)| Evidence {
            source: source.clone(),
            backup: *backup,
            kind: EvidenceKind::Verify,
            at,
            outcome: if *whole { Outcome::Good } else { Outcome::Bad },
            share: share.clone(),
            program: concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned(),
            seconds,
            server_version: None,
            rows: None,
            proof: None,
        });
        let evidence: Vec<Evidence> = evidence.collect();
        repository.put_all_evidence(&evidence).await?;
        Ok::<_, repository::Error>(evidence.len() as u64)
    };
    match recorded.await {
        Ok(recorded) => account.recorded = recorded,
        Err(error) => {
            let why = Failure::from(error).what();
            tracing::warn!("the result could not be recorded in the repository: {why}");
            account
                .notes
                .push(format!("this is not recorded in the repository, and `longshore list` will not show it: {why}"));
        }
    }
}

/// What is left of the damage when so many of the hurt backups were healed.
fn failure(verified: &Verified, repaired: u64) -> Option<Failure> {
    let (hurt, keys) = (verified.hurt_backups.saturating_sub(repaired), verified.damaged_keys);
    let damaged = verified.damaged - keys;
    if hurt == 0 && keys == 0 {
        return None;
    }
    let lost = verified.damage.iter().find(|damage| damage.object == "keys/");
    if let (0, Some(lost)) = (hurt, lost) {
        let hint = "put an object of keys/ back: from an older version, from a second copy of the bucket, or from the safe; then make sure of two";
        return Some(Failure::new(Exit::Data, lost.what.clone()).hint(hint));
    }
    if hurt == 0 {
        let what = format!("{} damaged or missing; no backup is", are(keys, "wrapped key"));
        let hint = "with another identity, `longshore keys remove` and `longshore keys add` wrap them again";
        return Some(Failure::new(Exit::Data, what).hint(hint));
    }
    let of = counted(verified.backups, "backup");
    let what =
        format!("{} damaged or missing; {} of {of} cannot be restored whole", are(damaged, "object"), count(hurt));
    Some(Failure::new(Exit::Data, what).hint(
        "make a new backup now; keep the damaged objects for a closer look, and find out who else writes to or deletes from the store",
    ))
}

fn are(number: u64, word: &str) -> String {
    format!("{} {}", counted(number, word), if number == 1 { "is" } else { "are" })
}

fn text(account: &Account, location: &str) -> String {
    let verified = &account.verified;
    let read = if verified.chunks == verified.chunks_in_all {
        format!("all {} chunks", count(verified.chunks))
    } else {
        format!("{} of {} chunks", count(verified.chunks), count(verified.chunks_in_all))
    };
    let mut out = format!(
        "verified {} in {location}\n  {read} and {} read, {}\n",
        counted(verified.backups, "backup"),
        counted(verified.lists, "list"),
        bytes(verified.stored_bytes)
    );
    match verified.damaged {
        0 if verified.intact_backups.is_some() => out.push_str("  nothing is damaged or missing\n"),
        0 => out.push_str("  nothing of what was read is damaged or missing\n"),
        _ => out.extend(verified.damage.iter().map(line)),
    }
    let unnamed = verified.damaged.saturating_sub(verified.damage.len() as u64);
    if unnamed > 0 {
        out.push_str(&format!("  and {} more objects\n", count(unnamed)));
    }
    out.extend(account.repaired.iter().map(|name| format!("  REPAIRED {name}: all of it is whole again\n")));
    out.extend(account.notes.iter().map(|note| format!("  note: {note}\n")));
    out
}

fn line(damage: &Damage) -> String {
    let mut backups: Vec<&str> = damage.backups.iter().map(String::as_str).take(MOST_BACKUPS).collect();
    let more = damage.backups.len().saturating_sub(MOST_BACKUPS);
    let more_text = format!("and {more} more");
    if more > 0 {
        backups.push(&more_text);
    }
    // The wrapped keys are of no backup alone.
    let needed_by = if backups.is_empty() { "whoever reads".to_owned() } else { backups.join(", ") };
    format!("  DAMAGED {}\n    {}\n    needed by {needed_by}\n", damage.object, damage.what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn shares_are_percent() {
        assert_eq!("5%".parse(), Ok(Percent(5.0)));
        assert_eq!("0.1".parse(), Ok(Percent(0.1)));
        for bad in ["0", "101%", "-1", "NaN", "all", ""] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
    }
}
