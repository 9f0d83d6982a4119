//! The last words of a container: what `kubectl describe pod` shows of one that has ended.
//!
//! Promises at most 4096 bytes: of a longer file Kubernetes keeps the end, and the error stands at the beginning.

use crate::run::{Ended, Run, cut};

/// What Kubernetes keeps, in bytes.
const MOST: usize = 4096;

/// A line, and when the run failed its causes and the hint.
pub(crate) fn text(run: &Run, ended: &Ended) -> String {
    let mut text = format!("{}\n", ended.summary(run));
    if let Some(failed) = &ended.failed {
        // The summary ends with the error; what is left are the causes and the hint.
        text.push_str(failed.text().strip_prefix(&failed.what).unwrap_or_default().trim_start());
    }
    cut(&text, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::{failed, run, well};

    #[test]
    fn success_is_a_line_and_failure_says_why() {
        assert_eq!(text(&run(), &well(serde_json::Value::Null)), "longshore backup of app: ok, in 1m 15s\n");
        let expected = "longshore backup of app failed after 1m 15s with exit 69 (unavailable): connect to \"app\" & <others>\n\
                        caused by: refused\nhint: is it up?\n";
        assert_eq!(text(&run(), &failed()), expected);
    }

    #[test]
    fn it_never_is_longer_than_what_is_kept() {
        let mut long = failed();
        if let Some(failed) = &mut long.failed {
            failed.causes = vec!["ü".repeat(10_000)];
        }
        let text = text(&run(), &long);
        assert!(text.len() <= 4096 && text.len() > 4090 && text.starts_with("longshore backup"), "{}", text.len());
    }
}
