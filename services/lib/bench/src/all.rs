use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::pace::Rate;
use crate::report::Run;
use crate::site::Site;
use crate::{connect, limits, push, store};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of user agents that connect and stay idle
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u64).range(limits::SOCKETS))]
    sockets: u64,
    /// Time for which each of the four push scenarios posts
    #[arg(long, default_value = "20s", value_parser = limits::duration)]
    duration: Duration,
    /// Number of messages that are stored
    #[arg(long, default_value = "20000", value_parser = clap::value_parser!(u64).range(limits::MESSAGES))]
    messages: u64,
    /// Number of user agents that the messages are for
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u64).range(limits::USER_AGENTS))]
    user_agents: u64,
}

/// Runs all scenarios: idle sockets; a steady rate and the highest, with and without VAPID; then stored messages.
pub(super) async fn run(site: &Arc<Site>, args: &Args) -> Result<Vec<Run>> {
    let idle = Duration::from_secs(10);
    let connect =
        connect::Args { sockets: args.sockets, concurrency: 64, idle, transport: connect::Transport::Ws };
    let mut runs = vec![connect::run(site, &connect).await?];
    for rate in [Rate::PerSecond(200.0), Rate::Max] {
        for vapid in [false, true] {
            let push = push::Args {
                receipts: false,
                rate,
                duration: args.duration,
                user_agents: args.user_agents,
                size: 1024,
                vapid,
                no_vapid: !vapid,
                concurrency: 32,
            };
            runs.push(push::run(site, &push).await?);
        }
    }
    let store =
        store::Args { messages: args.messages, user_agents: args.user_agents, size: 1024, concurrency: 64 };
    runs.extend(store::run(site, &store).await?);
    Ok(runs)
}
