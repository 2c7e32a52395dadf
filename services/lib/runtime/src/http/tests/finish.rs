//! The end of the process, and clients that take their time.

use super::*;

const FINISH: Duration = Duration::from_millis(400);

/// A route like [`slow`] behind a body to read.
fn slow_with_body() -> (Router, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (app, begun, go_on) = slow();
    (app.route("/body", post(async |body: Bytes| body)), begun, go_on)
}

/// Opens an HTTP/2 connection that has had one request, and ignores every frame of the server.
async fn deaf(server: &Running) -> TcpStream {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    let mut stream = server.connect().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // GET http /none from the static table, and the authority "x".
    let head = frame(HEADERS, 4 | 1, 1, &[0x82, 0x86, 0x04, 5, b'/', b'n', b'o', b'n', b'e', 0x41, 1, b'x']);
    stream.write_all(&[preface, frame(SETTINGS, 0, 0, &[]), head].concat()).await.unwrap();
    until(&mut stream, HEADERS).await;
    stream
}

/// Reads up to the first frame of a kind.
async fn until(stream: &mut TcpStream, kind: u8) {
    let mut start = [0; 9];
    while start[3] != kind {
        within(stream.read_exact(&mut start)).await.unwrap();
        let length = usize::from(start[1]) << 8 | usize::from(start[2]);
        within(stream.read_exact(&mut vec![0; length])).await.unwrap();
    }
}

#[tokio::test]
async fn what_clients_do_not_finish_ends_in_time_and_what_has_come_is_answered() {
    let (app, mut begun, go_on) = slow_with_body();
    let server = start(app, Limits { finish_timeout: FINISH, ..Limits::default() }).await;
    let mut working = server.connect().await;
    working.write_all(GET).await.unwrap();
    within(begun.recv()).await.unwrap();
    let mut unfinished = vec![deaf(&server).await];
    for octets in [
        b"GET / HT".as_slice(),
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhe",
        b"POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nhe",
        b"POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(octets).await.unwrap();
        unfinished.push(stream);
    }
    // They have been read when another one, opened later, is answered.
    deaf(&server).await.shutdown().await.unwrap();

    let drained = Instant::now();
    server.shutdown.drain();
    for mut stream in unfinished {
        // Whatever comes, nothing is said to be done.
        let mut came = Vec::new();
        let _ = within(stream.read_to_end(&mut came)).await;
        assert!(!came.windows(12).any(|it| it == b"HTTP/1.1 200"), "{}", came.escape_ascii());
    }
    assert!(drained.elapsed() >= FINISH, "ended after {:?}", drained.elapsed());
    assert!(drained.elapsed() < Duration::from_secs(10), "ended after {:?}", drained.elapsed());
    assert!(!server.serving.is_finished());
    go_on.send(()).await.unwrap();
    let answer = read_until(&mut working, "finished").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    drop(working);
    server.ended().await;
}

#[tokio::test]
async fn clients_that_idle_hold_nothing_up() {
    let server =
        start(hello(), Limits { finish_timeout: Duration::from_hours(1), ..Limits::default() }).await;
    let (mut idle, fresh) = (server.connect().await, server.connect().await);
    idle.write_all(GET).await.unwrap();
    read_until(&mut idle, "hello").await;
    let mut sender = server.connect_h2().await;
    within(sender.send_request(Request::get("http://x/").body(Empty::new()).unwrap())).await.unwrap();
    server.shutdown.drain();
    assert_eq!(read_until(&mut idle, "never").await, "");
    server.ended().await;
    drop(fresh);
}

#[tokio::test]
async fn requests_that_come_when_the_time_is_over_are_not_waited_for() {
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    let (app, mut begun, go_on) = slow();
    let server = start(app, Limits { finish_timeout: FINISH, ..Limits::default() }).await;
    let mut stream = deaf(&server).await;
    let ask = |id| frame(HEADERS, 4 | 1, id, &[0x82, 0x86, 0x84, 0x41, 1, b'x']);
    stream.write_all(&ask(3)).await.unwrap();
    within(begun.recv()).await.unwrap();
    server.shutdown.drain();
    // The time to finish runs from the announcement, which the connection makes in the same step: it is over first.
    until(&mut stream, GOAWAY).await;
    tokio::time::sleep(FINISH).await;
    for id in [5, 7, 9] {
        stream.write_all(&ask(id)).await.unwrap();
        within(begun.recv()).await.unwrap();
    }
    // The first one is what the connection is kept for.
    assert!(!server.serving.is_finished());
    go_on.send(()).await.unwrap();
    server.ended().await;
}

#[tokio::test]
async fn an_answer_that_the_client_does_not_take_is_not_waited_for() {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    // As in RFC 9113 section 6.5.2: no octet of a body may be sent on any stream.
    const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
    let (app, mut begun, go_on) = slow();
    let server = start(app, Limits { finish_timeout: FINISH, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let ask = frame(HEADERS, 4 | 1, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'x']);
    stream.write_all(&[preface, frame(SETTINGS, 0, 0, &INITIAL_WINDOW_SIZE), ask].concat()).await.unwrap();
    within(begun.recv()).await.unwrap();
    go_on.send(()).await.unwrap();
    let drained = Instant::now();
    server.shutdown.drain();
    server.ended().await;
    assert!(drained.elapsed() < FINISH + Duration::from_secs(3), "ended after {:?}", drained.elapsed());
    drop(stream);
}

#[tokio::test]
async fn an_answer_that_is_not_at_its_end_is_waited_for() {
    let (app, send) = silence::parts();
    let server = start(app, Limits { finish_timeout: Duration::ZERO, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    send.send("first".into()).await.unwrap();
    assert!(read_until(&mut stream, "first").await.starts_with("HTTP/1.1 200 "));
    server.shutdown.drain();
    // Longer than an answer has to leave.
    let mut idle = server.serving;
    let ended = tokio::time::timeout(Duration::from_millis(1500), &mut idle).await;
    assert!(ended.is_err(), "it was cut off");
    send.send("second".into()).await.unwrap();
    assert!(read_until(&mut stream, "second").await.ends_with("second"));
    drop(send);
    assert_eq!(read_until(&mut stream, "never").await, "\r\n0\r\n\r\n");
    within(idle).await.unwrap();
}
