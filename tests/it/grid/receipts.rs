//! Receipts through the end of a router, of a node and of Redis.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Shape, Webhook, eventually, within};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

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

/// Subscriptions of user agents that acknowledge whatever comes, at one node and then at the other.
async fn recipients(own: &Own, reading: &mut JoinSet<()>) -> Result<Vec<Channel>> {
    let mut all = Vec::new();
    for _ in 0..RECIPIENTS {
        let mut agent = Agent::new(url(&own.grid.connection[0])).await?;
        all.push(agent.subscribe().await?);
        let other = url(&own.grid.connection[1]).to_owned();
        reading.spawn(async move {
            loop {
                if agent.take().await.is_err() {
                    // A moment, for a node that is not there refuses at once.
                    while agent.come_back_to(&other).await.is_err() {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
    }
    Ok(all)
}

/// Sends a message to each. Nothing is accepted while Redis is brought up: it is sent again, as application servers do.
async fn round(app: &Application, all: &[Channel], receipts: &str) -> Result<BTreeSet<String>> {
    let mut asked = BTreeSet::new();
    for channel in all {
        let send = || send_asking(app, &channel.endpoint, Some(receipts), MINUTES);
        let accepted = async || Ok(send().await.ok());
        let Asked { location, .. } = eventually(RECOVERY, "a message is accepted", accepted).await?;
        asked.insert(location);
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
    let (app, mut reading) = (Application::new(), JoinSet::new());
    let all = recipients(&own, &mut reading).await?;
    let mut webhook = Webhook::start().await?;
    let (posted, secret) = hooked(url(&own.grid.connection[0]), &webhook.url()).await?;
    webhook.expect(&secret, &[500; 3]).await?;
    let first = send_asking(&app, &all[0].endpoint, None, MINUTES).await?;
    let pushed = first.receipts.clone();
    let second = send_asking(&app, &all[0].endpoint, None, MINUTES).await?;
    let read = second.receipts.clone();
    let mut expected = [BTreeSet::from([first.location]), BTreeSet::from([second.location]), BTreeSet::new()];

    // Acknowledged before and after the end of a router and of Redis, with nobody who reads.
    for router in [0, 1] {
        for (receipts, expected) in [&pushed, &read, &posted].into_iter().zip(&mut expected) {
            expected.extend(round(&app, &all, receipts).await?);
        }
        kill(&mut own, router).await?;
        for (receipts, expected) in [&pushed, &read, &posted].into_iter().zip(&mut expected) {
            expected.extend(round(&app, &all, receipts).await?);
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
    while !again.is_superset(&expected[1]) {
        let event = reader.receipt().await?;
        ensure!(elsewhere.take(&event).await? == 204);
        again.insert(location(&event.data)?);
    }
    // A message of unknown fate may have come beside them.
    ensure!(again.is_superset(&expected[1]) && found.is_subset(&again), "other receipts came");

    let mut connection = Connection::new(url(&own.grid.connection[1])).await?;
    let path = &pushed[pushed.find("/receipts/").context("no path")?..];
    let mut monitoring = connection.monitor(path, &[])?;
    let mut found = BTreeSet::new();
    let paths = expected[0].iter().map(|location| location[location.find("/m/").unwrap_or(0)..].to_owned());
    let paths: BTreeSet<_> = paths.collect();
    while !found.is_superset(&paths) {
        let push = monitoring.next().await?;
        ensure!(push.status == 204, "{push:?}");
        found.insert(push.path);
    }

    let mut found = BTreeSet::new();
    within(SOON, "all posts", async {
        while !found.is_superset(&expected[2]) {
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
    Ok(())
}

/// Location of the message that a receipt is of.
fn location(receipt: &Value) -> Result<String> {
    ensure!(receipt["status"] == 204, "{receipt}");
    Ok(receipt["message"].as_str().context("a receipt has a message")?.to_owned())
}
