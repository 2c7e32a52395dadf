//! Receipts through the end of a router, of a node and of Redis.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Shape, Webhook, eventually, within};
use serde_json::Value;

use super::{Own, url};
use crate::wire::party::{Agent, Application, Channel, SOON};
use crate::wire::push::client::Connection;
use crate::wire::receipts::{Asked, HOOKED, hooked, send_asking};
use crate::wire::sse::Subscription;

const SHAPE: Shape = Shape { ingress: 1, router: 2, connection: 2 };

/// Recipients: of several, some are with each router.
const RECIPIENTS: usize = 6;

const MINUTES: &[(&str, &str)] = &[("ttl", "600")];

/// Deadline of recovery: clients of Redis retry after a backoff.
const RECOVERY: Duration = Duration::from_mins(1);

struct Recipient {
    agent: Agent,
    channel: Channel,
}

async fn recipients(own: &Own) -> Result<Vec<Recipient>> {
    let mut all = Vec::new();
    for _ in 0..RECIPIENTS {
        let mut agent = Agent::new(url(&own.grid.connection[0])).await?;
        let channel = agent.subscribe().await?;
        all.push(Recipient { agent, channel });
    }
    Ok(all)
}

/// Sends a message to each, which each acknowledges.
async fn round(app: &Application, all: &mut [Recipient], receipts: &str) -> Result<BTreeSet<String>> {
    let mut asked = BTreeSet::new();
    for recipient in all {
        let send = || send_asking(app, &recipient.channel.endpoint, Some(receipts), MINUTES);
        // Nothing is accepted while Redis is brought up: it is sent again, as application servers do.
        let accepted = async || Ok(send().await.ok());
        let Asked { location, .. } = eventually(RECOVERY, "a message is accepted", accepted).await?;
        asked.insert(location);
        recipient.agent.take().await?;
    }
    Ok(asked)
}

/// Kills a router, and Redis with all that it holds.
async fn kill(own: &mut Own, router: usize) -> Result<()> {
    own.grid.router[router].kill().await?;
    own.servers.kill_redis().await?;
    own.servers.start_again().await?;
    Ok(())
}

// Holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_outlive_the_router_the_node_and_redis_whichever_way_they_go() -> Result<()> {
    let mut own = Own::start(1, SHAPE, HOOKED).await?;
    let (app, mut all) = (Application::new(), recipients(&own).await?);
    let mut webhook = Webhook::start().await?;
    let (posted, secret) = hooked(url(&own.grid.connection[0]), &webhook.url()).await?;
    webhook.expect(&secret, &[500; 3]).await?;
    let first = send_asking(&app, &all[0].channel.endpoint, None, MINUTES).await?;
    let pushed = first.receipts.clone();
    let second = send_asking(&app, &all[0].channel.endpoint, None, MINUTES).await?;
    let read = second.receipts.clone();
    all[0].agent.take().await?;
    all[0].agent.take().await?;
    let mut expected = [BTreeSet::from([first.location]), BTreeSet::from([second.location]), BTreeSet::new()];

    // Acknowledged before and after the end of a router and of Redis, with nobody who reads.
    for router in [0, 1] {
        for (receipts, expected) in [&pushed, &read, &posted].into_iter().zip(&mut expected) {
            expected.extend(round(&app, &mut all, receipts).await?);
        }
        kill(&mut own, router).await?;
        for (receipts, expected) in [&pushed, &read, &posted].into_iter().zip(&mut expected) {
            expected.extend(round(&app, &mut all, receipts).await?);
        }
        own.grid.router[router].start().await?;
        own.grid.is_whole().await?;
    }

    let reading = Subscription::at_url(&read)?;
    let mut reader = reading.read().await?;
    let mut found = BTreeSet::new();
    while found.len() < expected[1].len() / 2 {
        found.insert(location(&reader.receipt().await?.data)?);
    }
    // The node ends before anything was acknowledged, and the rest is read at the other one.
    own.grid.connection[0].kill().await?;
    let elsewhere = reading.at(url(&own.grid.connection[1]));
    let mut reader = elsewhere.read().await?;
    let mut again = BTreeSet::new();
    while again.len() < expected[1].len() {
        let event = reader.receipt().await?;
        ensure!(elsewhere.take(&event).await? == 204);
        again.insert(location(&event.data)?);
    }
    ensure!(again == expected[1] && found.is_subset(&again), "other receipts came");

    let mut connection = Connection::new(url(&own.grid.connection[1])).await?;
    let path = &pushed[pushed.find("/receipts/").context("no path")?..];
    let mut monitoring = connection.monitor(path, &[])?;
    let mut found = BTreeSet::new();
    while found.len() < expected[0].len() {
        let push = monitoring.next().await?;
        ensure!(push.status == 204, "{push:?}");
        found.insert(push.path);
    }
    let paths = expected[0].iter().map(|location| location[location.find("/m/").unwrap_or(0)..].to_owned());
    ensure!(found == paths.collect(), "other receipts came");

    let mut found = BTreeSet::new();
    within(SOON, "all posts", async {
        while found.len() < expected[2].len() {
            let post = webhook.next().await?;
            for receipt in post["body"]["data"]["receipts"].as_array().context("no receipts")? {
                if post["status"] == 204 {
                    found.insert(location(receipt)?);
                }
            }
        }
        Ok::<_, anyhow::Error>(())
    })
    .await??;
    ensure!(found == expected[2], "other receipts came");
    Ok(())
}

/// Location of the message that a receipt is of.
fn location(receipt: &Value) -> Result<String> {
    ensure!(receipt["status"] == 204, "{receipt}");
    Ok(receipt["message"].as_str().context("a receipt has a message")?.to_owned())
}
