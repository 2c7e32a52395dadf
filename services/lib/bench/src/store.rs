//! Scenario `store`: messages for absent user agents, then delivery of all of them on reconnect.
//!
//! Yields two runs: the cost of storing, and the cost of delivering from the mailbox.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use pushgrid_types::SystemRng;
use pushgrid_types::cast::fitting;
use tokio::task::JoinSet;

use crate::agents::{self, Agent, Attendants, Identity, Opening};
use crate::connect::{count_of, rest, sockets};
use crate::content::{Content, SIZE_MAX, SIZE_MIN};
use crate::ledger::Ledger;
use crate::pace::Rate;
use crate::poster::{Poster, Volley};
use crate::push::{PATIENCE, faults, settled, spent};
use crate::report::{Name, Run};
use crate::site::Site;
use crate::{limits, progress};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of messages posted in all
    #[arg(long, default_value = "20000", value_parser = clap::value_parser!(u64).range(limits::MESSAGES))]
    pub(super) messages: u64,
    /// Number of user agents that the messages are for
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u64).range(limits::USER_AGENTS))]
    pub(super) user_agents: u64,
    /// Octets of each message
    #[arg(long, default_value = "1024", value_parser = clap::value_parser!(u64).range(SIZE_MIN..=SIZE_MAX))]
    pub(super) size: u64,
    /// Requests at a time
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(limits::PARALLEL))]
    pub(super) concurrency: u64,
}

/// Posts to absent user agents, lets all come back at once, and accounts for every message.
pub(super) async fn run(site: &Arc<Site>, args: &Args) -> Result<[Run; 2]> {
    let idle = site.scrape().await?;
    let count = fitting::<usize>(args.user_agents);
    let opened = agents::open(site, Opening { count, parallel: 16, key: None }).await?;
    let targets = opened.iter().map(|agent| agent.endpoint.clone()).collect();
    let identities = part(opened).await?;
    let away = site.scrape_until(|scrape| sockets(scrape) <= sockets(&idle)).await?;
    ensure!(away.is_some(), "the server still shows the sockets of user agents that have gone");
    let before = rest(site).await?;
    let redis_before = site.redis_memory().await?;

    progress(&format!("posting {} messages", args.messages));
    let content = Content::new(fitting::<usize>(args.size), &SystemRng);
    let ledger = Arc::new(Ledger::new(fitting::<usize>(args.messages)));
    let poster = Arc::new(Poster::new(site.http(), targets, None, content.clone(), Arc::clone(&ledger)));
    let senders = fitting::<u32>(args.concurrency);
    let volley = Volley { rate: Rate::Max, count: args.messages, senders, until: None };
    let refused = poster.fire(volley).await?;
    let stored = rest(site).await?;
    let redis_stored = site.redis_memory().await?;

    progress("all come back");
    let back = ledger.started().elapsed();
    let mut attendants = Attendants::new(site, Arc::clone(&ledger), content);
    for identity in identities {
        attendants.come_back(site, identity);
    }
    ledger.all_arrived(PATIENCE).await;
    let after = settled(site, &stored, ledger.arrived_count()).await?;
    let broken = attendants.leave().await;

    let totals = ledger.totals();
    let (messages, octets, agents) = (args.messages, args.size, args.user_agents);
    let setting =
        format!("{messages} messages of {octets} octets for {agents} user agents, {senders} senders");
    let mut run = Run::new("store", setting.clone());
    run.count(&Name("stored", "stored", ""), totals.accepted);
    let rate = count_of(totals.accepted) / totals.last_accepted.as_secs_f64();
    run.measure(&Name("stored_per_second", "stored", "a second"), rate);
    run.latency("post_to_201", "POST to 201", &totals.to_accepted);
    spent(&mut run, &before, &stored, totals.accepted, "stored message");
    let grown = redis_stored.zip(redis_before).map(|(after, before)| count_of(after) - count_of(before));
    let redis = grown.map(|octets| octets / count_of(totals.accepted));
    run.measure(&Name("redis_bytes_per_message", "memory of Redis for each stored message", "bytes"), redis);
    run.count(&Name("not_accepted", "not accepted", ""), refused);

    let mut back_again = Run::new("reconnect", setting);
    back_again.count(&Name("delivered", "delivered and acknowledged", ""), totals.arrived);
    let took = totals.last_arrived.saturating_sub(back);
    back_again.measure(
        &Name("delivered_per_second", "delivered, from the first connect", "a second"),
        rate_of(totals.arrived, took),
    );
    back_again.measure(&Name("seconds", "until the last one was there", "s"), took.as_secs_f64());
    spent(&mut back_again, &stored, &after, totals.arrived, "delivered and acknowledged message");
    faults(&mut back_again, &totals, broken);
    Ok([run, back_again])
}

fn rate_of(count: u64, took: Duration) -> f64 {
    count_of(count) / took.as_secs_f64()
}

/// Disconnects all; the subscriptions stay.
async fn part(opened: Vec<Agent>) -> Result<Vec<Identity>> {
    let mut parting: JoinSet<Result<Identity>> = opened.into_iter().map(Agent::part).collect();
    let mut identities = Vec::with_capacity(parting.len());
    while let Some(parted) = parting.join_next().await {
        identities.push(parted??);
    }
    Ok(identities)
}
