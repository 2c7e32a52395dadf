//! From a URL to an open WebSocket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use crate::{ClientError, Tls};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Largest frame that is accepted: many times the largest notification.
const FRAME_MAX: usize = 256 * 1024;

/// Largest frame that can be sent: far above every limit of a push service, so that tests can break those limits.
const WRITE_MAX: usize = 8 * 1024 * 1024;

/// Settings of a user agent's connection.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Address of the push service: `ws://host:port` or `wss://host`.
    pub url: String,
    /// Local address to connect from; port 0 lets the system choose. Addresses of the other family are not tried.
    pub local: Option<SocketAddr>,
    /// Sub-protocol to offer. The handshake fails unless the push service selects it.
    pub subprotocol: Option<String>,
    /// Limit for name resolution, TCP, TLS and the WebSocket handshake together. 10 s unless set.
    pub connect_timeout: Duration,
    /// Limit for each request and its answer, each write, and the close handshake. 10 s unless set, as in Firefox.
    pub request_timeout: Duration,
    /// Longest silence that [`next`](crate::UserAgent::next) bears; any frame ends a silence, pings included. 11
    /// minutes unless set: push services ping every five.
    pub silence: Duration,
    /// Octets of the read buffer, allocated for each connection at once. 2 KiB unless set.
    pub read_buffer: usize,
    /// Trust in `wss` servers. `None` makes [`Tls::public_roots`] anew for this connection.
    pub tls: Option<Tls>,
}

impl ConnectOptions {
    /// The defaults, to `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            local: None,
            subprotocol: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            silence: Duration::from_mins(11),
            read_buffer: 2 * 1024,
            tls: None,
        }
    }
}

/// Connects within the time limit of the options.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<Socket, ClientError> {
    // On the heap: the TLS handshake would make every future that connects this large.
    let connecting = Box::pin(async {
        let uri: Uri = options.url.parse().map_err(|_| ClientError::Url)?;
        let port = match uri.scheme_str() {
            Some("ws") => 80,
            Some("wss") => 443,
            Some(_) | None => return Err(ClientError::Url),
        };
        let stream = dial(&uri, port, options.local).await?;
        handshake(&uri, stream, options).await
    });
    let after = options.connect_timeout;
    timeout(after, connecting).await.map_err(|_| ClientError::Timeout { request: "connect", after })?
}

/// A TCP connection to the first of the host's addresses that answers, at the usual port unless the URL names one.
pub(crate) async fn dial(
    uri: &Uri,
    usual_port: u16,
    local: Option<SocketAddr>,
) -> Result<TcpStream, ClientError> {
    let port = uri.port_u16().unwrap_or(usual_port);
    let host = uri.host().ok_or(ClientError::Url)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = tokio::net::lookup_host((bare, port))
        .await
        .map_err(|source| ClientError::Resolve { host: host.to_owned(), source })?;
    let mut last = None;
    for address in addresses.filter(|to| local.is_none_or(|from| from.is_ipv4() == to.is_ipv4())) {
        match dial_one(address, local).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(source) => ClientError::Connect { address: format!("{host}:{port}"), source },
        None => ClientError::Resolve {
            host: host.to_owned(),
            source: io::Error::new(io::ErrorKind::AddrNotAvailable, "no address of the wanted family"),
        },
    })
}

async fn dial_one(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        socket.bind(from)?;
    }
    let stream = socket.connect(to).await?;
    // Frames are small and wanted at once.
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn handshake(uri: &Uri, stream: TcpStream, options: &ConnectOptions) -> Result<Socket, ClientError> {
    let mut request = uri.into_client_request().map_err(|_| ClientError::Url)?;
    if let Some(subprotocol) = &options.subprotocol {
        let value = HeaderValue::from_str(subprotocol).map_err(|_| ClientError::Url)?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let secure = uri.scheme_str() == Some("wss");
    let connector = if secure {
        Connector::Rustls(options.tls.clone().unwrap_or_else(Tls::public_roots).config())
    } else {
        Connector::Plain
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(options.read_buffer)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_MAX)
        .max_message_size(Some(FRAME_MAX))
        .max_frame_size(Some(FRAME_MAX));
    let (socket, _response) = client_async_tls_with_config(request, stream, Some(config), Some(connector))
        .await
        .map_err(|error| ClientError::Handshake(Box::new(error)))?;
    Ok(socket)
}
