//! Packets: how bytes on a connection become messages.
//!
//! Owns framing: three bytes of length, one of sequence, and messages of 16 MiB and more in several packets
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>). Promises that a message is lent whole or not at all, out of a buffer that is used
//! again; that a length is believed only as far as bytes have come for it; and that a connection which was left in the middle of something says nothing more.

use bytes::{Buf, BytesMut};
use mysql_async::{DriverError, Error, IoError};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

/// A packet of so many bytes is followed by the rest of its message.
const FULL: usize = 0xff_ffff;
/// Bytes of length and sequence before each packet.
const HEADER: usize = 4;
/// Bytes read at once at most.
const BUFFER: usize = 128 << 10;
/// Less room than this is made more of before reading.
const LEAST_ROOM: usize = 16 << 10;
/// Messages of packets up to this size are lent from where they were read; longer ones get a buffer of their own.
const LARGE: usize = 32 << 10;
/// Bytes by which the buffer of a large message grows at least.
const GROWTH: usize = 256 << 10;
/// A buffer of this size and more is not kept for the next large message.
const KEPT: usize = 4 << 20;
/// The protocol's largest message, in bytes.
const MOST: usize = 1 << 30;

/// Messages to and from a server.
pub(super) struct Packets<S> {
    stream: S,
    /// What has come; the message that is lent is at its front.
    buffer: BytesMut,
    /// Where the message is that is lent.
    lent: Place,
    /// A large message.
    large: Vec<u8>,
    /// Of the next packet, in either direction.
    sequence: u8,
    /// Whether something was begun and not ended.
    torn: bool,
}

/// Where a message is.
#[derive(Clone, Copy)]
enum Place {
    Nowhere,
    /// At the front of the buffer, behind its header; so long.
    Buffer(usize),
    Large,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Packets<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new(), lent: Place::Nowhere, large: Vec::new(), sequence: 0, torn: false }
    }

    /// The connection, when nothing has come that was not asked for: what was sent before encryption is nobody's word.
    pub fn into_stream(mut self) -> Result<(S, u8), Error> {
        self.let_go();
        if self.buffer.is_empty() { Ok((self.stream, self.sequence)) } else { Err(unexpected()) }
    }

    /// Goes on counting where another connection's packets ended.
    pub fn counting_from(mut self, sequence: u8) -> Self {
        self.sequence = sequence;
        self
    }

    /// Puts something else in the connection's place.
    pub fn replace(&mut self, stream: S) -> S {
        self.torn = true;
        std::mem::replace(&mut self.stream, stream)
    }

    /// Whether the next message can be sent or waited for.
    pub fn is_whole(&self) -> bool {
        !self.torn
    }

    /// Says nothing more: what came cannot be understood.
    pub fn give_up(&mut self) {
        self.torn = true;
    }

    /// Sends a command.
    pub async fn command(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.sequence = 0;
        self.send(payload).await
    }

    /// Sends a message.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.begin()?;
        let framed = self.frame(payload);
        self.stream.write_all(&framed).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)?;
        self.torn = false;
        Ok(())
    }

    /// It may hold a password.
    fn frame(&mut self, payload: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut framed = Zeroizing::new(Vec::with_capacity(payload.len() + 2 * HEADER));
        let mut rest = payload;
        loop {
            let (part, after) = rest.split_at(rest.len().min(FULL));
            let [low, middle, high, ..] = part.len().to_le_bytes();
            framed.extend_from_slice(&[low, middle, high, self.sequence]);
            framed.extend_from_slice(part);
            self.sequence = self.sequence.wrapping_add(1);
            rest = after;
            if part.len() < FULL {
                return framed;
            }
        }
    }

    /// The next message, lent until the one after it is asked for.
    ///
    /// # Errors
    /// [`Error::Io`] when the connection ends, also in the middle of a message; [`Error::Driver`] when what comes is no message.
    pub async fn next(&mut self) -> Result<&[u8], Error> {
        self.step().await?;
        Ok(self.message())
    }

    /// The message that came last.
    pub fn message(&self) -> &[u8] {
        match self.lent {
            Place::Nowhere => &[],
            Place::Buffer(length) => self.buffer.get(HEADER..HEADER + length).unwrap_or_default(),
            Place::Large => &self.large,
        }
    }

    /// Goes on to the next message; errors as of [`Packets::next`].
    pub async fn step(&mut self) -> Result<(), Error> {
        self.let_go();
        self.lent = match self.at_hand()? {
            Some(length) => Place::Buffer(length),
            None => {
                self.begin()?;
                let place = self.receive().await?;
                self.torn = false;
                place
            }
        };
        Ok(())
    }

    fn let_go(&mut self) {
        if let Place::Buffer(length) = self.lent {
            self.buffer.advance(HEADER + length);
        }
        self.lent = Place::Nowhere;
        if self.large.capacity() >= KEPT {
            self.large = Vec::new();
        }
    }

    /// What a future that was dropped has left half done cannot be gone on with.
    fn begin(&mut self) -> Result<(), Error> {
        if self.torn {
            return Err(Error::Driver(DriverError::ConnectionClosed));
        }
        self.torn = true;
        Ok(())
    }

    /// Length and sequence at the front of the buffer.
    fn header(&self) -> Option<(usize, u8)> {
        let [low, middle, high, sequence] = *self.buffer.first_chunk::<HEADER>()?;
        Some((usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16, sequence))
    }

    /// The length of the message at the front of the buffer when it is short and all there.
    fn at_hand(&mut self) -> Result<Option<usize>, Error> {
        match self.header() {
            Some((length, sequence)) if length <= LARGE && self.buffer.len() >= HEADER + length && !self.torn => {
                self.count(sequence)?;
                Ok(Some(length))
            }
            _ => Ok(None),
        }
    }

    fn count(&mut self, sequence: u8) -> Result<(), Error> {
        if sequence != self.sequence {
            self.torn = true;
            return Err(Error::Driver(DriverError::PacketOutOfOrder));
        }
        self.sequence = sequence.wrapping_add(1);
        Ok(())
    }

    async fn receive(&mut self) -> Result<Place, Error> {
        loop {
            match self.header() {
                Some((length, _)) if length > LARGE => {
                    self.receive_large().await?;
                    return Ok(Place::Large);
                }
                Some((length, sequence)) if self.buffer.len() >= HEADER + length => {
                    self.count(sequence)?;
                    return Ok(Place::Buffer(length));
                }
                _ => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM {
            self.buffer.reserve(BUFFER.saturating_sub(self.buffer.len()).max(LEAST_ROOM));
        }
        match self.stream.read_buf(&mut self.buffer).await.map_err(broken)? {
            0 => Err(ended()),
            _ => Ok(()),
        }
    }

    /// Reads a message straight to its place. All of its packets but the last are full.
    async fn receive_large(&mut self) -> Result<(), Error> {
        self.large.clear();
        loop {
            let Some((length, sequence)) = self.header() else {
                self.fill().await?;
                continue;
            };
            self.count(sequence)?;
            self.buffer.advance(HEADER);
            if self.large.len() + length > MOST {
                return Err(Error::Driver(DriverError::PacketTooLarge));
            }
            let there = length.min(self.buffer.len());
            self.large.extend_from_slice(self.buffer.get(..there).unwrap_or_default());
            self.buffer.advance(there);
            self.read_large(length - there).await?;
            if length < FULL {
                return Ok(());
            }
        }
    }

    async fn read_large(&mut self, mut missing: usize) -> Result<(), Error> {
        while missing > 0 {
            self.large.reserve(missing.min(GROWTH));
            let mut rest = (&mut self.stream).take(missing as u64);
            match rest.read_buf(&mut self.large).await.map_err(broken)? {
                0 => return Err(ended()),
                read => missing = missing.saturating_sub(read),
            }
        }
        Ok(())
    }
}

/// What came is not what the protocol says. It is not repeated: it may be a row.
pub(super) fn unexpected() -> Error {
    Error::Driver(DriverError::UnexpectedPacket { payload: Vec::new() })
}

pub(super) fn broken(error: io::Error) -> Error {
    Error::Io(IoError::Io(error))
}

fn ended() -> Error {
    broken(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use tokio::io::{DuplexStream, duplex};

    /// Messages as a server frames them, counted from 0.
    pub fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Packets::new(duplex(1).0);
        messages.iter().flat_map(|message| out.frame(message).to_vec()).collect()
    }

    /// What has been sent, and nothing after it.
    async fn after(bytes: &[u8]) -> Packets<DuplexStream> {
        let (ours, mut theirs) = duplex(bytes.len().max(1));
        theirs.write_all(bytes).await.unwrap();
        Packets::new(ours)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn messages_come_whole_however_the_bytes_come() {
        let messages: [&[u8]; 5] = [b"one", b"", &pattern(300), b"\xfe", &pattern(LARGE + 9)];
        let bytes = framed(&messages);
        for cut in (0..320).chain([bytes.len() - 1]) {
            let (ours, mut theirs) = duplex(64 << 10);
            let (before, behind) = bytes.split_at(cut);
            let mut packets = Packets::new(ours);
            theirs.write_all(before).await.unwrap();
            let read = async {
                for message in messages {
                    assert_eq!(packets.next().await.unwrap(), message, "cut at {cut}");
                }
            };
            let write = async {
                tokio::task::yield_now().await;
                theirs.write_all(behind).await.unwrap();
            };
            tokio::join!(read, write);
        }
    }

    #[tokio::test]
    async fn messages_of_several_packets_are_put_together() {
        for length in [FULL - 1, FULL, FULL + 1, 2 * FULL, 2 * FULL + 70_000] {
            let (message, next) = (pattern(length), b"next");
            let bytes = framed(&[&message, next]);
            assert_eq!(bytes.len(), length + 4 + HEADER * (length / FULL + 2));
            let mut packets = after(&bytes).await;
            assert!(packets.next().await.unwrap() == message, "{length}");
            assert_eq!(packets.next().await.unwrap(), next);
            assert!(packets.large.capacity() < KEPT, "a large buffer is not kept");
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_yields_no_part_of_a_message() {
        let bytes = framed(&[b"whole", &pattern(LARGE + 100)]);
        for cut in (0..40).chain([bytes.len() - 1]) {
            let mut packets = after(&bytes[..cut]).await;
            let mut whole = 0;
            let error = loop {
                match packets.next().await {
                    Ok(message) => assert_eq!((message, whole), (&b"whole"[..], 0)),
                    Err(error) => break error,
                }
                whole += 1;
            };
            assert_eq!(whole, usize::from(cut >= 9), "{cut}");
            assert!(matches!(error, Error::Io(_)), "{error}");
            let again = packets.next().await.unwrap_err();
            assert!(matches!(again, Error::Driver(DriverError::ConnectionClosed)), "{again}");
        }
    }

    #[tokio::test]
    async fn a_length_is_believed_as_far_as_bytes_have_come() {
        let mut packets = after(b"\xff\xff\xff\0some").await;
        assert!(matches!(packets.next().await.unwrap_err(), Error::Io(_)));
        assert!(packets.large.capacity() <= 2 * GROWTH, "{}", packets.large.capacity());
        assert!(packets.buffer.capacity() <= 2 * BUFFER);
    }

    #[tokio::test]
    async fn packets_out_of_order_end_it() {
        let mut bytes = framed(&[b"one", b"two", b"three"]);
        bytes[7 + 3] = 7;
        let mut packets = after(&bytes).await;
        packets.next().await.unwrap();
        assert!(matches!(packets.next().await.unwrap_err(), Error::Driver(DriverError::PacketOutOfOrder)));
        assert!(matches!(packets.next().await.unwrap_err(), Error::Driver(DriverError::ConnectionClosed)));
    }

    #[tokio::test]
    async fn what_was_left_in_the_middle_is_not_gone_on_with() {
        let (ours, mut theirs) = duplex(64);
        let mut packets = Packets::new(ours);
        theirs.write_all(b"\x05\0\0\0wh").await.unwrap();
        assert!(futures_util::FutureExt::now_or_never(packets.next()).is_none());
        theirs.write_all(b"ole").await.unwrap();
        assert!(matches!(packets.next().await.unwrap_err(), Error::Driver(DriverError::ConnectionClosed)));
        assert!(matches!(packets.command(b"\x0e").await.unwrap_err(), Error::Driver(DriverError::ConnectionClosed)));
    }

    #[tokio::test]
    async fn small_messages_are_read_without_a_growing_buffer() {
        let message = pattern(1000);
        let many: Vec<&[u8]> = vec![&message; 2000];
        let mut packets = after(&framed(&many)).await;
        for _ in 0..2000 {
            assert_eq!(packets.next().await.unwrap(), message);
        }
        assert!(packets.buffer.capacity() <= BUFFER, "{}", packets.buffer.capacity());
    }
}
