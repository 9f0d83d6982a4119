//! Which text is a value of a column, looked at cell by cell before a server sees it.
//!
//! Owns the forms of all types that are loaded. These servers take much that is no value and keep something else, in their strictest mode, too: decimals are rounded, blanks cut, `2` is the second member of
//! an enumeration, `26-1-2` some day, `1` the bits of a letter. Promises that what is taken here is kept as it was written, or as the same value in the one form that a server
//! cannot read otherwise; and that types whose values cannot be looked at so are refused by name. `float` and `double` keep what they can.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::decimal::Decimal;
use super::moments;

/// A type, as far as values are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// From the first to the last, both included; where `truth` is set, `true` and `false` are values, too.
    Integer {
        least: i128,
        most: i128,
        truth: bool,
    },
    Decimal {
        whole: u64,
        places: u64,
        unsigned: bool,
    },
    Float {
        single: bool,
        unsigned: bool,
    },
    /// So many binary digits.
    Bits(usize),
    /// At most so many characters; `fixed` loses blanks at the end.
    Text {
        chars: u64,
        fixed: bool,
    },
    /// At most so many bytes in the column's own character set.
    LongText,
    /// At most so many bytes; `fixed` is filled up with zeros.
    Bytes {
        most: u64,
        fixed: bool,
    },
    Date,
    Datetime {
        places: usize,
    },
    Timestamp {
        places: usize,
    },
    Time {
        places: usize,
    },
    Year,
    Enum(Vec<String>),
    Set(Vec<String>),
    Uuid,
    Inet4,
    Inet6,
}

/// A column's definition, as `information_schema.COLUMNS` has it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Definition<'a> {
    /// `decimal`.
    pub data_type: &'a str,
    /// `decimal(10,2) unsigned`.
    pub column_type: &'a str,
    /// Characters, for those that have them.
    pub length: Option<u64>,
    /// Bytes.
    pub octets: Option<u64>,
    pub precision: Option<u64>,
    pub scale: Option<u64>,
    pub fraction: Option<usize>,
}

fn integer(bits: u32, unsigned: bool, truth: bool) -> Kind {
    let (least, most) =
        if unsigned { (0, (1_i128 << bits) - 1) } else { (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1) };
    Kind::Integer { least, most, truth }
}

impl Kind {
    /// `None` for types whose values cannot be looked at.
    pub fn of(is: &Definition<'_>) -> Option<Kind> {
        let unsigned = is.column_type.contains("unsigned");
        let places = is.fraction.unwrap_or(0);
        Some(match is.data_type {
            "tinyint" => integer(8, unsigned, is.column_type.starts_with("tinyint(1)")),
            "smallint" => integer(16, unsigned, false),
            "mediumint" => integer(24, unsigned, false),
            "int" => integer(32, unsigned, false),
            "bigint" => integer(64, unsigned, false),
            "decimal" => {
                let (precision, places) = (is.precision?, is.scale?);
                Kind::Decimal { whole: precision.checked_sub(places)?, places, unsigned }
            }
            // With a number of decimals they round to it.
            "float" | "double" if is.scale.is_none() => Kind::Float { single: is.data_type == "float", unsigned },
            "bit" => Kind::Bits(usize::try_from(is.precision?).ok()?),
            "char" | "varchar" => Kind::Text { chars: is.length?, fixed: is.data_type == "char" },
            "tinytext" | "text" | "mediumtext" | "longtext" => Kind::LongText,
            "binary" => Kind::Bytes { most: is.octets?, fixed: true },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                Kind::Bytes { most: is.octets?, fixed: false }
            }
            "date" => Kind::Date,
            "datetime" => Kind::Datetime { places },
            "timestamp" => Kind::Timestamp { places },
            "time" => Kind::Time { places },
            "year" if is.column_type != "year(2)" => Kind::Year,
            "enum" => Kind::Enum(members(is.column_type.strip_prefix("enum(")?)?),
            "set" => Kind::Set(members(is.column_type.strip_prefix("set(")?)?),
            "uuid" => Kind::Uuid,
            "inet4" => Kind::Inet4,
            "inet6" => Kind::Inet6,
            _ => return None,
        })
    }

    /// Whether its values are kept in a character set.
    pub fn is_text(&self) -> bool {
        matches!(self, Kind::Text { .. } | Kind::LongText)
    }

    /// The value as a server is given it.
    ///
    /// # Errors
    /// Why it is none, without the value.
    pub fn take<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, Cow<'static, str>> {
        let owned = |value: Option<String>, why: &'static str| value.map(Cow::Owned).ok_or(Cow::Borrowed(why));
        let as_is = |fits: bool, why: &'static str| if fits { Ok(Cow::Borrowed(text)) } else { Err(why.into()) };
        match self {
            Kind::Integer { truth: true, .. } if text == "true" => Ok("1".into()),
            Kind::Integer { truth: true, .. } if text == "false" => Ok("0".into()),
            Kind::Integer { least, most, .. } => whole(text, *least, *most),
            Kind::Decimal { whole, places, unsigned } => exact(text, *whole, *places, *unsigned),
            Kind::Float { single, unsigned } => float(text, *single, *unsigned).map(|()| Cow::Borrowed(text)),
            Kind::Bits(1) if text == "true" => Ok("1".into()),
            Kind::Bits(1) if text == "false" => Ok("0".into()),
            Kind::Bits(count) => as_is(
                text.len() == *count && text.bytes().all(|digit| matches!(digit, b'0' | b'1')),
                "not bits: it is written as as many of 0 and 1 as the column has bits",
            ),
            Kind::Text { fixed: true, .. } if text.ends_with(' ') => Err("blanks at its end would be lost".into()),
            Kind::Text { chars, .. } => as_is(text.chars().count() as u64 <= *chars, "too long for its column"),
            Kind::LongText => Ok(text.into()),
            Kind::Bytes { most, fixed: true } => {
                as_is(text.len() as u64 == *most, "not as long as its column, which would fill it up")
            }
            Kind::Bytes { most, .. } => as_is(text.len() as u64 <= *most, "too long for its column"),
            Kind::Date => owned(moments::day(text), "not a valid date: it is written as 2026-11-23, and nothing else"),
            Kind::Datetime { places } => owned(
                moments::moment(text, *places, false),
                "not a valid datetime: it is written as 2026-11-23 10:00:00, with no more decimals than the column has; an offset would be lost",
            ),
            Kind::Timestamp { places } => owned(
                moments::moment(text, *places, true).filter(|moment| moment.as_str() > "1970-01-01 00:00:00"),
                "not a valid timestamp: it is written as 2026-11-23 10:00:00+02:00, with no more decimals than the column has",
            ),
            Kind::Time { places } => owned(
                moments::time(text, *places),
                "not a valid time: it is written as 10:00:00, with no more decimals than the column has; an offset or a day would be lost",
            ),
            Kind::Year => as_is(
                text == "0000" || (text.len() == 4 && text.parse().is_ok_and(|year| (1901..=2155).contains(&year))),
                "not a valid year: it is written as 2026",
            ),
            Kind::Enum(members) => as_is(
                members.iter().any(|member| member == text),
                "not one of its column's words, as they are written there",
            ),
            Kind::Set(members) => as_is(
                is_subset(text, members),
                "not some of its column's words, as they are written there and in their order",
            ),
            Kind::Uuid => owned(uuid(text), "not a UUID: it is written as 01234567-89ab-cdef-0123-456789abcdef"),
            Kind::Inet4 => owned(text.parse().ok().map(|it: Ipv4Addr| it.to_string()), "not an IPv4 address"),
            Kind::Inet6 => owned(text.parse().ok().map(|it: Ipv6Addr| it.to_string()), "not an IPv6 address"),
        }
    }
}

fn whole(text: &str, least: i128, most: i128) -> Result<Cow<'_, str>, Cow<'static, str>> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not an integer".into());
    }
    match text.parse::<i128>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number.to_string().into()),
        _ => Err("out of the range of its column's type".into()),
    }
}

fn exact(text: &str, whole: u64, places: u64, unsigned: bool) -> Result<Cow<'_, str>, Cow<'static, str>> {
    let number = Decimal::parse(text).ok_or("not a number")?;
    if number.whole() > whole || (unsigned && number.is_negative()) {
        return Err("out of the range of its column's type".into());
    }
    if number.places() > places {
        return Err(format!("it has more than the {places} decimals of its column, and would be rounded").into());
    }
    Ok(number.plain().into())
}

fn float(text: &str, single: bool, unsigned: bool) -> Result<(), Cow<'static, str>> {
    let written = Decimal::parse(text).ok_or("not a number")?;
    let (finite, zero) = match single {
        true => text.parse().map_or((false, false), |number: f32| (number.is_finite(), number == 0.0)),
        false => text.parse().map_or((false, false), |number: f64| (number.is_finite(), number == 0.0)),
    };
    let fits = finite && zero == written.is_zero() && !(unsigned && written.is_negative());
    if fits { Ok(()) } else { Err("out of the range of its column's type".into()) }
}

fn is_subset(text: &str, members: &[String]) -> bool {
    let mut left = members.iter();
    text.is_empty() || text.split(',').all(|word| left.any(|member| member == word))
}

fn uuid(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let is_hex = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (lengths == [8, 4, 4, 4, 12] && is_hex).then(|| text.to_ascii_lowercase())
}

/// `'a','it''s')`: the words between quotes. `None` where one is written with a backslash, or what stands there is something else.
fn members(text: &str) -> Option<Vec<String>> {
    if text.contains('\\') {
        return None;
    }
    let mut members = Vec::new();
    let mut rest = text;
    loop {
        let mut word = String::new();
        rest = rest.strip_prefix('\'')?;
        loop {
            let (before, after) = rest.split_once('\'')?;
            word.push_str(before);
            rest = after;
            match rest.strip_prefix('\'') {
                Some(more) => {
                    word.push('\'');
                    rest = more;
                }
                None => break,
            }
        }
        members.push(word);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (rest == ")").then_some(members),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn of(column_type: &str) -> Option<Kind> {
        let data_type = column_type.split(['(', ' ']).next().unwrap();
        let inside: Vec<u64> = column_type
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(numbers, _)| numbers.split(',').filter_map(|number| number.parse().ok()).collect())
            .unwrap_or_default();
        let number = inside.first().copied();
        Kind::of(&Definition {
            data_type,
            column_type,
            length: number,
            octets: number,
            precision: number,
            scale: inside.get(1).copied(),
            fraction: number.and_then(|places| usize::try_from(places).ok()),
        })
    }

    #[test]
    fn values_are_taken_or_not() {
        for (declared, taken, refused) in [
            ("tinyint", &["-128", "+7", "007"][..], &["128", "1.0", "", "true", " 1", "0x1", "1e1"][..]),
            ("tinyint(1)", &["true", "false", "2"], &["t", "TRUE"]),
            ("bigint unsigned", &["18446744073709551615"], &["-1", "18446744073709551616"]),
            ("decimal(4,2)", &["1.20", "-99.99", "1.2000", "12e-1"], &["1.205", "100", "1e-3", "abc", ""]),
            ("decimal(4,2) unsigned", &["-0"], &["-1"]),
            ("double", &["1e308", "0.1", "-0.0", "5e-324"], &["1e400", "1e-400", "nan", "inf", "1,5"]),
            ("float", &["3.4e38"], &["3.5e38", "1e-50"]),
            ("bit(4)", &["0101"], &["1", "01011", "0x5", "5"]),
            ("bit(1)", &["1", "true"], &["2", "t"]),
            ("char(3)", &["abc", "\u{e9}\u{e9}\u{e9}", ""], &["abcd", "a "]),
            ("varchar(3)", &["a  "], &["abc ", "abcd"]),
            ("binary(2)", &["ab"], &["a", "abc"]),
            ("varbinary(2)", &["ab", ""], &["abc", "\u{20ac}"]),
            ("year", &["2026", "0000"], &["26", "1900", "2156", "02026"]),
            ("enum('a','it''s')", &["a", "it's"], &["A", "2", "", "its"]),
            ("set('a','b','c')", &["", "a,c", "b"], &["c,a", "a,a", "d", "3", "a,"]),
            ("uuid", &["01234567-89AB-cdef-0123-456789abcdef"], &["0123456789abcdef0123456789abcdef", "x"]),
            ("inet6", &["::1", "2001:DB8::1"], &["1.2.3.4", "::g"]),
            ("inet4", &["10.0.0.1"], &["010.0.0.1", "10.1"]),
            ("date", &["2026-11-23"], &["2026-11-23 10:00"]),
            ("timestamp", &["2026-11-23T10:00:00+02:00"], &["1970-01-01 00:00:00", "2026-11-23 10:00:00.5"]),
        ] {
            let kind = of(declared).unwrap();
            taken.iter().for_each(|text| assert!(kind.take(text).is_ok(), "{declared} {text}"));
            refused.iter().for_each(|text| assert!(kind.take(text).is_err(), "{declared} {text}"));
        }
    }

    #[test]
    fn types_that_cannot_be_looked_at_are_none() {
        for declared in [
            "float(7,2)",
            "double(7,2)",
            "json",
            "point",
            "geometry",
            "year(2)",
            "vector(3)",
            "enum('a\\b')",
            "xmltype",
        ] {
            assert_eq!(of(declared), None, "{declared}");
        }
    }
}
