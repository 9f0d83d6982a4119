//! Leases in a real PostgreSQL server, and in front of it what must not be there.

use std::sync::Arc;
use std::time::Duration;

use lease::conformance::{Harness, Later, suite};
use lease::{Access, Backend, Claim, Error, Job, Lease, Postgres, RunId, Terms, open};
use testkit::proxy::Tcp;
use testkit::servers::{TestDatabase, own, pooler, postgres, standby_of};
use testkit::sql;

struct Database(TestDatabase);

/// Ends every session that holds a lease in the database, and waits until they are gone.
async fn end_sessions(database: &TestDatabase) {
    let ours = "from pg_stat_activity where datname = current_database() and application_name like 'longshore %'";
    database.value(&format!("select count(pg_terminate_backend(pid)) {ours}")).await;
    while database.value(&format!("select count(*) {ours}")).await != "0" {
        tokio::task::yield_now().await;
    }
}

impl Harness for Database {
    fn backend(&self) -> Later<'_, Arc<dyn Backend>> {
        Box::pin(async { Arc::new(Postgres::parse(&self.0.url(), None).unwrap()) as Arc<dyn Backend> })
    }
    fn terms(&self) -> Terms {
        Terms::default()
    }
    fn expire(&self) -> Later<'_, ()> {
        Box::pin(end_sessions(&self.0))
    }
    fn tells_names(&self) -> bool {
        false
    }
    fn tells_end(&self) -> bool {
        false
    }
    /// A second session of one run ends the first: only that one is left which somebody listens to.
    fn grants_again(&self) -> bool {
        true
    }
}

fn claim() -> Claim {
    Claim::new(Job::parse("fragments").unwrap(), RunId::generate()).named("test")
}

async fn lease_at(url: &str) -> Lease {
    open(url, Access::default(), Terms::default()).await.unwrap()
}

#[tokio::test]
async fn postgresql_15_passes_the_suite() {
    suite(&Database(postgres(15).await.create_database().await)).await;
}

#[tokio::test]
async fn postgresql_17_passes_the_suite() {
    suite(&Database(postgres(17).await.create_database().await)).await;
}

#[tokio::test]
async fn a_session_that_ends_is_a_lease_that_is_lost() {
    let database = postgres(15).await.create_database().await;
    let held = lease_at(&database.url()).await.acquire(&claim()).await.unwrap();
    held.assert_held().unwrap();
    end_sessions(&database).await;
    // Long before the next renewal, which is due in 20 s: the session itself tells.
    let lost = held.lost().await;
    assert!(lost.why.contains("session"), "{lost}");
    assert!(matches!(held.assert_held(), Err(Error::Lost(_))));
    assert!(matches!(held.release().await, Err(Error::Lost(_))));
    lease_at(&database.url()).await.acquire(&claim()).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_holder_that_is_dropped_lets_others_in() {
    let database = postgres(15).await.create_database().await;
    let lease = lease_at(&database.url()).await;
    let held = lease.acquire(&claim()).await.unwrap();
    let error = lease.acquire(&claim()).await.unwrap_err();
    assert!(error.to_string().contains(&held.run().to_string()) && error.to_string().contains(" since 20"), "{error}");
    drop(held);
    loop {
        match lease.acquire(&claim()).await {
            Ok(second) => break second.release().await.unwrap(),
            Err(Error::Busy(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_pooler_of_any_kind_is_refused_and_keeps_no_lock() {
    let server = postgres(15).await;
    let database = server.create_database().await;
    for mode in ["transaction", "session", "statement"] {
        let pooler = pooler(&server, &[&format!("pool_mode = {mode}")]).await;
        let lease = lease_at(&database.url_at_port(pooler.port)).await;
        let error = lease.acquire(&claim()).await.unwrap_err();
        assert!(matches!(&error, Error::Config { .. }), "{mode}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("pooler")), "{mode}: {error:?}");
        // Of this database: other tests hold locks in others of the same server.
        let locks = "select count(*) from pg_locks where locktype = 'advisory' \
             and database = (select oid from pg_database where datname = current_database())";
        assert_eq!(database.value(locks).await, "0", "{mode}: a lock is stranded on a pooled session");
    }
}

#[tokio::test]
async fn a_standby_is_refused() {
    let primary = own(15, &[]).await;
    let standby = standby_of(&primary, &[]).await;
    let error = lease_at(&standby.url("postgres")).await.acquire(&claim()).await.unwrap_err();
    assert!(matches!(&error, Error::Config { what, .. } if what.contains("standby")), "{error}");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_and_no_password_shown() {
    let database = postgres(15).await.create_database().await;
    let url = format!("postgres://postgres:hunter2@127.0.0.1:{}/{}", database.server.port, database.name);
    let error = lease_at(&url).await.acquire(&claim()).await.unwrap_err();
    let text = format!("{error} {error:?} {:?}", error.hint());
    assert!(matches!(error, Error::Denied { .. }) && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_holder_that_is_cut_off_loses_its_lease() {
    let database = postgres(15).await.create_database().await;
    let proxy = Tcp::start("127.0.0.1", database.server.port).await;
    let terms = Terms::new(Duration::from_secs(3)).unwrap();
    let held = open(&database.url_at_port(proxy.port()), Access::default(), terms)
        .await
        .unwrap()
        .acquire(&claim())
        .await
        .unwrap();
    proxy.stall();
    let lost = held.lost().await;
    assert_eq!((lost.epoch, held.is_held()), (held.epoch(), false));
    proxy.cut();
    // The lock goes with the session, and leaves nothing behind.
    while sql::value(&database.url(), "select count(*) from pg_locks where locktype = 'advisory'").await != "0" {
        tokio::task::yield_now().await;
    }
}
