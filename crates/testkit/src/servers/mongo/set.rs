//! Owns a replica set of three members, for tests of what happens when another becomes the primary.
//!
//! Promises members that clients and each other know by the same addresses: all run in one container, whose ports are those of this machine. Refuses passwords, which other tests have, and to restart a member.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use testcontainers::ImageExt as _;
use testcontainers::core::IntoContainerPort as _;

use super::{SETTINGS, takes_writes, try_connect};
use crate::background;
use crate::docker::{Container, Images, free_port};

const START_LIMIT: Duration = Duration::from_secs(120);

/// Starts a member at each port; ends when one of them does.
const SCRIPT: &str = r#"
set -e
settings=$1
shift
for port in "$@"; do
    mkdir -p "/data/db/$port"
    # Words, on purpose.
    mongod --port "$port" --dbpath "/data/db/$port" --pidfilepath "/data/db/$port/pid" $settings &
done
wait
"#;

/// Three members of one replica set. Removed when dropped.
#[derive(Debug)]
pub struct MongoSet {
    container: Container,
    ports: [u16; 3],
}

/// A replica set of three, of this test alone, with a primary.
///
/// # Panics
/// When docker or the image is absent, saying what to run.
pub async fn three_mongos() -> Arc<MongoSet> {
    let image = Images::chosen().pick(("mongo", "6.0"), ("longshore-test/mongo", "6.0"));
    let ports = [free_port(), free_port(), free_port()];
    let mut settings: Vec<&str> = SETTINGS.to_vec();
    settings.extend(["--replSet", "rs0", "--oplogSize", "256"]);
    let mut arguments = vec!["-c".to_owned(), SCRIPT.to_owned(), "sh".to_owned(), settings.join(" ")];
    arguments.extend(ports.iter().map(u16::to_string));
    let container = Container::start_by(Some("sh"), image, 27017, move |request| {
        ports
            .iter()
            .fold(request.with_cmd(arguments.clone()), |request, &port| request.with_mapped_port(port, port.tcp()))
    })
    .await;
    let set = MongoSet { container, ports };
    let members: Vec<Document> = (0..).zip(ports).map(|(id, port)| doc! {"_id": id, "host": address(port)}).collect();
    // Elections after a second, so that tests need not wait for ten.
    let settings = doc! {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200, "catchUpTimeoutMillis": 1000};
    let initiate = doc! {"replSetInitiate": {"_id": "rs0", "members": members, "settings": settings}};
    let first = set.member(ports[0]).await;
    set.until("answer", || async { first.run_command(doc! {"ping": 1}).await.ok() }).await;
    set.until("become a replica set", || async { first.run_command(initiate.clone()).await.ok() }).await;
    set.wait_for_primary().await;
    Arc::new(set)
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

impl MongoSet {
    /// The URL of a database, with all members.
    pub fn url(&self, database: &str) -> String {
        let members = self.ports.map(address).join(",");
        format!("mongodb://{members}/{database}?replicaSet=rs0")
    }

    /// A database, by a client of its own.
    pub async fn db(&self, name: &str) -> Database {
        Client::with_uri_str(self.url("")).await.expect("a URL of our own").database(name)
    }

    /// Sends a command to each member that lives.
    pub async fn tell_each(&self, command: Document) {
        for port in self.ports {
            let done = self.member(port).await.run_command(command.clone()).await;
            done.unwrap_or_else(|error| panic!("{error}\n{command:?}"));
        }
    }

    /// Makes the primary another one, as an administrator does. Returns when there is one again.
    pub async fn step_down(&self) {
        let primary = self.primary().await;
        let admin = self.member(primary).await;
        let done =
            admin.run_command(doc! {"replSetStepDown": 30, "secondaryCatchUpPeriodSecs": 10, "force": true}).await;
        done.unwrap_or_else(|error| panic!("step down: {error}"));
        self.wait_for_primary().await;
    }

    /// Ends the primary as a crash does. Returns when there is another.
    pub async fn kill_primary(&self) {
        let primary = self.primary().await;
        let kill = format!("kill -9 $(cat /data/db/{primary}/pid)");
        self.container.exec("root", &["sh", "-c", &kill]).unwrap_or_else(|error| panic!("kill the primary: {error}"));
        self.wait_for_primary().await;
    }

    async fn wait_for_primary(&self) {
        self.until("have a primary", || async { self.look_for_primary().await }).await;
    }

    async fn primary(&self) -> u16 {
        self.look_for_primary().await.expect("a primary")
    }

    async fn look_for_primary(&self) -> Option<u16> {
        for port in self.ports {
            let url = format!("mongodb://{}/?directConnection=true&serverSelectionTimeoutMS=500", address(port));
            let Ok(client) = Client::with_uri_str(url).await else { continue };
            if takes_writes(&client).await {
                return Some(port);
            }
        }
        None
    }

    async fn member(&self, port: u16) -> Database {
        let url = format!("mongodb://{}/?directConnection=true", address(port));
        try_connect(&url).await.expect("a URL of our own").database("admin")
    }

    async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, ready: impl FnMut() -> F) -> T {
        let found = background::until(START_LIMIT, ready).await;
        found.unwrap_or_else(|| {
            panic!("the replica set did not {what} within {START_LIMIT:?}:\n{}", self.container.log_tail())
        })
    }
}
