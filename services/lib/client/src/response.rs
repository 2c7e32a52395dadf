use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

/// Any answer, as it came.
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// The first field line of this name, if it is ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Debug for Response {
    /// Hides the header fields, which hold capabilities.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}, {} octets)", self.status, self.body.len())
    }
}
