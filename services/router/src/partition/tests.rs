//! The partition against a model of its stores: whatever is posted, acknowledged, cancelled, disconnected and
//! restarted, in whatever order the work comes back, every message ends once, and none is lost.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use pushgrid_store::{Claim, Eviction, NodeLink, NotDelivered, PageLimit, Settlement, Stored};
use pushgrid_types::{
    ChannelId, Content, Epoch, Incarnation, Message, MessageId, NodeId, Outcome, Sequence, SessionId,
    SessionRef, SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId,
};
use tokio::sync::oneshot;

use super::*;

const AGENTS: u8 = 3;
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Step {
    Post {
        agent: u8,
        ttl_zero: bool,
        topic: Option<u8>,
    },
    Connect {
        agent: u8,
    },
    Disconnect {
        agent: u8,
    },
    Acknowledge {
        agent: u8,
        which: prop::sample::Index,
    },
    Cancel {
        which: prop::sample::Index,
    },
    Work {
        which: prop::sample::Index,
    },
    Wait,
    Restart,
    /// Another owner takes the partition over, and the nodes announce their sockets before or after it reads the log.
    TakeOver {
        announced_first: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let agent = 0..AGENTS;
    let step = prop_oneof![
        6 => (agent.clone(), prop::bool::weighted(0.15), prop::option::weighted(0.3, 0..2u8))
            .prop_map(|(agent, ttl_zero, topic)| Step::Post { agent, ttl_zero, topic }),
        2 => agent.clone().prop_map(|agent| Step::Connect { agent }),
        1 => agent.clone().prop_map(|agent| Step::Disconnect { agent }),
        5 => (agent, any::<prop::sample::Index>()).prop_map(|(agent, which)| Step::Acknowledge { agent, which }),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::Cancel { which }),
        8 => any::<prop::sample::Index>().prop_map(|which| Step::Work { which }),
        1 => Just(Step::Wait),
        1 => any::<bool>().prop_map(|announced_first| Step::TakeOver { announced_first }),
        1 => prop::bool::weighted(0.1).prop_map(|restart| if restart { Step::Restart } else { Step::Wait }),
    ];
    prop::collection::vec(step, 1..120)
}

/// The nodes: which sockets are open, and what each was sent.
#[derive(Debug, Default)]
struct Nodes {
    sockets: Mutex<HashMap<SessionRef, Vec<Arc<Message>>>>,
    /// What must not be sent any more.
    acknowledged: Mutex<HashSet<MessageId>>,
}

impl NodeLink for Nodes {
    fn deliver(&self, to: SessionRef, message: &Arc<Message>) -> Result<(), NotDelivered> {
        let mut sockets = self.sockets.lock().unwrap();
        let sent = sockets.get_mut(&to).ok_or(NotDelivered::NotHere)?;
        assert!(!sent.iter().any(|earlier| earlier.id == message.id), "sent twice on one socket");
        assert!(
            !self.acknowledged.lock().unwrap().contains(&message.id),
            "sent again after its acknowledgement"
        );
        if !message.ttl.is_zero() {
            let last = sent.iter().rev().find(|earlier| !earlier.ttl.is_zero());
            assert!(last.is_none_or(|last| last.sequence < message.sequence), "sent out of order");
        }
        sent.push(message.clone());
        Ok(())
    }

    fn evict(&self, session: SessionRef, _why: Eviction) {
        self.sockets.lock().unwrap().remove(&session);
    }
}

/// Work that has been asked for and not answered.
#[derive(Debug)]
enum Asked {
    Settle(SettleStored),
    /// With what was read, when it was read at once.
    Page(PageRequest, Option<Vec<Message>>),
}

#[derive(Debug)]
struct World {
    partition: Partition,
    now: Timestamp,
    nodes: Nodes,
    sockets: HashMap<u8, SessionRef>,
    unacknowledged: HashMap<u8, Vec<MessageId>>,
    next: u64,
    posted: Vec<Arc<Message>>,
    log: BTreeMap<Sequence, Arc<Message>>,
    /// Of these, what the owner of the partition has not read.
    unread: VecDeque<Arc<Message>>,
    announcing: bool,
    mailbox: BTreeMap<Sequence, Arc<Message>>,
    outcomes: HashMap<MessageId, Outcome>,
    seen: HashSet<MessageId>,
    /// Acknowledged since the last restart.
    acknowledged: Vec<MessageId>,
    stores: VecDeque<Vec<Arc<Message>>>,
    asked: Vec<Asked>,
}

fn user_agent(agent: u8) -> UserAgentId {
    UserAgentId::from_octets([agent; 16])
}

fn reference(message: &Message) -> MessageRef {
    let SubscriptionRef { user_agent, channel, .. } = message.to;
    MessageRef { user_agent, channel, id: message.id, sequence: message.sequence }
}

fn new_partition() -> Partition {
    Partition::new(Limits {
        window: 4,
        ack_timeout: ACK_TIMEOUT,
        page: PageLimit { messages: 3, octets: 1 << 20 },
        cancel_grace: Duration::from_millis(250),
        early_cancels: 4,
        early_ends_for: Duration::from_secs(30),
        early_ends: 100,
    })
}

impl World {
    fn new() -> Self {
        Self {
            partition: new_partition(),
            now: Timestamp::from_secs(1_000_000),
            nodes: Nodes::default(),
            sockets: HashMap::new(),
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
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Post { agent, ttl_zero, topic } => self.post(*agent, *ttl_zero, *topic),
            Step::Connect { agent } => self.connect(*agent),
            Step::Disconnect { agent } => self.disconnect(*agent),
            Step::Acknowledge { agent, which } => {
                let list = self.unacknowledged.entry(*agent).or_default();
                if !list.is_empty() {
                    let id = list.remove(which.index(list.len()));
                    self.acknowledge(*agent, id);
                }
            }
            Step::Cancel { which } => {
                if !self.posted.is_empty() {
                    let message = self.posted[which.index(self.posted.len())].clone();
                    let (reply, _) = oneshot::channel();
                    self.partition.cancel(reference(&message), reply);
                }
            }
            Step::Work { which } if self.asked.is_empty() || which.index(2) == 0 => self.read_log(1),
            Step::Work { which } => self.answer_one(which.index(self.asked.len() + 1)),
            Step::Wait => {
                self.now = self.now.plus(ACK_TIMEOUT);
                self.turn(Partition::sweep);
            }
            Step::Restart => self.restart(),
            Step::TakeOver { announced_first } => self.take_over(*announced_first),
        }
        self.collect();
    }

    fn turn<T>(&mut self, verb: impl FnOnce(&mut Partition, Turn<'_>) -> T) -> T {
        verb(&mut self.partition, Turn { now: self.now, nodes: &self.nodes })
    }

    fn post(&mut self, agent: u8, ttl_zero: bool, topic: Option<u8>) {
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
            urgency: Urgency::Normal,
            topic: topic.map(|topic| format!("t{topic}").parse().unwrap()),
            content: Content::default(),
        });
        self.posted.push(message.clone());
        self.log.insert(message.sequence, message.clone());
        self.unread.push_back(message);
        if self.unread.len() == 1 {
            self.read_log(1);
        }
    }

    /// The next messages come out of the log; once all of an earlier owner's have, late announcements come, too.
    fn read_log(&mut self, count: usize) {
        for message in self.unread.drain(..count.min(self.unread.len())).collect::<Vec<_>>() {
            self.turn(|partition, turn| partition.route(turn, Routable { message, alive: true }));
        }
        if std::mem::take(&mut self.announcing) {
            self.announce();
        }
    }

    fn announce(&mut self) {
        for (agent, at) in self.sockets.clone() {
            let claim = Claim { epoch: Epoch(at.session.0), session: at };
            self.turn(|partition, turn| partition.resume(turn, user_agent(agent), claim));
        }
    }

    /// The state is gone; log, mailbox and sockets stay. A node passes over what it has on a socket, so its sockets are
    /// looked at afresh.
    fn take_over(&mut self, announced_first: bool) {
        self.partition = new_partition();
        self.nodes.sockets.lock().unwrap().values_mut().for_each(Vec::clear);
        self.stores.clear();
        self.asked.clear();
        self.acknowledged.clear();
        self.nodes.acknowledged.lock().unwrap().clear();
        self.unread = self.log.values().cloned().collect();
        if announced_first {
            self.announce();
        } else {
            self.announcing = true;
        }
    }

    fn connect(&mut self, agent: u8) {
        self.next += 1;
        let at = SessionRef { node: NodeId(1), session: SessionId(self.next) };
        self.nodes.sockets.lock().unwrap().insert(at, Vec::new());
        self.sockets.insert(agent, at);
        let epoch = Epoch(self.next);
        self.turn(|partition, turn| partition.open(turn, user_agent(agent), Claim { epoch, session: at }));
    }

    fn disconnect(&mut self, agent: u8) {
        if let Some(at) = self.sockets.remove(&agent) {
            self.nodes.sockets.lock().unwrap().remove(&at);
            let (done, _) = oneshot::channel();
            self.turn(|partition, turn| partition.close(turn, user_agent(agent), at, done));
        }
    }

    fn acknowledge(&mut self, agent: u8, id: MessageId) {
        self.acknowledged.push(id);
        self.nodes.acknowledged.lock().unwrap().insert(id);
        let ended = [Settlement { id, outcome: Outcome::Delivered }];
        self.turn(|partition, turn| partition.settle(turn, user_agent(agent), &ended));
    }

    /// The process ends and starts again: sockets and state are gone, log and mailbox stay.
    fn restart(&mut self) {
        self.partition = new_partition();
        self.nodes.sockets.lock().unwrap().clear();
        self.sockets.clear();
        self.stores.clear();
        self.asked.clear();
        // The log and the mailbox may have forgotten these, and they come again.
        self.acknowledged.clear();
        self.nodes.acknowledged.lock().unwrap().clear();
        self.unread = self.log.values().cloned().collect();
        self.announcing = false;
        self.read_log(usize::MAX);
    }

    /// Takes what the partition wants done, and notes what the sockets were sent.
    fn collect(&mut self) {
        let work = self.partition.take_work();
        for (sequence, outcome) in work.settle_log {
            if let Some(message) = self.log.remove(&sequence) {
                self.end(message.id, outcome);
            }
        }
        if !work.store.is_empty() {
            self.stores.push_back(work.store);
        }
        self.asked.extend(work.settle_mailbox.into_iter().map(Asked::Settle));
        for request in work.pages {
            // A read happens at any time between the question and its answer: here at one end or at the other.
            let at_once = (request.after.0 + self.next).is_multiple_of(2);
            let page = at_once.then(|| self.read(&request));
            self.asked.push(Asked::Page(request, page));
        }
        let sockets = self.nodes.sockets.lock().unwrap();
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
                Asked::Page(request, page) => {
                    let page = page.unwrap_or_else(|| self.read(&request));
                    self.turn(|partition, turn| {
                        partition.page(turn, request.user_agent, request.session, Some(page));
                    });
                }
            },
        }
    }

    fn read(&self, request: &PageRequest) -> Vec<Message> {
        let page = self.mailbox.range(Sequence(request.after.0 + 1)..).map(|(_, message)| message);
        let page = page.filter(|message| message.to.user_agent == request.user_agent);
        page.take(request.limit.messages).map(|message| (**message).clone()).collect()
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
            let met: Vec<_> = settle
                .ended
                .iter()
                .map(|(id, _)| self.mailbox.values().any(|message| message.id == *id))
                .collect();
            self.partition.settled(settle.user_agent, &settle.ended, &met);
        }
        for (id, outcome) in settle.ended {
            let found = self.mailbox.iter().find(|(_, message)| message.id == id).map(|(key, _)| *key);
            if let Some(sequence) = found {
                self.mailbox.remove(&sequence);
                self.end(id, outcome);
                was_there = true;
            }
        }
        if let Some(cancelling) = settle.cancel {
            self.turn(|partition, turn| partition.cancel_met(turn, was_there, cancelling));
        }
    }

    fn answer_all(&mut self) {
        while !(self.stores.is_empty() && self.asked.is_empty()) {
            self.answer_one(usize::from(self.stores.is_empty()));
            self.collect();
        }
    }

    /// What must be true whenever nothing is under way.
    fn check_at_rest(&self) {
        for id in &self.acknowledged {
            assert!(self.outcomes.contains_key(id), "acknowledged, and still pending");
        }
        let pending = self.posted.iter().filter(|message| !self.outcomes.contains_key(&message.id));
        let mut topics = HashSet::new();
        for message in pending.filter(|message| message.topic.is_some()) {
            assert!(topics.insert((message.to, message.topic.clone())), "two pending messages of one topic");
        }
    }

    /// Everybody connects afresh, everything is answered and acknowledged.
    fn finish(&mut self) {
        self.read_log(usize::MAX);
        self.collect();
        self.answer_all();
        self.check_at_rest();
        for agent in 0..AGENTS {
            self.connect(agent);
        }
        self.collect();
        // Each round ends at least one message or answers one call, so this is far more than it takes.
        for _ in 0..10_000 {
            self.answer_all();
            let sent: Vec<_> = {
                let sockets = self.nodes.sockets.lock().unwrap();
                let of = |(agent, at): (&u8, &SessionRef)| {
                    sockets
                        .get(at)
                        .into_iter()
                        .flatten()
                        .map(|message| (*agent, message.id))
                        .collect::<Vec<_>>()
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

    fn check(&self) {
        assert!(self.log.is_empty(), "{} messages are left in the log", self.log.len());
        assert!(self.mailbox.is_empty(), "{} messages are left in the mailbox", self.mailbox.len());
        for message in &self.posted {
            match self.outcomes[&message.id] {
                Outcome::Delivered => assert!(self.seen.contains(&message.id), "delivered, and never sent"),
                Outcome::Expired => assert!(message.ttl.is_zero(), "a message with time left has expired"),
                Outcome::Cancelled => {}
                Outcome::Replaced => {
                    let newer = self.posted.iter().any(|other| {
                        other.sequence > message.sequence
                            && other.to.user_agent == message.to.user_agent
                            && other.topic == message.topic
                    });
                    assert!(message.topic.is_some() && newer, "replaced by nothing newer");
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }
}

#[test]
fn a_delete_waits_for_a_message_that_has_not_come_out_of_the_log_and_for_no_other() {
    let mut world = World::new();
    world.post(0, false, None);
    let seen = world.posted[0].clone();
    let unread =
        Arc::new(Message { sequence: Sequence(9), id: MessageId::from_octets([9; 16]), ..(*seen).clone() });
    world.collect();
    world.answer_all();
    let ask = |world: &mut World, message: &Message| {
        let (reply, answer) = oneshot::channel();
        world.partition.cancel(reference(message), reply);
        world.collect();
        world.answer_all();
        answer
    };
    assert_eq!(ask(&mut world, &seen).try_recv(), Ok(Cancelled::Ended));
    assert_eq!(
        ask(&mut world, &seen).try_recv(),
        Ok(Cancelled::Gone),
        "it has been seen, so that is certain"
    );
    let mut early = ask(&mut world, &unread);
    assert!(early.try_recv().is_err(), "nobody can say yet");
    world.turn(|partition, turn| partition.route(turn, Routable { message: unread.clone(), alive: true }));
    assert_eq!(early.try_recv(), Ok(Cancelled::Ended));
}

#[test]
fn one_that_is_too_late_for_itself_still_takes_the_place_of_the_older_one_of_its_topic() {
    let mut world = World::new();
    world.connect(0);
    world.collect();
    world.answer_all();
    world.post(0, false, Some(0));
    world.collect();
    let older = world.posted[0].clone();
    let late = Message { sequence: Sequence(99), expires_at: world.now, ..(*older).clone() };
    let late = Arc::new(Message { id: MessageId::from_octets([9; 16]), ..late });
    world.log.insert(late.sequence, late.clone());
    world.turn(|partition, turn| partition.route(turn, Routable { message: late.clone(), alive: true }));
    world.collect();
    assert_eq!(world.outcomes.get(&older.id), Some(&Outcome::Replaced));
    assert_eq!(world.stores.back(), Some(&vec![late]), "it is stored for a moment, where it replaces others");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_message_ends_once_and_none_is_lost(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.finish();
        world.check();
        prop_assert!(world.partition.early.len() <= 4);
    }
}
