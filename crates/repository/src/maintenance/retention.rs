//! Retention: which backups of one source are kept, and by which rule.
//!
//! Owns one pure function of a policy, a source's history and the time. Promises that whoever can only add backups cannot make it
//! remove others' by lying about when they were made; that the newest backup, the newest proven one and pinned ones are
//! always kept; and that nothing is removed while a backup that is much smaller than the ones before it has not been looked at.
//! Refuses to read a clock or a store, and to mix full and filtered backups: each kind is judged among its own.
//!
//! Periods are those of UTC; weeks begin on Monday.

use crate::{BackupId, Tag};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A backup is stored when it ends: one that says it began longer before is taken for a copy, or for a lie. So long, in hours.
const LATE_HOURS: i64 = 7 * 24;
/// Clocks differ: a backup that began so much after it was stored, in minutes, is from the future.
const FUTURE_MINUTES: i64 = 10;
/// With how many backups before it a backup's size is compared.
const COMPARED: usize = 7;
/// Below both of these a database is too small for its size to mean anything.
const SMALL_ROWS: u64 = 100;
const SMALL_BYTES: u64 = 1 << 20;

/// How many backups to keep, by rule: the newest of each of the last so many hours, days, …, that have one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Policy {
    /// The newest ones.
    pub last: u32,
    /// Hours.
    pub hourly: u32,
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
    /// Years.
    pub yearly: u32,
    /// Everything that began less than so long ago.
    pub within: Option<SignedDuration>,
    /// Everything that has one of these.
    pub tags: BTreeSet<Tag>,
}

impl Policy {
    /// Whether it keeps nothing: such a policy is a mistake.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default() || *self == Self { within: Some(SignedDuration::ZERO), ..Self::default() }
    }

    /// The rules that count periods.
    fn periods(&self) -> [(Reason, u32); 6] {
        [
            (Reason::Last, self.last),
            (Reason::Hourly, self.hourly),
            (Reason::Daily, self.daily),
            (Reason::Weekly, self.weekly),
            (Reason::Monthly, self.monthly),
            (Reason::Yearly, self.yearly),
        ]
    }
}

/// Why a backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// One of the newest.
    Last,
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// Young enough.
    Within,
    /// It has a tag that is kept.
    Tag,
    /// Somebody wants it kept for ever.
    Pinned,
    /// The newest of its source: always kept.
    Newest,
    /// The newest that was proven to be whole: always kept.
    NewestVerified,
    /// It says that it began after it was stored: never judged, always kept.
    FromTheFuture,
    /// Nothing of this source is removed before somebody has looked at a backup that is much too small.
    Frozen,
}

impl Reason {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Within => "within",
            Self::Tag => "tag",
            Self::Pinned => "pinned",
            Self::Newest => "newest",
            Self::NewestVerified => "newest verified",
            Self::FromTheFuture => "from the future",
            Self::Frozen => "frozen",
        }
    }
}

/// A backup as retention sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its id.
    pub id: BackupId,
    /// When it began, as its writer says.
    pub started: Timestamp,
    /// When its manifest was stored, by the store's clock.
    pub stored: Timestamp,
    /// Whether it holds everything that its source had.
    pub full: bool,
    /// Rows.
    pub rows: u64,
    /// Bytes of rows.
    pub bytes: u64,
    /// Words that somebody gave it.
    pub tags: BTreeSet<Tag>,
    /// Whether it is to be kept for ever.
    pub pinned: bool,
    /// Whether it was proven to be whole, and nothing has contradicted that since.
    pub verified: bool,
}

impl Past {
    /// Ids are ordered by time, and a writer chooses them, too.
    fn is_from_the_future(&self) -> bool {
        let named = i64::try_from(self.id.milliseconds()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let latest = named.unwrap_or(Timestamp::MAX).max(self.started);
        latest.duration_since(self.stored) > SignedDuration::from_mins(FUTURE_MINUTES)
    }

    fn is_late(&self) -> bool {
        self.stored.duration_since(self.started) > SignedDuration::from_hours(LATE_HOURS)
    }
}

/// When a source's sizes make one wonder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Up to this backup somebody, or an earlier run, found the sizes in order.
    pub accepted: Option<BackupId>,
    /// The least share of the usual size, in percent; 0 looks at nothing.
    pub least_percent: u64,
}

/// A backup that is much smaller than the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shrunk {
    /// Which.
    pub id: BackupId,
    /// `rows` or `bytes`.
    pub unit: &'static str,
    /// The median of the ones before.
    pub usual: u64,
    /// What it has.
    pub has: u64,
}

/// A backup that stays, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Which.
    pub id: BackupId,
    /// All rules that keep it.
    pub reasons: BTreeSet<Reason>,
}

/// What is to become of a source's backups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Decision {
    /// These stay, the newest first.
    pub kept: Vec<Kept>,
    /// These go, the newest first.
    pub removed: Vec<BackupId>,
    /// Why nothing goes.
    pub shrunk: Option<Shrunk>,
}

impl Decision {
    /// The newest backup whose size was looked at: from here on, later ones are compared. Never one from the future, which
    /// somebody may have put there so that nothing is compared any more.
    #[must_use]
    pub fn judged_up_to(&self) -> Option<BackupId> {
        let judged = self.kept.iter().filter(|kept| !kept.reasons.contains(&Reason::FromTheFuture));
        judged.map(|kept| kept.id).max()
    }
}

/// Decides about one source's backups, given in any order.
#[must_use]
pub fn decide(policy: &Policy, history: &[Past], gate: Gate, now: Timestamp) -> Decision {
    let mut newest_first: Vec<&Past> = history.iter().collect();
    // Ids never go back, times do: `latest` goes by ids, and so does this.
    newest_first.sort_by_key(|past| std::cmp::Reverse(past.id));
    let mut reasons: BTreeMap<BackupId, BTreeSet<Reason>> = BTreeMap::new();
    let mut keep = |id: BackupId, reason: Reason| {
        reasons.entry(id).or_default().insert(reason);
    };
    for full in [true, false] {
        let judged: Vec<&Past> =
            newest_first.iter().copied().filter(|past| past.full == full && !past.is_from_the_future()).collect();
        // What is late never takes the place of what is not: each rule is applied without the late ones, and with them.
        let in_time: Vec<&Past> = judged.iter().copied().filter(|past| !past.is_late()).collect();
        for (rule, number) in policy.periods() {
            for some in [&in_time, &judged] {
                newest_of_periods(rule, number, some).for_each(|id| keep(id, rule));
            }
        }
    }
    for past in &newest_first {
        if policy.within.is_some_and(|within| now.duration_since(past.started) < within) {
            keep(past.id, Reason::Within);
        }
        if !policy.tags.is_disjoint(&past.tags) {
            keep(past.id, Reason::Tag);
        }
        if past.pinned {
            keep(past.id, Reason::Pinned);
        }
        if past.is_from_the_future() {
            keep(past.id, Reason::FromTheFuture);
        }
    }
    always_kept(&newest_first).into_iter().for_each(|(id, reason)| keep(id, reason));
    let shrunk = shrunk(history, gate);
    if shrunk.is_some() {
        newest_first.iter().for_each(|past| keep(past.id, Reason::Frozen));
    }
    let mut decision = Decision { shrunk, ..Decision::default() };
    for past in newest_first {
        match reasons.remove(&past.id) {
            Some(reasons) => decision.kept.push(Kept { id: past.id, reasons }),
            None => decision.removed.push(past.id),
        }
    }
    decision
}

/// The newest backup of each of the newest `number` periods that have one.
fn newest_of_periods(rule: Reason, number: u32, newest_first: &[&Past]) -> impl Iterator<Item = BackupId> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for (at, past) in newest_first.iter().enumerate() {
        if seen.len() as u64 >= u64::from(number) {
            break;
        }
        let period =
            if rule == Reason::Last { i64::try_from(at).unwrap_or(i64::MAX) } else { period(rule, past.started) };
        if seen.insert(period) {
            kept.push(past.id);
        }
    }
    kept.into_iter()
}

/// The number of the hour, day, … that a moment lies in.
fn period(rule: Reason, moment: Timestamp) -> i64 {
    let seconds = moment.as_second();
    let date = moment.to_zoned(TimeZone::UTC).date();
    match rule {
        Reason::Hourly => seconds.div_euclid(3_600),
        Reason::Daily => seconds.div_euclid(86_400),
        // 1970 began on a Thursday.
        Reason::Weekly => (seconds.div_euclid(86_400) + 3).div_euclid(7),
        Reason::Monthly => i64::from(date.year()) * 12 + i64::from(date.month()),
        _ => i64::from(date.year()),
    }
}

/// The newest, and the newest that was proven: both among the full ones, and, where there are none, among all. The future does not
/// count as new: what lies about its time must not make the true newest one old.
fn always_kept(newest_first: &[&Past]) -> Vec<(BackupId, Reason)> {
    let honest = |past: &&&Past| !past.is_from_the_future();
    let in_time = |past: &&&Past| honest(past) && !past.is_late();
    let first = |wanted: &dyn Fn(&&&Past) -> bool| {
        let full = newest_first.iter().filter(|past| wanted(past)).find(|past| past.full);
        full.or(newest_first.iter().find(|past| wanted(past))).copied()
    };
    let newest = [first(&honest).or(newest_first.first().copied()), first(&in_time)];
    let newest = newest.into_iter().flatten().map(|past| (past.id, Reason::Newest));
    let verified = first(&|past| past.verified);
    newest.chain(verified.map(|past| (past.id, Reason::NewestVerified))).collect()
}

/// The first full backup after the accepted one that has less than the least share of the median of those before it.
fn shrunk(history: &[Past], gate: Gate) -> Option<Shrunk> {
    let mut full: Vec<&Past> = history.iter().filter(|past| past.full).collect();
    full.sort_by_key(|past| past.id);
    type Size = fn(&Past) -> u64;
    let units: [(&str, u64, Size); 2] =
        [("rows", SMALL_ROWS, |past| past.rows), ("bytes", SMALL_BYTES, |past| past.bytes)];
    for (at, past) in full.iter().enumerate() {
        if gate.accepted.is_some_and(|accepted| past.id <= accepted) {
            continue;
        }
        let before = full.get(at.saturating_sub(COMPARED)..at).unwrap_or_default();
        for (unit, small, size) in units {
            let Some(usual) = median(before.iter().map(|past| size(past)).collect()) else { continue };
            let has = size(past);
            if usual >= small && u128::from(has) * 100 < u128::from(usual) * u128::from(gate.least_percent) {
                return Some(Shrunk { id: past.id, unit, usual, has });
            }
        }
    }
    None
}

fn median(mut sizes: Vec<u64>) -> Option<u64> {
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied()
}
