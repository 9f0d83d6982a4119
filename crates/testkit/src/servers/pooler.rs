//! Owns a PgBouncer in front of a PostgreSQL test server. It logs in at the server by itself, as the superuser, whoever the
//! client says it is: what is tested is how backends are handed out, not who may have one.

use std::time::Duration;

use testcontainers::{ContainerRequest, CopyTargetOptions, GenericImage, ImageExt as _};

use super::PostgresServer;
use crate::docker::Container;
use crate::{background, sql};

const START_LIMIT: Duration = Duration::from_secs(60);

/// A PgBouncer in a container. Removed when dropped.
#[derive(Debug)]
pub struct Pooler {
    /// Its port on 127.0.0.1.
    pub port: u16,
    container: Container,
}

/// Starts a PgBouncer before a server; `settings` are lines of its `[pgbouncer]` section, such as
/// `pool_mode = transaction`.
///
/// # Panics
/// When docker or the image is absent, saying what to run.
pub async fn pooler(server: &PostgresServer, settings: &[&str]) -> Pooler {
    let configuration = format!(
        "[databases]\n* = host={} port=5432 user={} password={}\n\
         [pgbouncer]\nlisten_addr = 0.0.0.0\nlisten_port = 6432\nauth_type = any\nunix_socket_dir =\n{}\n",
        server.inner_address(),
        server.user,
        server.password,
        settings.join("\n")
    );
    let configure = move |request: ContainerRequest<GenericImage>| {
        request.with_copy_to(
            CopyTargetOptions::new("/etc/pgbouncer/test.ini").with_mode(0o644),
            configuration.clone().into_bytes(),
        )
    };
    // There is no official image: it is made on every machine.
    let image = ("longshore-test/pgbouncer".to_owned(), "latest".to_owned());
    let container = Container::start(image, 6432, configure).await;
    let pooler = Pooler { port: container.port, container };
    pooler.wait_until_ready(server).await;
    pooler
}

impl Pooler {
    async fn wait_until_ready(&self, server: &PostgresServer) {
        let url = server.url_at("127.0.0.1", self.port, "postgres");
        let ready = background::until(START_LIMIT, || async {
            if !self.container.is_running() {
                panic!("PgBouncer ended while starting:\n{}", self.container.log_tail());
            }
            let client = sql::try_connect(&url).await.ok()?;
            client.simple_query("select 1").await.ok()
        });
        if ready.await.is_none() {
            panic!("PgBouncer did not answer within {START_LIMIT:?}:\n{}", self.container.log_tail());
        }
    }
}
