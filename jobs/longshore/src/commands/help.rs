//! `longshore help`: help on a command, or the table of exit codes.

use clap::{Args, CommandFactory};
use jobkit::{Exit, Failure, Layout, table};
use std::io::Write;

/// Options of `help`.
#[derive(Debug, Clone, Args)]
pub struct HelpArgs {
    /// A command, or exit-codes
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
}

/// Prints the help asked for.
pub fn run<C: CommandFactory>(args: &HelpArgs) -> Result<(), Failure> {
    let mut command = C::command();
    let text = match args.topic.as_deref() {
        None => command.render_long_help().to_string(),
        Some("exit-codes") => table(Layout::Text),
        Some(topic) => match command.find_subcommand_mut(topic) {
            Some(found) => found.render_long_help().to_string(),
            None => {
                return Err(Failure::new(Exit::Usage, format!("there is no command {topic:?}"))
                    .hint("`longshore help` lists the commands"));
            }
        },
    };
    // A reader that closed the pipe has seen enough.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Unavailable, "print help").because(error))
        }
        _ => Ok(()),
    }
}
