//! Frames: how every object looks from the outside.
//!
//! Owns the binary layout: a fixed header, an *open* section that maintenance may read without any key, a *closed*
//! section that an encrypted repository seals, the signature of a signed frame, and for all kinds but chunks a SHA-256 of
//! everything before it. Promises that decoding checks every length before it allocates and never returns bytes whose hash
//! did not match. Refuses versions, codecs and seals it does not know, by name.

use crate::sealing::{Opens, PublicKey, SIGNATURE, Sealed, Sealer, Signing, verify_signature};
use crate::{Error, Hash};
use bytes::Bytes;

/// Bytes of the fixed header.
pub const HEADER: usize = 48;
const MAGIC: &[u8; 4] = b"LSHR";
const VERSION: u8 = 1;
const TRAILER: usize = 32;
/// Most bytes that a section may have once decompressed: far above any real one, below what would hurt.
const MOST_PLAIN: u64 = 1 << 30;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rows or a document's bytes.
    Chunk = 1,
    /// A list of segments.
    List = 2,
    /// A backup.
    Manifest = 3,
    /// A session that was revoked before its manifest could be written.
    Tombstone = 4,
    /// A session's beginning.
    Start = 5,
    /// A session's sign of life, with the refs stored since the last one.
    Beat = 6,
    /// A session's end.
    End = 7,
    /// What the next backup's writer wants to know.
    Hints = 8,
    /// A sweep's decision.
    Condemned = 9,
    /// The sessions a sweep waits for.
    WaitsFor = 10,
    /// What a verification or a drill has found out.
    Evidence = 11,
    /// A backup that is to be kept for ever.
    Pin = 12,
    /// Backups that are to be removed, unless somebody takes that back.
    Removed = 13,
    /// What became of a removal: undone or carried out.
    Verdict = 14,
    /// Up to which backup a source's sizes are in order.
    Accepted = 15,
    /// A maintenance at work.
    Lease = 16,
    /// Whose signatures count.
    Signers = 17,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Chunk,
            Self::List,
            Self::Manifest,
            Self::Tombstone,
            Self::Start,
            Self::Beat,
            Self::End,
            Self::Hints,
            Self::Condemned,
            Self::WaitsFor,
            Self::Evidence,
            Self::Pin,
            Self::Removed,
            Self::Verdict,
            Self::Accepted,
            Self::Lease,
            Self::Signers,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// How sections are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None = 0,
    /// One zstd frame per section (RFC 8878).
    Zstd = 1,
}

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it holds.
    pub kind: Kind,
    /// The section that is never sealed; empty for chunks.
    pub open: Vec<u8>,
    /// The section that an encrypted repository seals.
    pub(crate) closed: Closed,
    /// Who has signed it; the signature was checked, whether the signer is known was not.
    pub signer: Option<PublicKey>,
}

/// A closed section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    Plain(Vec<u8>),
    Sealed(Sealed),
}

/// Byte 7 of the header: the lower bits say how the closed section is sealed, this one that the frame is signed.
const SIGNED: u8 = 4;
const SEAL_BITS: u8 = 3;

/// Encodes a chunk with a reused compressor. Stored as it is when compression does not make it smaller.
pub(crate) fn encode_chunk(
    plain: &[u8],
    compressor: &mut zstd::bulk::Compressor<'_>,
    sealer: Option<&Sealer>,
) -> Result<Bytes, Error> {
    let (before, overhead) = sealer.map_or((0, 0), |sealer| (sealer.before(), sealer.overhead()));
    let mut out = vec![0_u8; HEADER + overhead + zstd::zstd_safe::compress_bound(plain.len())];
    let packed = out.get_mut(HEADER + before..).unwrap_or_default();
    let written =
        compressor.compress_to_buffer(plain, packed).map_err(|e| Error::Internal(format!("compress: {e}")))?;
    let (codec, stored) = if written < plain.len() { (Codec::Zstd, written) } else { (Codec::None, plain.len()) };
    out.resize(HEADER + overhead + stored, 0);
    if codec == Codec::None {
        out[HEADER + before..][..stored].copy_from_slice(plain);
    }
    let header = header(Kind::Chunk, codec, seal_of(sealer, None), [0, 0], [plain.len(), stored + overhead])?;
    let (head, sealed) = out.split_at_mut(HEADER);
    head.copy_from_slice(&header);
    if let Some(sealer) = sealer {
        sealer.seal(head, sealed)?;
    }
    // The scratch buffer is as large as the plaintext; what waits for its upload should not be.
    Ok(Bytes::copy_from_slice(&out))
}

/// Encodes anything but a chunk: both sections compressed, a SHA-256 at the end.
pub(crate) fn encode(kind: Kind, open: &[u8], closed: &[u8]) -> Result<Bytes, Error> {
    encode_with(kind, open, closed, None, None)
}

/// The same, with the closed section sealed and the whole signed, each if there is a key for it.
pub(crate) fn encode_with(
    kind: Kind,
    open: &[u8],
    closed: &[u8],
    sealer: Option<&Sealer>,
    signing: Option<&Signing>,
) -> Result<Bytes, Error> {
    let pack = |plain: &[u8]| zstd::bulk::compress(plain, 3).map_err(|e| Error::Internal(format!("compress: {e}")));
    let (packed_open, packed_closed) = (pack(open)?, pack(closed)?);
    let (before, overhead) = sealer.map_or((0, 0), |sealer| (sealer.before(), sealer.overhead()));
    let stored = packed_closed.len() + overhead;
    let seal = seal_of(sealer, signing);
    let mut out = header(kind, Codec::Zstd, seal, [open.len(), packed_open.len()], [closed.len(), stored])?.to_vec();
    out.extend_from_slice(&packed_open);
    let bound = out.len();
    out.resize(bound + stored, 0);
    out[bound + before..][..packed_closed.len()].copy_from_slice(&packed_closed);
    if let Some(sealer) = sealer {
        let (bound, space) = out.split_at_mut(bound);
        sealer.seal(bound, space)?;
    }
    if let Some(signing) = signing {
        out.extend(signing.sign(&out));
    }
    let hash = Hash::of(&out);
    out.extend_from_slice(&hash.0);
    Ok(out.into())
}

/// Bytes 7 to 23 of the header.
fn seal_of(sealer: Option<&Sealer>, signing: Option<&Signing>) -> (u8, [u8; 16]) {
    let (seal, key_id) = sealer.map_or((0, [0; 16]), |sealer| (sealer.seal, sealer.key_id));
    (seal | if signing.is_some() { SIGNED } else { 0 }, key_id)
}

fn header(
    kind: Kind,
    codec: Codec,
    (seal, key_id): (u8, [u8; 16]),
    open: [usize; 2],
    closed: [usize; 2],
) -> Result<[u8; HEADER], Error> {
    let small = |n: usize| u32::try_from(n).map_err(|_| Error::Internal("open section over 4 GiB".to_owned()));
    let mut out = [0; HEADER];
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&[VERSION, kind as u8, codec as u8, seal]);
    out[8..24].copy_from_slice(&key_id);
    out[24..28].copy_from_slice(&small(open[0])?.to_le_bytes());
    out[28..32].copy_from_slice(&small(open[1])?.to_le_bytes());
    out[32..40].copy_from_slice(&(closed[0] as u64).to_le_bytes());
    out[40..48].copy_from_slice(&(closed[1] as u64).to_le_bytes());
    Ok(out)
}

impl Frame {
    /// Decodes a frame that fills `bytes` exactly; `object` names it in errors. Opens nothing that is sealed.
    pub fn decode(bytes: &[u8], object: &str) -> Result<Self, Error> {
        Self::decode_in(bytes, object, &mut Vec::new())
    }

    /// The same; takes `room` for the closed section if that is not sealed.
    fn decode_in(bytes: &[u8], object: &str, room: &mut Vec<u8>) -> Result<Self, Error> {
        let damaged = |what: &str| Error::damaged(object, what);
        let (head, rest) = bytes.split_at_checked(HEADER).ok_or_else(|| damaged("shorter than a frame's header"))?;
        if &head[..4] != MAGIC {
            return Err(damaged("it does not begin like a stored object"));
        }
        if head[4] != VERSION {
            return Err(Error::Format { object: object.to_owned(), found: head[4].into(), known: VERSION.into() });
        }
        let kind = Kind::from_byte(head[5]).ok_or_else(|| damaged("unknown kind of object"))?;
        let (seal, signed) = (head[7] & SEAL_BITS, head[7] & SIGNED != 0);
        let (open_plain, open_stored) = (u64::from(le_u32(head, 24)), u64::from(le_u32(head, 28)));
        let (closed_plain, closed_stored) = (le_u64(head, 32), le_u64(head, 40));
        let trailer = if kind == Kind::Chunk { 0 } else { TRAILER } + if signed { SIGNATURE } else { 0 };
        let body = rest.len().checked_sub(trailer).ok_or_else(|| damaged("truncated"))?;
        if open_stored.checked_add(closed_stored) != Some(body as u64) {
            return Err(damaged("its length is not what its header says"));
        }
        if kind != Kind::Chunk {
            let (content, hash) = bytes.split_at(bytes.len() - TRAILER);
            if Hash::of(content).0 != hash {
                return Err(damaged("its hash does not match"));
            }
        }
        if head[7] & !(SEAL_BITS | SIGNED) != 0 || seal == SEAL_BITS {
            return Err(Error::Format { object: object.to_owned(), found: head[7].into(), known: SIGNED.into() });
        }
        let (content, block) = bytes.split_at(HEADER + body);
        let signer = match signed {
            true => {
                Some(verify_signature(content, &block[..SIGNATURE]).ok_or_else(|| damaged("its signature is wrong"))?)
            }
            false => None,
        };
        let (open, stored) = rest[..body].split_at(usize::try_from(open_stored).unwrap_or(body));
        let closed = match seal {
            0 => Closed::Plain(unpack(head[6], stored, closed_plain, room).map_err(|what| damaged(&what))?),
            seal => Closed::Sealed(Sealed {
                seal,
                key_id: std::array::from_fn(|at| head[8 + at]),
                bound: content[..HEADER + open.len()].to_vec(),
                stored: stored.to_vec(),
                codec: head[6],
                plain_len: closed_plain,
            }),
        };
        let open = unpack(head[6], open, open_plain, &mut Vec::new()).map_err(|what| damaged(&what))?;
        Ok(Self { kind, open, closed, signer })
    }

    /// Decodes a frame and insists on its kind.
    pub(crate) fn expect(bytes: &[u8], object: &str, kind: Kind) -> Result<Self, Error> {
        Self::expect_in(bytes, object, kind, &mut Vec::new())
    }

    /// The same; takes `room` for the closed section if that is not sealed.
    pub(crate) fn expect_in(bytes: &[u8], object: &str, kind: Kind, room: &mut Vec<u8>) -> Result<Self, Error> {
        let frame = Self::decode_in(bytes, object, room)?;
        if frame.kind == kind {
            return Ok(frame);
        }
        Err(Error::damaged(object, format!("it holds a {:?} where a {kind:?} belongs", frame.kind)))
    }

    /// The open and the closed section, the latter opened with what is held.
    pub(crate) fn into_sections(self, opens: &dyn Opens, object: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
        self.into_sections_in(opens, object, &mut Vec::new())
    }

    /// The same; takes `room` for the closed section if that was sealed.
    pub(crate) fn into_sections_in(
        self,
        opens: &dyn Opens,
        object: &str,
        room: &mut Vec<u8>,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let closed = match self.closed {
            Closed::Plain(plain) => plain,
            Closed::Sealed(sealed) => {
                let packed = opens.open(&sealed, object)?;
                unpack(sealed.codec, &packed, sealed.plain_len, room).map_err(|what| Error::damaged(object, what))?
            }
        };
        Ok((self.open, closed))
    }

    /// Length of the closed section, in bytes, once it is opened.
    pub(crate) fn closed_len(&self) -> u64 {
        match &self.closed {
            Closed::Plain(plain) => plain.len() as u64,
            Closed::Sealed(sealed) => sealed.plain_len,
        }
    }
}

fn le_u32(head: &[u8], at: usize) -> u32 {
    head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn le_u64(head: &[u8], at: usize) -> u64 {
    head.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Takes `room` for the result. It may be larger than the result, so that the length is compared in any case.
fn unpack(codec: u8, stored: &[u8], plain_len: u64, room: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    if plain_len > MOST_PLAIN {
        return Err(format!("its header claims {plain_len} bytes"));
    }
    let mut plain = std::mem::take(room);
    plain.clear();
    match codec {
        0 => plain.extend_from_slice(stored),
        1 => {
            plain.reserve_exact(usize::try_from(plain_len).unwrap_or_default());
            let decompressed = zstd::bulk::Decompressor::new()
                .and_then(|mut decompressor| decompressor.decompress_to_buffer(stored, &mut plain));
            decompressed.map_err(|e| format!("it does not decompress: {e}"))?;
        }
        other => return Err(format!("unknown compression {other}")),
    }
    if plain.len() as u64 == plain_len {
        return Ok(plain);
    }
    Err(format!("it decompresses to {} bytes instead of {plain_len}", plain.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_framed_object_is_found() {
        let bytes = encode(Kind::List, b"{\"refs\":[]}", b"{\"segments\":[]}").unwrap();
        Frame::decode(&bytes, "x").unwrap();
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.to_vec();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(Frame::decode(&bad, "x").is_err(), "bit {at}");
        }
        for len in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..len], "x").is_err(), "cut at {len}");
        }
    }

    /// What a room held before neither shows nor makes room for more than the header says.
    #[test]
    fn a_room_is_taken_again_and_shows_nothing_of_what_was_in_it() {
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        let bytes = encode_chunk(&[7; 3_000], &mut compressor, None).unwrap();
        let mut room = vec![1; 100_000];
        let frame = Frame::expect_in(&bytes, "x", Kind::Chunk, &mut room).unwrap();
        assert_eq!(frame.closed, Closed::Plain(vec![7; 3_000]));
        assert_eq!(room.capacity(), 0, "it was not taken");
        let mut bad = bytes.to_vec();
        bad[32..40].copy_from_slice(&2_999_u64.to_le_bytes());
        for mut room in [Vec::new(), vec![1; 100_000]] {
            assert!(Frame::expect_in(&bad, "x", Kind::Chunk, &mut room).is_err());
        }
    }

    #[test]
    fn chunks_come_back_compressed_or_not() {
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        let zeros = vec![0; 100_000];
        let noise: Vec<u8> = (0..4_000_u32).flat_map(|n| Hash::of(&n.to_le_bytes()).0).collect();
        for plain in [&b""[..], &zeros, &noise] {
            let bytes = encode_chunk(plain, &mut compressor, None).unwrap();
            assert!(bytes.len() <= plain.len() + HEADER);
            assert_eq!(Frame::expect(&bytes, "x", Kind::Chunk).unwrap().closed, Closed::Plain(plain.to_vec()));
        }
    }
}
