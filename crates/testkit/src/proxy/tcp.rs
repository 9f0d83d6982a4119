//! Owns `Tcp`: a proxy in front of any TCP server that passes bytes until it is told to cut, stall or refuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{listen, reset};
use crate::background;

const BUFFER: usize = 16 << 10;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the client sends.
    ToServer,
    /// What the server sends.
    ToClient,
}

#[derive(Clone, Debug, Default)]
struct Orders {
    stalled: bool,
    refusing: bool,
    /// Connections of an earlier generation are cut.
    generation: u64,
    /// All connections are cut when the total of a direction reaches this.
    cut_at: [Option<u64>; 2],
    /// All connections are cut when a client says this: before the server gets it, or before the client gets an answer.
    cut_words: Option<(Vec<u8>, Lost)>,
    /// Everything is held back when a client says this, before the server gets it.
    hold_words: Option<Vec<u8>>,
}

/// What is lost when connections are cut at words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The server never hears them.
    Words,
    /// The server hears and answers them, and the client never learns.
    Answer,
}

#[derive(Debug)]
struct State {
    orders: watch::Sender<Orders>,
    passed: [AtomicU64; 2],
    /// Bumped with `passed`, for those who wait for bytes.
    progress: watch::Sender<u64>,
    accepted: AtomicU64,
}

/// A proxy in front of one server. Dropping it cuts every connection and frees the port.
#[derive(Debug)]
pub struct Tcp {
    port: u16,
    state: Arc<State>,
    accepting: AbortHandle,
}

impl Tcp {
    /// Starts a proxy that passes everything on to `host:port`.
    pub async fn start(host: &str, port: u16) -> Tcp {
        let target = format!("{host}:{port}");
        background::run(async move {
            let (listener, port) = listen().await;
            let state = Arc::new(State {
                orders: watch::channel(Orders::default()).0,
                passed: [AtomicU64::new(0), AtomicU64::new(0)],
                progress: watch::channel(0).0,
                accepted: AtomicU64::new(0),
            });
            let accepting = tokio::spawn(accept(listener, target, Arc::clone(&state))).abort_handle();
            Tcp { port, state, accepting }
        })
        .await
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Passes bytes and takes connections again, after any other order. What was cut stays cut.
    pub fn pass(&self) {
        self.order(|orders| {
            *orders = Orders { generation: orders.generation, ..Orders::default() };
        });
    }

    /// Cuts all present connections now, with a reset to both sides. New ones pass.
    pub fn cut(&self) {
        self.order(|orders| orders.generation += 1);
    }

    /// Cuts all connections, with a reset, once `bytes` more have passed in `direction`, counted over all connections.
    /// Exactly so many pass. New connections pass afterwards.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.order(|orders| orders.cut_at[direction as usize] = Some(self.passed(direction) + bytes));
    }

    /// Cuts all connections, with a reset, once a client says `words` within one write of at most 16 KiB. New connections pass
    /// afterwards.
    pub fn cut_at(&self, words: &str, lost: Lost) {
        self.order(|orders| orders.cut_words = Some((words.as_bytes().to_vec(), lost)));
    }

    /// Holds all bytes back, as `stall`, once a client says `words` within one write of at most 16 KiB; they are the first that wait.
    pub fn hold_at(&self, words: &str) {
        self.order(|orders| orders.hold_words = Some(words.as_bytes().to_vec()));
    }

    /// Whether the words of `cut_at` or `hold_at` have not been said yet.
    pub fn waits_for_words(&self) -> bool {
        let orders = self.state.orders.borrow();
        orders.cut_words.is_some() || orders.hold_words.is_some()
    }

    /// Holds all bytes back, both ways, on present and new connections, until `pass` or `cut`.
    pub fn stall(&self) {
        self.order(|orders| orders.stalled = true);
    }

    /// Resets every new connection at once; present ones go on.
    pub fn refuse(&self) {
        self.order(|orders| orders.refusing = true);
    }

    /// Bytes passed in a direction since the start.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.state.passed[direction as usize].load(Ordering::SeqCst)
    }

    /// Connections taken since the start, refused ones included.
    pub fn connections(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Waits until `bytes` have passed in a direction since the start.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    pub async fn wait_for_bytes(&self, direction: Direction, bytes: u64) {
        let mut progress = self.state.progress.subscribe();
        let enough = progress.wait_for(|_| self.passed(direction) >= bytes);
        let waited = tokio::time::timeout(Duration::from_secs(60), enough).await;
        assert!(waited.is_ok(), "only {} of {bytes} bytes passed {direction:?} in a minute", self.passed(direction));
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.state.orders.send_modify(change);
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: String, state: Arc<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        state.accepted.fetch_add(1, Ordering::SeqCst);
        if state.orders.borrow().refusing {
            reset(client);
            continue;
        }
        tokio::spawn(serve(client, target.clone(), Arc::clone(&state)));
    }
}

async fn serve(mut client: TcpStream, target: String, state: Arc<State>) {
    let generation = state.orders.borrow().generation;
    let Ok(mut server) = TcpStream::connect(&target).await else { return reset(client) };
    // Small messages go out as they come: the proxy must not change a protocol's timing much.
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let ended = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let said = AtomicBool::new(false);
        tokio::try_join!(
            copy(client_reads, server_writes, Direction::ToServer, generation, &state, &said),
            copy(server_reads, client_writes, Direction::ToClient, generation, &state, &said),
        )
    };
    if ended.is_err() {
        reset(client);
        reset(server);
    }
}

/// The connection is to be cut, or has broken by itself.
struct Cut;

/// Copies one direction to its end, then closes that direction only.
async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    generation: u64,
    state: &State,
    said: &AtomicBool,
) -> Result<(), Cut> {
    let mut orders = state.orders.subscribe();
    let mut buffer = vec![0; BUFFER];
    loop {
        may_pass(&mut orders, generation).await?;
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.map_err(|_| Cut)?,
            _ = orders.changed() => continue,
        };
        if read == 0 {
            return to.shutdown().await.map_err(|_| Cut);
        }
        // An order may have come while these bytes were read: they are held back too.
        may_pass(&mut orders, generation).await?;
        words(state, direction, &buffer[..read], said)?;
        if holds(state, direction, &buffer[..read]) {
            may_pass(&mut orders, generation).await?;
        }
        let (grant, last) = grant(state, direction, read);
        to.write_all(&buffer[..grant]).await.map_err(|_| Cut)?;
        state.progress.send_modify(|count| *count += 1);
        if last {
            to.flush().await.map_err(|_| Cut)?;
            state.orders.send_modify(|orders| {
                orders.generation += 1;
                orders.cut_at[direction as usize] = None;
            });
            return Err(Cut);
        }
    }
}

async fn may_pass(orders: &mut watch::Receiver<Orders>, generation: u64) -> Result<(), Cut> {
    let now = orders.wait_for(|orders| !orders.stalled || orders.generation != generation).await.map_err(|_| Cut)?;
    if now.generation == generation { Ok(()) } else { Err(Cut) }
}

/// Looks for the words of `hold_at` in what a client says, and holds everything back from there on.
fn holds(state: &State, direction: Direction, bytes: &[u8]) -> bool {
    let Some(words) = state.orders.borrow().hold_words.clone() else { return false };
    let found = direction == Direction::ToServer && says(bytes, &words);
    if found {
        state.orders.send_modify(|orders| {
            orders.stalled = true;
            orders.hold_words = None;
        });
    }
    found
}

fn says(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len().max(1)).any(|window| window == words)
}

/// Looks for the words of `cut_at` in what a client says, and cuts there or before the first answer to them.
fn words(state: &State, direction: Direction, bytes: &[u8], said: &AtomicBool) -> Result<(), Cut> {
    let order = state.orders.borrow().cut_words.clone();
    let Some((words, lost)) = order else { return Ok(()) };
    let cut = match direction {
        Direction::ToServer => {
            let found = says(bytes, &words);
            said.fetch_or(found, Ordering::SeqCst);
            found && lost == Lost::Words
        }
        Direction::ToClient => said.load(Ordering::SeqCst),
    };
    if !cut {
        return Ok(());
    }
    state.orders.send_modify(|orders| {
        orders.generation += 1;
        orders.cut_words = None;
    });
    Err(Cut)
}

/// How many of `read` bytes may pass, and whether they are the last ones before a cut.
fn grant(state: &State, direction: Direction, read: usize) -> (usize, bool) {
    let orders = state.orders.borrow();
    let passed = &state.passed[direction as usize];
    let before = passed.load(Ordering::SeqCst);
    let room = orders.cut_at[direction as usize].map_or(u64::MAX, |at| at.saturating_sub(before));
    let granted = (read as u64).min(room);
    passed.fetch_add(granted, Ordering::SeqCst);
    (usize::try_from(granted).unwrap_or(read), granted == room)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets; its port.
    async fn echo() -> u16 {
        let (listener, port) = listen().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    tokio::io::copy(&mut reads, &mut writes).await
                });
            }
        });
        port
    }

    async fn through(proxy: &Tcp) -> TcpStream {
        TcpStream::connect(proxy.address()).await.unwrap()
    }

    async fn say(stream: &mut TcpStream, words: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(words).await?;
        let mut answer = vec![0; words.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn passes_then_cuts_then_passes_new_connections() {
        let proxy = Tcp::start("127.0.0.1", echo().await).await;
        let mut one = through(&proxy).await;
        assert_eq!(say(&mut one, b"hello").await.unwrap(), b"hello");
        proxy.cut();
        assert!(say(&mut one, b"again").await.is_err());
        assert_eq!(say(&mut through(&proxy).await, b"new").await.unwrap(), b"new");
        assert_eq!(proxy.connections(), 2);
    }

    #[tokio::test]
    async fn cuts_after_exactly_so_many_bytes() {
        let proxy = Tcp::start("127.0.0.1", echo().await).await;
        let mut one = through(&proxy).await;
        assert_eq!(say(&mut one, b"0123456789").await.unwrap(), b"0123456789");
        proxy.cut_after(Direction::ToServer, 5);
        let before = proxy.passed(Direction::ToServer);
        assert!(say(&mut one, b"0123456789").await.is_err());
        assert_eq!(proxy.passed(Direction::ToServer), before + 5);
        assert_eq!(say(&mut through(&proxy).await, b"0123456789").await.unwrap(), b"0123456789");
    }

    #[tokio::test]
    async fn holds_everything_from_words_on() {
        let proxy = Tcp::start("127.0.0.1", echo().await).await;
        let mut one = through(&proxy).await;
        proxy.hold_at("stop");
        assert_eq!(say(&mut one, b"go").await.unwrap(), b"go");
        assert!(proxy.waits_for_words());
        let passed = proxy.passed(Direction::ToServer);
        one.write_all(b"now stop").await.unwrap();
        let mut answer = [0; 8];
        let held = tokio::select! {
            biased;
            _ = one.read_exact(&mut answer) => false,
            () = async { while proxy.waits_for_words() { tokio::task::yield_now().await } } => true,
        };
        assert!(held);
        assert_eq!(proxy.passed(Direction::ToServer), passed);
        proxy.pass();
        one.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"now stop");
    }

    #[tokio::test]
    async fn cuts_at_words_or_at_the_answer_to_them() {
        let proxy = Tcp::start("127.0.0.1", echo().await).await;
        for lost in [Lost::Words, Lost::Answer] {
            let (mut one, mut other) = (through(&proxy).await, through(&proxy).await);
            proxy.cut_at("COMMIT", lost);
            assert_eq!(say(&mut one, b"BEGIN").await.unwrap(), b"BEGIN");
            assert!(proxy.waits_for_words());
            let before = proxy.passed(Direction::ToServer);
            assert!(say(&mut one, b"COMMIT").await.is_err());
            assert!(say(&mut other, b"a").await.is_err() && !proxy.waits_for_words());
            assert_eq!(proxy.passed(Direction::ToServer) - before, if lost == Lost::Answer { 6 } else { 0 });
            assert_eq!(say(&mut through(&proxy).await, b"COMMIT").await.unwrap(), b"COMMIT");
        }
    }

    #[tokio::test]
    async fn stalls_until_told_to_pass() {
        let proxy = Tcp::start("127.0.0.1", echo().await).await;
        let mut one = through(&proxy).await;
        assert_eq!(say(&mut one, b"a").await.unwrap(), b"a");
        proxy.stall();
        let held = tokio::time::timeout(Duration::from_millis(200), say(&mut one, b"b")).await;
        assert!(held.is_err());
        assert_eq!(proxy.passed(Direction::ToServer), 1);
        proxy.pass();
        let mut answer = [0];
        one.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"b");
    }

    #[tokio::test]
    async fn refuses_new_connections_only() {
        let proxy = Tcp::start("127.0.0.1", echo().await).await;
        let mut one = through(&proxy).await;
        assert_eq!(say(&mut one, b"a").await.unwrap(), b"a");
        proxy.refuse();
        // The reset may arrive while the client still connects, or only with its first words: both are a refusal.
        let refused = async { say(&mut TcpStream::connect(proxy.address()).await?, b"b").await };
        assert!(refused.await.is_err());
        assert_eq!(say(&mut one, b"c").await.unwrap(), b"c");
    }

    #[tokio::test]
    async fn passes_a_half_close() {
        let proxy = Tcp::start("127.0.0.1", echo().await).await;
        let mut one = through(&proxy).await;
        one.write_all(b"all of it").await.unwrap();
        one.shutdown().await.unwrap();
        let mut answer = Vec::new();
        one.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"all of it");
    }
}
