//! Content of a message as delivered to a user agent: its octets, and nothing else.

use anyhow::{Context as _, Result, ensure};
use pushgrid_client::SendOptions;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::{Rng as _, SystemRng, Ttl, Urgency};
use serde_json::{Value, json};

use super::party::{MINUTE, bodies, body, signature};
use super::scene::Scene;

/// Bodies with octets of every value, NUL and those above 127 among them, and of significant sizes: none, one, the
/// smallest that can be decrypted, the size that every service must take, and the largest that this one takes.
fn samples() -> Vec<Vec<u8>> {
    let octets = |size| (0..=u8::MAX).rev().cycle().take(size).collect();
    [0, 1, 103, 4096, 5630].map(octets).into()
}

// Holds, B-01, B-10, B-22, B-24, G-04, H-25.
#[tokio::test]
async fn a_body_arrives_octet_for_octet_at_a_user_agent_that_is_connected() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for sample in samples() {
        scene.accepted(&channel.endpoint, MINUTE, sample.clone()).await?;
        let got = agent.take().await?;
        ensure!(got.data.unwrap_or_default() == sample, "{} octets came otherwise", sample.len());
    }
    scene.end().await
}

// Holds, B-01, B-24, G-04, G-13.
#[tokio::test]
async fn a_body_arrives_octet_for_octet_after_it_has_waited() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    agent.leave().await?;
    for sample in samples() {
        scene.accepted(&channel.endpoint, MINUTE, sample).await?;
    }
    agent.come_back().await?;
    for sample in samples() {
        let got = agent.take().await?;
        ensure!(got.data.unwrap_or_default() == sample, "{} octets came otherwise", sample.len());
    }
    scene.end().await
}

// Holds: A-133, B-12.
#[tokio::test]
async fn what_an_application_server_encrypts_is_what_the_user_agent_reads() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let subscription = agent.socket()?.subscribe(&SystemRng, None).await?;
    let mut payload = vec![0; 3993];
    SystemRng.fill(&mut payload);
    for payload in [payload.as_slice(), b"x", b""] {
        scene.inner().send(&subscription.push_subscription(), payload, &SendOptions::default()).await?;
        ensure!(subscription.decrypt(&agent.take().await?)? == payload);
    }
    scene.end().await
}

// Holds, C-34, H-10.
#[tokio::test]
async fn a_notification_has_its_five_members_and_no_others() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let key = KeyPair::generate(&SystemRng);
    let authorization = signature(&key, &channel.endpoint)?;
    let crypto_key = format!("p256ecdsa={}", key.public().to_text());
    let fields = [
        ("ttl", "61"),
        ("topic", "hidden"),
        ("urgency", "high"),
        ("authorization", authorization.as_str()),
        ("crypto-key", crypto_key.as_str()),
        ("content-type", "application/octet-stream"),
    ];
    scene.accepted(&channel.endpoint, &fields, vec![0xfb, 0xff, 0x00]).await?;
    let (frame, raw) = agent.frame().await?;
    let expected = json!({
        "messageType": "notification",
        "channelID": channel.id.to_string(),
        "version": frame["version"],
        "data": "-_8A",
        "headers": {"encoding": "aes128gcm"},
    });
    ensure!(frame == expected, "{raw}");
    let version = frame["version"].as_str().context("version is a string")?;
    ensure!((20..=128).contains(&version.len()), "{raw}");
    scene.end().await
}

// Holds: B-06, D-17, H-10.
#[tokio::test]
async fn a_notification_without_a_body_has_neither_data_nor_headers() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    // Some senders name an encoding of an empty body.
    for fields in [MINUTE, &[("ttl", "60"), ("content-encoding", "aes128gcm")]] {
        scene.accepted(&channel.endpoint, fields, "").await?;
        let (frame, raw) = agent.frame().await?;
        let members: Vec<&str> = frame.as_object().context("an object")?.keys().map(String::as_str).collect();
        ensure!(members == ["channelID", "messageType", "version"], "{raw}");
    }
    scene.end().await
}

// Holds: A-29, B-05, D-22, D-24.
#[tokio::test]
async fn a_media_type_reaches_the_user_agent_and_can_stand_for_an_encoding() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let declarative = "application/notification+json; charset=utf-8";
    let ml_kem = vec![0xa5; 5239];
    for waits in [false, true] {
        if waits {
            agent.leave().await?;
        }
        let of_the_drafts = [("ttl", "60"), ("content-type", "application/webpush-message")];
        let answer = scene.inner().post(&channel.endpoint, &of_the_drafts, ml_kem.clone().into()).await?;
        ensure!(answer.status == 201, "{answer:?}");
        let encrypted = [("ttl", "60"), ("content-type", declarative)];
        scene.accepted(&channel.endpoint, &encrypted, vec![1; 33]).await?;
        if waits {
            agent.come_back().await?;
        }
        let got = agent.take().await?;
        ensure!(got.data.as_deref() == Some(ml_kem.as_slice()) && got.encoding.is_none(), "{got:?}");
        ensure!(got.content_type.as_deref() == Some("application/webpush-message"), "{got:?}");
        let got = agent.take().await?;
        ensure!(got.content_type.as_deref() == Some(declarative), "{got:?}");
    }
    scene.end().await
}

// Holds, B-16, B-17, B-18, C-34, H-10.
#[tokio::test]
async fn the_fields_of_aesgcm_reach_the_user_agent_bare_and_without_the_key_of_the_sender() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let dh = "BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";
    let sender = KeyPair::generate(&SystemRng).public().to_text();
    let salt = "lngarbyKfMoi9Z75xYXmkg";
    for (encryption, crypto_key) in [
        (format!("salt={salt}"), format!("dh={dh}")),
        (format!("salt=\"{salt}==\""), format!("dh={dh};p256ecdsa={sender}")),
        (format!("salt={salt}"), format!("dh={dh}; p256ecdsa={sender}")),
        (format!("salt={salt}"), format!("p256ecdsa={sender},dh=\"{dh}=\"")),
    ] {
        let fields = [
            ("ttl", "60"),
            ("content-encoding", "aesgcm"),
            ("encryption", encryption.as_str()),
            ("crypto-key", crypto_key.as_str()),
        ];
        scene.accepted(&channel.endpoint, &fields, vec![7; 33]).await?;
        let (frame, raw) = agent.frame().await?;
        let expected: Value = json!({
            "encoding": "aesgcm", "encryption": format!("salt={salt}"), "crypto_key": format!("dh={dh}"),
        });
        ensure!(frame["headers"] == expected, "{crypto_key}: {raw}");
    }
    scene.end().await
}

// Holds.
#[tokio::test]
async fn each_urgency_is_taken_in_any_case_and_none_is_forwarded() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    for urgency in ["very-low", "low", "normal", "high", "HIGH", "Very-Low"] {
        scene.accepted(&channel.endpoint, &[("ttl", "60"), ("urgency", urgency)], "x").await?;
        let (_, raw) = agent.frame().await?;
        let lower = raw.to_lowercase();
        ensure!(!lower.contains("urgency") && !lower.contains(&urgency.to_lowercase()), "{raw}");
    }
    let subscription = agent.socket()?.subscribe(&SystemRng, None).await?;
    let options =
        SendOptions { urgency: Some(Urgency::Low), ttl: Ttl::from_secs(5), ..SendOptions::default() };
    scene.inner().send(&subscription.push_subscription(), b"low", &options).await?;
    ensure!(subscription.decrypt(&agent.next().await?)? == b"low");
    scene.end().await
}

// Holds: A-37.
#[tokio::test]
async fn two_equal_posts_are_two_messages() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channel = agent.subscribe().await?;
    let first = scene.send(&channel.endpoint, "the same").await?;
    let second = scene.send(&channel.endpoint, "the same").await?;
    ensure!(first != second, "two messages have one address");
    let (first, second) = (agent.take().await?, agent.take().await?);
    ensure!(first.version != second.version, "two messages have one version");
    ensure!(bodies(&[first, second]) == ["the same", "the same"]);
    scene.end().await
}

// Holds: A-38.
#[tokio::test]
async fn messages_arrive_in_the_order_of_their_acceptance_over_all_channels() -> Result<()> {
    let scene = Scene::shared().await?;
    let mut agent = scene.agent().await?;
    let channels = [agent.subscribe().await?, agent.subscribe().await?, agent.subscribe().await?];
    let sent: Vec<String> = (0..60).map(|number| format!("message {number}")).collect();
    for (number, text) in sent.iter().enumerate() {
        scene.send(&channels[number % 3].endpoint, text).await?;
    }
    let mut got = Vec::new();
    for number in 0..sent.len() {
        let notification = agent.take().await?;
        ensure!(notification.channel == channels[number % 3].id, "it came to another channel");
        got.push(body(&notification));
    }
    ensure!(got == sent, "{got:?}");
    scene.end().await
}
