//! What a webhook is told.
//!
//! Owns the three forms that are built in and the placeholders of one's own. Promises that what is sent is JSON: every value is
//! escaped where it is put in, and a template that has an unknown placeholder or makes no JSON is refused before the run begins.

use std::fs::File;
use std::io::Read;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::document;
use crate::run::{Ended, Failed, Run, cut, took};
use crate::settings::Problem;

/// The longest template, in bytes.
const LONGEST: u64 = 64 * 1024;
/// The longest document that is sent with the run's result in it, in bytes; services refuse what is much longer.
const MOST_RESULT: usize = 64 * 1024;
/// The most of an error that goes into a message for people, in bytes.
const MOST_TEXT: usize = 2048;

/// The form of a message.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    /// The result document.
    Generic,
    /// What Slack, and what imitates it, takes.
    Slack,
    /// What the workflows of Microsoft Teams take: an adaptive card.
    Teams,
    /// One's own.
    Own(Vec<Piece>),
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Text(String),
    Placeholder(&'static str),
}

/// Names that may stand between `{{` and `}}`.
const PLACEHOLDERS: [&str; 15] = [
    "program", "command", "source", "status", "ok", "exit", "name", "error", "causes", "hint", "summary", "started",
    "finished", "seconds", "duration",
];

impl Template {
    /// `slack`, `teams`, `generic`, the path of a template, or a template itself, which begins with a brace.
    pub fn read(named: &str) -> Result<Self, Problem> {
        match named.trim() {
            "generic" => Ok(Self::Generic),
            "slack" => Ok(Self::Slack),
            "teams" => Ok(Self::Teams),
            text if text.starts_with(['{', '[']) => Self::parse("in --webhook-template", text),
            path => {
                let mut text = String::new();
                let file = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
                file.map_err(|error| Problem {
                    what: format!("the template {path} of --webhook-template cannot be read: {error}"),
                    hint: "use slack, teams, generic, or the path of a file".to_owned(),
                })?;
                Self::parse(path, &text)
            }
        }
    }

    fn parse(place: &str, text: &str) -> Result<Self, Problem> {
        let problem = |what: String| Problem {
            what: format!("the webhook template {place} {what}"),
            hint: format!("placeholders are written {{{{name}}}} and are: {}", PLACEHOLDERS.join(", ")),
        };
        if text.len() as u64 > LONGEST {
            return Err(problem("is longer than 64 KiB".to_owned()));
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(problem("has a {{ without its }}".to_owned()));
            };
            let Some(known) = PLACEHOLDERS.into_iter().find(|known| *known == name.trim()) else {
                return Err(problem(format!("has an unknown placeholder: {}", cut(name.trim(), 40))));
            };
            pieces.extend([Piece::Text(before.to_owned()), Piece::Placeholder(known)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let (run, ended) = sample();
        match serde_json::from_str::<Value>(&fill(&pieces, &run, &ended)) {
            Ok(_) => Ok(Self::Own(pieces)),
            Err(error) => Err(problem(format!("makes no JSON: line {}, column {}", error.line(), error.column()))),
        }
    }

    /// The message about a run: one JSON document.
    pub fn render(&self, run: &Run, ended: &Ended) -> String {
        match self {
            Self::Generic => generic(run, ended),
            Self::Slack => json!({"text": escape_slack(&message(run, ended))}).to_string(),
            Self::Teams => teams(run, ended).to_string(),
            Self::Own(pieces) => fill(pieces, run, ended),
        }
    }
}

/// A run with a quote and an end of line in everything that can have them.
fn sample() -> (Run, Ended) {
    let text = || "a \"text\"\n".to_owned();
    let failed = Failed { what: text(), causes: vec![text()], hint: Some(text()) };
    let run = Run { program: text(), command: text(), repository: None, started: Timestamp::UNIX_EPOCH };
    let ended = Ended {
        source: Some(text()),
        part: false,
        exit: 69,
        name: "unavailable",
        failed: Some(failed),
        result: None,
        finished: Timestamp::UNIX_EPOCH,
        seconds: 1.0,
    };
    (run, ended)
}

fn fill(pieces: &[Piece], run: &Run, ended: &Ended) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Placeholder(name) => {
            let quoted = Value::from(value(name, run, ended)).to_string();
            // What is between the quotes: the template has quotes of its own around texts, and none around numbers.
            quoted[1..quoted.len() - 1].to_owned()
        }
    };
    pieces.iter().map(piece).collect()
}

/// What stands for a placeholder. Texts that are not known are empty.
fn value(name: &str, run: &Run, ended: &Ended) -> String {
    let failed = ended.failed.as_ref();
    let text = |text: Option<&str>| cut(text.unwrap_or_default(), MOST_TEXT);
    match name {
        "program" => run.program.clone(),
        "command" => run.command.clone(),
        "source" => ended.source.clone().unwrap_or_default(),
        "status" => if ended.ok() { "ok" } else { "failed" }.to_owned(),
        "ok" => ended.ok().to_string(),
        "exit" => ended.exit.to_string(),
        "name" => ended.name.to_owned(),
        "error" => text(failed.map(|failed| failed.what.as_str())),
        "causes" => text(failed.map(|failed| failed.causes.join("\n")).as_deref()),
        "hint" => text(failed.and_then(|failed| failed.hint.as_deref())),
        "summary" => text(Some(&ended.summary(run))),
        "started" => run.started.to_string(),
        "finished" => ended.finished.to_string(),
        "seconds" => format!("{:.3}", ended.seconds),
        "duration" => took(ended.seconds),
        _ => String::new(),
    }
}

fn generic(run: &Run, ended: &Ended) -> String {
    let mut document = document::ended(run, ended, None);
    if let Some(fields) = document.as_object_mut() {
        // Not known while messages are on their way.
        fields.remove("missed_signals");
    }
    let whole = document.to_string();
    if whole.len() <= MOST_RESULT {
        return whole;
    }
    if let Some(result) = document.get_mut("result") {
        *result = Value::Null;
    }
    document.to_string()
}

/// The summary, and below it the causes and the hint.
fn message(run: &Run, ended: &Ended) -> String {
    let mut text = value("summary", run, ended);
    for name in ["causes", "hint"] {
        let more = value(name, run, ended);
        if !more.is_empty() {
            text.push('\n');
            text.push_str(&more);
        }
    }
    text
}

/// Slack takes these three for links and mentions.
fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn teams(run: &Run, ended: &Ended) -> Value {
    let fact = |title: &str, name: &str| json!({"title": title, "value": value(name, run, ended)});
    let mut facts = vec![fact("Command", "command")];
    if ended.source.is_some() {
        facts.push(fact("Source", "source"));
    }
    facts.extend([fact("Finished", "finished"), fact("Took", "duration")]);
    if ended.failed.is_some() {
        facts.push(json!({"title": "Exit", "value": format!("{} ({})", ended.exit, ended.name)}));
        facts.extend([fact("Causes", "causes"), fact("Hint", "hint")]);
    }
    let color = if ended.ok() { "good" } else { "attention" };
    let title = value("summary", run, ended);
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {"type": "TextBlock", "text": title, "weight": "bolder", "color": color, "wrap": true},
                    {"type": "FactSet", "facts": facts},
                ],
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::run::tests::{failed, run, well};

    fn rendered(template: &str, ended: &Ended) -> Value {
        serde_json::from_str(&Template::read(template).unwrap().render(&run(), ended)).unwrap()
    }

    #[test]
    fn each_built_in_form_says_what_happened() {
        let slack = rendered("slack", &failed());
        let text = slack["text"].as_str().unwrap();
        assert!(text.contains("exit 69 (unavailable): connect to \"app\" &amp; &lt;others&gt;\nrefused\nis it up?"));
        let card = rendered("teams", &failed());
        assert_eq!(card["attachments"][0]["content"]["body"][0]["color"], "attention");
        assert_eq!(rendered("generic", &failed())["exit"], 69);
        assert_eq!(rendered("teams", &well(Value::Null))["attachments"][0]["content"]["body"][0]["color"], "good");
    }

    #[test]
    fn ones_own_is_filled_and_escaped() {
        let own = r#"{"t": "{{ status }}: {{error}}", "code": {{exit}}, "ok": {{ok}}, "in": {"seconds": {{seconds}}}}"#;
        let filled = rendered(own, &failed());
        assert_eq!(filled["t"], "failed: connect to \"app\" & <others>");
        assert_eq!(
            (&filled["code"], &filled["ok"], &filled["in"]["seconds"]),
            (&69.into(), &false.into(), &75.5.into())
        );
        assert_eq!(rendered(own, &well(Value::Null))["t"], "ok: ");
    }

    #[test]
    fn every_placeholder_that_is_named_is_known() {
        let (run, ended) = sample();
        for name in PLACEHOLDERS {
            assert!(!value(name, &run, &ended).is_empty(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_refused_at_once() {
        for (wrong, says) in [
            (r#"{"a": "{{nonsense}}"}"#, "unknown placeholder: nonsense"),
            (r#"{"a": "{{error}"}"#, "without its }}"),
            (r#"{"a": {{error}}}"#, "makes no JSON"),
            ("/nonexistent/template.json", "cannot be read"),
        ] {
            let problem = Template::read(wrong).unwrap_err();
            assert!(problem.what.contains(says), "{problem:?}");
        }
    }

    #[test]
    fn a_long_result_is_left_out() {
        let long = well(json!({"tables": "x".repeat(MOST_RESULT)}));
        assert!(rendered("generic", &long)["result"].is_null());
        assert_eq!(rendered("generic", &well(json!({"rows": 3})))["result"]["rows"], 3);
    }
}
