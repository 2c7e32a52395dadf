//! Outages of Kafka, Redis or the routers: no promise is made that cannot be kept, connections stay open, and the
//! service recovers without help.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::Event;
use pushgrid_it::{Grid, Shape, eventually, within};
use pushgrid_types::{ChannelId, SystemRng};
use serde_json::json;

use super::{Own, shared, url};
use crate::wire::party::{Agent, Application, Channel, MINUTE, body};

/// Time for the ingress to make a message durable.
const APPEND: &str = "3s";

/// Deadline of an answer: its time-outs, and the delay of a busy machine.
const ANSWER: Duration = Duration::from_secs(8);

/// Deadline of recovery: clients of Kafka and Redis retry after a backoff.
const RECOVERY: Duration = Duration::from_mins(1);

const SETTINGS: &[(&str, &str)] = &[("PUSHGRID_INGRESS__APPEND_TIMEOUT", APPEND)];

/// Messages posted during an outage.
const POSTS: usize = 8;

/// A user agent that stays connected, and an application server.
struct Scene {
    agent: Agent,
    channel: Channel,
    app: Application,
    /// Bodies answered 201 and not delivered yet, in order.
    owed: Vec<String>,
    /// Bodies delivered. They may be redelivered when their acknowledgement was not durable yet.
    came: Vec<String>,
    /// Bodies of unknown fate.
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
        // Nothing is in flight any more.
        grid.settled().await?;
        Ok(scene)
    }

    /// Posts one message. The answer must be in time, and one that an application server can act upon.
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

    /// Checks that the socket is open and the node answers on it.
    async fn still_connected(&mut self) -> Result<()> {
        self.agent.socket()?.ping().await?;
        let event = self.agent.event().await.context("the connection is gone")?;
        ensure!(event == Event::Pong, "{event:?} came");
        Ok(())
    }

    /// Posts until accepted.
    async fn recovers(&mut self) -> Result<()> {
        eventually(RECOVERY, "a message is accepted again", async || {
            Ok((self.post().await? == 201).then_some(()))
        })
        .await
    }

    /// Checks that every accepted message is delivered on the same socket, in order, and between them only those of
    /// unknown fate.
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

    /// Checks that the account has the accepted messages, and perhaps some of unknown fate.
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

// Holds, I-16.
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

// Holds, I-16.
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
    // State that only the view holds at this moment.
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
async fn while_redis_refuses_writes_a_register_waits_and_its_socket_is_served_all_the_time() -> Result<()> {
    // Deadlines longer than the outage.
    let settings = [("PUSHGRID_GRID__PATIENCE", "30s"), ("PUSHGRID_CONNECTION__ROUTER_TIMEOUT", "40s")];
    let own = Own::start(1, Shape::SMALLEST, &settings).await?;
    let mut scene = Scene::start(&own.grid).await?;
    let mut redis = own.servers.redis().await?;
    redis.refuse_writes(true).await?;
    let channel = ChannelId::random(&SystemRng).to_string();
    let register = json!({"messageType": "register", "channelID": channel});
    scene.agent.socket()?.send_text(&register.to_string()).await?;
    for _ in 0..POSTS {
        ensure!(scene.post().await? == 201, "a message was not accepted");
        scene.take_owed().await?;
        scene.still_connected().await?;
    }
    redis.refuse_writes(false).await?;
    let (reply, text) = scene.agent.frame().await?;
    let registered = reply["messageType"] == "register" && reply["channelID"] == channel;
    ensure!(registered && reply["status"] == 200, "the register was answered {text}");
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
    // The same socket. An acknowledged message may be redelivered, if the router was quicker.
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
