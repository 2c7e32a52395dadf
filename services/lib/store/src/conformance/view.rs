//! [`crate::View`].
//!
//! A view has no account and no log: each check tells it the changes that a changelog would hold.

mod footing;
mod messages;
mod page;
mod subscriptions;

use std::sync::Arc;

use pushgrid_types::{Message, Partition, Position, Sequence, SubscriptionRef, Tenure, Timestamp};

use super::support::{message, user_agent};
use crate::{Change, Footing, StoredMessage, Subscription, Usage, View, ViewError};

/// Runs every check, each on what `make` opens for it: a view that holds nothing.
pub async fn run(make: impl AsyncFn() -> Arc<dyn View>) {
    footing::run(&make).await;
    subscriptions::run(&make).await;
    messages::run(&make).await;
    page::run(&make).await;
}

/// Runs the named checks of this module, one after the other, each with an owner of an empty view.
macro_rules! checks {
    ($($check:ident),+ $(,)?) => {
        /// Runs every check of this module, each on what `make` opens for it.
        pub(super) async fn run(make: &impl AsyncFn() -> std::sync::Arc<dyn $crate::View>) {
            $(Box::pin($check($crate::conformance::view::Owner::of(make().await).await)).await;)+
        }
    };
}
use checks;

/// What time it is in the checks.
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// The owner of a partition, who tells a view what it has written to the changelog.
#[derive(Debug, Clone)]
struct Owner {
    view: Arc<dyn View>,
    footing: Footing,
}

impl Owner {
    /// The first owner of partition 3. Its claim is the first record of the changelog.
    async fn of(view: Arc<dyn View>) -> Self {
        let footing = Footing { partition: Partition(3), tenure: Tenure(1), position: Position(0) };
        let mut owner = Self { view, footing };
        assert_eq!(owner.begin().await, Position(0), "an empty view holds nothing");
        owner.tell(&[Change::Claimed]).await;
        owner
    }

    /// The owner after this one, by a claim that stands where the changelog has come to. It has begun.
    async fn successor(&self) -> Self {
        let tenure = Tenure(self.footing.position.0 + 1);
        let mut next = Self { view: Arc::clone(&self.view), footing: Footing { tenure, ..self.footing } };
        assert_eq!(next.begin().await, self.footing.position, "the view is where the last owner left it");
        next.tell(&[Change::Claimed]).await;
        next
    }

    async fn begin(&self) -> Position {
        self.view.begin(self.footing.partition, self.footing.tenure).await.expect("begin answers")
    }

    /// The place after `changes`, each of which takes one.
    fn after(&self, changes: &[Change]) -> Position {
        Position(self.footing.position.0 + changes.len() as u64)
    }

    /// Tells the view the next changes.
    async fn tell(&mut self, changes: &[Change]) {
        let to = self.after(changes);
        self.view.apply(self.footing, changes, to).await.expect("apply answers");
        self.footing.position = to;
    }

    /// The same footing somewhere else.
    const fn at(&self, position: u64) -> Footing {
        Footing { position: Position(position), ..self.footing }
    }

    async fn subscribe(&mut self, id: SubscriptionRef) -> Subscription {
        let made = Subscription { id, vapid: None, created_at: NOW };
        self.tell(&[Change::Subscribed(made)]).await;
        made
    }

    /// A message to `to` with the sequence `label`.
    fn message(to: SubscriptionRef, label: u64) -> Arc<Message> {
        Arc::new(Message { sequence: Sequence(label), ..message(to, label, NOW) })
    }

    /// The change that stores `message` by the right of this owner.
    fn stores(&self, message: &Arc<Message>) -> Change {
        Change::Stored { message: Arc::clone(message), since: self.footing.tenure }
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

    /// What the view knows of `message` when it was stored by the right of this owner.
    fn known(&self, message: &Message) -> StoredMessage {
        StoredMessage { id: message.id, sequence: message.sequence, since: self.footing.tenure }
    }

    /// The change that ends the record of `message` that this owner, or one before it, has stored.
    fn ends(&self, message: &Message) -> Change {
        let outcome = pushgrid_types::Outcome::Delivered;
        Change::Ended { user_agent: message.to.user_agent, stored: self.known(message), outcome }
    }

    async fn stored(&self, message: &Message) -> Option<StoredMessage> {
        let asked = [(message.to.user_agent, message.id)];
        let stored = self.view.stored(self.footing, &asked).await.expect("stored answers");
        assert_eq!(stored.len(), 1, "stored answers once for each message");
        stored[0]
    }

    async fn alive(&self, id: SubscriptionRef) -> bool {
        let alive = self.view.alive(self.footing, &[id]).await.expect("alive answers");
        assert_eq!(alive.len(), 1, "alive answers once for each subscription");
        alive[0]
    }

    /// So many messages with so many octets must wait for a user agent, and so many in the partition.
    async fn assert_usage(&self, of: u8, messages: u64, octets: u64, waiting: u64) {
        let usage = self.view.usage(self.footing, user_agent(of)).await.expect("usage answers");
        assert_eq!(usage, Usage { messages, octets }, "what waits for the user agent");
        let all = self.view.waiting(self.footing).await.expect("waiting answers");
        assert_eq!(all, waiting, "what waits in the partition");
    }
}

/// The view must say that it is only at `position`.
fn assert_behind<T: std::fmt::Debug>(answer: Result<T, ViewError>, position: u64) {
    match answer {
        Err(ViewError::Behind(at)) => assert_eq!(at, Position(position), "where the view is"),
        other => panic!("the view is behind and answered {other:?}"),
    }
}

/// The view must refuse the caller.
fn assert_fenced<T: std::fmt::Debug>(answer: &Result<T, ViewError>) {
    assert!(matches!(answer, Err(ViewError::Fenced)), "a fenced owner got {answer:?}");
}
