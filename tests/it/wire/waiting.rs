//! Stored messages, and the window of messages that a user agent is sent at a time.

use std::time::Duration;

use anyhow::{Result, ensure};
use pushgrid_client::{Event, Notification};

use super::party::{Agent, bodies, body};
use super::scene::Scene;

/// Silence after which no further message is expected.
const QUIET: Duration = Duration::from_millis(700);

/// Receives messages until [`QUIET`].
async fn all_that_comes(agent: &mut Agent) -> Result<Vec<Notification>> {
    let mut all = vec![agent.next().await?];
    while let Some(event) = agent.socket()?.next_within(QUIET).await? {
        let Event::Notification(notification) = event else { anyhow::bail!("not a message: {event:?}") };
        all.push(notification);
    }
    Ok(all)
}

// Holds, H-17.
#[tokio::test]
async fn what_waited_comes_right_after_hello_in_the_order_of_its_acceptance() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channels = [agent.subscribe().await?, agent.subscribe().await?, agent.subscribe().await?];
    agent.leave().await?;
    let sent: Vec<String> = (0..300).map(|number| format!("message {number}")).collect();
    for (number, text) in sent.iter().enumerate() {
        scene.send(&channels[number % 3].endpoint, text).await?;
    }
    agent.come_back().await?;
    ensure!(bodies(&agent.take_all(sent.len()).await?) == sent, "the order is another");
    agent.nothing_waits(&channels[0]).await?;
    scene.end().await
}

// Holds: A-38, H-17.
#[tokio::test]
async fn what_is_sent_while_others_wait_comes_after_them() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    let sent: Vec<String> = (0..200).map(|number| format!("message {number}")).collect();
    let (waiting, live) = sent.split_at(150);
    for text in waiting {
        scene.send(&channel.endpoint, text).await?;
    }
    agent.come_back().await?;
    let mut got = bodies(&agent.take_all(10).await?);
    for text in live {
        scene.send(&channel.endpoint, text).await?;
    }
    got.extend(bodies(&agent.take_all(190).await?));
    ensure!(got == sent, "the order is another");
    scene.end().await
}

// Holds: H-17.
#[tokio::test]
async fn a_user_agent_that_reads_and_never_acknowledges_gets_so_many_and_the_rest_when_it_does() -> Result<()>
{
    const WINDOW: usize = 16;
    const SENT: usize = 50;
    let scene = Scene::alone_with(&[("PUSHGRID_ROUTER__WINDOW", "16")]).await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let sent: Vec<String> = (0..SENT).map(|number| format!("message {number}")).collect();
    for text in &sent {
        scene.send(&channel.endpoint, text).await?;
    }
    let mut owed = all_that_comes(&mut agent).await?;
    ensure!(owed.len() == WINDOW, "{} came while it was connected", owed.len());
    agent.leave().await?;
    agent.come_back().await?;
    let again = all_that_comes(&mut agent).await?;
    ensure!(again == owed, "after hello came {:?}", bodies(&again));

    // Each acknowledgement makes room for one message.
    let mut got = Vec::new();
    for _ in 0..SENT - WINDOW {
        let oldest = owed.remove(0);
        agent.ack(&oldest).await?;
        got.push(oldest);
        owed.push(agent.next().await?);
    }
    agent.ack_all(&owed).await?;
    got.extend(owed);
    ensure!(bodies(&got) == sent, "{:?}", bodies(&got));
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 51)]).await
}

// Holds: H-17.
#[tokio::test]
async fn a_message_that_is_never_acknowledged_does_not_hold_up_the_others() -> Result<()> {
    let scene = Scene::alone_with(&[("PUSHGRID_ROUTER__WINDOW", "4")]).await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    scene.send(&channel.endpoint, "stuck").await?;
    let stuck = agent.next().await?;
    for number in 0..40 {
        scene.send(&channel.endpoint, &number.to_string()).await?;
        ensure!(body(&agent.take().await?) == number.to_string());
    }
    agent.leave().await?;
    agent.come_back().await?;
    ensure!(agent.take().await? == stuck, "another message came");
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 42)]).await
}

// Holds: A-109, D-14.
#[tokio::test]
async fn a_message_that_is_not_acknowledged_in_time_is_kept_and_comes_at_the_next_hello() -> Result<()> {
    let settings = [("PUSHGRID_ROUTER__ACK_TIMEOUT", "200ms"), ("PUSHGRID_ROUTER__SWEEP_INTERVAL", "20ms")];
    let scene = Scene::alone_with(&settings).await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    scene.send(&channel.endpoint, "slow").await?;
    let slow = agent.next().await?;
    // No redelivery on the connection that has the message: its handler may still be at work.
    ensure!(agent.socket()?.next_within(QUIET).await?.is_none(), "it came again");
    agent.leave().await?;
    agent.come_back().await?;
    ensure!(agent.next().await? == slow, "another message came");
    ensure!(agent.socket()?.next_within(QUIET).await?.is_none(), "it came again");
    agent.ack(&slow).await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 2)]).await
}

#[tokio::test]
async fn a_message_that_is_sent_while_its_user_agent_connects_comes_without_another_push() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for round in 0..60 {
        agent.leave().await?;
        let text = format!("round {round}");
        let (sent, back) = tokio::join!(scene.send(&channel.endpoint, &text), agent.come_back());
        sent?;
        back?;
        let got = body(&agent.take().await?);
        ensure!(got == text, "{got} came in {text}");
    }
    scene.end().await
}
