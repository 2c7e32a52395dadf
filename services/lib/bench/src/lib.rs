//! `pushgrid bench`: loads a running service of one's own, and reports rates, latencies, and what the server spent.
//!
//! The bench sees the service as users do, over HTTP and WebSocket, and reads the server's expenses from `/metrics`.
//! Accepted and received messages are counted here, not by the server: a lost message makes the command fail.

mod agents;
mod all;
mod connect;
mod content;
mod ledger;
mod limits;
mod monitors;
mod open_files;
mod pace;
mod poster;
mod push;
mod receipts;
mod report;
mod scrape;
mod site;
mod store;

use std::fmt;
use std::sync::Arc;

use anyhow::Result;

use crate::report::{Report, Run};
use crate::site::{Site, Target};

/// Arguments of `pushgrid bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    target: Target,
}

/// Hides the target, whose addresses may hold passwords.
impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").finish_non_exhaustive()
    }
}

#[derive(clap::Subcommand)]
enum Scenario {
    /// Cost of an idle user agent: memory for each socket, and CPU for each connect. Start the server afresh first:
    /// memory freed by an earlier run is used again, and does not show
    Connect(connect::Args),
    /// Messages to user agents that are connected: latency, rates, and CPU for each message
    Push(push::Args),
    /// Messages stored for absent user agents: rate of storing, and of delivery when all user agents come back
    Store(store::Args),
    /// All scenarios, one after the other, with and without VAPID
    All(all::Args),
}

/// Runs a scenario, hands the report to `print`, and fails when a message was lost.
pub async fn run(args: Args, print: impl FnOnce(&str)) -> Result<()> {
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
    print(&report.to_text());
    if let Some(file) = &args.target.json {
        report.write(file)?;
    }
    anyhow::ensure!(lost == 0, "{lost} accepted messages did not arrive");
    Ok(())
}

/// Prints a line of progress for the person who waits.
fn progress(text: &str) {
    eprintln!("  {text}");
}
