//! Generated data is the same every time and on every version, and survives the vendor's own tools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use longshore_testkit::servers::{ACCESS_KEY, SECRET_KEY, minio, postgres};
use longshore_testkit::{data, proxy, sql};

#[tokio::test]
async fn the_realistic_database_is_the_same_each_time_on_each_version() {
    let mut first = None;
    for version in [15, 17, 18] {
        let db = postgres(version).await.create_database().await;
        data::realistic(&db, 1).await;
        let content = sql::content(&db.url()).await;
        assert!(content.len() > 20, "{content:?}");
        assert!(db.canonical_dump().contains(r#"CREATE TABLE "Research Data"."Weird ""name""" ("#));
        assert_eq!(*first.get_or_insert(content.clone()), content, "PostgreSQL {version}");
    }
}

#[tokio::test]
async fn the_vendors_dump_and_restore_keep_schema_and_content() {
    let server = postgres(15).await;
    let (from, to) = (server.create_database().await, server.create_database().await);
    data::realistic(&from, 1).await;
    server.exec(&["pg_dump", "-Fc", "-f", "/tmp/realistic.dump", &from.name]).unwrap();
    server.exec(&["pg_restore", "--exit-on-error", "-d", &to.name, "/tmp/realistic.dump"]).unwrap();
    assert_eq!(from.canonical_dump(), to.canonical_dump());
    assert_eq!(sql::content(&from.url()).await, sql::content(&to.url()).await);
}

#[tokio::test]
async fn a_database_connection_goes_through_the_proxy_and_is_cut() {
    let server = postgres(15).await;
    let db = server.create_database().await;
    let proxy = proxy::Tcp::start(&server.host, server.port).await;
    let client = sql::connect(&db.url_at_port(proxy.port())).await;
    assert_eq!(sql::rows_on(&client, "select 1").await, [[Some("1".to_owned())]]);
    proxy.cut_after(proxy::Direction::ToClient, 100_000);
    assert!(client.simple_query("select repeat('x', 1000) from generate_series(1, 1000)").await.is_err());
}

/// The signature survives the proxy: requests signed for its address are accepted by MinIO behind it.
#[tokio::test]
async fn a_store_works_through_the_proxy_and_meets_its_faults() {
    use longshore_testkit::proxy::{Fault, Rule};
    let server = minio().await;
    let proxy = proxy::S3::start(server.port).await;
    let url = server.url(&server.create_bucket().await, proxy.port());
    let location = store::Location::parse(&url).unwrap();
    let keys = store::Credentials::new(ACCESS_KEY.into(), SECRET_KEY.into(), None);
    let store = store::open(&location, Some(keys)).await.unwrap();
    let (key, body) = (store::Key::parse("chunks/aa/one").unwrap(), bytes::Bytes::from_static(b"0123456789"));
    let sha256: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&body).into();
    proxy.add(Rule::new(Fault::Status(503)).method("PUT").key("chunks/"));
    store.create(&key, body.clone(), &sha256).await.unwrap();
    assert_eq!(proxy.count("PUT", "chunks/aa/one"), 2, "{:?}", proxy.seen());
    proxy.add(Rule::new(Fault::Truncate(4)).method("GET"));
    assert_eq!(store.get(&key).await.unwrap(), body);
    assert_eq!(proxy.count("GET", "chunks/aa/one"), 2);
}
