//! Owns `Recorder`: an HTTP server that writes down what it is asked and answers as it is told: what notifiers talk to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::background;
use crate::proxy::http::read_head;

/// The longest body that is written down.
const LONGEST: u64 = 16 << 20;

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The value of `Authorization`, or nothing.
    pub authorization: String,
    /// The value of `Content-Type`, or nothing.
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// What requests get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This status, and no body.
    Status(u16),
    /// Nothing at all, for as long as the client waits.
    Silence,
}

#[derive(Debug)]
struct State {
    /// What the next requests get, before `always`.
    first: Vec<Answer>,
    always: Answer,
    requests: Vec<Request>,
}

/// A server on 127.0.0.1. Dropping it cuts every connection and frees the port.
#[derive(Debug)]
pub struct Recorder {
    port: u16,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

impl Recorder {
    /// Answers every request with `always`.
    pub async fn start(always: Answer) -> Recorder {
        Recorder::start_with(&[], always).await
    }

    /// Answers the first requests one by one, and all others with `always`.
    pub async fn start_with(first: &[Answer], always: Answer) -> Recorder {
        let state = Arc::new(Mutex::new(State { first: first.to_vec(), always, requests: Vec::new() }));
        let served = Arc::clone(&state);
        let (port, task) = background::run(async move {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listen on a free port");
            let port = listener.local_addr().expect("read the port").port();
            let task = background::runtime().spawn(accept(listener, served));
            (port, task.abort_handle())
        })
        .await;
        Recorder { port, state, task }
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What came so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }

    /// `POST /path` of what came so far, in order.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// Waits until so many requests came.
    ///
    /// # Panics
    /// After a minute.
    pub async fn wait_for(&self, count: usize) {
        let came = || async { (self.requests().len() >= count).then_some(()) };
        let waited = background::until(Duration::from_secs(60), came).await;
        assert!(waited.is_some(), "{count} requests expected, these came: {:?}", self.lines());
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Ends, and with it every connection, when the recorder is dropped.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A client that goes away has ended its own wait.
            let _gone = serve(stream, &state).await;
        });
    }
}

async fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_head(&mut stream).await? {
        let header = |name: &str| head.header(name).unwrap_or_default().to_owned();
        let length = header("content-length").parse::<u64>().unwrap_or_default();
        let mut body = Vec::new();
        (&mut stream).take(length.min(LONGEST)).read_to_end(&mut body).await?;
        let request = Request {
            method: head.word(0).to_owned(),
            path: head.word(1).to_owned(),
            authorization: header("authorization"),
            content_type: header("content-type"),
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        let answer = {
            let mut state = lock(state);
            state.requests.push(request);
            if state.first.is_empty() { state.always } else { state.first.remove(0) }
        };
        match answer {
            Answer::Silence => std::future::pending().await,
            Answer::Status(status) => {
                let head = format!("HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\n\r\n");
                stream.get_mut().write_all(head.as_bytes()).await?;
            }
        }
    }
    Ok(())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
