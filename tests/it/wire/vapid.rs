//! Authorization of senders (RFC 8292).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::{SystemClock, SystemRng, Timestamp, WallClock as _};

use super::party::{MINUTE, body, signature};
use super::scene::Scene;

/// Origin of an endpoint.
fn origin(endpoint: &str) -> Result<String> {
    let url: http::Uri = endpoint.parse()?;
    let (scheme, authority) = url.scheme().zip(url.authority()).context("an endpoint is absolute")?;
    Ok(format!("{scheme}://{authority}"))
}

fn in_an_hour() -> Timestamp {
    SystemClock.wall().plus(Duration::from_hours(1))
}

// Holds, C-41, C-42, C-44, C-48, I-05.
#[tokio::test]
async fn a_restricted_subscription_takes_messages_of_the_holder_of_its_key_only() -> Result<()> {
    let scene = Scene::alone().await?;
    let mut agent = scene.agent().await?;
    let (key, other) = (KeyPair::generate(&SystemRng), KeyPair::generate(&SystemRng));
    let channel = agent.subscribe_for(&key.public()).await?;
    let endpoint = &channel.endpoint;

    let response = scene.refused(401, endpoint, MINUTE, "unsigned").await?;
    ensure!(response.header("www-authenticate") == Some("vapid"), "the challenge is another");
    let foreign = signature(&other, endpoint)?;
    scene.refused(403, endpoint, &[("ttl", "60"), ("authorization", &foreign)], "foreign").await?;
    let own = signature(&key, endpoint)?;
    scene.accepted(endpoint, &[("ttl", "60"), ("authorization", &own)], "own").await?;
    ensure!(body(&agent.take().await?) == "own");
    scene.end_with(&[("delivered", 1)]).await
}

// Holds: A-150, C-43, C-44.
#[tokio::test]
async fn vapid_that_does_not_do_is_answered_403_or_401_as_the_operator_chooses() -> Result<()> {
    for (setting, status) in [("403", 403), ("401", 401)] {
        let scene = Scene::alone_with(&[("PUSHGRID_INGRESS__VAPID_STATUS", setting)]).await?;
        let mut agent = scene.agent().await?;
        let (key, other) = (KeyPair::generate(&SystemRng), KeyPair::generate(&SystemRng));
        let channel = agent.subscribe_for(&key.public()).await?;
        let foreign = signature(&other, &channel.endpoint)?;
        for authorization in [foreign.as_str(), "vapid t=, k="] {
            let fields = [("ttl", "60"), ("authorization", authorization)];
            let response = scene.refused(status, &channel.endpoint, &fields, "x").await?;
            ensure!(response.header("www-authenticate").is_some() == (status == 401), "{response:?}");
        }
        scene.end_with(&[]).await?;
    }
    Ok(())
}

// Holds: C-06, C-14, C-17, C-18, C-43.
#[tokio::test]
async fn a_token_that_is_not_valid_is_refused_also_where_none_is_needed() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let key = KeyPair::generate(&SystemRng);
    let (open, restricted) = (agent.subscribe().await?, agent.subscribe_for(&key.public()).await?);
    let audience = origin(&open.endpoint)?;
    let good = key.authorization(&audience, in_an_hour(), None);
    let now = SystemClock.wall();
    let past = Timestamp::from_millis(now.as_millis().saturating_sub(3_600_000));
    // Claims of one token with the signature of another.
    let later = key.authorization(&audience, now.plus(Duration::from_hours(2)), None);
    let parts: Vec<&str> = good.split('.').collect();
    let other_claims = later.split('.').nth(1).context("a token has three parts")?;
    let damaged = [parts[0], other_claims, parts[2]].join(".");
    for (what, token) in [
        ("expired", key.authorization(&audience, past, None)),
        ("too far ahead", key.authorization(&audience, now.plus(Duration::from_hours(26)), None)),
        ("for another service", key.authorization("https://push.example.net", in_an_hour(), None)),
        ("changed", damaged),
        ("without its key", good.split(", k=").next().unwrap_or_default().to_owned()),
        ("empty", "vapid t=, k=".to_owned()),
    ] {
        for channel in [&open, &restricted] {
            let fields = [("ttl", "60"), ("authorization", token.as_str())];
            scene.refused(403, &channel.endpoint, &fields, "x").await.context(what)?;
        }
    }
    let fields = [("ttl", "60"), ("authorization", good.as_str())];
    scene.accepted(&open.endpoint, &fields, "good").await?;
    ensure!(body(&agent.take().await?) == "good");
    scene.end().await
}

#[tokio::test]
async fn an_open_subscription_takes_signed_messages_and_unsigned_ones() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let signed = signature(&KeyPair::generate(&SystemRng), &channel.endpoint)?;
    scene.send(&channel.endpoint, "unsigned").await?;
    scene.accepted(&channel.endpoint, &[("ttl", "60"), ("authorization", &signed)], "signed").await?;
    ensure!(body(&agent.take().await?) == "unsigned");
    ensure!(body(&agent.take().await?) == "signed");
    scene.end().await
}

// Holds: C-36.
#[tokio::test]
async fn one_token_is_good_for_every_endpoint_of_its_key() -> Result<()> {
    let scene = Scene::shared().await?;
    let (mut first, mut second) = (scene.agent().await?, scene.agent().await?);
    let key = KeyPair::generate(&SystemRng);
    let channels = [first.subscribe_for(&key.public()).await?, second.subscribe_for(&key.public()).await?];
    let token = signature(&key, &channels[0].endpoint)?;
    for (channel, agent) in channels.iter().zip([&mut first, &mut second]) {
        for _ in 0..3 {
            scene.accepted(&channel.endpoint, &[("ttl", "60"), ("authorization", &token)], "x").await?;
            agent.take().await?;
        }
    }
    scene.end().await
}

// Holds: C-51, C-57.
#[tokio::test]
async fn the_form_of_the_draft_is_taken() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let key = KeyPair::generate(&SystemRng);
    let channel = agent.subscribe_for(&key.public()).await?;
    let current = signature(&key, &channel.endpoint)?;
    let (token, _) = current
        .strip_prefix("vapid t=")
        .and_then(|rest| rest.split_once(','))
        .context("the form of RFC 8292")?;
    let (authorization, crypto_key) =
        (format!("WebPush {token}"), format!("p256ecdsa={}", key.public().to_text()));
    let fields =
        [("ttl", "60"), ("authorization", authorization.as_str()), ("crypto-key", crypto_key.as_str())];
    scene.accepted(&channel.endpoint, &fields, "draft").await?;
    ensure!(body(&agent.take().await?) == "draft");
    scene.end().await
}

// Holds: C-47.
#[tokio::test]
async fn who_lacks_the_key_does_not_learn_that_a_subscription_has_ended() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let (key, other) = (KeyPair::generate(&SystemRng), KeyPair::generate(&SystemRng));
    let channel = agent.subscribe_for(&key.public()).await?;
    agent.unsubscribe(&channel).await?;
    let endpoint = &channel.endpoint;
    scene.refused(401, endpoint, MINUTE, "x").await?;
    // Nor does the answer tell of other faults of the request.
    scene.refused(401, endpoint, &[("ttl", "soon")], "x").await?;
    let foreign = signature(&other, endpoint)?;
    scene.refused(403, endpoint, &[("ttl", "60"), ("authorization", &foreign)], "x").await?;
    let own = signature(&key, endpoint)?;
    scene.refused(404, endpoint, &[("ttl", "60"), ("authorization", &own)], "x").await?;
    scene.end().await
}

// Holds: B-13, C-32, D-10, I-07.
#[tokio::test]
async fn a_key_that_also_encrypts_the_message_is_refused() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let key = KeyPair::generate(&SystemRng);
    // Salt, record size, and the sender's key, as in RFC 8188.
    let mut sealed = vec![1; 16];
    sealed.extend([0, 0, 16, 0, 65]);
    sealed.extend(key.public().as_octets());
    sealed.extend([9; 17]);
    let authorization = signature(&key, &channel.endpoint)?;
    let fields = [("ttl", "60"), ("authorization", authorization.as_str())];
    scene.refused(400, &channel.endpoint, &fields, sealed).await?;
    agent.nothing_waits(&channel).await?;
    scene.end().await
}
