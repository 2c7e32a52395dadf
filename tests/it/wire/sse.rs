//! User agents over HTTP, without a WebSocket: subscriptions, streams of events, acknowledgements (RFC 8030 sections 4,
//! 6 and 7.3).

mod reader;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_it::{Server, within};
use pushgrid_types::SystemRng;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::party::{Application, MINUTE, SOON, signature};
use super::scene::Scene;
use reader::Event;

pub(crate) use reader::{NO_WAIT, Subscription, ask, origin};

const OPTIONS: (&str, &str) = ("content-type", "application/webpush-options+json");

async fn subscribe(scene: &Scene) -> Result<Subscription> {
    Subscription::new(scene.server().connection()).await
}

/// Body of a message, as text.
pub(crate) fn body(event: &Event) -> Result<String> {
    let data = event.data["data"].as_str().context("a message with a body has data")?;
    Ok(String::from_utf8(URL_SAFE_NO_PAD.decode(data)?)?)
}

/// Paths of the messages that wait for the subscription at `path`.
pub(crate) async fn waiting_at(url: &str, path: &str) -> Result<Vec<String>> {
    let answer = ask(Method::GET, &format!("{}{path}", origin(url)), NO_WAIT, "").await?;
    ensure!(answer.status == 200, "answered {}", answer.status);
    let text = String::from_utf8(answer.body.to_vec())?;
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| {
        let data: Value = serde_json::from_str(data)?;
        Ok(data["message"].as_str().context("a message has an address")?.to_owned())
    })
    .collect()
}

pub(crate) fn bodies(events: &[Event]) -> Result<Vec<String>> {
    events.iter().map(body).collect()
}

// Holds.
#[tokio::test]
async fn each_subscription_has_addresses_of_its_own_and_each_address_does_one_thing() -> Result<()> {
    let scene = Scene::shared().await?;
    let (mut subscriptions, mut addresses) = (Vec::new(), BTreeSet::new());
    for _ in 0..10 {
        let one = subscribe(&scene).await?;
        ensure!(one.path.starts_with("/s/"), "not a subscription");
        ensure!(addresses.insert(one.path.clone()) && addresses.insert(one.endpoint.clone()));
        subscriptions.push(one);
    }
    let one = &subscriptions[0];
    scene.send(&one.endpoint, "kept").await?;
    let event = one.waiting().await?.pop().context("nothing waits")?;
    let message =
        format!("{}{}", origin(scene.server().connection()), event.data["message"].as_str().unwrap_or("?"));
    let service = origin(scene.server().connection());
    for (method, url) in [
        (Method::GET, &one.endpoint),
        (Method::DELETE, &one.endpoint),
        (Method::POST, &one.url()),
        (Method::PUT, &one.url()),
        (Method::POST, &message),
        (Method::PUT, &message),
        (Method::POST, &format!("{service}{}", one.set)),
        (Method::GET, &format!("{service}/subscribe")),
    ] {
        let answer = ask(method.clone(), url, &[], "").await?;
        ensure!(answer.status == 405, "{method} was answered {}", answer.status);
        ensure!(answer.header("allow").is_some(), "{method} without Allow");
    }
    // The address of a message for its user agent is none for an application server, and none of a subscription.
    let last =
        event.data["message"].as_str().and_then(|path| path.strip_prefix("/r/")).context("no address")?;
    for url in [
        format!("{service}/s/{last}"),
        format!("{service}/r/{}", &one.path[3..]),
        format!("{service}/r/x"),
        format!("{service}/set/{}", &one.path[3..]),
        format!("{service}/s/{}", &one.set[5..]),
        format!("{service}/set/x"),
    ] {
        ensure!(ask(Method::DELETE, &url, &[], "").await?.status == 404);
    }
    let ingress = one.endpoint.split("/push/").next().unwrap_or_default();
    ensure!(scene.cancel(&format!("{ingress}/m/{last}")).await? == 404);
    ensure!(bodies(&one.waiting().await?)? == ["kept"], "nothing was changed");
    ensure!(one.ack(&event).await? == 204);
    scene.end().await
}

// Holds, G-14.
#[tokio::test]
async fn messages_come_as_events_until_they_are_acknowledged() -> Result<()> {
    let scene = Scene::alone().await?;
    let to = subscribe(&scene).await?;
    scene.send(&to.endpoint, "before").await?;
    let mut reader = to.read().await?;
    let before = reader.next().await?;
    let fields = [("ttl", "60"), ("content-type", "application/notification+json")];
    scene.accepted(&to.endpoint, &fields, "live").await?;
    let live = reader.next().await?;
    ensure!(bodies(&[before.clone(), live.clone()])? == ["before", "live"]);
    ensure!(live.data["subscription"] == to.path.as_str(), "{}", live.data);
    let headers = json!({"encoding": "aes128gcm", "content_type": "application/notification+json"});
    ensure!(live.data["headers"] == headers, "{}", live.data);
    ensure!(before.id != live.id && before.data["message"] != live.data["message"]);
    ensure!([to.ack(&before).await?, to.ack(&before).await?] == [204, 404]);
    scene.until("delivered", 1).await?;
    drop(reader);

    // What was not acknowledged comes again as it was, and in order.
    scene.send(&to.endpoint, "after").await?;
    let mut reader = to.read().await?;
    ensure!(reader.next().await? == live, "another message came");
    let after = reader.next().await?;
    ensure!(body(&after)? == "after");
    // An application server takes back what it has sent, and its user agent has nothing to acknowledge any more.
    let taken_back = scene.send(&to.endpoint, "taken back").await?;
    let gone = reader.next().await?;
    ensure!(scene.cancel(&taken_back).await? == 204);
    ensure!(to.ack(&gone).await? == 404);
    ensure!([to.ack(&live).await?, to.ack(&after).await?] == [204; 2]);
    scene.accepted(&to.endpoint, MINUTE, "").await?;
    let empty = reader.next().await?;
    ensure!(empty.data.get("data").is_none() && empty.data.get("headers").is_none(), "{}", empty.data);
    ensure!(to.ack(&empty).await? == 204);
    ensure!(to.waiting().await?.is_empty());
    scene.end_with(&[("delivered", 4), ("cancelled", 1)]).await
}

#[tokio::test]
async fn an_acknowledgement_makes_room_for_the_next_message() -> Result<()> {
    let scene = Scene::alone_with(&[("PUSHGRID_ROUTER__WINDOW", "4")]).await?;
    let to = subscribe(&scene).await?;
    let mut reader = to.read().await?;
    let texts: Vec<_> = (0..12).map(|number| number.to_string()).collect();
    for text in &texts {
        scene.send(&to.endpoint, text).await?;
    }
    let mut events = Vec::new();
    while events.len() < texts.len() {
        if let Some(oldest) = events.len().checked_sub(4) {
            ensure!(to.ack(&events[oldest]).await? == 204);
        }
        events.push(reader.next().await?);
    }
    ensure!(bodies(&events)? == texts, "not in order");
    for event in &events[8..] {
        ensure!(to.ack(event).await? == 204);
    }
    scene.end_with(&[("delivered", 12)]).await
}

// Holds: A-15, C-37, C-38, C-39, C-40, C-55.
#[tokio::test]
async fn a_subscription_for_one_application_server_takes_messages_of_no_other() -> Result<()> {
    let scene = Scene::shared().await?;
    let key = KeyPair::generate(&SystemRng);
    let options = json!({"vapid": key.public().to_text(), "more": true}).to_string();
    let url = scene.server().connection();
    for media in ["application/webpush-options+json", "Application/WebPush-Options+JSON; charset=utf-8"] {
        let to = Subscription::with(url, &[("content-type", media)], options.clone()).await?;
        scene.refused(401, &to.endpoint, MINUTE, "unsigned").await?;
        let signed = signature(&key, &to.endpoint)?;
        let fields = [("ttl", "60"), ("authorization", signed.as_str())];
        scene.accepted(&to.endpoint, &fields, "signed").await?;
        let event = to.read().await?.next().await?;
        ensure!(body(&event)? == "signed" && to.ack(&event).await? == 204);
    }
    // Every other media type is ignored (RFC 8292 section 4.1), and so is no option.
    for (fields, body) in [
        (&[("content-type", "application/json")][..], options.as_str()),
        (&[("content-type", "text/plain")], "x"),
        (&[], options.as_str()),
        (&[OPTIONS], "{}"),
        // The form of an early draft.
        (&[("crypto-key", "p256ecdsa=BA")], ""),
    ] {
        let to = Subscription::with(url, fields, body.to_owned()).await?;
        scene.send(&to.endpoint, "unsigned").await?;
        ensure!(to.end().await? == 204);
    }
    let large = format!("{{\"more\":\"{}\"}}", "x".repeat(5000));
    for (status, body) in
        [(400, ""), (400, "[]"), (400, "{\"vapid\":\"BA\"}"), (400, "{\"vapid\":1}"), (413, large.as_str())]
    {
        let answer =
            ask(Method::POST, &format!("{}/subscribe", origin(url)), &[OPTIONS], body.to_owned()).await?;
        ensure!(answer.status == status, "{body:.20} was answered {}", answer.status);
        let error: Value = serde_json::from_slice(&answer.body)?;
        ensure!(error["message"].as_str().is_some_and(|text| text.len() > 10), "{error}");
    }
    scene.end().await
}

// Holds: A-106.
#[tokio::test]
async fn a_client_that_does_not_ask_for_events_is_told_how_to() -> Result<()> {
    let scene = Scene::shared().await?;
    let to = subscribe(&scene).await?;
    for fields in [&[][..], &[("accept", "*/*")], &[("prefer", "wait=0")]] {
        let answer = to.get(fields).await?;
        let error: Value = serde_json::from_slice(&answer.body)?;
        ensure!(
            answer.status == 400
                && error["message"].as_str().is_some_and(|text| text.contains("text/event-stream"))
        );
    }
    // Over HTTP/2 with server push switched off, as every client of today.
    let origin = origin(scene.server().connection());
    let io = TokioIo::new(TcpStream::connect(origin.trim_start_matches("http://")).await?);
    let (mut requests, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    for (accept, status) in [("*/*", 400), ("text/event-stream", 200), ("*/*", 400)] {
        let request = Request::get(to.url()).header("accept", accept).body(Empty::<Bytes>::new())?;
        let answer = within(SOON, "an answer", requests.send_request(request)).await??;
        ensure!(answer.status() == status, "{accept} was answered {}", answer.status());
    }
    let unknown = format!("{origin}/s/{}", "x".repeat(98));
    ensure!(ask(Method::GET, &unknown, NO_WAIT, "").await?.status == 404);
    scene.end().await
}

// Holds.
#[tokio::test]
async fn whoever_does_not_wait_gets_what_waits_or_nothing() -> Result<()> {
    let scene = Scene::alone().await?;
    let to = subscribe(&scene).await?;
    ensure!(to.get(NO_WAIT).await?.status == 204);
    scene.accepted(&to.endpoint, &[("ttl", "1")], "too late").await?;
    scene.until("expired", 1).await?;
    ensure!(to.waiting().await?.is_empty(), "it came after its end");
    let texts = ["one", "two", "three"];
    for text in texts {
        scene.send(&to.endpoint, text).await?;
    }
    let events = to.waiting().await?;
    ensure!(bodies(&events)? == texts, "{events:?}");
    ensure!(to.ack(&events[1]).await? == 204);
    ensure!(bodies(&to.waiting().await?)? == ["one", "three"]);
    for event in [&events[0], &events[2]] {
        ensure!(to.ack(event).await? == 204);
    }
    scene.end_with(&[("delivered", 3), ("expired", 1)]).await
}

// Holds.
#[tokio::test]
async fn a_subscription_that_is_ended_ends_its_stream_and_all_that_waits() -> Result<()> {
    let scene = Scene::alone().await?;
    let (to, other) = (subscribe(&scene).await?, subscribe(&scene).await?);
    let mut untouched = other.read().await?;
    let mut reader = to.read().await?;
    scene.send(&to.endpoint, "sent").await?;
    let sent = reader.next().await?;
    ensure!(to.end().await? == 204);
    ensure!(reader.ending().await? == "superseded");
    for _ in 0..2 {
        ensure!(to.get(NO_WAIT).await?.status == 404);
        ensure!(to.end().await? == 404);
        scene.refused(404, &to.endpoint, MINUTE, "x").await?;
    }
    ensure!(to.ack(&sent).await? == 404);
    scene.send(&other.endpoint, "still here").await?;
    let event = untouched.next().await?;
    ensure!(other.ack(&event).await? == 204);
    scene.end_with(&[("unsubscribed", 1), ("delivered", 1)]).await
}

// Holds: A-103.
#[tokio::test]
async fn a_later_stream_takes_the_place_of_an_earlier_one() -> Result<()> {
    let scene = Scene::shared().await?;
    let to = subscribe(&scene).await?;
    let mut earlier = to.read().await?;
    scene.send(&to.endpoint, "for both").await?;
    let event = earlier.next().await?;
    let mut later = to.read().await?;
    ensure!(earlier.ending().await? == "superseded");
    ensure!(later.next().await? == event, "what was not acknowledged comes again");
    ensure!(to.ack(&event).await? == 204);
    scene.end().await
}

#[tokio::test]
async fn an_idle_stream_is_no_slow_client() -> Result<()> {
    let settings = [
        ("PUSHGRID_CONNECTION__ANSWER_TIMEOUT", "1s"),
        ("PUSHGRID_CONNECTION__HEADER_TIMEOUT", "1s"),
        ("PUSHGRID_CONNECTION__IDLE_TIMEOUT", "1s"),
    ];
    let scene = Scene::alone_with(&settings).await?;
    let to = subscribe(&scene).await?;
    let mut reader = to.read().await?;
    // Clients that say nothing are closed in that time, and a slow one in twice that.
    let address = origin(scene.server().connection());
    for _ in 0..3 {
        let mut silent = TcpStream::connect(address.trim_start_matches("http://")).await?;
        within(SOON, "the end of a silent client", silent.read_to_end(&mut Vec::new())).await??;
    }
    scene.send(&to.endpoint, "still here").await?;
    let event = reader.next().await?;
    ensure!(reader.comments == 0 && to.ack(&event).await? == 204);
    scene.end().await
}

#[tokio::test]
async fn a_stream_is_kept_alive_by_comments() -> Result<()> {
    let settings =
        [("PUSHGRID_CONNECTION__PING_INTERVAL", "100ms"), ("PUSHGRID_CONNECTION__PONG_TIMEOUT", "1s")];
    let scene = Scene::alone_with(&settings).await?;
    let to = subscribe(&scene).await?;
    let mut reader = to.read().await?;
    reader.comments(20).await?;
    scene.send(&to.endpoint, "still here").await?;
    let event = reader.next().await?;
    ensure!(to.ack(&event).await? == 204);
    scene.end().await
}

#[tokio::test]
async fn a_stop_ends_a_stream_with_a_word_and_its_messages_are_kept() -> Result<()> {
    let settings = [("PUSHGRID_CONNECTION__FINISH_TIMEOUT", "0s"), ("PUSHGRID_CONNECTION__DRAIN", "2s")];
    let mut server = Server::start_with(&settings).await?;
    let app = Application::new();
    // Some are closed late in the drain.
    let mut streams = Vec::new();
    for _ in 0..6 {
        let to = Subscription::new(server.connection()).await?;
        let mut reader = to.read().await?;
        app.send(&to.endpoint, "kept").await?;
        let event = reader.next().await?;
        streams.push((to, reader, event));
    }
    let readers = async {
        for (_, reader, _) in &mut streams {
            ensure!(reader.ending().await? == "restart");
        }
        Ok(())
    };
    let (stopped, told) = tokio::join!(server.stop_within(Duration::from_secs(30)), readers);
    stopped?;
    told?;
    server.start_again().await?;
    for (to, _, event) in &streams {
        let mut reader = to.read().await?;
        ensure!(reader.next().await? == *event, "another message came");
        ensure!(to.ack(event).await? == 204);
    }
    server.accounts("all are delivered", |accounts| accounts.ended("delivered") == 6).await?;
    Ok(())
}
