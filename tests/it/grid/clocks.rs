//! Processes whose wall clocks are wrong, by any amount: messages keep their TTL all the same.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_it::{FakeClock, Grid, Process, Role, Shape, eventually};
use pushgrid_types::{SystemClock, SystemRng, WallClock as _};
use tokio::time::Instant;

use super::{at, shared, url};
use crate::wire::party::{Agent, Application, SOON, body};

/// Bound above the error of some clocks, so that their processes are ready.
const FAR: (&str, &str) = ("PUSHGRID_GRID__MAX_CLOCK_SKEW", "3h");

/// Adds a process with its own clock to a grid.
async fn with_clock(
    grid: &Grid,
    role: Role,
    clock: &FakeClock,
    setting: Option<(&str, &str)>,
) -> Result<Process> {
    let mut process = grid.another(role, 1)?;
    for (name, value) in clock.settings() {
        process.set(name, &value);
    }
    if let Some((name, value)) = setting {
        process.set(name, value);
    }
    process.start().await?;
    Ok(process)
}

/// Waits until `/readyz` has this status, and a body with `text`.
async fn readiness(process: &Process, status: u16, text: &str) -> Result<()> {
    eventually(SOON, &format!("{status} and {text:?}"), async || {
        let answer = process.get("/readyz").await?;
        ensure!(answer.0 == status && answer.1.contains(text), "{answer:?}");
        Ok(Some(()))
    })
    .await
}

// Holds: A-58.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_clocks_of_a_node_an_ingress_and_a_router_lose_nothing_and_keep_nothing() -> Result<()> {
    let (mut grid, _turn) = shared(Shape::SMALLEST, &[]).await?;
    let clock = FakeClock::new(0).await?;
    let (behind, ahead) = (FakeClock::new(-7200).await?, FakeClock::new(7200).await?);
    let node = with_clock(&grid, Role::Connection, &clock, None).await?;
    let ingress = with_clock(&grid, Role::Ingress, &behind, Some(FAR)).await?;
    grid.router.push(with_clock(&grid, Role::Router, &ahead, Some(FAR)).await?);
    // The router with the wrong clock owns all partitions.
    let mut right = grid.router.remove(0);
    right.stop().await?;
    grid.is_whole().await?;

    clock.set(90)?;
    readiness(&node, 503, "its wall clock is +90.").await?;
    let skew = node.metrics().await?.sum("pushgrid_clock_skew_seconds", &[]).context("a skew")?;
    ensure!((skew - 90.0).abs() < 1.0, "{skew}");

    let app = Application::new();
    let key = KeyPair::generate(&SystemRng);
    let mut agent = Agent::new(url(&node)).await?;
    let channel = agent.subscribe_for(&key.public()).await?;
    let endpoints = [channel.endpoint.clone(), at(ingress.url("ingress"), &channel.endpoint)?];
    let origin = channel.endpoint.split("/push/").next().context("an origin")?;
    // As signed by most libraries: valid for a day, by a correct clock.
    let token = key.authorization(origin, SystemClock.wall().plus(Duration::from_hours(24)), None);
    let send = async |endpoint: &str, ttl: &str, text: &'static str| {
        app.accepted(endpoint, &[("ttl", ttl), ("authorization", &token)], text).await.map(drop)
    };
    for endpoint in &endpoints {
        for ttl in ["0", "30"] {
            send(endpoint, ttl, "now").await?;
            ensure!(body(&agent.take().await?) == "now");
        }
    }
    agent.leave().await?;
    let began = Instant::now();
    for endpoint in &endpoints {
        send(endpoint, "2", "short-lived").await?;
        send(endpoint, "30", "stored").await?;
    }
    grid.accounts("what lives for two seconds expires", |accounts| accounts.ended("expired") == 2).await?;
    let took = began.elapsed();
    ensure!(took > Duration::from_millis(1900), "it expired after {took:?}");
    agent.come_back().await?;
    for notification in agent.take_all(2).await? {
        ensure!(body(&notification) == "stored");
    }
    let accounts = grid.settled().await?;
    ensure!(accounts.ended("delivered") == 6 && accounts.ended("expired") == 2, "{accounts:?}");

    clock.set(0)?;
    readiness(&node, 200, "").await?;
    ensure!(node.log()?.contains("the wall clock of this machine was set"), "the log says nothing");
    Ok(())
}
