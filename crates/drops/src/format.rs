//! How a file is written, as somebody declares it.
//!
//! Owns the settings of each format. Promises that settings which could be read in two ways are refused before a file is opened. Refuses to
//! look into a file for them: a delimiter or an encoding that was guessed right for a year is wrong one night.

use std::str::FromStr;

use encoding_rs::UTF_8;

use crate::File;
use crate::error::{Error, Kind};

/// How the rows of a file are written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Cells between delimiters, with a header.
    Csv(Csv),
    /// One JSON object on each line, in UTF-8.
    NdJson,
}

/// How a CSV file is written: RFC 4180 with `"` as the quote, rows ended by a line feed with or without a carriage return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// What stands between cells: an ASCII character or a tab.
    pub delimiter: u8,
    /// What an unquoted cell says when it is null. A quoted one never is.
    pub nulls: Vec<String>,
    /// How characters are written.
    pub encoding: Encoding,
}

impl Csv {
    /// Commas, UTF-8, and null is an unquoted empty cell.
    #[must_use]
    pub fn commas() -> Csv {
        Csv { delimiter: b',', nulls: vec![String::new()], encoding: Encoding::default() }
    }

    /// As `commas`, with tabs.
    #[must_use]
    pub fn tabs() -> Csv {
        Csv { delimiter: b'\t', ..Csv::commas() }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let shown = char::from(self.delimiter).escape_default();
        if !self.delimiter.is_ascii() || matches!(self.delimiter, 0 | b'\n' | b'\r' | b'"') {
            return Err(Error::new(Kind::Config, format!("'{shown}' cannot be a delimiter"))
                .hint("use an ASCII character that is neither a quote nor the end of a line"));
        }
        // In these encodings the second byte of a character may look like one of ASCII, from 0x30 on; only these are safe to look for.
        let safe = self.delimiter < 0x30 || matches!(self.delimiter, b';' | b':' | b'<' | b'=' | b'>' | b'?');
        if !self.encoding.is_utf8() && !self.encoding.0.is_single_byte() && !safe {
            let what = format!("'{shown}' cannot be told from a part of a character in {}", self.encoding.0.name());
            return Err(
                Error::new(Kind::Config, what).hint("use a comma, a semicolon or a tab, or write the file in UTF-8")
            );
        }
        Ok(())
    }
}

impl Format {
    /// The format that a manifest's word or a file's name means: `csv`, `tsv` or `ndjson`, with defaults for the rest. In a name `.jsonl` is `ndjson`, and `.gz`,
    /// `.zst` and `.zstd` may follow.
    ///
    /// # Errors
    /// [`Kind::Config`] when neither says a format that is known.
    pub fn of(file: &File) -> Result<Format, Error> {
        if let Some(word) = &file.listed.format {
            return word.parse();
        }
        let lower = file.path.to_ascii_lowercase();
        let plain = [".gz", ".zst", ".zstd"].iter().find_map(|end| lower.strip_suffix(end)).unwrap_or(&lower);
        let end = plain.rsplit_once('.').map(|(_, end)| if end == "jsonl" { "ndjson" } else { end });
        end.and_then(|end| end.parse().ok()).ok_or_else(|| {
            Error::new(Kind::Config, format!("the name of {} does not say how it is written", file.path))
                .hint("give it a format (csv, tsv, ndjson) in drop.yaml or in the loader's configuration")
        })
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(word: &str) -> Result<Format, Error> {
        match word {
            "csv" => Ok(Format::Csv(Csv::commas())),
            "tsv" => Ok(Format::Csv(Csv::tabs())),
            "ndjson" => Ok(Format::NdJson),
            _ => Err(Error::new(Kind::Config, format!("there is no format {:?}", crate::names::shown(word)))
                .hint("use csv, tsv or ndjson")),
        }
    }
}

/// How characters are written: UTF-8, or one in which ASCII is ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Default for Encoding {
    fn default() -> Encoding {
        Encoding(UTF_8)
    }
}

impl FromStr for Encoding {
    type Err = Error;

    /// By the names that the Encoding Standard gives: `utf-8`, `windows-1252` (which `latin1` means), `shift_jis`, …
    fn from_str(label: &str) -> Result<Encoding, Error> {
        let unknown = || Error::new(Kind::Config, format!("there is no encoding {:?}", crate::names::shown(label)));
        let encoding = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).ok_or_else(unknown)?;
        if !encoding.is_ascii_compatible() {
            return Err(Error::new(Kind::Config, format!("{} cannot be read", encoding.name()))
                .hint("convert the file to UTF-8 first, as `iconv -t UTF-8` does"));
        }
        Ok(Encoding(encoding))
    }
}

impl Encoding {
    pub(crate) fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.name()
    }

    /// Appends text in UTF-8.
    ///
    /// # Errors
    /// The offset of the first byte that is none of this encoding.
    pub(crate) fn decode(self, text: &[u8]) -> Result<std::borrow::Cow<'_, str>, usize> {
        match self.0.decode_without_bom_handling_and_without_replacement(text) {
            Some(decoded) => Ok(decoded),
            None => Err(self.first_wrong(text)),
        }
    }

    fn first_wrong(self, text: &[u8]) -> usize {
        let mut decoder = self.0.new_decoder_without_bom_handling();
        let mut out = vec![0; decoder.max_utf8_buffer_length_without_replacement(text.len()).unwrap_or(0)];
        match decoder.decode_to_utf8_without_replacement(text, &mut out, true) {
            (encoding_rs::DecoderResult::Malformed(wrong, after), read, _) => {
                read.saturating_sub(usize::from(wrong) + usize::from(after))
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for delimiter in [b'"', b'\n', b'\r', 0, 0xa7] {
            assert_eq!(Csv { delimiter, ..Csv::commas() }.check().unwrap_err().kind, Kind::Config);
        }
        let japanese = |delimiter| Csv { delimiter, encoding: "shift_jis".parse().unwrap(), ..Csv::commas() };
        assert!(japanese(b'|').check().is_err());
        assert!(japanese(b'7').check().is_err());
        for delimiter in [b',', b';', b'\t'] {
            japanese(delimiter).check().unwrap();
        }
        Csv { delimiter: b'|', ..Csv::commas() }.check().unwrap();
    }

    #[test]
    fn only_encodings_that_keep_ascii_are_taken() {
        for label in ["utf-16", "utf-16le", "iso-2022-jp", "utf-7", "nonsense", ""] {
            assert_eq!(label.parse::<Encoding>().unwrap_err().kind, Kind::Config, "{label}");
        }
        assert_eq!("latin1".parse::<Encoding>().unwrap().name(), "windows-1252");
        assert_eq!("UTF8".parse::<Encoding>().unwrap(), Encoding::default());
    }

    /// What makes it right to look for quotes, delimiters and line ends before text is decoded.
    #[test]
    fn no_encoding_has_a_delimiter_inside_of_a_character() {
        let labels = ["gbk", "gb18030", "big5", "euc-jp", "shift_jis", "euc-kr", "windows-1252", "koi8-r", "macintosh"];
        for encoding in labels.map(|label| label.parse::<Encoding>().unwrap()) {
            for (lead, second) in
                (0x80..=0xffu8).flat_map(|lead| b"\n\r\t\",;:<=>? !#$%&'()*+-./".map(|second| (lead, second)))
            {
                if let Ok(text) = encoding.decode(&[lead, second]) {
                    assert!(text.ends_with(char::from(second)), "{} {lead:x} {second:x}", encoding.name());
                }
            }
        }
    }

    #[test]
    fn the_first_wrong_byte_is_found() {
        let encoding: Encoding = "shift_jis".parse().unwrap();
        assert_eq!(encoding.decode(b"abc\x82\xa0x\x81"), Err(6));
        assert_eq!(encoding.decode(b"abc\x81,"), Err(3));
        assert_eq!("windows-1252".parse::<Encoding>().unwrap().decode(b"\xe9").unwrap(), "é");
    }
}
