//! `longshore pin`: keeps a backup for ever, whatever retention says.

use clap::Args;
use jobkit::{Failure, Kit, RepoArgs};
use repository::{BackupId, SourceName};
use serde::Serialize;

/// Options of `pin`.
#[derive(Debug, Clone, Args)]
pub struct PinArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// The backup: NAME for the newest, NAME@ID or the beginning of an ID
    #[arg(value_name = "NAME[@ID]")]
    backup: String,
    /// Take the pin away: retention decides again
    #[arg(long)]
    remove: bool,
}

#[derive(Debug, Serialize)]
struct Pinned {
    source: SourceName,
    id: BackupId,
    pinned: bool,
}

/// Sets or takes a pin.
pub async fn run(args: PinArgs, kit: Kit) -> Result<(), Failure> {
    let repository = args.repo.open().await?;
    let header = repository.find(&args.backup.parse()?).await?.header;
    match args.remove {
        true => repository.unpin(&header.source, header.backup).await?,
        false => repository.pin(&header.source, header.backup).await?,
    }
    kit.progress.finish();
    let pinned = Pinned { source: header.source, id: header.backup, pinned: !args.remove };
    kit.printer.print(&pinned, |it| match it.pinned {
        true => format!("{}@{} is kept for ever\n", it.source, it.id),
        false => format!("{}@{} is not pinned any more\n", it.source, it.id),
    })
}
