//! Owns proxies that stand between a client and a real server and break what passes, on command: `Tcp` for database
//! connections, `S3` for object stores. Both listen on 127.0.0.1 and run apart from the test's own runtime.

pub(crate) mod http;
mod s3;
mod tcp;

pub use s3::{Fault, Rule, S3, Seen};
pub use tcp::{Direction, Lost, Tcp};

use tokio::net::{TcpListener, TcpStream};

/// A listener on a free port, and the port.
async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listen on a free port");
    let port = listener.local_addr().expect("read the port").port();
    (listener, port)
}

/// Ends a connection with a reset rather than an orderly close: unread data is lost on both sides.
fn reset(stream: TcpStream) {
    // Fails only on a socket that is already gone.
    drop(stream.set_zero_linger());
    drop(stream);
}
