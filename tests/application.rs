//! An application that uses a database all the time, and remembers what it saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::sql::try_connect;
use tokio::task::JoinHandle;

/// What the application saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// The values, each time another one came.
    pub values: Vec<String>,
    /// Connections that could not be made, or were ended before the first answer.
    pub failed: Vec<String>,
    /// Answers that no application should get: a missing table, an empty one.
    pub wrong: Vec<String>,
}

/// An application that asks `select v from state` all the time and connects again, at once, whenever it must.
pub struct Application {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    running: JoinHandle<Seen>,
}

impl Application {
    pub fn start(url: &str) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let running = tokio::spawn(work(url.to_owned(), Arc::clone(&stop), Arc::clone(&answers)));
        Self { stop, answers, running }
    }

    /// Waits until it got answers to questions it asked from now on.
    pub async fn is_answered(&self) {
        let enough = self.answers.load(Ordering::SeqCst) + 2;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.answers.load(Ordering::SeqCst) < enough {
            assert!(Instant::now() < deadline, "the application gets no answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.running.await.unwrap()
    }
}

async fn work(url: String, stop: Arc<AtomicBool>, answers: Arc<AtomicU64>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::SeqCst) {
        let client = match try_connect(&url).await {
            Ok(client) => client,
            Err(error) => {
                seen.failed.push(text(&error));
                continue;
            }
        };
        while !stop.load(Ordering::SeqCst) {
            // Leaves some of the machine to what is tested.
            tokio::time::sleep(Duration::from_millis(1)).await;
            match client.query_opt("select v from state", &[]).await {
                Ok(Some(row)) => {
                    let value: String = row.get(0);
                    if seen.values.last() != Some(&value) {
                        seen.values.push(value);
                    }
                    answers.fetch_add(1, Ordering::SeqCst);
                }
                Ok(None) => seen.wrong.push("no row".to_owned()),
                // The session was ended, or the server is gone: connect again.
                Err(error) if error.is_closed() || error.code().is_some_and(|code| code.code().starts_with("57")) => {
                    break;
                }
                Err(error) => seen.wrong.push(text(&error)),
            }
        }
    }
    seen
}

fn text(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned())
}
