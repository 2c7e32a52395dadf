use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pushgrid_link_grpc::{NodesConfig, RoutersConfig};
use pushgrid_runtime::config::{Reader, Secret};
use pushgrid_runtime::http;

/// What endpoints begin with unless it is set: right on one machine, with the ingress at its default port.
const PUBLIC_URL: &str = "http://localhost:8080";

/// What one process is.
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
    /// Its name, as the command and the ready line say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Ingress => "ingress",
            Self::Router => "router",
            Self::Connection => "connection",
        }
    }

    /// Roles on one machine do not get in each other's way.
    const fn admin_listen(self) -> &'static str {
        match self {
            Self::Standalone | Self::Ingress => "127.0.0.1:9090",
            Self::Router => "127.0.0.1:9091",
            Self::Connection => "127.0.0.1:9092",
        }
    }

    /// Over which time the sockets are closed when the process stops.
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

    /// Those that read or make endpoints.
    const fn needs_endpoint_keys(self) -> bool {
        matches!(self, Self::Ingress | Self::Router)
    }
}

/// What an operator may choose of a process. Every role reads the settings of all, so that one file can serve a whole
/// grid, and a slip in any of them is found at once.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) max_size: usize,
    pub(crate) endpoint_keys: Option<Secret>,
    pub(crate) admin_listen: SocketAddr,
    stop_timeout: Duration,
    pub(crate) ingress: pushgrid_ingress::Config,
    pub(crate) ingress_http: http::Limits,
    pub(crate) router: pushgrid_router::Config,
    pub(crate) connection: pushgrid_connection::Config,
    pub(crate) admin_http: http::Limits,
    pub(crate) grid: Grid,
}

/// What only the processes of a grid have.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) kafka: pushgrid_log_kafka::Config,
    pub(crate) redis: pushgrid_store_redis::Config,
    pub(crate) lease: Duration,
    pub(crate) routers: RoutersConfig,
    pub(crate) nodes: NodesConfig,
    pub(crate) router_listen: SocketAddr,
    pub(crate) router_advertise: Option<String>,
    pub(crate) node_listen: SocketAddr,
    pub(crate) node_advertise: Option<String>,
}

impl Settings {
    /// Reads the settings of a process that is to be `role`.
    pub fn read(reader: &mut Reader, role: Role) -> Self {
        let standalone_stop = stop_timeout(
            reader,
            "standalone.stop_timeout",
            "How long a stop may take before it is forced. Messages are safe either way.",
        );
        let grid_stop = stop_timeout(
            reader,
            "grid.stop_timeout",
            "How long a stop of one role may take before it is forced. Longer than connection.drain. Messages are safe either way.",
        );
        let settings = Self {
            data_dir: reader.path(
                "standalone.data_dir",
                "./pushgrid-data",
                "Where standalone keeps messages, subscriptions and the keys it made for itself.",
            ),
            max_size: reader.octets(
                "standalone.max_size",
                "64GiB",
                1 << 20..=1 << 44,
                "How large the database may become. Beyond it messages are answered 503 until others have ended.",
            ),
            endpoint_keys: reader.secret(
                "endpoint.keys",
                "Keys that endpoints are sealed with, newest first: made by `pushgrid keys endpoint`. All ingresses and \
                 routers of a grid need the same. Standalone makes its own on first start and keeps them in the data directory.",
            ),
            admin_listen: reader.address(
                "admin.listen",
                role.admin_listen(),
                "Health and metrics: /healthz, /readyz, /metrics. Not for the public. A router has 127.0.0.1:9091 and a connection node 127.0.0.1:9092 unless it is set.",
            ),
            stop_timeout: if role.is_of_a_grid() { grid_stop } else { standalone_stop },
            ingress: pushgrid_ingress::Config::read(reader),
            ingress_http: http::Limits::read(reader, "ingress"),
            router: pushgrid_router::Config::read(reader),
            connection: pushgrid_connection::Config::read(reader, role.drain()),
            admin_http: http::Limits::default(),
            grid: Grid::read(reader, role),
        };
        if role.needs_endpoint_keys() && settings.endpoint_keys.is_none() {
            reader.fault(
                "endpoint.keys",
                "it is needed here: make keys once with `pushgrid keys endpoint`, and give the same to every ingress and router",
            );
        }
        settings
    }

    /// What endpoints of a grid begin with.
    pub(crate) fn public_url(&self) -> String {
        self.ingress.public_url.clone().unwrap_or_else(|| PUBLIC_URL.to_owned())
    }

    /// How long a stop may take in all.
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
                "How long a router or a connection node that is not heard of counts as there.",
            ),
            routers: RoutersConfig::read(reader),
            nodes: NodesConfig::read(reader),
            router_listen: reader.address(
                "router.listen",
                "127.0.0.1:8083",
                "Where a router serves ingresses and connection nodes (gRPC). Not for the public.",
            ),
            router_advertise: reader.optional_text(
                "router.advertise",
                "Host and port at which others reach this router. Unset: the address it listens at.",
            ),
            node_listen: reader.address(
                "connection.grpc_listen",
                "127.0.0.1:8084",
                "Where a connection node serves routers (gRPC). Not for the public.",
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
