//! Peers that vanish without closing: their sockets are closed, and unacknowledged messages are redelivered on the next
//! connection.

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::Subscription;
use pushgrid_it::eventually;
use serde_json::Value;

use super::raw::{PATIENCE, Wire};
use super::request::Request;
use super::scene::Scene;
use super::websocket::Socket;

const SETTINGS: [(&str, &str); 2] =
    [("PUSHGRID_CONNECTION__PING_INTERVAL", "1s"), ("PUSHGRID_CONNECTION__PONG_TIMEOUT", "2s")];

/// Connects a user agent over a socket that answers no ping, with one message read and not acknowledged. Returns its
/// version.
async fn vanishing(settings: &[(&str, &str)]) -> Result<(Scene, Subscription, Socket, Value)> {
    let mut scene = Scene::start_with(settings).await?;
    let subscription = scene.open().await?;
    scene.go_offline().await?;
    let mut socket = Socket::open(scene.server.connection(), Some(scene.id())).await?;
    scene.send(&Request::push(&subscription, b"read and not acknowledged")?).await?;
    let notification = socket.reply().await?;
    ensure!(notification["messageType"] == "notification", "{notification}");
    Ok((scene, subscription, socket, notification["version"].clone()))
}

// Holds: H-11, H-15, H-19.
#[tokio::test]
async fn a_socket_that_answers_no_ping_is_closed_and_its_message_comes_again() -> Result<()> {
    let (mut scene, subscription, mut socket, version) = vanishing(&SETTINGS).await?;
    scene.send(&Request::push(&subscription, b"never read")?).await?;
    let close = socket.closed().await?.context("closed without a close frame")?;
    close.is_clear()?;
    ensure!(close.code == 1008 && close.reason.contains("ping"), "{close:?}");
    scene.come_back().await?;
    let again = scene.notification().await?;
    ensure!(version == again.version.as_str(), "not the same version, or not in order");
    ensure!(subscription.decrypt(&again)? == b"read and not acknowledged", "another message came");
    scene.receives(&subscription, b"never read").await?;
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == 2 && accounts.ended("delivered") == 2, "{accounts:?}");
    scene.works().await
}

// Holds: A-103, H-20.
#[tokio::test]
async fn a_socket_that_is_still_open_gives_way_to_the_next_of_the_same_user_agent() -> Result<()> {
    let (mut scene, subscription, mut socket, version) = vanishing(&[]).await?;
    scene.come_back().await?;
    let again = scene.notification().await?;
    ensure!(version == again.version.as_str(), "not the same version");
    let close = socket.closed().await?.context("closed without a close frame")?;
    close.is_clear()?;
    ensure!(close.code == 1008 && close.reason.contains("connected again"), "{close:?}");
    // A message sent now goes to the newer connection.
    scene.send(&Request::push(&subscription, b"to the newer one")?).await?;
    scene.receives(&subscription, b"to the newer one").await?;
    let accounts = scene.server.settled().await?;
    ensure!(accounts.ended("delivered") == 2, "{accounts:?}");
    Ok(())
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_nothing_behind() -> Result<()> {
    let (mut scene, subscription, socket, _) = vanishing(&[]).await?;
    // A reset, for nothing lingers.
    drop(socket);
    let no_hello = Socket::connect(scene.server.connection()).await?;
    let no_upgrade = Wire::open(scene.server.connection()).await?;
    drop((no_hello, no_upgrade));
    eventually(PATIENCE, "no socket is left", async || {
        let sockets = scene.server.metrics().await?.sum("pushgrid_connection_sockets", &[]);
        let sockets = sockets.context("the metric is missing")?;
        ensure!(sockets < 1.0, "{sockets} are left");
        Ok(Some(()))
    })
    .await?;
    scene.come_back().await?;
    scene.receives(&subscription, b"read and not acknowledged").await?;
    scene.works().await
}

// Holds: A-04, H-15.
#[tokio::test]
async fn a_user_agent_that_answers_pings_stays_for_as_long_as_it_likes() -> Result<()> {
    let quick = [("PUSHGRID_CONNECTION__PING_INTERVAL", "50ms"), ("PUSHGRID_CONNECTION__PONG_TIMEOUT", "5s")];
    let mut scene = Scene::start_with(&quick).await?;
    let subscription = scene.open().await?;
    for _ in 0..5 {
        // The library answers a ping when the next frame is read.
        let frame = pushgrid_it::within(PATIENCE, "a ping", scene.user_agent()?.next_frame()).await??;
        ensure!(frame.is_ping(), "{frame:?}");
    }
    scene.send(&Request::push(&subscription, b"still there")?).await?;
    scene.receives(&subscription, b"still there").await
}
