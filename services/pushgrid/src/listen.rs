//! `pushgrid listen`: a user agent in the terminal.
//!
//! Identity and keys are kept in a file, so the next start continues with the same subscription and gets the messages
//! stored meanwhile. A message is acknowledged only after it has been printed; one that comes again, to this process or
//! to the next, is not printed again.

mod line;
mod output;
mod recent;
mod state;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use pushgrid_client::{ClientError, HttpAgent, Notification, UserAgent, codes};
use pushgrid_crypto::vapid::PublicKey;
use pushgrid_runtime::Backoff;
use pushgrid_types::{Rng, SystemClock, SystemRng, Urgency};
use tokio_util::sync::CancellationToken;

use self::line::{Incoming, Line, Transport};
use self::output::Output;
use self::recent::Recent;
use self::state::{Identity, State};
use crate::{secret_file, vapid_file};

/// Backoff before a reconnect.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address of the push service for user agents
    #[arg(long, default_value = "ws://localhost:8081")]
    url: String,
    /// Way of the messages to this user agent
    #[arg(long, value_enum, default_value_t = Transport::Ws)]
    transport: Transport,
    /// Keeps the identity of this user agent, and the private keys (mode 0600); FILE.recent beside it has the ids of the
    /// messages printed last
    #[arg(long, value_name = "FILE", default_value = "pushgrid-listen.json")]
    state: PathBuf,
    /// Take only messages signed with the private half of this VAPID key: the key as text, or a file with the pair
    #[arg(long, value_name = "VAPID_PUBLIC|FILE", conflicts_with = "open")]
    key: Option<String>,
    /// Take messages from anybody with the endpoint; with neither, the subscription stays as it was
    #[arg(long)]
    open: bool,
    /// Also write the subscription to this file (mode 0600), for pushgrid send
    #[arg(long, value_name = "FILE")]
    subscription: Option<PathBuf>,
    /// Take only messages of this urgency and above; the others wait at the service
    #[arg(long, value_name = "very-low|low|normal|high")]
    urgency: Option<Urgency>,
    /// End after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print one JSON object on each line
    #[arg(long)]
    json: bool,
}

/// The application servers that may send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Senders {
    /// As the subscription was made; anybody, for a new subscription.
    AsBefore,
    Anybody,
    Only(PublicKey),
}

/// Listens until a signal, or until `--count` messages have come.
pub(crate) async fn run(args: Args) -> Result<()> {
    let senders = match (&args.key, args.open) {
        (Some(text), _) => Senders::Only(vapid_file::public_key(text)?),
        (None, true) => Senders::Anybody,
        (None, false) => Senders::AsBefore,
    };
    let stop = CancellationToken::new();
    let signals = tokio::spawn(cancel_on_signal(stop.clone()));
    let mut listener = Listener {
        // The state first: its lock is the one of both files.
        state: State::open(args.state.clone(), &args.url, args.transport == Transport::Ws)?,
        recent: Recent::open(&args.state)?,
        output: Output::new(args.json, Box::new(SystemClock)),
        url: args.url,
        transport: args.transport,
        senders,
        min_urgency: args.urgency,
        subscription_file: args.subscription,
        shown: None,
        left: args.count,
        rng: Box::new(SystemRng),
    };
    let ended = listener.run(&stop).await;
    signals.abort();
    ended
}

async fn cancel_on_signal(stop: CancellationToken) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).expect("a handler can be installed at the start");
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
    stop.cancel();
}

struct Listener {
    url: String,
    transport: Transport,
    senders: Senders,
    min_urgency: Option<Urgency>,
    subscription_file: Option<PathBuf>,
    state: State,
    output: Output,
    /// The subscription printed last.
    shown: Option<String>,
    /// Number of messages still wanted; `None` for no limit.
    left: Option<u64>,
    recent: Recent,
    rng: Box<dyn Rng>,
}

/// Reason that a connection ended without a fault of this side.
enum End {
    Stopped,
    Counted,
    Closed { code: Option<u16>, reason: String },
}

impl Listener {
    /// Connects again and again, with backoff. The first connection must succeed: a wrong address is better reported
    /// than retried.
    async fn run(&mut self, stop: &CancellationToken) -> Result<()> {
        let mut backoff = BACKOFF;
        loop {
            let mut welcomed = false;
            let ended = self.connection(stop, &mut welcomed).await;
            if welcomed {
                backoff.reset();
            }
            let why = match ended {
                Ok(End::Stopped | End::Counted) => return Ok(()),
                Ok(End::Closed { code: Some(codes::DO_NOT_RECONNECT), reason }) => {
                    anyhow::bail!("the push service asks not to connect again ({reason:?})");
                }
                Ok(End::Closed { code, reason }) => ClientError::Closed { code, reason }.into(),
                Err(error) if !welcomed && self.shown.is_none() => return Err(error),
                Err(error) => error,
            };
            let pause = backoff.fail();
            self.output.note(&format!("{why:#}; connecting again in {} ms", pause.as_millis()));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Runs one connection from connect to close.
    async fn connection(&mut self, stop: &CancellationToken, welcomed: &mut bool) -> Result<End> {
        let mut line = tokio::select! {
            () = stop.cancelled() => return Ok(End::Stopped),
            entered = self.enter() => entered?,
        };
        // With server push, the first answer comes with the first message.
        *welcomed = self.transport != Transport::H2;
        let end = loop {
            let event = tokio::select! {
                () = stop.cancelled() => break End::Stopped,
                event = line.next() => event?,
            };
            *welcomed = true;
            match event {
                Incoming::Message(notification) => self.take(&mut line, &notification).await?,
                Incoming::Closed { code, reason } => return Ok(End::Closed { code, reason }),
                Incoming::Gone => {
                    self.output.note("the subscription has ended: subscribing anew");
                    self.state.forget();
                    return Ok(End::Closed { code: None, reason: String::new() });
                }
                Incoming::Nothing => {}
            }
            if self.left == Some(0) {
                break End::Counted;
            }
        };
        line.close().await;
        Ok(end)
    }

    /// Connects, and subscribes unless a fitting subscription is kept.
    async fn enter(&mut self) -> Result<Line> {
        let line = match self.transport.http() {
            None => Line::WebSocket(Box::new(self.enter_by_socket().await?)),
            Some(transport) => self.enter_by_http(transport).await?,
        };
        self.show()?;
        Ok(line)
    }

    /// Subscribes by a request, and opens the one by which messages come.
    async fn enter_by_http(&mut self, transport: pushgrid_client::Transport) -> Result<Line> {
        let agent = HttpAgent::new(&self.url)?;
        if let (Some(path), Some(old)) = (self.state.path(), self.state.subscription())
            && !self.senders.fit(old.restricted_to())
        {
            agent.end(path).await?;
            self.output.note("the old subscription was for other senders: it has ended");
            self.state.forget();
        }
        if self.state.subscription().is_none() {
            let (paths, subscription) = agent.subscribe(&*self.rng, self.senders.key()).await?;
            self.state.keep(&self.url, Identity::Path(paths.subscription), subscription)?;
        }
        let kept = self.state.path().zip(self.state.subscription());
        let (path, subscription) = kept.context("a subscription over HTTP has a path")?;
        let monitor = agent.monitor(path, subscription.channel(), transport, self.min_urgency).await?;
        Ok(Line::Http(Box::new(agent), monitor))
    }

    /// Identifies the user agent.
    async fn enter_by_socket(&mut self) -> Result<UserAgent> {
        let mut user_agent = UserAgent::connect(&self.url).await?;
        let hello = user_agent.hello_for(self.state.user_agent(), self.min_urgency).await?;
        if self.state.user_agent().is_some_and(|before| before != hello.user_agent) {
            self.output.note("the push service does not know this user agent any more: subscribing anew");
            self.state.forget();
        }
        if let Some(old) = self.state.subscription().filter(|it| !self.senders.fit(it.restricted_to())) {
            let channel = old.channel();
            user_agent.unregister(channel, codes::UNREGISTERED_BY_HAND).await?;
            self.output.note("the old subscription was for other senders: it has ended");
            self.state.forget();
        }
        if self.state.subscription().is_none() {
            let subscription = user_agent.subscribe(&*self.rng, self.senders.key()).await?;
            self.state.keep(&self.url, Identity::UserAgent(hello.user_agent), subscription)?;
        }
        Ok(user_agent)
    }

    /// Prints the subscription, unless the same was printed before.
    fn show(&mut self) -> Result<()> {
        let json = self.state.subscription().expect("it has just been made").to_json();
        self.output.note(&format!("listening at {}", self.url));
        if self.shown.as_ref() == Some(&json) {
            return Ok(());
        }
        if let Some(file) = &self.subscription_file {
            secret_file::replace(file, &format!("{json}\n"))?;
        }
        self.output.subscription(&json)?;
        self.shown = Some(json);
        Ok(())
    }

    /// Prints one message, then acknowledges it: a message that was not printed is redelivered.
    async fn take(&mut self, line: &mut Line, notification: &Notification) -> Result<()> {
        let code = match self.state.subscription().filter(|it| it.channel() == notification.channel) {
            None => codes::NOT_DELIVERED,
            // A redelivery: the acknowledgement of the first was lost.
            Some(_) if self.recent.has(&notification.version) => codes::DELIVERED,
            Some(subscription) => match subscription.decrypt(notification) {
                Ok(plaintext) => {
                    self.output.message(notification, &plaintext)?;
                    self.recent.add(&notification.version)?;
                    self.left = self.left.map(|left| left.saturating_sub(1));
                    codes::DELIVERED
                }
                Err(error) => {
                    self.output.undecryptable(notification, &error)?;
                    codes::UNDECRYPTABLE
                }
            },
        };
        line.acknowledge(notification, code).await
    }
}

impl Senders {
    /// True when a subscription restricted to `key` is open to exactly the wanted senders.
    fn fit(&self, key: Option<&PublicKey>) -> bool {
        match self {
            Self::AsBefore => true,
            Self::Anybody => key.is_none(),
            Self::Only(wanted) => key == Some(wanted),
        }
    }

    fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::AsBefore | Self::Anybody => None,
            Self::Only(key) => Some(key),
        }
    }
}
