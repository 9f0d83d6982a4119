//! Whether a cell's text is of a type.
//!
//! Owns each type's grammar. Promises that a check looks at each byte once and allocates nothing. Refuses what databases take only with a setting: local dates,
//! decimal commas, blanks around a number.

use serde::de::IgnoredAny;

use crate::contract::Type;

/// Whether `text`, which is UTF-8, is of a type.
pub(crate) fn is(kind: Type, text: &[u8]) -> bool {
    match kind {
        Type::Text => true,
        Type::Integer => integer(text),
        Type::Number => number(text),
        Type::Boolean => boolean(text),
        Type::Date => date(text),
        Type::Timestamp => timestamp(text).is_some(),
        Type::Uuid => uuid(text),
        Type::Json => serde_json::from_slice::<IgnoredAny>(text).is_ok(),
    }
}

fn unsigned(text: &[u8]) -> &[u8] {
    match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    }
}

fn digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn integer(text: &[u8]) -> bool {
    let number = unsigned(text);
    if !digits(number) {
        return false;
    }
    // Up to here every number has 64 bits; beyond, leading zeros may hide one that does.
    if number.len() <= 18 {
        return true;
    }
    let most = if text.first() == Some(&b'-') { 1 << 63 } else { u128::from(u64::MAX) };
    let add = |sum: u128, digit: &u8| Some(sum * 10 + u128::from(digit - b'0')).filter(|sum| *sum <= most);
    number.iter().try_fold(0, add).is_some()
}

fn number(text: &[u8]) -> bool {
    let text = unsigned(text);
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (whole, decimals) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &mantissa[..0]),
    };
    let all = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    // `.5` and `5.` are written by common tools, and read by all databases.
    !(whole.is_empty() && decimals.is_empty())
        && all(whole)
        && all(decimals)
        && exponent.is_none_or(|exponent| digits(unsigned(exponent)))
}

fn boolean(text: &[u8]) -> bool {
    ["true", "false", "t", "f", "1", "0"].iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

/// The number that some digits are, no more than four.
fn small(text: &[u8]) -> Option<i16> {
    digits(text).then(|| text.iter().take(4).fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0')))
}

fn date(text: &[u8]) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return false };
    let two = |tens, ones| small(&[tens, ones]).and_then(|number| i8::try_from(number).ok());
    let Some((year, month, day)) = small(&[*y1, *y2, *y3, *y4]).zip(two(*m1, *m2)).zip(two(*d1, *d2)).map(flat) else {
        return false;
    };
    // The year 0 is one of jiff's and none of SQL's.
    year > 0 && jiff::civil::Date::new(year, month, day).is_ok()
}

fn flat<A, B, C>(((a, b), c): ((A, B), C)) -> (A, B, C) {
    (a, b, c)
}

fn timestamp(text: &[u8]) -> Option<()> {
    let (day, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b"t")).or_else(|| rest.strip_prefix(b" "))?;
    let rest = two_below(rest, 24)?;
    let mut rest = two_below(rest.strip_prefix(b":")?, 60)?;
    if let Some(seconds) = rest.strip_prefix(b":") {
        rest = two_below(seconds, 60)?;
        if let Some(decimals) = rest.strip_prefix(b".") {
            let many = decimals.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest = (1..=9).contains(&many).then(|| &decimals[many..])?;
        }
    }
    (date(day) && offset(rest)).then_some(())
}

/// What follows two digits that are a number below `most`.
fn two_below(text: &[u8], most: i16) -> Option<&[u8]> {
    let (two, rest) = text.split_at_checked(2)?;
    (small(two)? < most).then_some(rest)
}

/// Nothing, `Z`, or hours and perhaps minutes from UTC.
fn offset(text: &[u8]) -> bool {
    let text = text.strip_prefix(b" ").filter(|rest| !rest.is_empty()).unwrap_or(text);
    let Some((b'+' | b'-', rest)) = text.split_first() else { return matches!(text, b"" | b"Z" | b"z") };
    let Some(minutes) = two_below(rest, 16) else { return false };
    let minutes = minutes.strip_prefix(b":").filter(|minutes| !minutes.is_empty()).unwrap_or(minutes);
    minutes.is_empty() || two_below(minutes, 60).is_some_and(<[u8]>::is_empty)
}

fn uuid(text: &[u8]) -> bool {
    let hyphens = [8, 13, 18, 23];
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match hyphens.contains(&at) {
            true => *byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(kind: Type, texts: &[&str], expected: bool) {
        texts.iter().for_each(|text| assert_eq!(is(kind, text.as_bytes()), expected, "{kind:?} {text:?}"));
    }

    #[test]
    fn each_type_takes_its_own() {
        all(Type::Text, &["", "x", "ü"], true);
        all(
            Type::Integer,
            &["0", "-1", "+7", "007", "9223372036854775807", "-9223372036854775808", "18446744073709551615"],
            true,
        );
        all(Type::Integer, &["000000000000000000000000000001"], true);
        all(Type::Number, &["0", "-1.5", "1e9", "1E-9", ".5", "5.", "+1.", "123456789012345678901234567890.5"], true);
        all(Type::Boolean, &["true", "FALSE", "True", "t", "F", "1", "0"], true);
        all(Type::Date, &["2024-02-29", "0001-01-01", "9999-12-31"], true);
        all(Type::Timestamp, &["2024-02-29T23:59", "2024-02-29 23:59:59.123456789", "2024-02-29 23:59:59+00"], true);
        all(Type::Timestamp, &["2024-02-29T00:00:00Z", "2024-02-29T00:00:00-0330", "2024-02-29 00:00:00 +05:30"], true);
        all(Type::Uuid, &["00000000-0000-0000-0000-000000000000", "ABCDEFab-cdef-4000-8000-0123456789ab"], true);
        all(Type::Json, &["null", "1", "[1, {\"a\": \"b\"}]", " {} "], true);
    }

    #[test]
    fn and_nothing_else() {
        all(
            Type::Integer,
            &["", "-", "1.0", " 1", "1 ", "1e3", "0x1", "١", "18446744073709551616", "-9223372036854775809"],
            false,
        );
        all(
            Type::Number,
            &["", ".", "-", "1,5", "NaN", "inf", "1e", "e5", "1e5.5", "--1", "1.2.3", " 1", "1_000"],
            false,
        );
        all(Type::Boolean, &["", "yes", "2", "tru", "on"], false);
        all(
            Type::Date,
            &[
                "",
                "2023-02-29",
                "2024-13-01",
                "2024-00-10",
                "24-01-01",
                "01.02.2024",
                "2024-1-1",
                "0000-01-01",
                "2024-01-01T",
            ],
            false,
        );
        all(
            Type::Timestamp,
            &["", "2024-02-29", "2024-02-30T00:00", "2024-02-29T24:00", "2024-02-29T23:60", "2024-02-29T23:59:60"],
            false,
        );
        all(
            Type::Timestamp,
            &[
                "2024-02-29T23:59:59.",
                "2024-02-29T23:59:59.1234567890",
                "2024-02-29T23:59 ",
                "2024-02-29T23:59+",
                "2024-02-29T23:59+1",
            ],
            false,
        );
        all(
            Type::Timestamp,
            &[
                "2024-02-29T23:59+01:",
                "2024-02-29T23:59+01:60",
                "2024-02-29T23:59+16",
                "2024-02-29T23:59ZZ",
                "2024-02-29T23",
            ],
            false,
        );
        all(
            Type::Uuid,
            &[
                "",
                "00000000000000000000000000000000",
                "{0000000-0000-0000-0000-000000000000",
                "0000000g-0000-0000-0000-000000000000",
            ],
            false,
        );
        all(Type::Json, &["", "{", "nul", "{} {}", "NaN", "'a'", "[1,]"], false);
    }

    proptest! {
        #[test]
        fn integers_are_those_that_64_bits_hold(text in "[+-]?[0-9]{1,22}") {
            let fits = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
            prop_assert_eq!(is(Type::Integer, text.as_bytes()), fits);
        }

        #[test]
        fn numbers_are_those_that_have_a_value(text in "[+-]?[0-9.eE+-]{0,8}") {
            prop_assert_eq!(is(Type::Number, text.as_bytes()), text.parse::<f64>().is_ok());
        }

        #[test]
        fn dates_are_those_that_there_are(text in "[012][0-9]{3}-[01][0-9]-[0-3][0-9]") {
            let there = text.parse::<jiff::civil::Date>().is_ok() && !text.starts_with("0000");
            prop_assert_eq!(is(Type::Date, text.as_bytes()), there);
        }

        #[test]
        fn no_text_panics(text in "[-0-9T: .Z+]{0,36}|\\PC{0,12}", day in "[-0-9 T:.+Z]{0,24}") {
            for kind in [Type::Integer, Type::Number, Type::Boolean, Type::Date, Type::Timestamp, Type::Uuid, Type::Json] {
                let _: bool = is(kind, text.as_bytes());
                let _: bool = is(kind, format!("2024-01-01{day}").as_bytes());
            }
        }
    }
}
