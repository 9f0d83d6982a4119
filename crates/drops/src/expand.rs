//! From the bytes of a file to the text in it: decompression.
//!
//! Owns what is told from a file's first bytes. Promises gzip of any number of members and zstd of any number of frames, that an end which is cut off is an
//! error, and that a small file cannot fill memory or time without end. Refuses other archives by name, and a name that
//! says compressed when the content is not.

use std::io::{self, BufRead as _, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::error::{Error, Kind};
use crate::raw::{Grew, Raw};

/// Bytes of a file that are looked at first.
const MAGIC: usize = 16;
/// What is read from a file at a time.
const BUFFER: usize = 256 << 10;
/// Below so many bytes nothing is called a bomb, however well it was compressed.
const HARMLESS: u64 = 64 << 20;

/// What a file may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that one file may hold after decompression.
    pub expanded_bytes: u64,
    /// How many bytes may come of one that is read, once there are 64 MiB. Gzip reaches 1,032 at most.
    pub ratio: u64,
    /// The longest row, in bytes, and so the longest cell. Twice as much is kept in memory for such a row.
    pub row_bytes: usize,
}

impl Default for Limits {
    /// 1 TiB, 1,000 to one, 64 MiB.
    fn default() -> Limits {
        Limits { expanded_bytes: 1 << 40, ratio: 1000, row_bytes: 64 << 20 }
    }
}

type Source = BufReader<Chain<Cursor<Vec<u8>>, Raw>>;

enum Decoder {
    Plain(Box<Source>),
    Gzip(Box<MultiGzDecoder<Source>>),
    Zstd(Box<ZstdDecoder<'static, Source>>),
}

/// A file's text.
pub(crate) struct Expanded {
    decoder: Decoder,
    path: String,
    limits: Limits,
    produced: u64,
}

impl Expanded {
    pub(crate) fn new(mut raw: Raw, path: &str, limits: Limits) -> Result<Expanded, Error> {
        let mut head = Vec::with_capacity(MAGIC);
        let read = raw.by_ref().take(MAGIC as u64).read_to_end(&mut head);
        read.map_err(|error| failed(path, &raw, error, Kind::Unavailable))?;
        let found = Content::of(&head);
        refuse(path, found, head.is_empty())?;
        let source = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(raw));
        let decoder = match found {
            Content::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(source))),
            Content::Zstd => {
                let decoder = ZstdDecoder::with_buffer(source);
                let internal = |error| Error::internal(format_args!("could not decompress {path}"), error);
                Decoder::Zstd(Box::new(decoder.map_err(internal)?))
            }
            _ => Decoder::Plain(Box::new(source)),
        };
        Ok(Expanded { decoder, path: path.to_owned(), limits, produced: 0 })
    }

    fn source(&self) -> &Source {
        match &self.decoder {
            Decoder::Plain(source) => source,
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn source_mut(&mut self) -> &mut Source {
        match &mut self.decoder {
            Decoder::Plain(source) => source,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn raw(&self) -> &Raw {
        self.source().get_ref().get_ref().1
    }

    /// Whether the file is still the one that was opened.
    pub(crate) fn unchanged(&self) -> Result<(), Error> {
        self.raw().unchanged()
    }

    /// Fills `block` as far as there is text: fewer bytes than it has room for are the last ones.
    pub(crate) fn fill(&mut self, block: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while let Some(room) = block.get_mut(filled..).filter(|room| !room.is_empty()) {
            let read = match &mut self.decoder {
                Decoder::Plain(source) => source.read(room),
                Decoder::Gzip(decoder) => decoder.read(room),
                Decoder::Zstd(decoder) => decoder.read(room),
            };
            match read {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    self.produced += read as u64;
                    self.harmless()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(filled)
    }

    fn harmless(&self) -> Result<(), Error> {
        let Limits { expanded_bytes, ratio, .. } = self.limits;
        let (read, path) = (self.raw().bytes(), &self.path);
        let what = if matches!(self.decoder, Decoder::Plain(_)) {
            return Ok(());
        } else if self.produced > expanded_bytes {
            format!("{path} holds more than the {expanded_bytes} bytes that a file may have after decompression")
        } else if self.produced > HARMLESS && self.produced / ratio.max(1) > read {
            format!("{path} expands to more than {ratio} times its size")
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Refused, what)
            .hint("when the file is what it should be, raise the limit; nothing was loaded"))
    }

    /// What a decoder says is about the file's content, unless the file is not the same any more.
    fn broken(&self, error: io::Error) -> Error {
        let kind = if matches!(self.decoder, Decoder::Plain(_)) { Kind::Unavailable } else { Kind::Data };
        failed(&self.path, self.raw(), error, kind)
    }

    /// The SHA-256 of the file as it lies there, once its text was read to the end.
    pub(crate) fn finish(mut self) -> Result<[u8; 32], Error> {
        let left = self.source_mut().fill_buf().map(|left| !left.is_empty());
        match left {
            Ok(false) => self.source_mut().get_mut().get_mut().1.finish(),
            Ok(true) => Err(cut(&self.path, "it goes on after the end of what was compressed")),
            Err(error) => Err(self.broken(error)),
        }
    }
}

fn failed(path: &str, raw: &Raw, error: io::Error, kind: Kind) -> Error {
    if error.get_ref().is_some_and(|source| source.is::<Grew>()) {
        return Error::changed(path, Grew);
    }
    if let Err(changed) = raw.unchanged() {
        return changed;
    }
    match (kind, error.kind(), error.raw_os_error()) {
        (Kind::Data, io::ErrorKind::UnexpectedEof, _) => {
            cut(path, "it ends before what was compressed does").because(error)
        }
        // Decoders make errors of their own; those of the system have a number.
        (Kind::Data, _, None) => {
            Error::new(Kind::Data, format!("{path} cannot be decompressed after {} bytes", raw.bytes()))
                .hint("upload it again; nothing was loaded")
                .because(error)
        }
        _ => Error::io(format_args!("read {path}"), error),
    }
}

fn cut(path: &str, how: &str) -> Error {
    Error::new(Kind::Data, format!("{path} is not whole: {how}"))
        .hint("it was cut off on its way, or while it was written: upload it again; nothing was loaded")
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Text,
    Gzip,
    Zstd,
    Other(&'static str),
}

impl Content {
    fn of(head: &[u8]) -> Content {
        match head {
            [0x1f, 0x8b, ..] => Content::Gzip,
            // The second is a frame that decoders skip, which some tools begin with.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Content::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Content::Other("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y', ..] => Content::Other("bzip2"),
            [b'P', b'K', 3, 4, ..] => Content::Other("a zip archive (or a spreadsheet, which is one)"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Content::Other("a 7z archive"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Content::Other("lz4"),
            [b'P', b'A', b'R', b'1', ..] => Content::Other("Parquet"),
            _ => Content::Text,
        }
    }
}

fn refuse(path: &str, found: Content, empty: bool) -> Result<(), Error> {
    let lower = path.to_ascii_lowercase();
    let named = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    let what = match found {
        Content::Other(name) => format!("{path} is {name}, which cannot be read"),
        Content::Gzip | Content::Zstd => return Ok(()),
        Content::Text if !named(&[".gz", ".zst", ".zstd"]) => return Ok(()),
        Content::Text if empty => return Err(cut(path, "its name says that it is compressed, and it is empty")),
        Content::Text => format!("{path} is not compressed, and its name says so"),
    };
    Err(Error::new(Kind::Data, what)
        .hint("upload plain text, gzip or zstd, under a name that fits; nothing was loaded"))
}

#[cfg(test)]
mod tests;
