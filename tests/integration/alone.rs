//! Restores that are given a lease: none beside another run of the job, and none without the lease's server.

use testkit::Job;
use testkit::proxy::Tcp;
use testkit::servers::{TestDatabase, postgres, redis};

use crate::place::{Place, Target, assert_failed, assert_nothing_made, until};

/// A backup, and the name of the job that restores it.
struct Shift {
    db: TestDatabase,
    place: Place,
}

impl Shift {
    async fn new() -> Self {
        let db = postgres(17).await.create_database().await;
        db.exec("create table samples (id int primary key); insert into samples values (1), (2)").await;
        let place = Place::new().await;
        place.backup(&db.url()).for_postgres(17).run().await.success();
        Self { db, place }
    }

    /// A lease in a file.
    fn lease(&self) -> String {
        format!("file://{}", self.place.folder.path().display())
    }

    fn restore(&self, url: &str, lease: &str) -> Job {
        let job = self.place.restore(url).for_postgres(17);
        job.env("LONGSHORE_JOB", &self.db.name).env("LONGSHORE_LEASE", lease).env("LONGSHORE_LEASE_TTL", "3s")
    }
}

#[tokio::test]
async fn a_second_run_of_the_job_is_refused_and_told_who_is_at_work() {
    let shift = Shift::new().await;
    let target = Target::of(&shift.db);
    let proxy = Tcp::start("127.0.0.1", shift.db.server.port).await;
    proxy.hold_at("FROM STDIN");
    let through = shift.db.server.url_at("127.0.0.1", proxy.port(), &target.name);
    let first = shift.restore(&through, &shift.lease()).env("LONGSHORE_HOLDER", "nightly").spawn();
    until("the first restore to load", async || !proxy.waits_for_words()).await;
    let second = shift.restore(&target.url, &shift.lease()).run().await;
    assert_failed(second, 75, "is held by nightly (run ");
    let drop = tempfile::tempdir().unwrap();
    let load =
        Job::new(["load", "--job", &shift.db.name, "--table", "samples"]).env("LONGSHORE_TARGET", shift.db.url());
    let load = load.env("LONGSHORE_DROP", drop.path().to_str().unwrap()).env("LONGSHORE_LEASE", shift.lease());
    assert_failed(load.run().await, 75, "is held by nightly (run ");
    proxy.pass();
    first.wait().await.success();
    // It was given back: the next one gets as far as the database that is there now.
    assert_failed(shift.restore(&target.url, &shift.lease()).run().await, 77, "not marked");
}

/// A restore that loads, and that cannot reach the lease's server any more: what holds its database's words, and the run.
async fn cut_off(shift: &Shift, target: &Target) -> (Tcp, testkit::Running) {
    let server = redis().await;
    let proxy = Tcp::start("127.0.0.1", shift.db.server.port).await;
    let to_lease = Tcp::start("127.0.0.1", server.port).await;
    proxy.hold_at("FROM STDIN");
    let through = shift.db.server.url_at("127.0.0.1", proxy.port(), &target.name);
    let restore = shift.restore(&through, &server.url_at_port(to_lease.port())).spawn();
    until("the restore to load", async || !proxy.waits_for_words()).await;
    to_lease.refuse();
    to_lease.cut();
    let lease = format!("longshore:{{{}}}:lease", shift.db.name);
    until("the lease to run out", async || server.ask(&["EXISTS", &lease]).trim() == "0").await;
    (proxy, restore)
}

#[tokio::test]
async fn a_restore_that_loses_its_lease_makes_nothing() {
    let shift = Shift::new().await;
    let target = Target::of(&shift.db);
    let (proxy, restore) = cut_off(&shift, &target).await;
    proxy.pass();
    assert_failed(restore.wait().await, 74, "lease");
    assert_nothing_made(&shift.db, &target.name).await;
}

/// It ends by the lease, and not when its database answers again.
#[tokio::test]
async fn a_restore_that_loses_its_lease_waits_for_nobody() {
    let shift = Shift::new().await;
    let target = Target::of(&shift.db);
    let (proxy, restore) = cut_off(&shift, &target).await;
    assert_failed(restore.wait().await, 74, "lease");
    proxy.pass();
    let named = format!("select count(*) from pg_database where datname = '{}'", target.name);
    assert_eq!(shift.db.value(&named).await, "0");
}

#[tokio::test]
async fn without_the_leases_server_nothing_is_restored() {
    let shift = Shift::new().await;
    let target = Target::of(&shift.db);
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    let outcome = shift.restore(&target.url, &format!("redis://:canary@127.0.0.1:{nobody}")).run().await;
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.report());
    assert_failed(outcome, 69, "127.0.0.1");
    assert_nothing_made(&shift.db, &target.name).await;
    // One without the other is a mistake, and not a restore without a lease.
    let without = |name: &str| shift.place.restore(&target.url).env(name, "file:///tmp");
    assert_failed(without("LONGSHORE_LEASE").run().await, 64, "--lease and --job belong together");
    assert_failed(without("LONGSHORE_JOB").run().await, 64, "--lease and --job belong together");
    assert_nothing_made(&shift.db, &target.name).await;
}
