//! One router: its HTTP/2 connection, breaker and batches. Retries and the choice of the router are the parent module.
//! Invariant: an answer of the router closes the breaker, also an error that the router reports; only [`Failure::Lost`]
//! counts against the router.

use std::sync::Arc;
use std::time::Duration;

use pushgrid_proto::wire::router::v1 as wire;
use pushgrid_proto::wire::router::v1::router_client::RouterClient;
use pushgrid_runtime::Breaker;
use pushgrid_runtime::metrics::{self, Meter};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::RoutersConfig;
use super::batch::{Batches, Limits};
use crate::fault::{self, Failure};
use crate::transport;

/// Connection to one router: one HTTP/2 connection, made on first use.
pub(super) struct Peer {
    line: Arc<Line>,
    settling: Batches<wire::Settled>,
    closing: Batches<wire::Closed>,
}

/// State shared by single calls and batches.
struct Line {
    client: RouterClient<Channel>,
    breaker: Breaker,
    attempt: Duration,
}

impl Peer {
    /// Makes a connection; `None` when the address is not `host:port`.
    pub(super) fn new(config: &RoutersConfig, address: &str, meter: &Meter) -> Option<Self> {
        let Some(channel) = transport::lazy(address, config.connect) else {
            tracing::error!(address, "the address that a router advertises is not host:port");
            return None;
        };
        let line = Arc::new(Line {
            client: RouterClient::new(channel),
            breaker: Breaker::new(config.failures, config.pause).counting_in_turn(),
            attempt: config.attempt,
        });
        let limits = |call| Limits {
            batch: config.batch,
            queue: config.queue,
            calls: meter.counter(&metrics::CALLS, &[("call", call)]),
            batches: meter.counter(&metrics::BATCHES, &[("call", call)]),
        };
        let settle = {
            let line = Arc::clone(&line);
            move |settled| {
                let line = Arc::clone(&line);
                async move {
                    let request = wire::SettleRequest { settled };
                    Ok(line.call(async |mut router| router.settle(request).await).await?.failed)
                }
            }
        };
        let close = {
            let line = Arc::clone(&line);
            move |closed| {
                let line = Arc::clone(&line);
                async move {
                    let request = wire::CloseRequest { closed };
                    Ok(line.call(async |mut router| router.close(request).await).await?.failed)
                }
            }
        };
        let (settling, closing) =
            (Batches::new(limits("settle"), settle), Batches::new(limits("close"), close));
        Some(Self { line, settling, closing })
    }

    /// Tells whether calls fail at once, because the router could not be reached several times in a row.
    pub(super) fn is_shunned(&self) -> bool {
        self.line.breaker.is_open()
    }

    /// Makes a single call.
    pub(super) async fn call<T>(
        &self,
        call: impl AsyncFnOnce(RouterClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        self.line.call(call).await
    }

    /// Settles in the next batch.
    pub(super) async fn settle(&self, settled: wire::Settled) -> Result<(), Failure> {
        self.settling.add(settled).await
    }

    /// Closes in the next batch.
    pub(super) async fn close(&self, closed: wire::Closed) -> Result<(), Failure> {
        self.closing.add(closed).await
    }
}

impl Line {
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(RouterClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let admission = self.breaker.admit().ok_or(Failure::Lost)?;
        let answer = match timeout(self.attempt, call(self.client.clone())).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(fault::from_status(&status)),
            Err(_elapsed) => Err(Failure::Lost),
        };
        match &answer {
            Ok(_) | Err(Failure::Said(_)) => admission.succeeded(),
            Err(Failure::Lost) => admission.failed(),
        };
        answer
    }
}
