//! Links between routers and connection nodes over gRPC, and the membership view to find the other side by.
//!
//! [`MembershipView`] holds all members. [`Routers`] is the [`pushgrid_store::RouterLink`] of a connection node and
//! the [`pushgrid_store::IngressLink`] of an ingress: each call goes to the owner of the user agent's partition,
//! where [`serve_router`] answers. [`Nodes`] is the [`pushgrid_store::NodeLink`] and the
//! [`pushgrid_store::OwnershipLink`] of a router: one stream to each connection node, where [`serve_node`] serves.
//!
//! Not here: the ownership of partitions, and any state that has to outlive the process.
//!
//! The network between the services is trusted, like that to Kafka and Redis without TLS: anyone who reaches a listener
//! of this crate can read messages and end them. Addresses are `host:port`.
//!
//! Invariant: a message that [`Nodes`] has taken is handed to its node in order, reported as refused, or its node is
//! reported as gone. Messages for a node out of reach wait, within a bound.
//! Invariant: every queue, batch, frame, wait and retry has a bound. A slow or silent node or router costs its callers
//! a bounded time, and this process a bounded amount of memory.
//! Invariant: an unavailable membership store tears nothing down.

mod fault;
mod form;
mod membership;
mod node_client;
mod node_server;
mod router_client;
mod router_server;
mod transport;

#[cfg(test)]
mod testing;

pub use membership::{MemberList, MembershipView};
pub use node_client::{Nodes, NodesConfig};
pub use node_server::{RouterStreams, serve_node};
pub use router_client::{Routers, RoutersConfig};
pub use router_server::serve_router;
pub use transport::ServeError;
