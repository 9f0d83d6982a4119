//! `longshore list`: which backups there are.

use clap::Args;
use jobkit::format::{age, bytes, count, duration};
use jobkit::{Align, Failure, Kit, RepoArgs, text_table};
use repository::{SourceName, Summary};
use std::time::Duration;

/// Options of `list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// Only backups of this source
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Reads all manifests and prints a line for each, the newest last.
pub async fn run(args: ListArgs, kit: Kit) -> Result<(), Failure> {
    let repository = args.repo.open().await?;
    let source: Option<SourceName> = args.name.as_deref().map(str::parse).transpose().map_err(Failure::from)?;
    let summaries: Vec<Summary> = repository.backups(source.as_ref()).await?.iter().map(Summary::from).collect();
    let now = repository.now().await?;
    kit.printer.print(&summaries, |summaries| {
        if summaries.is_empty() {
            let of = source.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
            return format!("no backups{of} in {}\n", repository.location());
        }
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
        ];
        text_table(&columns, summaries.iter().map(|summary| line(summary, now)))
    })
}

fn line(summary: &Summary, now: jiff::Timestamp) -> Vec<String> {
    let took = Duration::try_from(summary.finished.duration_since(summary.started)).unwrap_or_default();
    vec![
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
        summary.scope.clone(),
    ]
}
