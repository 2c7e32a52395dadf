//! `pushgrid demo`: a service, a user agent that subscribes, and an application server that sends one message.

use std::time::Duration;

use anyhow::{Context, bail};
use pushgrid_client::{ApplicationServer, Event, SendOptions, Subscription, UserAgent};
use pushgrid_crypto::encryption::Receiver;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_runtime::Shutdown;
use pushgrid_store::Ledger;
use pushgrid_types::{ChannelId, Outcome, SystemRng};
use pushgrid_wiring::Addresses;
use pushgrid_wiring::standalone::Serving;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, timeout};

use crate::say;
use crate::settings::Sources;
use crate::standalone::serve;

/// Time that the whole show may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

const TEXT: &str = "Hello from pushgrid";

/// URLs of the listeners that the demonstration names.
#[derive(Debug)]
struct Urls {
    connection: String,
    admin: String,
}

impl Urls {
    fn of(addresses: &Addresses) -> anyhow::Result<Self> {
        let url = |name: &str| addresses.url(name).map(str::to_owned).with_context(|| format!("no {name}"));
        Ok(Self { connection: url("connection")?, admin: url("admin")? })
    }
}

/// Starts standalone, shows one message's life, and keeps serving until a signal.
pub(crate) async fn run(sources: Sources) -> anyhow::Result<()> {
    let started = Instant::now();
    let shutdown = Shutdown::new();
    let (ready, serving) = oneshot::channel();
    let show = tokio::spawn(show_when_ready(serving, started, shutdown.clone()));
    let announce = |serving: &Serving| {
        // The receiver is gone when the show has broken off, which reports itself.
        let _ = ready.send(serving.clone());
    };
    let served = serve(&sources, shutdown, announce).await;
    let shown = show.await.context("the demonstration broke off")?;
    served?;
    say::line("stopped cleanly; what was accepted is kept for the next start");
    shown
}

/// Runs the show. A failed show ends the service too: a demonstration that fails must not look like a success.
async fn show_when_ready(
    serving: oneshot::Receiver<Serving>,
    started: Instant,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let Ok(serving) = serving.await else { return Ok(()) };
    let urls = Urls::of(&serving.addresses)?;
    let show = timeout(PATIENCE, show(&serving, &urls, started));
    let shown = tokio::select! {
        shown = show => shown.context("it took too long").and_then(|shown| shown),
        () = shutdown.draining() => return Ok(()),
    };
    match shown {
        Ok(()) => print_next_steps(&urls),
        Err(_) => shutdown.drain(),
    }
    shown.context("the demonstration failed")
}

async fn show(serving: &Serving, urls: &Urls, started: Instant) -> anyhow::Result<()> {
    let ledger = &*serving.ledger;
    let line = |what: &str| {
        say::line(&format!("{:>9.1} ms  {what}", started.elapsed().as_secs_f64() * 1000.0));
    };
    say::line("");
    line(&format!("serving: endpoints at {}, user agents at {}", serving.public_url, urls.connection));

    let key = KeyPair::generate(&SystemRng);
    let mut user_agent = UserAgent::connect(&urls.connection).await?;
    user_agent.hello(None).await?;
    let channel = ChannelId::random(&SystemRng);
    let endpoint = user_agent.register(channel, Some(&key.public())).await?;
    let subscription =
        Subscription::new(channel, endpoint, Receiver::generate(&SystemRng), Some(key.public()));
    line("subscribed: a user agent has an endpoint that only one application server may use");

    let delivered_before = delivered(ledger);
    let application_server = ApplicationServer::new(Some(key));
    let options = SendOptions::default();
    let receipt =
        application_server.send(&subscription.push_subscription(), TEXT.as_bytes(), &options).await?;
    line(&format!("accepted: the encrypted message is on disk, and the answer was {}", receipt.status));

    let notification = loop {
        match user_agent.next().await? {
            Event::Notification(notification) => break notification,
            Event::Closed { reason, .. } => bail!("the socket was closed: {reason}"),
            Event::Broadcast(_) | Event::Pong => {}
        }
    };
    line("delivered: the user agent has it");
    let text = String::from_utf8(subscription.decrypt(&notification)?)?;
    line(&format!("decrypted: {text:?}"));
    user_agent.ack(&[notification.ack(100)]).await?;
    let mut looks = interval(Duration::from_millis(1));
    while delivered(ledger) == delivered_before {
        looks.tick().await;
    }
    line("acknowledged: the message has its outcome, and is gone from the disk");
    user_agent.close().await?;
    Ok(())
}

fn delivered(ledger: &Ledger) -> u64 {
    ledger.snapshot().ended[Outcome::Delivered.index()]
}

fn print_next_steps(Urls { connection, admin }: &Urls) {
    say::line(&format!(
        "
It keeps serving. In another terminal:
  pushgrid listen --url {connection} --subscription subscription.json
  pushgrid send --subscription subscription.json --message 'Hello again'
(`pushgrid` is target/release/pushgrid here.) Look at:
  {admin}/metrics
README.md says how to point a Firefox at it. Ctrl-C stops it."
    ));
}
