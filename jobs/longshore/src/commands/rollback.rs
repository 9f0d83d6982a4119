//! `longshore rollback`: undoes the last swap.
//!
//! The database that a restore has replaced gets its name back, by the same exchange; the restored one is kept aside, so
//! that a second rollback brings it back.

use clap::Args;
use databases::Address;
use engine::Conclusion;
use jobkit::{Failure, Kit, Secret};
use ulid::Ulid;

/// Options of `rollback`.
#[derive(Debug, Clone, Args)]
pub struct RollbackArgs {
    /// The database that was restored into: postgres://USER@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL")]
    target: Secret,
    /// Password for the target; better given in LONGSHORE_TARGET_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    target_password: Option<Secret>,
}

/// Exchanges the names back.
pub async fn run(args: RollbackArgs, kit: Kit) -> Result<(), Failure> {
    let address = Address::parse(args.target.expose(), args.target_password.as_ref().map(Secret::expose))?;
    let run: String = Ulid::generate().to_string().to_ascii_lowercase().chars().skip(16).collect();
    kit.progress.stage("exchange the names");
    let stopped = kit.shutdown.token();
    let conclusion = address.rollback(&run, &|| stopped.is_cancelled()).await?;
    kit.progress.finish();
    kit.printer.print(&conclusion, text)
}

fn text(conclusion: &Conclusion) -> String {
    let Conclusion { database, server, .. } = conclusion;
    let kept = conclusion.replaced.as_ref().map_or_else(String::new, |name| {
        format!("  kept, closed: {name}; another `longshore rollback` brings it back, the next restore drops it\n")
    });
    let notes: String = conclusion.notes.iter().map(|note| format!("  note: {note}\n")).collect();
    format!("rolled {database} at {server} back to what it was before the last restore\n{kept}{notes}")
}
