//! Pings and time-outs that keep a connection open or end it.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use pushgrid_client::{Message, UserAgent};
use pushgrid_it::within;
use serde_json::json;

use super::party::{Agent, SOON, ending};
use super::scene::Scene;

async fn ping(agent: &mut Agent, frame: &str) -> Result<()> {
    agent.socket()?.send_text(frame).await?;
    let (answer, raw) = agent.frame().await?;
    ensure!(answer == json!({}), "{frame} was answered {raw}");
    Ok(())
}

// Holds: H-14.
#[tokio::test]
async fn a_ping_in_either_form_is_answered_with_an_empty_object() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    for frame in ["{}", r#"{"messageType":"ping"}"#, " { } ", "{}"] {
        ping(&mut agent, frame).await?;
    }
    scene.end().await
}

// Holds: G-17, H-16.
#[tokio::test]
async fn a_ping_of_the_websocket_is_answered_with_its_own_octets() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let octets = Bytes::from_static(b"are you there?");
    let socket = agent.socket()?;
    socket.send_frame(Message::Ping(octets.clone())).await?;
    let answer = within(SOON, "a pong", socket.next_frame()).await??;
    ensure!(answer == Message::Pong(octets), "{answer:?}");
    scene.end().await
}

// Holds: H-23.
#[tokio::test]
async fn a_broadcast_subscription_is_answered_only_with_what_is_not_known() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let none = json!({"messageType": "broadcast_subscribe", "broadcasts": {}});
    agent.socket()?.send_text(&none.to_string()).await?;
    ping(&mut agent, "{}").await?;
    let ask = json!({"messageType": "broadcast_subscribe", "broadcasts": {"a/b": "v1", "c\"d": ""}});
    agent.socket()?.send_text(&ask.to_string()).await?;
    let (answer, raw) = agent.frame().await?;
    let errors = json!({"a/b": "Broadcast not found", "c\"d": "Broadcast not found"});
    let expected = json!({"messageType": "broadcast", "broadcasts": {"errors": errors}});
    ensure!(answer == expected, "{raw}");
    scene.end().await
}

// Holds: A-04, G-19, H-15.
#[tokio::test]
async fn the_service_pings_and_a_user_agent_that_answers_stays() -> Result<()> {
    let settings = [("PUSHGRID_CONNECTION__PING_INTERVAL", "100ms")];
    let scene = Scene::alone_with(&settings).await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for _ in 0..5 {
        let frame = within(SOON, "a ping", agent.socket()?.next_frame()).await??;
        ensure!(matches!(frame, Message::Ping(_)), "{frame:?}");
    }
    agent.nothing_waits(&channel).await?;
    scene.end().await
}

// Holds: H-15, H-19.
#[tokio::test]
async fn a_user_agent_that_does_not_answer_a_ping_is_closed_and_its_messages_are_kept() -> Result<()> {
    let settings =
        [("PUSHGRID_CONNECTION__PING_INTERVAL", "300ms"), ("PUSHGRID_CONNECTION__PONG_TIMEOUT", "200ms")];
    let scene = Scene::alone_with(&settings).await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    scene.send(&channel.endpoint, "kept").await?;
    let kept = agent.next().await?;
    // Nothing is read, so no ping is answered, for longer than both together.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let (code, reason) = ending(agent.socket()?).await?;
    ensure!(code == 1008 && reason.contains("ping"), "closed with {code} {reason:?}");
    agent.come_back().await?;
    ensure!(agent.take().await? == kept, "another message came");
    scene.end_with(&[("delivered", 1)]).await
}

// Holds: H-02.
#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_with_a_reason() -> Result<()> {
    let scene = Scene::alone_with(&[("PUSHGRID_CONNECTION__HELLO_TIMEOUT", "100ms")]).await?;
    let mut socket = UserAgent::connect(scene.server().connection()).await?;
    let (code, reason) = ending(&mut socket).await?;
    ensure!(code == 1008 && reason.contains("hello"), "closed with {code} {reason:?}");
    scene.end().await
}
