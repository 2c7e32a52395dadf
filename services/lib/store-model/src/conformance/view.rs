//! Checks of [`pushgrid_store::View`].
//!
//! A view has no account and no log: each check applies the changes of an imagined changelog.

mod aside;
mod barrier;
mod empty;
mod messages;
mod page;
mod stamp;
mod subscriptions;

use std::sync::Arc;

use pushgrid_types::{
    LeaderEpoch, Message, Outcome, Partition, Position, Restriction, Sequence, SubscriptionRef, Timestamp,
};

use super::support::{message, user_agent};
use pushgrid_store::{Change, ReadBarrier, StoredMessage, Subscription, Usage, View, ViewError};

/// Runs every check, each on an empty view opened by `make`.
pub async fn run(make: impl AsyncFn() -> Arc<dyn View>) {
    barrier::run(&make).await;
    subscriptions::run(&make).await;
    messages::run(&make).await;
    page::run(&make).await;
    stamp::run(&make).await;
    empty::run(&make).await;
    aside::run(&make).await;
}

/// Runs the named checks of this module, one after the other, each with an owner of an empty view.
macro_rules! checks {
    ($($check:ident),+ $(,)?) => {
        /// Runs every check of this module, each on an empty view opened by `make`.
        pub(super) async fn run(make: &impl AsyncFn() -> std::sync::Arc<dyn pushgrid_store::View>) {
            $(Box::pin($check($crate::conformance::view::Owner::of(make().await).await)).await;)+
        }
    };
}
use checks;

/// Current time in the checks.
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Owner of a partition, at work on the changelog and a view.
#[derive(Debug, Clone)]
struct Owner {
    view: Arc<dyn View>,
    barrier: ReadBarrier,
}

impl Owner {
    /// First owner of partition 3, by a claim in the first record of the changelog.
    async fn of(view: Arc<dyn View>) -> Self {
        let barrier =
            ReadBarrier { partition: Partition(3), leader_epoch: LeaderEpoch(1), position: Position(0) };
        let mut owner = Self { view, barrier };
        assert_eq!(owner.begin().await, Position(0), "an empty view holds nothing");
        owner.tell(&[Change::Claimed]).await;
        owner
    }

    /// Next owner, by a claim at the end of the changelog. The leader epoch has begun at the view.
    async fn successor(&self) -> Self {
        let leader_epoch = LeaderEpoch(self.barrier.position.0 + 1);
        let mut next =
            Self { view: Arc::clone(&self.view), barrier: ReadBarrier { leader_epoch, ..self.barrier } };
        assert_eq!(next.begin().await, self.barrier.position, "the view is where the last owner left it");
        next.tell(&[Change::Claimed]).await;
        next
    }

    async fn begin(&self) -> Position {
        self.view.begin(self.barrier.partition, self.barrier.leader_epoch).await.expect("begin answers")
    }

    /// Position after `changes`, one for each.
    fn after(&self, changes: &[Change]) -> Position {
        Position(self.barrier.position.0 + changes.len() as u64)
    }

    /// Applies the next changes to the view.
    async fn tell(&mut self, changes: &[Change]) {
        let to = self.after(changes);
        self.view.apply(self.barrier, changes, to).await.expect("apply answers");
        self.barrier.position = to;
    }

    /// Read barrier with another position.
    const fn at(&self, position: u64) -> ReadBarrier {
        ReadBarrier { position: Position(position), ..self.barrier }
    }

    async fn subscribe(&mut self, id: SubscriptionRef) -> Subscription {
        let made =
            Subscription { id, restriction: Restriction::Open, seen_at: NOW, is_noted: true, webhook: None };
        self.tell(&[Change::Subscribed(made.clone())]).await;
        made
    }

    /// A message to `to` with the sequence `label`.
    fn message(to: SubscriptionRef, label: u64) -> Arc<Message> {
        Arc::new(Message { sequence: Sequence(label), ..message(to, label, NOW) })
    }

    /// Change by which `message` is stored under this owner's leader epoch.
    fn stores(&self, message: &Arc<Message>) -> Change {
        Change::Stored { message: Arc::clone(message), since: self.barrier.leader_epoch }
    }

    /// Stores messages to `to` with these sequences.
    async fn keep(
        &mut self,
        to: SubscriptionRef,
        labels: impl IntoIterator<Item = u64>,
    ) -> Vec<Arc<Message>> {
        let messages: Vec<_> = labels.into_iter().map(|label| Self::message(to, label)).collect();
        let changes: Vec<_> = messages.iter().map(|it| self.stores(it)).collect();
        self.tell(&changes).await;
        messages
    }

    /// Entry of `message` in the view when stored under this owner's leader epoch.
    fn known(&self, message: &Message) -> StoredMessage {
        StoredMessage::of(message, self.barrier.leader_epoch)
    }

    /// Change by which the record of `message`, of this owner or an earlier one, ends.
    fn ends(&self, message: &Message) -> Change {
        self.known(message).ended(Outcome::Delivered)
    }

    async fn stored(&self, message: &Message) -> Option<StoredMessage> {
        let asked = [(message.to.user_agent, message.id)];
        let stored = self.view.stored(self.barrier, &asked).await.expect("stored answers");
        assert_eq!(stored.len(), 1, "stored answers once for each message");
        stored[0]
    }

    async fn alive(&self, id: SubscriptionRef) -> bool {
        let alive = self.view.alive(self.barrier, &[id]).await.expect("alive answers");
        assert_eq!(alive.len(), 1, "alive answers once for each subscription");
        alive[0]
    }

    /// Checks the stored messages and octets of a user agent, and the messages of the partition.
    async fn assert_usage(&self, of: u8, messages: u64, octets: u64, waiting: u64) {
        let usage = self.view.usage(self.barrier, user_agent(of)).await.expect("usage answers");
        assert_eq!(usage, Usage { messages, octets }, "what waits for the user agent");
        let all = self.view.waiting(self.barrier).await.expect("waiting answers");
        assert_eq!(all, waiting, "what waits in the partition");
    }
}

/// Checks that the view is stale, at `position`.
fn assert_behind<T: std::fmt::Debug>(answer: Result<T, ViewError>, position: u64) {
    match answer {
        Err(ViewError::Behind(at)) => assert_eq!(at, Position(position), "where the view is"),
        other => panic!("the view is behind and answered {other:?}"),
    }
}

/// Checks that the caller is fenced.
fn assert_fenced<T: std::fmt::Debug>(answer: &Result<T, ViewError>) {
    assert!(matches!(answer, Err(ViewError::Fenced)), "a fenced owner got {answer:?}");
}
