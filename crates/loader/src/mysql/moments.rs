//! Days and times as they are written in a drop, and as the servers are given them.
//!
//! Owns the forms: year first, in full and in figures; the servers alone would take `26-1-2`, `20260102` and `2026.01.02`, too, and guess. Promises that what is given to a server is the same moment,
//! with no more decimals than the column keeps; and that an offset or a time of day that a column would lose is refused.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, civil};

/// Decimals that any column keeps.
const MOST_PLACES: usize = 6;
/// The longest time, in hours: <https://dev.mysql.com/doc/refman/9.0/en/time.html>.
const MOST_HOURS: u32 = 838;
/// The first year of a date: <https://dev.mysql.com/doc/refman/9.0/en/datetime.html>.
const FIRST_YEAR: i16 = 1000;

fn figures(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `2026-11-23`.
fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (figures(parts.next()?, 4)?, figures(parts.next()?, 2)?, figures(parts.next()?, 2)?);
    let year = i16::try_from(year).ok().filter(|year| *year >= FIRST_YEAR)?;
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    parts.next().is_none().then_some(date)
}

/// `10:00`, `10:00:00`, `10:00:00.5`: hours, minutes, seconds and the decimals that are not zeros at the end, unless there are more than `places`.
fn clock(text: &str, places: usize) -> Option<(u32, u32, u32, &str)> {
    let (plain, decimals) = match text.split_once('.') {
        Some((plain, decimals)) if !decimals.is_empty() => (plain, decimals),
        None => (text, ""),
        Some(_) => return None,
    };
    let mut parts = plain.split(':');
    let hours = parts.next()?;
    let (hours, minutes) = (figures(hours, hours.len().clamp(2, 3))?, figures(parts.next()?, 2)?);
    let seconds = match parts.next() {
        Some(seconds) => figures(seconds, 2)?,
        None if decimals.is_empty() => 0,
        None => return None,
    };
    let kept = decimals.trim_end_matches('0');
    let fits = kept.len() <= places.min(MOST_PLACES) && decimals.bytes().all(|byte| byte.is_ascii_digit());
    (parts.next().is_none() && minutes < 60 && seconds < 60 && fits).then_some((hours, minutes, seconds, kept))
}

/// What follows a time: nothing, `Z`, `UTC` or an offset; in minutes.
fn offset(text: &str) -> Option<i64> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    if ["Z", "z", "UTC"].contains(&text) {
        return Some(0);
    }
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = rest.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
    let minutes = if rest.len() == 2 { 0 } else { figures(minutes, 2)? };
    let hours = figures(hours, 2)?;
    (hours < 16 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes))
}

fn shown(moment: DateTime, decimals: &str) -> String {
    let text = moment.strftime("%Y-%m-%d %H:%M:%S").to_string();
    if decimals.is_empty() { text } else { format!("{text}.{decimals}") }
}

/// A date, as the server is given it.
pub(super) fn day(text: &str) -> Option<String> {
    date(text).map(|date| date.to_string())
}

/// A date and a time of day, as they are in UTC; with `any_offset` any other place's time, too. A date alone is its first moment.
pub(super) fn moment(text: &str, places: usize, any_offset: bool) -> Option<String> {
    let (day, rest) = text.split_at_checked(10)?;
    let day = date(day)?;
    if rest.is_empty() {
        return Some(shown(day.to_datetime(Time::midnight()), ""));
    }
    let rest = rest.strip_prefix([' ', 'T', 't'])?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(rest.len());
    let (time, zone) = rest.split_at(end);
    let (hours, minutes, seconds, decimals) = clock(time, places)?;
    let small = |number: u32| i8::try_from(number).ok();
    let time = civil::Time::new(small(hours)?, small(minutes)?, small(seconds)?, 0).ok()?;
    let behind = if zone.is_empty() { 0 } else { offset(zone)? };
    if behind != 0 && !any_offset {
        return None;
    }
    let moment = day.to_datetime(time).checked_sub(Span::new().try_minutes(behind).ok()?).ok()?;
    (moment.year() >= FIRST_YEAR).then(|| shown(moment, decimals))
}

/// A time of day or a span of time, as the server is given it.
pub(super) fn time(text: &str, places: usize) -> Option<String> {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (hours, minutes, seconds, decimals) = clock(rest, places)?;
    if hours > MOST_HOURS {
        return None;
    }
    let is_zero = hours + minutes + seconds == 0 && decimals.is_empty();
    let text = format!("{}{hours:02}:{minutes:02}:{seconds:02}", if is_zero { "" } else { sign });
    Some(if decimals.is_empty() { text } else { format!("{text}.{decimals}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_taken_as_they_are_meant() {
        assert_eq!(day("2024-02-29").as_deref(), Some("2024-02-29"));
        for (text, places, any, there) in [
            ("2026-11-23", 0, false, "2026-11-23 00:00:00"),
            ("2026-11-23T10:00", 0, false, "2026-11-23 10:00:00"),
            ("2026-11-23 10:00:00.1200", 2, false, "2026-11-23 10:00:00.12"),
            ("2026-11-23T10:00:00Z", 0, false, "2026-11-23 10:00:00"),
            ("2026-11-23 10:00:00 UTC", 0, false, "2026-11-23 10:00:00"),
            ("2026-11-23 10:00:00+00", 0, false, "2026-11-23 10:00:00"),
            ("2026-11-23T00:30:00+02:00", 0, true, "2026-11-22 22:30:00"),
            ("2026-11-23 22:00 -0330", 0, true, "2026-11-24 01:30:00"),
        ] {
            assert_eq!(moment(text, places, any).as_deref(), Some(there), "{text}");
        }
        for (text, places, there) in [
            ("10:00", 0, "10:00:00"),
            ("-838:59:59", 0, "-838:59:59"),
            ("00:00:00.50", 1, "00:00:00.5"),
            ("-00:00:00", 0, "00:00:00"),
        ] {
            assert_eq!(time(text, places).as_deref(), Some(there), "{text}");
        }
    }

    #[test]
    fn what_a_server_would_guess_is_none() {
        for text in [
            "",
            "26-11-23",
            "2026-1-2",
            "20261123",
            "2026/11/23",
            "23.11.2026",
            "2026-02-30",
            "2026-00-00",
            "0000-00-00",
            "0999-01-01",
            "2026-11-23 ",
            " 2026-11-23",
            "2026-11-23 10:00",
            "Tomorrow",
            "2026-11-23-1",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
        for text in [
            "2026-11-23 10",
            "2026-11-23 24:00:00",
            "2026-11-23 10:60",
            "2026-11-23 10:00:60",
            "2026-11-23 10:00:00.5",
            "2026-11-23 10:00:00.",
            "2026-11-23 100:00:00",
            "2026-11-23  10:00",
            "2026-11-23 10:00:00+02:00",
            "2026-11-23 10:00:00 CET",
            "2026-11-23 10:00.5",
            "now",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} 10:00",
        ] {
            assert_eq!(moment(text, 0, false), None, "{text}");
        }
        for text in
            ["2026-11-23 10:00:00+2", "2026-11-23 10:00:00+02:0", "2026-11-23 10:00:00+16:00", "1000-01-01 00:00+01"]
        {
            assert_eq!(moment(text, 0, true), None, "{text}");
        }
        for text in
            ["1000", "10", "1:00", "10:00:00.5", "839:00:00", "10:00:00+02", "10:00:00 ", "2026-11-23 10:00", "1 10:00"]
        {
            assert_eq!(time(text, 0), None, "{text}");
        }
    }
}
