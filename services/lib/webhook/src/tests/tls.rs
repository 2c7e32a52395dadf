//! TLS with an authority of one's own, and HTTP/2.

use std::fs;
use std::path::Path;
use std::process::Command;

use http::{Response, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::InvalidCaFile;

/// Writes an authority, and its certificate for localhost.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .expect("openssl is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    fs::write(folder.join("san"), "subjectAltName=DNS:localhost").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem",
    );
}

/// Starts a server that speaks `protocol` alone, and gives its address. It tells the HTTP version of each request.
async fn start(folder: &Path, protocol: &str) -> (SocketAddr, mpsc::Receiver<Version>) {
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![protocol.into()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    // The name has to lead here whichever family it resolves to first.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, versions) = mpsc::channel(10);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(socket).await else { continue };
            let sender = sender.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let _ = sender.try_send(request.version());
                async { Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new())) }
            });
            tokio::spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, versions)
}

#[tokio::test]
async fn a_certificate_of_the_named_authority_is_trusted_and_of_no_other() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let trusting =
        webhooks(&Config { allow_http: false, ca_file: Some(folder.path().join("ca.pem")), ..lenient() });
    for (protocol, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
        let (address, mut versions) = start(folder.path(), protocol).await;
        let url = format!("https://localhost:{}/", address.port());
        assert_eq!(post(&webhooks(&lenient()), &url).await, Err(PostError::NotReached));
        post(&trusting, &url).await.unwrap();
        assert_eq!(versions.try_recv(), Ok(version));
        assert!(versions.try_recv().is_err(), "the untrusting one has sent nothing");
        // The certificate is for the name alone.
        let literal = format!("https://{address}/");
        assert_eq!(post(&trusting, &literal).await, Err(PostError::NotReached));
    }
}

#[test]
fn a_file_without_authorities_is_refused() {
    let folder = TempDir::new().unwrap();
    let new = |name: &str| {
        let config = Config { ca_file: Some(folder.path().join(name)), ..strict() };
        Webhooks::new(&config, &keys(), &Meter::new()).map(|_| ())
    };
    assert!(matches!(new("nowhere"), Err(InvalidCaFile::Unreadable(_))));
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [("empty", ""), ("prose", "no certificate"), ("damaged", damaged)] {
        fs::write(folder.path().join(name), text).unwrap();
        assert!(matches!(new(name), Err(InvalidCaFile::NoCertificates)), "{name}");
    }
}
