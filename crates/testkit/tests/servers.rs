//! Real servers start, serve and are told apart. Needs docker: run with scripts/test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use longshore_testkit::servers::{self, minio, postgres};
use longshore_testkit::sql;

#[tokio::test]
async fn one_server_per_version_and_one_database_per_test() {
    for version in [15, 17, 18] {
        let server = postgres(version).await;
        let again = postgres(version).await;
        assert_eq!(server.container_id, again.container_id);
        let (one, two) = (server.create_database().await, server.create_database().await);
        assert_ne!(one.name, two.name);
        let major = one.value("select current_setting('server_version_num')::int / 10000").await;
        assert_eq!(major, version.to_string());
        one.exec("create table t (a int primary key, b text not null)").await;
        assert!(one.canonical_dump().contains("ADD CONSTRAINT t_pkey PRIMARY KEY (a)"), "{}", one.canonical_dump());
        let name = one.name.clone();
        drop(one);
        assert!(!server.has_database(&name).await);
        assert!(server.has_database(&two.name).await);
    }
}

#[tokio::test]
async fn a_server_outlives_the_runtime_that_started_it() {
    let port = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { postgres(15).await.port })
    });
    let port = port.join().unwrap();
    let server = postgres(15).await;
    assert_eq!(server.port, port);
    assert_eq!(sql::value(&server.url("postgres"), "select 1").await, "1");
}

#[tokio::test]
async fn an_own_server_is_killed_and_comes_back_at_its_port_with_its_data() {
    let server = servers::own(15, &[("work_mem", "5MB")]).await;
    let url = server.url("postgres");
    assert_eq!(sql::value(&url, "show work_mem").await, "5MB");
    sql::exec(&url, "create table kept as select 1 as a").await;
    let client = sql::connect(&url).await;
    server.kill();
    assert!(client.simple_query("select 1").await.is_err());
    assert!(sql::try_connect(&url).await.is_err());
    server.start().await;
    assert_eq!(sql::value(&url, "select a from kept").await, "1");
    server.stop();
    assert!(sql::try_connect(&url).await.is_err());
}

#[tokio::test]
async fn minio_gives_each_test_a_bucket() {
    let server = minio().await;
    let (one, two) = (server.bucket().await, server.bucket().await);
    assert_ne!(one, two);
    assert!(one.contains(&format!("endpoint=http://127.0.0.1:{}", server.port)));
}
