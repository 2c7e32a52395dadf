use metrics::Counter;
use pushgrid_runtime::metrics::{CONNECTION_CLOSED, CONNECTION_OPENED, CONNECTION_SOCKETS, Meter};
use pushgrid_types::CloseReason;
use pushgrid_types::cast::saturating;

use crate::node::Node;

/// Counters of connections of all protocols. Every handle is taken when the node starts.
pub(crate) struct Counts {
    opened: Counter,
    closed: [Counter; CloseReason::ALL.len()],
}

impl Counts {
    pub(crate) fn new(meter: &Meter, node: &Node) -> Self {
        let (sockets, node) = (meter.gauge(&CONNECTION_SOCKETS, &[]), node.clone());
        meter.on_scrape(move || sockets.set(saturating::<u32>(node.sessions())));
        Self {
            opened: meter.counter(&CONNECTION_OPENED, &[]),
            closed: CloseReason::ALL
                .map(|reason| meter.counter(&CONNECTION_CLOSED, &[("reason", reason.as_str())])),
        }
    }

    pub(crate) fn opened(&self) {
        self.opened.increment(1);
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        self.closed[reason as usize].increment(1);
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
        let _slot = node.enter();
        for reason in CloseReason::ALL {
            counts.opened();
            counts.closed(reason);
        }
        let shown = meter.render();
        assert!(shown.contains("pushgrid_connection_opened_total 11"), "{shown}");
        assert!(shown.contains("pushgrid_connection_sockets 1"), "{shown}");
        for reason in CloseReason::ALL.map(CloseReason::as_str) {
            assert!(shown.contains(&format!("closed_total{{reason=\"{reason}\"}} 1")), "{reason} {shown}");
        }
    }
}
