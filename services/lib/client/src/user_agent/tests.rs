//! Against a server that plays a script, so that every interleaving can be chosen.

use pushgrid_types::SystemRng;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::*;

const WHO: UserAgentId = UserAgentId::from_octets([7; 16]);
const CHANNEL: ChannelId = ChannelId::from_octets([0xcd; 16]);

/// The server's side of one connection.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn expect(&mut self, kind: &str) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(value["messageType"], kind);
                    return value;
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of {kind}"),
            }
        }
    }

    async fn say(&mut self, value: Value) {
        self.0.send(Message::text(value.to_string())).await.unwrap();
    }

    async fn notify(&mut self, version: &str) {
        let value =
            json!({"messageType": "notification", "channelID": CHANNEL.to_string(), "version": version});
        self.say(value).await;
    }
}

/// A server for one connection, which does what the script says. Takes any sub-protocol.
async fn server<S: Future<Output = ()> + Send + 'static>(
    script: impl FnOnce(Peer) -> S + Send + 'static,
) -> (ConnectOptions, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let running = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let echo = |request: &Request, mut response: Response| {
            if let Some(offered) = request.headers().get("sec-websocket-protocol") {
                response.headers_mut().insert("sec-websocket-protocol", offered.clone());
            }
            Ok(response)
        };
        script(Peer(accept_hdr_async(stream, echo).await.unwrap())).await;
    });
    (ConnectOptions::new(url), running)
}

fn version_of(event: &Event) -> &str {
    match event {
        Event::Notification(notification) => &notification.version,
        other => panic!("{other:?} is no notification"),
    }
}

#[tokio::test]
async fn notifications_that_come_during_a_request_are_kept_in_order() {
    let (options, running) = server(|mut peer| async move {
        let hello = peer.expect("hello").await;
        assert_eq!(hello["uaid"], WHO.to_hex());
        peer.say(json!({"messageType": "hello", "uaid": WHO.to_hex(), "status": 200, "use_webpush": true, "broadcasts": {}}))
            .await;
        let register = peer.expect("register").await;
        peer.notify("1").await;
        // The answer to a request that nobody made must not be taken for the one that is awaited.
        let other = ChannelId::from_octets([1; 16]).to_string();
        peer.say(json!({"messageType": "register", "channelID": other, "status": 200, "pushEndpoint": "wrong"})).await;
        peer.notify("2").await;
        let channel = &register["channelID"];
        peer.say(json!({"messageType": "register", "channelID": channel, "status": 200, "pushEndpoint": "right"})).await;
        peer.notify("3").await;
        let ack = peer.expect("ack").await;
        assert_eq!(ack["updates"][0]["version"], "1");
        assert_eq!(ack["updates"][1]["code"], 102);
    })
    .await;
    let mut user_agent = UserAgent::connect_with(&options).await.unwrap();
    assert_eq!(user_agent.hello(Some(WHO)).await.unwrap().user_agent, WHO);
    assert_eq!(user_agent.register(CHANNEL, None).await.unwrap(), "right");
    for expected in ["1", "2", "3"] {
        assert_eq!(version_of(&user_agent.next().await.unwrap()), expected);
    }
    let acks = [("1", 100), ("2", 102)].map(|(version, code)| Ack { channel: CHANNEL, version, code });
    user_agent.ack(&acks).await.unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_refusal_carries_the_reason_and_leaves_the_connection_usable() {
    let (options, running) = server(|mut peer| async move {
        let register = peer.expect("register").await;
        let refusal = json!({"messageType": "register", "channelID": register["channelID"], "status": 400, "pushEndpoint": "bad key"});
        peer.say(refusal).await;
        let unregister = peer.expect("unregister").await;
        assert_eq!(unregister["code"], 201);
        peer.say(json!({"messageType": "unregister", "channelID": unregister["channelID"], "status": 200})).await;
        for status in [503, 200] {
            assert_eq!(peer.expect("unregister_all").await["code"], 200);
            peer.say(json!({"messageType": "unregister_all", "status": status})).await;
        }
    })
    .await;
    let mut user_agent = UserAgent::connect_with(&options).await.unwrap();
    let error = user_agent.subscribe(&SystemRng, None).await.unwrap_err();
    assert_eq!(error.to_string(), "the push service refused register with status 400: bad key");
    user_agent.unregister(CHANNEL, crate::codes::QUOTA_EXCEEDED).await.unwrap();
    let by_hand = crate::codes::UNREGISTERED_BY_HAND;
    assert!(matches!(
        user_agent.unregister_all(by_hand).await,
        Err(ClientError::Refused { request: "unregister_all", status: 503, .. })
    ));
    user_agent.unregister_all(by_hand).await.unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_close_is_an_event_or_the_error_of_the_request_that_waits() {
    let close = |mut peer: Peer| async move {
        peer.expect("hello").await;
        let frame = CloseFrame { code: 4774.into(), reason: "go away".into() };
        peer.0.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = peer.0.next().await {}
    };
    let (options, _running) = server(close).await;
    let mut user_agent = UserAgent::connect_with(&options).await.unwrap();
    let error = user_agent.hello(None).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Closed { code: Some(4774), ref reason } if reason == "go away"),
        "{error}"
    );

    let (options, _running) = server(close).await;
    let mut user_agent = UserAgent::connect_with(&options).await.unwrap();
    user_agent.send_text(r#"{"messageType":"hello"}"#).await.unwrap();
    let expected = Event::Closed { code: Some(4774), reason: "go away".into() };
    assert_eq!(user_agent.next().await.unwrap(), expected);
    assert_eq!(user_agent.next().await.unwrap(), Event::Closed { code: None, reason: String::new() });
}

#[tokio::test]
async fn a_connection_that_breaks_is_closed_without_a_code() {
    let (options, running) = server(|peer| async move { drop(peer) }).await;
    let mut user_agent = UserAgent::connect_with(&options).await.unwrap();
    running.await.unwrap();
    // Either the library reports the missing handshake as an error, or the end as an event: never a wait.
    match user_agent.next().await {
        Ok(Event::Closed { code: None, .. }) | Err(ClientError::Socket(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_without_an_answer_ends_in_time_although_notifications_flow() {
    let (mut options, running) = server(|mut peer| async move {
        peer.expect("register").await;
        // Floods until the user agent has gone.
        let frame = json!({"messageType": "broadcast", "broadcasts": {"a": "1"}}).to_string();
        while peer.0.send(Message::text(frame.clone())).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    options.request_timeout = Duration::from_millis(200);
    let mut user_agent = UserAgent::connect_with(&options).await.unwrap();
    let error = user_agent.register(CHANNEL, None).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. } | ClientError::Overflow(WAITING_MAX)), "{error}");
    assert!(user_agent.waiting.len() <= WAITING_MAX);
    drop(user_agent);
    running.await.unwrap();
}

#[tokio::test]
async fn silence_is_an_error_and_a_short_wait_for_an_event_is_not() {
    let (mut options, running) =
        server(|mut peer| async move { while let Some(Ok(_)) = peer.0.next().await {} }).await;
    options.silence = Duration::from_millis(100);
    let mut user_agent = UserAgent::connect_with(&options).await.unwrap();
    assert!(user_agent.next_within(Duration::from_millis(10)).await.unwrap().is_none());
    assert!(matches!(user_agent.next().await, Err(ClientError::Silent { .. })));
    user_agent.close().await.unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn pings_are_answered_and_raw_frames_pass() {
    let (options, running) = server(|mut peer| async move {
        peer.0.send(Message::Ping("p".into())).await.unwrap();
        peer.say(json!({})).await;
        assert!(matches!(peer.0.next().await.unwrap().unwrap(), Message::Pong(octets) if octets == "p"));
        assert_eq!(peer.0.next().await.unwrap().unwrap(), Message::text("{}"));
        peer.0.send(Message::Ping("q".into())).await.unwrap();
    })
    .await;
    let mut user_agent = UserAgent::connect_with(&options).await.unwrap();
    assert_eq!(user_agent.next().await.unwrap(), Event::Pong);
    user_agent.ping().await.unwrap();
    assert!(matches!(user_agent.next_frame().await.unwrap(), Message::Ping(octets) if octets == "q"));
    running.await.unwrap();
}

#[tokio::test]
async fn connects_from_the_address_and_with_the_sub_protocol_it_was_told() {
    let (mut options, running) = server(|peer| async move {
        assert_eq!(peer.0.get_ref().peer_addr().unwrap().ip().to_string(), "127.0.0.1");
    })
    .await;
    options.local = Some("127.0.0.1:0".parse().unwrap());
    options.subprotocol = Some("push-notification".into());
    UserAgent::connect_with(&options).await.unwrap();
    running.await.unwrap();

    options.local = Some("[::1]:0".parse().unwrap());
    let error = UserAgent::connect_with(&options).await.unwrap_err();
    assert!(matches!(error, ClientError::Resolve { .. }), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_an_address_is_said() {
    for bad in ["", "http://localhost", "localhost:8081", "ws:///x"] {
        assert!(matches!(UserAgent::connect(bad).await, Err(ClientError::Url)), "{bad:?}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = UserAgent::connect(&format!("ws://{address}")).await.unwrap_err();
    let expected = format!("cannot connect to {address}: check that the push service runs and listens there");
    assert_eq!(error.to_string(), expected);
}
