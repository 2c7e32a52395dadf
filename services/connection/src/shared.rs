use std::sync::Arc;

use pushgrid_store::RouterLink;
use pushgrid_types::{Clock, Rng};
use tokio_util::task::TaskTracker;

use crate::broadcasts::Broadcasts;
use crate::config::Config;
use crate::counts::Counts;
use crate::node::Node;

/// State shared by all connections of a node, of every protocol.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) router: Arc<dyn RouterLink>,
    pub(crate) node: Node,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) counts: Counts,
    /// Tasks of connections, for the drain to wait for.
    pub(crate) connections: TaskTracker,
}
