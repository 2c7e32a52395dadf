use std::time::Duration;

use futures_util::SinkExt;
use pushgrid_store::{NotDelivered, Settlement};
use pushgrid_types::{DropReason, MessageId, Outcome, SystemRng};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::testing::{Call, Mood, Op, Server, message, within};

// Holds: H-10, H-12.
#[tokio::test]
async fn a_message_is_delivered_and_its_acknowledgement_settles_it() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    let letter = message(id, channel, b"hello");
    let letter_id = letter.id;
    assert_eq!(server.router.push(letter), Some(Ok(())));
    let notification = user_agent.next().await;
    assert_eq!(
        notification,
        json!({
            "messageType": "notification",
            "channelID": channel.to_string(),
            "version": letter_id.to_text(),
            "data": "aGVsbG8",
            "headers": {"encoding": "aes128gcm"},
        })
    );
    user_agent.ack(&[&notification]).await;
    user_agent.ping().await;
    assert_eq!(server.router.settled(), [Settlement { id: letter_id, outcome: Outcome::Delivered }]);
}

#[tokio::test]
async fn acknowledgements_of_one_wake_up_go_to_the_router_as_one() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    let mut notifications = Vec::new();
    for _ in 0..20 {
        server.router.push(message(id, channel, b"x"));
        notifications.push(user_agent.next().await);
    }
    // One write, so that all frames are there when the first is read.
    for notification in &notifications {
        let update = json!({"channelID": notification["channelID"], "version": notification["version"]});
        let ack = json!({"messageType": "ack", "updates": [update]}).to_string();
        within(user_agent.stream.feed(Frame::text(ack))).await.unwrap();
    }
    within(user_agent.stream.flush()).await.unwrap();
    user_agent.ping().await;
    assert_eq!(server.router.settled().len(), 20);
    let calls = server.router.calls();
    assert!(calls.len() - 2 < 20, "{} calls for twenty acknowledgements", calls.len() - 2);
}

// Holds: A-116, H-12.
#[tokio::test]
async fn acknowledgements_of_earlier_connections_are_passed_on_with_their_codes() {
    let server = Server::start(&[]).await;
    let (mut user_agent, _, channel) = server.subscribe().await;
    let earlier: Vec<_> = (0..3).map(|_| MessageId::random(&SystemRng)).collect();
    let update = |(id, code): (&MessageId, u32)| json!({"channelID": channel.to_string(), "version": id.to_text(), "code": code});
    let updates: Vec<Value> = earlier.iter().zip([100, 101, 102]).map(update).collect();
    user_agent.send(&json!({"messageType": "ack", "updates": updates})).await;
    user_agent.ping().await;
    let outcomes: Vec<_> = server.router.settled().iter().map(|ended| ended.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Delivered, Outcome::Undecryptable, Outcome::Dropped(DropReason::NotDelivered)]
    );
}

// Holds: H-12, H-13.
#[tokio::test]
async fn a_nack_and_unreadable_acknowledgements_change_nothing() {
    let server = Server::start(&[]).await;
    let (mut user_agent, _, channel) = server.subscribe().await;
    user_agent.send(&json!({"messageType": "nack", "version": "anything", "code": 301})).await;
    let garbage = json!({"channelID": channel.to_string(), "version": "garbage"});
    user_agent.send(&json!({"messageType": "ack", "updates": [garbage]})).await;
    user_agent.send(&json!({"messageType": "ack", "updates": []})).await;
    user_agent.ping().await;
    assert_eq!(server.router.settled(), []);
    assert!(server.meter.render().contains(r#"pushgrid_connection_nacks_total{code="301"} 1"#));
}

// Holds: A-57.
#[tokio::test]
async fn an_expired_message_never_reaches_the_wire_and_is_accounted() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    server.clock.advance(Duration::from_mins(1));
    let late = message(id, channel, b"late");
    let late_id = late.id;
    server.router.push(late);
    let settled = Settlement { id: late_id, outcome: Outcome::Expired };
    server.router.called(|calls| calls.contains(&Call::Settle(vec![settled]))).await;
    user_agent.ping().await;
}

#[tokio::test]
async fn a_session_that_is_owed_too_much_is_busy_until_it_acknowledges() {
    let server = Server::start(&["queue_messages=2"]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    assert_eq!(server.router.push(message(id, channel, b"1")), Some(Ok(())));
    assert_eq!(server.router.push(message(id, channel, b"2")), Some(Ok(())));
    let first = user_agent.next().await;
    let _second = user_agent.next().await;
    assert_eq!(server.router.push(message(id, channel, b"3")), Some(Err(NotDelivered::Busy)));
    user_agent.ack(&[&first]).await;
    user_agent.ping().await;
    assert_eq!(server.router.push(message(id, channel, b"3")), Some(Ok(())));
    assert_eq!(user_agent.next().await["data"], "Mw");
}

#[tokio::test]
async fn a_settlement_that_fails_is_tried_again() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    server.router.push(message(id, channel, b"x"));
    let notification = user_agent.next().await;
    server.router.set_mood(Some((Op::Settle, Mood::Unavailable)));
    user_agent.ack(&[&notification]).await;
    server.router.called(|calls| calls.contains(&Call::Failed(Op::Settle))).await;
    server.router.set_mood(None);
    server.router.called(|calls| calls.iter().any(|call| matches!(call, Call::Settle(_)))).await;
    user_agent.ping().await;
    assert_eq!(server.router.settled().len(), 1);
    assert_eq!(server.router.closes(), 0, "the connection went on");
}

#[tokio::test]
async fn fragmented_text_is_one_message() {
    let server = Server::start(&[]).await;
    let mut user_agent = server.connect().await;
    let hello = br#"{"messageType":"hello"}"#;
    let parts = [&hello[..5], &hello[5..6], &hello[6..]];
    for (index, part) in parts.into_iter().enumerate() {
        let opcode = OpCode::Data(if index == 0 { Data::Text } else { Data::Continue });
        let frame = RawFrame::message(part.to_vec(), opcode, index == parts.len() - 1);
        within(user_agent.stream.send(Frame::Frame(frame))).await.unwrap();
        within(user_agent.stream.send(Frame::Ping(Vec::new().into()))).await.unwrap();
    }
    assert_eq!(user_agent.next().await["status"], 200);
}

// Holds: A-133, B-24, H-25.
#[tokio::test]
async fn a_body_of_the_largest_size_comes_whole() {
    let server = Server::start(&[]).await;
    let (mut user_agent, id, channel) = server.subscribe().await;
    let body: Vec<u8> = (0..=255).cycle().take(65_536).collect();
    server.router.push(message(id, channel, &body));
    let data = user_agent.next().await["data"].as_str().unwrap().len();
    assert_eq!(data, 65_536_usize.div_ceil(3) * 4 - 2);
}

// Holds: H-23.
#[tokio::test]
async fn broadcasts_are_answered_as_unknown() {
    let server = Server::start(&[]).await;
    let (mut user_agent, _) = server.greet().await;
    user_agent.send(&json!({"messageType": "broadcast_subscribe", "broadcasts": {"a/b": "v"}})).await;
    let errors = json!({"a/b": "Broadcast not found"});
    assert_eq!(
        user_agent.next().await,
        json!({"messageType": "broadcast", "broadcasts": {"errors": errors}})
    );
}
