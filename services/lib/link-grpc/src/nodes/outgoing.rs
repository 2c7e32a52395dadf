use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::metrics::Counter;
use futures_util::Stream;
use pushgrid_proto::stored;
use pushgrid_proto::wire::node::v1 as wire;
use pushgrid_proto::wire::node::v1::router_frame::Frame;
use pushgrid_store::Eviction;

use super::line::Line;
use super::queue::{Next, Work};

/// What goes to a node on one stream: made when the connection has room for it, so that what waits meanwhile gathers.
pub(super) struct Outgoing {
    pub(super) line: Arc<Line>,
    pub(super) stream: u64,
    /// How many partitions there are.
    pub(super) partitions: u16,
    pub(super) frames: Counter,
}

impl Stream for Outgoing {
    type Item = wire::RouterFrame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = match self.line.next(self.stream, cx.waker()) {
            Next::Hello => Frame::Hello(wire::Hello { node: self.line.id().0 }),
            Next::Announce(partitions) => Frame::Announce(wire::Announce {
                partitions: partitions.into_iter().map(|partition| u32::from(partition.0)).collect(),
                of: self.partitions.into(),
            }),
            Next::Work(work) => {
                self.frames.increment(1);
                Frame::Batch(batch(&work))
            }
            Next::Wait => return Poll::Pending,
            Next::End => return Poll::Ready(None),
        };
        Poll::Ready(Some(wire::RouterFrame { frame: Some(frame) }))
    }
}

fn batch(work: &Work) -> wire::Batch {
    let deliveries = work.deliveries.iter().map(|(session, message)| wire::Delivery {
        session: session.0,
        message: Some(stored::to_wire(message)),
    });
    let evictions = work.evictions.iter().map(|(session, why)| wire::Eviction {
        session: session.0,
        why: match why {
            Eviction::Superseded => wire::eviction::Why::Superseded,
            Eviction::Resync => wire::eviction::Why::Resync,
        }
        .into(),
    });
    wire::Batch { number: work.number, deliveries: deliveries.collect(), evictions: evictions.collect() }
}
