//! The digest of a set of rows: a count and the sum of the rows' hashes.
//!
//! Owns the arithmetic: Σ XXH3-128(row bytes) mod 2¹²⁸ beside the number of rows. Promises that the digest of a table is
//! the same whatever order its rows are read in and however it was cut into segments, so that a restored table can be
//! compared with the table that was backed up. Refuses to guard against malice: XXH3 finds accidents, the SHA-256
//! chunk ids of the repository guard the bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_128;

/// XXH3-128 (seed 0) of one row's bytes, in the row format's text without its terminator.
#[must_use]
pub fn row_hash(row: &[u8]) -> u128 {
    xxh3_128(row)
}

/// A number of rows and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    /// Number of rows.
    pub rows: u64,
    /// Σ `row_hash` mod 2¹²⁸.
    pub sum: u128,
}

impl Digest {
    /// Adds one row by its hash.
    pub fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// Takes all rows of another digest away, which are among these.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_sub(other.rows), sum: self.sum.wrapping_sub(other.sum) }
    }

    /// Adds all rows of another digest.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.rows, self.sum)
    }
}

/// A digest was not written as `<rows>:<32 hex digits>`.
#[derive(Debug, thiserror::Error)]
#[error("a digest is written <rows>:<32 hex digits>")]
pub struct DigestParseError;

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rows, sum) = text.split_once(':').ok_or(DigestParseError)?;
        if sum.len() != 32 {
            return Err(DigestParseError);
        }
        Ok(Self {
            rows: rows.parse().map_err(|_| DigestParseError)?,
            sum: u128::from_str_radix(sum, 16).map_err(|_| DigestParseError)?,
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn order_and_cutting_do_not_matter_but_every_row_does() {
        let rows: Vec<&[u8]> = vec![b"1\ta", b"2\tb", b"3\tc"];
        let mut whole = Digest::default();
        rows.iter().for_each(|row| whole.add(row_hash(row)));
        let (mut left, mut right) = (Digest::default(), Digest::default());
        left.add(row_hash(rows[2]));
        right.add(row_hash(rows[1]));
        right.add(row_hash(rows[0]));
        left.merge(right);
        assert_eq!(whole, left);
        let mut changed = Digest::default();
        [&b"1\ta"[..], b"2\tb", b"3\td"].iter().for_each(|row| changed.add(row_hash(row)));
        assert_ne!(whole, changed);
        assert_eq!(whole.to_string().parse::<Digest>().unwrap(), whole);
    }
}
