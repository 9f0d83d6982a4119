#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use crate::s3::tests::{Script, error, reply, whole};

use super::*;

/// A page of a listing: names below the bucket, sizes, ETags.
fn page(more: bool, objects: &[(&str, u64, &str)]) -> String {
    let object = |(key, size, tag): &(&str, u64, &str)| {
        format!("<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;{tag}&quot;</ETag></Contents>")
    };
    let objects: String = objects.iter().map(object).collect();
    whole(&format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{objects}</ListBucketResult>"))
}

/// An answer to a read from `from` on, of an object with the letters a, b, c… and this ETag.
fn part(from: usize, body: &str, total: usize, tag: &str) -> String {
    let range = format!("content-range: bytes {from}-{}/{total}\r\n", total - 1);
    let (status, range) = if from == 0 { (200, "") } else { (206, range.as_str()) };
    reply(status, &format!("etag: \"{tag}\"\r\n{range}"), total - from, body)
}

async fn objects(script: &Script) -> Objects {
    let credentials = Credentials::new("AKIACANARY".into(), "CANARY".into(), None);
    Objects::open(&Location::parse(&script.url).unwrap(), Some(credentials)).await.unwrap()
}

fn ten() -> Object {
    Object { name: "a b".into(), len: 10, tag: "\"one\"".into() }
}

async fn read(script: &Script) -> Result<String, ReadError> {
    let (objects, mut text) = (objects(script).await, Vec::new());
    let mut reading = objects.read(&ten()).await?;
    while let Some(piece) = reading.next().await? {
        text.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn names_are_listed_as_they_are() {
    let odd = [("base/", 0, "0"), ("base/../x", 1, "1"), ("base/a b", 10, "one"), ("base/a//b", 2, "2")];
    let script = Script::start(&[&page(true, &odd[..3]), &page(false, &odd[3..])]).await;
    let objects = objects(&script).await;
    let (first, more) = objects.list(None).await.unwrap();
    assert!(more);
    assert_eq!(first.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["", "../x", "a b"]);
    assert_eq!(first[2], ten());
    let (last, more) = objects.list(Some("a b")).await.unwrap();
    assert_eq!((last[0].name.as_str(), more), ("a//b", false));
    assert!(script.heads()[1].contains("start-after=base%2fa%20b"), "{}", script.heads()[1]);
    let stuck = Script::start(&[&page(true, &odd[2..3])]).await;
    assert!(self::objects(&stuck).await.list(Some("a b")).await.is_err());
}

#[tokio::test]
async fn one_is_found_by_its_whole_name() {
    let script = Script::start(&[
        &page(false, &[("base/drop.yaml", 10, "one"), ("base/drop.yaml.old", 1, "x")]),
        &page(false, &[("base/drop.yaml.old", 1, "x")]),
        &page(false, &[]),
        &error(403, "AccessDenied"),
        &error(404, "NoSuchBucket"),
    ])
    .await;
    let objects = objects(&script).await;
    let found = objects.find("drop.yaml").await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.len), ("drop.yaml", 10));
    assert_eq!(objects.find("drop.yaml").await.unwrap(), None);
    assert_eq!(objects.find("drop.yaml").await.unwrap(), None);
    assert!(script.heads()[0].contains("prefix=base%2fdrop.yaml"), "{}", script.heads()[0]);
    assert!(matches!(objects.find("drop.yaml").await, Err(Error::Denied { .. })));
    assert!(matches!(objects.find("drop.yaml").await, Err(Error::NoPlace { .. })));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_on_from_there_and_from_the_same_object() {
    let answers = [part(0, "abc", 10, "one"), part(3, "defg", 10, "one"), part(7, "hij", 10, "one")];
    let script = Script::start(&answers.each_ref().map(String::as_str)).await;
    assert_eq!(read(&script).await.unwrap(), "abcdefghij");
    let heads = script.heads();
    assert!(
        heads.iter().all(|head| head.contains("if-match: \"one\"\r\n") && head.contains("/base/a%20b")),
        "{heads:?}"
    );
    assert!(!heads[0].contains("range: "), "{}", heads[0]);
    assert!(heads[1].contains("range: bytes=3-\r\n") && heads[2].contains("range: bytes=7-\r\n"), "{heads:?}");
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_given_up() {
    let answers: Vec<String> = (0..9).map(|from| part(from, &"abcdefghij"[from..=from], 10, "one")).collect();
    let script = Script::start(&answers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let broken = read(&script).await;
    assert!(matches!(broken, Err(ReadError::Store(Error::Unavailable { .. }))), "{broken:?}");
    assert_eq!(script.heads().len(), 5);
}

#[tokio::test]
async fn another_object_is_never_read() {
    let began = part(0, "abc", 10, "one");
    for (answers, words) in [
        (vec![error(412, "PreconditionFailed")], "replaced"),
        (vec![error(404, "NoSuchKey")], "gone"),
        // Servers that do not know the header.
        (vec![part(0, "abcdefghij", 10, "two")], "replaced"),
        (vec![part(0, "abcdefghijk", 11, "one")], "it had 10 bytes and has 11 now"),
        // The same, in the middle.
        (vec![began.clone(), error(412, "PreconditionFailed")], "replaced"),
        (vec![began.clone(), error(404, "NoSuchKey")], "gone"),
        (vec![began.clone(), error(416, "InvalidRange")], "replaced"),
        (vec![began.clone(), part(3, "defghij", 10, "two")], "replaced"),
        (vec![began.clone(), part(3, "defghijk", 11, "one")], "has 11 now"),
    ] {
        let script = Script::start(&answers.iter().map(String::as_str).collect::<Vec<_>>()).await;
        match read(&script).await {
            Err(ReadError::Changed { how }) => assert!(how.contains(words), "{how}"),
            other => panic!("{other:?} of {answers:?}"),
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_not_about_the_rest_is_not_taken_for_it() {
    let began = part(0, "abc", 10, "one");
    for second in [
        // A proxy that drops the header answers with everything.
        part(0, "abcdefghij", 10, "one"),
        part(4, "efghij", 10, "one"),
        reply(206, "etag: \"one\"\r\ncontent-range: bytes 3-5/10\r\n", 3, "def"),
        reply(206, "content-range: bytes 3-9/10\r\n", 7, "defghij"),
    ] {
        let script = Script::start(&[&began, &second]).await;
        let refused = read(&script).await;
        assert!(matches!(refused, Err(ReadError::Store(Error::Unavailable { .. }))), "{refused:?}");
    }
}

#[tokio::test]
async fn refusals_are_told_from_a_silent_network() {
    let script = Script::start(&[&error(403, "AccessDenied")]).await;
    let denied = read(&script).await.unwrap_err();
    assert!(matches!(&denied, ReadError::Store(Error::Denied { what, .. }) if what == "read a b"), "{denied:?}");
    assert!(!format!("{denied:?} {denied}").contains("CANARY"), "{denied:?}");
    let directory = Objects::open(&Location::parse("file:///srv").unwrap(), None).await;
    assert!(matches!(directory, Err(Error::Config { .. })), "{directory:?}");
}
