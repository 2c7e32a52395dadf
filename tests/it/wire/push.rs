//! User agents over HTTP/2 that take server push (RFC 8030 section 6).

pub(crate) mod client;

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;
use http::Method;
use pushgrid_it::{PushAgent, Server};
use pushgrid_types::{SystemClock, WallClock as _};
use serde_json::json;

use super::party::{Application, MINUTE};
use super::scene::Scene;
use super::sse::{Subscription, origin};
use client::{Connection, Push};

async fn subscribe(scene: &Scene) -> Result<Subscription> {
    Subscription::new(scene.server().connection()).await
}

async fn connect(scene: &Scene) -> Result<Connection> {
    Connection::new(scene.server().connection()).await
}

/// Bodies, as text.
pub(crate) fn bodies(pushes: &[Push]) -> Vec<String> {
    pushes.iter().map(|push| String::from_utf8_lossy(&push.body).into_owned()).collect()
}

// Holds.
#[tokio::test]
async fn messages_are_pushed_until_they_are_acknowledged() -> Result<()> {
    let scene = Scene::alone().await?;
    let to = subscribe(&scene).await?;
    let before = SystemClock.wall().as_secs();
    let every_octet: Bytes = (0..=255).cycle().take(4096).collect();
    let fields =
        [("ttl", "60"), ("content-type", "text/plain;charset=utf8"), ("urgency", "high"), ("topic", "t")];
    scene.accepted(&to.endpoint, &fields, every_octet.clone()).await?;
    scene.accepted(&to.endpoint, MINUTE, "").await?;
    let mut connection = connect(&scene).await?;
    let mut monitoring = connection.monitor(&to.path, &[])?;
    let first = monitoring.next().await?;
    ensure!((first.status, &first.body) == (200, &every_octet), "{first:?}");
    let second = monitoring.next().await?;
    ensure!((second.status, second.body.len()) == (200, 0));
    scene.send(&to.endpoint, "live").await?;
    let live = monitoring.next().await?;
    ensure!(live.body == "live" && monitoring.is_open().await);
    let link = format!("<{}>; rel=\"urn:ietf:params:push\"", to.endpoint);
    for push in [&first, &second, &live] {
        ensure!(push.promise.len() == 1 && push.promise["link"] == link.as_str(), "{:?}", push.promise);
        ensure!(push.fields["link"] == link.as_str() && push.fields["cache-control"] == "private");
        let accepted = httpdate::parse_http_date(push.fields["last-modified"].to_str()?)?;
        let accepted = accepted.duration_since(UNIX_EPOCH)?.as_secs();
        ensure!((before.saturating_sub(1)..=SystemClock.wall().as_secs()).contains(&accepted), "{accepted}");
        for name in ["urgency", "topic", "ttl", "authorization"] {
            ensure!(!push.fields.contains_key(name) && !push.promise.contains_key(name), "{name} is told");
        }
    }
    ensure!(first.fields["content-type"] == "text/plain;charset=utf8");
    ensure!(first.fields["content-encoding"] == "aes128gcm");
    ensure!([connection.ack(&first).await?, connection.ack(&first).await?] == [204, 404]);

    // What was not acknowledged comes again as it was, and in order, also on another connection.
    drop((connection, monitoring));
    let mut connection = connect(&scene).await?;
    ensure!(connection.waiting(&to.path).await? == (vec![second.clone(), live.clone()], 200));
    ensure!([connection.ack(&second).await?, connection.ack(&live).await?] == [204; 2]);
    ensure!(connection.waiting(&to.path).await? == (vec![], 204));
    scene.end_with(&[("delivered", 3)]).await
}

// Holds.
#[tokio::test]
async fn a_client_by_others_walks_the_whole_way() -> Result<()> {
    let scene = Scene::alone().await?;
    let origin = origin(scene.server().connection());
    let mut agent = PushAgent::start(origin.trim_start_matches("http://"))?;
    agent.act(&json!({"do": "connect"})).await?;
    let made = agent.act(&json!({"do": "ask", "method": "POST", "path": "/subscribe"})).await?;
    ensure!(made["status"] == 201, "{made}");
    let path = made["fields"]["location"].as_str().context("no Location")?;
    let link = made["fields"]["link"].as_str().context("no Link")?;
    let endpoint = link.split(['<', '>']).nth(1).context("no address")?;
    agent.act(&json!({"do": "monitor", "path": path})).await?;
    let location = scene.send(endpoint, "encrypted").await?;
    let push = agent.act(&json!({"do": "next"})).await?;
    ensure!(push["status"] == 200 && push["body"] == STANDARD.encode("encrypted"), "{push}");
    ensure!(push["promise"][":method"] == "GET" && push["promise"][":scheme"] == "http", "{push}");
    ensure!(push["promise"][":authority"] == origin.trim_start_matches("http://"), "{push}");
    ensure!(push["promise"]["link"] == push["fields"]["link"] && push["promise"]["link"].is_string());
    // The connection is lost before the acknowledgement.
    agent.act(&json!({"do": "connect"})).await?;
    let again = agent.act(&json!({"do": "monitor", "path": path})).await?;
    ensure!(agent.act(&json!({"do": "next"})).await? == push, "another message came");
    let acknowledge = json!({"do": "ask", "method": "DELETE", "path": push["path"]});
    ensure!(agent.act(&acknowledge).await?["status"] == 204);
    ensure!(agent.act(&acknowledge).await?["status"] == 404);
    ensure!(scene.cancel(&location).await? == 404);
    let no_wait = json!({"do": "monitor", "path": path, "fields": {"prefer": "wait=0"}});
    let brief = agent.act(&no_wait).await?;
    ensure!(agent.act(&json!({"do": "ended", "stream": brief["stream"]})).await?["status"] == 204);
    ensure!(agent.act(&json!({"do": "ended", "stream": again["stream"]})).await?["status"] == 200);
    let end = json!({"do": "ask", "method": "DELETE", "path": path});
    ensure!(agent.act(&end).await?["status"] == 204 && agent.act(&end).await?["status"] == 404);
    scene.end_with(&[("delivered", 1)]).await
}

// Holds.
#[tokio::test]
async fn whoever_does_not_wait_is_pushed_what_waits() -> Result<()> {
    let scene = Scene::alone().await?;
    let to = subscribe(&scene).await?;
    let mut connection = connect(&scene).await?;
    ensure!(connection.waiting(&to.path).await? == (vec![], 204));
    scene.accepted(&to.endpoint, &[("ttl", "1")], "too late").await?;
    scene.until("expired", 1).await?;
    ensure!(connection.waiting(&to.path).await? == (vec![], 204));
    let texts = ["one", "two", "three"];
    for text in texts {
        scene.send(&to.endpoint, text).await?;
    }
    let (pushes, status) = connection.waiting(&to.path).await?;
    ensure!(bodies(&pushes) == texts && status == 200, "{pushes:?}");
    for push in &pushes {
        ensure!(connection.ack(push).await? == 204);
    }
    scene.end_with(&[("delivered", 3), ("expired", 1)]).await
}

// Holds: A-103.
#[tokio::test]
async fn a_later_request_takes_the_place_of_an_earlier_one_whichever_way_it_reads() -> Result<()> {
    let scene = Scene::shared().await?;
    let to = subscribe(&scene).await?;
    let mut connection = connect(&scene).await?;
    let mut first = connection.monitor(&to.path, &[])?;
    scene.send(&to.endpoint, "for all").await?;
    let push = first.next().await?;
    let mut second = connection.monitor(&to.path, &[])?;
    ensure!(first.end().await? == 200);
    ensure!(second.next().await? == push, "what was not acknowledged comes again");
    let mut events = to.read().await?;
    ensure!(second.end().await? == 200);
    ensure!(
        events.next().await?.data["message"] == push.path.as_str(),
        "the same message has the same address"
    );
    ensure!(connection.ack(&push).await? == 204);
    let idle = connection.monitor(&to.path, &[])?;
    ensure!(events.ending().await? == "superseded");
    let _last = to.read().await?;
    ensure!(idle.end().await? == 204);
    scene.end().await
}

// Holds.
#[tokio::test]
async fn a_subscription_that_is_ended_ends_its_request_with_404() -> Result<()> {
    let scene = Scene::alone().await?;
    let (to, other) = (subscribe(&scene).await?, subscribe(&scene).await?);
    let mut connection = connect(&scene).await?;
    let mut untouched = connection.monitor(&other.path, &[])?;
    let mut monitoring = connection.monitor(&to.path, &[])?;
    scene.send(&to.endpoint, "sent").await?;
    let push = monitoring.next().await?;
    ensure!(connection.ask(Method::DELETE, &to.path, &[]).await?.0 == 204);
    ensure!(monitoring.end().await? == 404);
    ensure!(connection.waiting(&to.path).await? == (vec![], 404));
    ensure!(connection.ack(&push).await? == 404);
    scene.send(&other.endpoint, "still here").await?;
    let push = untouched.next().await?;
    ensure!(connection.ack(&push).await? == 204);
    scene.end_with(&[("unsubscribed", 1), ("delivered", 1)]).await
}

// Holds: A-106.
#[tokio::test]
async fn a_client_that_takes_no_push_is_promised_nothing_and_may_read_events() -> Result<()> {
    let scene = Scene::shared().await?;
    let to = subscribe(&scene).await?;
    let without = Builder::new().enable_push(false).to_owned();
    let mut connection = Connection::with(scene.server().connection(), &without).await?;
    scene.send(&to.endpoint, "waits").await?;
    for _ in 0..2 {
        let (status, _, body) = connection.ask(Method::GET, &to.path, &[]).await?;
        ensure!(status == 400 && String::from_utf8_lossy(&body).contains("text/event-stream"));
    }
    let fields = [("accept", "text/event-stream"), ("prefer", "wait=0")];
    let (status, _, body) = connection.ask(Method::GET, &to.path, &fields).await?;
    ensure!(status == 200 && body.starts_with(b"id: "));
    // Who takes server push may still ask for events.
    let mut connection = connect(&scene).await?;
    let (status, _, events) = connection.ask(Method::GET, &to.path, &fields).await?;
    ensure!(status == 200 && events == body);
    ensure!(to.end().await? == 204);
    scene.end().await
}

#[tokio::test]
async fn a_push_that_is_refused_comes_again() -> Result<()> {
    let scene = Scene::shared().await?;
    let to = subscribe(&scene).await?;
    let mut connection = connect(&scene).await?;
    let mut monitoring = connection.monitor(&to.path, &[])?;
    scene.send(&to.endpoint, "refused").await?;
    // Dropped, its stream is reset.
    let path = monitoring.promised().await?.path;
    scene.send(&to.endpoint, "next").await?;
    ensure!(monitoring.next().await?.body == "next");
    let (pushes, status) = connection.waiting(&to.path).await?;
    ensure!(bodies(&pushes) == ["refused", "next"] && pushes[0].path == path && status == 200);
    for push in &pushes {
        ensure!(connection.ack(push).await? == 204);
    }
    scene.end().await
}

#[tokio::test]
async fn a_client_that_takes_one_push_at_a_time_gets_all() -> Result<()> {
    let scene = Scene::alone().await?;
    let to = subscribe(&scene).await?;
    let texts: Vec<_> = (0..50).map(|number| format!("{number:01000}")).collect();
    for text in &texts {
        scene.send(&to.endpoint, text).await?;
    }
    let narrow = Builder::new().max_concurrent_streams(1).initial_window_size(100).to_owned();
    let mut connection = Connection::with(scene.server().connection(), &narrow).await?;
    let mut monitoring = connection.monitor(&to.path, &[])?;
    for text in &texts {
        let push = monitoring.next().await?;
        ensure!(push.body == text.as_bytes());
        ensure!(connection.ack(&push).await? == 204);
    }
    scene.end_with(&[("delivered", 50)]).await
}

#[tokio::test]
async fn a_message_that_the_client_does_not_take_in_time_is_given_up_and_never_late() -> Result<()> {
    let scene = Scene::alone().await?;
    let to = subscribe(&scene).await?;
    let shut = Builder::new().initial_window_size(0).to_owned();
    let mut connection = Connection::with(scene.server().connection(), &shut).await?;
    let mut monitoring = connection.monitor(&to.path, &[])?;
    scene.accepted(&to.endpoint, &[("ttl", "1")], "late").await?;
    let late = monitoring.promised().await?;
    ensure!(late.given_up().await? == Some(Reason::CANCEL));
    scene.until("expired", 1).await?;
    scene.end_with(&[("expired", 1)]).await
}

#[tokio::test]
async fn whoever_takes_nothing_is_cut_off_and_gets_it_later() -> Result<()> {
    let scene = Scene::alone_with(&[("PUSHGRID_CONNECTION__WRITE_TIMEOUT", "300ms")]).await?;
    let to = subscribe(&scene).await?;
    let shut = Builder::new().initial_window_size(0).to_owned();
    let mut connection = Connection::with(scene.server().connection(), &shut).await?;
    let mut monitoring = connection.monitor(&to.path, &[])?;
    scene.send(&to.endpoint, "kept").await?;
    ensure!(monitoring.promised().await?.given_up().await? == Some(Reason::CANCEL));
    ensure!(monitoring.status().await? == 503);
    let mut connection = connect(&scene).await?;
    let (pushes, status) = connection.waiting(&to.path).await?;
    ensure!(bodies(&pushes) == ["kept"] && status == 200);
    ensure!(connection.ack(&pushes[0]).await? == 204);
    scene.end_with(&[("delivered", 1)]).await
}

#[tokio::test]
async fn an_idle_request_is_no_slow_client() -> Result<()> {
    let settings = [
        ("PUSHGRID_CONNECTION__ANSWER_TIMEOUT", "1s"),
        ("PUSHGRID_CONNECTION__HEADER_TIMEOUT", "1s"),
        ("PUSHGRID_CONNECTION__IDLE_TIMEOUT", "1s"),
        ("PUSHGRID_CONNECTION__PING_INTERVAL", "100ms"),
        ("PUSHGRID_CONNECTION__PONG_TIMEOUT", "100ms"),
        ("PUSHGRID_CONNECTION__H2_PING_INTERVAL", "1s"),
        ("PUSHGRID_CONNECTION__H2_PING_TIMEOUT", "1s"),
    ];
    let scene = Scene::alone_with(&settings).await?;
    let to = subscribe(&scene).await?;
    let mut connection = connect(&scene).await?;
    let mut monitoring = connection.monitor(&to.path, &[])?;
    // A connection without a request is closed in that time.
    for _ in 0..4 {
        let idle = Connection::new(scene.server().connection()).await?;
        idle.ended().await?;
    }
    ensure!(monitoring.is_open().await);
    scene.send(&to.endpoint, "still here").await?;
    let push = monitoring.next().await?;
    ensure!(connection.ack(&push).await? == 204);
    scene.end().await
}

#[tokio::test]
async fn a_stop_ends_a_request_with_a_status_and_its_messages_are_kept() -> Result<()> {
    let settings = [("PUSHGRID_CONNECTION__FINISH_TIMEOUT", "0s"), ("PUSHGRID_CONNECTION__DRAIN", "2s")];
    let mut server = Server::start_with(&settings).await?;
    let app = Application::new();
    // Some are closed late in the drain.
    let mut streams = Vec::new();
    for _ in 0..6 {
        let to = Subscription::new(server.connection()).await?;
        let mut connection = Connection::new(server.connection()).await?;
        let mut monitoring = connection.monitor(&to.path, &[])?;
        app.send(&to.endpoint, "kept").await?;
        let push = monitoring.next().await?;
        streams.push((to, push, monitoring, connection));
    }
    let mut kept = Vec::new();
    let monitors = async {
        for (to, push, monitoring, _connection) in streams {
            ensure!(monitoring.end().await? == 200);
            kept.push((to, push));
        }
        Ok(())
    };
    let (stopped, told) = tokio::join!(server.stop_within(Duration::from_secs(30)), monitors);
    stopped?;
    told?;
    server.start_again().await?;
    for (to, push) in &kept {
        let mut connection = Connection::new(server.connection()).await?;
        let (pushes, _) = connection.waiting(&to.path).await?;
        ensure!(pushes.len() == 1 && pushes[0].body == push.body && pushes[0].path == push.path);
        ensure!(connection.ack(push).await? == 204);
    }
    server.accounts("all are delivered", |accounts| accounts.ended("delivered") == 6).await?;
    Ok(())
}
