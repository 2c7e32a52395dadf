//! A router that takes its time: what needs no answer of it goes on.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pushgrid_session::autopush::Close;
use pushgrid_store::{Opened, Settlement};
use pushgrid_types::{ChannelId, Epoch, Outcome, Restriction, SystemRng, Urgency};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::testing::{Call, Mood, Op, Server, UserAgent, message, within};

fn register(channel: ChannelId) -> Value {
    json!({"messageType": "register", "channelID": channel.to_string()})
}

fn unregister(channel: ChannelId) -> Value {
    json!({"messageType": "unregister", "channelID": channel.to_string()})
}

fn new_channel() -> ChannelId {
    ChannelId::random(&SystemRng)
}

/// The router has been asked, and does not answer.
async fn asked(server: &Server, op: Op) {
    server.router.called(|calls| calls.contains(&Call::Failed(op))).await;
}

/// Kind, channel and status of an answer.
fn answer(reply: &Value) -> (&str, &str, u64) {
    let text = |name: &str| reply[name].as_str().unwrap();
    (text("messageType"), text("channelID"), reply["status"].as_u64().unwrap())
}

/// A connection has begun to end, for this reason.
async fn ending(server: &Server, reason: &str) {
    let count = format!("pushgrid_connection_closed_total{{reason=\"{reason}\"}} 1");
    let ends = async {
        while !server.meter.render().contains(&count) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    within(ends).await;
}

/// A WebSocket ping is answered.
async fn is_pinged(user_agent: &mut UserAgent) {
    within(user_agent.stream.send(Frame::Ping(b"?".to_vec().into()))).await.unwrap();
    loop {
        match within(user_agent.stream.next()).await {
            Some(Ok(Frame::Pong(said))) if said == b"?"[..] => return,
            Some(Ok(Frame::Ping(_))) => {}
            other => panic!("not the answer to a ping: {other:?}"),
        }
    }
}

#[tokio::test]
async fn while_a_request_waits_messages_acknowledgements_pings_and_broadcasts_go_on() {
    for (op, kind) in [(Op::Register, "register"), (Op::Unregister, "unregister")] {
        let server = Server::start(&[]).await;
        let (mut user_agent, id, channel) = server.subscribe().await;
        server.router.set_mood(Some((op, Mood::Silent)));
        let other = new_channel();
        let request = if op == Op::Register { register(other) } else { unregister(other) };
        user_agent.send(&request).await;
        asked(&server, op).await;

        for body in [b"one", b"two"] {
            let letter = message(id, channel, body);
            let settled = Settlement { id: letter.id, outcome: Outcome::Delivered };
            assert_eq!(server.router.push(letter), Some(Ok(())));
            let notification = user_agent.next().await;
            assert_eq!(notification["messageType"], "notification");
            user_agent.ack(&[&notification]).await;
            server.router.called(|calls| calls.contains(&Call::Settle(vec![settled]))).await;
        }
        user_agent.ping().await;
        is_pinged(&mut user_agent).await;
        user_agent.send(&json!({"messageType": "broadcast_subscribe", "broadcasts": {"a/b": "v"}})).await;
        assert_eq!(user_agent.next().await["messageType"], "broadcast");

        server.router.set_mood(None);
        assert_eq!(answer(&user_agent.next().await), (kind, other.to_string().as_str(), 200));
    }
}

#[tokio::test]
async fn requests_are_answered_in_their_order_and_one_that_is_refused_at_once_too() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    server.router.set_mood(Some((Op::Register, Mood::Silent)));
    let (one, bad, two) = (new_channel(), new_channel(), new_channel());
    let mut with_key = register(bad);
    with_key["key"] = json!("not a key");
    for frame in [register(one), unregister(channel), with_key, register(two)] {
        user_agent.send(&frame).await;
    }
    asked(&server, Op::Register).await;
    user_agent.ping().await;
    server.router.set_mood(None);
    let mut answers = Vec::new();
    for _ in 0..4 {
        let reply = user_agent.next().await;
        let (kind, channel, status) = answer(&reply);
        answers.push((kind.to_owned(), channel.parse().unwrap(), status));
    }
    let expected = [
        ("register", one, 200),
        ("unregister", channel, 200),
        ("register", bad, 400),
        ("register", two, 200),
    ];
    assert_eq!(answers, expected.map(|(kind, channel, status)| (kind.to_owned(), channel, status)));
    let calls = server.router.calls();
    let end = [
        Call::Register(id, one, Restriction::Open),
        Call::Unregister(id, channel),
        Call::Register(id, two, Restriction::Open),
    ];
    assert_eq!(calls[calls.len() - 3..], end);
}

#[tokio::test]
async fn what_was_acknowledged_before_a_request_is_heard_first() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    server.router.push(message(id, channel, b"x"));
    let notification = user_agent.next().await;
    server.router.set_mood(Some((Op::Settle, Mood::Silent)));
    user_agent.ack(&[&notification]).await;
    user_agent.send(&unregister(channel)).await;
    asked(&server, Op::Settle).await;
    user_agent.ping().await;
    assert!(!server.router.calls().contains(&Call::Unregister(id, channel)));
    server.router.set_mood(None);
    assert_eq!(user_agent.next().await["messageType"], "unregister");
    let calls = server.router.calls();
    assert!(matches!(calls[calls.len() - 2..], [Call::Settle(_), Call::Unregister(..)]), "{calls:?}");
}

#[tokio::test]
async fn a_request_goes_on_when_the_last_that_it_waits_for_is_heard_at_once() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    let mut notifications = Vec::new();
    for body in [b"one", b"two"] {
        server.router.push(message(id, channel, body));
        notifications.push(user_agent.next().await);
    }
    server.router.set_mood(Some((Op::Settle, Mood::Silent)));
    user_agent.ack(&[&notifications[0]]).await;
    asked(&server, Op::Settle).await;
    user_agent.ack(&[&notifications[1]]).await;
    user_agent.send(&unregister(channel)).await;
    user_agent.ping().await;
    // The router answers the first, and the second as soon as it hears of it.
    server.router.set_mood(None);
    assert_eq!(answer(&user_agent.next().await), ("unregister", channel.to_string().as_str(), 200));
    let calls = server.router.calls();
    let end = &calls[calls.len() - 3..];
    assert!(matches!(end, [Call::Settle(_), Call::Settle(_), Call::Unregister(..)]), "{calls:?}");
}

/// More than may wait, and than are read in a row.
const MANY: usize = 100;

#[tokio::test]
async fn a_user_agent_that_asks_on_and_on_is_not_read_any_more_nor_taken_for_dead_and_gets_its_messages() {
    let settings = ["ping_interval=50ms", "pong_timeout=50ms", "queue_messages=100000"];
    let server = Server::start(&settings).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    server.router.set_mood(Some((Op::Register, Mood::Silent)));
    let channels: Vec<_> = (0..MANY).map(|_| new_channel()).collect();
    for channel in &channels {
        user_agent.send(&register(*channel)).await;
    }
    user_agent.text("{}").await;
    asked(&server, Op::Register).await;
    // For longer than it may be silent.
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        assert_eq!(server.router.push(message(id, channel, b"x")), Some(Ok(())));
        assert_eq!(user_agent.next().await["messageType"], "notification");
    }
    server.router.set_mood(None);
    for channel in &channels {
        let reply = loop {
            let next = user_agent.next().await;
            // It is read again before the last is answered.
            if next != json!({}) {
                break next;
            }
        };
        assert_eq!(answer(&reply), ("register", channel.to_string().as_str(), 200));
    }
}

/// A user agent that the router knows, that is away, and for which a message waits.
async fn one_that_is_away(server: &Server) -> Value {
    let (user_agent, id, channel) = server.subscribe().await;
    drop(user_agent);
    server.router.called(|calls| calls.contains(&Call::Close(id))).await;
    server.router.push(message(id, channel, b"waits"));
    server.router.set_mood(Some((Op::Open, Mood::Silent)));
    json!({"messageType": "hello", "uaid": id.to_hex()})
}

#[tokio::test]
async fn while_a_hello_waits_pings_of_the_socket_are_answered() {
    let server = Server::start(&["hello_timeout=100ms"]).await;
    let hello = one_that_is_away(&server).await;
    let mut user_agent = server.connect().await;
    user_agent.send(&hello).await;
    asked(&server, Op::Open).await;
    // For longer than a hello may take: it is there.
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        is_pinged(&mut user_agent).await;
    }
    server.router.set_mood(None);
    assert_eq!(user_agent.next().await["messageType"], "hello");
    assert_eq!(user_agent.next().await["messageType"], "notification");
}

#[tokio::test]
async fn what_comes_before_the_answer_to_a_hello_is_served_after_it() {
    let server = Server::start(&[]).await;
    let hello = one_that_is_away(&server).await;
    let mut user_agent = server.connect().await;
    // One write, so that all are there when the first is read.
    for frame in [hello.to_string(), register(new_channel()).to_string(), "{}".to_owned()] {
        within(user_agent.stream.feed(Frame::text(frame))).await.unwrap();
    }
    within(user_agent.stream.flush()).await.unwrap();
    asked(&server, Op::Open).await;
    server.router.set_mood(None);
    for kind in ["hello", "notification", "register"] {
        assert_eq!(user_agent.next().await["messageType"], kind);
    }
    assert_eq!(user_agent.next().await, json!({}));
}

#[tokio::test]
async fn whoever_goes_while_a_request_waits_has_its_session_closed_and_is_unregistered_all_the_same() {
    for polite in [true, false] {
        let server = Server::start(&[]).await;
        let (mut user_agent, id, channel) = server.subscribe().await;
        server.router.set_mood(Some((Op::Register, Mood::Silent)));
        let (one, two) = (new_channel(), new_channel());
        let all = json!({"messageType": "unregister_all"});
        for frame in [register(one), register(two), unregister(channel), all] {
            user_agent.send(&frame).await;
        }
        asked(&server, Op::Register).await;
        if polite {
            within(user_agent.stream.send(Frame::Close(None))).await.unwrap();
        } else {
            drop(user_agent);
            ending(&server, "io").await;
        }
        server.router.set_mood(None);
        let mut calls = server.router.called(|calls| calls.contains(&Call::Close(id))).await;
        // If it was read in time that it has gone, nobody is there to register for.
        calls.retain(|call| *call != Call::Register(id, two, Restriction::Open));
        let expected = [
            Call::Open(id, Opened::Known { epoch: Epoch(1), min_urgency: Urgency::LEAST }),
            Call::Failed(Op::Register),
            Call::Register(id, one, Restriction::Open),
            Call::Unregister(id, channel),
            Call::UnregisterAll(id),
            Call::Close(id),
        ];
        assert_eq!(calls[1..], expected, "polite: {polite}");
    }
}

#[tokio::test]
async fn a_request_that_is_under_way_at_the_end_is_answered_before_the_goodbye() {
    for (reason, close) in [("draining", Close::Restarting), ("protocol", Close::NotJson)] {
        let server = Server::start(&[]).await;
        let (mut user_agent, ..) = server.subscribe().await;
        server.router.set_mood(Some((Op::Register, Mood::Silent)));
        let channel = new_channel();
        user_agent.send(&register(channel)).await;
        asked(&server, Op::Register).await;
        if close == Close::Restarting {
            server.shutdown.drain();
        } else {
            user_agent.text("not json").await;
        }
        ending(&server, reason).await;
        server.router.set_mood(None);
        assert_eq!(answer(&user_agent.next().await), ("register", channel.to_string().as_str(), 200));
        assert_eq!(user_agent.closed().await.0, close.code());
    }
}
