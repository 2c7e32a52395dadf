use async_trait::async_trait;
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Sequence, SubscriptionRef, Timestamp, Ttl, Urgency,
    UserAgentId,
};

use super::*;
use crate::conformance::ends::ToldEnds;
use crate::conformance::{self, Life, Parts};
use pushgrid_store::{ErrorKind, EventLog, LogConsumer, Mailbox, View};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn parts(memory: Memory, ends: Arc<ToldEnds>) -> Parts {
    Parts {
        log: Arc::new(memory.log()),
        consumer: Box::new(memory.consumer()),
        mailbox: Arc::new(memory.mailbox()),
        subscriptions: Arc::new(memory.subscriptions()),
        ledger: memory.ledger(),
        now: NOW,
        life: Box::new(Present { memory, ends: Arc::clone(&ends) }),
        ends,
    }
}

#[derive(Debug)]
struct Present {
    memory: Memory,
    ends: Arc<ToldEnds>,
}

#[async_trait]
impl Life for Present {
    async fn rest(&self) {}

    async fn reopen(self: Box<Self>) -> Parts {
        parts(self.memory.reopened(), self.ends)
    }
}

#[tokio::test]
async fn the_models_keep_their_contracts() {
    conformance::run(async || {
        let (ends, feed) = ToldEnds::new(NOW);
        parts(Memory::telling(feed), ends)
    })
    .await;
}

#[tokio::test]
async fn the_model_of_presence_keeps_its_contract() {
    conformance::presence::run(async || MemoryPresence::new()).await;
}

#[tokio::test]
async fn a_closed_log_hands_out_what_it_has_and_then_says_so() {
    let memory = Memory::new();
    let mut consumer = memory.consumer();
    let sequence = memory.log().append(any_message()).await.unwrap();
    memory.close();
    assert_eq!(consumer.next(5).await.unwrap()[0].sequence, sequence);
    assert!(consumer.next(5).await.unwrap().is_empty(), "an empty batch says that it is closed");
    let refused = memory.log().append(any_message()).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Closed);
}

#[tokio::test]
async fn closing_wakes_a_consumer_that_waits() {
    let memory = Memory::new();
    let mut consumer = memory.consumer();
    let waiting = tokio::spawn(async move { consumer.next(5).await });
    tokio::task::yield_now().await;
    memory.close();
    assert!(waiting.await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_message_that_was_never_in_the_log_cannot_be_stored() {
    let memory = Memory::new();
    let sequence = memory.log().append(any_message()).await.unwrap();
    let known = Arc::new(Message { sequence, ..any_message() });
    let refused = memory.mailbox().store(vec![known, Arc::new(any_message())]).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(memory.ledger().snapshot().pending, 1, "nothing of the call was done");
}

fn any_message() -> Message {
    let to = SubscriptionRef {
        user_agent: UserAgentId::from_octets([1; 16]),
        channel: ChannelId::from_octets([2; 16]),
        incarnation: Incarnation::from_octets([3; 12]),
    };
    Message {
        id: MessageId::from_octets([4; 16]),
        to,
        sequence: Sequence(0),
        accepted_at: Timestamp::from_secs(1),
        ttl: Ttl::from_secs(60),
        expires_at: Timestamp::from_secs(61),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content::default(),
    }
}

#[tokio::test]
async fn the_model_of_a_view_keeps_its_contract() {
    conformance::view::run(async || Arc::new(MemoryView::new()) as Arc<dyn View>).await;
}

/// The next life of [`MemoryBroadcasts`].
#[derive(Debug)]
struct NextBroadcasts(MemoryBroadcasts);

impl NextBroadcasts {
    fn parts(broadcasts: &MemoryBroadcasts) -> conformance::broadcasts::Parts {
        let life = Box::new(Self(broadcasts.clone()));
        conformance::broadcasts::Parts { broadcasts: Arc::new(broadcasts.clone()), life }
    }
}

#[async_trait]
impl conformance::broadcasts::Life for NextBroadcasts {
    async fn reopen(self: Box<Self>) -> conformance::broadcasts::Parts {
        Self::parts(&self.0.reopened())
    }
}

#[tokio::test]
async fn the_model_of_broadcasts_keeps_its_contract() {
    conformance::broadcasts::run(async || NextBroadcasts::parts(&MemoryBroadcasts::default())).await;
}
