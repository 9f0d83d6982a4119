//! TLS for connections to the server.
//!
//! Owns the choice of trust: the vendor's `sslmode` words mean here what they mean there. `prefer` and `require` encrypt
//! without asking who is on the other side; `verify-ca` and `verify-full` check the certificate against `sslrootcert`
//! (and here `verify-ca` checks the host name too: stricter, never laxer). One TLS library with one
//! crypto provider, the same the object stores use.

use crate::endpoint::{Endpoint, TlsMode};
use engine::{Error, Kind};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The connector for an endpoint.
pub(crate) fn connector(endpoint: &Endpoint) -> Result<MakeRustlsConnect, Error> {
    let config_error = |e: rustls::Error| Error::new(Kind::Config, format!("set up TLS: {e}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(config_error)?;
    let config = match endpoint.tls {
        TlsMode::VerifyCa | TlsMode::VerifyFull => {
            builder.with_root_certificates(roots(endpoint)?).with_no_client_auth()
        }
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(endpoint: &Endpoint) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let path = endpoint.root_cert.as_deref().unwrap_or(Path::new(""));
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| Error::new(Kind::Config, format!("read sslrootcert {}: {e}", path.display())))?;
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(Error::new(Kind::Config, "no certificate authority to verify the server with")
            .hint("name one with sslrootcert=/path.pem in the URL"));
    }
    Ok(roots)
}

/// Accepts every certificate, as `sslmode=require` does: encryption without identity.
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
