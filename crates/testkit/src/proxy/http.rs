//! Owns just enough of HTTP/1.1 to pass messages on unchanged while knowing where each begins and ends: heads byte by
//! byte as they came (signatures cover them), bodies by length, by chunks or to the end of the connection.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const HEAD_LIMIT: u64 = 64 << 10;
const BUFFER: usize = 16 << 10;

/// The first line and the headers of a message, with the empty line, as they came.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub raw: Vec<u8>,
    text: String,
}

/// How the body behind a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    ToEnd,
}

impl Head {
    /// The words of the first line, such as `GET /bucket/key HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub fn word(&self, index: usize) -> &str {
        self.text.lines().next().unwrap_or_default().split(' ').nth(index).unwrap_or_default()
    }

    /// A response's status; 0 when there is none.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.text.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn request_framing(&self) -> Framing {
        self.framing().unwrap_or(Framing::None)
    }

    /// `method` is the request's: an answer to HEAD has no body whatever its headers say.
    pub fn response_framing(&self, method: &str) -> Framing {
        if method == "HEAD" || matches!(self.status(), 100..=199 | 204 | 304) {
            return Framing::None;
        }
        self.framing().unwrap_or(Framing::ToEnd)
    }

    fn framing(&self) -> Option<Framing> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Some(Framing::Chunked);
        }
        self.header("content-length")?.parse().ok().map(Framing::Length)
    }
}

/// Reads a head; `None` when the other side closed before its first byte.
pub(crate) async fn read_head(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Head>> {
    let mut raw = Vec::new();
    loop {
        let start = raw.len();
        let room = HEAD_LIMIT.saturating_sub(start as u64);
        let read = (&mut *from).take(room).read_until(b'\n', &mut raw).await?;
        if read == 0 && start == 0 {
            return Ok(None);
        }
        if read == 0 || !raw.ends_with(b"\n") {
            return Err(Error::new(ErrorKind::InvalidData, "a message's head ended early or is too long"));
        }
        if matches!(&raw[start..], b"\r\n" | b"\n") {
            let text = String::from_utf8_lossy(&raw).into_owned();
            return Ok(Some(Head { raw, text }));
        }
    }
}

/// What is done to a body on its way; offsets count the body's own bytes, without the framing of chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Inverts the lowest bit of the byte at this offset.
    pub flip: Option<u64>,
    /// Stops after so many bytes.
    pub stop: Option<u64>,
}

/// Copies a body, changed. True when it was copied to its end, false when `change.stop` came first.
pub(super) async fn copy_body(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    framing: Framing,
    change: Change,
) -> Result<bool> {
    let mut body = Body { at: 0, change };
    let whole = match framing {
        Framing::None => true,
        Framing::Length(length) => body.copy(from, to, Some(length)).await?,
        Framing::ToEnd => body.copy(from, to, None).await?,
        Framing::Chunked => body.copy_chunks(from, to).await?,
    };
    to.flush().await?;
    Ok(whole)
}

struct Body {
    at: u64,
    change: Change,
}

impl Body {
    async fn copy_chunks(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<bool> {
        loop {
            let line = read_line(from).await?;
            to.write_all(&line).await?;
            let text = String::from_utf8_lossy(&line);
            let size = text.trim().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| ErrorKind::InvalidData)?;
            if size == 0 {
                return copy_trailers(from, to).await.map(|()| true);
            }
            if !self.copy(from, to, Some(size)).await? {
                return Ok(false);
            }
            to.write_all(&read_line(from).await?).await?;
        }
    }

    async fn copy(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        length: Option<u64>,
    ) -> Result<bool> {
        let mut left = length.unwrap_or(u64::MAX);
        let mut buffer = vec![0; BUFFER];
        while left > 0 {
            let room = self.change.stop.map_or(u64::MAX, |stop| stop.saturating_sub(self.at));
            if room == 0 {
                return Ok(false);
            }
            let want = usize::try_from(left.min(room)).unwrap_or(BUFFER).min(BUFFER);
            let read = from.read(&mut buffer[..want]).await?;
            if read == 0 {
                return if length.is_none() { Ok(true) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
            let flip = self.change.flip.and_then(|flip| usize::try_from(flip.checked_sub(self.at)?).ok());
            if let Some(byte) = flip.and_then(|offset| buffer[..read].get_mut(offset)) {
                *byte ^= 1;
            }
            to.write_all(&buffer[..read]).await?;
            self.at += read as u64;
            left -= read as u64;
        }
        Ok(true)
    }
}

async fn copy_trailers(from: &mut (impl AsyncBufRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    loop {
        let line = read_line(from).await?;
        to.write_all(&line).await?;
        if matches!(&line[..], b"\r\n" | b"\n") {
            return Ok(());
        }
    }
}

async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(HEAD_LIMIT).read_until(b'\n', &mut line).await?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heads_keep_their_bytes_and_tell_their_framing() {
        let raw = b"PUT /b/k?x=1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc";
        let mut from = &raw[..];
        let head = read_head(&mut from).await.unwrap().unwrap();
        assert_eq!(head.raw, &raw[..raw.len() - 3]);
        assert_eq!((head.word(0), head.word(1), head.header("host")), ("PUT", "/b/k?x=1", Some("a:1")));
        assert_eq!(head.request_framing(), Framing::Length(3));
        assert_eq!(from, b"abc");
        assert!(read_head(&mut &b""[..]).await.unwrap().is_none());
        assert!(read_head(&mut &b"GET / HTTP/1.1\r\n"[..]).await.is_err());
    }

    #[tokio::test]
    async fn bodies_are_copied_flipped_and_stopped() {
        let chunked = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\nnext";
        let mut out = Vec::new();
        let mut from = &chunked[..];
        assert!(copy_body(&mut from, &mut out, Framing::Chunked, Change::default()).await.unwrap());
        assert_eq!((&out[..], from), (&chunked[..chunked.len() - 4], &b"next"[..]));

        out.clear();
        let flip = Change { flip: Some(4), stop: None };
        copy_body(&mut &chunked[..], &mut out, Framing::Chunked, flip).await.unwrap();
        assert_eq!(out[16], b'e' ^ 1);

        out.clear();
        let stop = Change { flip: None, stop: Some(2) };
        assert!(!copy_body(&mut &b"abcdef"[..], &mut out, Framing::Length(6), stop).await.unwrap());
        assert_eq!(out, b"ab");
        assert!(copy_body(&mut &b"abc"[..], &mut out, Framing::Length(6), Change::default()).await.is_err());
    }
}
