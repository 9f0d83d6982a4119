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
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;

use crate::common::{Common, LogFormat, ProgressMode};
use crate::exit::Exit;
use crate::failure::{Failure, OrFail};
use crate::memory;
use crate::output::{Output, Printer, write_stdout};
use crate::progress::Progress;
use crate::secret::{redact_text, redact_url};
use crate::shutdown::{GRACE, Shutdown};
use crate::signals::{Begun, SignalArgs, Subject, Telling};
use crate::telemetry::Log;
use crate::vars::{Parsed, Stop, Vars, parse};

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
    /// Takes what the run is about.
    pub subject: Subject,
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
    let begun = Begun::now();
    let (args, command, unknown) = match parsed::<A>(&vars, &argv) {
        Ok(parsed) => parsed,
        Err(Stop::Print(text)) => return printed(&text),
        Err(Stop::Failure(failure)) => return not_begun::<A>(failure, &vars, &argv, begun),
    };
    let settings = common(&args).clone();
    let (log, printer) = (Log::new(settings.log_format), Printer::new(settings.output));
    let installed = log.install(&settings, &vars);
    let subject = Subject::by_hand(&command, |option| given(&argv, &vars, option));
    let (telling, checked) = Telling::begin(&settings.signals, &command, begun, subject.clone());
    let printer = if telling.is_wanted() { printer.keeping() } else { printer };
    let outcome = match installed.and(checked) {
        Err(failure) => Outcome { result: Err(failure), since_signal: None },
        Ok(()) => {
            for name in unknown {
                tracing::warn!(variable = name, "no option reads this variable; is its name mistyped?");
            }
            for option in exposed(&argv) {
                tracing::warn!(
                    option,
                    "a secret on the command line can be read by everybody on this machine: give it in a file, as LONGSHORE_…_FILE"
                );
            }
            let progress = Progress::new(log.progress_mode(&settings));
            let printer = printer.clone();
            drive(progress, async |shutdown, progress| {
                job(args, Kit { shutdown, progress, printer, vars, subject }).await
            })
        }
    };
    ended(outcome, &log, &printer, telling)
}

/// The end of a run whose options cannot be parsed. Those that say how to print that, and whom to tell, are looked for by hand.
fn not_begun<A: clap::Parser>(failure: Failure, vars: &Vars, argv: &[OsString], begun: Begun) -> ExitCode {
    let given = |option: &str| given(argv, vars, option);
    let settings = Common {
        output: choice(given("--output")).unwrap_or(Output::Text),
        log_format: choice(given("--log-format")).unwrap_or(LogFormat::Auto),
        quiet: false,
        progress: ProgressMode::Never,
        signals: SignalArgs::by_hand(given),
    };
    let (log, printer) = (Log::new(settings.log_format), Printer::new(settings.output));
    let _logs_as_well_as_it_can = log.install(&settings, vars);
    let command = likely_command::<A>(argv);
    // What is wrong with its own options comes second: what is wrong with the command line is the failure.
    let (telling, _second) = Telling::begin(&settings.signals, &command, begun, Subject::by_hand(&command, given));
    ended(Outcome { result: Err(failure), since_signal: None }, &log, &printer, telling)
}

/// Arguments, the command's name and unknown variables.
fn parsed<A: clap::Parser>(vars: &Vars, argv: &[OsString]) -> Result<(A, String, Vec<String>), Stop> {
    let Parsed { mut matches, unknown } = parse(A::command(), vars, argv)?;
    let command = matches.subcommand_name().map_or_else(|| own_name::<A>(), str::to_owned);
    let args = A::from_arg_matches_mut(&mut matches)
        .map_err(|error| Failure::new(Exit::Usage, error.kind().to_string()).hint("see --help"))?;
    Ok((args, command, unknown))
}

/// The part of a command line that is ours: what is behind `--` belongs to somebody else's program.
fn own(argv: &[OsString]) -> &[OsString] {
    let end = argv.iter().position(|arg| arg == "--").unwrap_or(argv.len());
    &argv[..end]
}

/// Options on the command line that carry a secret: by their names, or by a URL with a password in it.
pub(crate) fn exposed(argv: &[OsString]) -> Vec<String> {
    const SECRET: [&str; 4] = ["password", "secret-key", "identity", "writer-key"];
    let argv: Vec<&str> = own(argv).iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    let mut found = Vec::new();
    for (at, arg) in argv.iter().enumerate() {
        let Some(option) = arg.strip_prefix("--") else { continue };
        let (name, value) = option.split_once('=').unwrap_or((option, argv.get(at + 1).copied().unwrap_or_default()));
        if SECRET.iter().any(|secret| name.ends_with(secret)) || (value.contains("://") && redact_url(value) != value) {
            found.push(format!("--{name}"));
        }
    }
    found
}

/// `backup`, of the binary `longshore-backup`.
fn own_name<A: clap::Parser>() -> String {
    let command = A::command();
    command.get_name().trim_start_matches("longshore-").to_owned()
}

/// The command that is meant by arguments that cannot be parsed.
fn likely_command<A: clap::Parser>(argv: &[OsString]) -> String {
    let command = A::command();
    let known = |arg: &OsString| command.get_subcommands().map(clap::Command::get_name).find(|name| arg == *name);
    own(argv).iter().skip(1).find_map(known).map_or_else(|| own_name::<A>(), str::to_owned)
}

/// How a job ended.
struct Outcome {
    result: Result<(), Failure>,
    /// How long ago a signal told it to stop, if one did.
    since_signal: Option<Duration>,
}

/// Runs a job on a new runtime, under a [`Shutdown`], and turns a panic into a failure.
fn drive(progress: Progress, job: impl AsyncFnOnce(Shutdown, Progress) -> Result<(), Failure>) -> Outcome {
    panic::set_hook(Box::new(log_panic));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime.or_fail(Exit::Unavailable, "start the async runtime") {
        Ok(runtime) => runtime,
        Err(failure) => return Outcome { result: Err(failure), since_signal: None },
    };
    let listening = OnceLock::new();
    let work = async {
        let shutdown = Shutdown::listen(GRACE).or_fail(Exit::Unavailable, "listen for signals")?;
        let shutdown = listening.get_or_init(|| shutdown);
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
    let result = result.unwrap_or_else(|_| {
        Err(Failure::new(Exit::Internal, "the job panicked").hint("this is a bug; the log line above says where"))
    });
    Outcome { result, since_signal: listening.get().and_then(Shutdown::since_signal) }
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
fn ended(outcome: Outcome, log: &Log, printer: &Printer, telling: Telling) -> ExitCode {
    let failure = outcome.result.err();
    if let Some(failure) = &failure {
        log.failure(failure);
        printer.failure(failure);
    }
    // Not even a bug in telling has a say in the code; the hook for panics has logged it.
    let _told_or_logged =
        panic::catch_unwind(AssertUnwindSafe(|| telling.end(failure.as_ref(), printer, outcome.since_signal)));
    failure.map_or(Exit::Ok, |failure| failure.exit()).code().into()
}

/// Help and version.
fn printed(text: &str) -> ExitCode {
    match write_stdout(text) {
        Ok(()) => Exit::Ok.code().into(),
        Err(_) => Exit::Unavailable.code().into(),
    }
}

/// `--name value`, `--name=value` or the option's variable, read without knowing what the command takes.
fn given(argv: &[OsString], vars: &Vars, option: &str) -> Option<String> {
    let argv: Vec<&str> = own(argv).iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    let given = argv.iter().enumerate().rev().find_map(|(at, arg)| match arg.strip_prefix(option)? {
        "" => Some(argv.get(at + 1).copied().unwrap_or_default()),
        rest => rest.strip_prefix('='),
    });
    let name = crate::vars::env_name(option.trim_start_matches('-'));
    given.map(str::to_owned).or_else(|| vars.get(&name).ok().flatten())
}

/// One of an option's values.
fn choice<T: ValueEnum>(given: Option<String>) -> Option<T> {
    T::from_str(&given?, false).ok()
}
