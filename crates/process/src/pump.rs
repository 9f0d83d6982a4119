//! Moves bytes between a child's pipes and memory.
//!
//! Promises: a pipe is always read to its end, so that a child never blocks on us; memory stays within the stated
//! bounds. Refuses to keep more of stdout than the caller allowed: it then kills the child.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use crate::group::Group;
use crate::tail::Tail;

/// One read; also what a pipe holds by default on Linux.
const READ_BYTES: usize = 64 * 1024;
/// A longer line reaches the callback in pieces of this size.
const LINE_BYTES: usize = 64 * 1024;

/// Called with every line of stderr.
pub(crate) type OnLine = Box<dyn FnMut(&str) + Send>;

/// Why captured output is not there.
#[derive(Debug)]
pub(crate) enum Lost {
    TooLong,
    Io(io::Error),
}

/// Reads stdout to its end, at most `limit` bytes; kills the group at the first byte beyond.
pub(crate) async fn capture(mut pipe: pipe::Receiver, limit: usize, group: Arc<Group>) -> Result<Vec<u8>, Lost> {
    let mut all = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = pipe.read(&mut buffer).await.map_err(Lost::Io)?;
        if read == 0 {
            return Ok(all);
        }
        if all.len() + read > limit {
            group.kill();
            return Err(Lost::TooLong);
        }
        all.extend_from_slice(&buffer[..read]);
    }
}

/// Reads stderr to its end into `tail`, and line by line into `on_line`. A read error ends it: stderr is for people.
pub(crate) async fn drain(mut pipe: pipe::Receiver, tail: Arc<Mutex<Tail>>, on_line: Option<OnLine>) {
    let mut lines = on_line.map(|on_line| Lines { on_line, partial: Vec::new() });
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read) = pipe.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        tail.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..read]);
        if let Some(lines) = &mut lines {
            lines.push(&buffer[..read]);
        }
    }
    if let Some(mut lines) = lines {
        lines.flush();
    }
}

/// Writes all of `bytes` to stdin and closes it. A child that stops reading says with its exit code whether that was
/// right; the broken pipe on our side adds nothing.
pub(crate) async fn feed(mut pipe: pipe::Sender, bytes: Vec<u8>) {
    let _broken_pipe_is_the_childs_business = pipe.write_all(&bytes).await;
}

/// Cuts a byte stream into lines of at most [`LINE_BYTES`].
struct Lines {
    on_line: OnLine,
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, mut read: &[u8]) {
        while let Some(newline) = read.iter().position(|byte| *byte == b'\n') {
            self.grow(&read[..newline]);
            self.emit();
            read = &read[newline + 1..];
        }
        self.grow(read);
    }

    fn grow(&mut self, mut piece: &[u8]) {
        while self.partial.len() + piece.len() > LINE_BYTES {
            let (now, later) = piece.split_at(LINE_BYTES - self.partial.len());
            self.partial.extend_from_slice(now);
            self.emit();
            piece = later;
        }
        self.partial.extend_from_slice(piece);
    }

    fn flush(&mut self) {
        if !self.partial.is_empty() {
            self.emit();
        }
    }

    fn emit(&mut self) {
        (self.on_line)(&String::from_utf8_lossy(&self.partial));
        self.partial.clear();
    }
}
