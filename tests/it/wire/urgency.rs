//! The least urgency of messages that a user agent takes (RFC 8030 section 5.3): what is below waits, and comes in the
//! order of urgency.

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::UserAgent;
use pushgrid_it::within;
use pushgrid_types::Urgency;
use serde_json::json;

use super::party::{Agent, SOON, body as text, frame};
use super::scene::Scene;
use super::sse::{NO_WAIT, Subscription, bodies};

const ALL: [&str; 4] = ["very-low", "low", "normal", "high"];

/// Posts a message whose body is its urgency.
async fn post(scene: &Scene, endpoint: &str, urgency: &str) -> Result<()> {
    scene.accepted(endpoint, &[("ttl", "60"), ("urgency", urgency)], urgency.to_owned()).await.map(drop)
}

/// Takes the next messages, and returns their bodies.
async fn texts(agent: &mut Agent, count: usize) -> Result<Vec<String>> {
    let taken = agent.take_all(count).await?;
    Ok(taken.iter().map(text).collect())
}

/// Waits until so many messages are pending, and everything else has ended.
async fn waiting(scene: &Scene, count: u64) -> Result<()> {
    scene.server().accounts(&format!("{count} pending"), |accounts| accounts.pending == count).await.map(drop)
}

// Holds, H-27, G-07, G-18.
#[tokio::test]
async fn what_is_below_the_least_urgency_waits_and_comes_when_it_falls() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for (min, expected) in [("normal", 200), ("urgent", 400), ("NORMAL", 200)] {
        let request = json!({"messageType": "urgency", "min": min});
        agent.socket()?.send_text(&request.to_string()).await?;
        let (answer, _) = agent.frame().await?;
        ensure!(answer == json!({"messageType": "urgency", "status": expected}), "{min}: {answer}");
    }
    for urgency in ALL {
        post(&scene, &channel.endpoint, urgency).await?;
    }
    scene.send(&channel.endpoint, "by default").await?;
    ensure!(texts(&mut agent, 3).await? == ["normal", "high", "by default"]);
    waiting(&scene, 2).await?;
    agent.socket()?.set_urgency(Urgency::Low).await?;
    ensure!(texts(&mut agent, 1).await? == ["low"]);
    waiting(&scene, 1).await?;
    agent.socket()?.set_urgency(Urgency::LEAST).await?;
    ensure!(texts(&mut agent, 1).await? == ["very-low"]);
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("delivered", 6)]).await
}

// Holds: A-73, H-27.
#[tokio::test]
async fn a_hello_names_the_least_urgency_and_the_next_one_may_name_another() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let id = agent.id();
    agent.leave().await?;
    for urgency in ["low", "high", "very-low", "normal", "high"] {
        post(&scene, &channel.endpoint, urgency).await?;
    }
    // A message that has been sent is in the mailbox once its session has ended.
    agent.come_back().await?;
    for _ in 0..5 {
        agent.next().await?;
    }
    agent.leave().await?;
    let mut socket = UserAgent::connect(scene.server().connection()).await?;
    let hello =
        json!({"messageType": "hello", "uaid": id.to_hex(), "urgency": "normal", "use_webpush": true});
    socket.send_text(&hello.to_string()).await?;
    ensure!(frame(&mut socket).await?.0["status"] == 200);
    let mut came = Vec::new();
    for _ in 0..3 {
        let (notification, text) = frame(&mut socket).await?;
        ensure!(!text.contains("urgency"), "{text}");
        came.push(notification["data"].as_str().context("no data")?.to_owned());
    }
    let encoded =
        |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    ensure!(
        came == [encoded("high"), encoded("high"), encoded("normal")],
        "the most urgent leave a backlog first"
    );
    socket.close().await?;
    // Nothing was acknowledged, so all of it comes on the next session.
    agent.come_back().await?;
    ensure!(texts(&mut agent, 5).await? == ["high", "high", "normal", "low", "very-low"]);
    scene.end_with(&[("delivered", 5)]).await
}

// Holds: A-81.
#[tokio::test]
async fn a_newer_message_of_a_topic_replaces_the_urgency_of_the_older_one() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let post = async |scene: &Scene, urgency, text: &'static str| {
        let fields = [("ttl", "60"), ("topic", "news"), ("urgency", urgency)];
        scene.accepted(&channel.endpoint, &fields, text).await
    };
    agent.leave().await?;
    post(&scene, "high", "older").await?;
    post(&scene, "low", "newer").await?;
    agent.come_back_for(Some(Urgency::Normal)).await?;
    scene.until("replaced", 1).await?;
    agent.nothing_waits(&channel).await?;
    // And the other way round, with the older one below what the user agent takes.
    post(&scene, "high", "newest").await?;
    ensure!(texts(&mut agent, 1).await? == ["newest"]);
    scene.until("replaced", 2).await?;
    agent.socket()?.set_urgency(Urgency::LEAST).await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("replaced", 2), ("delivered", 3)]).await
}

// Holds: A-75.
#[tokio::test]
async fn what_cannot_wait_and_is_below_the_least_urgency_is_not_delivered() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.socket()?.set_urgency(Urgency::Normal).await?;
    let now = |urgency| [("ttl", "0"), ("urgency", urgency)];
    scene.accepted(&channel.endpoint, &now("low"), "low").await?;
    scene.until("expired", 1).await?;
    scene.accepted(&channel.endpoint, &now("normal"), "normal").await?;
    ensure!(texts(&mut agent, 1).await? == ["normal"]);
    agent.socket()?.set_urgency(Urgency::LEAST).await?;
    agent.nothing_waits(&channel).await?;
    scene.end_with(&[("expired", 1), ("delivered", 2)]).await
}

/// Reconnects until these messages are the first: a 201 does not wait until its message is in the mailbox.
async fn leads(agent: &mut Agent, expected: &[&str]) -> Result<()> {
    let lead = async {
        loop {
            agent.vanish();
            agent.come_back().await?;
            let mut first = Vec::new();
            while first.len() < expected.len() {
                first.push(text(&agent.next().await?));
            }
            if first == expected {
                agent.vanish();
                return agent.come_back().await;
            }
        }
    };
    within(SOON, "the most urgent come first", lead).await?
}

/// A backlog that the window lets out in pieces is left by the most urgent first, and by what comes meanwhile.
#[tokio::test]
async fn high_urgency_leaves_a_backlog_first() -> Result<()> {
    let scene = Scene::alone_with(&[("PUSHGRID_ROUTER__WINDOW", "4")]).await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    for number in 0..40 {
        let urgency = if number % 10 == 9 { "high" } else { "normal" };
        let fields = [("ttl", "60"), ("urgency", urgency)];
        scene.accepted(&channel.endpoint, &fields, number.to_string()).await?;
    }
    leads(&mut agent, &["9", "19", "29", "39"]).await?;
    post(&scene, &channel.endpoint, "high").await?;
    leads(&mut agent, &["9", "19", "29", "39"]).await?;
    ensure!(texts(&mut agent, 4).await? == ["9", "19", "29", "39"]);
    // One that comes meanwhile passes all that waits.
    leads(&mut agent, &["high", "0", "1", "2"]).await?;
    let rest = texts(&mut agent, 37).await?;
    ensure!(rest[..2] == ["high", "0"] && rest[36] == "38", "{rest:?}");
    scene.end_with(&[("delivered", 41)]).await
}

// Holds, G-14.
#[tokio::test]
async fn a_request_for_events_names_the_least_urgency() -> Result<()> {
    let scene = Scene::shared().await?;
    let to = Subscription::new(scene.server().connection()).await?;
    for urgency in ALL {
        post(&scene, &to.endpoint, urgency).await?;
    }
    ensure!(bodies(&to.waiting_with(&[("urgency", "high")]).await?)? == ["high"]);
    ensure!(bodies(&to.waiting_with(&[("urgency", "Low")]).await?)? == ["high", "normal", "low"]);
    let of_set = to.all().waiting_with(&[("urgency", "normal")]).await?;
    ensure!(bodies(&of_set)? == ["high", "normal"], "the same for a set");
    let all = to.waiting().await?;
    ensure!(bodies(&all)? == ["high", "normal", "low", "very-low"]);
    for bad in
        [&[("urgency", "urgent")][..], &[("urgency", "high, low")], &[("urgency", "low"), ("urgency", "low")]]
    {
        let answer = to.get(&[NO_WAIT, bad].concat()).await?;
        ensure!(answer.status == 400, "{bad:?} was answered {}", answer.status);
    }
    for event in &all {
        ensure!(to.ack(event).await? == 204);
    }
    scene.end().await
}
