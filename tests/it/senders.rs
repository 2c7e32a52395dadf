//! Application servers written by others send to a user agent that decrypts: every octet arrives as sent.

mod keys;
mod listening;
mod pooled;
mod proxy;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{Event, Notification, Subscription, UserAgent, codes};
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_it::{Accounts, Encoding, Job, Library, Sender, Server};
use pushgrid_types::{Rng as _, SystemRng, UserAgentId};

/// Deadline for a message from its acceptance to the user agent, on a busy machine.
const ARRIVAL: Duration = Duration::from_secs(30);

/// The service, a user agent and an application server.
struct Scene {
    server: Server,
    socket: Option<UserAgent>,
    user_agent: UserAgentId,
    sender: Sender,
    key: KeyPair,
}

impl Scene {
    async fn start(library: Library) -> Result<Self> {
        Self::over(Server::start().await?, library).await
    }

    /// Starts a service whose endpoints begin with `public_url`.
    async fn start_at(public_url: &str) -> Result<Self> {
        let server = Server::start_with(&[("PUSHGRID_INGRESS__PUBLIC_URL", public_url)]).await?;
        Self::over(server, Library::NpmWebPush).await
    }

    async fn over(server: Server, library: Library) -> Result<Self> {
        let mut socket = UserAgent::connect(server.connection()).await?;
        let user_agent = socket.hello(None).await?.user_agent;
        let (sender, key) = (Sender::start(library)?, KeyPair::generate(&SystemRng));
        Ok(Self { server, socket: Some(socket), user_agent, sender, key })
    }

    async fn disconnect(&mut self) -> Result<()> {
        self.socket.take().context("it is not connected")?.close().await?;
        Ok(())
    }

    async fn connect(&mut self) -> Result<()> {
        let mut socket = UserAgent::connect(self.server.connection()).await?;
        let known = socket.hello(Some(self.user_agent)).await?.user_agent;
        ensure!(known == self.user_agent, "the service does not know its user agent");
        self.socket = Some(socket);
        Ok(())
    }

    fn socket(&mut self) -> Result<&mut UserAgent> {
        self.socket.as_mut().context("it is not connected")
    }

    /// Makes a subscription restricted to the application server's key.
    async fn restricted(&mut self) -> Result<Subscription> {
        let key = self.key.public();
        Ok(self.socket()?.subscribe(&SystemRng, Some(&key)).await?)
    }

    /// Makes an unrestricted subscription.
    async fn open(&mut self) -> Result<Subscription> {
        Ok(self.socket()?.subscribe(&SystemRng, None).await?)
    }

    /// Receives and acknowledges the next message.
    async fn notification(&mut self) -> Result<Notification> {
        let event = self.socket()?.next_within(ARRIVAL).await?.context("no message came")?;
        let Event::Notification(notification) = event else { anyhow::bail!("not a message: {event:?}") };
        self.socket()?.ack(&[notification.ack(codes::DELIVERED)]).await?;
        Ok(notification)
    }
}

// Holds: B-19.
#[tokio::test]
async fn what_pywebpush_sends_arrives_octet_for_octet() -> Result<()> {
    every_kind_of_message_arrives(Library::PyWebPush).await
}

#[tokio::test]
async fn what_npm_web_push_sends_arrives_octet_for_octet() -> Result<()> {
    every_kind_of_message_arrives(Library::NpmWebPush).await
}

#[tokio::test]
async fn what_the_crate_web_push_sends_arrives_octet_for_octet() -> Result<()> {
    every_kind_of_message_arrives(Library::RustWebPush).await
}

// Holds: A-50.
#[tokio::test]
async fn libraries_take_the_answer_to_a_message_with_a_receipt() -> Result<()> {
    // The crate web-push takes no fields of its caller.
    for library in [Library::PyWebPush, Library::NpmWebPush] {
        let mut scene = Scene::start(library).await?;
        let key = scene.key.to_text();
        let subscription = scene.restricted().await?;
        let to = subscription.push_subscription();
        let job = Job { receipt: true, ..Job::signed(&to, b"receipted", &key) };
        let answer = scene.sender.send(&job).await?;
        ensure!(answer.status == 202 && answer.location.is_some(), "{library}: {answer:?}");
        ensure!(subscription.decrypt(&scene.notification().await?)? == b"receipted");
    }
    Ok(())
}

async fn every_kind_of_message_arrives(library: Library) -> Result<()> {
    let mut scene = Scene::start(library).await?;
    let key = scene.key.to_text();
    let kinds = [
        ("restricted and signed", scene.restricted().await?, Some(key.as_str())),
        ("open and not signed", scene.open().await?, None),
        ("open and signed", scene.open().await?, Some(key.as_str())),
    ];
    let mut sent = 0;
    for encoding in Encoding::ALL {
        for size in [1, 100, 3000, library.largest(encoding)] {
            for (kind, subscription, key) in &kinds {
                let what = format!("{library}, {}, {size} octets, {kind}", encoding.as_str());
                arrives(&mut scene, encoding, size, subscription, *key).await.context(what)?;
                sent += 1;
            }
        }
    }
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == sent && accounts.ended("delivered") == sent, "{sent} sent, {accounts:?}");
    Ok(())
}

async fn arrives(
    scene: &mut Scene,
    encoding: Encoding,
    size: usize,
    subscription: &Subscription,
    key: Option<&str>,
) -> Result<()> {
    let mut payload = vec![0; size];
    SystemRng.fill(&mut payload);
    let to = subscription.push_subscription();
    let job = Job { to: &to, payload: &payload, encoding, key, topic: None, urgency: None, receipt: false };
    scene.sender.deliver(&job).await?;
    let notification = scene.notification().await?;
    ensure!(notification.channel == subscription.channel(), "it came to another subscription");
    ensure!(notification.encoding.as_deref() == Some(encoding.as_str()), "{:?}", notification.encoding);
    ensure!(subscription.decrypt(&notification)? == payload, "the user agent reads something else");
    Ok(())
}

// Holds: A-79.
#[tokio::test]
async fn of_messages_with_a_topic_that_wait_only_the_newest_arrives_whatever_library_sent_them() -> Result<()>
{
    for library in Library::ALL {
        newest_of_a_topic_arrives(library).await.with_context(|| library.to_string())?;
    }
    Ok(())
}

async fn newest_of_a_topic_arrives(library: Library) -> Result<()> {
    let mut scene = Scene::start(library).await?;
    let subscription = scene.restricted().await?;
    let (to, key) = (subscription.push_subscription(), scene.key.to_text());
    scene.disconnect().await?;
    for payload in [b"older", b"newer"] {
        let job = Job { topic: Some("weather"), urgency: Some("high"), ..Job::signed(&to, payload, &key) };
        scene.sender.deliver(&job).await?;
    }
    let replaced = |accounts: &Accounts| accounts.ended("replaced") == 1 && accounts.pending == 1;
    scene.server.accounts("the older one is replaced", replaced).await?;
    scene.connect().await?;
    let notification = scene.notification().await?;
    ensure!(subscription.decrypt(&notification)? == b"newer", "not the newest came");
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == 2 && accounts.ended("delivered") == 1, "{accounts:?}");
    Ok(())
}

// Holds: C-41, C-44.
#[tokio::test]
async fn each_library_is_told_when_its_key_is_wrong_or_missing() -> Result<()> {
    for library in Library::ALL {
        let mut scene = Scene::start(library).await?;
        let subscription = scene.restricted().await?;
        let to = subscription.push_subscription();
        let foreign = KeyPair::generate(&SystemRng).to_text();
        for encoding in Encoding::ALL {
            let signed = Job { encoding, ..Job::signed(&to, b"from somebody else", &foreign) };
            let answer = scene.sender.send(&signed).await?;
            ensure!(answer.status == 403, "{library}, a foreign key: {answer:?}");
            let answer = scene.sender.send(&Job { key: None, ..signed }).await?;
            ensure!(answer.status == 401, "{library}, no key: {answer:?}");
        }
        let accounts = scene.server.settled().await?;
        ensure!(accounts.accepted == 0, "{accounts:?}");
    }
    Ok(())
}

// Holds: A-31.
#[tokio::test]
async fn each_library_is_told_when_a_subscription_has_ended() -> Result<()> {
    for library in Library::ALL {
        let mut scene = Scene::start(library).await?;
        let subscription = scene.restricted().await?;
        let (to, key) = (subscription.push_subscription(), scene.key.to_text());
        scene.sender.deliver(&Job::signed(&to, b"in time", &key)).await?;
        scene.notification().await?;
        scene.socket()?.unregister(subscription.channel(), codes::UNREGISTERED_BY_HAND).await?;
        let answer = scene.sender.send(&Job::signed(&to, b"too late", &key)).await?;
        ensure!(matches!(answer.status, 404 | 410), "{library}: {answer:?}");
        // A refusal has advice.
        ensure!(answer.body.is_some_and(|body| !body.is_empty()), "{library} was told nothing");
    }
    Ok(())
}
