//! `longshore show`: one backup, table by table.

use clap::Args;
use engine::Digest;
use jiff::Timestamp;
use jobkit::format::{bytes, count, duration};
use jobkit::{Align, Exit, Failure, Kit, RepoArgs, text_table};
use repository::{List, Manifest, Proofs, Summary, read_all};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What stands in place of what cannot be read.
const SEALED: &str = "sealed: an identity opens it (LONGSHORE_IDENTITY_FILE)";

/// Options of `show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// The backup: NAME, NAME@latest, NAME@ID or the beginning of an ID
    #[arg(value_name = "NAME[@ID]")]
    backup: String,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(rename = "backup")]
    summary: Summary,
    program: String,
    session: String,
    #[serde(flatten)]
    proofs: Proofs,
    /// Null when no identity was given that opens the record.
    tables: Option<Vec<Table>>,
}

#[derive(Debug, Serialize)]
struct Table {
    name: String,
    rows: u64,
    bytes: u64,
    segments: u64,
    chunks: u64,
    digest: Digest,
}

/// Reads the manifest and its lists.
pub async fn run(args: ShowArgs, kit: Kit) -> Result<(), Failure> {
    let repository = args.repo.open().await?;
    let manifest = repository.find(&args.backup.parse()?).await?;
    let tables = match manifest.sealed {
        true => None,
        false => Some(tables(&read_all(&repository, &manifest).await?)?),
    };
    let shown = Shown {
        summary: Summary::from(&manifest),
        program: manifest.header.program.clone(),
        session: manifest.header.session.to_string(),
        proofs: repository.proofs_of(&manifest.header.source, manifest.header.backup).await?,
        tables,
    };
    kit.printer.print(&shown, |shown| text(shown, &manifest))
}

fn tables(lists: &[List]) -> Result<Vec<Table>, Failure> {
    let mut tables: BTreeMap<&str, Table> = BTreeMap::new();
    for segment in lists.iter().flat_map(|list| &list.segments) {
        let digest: Digest = segment.digest.parse().map_err(|e| {
            Failure::new(Exit::Data, format!("the record of {} is not readable", segment.stream)).because(e)
        })?;
        let table = tables.entry(&segment.stream).or_insert_with(|| Table {
            name: segment.stream.clone(),
            rows: 0,
            bytes: 0,
            segments: 0,
            chunks: 0,
            digest: Digest::default(),
        });
        table.rows += digest.rows;
        table.bytes += segment.bytes;
        table.segments += 1;
        table.chunks += segment.refs.1 as u64;
        table.digest.merge(digest);
    }
    Ok(tables.into_values().collect())
}

/// What verifications and drills have found out.
fn proven(proofs: &Proofs) -> Vec<(&'static str, String)> {
    let time = |at: Timestamp| format!("{} UTC", at.strftime("%Y-%m-%d %H:%M:%S"));
    let never = || "never".to_owned();
    let mut facts = vec![
        ("verified", proofs.verified.map_or_else(never, time)),
        ("drilled", proofs.drilled.map_or_else(never, time)),
    ];
    if let Some(failed) = proofs.failed {
        let since = if proofs.in_doubt() { "and has not been found whole since" } else { "and was found whole since" };
        facts.push(("failed", format!("{}, {since}", time(failed))));
    }
    facts
}

fn text(shown: &Shown, manifest: &Manifest) -> String {
    let (summary, about) = (&shown.summary, &manifest.about);
    let word = |name: &str| about.get(name).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
    let of = || format!("{} at {}, {} {}", word("database"), word("server"), word("engine"), word("version"));
    let took = Duration::try_from(summary.finished.duration_since(summary.started)).unwrap_or_default();
    let mut facts = vec![
        ("backup", format!("{}@{}", summary.source, summary.id)),
        ("of", if manifest.sealed { SEALED.to_owned() } else { of() }),
        ("started", format!("{} UTC, took {}", summary.started.strftime("%Y-%m-%d %H:%M:%S"), duration(took))),
        ("consistency", summary.consistency.clone()),
        (
            "rows",
            format!("{} in {} tables, {} as read", count(summary.rows), count(summary.streams), bytes(summary.bytes)),
        ),
        (
            "stored",
            format!(
                "{} in {} chunks, of which this backup added {}",
                bytes(summary.stored_bytes),
                count(summary.chunks),
                bytes(summary.added_bytes)
            ),
        ),
        ("written by", shown.program.clone()),
    ];
    if summary.scope != "full" {
        facts.push(("scope", format!("{}: not all of the database; restored by its id only", summary.scope)));
    }
    facts.extend(proven(&shown.proofs));
    if let Some(globals) = about.get("globals").and_then(|value| value.as_str()) {
        let hashes = if globals == "with_passwords" { "with hashes of passwords" } else { "without passwords" };
        facts.push(("globals", format!("the server's roles, {hashes}")));
    }
    let notes = about.get("notes").and_then(|notes| notes.as_array()).into_iter().flatten();
    facts.extend(notes.filter_map(|note| note.as_str()).map(|note| ("note", note.to_owned())));
    let head: String = facts.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect();
    let columns = [
        ("TABLE", Align::Left),
        ("ROWS", Align::Right),
        ("READ", Align::Right),
        ("CHUNKS", Align::Right),
        ("DIGEST", Align::Left),
    ];
    let Some(tables) = &shown.tables else { return head };
    let lines = tables.iter().map(|table| {
        let digest = format!("{:032x}", table.digest.sum);
        vec![table.name.clone(), count(table.rows), bytes(table.bytes), count(table.chunks), digest]
    });
    format!("{head}\n{}", text_table(&columns, lines))
}
