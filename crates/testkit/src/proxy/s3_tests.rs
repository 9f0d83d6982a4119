//! The proxy against a small server that counts what it gets and answers every request with the same body.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";

/// Its port, and how many requests it has read whole.
async fn server() -> (u16, Arc<AtomicUsize>) {
    let (listener, port) = listen().await;
    let done = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&done);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Ok(Some(head)) = read_head(&mut stream).await {
                    assert_eq!(head.header("host"), Some("signed:1"));
                    copy_body(&mut stream, &mut sink(), head.request_framing(), Change::default()).await.unwrap();
                    counter.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(ANSWER).await.unwrap();
                }
            });
        }
    });
    (port, done)
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn new(proxy: &S3) -> Client {
        Client(BufReader::new(TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()))
    }

    /// One request; the status and whatever of the body came before the connection ended.
    async fn ask(&mut self, method: &str, target: &str) -> Result<(u16, Vec<u8>)> {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: signed:1\r\nContent-Length: 3\r\n\r\nabc");
        self.0.write_all(request.as_bytes()).await?;
        let head = read_head(&mut self.0).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let mut body = Vec::new();
        if let Framing::Length(length) = head.response_framing(method) {
            (&mut self.0).take(length).read_to_end(&mut body).await?;
        }
        Ok((head.status(), body))
    }
}

#[tokio::test]
async fn passes_requests_of_one_connection_and_records_them() {
    let (port, done) = server().await;
    let proxy = S3::start(port).await;
    let mut client = Client::new(&proxy).await;
    for target in ["/b/one", "/b/t%20wo?x=%2F"] {
        assert_eq!(client.ask("PUT", target).await.unwrap(), (200, b"0123456789".to_vec()));
    }
    assert_eq!(done.load(Ordering::SeqCst), 2);
    assert_eq!((proxy.count("PUT", "t wo?x=/"), proxy.count("GET", "")), (1, 0));
    assert_eq!(proxy.seen()[0].status, Some(200));
}

#[tokio::test]
async fn a_rule_hits_the_nth_match_and_no_other() {
    let (port, done) = server().await;
    let proxy = S3::start(port).await;
    proxy.add(Rule::new(Fault::Status(503)).method("PUT").key("/chunks/").nth(2).times(2));
    let mut client = Client::new(&proxy).await;
    let mut statuses = Vec::new();
    for target in ["/b/chunks/1", "/b/lists/1", "/b/chunks/2", "/b/chunks/3", "/b/chunks/4"] {
        statuses.push(client.ask("PUT", target).await.unwrap().0);
    }
    assert_eq!(statuses, [200, 200, 503, 503, 200]);
    assert_eq!(done.load(Ordering::SeqCst), 3);
    proxy.add(Rule::new(Fault::Status(403)).always());
    assert_eq!(client.ask("GET", "/b/k").await.unwrap().0, 403);
    proxy.clear();
    assert_eq!(client.ask("GET", "/b/k").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_lost_reply_is_done_and_a_reset_is_not() {
    let (port, done) = server().await;
    let proxy = S3::start(port).await;
    proxy.add(Rule::new(Fault::LostReply));
    proxy.add(Rule::new(Fault::Reset).nth(2));
    assert!(Client::new(&proxy).await.ask("PUT", "/b/k").await.is_err());
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert!(Client::new(&proxy).await.ask("PUT", "/b/k").await.is_err());
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert_eq!(Client::new(&proxy).await.ask("PUT", "/b/k").await.unwrap().0, 200);
}

#[tokio::test]
async fn bodies_are_flipped_truncated_and_reset() {
    let (port, _) = server().await;
    let proxy = S3::start(port).await;
    proxy.add(Rule::new(Fault::Flip(9)));
    proxy.add(Rule::new(Fault::Truncate(4)).nth(2));
    proxy.add(Rule::new(Fault::ResetBody(4)).nth(3));
    let mut client = Client::new(&proxy).await;
    assert_eq!(client.ask("GET", "/b/k").await.unwrap().1, b"0123456788");
    assert_eq!(client.ask("GET", "/b/k").await.unwrap().1, b"0123");
    assert!(Client::new(&proxy).await.ask("GET", "/b/k").await.is_err());
}

#[tokio::test]
async fn a_stalled_request_hangs_until_the_proxy_is_dropped_and_a_delayed_one_comes() {
    let (port, done) = server().await;
    let proxy = S3::start(port).await;
    proxy.add(Rule::new(Fault::Delay(Duration::from_millis(20))));
    proxy.add(Rule::new(Fault::Stall).nth(2));
    let mut client = Client::new(&proxy).await;
    assert_eq!(client.ask("GET", "/b/k").await.unwrap().0, 200);
    let stalled = tokio::spawn(async move { client.ask("GET", "/b/k").await });
    proxy.wait_for("GET", "/b/k", 2).await;
    assert!(!stalled.is_finished());
    drop(proxy);
    assert!(stalled.await.unwrap().is_err());
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_held_request_comes_when_the_rules_are_cleared() {
    let (port, done) = server().await;
    let proxy = S3::start(port).await;
    proxy.add(Rule::new(Fault::Hold).always());
    let mut client = Client::new(&proxy).await;
    let held = tokio::spawn(async move { client.ask("GET", "/b/k").await });
    proxy.wait_for("GET", "/b/k", 1).await;
    assert_eq!((held.is_finished(), done.load(Ordering::SeqCst)), (false, 0));
    proxy.clear();
    assert_eq!(held.await.unwrap().unwrap().0, 200);
    assert_eq!(done.load(Ordering::SeqCst), 1);
}
