//! `longshore init`: makes a repository.

use clap::Args;
use jobkit::{Failure, Kit, RepoArgs};
use repository::{Repository, Sizes};
use serde_json::json;

/// Options of `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    #[command(flatten)]
    repo: RepoArgs,
}

/// Probes the store, then makes the repository.
pub async fn run(args: InitArgs, kit: Kit) -> Result<(), Failure> {
    kit.progress.stage("probe the store");
    let store = args.repo.open_store().await?;
    let repository = Repository::init(store, Sizes::default()).await?;
    kit.progress.finish();
    let config = repository.config();
    let result = json!({
        "repository": config.id, "format": config.format, "created": config.created, "location": repository.location(),
    });
    let text = format!("made repository {} in {}\n", config.id, repository.location());
    kit.printer.print(&result, |_| text)
}
