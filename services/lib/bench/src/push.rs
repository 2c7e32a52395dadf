//! Scenario `push`: messages to connected user agents, at a rate or as fast as possible.
//!
//! Latencies count from the instant at which a message was due. CPU and commits for each message are the server's own
//! figures, taken before and after.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::HeaderValue;
use pushgrid_client::ApplicationServer;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::SystemRng;
use pushgrid_types::cast::fitting;
use tokio::time::Instant;

use crate::agents::{self, Agent, Attendants, Opening};
use crate::connect::{CPU, count_of, rest};
use crate::content::{Content, SIZE_MAX, SIZE_MIN};
use crate::ledger::{Ledger, Totals};
use crate::pace::Rate;
use crate::poster::{Poster, Volley};
use crate::receipts::Taker;
use crate::report::{Name, Run};
use crate::scrape::Scrape;
use crate::site::Site;
use crate::{limits, progress};

const ENDED: &str = "pushgrid_messages_ended_total";
const COMMITS: &str = "pushgrid_store_commits_total";
const LOG_OCTETS: &str = "pushgrid_log_octets_total";

/// Messages a second to make room for, when there is no rate.
const ROOM: f64 = 50_000.0;

/// Time without an arrival after which the rest counts as lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Messages a second, independent of answers; or max: each sender posts again after the answer
    #[arg(long, default_value = "200")]
    pub(super) rate: Rate,
    /// Time to post for
    #[arg(long, default_value = "20s", value_parser = limits::duration)]
    pub(super) duration: Duration,
    /// Number of connected user agents
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u64).range(limits::USER_AGENTS))]
    pub(super) user_agents: u64,
    /// Octets of each message
    #[arg(long, default_value = "1024", value_parser = clap::value_parser!(u64).range(SIZE_MIN..=SIZE_MAX))]
    pub(super) size: u64,
    /// Restrict the subscriptions to a VAPID key, and sign
    #[arg(long, overrides_with = "no_vapid")]
    pub(super) vapid: bool,
    /// Do not sign (the default)
    #[arg(long = "no-vapid")]
    pub(super) no_vapid: bool,
    /// Ask for the receipt of each message, and take it by server push
    #[arg(long)]
    pub(super) receipts: bool,
    /// Requests at a time
    #[arg(long, default_value = "32", value_parser = clap::value_parser!(u64).range(limits::PARALLEL))]
    pub(super) concurrency: u64,
}

/// Posts to user agents that stay connected and acknowledge at once.
pub(super) async fn run(site: &Arc<Site>, args: &Args) -> Result<Run> {
    let key = args.vapid.then(|| KeyPair::generate(&SystemRng));
    let count = fitting::<usize>(args.user_agents);
    let opening = Opening { count, parallel: 16, key: key.as_ref().map(KeyPair::public) };
    let opened = agents::open(site, opening).await?;
    let authorization = authorization(key, &opened)?;
    let before = rest(site).await?;

    let content = Content::new(fitting::<usize>(args.size), &SystemRng);
    let ledger = Arc::new(Ledger::new(room(args.rate, args.duration)));
    let mut attendants = Attendants::new(site, Arc::clone(&ledger), content.clone());
    let targets = opened.iter().map(|agent| agent.endpoint.clone()).collect();
    for agent in opened {
        attendants.attend(agent);
    }
    progress(&format!("posting for {:?}", args.duration));
    let desk = if args.receipts { Some(Taker::start(site).await?) } else { None };
    let poster = Poster::new(site.http(), targets, authorization, content, Arc::clone(&ledger));
    let poster = Arc::new(match &desk {
        Some(desk) => poster.asking(&desk.url)?,
        None => poster,
    });
    let volley = Volley {
        rate: args.rate,
        count: ledger.capacity(),
        senders: fitting::<u32>(args.concurrency),
        until: (args.rate == Rate::Max).then(|| Instant::now() + args.duration),
    };
    let refused = poster.fire(volley).await?;
    ledger.all_arrived(PATIENCE).await;
    let receipts = match &desk {
        Some(desk) => desk.all(ledger.accepted_count(), PATIENCE).await,
        None => 0,
    };
    let after = settled(site, &before, ledger.arrived_count() + receipts).await?;
    let broken = attendants.leave().await;

    let mut run = Run::new("push", setting(args));
    let totals = ledger.totals();
    figures(&mut run, &totals);
    spent(&mut run, &before, &after, totals.arrived, "delivered and acknowledged message");
    run.count(&Name("not_accepted", "not accepted", ""), refused);
    if args.receipts {
        run.count(&Name("receipts", "receipts taken", ""), receipts);
    }
    faults(&mut run, &totals, broken);
    Ok(run)
}

/// One signature for all messages, as application servers do: all endpoints have one origin.
fn authorization(key: Option<KeyPair>, opened: &[Agent]) -> Result<Option<HeaderValue>> {
    let first = opened.first().context("there is no user agent")?;
    Ok(ApplicationServer::new(key).authorization_for(&first.given)?)
}

fn setting(args: &Args) -> String {
    let rate = match args.rate {
        Rate::Max => format!("as fast as {} senders can", args.concurrency),
        Rate::PerSecond(rate) => format!("{rate} a second, at most {} at a time", args.concurrency),
    };
    let vapid = if args.vapid { "with VAPID" } else { "without VAPID" };
    let (octets, agents) = (args.size, args.user_agents);
    let receipts = if args.receipts { ", each with a receipt" } else { "" };
    format!("{octets} octets to {agents} user agents, {rate}, for {:?}, {vapid}{receipts}", args.duration)
}

/// Largest number of messages in the run.
fn room(rate: Rate, duration: Duration) -> usize {
    let rate = match rate {
        Rate::Max => ROOM,
        Rate::PerSecond(rate) => rate,
    };
    let wanted = (rate * duration.as_secs_f64()).ceil().clamp(1.0, count_of(*limits::MESSAGES.end()));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was clamped")]
    let wanted = wanted as usize;
    wanted
}

/// Waits until the server has counted `more` acknowledgements, and returns the metrics at that moment.
pub(super) async fn settled(site: &Site, before: &Scrape, more: u64) -> Result<Scrape> {
    let delivered = |scrape: &Scrape| scrape.sum_where(ENDED, "outcome=\"delivered\"");
    let Some(start) = delivered(before) else { return site.scrape().await };
    let wanted = start + count_of(more);
    let settled = site.scrape_until(|scrape| delivered(scrape).unwrap_or_default() >= wanted).await?;
    if let Some(scrape) = settled {
        return Ok(scrape);
    }
    progress("the server has not counted all acknowledgements");
    site.scrape().await
}

/// Adds rates and latencies.
fn figures(run: &mut Run, totals: &Totals) {
    run.count(&Name("accepted", "accepted", ""), totals.accepted);
    run.count(&Name("delivered", "delivered and acknowledged", ""), totals.arrived);
    let rate = count_of(totals.accepted) / totals.last_accepted.as_secs_f64();
    run.measure(&Name("accepted_per_second", "accepted", "a second"), rate);
    let rate = count_of(totals.arrived) / totals.last_arrived.as_secs_f64();
    run.measure(&Name("delivered_per_second", "delivered", "a second"), rate);
    run.latency("post_to_201", "POST to 201", &totals.to_accepted);
    run.latency("post_to_socket", "POST to socket", &totals.to_arrived);
}

/// Adds the server's expense for each of `count` messages.
pub(super) fn spent(run: &mut Run, before: &Scrape, after: &Scrape, count: u64, what: &str) {
    let each = |name| Some((after.sum(name)? - before.sum(name)?) / count_of(count));
    let cpu = each(CPU).map(|seconds| seconds * 1e6);
    let label = format!("server CPU for each {what}");
    run.measure(&Name("server_cpu_us_per_message", &label, "us"), cpu);
    run.measure(&Name("server_commits_per_message", "commits of the store for each", ""), each(COMMITS));
    roles(run, before, after, count);
    let octets = each(LOG_OCTETS).filter(|octets| *octets > 0.0);
    run.measure(&Name("kafka_octets_per_message", "records appended to Kafka for each", "octets"), octets);
}

/// Adds the expense of each role of a grid. A single process has one role, and adds none.
fn roles(run: &mut Run, before: &Scrape, after: &Scrape, count: u64) {
    if after.cpu_by_role().len() < 2 {
        return;
    }
    for (role, key, label) in [
        ("ingress", "ingress_cpu_us_per_message", "of it the ingresses"),
        ("router", "router_cpu_us_per_message", "of it the routers"),
        ("connection", "connection_cpu_us_per_message", "of it the connection nodes"),
    ] {
        let seconds = |scrape: &Scrape| scrape.cpu_by_role().get(role).copied();
        let each = || Some((seconds(after)? - seconds(before)?) * 1e6 / count_of(count));
        run.measure(&Name(key, label, "us"), each());
    }
}

/// Adds the counts that must be zero, and those that at-least-once delivery allows (promise P3).
pub(super) fn faults(run: &mut Run, totals: &Totals, broken: u64) {
    run.set_lost(totals.lost);
    run.count(&Name("repeats", "came once more", ""), totals.repeats);
    run.count(&Name("disordered", "came out of their sender's order", ""), totals.disordered);
    run.count(&Name("strangers", "changed on the way, or of another run", ""), totals.strangers);
    run.count(&Name("broken", "connections that broke", ""), broken);
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn flags_have_bounds_and_the_last_word_on_vapid_counts() {
        let parse = |flags: &[&str]| Command::try_parse_from([&["push"], flags].concat());
        let args = |flags: &[&str]| parse(flags).unwrap_or_else(|error| panic!("{error}")).args;
        assert_eq!(args(&[]).duration, Duration::from_secs(20));
        assert_eq!(args(&["--rate", "max"]).rate, Rate::Max);
        assert!(args(&["--vapid"]).vapid && !args(&["--vapid", "--no-vapid"]).vapid);
        for bad in [
            ["--rate", "0"],
            ["--duration", "2h"],
            ["--duration", "20"],
            ["--size", "100"],
            ["--size", "4097"],
            ["--user-agents", "0"],
            ["--concurrency", "1025"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn there_is_room_for_every_message_and_for_no_more_than_the_bound() {
        assert_eq!(room(Rate::PerSecond(200.0), Duration::from_secs(20)), 4000);
        assert_eq!(room(Rate::PerSecond(0.1), Duration::from_millis(100)), 1);
        assert_eq!(room(Rate::Max, Duration::from_hours(1)) as u64, *limits::MESSAGES.end());
    }
}
