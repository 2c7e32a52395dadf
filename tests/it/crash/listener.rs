//! User agents that connect and disconnect, forget to acknowledge, and record every message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pushgrid_client::{Event as Incoming, Notification};
use pushgrid_types::ChannelId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::sender::Service;
use crate::history::chance::Chance;
use crate::history::{Answer, Event, History, Message, Subscription, posting};
use crate::wire::party::{Agent, Application, Channel, SOON};

/// Habit of a user agent while the service is killed again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Connects whenever it can.
    Online,
    /// Connects and disconnects.
    Restless,
    /// Stays away until the end.
    Away,
}

/// A user agent with its subscriptions.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) history: Arc<History>,
    pub(super) service: watch::Receiver<Service>,
    pub(super) habit: Habit,
    pub(super) chance: Chance,
    pub(super) agent: Agent,
    pub(super) channels: BTreeMap<Subscription, Channel>,
    /// Received, not acknowledged yet.
    pub(super) owed: Vec<Notification>,
}

impl Listener {
    /// Follows the habit until the end.
    pub(super) async fn run(mut self) -> Result<Self> {
        if self.habit == Habit::Away {
            self.agent.vanish();
        }
        loop {
            let now = self.service.wait_for(|service| *service != Service::Down).await;
            if now.map_or(Service::Done, |service| *service) == Service::Done {
                return Ok(self);
            }
            match self.habit {
                Habit::Away => self.until_done(Duration::from_hours(1)).await,
                Habit::Online => self.listen(Duration::from_hours(1)).await?,
                Habit::Restless => {
                    let (here, away) = (self.chance.millis(20, 600), self.chance.millis(20, 2500));
                    self.listen(here).await?;
                    if self.chance.percent(50) && self.agent.socket().is_ok() {
                        // The service may be down.
                        let _ = self.agent.leave().await;
                    }
                    self.until_done(away).await;
                }
            }
        }
    }

    /// Waits for `time`, at most until the end.
    async fn until_done(&mut self, time: Duration) {
        let _ = timeout(time, self.service.wait_for(|service| *service == Service::Done)).await;
    }

    /// Connects and takes messages for `time`; a broken connection ends that early. An error only when the service has
    /// forgotten the user agent, or sends a frame that it must not.
    async fn listen(&mut self, time: Duration) -> Result<()> {
        let Ok(back) = timeout(SOON, self.connect()).await else { bail!("no hello in time") };
        if let Err(fault) = back {
            ensure!(!fault.to_string().contains("forgotten"), fault);
            // The service is down, or still starting.
            sleep(Duration::from_millis(20)).await;
            return Ok(());
        }
        let until = Instant::now() + time;
        let mut service = self.service.clone();
        loop {
            let event = tokio::select! {
                event = timeout_at(until, self.agent.socket()?.next()) => event,
                _ = service.wait_for(|service| *service == Service::Done) => return Ok(()),
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

    async fn connect(&mut self) -> Result<()> {
        self.agent.vanish();
        for to in self.channels.keys() {
            self.history.record(Event::Connected { to: *to });
        }
        self.agent.come_back().await
    }

    /// Records a delivery.
    fn got(&self, notification: &Notification) -> Result<Message> {
        let octets = notification.data.as_deref().unwrap_or_default();
        let message = posting::number(octets).context("a body came that nobody has posted")?;
        let to = self.subscription(notification.channel).context("a message came to a foreign channel")?;
        self.history.record(Event::Delivered { message, to, version: notification.version.clone() });
        Ok(message)
    }

    fn subscription(&self, channel: ChannelId) -> Option<Subscription> {
        self.channels.iter().find(|(_, it)| it.id == channel).map(|(number, _)| *number)
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
        if self.agent.ack_all(&now).await.is_err() {
            return false;
        }
        // Most unacknowledged messages are forgotten: the service must redeliver them.
        if self.chance.percent(70) {
            self.owed.clear();
        }
        true
    }

    /// Takes stored messages until a new one of each subscription was received: then the service has looked at every
    /// message posted before. Acknowledges all, or, when there may be more to learn, all without a topic.
    pub(super) async fn drain(&mut self, topics: &BTreeMap<Message, u8>, keep_topics: bool) -> Result<()> {
        self.connect().await?;
        let app = Application::new();
        let mut last = Vec::new();
        for (to, channel) in &self.channels {
            let ttl = Duration::from_hours(1);
            let answer = posting::post(&self.history, &app, *to, &channel.endpoint, ttl, None).await;
            ensure!(answer == Answer::Accepted, "a message to a subscription was {answer:?}");
            last.push(*to);
        }
        let mut missing: BTreeMap<Subscription, Message> = BTreeMap::new();
        for entry in self.history.entries() {
            if let Event::Posted { message, to, .. } = entry.event
                && last.contains(&to)
            {
                missing.insert(to, message);
            }
        }
        while !missing.is_empty() {
            let notification =
                self.agent.next().await.with_context(|| format!("{missing:?} did not come"))?;
            let message = self.got(&notification)?;
            missing.retain(|_, it| *it != message);
            if !(keep_topics && topics.contains_key(&message)) {
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
        for channel in self.channels.values() {
            self.agent.nothing_waits(channel).await?;
        }
        Ok(self.channels.len())
    }
}
