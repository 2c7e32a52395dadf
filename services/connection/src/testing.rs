//! A router that is a model, a node on a free port, and a user agent.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pushgrid_crypto::{EndpointKeys, MessageAddresses, ReceiptAddresses, ResourceAddresses};
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Readiness, Shutdown};
use pushgrid_store::Broadcasts as _;
use pushgrid_store_model::memory::MemoryBroadcasts;
use pushgrid_types::{ChannelId, ManualClock, SystemRng, Timestamp, UserAgentId};
use pushgrid_webhook::Webhooks;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::task::TaskTracker;

use crate::broadcasts::Broadcasts;
use crate::counts::Counts;
use crate::shared::Shared;
use crate::{Config, Connections, Deps, Node, ReceiptForm, Receipts, Resources};

mod router;

pub(crate) use router::{Call, Mood, Op, Router, endpoint, message, receipt, subscription};

/// What the clock of the tests shows in the beginning.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Far more than anything here takes; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The defaults, and some settings of section `connection`.
pub(crate) fn config(settings: &[&str]) -> Config {
    let settings: Vec<String> = settings.iter().map(|setting| format!("connection.{setting}")).collect();
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &settings).unwrap());
    let config = Config::read(&mut reader, "0s");
    reader.finish().unwrap();
    config
}

/// Seals under keys that are made anew.
pub(crate) fn addresses() -> ResourceAddresses {
    ResourceAddresses::new(&EndpointKeys::generate(&SystemRng))
}

/// Names messages under keys that are made anew.
pub(crate) fn receipt_form() -> ReceiptForm {
    let messages = MessageAddresses::new(&EndpointKeys::generate(&SystemRng));
    ReceiptForm { messages, public_url: "https://push.example.net".into() }
}

fn receipts(keys: &EndpointKeys, meter: &Meter) -> Receipts {
    let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &[]).unwrap());
    let webhooks = Webhooks::new(&pushgrid_webhook::Config::read(&mut reader), keys, meter).unwrap();
    let form = ReceiptForm { messages: MessageAddresses::new(keys), ..receipt_form() };
    Receipts { addresses: ReceiptAddresses::new(keys), form, webhooks }
}

/// A node without a listener, with a router behind it: for connections that a test makes itself.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) router: Arc<Router>,
    pub(crate) broadcasts: MemoryBroadcasts,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) meter: Meter,
}

impl Core {
    pub(crate) fn new(settings: &[&str]) -> Self {
        let config = config(settings);
        let node = Node::new(&SystemRng, config.queue);
        let router = Arc::new(Router::new(node.clone()));
        let clock = Arc::new(ManualClock::at(NOW));
        let (meter, broadcasts) = (Meter::new(), MemoryBroadcasts::default());
        let shared = Shared {
            counts: Counts::new(&meter, &node),
            router: Arc::<Router>::clone(&router),
            node,
            broadcasts: Broadcasts::new(Some(broadcasts.versions()), &meter),
            clock: Arc::<ManualClock>::clone(&clock),
            rng: Arc::new(SystemRng),
            connections: TaskTracker::new(),
            config,
        };
        Self { shared: Arc::new(shared), router, broadcasts, clock, meter }
    }
}

/// A node that serves, with a router behind it.
pub(crate) struct Server {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) router: Arc<Router>,
    pub(crate) addresses: ResourceAddresses,
    pub(crate) receipts: ReceiptAddresses,
    pub(crate) messages: MessageAddresses,
    pub(crate) node: Node,
    pub(crate) broadcasts: MemoryBroadcasts,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) meter: Meter,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
    pub(crate) serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let config = config(settings);
        let listener = pushgrid_runtime::http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = Node::new(&SystemRng, config.queue);
        let router = Arc::new(Router::new(node.clone()));
        let clock = Arc::new(ManualClock::at(NOW));
        let (meter, readiness, shutdown) = (Meter::new(), Readiness::new(), Shutdown::new());
        let keys = EndpointKeys::generate(&SystemRng);
        let (addresses, receipts) = (ResourceAddresses::new(&keys), ReceiptAddresses::new(&keys));
        let messages = MessageAddresses::new(&keys);
        let broadcasts = MemoryBroadcasts::default();
        let deps = Deps {
            listener,
            router: Arc::<Router>::clone(&router),
            resources: Some(Resources {
                link: Arc::<Router>::clone(&router),
                addresses: addresses.clone(),
                receipts: self::receipts(&keys, &meter),
            }),
            node: node.clone(),
            broadcasts: Some(broadcasts.versions()),
            clock: Arc::<ManualClock>::clone(&clock),
            rng: Arc::new(SystemRng),
            meter: meter.clone(),
            latch: readiness.latch("connection"),
        };
        let serving = tokio::spawn(Connections::new(config, deps).run(shutdown.clone()));
        Self {
            address,
            router,
            addresses,
            receipts,
            messages,
            node,
            broadcasts,
            clock,
            meter,
            readiness,
            shutdown,
            serving,
        }
    }

    pub(crate) async fn connect(&self) -> UserAgent {
        let socket = within(TcpStream::connect(self.address)).await.unwrap();
        let (stream, _) = within(client_async(format!("ws://{}/", self.address), socket)).await.unwrap();
        UserAgent { stream }
    }

    /// A user agent that has said hello, with a new uaid.
    pub(crate) async fn greet(&self) -> (UserAgent, UserAgentId) {
        let mut user_agent = self.connect().await;
        let id = user_agent.hello(None).await;
        (user_agent, id)
    }

    /// A user agent with one subscription.
    pub(crate) async fn subscribe(&self) -> (UserAgent, UserAgentId, ChannelId) {
        let (mut user_agent, id) = self.greet().await;
        let channel = ChannelId::random(&SystemRng);
        user_agent.register(channel).await;
        (user_agent, id, channel)
    }

    /// Drains, and waits for the end.
    pub(crate) async fn drained(self) {
        self.shutdown.drain();
        within(self.serving).await.unwrap();
    }
}

/// A user agent over a real socket.
pub(crate) struct UserAgent {
    pub(crate) stream: WebSocketStream<TcpStream>,
}

impl UserAgent {
    pub(crate) async fn send(&mut self, message: &Value) {
        self.text(&message.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        within(self.stream.send(Frame::text(text))).await.unwrap();
    }

    /// The next message; anything else fails the test.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match within(self.stream.next()).await {
                Some(Ok(Frame::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                other => panic!("not a message: {other:?}"),
            }
        }
    }

    /// How the server closes, whatever comes before.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        loop {
            match within(self.stream.next()).await {
                Some(Ok(Frame::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Ok(Frame::Text(_) | Frame::Ping(_) | Frame::Pong(_))) => {}
                other => panic!("closed without a reason: {other:?}"),
            }
        }
    }

    pub(crate) async fn hello(&mut self, uaid: Option<UserAgentId>) -> UserAgentId {
        match uaid {
            None => self.send(&json!({"messageType": "hello", "use_webpush": true})).await,
            Some(id) => self.send(&json!({"messageType": "hello", "uaid": id.to_hex()})).await,
        }
        let reply = self.next().await;
        assert_eq!((&reply["messageType"], &reply["status"]), (&json!("hello"), &json!(200)));
        reply["uaid"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn register(&mut self, channel: ChannelId) -> String {
        self.send(&json!({"messageType": "register", "channelID": channel.to_string()})).await;
        let reply = self.next().await;
        assert_eq!((&reply["messageType"], &reply["status"]), (&json!("register"), &json!(200)), "{reply}");
        assert_eq!(reply["channelID"], channel.to_string());
        reply["pushEndpoint"].as_str().unwrap().to_owned()
    }

    /// Acknowledges `notifications` in one frame.
    pub(crate) async fn ack(&mut self, notifications: &[&Value]) {
        let update =
            |message: &&Value| json!({"channelID": message["channelID"], "version": message["version"]});
        let updates: Vec<_> = notifications.iter().map(update).collect();
        self.send(&json!({"messageType": "ack", "updates": updates})).await;
    }

    /// Answered only after everything before it was taken.
    pub(crate) async fn ping(&mut self) {
        self.text("{}").await;
        assert_eq!(self.next().await, json!({}));
    }
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes at once, unless it never does")
}
