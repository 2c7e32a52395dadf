//! `pushgrid bench`: loads a running service of one's own, and reports rates, latencies, and what the server spent.
//!
//! It sees the service as its users do, over HTTP and WebSocket, and reads what the server spent from `/metrics`.
//! It counts for itself what was accepted and what arrived: a message that is lost makes the command fail.

mod agents;
mod all;
mod connect;
mod content;
mod ledger;
mod limits;
mod open_files;
mod pace;
mod poster;
mod push;
mod report;
mod scrape;
mod site;
mod store;

use std::sync::Arc;

use anyhow::Result;

use self::report::{Report, Run};
use self::site::{Site, Target};
use crate::say;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Subcommand)]
enum Scenario {
    /// What an idle user agent costs: memory for each socket, and CPU for each connect. Start the server afresh for
    /// it: memory that it freed before is used again, and does not show
    Connect(connect::Args),
    /// Messages to user agents that are connected: latency, rates, and CPU for each message
    Push(push::Args),
    /// Messages that wait for their user agents: how fast they are stored, and delivered when all come back
    Store(store::Args),
    /// All of these, one after the other, with and without VAPID
    All(all::Args),
}

/// Runs a scenario, prints the report on standard output, and fails when a message was lost.
pub(crate) async fn run(args: Args) -> Result<()> {
    let site = Arc::new(Site::of(&args.target)?);
    let mut report = Report::of(&site.scrape().await?);
    let runs = match args.scenario {
        Scenario::Connect(args) => vec![connect::run(&site, &args).await?],
        Scenario::Push(args) => vec![push::run(&site, &args).await?],
        Scenario::Store(args) => store::run(&site, &args).await?.into(),
        Scenario::All(args) => all::run(&site, &args).await?,
    };
    let lost = runs.iter().map(Run::lost).sum::<u64>();
    report.runs = runs;
    say::text(&report.to_text());
    if let Some(file) = &args.target.json {
        report.write(file)?;
    }
    anyhow::ensure!(lost == 0, "{lost} accepted messages did not arrive");
    Ok(())
}

/// A line about what is going on, for the person who waits.
fn progress(text: &str) {
    eprintln!("  {text}");
}
