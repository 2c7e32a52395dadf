//! TTL of a message (RFC 8030 section 5.2).

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep_until};

use super::party::{Agent, Channel, body};
use super::scene::Scene;

/// Sends a message with a TTL of one second, and returns the instant of its certain expiry: acceptance precedes the
/// answer.
async fn send_for_a_second(scene: &Scene, channel: &Channel, topic: Option<&str>) -> Result<Instant> {
    let mut fields = vec![("ttl", "1")];
    fields.extend(topic.map(|topic| ("topic", topic)));
    scene.accepted(&channel.endpoint, &fields, "short-lived").await?;
    Ok(Instant::now() + Duration::from_secs(1))
}

async fn subscribed(scene: &Scene) -> Result<(Agent, Channel)> {
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    Ok((agent, channel))
}

// Holds: A-59, G-20.
#[tokio::test]
async fn ttl_zero_reaches_a_user_agent_that_is_connected() -> Result<()> {
    let scene = Scene::shared().await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    let accepted = scene.accepted(&channel.endpoint, &[("ttl", "0")], "now").await?;
    ensure!(accepted.ttl == 0, "{}", accepted.ttl);
    ensure!(body(&agent.take().await?) == "now");
    scene.end().await
}

// Holds: A-60, G-20.
#[tokio::test]
async fn ttl_zero_never_reaches_a_user_agent_that_is_away() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    agent.leave().await?;
    scene.accepted(&channel.endpoint, &[("ttl", "0")], "never").await?;
    scene.until("expired", 1).await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 1), ("expired", 1)]).await
}

// Holds: A-60, H-28.
#[tokio::test]
async fn ttl_zero_is_not_kept_for_the_next_connection() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    scene.accepted(&channel.endpoint, &[("ttl", "0")], "once").await?;
    agent.next().await?;
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 1), ("expired", 1)]).await
}

// Holds.
#[tokio::test]
async fn ttl_zero_with_a_topic_removes_what_waits_and_is_not_delivered_later() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    agent.leave().await?;
    scene.send_of("t", &channel.endpoint, "older").await?;
    scene.accepted(&channel.endpoint, &[("ttl", "0"), ("topic", "t")], "newer").await?;
    scene.until("replaced", 1).await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 1), ("expired", 1), ("replaced", 1)]).await
}

// Holds.
#[tokio::test]
async fn what_expires_while_its_user_agent_is_away_never_comes() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    agent.leave().await?;
    send_for_a_second(&scene, &channel, None).await?;
    scene.send(&channel.endpoint, "stays").await?;
    let over = send_for_a_second(&scene, &channel, None).await?;
    sleep_until(over).await;
    agent.come_back().await?;
    ensure!(body(&agent.take().await?) == "stays");
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 2), ("expired", 2)]).await
}

// Holds: A-57.
#[tokio::test]
async fn what_expires_unacknowledged_never_comes_again() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    let over = send_for_a_second(&scene, &channel, None).await?;
    ensure!(body(&agent.next().await?) == "short-lived");
    sleep_until(over).await;
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 1), ("expired", 1)]).await
}

// Holds: A-57.
#[tokio::test]
async fn what_expires_behind_a_full_window_never_comes() -> Result<()> {
    let scene = Scene::alone_with(&[("PUSHGRID_ROUTER__WINDOW", "1")]).await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    scene.send(&channel.endpoint, "first").await?;
    let first = agent.next().await?;
    let over = send_for_a_second(&scene, &channel, None).await?;
    sleep_until(over).await;
    agent.ack(&first).await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 2), ("expired", 1)]).await
}

// Holds: A-86.
#[tokio::test]
async fn what_has_expired_is_replaced_by_nothing_and_its_topic_begins_anew() -> Result<()> {
    let scene = Scene::alone().await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    agent.leave().await?;
    let over = send_for_a_second(&scene, &channel, Some("t")).await?;
    sleep_until(over).await;
    scene.send_of("t", &channel.endpoint, "anew").await?;
    agent.come_back().await?;
    ensure!(body(&agent.take().await?) == "anew");
    agent.nothing_waits(&channel).await?;
    let accounts = scene.server().settled().await?;
    // The sweep or the newer message may be first; either way the message ends once.
    ensure!(accounts.ended("expired") + accounts.ended("replaced") == 1, "{accounts:?}");
    ensure!(accounts.ended("delivered") == 2, "{accounts:?}");
    scene.end().await
}

// Holds, G-03, I-18.
#[tokio::test]
async fn the_answer_tells_how_long_a_message_may_wait() -> Result<()> {
    const LONGEST: u32 = 30 * 86_400;
    let scene = Scene::shared().await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    let nines = "9".repeat(100);
    for (asked, granted) in [
        ("1", 1),
        ("007", 7),
        (" 60\t", 60),
        ("2592000", LONGEST),
        ("2592001", LONGEST),
        ("99999999", LONGEST),
        ("2147483647", LONGEST),
        ("2147483648", LONGEST),
        ("4294967296", LONGEST),
        ("18446744073709551616", LONGEST),
        (nines.as_str(), LONGEST),
    ] {
        let accepted = scene.accepted(&channel.endpoint, &[("ttl", asked)], asked.to_owned()).await?;
        ensure!(accepted.ttl == granted, "{asked:?} was granted as {}", accepted.ttl);
        ensure!(body(&agent.take().await?) == asked);
    }
    scene.end().await
}

// Holds.
#[tokio::test]
async fn a_ttl_that_is_too_long_is_shortened_in_deed() -> Result<()> {
    let scene = Scene::alone_with(&[("PUSHGRID_INGRESS__MAX_TTL", "1s")]).await?;
    let (mut agent, channel) = subscribed(&scene).await?;
    agent.leave().await?;
    let accepted = scene.accepted(&channel.endpoint, &[("ttl", "86400")], "shortened").await?;
    ensure!(accepted.ttl == 1, "{}", accepted.ttl);
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 1), ("expired", 1)]).await
}
