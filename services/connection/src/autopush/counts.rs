//! The metrics of autopush frames.

use metrics::Counter;
use pushgrid_runtime::metrics::{CONNECTION_ACKS, CONNECTION_FRAMES, CONNECTION_NACKS, Meter};
use pushgrid_session::autopush::Kind;

/// Counters of autopush frames and their codes. Every handle is taken when the node starts.
pub(super) struct Counts {
    frames_in: [Counter; Kind::ALL.len()],
    frames_out: [Counter; Sent::ALL.len()],
    acks: [Counter; ACK_CODES.len()],
    nacks: [Counter; NACK_CODES.len()],
}

/// Kind of a frame sent, as counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Hello,
    Register,
    Unregister,
    UnregisterAll,
    Notification,
    Ping,
    Broadcast,
    Urgency,
}

impl Sent {
    const ALL: [Self; 8] = [
        Self::Hello,
        Self::Register,
        Self::Unregister,
        Self::UnregisterAll,
        Self::Notification,
        Self::Ping,
        Self::Broadcast,
        Self::Urgency,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Register => "register",
            Self::Unregister => "unregister",
            Self::UnregisterAll => "unregister_all",
            Self::Notification => "notification",
            Self::Ping => "ping",
            Self::Broadcast => "broadcast",
            Self::Urgency => "urgency",
        }
    }

    /// Kind of the answer given to a frame of this kind by the protocol alone.
    pub(super) const fn in_reply_to(kind: Kind) -> Self {
        match kind {
            Kind::Urgency => Self::Urgency,
            Kind::Hello
            | Kind::Register
            | Kind::Unregister
            | Kind::UnregisterAll
            | Kind::Ack
            | Kind::Nack
            | Kind::Ping
            | Kind::BroadcastSubscribe
            | Kind::Invalid => Self::Ping,
        }
    }
}

const ACK_CODES: [&str; 5] = ["none", "100", "101", "102", "other"];
const NACK_CODES: [&str; 5] = ["none", "301", "302", "303", "other"];

impl Counts {
    pub(super) fn new(meter: &Meter) -> Self {
        let frame =
            |direction, kind| meter.counter(&CONNECTION_FRAMES, &[("direction", direction), ("kind", kind)]);
        Self {
            frames_in: Kind::ALL.map(|kind| frame("in", kind.as_str())),
            frames_out: Sent::ALL.map(|kind| frame("out", kind.as_str())),
            acks: ACK_CODES.map(|code| meter.counter(&CONNECTION_ACKS, &[("code", code)])),
            nacks: NACK_CODES.map(|code| meter.counter(&CONNECTION_NACKS, &[("code", code)])),
        }
    }

    pub(super) fn received(&self, kind: Kind) {
        self.frames_in[kind as usize].increment(1);
    }

    pub(super) fn sent(&self, kind: Sent) {
        self.frames_out[kind as usize].increment(1);
    }

    pub(super) fn ack(&self, code: Option<i64>) {
        let index = match code {
            None => 0,
            Some(100) => 1,
            Some(101) => 2,
            Some(102) => 3,
            Some(_) => 4,
        };
        self.acks[index].increment(1);
    }

    pub(super) fn nack(&self, code: Option<i64>) {
        let index = match code {
            None => 0,
            Some(301) => 1,
            Some(302) => 2,
            Some(303) => 3,
            Some(_) => 4,
        };
        self.nacks[index].increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_index() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, kind) in Sent::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
