//! Owns MongoDB test servers: a shared one, private ones, and one database per test.
//!
//! Promises a server that asks for passwords, whoever made its image, and one that takes writes as soon as it is given
//! out: by default the only member of a replica set, as backups need one for a point in time. Refuses to share clients:
//! each call opens its own on the caller's runtime, because a client's monitors die with the runtime of the test that
//! made it.

mod database;
mod set;
mod tools;

pub use database::{TestMongo, try_connect};
pub use set::{MongoSet, three_mongos};
pub use tools::DumpTools;

use std::sync::Arc;
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};
use tokio::sync::OnceCell;

use crate::background;
use crate::docker::{Container, Images};

/// Only characters that mean nothing in a URL, so that it is the same there and elsewhere.
const PASSWORD: &str = "longshore-test-password";
/// The first start makes the data directory and starts the server twice.
const START_LIMIT: Duration = Duration::from_secs(90);

/// What every server runs with: little memory, and none of the records that a vendor's support would ask for. No member
/// is there to take over, so that a server that is told to end does not wait for one.
const SETTINGS: [&str; 7] = [
    "--bind_ip_all",
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--setParameter",
    "diagnosticDataCollectionEnabled=false",
    "--setParameter",
    "shutdownTimeoutMillisForSignaledShutdown=100",
];

/// What the only member of a replica set runs with besides.
const MEMBER: [&str; 4] = ["--replSet", "rs0", "--oplogSize", "256"];

/// Starts a server that has no passwords, until someone who came in by then ends it, and from then on one that asks
/// for them. The images have no client in common that could make the first user from within, and the server lets
/// nobody else in who comes over the network. `$1` is how it asks for passwords, the rest are its settings.
const SCRIPT: &str = r#"
set -e
protection=$1
shift
if [ ! -e /data/db/longshore-protected ]; then
    mongod "$@"
    printf 'bG9uZ3Nob3JlLXRlc3Qta2V5LW9mLW5vLXZhbHVl' >/data/db/longshore-key
    chmod 600 /data/db/longshore-key
    touch /data/db/longshore-protected
fi
exec mongod "$@" $protection
"#;

/// A MongoDB server in a container. The user `root` may do everything; nobody may do anything without a password.
#[derive(Debug)]
pub struct MongoServer {
    /// The container's id, for `docker` commands of a test.
    pub container_id: String,
    container: Container,
}

/// The shared server, a replica set of one member, started at first use.
///
/// # Panics
/// When docker or the image is absent, saying what to run.
pub async fn mongo() -> Arc<MongoServer> {
    static SHARED: OnceCell<Arc<MongoServer>> = OnceCell::const_new();
    SHARED.get_or_init(|| async { Arc::new(own_mongo(&[]).await) }).await.clone()
}

/// A replica set of this test alone, with further `settings` (arguments of the server, such as `--setParameter` and
/// `ttlMonitorSleepSecs=1`). Removed when dropped.
///
/// # Panics
/// As `mongo`.
pub async fn own_mongo(settings: &[&str]) -> MongoServer {
    // Members of a replica set show each other a key; a server that has one asks clients for passwords.
    let server = MongoServer::launch("--keyFile /data/db/longshore-key", &[&MEMBER, settings].concat()).await;
    let client = server.unprotected().await;
    let member = doc! { "_id": 0, "host": "localhost:27017" };
    command(&client, doc! { "replSetInitiate": { "_id": "rs0", "members": [member] } }).await;
    server.protect(client).await;
    server
}

/// A server of this test alone that is no member of a replica set: without an oplog, transactions or points in time.
///
/// # Panics
/// As `mongo`.
pub async fn standalone_mongo() -> MongoServer {
    let server = MongoServer::launch("--auth", &[]).await;
    let client = server.unprotected().await;
    server.protect(client).await;
    server
}

impl MongoServer {
    /// An address of this machine.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The port on `host`; stays the same over `stop` and `start`.
    pub fn port(&self) -> u16 {
        self.container.port
    }

    /// The password of `root`. It stands in a URL as it is.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// `mongodb://root:password@host:port/database?authSource=admin&directConnection=true`; the database may be empty.
    /// A direct connection: the replica set knows its member by a name that means nothing outside of the container.
    pub fn root_url(&self, database: &str) -> String {
        self.url_at_port(self.port(), database)
    }

    /// The same by way of a proxy on this machine.
    pub fn url_at_port(&self, port: u16, database: &str) -> String {
        self.url(&format!("root:{PASSWORD}@"), port, database)
    }

    /// The same as another user, whom the database `admin` knows. Neither word may hold what a URL gives a meaning.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        self.url(&format!("{user}:{password}@"), self.port(), database)
    }

    /// The same as `root` for a job that is given the password in another way.
    pub fn url_without_password(&self, database: &str) -> String {
        self.url("root@", self.port(), database)
    }

    fn url(&self, user: &str, port: u16, database: &str) -> String {
        format!("mongodb://{user}{}:{port}/{database}?authSource=admin&directConnection=true", self.host())
    }

    /// A client as `root`.
    pub async fn client(&self) -> Client {
        database::connect(&self.root_url("")).await
    }

    /// A name for a database that no other test uses; whatever is made of it is dropped with the returned value.
    pub async fn database(self: &Arc<Self>) -> TestMongo {
        TestMongo::new(Arc::clone(self))
    }

    /// Whether a database of this name exists, which it does as long as something is in it.
    pub async fn has_database(&self, name: &str) -> bool {
        let names = self.client().await.list_database_names().await.expect("look for a database");
        names.iter().any(|known| known == name)
    }

    /// Ends the server as a crash does: SIGKILL, nothing flushed or said. Waits until it is gone.
    pub fn kill(&self) {
        self.container.kill();
    }

    /// Ends the server as an administrator does: connections are closed, data is flushed. Waits until it is gone.
    pub fn stop(&self) {
        self.container.stop(30);
    }

    /// Starts it again on its data and its port after `kill` or `stop`, and waits until it takes writes.
    pub async fn start(&self) {
        self.container.start_again();
        self.wait_until_ready().await;
    }

    /// Freezes the server: connections stay open, nobody answers.
    pub fn pause(&self) {
        self.container.freeze();
    }

    /// Lets it go on after `pause`.
    pub fn unpause(&self) {
        self.container.thaw();
    }

    /// Runs a command inside the container as root and gives its standard output: the server's file system, and no
    /// client.
    ///
    /// # Errors
    /// The command's standard error.
    pub fn exec_as_root(&self, command: &[&str]) -> Result<String, String> {
        self.container.exec("root", command)
    }

    /// The official image's entry point would make a user by its own client; it is not asked.
    async fn launch(protection: &str, settings: &[&str]) -> MongoServer {
        let image = Images::chosen().pick(("mongo", "6.0"), ("longshore-test/mongo", "6.0"));
        let arguments = ["-c", SCRIPT, "sh", protection];
        let arguments = arguments.iter().chain(&SETTINGS).chain(settings);
        let arguments: Vec<String> = arguments.map(|argument| (*argument).to_owned()).collect();
        let configure = move |request: ContainerRequest<GenericImage>| request.with_cmd(arguments.clone());
        let container = Container::start_by(Some("sh"), image, 27017, configure).await;
        MongoServer { container_id: container.id.clone(), container }
    }

    /// A client of a server that has no users yet.
    async fn unprotected(&self) -> Client {
        let client = try_connect(&self.url("", self.port(), "")).await.expect("a URL of our own");
        let admin = client.database("admin");
        self.until("answer", || async { admin.run_command(doc! { "ping": 1 }).await.ok() }).await;
        client
    }

    /// Makes `root`, ends the server, and waits for the one that asks for passwords.
    async fn protect(&self, client: Client) {
        self.until("take writes", || async { takes_writes(&client).await.then_some(()) }).await;
        let user = doc! { "createUser": "root", "pwd": PASSWORD, "roles": [{ "role": "root", "db": "admin" }] };
        command(&client, user).await;
        // By a signal: a server without passwords takes the command only from its own machine.
        let ended = self.exec_as_root(&["sh", "-c", "kill \"$(cat /data/db/mongod.lock)\""]);
        ended.unwrap_or_else(|error| panic!("MongoDB: {error}"));
        drop(client);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&self) {
        let client = try_connect(&self.root_url("")).await.expect("a URL of our own");
        self.until("take writes and ask for passwords", || async {
            // A server without passwords that is about to end knows `root` too.
            let options = client.database("admin").run_command(doc! { "getCmdLineOpts": 1 }).await.ok()?;
            let protected = options.get_document("parsed").ok()?.contains_key("security");
            (protected && takes_writes(&client).await).then_some(())
        })
        .await;
    }

    async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, mut ready: impl FnMut() -> F) -> T {
        let found = background::until(START_LIMIT, || {
            if !self.container.is_running() {
                panic!("MongoDB ended while starting:\n{}", self.container.log_tail());
            }
            ready()
        });
        let Some(found) = found.await else {
            panic!("MongoDB did not {what} within {START_LIMIT:?}:\n{}", self.container.log_tail());
        };
        found
    }
}

async fn takes_writes(client: &Client) -> bool {
    let says = client.database("admin").run_command(doc! { "hello": 1 }).await;
    says.is_ok_and(|says| says.get("isWritablePrimary") == Some(&Bson::Boolean(true)))
}

async fn command(client: &Client, command: Document) {
    let done = client.database("admin").run_command(command.clone()).await;
    done.unwrap_or_else(|error| panic!("{error}\n{command:.400?}"));
}
