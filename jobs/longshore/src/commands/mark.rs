//! `longshore mark`: says which environment a database is.
//!
//! A restore replaces a database only when it is marked under the address and name that the restore is given, and never one
//! that is marked as production.

use clap::Args;
use databases::Address;
use engine::Marked;
use jobkit::format::{bytes, counted};
use jobkit::{Exit, Failure, Kit, Secret};

/// Longest name of an environment, in bytes.
const LONGEST: usize = 40;

/// Options of `mark`.
#[derive(Debug, Clone, Args)]
pub struct MarkArgs {
    /// The database: postgres://USER@HOST:PORT/DATABASE, with the host and port that restores will be given
    #[arg(long, value_name = "URL")]
    target: Secret,
    /// Password for the target; better given in LONGSHORE_TARGET_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    target_password: Option<Secret>,
    /// Which environment it is, such as staging; production, live, and names with a word that begins with prod, are never restored into
    #[arg(long = "as", value_name = "NAME", value_parser = environment)]
    name: Option<String>,
    /// Take the mark away: nothing is restored into the database any more
    #[arg(long, conflicts_with = "name")]
    remove: bool,
}

fn environment(text: &str) -> Result<String, String> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    if text.is_empty() || text.len() > LONGEST || !text.bytes().all(plain) {
        return Err(format!("a name has 1 to {LONGEST} letters, digits, dots, dashes and underscores"));
    }
    Ok(text.to_owned())
}

/// Not clap's to say: to it a variable is a default, which makes nothing present.
fn unnamed() -> Failure {
    Failure::new(Exit::Usage, "which environment the database is was not said")
        .hint("give it with --as NAME or LONGSHORE_AS, such as staging; --remove takes a mark away")
}

/// Writes the mark and says what was marked.
pub async fn run(args: MarkArgs, kit: Kit) -> Result<(), Failure> {
    let address = Address::parse(args.target.expose(), args.target_password.as_ref().map(Secret::expose))?;
    let name = if args.remove { None } else { Some(args.name.as_deref().ok_or_else(unnamed)?) };
    let marked = address.mark(name).await?;
    kit.progress.finish();
    kit.printer.print(&marked, text)
}

fn text(marked: &Marked) -> String {
    let Marked { database, server, .. } = marked;
    let what = match (&marked.marked_as, &marked.before) {
        (Some(now), Some(before)) if now != before => {
            format!("marked {database} at {server} as {now}; it was {before}")
        }
        (Some(now), _) => format!("marked {database} at {server} as {now}"),
        (None, Some(before)) => format!("{database} at {server} is not marked any more; it was {before}"),
        (None, None) => format!("{database} at {server} was not marked"),
    };
    let tables = counted(marked.tables, "table");
    let means = if marked.replaceable { "restores may replace it" } else { "nothing is restored into it" };
    format!("{what}: {means}\n  {tables}, {} on disk\n", bytes(marked.bytes))
}
