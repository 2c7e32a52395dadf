//! The grid: ingress, router and connection as processes over a real Kafka and a real Redis, and faults of each of
//! them.
//!
//! These tests name roles, so start grids whatever the form under test. Tests that harm Kafka or Redis have servers of
//! their own. One test runs after the other: each is load enough for a small machine.

mod aside;
mod broadcasts;
mod clocks;
mod drain;
pub(crate) mod faults;
mod growing;
mod idle;
mod joining;
mod load;
mod moving;
mod outages;
mod push;
mod readme;
mod receipts;
mod sse;
mod strange;
mod urgency;

use std::path::Path;

use anyhow::{Context as _, Result};
use pushgrid_it::{Backing, Grid, Process, Servers, Shape};
use tokio::sync::{Mutex, MutexGuard};

/// Lock on the machine: one test of a shared grid at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Starts a grid over the shared servers, once no other test uses the machine.
async fn shared(shape: Shape, settings: &[(&str, &str)]) -> Result<(Grid, MutexGuard<'static, ()>)> {
    let turn = TURN.lock().await;
    Ok((Grid::start(shape, &Backing::shared()?, settings).await?, turn))
}

/// Grid over servers of its own. Fields in this order: the grid ends before the servers.
pub(crate) struct Own {
    pub(crate) grid: Grid,
    servers: Servers,
    _turn: MutexGuard<'static, ()>,
}

impl Own {
    async fn start(brokers: usize, shape: Shape, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_of(None, brokers, shape, settings).await
    }

    /// Starts a grid of another build of the command.
    pub(crate) async fn start_of(
        build: Option<&Path>,
        brokers: usize,
        shape: Shape,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let turn = TURN.lock().await;
        let servers = Servers::start(brokers).await?;
        let grid = Grid::start_of(build, shape, &servers.backing(), settings).await?;
        Ok(Self { grid, servers, _turn: turn })
    }
}

/// URL for user agents.
pub(crate) fn url(node: &Process) -> &str {
    node.url("connection")
}

/// The endpoint at another ingress.
pub(crate) fn at(ingress: &str, endpoint: &str) -> Result<String> {
    let path = endpoint.find("/push/").context("an endpoint has the path of push resources")?;
    Ok(format!("{ingress}{}", &endpoint[path..]))
}
