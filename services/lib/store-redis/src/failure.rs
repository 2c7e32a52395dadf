//! Failures of calls to Redis, and the meaning of each: outage or not, and the kind of a store error. Invariant: a
//! write without an answer fails as unknown; texts never repeat arguments.

use pushgrid_store::{ErrorKind, StoreError};
use redis::RedisError;

/// Longest text of the server in an error, in characters.
const SAID_MAX: usize = 200;

/// Error codes of a server unfit for any call now.
const UNWELL: [&str; 8] =
    ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MOVED", "ASK", "BUSY"];

/// Error codes of a server refusing this call alone.
const REFUSALS: [&str; 5] = ["OOM", "MISCONF", "NOREPLICAS", "NOPERM", "NOSCRIPT"];

/// Error codes for a rejected user or database, whatever the number of attempts.
const REJECTIONS: [&str; 4] = ["WRONGPASS", "NOAUTH", "NOPERM", "ERR"];

/// Effect of a call: only a write matters when it happens unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    Writes,
}

/// Failure of a call to Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("too many calls of redis are under way")]
    Full,
    #[error("redis has failed repeatedly and is left alone for a moment")]
    Paused,
    #[error("redis cannot be reached: {0}")]
    Unreachable(String),
    #[error("redis does not let this user in: {0}")]
    Rejected(String),
    #[error("redis did not take a connection in time")]
    NoConnection,
    #[error("redis is not well: {0}")]
    Unwell(String),
    #[error("redis refused: {0}")]
    Refused(String),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("redis did not answer in time")]
    NoAnswer,
    #[error("redis cannot do it: {0}")]
    Nonsense(String),
}

impl Failure {
    /// Failure of making a connection: nothing was asked yet.
    pub(crate) fn of_connecting(error: &RedisError) -> Self {
        let rejected = error.kind() == redis::ErrorKind::AuthenticationFailed
            || error.code().is_some_and(|code| REJECTIONS.contains(&code));
        if rejected { Self::Rejected(said(error)) } else { Self::Unreachable(said(error)) }
    }

    /// Failure of a call, perhaps sent.
    pub(crate) fn of_call(error: &RedisError) -> Self {
        if error.kind() == redis::ErrorKind::ClusterConnectionNotFound {
            Self::Unreachable(said(error))
        } else if error.is_io_error() {
            Self::Lost(said(error))
        } else if error.code() == Some("NOAUTH") {
            Self::Rejected(said(error))
        } else if error.code().is_some_and(|code| UNWELL.contains(&code)) {
            Self::Unwell(said(error))
        } else if error.code().is_some_and(|code| REFUSALS.contains(&code)) {
            Self::Refused(said(error))
        } else {
            Self::Nonsense(said(error))
        }
    }

    /// True for a sign that the server, or the way to it, is down.
    pub(crate) const fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Rejected(_)
            | Self::NoConnection
            | Self::Unwell(_)
            | Self::Lost(_)
            | Self::NoAnswer => true,
            Self::Full | Self::Paused | Self::Refused(_) | Self::Nonsense(_) => false,
        }
    }

    /// Failure as a store error. A lost write is unknown, a lost read unavailable.
    pub(crate) fn into_store_error(self, effect: Effect) -> StoreError {
        let kind = match &self {
            Self::Full
            | Self::Paused
            | Self::Unreachable(_)
            | Self::Rejected(_)
            | Self::NoConnection
            | Self::Unwell(_)
            | Self::Refused(_) => ErrorKind::Unavailable,
            Self::Lost(_) | Self::NoAnswer => match effect {
                Effect::Reads => ErrorKind::Unavailable,
                Effect::Writes => ErrorKind::Unknown,
            },
            Self::Nonsense(_) => ErrorKind::Corrupt,
        };
        StoreError::new(kind, self)
    }
}

/// An impossible value, in an answer or in the arguments of a call.
pub(crate) fn corrupt(what: &'static str) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, what)
}

/// Text of the driver or the server, without arguments: a server repeats the arguments of an unknown command, and
/// they can be capabilities.
fn said(error: &RedisError) -> String {
    let text = error.to_string();
    let text = text.split("with args beginning").next().unwrap_or_default();
    text.chars().take(SAID_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn server(line: &str) -> RedisError {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes())
            .and_then(redis::Value::extract_error)
            .unwrap_err()
    }

    #[test]
    fn a_call_that_was_sent_is_unknown_only_when_it_changes_something() {
        let lost = Failure::of_call(&io::Error::from(io::ErrorKind::BrokenPipe).into());
        for failure in [lost, Failure::NoAnswer] {
            assert_eq!(failure.clone().into_store_error(Effect::Writes).kind, ErrorKind::Unknown);
            assert_eq!(failure.into_store_error(Effect::Reads).kind, ErrorKind::Unavailable);
        }
    }

    #[test]
    fn what_the_server_did_not_do_is_unavailable_and_what_it_cannot_do_is_corrupt() {
        for (line, outage) in [
            ("LOADING Redis is loading the dataset in memory", true),
            ("READONLY You can't write against a read only replica. script: 1, on @user_script:3.", true),
            ("BUSY Redis is busy running a script", true),
            ("OOM command not allowed when used memory > 'maxmemory'.", false),
            ("NOPERM this user has no permissions", false),
        ] {
            let failure = Failure::of_call(&server(line));
            assert_eq!(failure.is_outage(), outage, "{failure}");
            assert_eq!(failure.into_store_error(Effect::Writes).kind, ErrorKind::Unavailable, "{line}");
        }
        for line in ["WRONGTYPE Operation against a key", "ERR user_script:3: bad argument"] {
            let failure = Failure::of_call(&server(line));
            assert!(!failure.is_outage(), "{failure}");
            assert_eq!(failure.into_store_error(Effect::Writes).kind, ErrorKind::Corrupt, "{line}");
        }
    }

    #[test]
    fn what_was_asked_is_not_repeated() {
        let error = server("ERR unknown command 'MGET', with args beginning with: 'sesame' 'open' ");
        let text = Failure::of_call(&error).to_string();
        assert!(text.contains("unknown command") && !text.contains("sesame"), "{text}");
    }
}
