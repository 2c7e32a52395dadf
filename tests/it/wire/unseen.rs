//! User agents that have not connected for longer than the operator lets them.

use anyhow::{Result, ensure};
use pushgrid_client::UserAgent;
use pushgrid_it::{Accounts, eventually, within};

use super::party::{Agent, SOON, body};
use super::scene::Scene;
use super::sse::Subscription;

/// Long enough for the visits of a test on a busy machine, and short enough to wait for.
const LIMIT: &[(&str, &str)] = &[("PUSHGRID_ROUTER__UNSEEN_LIMIT", "10s")];

// Holds: A-127, D-05.
#[tokio::test]
async fn who_has_not_come_for_too_long_ends_and_is_told_when_it_comes() -> Result<()> {
    let scene = Scene::alone_with(LIMIT).await?;
    let (mut away, mut here) = (scene.agent().await?, scene.agent().await?);
    let (ending, living) = (away.subscribe().await?, here.subscribe().await?);
    let also = away.subscribe().await?;
    let by_http = Subscription::new(scene.server().connection()).await?;
    away.leave().await?;
    scene.send(&ending.endpoint, "never read").await?;
    for endpoint in [&ending.endpoint, &also.endpoint, &by_http.endpoint] {
        let has_ended = async || {
            let answer = scene.post(endpoint, &[("ttl", "0")], "").await?;
            ensure!([201, 404].contains(&answer.status), "answered {}", answer.status);
            Ok((answer.status == 404).then_some(()))
        };
        eventually(SOON, "the end of a subscription", has_ended).await?;
    }
    ensure!(by_http.get(super::sse::NO_WAIT).await?.status == 404, "its address has ended, too");
    // One that is connected is here, however long it says nothing.
    scene.send(&living.endpoint, "read").await?;
    ensure!(body(&here.take().await?) == "read");
    let mut socket = UserAgent::connect(scene.server().connection()).await?;
    let hello = socket.hello(Some(away.id())).await?;
    ensure!(hello.user_agent != away.id(), "it is not told that it has to subscribe again");
    // Of those that asked whether it has ended, some may have been accepted at the last moment.
    let has_ended = |accounts: &Accounts| accounts.pending == 0 && accounts.ended("unsubscribed") >= 1;
    scene.server().accounts("what waited has ended with its subscription", has_ended).await?;
    scene.end().await
}

#[tokio::test]
async fn short_visits_keep_a_user_agent_alive() -> Result<()> {
    let scene = Scene::alone_with(LIMIT).await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let mut other = scene.agent().await?;
    let unseen = other.subscribe().await?;
    other.leave().await?;
    // For as long as it takes another one to end.
    let visits = async |agent: &mut Agent| -> Result<()> {
        loop {
            agent.leave().await?;
            agent.come_back().await?;
            if scene.post(&unseen.endpoint, &[("ttl", "0")], "").await?.status == 404 {
                return Ok(());
            }
        }
    };
    within(SOON, "the end of another one", visits(&mut agent)).await??;
    scene.send(&channel.endpoint, "still here").await?;
    ensure!(body(&agent.take().await?) == "still here");
    scene.end().await
}
