//! Numbers as they are written, digit by digit.
//!
//! Owns their form: a sign, digits, a point, an exponent. Promises that a number is the same before and after, whatever its length; nothing is counted in binary.

/// A number: `0.DIGITS` times ten to the power of `point`. Neither the first digit nor the last is zero; zero has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i64,
}

/// No number of a column is written with so many figures.
const MOST_LENGTH: usize = 10_000;
/// Larger exponents are of no column.
const MOST_EXPONENT: i64 = 100_000;

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

impl Decimal {
    /// `None` for anything that is no number in figures.
    pub fn parse(text: &str) -> Option<Decimal> {
        // So long that an exponent which is cut could say something else.
        if text.len() > MOST_LENGTH {
            return None;
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, rest) = split_digits(unsigned);
        let (places, rest) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        if whole.is_empty() && places.is_empty() {
            return None;
        }
        let exponent = match rest.strip_prefix(['e', 'E']) {
            None if rest.is_empty() => 0,
            None => return None,
            Some(exponent) => {
                let (digits, after) = split_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
                if digits.is_empty() || !after.is_empty() {
                    return None;
                }
                let most = if exponent.starts_with('-') { -MOST_EXPONENT } else { MOST_EXPONENT };
                exponent.parse().unwrap_or(most).clamp(-MOST_EXPONENT, MOST_EXPONENT)
            }
        };
        let all = [whole.as_bytes(), places.as_bytes()].concat();
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        let end = all.iter().rposition(|digit| *digit != b'0').map_or(zeros, |last| last + 1);
        let digits = all.get(zeros..end).unwrap_or_default().to_vec();
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()? + exponent;
        let negative = text.starts_with('-') && !digits.is_empty();
        Some(if digits.is_empty() {
            Decimal { negative, digits, point: 0 }
        } else {
            Decimal { negative, digits, point }
        })
    }

    pub fn is_negative(&self) -> bool {
        self.negative
    }

    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// How many digits stand before the point, at least.
    pub fn whole(&self) -> u64 {
        u64::try_from(self.point).unwrap_or(0)
    }

    /// How many digits stand behind it, at least.
    pub fn places(&self) -> u64 {
        u64::try_from(i64::try_from(self.digits.len()).unwrap_or(i64::MAX) - self.point).unwrap_or(0)
    }

    /// Without an exponent, and without a digit that says nothing. For numbers whose `whole` and `places` are known to be small.
    pub fn plain(&self) -> String {
        let mut text = String::from(if self.negative { "-" } else { "" });
        if self.point <= 0 {
            text.push('0');
        }
        if self.point < 0 {
            text.push('.');
            (self.point..0).for_each(|_| text.push('0'));
        }
        for (at, digit) in (0_i64..).zip(&self.digits) {
            if at == self.point && at >= 0 {
                text.push('.');
            }
            text.push(char::from(*digit));
        }
        let missing = self.point - i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        (0..missing).for_each(|_| text.push('0'));
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_stay_what_they_are() {
        for (text, plain, whole, places) in [
            ("0", "0", 0, 0),
            ("-0.00", "0", 0, 0),
            ("+007", "7", 1, 0),
            ("1.20", "1.2", 1, 1),
            ("-.5", "-0.5", 0, 1),
            ("5.", "5", 1, 0),
            ("1.5E3", "1500", 4, 0),
            ("1e-3", "0.001", 0, 3),
            ("123.456e1", "1234.56", 4, 2),
            ("0.0120", "0.012", 0, 3),
            ("1000", "1000", 4, 0),
        ] {
            let number = Decimal::parse(text).unwrap();
            assert_eq!((number.plain().as_str(), number.whole(), number.places()), (plain, whole, places), "{text}");
        }
        assert!(Decimal::parse("1e99999999999999999999").unwrap().whole() > 1000);
        assert!(Decimal::parse("1e-99999999999999999999").unwrap().places() > 1000);
        assert_eq!(Decimal::parse(&format!("0.{}1e100002", "0".repeat(100_000))), None);
        for none in ["", "-", ".", "1,5", " 1", "1 ", "1e", "1e+", "0x1", "NaN", "--1", "1.2.3", "1e1.5", "\u{661}"] {
            assert_eq!(Decimal::parse(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_number_comes_back(number in any::<i64>(), places in 0_usize..6) {
            let digits = format!("{:07}", number.unsigned_abs());
            let (whole, rest) = digits.split_at(digits.len() - places);
            let sign = if number < 0 { "-" } else { "" };
            let written = format!("{sign}{whole}.{rest}");
            let parsed = Decimal::parse(&written).unwrap();
            prop_assert_eq!(Decimal::parse(&parsed.plain()).unwrap(), parsed.clone());
            let scaled = Decimal::parse(&format!("{}e{places}", parsed.plain())).unwrap();
            prop_assert_eq!(scaled.plain(), number.to_string());
        }
    }
}
