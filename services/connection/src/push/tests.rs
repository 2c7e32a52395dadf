//! User agents that take server push, over real sockets with a model of the router.

use bytes::Bytes;
use h2::client::{self, PushPromises, ResponseFuture, SendRequest};
use http::{Request, Response, StatusCode};
use pushgrid_store::{Eviction, NodeLink, ResourceLink, RouterLink};
use pushgrid_types::{ChannelId, Message, Restriction, SubscriptionRef, SystemRng, UserAgentId};
use tokio::net::TcpStream;

use crate::testing::{Server, endpoint, message, subscription, within};

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
