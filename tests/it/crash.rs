//! The process is killed at random while messages flow: every accepted message that has not expired is delivered, under
//! one id, none after its expiry, and the account adds up.
//!
//! Standalone only: the grid has [`crate::grid`]. [`clock`] sets the machine's clock, [`full`] fills its disk.
//! [`sender`] and [`listener`] are the parties; their events go into a [`crate::history`] for its checker.

mod clock;
mod full;
mod listener;
mod sender;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use pushgrid_it::{Accounts, Server, within};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::history::chance::Chance;
use crate::history::checker::{self, Rules};
use crate::history::{self, Answer, Entry, Event, History, Message};
use crate::wire::party::{Agent, Application, Channel, MINUTE};
use listener::{Habit, Listener};
use sender::{Sender, Service};

const KILLS: usize = 12;

/// Deadline of the whole test.
const LIMIT: Duration = Duration::from_mins(1);

const HABITS: [(Habit, usize); 3] = [(Habit::Online, 4), (Habit::Restless, 4), (Habit::Away, 3)];

/// Subscriptions of each user agent.
const CHANNELS: usize = 2;

/// User agents and application servers of a run.
struct Crowd {
    history: Arc<History>,
    service: watch::Sender<Service>,
    senders: Vec<JoinHandle<()>>,
    listeners: Vec<JoinHandle<Result<Listener>>>,
}

impl Crowd {
    async fn gather(server: &Server, chance: &mut Chance) -> Result<Self> {
        let (service, receiver) = watch::channel(Service::Up);
        let history = Arc::new(History::new());
        let mut crowd =
            Self { history: history.clone(), service, senders: Vec::new(), listeners: Vec::new() };
        let habits = HABITS.iter().flat_map(|(habit, count)| std::iter::repeat_n(*habit, *count));
        for habit in habits {
            let mut agent = Agent::new(server.connection()).await?;
            let mut channels = BTreeMap::new();
            for _ in 0..CHANNELS {
                let (to, channel) = (crowd.senders.len(), agent.subscribe().await?);
                let sender = Sender {
                    history: history.clone(),
                    service: receiver.clone(),
                    to,
                    endpoint: channel.endpoint.clone(),
                    // Backlogs must be delivered in the end, in bounded time.
                    pause: Duration::from_millis(if habit == Habit::Away { 25 } else { 0 }),
                    chance: chance.split(),
                };
                crowd.senders.push(tokio::spawn(sender.run()));
                channels.insert(to, channel);
            }
            let listener = Listener {
                history: history.clone(),
                service: receiver.clone(),
                habit,
                chance: chance.split(),
                agent,
                channels,
                owed: Vec::new(),
            };
            crowd.listeners.push(tokio::spawn(listener.run()));
        }
        Ok(crowd)
    }

    /// Ends posting, and returns the user agents.
    async fn rest(&mut self) -> Result<Vec<Listener>> {
        self.service.send_replace(Service::Done);
        try_join_all(self.senders.drain(..)).await?;
        try_join_all(self.listeners.drain(..)).await?.into_iter().collect()
    }
}

/// User agent whose subscriptions must outlive kills, each from the moment that the user agent has the endpoint.
struct Registrar {
    agent: Agent,
    channels: Vec<Channel>,
}

impl Registrar {
    async fn subscribe(&mut self) -> Result<()> {
        let channel = self.agent.subscribe().await?;
        self.channels.push(channel);
        Ok(())
    }

    async fn find_all(&mut self) -> Result<()> {
        let app = Application::new();
        for (number, channel) in self.channels.iter().enumerate() {
            let status = app.post(&channel.endpoint, MINUTE, "x").await?.status;
            ensure!(status == 201, "subscription {number} of {} was answered {status}", self.channels.len());
        }
        self.agent.vanish();
        self.agent.come_back().await?;
        self.agent.take_all(self.channels.len()).await?;
        Ok(())
    }
}

// Holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_outlives_a_dozen_kills_at_random() -> Result<()> {
    let seed = Chance::seed();
    eprintln!("PUSHGRID_TEST_SEED={seed}");
    within(LIMIT, "the whole run", run(Chance::new(seed))).await?.with_context(|| format!("seed {seed}"))
}

async fn run(mut chance: Chance) -> Result<()> {
    let mut server = Server::standalone_with(&[]).await?;
    let mut registrar = Registrar { agent: Agent::new(server.connection()).await?, channels: Vec::new() };
    let mut crowd = Crowd::gather(&server, &mut chance).await?;
    let mut registered = 0;
    for _ in 0..KILLS {
        sleep(chance.millis(100, 1500)).await;
        registrar.subscribe().await?;
        // A connection made between the two lines meets the life before or after the kill.
        crowd.history.record(Event::Killed);
        server.kill().await?;
        crowd.history.record(Event::Killed);
        crowd.service.send_replace(Service::Down);
        server.start_again().await?;
        crowd.service.send_replace(Service::Up);
        registrar.find_all().await?;
        registered += registrar.channels.len();
    }
    let mut listeners = crowd.rest().await?;
    let entries = drain(&crowd.history, &mut listeners).await?;
    judge(&entries)?;
    let waited = try_join_all(listeners.iter_mut().map(Listener::has_all)).await?;
    let others = registered + waited.into_iter().sum::<usize>();
    add_up(&server.settled().await?, &entries, others)?;
    Ok(())
}

/// Takes all stored messages, in two rounds: after the first, the service has looked at every message, so that the
/// second gets exactly the pending ones.
async fn drain(history: &History, listeners: &mut [Listener]) -> Result<Vec<Entry>> {
    let topics: BTreeMap<Message, u8> = history
        .entries()
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Posted { message, topic: Some(topic), .. } => Some((message, topic)),
            _ => None,
        })
        .collect();
    try_join_all(listeners.iter_mut().map(|listener| listener.drain(&topics, true))).await?;
    history.record(Event::Drained);
    try_join_all(listeners.iter_mut().map(|listener| listener.drain(&topics, false))).await?;
    Ok(history.entries())
}

fn judge(entries: &[Entry]) -> Result<()> {
    let count = |is: fn(&Event) -> bool| entries.iter().filter(|entry| is(&entry.event)).count();
    let accepted = count(|event| matches!(event, Event::Answered { answer: Answer::Accepted, .. }));
    let unknown = count(|event| matches!(event, Event::Answered { answer: Answer::Unknown, .. }));
    let refused = count(|event| matches!(event, Event::Answered { answer: Answer::Refused, .. }));
    let delivered = count(|event| matches!(event, Event::Delivered { .. }));
    eprintln!("{accepted} accepted, {unknown} unknown, {refused} refused, {delivered} deliveries");
    // Too few events would prove nothing.
    ensure!(accepted > 1000 && unknown > 0 && delivered > 1000, "too little happened");
    let violations = checker::check(entries, Rules::ONE_PROCESS);
    let Some(first) = violations.first() else { return Ok(()) };
    let shown = history::about(entries, &first.messages());
    bail!("{} promises were broken; the first is {first:?}:\n{shown}", violations.len())
}

/// Checks that the account has each accepted message once, each unknown one at most once, and no other.
fn add_up(accounts: &Accounts, entries: &[Entry], others: usize) -> Result<()> {
    let answers = |wanted| {
        let is = |entry: &&Entry| matches!(entry.event, Event::Answered { answer, .. } if answer == wanted);
        entries.iter().filter(is).count() + if wanted == Answer::Accepted { others } else { 0 }
    };
    let (accepted, unknown) = (answers(Answer::Accepted) as u64, answers(Answer::Unknown) as u64);
    ensure!(
        (accepted..=accepted + unknown).contains(&accounts.accepted),
        "{accepted} were accepted, of {unknown} nobody knows, and the books say {accounts:?}"
    );
    ensure!(accounts.pending == 0 && accounts.accepted == accounts.ended_in_all(), "{accounts:?}");
    ensure!(accounts.ended("cancelled") == 0 && accounts.ended("unsubscribed") == 0, "{accounts:?}");
    Ok(())
}
