//! The database that `scripts/bench mongo` measures with: `bench_data begin | fill ROWS | change | describe | drop NAME`.
//!
//! Owns what is in it: the same documents on every machine, by a hash of their number. Promises that `fill` is done only when a majority has
//! everything. The server listens on 127.0.0.1 at `BENCH_MONGO_PORT`; `begin` makes it a replica set of one and its first user, `bench`, whose
//! password is in `BENCH_MONGO_PASSWORD`. Refuses to say how fast anything is.
#![allow(clippy::print_stdout, reason = "a program for scripts")]

use std::env;
use std::error::Error;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mongodb::bson::{Binary, DateTime, Document, doc, spec::BinarySubtype};
use mongodb::options::{Acknowledgment, ClientOptions, Credential, WriteConcern};
use mongodb::{Client, Collection};

type Failure = Box<dyn Error + Send + Sync>;

/// How many connections fill.
const WRITERS: usize = 4;
/// About how many bytes of documents go into one insert.
const BATCH_BYTES: u64 = 4 << 20;
/// The size of GridFS' pieces.
const PIECE: u64 = 255 << 10;
/// 2024-01-01, in milliseconds.
const BEGIN: i64 = 1_704_067_200_000;

/// A collection: how many documents, how large one is about, and how number `n` looks.
struct Made {
    name: &'static str,
    count: u64,
    bytes: u64,
    one: fn(u64) -> Document,
    indexes: Vec<Document>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["begin"] => begin().await,
        ["fill", rows] => fill(rows.parse()?).await,
        ["change"] => change().await,
        ["describe"] => describe().await,
        ["drop", name] => Ok(client(true).await?.database(name).drop().await?),
        _ => Err("bench_data begin | fill ROWS | change | describe | drop NAME".into()),
    }
}

async fn client(as_user: bool) -> Result<Client, Failure> {
    let mut options = ClientOptions::parse(format!("mongodb://127.0.0.1:{}", env::var("BENCH_MONGO_PORT")?)).await?;
    options.direct_connection = Some(true);
    options.server_selection_timeout = Some(Duration::from_secs(60));
    options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).build());
    if as_user {
        let password = env::var("BENCH_MONGO_PASSWORD")?;
        options.credential = Some(Credential::builder().username("bench".to_owned()).password(password).build());
    }
    Ok(Client::with_options(options)?)
}

/// Whoever comes from this machine may make the first user, and nothing after that.
async fn begin() -> Result<(), Failure> {
    let admin = client(false).await?.database("admin");
    let member = doc! {"_id": 0, "host": format!("127.0.0.1:{}", env::var("BENCH_MONGO_PORT")?)};
    admin.run_command(doc! {"replSetInitiate": {"_id": "bench", "members": [member]}}).await?;
    while !admin.run_command(doc! {"hello": 1}).await?.get_bool("isWritablePrimary").unwrap_or_default() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let password = env::var("BENCH_MONGO_PASSWORD")?;
    admin.run_command(doc! {"createUser": "bench", "pwd": password, "roles": ["root"]}).await?;
    Ok(())
}

/// What applications keep: small numbered documents with two more indexes, some keyed by random text, texts, and files in pieces as GridFS makes them.
fn collections(rows: u64) -> Vec<Made> {
    let index = |key: Document, name: &str| doc! {"key": key, "name": name};
    let made = |name, count, bytes, one, indexes| Made { name, count, bytes, one, indexes };
    let by_tenant = index(doc! {"tenant": 1, "created_at": 1}, "by_tenant");
    let by_kind = index(doc! {"kind": 1, "amount": 1}, "by_kind");
    let mut by_file = index(doc! {"files_id": 1, "n": 1}, "by_file");
    by_file.insert("unique", true);
    let by_user = index(doc! {"user": 1, "seen": 1}, "by_user");
    vec![
        made("events", rows, 330, event, vec![by_tenant, by_kind]),
        made("sessions", rows / 4, 220, session, vec![by_user]),
        made("documents", rows / 80, 13_000, document, vec![index(doc! {"tags": 1}, "by_tag")]),
        made("files.chunks", rows / 4000, PIECE, piece, vec![by_file]),
    ]
}

async fn fill(rows: u64) -> Result<(), Failure> {
    let client = client(true).await?;
    let database = client.database("bench");
    database.drop().await?;
    for made in collections(rows) {
        let collection: Collection<Document> = database.collection(made.name);
        let batch = (BATCH_BYTES / made.bytes).max(1);
        let batches = stream::iter((0..made.count).step_by(usize::try_from(batch)?));
        let insert = async |first: u64| -> Result<(), Failure> {
            collection.insert_many((first..(first + batch).min(made.count)).map(made.one)).await?;
            Ok(())
        };
        batches.map(Ok).try_for_each_concurrent(WRITERS, insert).await?;
        if !made.indexes.is_empty() {
            database.run_command(doc! {"createIndexes": made.name, "indexes": made.indexes}).await?;
        }
    }
    client.database("admin").run_command(doc! {"fsync": 1}).await?;
    Ok(())
}

/// The newest hundredth of the numbered documents is written anew.
async fn change() -> Result<(), Failure> {
    let events: Collection<Document> = client(true).await?.database("bench").collection("events");
    let count = events.estimated_document_count().await?;
    let newest = doc! {"_id": {"$gte": signed(count - count / 100)}};
    events.update_many(newest, doc! {"$inc": {"amount": 1}}).await?;
    Ok(())
}

/// The server's version and how much there is, as JSON.
async fn describe() -> Result<(), Failure> {
    let database = client(true).await?.database("bench");
    let version = database.run_command(doc! {"buildInfo": 1}).await?;
    let sizes = database.run_command(doc! {"dbStats": 1, "scale": 1_048_576}).await?;
    let whole = |name: &str| sizes.get(name).and_then(|size| size.as_f64().or(size.as_i64().map(|n| n as f64)));
    let [data, indexes] = ["dataSize", "indexSize"].map(|name| whole(name).unwrap_or_default().round());
    let version = version.get_str("version")?;
    println!("{{\"version\": \"{version}\", \"data_mib\": {data}, \"index_mib\": {indexes}}}");
    Ok(())
}

fn event(n: u64) -> Document {
    let kinds = ["order", "payment", "login", "refund", "shipment", "export"];
    let devices = ["ios", "android", "web"];
    doc! {
        "_id": signed(n),
        "tenant": signed(mixed(n) % 500),
        "kind": pick(&kinds, n),
        "amount": (mixed(n ^ 7) % 1_000_000) as f64 / 100.0,
        "created_at": DateTime::from_millis(BEGIN + signed(n) * 7_000 + signed(mixed(n) % 1000)),
        "payload": {
            "device": pick(&devices, n ^ 3),
            "path": format!("/api/v1/orders/{}", mixed(n ^ 5) % 90_000),
            "ms": signed(mixed(n ^ 11) % 3000),
            "ok": true,
            "session": format!("{:020x}", mixed(n / 5)),
        },
    }
}

fn session(n: u64) -> Document {
    let (high, low) = (mixed(n), mixed(n ^ (1 << 40)));
    doc! {
        "_id": format!("{:08x}-{:04x}-{:016x}", high >> 32, high & 0xffff, low),
        "user": signed(n % 90_000),
        "agent": format!("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/{}.36 Chrome/{}.0", high % 900, low % 130),
        "seen": DateTime::from_millis(BEGIN + signed(n) * 1000),
    }
}

fn document(n: u64) -> Document {
    let sentence = format!("a sentence of {} words, as there are many; ", mixed(n) % 400);
    let part = |k: u64| format!("{:016x} {sentence}", mixed(n ^ (k << 32)));
    doc! {
        "_id": format!("document-{n:09}"),
        "title": format!("document {n}"),
        "tags": [signed(mixed(n) % 300), signed(mixed(n ^ 9) % 300)],
        "body": (0..200).map(part).collect::<String>(),
    }
}

/// Bytes that nothing makes smaller, as pictures are.
fn piece(n: u64) -> Document {
    let bytes: Vec<u8> = (0..PIECE / 8).flat_map(|k| mixed((n << 32) | k).to_le_bytes()).collect();
    let data = Binary { subtype: BinarySubtype::Generic, bytes };
    doc! {"_id": signed(n), "files_id": signed(n / 16), "n": signed(n % 16), "data": data}
}

fn pick<'a>(words: &[&'a str], n: u64) -> &'a str {
    words.get(usize::try_from(mixed(n) % words.len() as u64).unwrap_or_default()).copied().unwrap_or_default()
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A number without a pattern for each number: the finalizer of SplitMix64.
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
