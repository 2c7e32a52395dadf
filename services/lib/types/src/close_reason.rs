/// Reason of the end of a user agent's connection, in no protocol's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The user agent closed the connection.
    Client,
    /// The same user agent has connected again.
    Superseded,
    /// The router has lost track of the messages sent on the session.
    Resync,
    /// The user agent sent no hello in time.
    Unidentified,
    /// The user agent did not answer a probe.
    Idle,
    /// The user agent did not read messages.
    Slow,
    /// The user agent broke the rules of the protocol.
    Protocol,
    /// The user agent sent more at once than is taken.
    TooLarge,
    /// The node stops.
    Draining,
    /// The service cannot serve the user agent just now.
    Unavailable,
    /// The connection broke.
    Io,
}

impl CloseReason {
    /// All reasons, each at its index.
    pub const ALL: [Self; 11] = [
        Self::Client,
        Self::Superseded,
        Self::Resync,
        Self::Unidentified,
        Self::Idle,
        Self::Slow,
        Self::Protocol,
        Self::TooLarge,
        Self::Draining,
        Self::Unavailable,
        Self::Io,
    ];

    /// Label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Superseded => "superseded",
            Self::Resync => "resync",
            Self::Unidentified => "no_hello",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
            Self::Io => "io",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
