use std::fmt;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::ClientConfig;
use rustls::crypto::ring;

/// Trust behind `wss` and `https`: made once, cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trust in the roots of browsers, as of the build. The machine's own store is not asked.
    pub fn public_roots() -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring serves every protocol version that is built in")
            .with_webpki_roots()
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    /// Trust in any other roots, such as a private authority.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self(config)
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}
