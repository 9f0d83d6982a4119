//! Made-up rows.
//!
//! Owns their text. Promises the same bytes for the same numbers everywhere, rows as an application would write them
//! (words that repeat, values that do not: they compress to about a third), and that a generation differs from the one before in one
//! contiguous fiftieth of each file, as when the newest rows were touched.

use crate::Failure;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// A generation changes one in so many rows.
const PIECES: u64 = 50;
/// Bytes of one row, about.
const ROW: u64 = 196;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Writes `files` files of about `mib` MiB each, as they are after so many changes.
pub fn write(folder: &Path, files: u64, mib: u64, generation: u64) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let threads = std::thread::available_parallelism()?.get() as u64;
    std::thread::scope(|scope| {
        let some = |first: u64| {
            move || (first..files).step_by(threads as usize).try_for_each(|file| one(folder, file, mib, generation))
        };
        let writers: Vec<_> = (0..threads).map(|first| scope.spawn(some(first))).collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().unwrap_or_else(|_| Err("a writer of rows panicked".into())))
    })
}

fn one(folder: &Path, file: u64, mib: u64, generation: u64) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(folder.join(format!("table-{file:03}.tsv")))?);
    let rows = (mib << 20) / ROW;
    for row in 0..rows {
        let piece = row * PIECES / rows;
        // Changes go round: piece 7 in the first generation, 14 in the second.
        let version = (1..=generation).rev().find(|generation| generation * 7 % PIECES == piece).unwrap_or(0);
        line(&mut out, row, mix(mix(mix(file) ^ row) ^ version))?;
    }
    Ok(out.into_inner().map_err(|error| error.into_error())?.sync_all()?)
}

fn line(out: &mut impl Write, row: u64, random: u64) -> std::io::Result<()> {
    const KINDS: [&str; 6] = ["order", "payment", "login", "refund", "shipment", "export"];
    const DEVICES: [&str; 3] = ["ios", "android", "web"];
    let (kind, device) = (KINDS[(random % 6) as usize], DEVICES[(random >> 3) as usize % 3]);
    let (tenant, cents, path) = (random >> 5 & 511, (random >> 14) % 1_000_000, (random >> 34) % 90_000);
    let (milliseconds, session) = ((random >> 20) % 3_000, mix(random));
    writeln!(
        out,
        "{row}\t{tenant}\t{kind}\t{}.{:02}\t{{\"ok\": true, \"ms\": {milliseconds}, \"path\": \"/api/v1/orders/{path}\", \
         \"device\": \"{device}\", \"session\": \"{session:016x}{:016x}\"}}\t2024-01-{:02} {:02}:{:02}:{:02}.{:03}+00",
        cents / 100,
        cents % 100,
        mix(session),
        1 + row / 90_000 % 28,
        row / 3_600 % 24,
        row / 60 % 60,
        row % 60,
        milliseconds % 1_000,
    )
}
