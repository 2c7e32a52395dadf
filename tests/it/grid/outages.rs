//! Kafka, Redis or the routers are gone for a while: nothing is promised that cannot be kept, connections stay open, and
//! everything recovers by itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::Event;
use pushgrid_it::{Grid, Shape, eventually, within};

use super::{Own, shared, url};
use crate::wire::party::{Agent, Application, Channel, MINUTE, body};

/// What the ingress is given to make a message durable.
const APPEND: &str = "3s";

/// Within this it has to answer: its time-outs, and what a busy machine adds.
const ANSWER: Duration = Duration::from_secs(8);

/// How long recovery may take: clients of Kafka and Redis look again after a pause.
const RECOVERY: Duration = Duration::from_mins(1);

const SETTINGS: &[(&str, &str)] = &[("PUSHGRID_INGRESS__APPEND_TIMEOUT", APPEND)];

/// How many are posted during an outage.
const POSTS: usize = 8;

/// A user agent that stays connected all the time, and an application server.
struct Scene {
    agent: Agent,
    channel: Channel,
    app: Application,
    /// The bodies that were answered 201 and have not come yet, in their order.
    owed: Vec<String>,
    /// Those that have come. They may come again when their end was not durable yet.
    came: Vec<String>,
    /// Those of which nobody knows.
    unknown: Vec<String>,
    sent: usize,
}

impl Scene {
    async fn start(grid: &Grid) -> Result<Self> {
        let mut agent = Agent::new(url(&grid.connection[0])).await?;
        let channel = agent.subscribe().await?;
        let app = Application::new();
        let mut scene =
            Self { agent, channel, app, owed: Vec::new(), came: Vec::new(), unknown: Vec::new(), sent: 0 };
        ensure!(scene.post().await? == 201, "nothing goes through before anything is done");
        scene.take_owed().await?;
        // Nothing is under way any more.
        grid.settled().await?;
        Ok(scene)
    }

    /// Posts one message. The answer comes in time, and is one that an application server can act upon.
    async fn post(&mut self) -> Result<u16> {
        self.sent += 1;
        let text = format!("message {}", self.sent);
        let began = Instant::now();
        let post = self.app.post(&self.channel.endpoint, MINUTE, text.clone());
        let answer = within(ANSWER, "an answer of the ingress", post).await??;
        match answer.status {
            201 => self.owed.push(text),
            503 => {
                let after = answer.header("retry-after").context("a 503 without Retry-After")?;
                ensure!(after.parse::<u32>()? > 0, "Retry-After is {after}");
                self.unknown.push(text);
            }
            other => anyhow::bail!("answered {other} after {:?}", began.elapsed()),
        }
        Ok(answer.status)
    }

    /// The socket is open, and the node answers on it.
    async fn still_connected(&mut self) -> Result<()> {
        self.agent.socket()?.ping().await?;
        let event = self.agent.event().await.context("the connection is gone")?;
        ensure!(event == Event::Pong, "{event:?} came");
        Ok(())
    }

    /// Posts until it is accepted.
    async fn recovers(&mut self) -> Result<()> {
        eventually(RECOVERY, "a message is accepted again", async || {
            Ok((self.post().await? == 201).then_some(()))
        })
        .await
    }

    /// Everything that was accepted comes on the socket that was open all the time, in order; between it what may have
    /// been accepted.
    async fn take_owed(&mut self) -> Result<()> {
        let mut owed = std::mem::take(&mut self.owed).into_iter();
        let mut next = owed.next();
        while let Some(wanted) = &next {
            let came = body(&self.agent.take().await.with_context(|| format!("{wanted} did not come"))?);
            if came == *wanted {
                next = owed.next();
            } else {
                let may_come = self.unknown.contains(&came) || self.came.contains(&came);
                ensure!(may_come, "{came} came, and not {wanted}");
            }
            self.came.push(came);
        }
        Ok(())
    }

    /// All that is on the books are those that were accepted, and perhaps some of which nobody knew.
    async fn end(mut self, grid: &Grid) -> Result<()> {
        self.take_owed().await?;
        self.agent.nothing_waits(&self.channel).await?;
        let accepted = (self.sent - self.unknown.len() + 1) as u64;
        let most = accepted + self.unknown.len() as u64;
        let accounts = grid.settled().await?;
        ensure!(
            (accepted..=most).contains(&accounts.accepted),
            "{accepted} to {most} were accepted: {accounts:?}"
        );
        ensure!(accounts.ended("delivered") == accounts.accepted, "{accounts:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_kafka_does_not_answer_nothing_is_accepted_and_it_recovers_by_itself() -> Result<()> {
    let own = Own::start(1, Shape::SMALLEST, SETTINGS).await?;
    let mut scene = Scene::start(&own.grid).await?;
    own.servers.pause_broker(1)?;
    for _ in 0..POSTS / 4 {
        ensure!(scene.post().await? == 503, "a message was accepted that nobody keeps");
    }
    scene.still_connected().await?;
    own.servers.resume_broker(1)?;
    scene.recovers().await?;
    scene.end(&own.grid).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_kafka_is_dead_nothing_is_accepted_and_it_recovers_by_itself() -> Result<()> {
    let own = Own::start(1, Shape::SMALLEST, SETTINGS).await?;
    let mut scene = Scene::start(&own.grid).await?;
    own.servers.kill_broker(1).await?;
    for _ in 0..POSTS / 4 {
        ensure!(scene.post().await? == 503, "a message was accepted that nobody keeps");
    }
    scene.still_connected().await?;
    own.servers.start_again().await?;
    scene.recovers().await?;
    scene.end(&own.grid).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_does_not_answer_what_is_accepted_is_kept_and_it_recovers_by_itself() -> Result<()> {
    let own = Own::start(1, Shape::SMALLEST, SETTINGS).await?;
    let mut scene = Scene::start(&own.grid).await?;
    own.servers.pause_redis()?;
    for _ in 0..POSTS {
        scene.post().await?;
    }
    scene.still_connected().await?;
    own.servers.resume_redis()?;
    scene.recovers().await?;
    scene.end(&own.grid).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_dead_what_is_accepted_is_kept_and_when_it_comes_back_empty_all_is_there() -> Result<()>
{
    let own = Own::start(1, Shape::SMALLEST, SETTINGS).await?;
    let mut scene = Scene::start(&own.grid).await?;
    // Something that only the view holds at this moment, as far as Redis goes.
    let mut away = Agent::new(url(&own.grid.connection[0])).await?;
    let waiting = away.subscribe().await?;
    away.leave().await?;
    scene.app.send(&waiting.endpoint, "waits").await?;
    own.grid.accounts("one waits", |accounts| accounts.pending == 1).await?;
    own.servers.kill_redis().await?;
    for _ in 0..POSTS {
        scene.post().await?;
    }
    scene.still_connected().await?;
    own.servers.start_again().await?;
    scene.recovers().await?;
    away.come_back().await?;
    ensure!(body(&away.take().await?) == "waits", "another message came");
    scene.sent += 1;
    scene.end(&own.grid).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_router_is_dead_messages_are_accepted_and_it_delivers_them_when_it_is_back() -> Result<()> {
    let (mut grid, _turn) = shared(Shape::SMALLEST, SETTINGS).await?;
    let mut scene = Scene::start(&grid).await?;
    let mut slow = Agent::new(url(&grid.connection[0])).await?;
    let channel = slow.subscribe().await?;
    scene.app.send(&channel.endpoint, "acknowledged to nobody").await?;
    let on_the_socket = slow.next().await?;
    grid.router[0].kill().await?;
    slow.ack(&on_the_socket).await?;
    for _ in 0..POSTS {
        ensure!(scene.post().await? == 201, "a message was not accepted");
    }
    scene.still_connected().await?;
    grid.start_again().await?;
    scene.take_owed().await?;
    // The socket is the same. What was acknowledged may come once more, if the router was quicker than that.
    scene.app.send(&channel.endpoint, "afterwards").await?;
    let mut came = slow.take().await?;
    if body(&came) != "afterwards" {
        ensure!(came == on_the_socket, "{} came", body(&came));
        came = slow.take().await?;
    }
    ensure!(body(&came) == "afterwards", "{} came", body(&came));
    scene.sent += 2;
    scene.end(&grid).await
}
