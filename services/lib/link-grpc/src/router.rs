//! The router's side: what nodes and ingresses ask, handed to a [`RouterLink`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pushgrid_proto::stored;
use pushgrid_proto::wire::router::v1 as wire;
use pushgrid_proto::wire::router::v1::router_server::{Router, RouterServer};
use pushgrid_runtime::Shutdown;
use pushgrid_store::{Cancelled, LinkError, Opened, RouterLink, Settlement};
use pushgrid_types::{MessageId, MessageRef, Outcome, Sequence, SessionRef, SubscriptionRef, UserAgentId};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use crate::transport::{self, MESSAGE, ServeError};
use crate::{fault, form};

/// Calls under way at once, over all connections; more are answered "unavailable".
const CALLS: usize = 16_384;

/// Most entries of a batch.
const ENTRIES: usize = 4096;

/// How long the slowest entry of a batch may hold up the answer for all others. What is not done by then is answered
/// "unavailable", and comes again.
const ENTRY_PATIENCE: Duration = Duration::from_secs(2);

/// Serves `router` until `shutdown` drains, then ends what is under way; drops it when `shutdown` stops.
///
/// Guarantee: a call that has reached `router` is carried through, also when its caller has gone meanwhile.
pub async fn serve_router(
    listener: TcpListener,
    router: Arc<dyn RouterLink>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let service = Service { router, calls: Arc::new(Semaphore::new(CALLS)) };
    let server = RouterServer::new(service).max_decoding_message_size(MESSAGE);
    let (incoming, draining) = (transport::incoming(listener), shutdown.clone());
    let serving = transport::server()
        .serve_with_incoming_shutdown(server, incoming, async move { draining.draining().await });
    transport::drive(serving, shutdown).await
}

struct Service {
    router: Arc<dyn RouterLink>,
    calls: Arc<Semaphore>,
}

impl Service {
    /// Carries a call through in a task of its own: what a router has begun in several steps must not be left in the
    /// midst of them because a caller hung up.
    async fn carry<T, F>(&self, call: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LinkError>> + Send + 'static,
    {
        let unavailable = || fault::to_status(&LinkError::Unavailable);
        let place = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| unavailable())?;
        let carried = tokio::spawn(async move {
            let answer = call.await;
            drop(place);
            answer
        });
        // A panic has been reported by the panic hook.
        carried.await.map_err(|_| unavailable())?.map_err(|error| fault::to_status(&error))
    }

    /// Carries all entries of a batch through at once, and answers those that failed.
    async fn carry_all<F>(&self, calls: Vec<F>) -> Result<Vec<wire::Failed>, Status>
    where
        F: Future<Output = Result<(), LinkError>> + Send + 'static,
    {
        self.carry(async move {
            let deadline = Instant::now() + ENTRY_PATIENCE;
            let mut done = vec![false; calls.len()];
            let mut failed = Vec::new();
            let mut calls: FuturesUnordered<_> = calls
                .into_iter()
                .enumerate()
                .map(|(index, call)| async move { (index, call.await) })
                .collect();
            while let Ok(Some((index, answer))) = timeout_at(deadline, calls.next()).await {
                done[index] = true;
                failed.extend(answer.err().map(|error| fault::failed(index, &error)));
            }
            let late = done.iter().enumerate().filter(|(_, done)| !**done);
            failed.extend(late.map(|(index, _)| fault::failed(index, &LinkError::Unavailable)));
            Ok(failed)
        })
        .await
    }
}

#[tonic::async_trait]
impl Router for Service {
    async fn open(
        &self,
        request: Request<wire::OpenRequest>,
    ) -> Result<Response<wire::OpenResponse>, Status> {
        let request = request.into_inner();
        let (user_agent, session) =
            (form::user_agent(&request.user_agent)?, form::session(request.session.as_ref())?);
        let router = Arc::clone(&self.router);
        let epoch = match self.carry(async move { router.open(user_agent, session).await }).await? {
            Opened::Known(epoch) => Some(epoch.0),
            Opened::Unknown => None,
        };
        Ok(Response::new(wire::OpenResponse { epoch }))
    }

    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let request = request.into_inner();
        let (user_agent, channel) =
            (form::user_agent(&request.user_agent)?, form::channel(&request.channel)?);
        let vapid = request.vapid.as_deref().map(stored::vapid_hash).transpose();
        let vapid = vapid.map_err(|_| form::invalid("vapid"))?;
        let router = Arc::clone(&self.router);
        let registered = self.carry(async move { router.register(user_agent, channel, vapid).await }).await?;
        Ok(Response::new(wire::RegisterResponse {
            incarnation: Bytes::copy_from_slice(registered.subscription.id.incarnation.as_octets()),
            subscription: Some(stored::subscription_to_wire(&registered.subscription)),
            endpoint: registered.endpoint,
        }))
    }

    async fn unregister(
        &self,
        request: Request<wire::UnregisterRequest>,
    ) -> Result<Response<wire::UnregisterResponse>, Status> {
        let request = request.into_inner();
        let (user_agent, channel) =
            (form::user_agent(&request.user_agent)?, form::channel(&request.channel)?);
        let router = Arc::clone(&self.router);
        self.carry(async move { router.unregister(user_agent, channel).await }).await?;
        Ok(Response::new(wire::UnregisterResponse {}))
    }

    async fn settle(
        &self,
        request: Request<wire::SettleRequest>,
    ) -> Result<Response<wire::SettleResponse>, Status> {
        let settled = bounded(request.into_inner().settled)?;
        let settled = settled.iter().map(settlements).collect::<Result<Vec<_>, _>>()?;
        let calls = settled.into_iter().map(|(user_agent, session, ended)| {
            let router = Arc::clone(&self.router);
            async move { router.settle(user_agent, session, ended).await }
        });
        let failed = self.carry_all(calls.collect()).await?;
        Ok(Response::new(wire::SettleResponse { failed }))
    }

    async fn close(
        &self,
        request: Request<wire::CloseRequest>,
    ) -> Result<Response<wire::CloseResponse>, Status> {
        let closed = bounded(request.into_inner().closed)?;
        let closed = closed.iter().map(|closed| {
            Ok((form::user_agent(&closed.user_agent)?, form::session(closed.session.as_ref())?))
        });
        let calls = closed.collect::<Result<Vec<_>, Status>>()?.into_iter().map(|(user_agent, session)| {
            let router = Arc::clone(&self.router);
            async move { router.close(user_agent, session).await }
        });
        let failed = self.carry_all(calls.collect()).await?;
        Ok(Response::new(wire::CloseResponse { failed }))
    }

    async fn cancel(
        &self,
        request: Request<wire::CancelRequest>,
    ) -> Result<Response<wire::CancelResponse>, Status> {
        let request = request.into_inner();
        let message = MessageRef {
            user_agent: form::user_agent(&request.user_agent)?,
            channel: form::channel(&request.channel)?,
            id: form::message_id(&request.id)?,
            sequence: Sequence(request.sequence),
        };
        let router = Arc::clone(&self.router);
        let ended = match self.carry(async move { router.cancel(message).await }).await? {
            Cancelled::Ended => true,
            Cancelled::Gone => false,
        };
        Ok(Response::new(wire::CancelResponse { ended }))
    }

    async fn alive(
        &self,
        request: Request<wire::AliveRequest>,
    ) -> Result<Response<wire::AliveResponse>, Status> {
        let request = request.into_inner();
        let id = SubscriptionRef {
            user_agent: form::user_agent(&request.user_agent)?,
            channel: form::channel(&request.channel)?,
            incarnation: form::incarnation(&request.incarnation)?,
        };
        let router = Arc::clone(&self.router);
        let alive = self.carry(async move { router.alive(id).await }).await?;
        Ok(Response::new(wire::AliveResponse { alive }))
    }
}

fn bounded<T>(entries: Vec<T>) -> Result<Vec<T>, Status> {
    if entries.len() > ENTRIES { Err(form::invalid("entries")) } else { Ok(entries) }
}

/// What one session has ended.
fn settlements(settled: &wire::Settled) -> Result<(UserAgentId, SessionRef, Vec<Settlement>), Status> {
    let (ids, rest) = settled.ids.as_chunks::<{ MessageId::SIZE }>();
    if !rest.is_empty() || ids.len() != settled.outcomes.len() {
        return Err(form::invalid("ids"));
    }
    let ended = ids.iter().zip(&settled.outcomes).map(|(id, outcome)| {
        let outcome = Outcome::ALL.get(usize::from(*outcome)).ok_or_else(|| form::invalid("outcomes"))?;
        Ok(Settlement { id: MessageId::from_octets(*id), outcome: *outcome })
    });
    let session = form::session(settled.session.as_ref())?;
    Ok((form::user_agent(&settled.user_agent)?, session, ended.collect::<Result<_, Status>>()?))
}

#[cfg(test)]
mod tests;
