//! User agents that take server push, over real sockets with a model of the router.

use bytes::Bytes;
use h2::client::{self, PushPromises, ResponseFuture, SendRequest};
use http::{Request, Response, StatusCode};
use pushgrid_store::{Eviction, NodeLink, ResourceLink, RouterLink, Settlement};
use pushgrid_types::{ChannelId, Message, Outcome, Restriction, SubscriptionRef, SystemRng, UserAgentId};
use tokio::net::TcpStream;

use crate::testing::{Call, Server, endpoint, message, receipt, subscription, within};

/// A client over one HTTP/2 connection.
struct Client(SendRequest<Bytes>);

/// An open request, and what was pushed beside it.
struct Monitoring {
    answer: ResponseFuture,
    promises: PushPromises,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        let socket = TcpStream::connect(server.address).await.unwrap();
        let (sender, connection) = client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        Self(within(sender.ready()).await.unwrap())
    }

    fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> Monitoring {
        let mut request = Request::get(format!("http://push.example{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut answer, _) = self.0.send_request(request.body(()).unwrap(), true).unwrap();
        let promises = answer.push_promises();
        Monitoring { answer, promises }
    }
}

impl Monitoring {
    async fn next(&mut self) -> (Request<()>, Response<Bytes>) {
        let (request, answer) = within(self.promises.push_promise()).await.unwrap().unwrap().into_parts();
        let (head, mut body) = within(answer).await.unwrap().into_parts();
        let mut octets = Vec::new();
        while let Some(part) = within(body.data()).await {
            octets.extend_from_slice(&part.unwrap());
        }
        (request, Response::from_parts(head, octets.into()))
    }

    /// The status of the answer, after which nothing is pushed.
    async fn end(mut self) -> StatusCode {
        let status = within(self.answer).await.unwrap().status();
        assert!(within(self.promises.push_promise()).await.is_none());
        status
    }
}

/// A subscription made by another way, and its path.
async fn subscribed(server: &Server) -> (SubscriptionRef, String) {
    let (id, channel) = (UserAgentId::random(&SystemRng), ChannelId::random(&SystemRng));
    server.router.register(id, channel, Restriction::Open).await.unwrap();
    let to = subscription(id, channel);
    (to, format!("/s/{}", server.addresses.seal_subscription(&to)))
}

fn letter(to: SubscriptionRef, body: &[u8]) -> Message {
    message(to.user_agent, to.channel, body)
}

// Holds.
#[tokio::test]
async fn messages_are_pushed_with_their_push_resource_and_nothing_of_the_sender() {
    let server = Server::start(&[]).await;
    let (to, path) = subscribed(&server).await;
    let mut client = Client::connect(&server).await;
    let waiting = letter(to, b"waits");
    server.router.push(waiting.clone());
    let mut monitoring = client.get(&path, &[]);
    let (promise, answer) = monitoring.next().await;
    let link = format!("<{}>; rel=\"urn:ietf:params:push\"", endpoint(to.channel));
    assert_eq!(promise.uri().authority().unwrap(), "push.example");
    let address = promise.uri().path().strip_prefix("/r/").unwrap();
    assert_eq!(server.addresses.open_delivery(address).unwrap().id, waiting.id);
    assert_eq!((&promise.headers()["link"], promise.headers().len()), (&link.parse().unwrap(), 1));
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, &b"waits"[..]));
    let names: Vec<_> = answer.headers().keys().map(http::HeaderName::as_str).collect();
    let expected = ["content-encoding", "last-modified", "cache-control", "content-length", "link"];
    assert!(names.len() == expected.len() && expected.iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(answer.headers()["link"], link.as_str());
    assert_eq!(answer.headers()["cache-control"], "private");
    assert_eq!(answer.headers()["last-modified"], "Tue, 14 Nov 2023 22:13:20 GMT");
    for number in 0..100_u8 {
        server.router.push(letter(to, &[number])).unwrap().unwrap();
        assert_eq!(&monitoring.next().await.1.body()[..], [number]);
    }
    // A later request takes the place of this one.
    let later = client.get(&path, &[]);
    assert_eq!(monitoring.end().await, StatusCode::OK);
    let last = client.get(&path, &[("prefer", "wait=0")]);
    assert_eq!(later.end().await, StatusCode::NO_CONTENT);
    assert_eq!(last.end().await, StatusCode::NO_CONTENT);
}

// Holds: A-105.
#[tokio::test]
async fn every_end_by_the_service_has_a_status() {
    let server = Server::start(&[]).await;
    let (to, path) = subscribed(&server).await;
    let mut client = Client::connect(&server).await;
    let monitoring = client.get(&path, &[]);
    let session = server.router.opened(to.user_agent).await;
    server.node.evict(session, Eviction::Resync);
    assert_eq!(monitoring.end().await, StatusCode::NO_CONTENT);
    let monitoring = client.get(&path, &[]);
    server.router.opened(to.user_agent).await;
    server.router.unsubscribe(to).await.unwrap();
    assert_eq!(monitoring.end().await, StatusCode::NOT_FOUND);
    assert_eq!(client.get(&path, &[]).end().await, StatusCode::NOT_FOUND);
    let (to, path) = subscribed(&server).await;
    let monitoring = client.get(&path, &[]);
    server.router.opened(to.user_agent).await;
    let ((), status) = tokio::join!(server.drained(), monitoring.end());
    assert_eq!(status, StatusCode::NO_CONTENT);
}

/// A receipt subscription, and its path.
async fn receipts(server: &Server) -> (SubscriptionRef, String) {
    let (to, _) = subscribed(server).await;
    (to, format!("/receipts/{}", server.receipts.seal(&to)))
}

// Holds.
#[tokio::test]
async fn a_receipt_is_pushed_as_a_status_of_its_message_and_acknowledged_when_it_is_taken() {
    let server = Server::start(&[]).await;
    let (to, path) = receipts(&server).await;
    let mut client = Client::connect(&server).await;
    let (early, waiting) = receipt(to, Outcome::Delivered);
    server.router.push(waiting.clone());
    let mut monitoring = client.get(&path, &[]);
    let mut ended = Vec::new();
    let mut expect = vec![(early, waiting)];
    for outcome in [Outcome::Expired, Outcome::Undecryptable, Outcome::Unsubscribed] {
        expect.push(receipt(to, outcome));
    }
    for (number, (of, message)) in expect.into_iter().enumerate() {
        if number > 0 {
            server.router.push(message.clone()).unwrap().unwrap();
        }
        let (promise, answer) = monitoring.next().await;
        let address = promise.uri().path().strip_prefix("/m/").unwrap();
        assert_eq!(server.messages.open(address), Some(of.message), "the message of its sender");
        assert_eq!(promise.method(), "GET");
        assert_eq!((answer.status().as_u16(), answer.body().len()), (of.status().code(), 0));
        assert!(!answer.headers().contains_key("link"));
        ended.push(Settlement { id: message.id, outcome: Outcome::Delivered });
        let is_settled = |call: &Call| matches!(call, Call::Settle(all) if all.contains(&ended[number]));
        server.router.called(|calls| calls.iter().any(is_settled)).await;
    }
    assert_eq!(server.router.settled(), ended, "each once, and nothing else");
}

// Holds: A-124.
#[tokio::test]
async fn receipts_that_wait_can_be_fetched_and_are_acknowledged_before_the_answer_ends() {
    let server = Server::start(&[]).await;
    let (to, path) = receipts(&server).await;
    let waiting: Vec<_> = (0..40).map(|_| receipt(to, Outcome::Delivered).1).collect();
    for message in &waiting {
        server.router.push(message.clone());
    }
    let mut client = Client::connect(&server).await;
    let mut brief = client.get(&path, &[("prefer", "wait=0")]);
    for _ in &waiting {
        assert_eq!(brief.next().await.1.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(brief.end().await, StatusCode::OK);
    let ids = |all: Vec<Settlement>| all.into_iter().map(|it| it.id).collect::<Vec<_>>();
    server.router.called(|calls| calls.iter().any(|call| matches!(call, Call::Close(_)))).await;
    assert_eq!(ids(server.router.settled()), waiting.iter().map(|it| it.id).collect::<Vec<_>>());
}

// Holds.
#[tokio::test]
async fn a_receipt_subscription_is_ended_by_its_address_and_nothing_else_is_reached_by_it() {
    let server = Server::start(&[]).await;
    let (to, path) = receipts(&server).await;
    let mut client = Client::connect(&server).await;
    let address = path.strip_prefix("/receipts/").unwrap();
    for other in [format!("/s/{address}"), format!("/set/{address}"), format!("/r/{address}")] {
        assert_eq!(client.get(&other, &[]).end().await, StatusCode::NOT_FOUND);
    }
    let subscription = server.addresses.seal_subscription(&to);
    assert_eq!(client.get(&format!("/receipts/{subscription}"), &[]).end().await, StatusCode::NOT_FOUND);
    let monitoring = client.get(&path, &[]);
    server.router.opened(to.user_agent).await;
    let request = Request::delete(format!("http://push.example{path}")).body(()).unwrap();
    let (answer, _) = client.0.send_request(request, true).unwrap();
    assert_eq!(within(answer).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(monitoring.end().await, StatusCode::NOT_FOUND);
    assert_eq!(client.get(&path, &[]).end().await, StatusCode::NOT_FOUND);
}
