//! New processes and user agents: messages with TTL 0, which nothing stores, reach user agents from the first moment.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use pushgrid_it::{Grid, Process, Role, Shape, eventually, within};
use tokio::time::sleep;

use super::shared;
use crate::wire::party::{Agent, Application, Channel, SOON, body};

const AGENTS: usize = 24;

/// Messages to each user agent, spread over half a second.
const EACH: usize = 10;
const EVERY: Duration = Duration::from_millis(50);

/// Pause between two attempts to connect to a node that does not accept yet.
const LOOK: Duration = Duration::from_millis(2);

const NOW_OR_NEVER: &[(&str, &str)] = &[("ttl", "0")];

/// Address of a node before readiness.
fn early_url(node: &Process) -> Result<String> {
    Ok(format!("ws://{}", node.listens("connection")?))
}

/// Connects a user agent as soon as the node accepts, subscribes, and sends messages at once.
async fn first_come(url: &str) -> Result<()> {
    let connect = async {
        loop {
            match Agent::new(url).await {
                Ok(agent) => return agent,
                Err(_not_yet) => sleep(LOOK).await,
            }
        }
    };
    let mut agent = within(SOON, "a connection", connect).await?;
    let channel = agent.subscribe().await?;
    all_come(&mut agent, &channel).await
}

/// Reconnects a known user agent.
async fn first_back(mut agent: Agent, channel: Channel) -> Result<()> {
    let connect = async {
        while agent.come_back().await.is_err() {
            sleep(LOOK).await;
        }
    };
    within(SOON, "a connection", connect).await?;
    all_come(&mut agent, &channel).await
}

/// Checks that every message of the next half second is delivered.
async fn all_come(agent: &mut Agent, channel: &Channel) -> Result<()> {
    let app = Application::with_one_connection();
    for number in 0..EACH {
        app.accepted(&channel.endpoint, NOW_OR_NEVER, number.to_string()).await?;
        sleep(EVERY).await;
    }
    let came: BTreeSet<String> = agent.take_all(EACH).await?.iter().map(body).collect();
    ensure!(came.len() == EACH, "only {came:?} came");
    Ok(())
}

async fn is_ready(process: &Process) -> Result<bool> {
    Ok(process.get("/readyz").await?.0 == 200)
}

/// Checks that all messages of these rounds were delivered.
async fn delivered(grid: &Grid, rounds: usize) -> Result<()> {
    let all = (rounds * AGENTS * EACH) as u64;
    let accounts = grid.settled().await?;
    ensure!(accounts.accepted == all && accounts.ended("delivered") == all, "{all}: {accounts:?}");
    Ok(())
}

// Holds: A-59.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_wait_reaches_the_first_user_agents_of_a_node_and_of_a_router_that_have_just_started()
-> Result<()> {
    let (mut grid, _turn) = shared(Shape { ingress: 1, router: 2, connection: 1 }, &[]).await?;

    let mut newcomer = grid.another(Role::Connection, 1)?;
    newcomer.begin()?;
    let url = early_url(&newcomer)?;
    try_join_all((0..AGENTS).map(|_| first_come(&url))).await?;
    newcomer.ready().await?;
    ensure!(is_ready(&newcomer).await?, "it says that it is ready");
    delivered(&grid, 1).await?;

    // Killed, so that its earlier life is still a member.
    let (mut agents, channels) = super::load::agents(AGENTS, &newcomer).await?;
    newcomer.kill().await?;
    newcomer.begin()?;
    agents.iter_mut().for_each(Agent::vanish);
    let back = agents.into_iter().zip(channels).map(|(agent, channel)| first_back(agent, channel));
    try_join_all(back).await?;
    newcomer.ready().await?;
    delivered(&grid, 2).await?;

    let (mut agents, channels) = super::load::agents(AGENTS, &newcomer).await?;
    grid.router[0].stop().await?;
    grid.router[0].start().await?;
    eventually(SOON, "the router that was started again has partitions", async || {
        let owned = grid.router[0].metrics().await?.sum("pushgrid_router_partitions", &[]);
        Ok((owned > Some(0.5)).then_some(()))
    })
    .await?;
    grid.is_whole().await?;
    try_join_all(agents.iter_mut().zip(&channels).map(|(agent, channel)| all_come(agent, channel))).await?;
    grid.connection.push(newcomer);
    delivered(&grid, 3).await
}
