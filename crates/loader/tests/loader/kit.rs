//! Drops made by hand, and loads that stop where a test says.

use std::time::Duration;

use async_trait::async_trait;
use drops::{Batch, Place};
use lease::{Job, RunId};
use loader::{
    Done, Error, Input, InputFile, InputRows, Limits, Mode, Permit, Plan, Postgres, Step, Steps, Straight, Target, load,
};
use sha2::{Digest, Sha256};
use testkit::servers::TestDatabase;
use tokio::sync::{mpsc, oneshot};

pub type Cells = Vec<Option<String>>;

/// Files with rows, as if they had been read. The first row is on line 2.
#[derive(Debug, Clone)]
pub struct Hand {
    pub columns: Vec<String>,
    pub files: Vec<(String, Vec<Cells>)>,
}

impl Hand {
    /// One file, rows from text: cells are separated by `|`, `~` is null.
    pub fn new(columns: &[&str], rows: &[&str]) -> Hand {
        Hand {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            files: vec![("a.csv".to_owned(), cells(rows))],
        }
    }

    pub fn and(mut self, path: &str, rows: &[&str]) -> Hand {
        self.files.push((path.to_owned(), cells(rows)));
        self
    }
}

fn cells(rows: &[&str]) -> Vec<Cells> {
    let cell = |text: &str| if text == "~" { None } else { Some(text.to_owned()) };
    rows.iter().map(|row| row.split('|').map(cell).collect()).collect()
}

#[async_trait]
impl Input for Hand {
    fn location(&self) -> String {
        "a drop by hand".to_owned()
    }

    fn files(&self) -> Vec<InputFile> {
        let size =
            |rows: &[Cells]| rows.iter().flatten().map(|cell| cell.as_ref().map_or(1, String::len) as u64 + 1).sum();
        self.files.iter().map(|(path, rows)| InputFile { path: path.clone(), bytes: size(rows) }).collect()
    }

    async fn open(&mut self, file: usize) -> Result<Box<dyn InputRows>, Error> {
        Ok(Box::new(HandRows { columns: self.columns.clone(), rows: self.files[file].1.clone(), at: 0 }))
    }

    async fn identity(&mut self) -> Result<String, Error> {
        let all = format!("{:?}", self);
        Ok(Sha256::digest(all.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

struct HandRows {
    columns: Vec<String>,
    rows: Vec<Cells>,
    at: usize,
}

#[async_trait]
impl InputRows for HandRows {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Few at a time, so that every connection gets some.
    async fn next(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        let end = (self.at + 3).min(self.rows.len());
        for (number, row) in self.rows[self.at..end].iter().enumerate() {
            batch.begin_row(Place { line: (self.at + number + 2) as u64, byte: 0 });
            row.iter().for_each(|cell| batch.push_cell(cell.as_deref().map(str::as_bytes)));
        }
        self.at = end;
        Ok(!batch.is_empty())
    }

    fn sha256(&self) -> Option<String> {
        Some("00".repeat(32))
    }
}

/// As long as nobody takes the sender away.
pub struct Allowed(pub tokio::sync::watch::Receiver<bool>);

#[async_trait]
impl Permit for Allowed {
    fn check(&self) -> Result<(), Error> {
        if *self.0.borrow() { Ok(()) } else { Err(Error::Stopped) }
    }

    async fn ended(&self) -> Error {
        let mut seen = self.0.clone();
        let refused = seen.wait_for(|allowed| !allowed).await.is_ok();
        if refused { Error::Stopped } else { std::future::pending().await }
    }
}

pub fn always() -> Allowed {
    Allowed(tokio::sync::watch::channel(true).1)
}

pub fn plan(job: &str) -> Plan {
    Plan {
        job: Job::parse(job).unwrap(),
        run: RunId::generate(),
        workers: 2,
        reload: false,
        dry_run: false,
        options: "o".to_owned(),
        program: "a test".to_owned(),
        image: None,
    }
}

/// Waits that are short enough for a test to wait for.
pub fn quick() -> Limits {
    Limits { lock: Duration::from_secs(5), idle: Duration::from_secs(30), settle: Duration::from_secs(20) }
}

pub fn at(url: &str, table: &str, mode: Mode, limits: Limits) -> Postgres {
    Postgres::new(postgres::Endpoint::parse(url, None).unwrap(), table.parse().unwrap(), mode, limits)
}

pub fn target(db: &TestDatabase, table: &str, mode: Mode) -> Postgres {
    at(&db.url(), table, mode, quick())
}

/// A load from beginning to end.
pub async fn run(target: &dyn Target, drop: &Hand, plan: &Plan) -> Result<Done, Error> {
    load(target, &mut drop.clone(), plan, &always(), &Straight).await
}

pub async fn append(db: &TestDatabase, table: &str, drop: &Hand) -> Result<Done, Error> {
    run(&target(db, table, Mode::Append), drop, &plan("job")).await
}

pub fn upsert(key: &[&str]) -> Mode {
    Mode::Upsert { key: key.iter().map(|name| (*name).to_owned()).collect() }
}

/// Where a load stands, and how to let it go on.
pub type Stand = (Step, oneshot::Sender<()>);

/// Stops at every step until it is told to go on.
pub struct Gates(pub mpsc::UnboundedSender<Stand>);

#[async_trait]
impl Steps for Gates {
    async fn at(&self, step: Step) {
        let (go, gone) = oneshot::channel();
        if self.0.send((step, go)).is_ok() {
            drop(gone.await);
        }
    }
}

/// A load in a task of its own that stops at every step.
pub struct Stopping {
    pub task: tokio::task::JoinHandle<Result<Done, Error>>,
    pub stands: mpsc::UnboundedReceiver<Stand>,
    pub permit: tokio::sync::watch::Sender<bool>,
}

impl Stopping {
    pub fn start(target: impl Target + 'static, drop: &Hand, plan: Plan) -> Stopping {
        let (tell, stands) = mpsc::unbounded_channel();
        let (permit, allowed) = tokio::sync::watch::channel(true);
        let mut drop = drop.clone();
        let task = tokio::spawn(async move { load(&target, &mut drop, &plan, &Allowed(allowed), &Gates(tell)).await });
        Stopping { task, stands, permit }
    }

    /// Lets it go on until it stands at this step.
    pub async fn until(&mut self, step: Step) -> oneshot::Sender<()> {
        loop {
            let (there, go) = self.stands.recv().await.expect("the load ended before that step");
            if there == step {
                return go;
            }
            go.send(()).unwrap();
        }
    }

    /// Lets it go on to its end.
    pub async fn end(mut self, go: oneshot::Sender<()>) -> Result<Done, Error> {
        // It may have ended while it stood there.
        go.send(()).ok();
        while let Some((_, go)) = self.stands.recv().await {
            go.send(()).ok();
        }
        self.task.await.unwrap()
    }
}

pub fn is_loaded(done: &Done) -> bool {
    matches!(done, Done::Loaded { .. })
}

/// Runs that the ledger calls loaded, and staging tables that are left.
pub async fn traces(db: &TestDatabase) -> (String, String) {
    let loaded = db.value("select count(*) from longshore.load_ledger where status = 'loaded'").await;
    let staging = "select count(*) from pg_class where relname like '%\\_\\_stg\\_%' and relkind = 'r'";
    (loaded, db.value(staging).await)
}
