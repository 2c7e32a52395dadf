use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pushgrid_store::{
    Cancelled, Eviction, LinkError, NodeLink, NotDelivered, Opened, ReceiptLink, Registered, Resource,
    ResourceLink, RouterLink, Sessions, Settlement, Standing, StoreError, Subscription,
};
use pushgrid_types::{
    ChannelId, Content, Epoch, Incarnation, Message, MessageId, MessageRef, Outcome, Receipt, ReceiptRequest,
    Restriction, Sequence, SessionRef, SubscriptionRef, SystemRng, Ttl, Urgency, UserAgentId, WebhookUrl,
};
use tokio::sync::watch;

use super::{NOW, within};
use crate::Node;

/// A router in memory: what it was asked is kept, and what waits is delivered when a session opens.
#[derive(Debug)]
pub(crate) struct Router {
    node: Node,
    state: Mutex<State>,
    calls: watch::Sender<Vec<Call>>,
    mood: watch::Sender<Option<(Op, Mood)>>,
}

#[derive(Debug, Default)]
struct State {
    subscriptions: HashMap<UserAgentId, BTreeSet<ChannelId>>,
    sessions: HashMap<UserAgentId, SessionRef>,
    waiting: HashMap<UserAgentId, Vec<Arc<Message>>>,
}

/// What it was asked, and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// Refused, or left without an answer.
    Failed(Op),
    Open(UserAgentId, Opened),
    Register(UserAgentId, ChannelId, Restriction),
    Unregister(UserAgentId, ChannelId),
    UnregisterAll(UserAgentId),
    SetUrgency(UserAgentId, Urgency),
    Settle(Vec<Settlement>),
    Close(UserAgentId),
    Acknowledge(MessageRef),
    Unsubscribe(SubscriptionRef),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Open,
    Register,
    Unregister,
    UnregisterAll,
    SetUrgency,
    Settle,
}

/// How it takes the calls of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Unavailable,
    StoreFails,
    Full,
    /// It does as it is asked once, and another one takes the partition over at that moment.
    HandsOver,
    /// It opens sessions as routers of the first release do.
    KnowsNoUrgency,
    /// It does not answer until the mood changes.
    Silent,
}

impl Mood {
    fn fails(self) -> bool {
        !matches!(self, Self::HandsOver | Self::KnowsNoUrgency)
    }
}

impl Router {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            state: Mutex::default(),
            calls: watch::Sender::new(Vec::new()),
            mood: watch::Sender::new(None),
        }
    }

    pub(crate) fn set_mood(&self, mood: Option<(Op, Mood)>) {
        self.mood.send_replace(mood);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// Waits until the calls are as wanted.
    pub(crate) async fn called(&self, wanted: impl FnMut(&Vec<Call>) -> bool) -> Vec<Call> {
        let mut calls = self.calls.subscribe();
        let calls = within(calls.wait_for(wanted)).await.unwrap();
        calls.clone()
    }

    pub(crate) fn closes(&self) -> usize {
        self.calls().iter().filter(|call| matches!(call, Call::Close(_))).count()
    }

    /// All that was settled, in order.
    pub(crate) fn settled(&self) -> Vec<Settlement> {
        let calls = self.calls();
        calls
            .iter()
            .filter_map(|call| if let Call::Settle(ended) = call { Some(ended) } else { None })
            .flatten()
            .copied()
            .collect()
    }

    /// The session that holds a user agent, once there is one.
    pub(crate) async fn opened(&self, user_agent: UserAgentId) -> SessionRef {
        let of = |call: &Call| match call {
            Call::Open(id, Opened::Known { .. }) if *id == user_agent => Some(true),
            Call::Close(id) if *id == user_agent => Some(false),
            _ => None,
        };
        self.called(|calls| calls.iter().rev().find_map(of) == Some(true)).await;
        self.session(user_agent)
    }

    pub(crate) fn session(&self, user_agent: UserAgentId) -> SessionRef {
        self.state.lock().sessions[&user_agent]
    }

    /// Hands a message to the session of its user agent, if there is one, and keeps it otherwise.
    pub(crate) fn push(&self, message: Message) -> Option<Result<(), NotDelivered>> {
        let user_agent = message.to.user_agent;
        let message = Arc::new(message);
        let mut state = self.state.lock();
        if let Some(session) = state.sessions.get(&user_agent) {
            return Some(self.node.deliver(*session, &message));
        }
        state.waiting.entry(user_agent).or_default().push(message);
        None
    }

    async fn take(&self, op: Op) -> Result<(), LinkError> {
        let mut moods = self.mood.subscribe();
        if moods.borrow().is_some_and(|(bad, mood)| bad == op && mood.fails()) {
            self.note(Call::Failed(op));
        }
        let silent = Some((op, Mood::Silent));
        let mood = moods.wait_for(|mood| *mood != silent).await.unwrap();
        match *mood {
            Some((bad, mood)) if bad == op && mood.fails() => Err(match mood {
                Mood::StoreFails => LinkError::Store(StoreError::plain(pushgrid_store::ErrorKind::Corrupt)),
                Mood::Full => LinkError::TooManySubscriptions { limit: 7 },
                _ => LinkError::Unavailable,
            }),
            _ => Ok(()),
        }
    }

    fn note(&self, call: Call) {
        self.calls.send_modify(|calls| calls.push(call));
    }
}

#[async_trait]
impl RouterLink for Router {
    async fn open(
        &self,
        user_agent: UserAgentId,
        session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<Opened, LinkError> {
        self.take(Op::Open).await?;
        let knows_none = *self.mood.borrow() == Some((Op::Open, Mood::KnowsNoUrgency));
        let min_urgency = if knows_none { Urgency::LEAST } else { min_urgency };
        let hands_over = Some((Op::Open, Mood::HandsOver));
        if self.mood.send_if_modified(|mood| *mood == hands_over && mood.take().is_some()) {
            assert_eq!(self.node.held(&|of| of == user_agent), [], "it is not open yet");
        }
        let opened = {
            let mut state = self.state.lock();
            if state.subscriptions.contains_key(&user_agent) {
                let before = state.sessions.insert(user_agent, session);
                if let Some(before) = before.filter(|before| *before != session) {
                    self.node.evict(before, Eviction::Superseded);
                }
                for message in state.waiting.remove(&user_agent).unwrap_or_default() {
                    self.node.deliver(session, &message).unwrap();
                }
                Opened::Known { epoch: Epoch(1), min_urgency }
            } else {
                Opened::Unknown
            }
        };
        self.note(Call::Open(user_agent, opened));
        Ok(opened)
    }

    async fn set_urgency(
        &self,
        user_agent: UserAgentId,
        _session: SessionRef,
        min_urgency: Urgency,
    ) -> Result<(), LinkError> {
        self.take(Op::SetUrgency).await?;
        self.note(Call::SetUrgency(user_agent, min_urgency));
        Ok(())
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Registered, LinkError> {
        self.take(Op::Register).await?;
        self.state.lock().subscriptions.entry(user_agent).or_default().insert(channel);
        self.note(Call::Register(user_agent, channel, restriction));
        let subscription = Subscription {
            id: subscription(user_agent, channel),
            restriction,
            seen_at: NOW,
            is_noted: true,
            webhook: None,
        };
        Ok(Registered { subscription, endpoint: endpoint(channel) })
    }

    async fn unregister(&self, user_agent: UserAgentId, channel: ChannelId) -> Result<(), LinkError> {
        self.take(Op::Unregister).await?;
        self.note(Call::Unregister(user_agent, channel));
        Ok(())
    }

    async fn unregister_all(&self, user_agent: UserAgentId) -> Result<(), LinkError> {
        self.take(Op::UnregisterAll).await?;
        self.state.lock().subscriptions.remove(&user_agent);
        self.note(Call::UnregisterAll(user_agent));
        Ok(())
    }

    async fn settle(&self, _user_agent: UserAgentId, ended: Vec<Settlement>) -> Result<(), LinkError> {
        self.take(Op::Settle).await?;
        self.note(Call::Settle(ended));
        Ok(())
    }

    async fn close(&self, user_agent: UserAgentId, session: SessionRef) -> Result<(), LinkError> {
        {
            let mut state = self.state.lock();
            if state.sessions.get(&user_agent) == Some(&session) {
                state.sessions.remove(&user_agent);
            }
        }
        self.note(Call::Close(user_agent));
        Ok(())
    }
}

#[async_trait]
impl ReceiptLink for Router {
    async fn open_receipts(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        _webhook: Option<WebhookUrl>,
    ) -> Result<SubscriptionRef, LinkError> {
        self.register(user_agent, channel, Restriction::Open).await.map(|made| made.subscription.id)
    }
}

#[async_trait]
impl ResourceLink for Router {
    async fn acknowledge(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        self.note(Call::Acknowledge(message));
        Ok(Cancelled::Ended)
    }

    async fn join(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Option<Registered>, LinkError> {
        if !self.state.lock().subscriptions.contains_key(&user_agent) {
            return Ok(None);
        }
        self.register(user_agent, channel, restriction).await.map(Some)
    }

    async fn end_set(&self, user_agent: UserAgentId) -> Result<Cancelled, LinkError> {
        let ended = self.state.lock().subscriptions.remove(&user_agent);
        Ok(if ended.is_some() { Cancelled::Ended } else { Cancelled::Gone })
    }

    async fn read(&self, message: MessageRef) -> Result<Option<Arc<Message>>, LinkError> {
        let state = self.state.lock();
        let waiting = state.waiting.get(&message.user_agent);
        Ok(waiting.and_then(|all| all.iter().find(|it| it.id == message.id)).cloned())
    }

    async fn look_up(&self, resource: Resource) -> Result<Standing, LinkError> {
        let state = self.state.lock();
        let channels = state.subscriptions.get(&resource.user_agent());
        let endpoint = match resource {
            Resource::Subscription(id) if channels.is_some_and(|all| all.contains(&id.channel)) => {
                Some(endpoint(id.channel))
            }
            Resource::Subscription(_) | Resource::Set(_) => None,
        };
        Ok(Standing { members: channels.map_or(0, BTreeSet::len), endpoint, has_webhook: false })
    }

    async fn unsubscribe(&self, id: SubscriptionRef) -> Result<Cancelled, LinkError> {
        {
            let mut state = self.state.lock();
            let channels = state.subscriptions.entry(id.user_agent).or_default();
            channels.remove(&id.channel);
            if channels.is_empty() {
                state.subscriptions.remove(&id.user_agent);
                if let Some(session) = state.sessions.get(&id.user_agent) {
                    self.node.evict(*session, Eviction::Superseded);
                }
            }
        }
        self.note(Call::Unsubscribe(id));
        Ok(Cancelled::Ended)
    }
}

/// Address of a channel for application servers.
pub(crate) fn endpoint(channel: ChannelId) -> String {
    format!("https://push.example.net/push/{channel}")
}

pub(crate) fn subscription(user_agent: UserAgentId, channel: ChannelId) -> SubscriptionRef {
    SubscriptionRef { user_agent, channel, incarnation: Incarnation::from_octets([0; 12]) }
}

/// The receipt of a message that ended as `outcome`, for the receipt subscription `to`.
pub(crate) fn receipt(to: SubscriptionRef, outcome: Outcome) -> (Receipt, Message) {
    let Message { id, to: SubscriptionRef { user_agent, channel, .. }, .. } =
        message(UserAgentId::random(&SystemRng), ChannelId::random(&SystemRng), b"");
    let of = MessageRef { user_agent, channel, id, sequence: Sequence(7) };
    let receipt = Receipt { message: of, outcome, ended_at: NOW };
    (receipt, receipt.to_message(&ReceiptRequest { to, ttl: Ttl::from_secs(60) }))
}

/// A message that lives for a minute.
pub(crate) fn message(user_agent: UserAgentId, channel: ChannelId, body: &[u8]) -> Message {
    let ttl = Ttl::from_secs(60);
    Message {
        id: MessageId::random(&SystemRng),
        to: subscription(user_agent, channel),
        sequence: Sequence(0),
        accepted_at: NOW,
        ttl,
        expires_at: NOW.plus(Duration::from_mins(1)),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content {
            body: Bytes::copy_from_slice(body),
            encoding: Some("aes128gcm".into()),
            ..Content::default()
        },
    }
}
