//! Cancellation of a message by an application server: `DELETE` of its address.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request};
use pushgrid_client::Event;

use super::party::{Agent, body};
use super::scene::Scene;

// Holds, H-30.
#[tokio::test]
async fn a_message_that_waits_can_be_deleted_once_and_never_comes() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    scene.send(&channel.endpoint, "before").await?;
    let location = scene.send(&channel.endpoint, "taken back").await?;
    scene.send(&channel.endpoint, "after").await?;
    ensure!(scene.cancel(&location).await? == 204);
    ensure!(scene.cancel(&location).await? == 404);
    agent.come_back().await?;
    ensure!(body(&agent.take().await?) == "before");
    ensure!(body(&agent.take().await?) == "after");
    agent.nothing_waits(&channel).await?;
    ensure!(scene.cancel(&location).await? == 404);
    scene.end_with(&[("delivered", 3), ("cancelled", 1)]).await
}

// Holds: A-115, H-30.
#[tokio::test]
async fn a_message_that_was_sent_and_not_acknowledged_can_be_deleted_and_does_not_come_again() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let location = scene.send(&channel.endpoint, "taken back").await?;
    let late = agent.next().await?;
    ensure!(scene.cancel(&location).await? == 204);
    agent.ack(&late).await?;
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 1), ("cancelled", 1)]).await
}

#[tokio::test]
async fn a_message_that_was_stored_after_a_disconnect_can_be_deleted_at_its_first_address() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let location = scene.send(&channel.endpoint, "taken back").await?;
    agent.next().await?;
    agent.leave().await?;
    agent.come_back().await?;
    agent.next().await?;
    ensure!(scene.cancel(&location).await? == 204);
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 1), ("cancelled", 1)]).await
}

// Holds: A-113.
#[tokio::test]
async fn a_message_that_was_delivered_is_gone() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let location = scene.send(&channel.endpoint, "delivered").await?;
    agent.take().await?;
    scene.server().settled().await?;
    ensure!(scene.cancel(&location).await? == 404);
    scene.end_with(&[("delivered", 1)]).await
}

/// Acknowledges the next message, unless cancelled on its way.
async fn take_if_it_comes(agent: &mut Agent) -> Result<()> {
    match agent.socket()?.next_within(Duration::from_millis(30)).await? {
        Some(Event::Notification(notification)) => agent.ack(&notification).await,
        Some(other) => bail!("not a message: {other:?}"),
        None => Ok(()),
    }
}

// Holds: A-115.
#[tokio::test]
async fn a_message_is_deleted_or_delivered_but_never_both_nor_neither() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let mut cancelled = 0;
    for round in 0..40 {
        let location = scene.send(&channel.endpoint, &format!("round {round}")).await?;
        let (status, taken) = tokio::join!(scene.cancel(&location), take_if_it_comes(&mut agent));
        taken?;
        match status? {
            204 => cancelled += 1,
            404 => {}
            other => bail!("a DELETE was answered {other}"),
        }
    }
    scene.send(&channel.endpoint, "last").await?;
    while body(&agent.take().await?) != "last" {}
    let accounts = scene.server().settled().await?;
    ensure!(accounts.ended("cancelled") == cancelled, "{cancelled} times 204, but {accounts:?}");
    ensure!(accounts.ended("delivered") == 41 - cancelled, "{cancelled} times 204, but {accounts:?}");
    scene.end().await
}

// Holds: A-61.
#[tokio::test]
async fn a_message_with_ttl_zero_is_gone_or_can_be_deleted_but_is_never_a_fault() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for _ in 0..5 {
        let accepted = scene.accepted(&channel.endpoint, &[("ttl", "0")], "x").await?;
        let status = scene.cancel(&accepted.location).await?;
        ensure!(matches!(status, 204 | 404), "answered {status}");
    }
    scene.end().await
}

// Holds: A-11.
#[tokio::test]
async fn an_address_that_never_was_is_answered_404_and_other_methods_405() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let location = scene.send(&channel.endpoint, "stays").await?;
    for wrong in [format!("{location}A"), location[..location.len() - 1].to_owned()] {
        ensure!(scene.cancel(&wrong).await? == 404);
    }
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let request = Request::builder().method(method).uri(&location).body(Bytes::new())?;
        let response = scene.inner().request(request).await?;
        ensure!(response.status == 405, "answered {}", response.status);
        ensure!(response.header("allow").is_some_and(|methods| methods.contains("DELETE")));
    }
    ensure!(body(&agent.take().await?) == "stays");
    scene.end().await
}
