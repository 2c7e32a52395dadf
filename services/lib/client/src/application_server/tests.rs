//! Against a server that takes one request at a time and answers as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pushgrid_crypto::encryption::Receiver;
use pushgrid_types::{ManualClock, Timestamp};
use tokio::net::TcpListener;

use super::*;

type Seen = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A server that answers every request with `answer`, and keeps the requests and the number of connections.
async fn server(answer: http::Response<&'static str>) -> (SocketAddr, Seen, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, connections) = (Seen::default(), Arc::new(Mutex::new(0)));
    let (keep, count) = (Arc::clone(&seen), Arc::clone(&connections));
    let answer = Arc::new(answer.map(|body| Full::new(Bytes::from_static(body.as_bytes()))));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            *count.lock() += 1;
            let (keep, answer) = (Arc::clone(&keep), Arc::clone(&answer));
            let service = service_fn(move |request: Request<Incoming>| {
                let (keep, answer) = (Arc::clone(&keep), Arc::clone(&answer));
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    keep.lock().push(Request::from_parts(head, body));
                    Ok::<_, Infallible>((*answer).clone())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, seen, connections)
}

fn created() -> http::Response<&'static str> {
    http::Response::builder()
        .status(201)
        .header("location", "http://h/m/1")
        .header("ttl", "30")
        .body("")
        .unwrap()
}

fn subscription(address: SocketAddr) -> (Receiver, PushSubscription) {
    let receiver = Receiver::generate(&SystemRng);
    let (p256dh, auth) = (receiver.p256dh(), receiver.auth());
    (receiver, PushSubscription { endpoint: format!("http://{address}/push/x"), p256dh, auth })
}

#[tokio::test]
async fn a_message_is_encrypted_signed_and_described() {
    let (address, seen, connections) = server(created()).await;
    let (receiver, to) = subscription(address);
    let server = ApplicationServer::new(Some(vapid::KeyPair::generate(&SystemRng)));
    let options = SendOptions {
        ttl: Ttl::from_secs(90),
        topic: Some("upd".parse().unwrap()),
        urgency: Some(Urgency::High),
        receipt: ReceiptWish::To("http://h/receipts/r".to_owned()),
    };
    for _ in 0..3 {
        let receipt = server.send(&to, b"hello", &options).await.unwrap();
        assert_eq!((receipt.status, receipt.location.as_deref()), (201, Some("http://h/m/1")));
        assert_eq!(receipt.ttl, Some(Ttl::from_secs(30)));
    }
    let seen = seen.lock();
    let field = |name: &str| seen[0].headers()[name].to_str().unwrap();
    assert_eq!((field("ttl"), field("topic"), field("urgency")), ("90", "upd", "high"));
    assert_eq!(field("content-encoding"), "aes128gcm");
    assert_eq!(field("prefer"), "respond-async");
    assert_eq!(field("link"), "<http://h/receipts/r>; rel=\"urn:ietf:params:push:receipt\"");
    assert!(field("authorization").starts_with("vapid t="));
    assert_eq!(seen[0].headers()["authorization"], seen[2].headers()["authorization"], "signed once");
    assert_ne!(seen[0].body(), seen[1].body(), "a new salt for each message");
    assert_eq!(receiver.decrypt_aes128gcm(seen[0].body()).unwrap(), b"hello");
    assert_eq!(*connections.lock(), 1, "one connection for all of them");
}

#[tokio::test]
async fn an_empty_message_has_no_body_and_no_encoding() {
    let (address, seen, _) = server(created()).await;
    let (_, to) = subscription(address);
    ApplicationServer::new(None).send(&to, b"", &SendOptions::default()).await.unwrap();
    let seen = seen.lock();
    assert!(seen[0].body().is_empty());
    assert!(
        !seen[0].headers().contains_key("content-encoding")
            && !seen[0].headers().contains_key("authorization")
    );
    assert_eq!(seen[0].headers()["ttl"], "60");
}

#[tokio::test]
async fn a_refusal_carries_the_status_and_what_was_said() {
    let body = r#"{"code":404,"errno":102,"error":"Not Found","message":"no such endpoint"}"#;
    let (address, ..) = server(http::Response::builder().status(404).body(body).unwrap()).await;
    let (_, to) = subscription(address);
    let server = ApplicationServer::new(None);
    let error = server.send(&to, b"x", &SendOptions::default()).await.unwrap_err();
    assert_eq!(error.status(), Some(404));
    assert!(error.to_string().contains("(errno 102) and said \"no such endpoint\""), "{error}");
    let raw =
        server.post(&to.endpoint, &[("TTL", "-1"), ("TTL", "2")], Bytes::from_static(b"x")).await.unwrap();
    assert_eq!((raw.status, raw.body), (404, Bytes::from_static(body.as_bytes())));
    assert_eq!(server.delete(&to.endpoint).await.unwrap(), 404);
}

#[tokio::test]
async fn raw_posts_pass_every_field_as_it_is() {
    let (address, seen, _) = server(created()).await;
    let server = ApplicationServer::new(None);
    let url = format!("http://{address}/push/x?q=1");
    server.post(&url, &[("TTL", "5"), ("ttl", "6")], Bytes::from_static(&[0, 255])).await.unwrap();
    let error = server.post(&url, &[("bad name", "6")], Bytes::new()).await.unwrap_err();
    assert!(matches!(error, SendError::Field(name) if name == "bad name"));
    let seen = seen.lock();
    assert_eq!(seen[0].uri(), "/push/x?q=1");
    assert_eq!(seen[0].headers().get_all("ttl").iter().count(), 2);
    assert_eq!(**seen[0].body(), [0, 255]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_millis(50);
    let server = ApplicationServer::with(Setup { timeout: limit, ..Setup::default() });
    let url = format!("http://{address}/");
    assert!(matches!(server.delete(&url).await, Err(SendError::Timeout(after)) if after == limit));
    drop(listener);
    assert!(matches!(server.delete(&url).await, Err(SendError::Unreachable(_))));
}

#[tokio::test]
async fn only_urls_that_can_be_posted_to_are_endpoints() {
    let server = ApplicationServer::new(None);
    for bad in ["", "/push/x", "ftp://host/x", "ws://host/x", "push.example.net"] {
        assert!(matches!(server.delete(bad).await, Err(SendError::Endpoint)), "{bad:?}");
    }
}

#[test]
fn the_audience_is_the_origin_of_the_endpoint() {
    for (endpoint, expected) in [
        ("https://Push.Example.net/push/x", "https://push.example.net"),
        ("https://h:443/x", "https://h"),
        ("http://h:80/x", "http://h"),
        ("http://h:443/x", "http://h:443"),
        ("http://localhost:8080/push/x", "http://localhost:8080"),
        ("http://[::1]:8080/push/x", "http://[::1]:8080"),
    ] {
        assert_eq!(origin(&endpoint.parse().unwrap()), expected);
    }
}

#[test]
fn a_signature_ages_with_the_clock_that_was_passed_in() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
    let key = Some(vapid::KeyPair::generate(&SystemRng));
    let server = ApplicationServer::with(Setup { key, clock: Arc::clone(&clock) as _, ..Setup::default() });
    let first = server.authorization_for("https://h/x").unwrap();
    assert_eq!(server.authorization_for("https://h/y").unwrap(), first);
    clock.advance(Duration::from_hours(7));
    assert_ne!(server.authorization_for("https://h/x").unwrap(), first);
}
