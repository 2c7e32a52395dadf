//! A disk, or the quota on it, is full: accepted messages end as always, and so make room.

use anyhow::{Result, ensure};
use bytes::Bytes;
use pushgrid_it::{Server, within};
use pushgrid_types::{Rng as _, SystemRng};
use tokio::time::sleep;

use crate::wire::party::{Agent, Application, Channel, SOON};

/// Refusals to provoke: enough to notice if each was logged.
const REFUSALS: usize = 100;

/// More messages than fit on any of the disks.
const MOST: usize = 20_000;

const HOUR: &[(&str, &str)] = &[("ttl", "3600")];

struct Scene {
    server: Server,
    application: Application,
    body: Bytes,
}

impl Scene {
    fn over(server: Server) -> Self {
        let mut body = vec![0; 4000];
        SystemRng.fill(&mut body);
        Self { server, application: Application::with_one_connection(), body: body.into() }
    }

    /// Posts until refused, and returns the number accepted.
    async fn fill(&self, to: &Channel) -> Result<usize> {
        let (mut accepted, mut refused) = (0, 0);
        while refused < REFUSALS {
            let answer = self.application.post(&to.endpoint, HOUR, self.body.clone()).await?;
            match answer.status {
                201 => accepted += 1,
                503 => {
                    refused += 1;
                    ensure!(answer.header("retry-after").is_some(), "it does not say when to come back");
                }
                other => anyhow::bail!("answered {other}"),
            }
            ensure!(accepted < MOST, "{accepted} messages found room");
        }
        Ok(accepted)
    }

    async fn is_full(&self) -> Result<bool> {
        Ok(self.server.metrics().await?.sum("pushgrid_store_full", &[]) == Some(1.0))
    }

    /// Posts until a message is accepted.
    async fn works_again(&self, to: &Channel) -> Result<()> {
        let taken = async {
            while self.application.post(&to.endpoint, HOUR, self.body.clone()).await?.status != 201 {
                sleep(std::time::Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        within(SOON, "a message that is taken", taken).await??;
        ensure!(!self.is_full().await?, "it takes messages, and says that it does not");
        Ok(())
    }

    /// Checks that each line is logged once, however many refusals there were.
    fn log_is_short(&self) -> Result<()> {
        let log = self.server.log()?;
        for line in ["no room: messages and subscriptions are refused", "could not take messages"] {
            ensure!(log.matches(line).count() == 1, "not once: {line}\n{log}");
        }
        let lines = log.lines().count();
        ensure!(lines < 20, "{lines} lines for one full disk");
        Ok(())
    }
}

/// Fills `server`; then one subscription with messages ends, and all other messages are delivered and acknowledged.
async fn fills_and_frees_itself(server: Server) -> Result<()> {
    let mut scene = Scene::over(server);
    let mut agent = Agent::new(scene.server.connection()).await?;
    let (kept, left) = (agent.subscribe().await?, agent.subscribe().await?);
    agent.leave().await?;
    for _ in 0..20 {
        scene.application.accepted(&left.endpoint, HOUR, scene.body.clone()).await?;
    }
    let accepted = scene.fill(&kept).await?;
    ensure!(accepted > 50, "only {accepted} messages found room");
    ensure!(scene.is_full().await?, "it refuses messages, and does not say so");
    let all = u64::try_from(accepted)? + 20;
    let pending = scene.server.accounts("all that was accepted waits", |it| it.pending == all).await?;
    ensure!(pending.accepted == all, "{pending:?}");

    agent.come_back().await?;
    agent.unsubscribe(&left).await?;
    let mut came = 0;
    while came < accepted {
        let notification = agent.take().await?;
        came += usize::from(notification.channel == kept.id);
    }
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == all && accounts.ended_in_all() == all, "{accounts:?}");
    ensure!(accounts.ended("delivered") >= u64::try_from(accepted)?, "{accounts:?}");

    scene.works_again(&kept).await?;
    agent.take().await?;
    agent.subscribe().await?;
    scene.log_is_short()?;
    scene.server.stop().await
}

#[tokio::test]
async fn a_full_disk_frees_itself() -> Result<()> {
    fills_and_frees_itself(Server::standalone_on_a_disk("12m", &[]).await?).await
}

#[tokio::test]
async fn a_full_database_frees_itself() -> Result<()> {
    fills_and_frees_itself(Server::standalone_with(&[("PUSHGRID_STANDALONE__MAX_SIZE", "2MiB")]).await?).await
}
