//! The edge for application servers, as HTTP: both versions, unusual senders, and the needs of browsers.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pushgrid_it::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::party::{MINUTE, SOON, bodies, body};
use super::scene::Scene;

/// Opens a TCP connection to the ingress.
async fn dial(scene: &Scene) -> Result<TcpStream> {
    let address = scene.server().ingress().strip_prefix("http://").context("it speaks HTTP")?;
    Ok(TcpStream::connect(address).await?)
}

/// Head of an HTTP/1.1 request for a message of one minute, without the empty line at its end.
fn head(endpoint: &str, fields: &str) -> Result<String> {
    let url: http::Uri = endpoint.parse()?;
    let host = url.authority().context("an endpoint is absolute")?;
    let path = url.path();
    Ok(format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\nConnection: close\r\n{fields}"
    ))
}

/// Reads until the service closes the connection.
async fn rest(mut connection: TcpStream) -> Result<String> {
    let mut answer = Vec::new();
    within(SOON, "an answer", connection.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8(answer)?)
}

/// Opens an HTTP/2 connection with prior knowledge, without TLS.
async fn http2(scene: &Scene) -> Result<SendRequest<Full<Bytes>>> {
    let io = TokioIo::new(dial(scene).await?);
    let (requests, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    Ok(requests)
}

async fn post_http2(
    requests: &mut SendRequest<Full<Bytes>>,
    endpoint: &str,
    text: &str,
) -> Result<Response<Incoming>> {
    let request = Request::post(endpoint).header("ttl", "60").header("content-encoding", "aes128gcm");
    let request = request.body(Full::new(Bytes::from(text.to_owned())))?;
    Ok(within(SOON, "an answer", requests.send_request(request)).await??)
}

#[tokio::test]
async fn http2_with_prior_knowledge_works_and_carries_many_posts_at_once() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let requests = http2(&scene).await?;
    let texts: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let posts = texts.iter().map(|text| {
        let (mut requests, endpoint) = (requests.clone(), channel.endpoint.clone());
        async move { post_http2(&mut requests, &endpoint, text).await }
    });
    for response in try_join_all(posts).await? {
        ensure!(response.status() == StatusCode::CREATED, "{response:?}");
        ensure!(response.headers().contains_key("location"), "{response:?}");
    }
    let got: BTreeSet<String> = bodies(&agent.take_all(texts.len()).await?).into_iter().collect();
    ensure!(got == texts.into_iter().collect(), "{got:?}");
    scene.end().await
}

// Holds: A-28.
#[tokio::test]
async fn http1_works_with_a_body_in_odd_chunks() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let mut connection = dial(&scene).await?;
    let head = head(&channel.endpoint, "Transfer-Encoding: chunked\r\n\r\n")?;
    for piece in [head.as_str(), "1\r\na\r\n", "A;x=y\r\nbcdefghijk", "\r\n", "003\r\nlmn\r\n0\r\n", "\r\n"] {
        connection.write_all(piece.as_bytes()).await?;
        connection.flush().await?;
    }
    let answer = rest(connection).await?;
    ensure!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    ensure!(body(&agent.take().await?) == "abcdefghijklmn");
    scene.end().await
}

// Holds: A-36.
#[tokio::test]
async fn a_sender_that_asks_before_it_sends_a_body_is_told_to_go_on() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let mut connection = dial(&scene).await?;
    let head = head(&channel.endpoint, "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")?;
    connection.write_all(head.as_bytes()).await?;
    let mut interim = [0; 25];
    within(SOON, "100 Continue", connection.read_exact(&mut interim)).await??;
    ensure!(interim == *b"HTTP/1.1 100 Continue\r\n\r\n", "{}", String::from_utf8_lossy(&interim));
    connection.write_all(b"hello").await?;
    let answer = rest(connection).await?;
    ensure!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    ensure!(body(&agent.take().await?) == "hello");
    scene.end().await
}

// Holds.
#[tokio::test]
async fn a_sender_that_asks_before_it_sends_too_much_is_refused_at_once() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let mut connection = dial(&scene).await?;
    let head = head(&channel.endpoint, "Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n")?;
    connection.write_all(head.as_bytes()).await?;
    let answer = rest(connection).await?;
    ensure!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    scene.end().await
}

// Holds, I-18.
#[tokio::test]
async fn each_message_has_an_absolute_address_of_its_own() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let origin = channel.endpoint.split("/push/").next().unwrap_or_default();
    let mut locations = BTreeSet::new();
    for _ in 0..100 {
        let location = scene.send(&channel.endpoint, "x").await?;
        ensure!(location.starts_with(&format!("{origin}/m/")), "not absolute, or not of this service");
        ensure!(locations.insert(location), "an address came twice");
    }
    agent.take_all(100).await?;
    scene.end().await
}

// Holds: A-35, G-03.
#[tokio::test]
async fn nothing_is_ever_answered_with_a_redirection() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let origin = channel.endpoint.split("/push/").next().unwrap_or_default();
    for url in [
        format!("{}/", channel.endpoint),
        channel.endpoint.replace("/push/", "/push//"),
        channel.endpoint.replace("/push/", "//push/"),
        channel.endpoint.replace("/push/", "/PUSH/"),
        format!("{origin}/push"),
        format!("{origin}/push/"),
        format!("{origin}/m/"),
        format!("{origin}/"),
    ] {
        let status = scene.post(&url, MINUTE, "x").await?.status;
        ensure!(matches!(status, 201 | 404 | 405), "{} was answered {status}", url.len());
    }
    scene.end().await
}

// Holds: A-149.
#[tokio::test]
async fn a_page_of_any_origin_may_post_and_delete_and_read_the_answer() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let origin = ("origin", "https://app.example.com");
    for method in ["POST", "DELETE"] {
        let preflight = Request::builder()
            .method(Method::OPTIONS)
            .uri(&channel.endpoint)
            .header(origin.0, origin.1)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "authorization,content-encoding,topic,ttl,urgency")
            .body(Bytes::new())?;
        let answer = scene.inner().request(preflight).await?;
        ensure!((200..300).contains(&answer.status), "a preflight was answered {}", answer.status);
        ensure!(answer.header("access-control-allow-origin") == Some("*"));
        let listed = |field| answer.header(field).unwrap_or_default().to_lowercase();
        ensure!(listed("access-control-allow-methods").contains(&method.to_lowercase()));
        for field in ["authorization", "content-encoding", "topic", "ttl", "urgency"] {
            ensure!(listed("access-control-allow-headers").contains(field), "{field} is not allowed");
        }
    }
    let accepted = scene.post(&channel.endpoint, &[("ttl", "60"), origin], "x").await?;
    let refused = scene.post(&channel.endpoint, &[origin], "x").await?;
    ensure!((accepted.status, refused.status) == (201, 400));
    for answer in [accepted, refused] {
        ensure!(answer.header("access-control-allow-origin") == Some("*"));
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_lowercase();
        for field in ["location", "ttl", "link", "retry-after"] {
            ensure!(exposed.split(',').any(|it| it.trim() == field), "{field} is not exposed: {exposed}");
        }
    }
    scene.end().await
}

// Holds: A-34, D-24.
#[tokio::test]
async fn what_a_sender_accepts_and_calls_its_body_is_its_own_affair() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let fields = [("ttl", "60"), ("accept", "image/png"), ("content-type", "application/notification+json")];
    scene.accepted(&channel.endpoint, &fields, "x").await?;
    agent.take().await?;
    scene.end().await
}
