//! The connector: TCP to judged addresses, and TLS with the trusted authorities.
//!
//! Invariant: connecting ends within the limit, also when nobody waits for the connection any more.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt};

use crate::resolver::Resolver;

/// Connects to the origin of a URL.
pub(crate) type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

/// A file of `webhook.ca_file` without the use that it is meant for.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCaFile {
    /// The file cannot be read.
    #[error("the file that webhook.ca_file names cannot be read: name one that this process may read")]
    Unreadable(#[source] io::Error),
    /// The file has no certificate, or a damaged one.
    #[error(
        "the file that webhook.ca_file names has to hold certificates of authorities in PEM, one at \
         least, and all well-formed"
    )]
    NoCertificates,
}

/// The built-in roots, and the certificates in `ca_file`.
pub(crate) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, InvalidCaFile> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(path) = ca_file else { return Ok(roots) };
    let pem = std::fs::read(path).map_err(InvalidCaFile::Unreadable)?;
    let built_in = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| InvalidCaFile::NoCertificates)?;
        roots.add(certificate).map_err(|_| InvalidCaFile::NoCertificates)?;
    }
    if roots.len() == built_in { Err(InvalidCaFile::NoCertificates) } else { Ok(roots) }
}

/// Connects within `limit` to addresses from `resolver`, and trusts `roots`.
pub(crate) fn connector(resolver: Resolver, roots: RootCertStore, limit: Duration) -> Connector {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring serves every protocol version that is built in")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    // The pool goes on connecting in a task of its own when another connection comes free first: nothing but this
    // would end a handshake with a silent server.
    BoxCloneSyncService::new(
        https.map_future(move |connecting| async move { tokio::time::timeout(limit, connecting).await? }),
    )
}
