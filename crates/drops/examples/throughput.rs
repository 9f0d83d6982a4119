//! How fast rows are read: `cargo run --release -p longshore-drops --example throughput -- [MiB] [gz|zst]`.
//!
//! Writes a CSV file of a usual shape into a directory that is removed again, then freezes it and reads it three times: with everything as text, with types
//! checked, and as NDJSON. Reading includes the SHA-256 of the file, the check of its encoding and the way between threads.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use longshore_drops::{Batch, Column, Complete, Contract, Error, Format, Source, Type, freeze, open_rows};

const COLUMNS: [(&str, Type); 8] = [
    ("id", Type::Integer),
    ("code", Type::Text),
    ("day", Type::Date),
    ("at", Type::Timestamp),
    ("value", Type::Number),
    ("good", Type::Boolean),
    ("note", Type::Text),
    ("more", Type::Text),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let bytes = args.next().as_deref().unwrap_or("512").parse::<u64>()? << 20;
    let packed = args.next();
    let dir = tempfile::tempdir()?;
    let end = packed.as_ref().map(|end| format!(".{end}")).unwrap_or_default();
    for kind in ["csv", "ndjson"] {
        let path = dir.path().join(format!("rows.{kind}{end}"));
        match packed.as_deref() {
            None => write(&path, |out| fill(out, kind, bytes))?,
            Some("zst") => write(&path, |out| {
                let mut packed = zstd::stream::write::Encoder::new(out, 3)?;
                fill(&mut packed, kind, bytes)?;
                packed.finish().map(drop)
            })?,
            Some(_) => write(&path, |out| {
                let mut packed = flate2::write::GzEncoder::new(out, flate2::Compression::new(6));
                fill(&mut packed, kind, bytes)?;
                packed.finish().map(drop)
            })?,
        }
    }
    let columns = COLUMNS.map(|(name, kind)| Column { name: name.to_owned(), kind, required: false, pattern: None });
    let text = columns.clone().map(|column| Column { kind: Type::Text, ..column });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    for (name, file, columns) in [("csv, text", 0, &text), ("csv, types", 0, &columns), ("ndjson, types", 1, &columns)]
    {
        let contract = Contract::new(columns)?;
        let begun = Instant::now();
        let rows = runtime.block_on(read(dir.path(), file, &contract))?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("{name:14} {rows:>9} rows  {:>6.0} MB/s of text", bytes as f64 / seconds / 1e6);
    }
    Ok(())
}

async fn read(dir: &Path, file: usize, contract: &Contract) -> Result<u64, Error> {
    let frozen = freeze(&Source::Directory(dir.to_owned()), Complete::Asked).await?;
    let file = &frozen.files()[file];
    let mut rows = open_rows(&frozen, file, &Format::of(file)?, contract).await?;
    let (mut batch, mut count) = (Batch::default(), 0);
    while rows.next(&mut batch).await? {
        count += batch.len() as u64;
    }
    Ok(count)
}

fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    fill(&mut out)?;
    out.flush()
}

fn fill(out: &mut impl Write, kind: &str, bytes: u64) -> std::io::Result<()> {
    let (mut written, mut n) = (0, 0u64);
    if kind == "csv" {
        writeln!(out, "{}", COLUMNS.map(|(name, _)| name).join(","))?;
    }
    let mut row = Vec::new();
    while written < bytes {
        row.clear();
        let (day, value, even) = (n % 28 + 1, n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40, n.is_multiple_of(2));
        match kind {
            "csv" => writeln!(
                row,
                "{n},K{value:07},2024-01-{day:02},2024-01-{day:02}T12:34:56Z,{value}.25,{even},\"said \"\"so\"\", and went\","
            )?,
            _ => writeln!(
                row,
                "{{\"id\":{n},\"code\":\"K{value:07}\",\"day\":\"2024-01-{day:02}\",\"at\":\"2024-01-{day:02}T12:34:56Z\",\"value\":{value}.25,\"good\":{even},\"note\":\"said \\\"so\\\", and went\",\"more\":null}}"
            )?,
        }
        out.write_all(&row)?;
        written += row.len() as u64;
        n += 1;
    }
    Ok(())
}
