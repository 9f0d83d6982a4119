//! The generator of golden repositories: made-up rows, no database.
//!
//! Owns what a golden repository holds: small tables in one bundle, a table in many chunks, rows longer than a chunk, empty
//! tables, several lists, two backups that share chunks, a second source whose name begins like the first's, a tombstone, a
//! session without end, one that was interrupted, a sweep's decision. The encrypted one has two recipients and lists of signers,
//! too: two backups are a writer's, the third is signed by the root; it leaves out the rows longer than a chunk. Promises to
//! return what was put in, computed from the rows and not from the repository. Run it with
//! `cargo run -p longshore-repository --example golden -- <folder> [sealed]`.

use engine::{Digest, row_hash};
use repository::{
    Access, BeginOptions, Commit, Evidence, EvidenceKind, Hash, Identity, Manifest, Outcome, Repository, SegmentRecord,
    Session, Sizes, SourceName,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use store::{Directory, Key, Store};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Chunks of a few KiB, so that a small repository has many.
const SIZES: Sizes = Sizes { least: 1 << 10, aim: 2 << 10, greatest: 8 << 10 };

/// A table: for each segment its position, its range and its rows.
struct Table {
    name: &'static str,
    segments: Vec<(u64, &'static str, Vec<Vec<u8>>)>,
}

/// Files beside an encrypted repository: name and text.
pub type KeyFiles = Vec<(&'static str, String)>;

/// Makes a repository in `root`, which is a folder without one, and returns what it must be found to hold.
pub async fn generate(root: &Path) -> Result<Value, Failure> {
    let store: Arc<dyn Store> = Arc::new(Directory::new(root));
    let repository = Repository::init(Arc::clone(&store), SIZES, &[]).await?;
    fill(&repository, &repository, store.as_ref(), tables()).await
}

/// Makes an encrypted one, with new keys. Returns them, too: they are for this repository alone.
pub async fn generate_sealed(root: &Path) -> Result<(Value, KeyFiles), Failure> {
    let store: Arc<dyn Store> = Arc::new(Directory::new(root));
    let (ops, safe) = (Identity::generate(), Identity::generate());
    let root = Repository::init(Arc::clone(&store), SIZES, &[ops.recipient(), safe.recipient()]).await?;
    let nightly = root.add_writer("nightly").await?.key;
    root.add_writer("former").await?;
    root.remove_writer("former").await?;
    let access = Access { writer: Some(nightly.clone()), ..Access::default() };
    let writer = Repository::open_with(Arc::clone(&store), &access).await?;
    let mut tables = tables();
    tables.retain(|table| table.name != "public.long_rows");
    let expected = fill(&writer, &root, store.as_ref(), tables).await?;
    let backup = expected["backups"][0]["backup"].as_str().and_then(|id| id.parse().ok()).ok_or("no backup")?;
    let evidence = Evidence {
        source: "app".parse()?,
        backup,
        kind: EvidenceKind::Verify,
        at: root.now().await?,
        outcome: Outcome::Good,
        share: Evidence::ALL.to_owned(),
        program: "longshore golden generator".to_owned(),
        seconds: 1,
        server_version: None,
        rows: None,
        proof: None,
    };
    root.put_evidence(&evidence).await?;
    let identity = |identity: &Identity| {
        let (recipient, secret) = (identity.recipient(), identity.expose());
        format!("# for tests: opens the golden repository beside it, and nothing else\n# {recipient}\n{}\n", *secret)
    };
    let fingerprint = root.fingerprint().ok_or("it is not encrypted")?;
    let files = vec![
        ("ops.identity", identity(&ops)),
        ("safe.identity", identity(&safe)),
        ("nightly.writer", format!("{}\n", *nightly.expose())),
        ("fingerprint", format!("{fingerprint}\n")),
    ];
    Ok((expected, files))
}

/// Everything that is in both; `owner` makes the second source's backup, `writer` the others.
async fn fill(
    writer: &Repository,
    owner: &Repository,
    store: &dyn Store,
    mut tables: Vec<Table>,
) -> Result<Value, Failure> {
    let mut backups = vec![back_up(writer, "app", &tables, 3).await?];
    if let Some(row) = tables.iter_mut().find(|t| t.name == "public.events").and_then(|t| t.segments[0].2.get_mut(50)) {
        *row = b"50\tthis row was changed between the two backups\t\\N".to_vec();
    }
    backups.push(back_up(writer, "app", &tables, 3).await?);
    tables.retain(|table| table.name.contains("lookup"));
    backups.push(back_up(owner, "app2", &tables, 19).await?);
    let orphan = stored_and_interrupted(writer).await?;
    let tombstone = revoked(writer, store).await?;
    put(store, "gc/01K00000000000000000000000/condemned", 9, &json!({ "objects": [orphan] })).await?;
    Ok(json!({ "format": 1, "repository": writer.config().id, "backups": backups, "tombstones": [tombstone] }))
}

fn tables() -> Vec<Table> {
    let words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];
    let noise = |n: u32, len: usize| -> String {
        (0..)
            .flat_map(|part: u32| Hash::of(&[n, part].map(u32::to_be_bytes).concat()).to_string().into_bytes())
            .take(len)
            .map(char::from)
            .collect()
    };
    let event =
        |n: u32| format!("{n}\t{} {}\t{}", words[n as usize % 8], noise(n, n as usize % 150), n % 7).into_bytes();
    let lookup = |n: u32| format!("{n}\t{}", words[n as usize % 8]).into_bytes();
    let one = |name, rows: Vec<Vec<u8>>| Table { name, segments: vec![(0, "0-", rows)] };
    let long: Vec<Vec<u8>> = [0, 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1024, 1025, 8191, 8192, 30_000]
        .map(|len| noise(7, len / 8 + 1).repeat(8).as_bytes()[..len].to_vec())
        .into();
    vec![
        Table {
            name: "public.events",
            segments: vec![(0, "0-16", (0..220).map(event).collect()), (16, "16-", (220..400).map(event).collect())],
        },
        one("public.empty", Vec::new()),
        one("public.long_rows", long),
        one("public.lookup_1", (0..8).map(lookup).collect()),
        // Its name ends a list, so that the second backup shares the next one.
        one("public.lookup_20", (0..8).map(lookup).collect()),
        one("public.lookup_301", (5..40).map(lookup).collect()),
        // A table without columns: rows of nothing.
        one("public.lookup_nothing", vec![Vec::new(); 3]),
        Table { name: "public.\"Odd \"\"name\"\"\"", segments: vec![(0, "all", vec![b"\\N\t\xc3\xa4\\t".to_vec()])] },
    ]
}

async fn begin(repository: &Repository, source: &str, compression: i32) -> Result<Session, Failure> {
    let source: SourceName = source.parse()?;
    let options = BeginOptions { source, compression, program: "longshore golden generator".to_owned() };
    Ok(Session::begin(repository, options).await?)
}

/// Stores the tables, the small ones in a bundle, and says what a reader must find.
async fn back_up(repository: &Repository, source: &str, tables: &[Table], compression: i32) -> Result<Value, Failure> {
    let session = begin(repository, source, compression).await?;
    let (mut segments, mut expected, mut rows) = (Vec::new(), BTreeMap::new(), 0);
    for bundling in [true, false] {
        let mut unit = session.unit(bundling);
        let mut records = Vec::new();
        let small = |table: &&Table| (table.name.contains("lookup") || table.name.contains("Odd")) == bundling;
        for table in tables.iter().filter(small) {
            let (mut whole, mut bytes) = (Digest::default(), Vec::new());
            for (at, range, content) in &table.segments {
                let mut digest = Digest::default();
                unit.begin_segment(table.name, *at).await;
                for row in content {
                    let hash = row_hash(row);
                    digest.add(hash);
                    bytes.extend_from_slice(&[row.as_slice(), b"\n"].concat());
                    if unit.push(row, b"\n", hash) {
                        unit.drain().await?;
                    }
                }
                unit.end_segment().await?;
                whole.merge(digest);
                records.push((table.name, *at, *range, digest));
            }
            rows += whole.rows;
            let stream =
                json!({ "digest": whole, "rows": whole.rows, "bytes": bytes.len(), "sha256": Hash::of(&bytes) });
            expected.insert(table.name, stream);
        }
        for ((stream, at, range, digest), refs) in records.into_iter().zip(unit.finish().await?) {
            let record = SegmentRecord {
                stream: stream.to_owned(),
                at,
                range: range.to_owned(),
                digest: digest.to_string(),
                bytes: refs.bytes,
                refs: (0, 0),
            };
            segments.push((record, refs));
        }
    }
    let documents = documents(source);
    let hashes: BTreeMap<String, Hash> =
        documents.iter().map(|(name, bytes)| (name.clone(), Hash::of(bytes))).collect();
    let about = json!({ "engine": "postgresql", "version": "18.0", "database": source, "server": "db.example:5432" });
    let commit = Commit {
        segments,
        documents,
        about: about.clone(),
        scope: repository::Scope::Full,
        inexact: None,
        streams: tables.len() as u64,
        rows,
        boundaries: BTreeMap::from([("public.events".to_owned(), 16)]),
        tags: Default::default(),
        pin: false,
    };
    let Manifest { header, .. } = session.commit(commit).await?;
    Ok(json!({
        "source": header.source, "backup": header.backup, "about": about, "rows": rows, "streams": expected, "documents": hashes,
        "reused_chunks": header.totals.reused_chunks > 0,
    }))
}

fn documents(source: &str) -> Vec<(String, Vec<u8>)> {
    let catalog = json!({ "version": 1, "note": "stands for a catalog" }).to_string().into_bytes();
    let mut schema = format!("stands for the schema archive of {source}\0\n").into_bytes();
    schema.extend([0, 255, 10, 13]);
    vec![("catalog.json".to_owned(), catalog), ("empty".to_owned(), Vec::new()), ("schema.pgdump".to_owned(), schema)]
}

/// A session that stored a chunk, put a last beat and was interrupted. Returns the name of the chunk's object.
async fn stored_and_interrupted(repository: &Repository) -> Result<String, Failure> {
    let session = begin(repository, "app", 3).await?;
    let mut unit = session.unit(false);
    unit.begin_segment("public.orphans", 0).await;
    unit.push(b"a row that no backup holds", b"\n", row_hash(b"a row that no backup holds"));
    unit.end_segment().await?;
    let stored = unit.finish().await?;
    session.abandon("interrupted").await;
    let object = stored.first().and_then(|segment| segment.refs.first()).map(|chunk| chunk.object.clone());
    object.ok_or_else(|| "the orphan was not stored".into())
}

/// A session without end, and a tombstone where its manifest would have gone. Returns the tombstone's key.
async fn revoked(repository: &Repository, store: &dyn Store) -> Result<String, Failure> {
    let session = begin(repository, "app", 3).await?;
    let key = format!("manifests/app/{}", session.backup());
    put(store, &key, 4, &json!({ "format": 1, "source": "app", "backup": session.backup() })).await?;
    Ok(key)
}

/// Puts a frame that no program writes yet, made by hand as the document says, and uncompressed.
async fn put(store: &dyn Store, key: &str, kind: u8, open: &Value) -> Result<(), Failure> {
    let open = open.to_string().into_bytes();
    let len = u32::try_from(open.len())?.to_le_bytes();
    let mut frame = [&b"LSHR"[..], &[1, kind, 0, 0], &[0; 16], &len, &len, &[0; 16], &open].concat();
    let hash = Hash::of(&frame);
    frame.extend_from_slice(&hash.0);
    let hash = Hash::of(&frame);
    Ok(store.create(&Key::parse(key)?, frame.into(), &hash.0).await?)
}
