//! Metrics for a Prometheus push gateway.
//!
//! Promises one group for each command, repository that has a name, and source, and that a failed run leaves the last success in its group: it is added to the
//! group (POST), where a good one takes its place (PUT).

use http::Method;

use crate::endpoint::Endpoint;
use crate::http::Ask;
use crate::metrics::{self, Part};

/// A request for each part.
pub(crate) fn requests(url: &Endpoint, parts: &[Part]) -> Vec<Ask> {
    let request = |part: &Part| {
        let mut path = vec!["metrics", "job", "longshore"];
        path.extend(part.labels.iter().flat_map(|(name, value)| [*name, value.as_str()]));
        Ask {
            method: if part.ok { Method::PUT } else { Method::POST },
            to: url.below(&path),
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: metrics::text(&part.series()),
        }
    };
    parts.iter().map(request).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::run::tests::{failed, run, well};
    use crate::run::{Ended, Run};
    use serde_json::json;

    #[test]
    fn a_good_run_takes_its_groups_place_and_a_failed_one_is_added() {
        let url = Endpoint::parse("push-gateway", "http://push:9091/prefix").unwrap();
        let one = |ended: &Ended| requests(&url, &metrics::parts(&run(), ended)).remove(0);
        let good = one(&well(json!({"rows": 3})));
        assert_eq!(good.method, Method::PUT);
        assert_eq!(good.to.expose(), "http://push:9091/prefix/metrics/job/longshore/command/backup/source/app");
        assert!(good.body.contains("longshore_backup_rows{command=\"backup\",source=\"app\"} 3\n"));
        let bad = one(&failed());
        assert_eq!(bad.method, Method::POST);
        assert!(!bad.body.contains("last_success"), "{}", bad.body);
        let named = Run { repository: Some("main".to_owned()), ..run() };
        let named = requests(&url, &metrics::parts(&named, &failed())).remove(0);
        let path = "http://push:9091/prefix/metrics/job/longshore/command/backup/repository/main/source/app";
        assert_eq!(named.to.expose(), path);
        let nameless = one(&Ended { source: None, ..failed() });
        assert_eq!(nameless.to.expose(), "http://push:9091/prefix/metrics/job/longshore/command/backup");
    }
}
