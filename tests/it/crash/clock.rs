//! The wall clock of the machine is set while messages are stored, by any amount and in both directions: each is
//! delivered or expires as if the clock had not been set.

use std::time::Duration;

use anyhow::{Result, ensure};
use pushgrid_it::{Accounts, FakeClock, Metrics, Server, eventually};
use tokio::time::{Instant, sleep};

use crate::wire::party::{Agent, Application, Channel, SOON, body};

/// In seconds.
const TEN_YEARS: i64 = 10 * 365 * 86_400;

/// Time for which the clock is wrong.
const WRONG: Duration = Duration::from_millis(2500);

/// A service with its own clock, a user agent that is away, and an application server.
struct Scene {
    clock: FakeClock,
    server: Server,
    agent: Agent,
    channel: Channel,
    app: Application,
}

impl Scene {
    async fn start() -> Result<Self> {
        let clock = FakeClock::new(0).await?;
        let settings = clock.settings();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = Server::standalone_with(&settings).await?;
        let mut agent = Agent::new(server.connection()).await?;
        let channel = agent.subscribe().await?;
        agent.leave().await?;
        Ok(Self { clock, server, agent, channel, app: Application::new() })
    }

    async fn send(&self, ttl: &str, text: &'static str) -> Result<()> {
        self.app.accepted(&self.channel.endpoint, &[("ttl", ttl)], text).await.map(drop)
    }

    /// Sets the clock, and waits until the service has noticed.
    async fn set(&self, ahead: i64) -> Result<()> {
        let steps = |metrics: &Metrics| metrics.sum("pushgrid_clock_steps_total", &[]);
        let before = steps(&self.server.metrics().await?);
        self.clock.set(ahead)?;
        let seen = async || Ok((steps(&self.server.metrics().await?) > before).then_some(()));
        eventually(SOON, "the clock was seen to be set", seen).await
    }

    /// Checks that a message with a TTL of one second expires on time.
    async fn a_second_is_a_second(&self, expired: u64) -> Result<()> {
        let began = Instant::now();
        self.send("1", "short-lived").await?;
        let has = |accounts: &Accounts| accounts.ended("expired") >= expired;
        self.server.accounts("a message of a second expired", has).await?;
        let took = began.elapsed();
        ensure!(took > Duration::from_millis(900), "it expired after {took:?}");
        Ok(())
    }

    async fn takes(&mut self, texts: &[&str]) -> Result<()> {
        self.agent.come_back().await?;
        let taken = self.agent.take_all(texts.len()).await?;
        let taken: Vec<String> = taken.iter().map(body).collect();
        ensure!(taken == texts, "{taken:?} came, not {texts:?}");
        self.agent.nothing_waits(&self.channel).await?;
        self.agent.leave().await
    }
}

#[tokio::test]
async fn a_clock_that_is_ten_years_ahead_for_a_moment_ends_nothing_and_one_that_is_behind_keeps_nothing()
-> Result<()> {
    let mut scene = Scene::start().await?;
    scene.send("60", "before").await?;
    scene.set(TEN_YEARS).await?;
    sleep(WRONG).await;
    scene.send("60", "meanwhile").await?;
    scene.a_second_is_a_second(1).await?;
    scene.set(0).await?;
    scene.send("60", "after").await?;
    scene.set(-TEN_YEARS).await?;
    scene.a_second_is_a_second(2).await?;
    scene.takes(&["before", "meanwhile", "after"]).await?;
    let accounts = scene.server.settled().await?;
    ensure!(accounts.ended("expired") == 2, "{accounts:?}");
    ensure!(scene.server.log()?.contains("the wall clock of this machine was set"), "the log says nothing");
    Ok(())
}

#[tokio::test]
async fn the_time_goes_on_over_a_restart_while_the_clock_is_wrong_and_one_when_it_is_right_again()
-> Result<()> {
    let mut scene = Scene::start().await?;
    scene.send("300", "first").await?;
    // Set and killed at once: the service may not have noticed.
    scene.clock.set(TEN_YEARS)?;
    scene.server.kill().await?;
    scene.server.start_again().await?;
    scene.a_second_is_a_second(1).await?;
    scene.send("300", "second").await?;
    scene.server.restart().await?;
    scene.server.stop().await?;
    scene.clock.set(-7200)?;
    scene.server.start_again().await?;
    scene.a_second_is_a_second(2).await?;
    scene.clock.set(0)?;
    scene.server.kill().await?;
    scene.server.start_again().await?;
    scene.takes(&["first", "second"]).await?;
    let accounts = scene.server.settled().await?;
    ensure!(accounts.ended("expired") == 2, "{accounts:?}");
    Ok(())
}
