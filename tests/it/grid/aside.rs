//! The data of one user agent in Redis is damaged: the user agent is restored from the changelog, and no other is
//! affected.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use pushgrid_it::{Backing, Grid, Redis, Shape, eventually};

use super::load::agents;
use super::{shared, url};
use crate::wire::party::{Agent, Application, SOON, body};

const BYSTANDERS: usize = 12;

async fn sum(grid: &Grid, name: &str) -> Result<f64> {
    grid.metrics().await?.sum(name, &[]).with_context(|| format!("no {name}"))
}

/// Waits until one more user agent than `before` was restored, and none is set aside.
async fn restored(grid: &Grid, before: f64) -> Result<f64> {
    eventually(SOON, "the user agent is restored", async || {
        let restored = sum(grid, "pushgrid_partition_user_agents_restored_total").await?;
        let aside = sum(grid, "pushgrid_partition_user_agents_aside").await?;
        Ok((restored > before && aside < 0.5).then_some(restored))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_agent_whose_view_is_spoilt_is_restored_and_the_others_take_no_notice() -> Result<()> {
    let (grid, _turn) = shared(Shape::SMALLEST, &[]).await?;
    let mut redis = Redis::connect(&Backing::shared()?.redis).await?;
    let app = Application::new();
    let (mut bystanders, channels) = agents(BYSTANDERS, &grid.connection[0]).await?;
    let mut away = Agent::new(url(&grid.connection[0])).await?;
    let channel = away.subscribe().await?;
    away.leave().await?;
    let mut times = sum(&grid, "pushgrid_partition_user_agents_restored_total").await?;
    let takeovers = sum(&grid, "pushgrid_router_takeovers_total").await?;
    for kind in ["m", "q", "s"] {
        app.send(&channel.endpoint, kind).await?;
        // In the account once stored, so in Redis too.
        grid.accounts("one waits", |accounts| accounts.pending == 1).await?;
        eventually(SOON, "its keys are there", async || {
            Ok((redis.spoil(kind, away.id().as_octets()).await? == 1).then_some(()))
        })
        .await?;
        // The damage is found by the first question; until restored, the user agent may be told to retry.
        eventually(SOON, "the user agent is known again", async || Ok(away.come_back().await.ok())).await?;
        let round = bystanders.iter_mut().zip(&channels);
        try_join_all(round.map(|(agent, channel)| agent.nothing_waits(channel))).await?;
        times = restored(&grid, times).await?;
        ensure!(body(&away.take().await?) == kind, "another message came");
        away.nothing_waits(&channel).await?;
        away.leave().await?;
        grid.settled().await?;
    }
    // A user agent that stays away: the first sender finds the damage, and is told to retry until restored.
    let mut away = Agent::new(url(&grid.connection[0])).await?;
    let channel = away.subscribe().await?;
    away.leave().await?;
    for kind in ["m", "q", "s"] {
        app.send(&channel.endpoint, kind).await?;
        grid.accounts("one waits", |accounts| accounts.pending == 1).await?;
        eventually(SOON, "its keys are there", async || {
            Ok((redis.spoil(kind, away.id().as_octets()).await? == 1).then_some(()))
        })
        .await?;
        let sent = async || Ok(app.send(&channel.endpoint, "after").await.ok());
        eventually(SOON, "messages are taken again", sent).await?;
        times = restored(&grid, times).await?;
        away.come_back().await?;
        for expected in [kind, "after"] {
            ensure!(body(&away.take().await?) == expected, "another message came");
        }
        away.leave().await?;
        grid.settled().await?;
    }
    let now = sum(&grid, "pushgrid_router_takeovers_total").await?;
    ensure!(now.total_cmp(&takeovers).is_eq(), "{now} take-overs after {takeovers}");
    let accounts = grid.settled().await?;
    let all = 12 + 3 * BYSTANDERS as u64;
    ensure!(accounts.accepted == all && accounts.ended("delivered") == all, "{all}: {accounts:?}");
    Ok(())
}
