//! Broadcasts of a grid: set at any node, known to all, and mirrored by one of them.

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Grid, Server, Shape, eventually};
use serde_json::json;

use super::{Own, shared, url};
use crate::wire::broadcasts::{Listener, broadcast};
use crate::wire::party::SOON;

const SHAPE: Shape = Shape { ingress: 1, router: 1, connection: 2 };

fn admin(grid: &Grid, node: usize) -> &str {
    grid.connection[node].url("admin")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_set_at_one_node_reaches_the_others_and_outlives_all_of_them() -> Result<()> {
    let (mut grid, _turn) = shared(SHAPE, &[]).await?;
    let (mut here, _) = Listener::connect(url(&grid.connection[0]), &[("a", "0")]).await?;
    let (mut there, _) = Listener::connect(url(&grid.connection[1]), &[("a", "0")]).await?;
    for (node, version) in [(0, "1"), (1, "2"), (0, "3")] {
        broadcast(admin(&grid, node), &["set", "a", version]).await?;
        for listener in [&mut here, &mut there] {
            ensure!(listener.next().await? == json!({"a": version}));
        }
    }
    broadcast(admin(&grid, 1), &["set", "b", "1"]).await?;
    broadcast(admin(&grid, 1), &["remove", "b"]).await?;
    grid.kill().await?;
    grid.start_again().await?;
    for node in 0..2 {
        let (_, answer) = Listener::connect(url(&grid.connection[node]), &[("a", "2"), ("b", "0")]).await?;
        ensure!(answer == json!({"a": "3"}), "{answer}");
        ensure!(broadcast(admin(&grid, node), &["list"]).await? == "a  3\n");
    }
    Ok(())
}

/// Node at which the bridge is up, once there is exactly one.
async fn bridging(grid: &Grid) -> Result<usize> {
    eventually(SOON, "one bridge", async || {
        let mut up = Vec::new();
        for (number, node) in grid.connection.iter().enumerate().filter(|(_, node)| node.is_started()) {
            if node.metrics().await?.sum("pushgrid_bridge_up", &[]) == Some(1.0) {
                up.push(number);
            }
        }
        ensure!(up.len() == 1, "the bridge is up at {up:?}");
        Ok(up.first().copied())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_at_a_time_mirrors_and_another_takes_its_place() -> Result<()> {
    let upstream = Server::standalone_with(&[]).await?;
    broadcast(upstream.operator(), &["set", "a", "1"]).await?;
    let settings =
        [("PUSHGRID_BRIDGE__UPSTREAM", upstream.connection()), ("PUSHGRID_BRIDGE__BROADCASTS", "a")];
    let (mut grid, _turn) = shared(SHAPE, &settings).await?;
    let first = bridging(&grid).await?;
    let other = 1 - first;
    let (mut listener, answer) = Listener::connect(url(&grid.connection[other]), &[("a", "0")]).await?;
    if answer == json!({}) {
        ensure!(listener.next().await? == json!({"a": "1"}));
    }
    grid.connection[first].kill().await?;
    ensure!(bridging(&grid).await? == other);
    broadcast(upstream.operator(), &["set", "a", "2"]).await?;
    ensure!(listener.next().await? == json!({"a": "2"}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_agents_are_served_and_versions_wait_while_kafka_is_gone() -> Result<()> {
    let own = Own::start(1, SHAPE, &[]).await?;
    broadcast(admin(&own.grid, 0), &["set", "a", "1"]).await?;
    let (mut listener, answer) = Listener::connect(url(&own.grid.connection[1]), &[("a", "0")]).await?;
    if answer == json!({}) {
        ensure!(listener.next().await? == json!({"a": "1"}));
    }
    own.servers.kill_broker(1).await.context("the only broker")?;
    let (_, answer) = Listener::connect(url(&own.grid.connection[0]), &[("a", "0")]).await?;
    ensure!(answer == json!({"a": "1"}), "the versions stay known: {answer}");
    own.servers.start_again().await?;
    eventually(SOON, "a version is set", async || {
        broadcast(admin(&own.grid, 1), &["set", "a", "2"]).await.map(Some)
    })
    .await?;
    ensure!(listener.next().await? == json!({"a": "2"}));
    Ok(())
}
