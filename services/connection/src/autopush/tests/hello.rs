use std::time::Duration;

use pushgrid_session::autopush::Close;
use pushgrid_store::{Opened, Sessions};
use pushgrid_types::{Epoch, SystemRng, Urgency, UserAgentId};
use serde_json::json;

use crate::testing::{Call, Mood, Op, Server, message};

fn as_told(close: Close) -> (u16, String) {
    (close.code(), close.reason().to_owned())
}

// Holds: H-04, H-06.
#[tokio::test]
async fn a_new_user_agent_gets_an_id_and_the_router_hears_nothing() {
    let server = Server::start(&[]).await;
    let mut user_agent = server.connect().await;
    user_agent.text(r#"{"messageType":"hello"}"#).await;
    let reply = user_agent.next().await;
    let uaid = reply["uaid"].as_str().unwrap();
    assert!(uaid.len() == 32 && !uaid.contains('-'), "{uaid}");
    assert_eq!(reply["use_webpush"], true);
    let (_other, id) = server.greet().await;
    assert_ne!(id.to_hex(), uaid);
    assert_eq!(server.router.calls(), []);
    let router = server.router.clone();
    server.drained().await;
    assert_eq!(router.calls(), [], "nothing was opened, so nothing is closed");
}

// Holds: H-05.
#[tokio::test]
async fn a_malformed_uaid_is_as_good_as_none() {
    let server = Server::start(&[]).await;
    let mut user_agent = server.connect().await;
    user_agent.send(&json!({"messageType": "hello", "uaid": "not-a-uuid"})).await;
    assert_eq!(user_agent.next().await["status"], 200);
    assert_eq!(server.router.calls(), []);
}

// Holds: H-05.
#[tokio::test]
async fn an_unknown_uaid_is_replaced() {
    let server = Server::start(&[]).await;
    let mut user_agent = server.connect().await;
    let claimed = UserAgentId::random(&SystemRng);
    let given = user_agent.hello(Some(claimed)).await;
    assert_ne!(given, claimed);
    assert_eq!(server.router.calls(), [Call::Open(claimed, Opened::Unknown)]);
}

// Holds: H-17.
#[tokio::test]
async fn a_known_user_agent_gets_its_hello_before_what_has_waited() {
    let server = Server::start(&[]).await;
    let (first, id, channel) = server.subscribe().await;
    drop(first);
    server.router.called(|calls| calls.contains(&Call::Close(id))).await;
    for body in [b"1", b"2", b"3"] {
        assert_eq!(server.router.push(message(id, channel, body)), None, "nobody is there");
    }
    let mut again = server.connect().await;
    assert_eq!(again.hello(Some(id)).await, id, "the hello is the first thing to come");
    for data in ["MQ", "Mg", "Mw"] {
        assert_eq!(again.next().await["data"], data);
    }
}

// Holds: H-02.
#[tokio::test]
async fn silence_is_closed_in_time() {
    let server = Server::start(&["hello_timeout=100ms"]).await;
    let user_agent = server.connect().await;
    assert_eq!(user_agent.closed().await, as_told(Close::HelloTimeout));
}

// Holds: H-02, H-24.
#[tokio::test]
async fn anything_else_first_and_a_second_hello_are_closed() {
    let server = Server::start(&[]).await;
    let mut user_agent = server.connect().await;
    user_agent.text("{}").await;
    assert_eq!(user_agent.closed().await, as_told(Close::HelloExpected));

    let (mut user_agent, _) = server.greet().await;
    user_agent.text(r#"{"messageType":"hello"}"#).await;
    assert_eq!(user_agent.closed().await, as_told(Close::SecondHello));
}

#[tokio::test]
async fn a_router_that_cannot_answer_sends_the_user_agent_away_for_a_while() {
    let server = Server::start(&["router_timeout=100ms"]).await;
    for mood in [Mood::Unavailable, Mood::StoreFails, Mood::Silent] {
        server.router.set_mood(Some((Op::Open, mood)));
        let mut user_agent = server.connect().await;
        user_agent.send(&json!({"messageType": "hello", "uaid": "924808b7504247a08ad130c1e8757e55"})).await;
        assert_eq!(user_agent.closed().await, as_told(Close::Unavailable), "{mood:?}");
    }
    assert_eq!(server.router.closes(), 3, "each may have been opened, so each is closed");
}

#[tokio::test]
async fn a_connection_that_waits_for_its_router_can_be_stopped() {
    let server = Server::start(&[]).await;
    server.router.set_mood(Some((Op::Open, Mood::Silent)));
    let mut user_agent = server.connect().await;
    user_agent.send(&json!({"messageType": "hello", "uaid": "924808b7504247a08ad130c1e8757e55"})).await;
    server.router.called(|calls| calls.contains(&Call::Failed(Op::Open))).await;
    server.shutdown.stop();
    tokio::time::timeout(Duration::from_secs(5), server.serving).await.expect("it does not wait").unwrap();
    assert_eq!(server.node.sessions(), 0);
}

#[tokio::test]
async fn a_session_that_no_owner_was_told_of_is_opened_once_more() {
    let server = Server::start(&[]).await;
    let (first, id, _) = server.subscribe().await;
    drop(first);
    let before = server.router.called(|calls| calls.contains(&Call::Close(id))).await.len();
    server.router.set_mood(Some((Op::Open, Mood::HandsOver)));
    let mut again = server.connect().await;
    assert_eq!(again.hello(Some(id)).await, id);
    let open = Call::Open(id, Opened::Known { epoch: Epoch(1), min_urgency: Urgency::LEAST });
    assert_eq!(server.router.calls()[before..], [open.clone(), open], "by the next owner, too");
    let other = UserAgentId::random(&SystemRng);
    assert_eq!(server.node.held(&|of| of == other), []);
    let held = server.node.held(&|of| of == id);
    assert_eq!(held.iter().map(|held| held.user_agent).collect::<Vec<_>>(), [id], "from now on it is told");
}
