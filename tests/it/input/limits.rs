//! Limits set by an operator: the answer has the time to wait, other clients are not affected, and accepted messages
//! stay.

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{Subscription, UserAgent, codes};
use pushgrid_types::SystemRng;

use super::raw::{Answer, PATIENCE, Wire};
use super::request::Request;
use super::scene::{Scene, explains};
use super::websocket::{Frame, Socket, UPGRADE, ping};
use pushgrid_it::eventually;

/// Checks that the answer asks to wait for whole seconds, at least one.
pub(super) fn asks_to_wait(answer: &Answer) -> Result<u64> {
    let wait: u64 = answer.field("retry-after").context("no Retry-After")?.parse()?;
    ensure!(wait >= 1, "to wait for no time is not to wait");
    Ok(wait)
}

async fn another_user_agent(scene: &Scene) -> Result<(UserAgent, Subscription)> {
    let mut user_agent = UserAgent::connect(scene.server.connection()).await?;
    user_agent.hello(None).await?;
    let subscription = user_agent.subscribe(&SystemRng, None).await?;
    Ok((user_agent, subscription))
}

// Holds, G-10, I-14.
#[tokio::test]
async fn a_burst_over_the_rate_is_told_to_wait_and_other_user_agents_are_not() -> Result<()> {
    let settings = [("PUSHGRID_INGRESS__RATE", "1"), ("PUSHGRID_INGRESS__BURST", "3")];
    let mut scene = Scene::start_with(&settings).await?;
    let (one, two) = (scene.open().await?, scene.open().await?);
    let (_user_agent, other) = another_user_agent(&scene).await?;
    // The bucket holds three, and refills by one a second while this loop sends.
    let mut accepted = 0;
    let refused = loop {
        // Both subscriptions share the rate of one user agent.
        let to = if accepted % 2 == 0 { &one } else { &two };
        let answer = scene.ask(&Request::push(to, b"a burst")?).await?;
        match answer.status {
            201 => accepted += 1,
            _ => break answer,
        }
        ensure!(accepted < 100, "a hundred messages at once are no burst");
    };
    ensure!(refused.status == 429, "answered {}", refused.status);
    ensure!(accepted >= 3, "only {accepted} of the burst were accepted");
    explains(&refused, "try again later")?;
    ensure!(asks_to_wait(&refused)? <= 2, "one message a second was allowed: {:?}", refused.fields);
    scene.send(&Request::push(&other, b"to another")?).await?;
    for _ in 0..accepted {
        scene.notification().await?;
    }
    let what = format!("{accepted} and one more are on the books");
    scene.server.accounts(&what, |accounts| accounts.accepted == accepted + 1).await?;
    Ok(())
}

// Holds, H-18.
#[tokio::test]
async fn a_full_mailbox_takes_no_more_and_keeps_what_it_has() -> Result<()> {
    const ROOM: u8 = 5;
    let mut scene = Scene::start_with(&[("PUSHGRID_INGRESS__MAX_WAITING_MESSAGES", "5")]).await?;
    let subscription = scene.open().await?;
    let (mut other, elsewhere) = another_user_agent(&scene).await?;
    scene.go_offline().await?;
    let mut accepted = 0;
    let refused = loop {
        let answer = scene.ask(&Request::push(&subscription, &[accepted])?).await?;
        if answer.status != 201 {
            break answer;
        }
        accepted += 1;
        if accepted == ROOM {
            eventually(PATIENCE, "the router stores what was accepted", async || {
                let stored =
                    scene.server.metrics().await?.sum("pushgrid_router_routed_total", &[("way", "stored")]);
                ensure!(stored >= Some(f64::from(ROOM)), "{stored:?}");
                Ok(Some(()))
            })
            .await?;
        }
        // The last messages may be on the way to the mailbox and not counted yet.
        ensure!(accepted < 20 * ROOM, "{accepted} messages wait where there is room for {ROOM}");
    };
    ensure!(refused.status == 429, "answered {}", refused.status);
    ensure!(accepted >= ROOM, "there was room for {accepted} only");
    explains(&refused, "when it has been online")?;
    asks_to_wait(&refused)?;
    scene.send(&Request::push(&elsewhere, b"to another")?).await?;
    let event = other.next_within(PATIENCE).await?.context("nothing came to the other")?;
    let pushgrid_client::Event::Notification(notification) = event else { anyhow::bail!("{event:?}") };
    other.ack(&[notification.ack(codes::DELIVERED)]).await?;
    scene.come_back().await?;
    for number in 0..accepted {
        scene.receives(&subscription, &[number]).await?;
    }
    let accounts = scene.server.settled().await?;
    let all = u64::from(accepted) + 1;
    ensure!(accounts.accepted == all && accounts.ended("delivered") == all, "{accounts:?}");
    // There is room again.
    scene.send(&Request::push(&subscription, b"room again")?).await?;
    scene.receives(&subscription, b"room again").await
}

// Holds: A-146, G-10.
#[tokio::test]
async fn a_service_with_too_much_to_do_says_when_to_come_back() -> Result<()> {
    let mut scene = Scene::start_with(&[("PUSHGRID_INGRESS__MAX_IN_FLIGHT", "1")]).await?;
    let subscription = scene.open().await?;
    let push = Request::push(&subscription, b"takes its time")?;
    // The service asks for the body once the request has its place.
    let mut first = Wire::open(scene.server.ingress()).await?;
    first.send(&push.clone().with("Expect", "100-continue").head()).await?;
    ensure!(first.expect_answer().await?.status == 100, "the body was not asked for");
    let refused = scene.ask(&push).await?;
    ensure!(refused.status == 503, "answered {}", refused.status);
    explains(&refused, "try again")?;
    asks_to_wait(&refused)?;
    first.send(&push.body).await?;
    ensure!(first.expect_answer().await?.status == 201, "the one under way was refused");
    scene.receives(&subscription, b"takes its time").await?;
    scene.accepted(1).await.context("what was refused was accepted")?;
    scene.works().await
}

// Holds: A-151, I-03.
#[tokio::test]
async fn a_header_section_that_is_too_large_is_refused() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let subscription = scene.open().await?;
    let push = Request::push(&subscription, b"a large head")?;
    let many = (0..2000).fold(push.clone(), |request, number| request.with(&format!("X-{number}"), "x"));
    for request in [push.clone().with("X-Large", &"x".repeat(64 * 1024)), many] {
        let answer = scene.ask(&request).await?;
        ensure!(answer.status == 431, "answered {}", answer.status);
    }
    // Target longer than the bound of the head.
    let answer = scene.ask(&push.target(&format!("/push/{}", "a".repeat(64 * 1024)))).await?;
    ensure!(matches!(answer.status, 414 | 431), "answered {}", answer.status);
    scene.accepted(0).await.context("a message was accepted")?;
    scene.works().await?;
    scene.calm()
}

#[tokio::test]
async fn beyond_the_limit_of_connections_the_next_waits_until_one_leaves() -> Result<()> {
    let mut scene = Scene::start_with(&[("PUSHGRID_CONNECTION__MAX_CONNECTIONS", "2")]).await?;
    let mut second = Socket::open(scene.server.connection(), None).await?;
    let mut third = Wire::open(scene.server.connection()).await?;
    third.send(UPGRADE).await?;
    // Connected clients are served.
    second.send(&ping(b"still here")).await?;
    ensure!(second.next().await? == Some(Frame::Pong(b"still here".to_vec())), "no pong");
    let subscription = scene.open().await?;
    scene.send(&Request::push(&subscription, b"still here")?).await?;
    scene.receives(&subscription, b"still here").await?;
    let opened = scene.server.metrics().await?.sum("pushgrid_connection_opened_total", &[]);
    ensure!(opened == Some(2.0), "{opened:?} were let in");
    drop(second);
    ensure!(third.expect_answer().await?.status == 101, "the third was refused");
    scene.works().await
}
