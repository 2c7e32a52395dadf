//! Promise P8: addresses tell nothing of the user agent, and no secret is in any output.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pushgrid_client::UserAgent;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_it::Server;
use pushgrid_types::{ChannelId, SystemRng, UserAgentId};
use serde_json::json;

use super::party::{Agent, Application, MINUTE, ending, signature};
use super::scene::Scene;
use super::sse::Subscription;

/// Last segment of a URL.
fn last_part(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

// Holds, D-01, D-04, D-19.
#[tokio::test]
async fn addresses_of_one_user_agent_have_nothing_in_common_but_route_and_key() -> Result<()> {
    const LENGTH: usize = 8;
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let key = KeyPair::generate(&SystemRng);
    let mut addresses = BTreeSet::new();
    let mut named = vec![agent.id().to_hex()];
    for _ in 0..10 {
        let channel = agent.subscribe_for(&key.public()).await?;
        named.extend([channel.id.to_string(), channel.id.to_string().replace('-', "")]);
        let authorization = signature(&key, &channel.endpoint)?;
        addresses.insert(last_part(&channel.endpoint).to_owned());
        for _ in 0..10 {
            let fields = [("ttl", "60"), ("authorization", authorization.as_str())];
            let accepted = scene.accepted(&channel.endpoint, &fields, "x").await?;
            let version = agent.take().await?.version;
            ensure!(
                !accepted.location.contains(&version),
                "the user agent can name the address of a message"
            );
            addresses.insert(last_part(&accepted.location).to_owned());
        }
    }
    ensure!(addresses.len() == 110, "an address came twice");

    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for address in &addresses {
        ensure!(address.is_ascii() && address.len() >= 64, "too short to be unguessable");
        ensure!(!named.iter().any(|name| address.contains(name.as_str())), "an address names its user agent");
        // The first octet names the key: one character and a part of the next.
        for start in 1..=address.len() - LENGTH {
            let part = &address[start..start + LENGTH];
            let other = seen.insert(part, address);
            ensure!(other.is_none_or(|other| other == address), "two addresses share {part:?}");
        }
    }
    scene.end().await
}

/// Secrets that no output may have, with their names.
#[derive(Debug, Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push((what, text.into()));
    }

    fn add_user_agent(&mut self, id: UserAgentId) {
        self.add("a uaid", id.to_hex());
        self.add("a uaid with dashes", ChannelId::from_octets(*id.as_octets()).to_string());
    }

    /// Checks that no part of a secret, of twelve characters, is in `text`.
    fn are_not_in(&self, text: &str, place: &str) -> Result<()> {
        const LENGTH: usize = 12;
        let parts: BTreeSet<&[u8]> = text.as_bytes().windows(LENGTH).collect();
        for (what, secret) in &self.0 {
            ensure!(secret.len() >= LENGTH, "{what} is too short to be looked for");
            let told = secret.as_bytes().windows(LENGTH).find(|part| parts.contains(part));
            if let Some(part) = told {
                let part = String::from_utf8_lossy(part);
                let line = text.lines().find(|line| line.contains(&*part)).unwrap_or_default();
                anyhow::bail!("{what} stands in {place}: {line}");
            }
        }
        Ok(())
    }
}

#[test]
fn a_part_of_a_secret_is_found_wherever_it_stands() {
    let mut secrets = Secrets::default();
    secrets.add("a word", "abcdefghijklmnop");
    assert!(secrets.are_not_in("abcdefghijk bcdefghijkl_ mnop", "a text").is_ok());
    let told = secrets.are_not_in("first line\nhere: cdefghijklmn.", "a text").unwrap_err().to_string();
    assert!(told.contains("a word stands in a text: here:"), "{told}");
}

// Holds: A-147, C-35.
#[tokio::test]
async fn no_secret_is_ever_in_the_log_or_in_a_metric() -> Result<()> {
    let settings = [
        ("PUSHGRID_LOG__FILTER", "trace"),
        ("PUSHGRID_LOG__FORMAT", "json"),
        ("PUSHGRID_ROUTER__ACK_TIMEOUT", "200ms"),
        ("PUSHGRID_ROUTER__WINDOW", "4"),
    ];
    let mut server = Server::start_with(&settings).await?;
    let mut secrets = Secrets::default();
    let mut agent = Agent::new(server.connection()).await?;
    deliveries(&mut agent, &mut secrets).await.context("deliveries")?;
    refusals(&mut agent, &mut secrets).await.context("refusals")?;
    bad_frames(&server, &mut agent, &mut secrets).await.context("bad frames")?;
    over_http(&server, &mut secrets).await.context("over HTTP")?;

    let (_, metrics) = server.admin_get("/metrics").await?;
    secrets.are_not_in(&metrics, "a metric")?;
    for path in ["/healthz", "/readyz"] {
        secrets.are_not_in(&server.admin_get(path).await?.1, path)?;
    }
    server.kill().await?;
    server.start_again().await?;
    agent.vanish();
    agent.come_back().await?;
    server.stop().await?;
    let log = server.log()?;
    // At this level operations are logged, so the search is not in vain.
    ensure!(log.contains("\"level\":\"DEBUG\"") || log.contains("\"level\":\"TRACE\""), "nothing in detail");
    // So are the spans that might tell something.
    for span in ["partition", "request", "session", "route", "deliver", "send", "settle"] {
        ensure!(log.contains(&format!("\"name\":\"{span}\"")), "no line is in a span {span}");
    }
    secrets.are_not_in(&log, "the log")
}

/// Reads, acknowledges and ends a subscription without a WebSocket.
async fn over_http(server: &Server, secrets: &mut Secrets) -> Result<()> {
    let app = Application::new();
    let to = Subscription::new(server.connection()).await?;
    secrets.add("the address of a subscription", last_part(&to.path));
    secrets.add("an endpoint", last_part(&to.endpoint));
    let mut reader = to.read().await?;
    for body in ["body-of-an-event", "body-of-the-next-event"] {
        secrets.add("a body", body);
        secrets.add("a body as base64", URL_SAFE_NO_PAD.encode(body));
        let location = app.send(&to.endpoint, body).await?;
        secrets.add("the address of a message", last_part(&location));
        let event = reader.next().await?;
        let address = event.data["message"].as_str().context("a message has an address")?;
        secrets.add("the address of a message", last_part(address));
        ensure!([to.ack(&event).await?, to.ack(&event).await?] == [204, 404]);
    }
    ensure!([to.end().await?, to.end().await?] == [204, 404]);
    Ok(())
}

/// Trace contexts of senders: one that is sampled, and one that is not.
const TRACES: [&str; 2] = [
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
];

/// Makes messages in each state, to a connected user agent and to one that is away.
async fn deliveries(agent: &mut Agent, secrets: &mut Secrets) -> Result<()> {
    let app = Application::new();
    let key = KeyPair::generate(&SystemRng);
    secrets.add_user_agent(agent.id());
    secrets.add("a VAPID key", key.public().to_text());
    for round in 0..4 {
        let channel = agent.subscribe_for(&key.public()).await?;
        secrets.add("a channelID", channel.id.to_string());
        secrets.add("an endpoint", last_part(&channel.endpoint));
        let token = signature(&key, &channel.endpoint)?;
        secrets.add("a VAPID token", token.clone());
        let mut locations = Vec::new();
        for (number, topic) in ["topic-of-the-message", "another-topic-of-one", "topic-of-the-message"]
            .into_iter()
            .cycle()
            .take(12)
            .enumerate()
        {
            secrets.add("a topic", topic);
            let body = format!("the body of message {number} in round {round}");
            secrets.add("a body", body.clone());
            secrets.add("a body as base64", URL_SAFE_NO_PAD.encode(&body));
            let ttl = if number % 5 == 0 { "0" } else { "60" };
            let mut fields = vec![("ttl", ttl), ("authorization", token.as_str())];
            fields.extend((number % 2 == 0).then_some(("topic", topic)));
            // The steps of a message with a trace context are in spans, and its request when it is sampled.
            fields.extend((number % 3 != 1).then_some(("traceparent", TRACES[number % 2])));
            let location = app.accepted(&channel.endpoint, &fields, body).await?.location;
            secrets.add("the address of a message", last_part(&location));
            locations.push(location);
        }
        let got = agent.next().await?;
        secrets.add("a version", got.version.clone());
        agent.ack(&got).await?;
        app.cancel(&locations[7]).await?;
        app.cancel(&locations[7]).await?;
        agent.leave().await?;
        secrets.add("a body", "waits while away");
        app.accepted(&channel.endpoint, &[("ttl", "60"), ("authorization", &token)], "waits while away")
            .await?;
        agent.come_back().await?;
        secrets.add("a version", agent.take().await?.version);
        agent.socket()?.nack(&got.version, 301).await?;
        if round % 2 == 0 {
            agent.unsubscribe(&channel).await?;
            app.post(&channel.endpoint, &[("ttl", "60"), ("authorization", &token)], "too late").await?;
        }
    }
    Ok(())
}

/// Makes requests that are refused, with secrets in wrong places.
async fn refusals(agent: &mut Agent, secrets: &mut Secrets) -> Result<()> {
    let app = Application::new();
    let (key, other) = (KeyPair::generate(&SystemRng), KeyPair::generate(&SystemRng));
    let channel = agent.subscribe_for(&key.public()).await?;
    let token = last_part(&channel.endpoint).to_owned();
    secrets.add("an endpoint", token.clone());
    let foreign = signature(&other, &channel.endpoint)?;
    secrets.add("a foreign VAPID token", foreign.clone());
    secrets.add("a foreign VAPID key", other.public().to_text());
    let origin = channel.endpoint.split("/push/").next().unwrap_or_default();
    for url in [
        format!("{}?token={token}", channel.endpoint),
        format!("{}/{token}", channel.endpoint),
        format!("{origin}/{token}"),
        format!("{origin}/m/{token}"),
        format!("{origin}/push/%2e%2e%2f{token}"),
    ] {
        app.post(&url, MINUTE, "a body for a wrong address").await?;
        app.cancel(&url).await?;
    }
    for fields in [
        vec![("ttl", token.as_str())],
        vec![("ttl", "60"), ("topic", &token)],
        vec![("ttl", "60"), ("urgency", &token)],
        vec![("ttl", "60"), ("authorization", &foreign)],
        vec![("ttl", "60"), ("authorization", &token)],
        vec![("ttl", "60"), ("content-encoding", &token)],
    ] {
        let answer = app.post(&channel.endpoint, &fields, "a body that is refused").await?;
        secrets.are_not_in(&String::from_utf8_lossy(&answer.body), "a refusal")?;
    }
    secrets.add("a body", "a body for a wrong address");
    secrets.add("a body", "a body that is refused");
    Ok(())
}

/// Makes connections that are closed for their frames, with secrets in them.
async fn bad_frames(server: &Server, agent: &mut Agent, secrets: &mut Secrets) -> Result<()> {
    let uaid = agent.id().to_hex();
    let channel = agent.subscribe().await?.id.to_string();
    secrets.add("a channelID", channel.clone());
    for frame in [
        json!({"messageType": uaid}),
        json!({"messageType": "hello", "uaid": [uaid]}),
        json!({"messageType": "register", "channelID": uaid, "key": uaid}),
        json!({"messageType": "ack", "updates": [{"channelID": channel, "version": 5}]}),
        json!({"messageType": "unregister", "channelID": channel.to_uppercase()}),
        json!([uaid, channel]),
    ] {
        let mut socket = UserAgent::connect(server.connection()).await?;
        if frame["messageType"] != "hello" {
            socket.hello(None).await?;
        }
        socket.send_text(&frame.to_string()).await?;
        let (_, reason) = ending(&mut socket).await?;
        secrets.are_not_in(&reason, "a close reason")?;
    }
    // Superseded, then closed without a goodbye.
    let mut newer = UserAgent::connect(server.connection()).await?;
    newer.hello(Some(agent.id())).await?;
    ending(agent.socket()?).await?;
    Ok(())
}
