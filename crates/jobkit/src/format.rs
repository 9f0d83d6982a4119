//! Numbers for people: sizes, counts, durations, ages.
//!
//! Promises: binary units with one decimal, thousands separated by commas, never more than two units of time. Refuses
//! precision: machines get plain numbers in JSON.

use std::time::Duration;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `0 B`, `1,023 B`, `1.0 KiB`, `3.4 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{} B", count(bytes));
    }
    // Tenths of the unit, rounded to nearest, in integers: exact for every u64.
    let mut unit = 0;
    let mut size = 1024_u128;
    let tenths = |size: u128| (u128::from(bytes) * 10 + size / 2) / size;
    while tenths(size) >= 10_240 && unit + 1 < UNITS.len() {
        size *= 1024;
        unit += 1;
    }
    let tenths = tenths(size);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `1,234,567`.
#[must_use]
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 table`, `1,234 tables`: of a word whose plural ends in `s`.
#[must_use]
pub fn counted(number: u64, word: &str) -> String {
    format!("{} {word}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `0s`, `850ms`, `42s`, `1m 12s`, `3h 05m`, `2d 04h`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.subsec_millis() > 0 => format!("{}ms", duration.subsec_millis()),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How long ago: `just now`, `5 min ago`, `3 h ago`, `12 d ago`. A time in the future, by a skewed clock, is `in the
/// future`.
#[must_use]
pub fn age(now: jiff::Timestamp, then: jiff::Timestamp) -> String {
    match now.as_second().saturating_sub(then.as_second()) {
        ..-60 => "in the future".to_owned(),
        -60..60 => "just now".to_owned(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn sizes() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1,023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (8 * 1024 * 1024, "8.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn counts() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!((counted(1, "table"), counted(0, "table")), ("1 table".to_owned(), "0 tables".to_owned()));
    }

    #[test]
    fn durations() {
        for (millis, text) in [
            (0, "0s"),
            (850, "850ms"),
            (42_000, "42s"),
            (72_000, "1m 12s"),
            (11_100_000, "3h 05m"),
            (187_200_000, "2d 04h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn ages() {
        let now: jiff::Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        for (then, text) in [
            ("2026-01-10T11:59:30Z", "just now"),
            ("2026-01-10T11:55:00Z", "5 min ago"),
            ("2026-01-10T09:00:00Z", "3 h ago"),
            ("2025-12-29T12:00:00Z", "12 d ago"),
            ("2026-01-10T12:05:00Z", "in the future"),
        ] {
            assert_eq!(age(now, then.parse().unwrap()), text);
        }
    }
}
