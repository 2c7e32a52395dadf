//! The end of a message by `ack` or `nack`, and redelivery without them.

use anyhow::{Result, ensure};
use pushgrid_client::{Notification, codes};
use serde_json::{Value, json};

use super::party::{Agent, bodies, body};
use super::scene::Scene;

/// Acknowledges with exactly these updates.
async fn ack(agent: &mut Agent, updates: &[Value]) -> Result<()> {
    let frame = json!({"messageType": "ack", "updates": updates});
    Ok(agent.socket()?.send_text(&frame.to_string()).await?)
}

fn update(of: &Notification) -> Value {
    json!({"channelID": of.channel.to_string(), "version": of.version})
}

// Holds, D-13, G-17, H-12.
#[tokio::test]
async fn each_code_of_an_acknowledgement_ends_its_message_in_its_own_way() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for code in [json!(100), json!(101), json!(102), json!(7), json!(-1), Value::Null] {
        scene.send(&channel.endpoint, &code.to_string()).await?;
        let notification = agent.next().await?;
        let mut update = update(&notification);
        update["code"] = code;
        ack(&mut agent, &[update]).await?;
    }
    // KDE's user agent sends no code.
    scene.send(&channel.endpoint, "no code").await?;
    let notification = agent.next().await?;
    ack(&mut agent, &[update(&notification)]).await?;
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 6), ("undecryptable", 1), ("dropped_not_delivered", 1)]).await
}

// Holds: A-110, H-12.
#[tokio::test]
async fn several_messages_are_acknowledged_in_one_frame_in_any_order() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channels = [agent.subscribe().await?, agent.subscribe().await?];
    for number in 0..10 {
        scene.send(&channels[number % 2].endpoint, "x").await?;
    }
    let mut got = Vec::new();
    for _ in 0..10 {
        got.push(agent.next().await?);
    }
    got.reverse();
    agent.ack_all(&got).await?;
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&channels[0]).await?;
    scene.end_with(&[("delivered", 11)]).await
}

// Holds: A-109, B-23, D-15, H-11, H-19.
#[tokio::test]
async fn what_is_not_acknowledged_comes_again_in_order_with_the_same_versions() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for number in 0..20 {
        scene.send(&channel.endpoint, &format!("message {number}")).await?;
    }
    let mut first = Vec::new();
    for _ in 0..20 {
        first.push(agent.next().await?);
    }
    for goodbye in [true, false, true] {
        if goodbye {
            agent.leave().await?;
        } else {
            agent.vanish();
        }
        agent.come_back().await?;
        let mut again = Vec::new();
        for _ in 0..20 {
            again.push(agent.next().await?);
        }
        ensure!(again == first, "the repeat differs: {:?}", bodies(&again));
    }
    agent.ack_all(&first).await?;
    agent.nothing_waits(&channel).await?;
    scene.end().await
}

// Holds, H-19.
#[tokio::test]
async fn of_a_batch_only_what_is_not_acknowledged_comes_again() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    let sent: Vec<String> = (0..30).map(|number| format!("message {number}")).collect();
    for text in &sent {
        scene.send(&channel.endpoint, text).await?;
    }
    agent.come_back().await?;
    let mut owed = Vec::new();
    for number in 0..sent.len() {
        let notification = agent.next().await?;
        if number % 3 == 0 {
            owed.push(notification);
        } else {
            agent.ack(&notification).await?;
        }
    }
    agent.leave().await?;
    agent.come_back().await?;
    let again = agent.take_all(owed.len()).await?;
    ensure!(again == owed, "{:?}", bodies(&again));
    agent.nothing_waits(&channel).await?;
    scene.end().await
}

#[tokio::test]
async fn a_message_of_an_earlier_connection_can_be_acknowledged_on_a_later_one() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    scene.send(&channel.endpoint, "seen before").await?;
    let notification = agent.next().await?;
    agent.vanish();
    agent.come_back().await?;
    agent.ack(&notification).await?;
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 2)]).await
}

// Holds: A-61, H-12.
#[tokio::test]
async fn an_acknowledgement_of_what_is_not_there_is_passed_over() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, mut other) = (scene.agent().await?, scene.agent().await?);
    let (channel, foreign) = (agent.subscribe().await?, other.subscribe().await?);
    scene.send(&foreign.endpoint, "of another").await?;
    let foreign_message = other.next().await?;
    scene.send(&channel.endpoint, "acknowledged twice").await?;
    let twice = agent.take().await?;
    let channel_id = channel.id.to_string();
    ack(&mut agent, &[]).await?;
    ack(&mut agent, &[update(&twice), update(&foreign_message)]).await?;
    for version in ["", "garbage", "AAAAAAAAAAAAAAAAAAAAAA", &"x".repeat(5000)] {
        ack(&mut agent, &[json!({"channelID": channel_id, "version": version, "code": 100})]).await?;
    }
    agent.nothing_waits(&channel).await?;
    // No user agent ends messages of another.
    other.leave().await?;
    other.come_back().await?;
    ensure!(other.take().await? == foreign_message, "another message came");
    scene.end_with(&[("delivered", 3)]).await
}

// Holds: H-13.
#[tokio::test]
async fn a_nack_is_no_acknowledgement() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    scene.send(&channel.endpoint, "the handler throws").await?;
    let notification = agent.next().await?;
    for code in [301, 302, 303, 0] {
        agent.socket()?.nack(&notification.version, code).await?;
    }
    agent.leave().await?;
    agent.come_back().await?;
    let again = agent.next().await?;
    ensure!(again == notification, "another message came: {}", body(&again));
    agent.socket()?.ack(&[again.ack(codes::DELIVERED)]).await?;
    agent.nothing_waits(&channel).await?;
    scene.end().await
}

// Holds: A-110.
#[tokio::test]
async fn what_is_acknowledged_right_before_a_goodbye_never_comes_again() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for round in 0..30 {
        // Stored and live messages in turn.
        if round % 2 == 0 {
            agent.leave().await?;
        }
        scene.send(&channel.endpoint, &format!("round {round}")).await?;
        if round % 2 == 0 {
            agent.come_back().await?;
        }
        agent.take().await?;
        agent.leave().await?;
        agent.come_back().await?;
        agent.nothing_waits(&channel).await?;
    }
    scene.end_with(&[("delivered", 60)]).await
}
