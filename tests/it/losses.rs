//! Known ways in which a deployed push service loses accepted messages: each is a test against the real process, and
//! nothing is lost.
//!
//! In this order: many messages in one millisecond, an end of the process, messages stored late, a disconnect with much
//! unacknowledged, topics over a disconnect, a store at the moment of the disconnect, a long backlog, many reconnects
//! at once; and a user agent that acknowledges messages of another.

mod foreign;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use pushgrid_client::Notification;
use pushgrid_it::{Server, eventually};

use crate::wire::party::{Agent, Application, Channel, SOON, bodies, body};

/// Concurrent senders.
const SENDERS: usize = 64;

/// A service, and a user agent with one subscription.
async fn start(settings: &[(&str, &str)]) -> Result<(Server, Agent, Channel)> {
    let server = Server::start_with(settings).await?;
    let mut agent = Agent::new(server.connection()).await?;
    let channel = agent.subscribe().await?;
    Ok((server, agent, channel))
}

/// Body with the sender, and the message's number at that sender.
fn text(sender: usize, number: usize) -> String {
    format!("{sender}/{number}")
}

/// Posts `count` messages over `SENDERS` connections at once, each as fast as answered, to the channels in turn.
async fn post_at_once(channels: &[Channel], count: usize) -> Result<()> {
    let senders = (0..SENDERS).map(|sender| async move {
        let app = Application::with_one_connection();
        let numbers = (0..count).filter(|number| number % SENDERS == sender);
        for (number, of_all) in numbers.enumerate() {
            app.send(&channels[of_all % channels.len()].endpoint, &text(sender, number)).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(senders).await?;
    Ok(())
}

/// Messages that the router has stored in the mailbox.
async fn stored(server: &Server) -> Result<f64> {
    let stored = server.metrics().await?.sum("pushgrid_router_routed_total", &[("way", "stored")]);
    stored.context("the router counts what it stores")
}

/// Checks that each of `count` messages was delivered once, and those of each sender in the order of acceptance.
fn all_came_in_order(got: &[Notification], count: usize) -> Result<()> {
    let mut of_sender: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in bodies(got) {
        let (sender, number) = text.split_once('/').context("a message of this test")?;
        of_sender.entry(sender.to_owned()).or_default().push(number.to_owned());
    }
    for (sender, numbers) in &of_sender {
        let expected: Vec<String> = (0..numbers.len()).map(|number| number.to_string()).collect();
        ensure!(*numbers == expected, "of sender {sender} came {numbers:?}");
    }
    let versions: BTreeSet<&str> = got.iter().map(|it| it.version.as_str()).collect();
    ensure!(versions.len() == count && got.len() == count, "{} of {count} messages came", versions.len());
    Ok(())
}

async fn all_were_delivered(server: &Server, count: usize) -> Result<()> {
    let accounts = server.settled().await?;
    let count = u64::try_from(count)?;
    ensure!(accounts.accepted == count && accounts.ended("delivered") == count, "{accounts:?}");
    Ok(())
}

/// Receives the next `count` messages without acknowledging.
async fn look_at(agent: &mut Agent, count: usize) -> Result<Vec<Notification>> {
    let mut got = Vec::with_capacity(count);
    while got.len() < count {
        got.push(agent.next().await.with_context(|| format!("after {} of {count}", got.len()))?);
    }
    Ok(got)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_at_once_to_one_channel_whose_user_agent_is_away_all_arrive_in_order()
-> Result<()> {
    const COUNT: usize = 1000;
    let (server, mut agent, channel) = start(&[]).await?;
    agent.leave().await?;
    post_at_once(&[channel], COUNT).await?;
    agent.come_back().await?;
    all_came_in_order(&agent.take_all(COUNT).await?, COUNT)?;
    all_were_delivered(&server, COUNT).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_at_once_to_thirty_channels_of_one_user_agent_all_arrive() -> Result<()> {
    const COUNT: usize = 600;
    let (server, mut agent, _) = start(&[]).await?;
    let mut channels = Vec::new();
    for _ in 0..30 {
        channels.push(agent.subscribe().await?);
    }
    agent.leave().await?;
    post_at_once(&channels, COUNT).await?;
    agent.come_back().await?;
    all_came_in_order(&agent.take_all(COUNT).await?, COUNT)?;
    all_were_delivered(&server, COUNT).await
}

/// Way in which the process ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Asked,
    Killed,
}

async fn unacknowledged_over(end: End) -> Result<()> {
    const COUNT: usize = 50;
    let (mut server, mut agent, channel) = start(&[]).await?;
    let mut away = Agent::new(server.connection()).await?;
    let waiting = away.subscribe().await?;
    away.leave().await?;
    let app = Application::new();
    for number in 0..COUNT {
        app.send(&channel.endpoint, &text(0, number)).await?;
        app.send(&waiting.endpoint, &text(0, number)).await?;
    }
    let mut owed = look_at(&mut agent, COUNT).await?;
    // One has ended, and stays so.
    let acknowledged = owed.remove(20);
    agent.ack(&acknowledged).await?;
    server.accounts("one was delivered", |accounts| accounts.ended("delivered") == 1).await?;
    match end {
        End::Asked => server.stop().await?,
        End::Killed => server.kill().await?,
    }
    agent.vanish();
    server.start_again().await?;
    agent.come_back().await?;
    let again = agent.take_all(owed.len()).await?;
    ensure!(again == owed, "what came again is not what was owed: {:?}", bodies(&again));
    away.come_back().await?;
    all_came_in_order(&away.take_all(COUNT).await?, COUNT)?;
    agent.nothing_waits(&channel).await?;
    all_were_delivered(&server, 2 * COUNT + 1).await
}

#[tokio::test]
async fn messages_that_are_unacknowledged_when_the_process_is_asked_to_end_come_again_with_their_versions()
-> Result<()> {
    unacknowledged_over(End::Asked).await
}

// Holds: A-39, B-23, H-11.
#[tokio::test]
async fn messages_that_are_unacknowledged_when_the_process_is_killed_come_again_with_their_versions()
-> Result<()> {
    unacknowledged_over(End::Killed).await
}

#[tokio::test]
async fn what_waited_behind_a_full_window_comes_after_what_was_in_it_when_the_process_was_killed()
-> Result<()> {
    const WINDOW: usize = 10;
    const COUNT: usize = 30;
    const BEHIND: f64 = 20.0;
    let (mut server, mut agent, channel) = start(&[("PUSHGRID_ROUTER__WINDOW", "10")]).await?;
    let app = Application::new();
    for _ in 0..2 {
        for number in 0..COUNT {
            app.send(&channel.endpoint, &text(0, number)).await?;
        }
        look_at(&mut agent, WINDOW).await?;
        let service = &server;
        let has_stored = async || Ok((stored(service).await? >= BEHIND).then_some(()));
        eventually(SOON, "what has no room is stored", has_stored).await?;
        agent.vanish();
        server.kill().await?;
        server.start_again().await?;
        agent.come_back().await?;
        all_came_in_order(&agent.take_all(COUNT).await?, COUNT)?;
        // The next round begins with no message in flight.
        agent.nothing_waits(&channel).await?;
        server.settled().await?;
        server.restart().await?;
        agent.vanish();
        agent.come_back().await?;
    }
    Ok(())
}

// Holds: H-26.
#[tokio::test]
async fn a_user_agent_is_told_that_the_process_ends_and_to_come_back() -> Result<()> {
    let (mut server, mut agent, channel) = start(&[]).await?;
    let (stopped, ended) = tokio::join!(server.stop(), crate::wire::party::ending(agent.socket()?));
    stopped?;
    let (code, reason) = ended?;
    ensure!(code == 1001 && reason.contains("reconnect"), "closed with {code} {reason:?}");
    server.start_again().await?;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await
}

#[tokio::test]
async fn what_is_stored_late_is_not_overtaken_by_what_was_accepted_after_it() -> Result<()> {
    // The first message is stored long after the second has ended.
    let settings = [("PUSHGRID_ROUTER__ACK_TIMEOUT", "300ms"), ("PUSHGRID_ROUTER__SWEEP_INTERVAL", "20ms")];
    let (server, mut agent, channel) = start(&settings).await?;
    let app = Application::new();
    for round in 0..5 {
        let before = stored(&server).await?;
        app.send(&channel.endpoint, &text(round, 0)).await?;
        let first = agent.next().await?;
        for number in 1..4 {
            app.send(&channel.endpoint, &text(round, number)).await?;
            agent.take().await?;
        }
        // In even rounds the deadline for the acknowledgement has passed, in odd ones the disconnect comes first.
        if round % 2 == 0 {
            let later = async || Ok((stored(&server).await? > before).then_some(()));
            eventually(SOON, "the first message goes to the mailbox", later).await?;
        }
        agent.vanish();
        agent.come_back().await?;
        let again = agent.take().await?;
        ensure!(again == first, "round {round}: {} came", body(&again));
    }
    agent.nothing_waits(&channel).await?;
    all_were_delivered(&server, 21).await
}

async fn disconnect_with_200_unacknowledged(goodbye: bool) -> Result<()> {
    const COUNT: usize = 200;
    let settings = [("PUSHGRID_ROUTER__WINDOW", "200"), ("PUSHGRID_CONNECTION__QUEUE_MESSAGES", "200")];
    let (server, mut agent, channel) = start(&settings).await?;
    post_at_once(std::slice::from_ref(&channel), COUNT).await?;
    let first = look_at(&mut agent, COUNT).await?;
    all_came_in_order(&first, COUNT)?;
    for _ in 0..3 {
        if goodbye {
            agent.leave().await?;
        } else {
            agent.vanish();
        }
        agent.come_back().await?;
        let again = look_at(&mut agent, COUNT).await?;
        ensure!(again == first, "what came again differs");
    }
    agent.ack_all(&first).await?;
    agent.nothing_waits(&channel).await?;
    all_were_delivered(&server, COUNT + 1).await
}

#[tokio::test]
async fn two_hundred_unacknowledged_messages_come_again_in_order_after_a_goodbye() -> Result<()> {
    disconnect_with_200_unacknowledged(true).await
}

#[tokio::test]
async fn two_hundred_unacknowledged_messages_come_again_in_order_after_a_broken_connection() -> Result<()> {
    disconnect_with_200_unacknowledged(false).await
}

#[tokio::test]
async fn of_a_topic_the_newest_survives_a_disconnect_a_hundred_times() -> Result<()> {
    let (server, mut agent, channel) = start(&[]).await?;
    let app = Application::new();
    for round in 0..100 {
        app.send_of("t", &channel.endpoint, &format!("older {round}")).await?;
        agent.next().await?;
        agent.vanish();
        let newest = format!("newest {round}");
        app.send_of("t", &channel.endpoint, &newest).await?;
        agent.come_back().await?;
        // The older message may be in flight already when the newer one is looked at, but never after that.
        let mut last = agent.next().await?;
        if body(&last) != newest {
            last = agent.next().await?;
        }
        ensure!(body(&last) == newest, "{} survived, not {newest}", body(&last));
        agent.leave().await?;
        agent.come_back().await?;
        ensure!(agent.take().await? == last, "{newest} did not come again");
    }
    agent.nothing_waits(&channel).await?;
    let accounts = server.settled().await?;
    // The first message of a round may precede the acknowledgement of the last one, and then replaces it.
    let (replaced, delivered) = (accounts.ended("replaced"), accounts.ended("delivered"));
    ensure!(replaced >= 100 && replaced + delivered == 201, "{accounts:?}");
    Ok(())
}

#[tokio::test]
async fn the_old_address_of_a_topic_does_not_delete_the_newer_message() -> Result<()> {
    let (server, mut agent, channel) = start(&[]).await?;
    let app = Application::new();
    for goodbye in [true, false] {
        let old = app.send_of("t", &channel.endpoint, "old").await?;
        agent.next().await?;
        if goodbye {
            agent.leave().await?;
        } else {
            agent.vanish();
        }
        app.send_of("t", &channel.endpoint, "newer").await?;
        // 204 when the newer message was not looked at yet.
        let status = app.cancel(&old).await?;
        ensure!(matches!(status, 204 | 404), "answered {status}");
        agent.come_back().await?;
        loop {
            // As above: the older message may be first, when the newer one was not looked at yet.
            let notification = agent.take().await?;
            if body(&notification) == "newer" {
                break;
            }
        }
        agent.nothing_waits(&channel).await?;
    }
    let accounts = server.settled().await?;
    // Both newer messages, and those that showed that nothing was stored.
    ensure!(accounts.accepted == 6 && accounts.ended("delivered") >= 4, "{accounts:?}");
    Ok(())
}

// Holds: A-39, H-19.
#[tokio::test]
async fn what_is_unacknowledged_at_a_disconnect_is_safe_when_the_process_is_killed_at_that_moment()
-> Result<()> {
    const COUNT: usize = 20;
    let (mut server, mut agent, channel) = start(&[]).await?;
    let app = Application::new();
    for number in 0..COUNT {
        app.send(&channel.endpoint, &text(0, number)).await?;
    }
    let first = look_at(&mut agent, COUNT).await?;
    for _ in 0..3 {
        agent.vanish();
        server.kill().await?;
        server.start_again().await?;
        agent.come_back().await?;
        ensure!(look_at(&mut agent, COUNT).await? == first, "what came again differs");
    }
    agent.ack_all(&first).await?;
    agent.nothing_waits(&channel).await?;
    all_were_delivered(&server, COUNT + 1).await
}

// Holds: H-18.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_agent_for_which_more_than_a_thousand_messages_wait_gets_them_all_and_is_not_reset()
-> Result<()> {
    const COUNT: usize = 1500;
    let (mut server, mut agent, channel) = start(&[]).await?;
    agent.leave().await?;
    post_at_once(std::slice::from_ref(&channel), COUNT).await?;
    server.restart().await?;
    // Fails unless the hello is answered with the same uaid.
    agent.come_back().await?;
    all_came_in_order(&agent.take_all(COUNT).await?, COUNT)?;
    Application::new().send(&channel.endpoint, "the same endpoint").await?;
    ensure!(body(&agent.take().await?) == "the same endpoint");
    all_were_delivered(&server, COUNT + 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_user_agents_that_reconnect_at_once_all_get_what_waits() -> Result<()> {
    const AGENTS: usize = 100;
    const EACH: usize = 8;
    let mut server = Server::start().await?;
    let url = server.connection().to_owned();
    let new = (0..AGENTS).map(|_| async {
        let mut agent = Agent::new(&url).await?;
        let channel = agent.subscribe().await?;
        anyhow::Ok((agent, channel))
    });
    let mut agents = try_join_all(new).await?;
    // All connections break at one moment, and all user agents return at another.
    server.kill().await?;
    server.start_again().await?;
    let app = Application::new();
    try_join_all(agents.iter().map(|(_, channel)| async {
        for number in 0..EACH {
            app.send(&channel.endpoint, &text(0, number)).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    let back = agents.iter_mut().map(|(agent, _)| async {
        agent.vanish();
        agent.come_back().await?;
        all_came_in_order(&agent.take_all(EACH).await?, EACH)
    });
    pushgrid_it::within(SOON, "all that waits for all", try_join_all(back)).await??;
    all_were_delivered(&server, AGENTS * EACH).await
}
