//! Tested: both HTTP versions, upgrades, limits and the end of a listener, over real sockets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

mod finish;
mod push;
mod refusals;
mod silence;

/// Bound of a wait for an event that comes at once, on however slow a machine.
const SOON: Duration = Duration::from_secs(20);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

/// Starts a server whose routes can push; HTTP/1.1 is that of every server.
async fn start(app: Router, limits: Limits) -> Running {
    start_with(app, limits, true).await
}

async fn start_with(app: Router, limits: Limits, pushes: bool) -> Running {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    let serving = tokio::spawn(serve_with(listener, app, limits, shutdown.clone(), pushes));
    Running { address, shutdown, serving }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect_h2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn ended(self) {
        within(self.serving).await.unwrap();
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("it happens soon")
}

/// Reads up to the end of the first `ending`, or of the stream.
async fn read_until(stream: &mut TcpStream, ending: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(ending.as_bytes()) {
        match within(stream.read_u8()).await {
            Ok(octet) => text.push(octet),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// A route that reports its begin, and answers on demand.
fn slow() -> (Router, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = mpsc::channel(1);
    let (go_on, told) = mpsc::channel::<()>(1);
    let told = Arc::new(tokio::sync::Mutex::new(told));
    let answer = async move || {
        begun.send(()).await.unwrap();
        told.lock().await.recv().await;
        "finished"
    };
    (Router::new().route("/", get(answer)), has_begun, go_on)
}

#[tokio::test]
async fn http_1_is_served_and_kept_alive() {
    let server = start(hello(), Limits::default()).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(GET).await.unwrap();
        let answer = read_until(&mut stream, "hello").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    server.shutdown.drain();
    assert_eq!(read_until(&mut stream, "more").await, "");
    server.ended().await;
}

#[tokio::test]
async fn http_2_is_served_by_prior_knowledge() {
    for pushes in [false, true] {
        let server = start_with(hello(), Limits::default(), pushes).await;
        let mut sender = server.connect_h2().await;
        let request = || Request::get("http://x/").body(Empty::new()).unwrap();
        let (first, second) = (sender.send_request(request()), sender.clone().send_request(request()));
        for answer in [within(first).await.unwrap(), within(second).await.unwrap()] {
            assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
            assert!(answer.headers().contains_key("date") && answer.headers()["content-length"] == "5");
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
        }
        server.shutdown.drain();
        server.ended().await;
    }
}

/// Answers 101, and then echoes in upper case.
async fn shout(request: Request<Body>) -> Response<Body> {
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.unwrap();
        let (mut socket, first) = into_socket(upgraded).unwrap();
        socket.write_all(&first.to_ascii_uppercase()).await.unwrap();
        let mut octets = [0; 16];
        loop {
            match socket.read(&mut octets).await {
                Ok(0) | Err(_) => break,
                Ok(count) => socket.write_all(&octets[..count].to_ascii_uppercase()).await.unwrap(),
            }
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("shout"));
    response
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\nearly";

#[tokio::test]
async fn an_upgraded_connection_outlives_its_task_and_keeps_early_octets() {
    let server = start(Router::new().route("/", get(shout)), Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(UPGRADE).await.unwrap();
    let answer = read_until(&mut stream, "EARLY").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");

    // Nothing that serves HTTP is left: the server ends, and the connection does not notice.
    server.shutdown.drain();
    server.ended().await;
    stream.write_all(b"late").await.unwrap();
    assert_eq!(read_until(&mut stream, "LATE").await, "LATE");
}

#[tokio::test]
async fn beyond_the_cap_a_client_waits_until_another_leaves_also_an_upgraded_one() {
    let app = Router::new().route("/", get(shout)).route("/hello", get(async || "hello"));
    let server = start(app, Limits { max_connections: 1, ..Limits::default() }).await;
    let mut first = server.connect().await;
    first.write_all(UPGRADE).await.unwrap();
    read_until(&mut first, "EARLY").await;

    let mut second = server.connect().await;
    second.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // The answer of the first shows that the server has had its turn.
    for _ in 0..10 {
        first.write_all(b"ping").await.unwrap();
        read_until(&mut first, "PING").await;
    }
    let waiting = second.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(waiting.kind(), std::io::ErrorKind::WouldBlock);

    drop(first);
    let answer = read_until(&mut second, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

// Holds: A-151.
#[tokio::test]
async fn a_client_that_does_not_send_its_header_in_time_is_closed() {
    let limits = Limits { header_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = start(hello(), limits.clone()).await;
    // Nothing, a part of the HTTP/2 preface, a part of a request, HTTP/2 without a request.
    let h2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    for start in [b"".as_slice(), b"PRI * HT", b"GET / HTTP/1.1\r\nhost: x\r\nslow", h2] {
        let opened = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(start).await.unwrap();
        within(stream.read_to_end(&mut Vec::new())).await.unwrap();
        assert!(
            opened.elapsed() >= limits.header_timeout,
            "{start:?} was closed after {:?}",
            opened.elapsed()
        );
    }
}

#[tokio::test]
async fn an_idle_http_2_connection_is_closed_and_a_busy_one_is_not() {
    let (app, mut begun, go_on) = slow();
    let (idle, header) = (Duration::from_millis(50), Duration::from_millis(500));
    let server = start(app, Limits { idle_timeout: idle, header_timeout: header, ..Limits::default() }).await;
    let mut sender = server.connect_h2().await;
    let answer = sender.send_request(Request::get("http://x/").body(Empty::new()).unwrap());
    let answer = tokio::spawn(answer);
    within(begun.recv()).await.unwrap();
    // Other connections, opened later, are closed one after another for want of a request. The busy one has seen many
    // times of either kind by then.
    for _ in 0..4 {
        within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
    }
    go_on.send(()).await.unwrap();
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "finished");
    within(async {
        while sender.ready().await.is_ok() && !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_http_2_connection_is_kept_between_requests_for_longer_than_a_header_may_take() {
    let server =
        start(hello(), Limits { header_timeout: Duration::from_millis(500), ..Limits::default() }).await;
    let mut sender = server.connect_h2().await;
    for _ in 0..2 {
        let answer =
            within(sender.send_request(Request::get("http://x/").body(Empty::new()).unwrap())).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
        // That time has passed when another connection is closed for want of a header.
        within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
        within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
    }
}

// Holds: A-151, I-03.
#[tokio::test]
async fn a_header_section_that_is_too_large_is_answered_with_431() {
    let server = start(hello(), Limits::default()).await;
    let mut stream = server.connect().await;
    let large = "x".repeat(64 * 1024);
    // The answer may come before all has been sent.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nhost: x\r\nlarge: {large}\r\n\r\n").as_bytes()).await;
    let answer = read_until(&mut stream, "\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let mut sender = server.connect_h2().await;
    let request = Request::get("http://x/").header("large", &large[..20 * 1024]).body(Empty::new()).unwrap();
    let answer = within(sender.send_request(request)).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
}

// Holds: A-36.
#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_and_then_its_answer() {
    let app = Router::new().route("/", post(async |body: Bytes| body));
    let server = start(app, Limits::default()).await;
    let mut stream = server.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    assert!(read_until(&mut stream, "hello").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_header_section_within_the_limit_is_taken() {
    let server = start(hello(), Limits::default()).await;
    let mut stream = server.connect().await;
    let large = "x".repeat(15 * 1024);
    stream
        .write_all(format!("GET / HTTP/1.1\r\nhost: x\r\nlarge: {large}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    assert!(read_until(&mut stream, "hello").await.starts_with("HTTP/1.1 200 "));
}

// Holds: A-136.
#[tokio::test]
async fn a_drain_refuses_new_connections_and_finishes_the_request_in_flight() {
    let (app, mut begun, go_on) = slow();
    let server = start(app, Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    within(begun.recv()).await.unwrap();

    server.shutdown.drain();
    // The listener closes as soon as the server has its turn.
    within(async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!server.serving.is_finished());
    go_on.send(()).await.unwrap();
    let answer = read_until(&mut stream, "finished").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("finished"), "{answer}");
    server.ended().await;
}

#[tokio::test]
async fn a_stop_drops_the_request_in_flight() {
    let (app, mut begun, _go_on) = slow();
    let server = start(app, Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    within(begun.recv()).await.unwrap();
    let mut sender = server.connect_h2().await;
    let answer = tokio::spawn(sender.send_request(Request::get("http://x/").body(Empty::new()).unwrap()));
    within(begun.recv()).await.unwrap();

    server.shutdown.stop();
    assert_eq!(read_until(&mut stream, "finished").await, "");
    assert!(within(answer).await.unwrap().is_err());
    server.ended().await;
}

async fn broken() -> &'static str {
    panic!("a fault in a route")
}

#[tokio::test]
async fn a_route_that_panics_ends_its_connection_and_no_other() {
    let app = hello().route("/panic", get(broken));
    let server = start(app, Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_until(&mut stream, "more").await, "");

    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    assert!(read_until(&mut stream, "hello").await.starts_with("HTTP/1.1 200 "));
    assert!(!server.shutdown.is_draining());
}

/// Octets of an HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Opens and resets streams without waiting for anything, and returns the code that the connection ends with.
async fn reset_in_haste(limits: Limits, pushes: bool) -> Option<u8> {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const GO_AWAY: u8 = 7;
    let server = start_with(hello(), limits, pushes).await;
    let mut stream = server.connect().await;
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    octets.extend(frame(SETTINGS, 0, 0, &[]));
    for id in (1..400).step_by(2) {
        // GET http / from the static table, and the authority "x".
        octets.extend(frame(HEADERS, 4 | 1, id, &[0x82, 0x86, 0x84, 0x41, 1, b'x']));
        octets.extend(frame(RESET, 0, id, &8_u32.to_be_bytes()));
    }
    stream.write_all(&octets).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;

    let mut rest = answer.as_slice();
    while let Some((head, tail)) = rest.split_at_checked(9) {
        if head[3] == GO_AWAY {
            return Some(tail[7]);
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        rest = &tail[length..];
    }
    None
}

// Holds: A-151.
#[tokio::test]
async fn streams_opened_and_reset_in_haste_end_their_connection() {
    const NO_ERROR: u8 = 0;
    const ENHANCE_YOUR_CALM: u8 = 11;
    let brief = Duration::from_millis(200);
    let limits = Limits { header_timeout: brief, idle_timeout: brief, ..Limits::default() };
    let strict = Limits { h2_max_resets: 10, ..limits.clone() };
    let lenient = Limits { h2_max_resets: 1000, ..limits };
    for pushes in [false, true] {
        assert_eq!(reset_in_haste(strict.clone(), pushes).await, Some(ENHANCE_YOUR_CALM));
        // With more than it needs, the connection ends for idling.
        assert_eq!(reset_in_haste(lenient.clone(), pushes).await, Some(NO_ERROR));
    }
}
