//! A new router and a new node take over their share while messages flow, and no application server notices.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Process, Role, Shape, eventually, within};

use super::load::{Listeners, Load, agents};
use super::shared;

const AGENTS: usize = 40;

/// Deadline for a new process to have its share.
const SOON_AFTER: Duration = Duration::from_secs(15);

/// Value of a metric of a process.
async fn count(process: &Process, name: &str) -> Result<f64> {
    process.metrics().await?.sum(name, &[]).with_context(|| format!("{name} is missing"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_is_added_under_load_takes_partitions_over_within_seconds_and_every_post_is_accepted()
-> Result<()> {
    let settings = [("PUSHGRID_KAFKA__PARTITIONS", "6")];
    let (mut grid, _turn) = shared(Shape { ingress: 1, router: 1, connection: 1 }, &settings).await?;
    let (agents, channels) = agents(AGENTS, &grid.connection[0]).await?;
    let listeners = Listeners::start(agents);
    let load = Load::start(&grid.ingress[0], &channels, 4, Duration::from_millis(40))?;

    let mut newcomer = grid.another(Role::Router, 1)?;
    newcomer.start().await?;
    eventually(SOON_AFTER, "the new router has its share", async || {
        let (old, new) = (
            count(&grid.router[0], "pushgrid_router_partitions").await?,
            count(&newcomer, "pushgrid_router_partitions").await?,
        );
        ensure!(old + new > 5.5 && new > 1.5, "the old one has {old}, the new one {new}");
        Ok(Some(()))
    })
    .await?;
    eventually(SOON_AFTER, "the new router does work", async || {
        let routed = count(&newcomer, "pushgrid_router_routed_total").await?;
        ensure!(routed > 10.0, "it has routed {routed}");
        Ok(Some(()))
    })
    .await?;
    grid.router.push(newcomer);
    listeners.finish(&grid, &load.stop().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_added_under_load_serves_new_connections_at_once_and_every_post_is_accepted()
-> Result<()> {
    let (mut grid, _turn) = shared(Shape { ingress: 1, router: 2, connection: 1 }, &[]).await?;
    let (mut all, mut channels) = agents(AGENTS / 2, &grid.connection[0]).await?;
    let mut newcomer = grid.another(Role::Connection, 1)?;
    let early = Load::start(&grid.ingress[0], &channels, 2, Duration::from_millis(40))?;
    newcomer.start().await?;
    // The routers learn of the new node with its first user agent.
    let come = agents(AGENTS / 2, &newcomer);
    let (come, new) = within(SOON_AFTER, "connections to the new node", come).await??;
    all.extend(come);
    channels.extend(new);
    let sockets = count(&newcomer, "pushgrid_connection_sockets").await?;
    ensure!(sockets > 19.5, "the new node has {sockets} sockets");
    let late = Load::start(&grid.ingress[0], &channels[AGENTS / 2..], 2, Duration::from_millis(40))?;
    let listeners = Listeners::start(all);
    eventually(SOON_AFTER, "messages go over the new node", async || {
        let frames = newcomer.metrics().await?;
        let sent = frames.sum("pushgrid_connection_frames_total", &[("kind", "notification")]);
        Ok((sent > Some(100.0)).then_some(()))
    })
    .await?;
    grid.connection.push(newcomer);
    let mut sent = early.stop().await?;
    sent.extend(late.stop().await?);
    listeners.finish(&grid, &sent).await
}
