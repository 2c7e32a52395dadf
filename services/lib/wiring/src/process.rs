//! The frame of every process: admin listener, metrics, readiness, and the order of the shutdown.
//! Invariant: health and metrics are served from the start to the end; the edges end before the core.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use pushgrid_runtime::http;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_runtime::{Readiness, Shutdown, TaskEnd, admin};
use pushgrid_types::{Rng, SystemRng};
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::settings::{Role, Settings};

/// Time for the core to stop after the edges have ended.
const CORE_DEADLINE: Duration = Duration::from_secs(10);

/// Addresses of a running process: name and URL of each listener.
#[derive(Debug, Clone)]
pub struct Addresses {
    role: Role,
    urls: Vec<(&'static str, String)>,
}

impl Addresses {
    /// URL of the listener `name`, as in the ready line; `None` when this role has no such listener.
    pub fn url(&self, name: &str) -> Option<&str> {
        self.urls.iter().find(|(known, _)| *known == name).map(|(_, url)| url.as_str())
    }
}

impl fmt::Display for Addresses {
    /// The form of the ready line: `role=ingress ingress=http://127.0.0.1:8080 admin=http://127.0.0.1:9090`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role={}", self.role.as_str())?;
        self.urls.iter().try_for_each(|(what, url)| write!(f, " {what}={url}"))
    }
}

/// Parts common to all processes.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) meter: Meter,
    pub(crate) readiness: Readiness,
    /// Shutdown of the parts that serve clients.
    pub(crate) edges: Shutdown,
    /// Shutdown of the parts that outlive the edges.
    pub(crate) core: Shutdown,
    role: Role,
    admin: SocketAddr,
    stop_timeout: Duration,
}

impl Process {
    /// Serves health, metrics and `more` on `listener`. Every figure of `meter` that has to be right from the first
    /// scrape on is set before.
    pub(crate) fn start(
        settings: &Settings,
        edges: Shutdown,
        meter: Meter,
        listener: TcpListener,
        more: Router,
    ) -> Result<Self, Failure> {
        let (readiness, core) = (Readiness::new(), Shutdown::new());
        meter.gauge(&metrics::ROLE_INFO, &[("role", settings.role.as_str())]).set(1.0);
        let admin = listener.local_addr()?;
        let routes = admin::routes(readiness.clone(), meter.clone()).merge(more);
        core.spawn_essential(
            "admin",
            http::serve(listener, routes, settings.admin_http.clone(), core.clone()),
        );
        core.spawn("upkeep", meter.clone().upkeep(core.clone()));
        Ok(Self {
            rng: Arc::new(SystemRng),
            meter,
            readiness,
            edges,
            core,
            role: settings.role,
            admin,
            stop_timeout: settings.stop_timeout(),
        })
    }

    /// Runs a part that serves clients, until the shutdown of the edges drains.
    pub(crate) fn spawn_edge<F>(&self, name: &'static str, part: impl FnOnce(Shutdown) -> F)
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        self.edges.spawn_essential(name, part(self.edges.clone()));
    }

    /// Runs a part that the edges need, until the shutdown of the core drains, after theirs.
    pub(crate) fn spawn_core<F>(&self, name: &'static str, part: impl FnOnce(Shutdown) -> F)
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        self.core.spawn_essential(name, part(self.core.clone()));
    }

    /// Addresses with the URL of the admin listener as the last.
    pub(crate) fn addresses(&self, urls: &[(&'static str, String)]) -> Addresses {
        let admin = ("admin", format!("http://{}", self.admin));
        Addresses { role: self.role, urls: urls.iter().cloned().chain([admin]).collect() }
    }

    /// Waits for a condition of going on; `false` when the process is to stop first.
    pub(crate) async fn waits_for(&self, what: impl Future<Output = ()>) -> bool {
        tokio::select! {
            () = what => true,
            () = self.serve() => false,
        }
    }

    /// Waits until the process is to stop. Drains the edges when the core drains, for nothing can be served
    /// without the core.
    pub(crate) async fn serve(&self) {
        tokio::select! {
            () = self.edges.draining() => {}
            () = self.core.draining() => self.edges.drain(),
        }
    }

    /// Waits until the edges have ended, runs `between`, then ends the core. While `between` runs nothing new
    /// comes in.
    pub(crate) async fn end(self, between: impl Future<Output = ()>) -> Result<(), Failure> {
        let edges_ended = self.edges.finished(self.stop_timeout).await;
        between.await;
        self.core.drain();
        let core_ended = self.core.finished(CORE_DEADLINE).await;
        if let Some(why) = self.edges.failure().or_else(|| self.core.failure()) {
            return Err(Failure::Part(why));
        }
        Ok(edges_ended.and(core_ended)?)
    }
}
