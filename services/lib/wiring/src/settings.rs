//! Settings of a process: those of all services and adapters, read by every role, so that one file serves a
//! whole grid. Nothing is opened here, and faults are collected by the reader.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pushgrid_link_grpc::{NodesConfig, RoutersConfig};
use pushgrid_runtime::config::{Reader, Secret};
use pushgrid_runtime::http;

/// Default prefix of endpoints: right on one machine, with the ingress at its default port.
const PUBLIC_URL: &str = "http://localhost:8080";

/// Time that a stop grants a request in progress at the admin listener. The admin listener ends after the
/// others, so both times add up.
const ADMIN_FINISH: Duration = Duration::from_secs(1);

/// Upper bound of the clock skew setting.
const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);

/// Role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// All roles in one process, on the embedded store.
    Standalone,
    /// Serves application servers.
    Ingress,
    /// Owns messages and subscriptions.
    Router,
    /// Serves user agents.
    Connection,
}

impl Role {
    /// Name of the role in the command and the ready line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Ingress => "ingress",
            Self::Router => "router",
            Self::Connection => "connection",
        }
    }

    /// Default admin address; differs by role, for several roles on one machine.
    const fn admin_listen(self) -> &'static str {
        match self {
            Self::Standalone | Self::Ingress => "127.0.0.1:9090",
            Self::Router => "127.0.0.1:9091",
            Self::Connection => "127.0.0.1:9092",
        }
    }

    /// Default time over which sockets are closed at a stop.
    const fn drain(self) -> &'static str {
        match self {
            Self::Connection => "10s",
            Self::Standalone | Self::Ingress | Self::Router => "0s",
        }
    }

    const fn is_of_a_grid(self) -> bool {
        !matches!(self, Self::Standalone)
    }

    const fn needs_kafka(self) -> bool {
        matches!(self, Self::Ingress | Self::Router)
    }

    const fn needs_endpoint_keys(self) -> bool {
        matches!(self, Self::Ingress | Self::Router)
    }
}

/// Settings of a process. Every role reads the settings of all, so that one file serves a whole grid, and a
/// slip in any setting is found at once.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) role: Role,
    pub(crate) data_dir: PathBuf,
    pub(crate) max_size: usize,
    pub(crate) accept_loss: Option<String>,
    pub(crate) endpoint_keys: Option<Secret>,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) admin_token: Option<Secret>,
    stop_timeout: Duration,
    pub(crate) ingress: pushgrid_ingress::Config,
    pub(crate) router: pushgrid_router::Config,
    pub(crate) connection: pushgrid_connection::Config,
    pub(crate) bridge: pushgrid_bridge::Config,
    pub(crate) webhook: pushgrid_webhook::Config,
    pub(crate) admin_http: http::Limits,
    pub(crate) grid: Grid,
}

/// Settings of the processes of a grid.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) kafka: pushgrid_log_kafka::Config,
    pub(crate) redis: pushgrid_store_redis::Config,
    pub(crate) lease: Duration,
    pub(crate) max_clock_skew: Duration,
    pub(crate) routers: RoutersConfig,
    pub(crate) nodes: NodesConfig,
    pub(crate) router_listen: SocketAddr,
    pub(crate) router_advertise: Option<String>,
    pub(crate) node_listen: SocketAddr,
    pub(crate) node_advertise: Option<String>,
}

impl Settings {
    /// Reads the settings of a process with the role `role`.
    pub fn read(reader: &mut Reader, role: Role) -> Self {
        let standalone_stop = stop_timeout(
            reader,
            "standalone.stop_timeout",
            "Longest time for a stop before it is forced. Messages are safe either way.",
        );
        let grid_stop = stop_timeout(
            reader,
            "grid.stop_timeout",
            "Longest time for a stop of one role before it is forced. Longer than connection.drain. Messages are safe either way.",
        );
        let settings = Self {
            role,
            data_dir: reader.path(
                "standalone.data_dir",
                "./pushgrid-data",
                "Directory of standalone's messages, subscriptions and generated keys.",
            ),
            max_size: reader.octets(
                "standalone.max_size",
                "64GiB",
                1 << 20..=1 << 44,
                "Largest size of the database. Beyond it messages are answered 503 until others have ended.",
            ),
            accept_loss: reader.optional_text(
                "standalone.accept_loss",
                "A loss to start with all the same, as a refused start has named it: for one start, with --set.",
            ),
            endpoint_keys: reader.secret(
                "endpoint.keys",
                "Keys that endpoints are sealed with, newest first: made by `pushgrid keys endpoint`. All ingresses and \
                 routers of a grid need the same, and connection nodes for user agents over HTTP. Standalone makes its own on first start and keeps them in the data directory.",
            ),
            admin_listen: reader.address(
                "admin.listen",
                role.admin_listen(),
                "Health, metrics and broadcasts: /healthz, /readyz, /metrics, /broadcasts. Not for the public. A router has 127.0.0.1:9091 and a connection node 127.0.0.1:9092 unless it is set.",
            ),
            admin_token: reader.secret(
                "admin.token",
                "Whoever sends it as `Authorization: Bearer` may set broadcasts. Without it, whoever reaches a loopback admin.listen may, and nobody any other.",
            ),
            stop_timeout: if role.is_of_a_grid() { grid_stop } else { standalone_stop },
            ingress: pushgrid_ingress::Config::read(reader),
            router: pushgrid_router::Config::read(reader),
            connection: pushgrid_connection::Config::read(reader, role.drain()),
            bridge: pushgrid_bridge::Config::read(reader),
            webhook: pushgrid_webhook::Config::read(reader),
            admin_http: http::Limits { finish_timeout: ADMIN_FINISH, ..http::Limits::default() },
            grid: Grid::read(reader, role),
        };
        if role == Role::Connection && settings.bridge.upstream.is_some() {
            // Broadcasts are kept there.
            settings.grid.kafka.require(reader);
        }
        if role.needs_endpoint_keys() && settings.endpoint_keys.is_none() {
            reader.fault(
                "endpoint.keys",
                "it is needed here: make keys once with `pushgrid keys endpoint`, and give the same to every ingress and router",
            );
        }
        settings
    }

    /// Prefix of endpoints in a grid.
    pub(crate) fn public_url(&self) -> String {
        self.ingress.public_url.clone().unwrap_or_else(|| PUBLIC_URL.to_owned())
    }

    /// Origin at which application servers read receipts.
    pub(crate) fn receipts_url(&self, connection_port: u16) -> String {
        let configured = self.ingress.receipts.url.as_ref().or(self.ingress.public_url.as_ref());
        configured.cloned().unwrap_or_else(|| format!("http://localhost:{connection_port}"))
    }

    /// Warns when endpoints name this machine only though other machines reach the service. No fault: enough
    /// for a first try.
    pub(crate) fn warn_of_local_endpoints(&self, public_url: &str) {
        if let Some(listen) = self.listens_without_public_url() {
            tracing::warn!(
                %listen,
                "endpoints begin with {public_url}, which only this machine reaches: set ingress.public_url \
                 (PUSHGRID_INGRESS__PUBLIC_URL) to the address that application servers see",
            );
        }
    }

    /// First address reachable from other machines, when no public URL is set.
    fn listens_without_public_url(&self) -> Option<SocketAddr> {
        let mut listens = vec![self.ingress.listen];
        if self.role == Role::Router {
            listens.push(self.grid.router_listen);
        }
        listens.retain(|listen| !listen.ip().to_canonical().is_loopback());
        listens.first().copied().filter(|_| self.ingress.public_url.is_none())
    }

    /// Data directory of standalone.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Replaces the data directory.
    #[must_use]
    pub fn with_data_dir(self, data_dir: PathBuf) -> Self {
        Self { data_dir, ..self }
    }

    /// Longest time of a stop before it is forced.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }
}

impl Grid {
    fn read(reader: &mut Reader, role: Role) -> Self {
        let grid = Self {
            kafka: pushgrid_log_kafka::Config::read(reader),
            redis: pushgrid_store_redis::Config::read(reader),
            lease: reader.duration(
                "grid.lease",
                "6s",
                Duration::from_secs(1)..=Duration::from_mins(5),
                "Longest time that a silent router or connection node counts as there.",
            ),
            max_clock_skew: reader.duration(
                "grid.max_clock_skew",
                "30s",
                Duration::from_secs(1)..=CENTURY,
                "Largest distance of a machine's wall clock from that of most of the grid. Beyond it the process is not ready, \
                 so that somebody looks; its messages are safe, for they are judged by one time everywhere.",
            ),
            routers: RoutersConfig::read(reader),
            nodes: NodesConfig::read(reader),
            router_listen: reader.address(
                "router.listen",
                "127.0.0.1:8083",
                "Address at which a router serves ingresses and connection nodes (gRPC). Not for the public.",
            ),
            router_advertise: reader.optional_text(
                "router.advertise",
                "Host and port at which others reach this router. Unset: the address it listens at.",
            ),
            node_listen: reader.address(
                "connection.grpc_listen",
                "127.0.0.1:8084",
                "Address at which a connection node serves routers (gRPC). Not for the public.",
            ),
            node_advertise: reader.optional_text(
                "connection.advertise",
                "Host and port at which routers reach this connection node. Unset: the address it listens at.",
            ),
        };
        let heard_at = match role {
            Role::Router => Some(("router.advertise", grid.router_listen, &grid.router_advertise)),
            Role::Connection => Some(("connection.advertise", grid.node_listen, &grid.node_advertise)),
            Role::Standalone | Role::Ingress => None,
        };
        if let Some((key, listen, None)) = heard_at
            && listen.ip().is_unspecified()
        {
            reader.fault(
                key,
                "it listens at every address: say by which host and port the other services reach it",
            );
        }
        if role.needs_kafka() {
            grid.kafka.require(reader);
        }
        if role.is_of_a_grid() {
            grid.redis.require(reader);
        }
        grid
    }
}

fn stop_timeout(reader: &mut Reader, key: &'static str, doc: &'static str) -> Duration {
    reader.duration(key, "25s", Duration::from_millis(100)..=Duration::from_mins(10), doc)
}

#[cfg(test)]
mod tests;
