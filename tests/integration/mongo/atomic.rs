//! Restores with `--atomic` that go wrong: there is no way back, and yet every name stands for the old or for the new, whole.

use super::swap::{age, killed_at, names_like, prepared, proxied, seen};
use super::{all, assert_same};
use crate::place::assert_failed;
use std::collections::BTreeMap;
use testkit::proxy::Lost;

/// Fails unless each of these is what it was before or what it is afterwards, and no collection is missing that both have. A view that changes is away meanwhile.
#[track_caller]
fn assert_one_or_the_other(
    now: &BTreeMap<String, String>,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) {
    for (key, value) in now {
        assert!([before.get(key), after.get(key)].contains(&Some(value)), "{key} is neither: {value:.300}");
    }
    let stays = |key: &&String| after.contains_key(*key) && key.starts_with("collection ") && *key != "collection seen";
    for key in before.keys().filter(stays) {
        assert!(now.contains_key(key), "{key} is missing");
    }
}

/// G5: what a step meets on its way leaves no collection half, and another restore brings the rest.
#[tokio::test]
async fn connections_cut_while_replacing_leave_each_collection_whole() {
    let (place, source) = prepared().await;
    let after = seen(&source).await;
    let steps = [".longshore.new", "drop\0\u{5}\0\0\0seen\0", "drop\0\u{4}\0\0\0old\0", "create\0\u{5}\0\0\0seen\0"];
    for (lost, step) in [Lost::Answer, Lost::Words].into_iter().flat_map(|lost| steps.map(|step| (lost, step))) {
        let (staging, proxy, url) = proxied(&place).await;
        let before = seen(&staging).await;
        let words = if step.starts_with('.') { format!("{}{step}", staging.name()) } else { step.to_owned() };
        proxy.cut_at(&words, lost);
        let restore = || place.restore(&url).env("LONGSHORE_ATOMIC", "true");
        let outcome = restore().run().await;
        assert!(!proxy.waits_for_words(), "nothing was cut at {step:?}\n{}", outcome.report());
        let now = seen(&staging).await;
        let report = outcome.report();
        assert_failed(outcome, 69, "restore again");
        assert!(!report.contains("nothing was changed") && !report.contains("as it was"), "{report}");
        assert_one_or_the_other(&now, &before, &after);
        age(&staging).await;
        restore().run().await.success();
        assert_same(&after, &seen(&staging).await);
        assert_eq!(names_like(&staging, "longshore.").await, ["longshore.exchanges", "longshore.mark"], "{step:?}");
    }
}

/// One that is killed in between is told from a target that nobody touched, and another restore brings the rest.
#[tokio::test]
async fn a_killed_replacement_is_ended_by_the_next_restore() {
    let (place, source) = prepared().await;
    let (staging, proxy, url) = proxied(&place).await;
    let (before, after) = (seen(&staging).await, seen(&source).await);
    let restore = || place.restore(&url).env("LONGSHORE_ATOMIC", "true");
    killed_at(&proxy, "drop\0\u{4}\0\0\0old\0", restore()).await;
    let now = all(&staging, staging.name()).await;
    assert_ne!(now, before);
    assert_one_or_the_other(&now, &before, &after);
    age(&staging).await;
    restore().run().await.success();
    assert_same(&after, &seen(&staging).await);
    assert_eq!(names_like(&staging, "longshore.").await, ["longshore.exchanges", "longshore.mark"]);
}
