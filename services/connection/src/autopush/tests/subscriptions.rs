use pushgrid_crypto::vapid;
use pushgrid_store::Opened;
use pushgrid_types::{ChannelId, Epoch, Restriction, SystemRng, Urgency};
use serde_json::{Value, json};

use crate::testing::{Call, Mood, Op, Server, message};

fn register(channel: ChannelId) -> Value {
    json!({"messageType": "register", "channelID": channel.to_string()})
}

#[tokio::test]
async fn the_first_register_opens_the_session_and_later_ones_do_not() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id) = server.greet().await;
    let (one, two) = (ChannelId::random(&SystemRng), ChannelId::random(&SystemRng));
    assert_eq!(user_agent.register(one).await, format!("https://push.example.net/push/{one}"));
    user_agent.register(two).await;
    let expected = [
        Call::Register(id, one, Restriction::Open),
        Call::Open(id, Opened::Known { epoch: Epoch(1), min_urgency: Urgency::LEAST }),
        Call::Register(id, two, Restriction::Open),
    ];
    assert_eq!(server.router.calls(), expected);
}

#[tokio::test]
async fn a_message_right_after_the_first_register_arrives() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id) = server.greet().await;
    let channel = ChannelId::random(&SystemRng);
    // It waits at the router before the session opens: so do messages between register and open.
    assert_eq!(server.router.push(message(id, channel, b"early")), None);
    user_agent.register(channel).await;
    assert_eq!(user_agent.next().await["data"], "ZWFybHk");
}

// Holds: C-45, C-48, G-06.
#[tokio::test]
async fn the_hash_of_the_key_restricts_the_subscription() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id) = server.greet().await;
    let key = vapid::KeyPair::generate(&SystemRng).public();
    let channel = ChannelId::random(&SystemRng);
    let mut frame = register(channel);
    frame["key"] = json!(format!("{}=", key.to_text()));
    user_agent.send(&frame).await;
    assert_eq!(user_agent.next().await["status"], 200);
    assert_eq!(server.router.calls()[0], Call::Register(id, channel, Restriction::VapidKey(key.hash())));
}

// Holds: H-07.
#[tokio::test]
async fn a_register_that_fails_is_answered_and_the_socket_stays() {
    let server = Server::start(&["router_timeout=100ms"]).await;
    let (mut user_agent, _) = server.greet().await;
    let channel = ChannelId::random(&SystemRng);
    for (op, mood, status) in [
        (Op::Register, Mood::Unavailable, 503),
        (Op::Register, Mood::Silent, 503),
        (Op::Register, Mood::StoreFails, 500),
        (Op::Register, Mood::Full, 429),
        (Op::Open, Mood::Unavailable, 503),
    ] {
        server.router.set_mood(Some((op, mood)));
        user_agent.send(&register(channel)).await;
        let reply = user_agent.next().await;
        assert_eq!(reply["status"], status, "{mood:?}");
        assert_eq!(reply["channelID"], channel.to_string());
    }
    server.router.set_mood(None);
    user_agent.register(channel).await;
}

// Holds: D-16, D-20, H-09.
#[tokio::test]
async fn an_unregister_is_answered_whatever_becomes_of_it() {
    let server = Server::start(&[]).await;
    let unregister = |channel: ChannelId| json!({"messageType": "unregister", "channelID": channel.to_string(), "code": 202});

    let (mut nobody, _) = server.greet().await;
    nobody.send(&unregister(ChannelId::random(&SystemRng))).await;
    assert_eq!(nobody.next().await["status"], 200);
    assert_eq!(server.router.calls(), [], "a user agent without subscriptions costs the router nothing");

    let (mut user_agent, id, channel) = server.subscribe().await;
    user_agent.send(&unregister(channel)).await;
    let reply = user_agent.next().await;
    assert_eq!(reply, json!({"messageType": "unregister", "channelID": channel.to_string(), "status": 200}));
    assert!(server.router.calls().contains(&Call::Unregister(id, channel)));

    server.router.set_mood(Some((Op::Unregister, Mood::StoreFails)));
    user_agent.send(&unregister(channel)).await;
    assert_eq!(user_agent.next().await["status"], 500);
}

#[tokio::test]
async fn an_unregister_of_all_is_answered_whatever_becomes_of_it_and_the_session_goes_on() {
    let server = Server::start(&["router_timeout=100ms"]).await;
    let unregister_all = json!({"messageType": "unregister_all", "code": 202});
    let answer = |status: u16| json!({"messageType": "unregister_all", "status": status});

    let (mut nobody, _) = server.greet().await;
    nobody.send(&unregister_all).await;
    assert_eq!(nobody.next().await, answer(200));
    assert_eq!(server.router.calls(), [], "a user agent without subscriptions costs the router nothing");

    let (mut user_agent, id, channel) = server.subscribe().await;
    for (mood, status) in [(Mood::Unavailable, 503), (Mood::Silent, 503), (Mood::StoreFails, 500)] {
        server.router.set_mood(Some((Op::UnregisterAll, mood)));
        user_agent.send(&unregister_all).await;
        assert_eq!(user_agent.next().await, answer(status), "{mood:?}");
    }
    server.router.set_mood(None);
    user_agent.send(&unregister_all).await;
    assert_eq!(user_agent.next().await, answer(200));
    user_agent.register(channel).await;
    let calls = server.router.calls();
    let end = [Call::UnregisterAll(id), Call::Register(id, channel, Restriction::Open)];
    assert_eq!(calls[calls.len() - 2..], end, "the session is open");
    assert_eq!(server.router.push(message(id, channel, b"later")), Some(Ok(())));
    assert_eq!(user_agent.next().await["data"], "bGF0ZXI");
    let metrics = server.meter.render();
    for (direction, count) in [("in", 5), ("out", 5)] {
        let frames = "pushgrid_connection_frames_total";
        let line = format!("{frames}{{direction=\"{direction}\",kind=\"unregister_all\"}} {count}");
        assert!(metrics.contains(&line), "{line}");
    }
}
