//! Against an upstream that plays a script.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{SinkExt, StreamExt};
use pushgrid_store_model::memory::MemoryBroadcasts;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;

const ID: &str = "remote-settings/monitor_changes";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bridge at work, and the address at which it looks for its upstream.
struct World {
    listener: TcpListener,
    broadcasts: MemoryBroadcasts,
    turn: Arc<AtomicBool>,
    meter: Meter,
    shutdown: Shutdown,
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it comes at once, unless it never does")
}

impl World {
    async fn new(has_turn: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Some(format!("ws://{}", listener.local_addr().unwrap()));
        let config = Config { upstream, broadcasts: vec![ID.parse().unwrap(), "missing".parse().unwrap()] };
        let (broadcasts, meter, shutdown) = (MemoryBroadcasts::default(), Meter::new(), Shutdown::new());
        let turn = Arc::new(AtomicBool::new(has_turn));
        let its = Arc::clone(&turn);
        let deps = Deps {
            broadcasts: Arc::new(broadcasts.clone()),
            is_its_turn: Box::new(move || its.load(Ordering::Relaxed)),
            meter: meter.clone(),
        };
        drop(shutdown.spawn("bridge", Bridge::new(config, deps).run(shutdown.clone())));
        Self { listener, broadcasts, turn, meter, shutdown }
    }

    /// The next connection of the bridge, and its hello.
    async fn connected(&self) -> (Upstream, Value) {
        let (stream, _) = within(self.listener.accept()).await.unwrap();
        let mut upstream = Upstream(within(accept_async(stream)).await.unwrap());
        let hello = upstream.hears().await;
        assert_eq!(hello["messageType"], "hello");
        (upstream, hello)
    }

    /// Waits for a version of the mirrored broadcast.
    async fn has(&self, expected: &str) {
        let mut watch = self.broadcasts.versions();
        let is_so = |versions: &Option<Arc<BroadcastVersions>>| {
            let found = versions.as_ref().and_then(|versions| versions.get(ID));
            found.is_some_and(|(_, version)| version.as_str() == expected)
        };
        within(watch.wait_for(is_so)).await.unwrap();
    }

    fn shown(&self, metric: &str) -> f64 {
        let text = self.meter.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{metric} ")));
        line.unwrap().parse().unwrap()
    }

    /// Waits until a metric is as hoped.
    async fn shows(&self, metric: &str, hope: impl Fn(f64) -> bool) {
        within(async {
            while !hope(self.shown(metric)) {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    async fn ended(self) {
        self.shutdown.drain();
        self.shutdown.finished(PATIENCE).await.unwrap();
        assert_eq!(self.shutdown.failure(), None);
    }
}

struct Upstream(WebSocketStream<TcpStream>);

impl Upstream {
    async fn hears(&mut self) -> Value {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Pong(_))) => {}
                other => panic!("not a frame: {other:?}"),
            }
        }
    }

    async fn says(&mut self, frame: Value) {
        within(self.0.send(Message::text(frame.to_string()))).await.unwrap();
    }

    /// Answers the hello, with these broadcasts, and takes the question after it.
    async fn greets(&mut self, broadcasts: Value) -> Value {
        let uaid = "0".repeat(32);
        self.says(json!({
            "messageType": "hello", "uaid": uaid, "status": 200, "use_webpush": true, "broadcasts": broadcasts
        }))
        .await;
        self.hears().await
    }
}

#[tokio::test]
async fn versions_of_the_upstream_are_set_and_nothing_else_is_told_or_taken() {
    let world = World::new(true).await;
    let (mut upstream, hello) = world.connected().await;
    let nothing_known = json!({ID: "", "missing": ""});
    assert_eq!(hello, json!({"messageType": "hello", "broadcasts": nothing_known, "use_webpush": true}));
    let asked = upstream.greets(json!({ID: "\"1\"", "not-asked-for": "7"})).await;
    assert_eq!(
        asked,
        json!({"messageType": "broadcast_subscribe", "broadcasts": {ID: "\"1\"", "missing": ""}})
    );
    world.has("\"1\"").await;
    let errors = json!({"missing": "Broadcast not found"});
    upstream.says(json!({"messageType": "broadcast", "broadcasts": {"errors": errors}})).await;
    for unusable in [json!(7), json!(""), json!("x\n"), json!("x".repeat(300)), json!({})] {
        upstream.says(json!({"messageType": "broadcast", "broadcasts": {ID: unusable}})).await;
    }
    upstream
        .says(json!({"messageType": "broadcast", "broadcasts": {ID: "\"2\"", "not-asked-for": "8"}}))
        .await;
    world.has("\"2\"").await;
    let versions = BroadcastVersions::known(&world.broadcasts.versions()).unwrap();
    assert_eq!(versions.iter().len(), 1);
    within(upstream.0.send(Message::Ping("still there?".into()))).await.unwrap();
    let pong = within(upstream.0.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("still there?".into()));
    world.shows("pushgrid_bridge_up", |up| up > 0.5).await;
    assert!(world.shown("pushgrid_bridge_age_seconds") < 20.0);
    world.ended().await;
}

#[tokio::test]
async fn a_lost_upstream_is_found_again_and_told_what_is_known() {
    let world = World::new(true).await;
    let (mut upstream, _) = world.connected().await;
    upstream.greets(json!({ID: "1"})).await;
    world.has("1").await;
    drop(upstream);
    world.shows("pushgrid_bridge_up", |up| up < 0.5).await;
    world.shows("pushgrid_bridge_age_seconds", |age| age > 0.0).await;
    let (mut upstream, hello) = world.connected().await;
    assert_eq!(hello["broadcasts"][ID], "1");
    upstream.greets(json!({ID: "2"})).await;
    world.has("2").await;
    world.shows("pushgrid_bridge_up", |up| up > 0.5).await;
    world.ended().await;
}

#[tokio::test]
async fn who_has_not_the_turn_leaves_the_upstream_alone() {
    let world = World::new(false).await;
    assert!(timeout(Duration::from_millis(300), world.listener.accept()).await.is_err());
    assert_eq!(world.shown("pushgrid_bridge_age_seconds").total_cmp(&0.0), std::cmp::Ordering::Equal);
    world.turn.store(true, Ordering::Relaxed);
    let (mut upstream, _) = world.connected().await;
    upstream.greets(json!({})).await;
    world.shows("pushgrid_bridge_up", |up| up > 0.5).await;
    world.turn.store(false, Ordering::Relaxed);
    let gone = within(upstream.0.next()).await;
    assert!(matches!(gone, Some(Ok(Message::Close(_)))), "{gone:?}");
    world.shows("pushgrid_bridge_up", |up| up < 0.5).await;
    world.ended().await;
}
