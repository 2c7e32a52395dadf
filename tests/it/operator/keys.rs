//! Endpoint keys of standalone: missing, rotated, or without their database.

use std::fs;

use anyhow::{Result, ensure};
use pushgrid_client::UserAgent;

use super::{House, loss, pushgrid, succeeds};
use crate::wire::party::{Agent, Application};

/// Makes a stopped service with a subscription.
async fn used() -> Result<(House, Agent, String)> {
    let mut house = House::start().await?;
    let mut agent = Agent::new(house.server.connection()).await?;
    let endpoint = agent.subscribe().await?.endpoint;
    house.server.stop().await?;
    agent.vanish();
    Ok((house, agent, endpoint))
}

#[tokio::test]
async fn without_its_keys_a_database_with_subscriptions_is_not_served() -> Result<()> {
    let (mut house, mut agent, endpoint) = used().await?;
    let keys = house.data().join("endpoint-keys");
    fs::rename(&keys, house.path("kept"))?;
    let text = house.refuses_to_start(1, &[]).await?;
    ensure!(text.contains("no endpoint-keys") && text.contains("1 subscriptions"), "{text}");
    ensure!(!keys.exists(), "no keys were made");
    let id = loss(&text)?;

    let other = succeeds(house.folder.path(), &["keys", "endpoint"]).await?;
    let other = other.trim();
    let text = house.refuses_to_start(64, &[&format!("endpoint.keys={other}")]).await?;
    ensure!(!text.contains(other), "a key is not shown");
    fs::write(&keys, other)?;
    house.refuses_to_start(1, &[]).await?;
    for wrong in ["", "not a key"] {
        fs::write(&keys, wrong)?;
        let text = house.refuses_to_start(1, &[]).await?;
        ensure!(text.contains("restore it"), "{wrong:?}: {text}");
    }
    fs::remove_file(&keys)?;
    fs::create_dir(&keys)?;
    house.refuses_to_start(1, &[]).await?;
    fs::remove_dir(&keys)?;

    // The first way out.
    fs::rename(house.path("kept"), &keys)?;
    house.server.start_again().await?;
    agent.come_back().await?;
    Application::new().send(&endpoint, "one").await?;
    agent.take().await?;
    house.server.stop().await?;

    // The other one.
    fs::remove_file(&keys)?;
    house.server.set("PUSHGRID_STANDALONE__ACCEPT_LOSS", &id)?;
    house.server.start_again().await?;
    let mut socket = UserAgent::connect(house.server.connection()).await?;
    let hello = socket.hello(Some(agent.id())).await?;
    ensure!(hello.user_agent != agent.id(), "the user agent is told to subscribe again");
    Application::new().refused(404, &endpoint, &[("ttl", "60")], "x").await?;
    // An accepted loss covers the keys of that time only.
    Agent::new(house.server.connection()).await?.subscribe().await?;
    house.server.stop().await?;
    fs::remove_file(&keys)?;
    house.refuses_to_start(1, &[&format!("standalone.accept_loss={id}")]).await?;
    Ok(())
}

#[tokio::test]
async fn a_rotation_breaks_nothing_and_a_key_that_is_taken_away_is_told() -> Result<()> {
    let (mut house, mut agent, endpoint) = used().await?;
    let keys = house.data().join("endpoint-keys");
    let name = keys.display().to_string();
    succeeds(house.folder.path(), &["keys", "endpoint", "--rotate", &name]).await?;
    house.server.start_again().await?;
    agent.come_back().await?;
    Application::new().send(&endpoint, "one").await?;
    agent.take().await?;
    let newer = agent.subscribe().await?.endpoint;
    house.server.stop().await?;

    let both = fs::read_to_string(&keys)?;
    fs::write(&keys, both.split(',').next().unwrap_or_default())?;
    house.server.start_again().await?;
    ensure!(house.server.log()?.contains("endpoint keys were taken away"), "the operator is told");
    agent.vanish();
    agent.come_back().await?;
    Application::new().send(&newer, "two").await?;
    agent.take().await?;
    Application::new().refused(404, &endpoint, &[("ttl", "60")], "x").await?;
    Ok(())
}

#[tokio::test]
async fn keys_without_their_database_are_used_and_the_loss_is_told() -> Result<()> {
    let (mut house, _, endpoint) = used().await?;
    fs::remove_file(house.data().join("pushgrid.sqlite"))?;
    house.server.start_again().await?;
    let log = house.server.log()?;
    ensure!(log.contains("had endpoint-keys and no database") && log.contains("pushgrid restore"), "{log}");
    Application::new().refused(404, &endpoint, &[("ttl", "60")], "x").await?;
    let refused = pushgrid(house.folder.path(), &["backup", "saved", "--data-dir", "nowhere"]).await?;
    ensure!(refused.status.code() == Some(1), "there is no backup of nothing: {}", refused.status);
    Ok(())
}
