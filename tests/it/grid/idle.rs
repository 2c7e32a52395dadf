//! Sockets that are idle cost neither Redis nor Kafka anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use pushgrid_it::{Redis, Shape};
use tokio::time::sleep;

use super::{Own, url};
use crate::wire::party::Agent;

const SOCKETS: usize = 300;

/// How long is looked: several leases are renewed in it.
const LOOK: Duration = Duration::from_secs(6);

/// How many more scripts may be seen in one look than in another, where nothing goes on but that each process renews its
/// lease and each partition is swept, about once a second: a look begins anywhere in it.
const CHANCE: u64 = 10;

/// The same for octets: much less than one small question of each socket.
const CHANCE_OCTETS: u64 = 6000;

/// What one look at Kafka and Redis has seen.
#[derive(Debug)]
struct Seen {
    scripts: u64,
    asked: u64,
    written: u64,
}

/// What is asked of Redis, and written to Kafka, in a stated time.
async fn look(own: &Own, redis: &mut Redis) -> Result<Seen> {
    let ((scripts, asked), written) = (redis.asked().await?, own.servers.records("it-")?);
    sleep(LOOK).await;
    let ((more_scripts, more_asked), more_written) = (redis.asked().await?, own.servers.records("it-")?);
    Ok(Seen { scripts: more_scripts - scripts, asked: more_asked - asked, written: more_written - written })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sockets_cause_no_traffic_to_redis_or_kafka() -> Result<()> {
    let own = Own::start(1, Shape { ingress: 1, router: 2, connection: 2 }, &[]).await?;
    let mut redis = own.servers.redis().await?;
    let without = look(&own, &mut redis).await?;
    let new = (0..SOCKETS).map(|number| {
        let node = url(&own.grid.connection[number % 2]);
        async move {
            let mut agent = Agent::new(node).await?;
            agent.subscribe().await?;
            anyhow::Ok(agent)
        }
    });
    let mut agents = try_join_all(new).await?;
    // The last of what was caused by connecting is over when this is through.
    for agent in &mut agents {
        let channel = agent.subscribe().await?;
        agent.nothing_waits(&channel).await?;
    }
    own.grid.settled().await?;
    let with = look(&own, &mut redis).await?;
    eprintln!("without sockets {without:?}, with {SOCKETS} {with:?}");
    ensure!(with.written == 0, "{} octets were written to Kafka", with.written);
    ensure!(with.scripts <= without.scripts + CHANCE, "{without:?}, and with {SOCKETS} sockets {with:?}");
    ensure!(with.asked <= without.asked + CHANCE_OCTETS, "{without:?}, and with {SOCKETS} sockets {with:?}");
    Ok(())
}
