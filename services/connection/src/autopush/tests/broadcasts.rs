use pushgrid_store::Broadcasts;
use serde_json::{Value, json};

use crate::testing::{Server, UserAgent};

async fn set(server: &Server, id: &str, version: &str) {
    server.broadcasts.set(id.parse().unwrap(), version.parse().unwrap()).await.unwrap();
}

fn broadcast(broadcasts: &Value) -> Value {
    json!({"messageType": "broadcast", "broadcasts": broadcasts})
}

/// The broadcasts in the answer to a hello.
async fn hello(user_agent: &mut UserAgent, broadcasts: Value) -> Value {
    user_agent.send(&json!({"messageType": "hello", "broadcasts": broadcasts})).await;
    let mut answer = user_agent.next().await;
    assert_eq!(answer["status"], 200);
    answer["broadcasts"].take()
}

// Holds: H-03, H-04, H-23.
#[tokio::test]
async fn hello_and_broadcast_subscribe_are_answered_with_what_differs() {
    let server = Server::start(&[]).await;
    set(&server, "a", "1").await;
    set(&server, "b/c", "\"2\"").await;
    let mut user_agent = server.connect().await;
    assert_eq!(
        hello(&mut user_agent, json!({"a": "1", "b/c": "0", "d": "0"})).await,
        json!({"b/c": "\"2\""})
    );
    let mut other = server.connect().await;
    assert_eq!(hello(&mut other, Value::Null).await, json!({}));

    let subscribe = async |user_agent: &mut UserAgent, broadcasts: Value| {
        user_agent.send(&json!({"messageType": "broadcast_subscribe", "broadcasts": broadcasts})).await;
    };
    subscribe(&mut other, json!({"a": "0", "b/c": "\"2\"", "no/ id": "0"})).await;
    let errors = json!({"no/ id": "Broadcast not found"});
    assert_eq!(other.next().await, broadcast(&json!({"a": "1", "errors": errors})));
    subscribe(&mut other, json!({"a": "1"})).await;
    // Nothing differs, so the next frame is the pong.
    other.ping().await;
}

// Holds: H-23.
#[tokio::test]
async fn a_change_comes_to_those_who_have_asked_and_to_nobody_else() {
    let server = Server::start(&[]).await;
    let (mut asking, mut other) = (server.connect().await, server.connect().await);
    assert_eq!(hello(&mut asking, json!({"a": "0", "later": ""})).await, json!({}));
    assert_eq!(hello(&mut other, json!({"b": "0"})).await, json!({}));
    set(&server, "a", "1").await;
    assert_eq!(asking.next().await, broadcast(&json!({"a": "1"})));
    // One that was not there when it was asked for.
    set(&server, "later", "1").await;
    assert_eq!(asking.next().await, broadcast(&json!({"later": "1"})));
    other.ping().await;
    let shown = server.meter.render();
    assert!(shown.contains(r#"frames_total{direction="out",kind="broadcast"} 2"#), "{shown}");
    assert!(shown.contains("pushgrid_broadcasts 2"), "{shown}");
    server.drained().await;
}
