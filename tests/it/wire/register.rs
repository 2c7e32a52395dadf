//! Subscriptions: `register` and `unregister`.

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::{UserAgent, codes};
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::{ChannelId, SystemRng};
use serde_json::{Value, json};

use super::party::{Agent, Application, Channel, MINUTE, body, signature};
use super::scene::Scene;

/// Registers with exactly this frame, and returns the endpoint.
async fn register(agent: &mut Agent, channel: ChannelId, key: Option<&str>) -> Result<String> {
    let mut request = json!({"messageType": "register", "channelID": channel.to_string()});
    if let Some(key) = key {
        request["key"] = key.into();
    }
    agent.socket()?.send_text(&request.to_string()).await?;
    let (answer, raw) = agent.frame().await?;
    let endpoint = answer["pushEndpoint"].as_str().with_context(|| raw.clone())?.to_owned();
    let expected: Value = json!({
        "messageType": "register", "channelID": channel.to_string(), "status": 200, "pushEndpoint": endpoint,
    });
    ensure!(answer == expected, "{raw}");
    Ok(endpoint)
}

/// Checks that the endpoint is answered as an ended one.
async fn is_gone(app: &Application, endpoint: &str, authorization: Option<&str>) -> Result<()> {
    let mut fields = MINUTE.to_vec();
    fields.extend(authorization.map(|field| ("authorization", field)));
    let status = app.post(endpoint, &fields, "x").await?.status;
    ensure!(matches!(status, 404 | 410), "an endpoint that has ended was answered {status}");
    Ok(())
}

// Holds: D-01, G-05, H-07.
#[tokio::test]
async fn a_register_is_answered_with_four_members_and_an_absolute_endpoint() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let endpoint = register(&mut agent, ChannelId::random(&SystemRng), None).await?;
    let url: http::Uri = endpoint.parse()?;
    ensure!(url.scheme_str() == Some("http") && url.host().is_some(), "not absolute");
    ensure!(url.path().starts_with("/push/") && url.query().is_none(), "not of the push route");
    ensure!(endpoint.len() <= 255, "{} characters are too many for some senders", endpoint.len());
    scene.end().await
}

// Holds: C-45, H-08.
#[tokio::test]
async fn a_repeated_register_is_answered_with_the_same_endpoint() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let (open, restricted) = (ChannelId::random(&SystemRng), ChannelId::random(&SystemRng));
    let key = KeyPair::generate(&SystemRng).public().to_text();
    let first =
        [register(&mut agent, open, None).await?, register(&mut agent, restricted, Some(&key)).await?];
    agent.leave().await?;
    agent.come_back().await?;
    // Firefox sends the padding, others do not: the key is the same.
    let padded = format!("{key}=");
    let again =
        [register(&mut agent, open, None).await?, register(&mut agent, restricted, Some(&padded)).await?];
    ensure!(first == again, "a repeat made another endpoint");
    scene.end().await
}

// Holds: A-31, D-02.
#[tokio::test]
async fn a_channel_that_is_unregistered_and_registered_again_has_another_endpoint_and_the_old_one_never_comes_back()
-> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let mut ended = vec![channel.endpoint.clone()];
    for round in 0..3 {
        agent.unsubscribe(&channel).await?;
        for endpoint in &ended {
            is_gone(&scene, endpoint, None).await?;
        }
        let endpoint = register(&mut agent, channel.id, None).await?;
        ensure!(!ended.contains(&endpoint), "an endpoint came back in round {round}");
        for old in &ended {
            is_gone(&scene, old, None).await?;
        }
        scene.send(&endpoint, "to the newest").await?;
        ensure!(body(&agent.take().await?) == "to the newest");
        ended.push(endpoint);
    }
    scene.end().await
}

// Holds: C-49.
#[tokio::test]
async fn another_key_for_a_channel_ends_its_old_endpoint() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = ChannelId::random(&SystemRng);
    let keys = [KeyPair::generate(&SystemRng), KeyPair::generate(&SystemRng)];
    let texts = keys.each_ref().map(|key| key.public().to_text());
    let open = register(&mut agent, channel, None).await?;
    let first = register(&mut agent, channel, Some(&texts[0])).await?;
    is_gone(&scene, &open, None).await?;
    let second = register(&mut agent, channel, Some(&texts[1])).await?;
    is_gone(&scene, &first, Some(&signature(&keys[0], &first)?)).await?;
    let third = register(&mut agent, channel, Some(&texts[0])).await?;
    is_gone(&scene, &second, Some(&signature(&keys[1], &second)?)).await?;
    is_gone(&scene, &first, Some(&signature(&keys[0], &first)?)).await?;
    ensure!(third != first, "an endpoint came back");
    let authorization = signature(&keys[0], &third)?;
    scene.accepted(&third, &[("ttl", "60"), ("authorization", &authorization)], "x").await?;
    ensure!(agent.take().await?.channel == channel);
    scene.end().await
}

// Holds: D-16, H-09.
#[tokio::test]
async fn an_unregister_is_answered_with_three_members_also_for_a_channel_that_is_not_there() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let unknown = ChannelId::random(&SystemRng);
    for (channel, code) in
        [(unknown, None), (channel.id, Some(201)), (channel.id, Some(200)), (channel.id, None)]
    {
        let mut request = json!({"messageType": "unregister", "channelID": channel.to_string()});
        if let Some(code) = code {
            request["code"] = code.into();
        }
        agent.socket()?.send_text(&request.to_string()).await?;
        let (answer, raw) = agent.frame().await?;
        let expected = json!({"messageType": "unregister", "channelID": channel.to_string(), "status": 200});
        ensure!(answer == expected, "{raw}");
    }
    scene.end().await
}

// Holds: A-128, D-03.
#[tokio::test]
async fn what_waits_for_a_subscription_ends_with_it() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let (ending, staying) = (agent.subscribe().await?, agent.subscribe().await?);
    agent.leave().await?;
    scene.send(&ending.endpoint, "stored").await?;
    scene.send(&staying.endpoint, "stays").await?;
    agent.come_back().await?;
    ensure!(body(&agent.next().await?) == "stored");
    ensure!(body(&agent.take().await?) == "stays");
    scene.send(&ending.endpoint, "in flight").await?;
    agent.next().await?;
    agent.unsubscribe(&ending).await?;
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&staying).await?;
    scene.end_with(&[("delivered", 2), ("unsubscribed", 2)]).await
}

// Holds: A-128.
#[tokio::test]
async fn an_unregister_of_all_ends_every_subscription_with_what_waits_and_the_connection_goes_on()
-> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let (one, other) = (agent.subscribe().await?, agent.subscribe().await?);
    agent.leave().await?;
    scene.send(&one.endpoint, "stored").await?;
    scene.send(&other.endpoint, "stored and acknowledged").await?;
    agent.come_back().await?;
    ensure!(body(&agent.next().await?) == "stored");
    agent.take().await?;
    scene.send(&other.endpoint, "in flight").await?;
    agent.next().await?;

    agent.socket()?.send_text(r#"{"messageType":"unregister_all","code":200}"#).await?;
    let (answer, raw) = agent.frame().await?;
    ensure!(answer == json!({"messageType": "unregister_all", "status": 200}), "{raw}");
    for ended in [&one, &other] {
        is_gone(&scene, &ended.endpoint, None).await?;
    }
    let mut stranger = UserAgent::connect(scene.server().connection()).await?;
    ensure!(stranger.hello(Some(agent.id())).await?.user_agent != agent.id(), "it is known");
    stranger.close().await?;

    // Nobody has to connect again.
    let new = register(&mut agent, one.id, None).await?;
    ensure!(new != one.endpoint, "an endpoint came back");
    scene.send(&new, "to the new one").await?;
    ensure!(body(&agent.take().await?) == "to the new one");
    agent.leave().await?;
    agent.come_back().await?;
    agent.nothing_waits(&Channel { id: one.id, endpoint: new }).await?;

    for _again in 0..2 {
        agent.socket()?.unregister_all(codes::UNREGISTERED_BY_HAND).await?;
    }
    scene.end_with(&[("delivered", 3), ("unsubscribed", 2)]).await
}

// Holds: D-07, H-07.
#[tokio::test]
async fn a_key_that_is_none_is_refused_with_a_reason_and_the_connection_goes_on() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = ChannelId::random(&SystemRng);
    for key in ["", "AAAA", "not base64!", &"A".repeat(87)] {
        let request = json!({"messageType": "register", "channelID": channel.to_string(), "key": key});
        agent.socket()?.send_text(&request.to_string()).await?;
        let (answer, raw) = agent.frame().await?;
        ensure!(answer["status"] == 400 && answer["channelID"] == channel.to_string(), "{key:?}: {raw}");
        ensure!(answer["pushEndpoint"].as_str().is_some_and(|text| text.contains("key")), "{raw}");
    }
    register(&mut agent, channel, None).await?;
    scene.end().await
}

// Holds: H-29.
#[tokio::test]
async fn endpoints_in_the_forms_of_other_services_are_taken_too() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for route in ["/wpush/v1/", "/wpush/v2/"] {
        scene.send(&channel.endpoint.replace("/push/", route), route).await?;
        ensure!(body(&agent.take().await?) == route);
    }
    scene.end().await
}

// Holds: A-11, A-32, A-33, I-01, I-02.
#[tokio::test]
async fn an_endpoint_that_never_was_is_answered_404_and_other_methods_405() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let endpoint = agent.subscribe().await?.endpoint;
    let (route, token) = endpoint.rsplit_once('/').context("an endpoint has a path")?;
    let reversed: String = token.chars().rev().collect();
    for wrong in [reversed.as_str(), &token[1..], &format!("{token}A"), "x"] {
        scene.refused(404, &format!("{route}/{wrong}"), MINUTE, "x").await?;
    }
    for method in [http::Method::GET, http::Method::PUT, http::Method::DELETE] {
        let request = http::Request::builder().method(method).uri(&endpoint).body(bytes::Bytes::new())?;
        let response = scene.inner().request(request).await?;
        ensure!(response.status == 405, "answered {}", response.status);
        ensure!(response.header("allow").is_some_and(|methods| methods.contains("POST")));
    }
    scene.end().await
}

// Holds: A-31, A-32, A-126, I-08.
#[tokio::test]
async fn an_endpoint_that_has_ended_is_answered_404_or_410_as_the_operator_chooses() -> Result<()> {
    for (setting, status) in [("404", 404), ("410", 410)] {
        let scene = Scene::alone_with(&[("PUSHGRID_INGRESS__GONE_STATUS", setting)]).await?;
        let mut agent = scene.agent().await?;
        let channel = agent.subscribe().await?;
        agent.unsubscribe(&channel).await?;
        scene.refused(status, &channel.endpoint, MINUTE, "x").await?;
        // An endpoint that never existed is answered alike.
        scene.refused(status, &format!("{}A", channel.endpoint), MINUTE, "x").await?;
        scene.end().await?;
    }
    Ok(())
}
