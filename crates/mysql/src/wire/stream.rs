//! Streams: the way to a server, as bytes.
//!
//! Owns connecting by TCP or a local socket, and TLS. Promises the driver's own choices: the same time of silence after which a peer counts as gone, the
//! same trust for the same `ssl-mode`, no certificate asked for where the mode says so.

use super::packets::broken;
use crate::endpoint::{Endpoint, KEEPALIVE, TlsMode};
use mysql_async::{Error, IoError, TlsError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Anything that bytes go through both ways.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Connects.
pub(super) async fn open(endpoint: &Endpoint) -> Result<Box<dyn Socket>, Error> {
    if let Some(path) = &endpoint.socket {
        return Ok(Box::new(UnixStream::connect(path).await.map_err(broken)?));
    }
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(broken)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    Ok(Box::new(stream))
}

/// Encrypts what follows.
pub(super) async fn encrypt(stream: Box<dyn Socket>, endpoint: &Endpoint) -> Result<Box<dyn Socket>, Error> {
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|e| trust(TlsError::InvalidDnsName(e)))?;
    let connector = TlsConnector::from(Arc::new(config(endpoint).await?));
    Ok(Box::new(connector.connect(name, stream).await.map_err(broken)?))
}

fn trust(error: TlsError) -> Error {
    Error::Io(IoError::Tls(error))
}

async fn config(endpoint: &Endpoint) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| trust(TlsError::Tls(e)))?;
    Ok(match endpoint.tls {
        TlsMode::VerifyCa | TlsMode::VerifyIdentity => {
            builder.with_root_certificates(roots(endpoint.authority.as_deref()).await?).with_no_client_auth()
        }
        TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
    })
}

/// The authority that the URL names, or those that browsers trust.
async fn roots(authority: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authority else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let bytes = tokio::fs::read(path).await.map_err(broken)?;
    let mut certificates =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(|e| trust(TlsError::Pem(e)))?;
    if certificates.is_empty() {
        certificates.push(CertificateDer::from(bytes));
    }
    for certificate in certificates {
        roots.add(certificate).map_err(|e| trust(TlsError::Tls(e)))?;
    }
    Ok(roots)
}

/// Accepts every certificate, as `ssl-mode=required` does: encryption without identity.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
