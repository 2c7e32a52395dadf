//! Clients that say nothing: how long each kind is kept.

use std::convert::Infallible;

use futures_util::stream;
use tokio::sync::watch;

use super::*;
use crate::http::activity::{Activity, Expired, Patience};

const HOUR: Duration = Duration::from_hours(1);

/// Asks, and reads the answer.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(GET).await.unwrap();
    let answer = read_until(stream, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("connection:"), "{answer}");
}

#[tokio::test]
async fn between_requests_it_is_the_idle_time_that_counts() {
    let (header, idle) = (Duration::from_millis(100), Duration::from_secs(3));
    let limits = Limits { header_timeout: header, idle_timeout: idle, ..Limits::default() };
    let server = start(hello(), limits).await;
    let mut stream = server.connect().await;
    let began = Instant::now();
    ask(&mut stream).await;
    // Header times pass, for one client after the other.
    within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
    within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
    ask(&mut stream).await;
    assert!(began.elapsed() < idle, "this machine is too slow: {:?}", began.elapsed());
    let answered = Instant::now();
    assert_eq!(read_until(&mut stream, "never").await, "");
    assert!(answered.elapsed() + Duration::from_millis(50) >= idle, "closed after {:?}", answered.elapsed());
}

#[tokio::test]
async fn a_head_that_has_begun_has_its_own_time() {
    let limits =
        Limits { header_timeout: HOUR, idle_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = start(hello(), limits).await;
    let (mut stream, mut idle) = (server.connect().await, server.connect().await);
    ask(&mut stream).await;
    stream.write_all(&GET[..10]).await.unwrap();
    // Another that idles is closed meanwhile, and one more after it.
    ask(&mut idle).await;
    assert_eq!(read_until(&mut idle, "never").await, "");
    let mut idle = server.connect().await;
    ask(&mut idle).await;
    assert_eq!(read_until(&mut idle, "never").await, "");
    stream.write_all(&GET[10..]).await.unwrap();
    assert!(read_until(&mut stream, "hello").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_later_head_that_does_not_come_to_its_end_is_not_waited_for_as_an_idle_client_is() {
    let header = Duration::from_millis(200);
    let limits = Limits { header_timeout: header, idle_timeout: HOUR, ..Limits::default() };
    let server = start(hello(), limits).await;
    let mut stream = server.connect().await;
    ask(&mut stream).await;
    ask(&mut stream).await;
    let began = Instant::now();
    stream.write_all(&GET[..10]).await.unwrap();
    assert_eq!(read_until(&mut stream, "never").await, "");
    assert!(began.elapsed() + Duration::from_millis(50) >= header, "closed after {:?}", began.elapsed());
}

#[tokio::test]
async fn clients_that_idle_make_room_when_hardly_a_place_is_left() {
    let limits = Limits {
        header_timeout: Duration::from_millis(200),
        idle_timeout: HOUR,
        max_connections: 8,
        ..Limits::default()
    };
    let server = start(hello(), limits).await;
    let mut idle = Vec::new();
    for _ in 0..5 {
        let mut stream = server.connect().await;
        ask(&mut stream).await;
        idle.push(stream);
    }
    // Several header times pass, and there is room: they stay.
    for _ in 0..3 {
        within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
    }
    for stream in &mut idle {
        ask(stream).await;
    }
    // Now there is hardly any.
    for _ in 0..2 {
        let mut stream = server.connect().await;
        ask(&mut stream).await;
        idle.push(stream);
    }
    for stream in &mut idle {
        assert_eq!(read_until(stream, "never").await, "");
    }
}

const POST: &[u8] = b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";

/// Answers both [`GET`] and [`POST`].
fn echo() -> Router {
    hello().route("/body", post(async |body: Bytes| body))
}

#[tokio::test]
async fn half_a_head_right_behind_a_request_has_the_time_of_a_head() {
    let header = Duration::from_millis(200);
    let limits = Limits { header_timeout: header, idle_timeout: HOUR, ..Limits::default() };
    for request in [GET, POST] {
        let server = start(echo(), limits.clone()).await;
        let mut stream = server.connect().await;
        ask(&mut stream).await;
        stream.write_all(&[request, &GET[..10]].concat()).await.unwrap();
        let began = Instant::now();
        assert!(read_until(&mut stream, "hello").await.starts_with("HTTP/1.1 200 "));
        assert_eq!(read_until(&mut stream, "never").await, "");
        assert!(began.elapsed() + Duration::from_millis(50) >= header, "closed after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn requests_that_came_at_once_leave_a_connection_that_idles() {
    let limits =
        Limits { header_timeout: Duration::from_millis(100), idle_timeout: HOUR, ..Limits::default() };
    let server = start(echo(), limits).await;
    let mut streams = Vec::new();
    for requests in [[GET, GET], [POST, POST], [GET, POST], [POST, GET], [POST, b"\r\n"]] {
        let mut stream = server.connect().await;
        stream.write_all(&requests.concat()).await.unwrap();
        for _ in requests.iter().filter(|it| it.len() > 2) {
            assert!(read_until(&mut stream, "hello").await.starts_with("HTTP/1.1 200 "));
        }
        streams.push(stream);
    }
    // Header times pass, for one client after the other.
    for _ in 0..3 {
        within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
    }
    for stream in &mut streams {
        ask(stream).await;
    }
}

/// Opens an HTTP/2 connection that has asked, and gives the answer no room (RFC 9113 section 6.9.2).
async fn takes_nothing(server: &Running) -> TcpStream {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
    let mut stream = server.connect().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let ask = frame(HEADERS, 4 | 1, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'x']);
    stream.write_all(&[preface, frame(SETTINGS, 0, 0, &INITIAL_WINDOW_SIZE), ask].concat()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_answer_that_is_not_taken_does_not_keep_its_connection() {
    let answer = Duration::from_millis(300);
    let limits = Limits {
        header_timeout: Duration::from_millis(200),
        idle_timeout: HOUR,
        answer_timeout: answer,
        max_connections: 1,
        ..Limits::default()
    };
    let server = start(hello(), limits).await;
    let began = Instant::now();
    let mut deaf = takes_nothing(&server).await;
    within(deaf.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(began.elapsed() >= answer, "closed after {:?}", began.elapsed());
    // Its place is free.
    ask(&mut server.connect().await).await;
}

#[tokio::test]
async fn a_route_that_takes_its_time_is_no_answer_that_is_not_taken() {
    let (app, mut begun, go_on) = slow();
    let brief = Duration::from_millis(100);
    let limits =
        Limits { header_timeout: brief, idle_timeout: HOUR, answer_timeout: brief, ..Limits::default() };
    let server = start(app, limits).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    within(begun.recv()).await.unwrap();
    for _ in 0..3 {
        within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
    }
    go_on.send(()).await.unwrap();
    assert!(read_until(&mut stream, "finished").await.starts_with("HTTP/1.1 200 "));
}

/// A route whose answer has parts, each sent on demand.
pub(super) fn parts() -> (Router, mpsc::Sender<Bytes>) {
    let (send, parts) = mpsc::channel::<Bytes>(1);
    let parts = Arc::new(parking_lot::Mutex::new(Some(parts)));
    let answer = async move || {
        let mut parts = parts.lock().take().expect("one request");
        let parts = stream::poll_fn(move |cx| parts.poll_recv(cx));
        Body::from_stream(futures_util::StreamExt::map(parts, Ok::<_, Infallible>))
    };
    (Router::new().route("/", get(answer)), send)
}

#[tokio::test]
async fn an_answer_that_is_not_at_its_end_is_no_answer_that_is_not_taken() {
    let (app, send) = parts();
    let brief = Duration::from_millis(100);
    let limits =
        Limits { header_timeout: brief, idle_timeout: HOUR, answer_timeout: brief, ..Limits::default() };
    let server = start(app, limits).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    for part in ["first", "second"] {
        send.send(part.into()).await.unwrap();
        assert!(read_until(&mut stream, part).await.ends_with(part));
        for _ in 0..3 {
            within(server.connect().await.read_to_end(&mut Vec::new())).await.unwrap();
        }
    }
    // With its end the connection is as any other.
    drop(send);
    read_until(&mut stream, "0\r\n\r\n").await;
    stream.write_all(&GET[..10]).await.unwrap();
    assert_eq!(read_until(&mut stream, "never").await, "");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_the_socket_full_is_timed_whatever_its_routes_do() {
    let patience = Patience { header: HOUR, idle: HOUR, answer: Duration::from_mins(1) };
    let (activity, crowded) = (Activity::new(), watch::Sender::new(false));
    activity.begin(false, None);
    activity.answer();
    activity.answer_pauses();
    let expired = activity.expired(patience, &crowded);
    assert!(tokio::time::timeout(2 * HOUR, expired).await.is_err(), "it has taken all that there is");
    activity.socket_takes(false);
    let began = tokio::time::Instant::now();
    let expired = tokio::time::timeout(HOUR, activity.expired(patience, &crowded)).await;
    assert_eq!(expired.ok(), Some(Expired::Answer));
    assert_eq!(began.elapsed().as_secs(), 60);
    activity.socket_takes(true);
    let expired = activity.expired(patience, &crowded);
    assert!(tokio::time::timeout(2 * HOUR, expired).await.is_err(), "it reads again");
}
