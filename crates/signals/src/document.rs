//! The one document about a run: the result file, and what a webhook gets that asks for nothing else.

use serde_json::{Value, json};

use crate::run::{Ended, Missed, Run};

/// A run that has begun. Whoever finds this, and no such process, knows that the run was killed.
pub(crate) fn running(run: &Run) -> Value {
    json!({
        "program": run.program,
        "command": run.command,
        "source": null,
        "state": "running",
        "started": run.started.to_string(),
        "finished": null,
        "seconds": null,
        "ok": null,
        "exit": null,
        "name": null,
        "error": null,
        "causes": [],
        "hint": null,
        "result": null,
        "missed_signals": null,
    })
}

/// A run that has ended. `missed` is what could not be told; `None` when that is not known yet.
pub(crate) fn ended(run: &Run, ended: &Ended, missed: Option<&[Missed]>) -> Value {
    let failed = ended.failed.as_ref();
    let missed = missed.map(|missed| {
        let entry = |missed: &Missed| json!({"signal": missed.signal, "to": missed.to, "error": missed.why});
        missed.iter().map(entry).collect::<Vec<_>>()
    });
    json!({
        "program": run.program,
        "command": run.command,
        "source": ended.source,
        "state": "finished",
        "started": run.started.to_string(),
        "finished": ended.finished.to_string(),
        "seconds": (ended.seconds * 1000.0).round() / 1000.0,
        "ok": ended.ok(),
        "exit": ended.exit,
        "name": ended.name,
        "error": failed.map(|failed| &failed.what),
        "causes": failed.map_or(&[][..], |failed| &failed.causes),
        "hint": failed.and_then(|failed| failed.hint.as_ref()),
        "result": ended.result,
        "missed_signals": missed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::{failed, run, well};

    #[test]
    fn a_document_has_the_same_fields_in_every_state() {
        let fields = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        let (begun, good) = (running(&run()), ended(&run(), &well(json!({"rows": 3})), Some(&[])));
        let bad = ended(&run(), &failed(), None);
        assert_eq!(fields(&begun), fields(&good));
        assert_eq!(fields(&begun), fields(&bad));
        assert_eq!((&good["ok"], &good["result"]["rows"], &good["seconds"]), (&true.into(), &3.into(), &75.5.into()));
        assert_eq!((&bad["ok"], &bad["exit"], &bad["hint"]), (&false.into(), &69.into(), &"is it up?".into()));
        assert_eq!((&begun["ok"], &begun["state"]), (&Value::Null, &"running".into()));
        assert_eq!(good["started"], "2026-09-21T14:13:20Z");
    }

    #[test]
    fn what_could_not_be_told_is_in_it() {
        let missed = Missed { signal: "ping", to: "https://hc".to_owned(), why: "status 500".to_owned() };
        let document = ended(&run(), &well(Value::Null), Some(&[missed]));
        assert_eq!(document["missed_signals"], json!([{"signal": "ping", "to": "https://hc", "error": "status 500"}]));
    }
}
