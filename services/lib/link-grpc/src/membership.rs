//! Membership view of this process: the last member list, and the ownership of partitions that members claim. The lease
//! itself is renewed by `lease_renewer`; ownership is decided by the log's consumer group, not here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Gauge};
use pushgrid_runtime::Shutdown;
use pushgrid_runtime::clock::GridTime;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store::{Member, Membership, Role};
use pushgrid_types::Partition;
use pushgrid_types::cast::saturating;
use tokio::sync::{Notify, watch};

mod lease_renewer;
mod member_list;

use lease_renewer::LeaseRenewer;
pub use member_list::MemberList;

/// Members of the grid, as known to this process. Clones share the view.
///
/// Guarantee: while the membership store is unavailable, the last member list stays. A member missing from an answer
/// stays for a third of a lease, unless marked as draining: after a store that lost all its data, members are back with
/// their next renewal, and none has disappeared.
#[derive(Clone)]
pub struct MembershipView(Arc<Inner>);

struct Inner {
    member_list: watch::Sender<Arc<MemberList>>,
    touched: Notify,
    leaving: watch::Sender<bool>,
    routers: Gauge,
    connections: Gauge,
    stale: Gauge,
    passed_over: Counter,
}

impl MembershipView {
    /// Makes an empty view. [`Self::keep`] has to run.
    pub fn new(meter: &Meter) -> Self {
        Self(Arc::new(Inner {
            member_list: watch::Sender::new(Arc::default()),
            touched: Notify::new(),
            leaving: watch::Sender::new(false),
            routers: meter.gauge(&metrics::MEMBERS, &[("role", "router")]),
            connections: meter.gauge(&metrics::MEMBERS, &[("role", "connection")]),
            stale: meter.gauge(&metrics::MEMBERS_STALE, &[]),
            passed_over: meter.counter(&metrics::MEMBERS_PASSED_OVER, &[]),
        }))
    }

    /// Time in which every process renews its `lease` once.
    pub fn round(lease: Duration) -> Duration {
        lease / lease_renewer::RENEWALS
    }

    /// Renews the lease of the entry that `me` returns every sixth of `lease`, and at once after [`Self::touch`];
    /// `None` asks for the members without a lease. Each renewal gives the clocks of other members to `time`. While
    /// `shutdown` drains, renewal goes on, and `me` marks the entry as draining. Ends when `shutdown` stops or after
    /// [`Self::leave`], and gives the lease up.
    pub async fn keep(
        &self,
        membership: Arc<dyn Membership>,
        me: impl Fn() -> Option<Member> + Send + Sync,
        lease: Duration,
        time: GridTime,
        shutdown: Shutdown,
    ) {
        lease_renewer::renew(LeaseRenewer::new(self, membership, lease, time), me, shutdown).await;
    }

    /// Asks for a renewal at once: this process's own entry has changed, or the view is stale.
    pub fn touch(&self) {
        self.0.touched.notify_one();
    }

    /// Asks for the lease to be given up, which ends [`Self::keep`].
    pub fn leave(&self) {
        self.0.leaving.send_replace(true);
    }

    /// Current member list.
    pub fn member_list(&self) -> Arc<MemberList> {
        self.0.member_list.borrow().clone()
    }

    /// Subscribes to the member list.
    pub fn changes(&self) -> watch::Receiver<Arc<MemberList>> {
        self.0.member_list.subscribe()
    }

    /// Owner of a partition: of all routers that claim the partition, the one with the highest leader epoch.
    pub fn owner(&self, partition: Partition) -> Option<Member> {
        self.member_list().owner(partition).cloned()
    }

    /// Number of partitions, as announced by routers; `None` without a router.
    pub fn partitions(&self) -> Option<u16> {
        self.member_list().partitions()
    }

    pub(crate) fn publish(&self, members: Vec<Member>) {
        let routers = members.iter().filter(|member| matches!(member.role, Role::Router { .. })).count();
        self.0.routers.set(count(routers));
        self.0.connections.set(count(members.len() - routers));
        let new = MemberList::new(members);
        self.0.member_list.send_if_modified(|member_list| {
            let differs = **member_list != new;
            if differs {
                *member_list = Arc::new(new);
            }
            differs
        });
    }
}

/// Converts a number of members for a gauge.
fn count(members: usize) -> f64 {
    f64::from(saturating::<u32>(members))
}

impl fmt::Debug for MembershipView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MembershipView").field(&self.member_list().members().len()).finish()
    }
}

#[cfg(test)]
mod tests;
