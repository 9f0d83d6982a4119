//! A staging database that is to be replaced by a backup of another one: production holds `new`, staging holds `old`.

use crate::place::{Place, databases_like};
use std::sync::Arc;
use testkit::servers::{PostgresServer, TestDatabase, postgres};
use testkit::{Job, sql};

/// Both databases on one server, the backup, and the mark.
pub struct Staging {
    pub source: TestDatabase,
    pub live: TestDatabase,
    pub place: Place,
}

const STATE: &str = "create table state (v text primary key)";

impl Staging {
    /// On the shared server of a version.
    pub async fn new(version: u16) -> Self {
        Self::on(postgres(version).await).await
    }

    pub async fn on(server: Arc<PostgresServer>) -> Self {
        let staging = Self::unmarked(server).await;
        staging.mark("staging").await;
        staging
    }

    pub async fn unmarked(server: Arc<PostgresServer>) -> Self {
        let (source, live) = (server.create_database().await, server.create_database().await);
        source.exec(&format!("{STATE}; insert into state values ('new')")).await;
        live.exec(&format!("{STATE}; insert into state values ('old')")).await;
        let place = Place::new().await;
        place.backup(&source.url()).for_postgres(server.version).run().await.success();
        Self { source, live, place }
    }

    /// Marks the live database.
    pub async fn mark(&self, name: &str) {
        mark(&self.live.url(), name).run().await.success();
    }

    /// A restore into the live database, ready to run.
    pub fn restore(&self) -> Job {
        self.restore_by(&self.live.url())
    }

    /// The same by way of another URL.
    pub fn restore_by(&self, url: &str) -> Job {
        self.place.restore(url).for_postgres(self.live.server.version)
    }

    /// A rollback of the live database, ready to run.
    pub fn rollback(&self) -> Job {
        self.rollback_by(&self.live.url())
    }

    /// The same by way of another URL.
    pub fn rollback_by(&self, url: &str) -> Job {
        Job::new(["rollback", "--output", "json"]).env("LONGSHORE_TARGET", url)
    }

    /// What the live database holds.
    pub async fn value(&self) -> String {
        self.live.value("select v from state").await
    }

    /// The databases that were replaced.
    pub async fn asides(&self) -> Vec<String> {
        databases_like(&self.live, &format!("{}__old_", self.live.name)).await
    }

    /// Runs SQL outside of both databases.
    pub async fn outside(&self, statements: &str) {
        sql::exec(&self.live.server.url("postgres"), statements).await;
    }

    /// Fails unless the live database answers with the old data, lets people in, and nothing was made beside it.
    pub async fn assert_untouched(&self) {
        assert_eq!(self.value().await, "old");
        assert_eq!(databases_like(&self.live, &self.live.name).await, [self.live.name.as_str()]);
        assert_eq!(databases_like(&self.live, "longshore_").await, Vec::<String>::new());
    }

    /// Waits until no session of a killed job is left in what it made; a database in use is nobody's leftover.
    pub async fn wait_for_no_session(&self) {
        let ours = "select count(*) from pg_stat_activity where application_name = 'longshore' and datname is distinct from current_database()";
        let inside = format!("{ours} and starts_with(datname, '{}')", self.live.name);
        wait_for(&self.source, &inside, "0").await;
    }
}

/// `mark`, ready to run.
pub fn mark(url: &str, name: &str) -> Job {
    Job::new(["mark", "--output", "json", "--as", name]).env("LONGSHORE_TARGET", url)
}

/// Waits until a query says this; at most a minute.
pub async fn wait_for(db: &TestDatabase, query: &str, says: &str) {
    wait_for_at(&db.url(), query, says).await;
}

/// The same at a URL.
pub async fn wait_for_at(url: &str, query: &str, says: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let client = sql::connect(url).await;
    loop {
        let rows = sql::rows_on(&client, query).await;
        if rows.first().and_then(|row| row[0].as_deref()) == Some(says) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{query}: {rows:?} instead of {says}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
