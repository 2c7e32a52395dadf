//! The grid: ingress, router and connection as processes over a real Kafka and a real Redis, and what may happen to each of
//! them.
//!
//! These tests speak of roles, so they start grids whatever the switch of the test run says. Those that do harm to
//! Kafka or Redis have servers of their own. They run one after the other: each is load enough for a small machine.

mod drain;
mod faults;
mod growing;
mod idle;
mod load;
mod moving;
mod outages;

use anyhow::{Context as _, Result};
use pushgrid_it::{Backing, Grid, Process, Servers, Shape};
use tokio::sync::{Mutex, MutexGuard};

/// Whose turn it is.
static TURN: Mutex<()> = Mutex::const_new(());

/// A grid over the servers that are there already, and the turn to use the machine.
async fn shared(shape: Shape, settings: &[(&str, &str)]) -> Result<(Grid, MutexGuard<'static, ()>)> {
    let turn = TURN.lock().await;
    Ok((Grid::start(shape, &Backing::shared()?, settings).await?, turn))
}

/// A grid over servers of its own. In this order: the grid ends before them.
struct Own {
    grid: Grid,
    servers: Servers,
    _turn: MutexGuard<'static, ()>,
}

impl Own {
    async fn start(brokers: usize, shape: Shape, settings: &[(&str, &str)]) -> Result<Self> {
        let turn = TURN.lock().await;
        let servers = Servers::start(brokers).await?;
        Ok(Self { grid: Grid::start(shape, &servers.backing(), settings).await?, servers, _turn: turn })
    }
}

/// Where user agents connect to.
fn url(node: &Process) -> &str {
    node.url("connection")
}

/// The same endpoint at another ingress.
fn at(ingress: &str, endpoint: &str) -> Result<String> {
    let path = endpoint.find("/push/").context("an endpoint has the path of push resources")?;
    Ok(format!("{ingress}{}", &endpoint[path..]))
}
