//! A user agent that knows ids of another one's messages and acknowledges them all the time keeps none of them from
//! their recipient.

use std::time::Duration;

use anyhow::{Result, ensure};
use pushgrid_client::Notification;
use pushgrid_it::Server;
use tokio::time::{MissedTickBehavior, interval};

use super::{all_were_delivered, look_at, post_at_once, start, text};
use crate::wire::party::{Agent, Application, Channel};

const COUNT: usize = 20;

/// Connections of the recipient, or restarts of the service.
const ROUNDS: usize = 20;

/// Frames of foreign acknowledgements are this far apart.
const PACE: Duration = Duration::from_millis(1);

/// Starts a service, a user agent with unacknowledged messages, and another one.
async fn scene() -> Result<(Server, Agent, Channel, Vec<Notification>, Agent)> {
    let (server, mut agent, channel) = start(&[]).await?;
    post_at_once(std::slice::from_ref(&channel), COUNT).await?;
    let owed = look_at(&mut agent, COUNT).await?;
    let mut other = Agent::new(server.connection()).await?;
    // A user agent without a subscription is unknown to the router.
    other.subscribe().await?;
    Ok((server, agent, channel, owed, other))
}

/// Acknowledges foreign messages until the connection breaks.
async fn acknowledge_for_ever(other: &mut Agent, foreign: &[Notification]) -> Result<()> {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        other.ack_all(foreign).await?;
    }
}

/// Checks that the unacknowledged messages are there, and end by their own user agent.
async fn all_ends_as_it_should(
    server: &Server,
    agent: &mut Agent,
    channel: &Channel,
    owed: &[Notification],
    live: usize,
) -> Result<()> {
    agent.ack_all(owed).await?;
    agent.nothing_waits(channel).await?;
    all_were_delivered(server, owed.len() + live + 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_comes_on_every_connection_while_another_user_agent_acknowledges_it() -> Result<()> {
    let (server, mut agent, channel, owed, mut other) = scene().await?;
    let app = Application::new();
    let rounds = async {
        for round in 0..ROUNDS {
            agent.vanish();
            agent.come_back().await?;
            let again = look_at(&mut agent, COUNT).await?;
            ensure!(again == owed, "in round {round} something else came");
            app.send(&channel.endpoint, &text(1, round)).await?;
            agent.take().await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        fault = acknowledge_for_ever(&mut other, &owed) => fault?,
        done = rounds => done?,
    }
    all_ends_as_it_should(&server, &mut agent, &channel, &owed, ROUNDS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_flight_when_the_service_was_killed_is_not_ended_by_another_user_agent() -> Result<()> {
    let (mut server, mut agent, channel, owed, mut other) = scene().await?;
    for round in 0..3 {
        server.kill().await?;
        agent.vanish();
        other.vanish();
        server.start_again().await?;
        other.come_back().await?;
        let look = async {
            agent.come_back().await?;
            look_at(&mut agent, COUNT).await
        };
        let again = tokio::select! {
            fault = acknowledge_for_ever(&mut other, &owed) => return fault,
            again = look => again?,
        };
        ensure!(again == owed, "in round {round} something else came");
    }
    all_ends_as_it_should(&server, &mut agent, &channel, &owed, 0).await
}
