//! Owns a streaming standby of a PostgreSQL test server: a copy that the server's own tool takes, which then follows it.

use std::time::Duration;

use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};

use super::PostgresServer;
use super::postgres::{SETTINGS, image};
use crate::docker::Container;
use crate::{background, sql};

const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

/// A hot standby of `primary`, with further `settings` of its own; it has replayed what the primary had written when this
/// was called. Removed when dropped; start it before the primary is stopped.
///
/// # Panics
/// When docker or the image is absent, or the copy fails, saying what.
pub async fn standby_of(primary: &PostgresServer, settings: &[(&str, &str)]) -> PostgresServer {
    let wanted = SETTINGS.iter().chain(settings).map(|(name, value)| format!(" -c {name}='{value}'"));
    let script = format!(
        "set -e; export PGDATA=/tmp/standby; \
         pg_basebackup --pgdata=$PGDATA --host={} --port=5432 --username={} --checkpoint=fast --write-recovery-conf \
         --wal-method=stream --no-sync; chmod 700 $PGDATA; \
         exec postgres -c listen_addresses='*' -c hot_standby=on{}",
        primary.inner_address(),
        primary.user,
        wanted.collect::<String>()
    );
    let password = primary.password.clone();
    let configure = move |request: ContainerRequest<GenericImage>| {
        request
            .with_user("postgres")
            .with_cmd(["bash".to_owned(), "-c".to_owned(), script.clone()])
            .with_env_var("PGPASSWORD", &password)
    };
    let container = Container::start(image(primary.version), 5432, configure).await;
    let standby = PostgresServer {
        host: "127.0.0.1".into(),
        port: container.port,
        user: primary.user.clone(),
        password: primary.password.clone(),
        version: primary.version,
        container_id: container.id.clone(),
        container,
    };
    standby.wait_until_ready().await;
    standby.catch_up_with(primary).await;
    standby
}

impl PostgresServer {
    /// Waits until this standby has replayed what the primary has written so far.
    pub async fn catch_up_with(&self, primary: &PostgresServer) {
        let written = sql::value(&primary.url("postgres"), "select pg_current_wal_insert_lsn()").await;
        let url = self.url("postgres");
        let query = format!("select coalesce(pg_last_wal_replay_lsn() >= '{written}', false)");
        let replayed = background::until(CATCH_UP_LIMIT, || async {
            let client = sql::try_connect(&url).await.ok()?;
            let rows = sql::rows_on(&client, &query).await;
            (rows.first()?.first()?.as_deref() == Some("t")).then_some(())
        });
        if replayed.await.is_none() {
            panic!("the standby did not catch up within {CATCH_UP_LIMIT:?}:\n{}", self.container.log_tail());
        }
    }
}
