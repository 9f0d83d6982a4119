//! Sizes and durations as people write them on a command line.
//!
//! Owns parsing `20MiB` and `4h`. Refuses what has two meanings: a size without a unit is bytes, but a time without one is an
//! error, because `--max-age 26` was meant as hours; and so is a unit that is not listed.

use std::time::Duration;

const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
];
const TIMES: &[(&str, u64)] = &[("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400)];
/// A slower backup would hold its locks and its snapshot for ever.
const SLOWEST: u64 = 1 << 10;

/// Bytes per second: `500KiB`, `20MiB`, `20MiB/s`, `1048576`.
///
/// # Errors
/// What to write instead.
pub fn rate(text: &str) -> Result<u64, String> {
    let bare = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    let bytes = scaled(bare, SIZES).ok_or("write a size such as 500KiB, 20MiB or 1GiB")?;
    if bytes < SLOWEST { Err(format!("{SLOWEST} bytes a second are the least")) } else { Ok(bytes) }
}

/// A time: `90s`, `30m`, `4h`, `1h30m`, `8d`.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = "write a time such as 90s, 30m, 4h or 1h30m";
    let (mut seconds, mut rest) = (0_u64, text.trim());
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let next = rest[unit..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| unit + at);
        let part = scaled(&rest[..next], TIMES).ok_or(bad)?;
        seconds = seconds.checked_add(part).ok_or(bad)?;
        rest = &rest[next..];
    }
    if seconds == 0 { Err(bad.to_owned()) } else { Ok(Duration::from_secs(seconds)) }
}

/// A number and a unit of the table.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_units() {
        for (text, bytes) in [("20MiB", 20 << 20), ("20MiB/s", 20 << 20), ("20 MB", 20_000_000), ("4096", 4096)] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for bad in ["", "0", "12", "fast", "20XB", "-1MiB", "1.5MiB", "99999999999GiB"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read_with_their_units() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("4h", 14_400), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "0s", "h", "26", "1h30", "4 weeks", "-4h", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
