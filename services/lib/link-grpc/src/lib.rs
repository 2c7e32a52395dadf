//! The links between routers and connection nodes over gRPC, and who is there to be linked.
//!
//! [`Roster`] knows all members. [`Routers`] is the [`pushgrid_store::RouterLink`] of a connection node or an ingress:
//! each call goes to the router that owns the user agent's partition, where [`serve_router`] answers it. [`Nodes`] is
//! the [`pushgrid_store::NodeLink`] of a router: it keeps one stream to each connection node, where [`serve_node`]
//! takes it up.
//!
//! What is not here: who owns what, and any state that has to outlive the process.
//!
//! The network between the services is trusted, as that to Kafka and Redis without TLS is: whoever can reach a listener
//! of this crate can read messages and end them. Addresses are `host:port`.
//!
//! Invariant: a message that [`Nodes`] has taken is handed to its node in order, reported as refused, or its node is
//! reported as gone.
//! Invariant: every queue, batch, frame, wait and retry has a bound. A node or router that is slow or silent costs its
//! callers a bounded time, and this process a bounded amount of memory.
//! Invariant: that the members cannot be asked for tears nothing down.

mod fault;
mod form;
mod node;
mod nodes;
mod roster;
mod router;
mod routers;
mod transport;

#[cfg(test)]
mod testing;

pub use node::serve_node;
pub use nodes::{Nodes, NodesConfig};
pub use roster::{Lineup, Roster};
pub use router::serve_router;
pub use routers::{Routers, RoutersConfig};
pub use transport::ServeError;
