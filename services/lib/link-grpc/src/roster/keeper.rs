use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_runtime::Shutdown;
use pushgrid_store::{ErrorKind, Member, Membership, StoreError};
use pushgrid_types::NodeId;
use tokio::time::{Instant, sleep_until, timeout};

use super::Roster;

/// How often in a lease it is renewed.
const RENEWALS: u32 = 6;

/// The shortest time between two renewals, however often they are asked for.
const SPACING: Duration = Duration::from_millis(100);

/// How long giving a lease up may take: it runs out by itself.
const LEAVING: Duration = Duration::from_millis(500);

pub(super) async fn keep(
    roster: &Roster,
    membership: Arc<dyn Membership>,
    me: impl Fn() -> Option<Member> + Send + Sync,
    lease: Duration,
    shutdown: Shutdown,
) {
    let mut keeper = Keeper { roster, membership, lease, known: HashMap::new(), stale: false };
    let mut leaving = roster.0.leaving.subscribe();
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
            roster.0.touched.notified().await;
            sleep_until(begun + SPACING).await;
        };
        tokio::select! {
            biased;
            () = shutdown.stopping() => break,
            // The sender lives in the roster.
            _ = leaving.wait_for(|leaving| *leaving) => break,
            () = shutdown.draining(), if !draining => draining = true,
            () = touched => {}
            () = sleep_until(begun + lease / RENEWALS) => {}
        }
    }
    if let Some(id) = renewed {
        keeper.leave(id).await;
    }
}

struct Keeper<'a> {
    roster: &'a Roster,
    membership: Arc<dyn Membership>,
    lease: Duration,
    /// Who was there, and when that was said last.
    known: HashMap<NodeId, (Member, Instant)>,
    stale: bool,
}

impl Keeper<'_> {
    /// One round trip, in no more than a third of the lease.
    async fn renew(&mut self, me: Option<&Member>) {
        let patience = self.lease / 3;
        let answer = match timeout(patience, self.membership.renew(me, self.lease)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(StoreError::plain(ErrorKind::Unknown)),
        };
        match answer {
            Ok(members) => {
                self.say_stale(None);
                self.learn(members, Instant::now());
            }
            Err(error) => self.say_stale(Some(&error)),
        }
    }

    fn learn(&mut self, members: Vec<Member>, now: Instant) {
        self.known.extend(members.into_iter().map(|member| (member.id, (member, now))));
        let grace = self.lease / 3;
        self.known.retain(|_, (member, seen)| {
            *seen == now || (!member.draining && now.duration_since(*seen) < grace)
        });
        self.roster.publish(self.known.values().map(|(member, _)| member.clone()).collect());
    }

    /// Once when it begins, once when it ends.
    fn say_stale(&mut self, error: Option<&StoreError>) {
        match error {
            Some(error) if !self.stale => {
                tracing::warn!(%error, "the members of the grid cannot be asked for; the last known ones stay");
            }
            None if self.stale => tracing::info!("the members of the grid are known again"),
            Some(_) | None => {}
        }
        self.stale = error.is_some();
        self.roster.0.stale.set(f64::from(u8::from(self.stale)));
    }

    async fn leave(&self, id: NodeId) {
        match timeout(LEAVING, self.membership.leave(id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lease was not given up; it runs out by itself"),
            Err(_elapsed) => tracing::debug!("the lease was not given up in time; it runs out by itself"),
        }
    }
}
