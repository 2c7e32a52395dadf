//! Making connections: to one server, to the master that the sentinels name at that moment, or to a cluster. Bound: a
//! connection attempt takes at most `redis.timeout`, by its caller. Not here: retries and the breaker (`client`).

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, RedisResult, TlsCertificates, TlsMode, Value};
use tokio::sync::Mutex;

use crate::Config;
use crate::address::Address;

/// Redirections and other servers that a cluster's driver tries, within the time of a call.
const CLUSTER_RETRIES: u32 = 3;

/// Backoff of a cluster's driver, in milliseconds: first, and longest.
const CLUSTER_WAITS: (u64, u64) = (20, 500);

/// Source of connections.
pub(crate) struct Server {
    kind: Kind,
    config: AsyncConnectionConfig,
}

enum Kind {
    One(Box<Client>),
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

/// Connection shared by any number of concurrent calls.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    /// Reconnects by itself, server by server.
    Cluster(ClusterConnection),
}

impl Server {
    /// Prepares the driver for `room` concurrent calls, without connecting. Fails on unusable addresses or certificates.
    pub(crate) fn new(config: &Config, room: usize) -> RedisResult<Self> {
        let authorities = config.authorities.clone();
        let certificates = authorities.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        let kind = match (&config.address, certificates) {
            (Address::One(info), None) => Kind::One(Box::new(Client::open(info.clone())?)),
            (Address::One(info), Some(pem)) => {
                Kind::One(Box::new(Client::build_with_tls(info.clone(), pem)?))
            }
            (Address::Sentinel { .. }, pem) => {
                Kind::Sentinel(Box::new(Mutex::new(sentinel(&config.address, pem)?)))
            }
            (Address::Cluster(servers), pem) => {
                let mut builder = ClusterClientBuilder::new(servers.clone())
                    .retries(CLUSTER_RETRIES)
                    .min_retry_wait(CLUSTER_WAITS.0)
                    .max_retry_wait(CLUSTER_WAITS.1)
                    .connection_timeout(config.timeout)
                    .response_timeout(config.timeout);
                if let Some(pem) = pem {
                    builder = builder.certs(pem);
                }
                Kind::Cluster(Box::new(builder.build()?))
            }
        };
        // The caller bounds every answer.
        let connection = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(room);
        Ok(Self { kind, config: connection })
    }

    pub(crate) async fn connect(&self) -> RedisResult<Connection> {
        match &self.kind {
            Kind::One(client) => {
                client.get_multiplexed_async_connection_with_config(&self.config).await.map(Connection::One)
            }
            Kind::Sentinel(client) => {
                let master = client.lock().await.async_get_client().await?;
                master.get_multiplexed_async_connection_with_config(&self.config).await.map(Connection::One)
            }
            Kind::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

impl Connection {
    pub(crate) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Sends a command to all masters of a cluster, or to the one server.
    pub(crate) async fn send_to_all(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => {
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                connection.route_command(command.clone(), all).await?.extract_error()
            }
        }
    }

    /// True if a new connection might do better after a missing answer.
    pub(crate) const fn is_alone(&self) -> bool {
        matches!(self, Self::One(_))
    }

    /// True if nothing more can be expected of this connection after `error`.
    pub(crate) fn is_over(&self, error: &RedisError) -> bool {
        match self {
            // A server that has become a replica will not become a master again: another is.
            Self::One(_) => {
                error.is_io_error() || error.is_unrecoverable_error() || error.code() == Some("READONLY")
            }
            Self::Cluster(_) => false,
        }
    }
}

fn sentinel(address: &Address, certificates: Option<TlsCertificates>) -> RedisResult<SentinelClient> {
    let Address::Sentinel { sentinels, master, servers } = address else {
        unreachable!("it is asked for sentinels only");
    };
    let settings = servers.redis_settings();
    let kind = SentinelServerType::Master;
    let mut builder =
        SentinelClientBuilder::new(sentinels.clone(), master, kind)?.set_client_to_redis_db(settings.db());
    if address.is_tls() {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(username) = settings.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}
