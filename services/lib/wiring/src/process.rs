use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pushgrid_runtime::http;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_runtime::{Readiness, Shutdown, admin};
use pushgrid_types::{Clock, Rng, SystemClock, SystemRng};

use crate::failure::Failure;
use crate::settings::{Role, Settings};

/// How long stopping may take after the edges have closed.
const CORE_DEADLINE: Duration = Duration::from_secs(10);

/// Where a running process of a grid can be reached: what, and the URL.
#[derive(Debug, Clone)]
pub struct Addresses {
    role: Role,
    urls: Vec<(&'static str, String)>,
}

impl Addresses {
    pub(crate) fn new(role: Role, urls: Vec<(&'static str, String)>) -> Self {
        Self { role, urls }
    }
}

impl fmt::Display for Addresses {
    /// As in the ready line: `role=ingress ingress=http://127.0.0.1:8080 admin=http://127.0.0.1:9090`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role={}", self.role.as_str())?;
        self.urls.iter().try_for_each(|(what, url)| write!(f, " {what}={url}"))
    }
}

/// What every process of a grid has. Health and metrics are served from its first moment, so that an operator sees what
/// it waits for.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) meter: Meter,
    pub(crate) readiness: Readiness,
    pub(crate) admin: SocketAddr,
    /// What goes on until the edges have ended.
    pub(crate) core: Shutdown,
    stop_timeout: Duration,
}

impl Process {
    pub(crate) async fn start(settings: &Settings, role: Role) -> Result<Self, Failure> {
        let (meter, readiness, core) = (Meter::new(), Readiness::new(), Shutdown::new());
        meter.gauge(&metrics::ROLE_INFO, &[("role", role.as_str())]).set(1.0);
        let listener = http::bind(settings.admin_listen).await?;
        let admin = listener.local_addr()?;
        let routes = admin::routes(readiness.clone(), meter.clone());
        core.spawn_essential(
            "admin",
            http::serve(listener, routes, settings.admin_http.clone(), core.clone()),
        );
        core.spawn("upkeep", meter.clone().upkeep(core.clone()));
        Ok(Self {
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            meter,
            readiness,
            admin,
            core,
            stop_timeout: settings.stop_timeout(),
        })
    }

    /// Returns when the process is to stop. Without its core there is nothing to serve.
    pub(crate) async fn serve(&self, edges: &Shutdown) {
        tokio::select! {
            () = edges.draining() => {}
            () = self.core.draining() => edges.drain(),
        }
    }

    /// Waits until the edges have ended, then ends the rest. `between` runs when nothing new comes in any more.
    pub(crate) async fn end(
        self,
        edges: &Shutdown,
        between: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let edges_ended = edges.finished(self.stop_timeout).await;
        between.await;
        self.core.drain();
        let core_ended = self.core.finished(CORE_DEADLINE).await;
        if let Some(why) = edges.failure().or_else(|| self.core.failure()) {
            return Err(Failure::Part(why));
        }
        Ok(edges_ended.and(core_ended)?)
    }
}
