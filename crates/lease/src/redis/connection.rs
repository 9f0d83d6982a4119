//! Connections to Redis: where to, how encrypted, and what the server's errors mean.
//!
//! Owns the URL and the stream. Promises that no error and no `Debug` shows the password, that every wait has a limit, and that a
//! certificate is checked against the system's authorities or the one that is named: TLS that asks nobody's identity would
//! hand the password to whoever listens. Refuses parameters that it does not know.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::address::decode;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisConnectionInfo, RedisError, ServerErrorKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;
use zeroize::Zeroizing;

use crate::Error;

/// From the first packet to a session that is logged in, and for each answer.
const PATIENCE: Duration = Duration::from_secs(5);
const FORM: &str =
    "write redis://USER@HOST:PORT/DATABASE, or rediss:// with TLS, and the password in a file of its own";

/// Where a server is and who we are there.
pub(super) struct Target {
    host: String,
    port: u16,
    /// Authorities to check the server with; `None` without TLS.
    tls: Option<Authorities>,
    database: i64,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    location: String,
}

/// Whose word counts about who the server is.
enum Authorities {
    System,
    File(PathBuf),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Target {
    pub(super) fn parse(url: &str, password: Option<&str>) -> Result<Target, Error> {
        let bad = |what: &str| Error::config(format!("the lease's URL {what}")).advise(FORM);
        let parsed = Url::parse(url).map_err(|error| bad(&format!("cannot be read: {error}")))?;
        let mut tls = match parsed.scheme() {
            "redis" => None,
            "rediss" => Some(Authorities::System),
            _ => return Err(bad("is none of a Redis server")),
        };
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let database = match parsed.path().trim_matches('/') {
            "" => 0,
            text => text.parse().map_err(|_| bad("has a database that is not a number"))?,
        };
        for (name, value) in parsed.query_pairs() {
            match (name.as_ref(), &tls) {
                ("ca", Some(_)) => tls = Some(Authorities::File(PathBuf::from(value.as_ref()))),
                ("ca", None) => {
                    return Err(bad("has an authority (ca) but no TLS: it begins with redis://, not rediss://"));
                }
                (other, _) => return Err(bad(&format!("has the parameter {other:?}, which is not known"))),
            }
        }
        let word = |text: &str| decode(text).map_err(|error| bad(&format!("cannot be read: {error}")));
        let in_url = parsed.password().map(word).transpose()?.map(Zeroizing::new);
        let port = parsed.port().unwrap_or(6379);
        let location = format!("{}://{}:{port}/{database}", parsed.scheme(), parsed.host_str().unwrap_or_default());
        let user = Some(word(parsed.username())?).filter(|user| !user.is_empty());
        let password = password.map(|given| Zeroizing::new(given.to_owned())).or(in_url);
        Ok(Target { host, port, tls, database, user, password, location })
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// Connects and logs in.
    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let tls = self.tls.as_ref().map(|authorities| self.connector(authorities)).transpose()?;
        let connecting = tokio::time::timeout(PATIENCE, async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            match tls {
                None => self.log_in(stream).await,
                Some(connector) => {
                    let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                    self.log_in(connector.connect(name, stream).await?).await
                }
            }
        });
        let connected = connecting.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        connected.map_err(|error| self.failed("connect", error))
    }

    async fn log_in<S>(&self, stream: S) -> Result<Connection, RedisError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut info = RedisConnectionInfo::default().set_db(self.database).set_skip_set_lib_name();
        if let Some(user) = &self.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.password {
            info = info.set_password(password.as_str());
        }
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE)).set_connection_timeout(Some(PATIENCE));
        let (client, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        Ok(Connection { client, driver: tokio::spawn(driver) })
    }

    fn connector(&self, authorities: &Authorities) -> Result<TlsConnector, Error> {
        let roots = match authorities {
            Authorities::System => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
            Authorities::File(path) => read_authorities(path)?,
        };
        if roots.is_empty() {
            let what = format!("there is no certificate authority to check {} with", self.location);
            return Err(Error::config(what).advise("name one with ?ca=/path.pem in the lease's URL"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::config(format!("set up TLS: {error}")))?;
        Ok(TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }

    /// What an error of the client's means.
    pub(super) fn failed(&self, what: &str, error: RedisError) -> Error {
        let what = what.to_owned();
        let location = self.location.clone();
        let denied =
            matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm))
                || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
        match error.kind() {
            _ if denied => Error::Denied { what, location, source: Some(error.into()) },
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Error::Config {
                what: format!("{location} is a replica, and takes no leases"),
                advice: Some("name the primary in the lease's URL".to_owned()),
                source: Some(error.into()),
            },
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot) => {
                Error::Config {
                    what: format!("{location} is one node of a cluster"),
                    advice: Some("use a Redis that is not a cluster for leases".to_owned()),
                    source: Some(error.into()),
                }
            }
            _ => Error::Unavailable { what, location, source: Some(error.into()) },
        }
    }
}

/// Whether a connection is of no use after this: what it reads next may be the answer to something else.
pub(super) fn is_broken(error: &RedisError) -> bool {
    !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn read_authorities(path: &Path) -> Result<RootCertStore, Error> {
    let pem = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates =
        pem.map_err(|error| Error::config(format!("read the certificate authority {}: {error}", path.display())))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

/// A session, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    client: MultiplexedConnection,
    driver: tokio::task::JoinHandle<()>,
}

impl Connection {
    pub(super) fn is_alive(&self) -> bool {
        !self.driver.is_finished()
    }

    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.client).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_url_is_read_and_its_password_not_shown() {
        let target = Target::parse("rediss://me:hunter%322@[::1]:7000/3?ca=/ca.pem", None).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.database), ("::1", 7000, 3));
        assert_eq!(target.password.as_ref().unwrap().as_str(), "hunter22");
        assert!(!format!("{target:?}").contains("hunter"));
        let plain = Target::parse("redis://:hunter@h", Some("other")).unwrap();
        assert_eq!((plain.port, plain.user.as_ref(), plain.location()), (6379, None, "redis://h:6379/0"));
        assert_eq!(plain.password.unwrap().as_str(), "other");
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (url, said) in [
            ("http://u:hunter2@h", "none of a Redis"),
            ("redis:///1", "no host"),
            ("redis://u:hunter2@h/x", "not a number"),
            ("redis://u:hunter2@h?ca=/x", "no TLS"),
            ("rediss://u:hunter2@h?insecure=1", "insecure"),
            ("redis://u:hunter2@h:99999", "port"),
            ("redis://u:hunter2%@h", "hex"),
        ] {
            let error = Target::parse(url, None).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
        }
    }
}
