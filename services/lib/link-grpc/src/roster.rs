//! Who is there, and who owns what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::Gauge;
use pushgrid_runtime::Shutdown;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{Member, Membership, Role};
use pushgrid_types::Partition;
use tokio::sync::{Notify, watch};

mod keeper;
mod lineup;

pub use lineup::Lineup;

/// The members of the grid, as this process knows them. Clones share it.
///
/// Guarantee: while the members cannot be asked for, the last known ones stay. A member that is missing from an answer
/// stays for a third of a lease, unless it had said that it was about to go: a keeper of leases that has lost
/// everything makes nobody disappear who is there and says so.
#[derive(Clone)]
pub struct Roster(Arc<Inner>);

struct Inner {
    lineup: watch::Sender<Arc<Lineup>>,
    touched: Notify,
    leaving: watch::Sender<bool>,
    routers: Gauge,
    connections: Gauge,
    stale: Gauge,
}

impl Roster {
    /// One that knows nobody yet: [`Self::keep`] has to run.
    pub fn new(meter: &Meter) -> Self {
        Self(Arc::new(Inner {
            lineup: watch::Sender::new(Arc::default()),
            touched: Notify::new(),
            leaving: watch::Sender::new(false),
            routers: meter.gauge(&metrics::MEMBERS, &[("role", "router")]),
            connections: meter.gauge(&metrics::MEMBERS, &[("role", "connection")]),
            stale: meter.gauge(&metrics::MEMBERS_STALE, &[]),
        }))
    }

    /// Renews the lease of what `me` says (`None`: this process has no lease, it only asks) every sixth of `lease`,
    /// and at once after [`Self::touch`]. While `shutdown` drains it goes on, for `me` then says so. Ends when
    /// `shutdown` stops or after [`Self::leave`], when it has given the lease up.
    pub async fn keep(
        &self,
        membership: Arc<dyn Membership>,
        me: impl Fn() -> Option<Member> + Send + Sync,
        lease: Duration,
        shutdown: Shutdown,
    ) {
        keeper::keep(self, membership, me, lease, shutdown).await;
    }

    /// Has the lease renewed at once, and the members asked for: what this process says of itself has changed, or what
    /// it knows of others is out of date.
    pub fn touch(&self) {
        self.0.touched.notify_one();
    }

    /// Has the lease given up.
    pub fn leave(&self) {
        self.0.leaving.send_replace(true);
    }

    /// All members at this moment.
    pub fn lineup(&self) -> Arc<Lineup> {
        self.0.lineup.borrow().clone()
    }

    /// The members, and each change of them.
    pub fn changes(&self) -> watch::Receiver<Arc<Lineup>> {
        self.0.lineup.subscribe()
    }

    /// The router that owns a partition: of all that say so, the one with the highest tenure.
    pub fn owner(&self, partition: Partition) -> Option<Member> {
        self.lineup().owner(partition).cloned()
    }

    /// How many partitions there are, as routers say; `None` while there is no router.
    pub fn partitions(&self) -> Option<u16> {
        self.lineup().partitions()
    }

    pub(crate) fn publish(&self, members: Vec<Member>) {
        let routers = members.iter().filter(|member| matches!(member.role, Role::Router { .. })).count();
        self.0.routers.set(count(routers));
        self.0.connections.set(count(members.len() - routers));
        let new = Lineup::new(members);
        self.0.lineup.send_if_modified(|lineup| {
            let differs = **lineup != new;
            if differs {
                *lineup = Arc::new(new);
            }
            differs
        });
    }
}

/// A number of members for a gauge.
fn count(members: usize) -> f64 {
    f64::from(u32::try_from(members).unwrap_or(u32::MAX))
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Roster").field(&self.lineup().members().len()).finish()
    }
}

#[cfg(test)]
mod tests;
