//! `longshore completions`: the completion script for a shell, on stdout.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use jobkit::{Exit, Failure};
use std::io::Write;

/// Options of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run<C: CommandFactory>(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "longshore", &mut script);
    match std::io::stdout().write_all(&script) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Unavailable, "write the completion script").because(error))
        }
        _ => Ok(()),
    }
}
