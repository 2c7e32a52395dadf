//! The push resources of the subscriptions whose messages are pushed, asked for when the first message of each comes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::HeaderValue;
use pushgrid_store::{LinkError, Resource, ResourceLink, Standing};
use pushgrid_types::SubscriptionRef;

/// Push resources that are remembered; beyond, the oldest is forgotten and asked for again.
const KNOWN_MAX: usize = 32;

type Asking = Pin<Box<dyn Future<Output = (SubscriptionRef, Result<Standing, LinkError>)> + Send>>;

/// Links to push resources.
pub(super) struct Links {
    link: Arc<dyn ResourceLink>,
    known: Vec<(SubscriptionRef, HeaderValue)>,
    asking: Option<Asking>,
}

/// The link to a push resource; `None` if it is no address.
pub(crate) fn link_to(endpoint: &str) -> Option<HeaderValue> {
    let mut link = HeaderValue::try_from(format!("<{endpoint}>; rel=\"urn:ietf:params:push\"")).ok()?;
    // A capability: not for the table of header compression.
    link.set_sensitive(true);
    Some(link)
}

impl Links {
    pub(super) fn new(link: Arc<dyn ResourceLink>) -> Self {
        Self { link, known: Vec::new(), asking: None }
    }

    /// The link of a subscription, if it is known.
    pub(super) fn get(&self, of: &SubscriptionRef) -> Option<&HeaderValue> {
        self.known.iter().find(|(id, _)| id == of).map(|(_, link)| link)
    }

    pub(super) fn add(&mut self, of: SubscriptionRef, endpoint: &str) {
        if let Some(link) = link_to(endpoint) {
            if self.known.len() >= KNOWN_MAX {
                self.known.remove(0);
            }
            self.known.push((of, link));
        }
    }

    /// Asks for the push resource of a subscription.
    pub(super) fn ask(&mut self, of: SubscriptionRef) {
        let link = Arc::clone(&self.link);
        self.asking = Some(Box::pin(async move { (of, link.look_up(Resource::Subscription(of)).await) }));
    }

    /// Ready when nothing is asked for any more.
    pub(super) fn poll_asked(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let Some(asking) = &mut self.asking else { return Poll::Ready(Ok(())) };
        let (of, standing) = ready!(asking.as_mut().poll(cx));
        self.asking = None;
        if let Some(endpoint) = standing?.endpoint {
            self.add(of, &endpoint);
        }
        Poll::Ready(Ok(()))
    }
}
