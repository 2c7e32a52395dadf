use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testing::{Server, within};

/// One request and its answer, with the connection closed after it.
async fn answer(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("{request}\r\nHost: push.example.net\r\n").as_bytes()).await.unwrap();
    stream.write_all(b"Connection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// The head of the answer to a handshake with further header lines.
async fn shake_hands(server: &Server, target: &str, lines: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: push.example.net\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn message(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_browser_is_told_what_this_address_is() {
    let server = Server::start(&[]).await;
    let plain = answer(&server, "GET / HTTP/1.1").await;
    assert!(plain.starts_with("HTTP/1.1 426 ") && plain.contains("upgrade: websocket"), "{plain}");
    assert!(message(&plain)["message"].as_str().unwrap().contains("push service"));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    let server = Server::start(&[]).await;
    let missing = answer(&server, "GET /other HTTP/1.1").await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    assert_eq!(message(&missing)["code"], 404);
    let posted = answer(&server, "POST / HTTP/1.1").await;
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.contains("allow: GET"), "{posted}");
}

// Holds: H-01.
#[tokio::test]
async fn the_subprotocol_is_echoed_when_offered_and_no_other_is_selected() {
    let server = Server::start(&[]).await;
    let offered = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, push-notification\r\n\
                   Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let head = shake_hands(&server, "/?any=query", offered).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-protocol: push-notification\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    assert!(!head.contains("deflate"), "{head}");

    let other = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n";
    let head = shake_hands(&server, "/", other).await;
    assert!(head.starts_with("http/1.1 101 ") && !head.contains("sec-websocket-protocol"), "{head}");
}

/// A handshake whose lists are as given, and the status line of its answer with the fields after it.
async fn with_lists(server: &Server, lines: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: push.example.net\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn lists_count_as_one_over_all_their_lines_and_members() {
    let server = Server::start(&[]).await;
    let good = [
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive , UPGRADE\r\nUpgrade: foo, websocket\r\n",
        "Connection: upgrade\r\nUpgrade: foo/2\r\nUpgrade: bar, WebSocket\r\n",
        "Connection: ,upgrade,\r\nUpgrade: ,websocket\r\n",
    ];
    for lists in good {
        let protocols = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: push-notification\r\n";
        let head = with_lists(&server, &format!("{lists}{protocols}")).await;
        assert!(head.starts_with("http/1.1 101 "), "{lists}{head}");
        assert!(
            head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"),
            "{head}"
        );
        assert!(head.contains("sec-websocket-protocol: push-notification\r\n"), "{head}");
    }
    let bad = [
        ("Connection: keep-alive\r\nUpgrade: websocket\r\n", "400"),
        ("Connection: keep-alive-upgrade\r\nUpgrade: websocket\r\n", "400"),
        ("Connection: upgrade\r\nUpgrade: foo, websockets\r\n", "426"),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", "400"),
        (
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "400",
        ),
    ];
    for (lists, status) in bad {
        let head = with_lists(&server, lists).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{lists}{head}");
    }
}

#[tokio::test]
async fn a_handshake_names_one_host() {
    let server = Server::start(&[]).await;
    for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\n{hosts}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 13];
        within(stream.read_exact(&mut start)).await.unwrap();
        assert_eq!(start.escape_ascii().to_string(), "HTTP/1.1 400 ", "{hosts}");
    }
}

#[tokio::test]
async fn a_handshake_of_another_version_is_told_the_right_one() {
    let server = Server::start(&[]).await;
    let head = shake_hands(&server, "/", "Sec-WebSocket-Version: 8\r\n").await;
    assert!(head.starts_with("http/1.1 426 ") && head.contains("sec-websocket-version: 13"), "{head}");
}

#[tokio::test]
async fn a_handshake_with_a_bad_key_is_refused() {
    let server = Server::start(&[]).await;
    let bad = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short";
    let refused = answer(&server, bad).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_not_lost() {
    let server = Server::start(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut octets = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    let hello = br#"{"messageType":"hello"}"#;
    // Masked with zeros.
    octets.extend([0x81, 0x80 | u8::try_from(hello.len()).unwrap(), 0, 0, 0, 0]);
    octets.extend(hello);
    stream.write_all(&octets).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(br#""broadcasts":{}}"#) {
        read.push(within(stream.read_u8()).await.unwrap());
    }
}
