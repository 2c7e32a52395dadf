//! Server push, with the client of `h2`.

use std::future::poll_fn;
use std::task::Poll;

use h2::client::{self, PushPromises, SendRequest};

use super::*;

/// A route that hands its way to push over, and answers on demand.
fn pushing() -> (Router, mpsc::Receiver<Pusher>, mpsc::Sender<()>) {
    let (give, given) = mpsc::channel(8);
    let (go, gone) = mpsc::channel(8);
    let gone = std::sync::Arc::new(tokio::sync::Mutex::new(gone));
    let route = get(move |request: Request<Body>| async move {
        let pusher = request.extensions().get::<Pusher>().cloned();
        give.send(pusher.expect("a GET over HTTP/2 has one")).await.unwrap();
        gone.lock().await.recv().await;
        "done"
    });
    (Router::new().route("/", route), given, go)
}

async fn connect(server: &Running, builder: &client::Builder) -> SendRequest<Bytes> {
    let (sender, connection) = builder.handshake(server.connect().await).await.unwrap();
    tokio::spawn(connection);
    within(sender.ready()).await.unwrap()
}

fn request() -> Request<()> {
    Request::get("http://push.example/").body(()).unwrap()
}

fn push(pusher: &Pusher, path: &str, body: &'static [u8]) -> Pushed {
    let promise = Request::get(format!("http://push.example/{path}")).body(()).unwrap();
    pusher.push(promise, Response::new(()), Bytes::from_static(body)).unwrap()
}

async fn sent(pusher: &Pusher, answer: &Pushed) {
    within(poll_fn(|cx| pusher.poll(cx, |_| answer.is_sent()))).await;
}

/// Path and body of the next promise.
async fn next(promises: &mut PushPromises) -> (String, Bytes) {
    let (request, answer) = within(promises.push_promise()).await.unwrap().unwrap().into_parts();
    let (head, mut body) = within(answer).await.unwrap().into_parts();
    assert_eq!(head.status, StatusCode::OK);
    let mut octets = Vec::new();
    while let Some(part) = within(body.data()).await {
        octets.extend_from_slice(&part.unwrap());
    }
    (request.uri().path().to_owned(), octets.into())
}

// Holds: A-107.
#[tokio::test]
async fn a_route_pushes_beside_its_answer_and_nothing_after_it() {
    let (app, mut given, go) = pushing();
    let server = start(app, Limits::default()).await;
    let mut sender = connect(&server, &client::Builder::new()).await;
    let (mut answer, _) = sender.send_request(request(), true).unwrap();
    let mut promises = answer.push_promises();
    let pusher = within(given.recv()).await.unwrap();
    assert!(pusher.is_wanted());
    let large = vec![b'x'; 5000].leak();
    let all = [push(&pusher, "one", b"1"), push(&pusher, "empty", b""), push(&pusher, "large", large)];
    for (path, body) in [("/one", &b"1"[..]), ("/empty", b""), ("/large", large)] {
        assert_eq!(next(&mut promises).await, (path.to_owned(), Bytes::from_static(body)));
    }
    for one in &all {
        sent(&pusher, one).await;
    }
    go.send(()).await.unwrap();
    assert_eq!(within(answer).await.unwrap().status(), StatusCode::OK);
    assert!(!pusher.is_wanted());
    assert!(pusher.push(request(), Response::new(()), Bytes::new()).is_none());
    server.shutdown.drain();
    server.ended().await;
}

// Holds: A-107.
#[tokio::test]
async fn whoever_wants_no_push_is_known_and_served() {
    let (app, mut given, go) = pushing();
    let server = start(app, Limits::default()).await;
    let mut sender = connect(&server, client::Builder::new().enable_push(false)).await;
    for _ in 0..2 {
        let (answer, _) = sender.send_request(request(), true).unwrap();
        let pusher = within(given.recv()).await.unwrap();
        assert!(!pusher.is_wanted());
        assert!(pusher.push(request(), Response::new(()), Bytes::new()).is_none());
        go.send(()).await.unwrap();
        assert_eq!(within(answer).await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn there_is_room_for_as_many_pushes_as_the_client_takes_at_a_time() {
    let (app, mut given, _go) = pushing();
    let server = start(app, Limits::default()).await;
    let narrow = client::Builder::new().max_concurrent_streams(1).initial_window_size(10).to_owned();
    let mut sender = connect(&server, &narrow).await;
    let (mut answer, _) = sender.send_request(request(), true).unwrap();
    let mut promises = answer.push_promises();
    let pusher = within(given.recv()).await.unwrap();
    let room =
        async |pusher: &Pusher| poll_fn(|cx| Poll::Ready(pusher.poll(cx, |room| room).is_ready())).await;
    assert!(room(&pusher).await);
    let first = push(&pusher, "first", b"more than the window");
    assert!(!room(&pusher).await);
    let promise = within(promises.push_promise()).await.unwrap().unwrap();
    assert!(!first.is_sent(), "the client takes ten octets");
    // Given up, it makes room for another.
    drop(first);
    within(poll_fn(|cx| pusher.poll(cx, |room| room))).await;
    let (_, answer) = promise.into_parts();
    let error = match within(answer).await {
        Ok(answer) => {
            let mut body = answer.into_body();
            loop {
                match within(body.data()).await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("it came to its end"),
                }
            }
        }
        Err(error) => error,
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    let second = push(&pusher, "second", b"fits");
    assert_eq!(next(&mut promises).await, ("/second".to_owned(), Bytes::from_static(b"fits")));
    sent(&pusher, &second).await;
}

#[tokio::test]
async fn a_client_that_resets_its_request_ends_the_route_and_its_pushes() {
    let (app, mut given, _go) = pushing();
    let server = start(app, Limits::default()).await;
    let mut sender = connect(&server, &client::Builder::new()).await;
    let (answer, mut stream) = sender.send_request(request(), true).unwrap();
    let pusher = within(given.recv()).await.unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    drop(answer);
    while pusher.is_wanted() {
        tokio::task::yield_now().await;
    }
    // The connection goes on.
    let (_answer, _) = sender.send_request(request(), true).unwrap();
    assert!(within(given.recv()).await.unwrap().is_wanted());
}

/// A client without a library, which reads only when told to.
async fn raw(server: &Running, settings: &[u8]) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    octets.extend(frame(4, 0, 0, settings));
    // All that a connection can have of window beside the first 65,535 octets.
    octets.extend(frame(8, 0, 0, &(i32::MAX - 65_535).to_be_bytes()));
    octets.extend(ask(1));
    stream.write_all(&octets).await.unwrap();
    stream
}

/// `GET http://x/`, without a body.
fn ask(stream: u32) -> Vec<u8> {
    frame(1, 4 | 1, stream, &[0x82, 0x86, 0x84, 0x41, 1, b'x'])
}

/// Code of the GOAWAY in what comes next.
async fn goaway(stream: &mut TcpStream) -> u32 {
    within(async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.unwrap();
            if head[3] == 7 {
                return u32::from_be_bytes(payload[4..8].try_into().unwrap());
            }
        }
    })
    .await
}

/// Pushes much to a client that reads nothing and resets its request; returns the code that the connection ends with.
async fn lose_some(limits: Limits) -> u32 {
    let (app, mut given, _go) = pushing();
    let server = start(app, limits).await;
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let mut stream = raw(&server, &[0, 4, 0x40, 0, 0, 0]).await;
    let pusher = within(given.recv()).await.unwrap();
    let large = vec![b'x'; 64 * 1024].leak();
    let all: Vec<_> = (0..300).map(|_| push(&pusher, "x", large)).collect();
    sent(&pusher, &all[0]).await;
    stream.write_all(&frame(3, 0, 1, &8_u32.to_be_bytes())).await.unwrap();
    while pusher.is_wanted() {
        tokio::task::yield_now().await;
    }
    assert!(!all[299].is_sent(), "more than the kernel takes");
    drop(all);
    stream.write_all(&ask(3)).await.unwrap();
    goaway(&mut stream).await
}

#[tokio::test]
async fn promises_that_are_lost_with_their_request_end_the_connection_in_the_end() {
    const NO_ERROR: u32 = 0;
    const ENHANCE_YOUR_CALM: u32 = 11;
    assert_eq!(lose_some(Limits { h2_max_resets: 1000, ..Limits::default() }).await, NO_ERROR);
    assert_eq!(lose_some(Limits::default()).await, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_has_gone() {
    let brief = Duration::from_millis(100);
    let limits = Limits { h2_ping_interval: brief, h2_ping_timeout: brief, ..Limits::default() };
    for pushes in [false, true] {
        let (app, mut begun, _go_on) = slow();
        let server = start_with(app, limits.clone(), pushes).await;
        let mut dead = raw(&server, &[]).await;
        within(begun.recv()).await.unwrap();
        within(dead.read_to_end(&mut Vec::new())).await.unwrap();
    }
}

async fn taken(pusher: &Pusher, answer: &Pushed) {
    within(poll_fn(|cx| pusher.poll(cx, |_| answer.is_taken()))).await;
}

fn push_watched(pusher: &Pusher, path: &str) -> Pushed {
    let promise = Request::get(format!("http://push.example/{path}")).body(()).unwrap();
    pusher.push_watched(promise, Response::builder().status(204).body(()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_push_is_taken_when_the_client_has_answered_for_it() {
    let (app, mut given, _go) = pushing();
    let server = start(app, Limits::default()).await;
    let mut sender = connect(&server, &client::Builder::new()).await;
    let (mut answer, _) = sender.send_request(request(), true).unwrap();
    let mut promises = answer.push_promises();
    let pusher = within(given.recv()).await.unwrap();
    let plain = push(&pusher, "plain", b"1");
    sent(&pusher, &plain).await;
    for path in ["one", "two", "three"] {
        let watched = push_watched(&pusher, path);
        taken(&pusher, &watched).await;
    }
    let several: Vec<_> = (0..10).map(|_| push_watched(&pusher, "several")).collect();
    for one in &several {
        taken(&pusher, one).await;
    }
    for path in ["/plain", "/one", "/two", "/three"] {
        let (request, answer) = within(promises.push_promise()).await.unwrap().unwrap().into_parts();
        assert_eq!(request.uri().path(), path);
        let (head, mut body) = within(answer).await.unwrap().into_parts();
        if path != "/plain" {
            assert_eq!(head.status, StatusCode::NO_CONTENT);
            assert!(within(body.data()).await.is_none_or(|part| part.unwrap().is_empty()), "no data");
        }
    }
}

#[tokio::test]
async fn a_push_that_is_sent_to_a_client_that_answers_for_nothing_is_not_taken() {
    let (app, mut given, _go) = pushing();
    let server = start(app, Limits::default()).await;
    let mut silent = raw(&server, &[]).await;
    let pusher = within(given.recv()).await.unwrap();
    let watched = push_watched(&pusher, "one");
    sent(&pusher, &watched).await;
    // The ping has come, so the push is with the client; it has not answered, and goes.
    within(async {
        loop {
            let mut head = [0; 9];
            silent.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            silent.read_exact(&mut vec![0; length]).await.unwrap();
            if head[3] == 6 {
                break;
            }
        }
    })
    .await;
    let second = push_watched(&pusher, "two");
    drop(silent);
    sent(&pusher, &second).await;
    assert!(!watched.is_taken() && !second.is_taken());
}
