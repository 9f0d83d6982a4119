//! `longshore prune`: what goes, what stays and by which rule; then does it.
//!
//! Owns the options and what is printed. The plan is printed before anything is changed, and a dry run ends there.

use clap::Args;
use jobkit::format::{bytes, count, counted};
use jobkit::{Exit, Failure, Kit, RepoArgs, limits};
use repository::retention::{Policy, Shrunk};
use repository::{BackupId, Mark, PruneOptions, Pruned, Repository, Selector, SourceName, SourcePlan, Swept, Tag};
use serde::Serialize;
use std::time::Duration;

/// Options of `prune`.
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// Only backups of this source; what nothing refers to is removed in any case
    #[arg(long, value_name = "NAME")]
    name: Option<SourceName>,
    #[command(flatten)]
    keep: KeepArgs,
    /// Print the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take back what was marked for removal and is not gone yet
    #[arg(long, conflicts_with_all = ["dry_run", "remove", "accept"])]
    undo: bool,
    /// Mark this backup for removal, whatever the rules say; several times for several
    #[arg(long, value_name = "NAME@ID")]
    remove: Vec<String>,
    /// Say that this backup is meant to be as small as it is: its source's retention goes on
    #[arg(long, value_name = "NAME@ID")]
    accept: Vec<String>,
    /// Removed backups can be brought back with --undo for so long
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = limits::duration)]
    undo_period: Duration,
    /// Objects younger than this are left alone, and what is condemned waits so long before it is deleted
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = limits::duration)]
    grace: Duration,
    /// A backup that has given no sign of life for so long is given up
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = limits::duration)]
    silent: Duration,
    /// A backup with fewer rows or bytes than this share of the usual stops its source's retention; 0% never does
    #[arg(long, value_name = "PERCENT", default_value = "50%", value_parser = percent)]
    least_size: u64,
}

/// The rules. Without any, no backup is removed.
#[derive(Debug, Clone, Args)]
struct KeepArgs {
    /// Keep the newest N backups
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_last: u32,
    /// Keep the newest backup of each of the last N hours that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_hourly: u32,
    /// Keep the newest backup of each of the last N days that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_daily: u32,
    /// Keep the newest backup of each of the last N weeks (from Monday) that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_weekly: u32,
    /// Keep the newest backup of each of the last N months that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_monthly: u32,
    /// Keep the newest backup of each of the last N years that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_yearly: u32,
    /// Keep every backup that began less than so long ago
    #[arg(long, value_name = "TIME", value_parser = limits::duration)]
    keep_within: Option<Duration>,
    /// Keep every backup that has this tag; several times for several
    #[arg(long, value_name = "TAG")]
    keep_tag: Vec<Tag>,
}

impl KeepArgs {
    fn policy(&self) -> Policy {
        Policy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within.and_then(|within| within.try_into().ok()),
            tags: self.keep_tag.iter().cloned().collect(),
        }
    }
}

fn percent(text: &str) -> Result<u64, &'static str> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse().map_err(|_| "write it like 50%")?;
    if number <= 100 { Ok(number) } else { Err("at most 100%") }
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Account {
    dry_run: bool,
    /// Sources in which nothing is removed until somebody has looked.
    frozen: Vec<SourceName>,
    plan: Vec<SourcePlan>,
    /// Removals that were taken back.
    undone: Vec<Mark>,
    #[serde(flatten)]
    pruned: Pruned,
    /// Whether the place keeps what was deleted as older versions; null when that is not known, or nothing was deleted.
    keeps_versions: Option<bool>,
}

/// Plans, says so, and does it.
pub async fn run(args: PruneArgs, kit: Kit) -> Result<(), Failure> {
    let repository = args.repo.open().await?;
    let mut account = Account {
        dry_run: args.dry_run,
        frozen: Vec::new(),
        plan: Vec::new(),
        undone: Vec::new(),
        pruned: Pruned::default(),
        keeps_versions: None,
    };
    if args.undo {
        account.undone = repository.undo_removals(args.name.as_ref()).await?;
        kit.progress.finish();
        return kit.printer.print(&account, undone);
    }
    kit.progress.stage("read the backups");
    let asked = asked_for(&args, &repository).await?;
    // What is given up by name may be too damaged for a plan, so it is marked before.
    if !args.dry_run {
        for (source, backup) in &asked {
            repository.mark_removed(source, &[*backup]).await?;
        }
    }
    account.plan = repository.plan_retention(&args.keep.policy(), args.name.as_ref(), args.least_size).await?;
    let frozen = account.plan.iter().filter(|plan| plan.decision.shrunk.is_some());
    account.frozen = frozen.map(|plan| plan.source.clone()).collect();
    kit.progress.stage(if args.dry_run { "look for what nothing refers to" } else { "remove" });
    if args.dry_run {
        account.pruned.swept = repository.unreferenced(args.grace).await?;
    } else {
        let options = options(&args);
        let pruning = repository.prune(&account.plan, &options);
        let Some(pruned) = kit.shutdown.token().run_until_cancelled(pruning).await else {
            let what = "stopped before everything was done; whatever was done holds";
            return Err(Failure::new(Exit::Interrupted, what).hint("start it again: it goes on from there"));
        };
        account.pruned = pruned.map_err(|error| marked_all_the_same(error, &asked))?;
        account.pruned.marked += asked.len() as u64;
        if account.pruned.swept.deleted > 0 {
            account.keeps_versions = repository.keeps_versions().await;
        }
    }
    kit.progress.finish();
    kit.printer.print(&account, |account| text(account, repository.location()))?;
    match account.plan.iter().find_map(|plan| Some((&plan.source, plan.decision.shrunk.as_ref()?))) {
        Some((source, shrunk)) => Err(frozen_because(source, shrunk)),
        None => Ok(()),
    }
}

/// A damaged manifest stops a run until the backup is gone, and it goes only after the time in which that can be undone.
fn marked_all_the_same(error: repository::Error, asked: &[(SourceName, BackupId)]) -> Failure {
    let failure = Failure::from(error);
    if asked.is_empty() {
        return failure;
    }
    let names: Vec<String> = asked.iter().map(|(source, backup)| format!("{source}@{backup}")).collect();
    failure.hint(format!(
        "{} marked for removal: a run after the undo period removes what was named, and then goes on with the rest; nothing was deleted now",
        match names.as_slice() {
            [one] => format!("{one} is"),
            some => format!("{} are", some.join(", ")),
        }
    ))
}

/// The backups that were named, and, with --accept, what is to be said about them.
async fn asked_for(args: &PruneArgs, repository: &Repository) -> Result<Vec<(SourceName, BackupId)>, Failure> {
    for name in &args.accept {
        let (source, backup) = one(repository, name).await?;
        if !args.dry_run {
            repository.accept(&source, backup).await?;
        }
    }
    let mut asked = Vec::new();
    for name in &args.remove {
        asked.push(one(repository, name).await?);
    }
    Ok(asked)
}

/// The one backup that is meant, which may be too damaged to be read.
async fn one(repository: &Repository, name: &str) -> Result<(SourceName, BackupId), Failure> {
    let Selector { source, backup } = name.parse()?;
    let ids = repository.backup_ids(Some(&source)).await?;
    let begins =
        |id: &BackupId| backup.as_ref().is_some_and(|beginning| id.to_string().starts_with(beginning.as_str()));
    let mut matching = ids.into_iter().filter(|(_, id)| begins(id));
    match (matching.next(), matching.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Failure::new(Exit::NoInput, format!("there is no backup {name}"))
            .hint("write it as NAME@ID; `longshore list` shows the ids")),
        _ => Err(Failure::new(Exit::NoInput, format!("{name} could be any of several backups"))),
    }
}

fn options(args: &PruneArgs) -> PruneOptions {
    let host = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let host = host.map_or_else(|| "an unnamed host".to_owned(), |host| host.trim().to_owned());
    PruneOptions {
        grace: args.grace,
        undo: args.undo_period,
        silent: args.silent,
        least_percent: args.least_size,
        holder: format!("{host}, process {}", std::process::id()),
    }
}

fn frozen_because(source: &SourceName, shrunk: &Shrunk) -> Failure {
    let Shrunk { id, unit, usual, has } = shrunk;
    let size = |number: u64| if *unit == "bytes" { bytes(number) } else { format!("{} {unit}", count(number)) };
    let what =
        format!("{source}@{id} has {} where {} are usual: nothing of {source} is removed", size(*has), size(*usual));
    Failure::new(Exit::Refused, what).hint(format!(
        "look at what is missing; if it is meant to be so, `longshore prune --accept {source}@{id}` lets retention go on"
    ))
}

fn undone(account: &Account) -> String {
    let line = |mark: &Mark| {
        let ids: Vec<String> = mark.backups.iter().map(ToString::to_string).collect();
        format!("  {}: {}\n", mark.source, ids.join(", "))
    };
    match account.undone.as_slice() {
        [] => "there was nothing to take back\n".to_owned(),
        some => format!(
            "these backups stay, until a prune with the same rules marks them again; `longshore pin` is for ever:\n{}",
            some.iter().map(line).collect::<String>()
        ),
    }
}

fn text(account: &Account, location: &str) -> String {
    let mut out: String = account.plan.iter().map(plan_text).collect();
    let Pruned { gone, marked, revoked, swept } = &account.pruned;
    let Swept { unreferenced, unreferenced_bytes, condemned, deleted, waiting, .. } = swept;
    let garbage = format!("{}, {}", counted(*unreferenced, "object"), bytes(*unreferenced_bytes));
    if account.dry_run {
        out.push_str(&format!("dry run: nothing is changed in {location}\n  nothing refers to {garbage}\n"));
        return out;
    }
    out.push_str(&format!("pruned {location}\n"));
    let mut say = |number: u64, word: &str, rest: &str| {
        if number > 0 {
            out.push_str(&format!("  {} {rest}\n", counted(number, word)));
        }
    };
    say(*marked, "backup", "marked for removal; `longshore prune --undo` takes that back");
    say(gone.len() as u64, "backup", "removed that an earlier run had marked");
    say(revoked.len() as u64, "silent writer", "given up");
    let versions = match account.keeps_versions {
        Some(true) => {
            "deleted; the bucket keeps them as older versions, which take space until its own rules remove them"
        }
        _ => "deleted",
    };
    say(*deleted, "object", versions);
    say(*condemned, "object", &format!("condemned, to be deleted by a later run; not needed in all: {garbage}"));
    say(*waiting, "sweep", "waiting for the grace period or for a backup that is running");
    if *deleted == 0 && *unreferenced == 0 && *marked == 0 {
        out.push_str("  nothing is left that no backup needs\n");
    }
    out
}

fn plan_text(plan: &SourcePlan) -> String {
    let began =
        |id: &BackupId| plan.started.get(id).map(|at| at.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
    let mut out = format!("{}\n", plan.source);
    for kept in &plan.decision.kept {
        let reasons: Vec<&str> = kept.reasons.iter().map(|reason| reason.as_str()).collect();
        out.push_str(&format!("  keep    {}  {}  {}\n", kept.id, began(&kept.id), reasons.join(", ")));
    }
    for id in &plan.decision.removed {
        out.push_str(&format!("  remove  {id}  {}\n", began(id)));
    }
    for id in &plan.marked {
        out.push_str(&format!(
            "  marked  {id}  {}  marked for removal by an earlier run; `--undo` takes that back\n",
            began(id)
        ));
    }
    if plan.decision.kept.is_empty() && plan.decision.removed.is_empty() {
        out.push_str("  no rule was given: nothing is removed\n");
    }
    out
}
