//! Idle sockets cause no traffic to Redis or Kafka.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use pushgrid_it::{Redis, Shape};
use tokio::time::sleep;

use super::{Own, url};
use crate::wire::party::Agent;

const SOCKETS: usize = 300;

/// Time of a measurement: several renewals of a lease.
const LOOK: Duration = Duration::from_secs(6);

/// Tolerance of scripts between two measurements without load: each process renews its lease and each partition is
/// swept about once a second, and a measurement begins at any point of that.
const CHANCE: u64 = 10;

/// Tolerance of octets: much less than one small question of each socket.
const CHANCE_OCTETS: u64 = 6000;

/// Measurement of Kafka and Redis.
#[derive(Debug)]
struct Seen {
    scripts: u64,
    asked: u64,
    written: u64,
}

/// Measures the traffic to Redis and Kafka for [`LOOK`].
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
    // Once this is through, all work caused by connecting has ended.
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
