//! A world around a partition: the log, the mailbox, the sockets, and what each message came to.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pushgrid_store::{
    Cancelled, Claim, End, Eviction, NodeLink, NotDelivered, Page, PageLimit, Settlement, Stored,
};
use pushgrid_types::{
    ChannelId, Content, Epoch, Incarnation, Message, MessageId, MessageRef, NodeId, Outcome, Sequence,
    SessionId, SessionRef, SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId,
};
use tokio::sync::oneshot;

use super::Step;
use crate::partition::{
    CancelAnswer, CancelReply, EndAsker, Limits, PageRequest, Partition, Routable, SettleStored, Turn,
};

const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Open sockets, each with the messages sent on it.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) sockets: Mutex<HashMap<SessionRef, Vec<Arc<Message>>>>,
    /// Messages that must not be sent again.
    acknowledged: Mutex<HashSet<MessageId>>,
    /// True while no node has room.
    pub(super) busy: Mutex<bool>,
    /// Messages that were posted with a topic.
    of_topics: Mutex<Vec<Arc<Message>>>,
    /// Messages that were acknowledged to this owner or an earlier one, or cancelled in vain.
    ever_acknowledged: Mutex<HashSet<MessageId>>,
    /// Least urgency of each socket, as its node knows it.
    pub(super) min_urgency: Mutex<HashMap<SessionRef, Urgency>>,
    /// Sockets of whose least urgency the owner has heard.
    pub(super) told: Mutex<HashSet<SessionRef>>,
    /// Sockets whose node has dropped a message, with the least urgency at that time.
    dropped: Mutex<Vec<(SessionRef, Urgency)>>,
    /// Messages whose cancellation was answered: no crash brings them back.
    cancelled: Mutex<HashSet<MessageId>>,
    /// Messages on a socket that the owner has taken back: their node passes over them when they come again.
    put_back: Mutex<HashSet<(SessionRef, MessageId)>>,
}

impl NodeLink for Nodes {
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered> {
        if *self.busy.lock() {
            return Err(NotDelivered::Busy);
        }
        let mut sockets = self.sockets.lock();
        let sent = sockets.get_mut(&to).ok_or(NotDelivered::NotHere)?;
        let min_urgency = self.min_urgency.lock().get(&to).copied().unwrap_or(Urgency::LEAST);
        if message.urgency < min_urgency {
            assert!(!self.told.lock().contains(&to), "sent below the least urgency");
            self.dropped.lock().push((to, min_urgency));
            return Ok(());
        }
        if self.put_back.lock().remove(&(to, message.id)) {
            return Ok(());
        }
        assert!(!sent.iter().any(|earlier| earlier.id == message.id), "sent twice on one socket");
        assert!(!self.acknowledged.lock().contains(&message.id), "sent again after its acknowledgement");
        assert!(!self.cancelled.lock().contains(&message.id), "sent again after its cancellation");
        let of_topics = self.of_topics.lock();
        let newer = of_topics.iter().filter(|it| it.to == message.to && it.topic == message.topic);
        let mut newer = newer.filter(|it| it.sequence > message.sequence);
        // Sessions and messages are numbered alike. An end that a take-over has lost is as good as none.
        let again = self.ever_acknowledged.lock().contains(&message.id);
        let is_newest = newer.all(|it| it.sequence.0 > to.session.0);
        assert!(is_newest || again, "a newer one of the topic was posted before");
        if !message.ttl.is_zero() {
            let mut last = sent.iter().rev().filter(|earlier| earlier.urgency == message.urgency);
            let last = last.find(|earlier| !earlier.ttl.is_zero());
            assert!(last.is_none_or(|last| last.sequence < message.sequence), "sent out of order");
        }
        sent.push(message.clone());
        Ok(())
    }

    fn evict(&self, session: SessionRef, _why: Eviction) {
        self.sockets.lock().remove(&session);
    }
}

/// Store calls without an answer.
#[derive(Debug)]
pub(super) enum Asked {
    Settle(SettleStored),
    /// A read, with its page when read at once.
    Page(PageRequest, Option<Page>),
    /// A question for the end of the log, with the answer.
    LogEnd(Sequence, Vec<EndAsker>),
    /// A flush of the log with those who wait for it, and the messages whose cancellation it makes durable.
    Flush(Vec<CancelAnswer>, HashSet<MessageId>),
    /// The word of a node on the least urgency of a socket, below which it has dropped a message.
    Urgency(SessionRef, Urgency),
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) partition: Partition,
    pub(super) now: Timestamp,
    pub(super) nodes: Nodes,
    pub(super) sockets: HashMap<u8, SessionRef>,
    /// Least urgency that each user agent asks for.
    pub(super) wishes: HashMap<u8, Urgency>,
    pub(super) unacknowledged: HashMap<u8, Vec<MessageId>>,
    pub(super) next: u64,
    pub(super) posted: Vec<Arc<Message>>,
    pub(super) log: BTreeMap<Sequence, Arc<Message>>,
    /// The part of the log that the owner of the partition has not read.
    pub(super) unread: VecDeque<Arc<Message>>,
    pub(super) announcing: bool,
    pub(super) mailbox: BTreeMap<Sequence, Arc<Message>>,
    pub(super) outcomes: HashMap<MessageId, Outcome>,
    pub(super) seen: HashSet<MessageId>,
    /// Messages acknowledged since the last restart.
    pub(super) acknowledged: Vec<MessageId>,
    pub(super) stores: VecDeque<Vec<Arc<Message>>>,
    pub(super) asked: Vec<Asked>,
    /// Messages that were cancelled in the log, whose end is not durable.
    lazy: Vec<Arc<Message>>,
    /// Cancellations without an answer.
    cancels: Vec<(MessageId, oneshot::Receiver<Cancelled>)>,
}

pub(in crate::partition) fn user_agent(agent: u8) -> UserAgentId {
    UserAgentId::from_octets([agent; 16])
}

pub(super) fn reference(message: &Message) -> MessageRef {
    let SubscriptionRef { user_agent, channel, .. } = message.to;
    MessageRef { user_agent, channel, id: message.id, sequence: message.sequence }
}

/// Small bounds, so that tests reach them; ends are never forgotten for want of room.
pub(in crate::partition) fn limits() -> Limits {
    Limits {
        window: 4,
        ack_timeout: ACK_TIMEOUT,
        page: PageLimit { messages: 3, octets: 1 << 20 },
        cancel_grace: Duration::from_millis(250),
        early_cancels: 4,
        early_ends: 1000,
        early_ends_each: 1000,
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            partition: Partition::new(limits(), Sequence(1), Sequence(1)),
            now: Timestamp::from_secs(1_000_000),
            nodes: Nodes::default(),
            sockets: HashMap::new(),
            wishes: HashMap::new(),
            unacknowledged: HashMap::new(),
            next: 0,
            posted: Vec::new(),
            log: BTreeMap::new(),
            unread: VecDeque::new(),
            announcing: false,
            mailbox: BTreeMap::new(),
            outcomes: HashMap::new(),
            seen: HashSet::new(),
            acknowledged: Vec::new(),
            stores: VecDeque::new(),
            asked: Vec::new(),
            lazy: Vec::new(),
            cancels: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Post { agent, ttl_zero, topic, urgency } => {
                self.post_urgent(*agent, *ttl_zero, *topic, *urgency);
            }
            Step::SetUrgency { agent, urgency } => self.set_urgency(*agent, *urgency),
            Step::Connect { agent } => self.connect(*agent),
            Step::Disconnect { agent } => self.disconnect(*agent),
            Step::Acknowledge { agent, which } => {
                let list = self.unacknowledged.entry(*agent).or_default();
                if !list.is_empty() {
                    let id = list.remove(which.index(list.len()));
                    self.acknowledge(*agent, id);
                }
            }
            Step::AcknowledgeForeign { agent, which } => {
                let of = user_agent(*agent);
                let foreign = self.posted.iter().filter(|message| message.to.user_agent != of);
                let foreign: Vec<_> = foreign.map(|message| message.id).collect();
                if !foreign.is_empty() {
                    let id = foreign[which.index(foreign.len())];
                    self.tell_acknowledged(*agent, id);
                }
            }
            Step::Cancel { which } => {
                if !self.posted.is_empty() {
                    let message = self.posted[which.index(self.posted.len())].clone();
                    let (reply, answer) = oneshot::channel();
                    let asker = EndAsker::Cancel(reference(&message), CancelReply::to_cancellation(reply));
                    self.cancels.push((message.id, answer));
                    self.asked.push(Asked::LogEnd(Sequence(self.next + 1), vec![asker]));
                }
            }
            Step::Work { which } if which.index(3) == 0 => self.read_log(1),
            Step::Work { which } => self.answer_one(which.index(self.asked.len() + 1)),
            Step::Wait => {
                self.now = self.now.plus(ACK_TIMEOUT);
                self.lazy.clear();
                self.turn(Partition::sweep);
            }
            Step::CatchUp => {
                self.read_log(usize::MAX);
                self.collect();
                self.acknowledge_all();
            }
            Step::Restart => self.restart(),
            Step::TakeOver { announced_first } => self.take_over(*announced_first),
        }
        self.collect();
    }

    pub(super) fn turn<T>(&mut self, verb: impl FnOnce(&mut Partition, Turn<'_>) -> T) -> T {
        verb(&mut self.partition, Turn { now: self.now, nodes: &self.nodes, log_end: None })
    }

    pub(super) fn post(&mut self, agent: u8, ttl_zero: bool, topic: Option<u8>) {
        self.post_urgent(agent, ttl_zero, topic, Urgency::Normal);
    }

    pub(super) fn post_urgent(&mut self, agent: u8, ttl_zero: bool, topic: Option<u8>, urgency: Urgency) {
        self.next += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next.to_le_bytes());
        let ttl = if ttl_zero { Ttl::ZERO } else { Ttl::from_secs(1_000_000) };
        let message = Arc::new(Message {
            id: MessageId::from_octets(id),
            to: SubscriptionRef {
                user_agent: user_agent(agent),
                channel: ChannelId::from_octets([9; 16]),
                incarnation: Incarnation::from_octets([9; 12]),
            },
            sequence: Sequence(self.next),
            accepted_at: self.now,
            ttl,
            expires_at: Message::expiry(self.now, ttl),
            urgency,
            topic: topic.map(|topic| format!("t{topic}").parse().unwrap()),
            receipt: None,
            content: Content::default(),
        });
        self.posted.push(message.clone());
        if message.topic.is_some() {
            self.nodes.of_topics.lock().push(message.clone());
        }
        self.log.insert(message.sequence, message.clone());
        self.unread.push_back(message);
        if self.unread.len() == 1 {
            self.read_log(1);
        }
    }

    /// Takes the next messages from the log; late announcements follow the last message of an earlier owner.
    pub(super) fn read_log(&mut self, count: usize) {
        for message in self.unread.drain(..count.min(self.unread.len())).collect::<Vec<_>>() {
            self.turn(|partition, turn| partition.route(turn, Routable { message, alive: true }));
        }
        self.partition.log_read_to(self.read_to());
        if std::mem::take(&mut self.announcing) {
            self.announce();
        }
    }

    /// Read position of the partition's owner in the log.
    fn read_to(&self) -> Sequence {
        self.unread.front().map_or(Sequence(self.next + 1), |message| message.sequence)
    }

    /// Partition as the next owner builds it.
    fn new_partition(&self) -> Partition {
        Partition::new(limits(), self.read_to(), Sequence(self.next + 1))
    }

    fn announce(&mut self) {
        for (agent, at) in self.sockets.clone() {
            let claim = Claim { epoch: Epoch(at.session.0), session: at };
            // Found in the registry of sessions, it comes without the least urgency.
            let of_node = self.nodes.min_urgency.lock().get(&at).copied();
            let min_urgency = of_node.filter(|_| !self.next.is_multiple_of(3));
            if min_urgency.is_some() {
                self.nodes.told.lock().insert(at);
            } else if !self.knows(agent, at) {
                self.nodes.told.lock().remove(&at);
            }
            self.turn(|partition, turn| partition.resume(turn, user_agent(agent), claim, min_urgency));
        }
    }

    /// Sets the least urgency of a user agent's messages, as its node does for a socket.
    pub(super) fn set_urgency(&mut self, agent: u8, min_urgency: Urgency) {
        self.wishes.insert(agent, min_urgency);
        let Some(&at) = self.sockets.get(&agent) else { return };
        let dropped: Vec<_> = self.nodes.dropped.lock().extract_if(.., |(of, _)| *of == at).collect();
        let waiting = self.asked.extract_if(.., |asked| matches!(asked, Asked::Urgency(of, _) if *of == at));
        let waiting: Vec<_> = waiting.collect();
        if !(dropped.is_empty() && waiting.is_empty()) {
            self.tell_urgency(at, Urgency::High);
        }
        self.nodes.min_urgency.lock().insert(at, min_urgency);
        self.tell_urgency(at, min_urgency);
    }

    /// True if the owner of the partition knows the socket.
    fn knows(&self, agent: u8, at: SessionRef) -> bool {
        let session = self.partition.agents.get(&user_agent(agent)).and_then(|it| it.session.as_deref());
        session.is_some_and(|session| session.at == at)
    }

    fn tell_urgency(&mut self, at: SessionRef, min_urgency: Urgency) {
        let agent = self.sockets.iter().find(|(_, socket)| **socket == at).map(|(agent, _)| *agent);
        let Some(agent) = agent else { return };
        let sent = self.nodes.sockets.lock().get(&at).cloned().unwrap_or_default();
        let below = sent.iter().filter(|message| message.urgency < min_urgency && !message.ttl.is_zero());
        self.nodes.put_back.lock().extend(below.map(|message| (at, message.id)));
        self.nodes.told.lock().insert(at);
        self.turn(|partition, _| partition.set_min_urgency(user_agent(agent), at, min_urgency));
    }

    /// Drops the state; log, mailbox and sockets stay. A node skips messages already on a socket, so the sockets are
    /// checked afresh.
    pub(super) fn take_over(&mut self, announced_first: bool) {
        self.crash();
        self.unread = self.log.values().cloned().collect();
        self.partition = self.new_partition();
        self.nodes.sockets.lock().values_mut().for_each(Vec::clear);
        self.nodes.told.lock().clear();
        self.nodes.put_back.lock().clear();
        self.nodes.dropped.lock().clear();
        self.stores.clear();
        self.asked.clear();
        self.acknowledged.clear();
        self.nodes.acknowledged.lock().clear();
        if announced_first {
            self.announce();
        } else {
            self.announcing = true;
        }
    }

    pub(super) fn connect(&mut self, agent: u8) {
        self.next += 1;
        let at = SessionRef { node: NodeId(1), session: SessionId(self.next) };
        self.nodes.sockets.lock().insert(at, Vec::new());
        self.sockets.insert(agent, at);
        let min_urgency = self.wishes.get(&agent).copied().unwrap_or(Urgency::LEAST);
        self.nodes.min_urgency.lock().insert(at, min_urgency);
        self.nodes.told.lock().insert(at);
        let epoch = Epoch(self.next);
        // Some owners know the end of their log, and others have to ask.
        let log_end = (!self.next.is_multiple_of(2)).then_some(Sequence(self.next + 1));
        self.turn(|partition, turn| {
            let turn = Turn { log_end, ..turn };
            partition.open(turn, user_agent(agent), Claim { epoch, session: at }, min_urgency);
        });
    }

    fn disconnect(&mut self, agent: u8) {
        if let Some(at) = self.sockets.remove(&agent) {
            self.nodes.sockets.lock().remove(&at);
            let (done, _) = oneshot::channel();
            self.turn(|partition, turn| partition.close(turn, user_agent(agent), at, done));
        }
    }

    /// Answers every call and acknowledges every delivery, until none is left.
    pub(super) fn acknowledge_all(&mut self) {
        // Each round ends at least one message or answers one call, so this is far more than it takes.
        for _ in 0..10_000 {
            self.answer_all();
            let sent: Vec<_> = {
                let sockets = self.nodes.sockets.lock();
                let of = |(agent, at): (&u8, &SessionRef)| {
                    let sent = sockets.get(at).into_iter().flatten();
                    sent.map(|message| (*agent, message.id)).collect::<Vec<_>>()
                };
                self.sockets.iter().flat_map(of).filter(|(_, id)| !self.outcomes.contains_key(id)).collect()
            };
            if sent.is_empty() {
                break;
            }
            for (agent, id) in sent {
                self.acknowledge(agent, id);
                self.collect();
            }
        }
    }

    /// Messages sent on the socket of `agent`.
    pub(super) fn sent_to(&self, agent: u8) -> Vec<MessageId> {
        let sockets = self.nodes.sockets.lock();
        let sent = self.sockets.get(&agent).and_then(|at| sockets.get(at));
        sent.into_iter().flatten().map(|message| message.id).collect()
    }

    pub(super) fn acknowledge(&mut self, agent: u8, id: MessageId) {
        self.acknowledged.push(id);
        self.nodes.acknowledged.lock().insert(id);
        self.nodes.ever_acknowledged.lock().insert(id);
        self.tell_acknowledged(agent, id);
    }

    pub(super) fn tell_acknowledged(&mut self, agent: u8, id: MessageId) {
        let ended = [Settlement { id, outcome: Outcome::Delivered }];
        self.turn(|partition, turn| partition.settle(turn, user_agent(agent), &ended));
    }

    /// Restarts the process: sockets and state are gone, log and mailbox stay.
    fn restart(&mut self) {
        self.crash();
        self.unread = self.log.values().cloned().collect();
        self.partition = self.new_partition();
        self.nodes.sockets.lock().clear();
        self.sockets.clear();
        self.stores.clear();
        self.asked.clear();
        // The log and the mailbox may have forgotten these, and they come again.
        self.acknowledged.clear();
        self.nodes.acknowledged.lock().clear();
        self.announcing = false;
        self.read_log(usize::MAX);
    }

    /// Loses what is not durable: the messages come out of the log again.
    fn crash(&mut self) {
        self.hear_cancels();
        self.cancels.clear();
        for message in std::mem::take(&mut self.lazy) {
            assert!(!self.nodes.cancelled.lock().contains(&message.id), "answered before it was durable");
            self.outcomes.remove(&message.id);
            self.nodes.ever_acknowledged.lock().insert(message.id);
            self.log.insert(message.sequence, message);
        }
    }

    /// Notes the messages whose cancellation has been answered.
    fn hear_cancels(&mut self) {
        let Self { cancels, nodes, outcomes, .. } = self;
        cancels.retain_mut(|(id, answer)| {
            let answer = answer.try_recv();
            if answer == Ok(Cancelled::Ended) {
                assert_eq!(outcomes.get(id), Some(&Outcome::Cancelled), "answered before it has ended");
                nodes.cancelled.lock().insert(*id);
            }
            answer == Err(oneshot::error::TryRecvError::Empty)
        });
    }

    /// Takes the partition's work, and records the messages sent on sockets.
    pub(super) fn collect(&mut self) {
        let work = self.partition.take_work();
        for end in work.settle_log {
            if let Some(message) = self.log.remove(&end.sequence) {
                assert_eq!(end, End::of(&message, end.outcome), "the end of that very message");
                self.end(message.id, end.outcome);
                if end.outcome == Outcome::Cancelled {
                    self.lazy.push(message);
                }
            }
        }
        if !work.answers.is_empty() {
            let covers = self.lazy.iter().map(|message| message.id).collect();
            self.asked.push(Asked::Flush(work.answers, covers));
        }
        if !work.store.is_empty() {
            self.stores.push_back(work.store);
        }
        self.asked.extend(work.settle_mailbox.into_iter().map(Asked::Settle));
        if !work.ask_end.is_empty() {
            self.asked.push(Asked::LogEnd(Sequence(self.next + 1), work.ask_end));
        }
        for request in work.pages {
            // A read happens at any time between the question and its answer: here at one end or at the other.
            let places: u64 = request.start.after.iter().map(|after| after.0).sum();
            let at_once = (places + self.next).is_multiple_of(2);
            let page = at_once.then(|| self.read(&request));
            self.asked.push(Asked::Page(request, page));
        }
        let dropped = std::mem::take(&mut *self.nodes.dropped.lock());
        self.asked.extend(dropped.into_iter().map(|(at, min_urgency)| Asked::Urgency(at, min_urgency)));
        let sockets = self.nodes.sockets.lock();
        for (agent, at) in &self.sockets {
            for message in sockets.get(at).into_iter().flatten() {
                if self.seen.insert(message.id) {
                    self.unacknowledged.entry(*agent).or_default().push(message.id);
                }
            }
        }
    }

    fn end(&mut self, id: MessageId, outcome: Outcome) {
        assert!(self.outcomes.insert(id, outcome).is_none(), "a message ended twice");
    }

    /// Answers the oldest store call, or one of the others.
    fn answer_one(&mut self, which: usize) {
        match which.checked_sub(1) {
            None => {
                if let Some(batch) = self.stores.pop_front() {
                    let answers: Vec<_> = batch.iter().map(|message| self.store(message)).collect();
                    self.partition.stored(&batch, &answers);
                }
            }
            Some(which) => match self.asked.swap_remove(which) {
                Asked::Settle(settle) => self.settle_stored(settle),
                Asked::Urgency(at, min_urgency) => {
                    self.tell_urgency(at, min_urgency);
                    let now = self.nodes.min_urgency.lock().get(&at).copied();
                    if let Some(now) = now.filter(|now| *now != min_urgency) {
                        self.tell_urgency(at, now);
                    }
                }
                Asked::Flush(answers, covers) => {
                    self.lazy.retain(|message| !covers.contains(&message.id));
                    answers.into_iter().for_each(CancelAnswer::send);
                    self.hear_cancels();
                }
                Asked::LogEnd(end, askers) => {
                    self.turn(|partition, turn| partition.log_ends_at(turn, end, askers));
                }
                Asked::Page(request, page) => {
                    let page = page.unwrap_or_else(|| self.read(&request));
                    self.turn(|partition, turn| {
                        partition.page(turn, request.user_agent, request.session, Some(page));
                    });
                }
            },
        }
    }

    /// Answers the store call that was asked last.
    pub(super) fn answer_newest(&mut self) {
        self.answer_one(self.asked.len());
    }

    fn read(&self, request: &PageRequest) -> Page {
        let of_level = |(urgency, after): (Urgency, Sequence)| {
            let stored = self.mailbox.range(Sequence(after.0 + 1)..).map(|(_, message)| message);
            stored.filter(move |it| it.to.user_agent == request.user_agent && it.urgency == urgency)
        };
        let all: Vec<_> = request.start.places().flat_map(of_level).collect();
        let messages: Vec<_> =
            all.iter().take(request.limit.messages).map(|message| (***message).clone()).collect();
        // Not every store knows that nothing else is there.
        let is_last = messages.len() == all.len() && !self.next.is_multiple_of(3);
        Page { messages, is_last }
    }

    fn store(&mut self, message: &Arc<Message>) -> Stored {
        if self.log.remove(&message.sequence).is_none() {
            return Stored::Kept;
        }
        if let Some(topic) = &message.topic {
            let same: Vec<_> = self
                .mailbox
                .values()
                .filter(|other| other.to == message.to && other.topic.as_ref() == Some(topic))
                .cloned()
                .collect();
            if same.iter().any(|other| other.sequence > message.sequence) {
                self.end(message.id, Outcome::Replaced);
                return Stored::Ended(Outcome::Replaced);
            }
            for other in same {
                self.mailbox.remove(&other.sequence);
                self.end(other.id, Outcome::Replaced);
            }
        }
        self.mailbox.insert(message.sequence, message.clone());
        Stored::Kept
    }

    fn settle_stored(&mut self, settle: SettleStored) {
        let mut was_there = false;
        if settle.cancel.is_none() {
            let met: Vec<_> =
                settle.ended.iter().map(|(id, _)| self.waiting(settle.user_agent, *id).is_some()).collect();
            self.partition.settled(settle.user_agent, &settle.ended, &met);
        }
        for (id, outcome) in settle.ended {
            if let Some(sequence) = self.waiting(settle.user_agent, id) {
                self.mailbox.remove(&sequence);
                self.end(id, outcome);
                was_there = true;
            }
        }
        if let Some(cancelling) = settle.cancel {
            self.turn(|partition, turn| partition.cancel_met(turn, was_there, cancelling));
            self.hear_cancels();
        }
    }

    /// Sequence under which a message of this user agent is stored.
    fn waiting(&self, of: UserAgentId, id: MessageId) -> Option<Sequence> {
        let mut found = self.mailbox.values().filter(|it| it.to.user_agent == of && it.id == id);
        found.next().map(|message| message.sequence)
    }

    /// Tells how far the log has been read, which rises without a message, too.
    fn tick(&mut self) {
        self.partition.log_read_to(self.read_to());
        self.collect();
    }

    pub(super) fn answer_all(&mut self) {
        self.tick();
        while !(self.stores.is_empty() && self.asked.is_empty()) {
            self.answer_one(usize::from(self.stores.is_empty()));
            self.tick();
        }
    }
}
