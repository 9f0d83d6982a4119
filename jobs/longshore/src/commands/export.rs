//! `longshore export`: a backup as plain files, which the database's own tools bring back.
//!
//! Owns the order: find the backup, have the driver write everything but rows, write the rows proven, sums over all files, then the
//! folder's name. Promises that a folder of that name is a whole export, that nothing is left where one failed or was
//! stopped, and that nobody needs this program to read it. Knows no database: what the files are is the driver's.

mod folder;
mod rows;

use clap::Args;
use engine::{About, Digest, Export, ExportOptions, StreamName};
use folder::{Folder, Written};
use jobkit::format::{bytes, counted, duration};
use jobkit::{Exit, Failure, Kit, RepoArgs};
use repository::Repository;
use restore::Backup;
use rows::Rows;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Options of `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// The backup: NAME, NAME@latest, NAME@ID or the beginning of an ID
    #[arg(long, value_name = "NAME[@ID]")]
    from: String,
    /// The folder to make: not there yet, or empty
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Leave owners and grants out: everything will belong to the user that restores
    #[arg(long)]
    no_owner: bool,
    /// Tables written at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Folder of the vendor's tools (pg_restore) [default: the usual places]
    #[arg(long, value_name = "FOLDER")]
    tools: Option<PathBuf>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    backup: String,
    folder: PathBuf,
    tables: usize,
    rows: u64,
    bytes: u64,
    files: usize,
    seconds: f64,
    restore_with: String,
    notes: Vec<String>,
}

/// Writes the export and prints where it is.
pub async fn run(args: ExportArgs, kit: Kit) -> Result<(), Failure> {
    let begun = Instant::now();
    let selector = args.from.parse::<repository::Selector>().map_err(Failure::from)?;
    kit.subject.source(&selector.source);
    let folder = Folder::begin(&args.to)?;
    let stopped = kit.shutdown.token().clone();
    let written = stopped.run_until_cancelled(write(&args, &kit, &selector, &folder)).await;
    // Whatever fails from here back drops the folder, and with it what is in it.
    let Some(written) = written else {
        return Err(Failure::new(Exit::Interrupted, "the export was interrupted; nothing of it is left"));
    };
    let mut report = written?;
    kit.progress.stage("give the folder its name");
    report.folder = tokio::task::spawn_blocking(move || folder.publish())
        .await
        .map_err(|error| Failure::new(Exit::Internal, "naming the folder died").because(error))??;
    report.seconds = begun.elapsed().as_secs_f64();
    kit.progress.finish();
    kit.printer.print(&report, text)
}

async fn write(
    args: &ExportArgs,
    kit: &Kit,
    selector: &repository::Selector,
    folder: &Folder,
) -> Result<Report, Failure> {
    kit.progress.stage("open the repository");
    let repository = args.repo.open().await?;
    let manifest = repository.find(selector).await?;
    let backup = Backup::read(&repository, manifest).await?;
    kit.progress.stage("write the schema");
    let options = options(args, &backup)?;
    let export = databases::export(&backup.documents, &options).await?;
    for note in &export.notes {
        tracing::info!("{note}");
    }
    let mut sums = BTreeMap::new();
    for file in &export.files {
        sums.insert(file.path.clone(), folder.put(&file.path, &file.bytes)?);
    }
    kit.progress.stage("write rows");
    let totals = &backup.manifest.header.totals;
    kit.progress.set_total(totals.bytes, totals.rows);
    let rows = write_rows(kit, &repository, &backup, folder, &export, usize::from(args.workers)).await?;
    let index = index(&export, &rows);
    let written: u64 = rows.iter().map(|(_, digest)| digest.rows).sum();
    sums.insert("tables.tsv".to_owned(), folder.put("tables.tsv", index.as_bytes())?);
    sums.extend(export.streams.iter().map(|stream| stream.path.clone()).zip(rows.into_iter().map(|(file, _)| file)));
    let lines: String = sums.iter().map(|(path, file)| format!("{}  {path}\n", file.sha256)).collect();
    folder.put("SHA256SUMS", lines.as_bytes())?;
    Ok(Report {
        backup: backup.name.clone(),
        folder: folder.target().to_owned(),
        tables: export.streams.len(),
        rows: written,
        bytes: sums.values().map(|file| file.bytes).sum(),
        files: sums.len() + 1,
        seconds: 0.0,
        restore_with: export.restore_with.replace("{folder}", &folder.target().display().to_string()),
        notes: options.about.notes.into_iter().chain(export.notes).collect(),
    })
}

fn options(args: &ExportArgs, backup: &Backup) -> Result<ExportOptions, Failure> {
    let header = &backup.manifest.header;
    let about: About = serde_json::from_value(backup.manifest.about.clone())
        .map_err(|e| Failure::new(Exit::Data, format!("what {} is of cannot be read", backup.name)).because(e))?;
    let mut streams: BTreeMap<StreamName, Digest> = BTreeMap::new();
    for segment in backup.lists.iter().flat_map(|list| &list.segments) {
        streams.entry(StreamName::new(&segment.stream)).or_default().merge(restore::digest_of(segment)?);
    }
    Ok(ExportOptions {
        backup: backup.name.clone(),
        taken: format!("{} UTC", header.started.strftime("%Y-%m-%d %H:%M:%S")),
        programs: (header.program.clone(), format!("longshore {}", env!("CARGO_PKG_VERSION"))),
        about,
        streams,
        no_owner: args.no_owner,
        tools: args.tools.clone(),
    })
}

async fn write_rows(
    kit: &Kit,
    repository: &Repository,
    backup: &Backup,
    folder: &Folder,
    export: &Export,
    workers: usize,
) -> Result<Vec<(Written, Digest)>, Failure> {
    let rows = Rows { repository, backup, folder, progress: &kit.progress, sieves: export.sieves.as_deref() };
    rows.write(&export.streams, workers).await
}

/// Which file holds which stream.
fn index(export: &Export, written: &[(Written, Digest)]) -> String {
    let plain = |name: &str| name.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
    let mut lines = "file\ttable\trows\tbytes\tdigest\n".to_owned();
    for (stream, (file, digest)) in export.streams.iter().zip(written) {
        let (path, name) = (&stream.path, plain(stream.name.as_str()));
        lines.push_str(&format!("{path}\t{name}\t{}\t{}\t{:032x}\n", digest.rows, file.bytes, digest.sum));
    }
    lines
}

fn text(report: &Report) -> String {
    let notes: String = report.notes.iter().map(|note| format!("  note: {note}\n")).collect();
    format!(
        "exported {} into {}\n  {}, {}, {} in {}, in {}; every row is what the backup recorded\n  bring it back with: {}\n{notes}",
        report.backup,
        report.folder.display(),
        counted(report.tables as u64, "table"),
        counted(report.rows, "row"),
        bytes(report.bytes),
        counted(report.files as u64, "file"),
        duration(Duration::from_secs_f64(report.seconds)),
        report.restore_with
    )
}
