//! What an idle user agent costs. A process of its own, for it is measured from outside.

#![expect(clippy::unwrap_used, reason = "all of this file is a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_connection::{Config, Connections, Deps, Node};
use pushgrid_runtime::clock::SteadyClock;
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Readiness, Shutdown};
use pushgrid_store::{LinkError, Opened, Registered, RouterLink, Settlement, Subscription};
use pushgrid_types::{
    ChannelId, Epoch, Incarnation, Restriction, SessionRef, SubscriptionRef, SystemRng, Timestamp, Urgency,
    UserAgentId,
};

/// Connections, within the 1,024 files that a process may open by default: each is two of them.
const CONNECTIONS: usize = 400;

/// Connections before the measurement, which fill what is allocated once.
const BEFORE: usize = 80;

/// What a registered, idle connection may cost, in octets of resident memory, without the kernel's.
const BOUND: usize = 4500;

/// A router that agrees to everything and remembers nothing.
#[derive(Debug)]
struct Agreeable;

#[async_trait]
impl RouterLink for Agreeable {
    async fn open(&self, _: UserAgentId, _: SessionRef, min_urgency: Urgency) -> Result<Opened, LinkError> {
        Ok(Opened::Known { epoch: Epoch(1), min_urgency })
    }

    async fn set_urgency(&self, _: UserAgentId, _: SessionRef, _: Urgency) -> Result<(), LinkError> {
        Ok(())
    }

    async fn register(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        restriction: Restriction,
    ) -> Result<Registered, LinkError> {
        let id = SubscriptionRef { user_agent, channel, incarnation: Incarnation::from_octets([0; 12]) };
        let subscription =
            Subscription { id, restriction, seen_at: Timestamp::from_secs(0), is_noted: true, webhook: None };
        Ok(Registered {
            subscription,
            endpoint: format!("https://push.example.net/push/{}", "x".repeat(110)),
        })
    }

    async fn unregister(&self, _: UserAgentId, _: ChannelId) -> Result<(), LinkError> {
        Ok(())
    }

    async fn unregister_all(&self, _: UserAgentId) -> Result<(), LinkError> {
        Ok(())
    }

    async fn settle(&self, _: UserAgentId, _: Vec<Settlement>) -> Result<(), LinkError> {
        Ok(())
    }

    async fn close(&self, _: UserAgentId, _: SessionRef) -> Result<(), LinkError> {
        Ok(())
    }
}

/// Serves on threads of its own, for the user agents block theirs.
fn serve() -> (SocketAddr, Node, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut reader = Reader::new(Layers::none());
    let config = Config::read(&mut reader, "0s");
    let node = Node::new(&SystemRng, config.queue);
    let listener = runtime.block_on(pushgrid_runtime::http::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    let deps = Deps {
        listener,
        router: Arc::new(Agreeable),
        resources: None,
        node: node.clone(),
        broadcasts: None,
        clock: Arc::new(SteadyClock::of_machine()),
        rng: Arc::new(SystemRng),
        meter: Meter::new(),
        latch: Readiness::new().latch("connection"),
    };
    drop(runtime.spawn(Connections::new(config, deps).run(Shutdown::new())));
    (address, node, runtime)
}

/// A user agent with a subscription, in no memory but the kernel's.
fn subscribe(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let handshake = "GET / HTTP/1.1\r\nHost: push.example.net\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: push-notification\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).unwrap();
    read_until(&mut stream, b"\r\n\r\n");
    // As every Firefox does, once it has found out.
    let broadcasts = r#"{"remote-settings/monitor_changes":"\"1700000000000\""}"#;
    say(&mut stream, &format!(r#"{{"messageType":"hello","broadcasts":{broadcasts},"use_webpush":true}}"#));
    read_until(&mut stream, b"\"broadcasts\":{}}");
    let key = "BOvJUy7rhH8-O_BYIFhlQIOiOjodrJ5qlzX8Qa_IJSe1KWu68wUK64JdSEBmVCdMgnUIOVq0stI9qxqYzJ9UpRQ=";
    say(
        &mut stream,
        &format!(
            r#"{{"channelID":"eb46cc68-b7a3-4bfd-a1dd-13b9962af523","messageType":"register","key":"{key}"}}"#
        ),
    );
    read_until(&mut stream, b"xxx\"}");
    stream
}

/// One text frame, masked with zeros.
fn say(stream: &mut TcpStream, text: &str) {
    let length = u16::try_from(text.len()).unwrap();
    let mut frame = vec![0x81];
    if length < 126 {
        frame.push(0x80 | u8::try_from(length).unwrap());
    } else {
        frame.push(0x80 | 0x7e);
        frame.extend(length.to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    stream.write_all(&frame).unwrap();
}

fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let (mut octets, mut octet) = (Vec::new(), [0]);
    while !octets.ends_with(end) {
        stream.read_exact(&mut octet).unwrap();
        octets.push(octet[0]);
    }
}

/// Resident memory of this process, in octets.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn an_idle_subscribed_user_agent_costs_little_memory() {
    let (address, node, runtime) = serve();
    let before: Vec<_> = (0..BEFORE).map(|_| subscribe(address)).collect();
    let start = resident();
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| subscribe(address)).collect();
    let each = (resident() - start) / CONNECTIONS;
    println!("{each} octets for each idle connection");
    assert_eq!(node.sessions(), before.len() + connections.len());
    assert!(each <= BOUND, "{each} octets for each idle connection");
    runtime.shutdown_background();
}
