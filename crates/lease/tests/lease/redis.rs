//! Leases in real servers of Redis and Valkey. Each test has a database of its own on the shared one.

use std::sync::Arc;
use std::time::Duration;

use lease::conformance::{Harness, Later, suite};
use lease::{Access, Backend, Claim, Epoch, Error, Job, Lease, Redis, RunId, Terms, open};
use testkit::proxy::{Lost, Tcp};
use testkit::servers::{RedisServer, own_redis, redis, valkey};

struct Server {
    server: Arc<RedisServer>,
    database: u32,
}

impl Server {
    fn url(&self) -> String {
        format!("{}/{}", self.server.url(), self.database)
    }
}

impl Harness for Server {
    fn backend(&self) -> Later<'_, Arc<dyn Backend>> {
        Box::pin(async { Arc::new(Redis::parse(&self.url(), None).unwrap()) as Arc<dyn Backend> })
    }
    fn terms(&self) -> Terms {
        Terms::default()
    }
    /// By the server's own expiry, brought forward.
    fn expire(&self) -> Later<'_, ()> {
        let script = "for _, key in ipairs(redis.call('KEYS', 'longshore:*:lease')) do redis.call('PEXPIRE', key, 0) end return 'done'";
        assert_eq!(self.server.ask(&["-n", &self.database.to_string(), "EVAL", script, "0"]), "done");
        Box::pin(async {})
    }
}

fn claim() -> Claim {
    Claim::new(Job::parse("fragments").unwrap(), RunId::generate()).named("test")
}

async fn lease_at(url: &str, ttl: u64) -> Lease {
    open(url, Access::default(), Terms::new(Duration::from_secs(ttl)).unwrap()).await.unwrap()
}

#[tokio::test]
async fn redis_passes_the_suite() {
    suite(&Server { server: redis().await, database: 1 }).await;
}

#[tokio::test]
async fn valkey_passes_the_suite() {
    let Some(server) = valkey().await else { return };
    suite(&Server { server, database: 1 }).await;
}

#[tokio::test]
async fn a_lost_answer_costs_nothing() {
    let server = redis().await;
    let proxy = Tcp::start("127.0.0.1", server.port).await;
    let lease = lease_at(&format!("{}/2", server.url_at_port(proxy.port())), 60).await;
    lease.examine().await.unwrap();
    proxy.cut_at("'INCR'", Lost::Answer);
    let held = lease.acquire(&claim()).await.unwrap();
    assert!(!proxy.waits_for_words(), "no answer was lost");
    assert_eq!(held.epoch(), Epoch(1), "the grant that nobody heard of was made again under another number");
    let direct = lease_at(&format!("{}/2", server.url()), 60).await;
    let error = direct.acquire(&claim()).await.unwrap_err();
    let run = held.run();
    assert!(
        matches!(&error, Error::Busy(busy) if busy.holder.as_ref().is_some_and(|holder| holder.run == run) && busy.until.is_some()),
        "{error}"
    );
    assert!(error.to_string().contains("fragments is held by test (run ") && error.hint().is_some(), "{error}");
    held.release().await.unwrap();
    direct.acquire(&claim()).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_holder_that_is_cut_off_has_lost_before_another_is_let_in() {
    let server = redis().await;
    let proxy = Tcp::start("127.0.0.1", server.port).await;
    let held = lease_at(&format!("{}/3", server.url_at_port(proxy.port())), 3).await.acquire(&claim()).await.unwrap();
    proxy.stall();
    let direct = lease_at(&format!("{}/3", server.url()), 3).await;
    // Asked again and again, for as long as that takes.
    let second = loop {
        match direct.acquire(&claim()).await {
            Ok(second) => break second,
            Err(Error::Busy(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(!held.is_held(), "two hold it");
    assert!(matches!(held.assert_held(), Err(Error::Lost(_))));
    assert_eq!(held.lost().await.epoch, held.epoch());
    assert!(second.epoch() > held.epoch());
    proxy.pass();
    assert!(matches!(held.release().await, Err(Error::Lost(_))));
    second.assert_held().unwrap();
    second.release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_may_evict_or_only_follows_is_refused() {
    let cache = own_redis(&["--maxmemory-policy", "allkeys-lru"]).await;
    let error = lease_at(&cache.url(), 60).await.acquire(&claim()).await.unwrap_err();
    assert!(matches!(&error, Error::Config { what, .. } if what.contains("allkeys-lru")), "{error}");
    assert_eq!(cache.ask(&["DBSIZE"]), "0", "a lease was made where it may vanish");
    cache.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    cache.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = lease_at(&cache.url(), 60).await.acquire(&claim()).await.unwrap_err();
    assert!(matches!(&error, Error::Config { what, .. } if what.contains("replica")), "{error}");
}

#[tokio::test]
async fn what_a_replica_does_not_confirm_is_no_lease() {
    let server = own_redis(&[]).await;
    let password = server.password();
    let follow =
        ["redis-server", "--port", "6380", "--save", "", "--daemonize", "yes", "--pidfile", "/tmp/replica.pid"];
    let primary = ["--replicaof", "127.0.0.1 6379", "--masterauth", password, "--dir", "/tmp"];
    server.exec(&[&follow[..], &primary[..]].concat()).unwrap();
    while !server.ask(&["INFO", "replication"]).contains("state=online") {
        tokio::task::yield_now().await;
    }
    let held = lease_at(&server.url(), 60).await.acquire(&claim()).await.unwrap();
    held.release().await.unwrap();
    server.exec(&["sh", "-c", "kill -STOP $(cat /tmp/replica.pid)"]).unwrap();
    let error = lease_at(&server.url(), 60).await.acquire(&claim()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert_eq!(
        server.ask(&["EXISTS", "longshore:{fragments}:lease"]),
        "0",
        "others are kept away by what was not granted"
    );
}

#[tokio::test]
async fn who_may_not_is_told_and_no_password_shown() {
    let server = redis().await;
    let url = format!("redis://:hunter2@127.0.0.1:{}", server.port);
    let error = lease_at(&url, 60).await.acquire(&claim()).await.unwrap_err();
    let text = format!("{error} {error:?} {:?}", error.hint());
    assert!(matches!(error, Error::Denied { .. }) && !text.contains("hunter2"), "{text}");
    // A user who may keep leases and read no settings: it works, and what is not known is said.
    server.ask(&[
        "ACL",
        "SETUSER",
        "loader",
        "on",
        ">hunter2",
        "~longshore:*",
        "+@read",
        "+@write",
        "+@scripting",
        "+@connection",
        "+time",
        "-info",
    ]);
    let url = format!("redis://loader:hunter2@127.0.0.1:{}/4", server.port);
    let lease = lease_at(&url, 60).await;
    let notes = lease.examine().await.unwrap().join("\n");
    assert!(notes.contains("noeviction") && !notes.contains("hunter2"), "{notes}");
    lease.acquire(&claim()).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_gone_grants_nothing() {
    let server = own_redis(&[]).await;
    let lease = lease_at(&server.url(), 60).await;
    drop(server);
    let error = lease.acquire(&claim()).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { .. }) && error.is_retryable(), "{error}");
}
