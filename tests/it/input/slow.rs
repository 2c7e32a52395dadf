//! Slow clients: each is answered or closed in bounded time, and changes nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::Subscription;
use pushgrid_it::{Server, eventually};
use tokio::time::{Instant, sleep};

use super::raw::{PATIENCE, Wire};
use super::request::Request;
use super::scene::{Scene, explains};
use super::websocket::{self, Socket};

/// Time limit set by the tests.
const LIMIT: Duration = Duration::from_millis(500);

/// Time for which a connection may outlive its limit, on a busy machine.
const GRACE: Duration = Duration::from_secs(15);

/// Sends single octets until the peer closes. Returns the octets received, and the time.
async fn drip(url: &str, octets: &[u8]) -> Result<(Vec<u8>, Duration)> {
    let mut wire = Wire::open(url).await?;
    let began = Instant::now();
    let mut left = octets.iter();
    loop {
        tokio::select! {
            came = wire.end() => return Ok((came?, began.elapsed())),
            () = sleep(LIMIT / 10) => {}
        }
        if let Some(octet) = left.next() {
            wire.try_send(&[*octet]).await?;
        }
        ensure!(began.elapsed() < LIMIT + GRACE, "still open after {:?}", began.elapsed());
    }
}

// Holds: A-151.
#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_the_connection() -> Result<()> {
    let settings =
        [("PUSHGRID_INGRESS__HEADER_TIMEOUT", "500ms"), ("PUSHGRID_CONNECTION__HEADER_TIMEOUT", "500ms")];
    let mut scene = Scene::start_with(&settings).await?;
    let subscription = scene.open().await?;
    let head = Request::push(&subscription, b"slow")?.head();
    let (ingress, connection) = (scene.server.ingress().to_owned(), scene.server.connection().to_owned());
    let ends = tokio::try_join!(
        drip(&ingress, &head),
        drip(&ingress, b""),
        drip(&connection, websocket::UPGRADE),
        drip(&connection, b""),
    )?;
    for (came, took) in [ends.0, ends.1, ends.2, ends.3] {
        // The service starts its timer a little earlier.
        ensure!(took >= LIMIT / 2, "closed after {took:?}");
        let answered = came.starts_with(b"HTTP/1.1 408 ");
        ensure!(came.is_empty() || answered, "something else came: {}", came.escape_ascii());
    }
    // Between requests there is more time, until the next one begins.
    let in_time = Request::push(&subscription, b"in time")?.octets();
    let (mut idle, mut begun) = (Wire::open(&ingress).await?, Wire::open(&ingress).await?);
    for wire in [&mut idle, &mut begun] {
        wire.send(&in_time).await?;
        ensure!(wire.expect_answer().await?.status == 201, "a request in time was refused");
    }
    begun.send(&head[..20]).await?;
    ensure!(begun.end().await?.is_empty(), "half a request was answered");
    idle.send(&in_time).await?;
    ensure!(idle.expect_answer().await?.status == 201, "a request in time was refused");
    for _ in 0..3 {
        scene.receives(&subscription, b"in time").await?;
    }
    scene.works().await
}

/// Stores a message with a topic for a user agent that is away.
async fn something_waits(settings: &[(&str, &str)]) -> Result<(Scene, Subscription)> {
    let mut scene = Scene::start_with(settings).await?;
    let subscription = scene.open().await?;
    scene.go_offline().await?;
    scene.send(&Request::push(&subscription, b"waits")?.with("Topic", "kept")).await?;
    Ok((scene, subscription))
}

/// Checks that this message is still stored, and no other.
async fn it_still_waits(mut scene: Scene, subscription: &Subscription) -> Result<()> {
    scene.accepted(1).await.context("a broken request was accepted")?;
    scene.come_back().await?;
    scene.receives(subscription, b"waits").await?;
    let accounts = scene.server.settled().await?;
    ensure!(accounts.ended("delivered") == 1 && accounts.accepted == 1, "{accounts:?}");
    scene.works().await?;
    scene.calm()
}

// Holds: A-89.
#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_answered_408_and_replaces_nothing() -> Result<()> {
    let (scene, subscription) = something_waits(&[("PUSHGRID_INGRESS__BODY_TIMEOUT", "500ms")]).await?;
    let push = Request::push(&subscription, b"slow")?.with("Topic", "kept");
    for request in [push.clone(), push.chunked(1)] {
        let mut wire = Wire::open(scene.server.ingress()).await?;
        wire.send(&request.head()).await?;
        let began = Instant::now();
        let mut octets = request.body.iter().take(request.body.len() - 1);
        let answer = loop {
            tokio::select! {
                // Cancel safe: octets read stay in the connection.
                answer = wire.expect_answer() => break answer?,
                () = sleep(LIMIT / 20) => {}
            }
            if let Some(octet) = octets.next() {
                wire.try_send(&[*octet]).await?;
            }
        };
        ensure!(answer.status == 408, "answered {}", answer.status);
        ensure!(began.elapsed() >= LIMIT / 2, "after {:?}", began.elapsed());
        explains(&answer, "took too long")?;
        // The rest of the body is not the next request.
        wire.end().await?;
    }
    it_still_waits(scene, &subscription).await
}

// Holds: A-89.
#[tokio::test]
async fn a_body_that_is_cut_off_changes_nothing() -> Result<()> {
    let (scene, subscription) = something_waits(&[]).await?;
    let push = Request::push(&subscription, &[7; 1000])?.with("Topic", "kept");
    let chunked = push.clone().chunked(100);
    let bad_chunk = Request { body: b"zz\r\nnot a size\r\n".to_vec(), ..chunked.clone() };
    for request in [push, chunked, bad_chunk] {
        for count in [0, 1, request.body.len() / 2, request.body.len() - 1] {
            let mut wire = Wire::open(scene.server.ingress()).await?;
            wire.send(&[&request.head(), &request.body[..count]].concat()).await?;
            wire.finish().await?;
            let said = wire.end().await?;
            ensure!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{}", said.escape_ascii());
        }
        // The whole connection breaks.
        let mut wire = Wire::open(scene.server.ingress()).await?;
        wire.send(&[&request.head(), &request.body[..10]].concat()).await?;
    }
    it_still_waits(scene, &subscription).await
}

#[tokio::test]
async fn a_request_with_two_lengths_is_refused_and_smuggles_nothing() -> Result<()> {
    let (scene, subscription) = something_waits(&[]).await?;
    let inner = Request::push(&subscription, b"smuggled")?.with("Topic", "kept");
    // If the outer request ended without a body, the inner one would be a request of its own.
    let outer = Request::push(&subscription, b"outer")?.with_body(inner.octets());
    let length = outer.body.len().to_string();
    let bent = [
        outer.clone().with("Content-Length", "0"),
        outer.clone().instead("Content-Length", "0").with("Content-Length", &length),
        outer.clone().instead("Content-Length", &format!("0, {length}")),
        outer.clone().instead("Content-Length", "+0"),
        outer.clone().instead("Content-Length", "0x0"),
        outer.clone().with("Transfer-Encoding", "chunked"),
        outer.clone().with("Transfer-Encoding", "identity"),
        outer.with("Transfer-Encoding", "chunked, gzip"),
    ];
    for request in bent {
        let mut wire = Wire::open(scene.server.ingress()).await?;
        wire.try_send(&request.octets()).await?;
        let mut answers = Vec::new();
        while let Some(answer) = wire.answer().await? {
            answers.push(answer.status);
        }
        ensure!(
            answers.iter().all(|status| (400..500).contains(status)),
            "{answers:?}: {:?}",
            request.fields
        );
        ensure!(answers.len() <= 1, "two requests were seen: {answers:?}: {:?}", request.fields);
    }
    it_still_waits(scene, &subscription).await
}

#[tokio::test]
async fn answers_that_nobody_reads_pile_up_nowhere() -> Result<()> {
    const GROWTH: f64 = 64.0 * 1024.0 * 1024.0;
    let (mut scene, subscription) = something_waits(&[]).await?;
    let before = scene.resident().await?;
    // Each answer is several times as long as its request.
    let unread = Request::new("GET", "/").octets().repeat(1_000_000);
    let mut ingress = Wire::open(scene.server.ingress()).await?;
    let mut connection = Wire::open(scene.server.connection()).await?;
    let taken = tokio::try_join!(ingress.press(&unread, LIMIT * 4), connection.press(&unread, LIMIT * 4))?;
    ensure!(taken == (false, false), "all was taken: {taken:?}");
    let growth = scene.resident().await? - before;
    ensure!(growth < GROWTH, "the process has grown by {growth} octets");
    scene.come_back().await?;
    scene.receives(&subscription, b"waits").await?;
    scene.works().await
}

#[tokio::test]
async fn a_user_agent_that_does_not_read_is_cut_off_and_gets_its_messages_later() -> Result<()> {
    /// More than the buffers of two sockets hold: each message is 5.5 kB on the wire.
    const COUNT: u64 = 1500;
    let settings = [
        ("PUSHGRID_CONNECTION__WRITE_TIMEOUT", "1s"),
        ("PUSHGRID_CONNECTION__QUEUE_MESSAGES", "4000"),
        ("PUSHGRID_CONNECTION__QUEUE_OCTETS", "64MiB"),
        ("PUSHGRID_ROUTER__WINDOW", "2000"),
        ("PUSHGRID_INGRESS__RATE", "0"),
    ];
    let mut scene = Scene::start_with(&settings).await?;
    let subscription = scene.open().await?;
    scene.go_offline().await?;
    let _deaf = Socket::open(scene.server.connection(), Some(scene.id())).await?;
    let push = Request::push(&subscription, &[7; 3993])?.octets();
    let mut wire = Wire::open(scene.server.ingress()).await?;
    for _ in 0..COUNT {
        wire.send(&push).await?;
        ensure!(wire.expect_answer().await?.status == 201, "a message was refused");
    }
    cut_off(&scene.server).await?;
    scene.come_back().await?;
    let mut versions = std::collections::HashSet::new();
    while versions.len() < usize::try_from(COUNT)? {
        versions.insert(scene.notification().await?.version);
    }
    let accounts = scene.server.settled().await?;
    ensure!(accounts.accepted == COUNT && accounts.ended("delivered") == COUNT, "{accounts:?}");
    scene.works().await
}

async fn cut_off(server: &Server) -> Result<()> {
    eventually(PATIENCE, "the user agent that does not read is cut off", async || {
        let metrics = server.metrics().await?;
        let slow = metrics.sum("pushgrid_connection_closed_total", &[("reason", "slow")]);
        Ok((slow.context("the metric is missing")? >= 1.0).then_some(()))
    })
    .await
}
