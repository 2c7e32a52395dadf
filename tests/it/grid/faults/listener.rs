//! User agents that connect to any node and disconnect, subscribe and unsubscribe, forget to acknowledge, and record
//! every message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{Event as Incoming, Notification};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::posters::Endpoints;
use crate::grid::at;
use crate::history::chance::Chance;
use crate::history::{Answer, Event, History, Message, Subscription, posting};
use crate::wire::party::{Agent, Application, Channel};

/// Deadline of a node's answer, after which another node is tried.
const HELLO: Duration = Duration::from_secs(5);

const LONG: Duration = Duration::from_hours(1);

/// Habit of a user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Connects whenever it can.
    Online,
    /// Connects and disconnects, and changes its subscriptions.
    Restless,
    /// Stays away until the end.
    Away,
}

/// A user agent with its subscriptions.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) history: Arc<History>,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) nodes: Vec<String>,
    pub(super) done: watch::Receiver<bool>,
    pub(super) habit: Habit,
    pub(super) chance: Chance,
    pub(super) agent: Agent,
    /// Subscriptions that are not ending.
    pub(super) live: BTreeMap<Subscription, Channel>,
    /// All subscriptions so far.
    pub(super) all: BTreeMap<Subscription, Channel>,
    /// Received, not acknowledged yet.
    pub(super) owed: Vec<Notification>,
    /// Subscription that is ending: retried until confirmed.
    pub(super) ending: Option<Subscription>,
}

impl Listener {
    /// Follows the habit until the end.
    pub(super) async fn run(mut self) -> Result<Self> {
        if self.habit == Habit::Away {
            self.agent.vanish();
        }
        while !*self.done.borrow() {
            match self.habit {
                Habit::Away => self.until_done(LONG).await,
                Habit::Online => self.listen(LONG).await?,
                Habit::Restless => {
                    let (here, away) = (self.chance.millis(200, 8000), self.chance.millis(100, 8000));
                    self.listen(here).await?;
                    if self.chance.percent(50) && self.agent.socket().is_ok() {
                        // The node may be down.
                        let _ = timeout(HELLO, self.agent.leave()).await;
                    }
                    self.agent.vanish();
                    self.until_done(away).await;
                }
            }
        }
        Ok(self)
    }

    /// Waits for `time`, at most until the end.
    async fn until_done(&mut self, time: Duration) {
        let _ = timeout(time, self.done.wait_for(|done| *done)).await;
    }

    /// Connects and takes messages for `time`; a broken connection ends that early. An error only when the service has
    /// forgotten the user agent, or sends a frame that it must not.
    async fn listen(&mut self, time: Duration) -> Result<()> {
        match timeout(HELLO, self.connect()).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) if fault.to_string().contains("forgotten") => return Err(fault),
            Ok(Err(_)) | Err(_) => {
                // The node, or the router behind it, is down.
                let breath = self.chance.millis(50, 500);
                self.until_done(breath).await;
                return Ok(());
            }
        }
        if self.habit == Habit::Restless && (self.ending.is_some() || self.chance.percent(20)) {
            let changed = timeout(HELLO, self.change()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Ok(());
            }
        }
        let until = Instant::now() + time;
        let mut done = self.done.clone();
        loop {
            let Ok(socket) = self.agent.socket() else { return Ok(()) };
            let event = tokio::select! {
                event = timeout_at(until, socket.next()) => event,
                _ = done.wait_for(|done| *done) => return Ok(()),
            };
            match event {
                Ok(Ok(Incoming::Notification(notification))) => {
                    self.got(&notification)?;
                    self.owed.push(notification);
                    if !self.acknowledge_some().await {
                        return Ok(());
                    }
                }
                Ok(Ok(Incoming::Closed { .. }) | Err(_)) | Err(_) => return Ok(()),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Reconnects to any node.
    async fn connect(&mut self) -> Result<()> {
        self.agent.vanish();
        for to in self.live.keys() {
            self.history.record(Event::Connected { to: *to });
        }
        let node = usize::try_from(self.chance.below(self.nodes.len() as u64))?;
        self.agent.come_back_to(&self.nodes[node]).await
    }

    /// Replaces a subscription by a new one. The connection is closed afterwards: its messages belong to the time
    /// before.
    async fn change(&mut self) -> Result<()> {
        if self.ending.is_none() {
            let channel = self.agent.subscribe().await?;
            let oldest = self.live.keys().next().copied().context("it has a subscription")?;
            let new = self.endpoints.tell(channel.endpoint.clone());
            self.live.insert(new, channel.clone());
            self.all.insert(new, channel);
            self.live.remove(&oldest);
            self.history.record(Event::Ending { to: oldest });
            self.ending = Some(oldest);
        }
        self.end().await
    }

    /// Ends the subscription that is ending, if any.
    async fn end(&mut self) -> Result<()> {
        let Some(to) = self.ending else { return Ok(()) };
        self.agent.unsubscribe(&self.all[&to].clone()).await?;
        self.history.record(Event::Ended { to });
        self.ending = None;
        self.agent.vanish();
        Ok(())
    }

    /// Records a delivery.
    fn got(&self, notification: &Notification) -> Result<Message> {
        let octets = notification.data.as_deref().unwrap_or_default();
        let message = posting::number(octets).context("a body came that nobody has posted")?;
        let to = self.all.iter().find(|(_, it)| it.id == notification.channel);
        let (to, _) = to.context("a message came to a foreign channel")?;
        let version = notification.version.clone();
        self.history.record(Event::Delivered { message, to: *to, version });
        Ok(message)
    }

    /// Acknowledges most messages at once, some later, and some never. Returns whether the connection still lives.
    async fn acknowledge_some(&mut self) -> bool {
        if self.chance.percent(10) {
            return true;
        }
        let keep = usize::from(self.chance.percent(5)).min(self.owed.len());
        let now = self.owed.split_off(keep);
        for message in now.iter().filter_map(|it| posting::number(it.data.as_deref()?)) {
            self.history.record(Event::Acknowledged { message });
        }
        if !matches!(timeout(HELLO, self.agent.ack_all(&now)).await, Ok(Ok(()))) {
            return false;
        }
        // Most unacknowledged messages are forgotten: the service must redeliver them.
        if self.chance.percent(70) {
            self.owed.clear();
        }
        true
    }

    /// Takes stored messages until a new one of each subscription, posted to each ingress in turn, was received: then
    /// the service has looked at every message posted before by any ingress. Acknowledges all but those to keep.
    pub(super) async fn drain(&mut self, ingresses: &[String], keep: impl Fn(Message) -> bool) -> Result<()> {
        self.owed.clear();
        if self.ending.is_some() {
            self.connect().await?;
            self.end().await.context("a subscription ends")?;
        }
        self.connect().await?;
        let app = Application::new();
        let mut missing: BTreeMap<Subscription, Message> = BTreeMap::new();
        for (to, channel) in &self.live {
            for ingress in ingresses {
                let endpoint = at(ingress, &channel.endpoint)?;
                let answer = posting::post(&self.history, &app, *to, &endpoint, LONG, None).await;
                ensure!(answer == Answer::Accepted, "a message to a subscription was {answer:?}");
            }
        }
        for entry in self.history.entries() {
            if let Event::Posted { message, to, .. } = entry.event
                && self.live.contains_key(&to)
            {
                missing.insert(to, message);
            }
        }
        while !missing.is_empty() {
            let next = self.agent.next().await;
            let notification = next.with_context(|| format!("{missing:?} did not come"))?;
            let message = self.got(&notification)?;
            missing.retain(|_, it| *it != message);
            if !keep(message) {
                self.agent.ack(&notification).await?;
                self.history.record(Event::Acknowledged { message });
            }
        }
        Ok(())
    }

    /// Checks that no message is left, and returns the number of messages posted for that.
    pub(super) async fn has_all(&mut self) -> Result<usize> {
        self.agent.leave().await?;
        self.agent.come_back().await?;
        for channel in self.live.values() {
            self.agent.nothing_waits(channel).await?;
        }
        self.agent.leave().await?;
        Ok(self.live.len())
    }
}
