//! Pings in the manner of healthchecks.io: `URL/start` when a run begins, `URL/<exit code>` with the last words when it has ended.
//!
//! A service that hears the first and not the second knows that the run was killed.

use http::Method;

use crate::endpoint::Endpoint;
use crate::http::Ask;
use crate::run::{Ended, Run, cut};

/// The most that is sent, in bytes: more is not kept.
const MOST: usize = 10_000;

/// A run begins.
pub(crate) fn start(url: &Endpoint) -> Ask {
    Ask {
        method: Method::POST,
        to: url.below(&["start"]),
        content_type: "text/plain; charset=utf-8",
        body: String::new(),
    }
}

/// A run has ended.
pub(crate) fn end(url: &Endpoint, run: &Run, ended: &Ended) -> Ask {
    let mut body = format!("{}\n", ended.summary(run));
    if let Some(failed) = &ended.failed {
        body.push_str(&failed.text());
    }
    let to = url.below(&[&ended.exit.to_string()]);
    Ask { method: Method::POST, to, content_type: "text/plain; charset=utf-8", body: cut(&body, MOST) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::run::tests::{failed, run};

    #[test]
    fn the_exit_code_is_in_the_path_and_the_error_in_the_body() {
        let url = Endpoint::parse("ping", "https://hc/ping/1?rid=2").unwrap();
        assert_eq!(start(&url).to.expose(), "https://hc/ping/1/start?rid=2");
        let end = end(&url, &run(), &failed());
        assert_eq!(end.to.expose(), "https://hc/ping/1/69?rid=2");
        assert!(end.body.contains("caused by: refused\nhint: is it up?\n"), "{}", end.body);
    }
}
