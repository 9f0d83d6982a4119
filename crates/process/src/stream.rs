//! Hands on what a child writes, as it comes.
//!
//! Owns the way from both pipes to one function. Promises that it is called on a thread of its own, so that a terminal or disk which takes nothing
//! holds up the child and nobody else; that memory is bounded (about 1 MiB); and that the pieces of one stream come in their order. The order between
//! the two streams is that in which they were read. Refuses to wait for ever for a pipe that somebody else holds open.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdout};
use std::thread;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// One read, at most.
const PIECE_BYTES: usize = 64 * 1024;
/// How many pieces may wait for the function.
const PIECES: usize = 16;

/// Which of a child's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Called with every piece; an empty one is a stream's end.
pub(crate) type OnOutput = Box<dyn FnMut(Stream, &[u8]) + Send>;

/// Two pipes that are being read.
#[derive(Debug)]
pub(crate) struct Streaming {
    pumps: [JoinHandle<()>; 2],
    written: oneshot::Receiver<()>,
}

impl Streaming {
    /// Begins to read. `on_output` is dropped when both streams have ended.
    pub(crate) fn start(stdout: ChildStdout, stderr: ChildStderr, mut on_output: OnOutput) -> io::Result<Self> {
        let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
        let stderr = pipe::Receiver::from_owned_fd(OwnedFd::from(stderr))?;
        let (pieces, mut waiting) = mpsc::channel::<(Stream, Vec<u8>)>(PIECES);
        let (tell, written) = oneshot::channel();
        thread::Builder::new().name("child-output".to_owned()).spawn(move || {
            while let Some((stream, piece)) = waiting.blocking_recv() {
                on_output(stream, &piece);
            }
            drop(on_output);
            // Who does not wait any more has given the rest up.
            let _nobody_waits = tell.send(());
        })?;
        let pumps = [
            tokio::spawn(pump(stdout, Stream::Stdout, pieces.clone())),
            tokio::spawn(pump(stderr, Stream::Stderr, pieces)),
        ];
        Ok(Self { pumps, written })
    }

    /// Waits until everything was handed over, at most twice `patience`; false when it was not.
    pub(crate) async fn end(mut self, patience: Duration) -> bool {
        let both = async {
            for pump in &mut self.pumps {
                // A pump that panicked has closed its end all the same.
                drop(pump.await);
            }
        };
        let all_read = timeout(patience, both).await.is_ok();
        self.abort();
        let all_written = timeout(patience, &mut self.written).await.is_ok_and(|told| told.is_ok());
        all_read && all_written
    }

    /// Stops reading.
    pub(crate) fn abort(&self) {
        self.pumps.iter().for_each(JoinHandle::abort);
    }
}

/// Reads one pipe to its end.
async fn pump(mut pipe: pipe::Receiver, stream: Stream, pieces: mpsc::Sender<(Stream, Vec<u8>)>) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        // A pipe that cannot be read is at its end: there is nobody to tell who could do something about it.
        let read = pipe.read(&mut buffer).await.unwrap_or(0);
        if pieces.send((stream, buffer[..read].to_vec())).await.is_err() || read == 0 {
            return;
        }
    }
}
