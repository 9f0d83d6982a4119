//! The table of contents of a schema archive: what the vendor's `pg_dump` wrote, entry by entry.
//!
//! Owns reading the custom format's header and entries, so that a restore can choose entries by what they are instead of
//! by how a listing prints them, and can run an index's own statement as soon as its table is loaded. Layout: PostgreSQL
//! source, `src/bin/pg_dump/pg_backup_archiver.c` (`ReadHead`, `ReadToc`) and `pg_backup_custom.c`. Promises that a cut or
//! unknown archive is an error, never a shorter list. Refuses to change anything: statements are passed on as they are.

use engine::{Error, Kind};
use std::collections::BTreeMap;

/// Oid of `pg_class` in every PostgreSQL.
const PG_CLASS: u32 = 1259;
/// The layouts that are known: 1.14 is written by versions 12 to 15, 1.15 by 16, 1.16 by 17 and newer.
const OLDEST: (u8, u8) = (1, 14);
const NEWEST: (u8, u8) = (1, 16);
/// The byte that stands for the custom format.
const CUSTOM: u8 = 1;

/// Where in a restore an entry belongs; comments and grants belong where the entry before them does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// Settings that every section needs: encoding, search path.
    None,
    PreData,
    Data,
    PostData,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub id: i32,
    /// Catalog and oid of the object at the source; zero where there is none.
    pub class: u32,
    pub oid: u32,
    /// Name, such as `events_pkey`; for some kinds with the table before it.
    pub tag: String,
    /// Kind, such as `INDEX`.
    pub kind: String,
    pub section: Section,
    /// The statement that makes it; `None` when it is not UTF-8: such a database's statements are the vendor's to replay.
    pub definition: Option<String>,
    /// Whether the statement also changes the table it is about, as `CLUSTER ON` and `REPLICA IDENTITY` of an index do: it begins
    /// with a weak lock on the table and ends with a strong one, so two at a time would wait for each other.
    pub marks_its_table: bool,
    pub schema: String,
    pub tablespace: String,
    pub owner: String,
    /// Ids of entries that must be there before.
    pub needs: Vec<i32>,
}

/// All entries, in the archive's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub entries: Vec<Entry>,
}

impl Entry {
    /// Whether it makes a table or a partitioned table.
    pub fn is_table(&self) -> bool {
        self.class == PG_CLASS && self.kind == "TABLE"
    }

    /// Whether it makes a table of any kind, here or on another server.
    pub fn is_any_table(&self) -> bool {
        self.is_table() || self.kind == "FOREIGN TABLE"
    }

    /// Whether it makes a sequence.
    pub fn is_sequence(&self) -> bool {
        self.class == PG_CLASS && self.kind == "SEQUENCE"
    }

    /// Kind and name, for people.
    pub fn shown(&self) -> String {
        match self.schema.as_str() {
            "" => format!("{} {}", self.kind.to_lowercase(), self.tag),
            schema => format!("{} {schema}.{}", self.kind.to_lowercase(), self.tag),
        }
    }
}

impl Contents {
    /// Reads an archive's beginning.
    ///
    /// # Errors
    /// [`Kind::Data`] when the bytes end early or make no sense, [`Kind::Config`] for a layout of another version.
    pub fn parse(archive: &[u8]) -> Result<Self, Error> {
        let mut bytes = Bytes::new(archive);
        bytes.header()?;
        let count = usize::try_from(bytes.int()?).map_err(|_| broken("the number of entries is negative"))?;
        // An entry takes more than 40 bytes: a count beyond that is damage, not a reason to allocate.
        if count > archive.len() / 40 {
            return Err(broken("it claims more entries than it can hold"));
        }
        let mut entries = (0..count).map(|_| bytes.entry()).collect::<Result<Vec<_>, _>>()?;
        // Comments, grants and labels carry no section: they belong to that of the entry before them.
        let mut current = Section::None;
        for entry in &mut entries {
            match entry.section {
                Section::None => entry.section = current,
                section => current = section,
            }
        }
        Ok(Self { entries })
    }

    /// Entries by id.
    pub fn by_id(&self) -> BTreeMap<i32, &Entry> {
        self.entries.iter().map(|entry| (entry.id, entry)).collect()
    }
}

fn broken(what: &str) -> Error {
    Error::new(Kind::Data, format!("the schema archive cannot be read: {what}")).hint("restore another backup")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// A cursor over the archive.
struct Bytes<'a> {
    rest: &'a [u8],
    version: (u8, u8),
    int_size: usize,
    offset_size: usize,
}

impl<'a> Bytes<'a> {
    fn new(archive: &'a [u8]) -> Self {
        Self { rest: archive, version: (0, 0), int_size: 4, offset_size: 8 }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| broken("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    /// A sign byte, then the absolute value, lowest byte first.
    fn int(&mut self) -> Result<i64, Error> {
        let negative = self.byte()? != 0;
        let value = self.take(self.int_size)?.iter().rev().fold(0_i64, |value, byte| value << 8 | i64::from(*byte));
        Ok(if negative { -value } else { value })
    }

    /// A length, then so many bytes; a negative length stands for no text at all.
    fn optional(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match usize::try_from(self.int()?) {
            Ok(len) => self.take(len).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Names are in the database's encoding. Where that is not UTF-8 they are shown only, so nothing is lost here.
    fn optional_text(&mut self) -> Result<Option<String>, Error> {
        Ok(self.optional()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    fn text(&mut self) -> Result<String, Error> {
        self.optional_text().map(Option::unwrap_or_default)
    }

    fn header(&mut self) -> Result<(), Error> {
        if self.take(5)? != b"PGDMP" {
            return Err(broken("it does not begin as one"));
        }
        let (major, minor, _revision) = (self.byte()?, self.byte()?, self.byte()?);
        self.version = (major, minor);
        if self.version < OLDEST || self.version > NEWEST {
            let what = format!("the schema archive has layout {major}.{minor}, which this version does not know");
            return Err(Error::new(Kind::Config, what).hint("use a newer version of longshore"));
        }
        (self.int_size, self.offset_size) = (usize::from(self.byte()?), usize::from(self.byte()?));
        if self.byte()? != CUSTOM || self.int_size > 7 {
            return Err(broken("it is not in the custom format"));
        }
        // The compression: an algorithm since 1.15, a level before.
        if self.version >= (1, 15) {
            self.byte()?;
        } else {
            self.int()?;
        }
        // When it was made, as seven numbers; then the database's name, and the versions of server and tool.
        for _ in 0..7 {
            self.int()?;
        }
        for _ in 0..3 {
            self.optional_text()?;
        }
        Ok(())
    }

    fn entry(&mut self) -> Result<Entry, Error> {
        let id = i32::try_from(self.int()?).map_err(|_| broken("an entry's number is too large"))?;
        let _has_data = self.int()?;
        let (class, oid) = (self.number()?, self.number()?);
        let (tag, kind) = (self.text()?, self.text()?);
        let section = match self.int()? {
            1 => Section::None,
            2 => Section::PreData,
            3 => Section::Data,
            4 => Section::PostData,
            _ => return Err(broken("an entry belongs to no section")),
        };
        let definition = self.optional()?.unwrap_or_default();
        let marks_its_table = kind == "INDEX" && contains(definition, b"\nALTER TABLE ");
        let definition = std::str::from_utf8(definition).ok().map(str::to_owned);
        let (_drop, _copy) = (self.optional_text()?, self.optional_text()?);
        let (schema, tablespace) = (self.text()?, self.text()?);
        let _access_method = self.optional_text()?;
        if self.version >= (1, 16) {
            let _relation_kind = self.int()?;
        }
        let owner = self.text()?;
        let _with_oids = self.optional_text()?;
        let mut needs = Vec::new();
        while let Some(text) = self.optional_text()? {
            needs.push(text.parse().map_err(|_| broken("a dependency is not a number"))?);
        }
        // Where the entry's data is: a state and an offset.
        self.take(1 + self.offset_size)?;
        Ok(Entry { id, class, oid, tag, kind, section, definition, marks_its_table, schema, tablespace, owner, needs })
    }

    /// Oids are kept as text.
    fn number(&mut self) -> Result<u32, Error> {
        self.text()?.parse().map_err(|_| broken("an oid is not a number"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn int(value: i32) -> Vec<u8> {
        let mut bytes = vec![u8::from(value < 0)];
        bytes.extend(value.unsigned_abs().to_le_bytes());
        bytes
    }

    fn text(value: &str) -> Vec<u8> {
        [int(i32::try_from(value.len()).unwrap()), value.as_bytes().to_vec()].concat()
    }

    /// An archive of one entry, as the vendor's tool of that layout writes it.
    fn archive(minor: u8) -> Vec<u8> {
        let mut bytes = b"PGDMP\x01".to_vec();
        bytes.extend([minor, 0, 4, 8, CUSTOM]);
        bytes.extend(if minor >= 15 { vec![0] } else { int(0) });
        (0..7).for_each(|_| bytes.extend(int(1)));
        for words in ["app", "17.1", "17.1"] {
            bytes.extend(text(words));
        }
        bytes.extend([int(1), int(7), int(0)].concat());
        for words in ["1259", "16400", "events_at", "INDEX"] {
            bytes.extend(text(words));
        }
        bytes.extend(int(4));
        bytes.extend([text("CREATE INDEX events_at ON public.events (at);\n"), int(-1), int(-1)].concat());
        bytes.extend([text("public"), int(-1), int(-1)].concat());
        if minor >= 16 {
            bytes.extend(int(105));
        }
        bytes.extend([text("ann"), text("false"), text("5"), text("6"), int(-1)].concat());
        bytes.extend([3, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn an_entry_of_every_layout_is_read() {
        for minor in [14, 15, 16] {
            let contents = Contents::parse(&archive(minor)).unwrap();
            let [entry] = contents.entries.as_slice() else { panic!("one entry") };
            assert_eq!(
                (entry.id, entry.oid, entry.kind.as_str(), entry.needs.as_slice()),
                (7, 16400, "INDEX", &[5, 6][..])
            );
            assert_eq!((entry.section, entry.owner.as_str()), (Section::PostData, "ann"));
            assert_eq!(entry.shown(), "index public.events_at");
        }
    }

    #[test]
    fn a_cut_archive_is_an_error_at_every_byte_and_a_newer_layout_says_so() {
        let whole = archive(16);
        for len in 0..whole.len() {
            assert!(Contents::parse(&whole[..len]).is_err(), "{len} bytes");
        }
        let mut newer = whole;
        newer[6] = 17;
        assert_eq!(Contents::parse(&newer).unwrap_err().kind, Kind::Config);
    }
}
