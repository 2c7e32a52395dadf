//! Scenario `connect`: the cost of idle sockets, in memory and in CPU.
//!
//! Memory and CPU are the server's own figures, taken at rest before and after; the rate of connects is measured
//! here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pushgrid_types::SystemRng;
use pushgrid_types::cast::fitting;
use tokio::time::{Instant, sleep};

use crate::agents::{self, Attendants, Opening};
use crate::content::{Content, SIZE_MIN};
use crate::ledger::Ledger;
use crate::monitors::Monitors;
use crate::report::{Name, Run};
use crate::scrape::Scrape;
use crate::site::Site;
use crate::{limits, progress};

pub(super) const CPU: &str = "process_cpu_seconds_total";
const MEMORY: &str = "process_resident_memory_bytes";
const SOCKETS: &str = "pushgrid_connection_sockets";

/// Load below which the server is at rest, as a share of one processor.
const REST_LOAD: f64 = 0.03;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of user agents that connect and subscribe
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u64).range(limits::SOCKETS))]
    pub(super) sockets: u64,
    /// Number of connects at a time
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(limits::PARALLEL))]
    pub(super) concurrency: u64,
    /// Time that all stay idle while the server's CPU is watched
    #[arg(long, default_value = "10s", value_parser = limits::duration)]
    pub(super) idle: Duration,
    /// Way of the messages to the user agents
    #[arg(long, value_enum, default_value_t = Transport::Ws)]
    pub(super) transport: Transport,
}

/// Way of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    /// A WebSocket
    Ws,
    /// Server push of HTTP/2
    H2,
    /// Server-Sent Events
    Sse,
}

/// User agents that stay.
enum Crowd {
    Sockets(Attendants),
    Monitors(Monitors),
}

impl Crowd {
    async fn open(site: &Arc<Site>, args: &Args) -> Result<Self> {
        let (count, parallel) = (fitting::<usize>(args.sockets), fitting::<usize>(args.concurrency));
        let transport = match args.transport {
            Transport::Ws => {
                let opened = agents::open(site, Opening { count, parallel, key: None }).await?;
                // The sockets need a task each although no message comes: pings are to be answered, and a close noticed.
                let content = Content::new(fitting::<usize>(SIZE_MIN), &SystemRng);
                let mut attendants = Attendants::new(site, Arc::new(Ledger::new(0)), content);
                for agent in opened {
                    attendants.attend(agent);
                }
                return Ok(Self::Sockets(attendants));
            }
            Transport::H2 => pushgrid_client::Transport::Push,
            Transport::Sse => pushgrid_client::Transport::Events,
        };
        Ok(Self::Monitors(Monitors::open(site, count, parallel, transport).await?))
    }

    /// Number of connections that ended unasked.
    async fn leave(self) -> u64 {
        match self {
            Self::Sockets(attendants) => attendants.leave().await,
            Self::Monitors(monitors) => monitors.leave().await,
        }
    }
}

/// Opens all sockets, and measures the cost of each while no message comes.
pub(super) async fn run(site: &Arc<Site>, args: &Args) -> Result<Run> {
    let before = rest(site).await?;
    let redis_before = site.redis_memory().await?;
    progress(&format!("connecting {} user agents", args.sockets));
    let started = Instant::now();
    let crowd = Crowd::open(site, args).await?;
    let took = started.elapsed();
    let wanted = sockets(&before) + count_of(args.sockets);
    let seen = site.scrape_until(|scrape| sockets(scrape) >= wanted).await?;
    if seen.is_none() {
        progress("the server does not show all sockets in its metrics");
    }
    let connected = rest(site).await?;
    progress(&format!("connected; idle for {:?}", args.idle));
    sleep(args.idle).await;
    let after = site.scrape().await?;
    let redis_after = site.redis_memory().await?;
    let open = sockets(&after) - sockets(&before);
    let broken = crowd.leave().await;

    let each = count_of(args.sockets);
    let difference = |name, from: &Scrape, to: &Scrape| Some(to.sum(name)? - from.sum(name)?);
    let setting = format!(
        "{} user agents by {:?}, {} at a time, one subscription each",
        args.sockets, args.transport, args.concurrency
    );
    let mut run = Run::new("connect", setting);
    run.measure(
        &Name("connects_per_second", "connected and subscribed", "a second"),
        each / took.as_secs_f64(),
    );
    let cpu = difference(CPU, &before, &connected).map(|seconds| seconds * 1e6 / each);
    run.measure(&Name("server_cpu_us_per_connect", "server CPU for each, TCP to endpoint", "us"), cpu);
    let memory = difference(MEMORY, &before, &after).map(|octets| octets / each);
    run.measure(&Name("server_bytes_per_socket", "server memory for each idle socket", "bytes"), memory);
    let grown = redis_after.zip(redis_before).map(|(after, before)| count_of(after) - count_of(before));
    let redis = grown.map(|octets| octets / each);
    run.measure(
        &Name("redis_bytes_per_user_agent", "memory of Redis for each idle user agent", "bytes"),
        redis,
    );
    run.measure(&Name("server_resident_bytes_before", "server memory before", "bytes"), before.sum(MEMORY));
    run.measure(&Name("server_resident_bytes", "server memory with all of them", "bytes"), after.sum(MEMORY));
    let idle = difference(CPU, &connected, &after).map(|seconds| seconds * 100.0 / args.idle.as_secs_f64());
    run.measure(&Name("server_cpu_percent_idle", "server CPU while all are idle", "% of a core"), idle);
    run.measure(&Name("sockets_seen_by_server", "sockets open, says the server", ""), open);
    run.count(&Name("broken", "connections that broke", ""), broken);
    Ok(run)
}

/// Waits until the server is idle, and returns the metrics at that moment. A server that stays busy is measured as it
/// is.
pub(super) async fn rest(site: &Site) -> Result<Scrape> {
    let deadline = Instant::now() + limits::REST;
    let mut before = site.scrape().await?;
    loop {
        let since = Instant::now();
        sleep(limits::POLL * 2).await;
        let now = site.scrape().await?;
        let load = now.sum(CPU).zip(before.sum(CPU)).map(|(now, before)| now - before);
        let resting = load.is_none_or(|seconds| seconds < REST_LOAD * since.elapsed().as_secs_f64());
        if resting {
            return Ok(now);
        }
        if Instant::now() > deadline {
            progress("the server does not come to rest: something else loads it");
            return Ok(now);
        }
        before = now;
    }
}

/// Sockets that the server has open; zero when the metrics do not tell.
pub(super) fn sockets(scrape: &Scrape) -> f64 {
    scrape.sum(SOCKETS).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub(super) fn count_of(count: u64) -> f64 {
    count as f64
}
