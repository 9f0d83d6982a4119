//! From the drop into staging: one reader, several connections.
//!
//! Owns the way between. Promises that memory is bounded (two batches for each connection, and one in the reader's hands), that every row read is
//! a row copied or an error, and that the first failure of a connection stops the reader. Refuses to judge what the text means.

use std::sync::Arc;

use drops::Batch;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::input::Input;
use crate::record::FileRecord;
use crate::target::{Fence, Portion, Staging, Target, Writer};
use crate::{Error, Plan};

/// What was staged.
pub(crate) struct Fed {
    pub staging: Box<dyn Staging>,
    pub rows: u64,
    pub rejected: u64,
    pub files: Vec<FileRecord>,
}

/// Reads all files and copies their rows into a staging table, which is made when the columns are known. `progress` is told of rows and
/// bytes of text.
pub(crate) async fn feed(
    target: &dyn Target,
    fence: &Fence,
    input: &mut dyn Input,
    plan: &Plan,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Fed, Error> {
    let files = input.files();
    let names: Arc<[String]> = files.iter().map(|file| file.path.clone()).collect();
    let mut records: Vec<FileRecord> = files
        .into_iter()
        .map(|file| FileRecord { path: file.path, bytes: file.bytes, sha256: None, rows: 0 })
        .collect();
    let mut open: Option<(Vec<String>, Box<dyn Staging>, Lanes)> = None;
    let (mut total, mut rejected) = (0, 0);
    for (at, record) in records.iter_mut().enumerate() {
        let mut rows = input.open(at).await?;
        if open.is_none() {
            let columns = rows.columns().to_vec();
            let staging = target.stage(fence, &columns).await?;
            let lanes = Lanes::open(&*staging, plan.workers, &names).await?;
            open = Some((columns, staging, lanes));
        }
        let Some((columns, _, lanes)) = &mut open else { break };
        if rows.columns() != columns.as_slice() {
            return Err(other_columns(&names[0], &record.path));
        }
        let file = u32::try_from(at).unwrap_or(u32::MAX);
        loop {
            let mut batch = lanes.empty_batch();
            if !rows.next(&mut batch).await? {
                break;
            }
            let (count, bytes) = (batch.len() as u64, batch.bytes() as u64);
            lanes.send(Portion { batch, file, first: total }).await?;
            record.rows += count;
            total += count;
            progress(count, bytes);
        }
        record.sha256 = rows.sha256();
        rejected += rows.rejected();
    }
    let Some((_, staging, lanes)) = open else {
        let what = format!("{} holds no files to load", input.location());
        return Err(engine::Error::new(engine::Kind::NotFound, what).hint("was the drop complete?").into());
    };
    let copied = lanes.finish().await?;
    if copied != total {
        let what = format!("{total} rows were read, and {copied} of them are in staging at {}", target.location());
        return Err(engine::Error::new(engine::Kind::Internal, what).into());
    }
    Ok(Fed { staging, rows: total, rejected, files: records })
}

fn other_columns(first: &str, path: &str) -> Error {
    let what = format!("the columns of {path} are not those of {first}, or in another order");
    engine::Error::new(engine::Kind::Data, what).hint("give all files of a drop the same header").into()
}

/// Connections that copy, and the way to them.
struct Lanes {
    portions: Option<mpsc::Sender<Portion>>,
    used: mpsc::UnboundedReceiver<Batch>,
    tasks: JoinSet<Result<u64, Error>>,
}

impl Lanes {
    async fn open(staging: &dyn Staging, workers: usize, names: &Arc<[String]>) -> Result<Lanes, Error> {
        let (portions, waiting) = mpsc::channel(workers);
        let (give_back, used) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let mut tasks = JoinSet::new();
        for _ in 0..workers.max(1) {
            let writer = staging.writer().await?;
            tasks.spawn(lane(writer, Arc::clone(&waiting), give_back.clone(), Arc::clone(names)));
        }
        Ok(Lanes { portions: Some(portions), used, tasks })
    }

    /// One that was used before, where there is one.
    fn empty_batch(&mut self) -> Batch {
        let mut batch = self.used.try_recv().unwrap_or_default();
        batch.clear();
        batch
    }

    async fn send(&mut self, portion: Portion) -> Result<(), Error> {
        let sent = match &self.portions {
            Some(portions) => portions.send(portion).await.is_ok(),
            None => false,
        };
        // Nobody takes portions any more: a connection has failed, and says why.
        if sent { Ok(()) } else { Err(self.end().await.err().unwrap_or_else(lost)) }
    }

    async fn finish(mut self) -> Result<u64, Error> {
        self.end().await
    }

    /// Waits for all connections. The first failure ends the others.
    async fn end(&mut self) -> Result<u64, Error> {
        self.portions = None;
        let mut rows = 0;
        while let Some(done) = self.tasks.join_next().await {
            rows += done.map_err(|_| lost())??;
        }
        Ok(rows)
    }
}

fn lost() -> Error {
    engine::Error::new(engine::Kind::Internal, "a task that copies has ended").into()
}

/// One connection: copies what comes until nothing does.
async fn lane(
    mut writer: Box<dyn Writer>,
    waiting: Arc<Mutex<mpsc::Receiver<Portion>>>,
    used: mpsc::UnboundedSender<Batch>,
    names: Arc<[String]>,
) -> Result<u64, Error> {
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(portion) = next else { return writer.finish().await };
        if let Err(error) = writer.write(&portion, &names).await {
            waiting.lock().await.close();
            return Err(error);
        }
        // The reader may have ended.
        drop(used.send(portion.batch));
    }
}
