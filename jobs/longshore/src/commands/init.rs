//! `longshore init`: makes a repository, encrypted when it is told for whom.

use crate::key_file::KeyFile;
use clap::Args;
use jobkit::{Failure, Kit, RepoArgs};
use repository::{Recipient, Repository, Sizes};
use serde_json::json;
use std::path::PathBuf;

/// Options of `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// Encrypt, so that this age recipient (age1…) can read; may be given several times, and two are better than one
    #[arg(long, value_name = "age1…", value_delimiter = ',', help_heading = "Encryption")]
    recipient: Vec<String>,
    /// Where to write the key of the first backup job
    #[arg(long, value_name = "FILE", requires = "recipient", help_heading = "Encryption")]
    writer_key_out: Option<PathBuf>,
    /// What that job is called among the signers
    #[arg(long, value_name = "NAME", default_value = "backup", value_parser = super::keys::writer_name, help_heading = "Encryption")]
    writer: String,
}

/// Probes the store, then makes the repository.
pub async fn run(args: InitArgs, kit: Kit) -> Result<(), Failure> {
    let recipients: Vec<Recipient> = args.recipient.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let file = args.writer_key_out.as_deref().map(KeyFile::create).transpose()?;
    kit.progress.stage("probe the store");
    let store = args.repo.open_store().await?;
    let repository = Repository::init(store, Sizes::default(), &recipients).await?;
    if let Some(file) = file {
        let hint = "the repository is made; make the job's key with `longshore keys new-writer`";
        let made = repository.add_writer(&args.writer).await;
        let written = made.map_err(Failure::from).and_then(|new| file.write(&new.key.expose()));
        written.map_err(|failure| failure.hint(hint))?;
    }
    kit.progress.finish();
    let config = repository.config();
    let result = json!({
        "repository": config.id, "format": config.format, "created": config.created, "location": repository.location(),
        "repository_key": repository.fingerprint(), "recipients": args.recipient,
        "writer_key_file": args.writer_key_out,
    });
    kit.printer.print(&result, |_| text(&args, &repository))
}

fn text(args: &InitArgs, repository: &Repository) -> String {
    let mut text = format!("made repository {} in {}\n", repository.config().id, repository.location());
    let Some(fingerprint) = repository.fingerprint() else {
        text.push_str(
            "  NOT encrypted, which cannot be changed later: whoever can read the store reads the data; see --recipient\n",
        );
        return text;
    };
    text.push_str(&format!("  encrypted; its keys have the fingerprint {fingerprint}\n"));
    if let Some(file) = &args.writer_key_out {
        text.push_str(&format!("  the key of the backup job {:?} is in {}\n", args.writer, file.display()));
    }
    if args.recipient.len() == 1 {
        text.push_str(
            "  one recipient: whoever loses that identity loses every backup; add another with `longshore keys add`\n",
        );
    }
    text
}
