//! Commands as an operator meets them: flags and variables in `options`, whole processes in `processes`.

use clap::Parser;

use crate::Common;

mod options;
mod processes;

/// Common options as parsed from these flags.
pub(crate) fn common(flags: &[&str]) -> Common {
    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        common: Common,
    }
    Only::parse_from([&["test"], flags].concat()).common
}
