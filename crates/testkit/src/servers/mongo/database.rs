//! Owns a test's database on a MongoDB server, and the commands that a test sends there as `root`.
//!
//! Promises that the database is gone when its value is, and with it every other that was named after it: what a test
//! restores, it restores next to what it read. Refuses to make the database: the server does that with the first thing
//! that is put into it.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

use super::MongoServer;
use crate::background;
use crate::servers::unique_name;

/// How long a client looks for its server. Longer than a test machine is busy, shorter than a test waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// A database of one test; dropped with it.
#[derive(Debug)]
pub struct TestMongo {
    /// The server it is on.
    pub server: Arc<MongoServer>,
    name: String,
}

impl TestMongo {
    pub(super) fn new(server: Arc<MongoServer>) -> TestMongo {
        TestMongo { server, name: unique_name("case", '_') }
    }

    /// Its name, `[a-z0-9_]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL as `root`, with the password.
    pub fn url(&self) -> String {
        self.server.root_url(&self.name)
    }

    /// Its URL by way of a proxy on this machine.
    pub fn url_at_port(&self, port: u16) -> String {
        self.server.url_at_port(port, &self.name)
    }

    /// Its URL as `root` for a job that is given the password in another way.
    pub fn url_without_password(&self) -> String {
        self.server.url_without_password(&self.name)
    }

    /// It, by a client of its own as `root` on the caller's runtime.
    pub async fn db(&self) -> Database {
        connect(&self.url()).await.database(&self.name)
    }

    /// Runs a command in it and gives what the server says.
    ///
    /// # Panics
    /// When the server refuses the command, or some of the writes that it asks for.
    pub async fn run(&self, command: Document) -> Document {
        let done = self.db().await.run_command(command.clone()).await;
        let says = done.unwrap_or_else(|error| panic!("{error}\n{command:.400?}"));
        assert!(!says.contains_key("writeErrors"), "{says:?}\n{command:.400?}");
        says
    }
}

impl Drop for TestMongo {
    fn drop(&mut self) {
        let (url, name) = (self.server.root_url(""), self.name.clone());
        background::run_in_drop(Duration::from_secs(20), async move {
            // A server that the test killed takes its databases with it.
            let Ok(client) = try_connect(&url).await else { return };
            let Ok(names) = client.list_database_names().await else { return };
            for name in names.into_iter().filter(|known| is_named_after(known, &name)) {
                if let Err(error) = client.database(&name).run_command(doc! { "dropDatabase": 1 }).await {
                    eprintln!("testkit: drop database {name}: {error}");
                }
            }
        });
    }
}

/// Names end in a number: that of another test may begin with this one's, and goes on with a digit.
fn is_named_after(known: &str, name: &str) -> bool {
    known.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// A client that looks for its server for two seconds and no longer: for asking whether there is one. It connects with
/// the first command.
///
/// # Errors
/// What is wrong with the URL.
pub async fn try_connect(url: &str) -> Result<Client, Error> {
    patient(url, Duration::from_secs(2)).await
}

pub(super) async fn connect(url: &str) -> Client {
    patient(url, PATIENCE).await.unwrap_or_else(|error| panic!("connect to the test server: {error}"))
}

async fn patient(url: &str, patience: Duration) -> Result<Client, Error> {
    let mut options = ClientOptions::parse(url).await?;
    options.server_selection_timeout = Some(patience);
    Client::with_options(options)
}
