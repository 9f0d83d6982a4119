//! `longshore check`: is there a fresh backup of everything, and was it proven lately?
//!
//! For hosts whose monitoring looks at exit codes. Promises that it succeeds only when nothing is overdue, that it names all that
//! is, with what to do, and that ages are told by the store's clock. What it cannot look at is an error, never a success.

use clap::Args;
use databases::Address;
use jiff::{SignedDuration, Timestamp};
use jobkit::format::{age, duration};
use jobkit::{Exit, Failure, Kit, RepoArgs, Secret, limits};
use repository::{BackupId, Error, Manifest, Proofs, Repository, SourceName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A backup may be this much ahead of the store's clock: those of several gateways differ.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// Results are looked for so many times longer ago than allowed, to tell how old the last one is.
const LOOK_BACK: u32 = 4;

/// Options of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// The newest full backup of each source must be younger than this, such as 26h
    #[arg(long, value_name = "TIME", value_parser = limits::duration)]
    max_age: Duration,
    /// A backup of each source must have been verified within this time, such as 8d
    #[arg(long, value_name = "TIME", value_parser = limits::duration)]
    verified: Option<Duration>,
    /// A backup of each source must have been drilled within this time, such as 8d
    #[arg(long, value_name = "TIME", value_parser = limits::duration)]
    drilled: Option<Duration>,
    /// Only this source, which must have a backup; all that have one without it. May be repeated
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// A server: each of its databases must be some source's
    #[arg(long, value_name = "URL")]
    server: Option<Secret>,
    /// Password for the server; better given in LONGSHORE_SERVER_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    server_password: Option<Secret>,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Account {
    ok: bool,
    /// The store's clock.
    at: Timestamp,
    sources: Vec<Source>,
    /// Databases of the server that no source has a full backup of.
    uncovered: Vec<String>,
    /// What is wrong apart from sources and databases.
    overdue: Vec<String>,
}

/// One source.
#[derive(Debug, Serialize)]
struct Source {
    source: SourceName,
    newest: Option<Newest>,
    /// The newest good verification of any of its backups, where that was asked for.
    verified: Option<Timestamp>,
    /// The newest good drill of any of its backups, where that was asked for.
    drilled: Option<Timestamp>,
    /// What is wrong, each with what to do; empty when nothing is.
    overdue: Vec<String>,
}

/// Its newest full backup.
#[derive(Debug, Serialize)]
struct Newest {
    id: BackupId,
    started: Timestamp,
    age_seconds: i64,
}

/// Looks at every source, prints what it found, and fails when something is overdue.
pub async fn run(args: CheckArgs, kit: Kit) -> Result<(), Failure> {
    let repository = args.repo.open().await?;
    let now = repository.now().await?;
    let there: BTreeSet<SourceName> = repository.backup_ids(None).await?.into_iter().map(|(name, _)| name).collect();
    let asked: Vec<SourceName> =
        args.name.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(Failure::from)?;
    let wanted: BTreeSet<SourceName> = if asked.is_empty() { there.clone() } else { asked.into_iter().collect() };
    let verified = newest(&repository, &wanted, args.verified, now, |proofs| proofs.verified).await?;
    let drilled = newest(&repository, &wanted, args.drilled, now, |proofs| proofs.drilled).await?;
    let mut sources = Vec::new();
    for source in &wanted {
        let manifest = repository.latest(source).await?;
        let own = match &manifest {
            Some(manifest) => repository.proofs_of(source, manifest.header.backup).await?,
            None => Proofs::default(),
        };
        let known =
            Known { manifest, own, verified: verified.get(source).copied(), drilled: drilled.get(source).copied() };
        sources.push(judge(source, known, &args, now));
    }
    let mut overdue = keys(&repository).await?;
    if sources.is_empty() {
        overdue.push("there is no backup at all: make one with `longshore backup`".to_owned());
    }
    let uncovered = uncovered(&args, &repository, &there).await?;
    let ok = overdue.is_empty() && uncovered.is_empty() && sources.iter().all(|source| source.overdue.is_empty());
    let account = Account { ok, at: now, sources, uncovered, overdue };
    kit.progress.finish();
    kit.printer.print(&account, text)?;
    failure(&account).map_or(Ok(()), Err)
}

/// What is wrong with the wrapped keys. A backup's credential may not look there, and has no use for them.
async fn keys(repository: &Repository) -> Result<Vec<String>, Failure> {
    match repository.damaged_keys().await {
        Err(Error::Store { source: store::Error::Denied { .. }, .. }) => Ok(Vec::new()),
        other => Ok(other?),
    }
}

/// When each source was proven last; none where that was not asked for.
async fn newest(
    repository: &Repository,
    sources: &BTreeSet<SourceName>,
    within: Option<Duration>,
    now: Timestamp,
    which: impl Fn(&Proofs) -> Option<Timestamp>,
) -> Result<BTreeMap<SourceName, Timestamp>, Failure> {
    let Some(within) = within else { return Ok(BTreeMap::new()) };
    let back = SignedDuration::try_from(within.saturating_mul(LOOK_BACK)).unwrap_or(SignedDuration::MAX);
    let since = now.saturating_sub(back).unwrap_or(Timestamp::MIN);
    let found = repository.newest_proofs(sources, since).await?;
    Ok(found.into_iter().filter_map(|(source, proofs)| Some((source, which(&proofs)?))).collect())
}

/// What is known of a source.
struct Known {
    manifest: Option<Manifest>,
    /// Of the newest full backup itself.
    own: Proofs,
    verified: Option<Timestamp>,
    drilled: Option<Timestamp>,
}

fn judge(source: &SourceName, known: Known, args: &CheckArgs, now: Timestamp) -> Source {
    let mut overdue = Vec::new();
    let newest = known.manifest.as_ref().map(|manifest| Newest {
        id: manifest.header.backup,
        started: manifest.header.started,
        age_seconds: now.duration_since(manifest.header.started).as_secs(),
    });
    match &newest {
        None => overdue.push(format!("there is no full backup: make one with `longshore backup --name {source}`")),
        Some(newest) => overdue.extend(too_old(newest.started, args.max_age, now)),
    }
    if let (Some(newest), true, Some(failed)) = (&newest, known.own.in_doubt(), known.own.failed) {
        overdue.push(format!(
            "the newest full backup was found damaged {}: make a new one now; `longshore verify {source}@{}` names the damage",
            age(now, failed),
            newest.id
        ));
    }
    let proven = [
        (args.verified, known.verified, "verified", format!("longshore verify --name {source}")),
        (args.drilled, known.drilled, "drilled", format!("longshore drill --from {source} --target …")),
    ];
    for (within, last, done, command) in proven {
        let Some(within) = within else { continue };
        if last.is_some_and(|last| now.duration_since(last) <= signed(within)) {
            continue;
        }
        let last = match last {
            Some(last) => format!("the last time was {}", age(now, last)),
            None => format!("nor in the last {}", duration(within.saturating_mul(LOOK_BACK))),
        };
        overdue.push(format!("no backup of it was {done} in {}, {last}: {command}", duration(within)));
    }
    Source { source: source.clone(), newest, verified: known.verified, drilled: known.drilled, overdue }
}

fn too_old(started: Timestamp, most: Duration, now: Timestamp) -> Option<String> {
    let old = now.duration_since(started);
    let when = started.strftime("%Y-%m-%d %H:%M:%S");
    if old < -AHEAD {
        return Some(format!("the newest full backup is of {when} UTC, in the future: find out whose clock is wrong"));
    }
    (old > signed(most)).then(|| {
        let (ago, most) = (age(now, started), duration(most));
        format!("the newest full backup is of {when} UTC, {ago}, and {most} is the most: look why `longshore backup` failed or did not run")
    })
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// The databases of the server that are not in the newest full backup of any source.
async fn uncovered(
    args: &CheckArgs,
    repository: &Repository,
    sources: &BTreeSet<SourceName>,
) -> Result<Vec<String>, Failure> {
    let Some(url) = &args.server else { return Ok(Vec::new()) };
    let address = Address::parse(url.expose(), args.server_password.as_ref().map(Secret::expose))?;
    let mut covered = BTreeSet::new();
    for source in sources {
        let Some(manifest) = repository.latest(source).await? else { continue };
        let about = manifest.about()?;
        let word = |name: &str| about.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let here = word("server").is_some_and(|server| server.eq_ignore_ascii_case(&address.server()));
        covered.extend(word("database").filter(|_| here));
    }
    let mut uncovered = Vec::new();
    for found in address.databases().await? {
        if found.left_out.is_some() || covered.contains(&found.name) {
            continue;
        }
        // Every server has this one, and on most it is empty.
        if found.name != "postgres" || !address.of_database(&found.name).is_empty().await? {
            uncovered.push(found.name);
        }
    }
    Ok(uncovered)
}

fn failure(account: &Account) -> Option<Failure> {
    let sources: Vec<&str> =
        account.sources.iter().filter(|it| !it.overdue.is_empty()).map(|it| it.source.as_str()).collect();
    let mut what = account.overdue.clone();
    if !sources.is_empty() {
        what.push(format!("overdue: {}", sources.join(", ")));
    }
    if !account.uncovered.is_empty() {
        what.push(format!("no source has a full backup of {}", account.uncovered.join(", ")));
    }
    if what.is_empty() {
        return None;
    }
    let hint = "the result says of each what to do";
    Some(Failure::new(Exit::Overdue, what.join("; ")).hint(hint))
}

fn text(account: &Account) -> String {
    let mut out: String = account.overdue.iter().map(|what| format!("OVERDUE  {what}\n")).collect();
    for source in &account.sources {
        let newest = source.newest.as_ref().map_or_else(
            || "no full backup".to_owned(),
            |newest| format!("{} {}", newest.id, age(account.at, newest.started)),
        );
        let proven = [("verified", source.verified), ("drilled", source.drilled)];
        let proven = proven.into_iter().filter_map(|(done, at)| Some(format!(", {done} {}", age(account.at, at?))));
        let proven: String = proven.collect();
        let state = if source.overdue.is_empty() { "ok     " } else { "OVERDUE" };
        out.push_str(&format!("{state}  {}: {newest}{proven}\n", source.source));
        out.extend(source.overdue.iter().map(|what| format!("         {what}\n")));
    }
    let none = |name: &String| {
        format!("OVERDUE  database {name}: no source has a full backup of it: back it up, or drop it\n")
    };
    out.extend(account.uncovered.iter().map(none));
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn ages_count_to_the_second_and_a_time_in_the_future_is_no_fresh_backup() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        let ago = |seconds: i64| now - SignedDuration::from_secs(seconds);
        let most = Duration::from_secs(3600);
        assert_eq!(too_old(ago(3600), most, now), None);
        assert_eq!(too_old(ago(-299), most, now), None, "clocks differ a little");
        assert!(too_old(ago(3601), most, now).unwrap().contains("1 h ago"));
        assert!(too_old(ago(-301), most, now).unwrap().contains("in the future"));
    }
}
