//! Owns Redis test servers, and Valkey ones where the image was made. Tests that set a server up in their own way have one of their own.

use std::sync::Arc;
use std::time::Duration;

use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::background;
use crate::docker::{self, Container, Images};

const PASSWORD: &str = "longshore-test-password";
const START_LIMIT: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisProduct {
    /// Redis 7.
    Redis,
    /// Valkey 8.1.
    Valkey,
}

/// A server of Redis or Valkey in a container, which asks for a password.
#[derive(Debug)]
pub struct RedisServer {
    /// Its port on 127.0.0.1; stays the same over a stop and a start.
    pub port: u16,
    /// The container's id, for `docker` commands of a test.
    pub container_id: String,
    product: RedisProduct,
    container: Container,
}

/// The shared Redis server, started at first use.
///
/// # Panics
/// When docker or the image is absent, saying what to run.
pub async fn redis() -> Arc<RedisServer> {
    static SHARED: OnceCell<Arc<RedisServer>> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async { Arc::new(start(RedisProduct::Redis, image(RedisProduct::Redis), &[]).await) })
        .await
        .clone()
}

/// The shared Valkey server; `None`, said loudly, where its image was not made: `scripts/servers up all` makes it.
pub async fn valkey() -> Option<Arc<RedisServer>> {
    static SHARED: OnceCell<Arc<RedisServer>> = OnceCell::const_new();
    let image = image(RedisProduct::Valkey);
    if Images::chosen() == Images::Local && !docker::has_image(&image) {
        crate::skipped("no Valkey image on this machine; `scripts/servers up all` makes it");
        return None;
    }
    Some(SHARED.get_or_init(|| async { Arc::new(start(RedisProduct::Valkey, image, &[]).await) }).await.clone())
}

/// A Redis server of this test alone, with further arguments for it. Removed when dropped.
///
/// # Panics
/// As `redis`.
pub async fn own_redis(arguments: &[&str]) -> RedisServer {
    start(RedisProduct::Redis, image(RedisProduct::Redis), arguments).await
}

fn image(product: RedisProduct) -> (String, String) {
    match product {
        RedisProduct::Redis => Images::chosen().pick(("redis", "7"), ("longshore-test/redis", "7.0")),
        RedisProduct::Valkey => Images::chosen().pick(("valkey/valkey", "8.1"), ("longshore-test/valkey", "8.1")),
    }
}

async fn start(product: RedisProduct, image: (String, String), arguments: &[&str]) -> RedisServer {
    let mut command = vec![program(product, "server").to_owned()];
    command.extend(["--requirepass", PASSWORD, "--save", "", "--protected-mode", "no"].map(str::to_owned));
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    let configure = move |request: ContainerRequest<GenericImage>| request.with_cmd(command.clone());
    let container = Container::start(image, 6379, configure).await;
    let server = RedisServer { port: container.port, container_id: container.id.clone(), product, container };
    server.wait_until_ready().await;
    server
}

fn program(product: RedisProduct, what: &str) -> &'static str {
    match (product, what) {
        (RedisProduct::Redis, "server") => "redis-server",
        (RedisProduct::Redis, _) => "redis-cli",
        (RedisProduct::Valkey, "server") => "valkey-server",
        (RedisProduct::Valkey, _) => "valkey-cli",
    }
}

impl RedisServer {
    /// The password of every test server.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// `redis://:password@host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at_port(self.port)
    }

    /// The same by way of a proxy on this machine.
    #[must_use]
    pub fn url_at_port(&self, port: u16) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{port}")
    }

    /// Runs a command by the server's own client, inside the container, and gives its answer.
    ///
    /// # Panics
    /// When the client fails.
    pub fn ask(&self, command: &[&str]) -> String {
        let client = [program(self.product, "client"), "--no-auth-warning", "-a", PASSWORD];
        let answer = self.container.exec("0", &[&client, command].concat());
        answer.unwrap_or_else(|error| panic!("{command:?}: {error}")).trim().to_owned()
    }

    /// Runs a command in the container as root and gives its standard output.
    ///
    /// # Errors
    /// The command's standard error.
    pub fn exec(&self, command: &[&str]) -> Result<String, String> {
        self.container.exec("0", command)
    }

    async fn wait_until_ready(&self) {
        let ready = background::until(START_LIMIT, || async {
            if !self.container.is_running() {
                panic!("{:?} ended while starting:\n{}", self.product, self.container.log_tail());
            }
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
            stream.write_all(b"PING\r\n").await.ok()?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).await.ok()?;
            // It wants a password first: it is up.
            (&answer == b"-NOAUTH").then_some(())
        });
        if ready.await.is_none() {
            panic!("{:?} did not answer within {START_LIMIT:?}:\n{}", self.product, self.container.log_tail());
        }
    }
}
