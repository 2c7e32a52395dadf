//! Posts over real sockets of the loopback, and the parts that the tests share.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pushgrid_crypto::EndpointKeys;
use pushgrid_runtime::metrics::Meter;
use pushgrid_types::{ChannelId, Incarnation, SubscriptionRef, UserAgentId, WebhookUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::{Config, PostError, Webhooks};

mod addresses;
mod answers;
mod bounds;
mod signed;
mod tls;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Strict but for `http`.
fn strict() -> Config {
    let (timeout, first_pause) = (Duration::from_secs(5), Duration::from_secs(5));
    Config { allow_private: false, allow_http: true, timeout, first_pause, ca_file: None }
}

/// Allows everything.
fn lenient() -> Config {
    Config { allow_private: true, ..strict() }
}

fn keys() -> EndpointKeys {
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".parse().unwrap()
}

fn webhooks(config: &Config) -> Webhooks {
    Webhooks::new(config, &keys(), &Meter::new()).unwrap()
}

fn subscription(label: u8) -> SubscriptionRef {
    SubscriptionRef {
        user_agent: UserAgentId::from_octets([label; 16]),
        channel: ChannelId::from_octets([label + 1; 16]),
        incarnation: Incarnation::from_octets([label + 2; 12]),
    }
}

async fn post(webhooks: &Webhooks, url: &str) -> Result<(), PostError> {
    let (url, body) = (WebhookUrl::new(url).unwrap(), Bytes::from_static(b"{\"a\":1}"));
    webhooks.post(&subscription(1), &url, "message-1", 1_700_000_000, body).await
}

/// A server that gives one answer to all requests.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: mpsc::Receiver<String>,
}

impl Server {
    /// Answers with `answer`, or never.
    async fn start(answer: Option<&'static str>) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), answer).await
    }

    async fn at(address: SocketAddr, answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (sender, requests) = mpsc::channel(100);
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, answer, sender.clone()));
            }
        });
        Self { address, connections, requests }
    }

    fn url(&self) -> String {
        format!("http://{}/receipts?of=1", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut socket: TcpStream, answer: Option<&'static str>, requests: mpsc::Sender<String>) {
    let Some(answer) = answer else { return std::future::pending().await };
    while let Some(request) = read_request(&mut socket).await {
        let _ = requests.try_send(request);
        if socket.write_all(answer.as_bytes()).await.is_err() || answer.contains("close") {
            return;
        }
    }
}

/// The next request with its body; `None` once the other side has closed.
async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut read = String::new();
    loop {
        if let Some((head, body)) = read.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(read);
            }
        }
        let mut octets = [0; 4096];
        let count = socket.read(&mut octets).await.ok().filter(|count| *count > 0)?;
        read.push_str(std::str::from_utf8(&octets[..count]).unwrap());
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
