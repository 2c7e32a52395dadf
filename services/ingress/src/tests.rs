//! The seam between acceptance and dialects: two dialects over one ingress, whose stores are the models.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{Method, Request, StatusCode};
use parking_lot::Mutex;
use pushgrid_crypto::vapid::{Audiences, KeyPair, Verifier};
use pushgrid_crypto::{EndpointKeys, EndpointTokens, MessageAddresses, ReceiptAddresses};
use pushgrid_runtime::Readiness;
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store::{
    Cancelled, IngressLink, LinkError, LogConsumer, Mailbox, OwnDirectory, ReceiptLink, Subscription,
    Subscriptions,
};
use pushgrid_store_model::memory::{Memory, MemoryConsumer};
use pushgrid_types::{
    ChannelId, Incarnation, ManualClock, Message, MessageId, MessageRef, Restriction, SubscriptionRef,
    SystemRng, Timestamp, UserAgentId, WallClock, WebhookUrl,
};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::service::Dialect;
use crate::{Config, Deps, Ingress, webpush};

mod dialects;
mod line;
mod lines;
mod receipts;
mod run;

const ORIGIN: &str = "https://push.example.com";
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// An ingress over models, serving some dialects.
struct World {
    memory: Memory,
    tokens: EndpointTokens,
    receipts: ReceiptAddresses,
    meter: Meter,
    readiness: Readiness,
    ingress: Ingress,
    address: SocketAddr,
    routes: axum::Router,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    location: Option<String>,
    link: Option<String>,
    text: String,
}

impl World {
    fn serving(dialects: &[Dialect], settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|setting| format!("ingress.{setting}")).collect();
        let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &settings).unwrap());
        let config = Config::read(&mut reader);
        reader.finish().unwrap();
        let (memory, meter, keys) = (Memory::new(), Meter::new(), EndpointKeys::generate(&SystemRng));
        let (tokens, receipts) = (EndpointTokens::new(&keys), ReceiptAddresses::new(&keys));
        let (subscriptions, mailbox) = (Arc::new(memory.subscriptions()), Arc::new(memory.mailbox()));
        let router = Router { subscriptions: memory.subscriptions(), cancelled: Mutex::default() };
        let (readiness, listener) = (Readiness::new(), listener());
        let address = listener.local_addr().unwrap();
        let ingress = Ingress::new(
            config,
            Deps {
                listener,
                tokens: tokens.clone(),
                addresses: MessageAddresses::new(&keys),
                receipts: receipts.clone(),
                receipts_url: "https://read.example.com".to_owned(),
                verifier: Verifier::new(Audiences::of(ORIGIN).unwrap(), 100),
                public_url: ORIGIN.to_owned(),
                directory: Arc::new(OwnDirectory { subscriptions, mailbox }),
                log: Arc::new(memory.log()),
                router: Arc::new(router),
                clock: Arc::new(ManualClock::at(NOW)),
                wall: Arc::new(Wall),
                rng: Arc::new(SystemRng),
                meter: meter.clone(),
                latch: readiness.latch("ingress"),
            },
        );
        Self {
            routes: ingress.routes_of(dialects),
            memory,
            tokens,
            receipts,
            meter,
            readiness,
            ingress,
            address,
        }
    }

    fn both() -> Self {
        Self::serving(&[webpush::routes, line::routes], &[])
    }

    /// The endpoint token of a new subscription.
    async fn subscribe(&self, restriction: Restriction) -> String {
        let id = SubscriptionRef {
            user_agent: UserAgentId::random(&SystemRng),
            channel: ChannelId::random(&SystemRng),
            incarnation: Incarnation::random(&SystemRng),
        };
        let new = Subscription { id, restriction, seen_at: NOW, is_noted: true, webhook: None };
        assert_eq!(self.memory.subscriptions().put(None, new.clone()).await.unwrap(), Some(new));
        self.tokens.seal(&id, restriction)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response = self.routes.clone().oneshot(request).await.unwrap();
        let field = |name| response.headers().get(name).map(|at| at.to_str().unwrap().to_owned());
        let (location, link) = (field("location"), field("link"));
        let status = response.status();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        Answer { status, location, link, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Sends a request of the dialect of the tests.
    async fn line(&self, text: &str) -> String {
        let request = Request::post("/line").body(Body::from(text.to_owned())).unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.text
    }

    /// Posts a message without a body as Web Push.
    async fn push(&self, token: &str, fields: &[(&str, &str)]) -> Answer {
        let request = Request::post(format!("/push/{token}"));
        let request = fields.iter().fold(request, |all, (name, value)| all.header(*name, *value));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The messages in the log.
    async fn accepted(&self) -> Vec<Arc<Message>> {
        let mut consumer: MemoryConsumer = self.memory.consumer();
        self.memory.close();
        consumer.next(100).await.unwrap()
    }
}

/// A listener on a free port.
fn listener() -> TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    TcpListener::from_std(listener).unwrap()
}

#[derive(Debug)]
struct Wall;

impl WallClock for Wall {
    fn wall(&self) -> Timestamp {
        NOW
    }
}

/// A router that knows which subscriptions are alive, and cancels each message once.
#[derive(Debug)]
struct Router {
    subscriptions: pushgrid_store_model::memory::MemorySubscriptions,
    cancelled: Mutex<BTreeSet<MessageId>>,
}

#[async_trait]
impl ReceiptLink for Router {
    async fn open_receipts(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        webhook: Option<WebhookUrl>,
    ) -> Result<SubscriptionRef, LinkError> {
        let id = SubscriptionRef { user_agent, channel, incarnation: Incarnation::random(&SystemRng) };
        let new = Subscription { id, restriction: Restriction::Open, seen_at: NOW, is_noted: true, webhook };
        self.subscriptions.put(None, new).await?;
        Ok(id)
    }
}

#[async_trait]
impl IngressLink for Router {
    async fn cancel(&self, message: MessageRef) -> Result<Cancelled, LinkError> {
        let first = self.cancelled.lock().insert(message.id);
        Ok(if first { Cancelled::Ended } else { Cancelled::Gone })
    }

    async fn alive(&self, id: SubscriptionRef) -> Result<bool, LinkError> {
        Ok(self.subscriptions.alive(&[id]).await? == [true])
    }
}
