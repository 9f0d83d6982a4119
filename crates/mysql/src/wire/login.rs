//! Logging in: from the server's greeting to the first command.
//!
//! Owns the exchange of what both sides can (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>) and the two ways to prove a password that the
//! driver knows as well: `mysql_native_password`, and `caching_sha2_password` with everything that belongs to it. Promises that a password is never sent but encrypted, by
//! TLS or by the server's key, or over a local socket, and that it is proven once: what the server says to that is final. Refuses, before or instead of proving anything,
//! every other way and every server without the protocol of 4.1: that is for the driver to try.

use super::packets::{Packets, unexpected};
use super::stream::{self, Socket};
use super::{ERR, OK, refusal};
use crate::endpoint::{Endpoint, MOST_PACKET};
use mysql_async::consts::CapabilityFlags;
use mysql_async::{DriverError, Error};
use mysql_common::collations::CollationId;
use mysql_common::crypto;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use zeroize::Zeroizing;

/// The server names another way to prove the password.
const SWITCH: u8 = 0xfe;
/// A step of the way that both are on.
const MORE: u8 = 0x01;
/// Steps of `caching_sha2_password` (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html>).
const KNOWN_ALREADY: u8 = 0x03;
const PASSWORD_WANTED: u8 = 0x04;
const KEY_WANTED: u8 = 0x02;
/// Bytes of what the server wants mixed with the password.
const NONCE: usize = 20;
/// More steps than any login has.
const MOST_STEPS: usize = 8;

type Stream = Packets<Box<dyn Socket>>;

/// Nothing else: answers end as they always have, and no file of ours can be asked for.
pub(super) fn wanted() -> CapabilityFlags {
    needed()
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_TRANSACTIONS
}

fn needed() -> CapabilityFlags {
    CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
}

/// What the server's greeting says, as far as it matters.
struct Greeting {
    /// What both sides can.
    capabilities: CapabilityFlags,
    offers_tls: bool,
    version: (u16, u16, u16),
    nonce: Vec<u8>,
    plugin: Plugin,
}

/// A way to prove a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plugin {
    Native,
    CachingSha2,
}

impl Plugin {
    fn of(name: &AuthPlugin<'_>) -> Option<Self> {
        match name {
            AuthPlugin::MysqlNativePassword => Some(Self::Native),
            AuthPlugin::CachingSha2Password => Some(Self::CachingSha2),
            _ => None,
        }
    }

    fn name(self) -> AuthPlugin<'static> {
        match self {
            Self::Native => AuthPlugin::MysqlNativePassword,
            Self::CachingSha2 => AuthPlugin::CachingSha2Password,
        }
    }

    /// The password mixed with the server's bytes; nothing without a password.
    fn proof(self, endpoint: &Endpoint, nonce: &[u8]) -> Vec<u8> {
        self.name().gen_data(password(endpoint), nonce).map(|proof| proof.to_vec()).unwrap_or_default()
    }
}

fn password(endpoint: &Endpoint) -> Option<&str> {
    endpoint.password.as_ref().map(|password| password.as_str())
}

/// Logs in on a fresh connection.
///
/// # Errors
/// [`Error::Server`] when the server says no, which is final; [`Error::Driver`] for what only the driver may know.
pub(super) async fn login(mut packets: Stream, endpoint: &Endpoint, encrypted: bool) -> Result<Stream, Error> {
    let mut greeting = greeting(packets.next().await?)?;
    let private = encrypted || endpoint.socket.is_some();
    if encrypted {
        packets = encrypt(packets, endpoint, &mut greeting).await?;
    }
    let proof = greeting.plugin.proof(endpoint, &greeting.nonce);
    let response = HandshakeResponse::new(
        Some(proof),
        greeting.version,
        Some(endpoint.user.as_bytes()),
        None::<&[u8]>,
        Some(greeting.plugin.name()),
        greeting.capabilities,
        None,
        MOST_PACKET_SAID,
    );
    packets.send(&serialized(&response)).await?;
    prove(&mut packets, endpoint, greeting, private).await?;
    Ok(packets)
}

/// What we say that we take in one message, in bytes.
const MOST_PACKET_SAID: u32 = MOST_PACKET as u32;

fn serialized(message: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.serialize(&mut bytes);
    bytes
}

fn greeting(message: &[u8]) -> Result<Greeting, Error> {
    if message.first() == Some(&ERR) {
        // Nobody has said yet what they can: no state comes with an error.
        return Err(refusal(message, CapabilityFlags::empty()));
    }
    let packet = ParseBuf(message).parse::<HandshakePacket<'_>>(()).map_err(|_| unexpected())?;
    if !packet.capabilities().contains(needed()) {
        return Err(unexpected());
    }
    let mut nonce = packet.nonce();
    nonce.resize(NONCE, 0);
    Ok(Greeting {
        capabilities: packet.capabilities() & wanted(),
        offers_tls: packet.capabilities().contains(CapabilityFlags::CLIENT_SSL),
        version: packet.maria_db_server_version_parsed().or_else(|| packet.server_version_parsed()).unwrap_or_default(),
        nonce,
        // The account's own way may be another one, which the server then names.
        plugin: packet.auth_plugin().as_ref().and_then(Plugin::of).unwrap_or(Plugin::Native),
    })
}

async fn encrypt(mut packets: Stream, endpoint: &Endpoint, greeting: &mut Greeting) -> Result<Stream, Error> {
    if !greeting.offers_tls {
        return Err(Error::Driver(DriverError::NoClientSslFlagFromServer));
    }
    greeting.capabilities |= CapabilityFlags::CLIENT_SSL;
    let request = SslRequest::new(greeting.capabilities, MOST_PACKET_SAID, CollationId::UTF8MB4_GENERAL_CI as u8);
    packets.send(&serialized(&request)).await?;
    let (stream, sequence) = packets.into_stream()?;
    Ok(Packets::new(stream::encrypt(stream, endpoint).await?).counting_from(sequence))
}

/// Goes on until the server is content.
async fn prove(packets: &mut Stream, endpoint: &Endpoint, greeting: Greeting, private: bool) -> Result<(), Error> {
    let Greeting { mut nonce, mut plugin, .. } = greeting;
    let mut switched = false;
    for _ in 0..MOST_STEPS {
        let message = packets.next().await?;
        match message {
            [OK, ..] => return Ok(()),
            [ERR, ..] => return Err(refusal(message, CapabilityFlags::CLIENT_PROTOCOL_41)),
            [SWITCH, ..] if !switched => {
                switched = true;
                (plugin, nonce) = other_way(message)?;
                packets.send(&plugin.proof(endpoint, &nonce)).await?;
            }
            [MORE, KNOWN_ALREADY] if plugin == Plugin::CachingSha2 => {}
            [MORE, PASSWORD_WANTED] if plugin == Plugin::CachingSha2 => {
                hand_over(packets, endpoint, &nonce, private).await?;
            }
            _ => return Err(unexpected()),
        }
    }
    Err(unexpected())
}

/// Nothing has been proven by this way yet, so that the driver can still try.
fn other_way(message: &[u8]) -> Result<(Plugin, Vec<u8>), Error> {
    let request = ParseBuf(message).parse::<AuthSwitchRequest<'_>>(()).map_err(|_| unexpected())?;
    let named = request.auth_plugin();
    let plugin = Plugin::of(&named).ok_or_else(|| {
        let name = String::from_utf8_lossy(named.as_bytes()).into_owned();
        Error::Driver(DriverError::UnknownAuthPlugin { name })
    })?;
    Ok((plugin, request.plugin_data().to_vec()))
}

/// Gives the server the password itself: in the clear where nobody can listen, else encrypted with a key that it is asked for.
async fn hand_over(packets: &mut Stream, endpoint: &Endpoint, nonce: &[u8], private: bool) -> Result<(), Error> {
    let mut secret = Zeroizing::new(Vec::from(password(endpoint).unwrap_or_default()));
    secret.push(0);
    if private {
        return packets.send(&secret).await;
    }
    packets.send(&[KEY_WANTED]).await?;
    let key = match packets.next().await? {
        [MORE, key @ ..] => key.to_vec(),
        message @ [ERR, ..] => return Err(refusal(message, CapabilityFlags::CLIENT_PROTOCOL_41)),
        _ => return Err(unexpected()),
    };
    for (byte, other) in secret.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= other;
    }
    // What is no key makes the function panic; in a task of its own that is an error. It also takes a while.
    let encrypting = tokio::task::spawn_blocking(move || crypto::encrypt(&secret, &key));
    packets.send(&encrypting.await.map_err(|_| unexpected())?).await
}
