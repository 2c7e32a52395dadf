//! User agents by the thousand: opened together, then attended by one task each.
//!
//! Invariant: every notification is entered into the ledger and acknowledged before the next event is read. Rates and
//! figures are computed elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Uri;
use pushgrid_client::{ClientError, Event, UserAgent, codes};
use pushgrid_crypto::vapid::PublicKey;
use pushgrid_types::cast::fitting;
use pushgrid_types::{ChannelId, SystemRng, UserAgentId};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::content::Content;
use crate::ledger::Ledger;
use crate::progress;
use crate::site::Site;

/// Time for all user agents together to say goodbye.
const GOODBYE: Duration = Duration::from_mins(1);

/// Number of opened user agents between two lines of progress.
const PROGRESS: usize = 2000;

/// Identity of a user agent, kept between two connections.
#[derive(Clone, Copy)]
pub(super) struct Identity {
    /// Number among all user agents of the run.
    number: usize,
    user_agent: UserAgentId,
    channel: ChannelId,
}

/// A connected user agent with one subscription.
pub(super) struct Agent {
    pub(super) identity: Identity,
    /// URL to post to, at one of the named ingresses.
    pub(super) endpoint: Uri,
    /// The endpoint as the service gave it.
    pub(super) given: String,
    connection: UserAgent,
}

/// Number and kind of user agents, and the speed of opening.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) count: usize,
    /// Number of connects at a time.
    pub(super) parallel: usize,
    /// VAPID key to which the subscriptions are restricted.
    pub(super) key: Option<PublicKey>,
}

/// Connects and subscribes all user agents, or fails with the first that cannot.
pub(super) async fn open(site: &Arc<Site>, opening: Opening) -> Result<Vec<Agent>> {
    super::open_files::check(opening.count as u64)?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..opening.parallel.min(opening.count) {
        let (site, next) = (Arc::clone(site), Arc::clone(&next));
        workers.spawn(async move {
            let mut opened = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= opening.count {
                    return anyhow::Ok(opened);
                }
                if number > 0 && number % PROGRESS == 0 {
                    progress(&format!("{number} of {} user agents", opening.count));
                }
                let failed = || format!("user agent {} of {}", number + 1, opening.count);
                opened.push(Agent::open(&site, number, opening.key.as_ref()).await.with_context(failed)?);
            }
        });
    }
    let mut agents = Vec::with_capacity(opening.count);
    while let Some(opened) = workers.join_next().await {
        agents.extend(opened??);
    }
    Ok(agents)
}

impl Agent {
    async fn open(site: &Site, number: usize, key: Option<&PublicKey>) -> Result<Self> {
        let mut connection = UserAgent::connect_with(&site.connect_options(number)).await?;
        let user_agent = connection.hello(None).await?.user_agent;
        let channel = ChannelId::random(&SystemRng);
        let given = connection.register(channel, key).await?;
        let endpoint = site.post_uri(&given)?;
        Ok(Self { identity: Identity { number, user_agent, channel }, endpoint, given, connection })
    }

    /// Disconnects; the subscription stays.
    pub(super) async fn part(self) -> Result<Identity> {
        self.connection.close().await?;
        Ok(self.identity)
    }

    /// Connects the same user agent again.
    async fn come_back(site: &Site, identity: Identity) -> Result<UserAgent> {
        let mut connection = UserAgent::connect_with(&site.connect_options(identity.number)).await?;
        let hello = connection.hello(Some(identity.user_agent)).await?;
        ensure!(hello.user_agent == identity.user_agent, "the service has forgotten a user agent");
        Ok(connection)
    }
}

/// Tasks that receive the notifications of user agents, acknowledge them and enter them into the ledger.
pub(super) struct Attendants {
    tasks: JoinSet<()>,
    desk: Arc<Desk>,
}

/// State shared by all tasks.
struct Desk {
    ledger: Arc<Ledger>,
    content: Content,
    stop: CancellationToken,
    /// Connections that ended unasked.
    broken: AtomicU64,
    keep: bool,
}

impl Attendants {
    pub(super) fn new(site: &Site, ledger: Arc<Ledger>, content: Content) -> Self {
        let stop = CancellationToken::new();
        let desk = Desk { ledger, content, stop, broken: AtomicU64::new(0), keep: site.keep };
        Self { tasks: JoinSet::new(), desk: Arc::new(desk) }
    }

    /// Attends a connected user agent.
    pub(super) fn attend(&mut self, agent: Agent) {
        let desk = Arc::clone(&self.desk);
        self.tasks.spawn(async move { desk.attend(agent.connection, agent.identity).await });
    }

    /// Has a user agent connect again, and attends it.
    pub(super) fn come_back(&mut self, site: &Arc<Site>, identity: Identity) {
        let (desk, site) = (Arc::clone(&self.desk), Arc::clone(site));
        self.tasks.spawn(async move {
            match Agent::come_back(&site, identity).await {
                Ok(connection) => desk.attend(connection, identity).await,
                Err(error) => desk.broke(&format!("{error:#}")),
            }
        });
    }

    /// Ends the subscriptions, unless they are to be kept, and the connections. Answers with how many connections
    /// had ended before, unasked.
    pub(super) async fn leave(mut self) -> u64 {
        let broken = self.desk.broken.load(Ordering::Relaxed);
        self.desk.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(GOODBYE, all).await.is_err() {
            progress("some user agents did not get to say goodbye");
        }
        broken
    }
}

impl Desk {
    async fn attend(&self, mut connection: UserAgent, identity: Identity) {
        let stopped = self.stop.cancelled();
        tokio::pin!(stopped);
        let mut order = Order::default();
        loop {
            let event = tokio::select! {
                () = &mut stopped => break,
                event = connection.next() => event,
            };
            let taken = match event {
                Ok(event) => self.take(&mut connection, &mut order, event).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                return self.broke(&error.to_string());
            }
        }
        // What fails now is no part of the measurement.
        if !self.keep {
            let _ = connection.unregister(identity.channel, codes::UNREGISTERED_BY_HAND).await;
        }
        let _ = connection.close().await;
    }

    async fn take(
        &self,
        connection: &mut UserAgent,
        order: &mut Order,
        event: Event,
    ) -> Result<(), ClientError> {
        match event {
            Event::Notification(notification) => {
                match notification.data.as_deref().and_then(|body| self.content.mark(body)) {
                    Some(mark) => {
                        let first = self.ledger.arrived(mark.number);
                        if first && !order.follows(mark.sender, mark.number) {
                            self.ledger.disordered();
                        }
                    }
                    None => self.ledger.stranger(),
                }
                connection.ack(&[notification.ack(codes::DELIVERED)]).await
            }
            Event::Closed { code, reason } => Err(ClientError::Closed { code, reason }),
            Event::Broadcast(_) | Event::Pong => Ok(()),
        }
    }

    /// Counts a connection that ended; the first one is told.
    fn broke(&self, why: &str) {
        if self.broken.fetch_add(1, Ordering::Relaxed) == 0 {
            progress(&format!("a user agent lost its connection: {why}"));
        }
    }
}

/// The last message that came from each sender.
#[derive(Default)]
struct Order(Vec<Option<u64>>);

impl Order {
    /// True when message `number` is later than all earlier ones of the same sender.
    fn follows(&mut self, sender: u32, number: u64) -> bool {
        let sender = fitting::<usize>(sender);
        if self.0.len() <= sender {
            self.0.resize(sender + 1, None);
        }
        let follows = self.0[sender] < Some(number);
        self.0[sender] = self.0[sender].max(Some(number));
        follows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_for_each_sender_alone() {
        let mut order = Order::default();
        let came = [(0, 0), (1, 5), (0, 3), (1, 3), (0, 4), (1, 4)];
        let follows = came.map(|(sender, number)| order.follows(sender, number));
        assert_eq!(follows, [true, true, true, false, true, false]);
    }
}
