//! Floods over HTTP/2: each ends or stalls its own connection, and the service goes on serving others, with no more
//! memory.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::raw::Wire;
use super::request::Request;
use super::scene::Scene;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 4;

const ENHANCE_YOUR_CALM: u32 = 11;

/// Time for which a flood presses against a service that has stopped reading.
const PRESSURE: Duration = Duration::from_secs(1);

/// Most memory that a flood may cost; a flood is several times as large.
const GROWTH: f64 = 64.0 * 1024.0 * 1024.0;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `POST /push/x` in HPACK, without the end of the stream.
fn request(stream: u32) -> Vec<u8> {
    let fields = [&[0x83, 0x86, 0x44, 7][..], b"/push/x", &[0x41, 9], b"localhost"].concat();
    frame(HEADERS, END_HEADERS, stream, &fields)
}

/// Ids of client streams.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// Error codes of the GOAWAY frames received.
fn goaways(mut octets: &[u8]) -> Vec<u32> {
    let mut codes = Vec::new();
    while octets.len() >= 9 {
        let length = usize::from(octets[0]) << 16 | usize::from(octets[1]) << 8 | usize::from(octets[2]);
        let Some(payload) = octets.get(9..9 + length) else { break };
        if octets[3] == GOAWAY
            && let Some(code) = payload.get(4..8).and_then(|code| code.try_into().ok())
        {
            codes.push(u32::from_be_bytes(code));
        }
        octets = &octets[9 + length..];
    }
    codes
}

struct Flood {
    what: &'static str,
    octets: Vec<u8>,
    /// Expected error code of the end.
    code: Option<u32>,
}

fn floods() -> Vec<Flood> {
    let flood = |what, octets, code| Flood { what, octets, code };
    let resets = streams()
        .take(5000)
        .flat_map(|stream| [request(stream), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat());
    let padding = [&[0, 5][..], b"x-pad", &[0x7f, 0x81, 0x07], &[b'x'; 1024]].concat();
    let endless =
        [frame(HEADERS, 0, 1, &[0x83, 0x86]), frame(CONTINUATION, 0, 1, &padding).repeat(20_000)].concat();
    let empty =
        [frame(HEADERS, 0, 1, &[0x83, 0x86]), frame(CONTINUATION, 0, 1, b"").repeat(200_000)].concat();
    // A large field enters the table once, and is then named again and again by one octet.
    let bomb =
        [&[0x83, 0x86, 0x84, 0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4000], &[0xbe; 8000]].concat();
    let bombs = streams().take(2000).flat_map(|stream| {
        let fields =
            if stream == 1 { bomb.clone() } else { [&[0x83, 0x86, 0x84][..], &[0xbe; 8000]].concat() };
        frame(HEADERS, END_HEADERS, stream, &fields)
    });
    let unfinished = streams().take(20_000).flat_map(request);
    let one = request(1);
    vec![
        flood("rapid reset", resets.collect(), Some(ENHANCE_YOUR_CALM)),
        flood("CONTINUATION without end", endless, Some(ENHANCE_YOUR_CALM)),
        flood("empty CONTINUATION", empty, Some(ENHANCE_YOUR_CALM)),
        flood("a field table bomb", bombs.collect(), None),
        flood("requests that never end", unfinished.collect(), None),
        flood("PING", frame(PING, 0, 0, &[7; 8]).repeat(500_000), None),
        flood("SETTINGS", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(500_000), None),
        flood("PRIORITY", frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 7]).repeat(500_000), None),
        flood("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(500_000), None),
        flood("empty DATA", [one, frame(DATA, 0, 1, b"").repeat(500_000)].concat(), None),
        flood("garbage", [0xff; 1 << 20].to_vec(), None),
    ]
}

// Holds: A-151.
#[tokio::test]
async fn floods_end_their_own_connection_and_disturb_nobody() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    scene.works().await?;
    for flood in floods() {
        let before = scene.resident().await?;
        let mut wire = Wire::open(scene.server.ingress()).await?;
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await?;
        // Nothing is read meanwhile: a service that waits for a reader has stopped reading.
        let taken = wire.press(&flood.octets, PRESSURE).await?;
        scene.works().await.context(flood.what)?;
        let growth = scene.resident().await? - before;
        ensure!(growth < GROWTH, "{}: {growth} octets more", flood.what);
        if let Some(code) = flood.code {
            let codes = goaways(&wire.end().await.context(flood.what)?);
            ensure!(codes.contains(&code), "{}: ended with {codes:?}, all taken: {taken}", flood.what);
        }
    }
    scene.works().await?;
    scene.calm()
}

#[tokio::test]
async fn a_flood_does_not_keep_others_waiting() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let subscription = scene.open().await?;
    let url = scene.server.ingress().to_owned();
    let storm = tokio::spawn(storm(url));
    for _ in 0..50 {
        scene.send(&Request::push(&subscription, b"in the storm")?).await?;
        scene.receives(&subscription, b"in the storm").await?;
    }
    ensure!(!storm.is_finished(), "the storm was over: {:?}", storm.await);
    storm.abort();
    scene.calm()
}

/// Rapid resets, on one connection after the other.
async fn storm(url: String) -> Result<()> {
    let resets = floods().swap_remove(0).octets;
    loop {
        let mut wire = Wire::open(&url).await?;
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await?;
        wire.press(&resets, PRESSURE).await?;
        wire.end().await?;
    }
}
