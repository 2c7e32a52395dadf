//! The least urgency that a user agent takes, between its frames and its router.

use pushgrid_types::{ChannelId, Message, Urgency, UserAgentId};
use serde_json::{Value, json};

use crate::testing::{Call, Mood, Op, Server, message};

fn urgent(urgency: Urgency, id: UserAgentId, channel: ChannelId, body: &[u8]) -> Message {
    Message { urgency, ..message(id, channel, body) }
}

fn set(min: &str) -> Value {
    json!({"messageType": "urgency", "min": min})
}

fn answer(status: u16) -> Value {
    json!({"messageType": "urgency", "status": status})
}

// Holds: H-27.
#[tokio::test]
async fn the_router_hears_of_the_least_urgency_before_the_answer() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    for (min, expected) in [("normal", Urgency::Normal), ("very-low", Urgency::VeryLow)] {
        user_agent.send(&set(min)).await;
        assert_eq!(user_agent.next().await, answer(200));
        assert_eq!(server.router.calls().last(), Some(&Call::SetUrgency(id, expected)));
    }
    user_agent.send(&set("urgent")).await;
    assert_eq!(user_agent.next().await, answer(400));
    server.router.push(urgent(Urgency::VeryLow, id, channel, b"x"));
    assert_eq!(user_agent.next().await["messageType"], "notification", "the last one is in force");
}

#[tokio::test]
async fn a_hello_opens_its_session_with_the_least_urgency_and_so_does_a_first_register() {
    let server = Server::start(&[]).await;
    let (user_agent, id, _) = server.subscribe().await;
    drop(user_agent);
    server.router.called(|calls| calls.contains(&Call::Close(id))).await;
    let opened = |calls: &[Call]| match calls.iter().rev().find(|call| matches!(call, Call::Open(..))) {
        Some(Call::Open(_, pushgrid_store::Opened::Known { min_urgency, .. })) => Some(*min_urgency),
        _ => None,
    };
    let mut known = server.connect().await;
    known.send(&json!({"messageType": "hello", "uaid": id.to_hex(), "urgency": "high"})).await;
    known.next().await;
    assert_eq!(opened(&server.router.calls()), Some(Urgency::High));

    let mut new = server.connect().await;
    new.send(&json!({"messageType": "hello", "urgency": "low"})).await;
    new.next().await;
    new.send(&set("normal")).await;
    assert_eq!(new.next().await, answer(200), "without a session it counts from the opening on");
    let channel = ChannelId::from_octets([3; 16]).to_string();
    new.send(&json!({"messageType": "register", "channelID": channel})).await;
    new.next().await;
    assert_eq!(opened(&server.router.calls()), Some(Urgency::Normal));
}

#[tokio::test]
async fn a_router_that_sends_below_the_least_urgency_hears_of_it_and_the_message_is_dropped() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    user_agent.send(&set("normal")).await;
    user_agent.next().await;
    let before = server.router.calls().len();
    // Of many, one word is enough.
    for _ in 0..20 {
        assert_eq!(server.router.push(urgent(Urgency::Low, id, channel, b"low")), Some(Ok(())));
    }
    server.router.push(urgent(Urgency::Normal, id, channel, b"normal"));
    let notification = user_agent.next().await;
    assert_eq!(notification["data"], "bm9ybWFs", "the others were not sent");
    user_agent.ping().await;
    let calls = server.router.called(|calls| calls.len() > before).await;
    assert!(calls[before..].iter().all(|call| *call == Call::SetUrgency(id, Urgency::Normal)), "{calls:?}");
}

#[tokio::test]
async fn an_urgency_that_no_router_hears_of_is_not_in_force() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    server.router.set_mood(Some((Op::SetUrgency, Mood::Unavailable)));
    user_agent.send(&set("high")).await;
    assert_eq!(user_agent.next().await, answer(503));
    server.router.push(urgent(Urgency::Low, id, channel, b"x"));
    assert_eq!(user_agent.next().await["messageType"], "notification");
}

#[tokio::test]
async fn what_was_dropped_and_cannot_be_taken_back_ends_the_session() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    user_agent.send(&set("high")).await;
    user_agent.next().await;
    server.router.set_mood(Some((Op::SetUrgency, Mood::Unavailable)));
    server.router.push(urgent(Urgency::Low, id, channel, b"x"));
    server.router.called(|calls| calls.contains(&Call::Close(id))).await;
}

#[tokio::test]
async fn a_router_of_an_earlier_release_sends_messages_of_any_urgency_and_all_are_passed_on() {
    let server = Server::start(&[]).await;
    let (user_agent, id, channel) = server.subscribe().await;
    drop(user_agent);
    server.router.called(|calls| calls.contains(&Call::Close(id))).await;
    server.router.set_mood(Some((Op::Open, Mood::KnowsNoUrgency)));
    let mut user_agent = server.connect().await;
    user_agent.send(&json!({"messageType": "hello", "uaid": id.to_hex(), "urgency": "high"})).await;
    user_agent.next().await;
    server.router.push(urgent(Urgency::Low, id, channel, b"x"));
    assert_eq!(user_agent.next().await["messageType"], "notification");
}
