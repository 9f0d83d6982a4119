//! Logs on stderr, and the screen they share with progress bars.
//!
//! Promises: on a terminal plain lines without time stamps; elsewhere one JSON object a line with `time` (RFC 3339, UTC,
//! milliseconds), `level`, `message` and the event's fields beside them; URLs and `name=value` secrets are redacted in
//! both; a log line never tears a progress bar. Refuses to fail a job because stderr is gone.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::common::{Common, LogFormat, ProgressMode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::{LOG_EVERY, Mode};
use crate::secret::redact_text;
use crate::vars::Vars;

/// The variable that chooses what is logged, in the syntax of `tracing`'s filters: `debug`, `warn,longshore_repository=trace`.
const LEVELS: &str = "LONGSHORE_LOG";
/// Redraws a second, at most.
const HZ: u8 = 10;
/// What is logged when nobody chooses: every crate of ours is named `longshore…`, and means its `info` for operators.
/// The SDK warns about each place where it finds no credentials with a dump of its insides; the failure says it in a line.
const DEFAULT: &str = "warn,aws_config=error,longshore=info";
/// With `--quiet`.
const QUIET: &str = "warn,aws_config=error";
/// With `--quiet --progress always`.
const QUIET_WITH_PROGRESS: &str = "warn,aws_config=error,longshore_jobkit::progress=info";

/// The terminal behind stderr, shared by logs and progress bars. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Screen(MultiProgress);

impl Screen {
    /// Stderr. Draws nothing when that is not a terminal.
    #[must_use]
    pub fn stderr() -> Self {
        Self(MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(HZ)))
    }

    /// Draws nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()))
    }

    pub(crate) fn add(&self, bar: ProgressBar) -> ProgressBar {
        self.0.add(bar)
    }

    /// Writes to stderr with the bars out of the way. A stderr that is gone is nobody's failure.
    fn write(&self, text: &[u8]) {
        self.0.suspend(|| {
            let _stderr_may_be_gone = io::stderr().lock().write_all(text);
        });
    }
}

/// How this process logs.
#[derive(Debug, Clone)]
pub struct Log {
    json: bool,
    screen: Screen,
}

impl Log {
    /// Decides on a format; nothing is installed yet.
    #[must_use]
    pub fn new(format: LogFormat) -> Self {
        let json = match format {
            LogFormat::Auto => !io::stderr().is_terminal(),
            LogFormat::Text => false,
            LogFormat::Json => true,
        };
        Self { json, screen: Screen::stderr() }
    }

    /// Sends this process's `tracing` events to stderr from here on. Only the first call in a process has an effect.
    ///
    /// # Errors
    /// [`Exit::Config`] when `LONGSHORE_LOG` is not a filter; without its value.
    pub fn install(&self, common: &Common, vars: &Vars) -> Result<(), Failure> {
        let filter = filter(common, vars)?;
        let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines { json: self.json, color })
            .with_writer(self.screen.clone())
            .log_internal_errors(false);
        let installed = tracing_subscriber::registry().with(filter).with(layer).try_init();
        if installed.is_err() {
            tracing::debug!("logs go where an earlier call sent them");
        }
        Ok(())
    }

    /// Where and how progress is to be shown.
    #[must_use]
    pub fn progress_mode(&self, common: &Common) -> Mode {
        let bars = io::stderr().is_terminal() && (!self.json || common.progress == ProgressMode::Always);
        match common.progress {
            ProgressMode::Never => Mode::Silent,
            ProgressMode::Auto if common.quiet => Mode::Silent,
            _ if bars => Mode::Bar(self.screen.clone()),
            _ => Mode::Log(LOG_EVERY),
        }
    }

    /// Prints how a job failed, whatever `LONGSHORE_LOG` says.
    pub fn failure(&self, failure: &Failure) {
        let text = if self.json {
            let mut fields = Map::new();
            if let Value::Object(facts) = failure.to_json() {
                fields.extend(facts.into_iter().filter(|(name, _)| !matches!(name.as_str(), "ok" | "error")));
            }
            json_line("error", &failure.what(), fields)
        } else {
            failure.render_text()
        };
        self.screen.write(text.as_bytes());
    }
}

fn filter(common: &Common, vars: &Vars) -> Result<EnvFilter, Failure> {
    let given = vars.get(LEVELS)?;
    let directives = match &given {
        Some(given) => given.as_str(),
        None if common.quiet && common.progress == ProgressMode::Always => QUIET_WITH_PROGRESS,
        None if common.quiet => QUIET,
        None => DEFAULT,
    };
    EnvFilter::try_new(directives).map_err(|_| {
        Failure::new(Exit::Config, format!("{LEVELS} is not a log filter"))
            .hint("use a level (error, warn, info, debug, trace), or a list such as warn,longshore_repository=debug")
    })
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = ScreenWriter<'a>;

    fn make_writer(&'a self) -> ScreenWriter<'a> {
        ScreenWriter(self)
    }
}

/// Writes whole log lines: the layer above hands over one event in one call.
#[derive(Debug)]
pub struct ScreenWriter<'a>(&'a Screen);

impl Write for ScreenWriter<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event, one line.
struct Lines {
    json: bool,
    color: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        writer.write_str(&self.line(*event.metadata().level(), fields))
    }
}

impl Lines {
    fn line(&self, level: Level, fields: Fields) -> String {
        let (name, color) = match level {
            Level::ERROR => ("error", "31"),
            Level::WARN => ("warn", "33"),
            Level::INFO => ("info", "32"),
            Level::DEBUG => ("debug", "34"),
            Level::TRACE => ("trace", "35"),
        };
        if self.json {
            return json_line(name, &fields.message, fields.others);
        }
        let mut line = if self.color { format!("\u{1b}[{color}m{name}\u{1b}[0m: ") } else { format!("{name}: ") };
        line.push_str(&fields.message);
        for (name, value) in fields.others {
            match value {
                Value::String(text) if !text.contains(char::is_whitespace) => line.push_str(&format!(" {name}={text}")),
                value => line.push_str(&format!(" {name}={value}")),
            }
        }
        line.push('\n');
        line
    }
}

/// `{"time":…,"level":…,"message":…,…}` and a newline. A field cannot replace one of the first three.
fn json_line(level: &str, message: &str, mut fields: Map<String, Value>) -> String {
    let time = format!("{:.3}", jiff::Timestamp::now());
    for taken in ["time", "level", "message"] {
        fields.remove(taken);
    }
    let [time, level, message] = [time.as_str(), level, message].map(Value::from);
    let rest = Value::Object(fields).to_string();
    // The first three come first for those who read the raw lines; a map would sort them in among the others.
    let rest = rest.strip_prefix('{').unwrap_or(&rest);
    let comma = if rest == "}" { "" } else { "," };
    format!("{{\"time\":{time},\"level\":{level},\"message\":{message}{comma}{rest}\n")
}

/// An event's message and fields, redacted.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let value = match value.into() {
            Value::String(text) => Value::String(redact_text(&text).into_owned()),
            value => value,
        };
        match value {
            Value::String(text) if field.name() == "message" => self.message = text,
            value => {
                self.others.insert(field.name().to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let chain = std::iter::successors(Some(value), |error| error.source()).take(16);
        let texts: Vec<String> = chain.map(ToString::to_string).collect();
        self.put(field, texts.join(": "));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn fields() -> Fields {
        let mut others = Map::new();
        others.insert("rows".to_owned(), Value::from(3));
        others.insert("table".to_owned(), Value::from("a b"));
        others.insert("level".to_owned(), Value::from("mine"));
        Fields { message: "copied \"it\"".to_owned(), others }
    }

    #[test]
    fn json_lines_are_flat_objects_in_a_fixed_order() {
        let line = Lines { json: true, color: false }.line(Level::INFO, fields());
        assert!(line.starts_with("{\"time\":\"20") && line.ends_with("}\n") && line.lines().count() == 1, "{line}");
        let json: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&json["level"], &json["message"], &json["rows"]),
            (&"info".into(), &"copied \"it\"".into(), &3.into())
        );
        let time = json["time"].as_str().unwrap();
        assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{time}");
        let bare = json_line("warn", "m", Map::new());
        assert!(serde_json::from_str::<Value>(&bare).is_ok(), "{bare}");
    }

    #[test]
    fn text_lines_have_no_time() {
        let line = Lines { json: false, color: false }.line(Level::WARN, fields());
        assert_eq!(line, "warn: copied \"it\" level=mine rows=3 table=\"a b\"\n");
    }

    #[test]
    fn a_bad_filter_is_a_configuration_error_without_its_value() {
        let common = crate::tests::common(&[]);
        let vars: Vars = [("LONGSHORE_LOG", "canary=notalevel")].into_iter().collect();
        let failure = filter(&common, &vars).err().unwrap();
        assert_eq!(failure.exit(), Exit::Config);
        assert!(!failure.render_text().contains("canary"));
        assert!(filter(&common, &Vars::default()).is_ok());
    }
}
