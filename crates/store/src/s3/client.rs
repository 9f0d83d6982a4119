//! Owns how the SDK's client is made: endpoint, credentials, TLS, retries, timeouts.
//!
//! Promises one HTTP stack with one TLS provider, bounded attempts and bounded waits. Refuses a CA file that holds no
//! certificate, before the HTTP client would panic over it.

use std::path::Path;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::location::Bucket;
use crate::{Credentials, Error};

/// Attempts of one request, the first included.
const ATTEMPTS: u32 = 6;
const MAX_BACKOFF: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From sending a request without a body to the head of its reply.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// One attempt without a body.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);
/// A body in either direction that stands still this long is given up.
const STALL_GRACE: Duration = Duration::from_secs(20);
const DEFAULT_REGION: &str = "us-east-1";

/// The clients of one store. They differ in the read timeout, which the HTTP client counts from the first byte sent: a
/// large upload over a slow line would never end in time.
pub(super) struct Clients {
    pub(super) reads: Client,
    pub(super) puts: Client,
}

pub(super) async fn clients(bucket: &Bucket, credentials: Option<Credentials>) -> Result<Clients, Error> {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
    let reads = timeouts.clone().read_timeout(READ_TIMEOUT).build();
    let puts = timeouts.disable_read_timeout().build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client(bucket.ca.as_deref())?)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(MAX_BACKOFF))
        .timeout_config(reads)
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(region) = bucket.region.clone().or_else(|| bucket.endpoint.as_ref().map(|_| DEFAULT_REGION.to_owned()))
    {
        loader = loader.region(Region::new(region));
    }
    if let Some(endpoint) = &bucket.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(given) = credentials {
        loader = loader.credentials_provider(given.into_sdk());
    }
    let shared = loader.load().await;
    if shared.region().is_none() {
        return Err(Error::config_with_advice(
            format!("no region is known for {}", bucket.describe()),
            "add region=… to the URL or set AWS_REGION",
        ));
    }
    let path_style = bucket.path_style.unwrap_or(bucket.endpoint.is_some());
    let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(path_style).build();
    let for_puts = config.to_builder().timeout_config(puts).build();
    Ok(Clients { reads: Client::from_conf(config), puts: Client::from_conf(for_puts) })
}

impl Credentials {
    fn into_sdk(self) -> aws_sdk_s3::config::Credentials {
        let token = self.session_token.map(|token| token.as_str().to_owned());
        aws_sdk_s3::config::Credentials::new(
            self.access_key.as_str(),
            self.secret_key.as_str(),
            token,
            None,
            "longshore configuration",
        )
    }
}

fn http_client(ca: Option<&Path>) -> Result<SharedHttpClient, Error> {
    // An image without CA certificates can still talk plain HTTP, or TLS with the CA it was given.
    let native = !rustls_native_certs::load_native_certs().certs.is_empty();
    let mut trusted = TrustStore::empty().with_native_roots(native);
    if let Some(path) = ca {
        trusted = trusted.with_pem_certificate(read_ca(path)?);
    }
    let context = TlsContext::builder().with_trust_store(trusted).build().map_err(|source| Error::Config {
        what: "the TLS settings cannot be used".to_owned(),
        advice: None,
        source: Some(source.into()),
    })?;
    let provider = Provider::rustls(CryptoMode::Ring);
    Ok(aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(context).build_https())
}

fn read_ca(path: &Path) -> Result<Vec<u8>, Error> {
    let refused = |what: &str, source: Option<crate::Cause>| Error::Config {
        what: format!("the CA file {} {what}", path.display()),
        advice: Some("give the path of a PEM file with one or more certificates".to_owned()),
        source,
    };
    let pem = std::fs::read(path).map_err(|source| refused("cannot be read", Some(source.into())))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refused("is not PEM", Some(error.to_string().into())))?;
        roots.add(certificate).map_err(|source| refused("holds a broken certificate", Some(source.into())))?;
    }
    if roots.is_empty() { Err(refused("holds no certificate", None)) } else { Ok(pem) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_ca_file_without_certificates_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("ca.pem");
        assert!(matches!(read_ca(&path), Err(Error::Config { .. })));
        for broken in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, broken).unwrap();
            assert!(matches!(read_ca(&path), Err(Error::Config { .. })), "{broken:?}");
        }
    }
}
