//! Answers to requests whose bodies nobody wanted.

use axum::http::Method;

use super::*;

/// A route that reads nothing and reports its begin, and one that reads everything.
fn picky() -> (Router, mpsc::Receiver<()>) {
    let (begun, has_begun) = mpsc::channel(16);
    let refuse = async move |_: Method| {
        begun.send(()).await.unwrap();
        (StatusCode::NOT_FOUND, "unwanted")
    };
    let app = Router::new().route("/", post(refuse).get(async || "hello"));
    (app.route("/echo", post(async |body: Bytes| body)), has_begun)
}

/// The head of a request for the route that reads nothing.
fn head(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nhost: x\r\n{fields}\r\n").into_bytes()
}

async fn works(stream: &mut TcpStream) {
    stream.write_all(GET).await.unwrap();
    let answer = read_until(stream, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_connection_stays_when_the_unwanted_body_comes_after_the_head() {
    let (app, mut begun) = picky();
    let server = start(app, Limits::default()).await;
    let mut stream = server.connect().await;
    let bodies: [(&str, &[&str]); 5] = [
        ("content-length: 5\r\n", &["hello"]),
        ("content-length: 5\r\n", &["he", "llo"]),
        ("transfer-encoding: chunked\r\n", &["5\r\nhello\r\n0\r\n\r\n"]),
        ("transfer-encoding: chunked\r\n", &["2\r\nhe\r\n", "3\r\nllo\r\n", "0\r\n", "\r\n"]),
        ("transfer-encoding: chunked\r\ntrailer: later\r\n", &["5\r\nhello\r\n", "0\r\nlater: x\r\n\r\n"]),
    ];
    for (fields, pieces) in bodies {
        stream.write_all(&head(fields)).await.unwrap();
        within(begun.recv()).await.unwrap();
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            // In a segment of its own.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let answer = read_until(&mut stream, "unwanted").await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("connection:"), "{answer}");
        works(&mut stream).await;
    }
}

#[tokio::test]
async fn requests_that_follow_without_waiting_are_answered_in_turn() {
    let (app, _begun) = picky();
    let server = start(app, Limits::default()).await;
    let mut stream = server.connect().await;
    let refused = [head("content-length: 5\r\n"), b"hello".to_vec()].concat();
    let octets = [&refused, GET, &refused, &refused, GET].concat();
    stream.write_all(&octets).await.unwrap();
    for ending in ["unwanted", "hello", "unwanted", "unwanted", "hello"] {
        let answer = read_until(&mut stream, ending).await;
        assert!(answer.starts_with("HTTP/1.1 ") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    }
}

/// The answer, read to the end of the connection, after `more` was written.
async fn closing_answer(server: &Running, head: &[u8], more: &[u8]) -> String {
    let mut stream = server.connect().await;
    stream.write_all(head).await.unwrap();
    let first = read_until(&mut stream, "\r\n").await;
    // The other side reads on for a while, so that this does not destroy what it has said.
    stream.write_all(more).await.unwrap();
    stream.shutdown().await.unwrap();
    let rest = read_until(&mut stream, "never").await;
    assert!(rest.contains("\r\nconnection: close\r\n"), "{first}{rest}");
    assert!(rest.ends_with("unwanted"), "{first}{rest}");
    first
}

#[tokio::test]
async fn a_body_that_is_too_large_or_waits_to_be_asked_for_ends_the_connection_with_a_word() {
    let (app, _begun) = picky();
    let server = start(app, Limits::default()).await;
    let large = vec![0; 512 * 1024];
    for (fields, more) in [
        ("content-length: 1000000\r\n", large.as_slice()),
        ("content-length: 1000000000\r\nexpect: 100-continue\r\n", b""),
        ("content-length: 5\r\nexpect: 100-continue\r\n", b""),
        ("content-length: 5\r\nexpect: 100-Continue\r\n", b"hello"),
        ("transfer-encoding: chunked\r\nexpect: 100-continue\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let began = Instant::now();
        let first = closing_answer(&server, &head(fields), more).await;
        assert!(first.starts_with("HTTP/1.1 404 "), "{first}");
        assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}: {fields}", began.elapsed());
    }
    // In chunks, the size shows only while they come.
    let chunks =
        b"1000\r\n".iter().chain(&[b'x'; 4096]).chain(b"\r\n").copied().collect::<Vec<_>>().repeat(20);
    let octets = [head("transfer-encoding: chunked\r\n"), chunks].concat();
    assert!(closing_answer(&server, &octets, b"more").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn an_unwanted_body_that_does_not_come_ends_the_connection_with_a_word() {
    let (app, _begun) = picky();
    let server = start(app, Limits::default()).await;
    let (fixed, chunked) = (head("content-length: 5\r\n"), head("transfer-encoding: chunked\r\n"));
    let began = Instant::now();
    tokio::join!(closing_answer(&server, &fixed, b"he"), closing_answer(&server, &chunked, b"5\r\nhe"));
    assert!(began.elapsed() < SOON / 2, "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_breaks_ends_the_connection_with_a_word() {
    let server = start(picky().0, Limits::default()).await;
    let mut stream = server.connect().await;
    let octets = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    stream.write_all(octets).await.unwrap();
    let answer = read_until(&mut stream, "never").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn http_1_0_gets_its_answer_and_keeps_its_connection_only_if_it_asks() {
    let (app, mut begun) = picky();
    let server = start(app, Limits::default()).await;
    for (field, kept) in [("", false), ("connection: keep-alive\r\n", true)] {
        let mut stream = server.connect().await;
        let head = format!("POST / HTTP/1.0\r\n{field}content-length: 5\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        within(begun.recv()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let answer = read_until(&mut stream, "unwanted").await;
        assert!(answer.starts_with("HTTP/1.0 404 "), "{answer}");
        if kept {
            works(&mut stream).await;
        } else {
            assert_eq!(read_until(&mut stream, "never").await, "");
        }
    }
}

#[tokio::test]
async fn a_host_that_is_missing_twice_there_or_malformed_is_answered_400() {
    let server = start(picky().0, Limits::default()).await;
    let mut stream = server.connect().await;
    for hosts in ["", "host: x\r\nhost: x\r\n", "host: a b\r\n", "host: \r\n"] {
        let request = format!("POST /echo HTTP/1.1\r\n{hosts}content-length: 5\r\n\r\nhello");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "}").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    works(&mut stream).await;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(read_until(&mut stream, "hello").await.starts_with("HTTP/1.0 200 "));
}

#[tokio::test]
async fn over_http_2_a_refusal_before_the_end_of_the_body_resets_its_stream_alone_and_without_an_error() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    let (app, _begun) = picky();
    let server = start(app, Limits::default()).await;
    let mut stream = server.connect().await;
    // POST and GET http / from the static table, and the authority "x".
    let head = |method: u8| [method, 0x86, 0x84, 0x41, 1, b'x'];
    let octets = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, 4, 1, &head(0x83)),
        frame(DATA, 0, 1, b"some"),
        frame(HEADERS, 4 | 1, 3, &head(0x82)),
    ];
    stream.write_all(&octets.concat()).await.unwrap();
    let (mut ended, mut reset) = (Vec::new(), None);
    while ended.len() < 2 || reset.is_none() {
        let mut start = [0; 9];
        within(stream.read_exact(&mut start)).await.unwrap();
        let length = usize::from(start[0]) << 16 | usize::from(start[1]) << 8 | usize::from(start[2]);
        let mut payload = vec![0; length];
        within(stream.read_exact(&mut payload)).await.unwrap();
        match start[3] {
            DATA if start[4] & 1 == 1 => ended.push((start[8], payload)),
            RESET => {
                assert!(ended.iter().any(|(id, _)| *id == 1), "reset before its answer");
                reset = Some((start[8], payload));
            }
            _ => {}
        }
    }
    ended.sort();
    assert_eq!(ended, [(1, b"unwanted".to_vec()), (3, b"hello".to_vec())]);
    assert_eq!(reset, Some((1, vec![0; 4])));
    // What still comes of the body is nothing to the connection.
    let octets = [frame(DATA, 1, 1, b"more"), frame(HEADERS, 4 | 1, 5, &head(0x82))].concat();
    stream.write_all(&octets).await.unwrap();
    let mut came = Vec::new();
    while !came.ends_with(b"hello") {
        came.push(within(stream.read_u8()).await.unwrap());
    }
}

#[tokio::test]
async fn a_request_with_a_body_has_no_upgrade() {
    let has_upgrade = |request: axum::extract::Request| async move {
        let has = request.extensions().get::<hyper::upgrade::OnUpgrade>().is_some();
        if has { "upgrade" } else { "none" }
    };
    let running = start(Router::new().route("/", get(has_upgrade)), Limits::default()).await;
    for (fields, body, expected) in [
        ("", "", "upgrade"),
        ("content-length: 2\r\n", "ok", "none"),
        ("transfer-encoding: chunked\r\n", "0\r\n\r\n", "none"),
    ] {
        let mut stream = running.connect().await;
        let head = format!(
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n{fields}\r\n{body}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, expected).await;
        assert!(answer.ends_with(expected), "{fields:?}: {answer}");
    }
}
