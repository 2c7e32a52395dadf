use std::sync::Arc;
use std::time::Duration;

use pushgrid_proto::wire::router::v1 as wire;
use pushgrid_proto::wire::router::v1::router_client::RouterClient;
use pushgrid_runtime::metrics::{self, Meter};
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::RoutersConfig;
use super::batch::{Batches, Limits};
use super::breaker::{Breaker, Open};
use crate::fault::{self, Failure};
use crate::transport;

/// One router, as this process reaches it: one HTTP/2 connection, made when it is first needed.
pub(super) struct Peer {
    line: Arc<Line>,
    settling: Batches<wire::Settled>,
    closing: Batches<wire::Closed>,
}

/// What single calls and batches share.
struct Line {
    client: RouterClient<Channel>,
    breaker: Breaker,
    attempt: Duration,
}

impl Peer {
    /// `None`: the address cannot be used.
    pub(super) fn new(config: &RoutersConfig, address: &str, open: Arc<Open>, meter: &Meter) -> Option<Self> {
        let Some(channel) = transport::lazy(address, config.connect) else {
            tracing::error!(address, "a router advertises what is not host:port");
            return None;
        };
        let line = Arc::new(Line {
            client: RouterClient::new(channel),
            breaker: Breaker::new(config.failures, config.pause, open),
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

    /// One call by itself.
    pub(super) async fn call<T>(
        &self,
        call: impl AsyncFnOnce(RouterClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        self.line.call(call).await
    }

    /// Settles together with others.
    pub(super) async fn settle(&self, settled: wire::Settled) -> Result<(), Failure> {
        self.settling.add(settled).await
    }

    /// Closes together with others.
    pub(super) async fn close(&self, closed: wire::Closed) -> Result<(), Failure> {
        self.closing.add(closed).await
    }
}

impl Line {
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(RouterClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let admission = self.breaker.admit(Instant::now()).ok_or(Failure::Lost)?;
        let answer = match timeout(self.attempt, call(self.client.clone())).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(fault::from_status(&status)),
            Err(_elapsed) => Err(Failure::Lost),
        };
        match &answer {
            Ok(_) | Err(Failure::Said(_)) => admission.reached(),
            Err(Failure::Lost) => admission.not_reached(Instant::now()),
        }
        answer
    }
}
