//! Configuration from the environment: every option `--foo-bar` is also `LONGSHORE_FOO_BAR`, and `LONGSHORE_FOO_BAR_FILE`
//! names a file that holds its value.
//!
//! Promises: a flag beats its variable; an error names the variable, and the file, but never a value; help shows the
//! variables' names and never what they hold; a broken variable stops only commands that would use it. Refuses both
//! forms of one variable at once. An empty variable counts as unset, because `${X:-}` in a compose file makes it so.
//!
//! Conventions for commands: options that may carry a secret (URLs, keys) are `String` or [`Secret`](crate::Secret),
//! whose parsing cannot fail, so that clap has no reason to repeat them. What clap prints is redacted nevertheless.
//! A variable counts as a default: it satisfies `required`, but not clap's required groups and `requires`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::builder::StyledStr;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::secret::redact_url;

/// What every variable's name begins with.
const PREFIX: &str = "LONGSHORE_";
/// What the name of a variable that names a file ends with.
const FILE: &str = "_FILE";
/// Variables that are no option of any command.
const OTHERS: [&str; 1] = ["LONGSHORE_LOG"];
/// Variables of our own tests.
const TESTS: &str = "LONGSHORE_TEST_";
/// The most that is read from a file, in bytes.
const FILE_BYTES: u64 = 1024 * 1024;

/// The `LONGSHORE_*` part of an environment. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, OsString>);

impl Vars {
    /// What this process was started with.
    #[must_use]
    pub fn from_env() -> Self {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// The value of `name` (`LONGSHORE_FOO_BAR`), or of the file that `name_FILE` names, without one trailing newline.
    ///
    /// # Errors
    /// [`Exit::Config`] when both are set, the file cannot be read, is empty or larger than 1 MiB, or a value is not
    /// UTF-8. Names the variable and the path, never the value.
    pub fn get(&self, name: &str) -> Result<Option<String>, Failure> {
        match (self.set(name), self.set(&format!("{name}{FILE}"))) {
            (None, None) => Ok(None),
            (Some(value), None) => match value.to_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(Failure::new(Exit::Config, format!("{name} is not UTF-8 text"))),
            },
            (None, Some(path)) => read_file(name, path).map(Some),
            (Some(_), Some(_)) => {
                Err(Failure::new(Exit::Config, format!("both {name} and {name}{FILE} are set"))
                    .hint("unset one of them"))
            }
        }
    }

    /// Variables that name files (`LONGSHORE_FOO_FILE`), and the files' paths, in order.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let named = self.0.iter().filter(|(name, value)| name.ends_with(FILE) && !value.is_empty());
        named.map(|(name, value)| (name.as_str(), Path::new(value)))
    }

    fn set(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Variables that no command reads, most likely mistyped, in order. Variables that Kubernetes sets for a service
    /// whose name begins with `longshore` are not reported.
    fn unknown(&self, known: &BTreeSet<String>) -> Vec<String> {
        let is_known = |name: &str| known.contains(name) || OTHERS.contains(&name) || name.starts_with(TESTS);
        let reads = |name: &str| is_known(name) || name.strip_suffix(FILE).is_some_and(is_known);
        self.0
            .iter()
            .filter(|(name, value)| !reads(name) && !is_service_link(name, value))
            .map(|(n, _)| n.clone())
            .collect()
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Vars {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(pairs.filter(|(name, _): &(String, OsString)| name.starts_with(PREFIX)).collect())
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `LONGSHORE_TRIGGER_SERVICE_HOST`, `LONGSHORE_TRIGGER_PORT=tcp://…`, `LONGSHORE_TRIGGER_PORT_80_TCP_ADDR` and so on.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    name.ends_with("SERVICE_HOST")
        || name.contains("SERVICE_PORT")
        || (name.contains("PORT_") && (name.contains("_TCP") || name.contains("_UDP")))
        || (name.ends_with("PORT") && value.to_str().is_some_and(|value| value.contains("://")))
}

fn read_file(name: &str, path: &OsStr) -> Result<String, Failure> {
    let shown = path.display();
    let what = |problem: &str| Failure::new(Exit::Config, format!("{name}{FILE} names {shown}, which {problem}"));
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| what("cannot be read").because(error).hint("check the path, the mount and its permissions"))?;
    if content.len() as u64 > FILE_BYTES {
        return Err(what("is larger than 1 MiB"));
    }
    let mut text = String::from_utf8(content).map_err(|_| what("is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(what("is empty")) } else { Ok(text) }
}

/// The variable for `--foo-bar`: `LONGSHORE_FOO_BAR`.
#[must_use]
pub fn env_name(long: &str) -> String {
    format!("{PREFIX}{}", long.to_ascii_uppercase().replace(['-', '.'], "_"))
}

/// A parsed command line.
#[derive(Debug)]
pub struct Parsed {
    /// Flags first, then variables, then defaults.
    pub matches: ArgMatches,
    /// `LONGSHORE_*` variables that no command reads: worth a warning.
    pub unknown: Vec<String>,
}

/// Why there is no parsed command line.
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for: print this on stdout and end well.
    Print(String),
    /// The command line or a variable is wrong.
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Parses `argv` (program name first) for `command`, taking `vars` for options that are not given.
///
/// # Errors
/// [`Stop::Print`] for `--help` and `--version`; [`Exit::Usage`] with clap's text for bad arguments; [`Exit::Config`] for
/// a variable that this command would use and cannot.
pub fn parse(
    command: Command,
    vars: &Vars,
    argv: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Parsed, Stop> {
    let argv: Vec<OsString> = argv.into_iter().map(Into::into).collect();
    let mut options = BTreeSet::new();
    collect_options(&command, &mut options);
    let mut reader = Reader { vars, options: &options, broken: Vec::new() };
    let command = reader.apply(command, &[]);
    let broken = reader.broken;
    let matches = command.try_get_matches_from(&argv).map_err(|error| from_clap(&error, &argv))?;
    for Broken { path, id, failure } in broken {
        if would_use(&matches, &path, &id) {
            return Err(failure.into());
        }
    }
    Ok(Parsed { matches, unknown: vars.unknown(&options) })
}

/// As [`parse`], into a derived argument type. Returns the unknown variables as well.
///
/// # Errors
/// As [`parse`].
pub fn parse_args<A: clap::Parser>(
    vars: &Vars,
    argv: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<(A, Vec<String>), Stop> {
    let Parsed { mut matches, unknown } = parse(A::command(), vars, argv)?;
    let args = A::from_arg_matches_mut(&mut matches)
        .map_err(|error| Failure::new(Exit::Usage, error.kind().to_string()).hint("see --help"))?;
    Ok((args, unknown))
}

/// Every variable that an option of `command` or of its subcommands reads.
fn collect_options(command: &Command, names: &mut BTreeSet<String>) {
    names.extend(command.get_arguments().filter_map(variable_of));
    for sub in command.get_subcommands() {
        collect_options(sub, names);
    }
}

/// The variable of an option; `None` for positional arguments, help and version.
fn variable_of(arg: &Arg) -> Option<String> {
    match arg.get_action() {
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version => None,
        _ => arg.get_long().filter(|long| !matches!(*long, "help" | "version")).map(env_name),
    }
}

/// A variable that is set and of no use.
struct Broken {
    /// Names of the subcommands that lead to the option.
    path: Vec<String>,
    id: String,
    failure: Failure,
}

/// Walks a command and puts variables into it.
struct Reader<'a> {
    vars: &'a Vars,
    options: &'a BTreeSet<String>,
    broken: Vec<Broken>,
}

impl Reader<'_> {
    fn apply(&mut self, command: Command, path: &[String]) -> Command {
        command.mut_args(|arg| self.apply_to(arg, path)).mut_subcommands(|sub| {
            let path = [path, &[sub.get_name().to_owned()]].concat();
            self.apply(sub, &path)
        })
    }

    fn apply_to(&mut self, arg: Arg, path: &[String]) -> Arg {
        let Some(name) = variable_of(&arg) else { return arg };
        let arg = with_name_in_help(arg, &name);
        let defaults = match self.read(&name) {
            Ok(None) => return arg,
            Ok(Some(value)) => defaults_for(&arg, &name, &value),
            Err(failure) => Err(failure),
        };
        // Not required either way: a broken variable is to be reported as such, not as a missing flag.
        match defaults {
            Ok(defaults) => {
                let shows_default = arg.get_action().takes_values();
                arg.required(false).hide_default_value(shows_default).default_values(defaults)
            }
            Err(failure) => {
                self.broken.push(Broken { path: path.to_vec(), id: arg.get_id().to_string(), failure });
                arg.required(false)
            }
        }
    }

    /// `LONGSHORE_X_FILE` belongs to an option `--x-file` when there is one, not to `--x`.
    fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        if self.options.contains(&format!("{name}{FILE}")) {
            let alone: Vars = self.vars.0.get(name).map(|value| (name, value)).into_iter().collect();
            return alone.get(name);
        }
        self.vars.get(name)
    }
}

/// True when the command that was called has this option and no flag overrode it.
fn would_use(matches: &ArgMatches, path: &[String], id: &str) -> bool {
    let mut matches = matches;
    for step in path {
        match matches.subcommand() {
            Some((name, below)) if name == step => matches = below,
            _ => return false,
        }
    }
    // A global flag may have been given anywhere below the command that defines it.
    loop {
        if matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine) {
            return false;
        }
        match matches.subcommand() {
            Some((_, below)) => matches = below,
            None => return true,
        }
    }
}

fn with_name_in_help(arg: Arg, name: &str) -> Arg {
    let note = |help: &StyledStr| {
        let help = help.ansi().to_string();
        if help.is_empty() { format!("[env: {name}]") } else { format!("{help} [env: {name}]") }
    };
    let short = arg.get_help().map_or_else(|| format!("[env: {name}]"), note);
    match arg.get_long_help().map(note) {
        Some(long) => arg.help(short).long_help(long),
        None => arg.help(short),
    }
}

/// The values that stand for a variable, checked with the option's own parser.
fn defaults_for(arg: &Arg, name: &str, value: &str) -> Result<Vec<String>, Failure> {
    let defaults = match arg.get_action() {
        ArgAction::SetTrue => vec![truth(name, value)?.to_string()],
        ArgAction::SetFalse => vec![(!truth(name, value)?).to_string()],
        ArgAction::Append => split(value),
        _ if arg.get_num_args().is_some_and(|range| range.max_values() > 1) => split(value),
        _ => vec![value.to_owned()],
    };
    if defaults.iter().all(|value| is_accepted(arg, value)) {
        return Ok(defaults);
    }
    let long = arg.get_long().unwrap_or_default();
    let allowed: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let hint = if allowed.is_empty() {
        format!("see --help for what --{long} takes")
    } else {
        format!("use one of: {}", allowed.join(", "))
    };
    Err(Failure::new(Exit::Config, format!("{name} has a value that --{long} does not take")).hint(hint))
}

/// Values between commas and ends of lines. What is in double quotes is not divided, and keeps them.
fn split(value: &str) -> Vec<String> {
    let mut quoted = false;
    // A quote that nothing ends is one like any other character.
    let pairs = value.matches('"').count().is_multiple_of(2);
    let ends = |c: char| {
        quoted ^= c == '"' && pairs;
        !quoted && matches!(c, ',' | '\n')
    };
    value.split(ends).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn truth(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => {
            Err(Failure::new(Exit::Config, format!("{name} is neither true nor false")).hint("use true, false, 1 or 0"))
        }
    }
}

/// Tries a value in a command that has nothing but this option's parser.
fn is_accepted(arg: &Arg, value: &str) -> bool {
    let probe = Arg::new("value")
        .value_parser(arg.get_value_parser().clone())
        .required(true)
        .allow_hyphen_values(true)
        .ignore_case(arg.is_ignore_case_set());
    Command::new("probe").no_binary_name(true).disable_help_flag(true).arg(probe).try_get_matches_from([value]).is_ok()
}

/// Clap's own text.
fn from_clap(error: &clap::Error, argv: &[OsString]) -> Stop {
    use clap::error::ErrorKind;
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop::Print(text);
    }
    let text = hide(text, error, argv);
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Stop::Failure(Failure::new(Exit::Usage, "no command was given").hint(text.trim()));
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    Stop::Failure(match text.split_once("\n\n") {
        Some((what, rest)) => Failure::new(Exit::Usage, what).hint(rest.trim()),
        None => Failure::new(Exit::Usage, text),
    })
}

/// Clap repeats what it does not understand. URLs in it lose their secrets; a stray argument, which may be a secret
/// whose flag was forgotten, is hidden whole.
fn hide(mut text: String, error: &clap::Error, argv: &[OsString]) -> String {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(stray)) = error.get(ContextKind::InvalidArg)
        && !stray.starts_with('-')
    {
        text = text.replace(&format!("'{stray}'"), "'***'").replace(&format!("-- {stray}"), "-- ***");
    }
    for given in argv.iter().skip(1).filter_map(|arg| arg.to_str()) {
        let value = if given.starts_with('-') { given.split_once('=').map_or("", |(_, value)| value) } else { given };
        let shown = redact_url(value);
        if shown != value {
            text = text.replace(value, &shown);
        }
    }
    text
}
