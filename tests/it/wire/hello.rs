//! Identity of a user agent (autopush `hello`).

use anyhow::{Result, ensure};
use pushgrid_client::{ConnectOptions, Event, UserAgent};
use pushgrid_types::{ChannelId, SystemRng, UserAgentId};
use serde_json::{Value, json};

use super::party::{SOON, body, ending, frame};
use super::scene::Scene;

/// Sends this frame as the `hello`, and returns the answer.
async fn hello(scene: &Scene, text: &str) -> Result<Value> {
    let mut socket = UserAgent::connect(scene.server().connection()).await?;
    socket.send_text(text).await?;
    let (answer, raw) = frame(&mut socket).await?;
    ensure!(answer["messageType"] == "hello" && answer["status"] == 200, "{text} was answered {raw}");
    Ok(answer)
}

// Holds: G-17, H-03, H-04.
#[tokio::test]
async fn a_hello_with_nothing_but_its_type_is_answered_with_exactly_five_members() -> Result<()> {
    let scene = Scene::shared().await?;
    let answer = hello(&scene, r#"{"messageType":"hello"}"#).await?;
    let uaid = answer["uaid"].as_str().unwrap_or_default().to_owned();
    ensure!(uaid.len() == 32 && uaid.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')), "{uaid:?}");
    let expected =
        json!({"messageType": "hello", "uaid": uaid, "status": 200, "use_webpush": true, "broadcasts": {}});
    ensure!(answer == expected, "{answer}");
    scene.end().await
}

// Holds: G-15, H-03.
#[tokio::test]
async fn a_hello_in_each_form_that_user_agents_send_is_understood() -> Result<()> {
    let scene = Scene::shared().await?;
    for text in [
        r#"{"messageType":"hello","broadcasts":{"remote-settings/monitor_changes":"\"1\""},"use_webpush":true}"#,
        r#"{"messageType":"hello","broadcasts":null,"use_webpush":true}"#,
        r#"{"messageType":"hello","uaid":"","channelIDs":[],"use_webpush":true}"#,
        r#"{"messageType":"hello","uaid":null,"channelIDs":["6b0c7b8e-7a3f-4d62-9d0a-3f1a6f7b1c22"]}"#,
        r#"{"use_webpush":false,"x":{"y":[1,2]},"messageType":"hello"}"#,
        " {\n \"messageType\" : \"hello\" } ",
    ] {
        let answer = hello(&scene, text).await?;
        ensure!(answer["use_webpush"] == true, "{text} was answered {answer}");
    }
    scene.end().await
}

// Holds: H-05.
#[tokio::test]
async fn a_uaid_that_nobody_knows_is_answered_with_a_new_one() -> Result<()> {
    let scene = Scene::shared().await?;
    let unknown = UserAgentId::random(&SystemRng).to_hex();
    let dashed = ChannelId::random(&SystemRng).to_string();
    for uaid in [unknown.as_str(), &dashed, "bogus", &"f".repeat(33), &"f".repeat(10_000), "ä"] {
        let answer = hello(&scene, &json!({"messageType": "hello", "uaid": uaid}).to_string()).await?;
        let given = answer["uaid"].as_str().unwrap_or_default();
        ensure!(given.len() == 32 && given != uaid, "{uaid} was answered {answer}");
        ensure!(given != uaid.replace('-', ""), "an unknown uaid was taken");
    }
    scene.end().await
}

// Holds: H-06.
#[tokio::test]
async fn a_user_agent_that_only_says_hello_leaves_no_record() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let (first, url) = (agent.id(), scene.server().connection());
    agent.leave().await?;
    let mut again = UserAgent::connect(url).await?;
    let second = again.hello(Some(first)).await?.user_agent;
    ensure!(second != first, "a hello alone has made a record");
    scene.end().await
}

#[tokio::test]
async fn a_user_agent_with_a_subscription_is_known_at_its_next_hello() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for _ in 0..3 {
        agent.leave().await?;
        agent.come_back().await?;
    }
    scene.send(&channel.endpoint, "still here").await?;
    ensure!(body(&agent.take().await?) == "still here");
    scene.end().await
}

// Holds: D-03.
#[tokio::test]
async fn a_user_agent_whose_last_subscription_has_ended_leaves_no_record() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channels = [agent.subscribe().await?, agent.subscribe().await?];
    for channel in &channels {
        // A user agent with one subscription left is known.
        agent.leave().await?;
        agent.come_back().await?;
        agent.unsubscribe(channel).await?;
    }
    let mut again = UserAgent::connect(scene.server().connection()).await?;
    let second = again.hello(Some(agent.id())).await?.user_agent;
    ensure!(second != agent.id(), "nothing is left of it but its name");
    scene.end().await
}

#[tokio::test]
async fn no_two_user_agents_are_given_the_same_uaid() -> Result<()> {
    let scene = Scene::shared().await?;
    let hellos = (0..50).map(|_| scene.agent());
    let agents = futures_util::future::try_join_all(hellos).await?;
    let ids: std::collections::BTreeSet<_> = agents.iter().map(super::party::Agent::id).collect();
    ensure!(ids.len() == agents.len(), "{} uaids for {} user agents", ids.len(), agents.len());
    scene.end().await
}

// Holds: A-103, H-20.
#[tokio::test]
async fn a_second_connection_of_a_user_agent_closes_the_first_with_a_reason_and_gets_the_messages()
-> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let mut newer = UserAgent::connect(scene.server().connection()).await?;
    newer.hello(Some(agent.id())).await?;
    let (code, reason) = ending(agent.socket()?).await?;
    ensure!(code == 1008 && reason.contains("connected again"), "closed with {code} {reason:?}");
    scene.send(&channel.endpoint, "for the newer").await?;
    let Some(Event::Notification(got)) = newer.next_within(SOON).await? else {
        anyhow::bail!("nothing came")
    };
    ensure!(body(&got) == "for the newer");
    scene.end().await
}

// Holds: H-01.
#[tokio::test]
async fn the_sub_protocol_that_firefox_offers_is_taken_and_so_is_none() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut options = ConnectOptions::new(scene.server().connection());
    // The handshake fails unless the subprotocol is echoed.
    options.subprotocol = Some("push-notification".to_owned());
    let mut socket = UserAgent::connect_with(&options).await?;
    socket.hello(None).await?;
    scene.agent().await?;
    scene.end().await
}
