//! The state of an HTTP/1.1 connection after an answer that did not need its request: on every listener.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::Subscription;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::SystemRng;

use super::raw::{Answer, Wire};
use super::request::Request;
use super::scene::Scene;
use super::websocket::UPGRADE;

/// Pause between two segments, in which the service answers a head, unless it waits for the body.
const BETWEEN: Duration = Duration::from_millis(20);

/// Sends the head, and later the body in two segments.
async fn in_segments(wire: &mut Wire, request: &Request) -> Result<Answer> {
    let (first, second) = request.body.split_at(request.body.len() / 2);
    for octets in [&request.head(), first, second] {
        wire.send(octets).await?;
        tokio::time::sleep(BETWEEN).await;
    }
    wire.expect_answer().await
}

/// Checks the status, and that the connection stays open.
fn goes_on(answer: &Answer, status: u16) -> Result<()> {
    ensure!(answer.status == status, "answered {} and not {status}", answer.status);
    ensure!(answer.fields.get("connection").is_none(), "{:?}", answer.fields);
    Ok(())
}

/// Checks that after a refusal, with a length or in chunks, a message is accepted on the same connection.
async fn survives(scene: &mut Scene, what: &Request, status: u16, valid: &Subscription) -> Result<()> {
    let mut wire = Wire::open(scene.server.ingress()).await?;
    let refused = [what.clone(), what.clone().chunked(1000)];
    for request in refused {
        goes_on(&in_segments(&mut wire, &request).await?, status)?;
        let answer = in_segments(&mut wire, &Request::push(valid, b"the next one")?).await?;
        goes_on(&answer, 201)?;
        scene.receives(valid, b"the next one").await?;
    }
    // Without waiting for an answer.
    let next = Request::push(valid, b"right behind")?;
    wire.send(&[what.octets(), next.octets()].concat()).await?;
    goes_on(&wire.expect_answer().await?, status)?;
    goes_on(&wire.expect_answer().await?, 201)?;
    scene.receives(valid, b"right behind").await
}

#[tokio::test]
async fn every_refusal_leaves_its_connection_usable() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let valid = scene.open().await?;
    let key = KeyPair::generate(&SystemRng);
    let (restricted, ended) = (scene.restricted(&key.public()).await?, scene.ended(None).await?);
    let push = Request::push(&valid, &[7; 3000])?;
    let refusals = [
        ("no endpoint", push.clone().target("/push/none"), 404),
        ("no route", push.clone().target("/none"), 404),
        ("ended", Request::push(&ended, b"gone")?, 404),
        ("no key", Request::push(&restricted, b"unsigned")?, 401),
        ("a bad key", push.clone().with("Authorization", "vapid t=x, k=y"), 403),
        ("no TTL", push.clone().without("TTL"), 400),
        ("no encoding", push.clone().without("Content-Encoding"), 400),
        ("no host", push.clone().without("Host"), 400),
        ("too large", push.clone().with_body(vec![7; 20_000]), 413),
        ("a method", push.clone().method("PUT"), 405),
        ("no message", push.clone().method("DELETE").target("/m/none"), 404),
    ];
    for (what, request, status) in refusals {
        survives(&mut scene, &request, status, &valid).await.context(what)?;
    }
    scene.works().await?;
    scene.calm()
}

#[tokio::test]
async fn who_is_too_fast_may_use_the_connection_again() -> Result<()> {
    let settings = [("PUSHGRID_INGRESS__RATE", "1"), ("PUSHGRID_INGRESS__BURST", "1")];
    let mut scene = Scene::start_with(&settings).await?;
    let push = Request::push(&scene.open().await?, &[7; 3000])?;
    let mut wire = Wire::open(scene.server.ingress()).await?;
    let mut statuses = [0, 0];
    while statuses[1] < 3 {
        let answer = in_segments(&mut wire, &push).await?;
        goes_on(&answer, if answer.status == 201 { 201 } else { 429 })?;
        statuses[usize::from(answer.status != 201)] += 1;
        ensure!(statuses[0] < 50, "none was too fast: {statuses:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_to_its_end_is_refused_with_a_word_and_readable() -> Result<()> {
    let mut scene = Scene::start_with(&[("PUSHGRID_INGRESS__BODY_TIMEOUT", "500ms")]).await?;
    let push = Request::push(&scene.open().await?, b"held back")?;
    let large = push.clone().with_body(vec![7; 500_000]);
    let asking = push.clone().with("Expect", "100-continue").target("/push/none");
    let cases = [
        ("too large", large.octets(), 413),
        ("not asked for", asking.head(), 404),
        ("asked for and too large", large.with("Expect", "100-continue").head(), 413),
        ("refused and not sent", push.clone().target("/push/none").head(), 404),
        ("not sent", push.head(), 408),
    ];
    for (what, octets, status) in cases {
        let mut wire = Wire::open(scene.server.ingress()).await?;
        wire.send(&octets).await.context(what)?;
        let answer = wire.expect_answer().await.context(what)?;
        ensure!(answer.status == status, "{what}: answered {}", answer.status);
        ensure!(answer.field("connection") == Some("close"), "{what}: {:?}", answer.fields);
        // No reset while the client still sends.
        wire.send(b"more").await.context(what)?;
        wire.finish().await?;
        ensure!(wire.end().await?.is_empty(), "{what}: more came");
    }
    scene.works().await
}

#[tokio::test]
async fn every_listener_leaves_the_connection_usable_and_wants_one_host() -> Result<()> {
    let scene = Scene::start_with(&[]).await?;
    for (name, url) in scene.server.listeners() {
        // Answer of each listener to a valid request.
        let (target, status) = match name {
            "ingress" => ("/push/none", 405),
            "connection" => ("/", 426),
            "admin" => ("/healthz", 200),
            // gRPC listeners have no clients of other makers.
            _ => continue,
        };
        let mut wire = Wire::open(&url).await?;
        let fine = Request::new("GET", target);
        let unwanted = Request::new("POST", "/none").with_body(vec![7; 3000]);
        for request in [unwanted.clone(), unwanted.clone().chunked(100)] {
            goes_on(&in_segments(&mut wire, &request).await.context(name)?, 404).context(name)?;
            wire.send(&fine.octets()).await?;
            goes_on_as_before(&wire.expect_answer().await?, status).context(name)?;
        }
        for hosts in [&[][..], &["a", "a"], &["a", "b"], &["a b"], &["a:b"], &["user@a"], &[""]] {
            let bent = hosts.iter().fold(fine.clone().without("Host"), |it, host| it.with("Host", host));
            wire.send(&bent.octets()).await?;
            let answer = wire.expect_answer().await?;
            ensure!(answer.status == 400, "{name}: {hosts:?} was answered {}", answer.status);
        }
        wire.send(&[b"GET ", target.as_bytes(), b" HTTP/1.0\r\n\r\n"].concat()).await?;
        let answer = wire.expect_answer().await?;
        ensure!(answer.status == status, "{name}: HTTP/1.0 was answered {}", answer.status);
    }
    // A handshake is a request.
    let mut wire = Wire::open(scene.server.connection()).await?;
    let handshake = String::from_utf8(UPGRADE.to_vec())?;
    for line in ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n"] {
        wire.send(handshake.replace("Host: localhost\r\n", line).as_bytes()).await?;
        let answer = wire.expect_answer().await?;
        ensure!(answer.status == 400, "{line:?} was answered {}", answer.status);
    }
    for (field, body) in [("Transfer-Encoding: chunked", "no chunk"), ("Content-Length: 4", "some")] {
        let mut wire = Wire::open(scene.server.connection()).await?;
        let bent = handshake.replace("\r\n\r\n", &format!("\r\n{field}\r\nConnection: close\r\n\r\n{body}"));
        wire.send(bent.as_bytes()).await?;
        let answer = wire.expect_answer().await?;
        ensure!(answer.status == 400, "{field} was answered {}", answer.status);
        let more = wire.end().await?;
        ensure!(more.is_empty(), "{field}: {} came after the refusal", more.escape_ascii());
    }
    let lists = "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: foo, websocket\r\n";
    let lines = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    wire.send(handshake.replace(lines, lists).as_bytes()).await?;
    let answer = wire.expect_answer().await?;
    ensure!(answer.status == 101, "lists of several were answered {}", answer.status);
    Ok(())
}

/// As [`goes_on`], for answers with a `Connection` field of their own.
fn goes_on_as_before(answer: &Answer, status: u16) -> Result<()> {
    ensure!(answer.status == status, "answered {} and not {status}", answer.status);
    ensure!(answer.field("connection") != Some("close"), "{:?}", answer.fields);
    Ok(())
}
