//! Tested: frames read as deployed user agents expect, and carry body and endpoint unchanged.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use proptest::prelude::*;
use pushgrid_types::{Content, Incarnation, MessageId, Sequence, SubscriptionRef, Timestamp, Ttl, Urgency};
use serde_json::{Value, json};

use super::*;

const CHANNEL: &str = "eb46cc68-b7a3-4bfd-a1dd-13b9962af523";

fn message(content: Content) -> Message {
    Message {
        id: MessageId::from_octets([0; 16]),
        to: SubscriptionRef {
            user_agent: UserAgentId::from_octets([1; 16]),
            channel: CHANNEL.parse().unwrap(),
            incarnation: Incarnation::from_octets([3; 12]),
        },
        sequence: Sequence(1),
        accepted_at: Timestamp::from_secs(1),
        ttl: Ttl::from_secs(60),
        expires_at: Timestamp::from_secs(61),
        urgency: Urgency::High,
        topic: Some("topic".parse().unwrap()),
        receipt: None,
        content,
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

// Holds: H-04, H-07, H-09, H-10.
#[test]
fn the_frames_read_as_deployed_user_agents_expect_them() {
    let user_agent = "924808b7504247a08ad130c1e8757e55".parse().unwrap();
    let channel = CHANNEL.parse().unwrap();
    assert_eq!(
        hello(user_agent, &[]),
        r#"{"messageType":"hello","uaid":"924808b7504247a08ad130c1e8757e55","status":200,"use_webpush":true,"broadcasts":{}}"#
    );
    assert_eq!(
        registered(channel, "https://push.example.net/push/abc"),
        r#"{"messageType":"register","channelID":"eb46cc68-b7a3-4bfd-a1dd-13b9962af523","status":200,"pushEndpoint":"https://push.example.net/push/abc"}"#
    );
    assert_eq!(
        unregistered(channel, 200),
        r#"{"messageType":"unregister","channelID":"eb46cc68-b7a3-4bfd-a1dd-13b9962af523","status":200}"#
    );
    assert_eq!(unregistered_all(200), r#"{"messageType":"unregister_all","status":200}"#);
    let content = Content {
        body: Bytes::from_static(b"\xfb\xff\xfe1"),
        encoding: Some("aes128gcm".into()),
        ..Content::default()
    };
    assert_eq!(
        notification(&message(content)),
        r#"{"messageType":"notification","channelID":"eb46cc68-b7a3-4bfd-a1dd-13b9962af523","version":"AAAAAAAAAAAAAAAAAAAAAA","data":"-__-MQ","headers":{"encoding":"aes128gcm"}}"#
    );
}

// Holds: B-06, H-10.
#[test]
fn an_empty_message_has_neither_data_nor_headers() {
    let content = Content { encoding: Some("aes128gcm".into()), ..Content::default() };
    assert_eq!(
        json(&notification(&message(content))),
        json!({"messageType": "notification", "channelID": CHANNEL, "version": "AAAAAAAAAAAAAAAAAAAAAA"})
    );
}

// Holds: B-18, H-10.
#[test]
fn headers_of_aesgcm_lose_their_quotes_and_padding() {
    let content = Content {
        body: Bytes::from_static(b"x"),
        encoding: Some("aesgcm".into()),
        encryption: Some(r#"keyid=p256dh; salt="lngarbyKfMoi9Z75xYXmkg==""#.into()),
        crypto_key: Some(r#"keyid="p256dh";dh="BN-a_b=", dh=CC=="#.into()),
        ..Content::default()
    };
    let frame = json(&notification(&message(content)));
    assert_eq!(
        frame["headers"],
        json!({
            "encoding": "aesgcm",
            "encryption": "keyid=p256dh; salt=lngarbyKfMoi9Z75xYXmkg",
            "crypto_key": "keyid=p256dh;dh=BN-a_b, dh=CC",
        })
    );
}

// Holds: A-29.
#[test]
fn a_media_type_is_handed_on_as_it_came_unless_it_says_nothing() {
    let headers = |encoding: Option<&str>, media: &str| {
        let content = Content {
            body: Bytes::from_static(b"x"),
            encoding: encoding.map(Into::into),
            content_type: Some(media.into()),
            ..Content::default()
        };
        json(&notification(&message(content)))["headers"].clone()
    };
    let media = r#"application/webpush-message; v="1==""#;
    assert_eq!(headers(None, media), json!({"content_type": media}));
    let both = json!({"encoding": "aes128gcm", "content_type": "application/notification+json"});
    assert_eq!(headers(Some("aes128gcm"), "application/notification+json"), both);
    assert_eq!(headers(Some("aes128gcm"), "Application/Octet-Stream"), json!({"encoding": "aes128gcm"}));
    assert_eq!(headers(None, "application/octet-stream"), Value::Null);
}

// Holds: H-07.
#[test]
fn a_refused_register_has_words_where_the_endpoint_would_be() {
    let channel = CHANNEL.parse().unwrap();
    for (why, status, says) in [
        (Refused::BadKey, 400, "VAPID"),
        (Refused::TooManySubscriptions { limit: 7 }, 429, "7 subscriptions"),
        (Refused::Failed, 500, ""),
        (Refused::Unavailable, 503, ""),
    ] {
        let frame = json(&refused(channel, why));
        assert_eq!(frame["status"], status);
        let text = frame["pushEndpoint"].as_str().unwrap();
        assert!(text.contains(says) && text.is_empty() == says.is_empty(), "{text}");
    }
}

fn versions(all: &[(&str, &str)]) -> Vec<(BroadcastId, BroadcastVersion)> {
    all.iter().map(|(id, version)| (id.parse().unwrap(), version.parse().unwrap())).collect()
}

// Holds: H-04, H-23.
#[test]
fn broadcasts_are_ids_with_versions_and_errors_beside_them() {
    let one = versions(&[("remote-settings/monitor_changes", "\"1700000000000\"")]);
    let user_agent = UserAgentId::from_octets([1; 16]);
    assert_eq!(
        json(&hello(user_agent, &one))["broadcasts"],
        json!({"remote-settings/monitor_changes": "\"1700000000000\""})
    );
    assert_eq!(
        broadcast(&one, &[], &[]),
        r#"{"messageType":"broadcast","broadcasts":{"remote-settings/monitor_changes":"\"1700000000000\""}}"#
    );
    let (two, unknown) = (versions(&[("a", "1"), ("b/c", "\\")]), [r#"a/"b"#.to_owned()]);
    let (not_found, too_many) = ("Broadcast not found", "Too many broadcasts for one connection");
    let frame = json(&broadcast(&two, &unknown, &["d".to_owned()]));
    let errors = json!({r#"a/"b"#: not_found, "d": too_many});
    assert_eq!(
        frame,
        json!({"messageType": "broadcast", "broadcasts": {"a": "1", "b/c": "\\", "errors": errors}})
    );
    let frame = json(&broadcast(&[], &unknown, &[]));
    let errors = json!({r#"a/"b"#: not_found});
    assert_eq!(frame, json!({"messageType": "broadcast", "broadcasts": {"errors": errors}}));
}

// Holds: H-23.
#[test]
fn unknown_broadcasts_are_named_up_to_a_bound() {
    let many: Vec<_> = (0..1000).map(|id| id.to_string()).collect();
    let frame = json(&broadcast(&[], &many, &many));
    assert_eq!(frame["broadcasts"]["errors"].as_object().unwrap().len(), BROADCASTS_MAX);
}

proptest! {
    // Holds: A-28, B-01, H-10.
    #[test]
    fn a_notification_carries_the_body_octet_for_octet(
        body: Vec<u8>,
        encoding in prop::option::of("[ -~]{0,40}"),
        encryption in prop::option::of("[ -~]{0,60}"),
    ) {
        let content = Content {
            body: Bytes::from(body.clone()),
            encoding: encoding.clone().map(Into::into),
            encryption: encryption.map(Into::into),
            ..Content::default()
        };
        let text = notification(&message(content));
        let frame = json(&text);
        prop_assert_eq!(&frame["version"], "AAAAAAAAAAAAAAAAAAAAAA");
        let data = frame.get("data").map(|data| URL_SAFE_NO_PAD.decode(data.as_str().unwrap()).unwrap());
        prop_assert_eq!(data.unwrap_or_default(), body.clone());
        let allowed = ["messageType", "channelID", "version", "data", "headers"];
        prop_assert!(frame.as_object().unwrap().keys().all(|key| allowed.contains(&key.as_str())));
        prop_assert_eq!(frame.get("data").is_some(), !body.is_empty());
    }

    #[test]
    fn a_registered_endpoint_comes_back_from_its_text(channel: [u8; 16], endpoint: String) {
        let channel = ChannelId::from_octets(channel);
        let frame = json(&registered(channel, &endpoint));
        prop_assert_eq!(&frame["channelID"], &channel.to_string());
        prop_assert_eq!(&frame["pushEndpoint"], &endpoint);
    }
}
