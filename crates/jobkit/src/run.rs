//! From `main` to the exit code.
//!
//! Promises: one place parses, installs logs, runs the job and turns its result into the process's exit code; a failure
//! is printed once, on stderr, and with `--output json` also as the one document on stdout; a panic is exit 70. Refuses
//! to hang: what still runs when the job has ended gets two seconds.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use crate::common::{Common, LogFormat};
use crate::exit::Exit;
use crate::failure::{Failure, OrFail};
use crate::memory;
use crate::output::{Output, Printer, write_stdout};
use crate::progress::Progress;
use crate::secret::redact_text;
use crate::shutdown::{GRACE, Shutdown};
use crate::telemetry::Log;
use crate::vars::{Stop, Vars, parse_args};

/// How long background work may go on after the job has ended.
const LEFTOVERS: Duration = Duration::from_secs(2);

/// What a job is given besides its arguments.
#[derive(Debug, Clone)]
pub struct Kit {
    /// Tells when to stop.
    pub shutdown: Shutdown,
    /// Takes how far the job is.
    pub progress: Progress,
    /// Prints the result.
    pub printer: Printer,
    /// The environment.
    pub vars: Vars,
}

/// The whole of a binary's `main`: runs `job` with this process's arguments and environment. `common` finds the
/// [`Common`] options in the arguments.
///
/// ```no_run
/// # use longshore_jobkit as jobkit;
/// # use clap::Parser;
/// #[derive(Parser)]
/// struct Args {
///     #[command(flatten)]
///     common: jobkit::Common,
/// }
///
/// fn main() -> std::process::ExitCode {
///     jobkit::run_main(|args: &Args| &args.common, async |args, kit| Ok(()))
/// }
/// ```
pub fn run_main<A, C, J>(common: C, job: J) -> ExitCode
where
    A: clap::Parser,
    C: Fn(&A) -> &Common,
    J: AsyncFnOnce(A, Kit) -> Result<(), Failure>,
{
    memory::give_back_great_blocks();
    run_with(Vars::from_env(), std::env::args_os().collect(), common, job)
}

/// As [`run_main`], with a given environment and command line (program name first).
pub fn run_with<A, C, J>(vars: Vars, argv: Vec<OsString>, common: C, job: J) -> ExitCode
where
    A: clap::Parser,
    C: Fn(&A) -> &Common,
    J: AsyncFnOnce(A, Kit) -> Result<(), Failure>,
{
    let (args, unknown): (A, _) = match parse_args(&vars, &argv) {
        Ok(parsed) => parsed,
        Err(Stop::Print(text)) => return printed(&text),
        Err(Stop::Failure(failure)) => {
            // The options that say how to print this are not parsed: look for them by hand.
            let log = Log::new(guess(&argv, &vars, "--log-format").unwrap_or(LogFormat::Auto));
            let printer = Printer::new(guess(&argv, &vars, "--output").unwrap_or(Output::Text));
            return ended(Err(failure), &log, &printer);
        }
    };
    let settings = common(&args).clone();
    let (log, printer) = (Log::new(settings.log_format), Printer::new(settings.output));
    let result = log.install(&settings, &vars).and_then(|()| {
        for name in unknown {
            tracing::warn!(variable = name, "no option reads this variable; is its name mistyped?");
        }
        let progress = Progress::new(log.progress_mode(&settings));
        let printer = printer.clone();
        drive(progress, async |shutdown, progress| job(args, Kit { shutdown, progress, printer, vars }).await)
    });
    ended(result, &log, &printer)
}

/// Runs a job on a new runtime, under a [`Shutdown`], and turns a panic into a failure.
fn drive(progress: Progress, job: impl AsyncFnOnce(Shutdown, Progress) -> Result<(), Failure>) -> Result<(), Failure> {
    panic::set_hook(Box::new(log_panic));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_fail(Exit::Unavailable, "start the async runtime")?;
    let work = async {
        let shutdown = Shutdown::listen(GRACE).or_fail(Exit::Unavailable, "listen for signals")?;
        // Boxed: a job's future is large, and lives on the main thread's stack otherwise.
        let job: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(job(shutdown.clone(), progress.clone()));
        shutdown.run(job).await
    };
    let result = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
    match &result {
        Ok(Ok(())) => progress.finish(),
        Ok(Err(_)) | Err(_) => progress.abandon(),
    }
    runtime.shutdown_timeout(LEFTOVERS);
    result.unwrap_or_else(|_| {
        Err(Failure::new(Exit::Internal, "the job panicked").hint("this is a bug; the log line above says where"))
    })
}

/// Panics are log lines like all others, so that a log of JSON lines stays one.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(ToString::to_string);
    if tracing::event_enabled!(tracing::Level::ERROR) {
        tracing::error!(place, "panic: {message}");
    } else {
        let _stderr_may_be_gone = writeln!(io::stderr(), "error: panic: {}", redact_text(message));
    }
}

/// The one place where a result becomes an exit code.
fn ended(result: Result<(), Failure>, log: &Log, printer: &Printer) -> ExitCode {
    match result {
        Ok(()) => Exit::Ok.code().into(),
        Err(failure) => {
            log.failure(&failure);
            printer.failure(&failure);
            failure.exit().code().into()
        }
    }
}

/// Help and version.
fn printed(text: &str) -> ExitCode {
    match write_stdout(text) {
        Ok(()) => Exit::Ok.code().into(),
        Err(_) => Exit::Unavailable.code().into(),
    }
}

/// `--name value`, `--name=value` or the option's variable, when that is one of the option's values.
fn guess<T: ValueEnum>(argv: &[OsString], vars: &Vars, option: &str) -> Option<T> {
    let argv: Vec<&str> = argv.iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    let given = argv.iter().enumerate().rev().find_map(|(at, arg)| match arg.strip_prefix(option)? {
        "" => argv.get(at + 1).copied(),
        rest => rest.strip_prefix('='),
    });
    let name = crate::vars::env_name(option.trim_start_matches('-'));
    let set = || vars.get(&name).ok().flatten();
    T::from_str(&given.map(str::to_owned).or_else(set)?, false).ok()
}
