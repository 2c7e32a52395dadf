//! A user agent that moves from node to node.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pushgrid_client::{Event, UserAgent, codes};
use pushgrid_it::Shape;
use pushgrid_types::{ChannelId, SystemRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::load::Load;
use super::{shared, url};
use crate::wire::party::{Channel, SOON};

const MOVES: usize = 20;

/// Pause between moves: all take ten seconds.
const EVERY: Duration = Duration::from_millis(500);

/// Messages received on one socket, and the way of its close.
struct Got {
    numbers: Vec<usize>,
    closed: Option<(u16, String)>,
}

/// Takes and acknowledges until the service closes the socket, or the test ends.
fn listen(mut socket: UserAgent, mut done: watch::Receiver<bool>) -> JoinHandle<Result<Got>> {
    tokio::spawn(async move {
        let mut numbers = Vec::new();
        loop {
            let event = tokio::select! {
                event = socket.next_within(SOON) => event?.context("nothing came, and it was not closed")?,
                _ = done.wait_for(|done| *done) => return Ok(Got { numbers, closed: None }),
            };
            match event {
                Event::Notification(notification) => {
                    let text = String::from_utf8(notification.data.clone().unwrap_or_default().to_vec())?;
                    numbers.push(text.parse().context("a message of this test")?);
                    // The service may already be closing the socket.
                    let _ = socket.ack(&[notification.ack(codes::DELIVERED)]).await;
                }
                Event::Closed { code: Some(code), reason } => {
                    return Ok(Got { numbers, closed: Some((code, reason)) });
                }
                other => bail!("neither a message nor the end: {other:?}"),
            }
        }
    })
}

// Holds, H-20.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_agent_that_moves_twenty_times_in_ten_seconds_gets_each_message_and_loses_each_old_socket()
-> Result<()> {
    let shape = Shape { ingress: 1, router: 2, connection: 3 };
    let (grid, _turn) = shared(shape, &[]).await?;
    let mut socket = UserAgent::connect(url(&grid.connection[0])).await?;
    let id = socket.hello(None).await?.user_agent;
    let channel = ChannelId::random(&SystemRng);
    let endpoint = socket.register(channel, None).await?;
    let channels = [Channel { id: channel, endpoint }];
    let load = Load::start(&grid.ingress[0], &channels, 1, Duration::from_millis(20))?;

    let (done, told) = watch::channel(false);
    let (mut left, mut ticks, began) = (Vec::new(), interval(EVERY), Instant::now());
    ticks.tick().await;
    for round in 1..=MOVES {
        ticks.tick().await;
        // The old socket stays open and is read until the service closes it.
        left.push(listen(socket, told.clone()));
        socket = UserAgent::connect(url(&grid.connection[round % shape.connection])).await?;
        let known = socket.hello(Some(id)).await.with_context(|| format!("move {round}"))?.user_agent;
        ensure!(known == id, "the service has forgotten its user agent in move {round}");
    }
    let took = began.elapsed();
    ensure!(took < EVERY * 25, "{MOVES} moves took {took:?}");
    let last = listen(socket, told);
    let sent = load.stop().await?[0];
    ensure!(sent > 100, "only {sent} messages were sent");

    let mut got: BTreeSet<usize> = BTreeSet::new();
    for (number, old) in left.into_iter().enumerate() {
        let old = old.await?.with_context(|| format!("the socket before move {}", number + 1))?;
        got.extend(old.numbers);
        let (code, reason) = old.closed.context("it was not closed")?;
        ensure!(code == 1008 && reason.contains("connected again"), "closed with {code} {reason:?}");
    }
    // Messages acknowledged on a closing socket are redelivered on the last one.
    let accounts = grid.settled().await?;
    done.send_replace(true);
    got.extend(last.await??.numbers);
    let missing: Vec<usize> = (0..sent).filter(|number| !got.contains(number)).collect();
    ensure!(missing.is_empty(), "of {sent} messages these did not come: {missing:?}");
    let sent = u64::try_from(sent)?;
    ensure!(accounts.accepted == sent && accounts.ended("delivered") == sent, "{sent}: {accounts:?}");
    Ok(())
}
