#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::{Complete, Source, freeze};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn text() -> Vec<u8> {
    (0..3000u32).flat_map(|row| format!("{row},{}\n", row.wrapping_mul(2_654_435_761)).into_bytes()).collect()
}

/// What is read of a file of these bytes, in blocks of a size.
async fn expand(name: &str, bytes: &[u8], limits: Limits, block: usize) -> Result<Vec<u8>, Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(name), bytes).unwrap();
    let frozen = freeze(&Source::Directory(dir.path().to_owned()), Complete::Asked).await.unwrap();
    let raw = Raw::open(&frozen.tree, &frozen.files()[0])?;
    let mut expanded = Expanded::new(raw, name, limits)?;
    let (mut text, mut block) = (Vec::new(), vec![0; block]);
    loop {
        let read = expanded.fill(&mut block)?;
        text.extend_from_slice(&block[..read]);
        if read < block.len() {
            let hash = expanded.finish()?;
            assert_eq!(hash, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(bytes)));
            return Ok(text);
        }
    }
}

#[tokio::test]
async fn members_and_frames_are_one_text() {
    let text = text();
    let (front, back) = text.split_at(9999);
    let gz = [gzip(front), gzip(b""), gzip(back)].concat();
    let skipped = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&text)].concat();
    let zst = [zstd(front), zstd(b""), zstd(back)].concat();
    for (name, bytes) in
        [("a.csv", &text), ("a.csv.gz", &gz), ("a", &gz), ("a.zst", &zst), ("a.csv", &zst), ("a", &skipped)]
    {
        for block in [1 << 20, 1000] {
            assert!(expand(name, bytes, Limits::default(), block).await.unwrap() == text, "{name} {block}");
        }
    }
    assert_eq!(expand("a.gz", &gzip(b""), Limits::default(), 10).await.unwrap(), b"");
    assert_eq!(expand("a.csv", b"", Limits::default(), 10).await.unwrap(), b"");
}

#[tokio::test]
async fn wherever_a_file_is_cut_off_it_is_an_error() {
    let text = &text()[..300];
    let (gz, zst) = (gzip(text), zstd(text));
    for (name, first, whole) in [
        ("a.gz", gz.len(), [gz.clone(), gz.clone()].concat()),
        ("a.zst", zst.len(), [zst.clone(), zst.clone()].concat()),
    ] {
        for cut in (0..whole.len()).filter(|cut| *cut != first) {
            let error = expand(name, &whole[..cut], Limits::default(), 64).await.unwrap_err();
            assert_eq!(error.kind, Kind::Data, "{name} {cut}: {error}");
            assert!(error.what.contains(name), "{error}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_or_changes_nothing() {
    let text = &text()[..300];
    for (name, whole) in [("a.gz", gzip(text)), ("a.zst", zstd(text))] {
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            match expand(name, &flipped, Limits::default(), 64).await {
                // A gzip header holds a time and a system that nothing depends on.
                Ok(read) => assert!(read == text, "{name} {at}"),
                Err(error) => assert_eq!(error.kind, Kind::Data, "{name} {at}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn what_follows_a_compressed_text_is_an_error() {
    for (name, whole) in [("a.gz", gzip(b"text")), ("a.zst", zstd(b"text"))] {
        for more in [&b"x"[..], b"more of something", &[0; 40]] {
            let error = expand(name, &[&whole, more].concat(), Limits::default(), 64).await.unwrap_err();
            assert_eq!(error.kind, Kind::Data, "{name}: {error}");
        }
    }
}

#[tokio::test]
async fn names_do_not_contradict_what_is_in_a_file() {
    for (name, bytes) in [
        ("a.csv.gz", &b"a,b\n"[..]),
        ("a.ZST", b"a,b\n"),
        ("a.gz", b""),
        ("a.csv", b"PK\x03\x04...."),
        ("a.csv", b"PAR1"),
        ("a.xz", b"\xfd7zXZ\0\0"),
        ("a.bz2", b"BZh91AY&SY...."),
        ("a.7z", b"7z\xbc\xaf\x27\x1c"),
        ("a.lz4", b"\x04\x22\x4d\x18"),
    ] {
        let error = expand(name, bytes, Limits::default(), 64).await.unwrap_err();
        assert_eq!(error.kind, Kind::Data, "{name}: {error}");
    }
    assert_eq!(expand("a", b"PK", Limits::default(), 64).await.unwrap(), b"PK");
}

#[tokio::test]
async fn a_bomb_is_stopped_by_its_size_or_by_its_ratio() {
    let bomb = zstd(&vec![b'0'; 80 << 20]);
    assert!(bomb.len() < 16 << 10, "{}", bomb.len());
    let by_ratio = expand("a.zst", &bomb, Limits::default(), 1 << 20).await.unwrap_err();
    assert_eq!(by_ratio.kind, Kind::Refused, "{by_ratio}");
    let wide = Limits { ratio: u64::MAX, ..Limits::default() };
    assert_eq!(expand("a.zst", &bomb, wide, 1 << 20).await.unwrap().len(), 80 << 20);
    let small = Limits { expanded_bytes: 1000, ..Limits::default() };
    for (name, bytes) in [("a.zst", zstd(&[b'0'; 1001])), ("a.gz", gzip(&[b'0'; 1001]))] {
        assert_eq!(expand(name, &bytes, small, 100).await.unwrap_err().kind, Kind::Refused);
    }
    assert_eq!(expand("a.gz", &gzip(&[b'0'; 1000]), small, 100).await.unwrap().len(), 1000);
}
