//! The rules by which a WebSocket is closed: each bad frame has its close code, and a readable reason.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_types::{ChannelId, SystemRng};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::raw::Wire;
use super::scene::Scene;
use super::websocket::{self, Frame, Socket, raw, text};

/// Frame to send, and the expected close.
struct Rule {
    what: &'static str,
    octets: Vec<u8>,
    code: u16,
    says: &'static str,
}

fn rule(what: &'static str, octets: impl Into<Vec<u8>>, code: u16, says: &'static str) -> Rule {
    Rule { what, octets: octets.into(), code, says }
}

impl Rule {
    async fn holds(&self, mut socket: Socket) -> Result<()> {
        socket.send(&self.octets).await?;
        let close = socket.closed().await?.context("closed without a close frame")?;
        close.is_clear()?;
        ensure!(close.code == self.code, "the code is not {}: {close:?}", self.code);
        ensure!(close.reason.contains(self.says), "{:?} is not in it: {close:?}", self.says);
        Ok(())
    }
}

fn json(text: &str) -> Vec<u8> {
    websocket::text(text.as_bytes())
}

fn header(opcode: OpCode) -> FrameHeader {
    FrameHeader { opcode, ..FrameHeader::default() }
}

/// Frames that are refused before a hello.
fn before_hello() -> Vec<Rule> {
    let first = "must be hello";
    vec![
        rule(
            "register",
            json(r#"{"messageType":"register","channelID":"d9b74644-4f97-46aa-b8fa-9393985cd6cd"}"#),
            1008,
            first,
        ),
        rule(
            "unregister",
            json(r#"{"messageType":"unregister","channelID":"d9b74644-4f97-46aa-b8fa-9393985cd6cd"}"#),
            1008,
            first,
        ),
        rule("ack", json(r#"{"messageType":"ack","updates":[]}"#), 1008, first),
        rule("nack", json(r#"{"messageType":"nack","version":"x"}"#), 1008, first),
        rule(
            "broadcast_subscribe",
            json(r#"{"messageType":"broadcast_subscribe","broadcasts":{}}"#),
            1008,
            first,
        ),
        rule("ping", json("{}"), 1008, first),
        rule(
            "a hello with a number as its uaid",
            json(r#"{"messageType":"hello","uaid":5}"#),
            1007,
            "uaid must be",
        ),
        rule(
            "HTTP again",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(),
            1002,
            "not a valid WebSocket frame",
        ),
    ]
}

/// Texts that are always refused.
fn texts() -> Vec<Rule> {
    let not_json = "one JSON object";
    let unknown = "unknown messageType";
    let channel = "lower case with dashes";
    let (register, ack) = ("malformed register", "malformed ack");
    vec![
        rule("empty text", json(""), 1007, not_json),
        rule("half an object", json(r#"{"messageType":"#), 1007, not_json),
        rule("two objects", json("{}{}"), 1007, not_json),
        rule("a list", json(r#"["hello"]"#), 1007, not_json),
        rule("a word", json("null"), 1007, not_json),
        rule("not UTF-8", text(b"{\"messageType\":\"\xff\"}"), 1007, "UTF-8"),
        rule("deep nesting", json(&"{\"a\":".repeat(10_000)), 1007, not_json),
        rule("another messageType", json(r#"{"messageType":"urgent"}"#), 1008, unknown),
        rule("messageType in capitals", json(r#"{"messageType":"PING"}"#), 1008, unknown),
        rule("no messageType", json(r#"{"channelID":"x"}"#), 1008, unknown),
        rule("a number as messageType", json(r#"{"messageType":1}"#), 1008, unknown),
        rule("a second hello", json(r#"{"messageType":"hello","use_webpush":true}"#), 1008, "hello was said"),
        rule("register without a channel", json(r#"{"messageType":"register"}"#), 1007, register),
        rule("register of a number", json(r#"{"messageType":"register","channelID":7}"#), 1007, register),
        rule("register of no UUID", json(r#"{"messageType":"register","channelID":"abc"}"#), 1007, channel),
        rule(
            "a UUID in capitals",
            json(r#"{"messageType":"register","channelID":"D9B74644-4F97-46AA-B8FA-9393985CD6CD"}"#),
            1007,
            channel,
        ),
        rule(
            "a UUID without dashes",
            json(r#"{"messageType":"register","channelID":"d9b746444f9746aab8fa9393985cd6cd"}"#),
            1007,
            channel,
        ),
        rule(
            "unregister without a channel",
            json(r#"{"messageType":"unregister"}"#),
            1007,
            "malformed unregister",
        ),
        rule("unregister of no UUID", json(r#"{"messageType":"unregister","channelID":""}"#), 1007, channel),
        rule(
            "unregister_all with a text as its code",
            json(r#"{"messageType":"unregister_all","code":"200"}"#),
            1007,
            "malformed unregister_all",
        ),
        rule("ack of nothing", json(r#"{"messageType":"ack"}"#), 1007, ack),
        rule(
            "ack with a number as version",
            json(
                r#"{"messageType":"ack","updates":[{"channelID":"d9b74644-4f97-46aa-b8fa-9393985cd6cd","version":5}]}"#,
            ),
            1007,
            ack,
        ),
        rule(
            "ack of no UUID",
            json(r#"{"messageType":"ack","updates":[{"channelID":"x","version":"y"}]}"#),
            1007,
            ack,
        ),
        rule(
            "ack with words as code",
            json(
                r#"{"messageType":"ack","updates":[{"channelID":"d9b74644-4f97-46aa-b8fa-9393985cd6cd","version":"x","code":"ok"}]}"#,
            ),
            1007,
            ack,
        ),
        rule("nack without a version", json(r#"{"messageType":"nack"}"#), 1007, "malformed nack"),
        rule(
            "a list of broadcasts",
            json(r#"{"messageType":"broadcast_subscribe","broadcasts":[]}"#),
            1007,
            "malformed broadcast_subscribe",
        ),
    ]
}

/// Frames that are always refused.
fn frames() -> Vec<Rule> {
    let bad = "not a valid WebSocket frame";
    let large = "larger than this server takes";
    let text_header = header(OpCode::Data(Data::Text));
    let reserved = FrameHeader { rsv1: true, ..text_header.clone() };
    let first_part = FrameHeader { is_final: false, ..text_header.clone() };
    let part = FrameHeader { is_final: false, ..header(OpCode::Data(Data::Continue)) };
    let halves = [raw(&first_part, &b" ".repeat(40_000)), raw(&part, &b" ".repeat(40_000))].concat();
    let unfinished = [raw(&first_part, b"{"), raw(&text_header, b"{}")].concat();
    let cut_ping = FrameHeader { is_final: false, ..header(OpCode::Control(Control::Ping)) };
    // The length alone, without the announced content.
    let announced = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    vec![
        rule("binary", raw(&header(OpCode::Data(Data::Binary)), b"{}"), 1003, "binary frame"),
        rule("one octet too many", text(&b" ".repeat(64 * 1024 + 1)), 1009, large),
        rule("fragments that add up to too much", halves, 1009, large),
        rule("a length without end", announced, 1009, large),
        rule("a frame without a mask", b"\x81\x02{}".as_slice(), 1002, bad),
        rule("a reserved bit", raw(&reserved, b"{}"), 1002, bad),
        rule("a reserved opcode", raw(&header(OpCode::Data(Data::Reserved(3))), b"{}"), 1002, bad),
        rule(
            "a reserved control opcode",
            raw(&header(OpCode::Control(Control::Reserved(11))), b""),
            1002,
            bad,
        ),
        rule("a continuation of nothing", raw(&header(OpCode::Data(Data::Continue)), b"{}"), 1002, bad),
        rule("a new message within another", unfinished, 1002, bad),
        rule("a ping in fragments", raw(&cut_ping, b"x"), 1002, bad),
        rule("a ping of 126 octets", websocket::ping(&[0; 126]), 1002, bad),
    ]
}

// Holds: H-02, H-07, H-21, H-22, H-24, H-25.
#[tokio::test]
async fn every_bad_frame_has_its_code_and_a_reason_for_a_person() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let subscription = scene.open().await?;
    let url = scene.server.connection().to_owned();
    for rule in before_hello().iter().chain(&frames()) {
        let socket = Socket::connect(&url).await?;
        rule.holds(socket).await.with_context(|| format!("before hello: {}", rule.what))?;
    }
    for rule in texts().iter().chain(&frames()) {
        let socket = Socket::open(&url, None).await?;
        rule.holds(socket).await.with_context(|| format!("after hello: {}", rule.what))?;
    }
    // The connection that was there before is not disturbed.
    scene.send(&super::request::Request::push(&subscription, b"undisturbed")?).await?;
    scene.receives(&subscription, b"undisturbed").await?;
    scene.works().await?;
    scene.calm()
}

// Holds: G-15, H-03, H-12, H-13.
#[tokio::test]
async fn what_deployed_user_agents_send_closes_nothing() -> Result<()> {
    let scene = Scene::start_with(&[]).await?;
    let mut socket = Socket::connect(scene.server.connection()).await?;
    let channel = ChannelId::random(&SystemRng);
    let long = format!(r#"{{"messageType":"nack","version":"{}"}}"#, "x".repeat(60_000));
    let harmless = [
        r#" {"messageType":"hello","uaid":"unknown","channelIDs":["x"],"broadcasts":null,"use_webpush":true,"more":[{}]} "#.to_owned(),
        r#"{"messageType":"ack","updates":[]}"#.to_owned(),
        format!(r#"{{"messageType":"ack","updates":[{{"channelID":"{channel}","version":"garbage"}}]}}"#),
        format!(r#"{{"messageType":"ack","updates":[{{"channelID":"{channel}","version":"AAAAAAAAAAAAAAAAAAAAAA","code":999}}]}}"#),
        r#"{"messageType":"nack","version":"","code":301}"#.to_owned(),
        long,
        format!(r#"{{"messageType":"unregister","channelID":"{channel}","code":4000000000}}"#),
        r#"{"messageType":"unregister_all","code":4000000000,"channelID":7}"#.to_owned(),
        format!(r#"{{"messageType":"register","channelID":"{channel}","key":"no key"}}"#),
        r#"{"messageType":"broadcast_subscribe","broadcasts":{"a/b":"1"}}"#.to_owned(),
        "{}".to_owned(),
        r#"{"messageType":"ping"}"#.to_owned(),
    ];
    let hello = text(harmless[0].as_bytes());
    socket.send(&hello).await?;
    ensure!(socket.reply().await?["status"] == 200, "hello was refused");
    for frame in &harmless[1..] {
        socket.send(&[text(frame.as_bytes()), websocket::ping(b"here?")].concat()).await?;
        loop {
            match socket.next().await?.with_context(|| format!("closed after {frame}"))? {
                Frame::Pong(payload) if payload == b"here?" => break,
                Frame::Close(close) => anyhow::bail!("closed after {frame}: {close:?}"),
                _ => {}
            }
        }
    }
    // Fragments make one message, and pings are allowed between them.
    let first = FrameHeader { is_final: false, ..header(OpCode::Data(Data::Text)) };
    let last = header(OpCode::Data(Data::Continue));
    let parts =
        [raw(&first, br#"{"messageType":"#), websocket::ping(b""), raw(&last, br#""ping"}"#)].concat();
    socket.send(&parts).await?;
    ensure!(socket.reply().await? == serde_json::json!({}), "fragments were not put together");
    Ok(())
}

// Holds: H-02.
#[tokio::test]
async fn a_connection_without_a_hello_is_closed_in_time() -> Result<()> {
    let settings = [("PUSHGRID_CONNECTION__HELLO_TIMEOUT", "1s")];
    let mut scene = Scene::start_with(&settings).await?;
    let url = scene.server.connection().to_owned();
    let began = Instant::now();
    let mut silent = Socket::connect(&url).await?;
    let mut busy = Socket::connect(&url).await?;
    let slow = text(websocket::hello(None).as_bytes());
    // Pings and half a hello do not count as a hello.
    busy.send(&[websocket::ping(b""), slow[..slow.len() - 1].to_vec()].concat()).await?;
    for socket in [&mut silent, &mut busy] {
        let close = socket.closed().await?.context("closed without a close frame")?;
        close.is_clear()?;
        ensure!(close.code == 1008 && close.reason.contains("no hello came in time"), "{close:?}");
    }
    ensure!(began.elapsed() >= Duration::from_secs(1), "closed too early");
    scene.works().await
}

// Holds: H-14, H-16, H-21.
#[tokio::test]
async fn a_flood_of_pings_is_sent_away_and_a_burst_is_not() -> Result<()> {
    let settings = [("PUSHGRID_CONNECTION__PING_BURST", "10"), ("PUSHGRID_CONNECTION__PING_EVERY", "1h")];
    let mut scene = Scene::start_with(&settings).await?;
    let mut socket = Socket::open(scene.server.connection(), None).await?;
    for _ in 0..10 {
        socket.send(&json("{}")).await?;
        ensure!(socket.reply().await? == serde_json::json!({}), "not the answer to a ping");
    }
    // Pings of the WebSocket are not limited.
    socket.send(&websocket::ping(b"free").repeat(1000)).await?;
    socket.send(&json("{}")).await?;
    let close = socket.closed().await?.context("closed without a close frame")?;
    close.is_clear()?;
    ensure!(close.code == 4774 && close.reason.contains("far too many pings"), "{close:?}");
    scene.works().await
}

#[tokio::test]
async fn what_is_no_upgrade_gets_an_answer() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let upgrade = String::from_utf8(websocket::UPGRADE.to_vec())?;
    let bent = [
        ("a plain request", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        ("another path", upgrade.replace("GET /", "GET /elsewhere")),
        ("another method", upgrade.replace("GET", "POST")),
        ("another version", upgrade.replace("Version: 13", "Version: 8")),
        ("no version", upgrade.replace("Sec-WebSocket-Version: 13\r\n", "")),
        ("no key", upgrade.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        ("another protocol", upgrade.replace("Upgrade: websocket", "Upgrade: h2c")),
        ("no Connection", upgrade.replace("Connection: Upgrade\r\n", "")),
        ("HTTP/1.0", upgrade.replace("HTTP/1.1", "HTTP/1.0")),
        ("no Host", upgrade.replace("Host: localhost\r\n", "")),
        ("no HTTP", "hello\r\n\r\n".to_owned()),
        ("a large head", upgrade.replace("Host", &format!("X-Large: {}\r\nHost", "x".repeat(64 * 1024)))),
    ];
    for (what, request) in bent {
        let mut wire = Wire::open(scene.server.connection()).await?;
        wire.try_send(request.as_bytes()).await?;
        let answer = wire.expect_answer().await.context(what)?;
        // The target is known without a Host.
        let lenient = what == "no Host" && answer.status == 101;
        ensure!((400..500).contains(&answer.status) || lenient, "{what}: answered {}", answer.status);
        ensure!(what != "another path" || answer.status == 404, "{what}: answered {}", answer.status);
        ensure!(what != "a large head" || answer.status == 431, "{what}: answered {}", answer.status);
    }
    scene.works().await?;
    scene.calm()
}
