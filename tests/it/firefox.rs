//! Firefox ESR as the user agent: the real Push API and a real service worker on one side, senders that others
//! wrote on the other.

mod broadcasts;
mod quota;
mod restarts;
mod subscription;

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use pushgrid_client::PushSubscription;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_it::{Answer, Firefox, Job, Library, Page, Sender, Server, eventually};
use pushgrid_types::SystemRng;
use serde_json::{Value, json};

/// Time for Firefox to unregister a subscription.
const UNREGISTER: Duration = Duration::from_mins(1);

/// The service, a site that uses push, a Firefox that shows it, and the site's application server.
struct Scene {
    server: Server,
    page: Page,
    firefox: Firefox,
    sender: Sender,
    key: String,
    public_key: String,
}

impl Scene {
    async fn start(library: Library, preferences: &[(&str, &str)]) -> Result<Self> {
        let server = Server::start().await?;
        let page = Page::start().await?;
        let mut firefox = Firefox::start(server.connection(), preferences).await?;
        firefox.open(&page.origin()).await?;
        let key = KeyPair::generate(&SystemRng);
        let (key, public_key) = (key.to_text(), key.public().to_text());
        Ok(Self { server, page, firefox, sender: Sender::start(library)?, key, public_key })
    }

    /// Has the page subscribe its worker at `scope`, restricted to the application server's key.
    async fn subscribe(&mut self, scope: &str) -> Result<PushSubscription> {
        let call = format!("subscribe({}, {})", json!(scope), json!(self.public_key));
        Ok(self.firefox.evaluate(&call).await?.to_string().parse()?)
    }

    /// Subscription that the page finds at `scope`; `null` without one.
    async fn subscription(&mut self, scope: &str) -> Result<Value> {
        self.firefox.evaluate(&format!("subscription({})", json!(scope))).await
    }

    /// Sends a message, which the service must accept.
    async fn deliver(&mut self, to: &PushSubscription, payload: &str) -> Result<()> {
        self.sender.deliver(&Job::signed(to, payload.as_bytes(), &self.key)).await
    }

    /// Sends a message, and expects the answer for an ended subscription.
    async fn refused(&mut self, to: &PushSubscription) -> Result<()> {
        let answer = self.sender.send(&Job::signed(to, b"too late", &self.key)).await?;
        ensure!(is_gone(&answer), "the service answered {answer:?}");
        Ok(())
    }

    /// Sends until the answer is the one for an ended subscription: Firefox unregisters in its own time, and the answer
    /// is the only sign.
    async fn refused_in_the_end(&mut self, to: &PushSubscription) -> Result<()> {
        let job = Job::signed(to, b"too late", &self.key);
        eventually(UNREGISTER, "the end of the subscription", async || {
            let answer = self.sender.send(&job).await?;
            match answer.status {
                201 => Ok(None),
                _ if is_gone(&answer) => Ok(Some(())),
                _ => bail!("the service answered {answer:?}"),
            }
        })
        .await
    }
}

fn is_gone(answer: &Answer) -> bool {
    matches!(answer.status, 404 | 410)
}
