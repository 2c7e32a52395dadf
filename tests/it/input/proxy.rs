//! A proxy in front with pooled connections, like every load balancer.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::Nginx;

use super::raw::Wire;
use super::request::Request;
use super::scene::Scene;

/// Local ports of open connections to a port of this machine.
fn connections_to(url: &str) -> Result<BTreeSet<u16>> {
    const ESTABLISHED: &str = "01";
    let (_, port) = url.rsplit_once(':').context("a port")?;
    let remote = format!("0100007F:{:04X}", port.parse::<u16>()?);
    let table = std::fs::read_to_string("/proc/net/tcp").context("the connections of this machine")?;
    let standing = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, to, state) = (words.next()?, words.next()?, words.next()?);
        (to == remote && state == ESTABLISHED).then_some(local)
    });
    standing.map(|local| Ok(u16::from_str_radix(local.split(':').nth(1).context("a port")?, 16)?)).collect()
}

#[tokio::test]
async fn a_proxy_that_keeps_its_connections_never_loses_one_between_requests() -> Result<()> {
    /// Rounds of messages, with pauses around the time-out of a header section.
    const ROUNDS: u32 = 3;
    const PAUSES: [u64; 5] = [150, 195, 200, 205, 600];
    let mut scene = Scene::start_with(&[("PUSHGRID_INGRESS__HEADER_TIMEOUT", "200ms")]).await?;
    let subscription = scene.open().await?;
    let nginx = Nginx::before(scene.server.ingress()).await?;
    let mut wire = Wire::open(nginx.url()).await?;
    let push = Request::push(&subscription, b"through a proxy")?;
    let refused = push.clone().target("/push/none");
    let mut used = BTreeSet::new();
    for pause in PAUSES.into_iter().cycle().take(PAUSES.len() * ROUNDS as usize) {
        for (request, status) in [(&push, 201), (&refused, 404)] {
            wire.send(&request.octets()).await?;
            let answer = wire.expect_answer().await?;
            ensure!(answer.status == status, "answered {}", answer.status);
        }
        scene.receives(&subscription, b"through a proxy").await?;
        used.extend(connections_to(scene.server.ingress())?);
        // The time itself is under test.
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    ensure!(used.len() == 1, "connections were closed between requests: {} were used", used.len());
    ensure!(connections_to(scene.server.ingress())? == used, "the connection was closed");
    scene.works().await
}
