//! The frame of the processes of a grid: [`Process`], the time of the grid, and the membership.
//! Invariant: nothing is judged before the time of the grid is known; the lease is given up after the edges
//! have ended.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use pushgrid_link_grpc::MembershipView;
use pushgrid_runtime::clock::GridTime;
use pushgrid_runtime::metrics::Meter;
use pushgrid_runtime::{Shutdown, http};
use pushgrid_store::{Member, Role as MemberRole};
use pushgrid_store_redis::{Redis, RedisMembership};
use pushgrid_types::NodeId;

use crate::failure::Failure;
use crate::process::{Addresses, Process};
use crate::settings::Settings;

/// A process of a grid. Health and metrics are served from the start, so that an operator sees the reason of
/// a wait.
#[derive(Debug)]
pub(crate) struct GridProcess {
    pub(crate) process: Process,
    pub(crate) time: GridTime,
    pub(crate) membership_view: MembershipView,
    lease: Duration,
}

impl GridProcess {
    pub(crate) async fn start(settings: &Settings, edges: Shutdown) -> Result<Self, Failure> {
        Self::start_with(settings, edges, Meter::new(), Router::new()).await
    }

    /// As [`Self::start`], with `more` routes for operators, over parts that are shown in `meter`.
    pub(crate) async fn start_with(
        settings: &Settings,
        edges: Shutdown,
        meter: Meter,
        more: Router,
    ) -> Result<Self, Failure> {
        let listener = http::bind(settings.admin_listen).await?;
        let process = Process::start(settings, edges, meter, listener, more)?;
        let (skew, lease) = (settings.grid.max_clock_skew, settings.grid.lease);
        let latch = process.readiness.latch("clock");
        let time = GridTime::new(skew, MembershipView::round(lease), latch, &process.meter);
        process.core.spawn("clock", time.clone().watch(process.core.clone()));
        let membership_view = MembershipView::new(&process.meter);
        Ok(Self { process, time, membership_view, lease })
    }

    /// Joins the members under `id`, heard at `address`. The lease is kept until [`Self::end`], and is one of
    /// a draining member once the edges drain.
    pub(crate) fn join(
        &self,
        redis: Redis,
        id: NodeId,
        address: String,
        role: impl Fn() -> MemberRole + Send + Sync + 'static,
    ) {
        let edges = self.process.edges.clone();
        self.keep(redis, move || {
            Some(Member { id, role: role(), address: address.clone(), draining: edges.is_draining() })
        });
    }

    /// Asks for the members until [`Self::end`], without being one.
    pub(crate) fn watch_members(&self, redis: Redis) {
        self.keep(redis, || None);
    }

    fn keep(&self, redis: Redis, me: impl Fn() -> Option<Member> + Send + Sync + 'static) {
        let (view, time, lease) = (self.membership_view.clone(), self.time.clone(), self.lease);
        let (membership, core) = (Arc::new(RedisMembership::new(redis)), self.process.core.clone());
        self.process.core.spawn("members", async move { view.keep(membership, me, lease, time, core).await });
    }

    /// Waits for the time of the grid; `false` when the process is to stop first.
    pub(crate) async fn has_time(&self) -> bool {
        self.process.waits_for(self.time.known()).await
    }

    /// Calls `ready` once the wall clock is within the limit, and returns when the process is to stop.
    pub(crate) async fn serve(&self, urls: &[(&'static str, String)], ready: impl FnOnce(&Addresses)) {
        if self.process.waits_for(self.time.is_within_limit()).await {
            ready(&self.process.addresses(urls));
        }
        self.process.serve().await;
    }

    /// As [`Process::end`], and gives the lease up when the edges have ended.
    pub(crate) async fn end(self, between: impl Future<Output = ()>) -> Result<(), Failure> {
        let view = self.membership_view;
        let between = async {
            between.await;
            view.leave();
        };
        self.process.end(between).await
    }

    /// As [`Self::end`], with nothing to be done between.
    pub(crate) async fn leave(self) -> Result<(), Failure> {
        self.end(async {}).await
    }
}
