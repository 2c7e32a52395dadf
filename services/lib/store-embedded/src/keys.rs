/// Name of an endpoint key.
pub type KeyId = [u8; 8];

/// Origin of the endpoint keys of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Read from the settings.
    Configured,
    /// Read from the data directory.
    Kept,
    /// Made just now, because there were none.
    Made,
}

/// Endpoint keys of a process.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Names of all keys, newest first; the first seals new endpoints.
    pub ids: Vec<KeyId>,
    /// Origin of the keys.
    pub origin: KeyOrigin,
}
