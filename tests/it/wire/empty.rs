//! Messages without a body, ended in every way while others wait, with no effect on other user agents.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::within;

use super::party::{Agent, Application, Channel, MINUTE, body};
use super::scene::Scene;

/// Deadline for a bystander's answer on a busy machine: less than a few take-overs of a partition.
const ANSWER: Duration = Duration::from_secs(10);

/// Bystanders, enough for some in each partition.
const BYSTANDERS: usize = 9;

/// User agents that must not be affected.
struct Bystanders {
    all: Vec<(Agent, Channel)>,
    takeovers: f64,
}

async fn takeovers(scene: &Scene) -> Result<f64> {
    let metrics = scene.server().metrics().await?;
    metrics.sum("pushgrid_router_takeovers_total", &[]).context("no router counts what it takes over")
}

impl Bystanders {
    async fn new(scene: &Scene) -> Result<Self> {
        let mut all = Vec::new();
        for _ in 0..BYSTANDERS {
            let mut agent = scene.agent().await?;
            let channel = agent.subscribe().await?;
            all.push((agent, channel));
        }
        Ok(Self { all, takeovers: takeovers(scene).await? })
    }

    /// Checks that each bystander subscribes and gets a message at once.
    async fn are_answered(&mut self) -> Result<()> {
        for (agent, channel) in &mut self.all {
            let answered = async {
                agent.subscribe().await?;
                agent.nothing_waits(channel).await
            };
            within(ANSWER, "a bystander", answered).await??;
        }
        Ok(())
    }

    /// Checks that no partition has changed hands meanwhile.
    async fn end(mut self, scene: &Scene) -> Result<u64> {
        self.are_answered().await?;
        let now = takeovers(scene).await?;
        ensure!(now.total_cmp(&self.takeovers).is_eq(), "{now} take-overs after {}", self.takeovers);
        Ok(BYSTANDERS as u64)
    }
}

/// Makes a user agent that is away, with a subscription.
async fn away(scene: &Scene) -> Result<(Agent, Channel)> {
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    Ok((agent, channel))
}

/// Posts an empty body, which is accepted like any message.
async fn send_empty(app: &Application, channel: &Channel, fields: &[(&str, &str)]) -> Result<String> {
    Ok(app.accepted(&channel.endpoint, fields, "").await?.location)
}

#[tokio::test]
async fn an_empty_message_is_acknowledged_while_another_waits() -> Result<()> {
    let scene = Scene::alone().await?;
    let bystanders = Bystanders::new(&scene).await?;
    let (mut agent, channel) = away(&scene).await?;
    send_empty(&scene, &channel, MINUTE).await?;
    scene.send(&channel.endpoint, "waits").await?;
    scene.server().accounts("both wait", |accounts| accounts.pending == 2).await?;
    agent.come_back().await?;
    let empty = agent.next().await?;
    ensure!(body(&empty).is_empty(), "{} came", body(&empty));
    let waits = agent.next().await?;
    agent.ack(&empty).await?;
    scene.until("delivered", 1).await?;
    agent.leave().await?;
    agent.come_back().await?;
    ensure!(agent.take().await? == waits, "another message came");
    agent.nothing_waits(&channel).await?;
    let others = bystanders.end(&scene).await?;
    scene.end_with(&[("delivered", 3 + others)]).await
}

// Holds: A-57, B-06.
#[tokio::test]
async fn empty_messages_expire_while_others_wait() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut bystanders = Bystanders::new(&scene).await?;
    let mut away_now = Vec::new();
    for _ in 0..6 {
        let (agent, channel) = away(&scene).await?;
        scene.send(&channel.endpoint, "waits").await?;
        send_empty(&scene, &channel, &[("ttl", "1")]).await?;
        away_now.push((agent, channel));
    }
    bystanders.are_answered().await?;
    scene.until("expired", 6).await?;
    for (agent, channel) in &mut away_now {
        agent.come_back().await?;
        ensure!(body(&agent.take().await?) == "waits", "another message came");
        agent.nothing_waits(channel).await?;
    }
    let others = bystanders.end(&scene).await?;
    scene.end_with(&[("delivered", 12 + 2 * others), ("expired", 6)]).await
}

#[tokio::test]
async fn empty_messages_are_cancelled_replaced_and_unsubscribed_while_others_wait() -> Result<()> {
    let scene = Scene::alone().await?;
    let bystanders = Bystanders::new(&scene).await?;
    let mut agent = scene.agent().await?;
    let (channel, ended) = (agent.subscribe().await?, agent.subscribe().await?);
    agent.leave().await?;
    scene.send(&channel.endpoint, "waits").await?;
    let cancelled = send_empty(&scene, &channel, MINUTE).await?;
    for _ in 0..3 {
        send_empty(&scene, &channel, &[("ttl", "60"), ("topic", "t")]).await?;
    }
    send_empty(&scene, &ended, MINUTE).await?;
    send_empty(&scene, &ended, &[("ttl", "60"), ("topic", "t")]).await?;
    scene.until("replaced", 2).await?;
    ensure!(scene.cancel(&cancelled).await? == 204, "it cannot be taken back");
    ensure!(scene.cancel(&cancelled).await? == 404, "it was taken back before");
    agent.come_back().await?;
    let waiting = [agent.next().await?, agent.next().await?, agent.next().await?, agent.next().await?];
    agent.unsubscribe(&ended).await?;
    agent.ack_all(&waiting[..2]).await?;
    agent.nothing_waits(&channel).await?;
    let others = bystanders.end(&scene).await?;
    let outcomes = [("cancelled", 1), ("delivered", 3 + others), ("replaced", 2), ("unsubscribed", 2)];
    scene.end_with(&outcomes).await
}
