//! Topics: at most one message is stored, the newest (RFC 8030 section 5.4).

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep_until};

use super::party::{bodies, body};
use super::scene::Scene;

// Holds.
#[tokio::test]
async fn of_a_topic_the_newest_waits_and_the_addresses_of_the_older_ones_are_gone() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    let mut older = Vec::new();
    for text in ["first", "second"] {
        older.push(scene.send_of("t", &channel.endpoint, text).await?);
    }
    let newest = scene.send_of("t", &channel.endpoint, "newest").await?;
    ensure!(!older.contains(&newest), "two messages have one address");
    scene.until("replaced", 2).await?;
    for location in older {
        ensure!(scene.cancel(&location).await? == 404, "a replaced message could be cancelled");
    }
    agent.come_back().await?;
    ensure!(body(&agent.take().await?) == "newest");
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 2), ("replaced", 2)]).await
}

/// User agents, and rounds of each: the window to hit is some milliseconds wide.
const ROUNDS: (usize, usize) = (10, 25);

// Holds.
#[tokio::test]
async fn from_its_201_on_the_newest_of_a_topic_is_the_one_that_a_new_session_or_a_delete_sees() -> Result<()>
{
    let scene = Scene::alone().await?;
    let user_agents = (0..ROUNDS.0).map(async |_| {
        let mut agent = scene.agent().await?;
        let channel = agent.subscribe().await?;
        let mut older: Option<String> = None;
        for round in 0..ROUNDS.1 {
            // The older one was sent and is not acknowledged: it goes into the mailbox just now.
            agent.vanish();
            let text = round.to_string();
            let location = scene.send_of("t", &channel.endpoint, &text).await?;
            if round % 4 == 0
                && let Some(older) = older.take()
            {
                ensure!(
                    scene.cancel(&older).await? == 404,
                    "round {round}: the older one could be cancelled"
                );
            }
            agent.come_back().await?;
            let got = body(&agent.next().await?);
            ensure!(got == text, "round {round}: {got} was replaced before the session began");
            older = Some(location);
        }
        anyhow::Ok(())
    });
    try_join_all(user_agents).await?;
    let replaced = u64::try_from(ROUNDS.0 * (ROUNDS.1 - 1))?;
    scene.until("replaced", replaced).await?;
    scene.end().await
}

// Holds.
#[tokio::test]
async fn a_topic_is_known_by_its_octets_and_within_one_subscription() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channels = [agent.subscribe().await?, agent.subscribe().await?];
    agent.leave().await?;
    let longest = "x".repeat(32);
    for (channel, topic) in
        [(0, "upd"), (0, "UPD"), (1, "upd"), (1, "-_9"), (1, longest.as_str()), (1, &longest[1..])]
    {
        scene.send_of(topic, &channels[channel].endpoint, topic).await?;
    }
    scene.send(&channels[0].endpoint, "without").await?;
    scene.send(&channels[0].endpoint, "without again").await?;
    agent.come_back().await?;
    let got = bodies(&agent.take_all(8).await?);
    let expected = ["upd", "UPD", "upd", "-_9", &longest, &longest[1..], "without", "without again"];
    ensure!(got == expected, "{got:?}");
    agent.nothing_waits(&channels[0]).await?;
    scene.end().await
}

// Holds: A-86.
#[tokio::test]
async fn a_topic_whose_last_message_has_ended_begins_anew() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for text in ["first", "second"] {
        scene.send_of("t", &channel.endpoint, text).await?;
        ensure!(body(&agent.take().await?) == text);
    }
    let third = scene.send_of("t", &channel.endpoint, "third").await?;
    let third_message = agent.next().await?;
    ensure!(scene.cancel(&third).await? == 204, "it was not pending");
    scene.send_of("t", &channel.endpoint, "fourth").await?;
    ensure!(body(&agent.take().await?) == "fourth");
    agent.ack(&third_message).await?;
    agent.nothing_waits(&channel).await?;
    scene.end().await
}

// Holds: A-88.
#[tokio::test]
async fn fifty_posts_of_one_topic_at_once_leave_one() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    let texts: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    try_join_all(texts.iter().map(|text| scene.send_of("t", &channel.endpoint, text))).await?;
    scene.until("replaced", 49).await?;
    agent.come_back().await?;
    ensure!(texts.contains(&body(&agent.take().await?)));
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 2), ("replaced", 49)]).await
}

// Holds: A-79.
#[tokio::test]
async fn a_newer_message_replaces_one_that_was_sent_and_not_acknowledged() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    scene.send_of("t", &channel.endpoint, "older").await?;
    let older = agent.next().await?;
    scene.send_of("t", &channel.endpoint, "newer").await?;
    let newer = agent.next().await?;
    ensure!(body(&newer) == "newer" && newer.version != older.version);
    // A late acknowledgement of an ended message: the newer one stays.
    agent.ack(&older).await?;
    agent.leave().await?;
    agent.come_back().await?;
    ensure!(agent.next().await? == newer, "not the newer one came");
    agent.ack(&newer).await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 2), ("replaced", 1)]).await
}

// Holds: A-81.
#[tokio::test]
async fn a_newer_message_replaces_the_life_of_the_older_one_too() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    scene.send_of("t", &channel.endpoint, "long-lived").await?;
    scene.accepted(&channel.endpoint, &[("ttl", "1"), ("topic", "t")], "short-lived").await?;
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    agent.come_back().await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 1), ("expired", 1), ("replaced", 1)]).await
}

// Holds, C-46.
#[tokio::test]
async fn a_post_that_is_refused_replaces_nothing() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    scene.send_of("t", &channel.endpoint, "stays").await?;
    let endpoint = &channel.endpoint;
    let topic = ("topic", "t");
    scene.refused(400, endpoint, &[topic], "x").await?;
    scene.refused(400, endpoint, &[("ttl", "60"), topic, ("urgency", "urgent")], "x").await?;
    scene.refused(400, endpoint, &[("ttl", "60"), topic, topic], "x").await?;
    scene.refused(413, endpoint, &[("ttl", "60"), topic], vec![0; 6000]).await?;
    scene.refused(403, endpoint, &[("ttl", "60"), topic, ("authorization", "vapid t=x, k=y")], "x").await?;
    agent.come_back().await?;
    ensure!(body(&agent.take().await?) == "stays");
    agent.nothing_waits(&channel).await?;
    scene.end().await
}
