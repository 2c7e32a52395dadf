//! Foreign data in a grid: records of others and of a newer release in the topics, topics made anew beside a Redis that
//! was kept; and a partition that no router can take over. User agents are served all the same, and readiness tells of
//! exceptions.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{FakeClock, Grid, Process, Role, Shape, eventually};

use super::{Own, shared, url};
use crate::wire::party::{Agent, Application, Channel, body};

/// User agents, enough for some in each partition.
const AGENTS: usize = 12;

/// Deadline for partitions to be served, or reported as not served.
const SOON_AFTER: Duration = Duration::from_secs(40);

/// A shorter time until a partition counts as stuck.
const SETTINGS: &[(&str, &str)] = &[("PUSHGRID_ROUTER__STUCK_AFTER", "2s")];

/// Makes user agents that are away, each with a stored message.
async fn away(grid: &Grid, app: &Application) -> Result<Vec<(Agent, Channel)>> {
    let mut agents = Vec::with_capacity(AGENTS);
    for number in 0..AGENTS {
        let mut agent = Agent::new(url(&grid.connection[0])).await?;
        let channel = agent.subscribe().await?;
        agent.leave().await?;
        app.send(&channel.endpoint, &format!("waits {number}")).await?;
        agents.push((agent, channel));
    }
    grid.accounts("all wait", |accounts| accounts.pending == AGENTS as u64).await?;
    Ok(agents)
}

/// Checks that new user agents can register and get messages.
async fn serves_everybody(grid: &Grid, app: &Application) -> Result<()> {
    for number in 0..AGENTS {
        let mut agent = Agent::new(url(&grid.connection[0])).await?;
        let channel = agent.subscribe().await.with_context(|| format!("user agent {number}"))?;
        app.send(&channel.endpoint, "at once").await?;
        ensure!(body(&agent.take().await?) == "at once", "another message came");
    }
    Ok(())
}

/// Waits until a router is ready, or unready because of a partition.
async fn is_ready(router: &Process, expected: bool) -> Result<()> {
    eventually(SOON_AFTER, "the router says whether all partitions are served", async || {
        let (status, text) = router.get("/readyz").await?;
        let stuck = router.metrics().await?.sum("pushgrid_router_partitions_stuck", &[]);
        let says = text.contains("is not served for");
        ensure!((status == 200) == expected, "{status}: {text}");
        ensure!(says != expected && (stuck == Some(0.0)) == expected, "{stuck:?} are stuck: {text}");
        Ok(Some(()))
    })
    .await
}

/// Waits until at least this many records of each partition were counted as passed over.
async fn passed_over(grid: &Grid, topic: &str, damaged: f64, newer: f64) -> Result<()> {
    let (metrics, partitions) = (grid.metrics().await?, f64::from(grid.partitions()));
    for (name, least) in [("pushgrid_log_skipped_total", damaged), ("pushgrid_log_newer_total", newer)] {
        let count = metrics.sum(name, &[("topic", topic)]).with_context(|| format!("{name} is missing"))?;
        ensure!(count >= least * partitions, "{name} of {topic}: {count}");
    }
    Ok(())
}

/// Checks that no partition has more than `most` claims.
async fn claims_at_most(grid: &Grid, most: usize) -> Result<()> {
    let said = grid.tamper("claims").await?;
    ensure!(said.lines().count() == usize::from(grid.partitions()), "{said:?}");
    for line in said.lines() {
        let claims: usize = line.split(' ').nth(1).context("a count of claims")?.parse()?;
        ensure!((1..=most).contains(&claims), "partition and claims: {line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_nobody_can_read_are_passed_over_and_everybody_is_served() -> Result<()> {
    let mut own = Own::start(1, Shape::SMALLEST, SETTINGS).await?;
    let app = Application::new();
    let agents = away(&own.grid, &app).await?;
    own.grid.tamper("damage").await?;
    own.grid.tamper("newer").await?;
    // The owner meets the records as it writes.
    serves_everybody(&own.grid, &app).await?;
    passed_over(&own.grid, "accepted", 1.0, 1.0).await?;
    passed_over(&own.grid, "state", 2.0, 2.0).await?;
    let partitions = u64::from(own.grid.partitions());
    // An acknowledgement not committed yet would be lost with the router.
    own.grid.accounts("those away wait", |it| it.pending == AGENTS as u64 + partitions).await?;
    // The next owner reads the whole changelog.
    own.grid.router[0].kill().await?;
    own.servers.redis().await?.flush_all().await?;
    own.grid.start_again().await?;
    for (number, (mut agent, channel)) in agents.into_iter().enumerate() {
        agent.come_back().await?;
        ensure!(body(&agent.take().await?) == format!("waits {number}"), "another message came");
        agent.nothing_waits(&channel).await?;
        agent.subscribe().await?;
    }
    serves_everybody(&own.grid, &app).await?;
    is_ready(&own.grid.router[0], true).await?;
    passed_over(&own.grid, "state", 2.0, 2.0).await?;
    claims_at_most(&own.grid, 2).await?;
    // Messages of a newer release stay for it, and all others have ended.
    let accounts = own.grid.accounts("all but that ended", |it| it.pending == partitions).await?;
    let ended = 4 * AGENTS as u64;
    ensure!(accounts.ended("delivered") == ended && accounts.accepted == ended + partitions, "{accounts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_are_made_anew_beside_a_redis_that_is_kept_serve_everybody() -> Result<()> {
    let (mut grid, _turn) = shared(Shape::SMALLEST, SETTINGS).await?;
    let app = Application::new();
    away(&grid, &app).await?;
    grid.stop().await?;
    grid.tamper("delete").await?;
    grid.start_again().await?;
    serves_everybody(&grid, &app).await?;
    is_ready(&grid.router[0], true).await?;
    let discarded = grid.metrics().await?.sum("pushgrid_router_views_discarded_total", &[]);
    ensure!(discarded == Some(f64::from(grid.partitions())), "{discarded:?} views were discarded");
    claims_at_most(&grid, 1).await?;
    let accounts = grid.settled().await?;
    ensure!(accounts.accepted == AGENTS as u64, "nothing of before is left: {accounts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_cannot_take_its_partitions_over_is_not_ready_until_it_can() -> Result<()> {
    let mut own = Own::start(1, Shape { router: 2, ..Shape::SMALLEST }, SETTINGS).await?;
    let app = Application::new();
    let agents = away(&own.grid, &app).await?;
    is_ready(&own.grid.router[0], true).await?;
    own.servers.pause_redis()?;
    own.grid.router[1].kill().await?;
    is_ready(&own.grid.router[0], false).await?;
    own.servers.resume_redis()?;
    own.grid.is_whole().await?;
    is_ready(&own.grid.router[0], true).await?;
    for (mut agent, _) in agents {
        agent.come_back().await?;
        agent.take().await?;
    }
    claims_at_most(&own.grid, 3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_whose_clock_is_wrong_says_what_is_stuck_all_the_same() -> Result<()> {
    let mut own = Own::start(1, Shape::SMALLEST, SETTINGS).await?;
    let clock = FakeClock::new(7200).await?;
    let mut wrong = own.grid.another(Role::Router, 1)?;
    for (name, value) in clock.settings() {
        wrong.set(name, &value);
    }
    wrong.begin()?;
    eventually(SOON_AFTER, "its clock alone keeps it from being ready", async || {
        let (status, text) = wrong.get("/readyz").await?;
        ensure!(status == 503 && text.contains("its wall clock is +7200"), "{status}: {text}");
        ensure!(!text.contains("\"router\""), "{text}");
        Ok(Some(()))
    })
    .await?;
    own.servers.pause_redis()?;
    own.grid.router[0].kill().await?;
    is_ready(&wrong, false).await?;
    own.servers.resume_redis()
}
