use std::fmt;
use std::sync::Arc;

/// Absolute URL to which the receipts of an application server are posted, as checked when it was named. A capability:
/// never logged. A clone is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebhookUrl(Arc<str>);

impl WebhookUrl {
    /// Largest length in octets.
    pub const MAX: usize = 1024;

    /// Takes a URL that was checked, here or in an earlier life; `None` for one that is too long to be.
    pub fn new(url: &str) -> Option<Self> {
        (!url.is_empty() && url.len() <= Self::MAX).then(|| Self(url.into()))
    }

    /// The URL itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl(..)")
    }
}
