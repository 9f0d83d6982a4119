//! What a program writes: shown by lines, and kept as it came.
//!
//! Owns both. Promises that a shown line is bounded and holds nothing that a terminal would obey; that the kept file has every byte that was read, in
//! the order in which it was read, and is on the disk when both streams have ended. A disk that takes no more is told of once, and ends nothing: the load
//! is not worth less for it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use process::Stream;

/// A longer line is shown in pieces of about this size.
const LINE_BYTES: usize = 4096;

/// Where the output of one program goes.
pub(super) struct Output {
    /// What shown lines begin with.
    name: String,
    file: Option<File>,
    stdout: Lines,
    stderr: Lines,
    ended: u8,
}

impl Output {
    pub(super) fn new(program: &Path, file: Option<File>) -> Output {
        let name = program.file_name().unwrap_or(program.as_os_str()).display().to_string();
        Output { name, file, stdout: Lines::default(), stderr: Lines::default(), ended: 0 }
    }

    /// Takes a piece; an empty one is a stream's end. Blocks while terminal or disk do.
    pub(super) fn take(&mut self, stream: Stream, piece: &[u8]) {
        self.write(piece);
        let name = &self.name;
        let lines = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        lines.push(piece, |line| tracing::info!("{name}: {line}"));
    }

    fn write(&mut self, piece: &[u8]) {
        let Some(file) = &mut self.file else { return };
        self.ended += u8::from(piece.is_empty());
        let written = if self.ended == 2 { file.sync_all() } else { file.write_all(piece) };
        if let Err(error) = written {
            tracing::warn!(%error, program = self.name, "the file for what the program writes is not whole: it could not be written");
            self.file = None;
        }
    }
}

/// One stream, cut into lines.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Shows each line that is whole, or too long to wait for its end; at the stream's end what is left.
    fn push(&mut self, piece: &[u8], mut show: impl FnMut(&str)) {
        if piece.is_empty() && !self.partial.is_empty() {
            show(&shown(&self.partial));
            self.partial.clear();
        }
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(part);
            let whole = self.partial.last() == Some(&b'\n');
            while self.partial.len() > LINE_BYTES {
                let later = self.partial.split_off(cut(&self.partial));
                show(&shown(&std::mem::replace(&mut self.partial, later)));
            }
            if whole {
                show(&shown(without_end(&self.partial)));
                self.partial.clear();
            }
        }
    }
}

/// Where a line that is too long is divided: not within a character.
fn cut(line: &[u8]) -> usize {
    let within = |at: &usize| line.get(*at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    (LINE_BYTES - 3..=LINE_BYTES).rev().find(|at| !within(at)).unwrap_or(LINE_BYTES)
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Text that a terminal shows and does not obey: whatever is no printable character is written as a number.
pub(super) fn shown(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' | '"' | '\'' | '\\' => text.push(character),
                other => text.extend(other.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _a_text_takes_everything = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces.iter().copied().chain([&b""[..]]) {
            lines.push(piece, |line| all.push(line.to_owned()));
        }
        all
    }

    #[test]
    fn lines_are_shown_when_they_are_whole() {
        assert_eq!(lines(&[b"a", b"b\nc\r\n", b"\nd"]), ["ab", "c", "", "d"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_shown_in_pieces_that_lose_nothing() {
        let long = "\u{e9}".repeat(50_000);
        let mut with_end = long.clone().into_bytes();
        with_end.push(b'\n');
        for pieces in [lines(&[b"x", long.as_bytes()]), lines(&[b"x", &with_end])] {
            assert_eq!(pieces.concat(), format!("x{long}"));
            assert!(pieces.iter().all(|piece| piece.len() <= LINE_BYTES + 1), "{:?}", pieces.iter().map(String::len));
        }
        assert_eq!(lines(&[&[0x80; 5000]]).concat(), "\\x80".repeat(5000));
    }

    #[test]
    fn a_terminal_obeys_nothing_of_it() {
        let text = shown(b"\x1b]0;title\x07 a\rb \xff\"q\" \\ \t");
        assert_eq!(text, "\\u{1b}]0;title\\u{7} a\\rb \\xff\"q\" \\ \t");
        assert_eq!(shown("M\u{fc}ller \u{202e}x \u{9b}1m".as_bytes()), "M\u{fc}ller \\u{202e}x \\u{9b}1m");
    }

    #[test]
    fn every_byte_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut output = Output::new(Path::new("/opt/load"), Some(File::create_new(&path).unwrap()));
        output.take(Stream::Stdout, b"a\x00\xff");
        output.take(Stream::Stderr, b"\x1b\n");
        output.take(Stream::Stderr, b"");
        output.take(Stream::Stdout, b"b");
        output.take(Stream::Stdout, b"");
        assert_eq!(std::fs::read(&path).unwrap(), b"a\x00\xff\x1b\nb");
    }
}
