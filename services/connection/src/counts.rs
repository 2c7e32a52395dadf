use metrics::Counter;
use pushgrid_runtime::metrics::{
    CONNECTION_ACKS, CONNECTION_CLOSED, CONNECTION_FRAMES, CONNECTION_NACKS, CONNECTION_OPENED,
    CONNECTION_SOCKETS, Meter,
};
use pushgrid_session::autopush::{Close, Kind};

use crate::Node;
use crate::socket::End;

/// What is counted. Every handle is taken when the node starts.
pub(crate) struct Counts {
    opened: Counter,
    closed: [Counter; CLOSED.len()],
    frames_in: [Counter; Kind::ALL.len()],
    frames_out: [Counter; Sent::ALL.len()],
    acks: [Counter; ACK_CODES.len()],
    nacks: [Counter; NACK_CODES.len()],
}

/// What is sent, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Hello,
    Register,
    Unregister,
    Notification,
    Ping,
    Broadcast,
}

impl Sent {
    const ALL: [Self; 6] =
        [Self::Hello, Self::Register, Self::Unregister, Self::Notification, Self::Ping, Self::Broadcast];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Register => "register",
            Self::Unregister => "unregister",
            Self::Notification => "notification",
            Self::Ping => "ping",
            Self::Broadcast => "broadcast",
        }
    }
}

/// The reasons of [`closed`].
const CLOSED: [&str; 11] = [
    "client",
    "superseded",
    "resync",
    "no_hello",
    "idle",
    "slow",
    "protocol",
    "too_large",
    "draining",
    "unavailable",
    "io",
];

const ACK_CODES: [&str; 5] = ["none", "100", "101", "102", "other"];
const NACK_CODES: [&str; 5] = ["none", "301", "302", "303", "other"];

impl Counts {
    pub(crate) fn new(meter: &Meter, node: &Node) -> Self {
        let (sockets, node) = (meter.gauge(&CONNECTION_SOCKETS, &[]), node.clone());
        meter.on_scrape(move || sockets.set(u32::try_from(node.sessions()).unwrap_or(u32::MAX)));
        let frame =
            |direction, kind| meter.counter(&CONNECTION_FRAMES, &[("direction", direction), ("kind", kind)]);
        Self {
            opened: meter.counter(&CONNECTION_OPENED, &[]),
            closed: CLOSED.map(|reason| meter.counter(&CONNECTION_CLOSED, &[("reason", reason)])),
            frames_in: Kind::ALL.map(|kind| frame("in", kind.as_str())),
            frames_out: Sent::ALL.map(|kind| frame("out", kind.as_str())),
            acks: ACK_CODES.map(|code| meter.counter(&CONNECTION_ACKS, &[("code", code)])),
            nacks: NACK_CODES.map(|code| meter.counter(&CONNECTION_NACKS, &[("code", code)])),
        }
    }

    pub(crate) fn opened(&self) {
        self.opened.increment(1);
    }

    pub(crate) fn closed(&self, end: End) {
        let reason = closed(end);
        let index = CLOSED.iter().position(|known| *known == reason).expect("every reason is in the list");
        self.closed[index].increment(1);
    }

    pub(crate) fn received(&self, kind: Kind) {
        self.frames_in[kind as usize].increment(1);
    }

    pub(crate) fn sent(&self, kind: Sent) {
        self.frames_out[kind as usize].increment(1);
    }

    pub(crate) fn ack(&self, code: Option<i64>) {
        let index = match code {
            None => 0,
            Some(100) => 1,
            Some(101) => 2,
            Some(102) => 3,
            Some(_) => 4,
        };
        self.acks[index].increment(1);
    }

    pub(crate) fn nack(&self, code: Option<i64>) {
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

/// The reason under which an end is counted.
const fn closed(end: End) -> &'static str {
    match end {
        End::ByPeer => "client",
        End::Broken => "io",
        End::Unread => "slow",
        End::Abandoned | End::Close(Close::Restarting) => "draining",
        End::Close(Close::Superseded) => "superseded",
        End::Close(Close::Resync) => "resync",
        End::Close(Close::HelloTimeout) => "no_hello",
        End::Close(Close::NoPong) => "idle",
        End::Close(Close::TooLarge) => "too_large",
        End::Close(Close::Unavailable | Close::Internal) => "unavailable",
        End::Close(
            Close::BadFrame
            | Close::Binary
            | Close::NotUtf8
            | Close::NotJson
            | Close::MalformedHello
            | Close::MalformedRegister
            | Close::MalformedUnregister
            | Close::MalformedAck
            | Close::MalformedNack
            | Close::MalformedBroadcastSubscribe
            | Close::MalformedChannel
            | Close::UnknownType
            | Close::HelloExpected
            | Close::SecondHello
            | Close::PingFlood,
        ) => "protocol",
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_session::Limits;
    use pushgrid_types::SystemRng;

    use super::*;

    #[test]
    fn every_end_and_every_socket_is_counted() {
        let meter = Meter::new();
        let node = Node::new(&SystemRng, Limits { messages: 1, octets: 1 });
        let counts = Counts::new(&meter, &node);
        let _seat = node.enter();
        let ends = Close::ALL.map(End::Close).into_iter().chain([
            End::ByPeer,
            End::Broken,
            End::Unread,
            End::Abandoned,
        ]);
        for end in ends {
            counts.opened();
            counts.closed(end);
        }
        let shown = meter.render();
        assert!(shown.contains("pushgrid_connection_opened_total 27"), "{shown}");
        assert!(shown.contains("pushgrid_connection_sockets 1"), "{shown}");
        for reason in CLOSED {
            assert!(!shown.contains(&format!("closed_total{{reason=\"{reason}\"}} 0")), "{reason} {shown}");
        }
    }

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
