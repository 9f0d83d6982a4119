//! Owns `S3`: an HTTP proxy in front of an object store that passes requests unchanged and, where a rule says so, breaks
//! the request or its answer. The head goes on byte for byte: the client signed the proxy's own host and port, and the
//! server checks the signature against the Host header it gets.
//!
//! Rules count: the nth request that matches is hit, always the same one. Refuses TLS.

use std::io::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufReader, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::http::{Change, Framing, Head, copy_body, read_head};
use super::{listen, reset};
use crate::background;

/// What happens to a request that a rule hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status (a 503 also says `Retry-After: 1`); the server never sees the request.
    Status(u16),
    /// Answered with this status and S3's code for it; the server never sees the request.
    Refused(u16, &'static str),
    /// Passed on after this time.
    Delay(Duration),
    /// Passed on when the rules are cleared.
    Hold,
    /// Never answered, never passed on; the connection stays open until the proxy is dropped.
    Stall,
    /// The connection is reset; the server never sees the request.
    Reset,
    /// Passed on and done; then the connection is reset instead of an answer.
    LostReply,
    /// The answer's head says the full length; after so many bytes of its body the connection is reset.
    ResetBody(u64),
    /// As `ResetBody`, with an orderly close.
    Truncate(u64),
    /// The lowest bit of the answer body's byte at this offset is inverted.
    Flip(u64),
}

/// Which requests a fault hits: those that match, from the `nth` (counted from 1) on, `times` of them.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Option<String>,
    target: Option<String>,
    nth: u64,
    times: u64,
    fault: Fault,
    matched: u64,
}

impl Rule {
    /// Hits the first request of any kind.
    pub fn new(fault: Fault) -> Rule {
        Rule { method: None, target: None, nth: 1, times: 1, fault, matched: 0 }
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(self, method: &str) -> Rule {
        Rule { method: Some(method.to_owned()), ..self }
    }

    /// Only requests whose path and query, percent-decoded, contain this: a part of a key, or of `list-type=2&prefix=…`.
    #[must_use]
    pub fn key(self, part: &str) -> Rule {
        Rule { target: Some(part.to_owned()), ..self }
    }

    /// Not before the nth that matches; 1 is the first.
    #[must_use]
    pub fn nth(self, nth: u64) -> Rule {
        Rule { nth, ..self }
    }

    /// So many in a row. A retry is a request of its own.
    #[must_use]
    pub fn times(self, times: u64) -> Rule {
        Rule { times, ..self }
    }

    /// All from the nth on.
    #[must_use]
    pub fn always(self) -> Rule {
        self.times(u64::MAX)
    }

    /// Counts a request; the fault when it is hit.
    fn meet(&mut self, method: &str, target: &str) -> Option<Fault> {
        let fits = self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.target.as_deref().is_none_or(|wanted| target.contains(wanted));
        if !fits {
            return None;
        }
        self.matched += 1;
        (self.matched >= self.nth && self.matched - self.nth < self.times).then_some(self.fault)
    }
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path and query, percent-decoded.
    pub target: String,
    /// What was done to it.
    pub fault: Option<Fault>,
    /// The server's own answer; `None` while there is none, or when the request was not passed on.
    pub status: Option<u16>,
}

#[derive(Debug)]
struct State {
    target: String,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// The number of requests seen, and the sign that the proxy is gone when its sender is.
    news: watch::Sender<usize>,
    closed: watch::Sender<bool>,
    /// How often the rules were cleared; changes under the lock on them.
    cleared: watch::Sender<u64>,
}

/// A proxy in front of one object store. Dropping it resets every connection and frees the port.
#[derive(Debug)]
pub struct S3 {
    port: u16,
    state: Arc<State>,
    accepting: AbortHandle,
}

impl S3 {
    /// Starts a proxy in front of the server at `127.0.0.1:port` that passes everything.
    pub async fn start(port: u16) -> S3 {
        background::run(async move {
            let (listener, own_port) = listen().await;
            let state = Arc::new(State {
                target: format!("127.0.0.1:{port}"),
                rules: Mutex::default(),
                seen: Mutex::default(),
                news: watch::channel(0).0,
                closed: watch::channel(false).0,
                cleared: watch::channel(0).0,
            });
            let accepting = tokio::spawn(accept(listener, Arc::clone(&state))).abort_handle();
            S3 { port: own_port, state, accepting }
        })
        .await
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Adds a rule. Of several that hit a request, the one added first decides; each counts for itself.
    pub fn add(&self, rule: Rule) {
        lock(&self.state.rules).push(rule);
    }

    /// Removes all rules: everything passes, what was held as well. What was stalled stays so.
    pub fn clear(&self) {
        let mut rules = lock(&self.state.rules);
        rules.clear();
        self.state.cleared.send_modify(|times| *times += 1);
    }

    /// All requests so far, in the order they came.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    /// How many requests of `method` had `part` in their path or query.
    pub fn count(&self, method: &str, part: &str) -> usize {
        count(&lock(&self.state.seen), method, part)
    }

    /// Waits until `count(method, part)` is at least `wanted`.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    pub async fn wait_for(&self, method: &str, part: &str, wanted: usize) {
        let mut news = self.state.news.subscribe();
        let enough = news.wait_for(|_| self.count(method, part) >= wanted);
        let waited = tokio::time::timeout(Duration::from_secs(60), enough).await;
        assert!(waited.is_ok(), "fewer than {wanted} {method} requests with {part:?} in a minute: {:?}", self.seen());
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.closed.send_replace(true);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            drop(client.set_nodelay(true));
            let mut client = BufReader::new(client);
            let mut closed = state.closed.subscribe();
            let end = tokio::select! {
                end = serve(&mut client, &state) => end.unwrap_or(End::Reset),
                _ = closed.wait_for(|closed| *closed) => End::Reset,
            };
            match end {
                End::Close => drop(client),
                End::Reset => reset(client.into_inner()),
            }
        });
    }
}

enum End {
    Close,
    Reset,
}

/// Serves one client's requests, one after the other, until one of them ends the connection.
async fn serve(client: &mut BufReader<TcpStream>, state: &State) -> Result<End> {
    while let Some(head) = read_head(client).await? {
        let (index, fault, cleared) = note(state, &head);
        if head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let end = match fault {
            Some(Fault::Status(status)) => refuse(client, &head, status, code_of(status)).await?,
            Some(Fault::Refused(status, code)) => refuse(client, &head, status, code).await?,
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::Reset) => Some(End::Reset),
            Some(Fault::Hold) => {
                let passed = state.cleared.subscribe().wait_for(|times| *times != cleared).await.is_ok();
                if passed { forward(client, &head, state, index, None).await? } else { Some(End::Reset) }
            }
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                forward(client, &head, state, index, None).await?
            }
            other => forward(client, &head, state, index, other).await?,
        };
        if let Some(end) = end {
            return Ok(end);
        }
    }
    Ok(End::Close)
}

/// Records a request and asks the rules; with how often these were cleared until then.
fn note(state: &State, head: &Head) -> (usize, Option<Fault>, u64) {
    let (method, target) = (head.word(0), decoded(head.word(1)));
    let mut rules = lock(&state.rules);
    let hits: Vec<Fault> = rules.iter_mut().filter_map(|rule| rule.meet(method, &target)).collect();
    let cleared = *state.cleared.borrow();
    drop(rules);
    let fault = hits.first().copied();
    let mut seen = lock(&state.seen);
    seen.push(Seen { method: method.to_owned(), target, fault, status: None });
    let index = seen.len() - 1;
    drop(seen);
    state.news.send_modify(|count| *count += 1);
    (index, fault, cleared)
}

/// S3's code where only the status matters.
fn code_of(status: u16) -> &'static str {
    match status {
        403 => "AccessDenied",
        500 => "InternalError",
        503 => "SlowDown",
        _ => "Fault",
    }
}

/// Answers for the server, after the request's body has been read: a client that is still sending sees no answer.
async fn refuse(client: &mut BufReader<TcpStream>, head: &Head, status: u16, code: &str) -> Result<Option<End>> {
    copy_body(client, &mut sink(), head.request_framing(), Change::default()).await?;
    let extra = if status == 503 { "Retry-After: 1\r\n" } else { "" };
    // A body that speaks of an error makes one of any status.
    let body = if status < 300 {
        String::new()
    } else {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>ordered by a test</Message></Error>")
    };
    let answer = format!(
        "HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\n{extra}Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(answer.as_bytes()).await?;
    if head.word(0) != "HEAD" {
        client.write_all(body.as_bytes()).await?;
    }
    client.flush().await?;
    Ok(None)
}

/// Passes a request on, over a connection of its own, and its answer back, broken as `fault` says.
async fn forward(
    client: &mut BufReader<TcpStream>,
    head: &Head,
    state: &State,
    index: usize,
    fault: Option<Fault>,
) -> Result<Option<End>> {
    let mut server = BufReader::new(TcpStream::connect(&state.target).await?);
    server.get_ref().set_nodelay(true)?;
    server.write_all(&head.raw).await?;
    copy_body(client, &mut server, head.request_framing(), Change::default()).await?;
    let answer = loop {
        let answer = read_head(&mut server).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        // An interim answer: the client has its own already.
        if answer.status() >= 200 {
            break answer;
        }
    };
    let framing = answer.response_framing(head.word(0));
    if fault == Some(Fault::LostReply) {
        copy_body(&mut server, &mut sink(), framing, Change::default()).await?;
        set_status(state, index, answer.status());
        return Ok(Some(End::Reset));
    }
    set_status(state, index, answer.status());
    client.write_all(&answer.raw).await?;
    let (change, end) = match fault {
        Some(Fault::ResetBody(bytes)) => (Change { flip: None, stop: Some(bytes) }, Some(End::Reset)),
        Some(Fault::Truncate(bytes)) => (Change { flip: None, stop: Some(bytes) }, Some(End::Close)),
        Some(Fault::Flip(offset)) => (Change { flip: Some(offset), stop: None }, None),
        _ => (Change::default(), None),
    };
    let whole = copy_body(&mut server, client, framing, change).await?;
    Ok(if whole { (framing == Framing::ToEnd).then_some(End::Close) } else { end })
}

fn set_status(state: &State, index: usize, status: u16) {
    lock(&state.seen)[index].status = Some(status);
    state.news.send_modify(|count| *count += 1);
}

fn count(seen: &[Seen], method: &str, part: &str) -> usize {
    seen.iter().filter(|seen| seen.method == method && seen.target.contains(part)).count()
}

/// Percent-decoded, as rules and tests write keys.
fn decoded(target: &str) -> String {
    let mut bytes = Vec::with_capacity(target.len());
    let mut rest = target.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = if first == b'%' { tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()) } else { None };
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
