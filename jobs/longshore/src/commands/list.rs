//! `longshore list`: which backups there are, and what is proven of them.

use clap::Args;
use jobkit::format::{age, bytes, count, duration};
use jobkit::{Align, Failure, Kit, RepoArgs, text_table};
use repository::{Error, Manifest, Proofs, SNAPSHOT, SourceName, Summary, Tag};
use serde::Serialize;
use std::time::Duration;

/// Options of `list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// Only backups of this source
    #[arg(long, value_name = "NAME")]
    name: Option<SourceName>,
    /// Only backups that have this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,
}

/// A backup, and what verifications and drills have found out about it.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    summary: Summary,
    #[serde(flatten)]
    proofs: Proofs,
    /// Kept for ever.
    pinned: bool,
    /// To be removed by a later `prune`, unless that is undone.
    marked: bool,
}

/// Reads all manifests and prints a line for each, the newest last. One that cannot be read hides none of the others.
pub async fn run(args: ListArgs, kit: Kit) -> Result<(), Failure> {
    let repository = args.repo.open().await?;
    let source = args.name.as_ref();
    let mut proofs = repository.proofs(source).await?;
    let (pins, marks) = (repository.pinned().await?, repository.removals().await?);
    let (backups, unreadable) = repository.readable_backups(source).await?;
    let tagged = |manifest: &Manifest| args.tag.as_ref().is_none_or(|tag| manifest.header.tags.contains(tag));
    let listed = backups.into_iter().filter(tagged).map(|manifest| {
        let of = (manifest.header.source.clone(), manifest.header.backup);
        Listed {
            summary: Summary::from(&manifest),
            proofs: proofs.remove(&of).unwrap_or_default(),
            pinned: pins.contains(&of),
            marked: marks.iter().any(|mark| mark.source == of.0 && mark.backups.contains(&of.1)),
        }
    });
    let listed: Vec<Listed> = listed.collect();
    let now = repository.now().await?;
    kit.printer.print(&listed, |listed| match listed.is_empty() {
        true => format!("no backups{} in {}\n", wanted(&args), repository.location()),
        false => table(listed, now),
    })?;
    unreadable_too(unreadable)
}

/// A list that is not whole must not pass for one.
fn unreadable_too(unreadable: Vec<Error>) -> Result<(), Failure> {
    let more = unreadable.len().saturating_sub(1);
    let Some(first) = unreadable.into_iter().next() else { return Ok(()) };
    let failure = Failure::from(first);
    Err(match more {
        0 => failure.context("one backup is not listed"),
        more => {
            failure.context(format!("{} backups are not listed, the first because of this", count(more as u64 + 1)))
        }
    })
}

fn wanted(args: &ListArgs) -> String {
    let of = args.name.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    let tagged = args.tag.as_ref().map(|tag| format!(" with the tag {tag}")).unwrap_or_default();
    of + &tagged
}

fn table(listed: &[Listed], now: jiff::Timestamp) -> String {
    let columns = [
        ("SOURCE", Align::Left),
        ("BACKUP", Align::Left),
        ("STARTED (UTC)", Align::Left),
        ("AGE", Align::Left),
        ("TOOK", Align::Right),
        ("TABLES", Align::Right),
        ("ROWS", Align::Right),
        ("READ", Align::Right),
        ("STORED", Align::Right),
        ("ADDED", Align::Right),
        ("SCOPE", Align::Left),
        ("VERIFIED", Align::Left),
        ("DRILLED", Align::Left),
        ("KEPT", Align::Left),
        ("TAGS", Align::Left),
    ];
    // Most repositories have no tags, and the line is long enough.
    let tags = listed.iter().any(|listed| !listed.summary.tags.is_empty());
    let columns = &columns[..columns.len() - usize::from(!tags)];
    text_table(columns, listed.iter().map(|listed| line(listed, now, tags)))
}

/// The day of a proof. A failure that nothing has cured since comes first: it is what somebody must see.
fn proven(proofs: &Proofs) -> [String; 2] {
    let day = |at: Option<jiff::Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d").to_string());
    let verified = match proofs.failed {
        Some(failed) if proofs.in_doubt() => format!("FAILED {}", failed.strftime("%Y-%m-%d")),
        _ => day(proofs.verified),
    };
    [verified, day(proofs.drilled)]
}

/// How much of its source it is, and whether of one moment.
fn scope(summary: &Summary) -> String {
    match summary.consistency.as_str() {
        SNAPSHOT => summary.scope.clone(),
        other => format!("{}, {other}", summary.scope),
    }
}

/// Whether retention is overruled, or has decided.
fn kept(listed: &Listed) -> &'static str {
    match (listed.pinned, listed.marked) {
        (true, _) => "for ever",
        (_, true) => "to be removed",
        _ => "",
    }
}

fn line(listed: &Listed, now: jiff::Timestamp, tags: bool) -> Vec<String> {
    let Listed { summary, proofs, .. } = listed;
    let took = Duration::try_from(summary.finished.duration_since(summary.started)).unwrap_or_default();
    let [verified, drilled] = proven(proofs);
    let mut cells = vec![
        summary.source.to_string(),
        summary.id.to_string(),
        summary.started.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        age(now, summary.started),
        duration(took),
        count(summary.streams),
        count(summary.rows),
        bytes(summary.bytes),
        bytes(summary.stored_bytes),
        bytes(summary.added_bytes),
        scope(summary),
        verified,
        drilled,
        kept(listed).to_owned(),
    ];
    if tags {
        cells.push(summary.tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", "));
    }
    cells
}
