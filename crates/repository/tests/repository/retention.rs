//! Retention against a second implementation that asks each backup by itself, over random histories and lies about time.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;
use repository::retention::{Decision, Gate, Past, Policy, Reason, decide};
use repository::{BackupId, Tag};
use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

const NO_GATE: Gate = Gate { accepted: None, least_percent: 0 };
const NOW: i64 = 1_790_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A backup that began so many seconds before now, and was stored so much later.
fn past(ago: i64, later: i64) -> Past {
    let stored = at(NOW - ago + later);
    let id = BackupId::at(UNIX_EPOCH + Duration::from_secs(u64::try_from(NOW - ago).unwrap()));
    let (tags, pinned, verified) = (BTreeSet::new(), false, false);
    Past { id, started: at(NOW - ago), stored, full: true, rows: 1_000, bytes: 1 << 30, tags, pinned, verified }
}

fn daily(days: i64) -> Vec<Past> {
    (0..days).map(|day| past(day * 86_400 + 60, 30)).collect()
}

fn kept(decision: &Decision) -> BTreeSet<BackupId> {
    decision.kept.iter().map(|kept| kept.id).collect()
}

fn reasons(decision: &Decision, id: BackupId) -> BTreeSet<Reason> {
    decision.kept.iter().find(|kept| kept.id == id).map(|kept| kept.reasons.clone()).unwrap_or_default()
}

fn any_past() -> impl Strategy<Value = Past> {
    let later = prop_oneof![8 => 0..3_600_i64, 1 => -4_000_000..-700_i64, 1 => 700_000..9_000_000_i64];
    let ago = prop_oneof![3 => 0..200_000_i64, 2 => 0..8_000_000_i64, 1 => 0..90_000_000_i64];
    // Now and then the id tells another time than the manifest: a clock went back, or somebody lies.
    let skew = prop_oneof![9 => Just(0_i64), 1 => -2_000_000..2_000_000_i64];
    let flags = (0..10_u8, 0..12_u8, 0..12_u8, 0..8_u8);
    (ago, later, skew, flags).prop_map(|(ago, later, skew, (full, pinned, verified, tags))| Past {
        id: past((ago + skew).max(0), 0).id,
        full: full > 1,
        tags: tags_of(tags),
        pinned: pinned == 0,
        verified: verified == 0,
        ..past(ago, later)
    })
}

/// The tags whose bits are set: mostly none or one.
fn tags_of(bits: u8) -> BTreeSet<Tag> {
    let names = [(1, "release"), (2, "audit")];
    names.iter().filter(|(bit, _)| bits < 4 && bits & bit != 0).map(|(_, name)| name.parse().unwrap()).collect()
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let some = || prop_oneof![2 => Just(0_u32), 3 => 0..8_u32];
    (some(), some(), some(), some(), some(), some(), prop::option::of(0..400_i64), 0..8_u8).prop_map(
        |(last, hourly, daily, weekly, monthly, yearly, hours, tags)| Policy {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within: hours.map(SignedDuration::from_hours),
            tags: tags_of(tags),
        },
    )
}

/// The period in words, which owes nothing to arithmetic.
fn period(rule: Reason, past: &Past) -> String {
    let form = match rule {
        Reason::Hourly => "%Y-%m-%d %H",
        Reason::Daily => "%Y-%m-%d",
        Reason::Weekly => "%G-W%V",
        Reason::Monthly => "%Y-%m",
        Reason::Yearly => "%Y",
        _ => return past.id.to_string(),
    };
    past.started.to_zoned(TimeZone::UTC).strftime(form).to_string()
}

fn future(past: &Past) -> bool {
    let named = Timestamp::from_millisecond(i64::try_from(past.id.milliseconds()).unwrap()).unwrap();
    past.started > past.stored + SignedDuration::from_mins(10) || named > past.stored + SignedDuration::from_mins(10)
}

fn late(past: &Past) -> bool {
    past.stored > past.started + SignedDuration::from_hours(168)
}

/// One backup's own question: which rules keep me?
fn oracle(policy: &Policy, history: &[Past], me: &Past) -> BTreeSet<Reason> {
    let newer = |a: &Past, b: &Past| a.id > b.id;
    let mut reasons = BTreeSet::new();
    let rules = [
        (Reason::Last, policy.last),
        (Reason::Hourly, policy.hourly),
        (Reason::Daily, policy.daily),
        (Reason::Weekly, policy.weekly),
        (Reason::Monthly, policy.monthly),
        (Reason::Yearly, policy.yearly),
    ];
    for (rule, number) in rules {
        for with_late in [false, true] {
            let counts = |it: &&Past| it.full == me.full && !future(it) && (with_late || !late(it));
            if !counts(&me) {
                continue;
            }
            let newer_ones = history.iter().filter(counts).filter(|it| newer(it, me));
            let periods: BTreeSet<String> = newer_ones.map(|it| period(rule, it)).collect();
            if !periods.contains(&period(rule, me)) && periods.len() < number as usize {
                reasons.insert(rule);
            }
        }
    }
    if policy.within.is_some_and(|within| at(NOW) < me.started + within) {
        reasons.insert(Reason::Within);
    }
    if me.tags.iter().any(|tag| policy.tags.contains(tag)) {
        reasons.insert(Reason::Tag);
    }
    if me.pinned {
        reasons.insert(Reason::Pinned);
    }
    if future(me) {
        reasons.insert(Reason::FromTheFuture);
    }
    reasons
}

/// Histories without two backups of the same id.
fn distinct(mut history: Vec<Past>) -> Vec<Past> {
    let mut seen = BTreeSet::new();
    history.retain(|past| seen.insert(past.id));
    history
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn each_rule_keeps_what_the_oracle_says(
        policy in any_policy(),
        history in prop::collection::vec(any_past(), 0..60),
    ) {
        let history = distinct(history);
        let decision = decide(&policy, &history, NO_GATE, at(NOW));
        let always = BTreeSet::from([Reason::Newest, Reason::NewestVerified]);
        for me in &history {
            let found: BTreeSet<Reason> = reasons(&decision, me.id).difference(&always).copied().collect();
            prop_assert_eq!(found, oracle(&policy, &history, me), "{:?}", me);
        }
        let all: BTreeSet<BackupId> = history.iter().map(|past| past.id).collect();
        let (kept, removed) = (kept(&decision), decision.removed.iter().copied().collect::<BTreeSet<_>>());
        prop_assert!(kept.is_disjoint(&removed));
        prop_assert_eq!(&kept | &removed, all);
    }

    /// G8: whatever the policy, the newest backup, the newest proven one and the pinned ones stay.
    #[test]
    fn the_newest_the_newest_verified_and_pinned_backups_stay(
        policy in any_policy(),
        history in prop::collection::vec(any_past(), 1..60),
    ) {
        let history = distinct(history);
        let kept = kept(&decide(&policy, &history, NO_GATE, at(NOW)));
        prop_assert!(!kept.is_empty());
        let newest = |wanted: &dyn Fn(&Past) -> bool| {
            history.iter().filter(|past| wanted(past)).max_by_key(|past| past.id).map(|past| past.id)
        };
        for wanted in [
            newest(&|past| past.full && !future(past)),
            newest(&|past| past.full && !future(past) && !late(past)),
            newest(&|past| past.full && past.verified),
        ] {
            prop_assert!(wanted.is_none_or(|id| kept.contains(&id)));
        }
        prop_assert!(history.iter().filter(|past| past.pinned).all(|past| kept.contains(&past.id)));
    }

    /// G8: who may only add backups removes nothing by lying about their age.
    #[test]
    fn forged_times_never_cost_an_honest_backup_its_place(
        policy in any_policy(),
        history in prop::collection::vec(any_past(), 0..40),
        forged in prop::collection::vec(any_past(), 0..40),
    ) {
        let honest = distinct(history);
        let forged: Vec<Past> = forged
            .into_iter()
            .filter(|past| future(past) || late(past))
            .map(|past| Past { verified: false, ..past })
            .collect();
        let before = kept(&decide(&policy, &honest, NO_GATE, at(NOW)));
        let both = distinct([honest.clone(), forged].concat());
        let after = kept(&decide(&policy, &both, NO_GATE, at(NOW)));
        for past in honest.iter().filter(|past| !late(past) && before.contains(&past.id)) {
            prop_assert!(after.contains(&past.id), "{:?}", past);
        }
    }
}

#[test]
fn a_usual_policy_thins_out_with_age() {
    let policy = Policy { daily: 7, weekly: 4, monthly: 3, ..Policy::default() };
    let decision = decide(&policy, &daily(200), NO_GATE, at(NOW));
    // Seven days, then the newest of each week and month that is not among them.
    assert_eq!((decision.kept.len(), decision.removed.len()), (11, 189));
}

#[test]
fn a_backup_that_is_much_too_small_freezes_until_it_is_accepted() {
    let policy = Policy { last: 2, ..Policy::default() };
    let mut history = daily(10);
    history[1].rows = 400;
    let gate = Gate { accepted: None, least_percent: 50 };
    let frozen = decide(&policy, &history, gate, at(NOW));
    assert!(frozen.removed.is_empty(), "{frozen:?}");
    let shrunk = frozen.shrunk.unwrap();
    assert_eq!((shrunk.id, shrunk.unit, shrunk.usual, shrunk.has), (history[1].id, "rows", 1_000, 400));
    let accepted = Gate { accepted: Some(history[1].id), ..gate };
    assert_eq!(decide(&policy, &history, accepted, at(NOW)).removed.len(), 8);
    // Accepting it says nothing about the next one.
    history[0].bytes = 1;
    assert_eq!(decide(&policy, &history, accepted, at(NOW)).shrunk.unwrap().unit, "bytes");
}

#[test]
fn small_databases_and_filtered_backups_freeze_nothing() {
    let policy = Policy { last: 1, ..Policy::default() };
    let gate = Gate { accepted: None, least_percent: 50 };
    let mut history = daily(5);
    history[0].full = false;
    history[0].rows = 1;
    for (past, rows) in history.iter_mut().skip(1).zip([5, 50, 50, 50]) {
        (past.rows, past.bytes) = (rows, 4_000);
    }
    let decision = decide(&policy, &history, gate, at(NOW));
    assert_eq!((decision.shrunk, decision.removed.len()), (None, 3));
}

/// Whoever can write a manifest could otherwise end the comparison of sizes for ever.
#[test]
fn a_backup_from_the_future_is_not_what_sizes_were_judged_up_to() {
    let mut history = daily(5);
    let forged = Past { id: past(-1_000_000, 0).id, ..past(60, 30) };
    history.push(forged.clone());
    let gate = Gate { accepted: None, least_percent: 50 };
    let decision = decide(&Policy { last: 2, ..Policy::default() }, &history, gate, at(NOW));
    assert!(kept(&decision).contains(&forged.id) && !decision.removed.is_empty());
    assert_eq!(decision.judged_up_to(), Some(history[0].id));
}
