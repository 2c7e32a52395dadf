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

async fn sent(pusher: &Pusher, pushed: &Pushed) {
    within(poll_fn(|cx| pusher.poll(cx, |_| pushed.is_sent()))).await;
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
    let pushed = [push(&pusher, "one", b"1"), push(&pusher, "empty", b""), push(&pusher, "large", large)];
    for (path, body) in [("/one", &b"1"[..]), ("/empty", b""), ("/large", large)] {
        assert_eq!(next(&mut promises).await, (path.to_owned(), Bytes::from_static(body)));
    }
    for pushed in &pushed {
        sent(&pusher, pushed).await;
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
