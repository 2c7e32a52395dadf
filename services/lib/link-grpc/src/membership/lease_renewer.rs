//! Renewal of this process's lease, and of the member list with each renewal.
//! Invariant: one renewal is under way at a time, and takes at most a third of the lease. A failed renewal changes
//! nothing but the gauge of staleness.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_runtime::clock::{Exchange, GridTime};
use pushgrid_store::{ErrorKind, Member, Membership, Renewed, StoreError, Strange};
use pushgrid_types::NodeId;
use tokio::time::{Instant, sleep_until, timeout};

use super::MembershipView;

/// Renewals in the length of a lease.
pub(super) const RENEWALS: u32 = 6;

/// Shortest time between two renewals, however often one is asked for.
const SPACING: Duration = Duration::from_millis(100);

/// Deadline for giving a lease up; else the lease runs out.
const LEAVING: Duration = Duration::from_millis(500);

pub(super) async fn renew(
    mut keeper: LeaseRenewer<'_>,
    me: impl Fn() -> Option<Member> + Send + Sync,
    shutdown: Shutdown,
) {
    let (membership_view, lease) = (keeper.membership_view, keeper.lease);
    let mut leaving = membership_view.0.leaving.subscribe();
    let mut draining = shutdown.is_draining();
    let mut renewed = None;
    loop {
        let begun = Instant::now();
        let myself = me();
        tokio::select! {
            biased;
            () = shutdown.stopping() => break,
            () = keeper.renew(myself.as_ref()) => {}
        }
        renewed = myself.map(|me| me.id).or(renewed);
        let touched = async {
            membership_view.0.touched.notified().await;
            sleep_until(begun + SPACING).await;
        };
        tokio::select! {
            biased;
            () = shutdown.stopping() => break,
            // The sender lives in the membership view.
            _ = leaving.wait_for(|leaving| *leaving) => break,
            () = shutdown.draining(), if !draining => draining = true,
            () = touched => {}
            () = sleep_until(begun + MembershipView::round(lease)) => {}
        }
    }
    if let Some(id) = renewed {
        keeper.leave(id).await;
    }
}

pub(super) struct LeaseRenewer<'a> {
    membership_view: &'a MembershipView,
    membership: Arc<dyn Membership>,
    lease: Duration,
    time: GridTime,
    /// Members, each with the time of the last answer that showed it.
    known: HashMap<NodeId, (Member, Instant)>,
    stale: bool,
    /// Unreadable entries of the last answer.
    strange: Strange,
}

impl<'a> LeaseRenewer<'a> {
    pub(super) fn new(
        membership_view: &'a MembershipView,
        membership: Arc<dyn Membership>,
        lease: Duration,
        time: GridTime,
    ) -> Self {
        let (known, stale, strange) = (HashMap::new(), false, Strange::default());
        Self { membership_view, membership, lease, time, known, stale, strange }
    }

    /// Renews the lease once, within a third of its length.
    async fn renew(&mut self, me: Option<&Member>) {
        let (patience, vote, sent) = (self.lease / 3, self.time.vote(), self.time.uptime());
        let answer = match timeout(patience, self.membership.renew(me, vote, self.lease)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(StoreError::plain(ErrorKind::Unknown)),
        };
        match answer {
            Ok(Renewed { members, votes, without_vote, line, time: keeper, strange }) => {
                let received = self.time.uptime();
                self.time.learn(&Exchange { sent, received, keeper, votes, without_vote, line });
                if vote.is_none() && self.time.vote().is_some() {
                    // The other members should learn of these clocks soon.
                    self.membership_view.touch();
                }
                self.say_stale(None);
                self.count_strange(strange);
                self.learn(members, Instant::now());
            }
            Err(error) => self.say_stale(Some(&error)),
        }
    }

    /// Counts each unreadable entry once, and logs the first.
    fn count_strange(&mut self, strange: Strange) {
        let before = std::mem::replace(&mut self.strange, strange);
        let known = |new: &&(NodeId, &str)| !before.passed_over.contains(new);
        let new: Vec<_> = self.strange.passed_over.iter().filter(known).collect();
        self.membership_view.0.passed_over.increment(self.strange.removed + new.len() as u64);
        if let Some((id, reason)) = new.first() {
            let (entries, first) = (new.len(), id.0);
            tracing::warn!(
                entries,
                first,
                reason,
                "unreadable entries among the members of the grid are passed over until their leases end"
            );
        }
        if self.strange.removed > 0 && before.removed == 0 {
            let entries = self.strange.removed;
            tracing::warn!(entries, "foreign entries among the members of the grid are removed");
        }
    }

    fn learn(&mut self, members: Vec<Member>, now: Instant) {
        self.known.extend(members.into_iter().map(|member| (member.id, (member, now))));
        // A store that lost its data shows members again only with their next renewal.
        let grace = self.lease / 3;
        self.known.retain(|_, (member, seen)| {
            *seen == now || (!member.draining && now.duration_since(*seen) < grace)
        });
        self.membership_view.publish(self.known.values().map(|(member, _)| member.clone()).collect());
    }

    /// Logs the begin and the end of staleness once each, and sets the gauge.
    fn say_stale(&mut self, error: Option<&StoreError>) {
        match error {
            Some(error) if !self.stale => {
                tracing::warn!(%error, "the members of the grid cannot be asked for; the last known ones stay");
            }
            None if self.stale => tracing::info!("the members of the grid are known again"),
            Some(_) | None => {}
        }
        self.stale = error.is_some();
        self.membership_view.0.stale.set(f64::from(u8::from(self.stale)));
    }

    async fn leave(&self, id: NodeId) {
        match timeout(LEAVING, self.membership.leave(id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lease was not given up; it runs out by itself"),
            Err(_elapsed) => tracing::debug!("the lease was not given up in time; it runs out by itself"),
        }
    }
}
