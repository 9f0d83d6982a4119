//! Tests of what the network does to a call, against a server that answers from a script; and, by hand, the whole suite
//! against a real one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::error::Error as _;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::location::Place;
use crate::{Location, open};

/// A server that gives each request the next answer of its script, byte for byte, and closes the connection.
pub(super) struct Script {
    pub(super) url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub(super) async fn start(answers: &[&str]) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("s3://bucket/base?endpoint=http://{}", listener.local_addr().unwrap());
        let mut answers: VecDeque<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answers.pop_front().unwrap_or_else(|| error(500, "ScriptIsOver"));
                let head = converse(stream, &answer).await;
                seen.lock().unwrap().push(head);
            }
        });
        Script { url, heads }
    }

    async fn store(&self) -> Arc<dyn Store> {
        let credentials = Credentials::new("AKIACANARY".into(), "CANARY".into(), Some("TOKENCANARY".into()));
        open(&Location::parse(&self.url).unwrap(), Some(credentials)).await.unwrap()
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn converse(mut stream: TcpStream, answer: &str) -> String {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return String::new();
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    while request.len() < end + length {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            break;
        }
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.ok();
    head
}

const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

pub(super) fn reply(status: u16, headers: &str, announced: usize, body: &str) -> String {
    format!("HTTP/1.1 {status} x\r\n{DATE}connection: close\r\n{headers}content-length: {announced}\r\n\r\n{body}")
}

pub(super) fn error(status: u16, code: &str) -> String {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>because</Message></Error>");
    reply(status, "content-type: application/xml\r\n", body.len(), &body)
}

pub(super) fn whole(body: &str) -> String {
    reply(200, "", body.len(), body)
}

fn key() -> Key {
    Key::parse("a/k").unwrap()
}

async fn put(store: &dyn Store) -> Result<(), Error> {
    store.create(&key(), Bytes::from_static(b"body"), &Sha256::digest(b"body").into()).await
}

#[tokio::test]
async fn a_put_is_conditional_and_carries_the_hash_only_when_told() {
    let script = Script::start(&[&whole(""), &whole("")]).await;
    let store = script.store().await;
    put(store.as_ref()).await.unwrap();
    store.use_profile(&Profile { sha256_checksum: true, ..Profile::default() });
    put(store.as_ref()).await.unwrap();
    let heads = script.heads();
    assert!(heads.iter().all(|head| head.starts_with("put /bucket/base/a/k") && head.contains("if-none-match: *\r\n")));
    assert!(!heads[0].contains("x-amz-checksum") && !heads[0].contains("aws-chunked"), "{}", heads[0]);
    assert!(heads[1].contains("x-amz-checksum-sha256: "), "{}", heads[1]);
}

#[tokio::test]
async fn a_conflict_is_tried_again_and_its_loser_meets_the_object() {
    let conflict = error(409, "ConditionalRequestConflict");
    let script = Script::start(&[&conflict, &conflict, &error(412, "PreconditionFailed")]).await;
    let lost = put(script.store().await.as_ref()).await;
    assert!(matches!(lost, Err(Error::AlreadyExists { .. })), "{lost:?}");
    assert_eq!(script.heads().len(), 3);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_again() {
    let script = Script::start(&[&reply(200, "", 10, "01234"), &reply(200, "", 10, ""), &whole("0123456789")]).await;
    assert_eq!(script.store().await.get(&key()).await.unwrap(), "0123456789");
    let ranged = |body| reply(206, "content-range: bytes 2-6/10\r\n", 5, body);
    let script = Script::start(&[&ranged("23"), &ranged("23456")]).await;
    assert_eq!(script.store().await.get_range(&key(), 2, 5).await.unwrap(), "23456");
    assert!(script.heads()[1].contains("range: bytes=2-6\r\n"));
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_never_returned_short() {
    let script = Script::start(&[reply(200, "", 10, "01234").as_str(); 16]).await;
    let broken = script.store().await.get(&key()).await;
    assert!(matches!(broken, Err(Error::Unavailable { .. } | Error::Truncated { .. })), "{broken:?}");
    assert_eq!(script.heads().len(), 5);
}

#[tokio::test]
async fn a_range_that_is_not_the_one_asked_for_is_refused() {
    // A proxy that drops the header answers with everything.
    let script = Script::start(&[&whole("0123456789")]).await;
    assert!(script.store().await.get_range(&key(), 2, 5).await.is_err());
    let short = reply(206, "content-range: bytes 8-9/10\r\n", 2, "89");
    let script = Script::start(&[&short]).await;
    let short = script.store().await.get_range(&key(), 8, 5).await;
    assert!(matches!(short, Err(Error::Truncated { wanted: 5, got: 2, .. })), "{short:?}");
}

#[tokio::test]
async fn answers_become_the_errors_that_callers_act_on() {
    type Check = fn(&Error) -> bool;
    let cases: [(u16, &str, Check); 12] = [
        (404, "NoSuchKey", |e| matches!(e, Error::NotFound { .. })),
        (404, "NoSuchBucket", |e| matches!(e, Error::NoPlace { .. })),
        (403, "AccessDenied", |e| matches!(e, Error::Denied { .. })),
        (403, "InvalidAccessKeyId", |e| matches!(e, Error::Denied { .. })),
        (400, "ExpiredToken", |e| matches!(e, Error::Denied { .. })),
        (412, "PreconditionFailed", |e| matches!(e, Error::AlreadyExists { .. })),
        (507, "XMinioStorageFull", |e| matches!(e, Error::Full { .. })),
        (400, "XMinioAdminBucketQuotaExceeded", |e| matches!(e, Error::Full { .. })),
        (400, "BadDigest", |e| matches!(e, Error::Corrupt { .. })),
        (501, "NotImplemented", |e| matches!(e, Error::NoConditionalCreate { .. })),
        (301, "PermanentRedirect", |e| matches!(e, Error::Config { .. })),
        (400, "InvalidArgument", |e| matches!(e, Error::Config { .. })),
    ];
    for (status, code, expected) in cases {
        let script = Script::start(&[&error(status, code)]).await;
        let refused = put(script.store().await.as_ref()).await.unwrap_err();
        assert!(expected(&refused), "{status} {code}: {refused:?}");
        let said = refused.source().map(ToString::to_string).unwrap_or_default();
        assert!(said.contains(code) && said.contains("because"), "{said}");
        assert!(!format!("{refused:?} {refused}").to_lowercase().contains("canary"), "{refused:?}");
    }
}

#[tokio::test]
async fn passing_trouble_is_retried() {
    let slow = error(503, "SlowDown");
    let script = Script::start(&[&slow, &whole("ok")]).await;
    assert_eq!(script.store().await.get(&key()).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("s3://bucket?endpoint=http://{}", listener.local_addr().unwrap());
    drop(listener);
    let location = Location::parse(&url).unwrap();
    let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_secs(3)).build();
    let Place::S3(bucket) = &location.0 else { panic!("not a bucket") };
    let mut store = S3::open(bucket, Some(Credentials::new("a".into(), "b".into(), None))).await.unwrap();
    // One attempt: how often it is tried is the SDK's business and takes long.
    let once = store.reads.config().to_builder().timeout_config(timeouts);
    store.reads =
        aws_sdk_s3::Client::from_conf(once.retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled()).build());
    let error = store.get(&key()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error:?}");
    let mut chain = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        chain += &format!("{cause}: ");
        next = cause.source();
    }
    assert!(chain.contains("refused"), "{chain}");
}

/// A provider that has nothing, as the SDK's chain outside any cloud.
#[derive(Debug)]
struct Nothing;

impl aws_sdk_s3::config::ProvideCredentials for Nothing {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let nothing = aws_credential_types::provider::error::CredentialsError::not_loaded("no provider has any");
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(nothing))
    }
}

#[tokio::test]
async fn missing_credentials_are_not_a_silent_network() {
    let script = Script::start(&[]).await;
    let Location(Place::S3(bucket)) = Location::parse(&script.url).unwrap() else { panic!("not a bucket") };
    let mut store = S3::open(&bucket, Some(Credentials::new("a".into(), "b".into(), None))).await.unwrap();
    store.reads =
        aws_sdk_s3::Client::from_conf(store.reads.config().to_builder().credentials_provider(Nothing).build());
    let refused = store.get(&key()).await.unwrap_err();
    assert!(matches!(refused, Error::Denied { .. }), "{refused:?}");
    assert!(script.heads().is_empty());
}

#[tokio::test]
async fn the_clock_is_the_servers() {
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let script = Script::start(&[&whole(listing)]).await;
    let now = script.store().await.now().await.unwrap();
    assert_eq!(now, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
}

#[tokio::test]
async fn what_a_batch_leaves_is_deleted_by_itself_and_what_stays_is_an_error() {
    let keys = ["a", "b"].map(|name| Key::parse(name).unwrap());
    let left = |name: &str| {
        let failed = format!("<Error><Key>base/{name}</Key><Code>InternalError</Code><Message>x</Message></Error>");
        whole(&format!("<DeleteResult>{failed}</DeleteResult>"))
    };
    let script = Script::start(&[&left("b"), &reply(204, "", 0, "")]).await;
    script.store().await.delete_all(&keys).await.unwrap();
    let heads = script.heads();
    assert!(heads.len() == 2 && heads[0].starts_with("post /bucket") && heads[1].contains("/base/b"), "{heads:?}");
    // A failure of nobody knows what.
    let script = Script::start(&[&left("c"), &reply(204, "", 0, ""), &reply(204, "", 0, "")]).await;
    script.store().await.delete_all(&keys).await.unwrap();
    assert_eq!(script.heads().len(), 3);
    let script = Script::start(&[&left("b"), &error(403, "AccessDenied")]).await;
    let denied = script.store().await.delete_all(&keys).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
}

#[tokio::test]
async fn a_listing_passes_over_what_is_not_ours() {
    let object = |key: &str| {
        format!("<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>")
    };
    let page = |more, keys: &[&str]| {
        let objects: String = keys.iter().map(|key| object(key)).collect();
        whole(&format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{objects}</ListBucketResult>"))
    };
    let first = page(true, &["base/", "base/folder/", "base/white space"]);
    let script = Script::start(&[&first, &page(false, &["base/x", "base/y/"])]).await;
    let listed = script.store().await.list(&Prefix::all(), None).await.unwrap();
    assert!(!listed.more);
    assert_eq!(listed.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["x"]);
    assert!(script.heads()[1].contains("start-after=base%2fwhite%20space"), "{}", script.heads()[1]);
    let stuck = Script::start(&[&page(true, &[])]).await;
    assert!(stuck.store().await.list(&Prefix::all(), None).await.is_err());
}
