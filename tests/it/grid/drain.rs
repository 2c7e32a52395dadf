//! Parts of the grid are stopped (promise P7): their work is handed over, and no client is refused.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use pushgrid_client::Event;
use pushgrid_it::{Shape, eventually};
use tokio::task::JoinHandle;

use super::load::{Listeners, Load, agents};
use super::{shared, url};
use crate::input::raw::Wire;
use crate::input::request::Request;
use crate::wire::party::{Agent, Application, SOON, bodies};

const SOCKETS: usize = 200;

/// Time over which a node closes its sockets.
const DRAIN: Duration = Duration::from_secs(3);

/// Waits for the close of a user agent's connection, without acknowledging; returns its time and code.
fn closed(mut agent: Agent, since: Instant) -> JoinHandle<Result<(Agent, Duration, u16)>> {
    tokio::spawn(async move {
        loop {
            match agent.event().await? {
                Event::Notification(_) => {}
                Event::Closed { code: Some(code), .. } => return Ok((agent, since.elapsed(), code)),
                other => bail!("{other:?} came"),
            }
        }
    })
}

// Holds: A-114, H-26.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_closes_its_sockets_one_after_another_and_nothing_is_lost() -> Result<()> {
    let settings = [("PUSHGRID_CONNECTION__DRAIN", "3s")];
    let (mut grid, _turn) = shared(Shape { ingress: 1, router: 1, connection: 2 }, &settings).await?;
    let (agents, channels) = agents(SOCKETS, &grid.connection[0]).await?;
    let app = Application::new();
    // Each socket has one unacknowledged message when the node is stopped; one more is sent meanwhile.
    for channel in &channels {
        app.send(&channel.endpoint, "before").await?;
    }
    let began = Instant::now();
    let waiting: Vec<_> = agents.into_iter().map(|agent| closed(agent, began)).collect();
    let meanwhile = async {
        for channel in &channels {
            app.send(&channel.endpoint, "meanwhile").await?;
        }
        Ok(())
    };
    tokio::try_join!(grid.connection[0].stop(), meanwhile)?;
    let took = began.elapsed();
    ensure!(took < DRAIN + SOON, "the drain took {took:?}");

    let mut times = Vec::new();
    let other = url(&grid.connection[1]).to_owned();
    for ended in waiting {
        let (mut agent, at, code) = ended.await??;
        ensure!(matches!(code, 1001 | 1012), "closed with {code}");
        times.push(at);
        agent.come_back_to(&other).await?;
        let got = bodies(&agent.take_all(2).await?);
        ensure!(got == ["before", "meanwhile"], "{got:?} came");
        agent.leave().await?;
    }
    are_spread(times)?;
    let accounts = grid.settled().await?;
    ensure!(accounts.ended("delivered") == 2 * SOCKETS as u64, "{accounts:?}");
    Ok(())
}

/// Checks that the closes span more than half of the drain, and that fewer than a quarter of all are in any tenth of
/// it.
fn are_spread(mut times: Vec<Duration>) -> Result<()> {
    times.sort_unstable();
    let (first, last) = (times[0], times[times.len() - 1]);
    ensure!(last > first + DRAIN / 2, "all were closed from {first:?} to {last:?}");
    let most =
        times.iter().map(|from| times.iter().filter(|at| (*from..*from + DRAIN / 10).contains(at)).count());
    let most = most.max().context("there are sockets")?;
    ensure!(most < SOCKETS / 4, "{most} of {SOCKETS} were closed in {:?}", DRAIN / 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_ends_under_load_hands_its_partitions_over_and_no_application_server_notices()
-> Result<()> {
    let (mut grid, _turn) = shared(Shape { ingress: 1, router: 2, connection: 1 }, &[]).await?;
    let (agents, channels) = agents(20, &grid.connection[0]).await?;
    let listeners = Listeners::start(agents);
    let load = Load::start(&grid.ingress[0], &channels, 4, Duration::from_millis(20))?;
    // Some messages were delivered by the router that ends, and some by the other.
    listeners.get_more(2).await?;
    grid.router[0].stop().await?;
    listeners.get_more(2).await?;
    listeners.finish(&grid, &load.stop().await?).await
}

// Holds: A-136.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_that_ends_answers_the_requests_that_are_under_way() -> Result<()> {
    const REQUESTS: usize = 50;
    let (mut grid, _turn) = shared(Shape { ingress: 2, router: 1, connection: 1 }, &[]).await?;
    let mut agent = Agent::new(url(&grid.connection[0])).await?;
    let channel = agent.subscribe().await?;
    let target = &channel.endpoint[channel.endpoint.find("/push/").context("the path of an endpoint")?..];
    let request = Request::new("POST", target).with("TTL", "60").with("Content-Encoding", "aes128gcm");
    let request = request.with_body("under way").with("Expect", "100-continue");
    let mut wires = Vec::new();
    for _ in 0..REQUESTS {
        let mut wire = Wire::open(grid.ingress[0].url("ingress")).await?;
        wire.send(&request.head()).await?;
        // The ingress waits for the body now.
        let status = wire.expect_answer().await?.status;
        ensure!(status == 100, "answered {status} before the body");
        wires.push(wire);
    }
    grid.ingress[0].terminate()?;
    eventually(SOON, "the ingress takes nothing new", async || {
        let ready = grid.ingress[0].get("/readyz").await.map(|(status, _)| status);
        Ok((!matches!(ready, Ok(200))).then_some(()))
    })
    .await?;
    for wire in &mut wires {
        wire.send(&request.body).await?;
        let status = wire.expect_answer().await?.status;
        ensure!(status == 201, "a request that was under way was answered {status}");
    }
    grid.ingress[0].ended().await?;
    // The other ingress goes on.
    Application::new()
        .send(&super::at(grid.ingress[1].url("ingress"), &channel.endpoint)?, "the other")
        .await?;
    let got = bodies(&agent.take_all(REQUESTS + 1).await?);
    ensure!(
        got[..REQUESTS].iter().all(|body| body == "under way") && got[REQUESTS] == "the other",
        "{got:?} came"
    );
    let accounts = grid.settled().await?;
    let all = REQUESTS as u64 + 1;
    ensure!(accounts.accepted == all && accounts.ended("delivered") == all, "{all}: {accounts:?}");
    Ok(())
}
