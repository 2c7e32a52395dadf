//! Requests as a receiver sees them, and the secrets to verify them with.

use pushgrid_types::SystemRng;

use super::*;

/// Derived by Python's `hmac` from the key and the subscription of these tests, by RFC 5869.
const SECRET: &str = "whsec_qKV2UXFPxZWcu8dNNHSt5zxQRrTlfUS0ByF5GHrANQU=";

/// HMAC-SHA256 by Python's `hmac` of `message-1.1700000000.{"a":1}` with that secret.
const SIGNATURE: &str = "v1,h5jmpT5ULZUZIm8KQIRCLlX4oOCEKrb2KohY750cS6c=";

#[tokio::test]
async fn a_post_is_signed_by_the_standard_webhooks_specification() {
    let webhooks = webhooks(&lenient());
    let mut server = Server::start(Some(OK)).await;
    post(&webhooks, &server.url()).await.unwrap();
    let request = server.requests.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /receipts?of=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, "{\"a\":1}");
    for field in [
        &format!("host: {}", server.address),
        "content-type: application/json",
        "user-agent: pushgrid",
        "webhook-id: message-1",
        "webhook-timestamp: 1700000000",
        &format!("webhook-signature: {SIGNATURE}"),
    ] {
        assert_eq!(head.lines().filter(|line| *line == field).count(), 1, "{field}: {head}");
    }
    assert_eq!(webhooks.secret(&subscription(1)), SECRET);
}

#[tokio::test]
async fn an_id_that_cannot_be_signed_is_refused_before_anything_is_sent() {
    let (webhooks, server) = (webhooks(&lenient()), Server::start(Some(OK)).await);
    let url = webhooks.check(&server.url()).unwrap();
    for id in ["", "a.1", "a\r\nb: c"] {
        let posted = webhooks.post(&subscription(1), &url, id, 1, Bytes::new()).await;
        assert_eq!(posted, Err(PostError::InvalidId));
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_new_first_key_changes_no_secret_and_no_two_subscriptions_share_one() {
    let secret = |keys: &EndpointKeys, of| Webhooks::new(&strict(), keys, &Meter::new()).unwrap().secret(&of);
    let one = subscription(1);
    assert_eq!(secret(&keys(), one), SECRET);
    let rotated = keys().with_new_first(&SystemRng);
    assert_eq!(secret(&rotated, one), SECRET);
    assert_eq!(secret(&rotated.with_new_first(&SystemRng), one), SECRET);
    // The first of the rotated keys alone: the old key is gone, and its secrets with it.
    let text = rotated.to_text();
    let alone = text.split(',').next().unwrap().parse().unwrap();
    assert_ne!(secret(&alone, one), SECRET);
    let others = [
        SubscriptionRef { user_agent: UserAgentId::from_octets([9; 16]), ..one },
        SubscriptionRef { channel: ChannelId::from_octets([9; 16]), ..one },
        SubscriptionRef { incarnation: Incarnation::from_octets([9; 12]), ..one },
    ];
    for other in others {
        assert_ne!(secret(&keys(), other), SECRET);
    }
}
