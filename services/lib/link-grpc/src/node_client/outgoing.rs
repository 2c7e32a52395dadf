//! Frames from a router to a node, as the stream that tonic polls.
//! Invariant: a frame is made only when the connection has room, so messages gather into larger frames meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::metrics::Counter;
use futures_util::Stream;
use pushgrid_proto::stored;
use pushgrid_proto::wire::node::v1 as wire;
use pushgrid_proto::wire::node::v1::router_frame::Frame;
use pushgrid_store::Eviction;
use pushgrid_types::NodeId;

use super::connection::NodeConnection;
use super::queue::{Next, Work};

/// Outgoing half of one stream. A frame is made when the connection has room, so messages gather meanwhile.
pub(super) struct Outgoing {
    pub(super) connection: Arc<NodeConnection>,
    pub(super) stream: u64,
    /// Id of this router.
    pub(super) router: NodeId,
    /// Number of partitions.
    pub(super) partitions: u16,
    pub(super) frames: Counter,
}

impl Stream for Outgoing {
    type Item = wire::RouterFrame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = match self.connection.next(self.stream, cx.waker()) {
            Next::Hello => Frame::Hello(wire::Hello { node: self.connection.id().0, router: self.router.0 }),
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
