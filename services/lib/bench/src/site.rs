//! The service under load: its addresses, and the connections, posts and metrics that go there.
//!
//! Invariant: no service on another machine is loaded unless the person says that it is theirs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Uri;
use pushgrid_client::{ApplicationServer, ConnectOptions, Setup, Tls};
use pushgrid_runtime::config::{Layers, Reader};
use pushgrid_runtime::metrics::Meter;
use pushgrid_store_redis::{Config, Redis};
use pushgrid_types::cast::fitting;
use tokio::time::{Instant, sleep};

use crate::limits;
use crate::scrape::Scrape;

/// Number of loopback addresses to connect from. Each has some 28,000 ports on Linux.
const SOURCES: usize = 8;

/// Addresses of the service.
#[derive(clap::Args)]
pub(super) struct Target {
    /// Base URL to post messages to: the path comes from the endpoints. Several, separated by commas, take turns
    #[arg(
        long,
        global = true,
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        value_delimiter = ','
    )]
    ingress: Vec<String>,
    /// URL for user agents to connect to. Several, separated by commas, take turns
    #[arg(
        long,
        global = true,
        default_value = "ws://127.0.0.1:8081",
        value_name = "URL",
        value_delimiter = ','
    )]
    connection: Vec<String>,
    /// URL of the server with /metrics; several, separated by commas, are added up
    #[arg(
        long,
        global = true,
        default_value = "http://127.0.0.1:9090",
        value_name = "URL",
        value_delimiter = ','
    )]
    admin: Vec<String>,
    /// The Redis of a grid, to report the memory used there: the value of redis.url
    #[arg(long, global = true, value_name = "URL")]
    redis: Option<String>,
    /// Also write the report to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Load a service that is not on this machine: only if you answer for it
    #[arg(long, global = true)]
    i_own_this_server: bool,
    /// Leave the subscriptions behind instead of ending them
    #[arg(long, global = true)]
    keep: bool,
}

/// The service under load.
pub(super) struct Site {
    ingress: Vec<Uri>,
    /// Endpoints given out so far, by which the ingresses take turns.
    posted: AtomicUsize,
    pub(super) connection: Vec<String>,
    admin: Vec<Uri>,
    redis: Option<String>,
    http: ApplicationServer,
    tls: Tls,
    spread: bool,
    pub(super) keep: bool,
}

impl Site {
    /// Takes the target. Fails for addresses of other machines without the flag for that.
    pub(super) fn of(target: &Target) -> Result<Self> {
        let urls = |texts: &[String]| texts.iter().map(|text| url(text)).collect::<Result<Vec<_>>>();
        let (ingress, connection) = (urls(&target.ingress)?, urls(&target.connection)?);
        let admin = urls(&target.admin)?;
        for uri in ingress.iter().chain(&connection).chain(&admin) {
            ensure!(
                target.i_own_this_server || is_loopback(uri),
                "{uri} is not on this machine: a load test is an attack on a service of somebody else; if it is \
                 yours, say so with --i-own-this-server"
            );
        }
        let spread = cfg!(target_os = "linux") && connection.iter().all(is_ipv4_loopback);
        let idle_connections = fitting::<usize>(*limits::PARALLEL.end());
        let http = ApplicationServer::with(Setup { idle_connections, ..Setup::default() });
        let connection = target.connection.clone();
        let posted = AtomicUsize::new(0);
        let redis = target.redis.clone();
        Ok(Self {
            ingress,
            posted,
            connection,
            admin,
            redis,
            http,
            tls: Tls::public_roots(),
            spread,
            keep: target.keep,
        })
    }

    /// The client for posts: unsigned, with a pool for the largest number of requests at a time.
    pub(super) fn http(&self) -> &ApplicationServer {
        &self.http
    }

    /// Connect options of the user agent of this number. Sources alternate, for one address has too few ports.
    pub(super) fn connect_options(&self, number: usize) -> ConnectOptions {
        let last = fitting::<u8>(1 + number % SOURCES);
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0);
        ConnectOptions {
            local: self.spread.then_some(source),
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            tls: Some(self.tls.clone()),
            ..ConnectOptions::new(self.connection[number % self.connection.len()].clone())
        }
    }

    /// URL to post to for an endpoint: the endpoint's path, at one of the named ingresses.
    pub(super) fn post_uri(&self, endpoint: &str) -> Result<Uri> {
        let endpoint: Uri = endpoint.parse().context("the service gave an endpoint that is no URL")?;
        let turn = self.posted.fetch_add(1, Ordering::Relaxed) % self.ingress.len();
        let mut parts = self.ingress[turn].clone().into_parts();
        parts.path_and_query = endpoint.into_parts().path_and_query;
        Uri::from_parts(parts).context("the endpoint has no path")
    }

    /// The present metrics, added up over all processes.
    pub(super) async fn scrape(&self) -> Result<Scrape> {
        let mut all = Scrape::default();
        for uri in &self.admin {
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/metrics"));
            let mut request = http::Request::new(Bytes::new());
            *request.uri_mut() = Uri::from_parts(parts).context("--admin must be http://host:port")?;
            let answer =
                self.http.request(request).await.with_context(|| {
                    format!("no metrics from {uri}: check --admin, and that the server runs")
                })?;
            ensure!(answer.status == 200, "{uri} answered {} to /metrics: check --admin", answer.status);
            all.add(&String::from_utf8_lossy(&answer.body));
        }
        Ok(all)
    }

    /// Octets of memory that Redis uses now; `None` when no Redis was named.
    pub(super) async fn redis_memory(&self) -> Result<Option<u64>> {
        let Some(url) = &self.redis else { return Ok(None) };
        let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &[format!("redis.url={url}")])?);
        let config = Config::read(&mut reader);
        reader.finish()?;
        Ok(Redis::connect(&config, &Meter::new()).await?.used_memory().await?)
    }

    /// Waits until the metrics are as wanted; `None` after [`limits::REST`].
    pub(super) async fn scrape_until(&self, wanted: impl Fn(&Scrape) -> bool) -> Result<Option<Scrape>> {
        let deadline = Instant::now() + limits::REST;
        loop {
            let scrape = self.scrape().await?;
            if wanted(&scrape) {
                return Ok(Some(scrape));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            sleep(limits::POLL).await;
        }
    }
}

fn url(text: &str) -> Result<Uri> {
    let uri: Uri = text.parse().with_context(|| format!("{text:?} is no URL"))?;
    ensure!(
        uri.scheme().is_some() && uri.host().is_some(),
        "{text:?} must be a whole URL, such as http://127.0.0.1:8080"
    );
    Ok(uri)
}

fn address(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    if host.eq_ignore_ascii_case("localhost") {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    } else {
        host.parse().ok()
    }
}

fn is_loopback(uri: &Uri) -> bool {
    address(uri).is_some_and(|it| it.is_loopback())
}

fn is_ipv4_loopback(uri: &Uri) -> bool {
    address(uri).is_some_and(|it| it.is_ipv4() && it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(ingress: &str, admin: &str) -> Target {
        Target {
            ingress: vec![ingress.into()],
            connection: vec!["ws://localhost:8081".into()],
            admin: vec![admin.into()],
            redis: None,
            json: None,
            i_own_this_server: false,
            keep: false,
        }
    }

    #[test]
    fn only_this_machine_is_loaded_unless_its_owner_says_so() {
        for own in ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080", "http://127.3.2.1"]
        {
            assert!(Site::of(&target(own, own)).is_ok(), "{own}");
        }
        for foreign in [
            "https://push.example.net",
            "http://10.0.0.1:8080",
            "http://localhost.example.net",
            "http://0.0.0.0",
        ] {
            for (ingress, admin) in [(foreign, "http://localhost:1"), ("http://localhost:1", foreign)] {
                let error = Site::of(&target(ingress, admin)).err().unwrap();
                assert!(error.to_string().contains("--i-own-this-server"), "{error}");
                let owned = Target { i_own_this_server: true, ..target(ingress, admin) };
                assert!(Site::of(&owned).is_ok());
            }
        }
        assert!(Site::of(&target("localhost:8080", "http://localhost:1")).is_err());
    }

    #[test]
    fn messages_go_to_the_ingress_that_was_named() {
        let mut target = target("http://127.0.0.1:9", "http://localhost:1");
        target.ingress.push("http://127.0.0.1:10".into());
        let site = Site::of(&target).unwrap();
        let uri = || site.post_uri("https://push.example.net/push/abc?x=1").unwrap();
        assert_eq!(uri(), "http://127.0.0.1:9/push/abc?x=1");
        assert_eq!(uri(), "http://127.0.0.1:10/push/abc?x=1");
        assert_eq!(uri(), "http://127.0.0.1:9/push/abc?x=1");
    }
}
