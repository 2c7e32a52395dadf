//! Clients that hold on to a stopping service: the process ends cleanly and in time.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::raw::Wire;
use super::request::Request;
use super::scene::{Scene, calm};
use super::websocket::{self, Socket, UPGRADE};

/// Deadline of a stop: supervisors give 10 s at least (`docker stop`).
const END: Duration = Duration::from_secs(8);

/// An HTTP/2 client without a request: preface and settings.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// `POST /push/x` for the authority `localhost`, in HTTP/2, without an end of the stream.
fn http2_request() -> Vec<u8> {
    let fields = [&[0x83, 0x86, 0x44, 7][..], b"/push/x", &[0x41, 9], b"localhost"].concat();
    let length = u8::try_from(fields.len()).expect("a few");
    [HTTP2, &[0, 0, length, 1, 4, 0, 0, 0, 1], &fields].concat()
}

/// Unfinished requests at the time of the stop.
fn unfinished() -> Vec<Vec<u8>> {
    let post = Request::new("POST", "/push/none").with_body(vec![7; 1000]);
    let chunked = post.clone().chunked(100);
    let idle = Request::new("GET", "/none").octets();
    vec![
        Vec::new(),
        b"PRI * HT".to_vec(),
        b"POST /pu".to_vec(),
        post.head()[..30].to_vec(),
        [idle.clone(), b"GET / HT".to_vec()].concat(),
        idle,
        post.head(),
        [post.head(), b"half".to_vec()].concat(),
        [chunked.head(), chunked.body[..50].to_vec()].concat(),
        HTTP2.to_vec(),
        http2_request(),
    ]
}

#[tokio::test]
async fn clients_that_do_not_finish_do_not_hold_a_stop_up() -> Result<()> {
    let mut scene = Scene::start_with(&[("PUSHGRID_CONNECTION__DRAIN", "1s")]).await?;
    let subscription = scene.open().await?;
    let push = Request::push(&subscription, &[7; 1000])?;
    let chunked = push.clone().chunked(100);
    scene.go_offline().await?;
    let mut clients = Vec::new();
    for (_, url) in scene.server.listeners() {
        for octets in unfinished() {
            let mut wire = Wire::open(&url).await?;
            wire.send(&octets).await?;
            clients.push(wire);
        }
    }
    for octets in [
        push.head(),
        [push.head(), push.body[..500].to_vec()].concat(),
        [chunked.head(), chunked.body[..50].to_vec()].concat(),
        push.clone().with("Expect", "100-continue").head(),
    ] {
        let mut wire = Wire::open(scene.server.ingress()).await?;
        wire.send(&octets).await?;
        clients.push(wire);
    }
    let half_frame = websocket::text(b"{\"messageType\":\"hello\"}");
    for octets in [UPGRADE[..50].to_vec(), UPGRADE.to_vec(), [UPGRADE, &half_frame[..9]].concat()] {
        let mut wire = Wire::open(scene.server.connection()).await?;
        wire.send(&octets).await?;
        clients.push(wire);
    }
    // A user agent that is connected, has a message, and never reads again.
    let silent = Socket::open(scene.server.connection(), Some(scene.id())).await?;
    let mut wire = Wire::open(scene.server.ingress()).await?;
    wire.send(&push.octets()).await?;
    let answer = wire.expect_answer().await?;
    anyhow::ensure!(answer.status == 201, "answered {}", answer.status);
    scene.server.stop_within(END).await.context("clients held it up")?;
    drop((clients, silent));
    calm(&scene.server)?;
    // No accepted message is lost.
    scene.server.start_again().await?;
    scene.come_back().await?;
    scene.receives(&subscription, &[7; 1000]).await
}
