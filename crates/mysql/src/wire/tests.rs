//! Sessions with servers that are played: what servers say only when something is wrong, and what is said to them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::packets::Packets;
use super::*;
use crate::link::{self, Link};
use mysql_async::consts::StatusFlags;
use mysql_common::packets::{AuthPlugin, HandshakePacket};
use mysql_common::proto::MySerialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const END: &[u8] = b"\xfe\0\0\x02\0";
const DONE: &[u8] = b"\0\0\0\x02\0\0\0";
const DEFINITION: &[u8] = b"\x03def and more";

fn refused(code: u16, message: &str) -> Vec<u8> {
    [&[ERR][..], &code.to_le_bytes(), b"#HY000", message.as_bytes()].concat()
}

/// Answers as they come to a command.
fn answers(messages: &[&[u8]]) -> Vec<u8> {
    let framed = |(at, message): (usize, &&[u8])| {
        let length = u32::try_from(message.len()).unwrap().to_le_bytes();
        [&length[..3], &[u8::try_from(at + 1).unwrap()], message].concat()
    };
    messages.iter().enumerate().flat_map(framed).collect()
}

/// A session whose server has said this already.
async fn hearing(bytes: &[u8]) -> (Wire, DuplexStream) {
    let (ours, mut theirs) = duplex(1 << 20);
    theirs.write_all(bytes).await.unwrap();
    (Wire { packets: Packets::new(Box::new(ours)), columns: None }, theirs)
}

fn rows_of_two(last: &[u8]) -> Vec<u8> {
    answers(&[b"\x02", DEFINITION, DEFINITION, END, b"\x01a\xfb", b"\x02\tb\0", last])
}

/// Lines until the end, and the error that was it.
async fn read(wire: &mut Wire) -> (Vec<Vec<u8>>, Result<(), Error>) {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    if let Err(error) = wire.select(b"SELECT").await {
        return (lines, Err(error));
    }
    loop {
        line.clear();
        match wire.next_line(&mut line).await {
            Ok(true) => lines.push(line.clone()),
            Ok(false) => return (lines, Ok(())),
            Err(error) => return (lines, Err(error)),
        }
    }
}

#[tokio::test]
async fn rows_come_as_lines_and_the_session_goes_on() {
    let (mut wire, mut server) = hearing(&rows_of_two(END)).await;
    for _ in 0..2 {
        let (lines, end) = read(&mut wire).await;
        end.unwrap();
        assert_eq!(lines, [&b"a\t\\N"[..], b"\\tb\t"]);
        server.write_all(&rows_of_two(END)).await.unwrap();
    }
    // Whoever asks something else lets the rest pass.
    wire.select(b"SELECT").await.unwrap();
    server.write_all(&answers(&[DONE])).await.unwrap();
    wire.run(b"SET x = 1").await.unwrap();
}

/// An answer that is cut short anywhere must not look like one that ended.
#[tokio::test]
async fn an_answer_cut_anywhere_is_an_error() {
    let bytes = rows_of_two(END);
    let rows = [&b"a\t\\N"[..], b"\\tb\t"];
    let mut most = 0;
    for cut in 0..bytes.len() {
        let (mut wire, mut server) = hearing(&bytes[..cut]).await;
        // It still listens: what is missing is the answer.
        server.shutdown().await.unwrap();
        let (lines, end) = read(&mut wire).await;
        assert!(matches!(end, Err(Error::Io(_))), "{cut}: {end:?}");
        assert_eq!(lines, rows[..lines.len()], "{cut}");
        most = most.max(lines.len());
        let again = wire.run(b"SELECT").await;
        assert!(again.is_err(), "{cut}");
    }
    assert_eq!(most, rows.len());
}

#[tokio::test]
async fn an_error_between_rows_is_the_servers() {
    let (mut wire, mut server) = hearing(&rows_of_two(&refused(1317, "Query execution was interrupted"))).await;
    let (lines, end) = read(&mut wire).await;
    assert_eq!(lines.len(), 2);
    let Err(Error::Server(said)) = end else { panic!("{end:?}") };
    assert_eq!((said.code, said.message.as_str()), (1317, "Query execution was interrupted"));
    server.write_all(&answers(&[DONE])).await.unwrap();
    wire.run(b"ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn what_is_no_answer_ends_the_session() {
    let file = b"\xfb/etc/passwd";
    let more = b"\xfe\0\0\x08\0";
    for messages in [
        &[&file[..]][..],
        &[DONE],
        &[b""],
        &[b"\xff"],
        &[b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"],
        &[b"\xfd\xff\xff\xff"],
        &[b"\x01\x01"],
        &[b"\x01", DEFINITION, DEFINITION],
        &[b"\x01", DEFINITION, END, more],
        &[b"\x01", DEFINITION, END, b"\xfe\0\0"],
        &[b"\x01", DEFINITION, END, b""],
        &[b"\x01", DEFINITION, END, b"\x05half"],
        &[b"\x01", DEFINITION, END, b"\x01ab"],
        &[b"\x01", DEFINITION, END, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff"],
    ] {
        let (mut wire, mut server) = hearing(&answers(messages)).await;
        let (lines, end) = read(&mut wire).await;
        assert!(lines.is_empty() && matches!(end, Err(Error::Driver(_))), "{messages:x?}: {end:?}");
        drop(wire);
        let mut said = Vec::new();
        server.read_to_end(&mut said).await.unwrap();
        assert!(said.starts_with(b"\x07\0\0\0\x03SELECT"), "{said:x?}");
        assert!(said.len() <= 11 + 5, "only a goodbye may follow: {said:x?}");
    }
}

#[tokio::test]
async fn who_leaves_says_so_unless_an_answer_is_under_way() {
    let (wire, mut server) = hearing(b"").await;
    drop(wire);
    let mut said = Vec::new();
    server.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"\x01\0\0\0\x01");

    let (mut wire, mut server) = hearing(&answers(&[b"\x01", DEFINITION, END, b"\x01a"])).await;
    wire.select(b"SELECT").await.unwrap();
    drop(wire);
    let mut said = Vec::new();
    server.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"\x07\0\0\0\x03SELECT");
}

/// What a played server does on a connection.
enum Step {
    Say(Vec<u8>),
    Hear,
}
use Step::{Hear, Say};

type Heard = Vec<Vec<Vec<u8>>>;

/// Plays one connection after the other, and gives what each client said. Whoever comes once more finds nobody.
async fn play(scripts: Vec<Vec<Step>>) -> (Endpoint, JoinHandle<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mysql://ann:secret-word@{}/d?ssl-mode=disabled", listener.local_addr().unwrap());
    let playing = tokio::spawn(async move {
        let mut heard = Vec::new();
        for script in scripts {
            let mut packets = Packets::new(listener.accept().await.unwrap().0);
            let mut messages = Vec::new();
            for step in script {
                match step {
                    Say(message) => packets.send(&message).await.unwrap(),
                    Hear => messages.push(packets.next().await.unwrap().to_vec()),
                }
            }
            heard.push(messages);
        }
        heard
    });
    (Endpoint::parse(&url, None).unwrap(), playing)
}

fn nonce() -> Vec<u8> {
    (1..=20).collect()
}

fn hello(plugin: &str) -> Vec<u8> {
    let capabilities = CapabilityFlags::all();
    let (first, second) = ([1, 2, 3, 4, 5, 6, 7, 8], (9..=20).chain([0]).collect::<Vec<u8>>());
    let status = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
    let (version, plugin) = ("8.0.30", Some(plugin.as_bytes()));
    let mut bytes = Vec::new();
    HandshakePacket::new(10, version.as_bytes(), 7, first, Some(second), capabilities, 45, status, plugin)
        .serialize(&mut bytes);
    bytes
}

fn switch(plugin: &str) -> Vec<u8> {
    [b"\xfe", plugin.as_bytes(), b"\0", &nonce(), b"\0"].concat()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn an_account_that_proves_itself_another_way_is_the_drivers() {
    let (native, unknown) = ("mysql_native_password", switch("dialog"));
    let raw = vec![Say(hello(native)), Hear, Say(unknown)];
    let driver = vec![Say(hello(native)), Hear, Say(DONE.to_vec())];
    let (endpoint, playing) = play(vec![raw, driver]).await;
    let link = link::for_rows(&endpoint).await.unwrap();
    assert!(matches!(link, Link::Driver(_)));
    assert_eq!(playing.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_greets_in_another_way_is_the_drivers() {
    let (endpoint, playing) = play(vec![vec![Say(b"\x0b nothing known".to_vec())]]).await;
    let error = Wire::connect(&endpoint, false).await.err().unwrap();
    assert!(is_for_the_driver(&error), "{error}");
    assert_eq!(playing.await.unwrap()[0].len(), 0);
}

/// A second login with the same password could lock an account.
#[tokio::test]
async fn a_login_that_is_refused_is_refused_once() {
    for plugin in ["mysql_native_password", "caching_sha2_password"] {
        let script = vec![Say(hello(plugin)), Hear, Say(refused(1045, "Access denied for user 'ann'"))];
        let (endpoint, playing) = play(vec![script]).await;
        let error = link::for_rows(&endpoint).await.err().unwrap();
        assert!(matches!(&error, Error::Server(said) if said.code == 1045), "{error}");
        assert_eq!(playing.await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_goes_away_is_asked_once() {
    let (endpoint, playing) = play(vec![vec![Say(hello("caching_sha2_password")), Hear]]).await;
    let error = link::for_rows(&endpoint).await.err().unwrap();
    assert!(matches!(error, Error::Io(_)), "{error}");
    assert_eq!(playing.await.unwrap().len(), 1);
    let full = vec![Say([&[ERR][..], &1040_u16.to_le_bytes(), b"Too many connections"].concat())];
    let (endpoint, _playing) = play(vec![full]).await;
    let error = link::for_rows(&endpoint).await.err().unwrap();
    assert!(
        matches!(&error, Error::Server(said) if said.code == 1040 && said.message == "Too many connections"),
        "{error}"
    );
}

#[tokio::test]
async fn passwords_are_proven_in_the_way_that_the_server_names() {
    for (first, second) in
        [("mysql_native_password", "caching_sha2_password"), ("caching_sha2_password", "mysql_native_password")]
    {
        let script = vec![Say(hello(first)), Hear, Say(switch(second)), Hear, Say(DONE.to_vec())];
        let (endpoint, playing) = play(vec![script]).await;
        let link = link::for_rows(&endpoint).await.unwrap();
        assert!(matches!(link, Link::Wire(_)));
        let heard = playing.await.unwrap().remove(0);
        let said = u32::from_le_bytes(*heard[0].first_chunk().unwrap());
        // Nothing that would change what answers look like, no TLS where there is none, none of our files.
        assert_eq!(CapabilityFlags::from_bits_truncate(said), login::wanted());
        let proof = |name: &str| {
            let plugin = ParseBuf(name.as_bytes()).parse::<AuthPlugin<'_>>(()).unwrap();
            plugin.gen_data(Some("secret-word"), &nonce()).unwrap().to_vec()
        };
        assert!(contains(&heard[0], &proof(first)) && contains(&heard[0], first.as_bytes()));
        assert_eq!(heard[1], proof(second));
    }
}

/// Over a connection that anybody can listen to the password itself goes only under the server's key, and what is no key gets nothing.
#[tokio::test]
async fn a_password_is_not_sent_in_the_clear() {
    for key in ["no key at all", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", ""] {
        let wants = [MORE, 0x04].to_vec();
        let answer = [&[MORE], key.as_bytes()].concat();
        let script = vec![Say(hello("caching_sha2_password")), Hear, Say(wants), Hear, Say(answer)];
        let (endpoint, playing) = play(vec![script]).await;
        let error = Wire::connect(&endpoint, false).await.err().unwrap();
        assert!(is_for_the_driver(&error), "{error}");
        let heard = playing.await.unwrap().remove(0);
        assert_eq!(heard[1], [0x02]);
        assert!(!heard.iter().any(|message| contains(message, b"secret-word")));
    }
}
const MORE: u8 = 0x01;

/// A session is for as long as the protocol's steps: endless ones are cut.
#[tokio::test]
async fn a_login_without_end_is_ended() {
    let endless = (0..20).map(|_| Say([MORE, 0x03].to_vec()));
    let script = [Say(hello("caching_sha2_password")), Hear].into_iter().chain(endless).collect();
    let (endpoint, _playing) = play(vec![script]).await;
    assert!(Wire::connect(&endpoint, false).await.is_err());
}

/// What somebody puts in before encryption begins would else be taken for the server's.
#[tokio::test]
async fn nothing_is_taken_over_into_encryption() {
    let (ours, mut theirs) = duplex(1 << 10);
    let two = [&b"\x01\0\0\0a"[..], b"\x01\0\0\x02b"].concat();
    theirs.write_all(&two).await.unwrap();
    let mut packets = Packets::new(ours);
    packets.next().await.unwrap();
    assert!(packets.into_stream().is_err());
}
